//! Pairs with `Graceful` pass Go's `nettest.TestConn` and trio's `check_*_stream`, on both engines. Pairs with `Reset` fail
//! every assertion about a close, and no other. Written in Rust from the documentation of both.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod nettest;
mod trio;

use std::io;
use std::time::Duration;

use common::on_every_engine;
use ringpair::{Linger, PairOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// How often each check runs, because a lost race is rare.
const RUNS: usize = 5;

/// Longer than any check takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

trait Check: AsyncFn(TcpStream, TcpStream) -> io::Result<()> {}
impl<F: AsyncFn(TcpStream, TcpStream) -> io::Result<()>> Check for F {}

fn run(options: &PairOptions, linger: Linger, check: impl Check) -> Vec<io::Result<()>> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let options = options.clone().linger(linger);
    let once = async || {
        let (accepted, connected) = options.make_pair::<TcpStream>().await?;
        timeout(DEADLINE, check(accepted, connected)).await?
    };
    (0..RUNS).map(|_| runtime.block_on(once())).collect()
}

fn passes(options: &PairOptions, linger: Linger, check: impl Check) {
    for result in run(options, linger, check) {
        result.unwrap();
    }
}

/// The check is about a close, so it must always reject pairs that reset.
fn passes_if_graceful(options: &PairOptions, check: impl Check) {
    passes(options, Linger::Graceful, &check);
    for result in run(options, Linger::Reset, &check) {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}

fn passes_always(options: &PairOptions, check: impl Check) {
    passes(options, Linger::Graceful, &check);
    passes(options, Linger::Reset, &check);
}

macro_rules! tests {
    ($($verdict:ident: $($module:ident $check:ident as $name:ident),+;)+) => {
        $($(fn $name(options: PairOptions) {
            $verdict(&options, $module::$check);
        })+)+
        on_every_engine!($($($name),+),+);
    };
}

tests! {
    passes_if_graceful:
        nettest basic_io as nettest_basic_io,
        nettest ping_pong as nettest_ping_pong,
        trio one_way as trio_check_one_way_stream,
        trio two_way as trio_check_two_way_stream,
        trio half_closeable as trio_check_half_closeable_stream;
    passes_always:
        nettest racy_read as nettest_racy_read,
        nettest racy_write as nettest_racy_write,
        nettest read_timeout as nettest_read_timeout,
        nettest write_timeout as nettest_write_timeout,
        nettest past_timeout as nettest_past_timeout,
        nettest present_timeout as nettest_present_timeout,
        nettest future_timeout as nettest_future_timeout,
        nettest close_timeout as nettest_close_timeout,
        nettest concurrent_methods as nettest_concurrent_methods;
}

// --- shared by both lists

fn ensure(holds: bool, what: &str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(what.to_owned())) }
}

/// Many bytes that do not repeat soon.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Reads to end of file.
async fn read_all(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    from.read_to_end(&mut read).await?;
    Ok(read)
}

/// Writes until a write has to wait. Returns how many bytes that took.
async fn clog(to: &mut (impl AsyncWrite + Unpin)) -> io::Result<usize> {
    let (mut count, chunk) = (0, [7; 16 * 1024]);
    while let Ok(written) = timeout(Duration::from_millis(20), to.write(&chunk)).await {
        count += written?;
    }
    Ok(count)
}

async fn read_exactly(from: &mut (impl AsyncRead + Unpin), expected: &[u8]) -> io::Result<()> {
    let mut read = vec![0; expected.len()];
    from.read_exact(&mut read).await?;
    ensure(read == expected, "other bytes were read than written")
}

async fn read_end(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    ensure(from.read(&mut [0; 64]).await? == 0, "bytes were read instead of end of file")
}
