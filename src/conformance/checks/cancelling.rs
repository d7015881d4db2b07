//! An operation can be cancelled: polled once, and dropped while pending, as by a timeout or `select!`.

use std::task::Poll;

use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;

use super::{Face, Scene};
use crate::conformance::end::{failed, settle, some};
use crate::conformance::pattern::compare;
use crate::conformance::task::{Alarm, both};
use crate::conformance::verdict::{Verdict, not_exercised};
use crate::conformance::watch::Side;

const OWNED: &str = "an operation that owns its buffer is always finished, because its runtime may lose a dropped one";

pub(super) async fn cancelled_read_loses_nothing(scene: Scene<'_>) -> Verdict {
    /// Less room than the cancelled read had.
    const ROOM: usize = 16;
    const FIRST: usize = 64;
    /// The maximum of bytes read while reads are cancelled. More would take long, because each read is small.
    const MAX: usize = 1 << 18;
    let Scene { mut near, mut far, plan } = scene;
    if plan.face == Face::Owned {
        return not_exercised(OWNED);
    }
    let whole = FIRST + (plan.transfer / 4).min(MAX);
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
                    let count = some(read, far.side, position)?;
                    compare(&buffer[..count], far.side, position)?;
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
    if !near.fill(&Alarm::default(), &mut written, plan.max_in_flight).await? {
        return not_exercised(super::NEVER_BLOCKED);
    }
    let flushes = async { near.flush().await.map_err(failed("flush", Side::Near)) };
    both(flushes, far.expect_pattern(0..written)).await?;
    both(near.send(b"something else"), far.expect(b"something else")).await
}
