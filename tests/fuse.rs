//! A fuse fails once at every point, and names the point whose failure breaks a body.
#![allow(clippy::unwrap_used)]

mod common;
mod faces;

use std::cell::RefCell;
use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use faces::{Face, Scripted, Stream, on_every_face};
use ringpair::fuse::{Blown, Error, Fuse, FuseOptions};
use ringpair::mocket::{MismatchKind, MocketOptions, Script};

/// Passes three points.
fn three_points(fuse: &Fuse) -> io::Result<()> {
    fuse.maybe_fail()?;
    fuse.maybe_fail()?;
    fuse.maybe_fail()
}

/// Runs a body under a fuse, blocking and async. Both must have the same result.
fn both_ways(options: &FuseOptions, body: impl Fn(Fuse) -> io::Result<()>) -> Result<usize, Error> {
    let blocking = options.armed_blocking(&body);
    let in_task = common::runtime().block_on(options.armed(async |fuse| {
        std::future::ready(()).await;
        body(fuse)
    }));
    assert_eq!(format!("{blocking:?}"), format!("{in_task:?}"));
    blocking
}

#[test]
fn each_point_fails_once_and_then_a_run_is_clean() {
    let outcomes = RefCell::new(Vec::new());
    let points = Fuse::armed_blocking(|fuse| {
        let outcomes_of_run: Vec<bool> = (0..3).map(|_| fuse.maybe_fail().is_ok()).collect();
        assert_eq!((fuse.points(), fuse.has_blown()), (3, outcomes_of_run.contains(&false)));
        outcomes.borrow_mut().push(outcomes_of_run);
        Ok(())
    });
    assert_eq!(points.unwrap(), 3);
    let blew_at = [[false, true, true], [true, false, true], [true, true, false], [true, true, true]];
    assert_eq!(outcomes.into_inner(), blew_at);
}

#[test]
fn a_run_may_end_in_the_failure_or_go_on_after_it() {
    assert_eq!(both_ways(&FuseOptions::new(), |fuse| three_points(&fuse)).unwrap(), 3);
    let retries = |fuse: Fuse| three_points(&fuse).or_else(|_| three_points(&fuse));
    assert_eq!(both_ways(&FuseOptions::new(), retries).unwrap(), 3);
    let wraps = |fuse: Fuse| three_points(&fuse).map_err(|error| io::Error::new(ErrorKind::NotFound, Wrapped(error)));
    assert_eq!(both_ways(&FuseOptions::new(), wraps).unwrap(), 3);
    assert_eq!(both_ways(&FuseOptions::new(), |_| Ok(())).unwrap(), 0);
}

#[test]
fn a_point_is_found_behind_the_error_of_a_pair() {
    if !common::ring_is_there() {
        return;
    }
    let makes_a_pair = |fuse: Fuse| {
        let options = common::on_the_ring().configure(move |_, _| fuse.maybe_fail());
        Ok(options.make_pair_blocking::<TcpStream>().map(drop)?)
    };
    assert_eq!(both_ways(&FuseOptions::new(), makes_a_pair).unwrap(), 2);
}

#[derive(Debug)]
struct Wrapped(io::Error);

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("wrapped")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn a_failure_has_the_chosen_kind_and_names_its_location() {
    let options = FuseOptions::new().kind(ErrorKind::ConnectionReset);
    let lines = RefCell::new(Vec::new());
    let body = |fuse: Fuse| {
        let failed = fuse.maybe_fail();
        if let Err(error) = &failed {
            lines.borrow_mut().push(line!() - 2);
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let point = error.get_ref().unwrap().downcast_ref::<Blown>().unwrap().point();
            assert_eq!((point.number(), point.location().file()), (1, file!()));
            assert_eq!(point.location().line(), lines.borrow()[0]);
            assert_eq!(error.to_string(), format!("injected failure at point 1 ({}:{})", file!(), lines.borrow()[0]));
        }
        failed
    };
    options.armed_blocking(body).unwrap();
    assert_eq!(lines.borrow().len(), 1);
    Fuse::armed_blocking(|fuse| fuse.maybe_fail().inspect_err(|error| assert_eq!(error.kind(), ErrorKind::Other)))
        .unwrap();
}

