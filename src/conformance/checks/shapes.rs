//! Buffers of every size and number work: small, large, partly filled, empty, many at once.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::{Face, Scene};
use crate::conformance::bulk::{Bulk, MAX_CALLS};
use crate::conformance::end::{End, failed, greet, settle, some};
use crate::conformance::pattern::{compare, pattern};
use crate::conformance::task::{Alarm, both};
use crate::conformance::verdict::{Failure, Verdict, fail, not_exercised};
use crate::conformance::watch::Side;

/// Typical buffer sizes: small ones, and around every power of two up to 1 MiB, but at most `max`.
fn sizes(first: usize, max: usize) -> impl Iterator<Item = usize> {
    let around_powers = (8..=20).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]);
    (first..=130).chain(around_powers).chain([1_000, 10_000, 100_000]).filter(move |size| *size <= max.max(130))
}

/// Bytes of a second write, so that a lost tail of the first shows at once.
const MORE: usize = 16;

pub(super) async fn writes_of_any_size(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    greet(&mut near, &mut far).await?;
    let (mut position, mut calls) = (0, 0);
    for size in sizes(1, plan.transfer / 4) {
        let bulk = Bulk::limited(position..position + size + MORE, MAX_CALLS - calls);
        let writes = async {
            bulk.write(&mut near, Side::Near, |at| if at == position { size } else { MORE }).await?;
            near.flush().await.map_err(failed("flush", near.side))
        };
        both(writes, bulk.expect(&mut far, Side::Far)).await?;
        (position, calls) = (bulk.end(), calls + bulk.calls());
        if calls >= MAX_CALLS {
            break; // it moves a few bytes at a time
        }
    }
    settle(&mut near, &mut far).await
}

pub(super) async fn small_reads_lose_nothing(scene: Scene<'_>) -> Verdict {
    const COUNT: usize = 4096;
    let Scene { mut near, mut far, .. } = scene;
    let reads = async {
        for position in 0..COUNT {
            let mut byte = [0];
            some(far.read(&mut byte).await, far.side, position)?;
            compare(&byte, far.side, position)?;
        }
        Ok(())
    };
    both(near.send_pattern(0..COUNT), reads).await?;
    settle(&mut near, &mut far).await
}

pub(super) async fn reads_into_any_size(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    greet(&mut near, &mut far).await?;
    let (mut position, mut calls) = (0, 0);
    for size in sizes(2, plan.transfer / 4) {
        let bulk = Bulk::limited(position..position + size, MAX_CALLS - calls);
        both(bulk.send(&mut near, Side::Near), read_into(&mut far, size, position, &bulk)).await?;
        (position, calls) = (bulk.end(), calls + bulk.calls());
        if calls >= MAX_CALLS {
            break; // it moves a few bytes at a time
        }
    }
    settle(&mut near, &mut far).await
}

/// Reads a transfer, with a buffer of this size for each read.
async fn read_into(far: &mut End<'_>, size: usize, mut position: usize, bulk: &Bulk) -> Verdict {
    let mut buffer = vec![0; size];
    while position < bulk.end() {
        let count = some(far.read(&mut buffer).await, far.side, position)?;
        compare(&buffer[..count], far.side, position)?;
        position += count;
        bulk.count();
    }
    if position > bulk.end() {
        return fail(format!("the far end read more than was written, into a buffer of {size} bytes"));
    }
    Ok(())
}

pub(super) async fn read_appends_to_its_buffer(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    if plan.face != Face::Tokio {
        return not_exercised("a buffer that is partly filled exists in tokio only");
    }
    let reads = async {
        let mut space = [0; 64];
        let mut buffer = ReadBuf::new(&mut space);
        buffer.put_slice(b"before");
        while buffer.filled().len() < b"before, after".len() {
            let before = buffer.filled().len();
            let read = poll_fn(|cx| Pin::new(&mut far).poll_read(cx, &mut buffer)).await;
            read.map_err(failed("read", far.side))?;
            let now = buffer.filled().len();
            if now <= before {
                return fail(format!("a read took the far end's buffer from {before} filled bytes to {now}"));
            }
        }
        if buffer.filled() != b"before, after" {
            let text = buffer.filled().escape_ascii();
            return fail(format!("the far end's buffer held \"before\", and \"{text}\" after \", after\" was read"));
        }
        Ok(())
    };
    both(near.send(b", after"), reads).await
}

