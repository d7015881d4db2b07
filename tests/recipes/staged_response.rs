//! An answer comes in stages: first the head, later the body, cut in the middle of a character.

use std::time::Duration;

use ringpair::mocket::{Mocket, Script};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// The code under test: reads a length in a line of its own, and so many bytes of text.
async fn read_answer(stream: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut stream = BufReader::new(stream);
    let mut length = String::new();
    stream.read_line(&mut length).await?;
    let length = length.trim().parse().map_err(std::io::Error::other)?;
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    String::from_utf8(text).map_err(std::io::Error::other)
}

#[tokio::test(start_paused = true)] // the script's delays are this clock's, and take no time
async fn an_answer_may_come_in_stages() {
    let script = Script::new()
        .provide("7\r\n")
        .delay(Duration::from_secs(5))
        .provide(&"Grüße".as_bytes()[..3]) // half of the ü
        .delay(Duration::from_secs(5))
        .provide(&"Grüße".as_bytes()[3..]);
    let mut mocket = Mocket::scripted(script);
    assert_eq!(read_answer(&mut mocket).await.unwrap(), "Grüße");
    mocket.close().unwrap();
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let script = Script::new().provide("7\r\nGr").end_of_file();
    let error = read_answer(Mocket::scripted(script)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}
