//! How a stream ends: shut down at one end, or dropped.

use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;

use super::Scene;
use crate::conformance::end::{failed, pattern};
use crate::conformance::task::both;
use crate::conformance::verdict::{Verdict, fail};

/// Enough for a part of it to lie in some buffer, and little enough to fit into most.
const SOME: usize = 3000;

pub(super) async fn end_of_file_comes_after_the_last_byte(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let writes = async {
        near.write_all(pattern(0..SOME)).await.map_err(failed("write", near.name))?; // and no flush
        near.finish().await
    };
    let reads = async {
        far.expect_pattern(0..SOME).await?;
        far.expect_end().await
    };
    both(writes, reads).await
}

pub(super) async fn end_of_file_stays(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let reads = async {
        for _ in 0..5 {
            far.expect_end().await?;
        }
        Ok(())
    };
    both(near.finish(), reads).await
}

pub(super) async fn after_a_shutdown_the_other_direction_goes_on(scene: Scene<'_>) -> Verdict {
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

pub(super) async fn a_write_after_a_shutdown_is_an_error(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let writes = async {
        near.finish().await?;
        if near.send(b"too late").await.is_ok() {
            return fail("the near end wrote and flushed after it was shut down");
        }
        Ok(())
    };
    both(writes, far.expect_end()).await
}

pub(super) async fn a_second_shutdown_is_harmless(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let shuts_down = async {
        near.finish().await?;
        near.shutdown().await.map_err(failed("second shutdown", near.name))
    };
    both(shuts_down, far.expect_end()).await
}

pub(super) async fn what_was_flushed_outlives_its_writer(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let writes = async move {
        near.send_pattern(0..SOME).await?;
        drop(near);
        Ok(())
    };
    both(writes, far.expect_pattern(0..SOME)).await
}

pub(super) async fn a_read_ends_after_the_peer_was_dropped(scene: Scene<'_>) -> Verdict {
    let Scene { near, mut far, .. } = scene;
    drop(near);
    for _ in 0..3 {
        far.expect_end_or_error().await?;
    }
    Ok(())
}

pub(super) async fn a_write_fails_at_last_after_the_peer_was_dropped(scene: Scene<'_>) -> Verdict {
    const CHUNK: usize = 4096;
    let Scene { mut near, far, most_in_flight, .. } = scene;
    drop(far);
    for _ in 0..most_in_flight.div_ceil(CHUNK) {
        if near.send(pattern(0..CHUNK)).await.is_err() {
            return Ok(());
        }
        yield_now().await; // the error may be somebody else's to bring
    }
    fail(format!("the near end wrote {most_in_flight} bytes to a peer that was dropped"))
}
