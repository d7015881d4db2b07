//! Which end shuts down first, and what still goes the other way: by a script, and on a real pair.

use std::io;

use ringpair::mocket::{Mocket, Script};
use ringpair::{Linger, PairOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The code under test: sends a body, says by a shutdown that this was all, and reads the verdict.
async fn upload(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), body: &[u8]) -> io::Result<String> {
    stream.write_all(body).await?;
    stream.shutdown().await?; // without it the other side waits for more
    let mut verdict = String::new();
    stream.read_to_string(&mut verdict).await?;
    Ok(verdict)
}

#[tokio::test]
async fn the_body_is_ended_before_the_verdict_is_read() {
    let script = Script::new().expect("body").expect_shutdown().then().provide("taken").end_of_file();
    let mut mocket = Mocket::scripted(script);
    assert_eq!(upload(&mut mocket, b"body").await.unwrap(), "taken");
    mocket.close().unwrap();
}

#[tokio::test]
async fn a_half_closed_connection_still_brings_the_verdict() {
    let options = PairOptions::new().linger(Linger::Graceful); // this is about the end of file, not about a reset
    let (mut server, mut client) = options.make_pair::<TcpStream>().await.unwrap();
    let serve = async {
        let mut body = String::new();
        server.read_to_string(&mut body).await.unwrap(); // comes to an end, by the shutdown
        server.write_all(format!("taken: {body}").as_bytes()).await.unwrap();
        drop(server);
    };
    let (verdict, ()) = tokio::join!(upload(&mut client, b"body"), serve);
    assert_eq!(verdict.unwrap(), "taken: body");
}
