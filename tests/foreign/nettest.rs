//! The eleven tests of Go's `golang.org/x/net/nettest.TestConn`. Instead of a Go deadline, a future is dropped.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio::{join, try_join};

use crate::{bytes, clog, ensure, read_all, read_exactly};

const MOMENT: Duration = Duration::from_millis(1);

/// Bytes that are written before a close arrive, and then end of file.
pub(crate) async fn basic_io(mut first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    let want = bytes(1 << 20);
    let writes = async {
        for chunk in want.chunks(1 << 10) {
            first.write_all(chunk).await?;
        }
        drop(first);
        Ok(())
    };
    let ((), got) = try_join!(writes, read_all(&mut second))?;
    ensure(got == want, "the transmitted bytes differ")
}

/// Two ends count up in turn. One closes at a thousand, and the other reads end of file.
pub(crate) async fn ping_pong(mut first: TcpStream, second: TcpStream) -> io::Result<()> {
    async fn play(mut stream: TcpStream) -> io::Result<()> {
        let mut previous = None;
        loop {
            let value = match stream.read_u64_le().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                value => value?,
            };
            ensure(previous.is_none_or(|previous| previous + 2 == value), "a value was lost or came twice")?;
            previous = Some(value);
            if value == 1000 {
                return Ok(());
            }
            stream.write_u64_le(value + 1).await?;
        }
    }
    first.write_u64_le(0).await?;
    let (first, second) = join!(play(first), play(second));
    first.and(second)
}

/// Cancelled reads lose nothing.
pub(crate) async fn racy_read(mut first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    let want = bytes(1 << 16);
    let reads = async {
        let mut got = Vec::new();
        while got.len() < want.len() {
            let mut chunk = [0; 1024];
            let room = chunk.len().min(want.len() - got.len());
            if let Ok(read) = timeout(Duration::ZERO, second.read(&mut chunk[..room])).await {
                got.extend_from_slice(&chunk[..read?]);
            }
        }
        ensure(got == want, "the transmitted bytes differ")
    };
    try_join!(first.write_all(&want), reads).map(|_| ())
}

/// Cancelled writes send nothing.
pub(crate) async fn racy_write(mut first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    let want = bytes(1 << 20);
    let writes = async {
        let mut sent = 0;
        while sent < want.len() {
            if let Ok(written) = timeout(Duration::ZERO, first.write(&want[sent..])).await {
                sent += written?;
            }
        }
        Ok(())
    };
    try_join!(writes, read_exactly(&mut second, &want)).map(|_| ())
}

/// A read that timed out does not affect writes.
pub(crate) async fn read_timeout(mut first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    let read = timeout(Duration::ZERO, first.read(&mut [0; 1024])).await;
    ensure(read.is_err(), "a read did not time out")?;
    try_join!(first.write_all(&[7; 1024]), read_exactly(&mut second, &[7; 1024])).map(|_| ())
}

/// A write that timed out does not affect reads.
pub(crate) async fn write_timeout(mut first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    clog(&mut first).await?;
    try_join!(second.write_all(&[7; 1024]), read_exactly(&mut first, &[7; 1024])).map(|_| ())
}

/// Sends bytes to an end that sends them back.
async fn round_trip(first: &mut TcpStream, second: &mut TcpStream) -> io::Result<()> {
    let want = bytes(8);
    let echoes = async {
        read_exactly(second, &want).await?;
        second.write_all(&want).await
    };
    let asks = async {
        first.write_all(&want).await?;
        read_exactly(first, &want).await
    };
    try_join!(asks, echoes).map(|_| ())
}

/// After a deadline in the past the stream still works.
pub(crate) async fn past_timeout(mut first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    round_trip(&mut first, &mut second).await?;
    let read = timeout(Duration::ZERO, first.read(&mut [0; 1024])).await;
    ensure(read.is_err(), "a read did not time out")?;
    round_trip(&mut first, &mut second).await
}

/// A deadline ends a pending read and a pending write.
pub(crate) async fn present_timeout(mut first: TcpStream, _second: TcpStream) -> io::Result<()> {
    clog(&mut first).await?;
    let (mut reads, mut writes) = split(first);
    let (mut room, words) = ([0; 1024], [7; 1024]);
    let (read, written) = join!(timeout(MOMENT, reads.read(&mut room)), timeout(MOMENT, writes.write(&words)));
    ensure(read.is_err() && written.is_err(), "a read or a write did not time out")
}

/// After such a deadline the stream still works.
pub(crate) async fn future_timeout(mut first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    let mut count = clog(&mut first).await?;
    let read = timeout(MOMENT, first.read(&mut [0; 1024])).await;
    ensure(read.is_err(), "a read did not time out")?;
    while count > 0 {
        let mut chunk = [0; 16 * 1024];
        let room = chunk.len().min(count);
        count -= second.read(&mut chunk[..room]).await?;
    }
    round_trip(&mut first, &mut second).await
}

/// A close ends a pending read and a pending write. In Rust an end in use cannot be dropped, so its peer is.
pub(crate) async fn close_timeout(mut first: TcpStream, second: TcpStream) -> io::Result<()> {
    clog(&mut first).await?;
    let (mut reads, mut writes) = split(first);
    let closes = async {
        tokio::task::yield_now().await;
        drop(second);
    };
    let (mut room, words) = ([0; 1024], [7; 1024]);
    let (read, written, ()) = join!(reads.read(&mut room), writes.write(&words), closes);
    ensure(!matches!(read, Ok(1..)), "bytes were read that were never written")?;
    ensure(written.is_err(), "a write to a closed peer succeeded")
}

/// Reads, writes and address calls run at the same time.
pub(crate) async fn concurrent_methods(first: TcpStream, second: TcpStream) -> io::Result<()> {
    const ROUNDS: usize = 100;
    let (mut first_reads, mut first_writes) = first.into_split();
    let (mut second_reads, mut second_writes) = second.into_split();
    let echoes = copy(&mut second_reads, &mut second_writes);
    let writes = async {
        for _ in 0..ROUNDS {
            first_writes.write_all(&bytes(1024)).await?;
            ensure(first_writes.local_addr()?.ip().is_loopback(), "the address is wrong")?;
        }
        first_writes.shutdown().await
    };
    let reads = async {
        for _ in 0..ROUNDS {
            read_exactly(&mut first_reads, &bytes(1024)).await?;
            ensure(first_reads.peer_addr()?.ip().is_loopback(), "the address is wrong")?;
        }
        Ok(())
    };
    try_join!(echoes, writes, reads).map(|_| ())
}