#[test]
fn every_error_has_its_text() {
    let here = RefCell::new(String::new());
    let second = |fuse: Fuse| {
        fuse.maybe_fail()?;
        *here.borrow_mut() = format!("point 2 ({}:{})", file!(), line!() + 1);
        fuse.maybe_fail()
    };
    let told = |broken: Result<usize, Error>| {
        let error = broken.unwrap_err();
        (
            error.to_string().replace(&*here.borrow(), "HERE"),
            error.source().map(ToString::to_string),
            error.point().is_some(),
        )
    };
    let options = FuseOptions::new();

    let panicked = both_ways(&options, |fuse| {
        let outcome = second(fuse.clone());
        assert!(fuse.points() < 2 || outcome.is_ok(), "half of it is left");
        outcome
    });
    assert_eq!(
        told(panicked),
        ("the code panicked after the injected failure at HERE: half of it is left".to_owned(), None, true)
    );

    let strayed = both_ways(&options, |fuse| {
        second(fuse.clone()).map_err(|error| if fuse.points() == 2 { ErrorKind::NotFound.into() } else { error })
    });
    let text = "the injected failure at HERE was replaced by `entity not found`; keep it as the source, or check `has_blown()`";
    assert_eq!(told(strayed), (text.to_owned(), Some("entity not found".to_owned()), true));

    let failed = both_ways(&options, |_| Err(ErrorKind::NotFound.into()));
    let text = "a run failed without an injected failure";
    assert_eq!(told(failed), (text.to_owned(), Some("entity not found".to_owned()), false));

    let failed_by_panic = both_ways(&options, |fuse| {
        let _ = fuse.maybe_fail();
        assert!(fuse.has_blown(), "it never works");
        Ok(())
    });
    let text = "a run panicked without an injected failure: it never works";
    assert_eq!(told(failed_by_panic), (text.to_owned(), None, false));

    let no_text = both_ways(&options, |_| std::panic::panic_any(7));
    let text = "a run panicked without an injected failure: with a payload that is no text";
    assert_eq!(told(no_text), (text.to_owned(), None, false));

    let never_ends = both_ways(&options.clone().max_points(1), second);
    let text = "the fuse never ends: there are more than 1 points, the first one too many is HERE";
    assert_eq!(told(never_ends), (text.to_owned(), None, true));
}

#[test]
fn unwrap_shows_the_text_and_its_cause() {
    let failed = Fuse::armed_blocking(|_| Err(io::Error::other("the test says no"))).unwrap_err();
    assert_eq!(format!("{failed:?}"), "a run failed without an injected failure: the test says no");
}

#[test]
fn a_fuse_that_never_ends_is_stopped() {
    // The maximum of points is allowed.
    let options = FuseOptions::new().max_points(3);
    assert_eq!(both_ways(&options, |fuse| three_points(&fuse)).unwrap(), 3);
    let bodies: [fn(Fuse) -> io::Result<()>; 3] = [
        // Each run has one more point than the previous run.
        |fuse| (0..).try_for_each(|_| fuse.maybe_fail()),
        // The first run ignores the failures.
        |fuse| loop {
            let _ = fuse.maybe_fail();
        },
        // It ends at the failure, and hides its cause.
        |fuse| {
            while fuse.has_blown() || fuse.maybe_fail().is_ok() {
                if fuse.maybe_fail().is_err_and(|error| error.kind() == ErrorKind::TimedOut) {
                    break;
                }
            }
            Ok(())
        },
    ];
    for body in bodies {
        let error = both_ways(&options, body).unwrap_err();
        assert!(matches!(error, Error::NeverEnds { max_points: 3, .. }), "{error}");
        assert_eq!(error.point().unwrap().number(), 4);
    }
    // The default is high, but can be reached.
    let error = Fuse::armed_blocking(|fuse| {
        while fuse.maybe_fail().map_or_else(|error| error.kind() != ErrorKind::TimedOut, |()| true) {}
        Ok(())
    });
    assert!(matches!(error.unwrap_err(), Error::NeverEnds { max_points: 10_000, .. }));
}

/// Far longer than a run takes to reach its point, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(1);

