//! What a peer sees after a drop.

use std::io::ErrorKind;

use tokio::io::AsyncReadExt;
use tokio::task::yield_now;

use super::Scene;
use super::shutting::SOME;
use crate::conformance::bulk::Bulk;
use crate::conformance::end::{End, causes, greet};
use crate::conformance::pattern::pattern;
use crate::conformance::task::both;
use crate::conformance::verdict::{Verdict, fail};
use crate::conformance::watch::Side;

// Dropping an end with unread bytes resets a TCP connection. So each check greets first, which makes TLS read its tickets.

pub(super) async fn eof_after_shutdown_and_drop(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    greet(&mut near, &mut far).await?;
    let bulk = &Bulk::new(0..plan.transfer, plan.patience);
    let closes = async move {
        bulk.send(&mut near, Side::Near).await?;
        near.finish().await?;
        drop(near);
        Ok(())
    };
    let reads = async {
        bulk.expect(&mut far, Side::Far).await?;
        far.expect_end().await
    };
    both(closes, reads).await
}

pub(super) async fn eof_after_drop(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    greet(&mut near, &mut far).await?;
    drop(near);
    end_after_drop(&mut far).await
}

/// Reads end of file, or the error of a stream that tells a drop from a shutdown, as TLS does.
async fn end_after_drop(far: &mut End<'_>) -> Verdict {
    match far.read(&mut [0; 64]).await {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
        Ok(count) => fail(format!("the far end read {count} bytes that were never written")),
        Err(error) => fail(format!("reset on drop: the far end read an error: {}", causes(&error))),
    }
}

pub(super) async fn flushed_bytes_survive_drop(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    greet(&mut near, &mut far).await?;
    let bulk = &Bulk::new(0..plan.transfer, plan.patience);
    let writes = async move {
        bulk.send(&mut near, Side::Near).await?;
        drop(near);
        Ok(())
    };
    both(writes, bulk.expect(&mut far, Side::Far)).await?;
    end_after_drop(&mut far).await
}

pub(super) async fn received_bytes_come_before_an_error(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    greet(&mut near, &mut far).await?;
    let writes = async move {
        near.send_pattern(0..SOME).await?;
        drop(near);
        Ok(())
    };
    both(writes, far.expect_pattern(0..SOME)).await?;
    far.expect_end_or_error().await
}

pub(super) async fn read_ends_after_drop(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    greet(&mut near, &mut far).await?;
    drop(near);
    for _ in 0..3 {
        far.expect_end_or_error().await?;
    }
    Ok(())
}

pub(super) async fn write_fails_after_drop(scene: Scene<'_>) -> Verdict {
    const CHUNK: usize = 4096;
    let Scene { mut near, mut far, plan } = scene;
    greet(&mut near, &mut far).await?;
    drop(far);
    for _ in 0..plan.max_in_flight.div_ceil(CHUNK) {
        if near.send(pattern(0..CHUNK)).await.is_err() {
            return Ok(());
        }
        yield_now().await; // another task may have to deliver the error
    }
    fail(format!("the near end wrote {} bytes to a peer that was dropped", plan.max_in_flight))
}
