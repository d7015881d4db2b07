//! That an operation can be given up: polled, found pending, and dropped, as a timeout or `select!` does it.

use std::task::Poll;

use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;

use super::{Face, Scene};
use crate::conformance::end::{failed, settle, some};
use crate::conformance::pattern::compare;
use crate::conformance::task::{Alarm, both};
use crate::conformance::verdict::{Verdict, not_exercised};

const OWNED: &str =
    "the suite finishes each operation that owns its buffer, because its runtime may lose one that is dropped";

pub(super) async fn cancelled_read_loses_nothing(scene: Scene<'_>) -> Verdict {
    /// Less than the read that is given up had room for.
    const ROOM: usize = 16;
    const FIRST: usize = 64;
    /// Bytes that are read while reads are given up; more would take long, as each read is small.
    const MOST: usize = 1 << 18;
    let Scene { mut near, mut far, plan } = scene;
    if plan.face == Face::Owned {
        return not_exercised(OWNED);
    }
    let whole = FIRST + (plan.transfer / 4).min(MOST);
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
            let mut buffer = vec![0; (ROOM + position % 1000).min(whole - position)];
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
    both(near.send_pattern(FIRST..whole), reads).await?;
    settle(&mut near, &mut far).await
}

pub(super) async fn cancelled_write_sends_nothing(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    if plan.face == Face::Owned {
        return not_exercised(OWNED);
    }
    let mut written = 0;
    if !near.fill(&Alarm::default(), &mut written, plan.most_in_flight).await? {
        return not_exercised(super::NEVER_BLOCKED);
    }
    let flushes = async { near.flush().await.map_err(failed("flush", "near")) };
    both(flushes, far.expect_pattern(0..written)).await?;
    both(near.send(b"something else"), far.expect(b"something else")).await
}
