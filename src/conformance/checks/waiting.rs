//! That what waits is woken, and holds up nothing else.

use std::future::pending;

use super::Scene;
use crate::conformance::end::End;
use crate::conformance::task::{Alarm, both, either};
use crate::conformance::verdict::{Failure, Verdict, fail};

pub(super) async fn a_pending_read_is_woken_by_a_write(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let alarm = Alarm::default();
    far.begin_read(&alarm).await?;
    let reads = async {
        alarm.rings().await?;
        far.expect(b"!").await
    };
    both(near.send(b"!"), reads).await
}

pub(super) async fn a_pending_read_is_woken_by_end_of_file(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let alarm = Alarm::default();
    far.begin_read(&alarm).await?;
    let reads = async {
        alarm.rings().await?;
        far.expect_end().await
    };
    both(near.finish(), reads).await
}

pub(super) async fn a_pending_read_is_woken_when_the_peer_is_dropped(scene: Scene<'_>) -> Verdict {
    let Scene { near, mut far, .. } = scene;
    let alarm = Alarm::default();
    far.begin_read(&alarm).await?;
    drop(near);
    alarm.rings().await?;
    far.expect_end_or_error().await
}

// Where a stream lets a writer write without end, there is no pending write to ask about: this check tells that, and those
// after it have nothing to say.
pub(super) async fn a_write_without_a_reader_is_pending_at_last(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, most_in_flight, far: _far, .. } = scene;
    let mut written = 0;
    if !near.fill(&Alarm::default(), &mut written, most_in_flight).await? {
        return fail(format!("the near end wrote {written} bytes that nobody read, and could go on"));
    }
    Ok(())
}

pub(super) async fn a_pending_write_is_woken_by_a_read(scene: Scene<'_>) -> Verdict {
    const MORE: usize = 1000;
    let Scene { mut near, mut far, most_in_flight, .. } = scene;
    let (alarm, mut written, mut read) = (Alarm::default(), 0, 0);
    if near.fill(&alarm, &mut written, most_in_flight).await? {
        either(alarm.rings(), far.drain(&mut read, written)).await?;
        both(near.send_pattern(written..written + MORE), far.expect_pattern(read..written + MORE)).await?;
    }
    Ok(())
}

pub(super) async fn a_pending_write_is_woken_when_the_peer_is_dropped(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, far, most_in_flight, .. } = scene;
    let alarm = Alarm::default();
    if is_left_pending(&mut near, &alarm, &mut 0, most_in_flight).await? {
        drop(far);
        alarm.rings().await?;
    }
    Ok(())
}

pub(super) async fn a_pending_read_holds_up_no_write(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    near.begin_read(&Alarm::default()).await?;
    both(near.send(b"from near"), far.expect(b"from near")).await?;
    both(far.send(b"from far"), near.expect(b"from far")).await
}

pub(super) async fn a_pending_write_holds_up_no_read(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, most_in_flight, .. } = scene;
    if near.fill(&Alarm::default(), &mut 0, most_in_flight).await? {
        both(far.send(b"from far"), near.expect(b"from far")).await?;
    }
    Ok(())
}

pub(super) async fn a_read_wakes_who_polled_it_last(scene: Scene<'_>) -> Verdict {
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

pub(super) async fn a_write_wakes_who_polled_it_last(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, most_in_flight, .. } = scene;
    let (first, last, mut written) = (Alarm::default(), Alarm::default(), 0);
    if near.fill(&first, &mut written, most_in_flight).await? && near.fill(&last, &mut written, most_in_flight).await? {
        either(last.rings(), far.drain(&mut 0, written)).await?;
    }
    Ok(())
}

pub(super) async fn a_read_and_a_write_wake_a_task_each(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, most_in_flight, .. } = scene;
    let (reader, writer, mut written, mut read) = (Alarm::default(), Alarm::default(), 0, 0);
    if !is_left_pending(&mut near, &writer, &mut written, most_in_flight).await? {
        return Ok(());
    }
    near.begin_read(&reader).await?; // it is the last to wait, and the write is to be woken
    either(writer.rings(), far.drain(&mut read, written)).await?;

    near.begin_read(&reader).await?; // and now the other way round
    is_left_pending(&mut near, &writer, &mut written, most_in_flight).await?;
    let sends = async {
        far.send(b"from far").await?;
        pending().await
    };
    either(reader.rings(), sends).await
}

/// Writes until a write is left pending, and polls it again: who keeps no waker the first time has a check that tells.
async fn is_left_pending(end: &mut End<'_>, alarm: &Alarm, written: &mut usize, most: usize) -> Result<bool, Failure> {
    Ok(end.fill(alarm, written, most).await? && end.fill(alarm, written, most).await?)
}
