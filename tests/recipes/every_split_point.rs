//! A codec must not depend on where a read ends. Here the same bytes come cut at every point, and at every two points at once.

use futures_util::StreamExt;
use ringpair::mocket::{Mocket, Script, Splits};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

/// Two frames as they are sent: four bytes of length, then the content.
const SENT: &[u8] = b"\0\0\0\x05hello\0\0\0\x02me";

/// The code under test: reads frames until the end of file.
async fn frames(stream: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<Vec<Vec<u8>>> {
    let mut framed = FramedRead::new(stream, LengthDelimitedCodec::new());
    let mut frames = Vec::new();
    while let Some(frame) = framed.next().await {
        frames.push(frame?.to_vec());
    }
    Ok(frames)
}

#[test]
fn frames_are_whole_wherever_reads_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let runs = Splits::of(SENT).cuts(2).run(|split| {
        let came = runtime.block_on(frames(Mocket::scripted(split.provide()))).unwrap();
        assert_eq!(came, [&b"hello"[..], b"me"]); // a failure begins with `cut at bytes 3 and 7: `
    });
    assert_eq!(runs, 1 + 14 + 14 * 13 / 2);
}

#[tokio::test]
async fn a_frame_that_is_cut_off_is_an_error() {
    for split in Splits::of(SENT) {
        let Some(cut) = split.cuts().first() else { continue };
        let came = frames(Mocket::scripted(Script::new().provide(split.pieces()[0]))).await;
        assert_eq!(came.is_ok(), *cut == 9, "{split:?}"); // byte 9 is where the second frame begins
    }
}
