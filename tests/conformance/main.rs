//! Owes: streams that are sound pass every check of `ringpair::conformance`, and for each check there is a stream that it
//! alone finds broken.
#![cfg(feature = "epoll")]
#![allow(clippy::unwrap_used)]

mod broken;
#[path = "../common/mod.rs"]
mod common;
mod sound;

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use broken::{Fault, pair};
use ringpair::conformance::{Conformance, Outcome, Report, checks};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Runtime};

/// The clock stands still, and jumps to the watchdog's end when nothing can go on: what hangs is told at once, and a machine
/// that is slow makes nothing fail.
fn where_time_stands_still() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// More than the pipe takes in.
const MOST_IN_FLIGHT: usize = 2 << 20;

fn patient() -> Conformance {
    Conformance::new().watchdog(Duration::from_secs(600)).most_in_flight(MOST_IN_FLIGHT)
}

fn report_on(fault: Fault) -> Report {
    where_time_stands_still().block_on(patient().check_stream(async || Ok(pair(fault))))
}

fn names_of_failures(report: &Report) -> Vec<&str> {
    report.failures().map(|checked| &*checked.name).collect()
}

/// Each with the one check that finds it.
const BROKEN: &[(Fault, &str)] = &[
    (Fault::CorruptsAByte, "bytes-arrive-whole-and-in-order"),
    (Fault::CorruptsWhereBothFlow, "both-directions-flow-at-once"),
    (Fault::CorruptsAfterManyTurns, "requests-and-answers-take-turns"),
    (Fault::ForgetsWhatDoesNotFit, "a-small-buffer-loses-nothing"),
    (Fault::FillsFromTheBeginning, "a-read-goes-on-where-its-buffer-is-filled-to"),
    (Fault::EndsOnAnEmptyRead, "an-empty-read-takes-nothing"),
    (Fault::EndsOnAnEmptyWrite, "an-empty-write-sends-nothing"),
    (Fault::WritesSlicesBackwards, "vectored-writes-keep-their-order"),
    (Fault::FlushesOnlyWhatIsThere, "a-flush-of-nothing-completes"),
    (Fault::SleepsThroughAByte, "a-pending-read-is-woken-by-a-write"),
    (Fault::SleepsThroughShutdown, "a-pending-read-is-woken-by-end-of-file"),
    (Fault::SleepsThroughAWritersDrop, "a-pending-read-is-woken-when-the-peer-is-dropped"),
    (Fault::HasNoEnd, "a-write-without-a-reader-is-pending-at-last"),
    (Fault::KeepsNoWriterAtFirst, "a-pending-write-is-woken-by-a-read"),
    (Fault::SleepsThroughAReadersDrop, "a-pending-write-is-woken-when-the-peer-is-dropped"),
    (Fault::WritesNothingWhileReading, "a-pending-read-holds-up-no-write"),
    (Fault::ReadsNothingWhileWriting, "a-pending-write-holds-up-no-read"),
    (Fault::KeepsTheFirstReader, "a-read-wakes-who-polled-it-last"),
    (Fault::KeepsTheFirstWriter, "a-write-wakes-who-polled-it-last"),
    (Fault::HasOnePlaceForAWaker, "a-read-and-a-write-wake-a-task-each"),
    (Fault::ReadsForWhoWasPending, "a-cancelled-read-loses-nothing"),
    (Fault::WritesForWhoWasPending, "a-cancelled-write-sends-nothing"),
    (Fault::ForgetsWhatWasNotFlushed, "end-of-file-comes-after-the-last-byte"),
    (Fault::TellsTheEndOnce, "end-of-file-stays"),
    (Fault::ShutsBothDown, "after-a-shutdown-the-other-direction-goes-on"),
    (Fault::SwallowsAfterShutdown, "a-write-after-a-shutdown-is-an-error"),
    (Fault::ShutsDownOnce, "a-second-shutdown-is-harmless"),
    (Fault::ForgetsWhenDropped, "what-was-flushed-outlives-its-writer"),
    (Fault::TellsOfDropsInPersonOnly, "a-read-ends-after-the-peer-was-dropped"),
    (Fault::SwallowsAfterDrop, "a-write-fails-at-last-after-the-peer-was-dropped"),
];

