//! The same checks through other traits, and on two threads: sound streams pass, and broken ones are found by the same check.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_executor::block_on;
use ringpair::PairOptions;
use ringpair::conformance::{Conformance, Outcome, OwnedBufStream, OwnedResult, Report};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::broken::{Broken, pair};
use crate::common::on_every_engine;
use crate::fault::Fault;
use crate::sound::{every_runtime, patient_with_the_kernel};
use crate::{BROKEN, names_of_failures, outcome, patient, why, with_paused_clock};

/// Asserts that each fault is found by its check alone, apart from faults that differ through this face.
fn each_is_found(report_on: impl Fn(Fault) -> Report, differ: &[Fault]) {
    let mut wrong = Vec::new();
    for (fault, check) in BROKEN.iter().filter(|(fault, _)| !differ.contains(fault)) {
        let report = report_on(*fault);
        let expected = [*check];
        if names_of_failures(&report) != expected {
            let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
            wrong.push(format!("{fault:?} is for {check}, and there were {failures:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// --- futures::io

/// A pipe with the traits of `futures::io`.
struct Futures(Broken);

impl futures_io::AsyncRead for Futures {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        Pin::new(&mut self.0).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }
}

impl futures_io::AsyncWrite for Futures {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn futures_report_on(fault: Fault) -> Report {
    let make_pair = async || {
        let (first, second) = pair(fault);
        Ok((Futures(first), Futures(second)))
    };
    with_paused_clock().block_on(patient().check_futures_stream(make_pair))
}

#[test]
fn futures_streams_pass_without_a_runtime() {
    let make_pair = async || {
        let (first, second) = duplex(4096);
        Ok((first.compat(), second.compat()))
    };
    let conformance = Conformance::new().idle(Duration::from_millis(5)).transfer(1 << 20);
    block_on(conformance.check_futures_stream(make_pair)).assert();
}

#[test]
fn each_broken_pipe_is_found_through_futures_io() {
    futures_report_on(Fault::None).assert();
    each_is_found(futures_report_on, &[Fault::FillsFromTheBeginning]);
}

/// Says that a read brought more than there was room for.
struct Overflowing;

impl futures_io::AsyncRead for Overflowing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buffer.len() + 1))
    }
}

impl futures_io::AsyncWrite for Overflowing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_futures_stream_that_overflows_is_told_so() {
    let conformance = patient().max_in_flight(1 << 16);
    let make_pair = async || Ok((Overflowing, Overflowing));
    let report = with_paused_clock().block_on(conformance.check_futures_stream(make_pair));
    let expected =
        "a read failed at the far end: it had room for 64 bytes, and says that it read 65 (near is the first)";
    assert_eq!(why(report, "write-wakes-reader"), expected);
}

// --- owned buffers

/// A pipe whose operations own their buffers.
struct Owned<S>(RefCell<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> OwnedBufStream for Owned<S> {
    async fn read(&self, mut buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        let mut space = vec![0; buffer.capacity()];
        let mut read = ReadBuf::new(&mut space);
        let result = poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, &mut read)).await;
        buffer.extend_from_slice(read.filled());
        (result.map(|()| buffer.len()), buffer)
    }

    async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        let written = poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, &bytes)).await;
        (written, bytes)
    }

    async fn write_vectored(&self, buffers: Vec<Vec<u8>>) -> OwnedResult<Vec<Vec<u8>>> {
        let slices: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
        let written = poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(cx, &slices)).await;
        (written, buffers)
    }

    async fn flush(&self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)).await
    }

    async fn shutdown(&self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)).await
    }
}

fn owned_report_on(fault: Fault) -> Report {
    let make_pair = async || {
        let (first, second) = pair(fault);
        Ok((Owned(RefCell::new(first)), Owned(RefCell::new(second))))
    };
    with_paused_clock().block_on(patient().check_owned_stream(make_pair))
}

#[test]
fn each_broken_pipe_is_found_through_owned_buffers() {
    let differ = [
        Fault::FillsFromTheBeginning,
        // A read or write that was begun is kept, and polled again.
        Fault::ReadsForWhoWasPending,
        Fault::WritesForWhoWasPending,
        Fault::KeepsNoWriterAtFirst,
        // More than one check finds these, as a write is pending only after a while.
        Fault::LosesTheFirstWriteAfterAPause,
        Fault::WritesNothingWhileReading,
    ];
    each_is_found(owned_report_on, &differ);
}