pub(super) async fn empty_read_takes_nothing(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    read_into_no_room(&mut far)?;
    let reads = async {
        far.expect(b"read, ").await?;
        read_into_no_room(&mut far)?;
        far.expect(b"and read on").await?;
        read_into_no_room(&mut far)
    };
    both(near.send(b"read, and read on"), reads).await?;
    settle(&mut near, &mut far).await
}

/// May also be pending: some sockets must be readable first.
fn read_into_no_room(end: &mut End<'_>) -> Verdict {
    match end.try_read(&Alarm::default(), &mut []) {
        Poll::Ready(Err(error)) => Err(failed("read into no room", end.side)(error)),
        Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
    }
}

pub(super) async fn empty_write_sends_nothing(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let writes = async {
        for words in [b"one", b"two"] {
            let count = near.write(&[]).await.map_err(failed("write of no bytes", near.side))?;
            if count > 0 {
                return fail(format!("a write of no bytes took {count} at the near end"));
            }
            near.send(words).await?;
            let slices = [IoSlice::new(&[]), IoSlice::new(&[])];
            let count = near.write_vectored(&slices).await.map_err(failed("write of empty slices", near.side))?;
            if count > 0 {
                return fail(format!("a write of empty slices took {count} at the near end"));
            }
        }
        Ok(())
    };
    both(writes, far.expect(b"onetwo")).await?;
    settle(&mut near, &mut far).await
}

pub(super) async fn vectored_writes_keep_order(scene: Scene<'_>) -> Verdict {
    const LENGTHS: [usize; 8] = [0, 1, 700, 0, 33, 5000, 2, 0];
    let Scene { mut near, mut far, .. } = scene;
    let whole = LENGTHS.iter().sum();
    let writes = async { write_slices(&mut near, 0, &LENGTHS).await.map(|_| ()) };
    both(writes, far.expect_pattern(0..whole)).await?;
    settle(&mut near, &mut far).await
}

pub(super) async fn vectored_writes_of_many_slices(scene: Scene<'_>) -> Verdict {
    /// Around limits of libraries and of the kernel, which is 1024.
    const COUNTS: [usize; 15] = [9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129, 257, 1023, 1024, 1025];
    const MAX_WRITES: usize = 1000;
    let Scene { mut near, mut far, .. } = scene;
    let (mut position, mut writes) = (0, 0);
    let slices = COUNTS.map(|count| (0..count).map(|place| 1 + place % 3).collect());
    for lengths in slices.into_iter().chain([vec![30_000; 3]]) {
        let end = position + lengths.iter().sum::<usize>();
        let writes_all = async {
            writes += write_slices(&mut near, position, &lengths).await?;
            near.send_pattern(end..end + MORE).await
        };
        both(writes_all, far.expect_pattern(position..end + MORE)).await?;
        position = end + MORE;
        if writes > MAX_WRITES {
            break; // it moves a few bytes at a time
        }
    }
    settle(&mut near, &mut far).await
}

/// Writes the pattern from `position` on, in slices of these lengths, and flushes. Returns how many writes it took.
async fn write_slices(near: &mut End<'_>, position: usize, lengths: &[usize]) -> Result<usize, Failure> {
    let mut left = position;
    let mut slices: Vec<IoSlice<'_>> = Vec::new();
    for length in lengths {
        slices.push(IoSlice::new(pattern(left..left + length)));
        left += length;
    }
    let (mut slices, mut left, mut writes) = (&mut slices[..], left - position, 0);
    while left > 0 {
        let count = near.write_vectored(slices).await.map_err(failed("vectored write", near.side))?;
        if count == 0 {
            return fail(format!("a vectored write of {left} bytes took none at the near end"));
        }
        IoSlice::advance_slices(&mut slices, count);
        left -= count;
        writes += 1;
    }
    near.flush().await.map_err(failed("flush", near.side))?;
    Ok(writes)
}

pub(super) async fn flush_of_nothing_completes(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let writes = async {
        for words in [b"one", b"two"] {
            near.flush().await.map_err(failed("flush of nothing", near.side))?;
            near.flush().await.map_err(failed("flush of nothing", near.side))?;
            near.send(words).await?;
        }
        Ok(())
    };
    both(writes, far.expect(b"onetwo")).await
}