#[test]
fn a_pipe_that_is_not_broken_passes() {
    report_on(Fault::None).assert();
}

#[test]
fn each_broken_pipe_is_found_by_its_check_and_by_no_other() {
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
fn outcome_of(check: &str, before_a_read: fn() -> Poll<io::Result<()>>) -> Outcome {
    let make_pair = async || {
        let (first, second) = duplex(4096);
        Ok((first, Odd(second, before_a_read)))
    };
    let report = where_time_stands_still().block_on(patient().check_stream(make_pair));
    report.checks.into_iter().find(|checked| checked.name == check).unwrap().outcome
}

#[test]
fn a_failure_tells_what_went_wrong_at_which_end() {
    let check = "a-flush-of-nothing-completes";
    let why = |outcome: Outcome| match outcome {
        Outcome::Failed(why) | Outcome::TimedOut(why) => why,
        other => panic!("{other:?}"),
    };
    let panics = why(outcome_of(check, || panic!("out of luck")));
    assert_eq!(panics, "it panicked: out of luck (near is the first)");
    let errs = why(outcome_of(check, || Poll::Ready(Err(io::Error::other("no such luck")))));
    assert_eq!(errs, "a read failed at the far end: no such luck (near is the first)");
    let hangs = outcome_of(check, || Poll::Pending);
    assert_eq!(hangs, Outcome::TimedOut("after 600s; pending: a read at the far end (near is the first)".to_owned()));
    let ends = why(outcome_of("end-of-file-stays", || Poll::Ready(Err(io::ErrorKind::NotConnected.into()))));
    assert_eq!(ends, "the far end read no end of file: not connected (near is the first)");
}

#[test]
fn every_check_fails_where_there_is_no_pair() {
    let report = where_time_stands_still().block_on(
        patient().check_stream(async || Err::<(DuplexStream, DuplexStream), _>(io::Error::other("sold out"))),
    );
    assert_eq!(names_of_failures(&report).len(), checks().count());
    let expected = Outcome::Failed("there is no pair: sold out (near is the first)".to_owned());
    assert!(report.checks.iter().all(|checked| checked.outcome == expected), "{report}");
}

/// Takes a byte at a time for ever, whatever becomes of them: a writer that waits for an error is busy and never pending.
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
    let conformance = Conformance::new().watchdog(Duration::from_millis(20)).most_in_flight(usize::MAX);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(conformance.check_stream(async || Ok((Greedy, Greedy))));
    let busy = |checked: &&ringpair::conformance::Checked| matches!(checked.outcome, Outcome::TimedOut(_));
    let busy: Vec<&str> = report.checks.iter().filter(busy).map(|checked| &*checked.name).collect();
    assert!(busy.contains(&"a-write-without-a-reader-is-pending-at-last"), "{report}");
    assert!(busy.contains(&"a-write-fails-at-last-after-the-peer-was-dropped"), "{report}");
}

#[test]
fn what_is_left_out_is_not_run_and_keeps_its_place_and_reason() {
    let left_out = "a-second-shutdown-is-harmless";
    let conformance = patient().without(left_out, "it is shut down once here");
    let report = where_time_stands_still().block_on(conformance.check_stream(async || Ok(pair(Fault::ShutsDownOnce))));
    report.assert();
    let names: Vec<&str> = report.checks.iter().map(|checked| &*checked.name).collect();
    assert_eq!(names, checks().map(|(name, _)| name).collect::<Vec<_>>());
    let outcome = &report.checks.iter().find(|checked| checked.name == left_out).unwrap().outcome;
    assert_eq!(*outcome, Outcome::LeftOut("it is shut down once here".to_owned()));
}

#[test]
fn nothing_is_left_out_by_a_wrong_name_or_for_no_reason() {
    let conformance = patient().without("a-second-coming", "who knows").without("end-of-file-stays", " .");
    let report = where_time_stands_still().block_on(conformance.check_stream(async || Ok(pair(Fault::None))));
    assert_eq!(names_of_failures(&report), ["a-second-coming", "end-of-file-stays"]);
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
    where_time_stands_still().block_on(patient().check_stream(make_pair)).assert();
}
