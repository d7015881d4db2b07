//! Sound streams pass every check of `ringpair::conformance`. For each check there is a broken stream that only this check
//! finds.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used)]

mod broken;
#[path = "../common/mod.rs"]
mod common;
mod faces;
mod fault;
mod owned;
mod sound;

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use broken::pair;
use fault::Fault;
use ringpair::conformance::{Conformance, Outcome, Report, checks};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Runtime};

/// A paused clock, which jumps to the watchdog's limit when nothing can go on: a hang shows at once, and a slow machine makes
/// no check fail.
fn with_paused_clock() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// More bytes than the pipe holds.
const MAX_IN_FLIGHT: usize = 2 << 20;

fn patient() -> Conformance {
    Conformance::new()
        .watchdog(Duration::from_secs(600))
        .transfer(1 << 20)
        .max_in_flight(MAX_IN_FLIGHT)
        .idle(Duration::from_millis(5))
}

fn report_on(fault: Fault) -> Report {
    with_paused_clock().block_on(patient().check_stream(async || Ok(pair(fault))))
}

fn names_of_failures(report: &Report) -> Vec<&str> {
    report.failures().map(|checked| &*checked.name).collect()
}

/// Each with the one check that finds it.
const BROKEN: &[(Fault, &str)] = &[
    (Fault::CorruptsAByte, "bytes-arrive-in-order"),
    (Fault::CorruptsWhereBothFlow, "both-directions-at-once"),
    (Fault::CorruptsAfterManyTurns, "requests-and-answers"),
    (Fault::LosesTheFirstWriteAfterAPause, "idle-stream-still-works"),
    (Fault::LosesTheTailOfAWrite, "writes-of-any-size"),
    (Fault::EndsOnALargeBuffer, "reads-into-any-size"),
    (Fault::ForgetsWhatDoesNotFit, "small-reads-lose-nothing"),
    (Fault::FillsFromTheBeginning, "read-appends-to-its-buffer"),
    (Fault::EndsOnAnEmptyRead, "empty-read-takes-nothing"),
    (Fault::EndsOnAnEmptyWrite, "empty-write-sends-nothing"),
    (Fault::WritesSlicesBackwards, "vectored-writes-keep-order"),
    (Fault::LosesSlicesPastSixteen, "vectored-writes-of-many-slices"),
    (Fault::FlushesOnlyWhatIsThere, "flush-of-nothing-completes"),
    (Fault::SleepsThroughAByte, "write-wakes-reader"),
    (Fault::SleepsThroughShutdown, "shutdown-wakes-reader"),
    (Fault::SleepsThroughAWritersDrop, "drop-wakes-reader"),
    (Fault::WakesReadersWithoutEnd, "pending-read-stays-quiet"),
    (Fault::HasNoEnd, "write-blocks-without-reader"),
    (Fault::WakesWritersWithoutEnd, "pending-write-stays-quiet"),
    (Fault::KeepsNoWriterAtFirst, "read-wakes-writer"),
    (Fault::SleepsThroughAReadersDrop, "drop-wakes-writer"),
    (Fault::WritesNothingWhileReading, "pending-read-allows-writes"),
    (Fault::ReadsNothingWhileWriting, "pending-write-allows-reads"),
    (Fault::KeepsTheFirstReader, "read-wakes-last-poller"),
    (Fault::KeepsTheFirstWriter, "write-wakes-last-poller"),
    (Fault::HasOnePlaceForAWaker, "reader-and-writer-wake-separately"),
    (Fault::ReadsForWhoWasPending, "cancelled-read-loses-nothing"),
    (Fault::WritesForWhoWasPending, "cancelled-write-sends-nothing"),
    (Fault::ForgetsWhatWasNotFlushed, "shutdown-sends-what-was-written"),
    (Fault::ForgetsMuchThatWasNotFlushed, "shutdown-sends-much-that-was-written"),
    (Fault::ForgetsUnreadOnShutdown, "shutdown-keeps-unread-bytes"),
    (Fault::ForgetsItsReaderOnShutdown, "shutdown-leaves-read-pending"),
    (Fault::ForgetsUnreadWhenBothAreShut, "bytes-survive-both-shutdowns"),
    (Fault::ShutsInSilenceAfterTheEnd, "half-close-keeps-other-direction"),
    (Fault::CutsLongAnswers, "half-close-allows-long-answer"),
    (Fault::TellsTheEndOnce, "eof-stays"),
    (Fault::SwallowsAfterShutdown, "write-after-shutdown-fails"),
    (Fault::ShutsDownOnce, "second-shutdown-succeeds"),
    (Fault::ResetsAfterShutdown, "eof-after-shutdown-and-drop"),
    (Fault::ResetsOnDrop, "eof-after-drop"),
    (Fault::ForgetsMuchWhenDropped, "flushed-bytes-survive-drop"),
    (Fault::ErrsBeforeBytes, "received-bytes-come-before-an-error"),
    (Fault::TellsOfADropOnce, "read-ends-after-drop"),
    (Fault::SwallowsAfterDrop, "write-fails-after-drop"),
];

