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

/// The stream ends at every point in turn. Between the frames, at byte 9, that is no error. After a length, this codec forgets that
/// it waits for the content: a finding.
#[tokio::test]
async fn most_frames_that_are_cut_off_are_errors() {
    let mut unnoticed = Vec::new();
    for split in Splits::of(SENT).skip(1) {
        let came = frames(Mocket::scripted(Script::new().provide(split.pieces()[0]))).await;
        unnoticed.extend(came.is_ok().then(|| split.cuts()[0]));
    }
    assert_eq!(unnoticed, [4, 9, 13]);
}
