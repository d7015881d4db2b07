//! The three checks of Python's `trio.testing`, without assertions that do not compile or do not exist in Rust: checkpoints,
//! concurrent calls, wrong arguments, calls on a closed stream.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::try_join;

use crate::{bytes, clog, ensure, read_all, read_end, read_exactly};

/// `check_one_way_stream`, up to the close of the sender.
pub(crate) async fn one_way(mut sender: TcpStream, mut receiver: TcpStream) -> io::Result<()> {
    try_join!(sender.write_all(b"x"), read_exactly(&mut receiver, b"x"))?;
    sender.write_all(b"").await?;
    try_join!(sender.write_all(b"y"), read_exactly(&mut receiver, b"y"))?;
    full_stream_blocks(&mut sender, &mut receiver).await?;
    // The sender closes before anything is read: the bytes come first, then end of file, again and again.
    sender.write_all(b"z").await?;
    drop(sender);
    read_exactly(&mut receiver, b"z").await?;
    read_end(&mut receiver).await?;
    read_end(&mut receiver).await
}

/// A sender waits until its receiver reads. Cancelled writes send nothing.
async fn full_stream_blocks(sender: &mut TcpStream, receiver: &mut TcpStream) -> io::Result<()> {
    let mut count = clog(sender).await?;
    let drains = async {
        while count > 0 {
            let mut chunk = [0; 16 * 1024];
            let room = chunk.len().min(count);
            let read = receiver.read(&mut chunk[..room]).await?;
            ensure(chunk[..read].iter().all(|byte| *byte == 7), "other bytes were read than written")?;
            count -= read;
        }
        read_exactly(receiver, b"unblocked").await
    };
    try_join!(sender.write_all(b"unblocked"), drains).map(|_| ())
}

/// `check_two_way_stream`: the same both ways, and many bytes each way at once.
pub(crate) async fn two_way(mut first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    full_stream_blocks(&mut first, &mut second).await?;
    full_stream_blocks(&mut second, &mut first).await?;
    let (there, back) = (bytes(1 << 20), bytes((1 << 20) + 1)[1..].to_vec());
    let (mut first_reads, mut first_writes) = split(first);
    let (mut second_reads, mut second_writes) = split(second);
    try_join!(
        first_writes.write_all(&there),
        second_writes.write_all(&back),
        read_exactly(&mut second_reads, &there),
        read_exactly(&mut first_reads, &back),
    )?;
    // Writes to a closed receiver keep failing; reads from a closed sender are end of file.
    let (first, mut second) = (first_reads.unsplit(first_writes), second_reads.unsplit(second_writes));
    drop(first);
    ensure(read_all(&mut second).await?.is_empty(), "bytes were read that were never written")?;
    while second.write_all(&[7; 100]).await.is_ok() {
        tokio::task::yield_now().await;
    }
    ensure(second.write_all(&[7; 100]).await.is_err(), "a broken stream works again")
}

/// `check_half_closeable_stream`.
pub(crate) async fn half_closeable(mut first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    first.write_all(b"before the end").await?;
    first.shutdown().await?;
    read_exactly(&mut second, b"before the end").await?;
    read_end(&mut second).await?;
    ensure(first.write_all(b"after the end").await.is_err(), "a write after a shutdown succeeded")?;
    first.shutdown().await?; // a second time
    let answer = bytes(1 << 20);
    try_join!(second.write_all(&answer), read_exactly(&mut first, &answer))?;
    second.write_all(b"and goodbye").await?;
    drop(second); // without a shutdown
    read_exactly(&mut first, b"and goodbye").await?;
    read_end(&mut first).await
}