#[test]
fn streams_with_owned_buffers_pass() {
    owned_report_on(Fault::None).assert();
    for room in [1, 4096] {
        let make_pair = async || {
            let (first, second) = duplex(room);
            Ok((Owned(RefCell::new(first)), Owned(RefCell::new(second))))
        };
        let conformance = patient().transfer(1 << 13);
        with_paused_clock().block_on(conformance.check_owned_stream(make_pair)).assert();
    }
}

#[test]
fn a_tokio_uring_stream_is_checked() {
    #[cfg(feature = "tokio-uring")]
    if crate::common::ring_is_there() {
        use tokio_uring::net::TcpStream;
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
        let report_on = |options: PairOptions| {
            let make_pair = async || Ok(options.make_pair::<TcpStream>().await?);
            runtime.block_on(patient_with_the_kernel().check_owned_stream(make_pair))
        };
        report_on(PairOptions::new().linger(ringpair::Linger::Graceful)).assert();
        let of_reset = report_on(PairOptions::new());
        assert!(names_of_failures(&of_reset).contains(&"eof-after-drop"), "{of_reset}");
    }
}

/// A stream whose results are not true.
#[derive(Clone, Copy, PartialEq)]
enum Lying {
    ReadsMoreThanItHolds,
    TakesMore,
    TakesNothing,
    KeepsBytes,
}

impl OwnedBufStream for Lying {
    async fn read(&self, mut buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        buffer.extend_from_slice(b"hello");
        (Ok(buffer.len() + usize::from(*self == Lying::ReadsMoreThanItHolds)), buffer)
    }

    async fn write(&self, mut bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        let given = bytes.len();
        match self {
            Lying::TakesMore => (Ok(given + 1), bytes),
            Lying::TakesNothing => (Ok(0), bytes),
            Lying::KeepsBytes => {
                bytes.pop();
                (Ok(1), bytes)
            }
            Lying::ReadsMoreThanItHolds => (Ok(given), bytes),
        }
    }

    async fn shutdown(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_owned_stream_that_lies_is_told_so() {
    for (lying, check, expected) in [
        (
            Lying::ReadsMoreThanItHolds,
            "write-wakes-reader",
            "a read into 64 bytes says that it read 6, and its buffer holds 5",
        ),
        (Lying::TakesMore, "flush-of-nothing-completes", "it was given 3 bytes, and says that it took 4"),
        (Lying::TakesNothing, "flush-of-nothing-completes", "write zero"),
        (Lying::KeepsBytes, "flush-of-nothing-completes", "a write of 3 bytes gave back 2"),
    ] {
        let report = with_paused_clock().block_on(patient().check_owned_stream(async || Ok((lying, lying))));
        let why = why(report, check);
        assert!(why.contains(expected), "{why}");
    }
}

// --- two threads

fn own_pairs_pass_on_two_threads(options: PairOptions) {
    let options = options.linger(ringpair::Linger::Graceful);
    let conformance = patient_with_the_kernel().transfer(1 << 16);
    for runtime in every_runtime() {
        let make_pair = async || Ok(options.make_pair::<TcpStream>().await?);
        runtime.block_on(conformance.check_stream_on_two_threads(make_pair)).assert();
    }
}

on_every_engine!(own_pairs_pass_on_two_threads);

#[test]
fn a_stream_for_one_thread_is_found() {
    let conformance = patient().transfer(1 << 16);
    let report_on = |fault| block_on(conformance.check_stream_on_two_threads(async || Ok(pair(fault))));
    report_on(Fault::None).assert();
    assert_eq!(names_of_failures(&report_on(Fault::WorksOnOneThread)), ["ends-work-on-two-threads"]);
    let hurried = conformance.clone().watchdog(Duration::from_millis(300));
    let make_pair = async || Ok(pair(Fault::WaitsOnOtherThreads));
    let report = block_on(hurried.check_stream_on_two_threads(make_pair));
    assert_ne!(outcome(report, "ends-work-on-two-threads"), Outcome::Passed);
    let left_out = conformance.clone().without("ends-work-on-two-threads", "one thread is all we have");
    let make_pair = async || Ok(pair(Fault::WorksOnOneThread));
    block_on(left_out.check_stream_on_two_threads(make_pair)).assert();
}
