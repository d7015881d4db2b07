//! A call that is given up by a timeout loses nothing: what comes later is there for the next one.

use std::io;
use std::time::Duration;

use ringpair::PairOptions;
use ringpair::mocket::{Mocket, Script};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The code under test: takes what comes, and keeps the part of a message that it has when it is given up.
struct Messages<S> {
    stream: S,
    begun: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Messages<S> {
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        while self.begun.last() != Some(&b'\n') {
            let byte = self.stream.read_u8().await?; // a `read_line` here would forget what it had begun
            self.begun.push(byte);
        }
        Ok(std::mem::take(&mut self.begun))
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_came_too_late_is_the_next_one() {
    let script = Script::new().provide("he").delay(Duration::from_secs(2)).provide("llo\n");
    let mut messages = Messages { stream: Mocket::scripted(script), begun: Vec::new() };
    timeout(Duration::from_secs(1), messages.next()).await.unwrap_err();
    assert_eq!(messages.next().await.unwrap(), b"hello\n");
}

#[tokio::test]
async fn a_read_that_is_dropped_takes_nothing_from_the_socket() {
    let (accepted, mut connected) = PairOptions::new().make_pair::<TcpStream>().await.unwrap();
    let mut messages = Messages { stream: accepted, begun: Vec::new() };
    timeout(Duration::from_millis(1), messages.next()).await.unwrap_err();
    connected.write_all(b"hello\n").await.unwrap();
    assert_eq!(messages.next().await.unwrap(), b"hello\n");
}
