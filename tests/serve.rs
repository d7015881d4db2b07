//! Scripts on real TCP, for clients that dial: what the client meets, and what `finish` says of it.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use common::{alone, descriptors, eventually, threads};
use ringpair::mocket::{MismatchKind, Script, Served, serve, serve_all};

fn dial(served: &Served) -> TcpStream {
    TcpStream::connect(served.addr()).unwrap()
}

fn read(client: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn half_an_answer_ends_by_reset_or_fin() {
    let begin = || Script::new().expect("GET /").then().provide("half of ");
    for (script, ends) in [(begin().reset(), Err(ErrorKind::ConnectionReset)), (begin().end_of_file(), Ok(0))] {
        let served = serve(script).unwrap();
        let mut client = dial(&served);
        client.write_all(b"GET /").unwrap();
        assert_eq!(read(&mut client, 8), b"half of ");
        assert_eq!(client.read(&mut [0]).map_err(|error| error.kind()), ends);
        served.finish().unwrap();
    }
}

#[test]
fn after_the_last_step_the_server_is_silent() {
    let served = serve(Script::new().provide("hello")).unwrap();
    let mut client = dial(&served);
    assert_eq!(read(&mut client, 5), b"hello");
    client.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    served.finish().unwrap();
}

#[test]
fn a_conversation_waits_for_the_client() {
    let script =
        Script::new().expect("ping").then().provide("pong").then().expect("thanks").then().provide("bye").end_of_file();
    let served = serve(script).unwrap();
    let mut client = dial(&served);
    for byte in b"ping" {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read(&mut client, 4), b"pong");
    client.write_all(b"thanks").unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye");
    served.finish().unwrap();
}

#[test]
fn a_client_that_diverges_is_reset_and_reported() {
    let served = serve(Script::new().expect("ping").then().provide("pong")).unwrap();
    let mut client = dial(&served);
    client.write_all(b"pinG").unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mismatch = served.finish().unwrap_err();
    assert_eq!((mismatch.kind(), mismatch.offset()), (MismatchKind::Different, 3));
}

#[test]
fn bytes_beyond_the_script_are_a_mismatch() {
    let served = serve(Script::new().expect("ping")).unwrap();
    let mut client = dial(&served);
    client.write_all(b"ping and more").unwrap();
    assert_eq!(served.finish().unwrap_err().kind(), MismatchKind::TooLong);
}

#[test]
fn what_has_arrived_by_the_end_counts() {
    for _ in 0..50 {
        let served = serve(Script::new().expect("ping")).unwrap();
        let mut client = dial(&served);
        client.write_all(b"ping").unwrap();
        served.finish().unwrap();
    }
}

#[test]
fn an_unused_script_is_reported() {
    let served = serve(Script::new().provide("hello")).unwrap();
    assert_eq!(served.finish().unwrap_err().kind(), MismatchKind::LeftOver);

    let served = serve(Script::new().expect("ping")).unwrap();
    let client = dial(&served);
    drop(client);
    let kind = served.finish().unwrap_err().kind();
    assert!(matches!(kind, MismatchKind::LeftOver | MismatchKind::ShutDownEarly), "{kind:?}");
}

#[test]
fn an_expected_shutdown_comes_from_the_client() {
    let served = serve(Script::new().expect("all").expect_shutdown().then().provide("taken").end_of_file()).unwrap();
    let mut client = dial(&served);
    client.write_all(b"all").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "taken");
    served.finish().unwrap();
}

#[test]
fn each_connection_gets_the_next_script() {
    let scripts = ["one", "two", "three"].map(|name| Script::new().provide(name).end_of_file());
    let served = serve_all(scripts).unwrap();
    for expected in ["one", "two", "three"] {
        let mut answer = String::new();
        dial(&served).read_to_string(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
    served.finish().unwrap();
}

#[test]
fn a_surplus_connection_is_reset_and_reported() {
    let served = serve(Script::new().provide("once").end_of_file()).unwrap();
    let mut first = dial(&served);
    let mut second = dial(&served);
    assert_eq!(read(&mut first, 4), b"once");
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mismatch = served.finish().unwrap_err();
    assert_eq!(mismatch.kind(), MismatchKind::UnexpectedConnection);
    assert_eq!(mismatch.to_string(), "a connection after the last of 1 scripts");
}

#[test]
fn large_answers_reach_slow_clients() {
    let bytes: Vec<u8> = (0..3 << 20).map(|number: u32| (number.wrapping_mul(number) >> 8) as u8).collect();
    let served = serve(Script::new().expect_until(b'\n').then().provide(&bytes).end_of_file()).unwrap();
    let mut client = dial(&served);
    client.write_all(b"all of it\n").unwrap();
    let mut answer = Vec::new();
    let mut some = [0; 1000];
    while let Ok(count @ 1..) = client.read(&mut some) {
        answer.extend_from_slice(&some[..count]);
    }
    assert!(answer == bytes);
    served.finish().unwrap();
}

#[test]
fn a_delay_comes_before_its_step() {
    let delay = Duration::from_millis(50);
    let served = serve(Script::new().provide("now").delay(delay).provide("later")).unwrap();
    let begin = Instant::now();
    let mut client = dial(&served);
    assert_eq!(read(&mut client, 8), b"nowlater");
    assert!(begin.elapsed() >= delay); // it may end later
    served.finish().unwrap();
}

#[test]
fn dropped_unverified_it_panics_unless_used_up() {
    let served = serve(Script::new().provide("hello")).unwrap();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(served))).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("a served script was dropped unverified: the script is not used up"), "{text}");

    let served = serve(Script::new().provide("hello")).unwrap();
    assert_eq!(read(&mut dial(&served), 5), b"hello");
    drop(served);
}

#[test]
fn a_finished_server_leaves_nothing_open() {
    alone(|| {
        let (before, running) = (descriptors(), threads());
        for _ in 0..20 {
            let served = serve(Script::new().provide("hello")).unwrap();
            assert_eq!(read(&mut dial(&served), 5), b"hello");
            served.finish().unwrap();
        }
        assert_eq!(descriptors(), before);
        eventually("the threads have ended", || threads() <= running);
    });
}
