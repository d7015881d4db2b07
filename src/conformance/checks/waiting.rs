//! A pending operation is woken, stays quiet until then, and delays no other.

use std::future::pending;

use super::{NEVER_BLOCKED, Scene};
use crate::conformance::end::{End, greet};
use crate::conformance::task::{Alarm, both, either};
use crate::conformance::verdict::{Failure, Verdict, fail, not_exercised};

pub(super) async fn write_wakes_reader(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let alarm = Alarm::default();
    far.begin_read(&alarm).await?;
    let reads = async {
        alarm.rings().await?;
        far.expect(b"!").await
    };
    both(near.send(b"!"), reads).await
}

pub(super) async fn shutdown_wakes_reader(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let alarm = Alarm::default();
    far.begin_read(&alarm).await?;
    let reads = async {
        alarm.rings().await?;
        far.expect_end().await
    };
    both(near.finish(), reads).await
}

pub(super) async fn drop_wakes_reader(scene: Scene<'_>) -> Verdict {
    let Scene { near, mut far, .. } = scene;
    let alarm = Alarm::default();
    far.begin_read(&alarm).await?;
    drop(near);
    alarm.rings().await?;
    far.expect_end_or_error().await
}

/// Some wakes without progress are allowed, but no endless loop.
const MAX_WAKES: usize = 200;

pub(super) async fn pending_read_stays_quiet(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    greet(&mut near, &mut far).await?;
    let alarm = Alarm::default();
    for _ in 0..MAX_WAKES {
        far.read_nothing_yet(&alarm)?;
        if !alarm.rings_soon().await {
            return is_woken_although_polled_twice(&mut near, &mut far, &alarm).await;
        }
    }
    fail(format!("a pending read at the far end was woken {MAX_WAKES} times, with nothing to read"))
}

async fn is_woken_although_polled_twice(near: &mut End<'_>, far: &mut End<'_>, alarm: &Alarm) -> Verdict {
    far.read_nothing_yet(alarm)?;
    let reads = async {
        alarm.rings().await?;
        far.expect(b"wake up").await
    };
    both(near.send(b"wake up"), reads).await
}

pub(super) async fn pending_write_stays_quiet(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, plan, far: _far } = scene;
    let (alarm, mut written) = (Alarm::default(), 0);
    for _ in 0..MAX_WAKES {
        if !near.fill(&alarm, &mut written, plan.max_in_flight).await? {
            return not_exercised(NEVER_BLOCKED);
        }
        if !alarm.rings_soon().await {
            return Ok(());
        }
    }
    fail(format!("a pending write at the near end was woken {MAX_WAKES} times, with no room to write"))
}

// If no write ever blocks, this check fails, and the checks that need a pending write are not exercised.
pub(super) async fn write_blocks_without_reader(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, plan, far: _far } = scene;
    let mut written = 0;
    if !near.fill(&Alarm::default(), &mut written, plan.max_in_flight).await? {
        return fail(format!("the near end wrote {written} bytes without a reader, and could go on"));
    }
    Ok(())
}

pub(super) async fn read_wakes_writer(scene: Scene<'_>) -> Verdict {
    const MORE: usize = 1000;
    let Scene { mut near, mut far, plan } = scene;
    let (alarm, mut written, mut read) = (Alarm::default(), 0, 0);
    if !near.fill(&alarm, &mut written, plan.max_in_flight).await? {
        return not_exercised(NEVER_BLOCKED);
    }
    either(alarm.rings(), far.drain(&mut read, written)).await?;
    both(near.send_pattern(written..written + MORE), far.expect_pattern(read..written + MORE)).await
}

pub(super) async fn drop_wakes_writer(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, far, plan } = scene;
    let alarm = Alarm::default();
    if !is_left_pending(&mut near, &alarm, &mut 0, plan.max_in_flight).await? {
        return not_exercised(NEVER_BLOCKED);
    }
    drop(far);
    alarm.rings().await
}

pub(super) async fn pending_read_allows_writes(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    for end in [&mut near, &mut far] {
        end.begin_read(&Alarm::default()).await?;
    }
    both(near.send(b"from near"), far.expect(b"from near")).await?;
    both(far.send(b"from far"), near.expect(b"from far")).await
}

pub(super) async fn pending_write_allows_reads(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    if !near.fill(&Alarm::default(), &mut 0, plan.max_in_flight).await? {
        return not_exercised(NEVER_BLOCKED);
    }
    both(far.send(b"from far"), near.expect(b"from far")).await
}

pub(super) async fn read_wakes_last_poller(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let (first, last) = (Alarm::default(), Alarm::default());
    far.begin_read(&first).await?;
    far.begin_read(&last).await?;
    let reads = async {
        last.rings().await?;
        far.expect(b"for whom?").await
    };
    both(near.send(b"for whom?"), reads).await
}

pub(super) async fn write_wakes_last_poller(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    let (first, last, mut written) = (Alarm::default(), Alarm::default(), 0);
    for alarm in [&first, &last] {
        if !near.fill(alarm, &mut written, plan.max_in_flight).await? {
            return not_exercised(NEVER_BLOCKED);
        }
    }
    either(last.rings(), far.drain(&mut 0, written)).await
}

pub(super) async fn reader_and_writer_wake_separately(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    let (reader, writer, mut written, mut read) = (Alarm::default(), Alarm::default(), 0, 0);
    if !is_left_pending(&mut near, &writer, &mut written, plan.max_in_flight).await? {
        return not_exercised(NEVER_BLOCKED);
    }
    near.begin_read(&reader).await?; // the read waits last, but the write is woken
    either(writer.rings(), far.drain(&mut read, written)).await?;

    near.begin_read(&reader).await?; // now the other way round
    is_left_pending(&mut near, &writer, &mut written, plan.max_in_flight).await?;
    let sends = async {
        far.send(b"from far").await?;
        pending().await
    };
    either(reader.rings(), sends).await
}

/// Writes until a write is left pending, and polls it again: only `read-wakes-writer` is about the first poll.
async fn is_left_pending(end: &mut End<'_>, alarm: &Alarm, written: &mut usize, max: usize) -> Result<bool, Failure> {
    Ok(end.fill(alarm, written, max).await? && end.fill(alarm, written, max).await?)
}