#[test]
fn a_pipe_that_is_not_broken_passes() {
    report_on(Fault::None).assert();
}

#[test]
fn each_broken_pipe_is_found_by_its_own_check_only() {
    let mut wrong = Vec::new();
    for (fault, check) in BROKEN {
        let report = report_on(*fault);
        if names_of_failures(&report) != [*check] {
            let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
            wrong.push(format!("{fault:?} is for {check}, and there were {failures:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_is_a_broken_pipe_for_every_check() {
    let caught: BTreeSet<&str> = BROKEN.iter().map(|(_, check)| *check).collect();
    assert_eq!(caught, checks().map(|(name, _)| name).collect());
}

#[test]
fn faults_after_megabytes_are_found_by_default() {
    let conformance = Conformance::new().idle(Duration::ZERO);
    for (fault, check) in [
        (Fault::CorruptsAfterMegabytes, "bytes-arrive-in-order"),
        (Fault::CorruptsAfterThousandsOfTurns, "requests-and-answers"),
    ] {
        let report = with_paused_clock().block_on(conformance.check_stream(async || Ok(pair(fault))));
        assert!(names_of_failures(&report).contains(&check), "{fault:?}: {report}");
    }
}

fn names_of(report: &Report, is_wanted: impl Fn(&Outcome) -> bool) -> Vec<&str> {
    report.checks.iter().filter(|checked| is_wanted(&checked.outcome)).map(|checked| &*checked.name).collect()
}

/// The checks that need a pending write.
const OF_PENDING_WRITES: [&str; 7] = [
    "pending-write-stays-quiet",
    "read-wakes-writer",
    "drop-wakes-writer",
    "pending-write-allows-reads",
    "write-wakes-last-poller",
    "reader-and-writer-wake-separately",
    "cancelled-write-sends-nothing",
];

#[test]
fn a_stream_that_never_blocks_is_not_fully_exercised() {
    let endless = report_on(Fault::HasNoEnd);
    assert_eq!(names_of(&endless, |outcome| matches!(outcome, Outcome::NotExercised(_))), OF_PENDING_WRITES);
    let expected = Outcome::NotExercised("no write was left pending (near is the first)".to_owned());
    assert_eq!(outcome(endless, "read-wakes-writer"), expected);
}

#[test]
fn no_check_passes_on_an_empty_stream() {
    let make_pair = async || Ok((tokio::io::empty(), tokio::io::empty()));
    let report = with_paused_clock().block_on(patient().check_stream(make_pair));
    assert_eq!(names_of(&report, |outcome| *outcome == Outcome::Passed), [""; 0]);
    assert_eq!(names_of(&report, |outcome| matches!(outcome, Outcome::NotExercised(_))), OF_PENDING_WRITES);
}

#[test]
fn a_check_is_left_out_by_its_old_name_too() {
    let conformance = patient().without("a-second-shutdown-is-harmless", "it is shut down once here");
    let report = with_paused_clock().block_on(conformance.check_stream(async || Ok(pair(Fault::ShutsDownOnce))));
    report.assert();
}

/// One end of a pair in memory, broken by a closure that is asked before each read.
struct Odd(DuplexStream, fn() -> Poll<io::Result<()>>);

impl AsyncRead for Odd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match (self.1)() {
            Poll::Ready(Ok(())) => Pin::new(&mut self.0).poll_read(cx, buf),
            other => other,
        }
    }
}

impl AsyncWrite for Odd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The second end is the odd one.
fn report_on_odd(before_a_read: fn() -> Poll<io::Result<()>>) -> Report {
    let make_pair = async || {
        let (first, second) = duplex(4096);
        Ok((first, Odd(second, before_a_read)))
    };
    with_paused_clock().block_on(patient().check_stream(make_pair))
}

fn outcome(report: Report, check: &str) -> Outcome {
    report.checks.into_iter().find(|checked| checked.name == check).unwrap().outcome
}

fn why(report: Report, check: &str) -> String {
    match outcome(report, check) {
        Outcome::Failed(why) | Outcome::TimedOut(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_names_the_end_and_the_operation() {
    let check = "flush-of-nothing-completes";
    let panics = why(report_on_odd(|| panic!("out of luck")), check);
    assert_eq!(panics, "it panicked: out of luck (near is the first)");
    let errs = why(report_on_odd(|| Poll::Ready(Err(io::Error::other("no such luck")))), check);
    assert_eq!(errs, "a read failed at the far end: no such luck (near is the first)");
    let report = report_on_odd(|| Poll::Pending);
    let last = report.failures().last().unwrap().to_string();
    assert!(last.contains("after 18.75s"), "the last check gets a 32nd of the time: {last}");
    let hangs = outcome(report, "bytes-arrive-in-order");
    let pending = "pending: a write at the near end, a read at the far end";
    assert_eq!(hangs, Outcome::TimedOut(format!("after 600s; {pending} (near is the first)")));
    let ends = why(report_on(Fault::ResetsAfterShutdown), "eof-after-shutdown-and-drop");
    assert_eq!(ends, "the far end read an error instead of end of file: connection reset (near is the first)");
    let resets = why(report_on(Fault::ResetsOnDrop), "eof-after-drop");
    assert_eq!(resets, "reset on drop: the far end read an error: connection reset (near is the first)");
    let takes_more = why(report_on(Fault::TakesMoreThanItIsGiven), check);
    let more = "a write failed at the near end: it was given 3 bytes, and says that it took 4 (near is the first)";
    assert_eq!(takes_more, more);
    let takes_none = why(report_on(Fault::TakesNothingInsteadOfWaiting), "write-blocks-without-reader");
    assert_eq!(takes_none, "a write at the near end took nothing, and did not wait (near is the first)");
}

#[test]
fn every_check_fails_without_a_pair() {
    let report = with_paused_clock().block_on(
        patient().check_stream(async || Err::<(DuplexStream, DuplexStream), _>(io::Error::other("sold out"))),
    );
    assert_eq!(names_of_failures(&report).len(), checks().count());
    let expected = Outcome::Failed("there is no pair: sold out (near is the first)".to_owned());
    assert!(report.checks.iter().all(|checked| checked.outcome == expected), "{report}");
}

/// Takes one byte at a time, forever: a writer that waits for an error is busy and never pending.
struct Greedy;

impl AsyncRead for Greedy {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() > 0 {
            buf.put_slice(b"?");
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greedy {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len().min(1)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_check_that_is_busy_is_cut_off() {
    let conformance = Conformance::new().watchdog(Duration::from_millis(20)).max_in_flight(usize::MAX);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(conformance.check_stream(async || Ok((Greedy, Greedy))));
    let busy = |checked: &&ringpair::conformance::Checked| matches!(checked.outcome, Outcome::TimedOut(_));
    let busy: Vec<&str> = report.checks.iter().filter(busy).map(|checked| &*checked.name).collect();
    assert!(busy.contains(&"write-blocks-without-reader"), "{report}");
    assert!(busy.contains(&"pending-write-stays-quiet"), "{report}");
}

#[test]
fn a_check_left_out_keeps_its_place_and_reason() {
    let left_out = "second-shutdown-succeeds";
    let conformance = patient().without(left_out, "it is shut down once here");
    let report = with_paused_clock().block_on(conformance.check_stream(async || Ok(pair(Fault::ShutsDownOnce))));
    report.assert();
    let names: Vec<&str> = report.checks.iter().map(|checked| &*checked.name).collect();
    assert_eq!(names, checks().map(|(name, _)| name).collect::<Vec<_>>());
    let outcome = &report.checks.iter().find(|checked| checked.name == left_out).unwrap().outcome;
    assert_eq!(*outcome, Outcome::LeftOut("it is shut down once here".to_owned()));
}

#[test]
fn nothing_is_left_out_by_a_wrong_name_or_for_no_reason() {
    let conformance = patient().without("a-second-coming", "who knows").without("eof-stays", " .");
    let report = with_paused_clock().block_on(conformance.check_stream(async || Ok(pair(Fault::None))));
    assert_eq!(names_of_failures(&report), ["a-second-coming", "eof-stays"]);
    assert!(!report.is_conformant());
}

/// The two ends may be of different types, and the closure may borrow.
#[test]
fn ends_of_two_types_are_checked() {
    let room = [4096];
    let make_pair = async || {
        let (first, second) = duplex(room[0]);
        Ok((first, Odd(second, || Poll::Ready(Ok(())))))
    };
    with_paused_clock().block_on(patient().check_stream(make_pair)).assert();
}
