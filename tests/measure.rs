//! `Close` as a library: invalid options are refused first, everything that is opened is closed, even after a failure or an
//! early end, and each engine is the chosen one.
#![cfg(feature = "measure")]
#![allow(clippy::unwrap_used)]

mod barred;
mod common;

use barred::{answer, under};
use common::{alone, alone_in_a_network, descriptors, netstat, on_every_engine};
use nix::errno::Errno;
use nix::libc;
use ringpair::measure::Error;
use ringpair::measure::close::{Call, Close, CloseMode};
use ringpair::{Backend, PairOptions, Step};

fn every_cell_closes_its_pairs_and_leaves_nothing_open(options: PairOptions) {
    alone(|| {
        let backend = backend_of(&options);
        let before = descriptors();
        let report = Close::new().backend(backend).pairs(27).run().unwrap(); // more than one turn, and not a multiple of it
        assert_eq!(descriptors(), before);
        assert_eq!((report.engine, report.pairs, report.ended_early), (backend, 27, false));
        for cell in &report.cells {
            let counts = [&cell.first, &cell.peer, &cell.second, &cell.whole].map(|series| series.count());
            assert_eq!((cell.pairs, counts, cell.surprises), (27, [27; 4], 0), "{cell:?}");
        }
        let through_a_ring = report.cells.iter().any(|cell| cell.call == Call::Uring);
        assert_eq!(through_a_ring, backend == Backend::Uring);
    });
}

fn a_failure_halfway_has_its_cause_and_leaves_nothing_open(options: PairOptions) {
    alone(|| {
        let backend = backend_of(&options);
        let before = descriptors();
        let close = Close::new().backend(backend).pairs(3).modes([CloseMode::Shutdown]);
        let error = under(libc::SYS_shutdown, answer(Errno::ENOBUFS), move || close.run().unwrap_err());
        assert_eq!(error.to_string(), "could not shut the first end: No buffer space available (os error 105)");
        assert_eq!(descriptors(), before);
    });
}

fn an_interrupted_run_keeps_its_results(options: PairOptions) {
    let close = Close::new().backend(backend_of(&options)).pairs(1000).modes([CloseMode::Abort]);
    let report = close.run_while(|progress| progress.done < 50).unwrap();
    assert!(report.ended_early);
    assert_eq!(report.cells.iter().map(|cell| cell.pairs).sum::<u64>(), 50);
    assert!(report.cells.iter().all(|cell| cell.surprises == 0));
}

fn a_waiting_close_waits_for_the_acknowledgement(options: PairOptions) {
    alone_in_a_network(|| {
        let close = Close::new().backend(backend_of(&options)).pairs(3).modes([CloseMode::Wait]);
        let report = close.run().unwrap();
        let pairs: u64 = report.cells.iter().map(|cell| cell.pairs).sum();
        assert!(report.fits() && pairs >= 6, "{report:?}");
        // The delayed acknowledgement of the FIN ends such a close. A busy machine may send some earlier.
        assert!(netstat("TcpExt", "DelayedACKs") >= pairs / 2, "{report:?}");
    });
}

fn waiting_closes_are_a_hundred_a_cell_at_most(options: PairOptions) {
    let close = Close::new().backend(backend_of(&options)).pairs(1000).modes([CloseMode::Wait, CloseMode::Fin]);
    let mut total = 0;
    let report = close.run_while(|progress| {
        total = progress.total;
        false
    });
    assert_eq!(total, report.unwrap().cells.len() / 2 * 1100);
}

fn the_maximum_of_pairs_is_accepted(options: PairOptions) {
    let close = Close::new().backend(backend_of(&options)).pairs(usize::MAX / 28);
    let report = close.run_while(|progress| progress.done > 0 || progress.total < usize::MAX / 28).unwrap();
    assert!(report.ended_early && report.cells.iter().all(|cell| cell.pairs == 0));
}

on_every_engine!(
    every_cell_closes_its_pairs_and_leaves_nothing_open,
    a_failure_halfway_has_its_cause_and_leaves_nothing_open,
    an_interrupted_run_keeps_its_results,
    a_waiting_close_waits_for_the_acknowledgement,
    waiting_closes_are_a_hundred_a_cell_at_most,
    the_maximum_of_pairs_is_accepted,
);

#[test]
fn invalid_options_are_refused_before_anything_is_opened() {
    let close = Close::new;
    for (close, reason) in [
        (close().pairs(0), "closing no pairs measures nothing; ask for 1 or more"),
        (
            close().modes([]),
            "no way of closing was named; the ways are reset, fin, shutdown, wait, abort, reset-unread, fin-unread",
        ),
        (close().modes([CloseMode::Fin, CloseMode::Reset, CloseMode::Fin]), "the way fin is named twice"),
        (close().unread(0), "from 1 to 65536 bytes can lie unread, not 0"),
    ] {
        assert_refused(close, reason);
    }
    for (close, cells) in [(close(), 28), (close().modes([CloseMode::Wait]), 4)] {
        let most = usize::MAX / cells;
        let reason = format!("so many pairs in each cell are more than can be counted; ask for {most} or fewer");
        assert_refused(close.clone().pairs(most + 1), &reason);
        assert_refused(close.pairs(usize::MAX), &reason);
    }
}

fn assert_refused(close: Close, reason: &str) {
    let refused = under(libc::SYS_socket, answer(Errno::ENFILE), move || close.run().unwrap_err());
    assert!(matches!(&refused, Error::Options(why) if why == reason), "{refused:?}");
}

#[test]
fn a_blocked_ring_is_an_error_if_a_ring_was_chosen() {
    let close = Close::new().backend(Backend::Uring).pairs(1);
    let refused = under(libc::SYS_io_uring_setup, answer(Errno::EPERM), move || close.run().unwrap_err());
    assert!(matches!(&refused, Error::Pair(error) if error.step() == Step::Ring), "{refused:?}");
}

#[test]
fn a_given_seed_is_kept_and_a_missing_one_is_drawn() {
    let report = |close: Close| close.pairs(1).modes([CloseMode::Reset]).run().unwrap();
    assert_eq!(report(Close::new().seed(7)).seed, 7);
    assert_ne!(report(Close::new()).seed, report(Close::new()).seed);
}

fn backend_of(options: &PairOptions) -> Backend {
    options.factory().unwrap().backend()
}
