//! A shutdown ends one direction of a stream.

use std::io::{self, IoSlice};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;

use super::{Face, Scene};
use crate::conformance::bulk::Bulk;
use crate::conformance::end::{CHUNK, End, failed, greet, settle, some};
use crate::conformance::pattern::{compare, pattern};
use crate::conformance::task::{Alarm, both, either};
use crate::conformance::timer::pause;
use crate::conformance::verdict::{Verdict, fail, not_exercised};
use crate::conformance::watch::Side;

/// Enough bytes to use a buffer, and few enough to fit into most buffers.
pub(super) const SOME: usize = 3000;

pub(super) async fn shutdown_sends_what_was_written(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let writes = async {
        near.write_all(pattern(0..SOME)).await.map_err(failed("write", near.side))?; // and no flush
        near.finish().await
    };
    let reads = async {
        far.expect_pattern(0..SOME).await?;
        far.expect_end().await
    };
    both(writes, reads).await
}

pub(super) async fn shutdown_sends_much_that_was_written(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    let bulk = &Bulk::new(0..plan.transfer / 4, plan.patience);
    let writes = async {
        bulk.write(&mut near, Side::Near, |_| CHUNK).await?; // and no flush
        near.finish().await
    };
    let reads = async {
        bulk.expect(&mut far, Side::Far).await?;
        far.expect_end().await
    };
    both(writes, reads).await
}

pub(super) async fn eof_stays(scene: Scene<'_>) -> Verdict {
    const ROOMS: [usize; 6] = [64, 1, 64, CHUNK, 100_000, 64];
    let Scene { mut near, mut far, .. } = scene;
    greet(&mut near, &mut far).await?;
    let ends_read = async |far: &mut End<'_>| {
        for room in ROOMS {
            far.expect_end_into(&mut vec![0; room]).await?;
        }
        Ok(())
    };
    both(near.finish(), ends_read(&mut far)).await?;
    settle(&mut far, &mut near).await?;
    ends_read(&mut far).await?;
    drop(near);
    ends_read(&mut far).await
}

pub(super) async fn half_close_keeps_other_direction(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let asks = async {
        near.send(b"all that I ask").await?;
        near.finish().await?;
        near.expect(b"all that I answer").await?;
        near.expect_end().await
    };
    let answers = async {
        far.expect(b"all that I ask").await?;
        far.expect_end().await?;
        far.send(b"all that I answer").await?;
        far.finish().await
    };
    both(asks, answers).await
}

pub(super) async fn half_close_allows_long_answer(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    greet(&mut near, &mut far).await?;
    let answer = &Bulk::new(0..plan.transfer / 4, plan.patience);
    let asks = async {
        near.finish().await?;
        answer.expect(&mut near, Side::Near).await
    };
    let answers = async {
        far.expect_end().await?;
        answer.send(&mut far, Side::Far).await?;
        far.finish().await
    };
    both(asks, answers).await
}

pub(super) async fn shutdown_keeps_unread_bytes(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let reads = async {
        let mut first = [0; 2];
        let count = some(near.read(&mut first).await, near.side, 0)?; // the rest may be in a buffer of this end now
        compare(&first[..count], near.side, 0)?;
        near.finish().await?;
        near.expect_pattern(count..SOME).await
    };
    both(far.send_pattern(0..SOME), reads).await?;
    far.expect_end().await?;
    settle(&mut far, &mut near).await
}

pub(super) async fn shutdown_leaves_read_pending(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    greet(&mut near, &mut far).await?;
    let alarm = Alarm::default();
    near.begin_read(&alarm).await?;
    both(near.finish(), far.expect_end()).await?;
    let reads = async {
        alarm.rings().await?;
        near.expect(b"still there?").await
    };
    both(far.send(b"still there?"), reads).await
}

pub(super) async fn bytes_survive_both_shutdowns(scene: Scene<'_>) -> Verdict {
    /// Turns of the runtime after which the stream counts as one whose shutdown needs a reading peer.
    const TURNS: usize = 1000;
    let Scene { mut near, mut far, plan } = scene;
    greet(&mut near, &mut far).await?;
    let mut are_shut = false;
    let close_both = async {
        both(last_word(&mut near), last_word(&mut far)).await?;
        are_shut = true;
        Ok(())
    };
    let gives_up = async {
        for _ in 0..TURNS {
            yield_now().await;
        }
        if plan.face == Face::Owned {
            pause(Duration::from_millis(200)).await; // a ring starts operations when its runtime has nothing else to do
        }
        Ok(())
    };
    either(close_both, gives_up).await?;
    if !are_shut {
        return not_exercised("a byte cannot be written and shut down while the peer does not read");
    }
    for end in [&mut far, &mut near] {
        end.expect(b"!").await?;
        end.expect_end().await?;
    }
    Ok(())
}

async fn last_word(end: &mut End<'_>) -> Verdict {
    end.send(b"!").await?;
    end.finish().await
}

pub(super) async fn write_after_shutdown_fails(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    greet(&mut near, &mut far).await?;
    let writes = async {
        near.finish().await?;
        for _ in 0..3 {
            let written = near.write(b"too late").await;
            refuse(written, &mut near).await?;
        }
        let written = near.write_vectored(&[IoSlice::new(b"too late")]).await;
        refuse(written, &mut near).await
    };
    both(writes, far.expect_end()).await
}

/// A write after a shutdown must fail or take nothing, or its flush must fail: a stream may detect it late.
async fn refuse(written: io::Result<usize>, near: &mut End<'_>) -> Verdict {
    match written {
        Ok(0) => Ok(()), // `WriteZero` for the caller of `write_all`
        Ok(count) if near.flush().await.is_ok() => {
            fail(format!("a write at the near end took {count} bytes after a shutdown, and was flushed"))
        }
        _ => Ok(()),
    }
}

pub(super) async fn second_shutdown_succeeds(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    greet(&mut near, &mut far).await?;
    let shuts_down = async {
        near.finish().await?;
        near.shutdown().await.map_err(failed("second shutdown", near.side))
    };
    both(shuts_down, far.expect_end()).await?;
    settle(&mut far, &mut near).await
}
