//! Streams that are sound: in memory, of a socket, over others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ringpair::conformance::Conformance;
use ringpair::endpoint::EndpointOptions;
use ringpair::{Linger, PairOptions};
use tokio::io::{AsyncRead, AsyncWrite, BufStream, ReadBuf, duplex};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};

use crate::common::on_every_engine;
use crate::{patient, with_paused_clock};

pub(crate) fn every_runtime() -> [Runtime; 2] {
    [
        Builder::new_current_thread().enable_all().build().unwrap(),
        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
    ]
}

/// For streams that involve the kernel: a running clock, and long timeouts.
pub(crate) fn patient_with_the_kernel() -> Conformance {
    Conformance::new().watchdog(Duration::from_secs(300)).transfer(2 << 20).idle(Duration::from_millis(20))
}

/// Enough bytes for a stream that moves few at a time.
const SLOW: usize = 1 << 13;

// --- in memory

#[test]
fn streams_in_memory_pass() {
    for (room, transfer) in [(1, SLOW), (2, SLOW), (100, SLOW), (4096, 1 << 20), (3 << 20, 1 << 20)] {
        let conformance = patient().transfer(transfer).max_in_flight(4 << 20);
        with_paused_clock().block_on(conformance.check_stream(async || Ok(duplex(room)))).assert();
    }
}

#[test]
fn buffered_streams_pass() {
    let make_pair = async || {
        let (first, second) = duplex(1000);
        Ok((BufStream::new(first), BufStream::with_capacity(5, 7, second)))
    };
    with_paused_clock().block_on(patient().check_stream(make_pair)).assert();
}

#[test]
fn streams_behind_boxes_and_references_pass() {
    type Boxed = Pin<Box<dyn Duplex>>;
    trait Duplex: AsyncRead + AsyncWrite {}
    impl<S: AsyncRead + AsyncWrite> Duplex for S {}

    let make_pair = async || {
        let (first, second) = duplex(4096);
        Ok((Box::pin(first) as Boxed, Box::new(second)))
    };
    with_paused_clock().block_on(patient().check_stream(make_pair)).assert();
}

/// Moves a byte at a time.
struct Droplet<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Droplet<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte[..buf.remaining().min(1)]);
        let read = Pin::new(&mut self.0).poll_read(cx, &mut one);
        buf.put_slice(one.filled());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Droplet<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &bytes[..bytes.len().min(1)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn streams_that_move_a_byte_at_a_time_pass() {
    for room in [1, 4096] {
        let make_pair = async || {
            let (first, second) = duplex(room);
            Ok((Droplet(first), Droplet(second)))
        };
        with_paused_clock().block_on(patient().transfer(SLOW).check_stream(make_pair)).assert();
    }
}

/// Takes no bytes after a shutdown, instead of an error.
struct TakesNothing<S>(S, bool);

impl<S: AsyncRead + Unpin> AsyncRead for TakesNothing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TakesNothing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.1 { Poll::Ready(Ok(0)) } else { Pin::new(&mut self.0).poll_write(cx, bytes) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1 = true;
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn streams_that_take_nothing_after_a_shutdown_pass() {
    let make_pair = async || {
        let (first, second) = duplex(4096);
        Ok((TakesNothing(first, false), TakesNothing(second, false)))
    };
    with_paused_clock().block_on(patient().check_stream(make_pair)).assert();
}

/// Says that it is pending every other time, and wakes its poller at once.
struct Hesitant<S>(S, bool);

impl<S: Unpin> Hesitant<S> {
    fn hesitates(&mut self, cx: &Context<'_>) -> bool {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
        }
        self.1
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Hesitant<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.hesitates(cx) { Poll::Pending } else { Pin::new(&mut self.0).poll_read(cx, buf) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Hesitant<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.hesitates(cx) { Poll::Pending } else { Pin::new(&mut self.0).poll_write(cx, bytes) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hesitates(cx) { Poll::Pending } else { Pin::new(&mut self.0).poll_flush(cx) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hesitates(cx) { Poll::Pending } else { Pin::new(&mut self.0).poll_shutdown(cx) }
    }
}

#[test]
fn streams_that_hesitate_pass() {
    let make_pair = async || {
        let (first, second) = duplex(4096);
        Ok((Hesitant(first, false), Hesitant(second, false)))
    };
    with_paused_clock().block_on(patient().check_stream(make_pair)).assert();
}

// --- of sockets

fn own_pairs_pass(options: PairOptions) {
    let options = options.linger(Linger::Graceful);
    for runtime in every_runtime() {
        let make_pair = async || Ok(options.make_pair::<TcpStream>().await?);
        runtime.block_on(patient_with_the_kernel().check_stream(make_pair)).assert();
    }
}

fn own_pairs_that_reset_do_not_pass(options: PairOptions) {
    let [runtime, _] = every_runtime();
    let make_pair = async || Ok(options.make_pair::<TcpStream>().await?);
    let report = runtime.block_on(patient_with_the_kernel().check_stream(make_pair));
    let of_drops = ["eof-after-shutdown-and-drop", "eof-after-drop", "flushed-bytes-survive-drop"];
    let failures: Vec<&str> = report.failures().map(|checked| &*checked.name).collect();
    assert!(failures.contains(&"eof-after-drop"), "{report}");
    assert!(failures.iter().all(|name| of_drops.contains(name)), "{report}"); // what is lost with the reset varies
}

/// Without delay: answers of eight bytes, one at a time, would each wait for an acknowledgement.
fn own_pairs_of_a_factory_pass_a_byte_at_a_time(options: PairOptions) {
    let [runtime, _] = every_runtime();
    let factory = options
        .linger(Linger::Graceful)
        .nodelay(true)
        .send_buffer_size(1 << 15)
        .recv_buffer_size(1 << 15)
        .factory()
        .unwrap();
    let make_pair = async || {
        let (accepted, connected) = factory.pair::<TcpStream>().await?;
        Ok((Droplet(accepted), connected))
    };
    runtime.block_on(patient_with_the_kernel().transfer(SLOW).check_stream(make_pair)).assert();
}

on_every_engine!(own_pairs_pass, own_pairs_that_reset_do_not_pass, own_pairs_of_a_factory_pass_a_byte_at_a_time,);

#[test]
fn what_an_endpoint_accepts_passes() {
    let listens = EndpointOptions::new().linger(Linger::Graceful).accepting().unwrap();
    for runtime in every_runtime() {
        let make_pair = async || {
            let (accepted, connected) = tokio::join!(listens.accept::<TcpStream>(), TcpStream::connect(listens.addr()));
            Ok((accepted?, connected?))
        };
        runtime.block_on(patient_with_the_kernel().check_stream(make_pair)).assert();
    }
}

#[test]
fn a_unix_pair_passes() {
    for runtime in every_runtime() {
        runtime.block_on(patient_with_the_kernel().check_stream(async || UnixStream::pair())).assert();
    }
}

#[test]
fn a_stream_is_checked_in_a_tokio_uring_runtime_too() {
    #[cfg(feature = "tokio-uring")]
    if crate::common::ring_is_there() {
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
        runtime.block_on(patient_with_the_kernel().check_stream(async || UnixStream::pair())).assert();
    }
}