#[test]
fn a_task_that_hangs_is_abandoned_and_its_point_named() {
    let line = RefCell::new(0);
    let hung = common::runtime().block_on(FuseOptions::new().watchdog(LIMIT).armed(async |fuse| {
        fuse.maybe_fail()?;
        *line.borrow_mut() = line!() + 1;
        match fuse.maybe_fail() {
            Err(_) => std::future::pending().await, // waits for an answer to what was never sent
            outcome => outcome,
        }
    }));
    let error = hung.unwrap_err();
    assert!(matches!(error, Error::Hung { .. }));
    let text =
        format!("the run with the injected failure at point 2 ({}:{}) has not ended after 1s", file!(), line.borrow());
    assert_eq!((error.to_string(), format!("{error:?}")), (text.clone(), text));
}

#[test]
fn a_task_that_hangs_before_its_point_has_none() {
    let options = FuseOptions::new().watchdog(Duration::from_millis(1));
    let hung = common::runtime().block_on(options.armed(async |_| std::future::pending().await));
    let error = hung.unwrap_err();
    assert!(error.point().is_none());
    assert_eq!(error.to_string(), "a run without an injected failure has not ended after 1ms");
}

/// A late blocking run ends because its points fail once the watchdog has noticed it.
#[test]
fn a_late_blocking_run_is_an_error() {
    let options = FuseOptions::new().watchdog(Duration::from_millis(1)).max_points(usize::MAX);
    let late = options.armed_blocking(|fuse| {
        let _ = fuse.maybe_fail();
        while fuse.maybe_fail().map_or_else(|error| error.kind() != ErrorKind::TimedOut, |()| true) {
            std::thread::yield_now();
            assert!(fuse.points() < 1_000_000_000, "the watchdog sleeps");
        }
        Ok(())
    });
    assert!(matches!(late, Err(Error::Hung { .. })), "{late:?}");
}

/// Blocks after an injected failure, longer than the watchdog allows: in a call, or in a task that has waited before.
fn block_for_ever(way: &str) {
    let forever = || -> io::Result<()> {
        std::thread::park_timeout(20 * LIMIT); // bounded, in case the watchdog fails
        std::process::exit(3)
    };
    let options = FuseOptions::new().watchdog(LIMIT);
    let _ = match way {
        "a call" => options.armed_blocking(|fuse| fuse.maybe_fail().or_else(|_| forever())),
        _ => common::runtime().block_on(options.armed(async |fuse| {
            let failed = fuse.maybe_fail();
            ::tokio::task::yield_now().await;
            failed.or_else(|_| forever())
        })),
    };
}

#[test]
fn a_blocked_threads_point_is_written_to_standard_error() {
    const VARIABLE: &str = "RINGPAIR_TEST_BLOCKS";
    if let Ok(way) = std::env::var(VARIABLE) {
        return block_for_ever(&way);
    }
    for way in ["a call", "a task"] {
        let program = std::env::current_exe().unwrap();
        let mut child = std::process::Command::new(program)
            .args(["--exact", "a_blocked_threads_point_is_written_to_standard_error"])
            .env(VARIABLE, way)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let read = io::BufRead::read_line(&mut io::BufReader::new(child.stderr.take().unwrap()), &mut line);
        child.kill().unwrap();
        child.wait().unwrap();
        read.unwrap();
        assert!(line.starts_with("ringpair: the run with the injected failure at point 1 (tests/fuse.rs:"), "{line}");
        assert!(line.ends_with(") has not ended after 1s\n"), "{line}");
    }
}

#[test]
fn a_limit_beyond_all_time_is_no_limit() {
    let options = FuseOptions::new().watchdog(Duration::MAX);
    assert_eq!(both_ways(&options, |fuse| three_points(&fuse)).unwrap(), 3);
}

#[test]
fn an_inert_fuse_runs_a_body_once_and_fails_at_no_point() {
    let runs = RefCell::new(0);
    let body = |fuse: Fuse| {
        *runs.borrow_mut() += 1;
        three_points(&fuse)
    };
    assert_eq!(Fuse::inert_blocking(body).unwrap(), 3);
    assert_eq!(common::runtime().block_on(Fuse::inert(async |fuse| body(fuse))).unwrap(), 3);
    assert_eq!(*runs.borrow(), 2);
    assert!(matches!(Fuse::inert_blocking(|_| Err(ErrorKind::NotFound.into())), Err(Error::Failed { .. })));
    assert!(matches!(Fuse::inert_blocking(|_| panic!("no")), Err(Error::FailedByPanic { .. })));
    let never = Fuse::default();
    (0..20_000).for_each(|_| never.maybe_fail().unwrap());
}

