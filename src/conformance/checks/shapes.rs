//! That buffers are used as they come: small, partly filled, empty, many at once.

use std::io::IoSlice;
use std::task::Poll;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::Scene;
use crate::conformance::end::{End, compare, failed, pattern, read_on, some};
use crate::conformance::task::{Alarm, both};
use crate::conformance::verdict::{Verdict, fail};

pub(super) async fn a_small_buffer_loses_nothing(scene: Scene<'_>) -> Verdict {
    const COUNT: usize = 4096;
    let Scene { mut near, mut far, .. } = scene;
    let reads = async {
        for position in 0..COUNT {
            let mut byte = [0];
            some(far.read(&mut byte).await, far.name, position)?;
            compare(&byte, far.name, position)?;
        }
        Ok(())
    };
    both(near.send_pattern(0..COUNT), reads).await
}

pub(super) async fn a_read_goes_on_where_its_buffer_is_filled_to(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let reads = async {
        let mut space = [0; 64];
        let mut buffer = ReadBuf::new(&mut space);
        buffer.put_slice(b"before");
        while buffer.filled().len() < b"before, after".len() {
            let before = buffer.filled().len();
            read_on(&mut far, &mut buffer).await.map_err(failed("read", far.name))?;
            let read = buffer.filled().len().checked_sub(before);
            let Some(1..) = read else {
                let now = buffer.filled().len();
                return fail(format!("a read took the far end's buffer from {before} filled bytes to {now}"));
            };
        }
        if buffer.filled() != b"before, after" {
            let text = buffer.filled().escape_ascii();
            return fail(format!("the far end's buffer held \"before\", and \"{text}\" after \", after\" was read"));
        }
        Ok(())
    };
    both(near.send(b", after"), reads).await
}

pub(super) async fn an_empty_read_takes_nothing(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    read_nothing(&mut far)?;
    let reads = async {
        far.expect(b"read, ").await?;
        read_nothing(&mut far)?;
        far.expect(b"and read on").await?;
        read_nothing(&mut far)
    };
    both(near.send(b"read, and read on"), reads).await
}

/// Pending is fine too: a socket may have to be readable first, whatever there is room for.
fn read_nothing(end: &mut End<'_>) -> Verdict {
    match end.try_read(&Alarm::default(), &mut []) {
        Poll::Ready(Err(error)) => Err(failed("read into no room", end.name)(error)),
        Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
    }
}

pub(super) async fn an_empty_write_sends_nothing(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let writes = async {
        for words in [b"one", b"two"] {
            let count = near.write(&[]).await.map_err(failed("write of no bytes", near.name))?;
            if count > 0 {
                return fail(format!("a write of no bytes took {count} at the near end"));
            }
            near.send(words).await?;
        }
        Ok(())
    };
    both(writes, far.expect(b"onetwo")).await
}

pub(super) async fn vectored_writes_keep_their_order(scene: Scene<'_>) -> Verdict {
    const LENGTHS: [usize; 8] = [0, 1, 700, 0, 33, 5000, 2, 0];
    let Scene { mut near, mut far, .. } = scene;
    let whole = LENGTHS.iter().sum();
    let writes = async {
        let mut position = 0;
        let mut slices = LENGTHS.map(|length| {
            position += length;
            IoSlice::new(pattern(position - length..position))
        });
        let (mut slices, mut left) = (&mut slices[..], whole);
        while left > 0 {
            let count = near.write_vectored(slices).await.map_err(failed("vectored write", near.name))?;
            if count == 0 || count > left {
                return fail(format!("a vectored write of {left} bytes took {count} at the near end"));
            }
            IoSlice::advance_slices(&mut slices, count);
            left -= count;
        }
        near.flush().await.map_err(failed("flush", near.name))
    };
    both(writes, far.expect_pattern(0..whole)).await
}

pub(super) async fn a_flush_of_nothing_completes(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let writes = async {
        for words in [b"one", b"two"] {
            near.flush().await.map_err(failed("flush of nothing", near.name))?;
            near.flush().await.map_err(failed("flush of nothing", near.name))?;
            near.send(words).await?;
        }
        Ok(())
    };
    both(writes, far.expect(b"onetwo")).await
}
