//! A request is verified byte by byte, and the script answers it.

use std::io::{self, BufRead, BufReader, Read, Write};

use ringpair::mocket::{MismatchKind, Mocket, Script};

/// The code under test: asks for a page, and returns the status.
fn get(mut stream: impl Read + Write, path: &str) -> io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    Ok(status)
}

#[test]
fn the_request_is_what_the_protocol_says() {
    let script = Script::new()
        .expect("GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .then() // no answer before the whole of it was asked
        .provide("HTTP/1.1 204 No Content\r\n\r\n");
    let mut mocket = Mocket::scripted(script);
    assert_eq!(get(&mut mocket, "/index.html").unwrap(), "HTTP/1.1 204 No Content\r\n");
    mocket.close().unwrap(); // all of it was asked, and read
}

#[test]
fn a_request_that_differs_is_shown_where_it_does() {
    let mut mocket = Mocket::scripted(Script::new().expect("GET /index.html "));
    get(&mut mocket, "/index.htm").unwrap_err();
    let mismatch = mocket.close().unwrap_err();
    assert_eq!((mismatch.kind(), mismatch.offset()), (MismatchKind::Different, 14));
    println!("{mismatch}"); // what was expected there and what came, as text and in hex
}