#[test]
fn clones_and_threads_share_the_count_of_points() {
    let points = Fuse::armed_blocking(|fuse| {
        fuse.clone().maybe_fail()?;
        std::thread::scope(|scope| scope.spawn(|| fuse.maybe_fail()).join().unwrap())
    });
    assert_eq!(points.unwrap(), 2);
}

/// The code under test: it asks and reads an answer.
async fn ask(stream: &mut impl Stream) -> io::Result<Vec<u8>> {
    stream.write_all(b"ping").await?;
    let answer = stream.read_exactly(4).await?;
    stream.shut_down().await?;
    Ok(answer)
}

async fn a_mocket_fails_at_each_of_its_reads_and_writes<F: Face>() {
    let script = Script::new().expect("ping").then().provide("po").delay(Duration::from_millis(1)).provide("ng");
    let options = MocketOptions::new().script(script.expect_shutdown());
    // A write, two reads, a shutdown. The delay, for which a read is polled twice, is no point.
    let points = Fuse::armed(async |fuse| {
        let mut mocket = F::alone(&options.clone().fuse(&fuse));
        let answer = ask(&mut mocket).await;
        mocket.close().unwrap(); // after a failure the rest of the script is not required
        assert_eq!(answer?, b"pong");
        Ok(())
    });
    assert_eq!(points.await.unwrap(), 4);

    // Pass-through operations are points too.
    let points = Fuse::armed(async |fuse| {
        let (mut mocket, mut peer) = F::pair(&MocketOptions::new().max_write_size(2).fuse(fuse)).await;
        peer.write_all(b"pong").await?;
        ask(&mut mocket).await.map(drop)
    });
    assert_eq!(points.await.unwrap(), 4);
}

async fn a_mockets_point_names_its_call_and_its_fuse<F: Face>() {
    let line = RefCell::new(0);
    let broken = Fuse::armed(async |fuse| {
        *line.borrow_mut() = line!() + 1;
        let options = MocketOptions::new().script(Script::new().provide("1").provide("2")).fuse(&fuse);
        let mut mocket = F::alone(&options);
        mocket.read(1).await?;
        mocket.read(1).await.map_err(|_| ErrorKind::NotFound)?;
        Ok(())
    });
    let error = broken.await.unwrap_err();
    let point = error.point().unwrap();
    assert_eq!((point.number(), point.location().line()), (2, *line.borrow()));
    let named = format!("point 2 (read 2 of the mocket that was given the fuse at {}:{})", file!(), line.borrow());
    assert_eq!(point.to_string(), named);
}

/// After a failure the rest of the script is not required, but different bytes are still a mismatch.
async fn after_a_failure_the_script_still_holds<F: Face>() {
    let script = Script::new().expect("ab").then().provide("1");
    let points = Fuse::armed(async |fuse| {
        let mut mocket = F::alone(&MocketOptions::new().script(script.clone()).fuse(&fuse));
        mocket.write(b"a").await?;
        mocket.write(b"b").await?; // an error drops the mocket here, with half of the script left
        mocket.read(1).await?;
        mocket.close()?;
        Ok(())
    });
    assert_eq!(points.await.unwrap(), 3);

    let broken = Fuse::armed(async |fuse| {
        let mut mocket = F::alone(&MocketOptions::new().script(Script::new().expect("ab")).fuse(&fuse));
        if mocket.write(b"ab").await.is_err() {
            let _ = mocket.write(b"sorry").await;
        }
        assert_eq!(mocket.close().map_err(|mismatch| mismatch.kind()), Ok(()));
        Ok(())
    });
    assert!(broken.await.unwrap_err().to_string().contains(&format!("{:?}", MismatchKind::Different)));
}

on_every_face!(
    a_mocket_fails_at_each_of_its_reads_and_writes,
    a_mockets_point_names_its_call_and_its_fuse,
    after_a_failure_the_script_still_holds,
);
