//! That an operation can be given up: polled, found pending, and dropped, as a timeout or `select!` does it.

use std::task::Poll;

use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;

use super::Scene;
use crate::conformance::end::{compare, failed, some};
use crate::conformance::task::{Alarm, both};
use crate::conformance::verdict::Verdict;

pub(super) async fn a_cancelled_read_loses_nothing(scene: Scene<'_>) -> Verdict {
    /// Less than the read that is given up had room for.
    const ROOM: usize = 16;
    const FIRST: usize = 64;
    let Scene { mut near, mut far, transfer, .. } = scene;
    let whole = FIRST + transfer / 4;
    let alarm = Alarm::default();

    far.begin_read(&alarm).await?;
    let reads = async {
        for begin in (0..FIRST).step_by(ROOM) {
            far.expect_pattern(begin..begin + ROOM).await?;
        }
        Ok(())
    };
    both(near.send_pattern(0..FIRST), reads).await?;

    let reads = async {
        let mut position = FIRST;
        while position < whole {
            let mut buffer = vec![0; ROOM + position % 1000];
            match far.try_read(&alarm, &mut buffer) {
                Poll::Ready(read) => {
                    let count = some(read, far.name, position)?;
                    compare(&buffer[..count], far.name, position)?;
                    position += count;
                }
                Poll::Pending => yield_now().await,
            }
        }
        Ok(())
    };
    both(near.send_pattern(FIRST..whole), reads).await
}

pub(super) async fn a_cancelled_write_sends_nothing(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, most_in_flight, .. } = scene;
    let mut written = 0;
    if near.fill(&Alarm::default(), &mut written, most_in_flight).await? {
        let flushes = async { near.flush().await.map_err(failed("flush", "near")) };
        both(flushes, far.expect_pattern(0..written)).await?;
        both(near.send(b"something else"), far.expect(b"something else")).await?;
    }
    Ok(())
}
