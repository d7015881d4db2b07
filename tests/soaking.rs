//! A soak makes the pairs that it was asked for, and reports every pair that fails and everything that is left behind, in the
//! library and on the command line.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod barred;
#[allow(unused_imports, unused_macros)] // the streams choose the engine here
mod common;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use barred::{answer, under};
use common::{Scratch, alone, descriptors, limit_descriptors, on_one_line, ringpair, text};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringpair::measure::Error;
use ringpair::measure::soak::{PairInfo, Soak};
use ringpair::{Backend, Linger, Step};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FAILED: i32 = 1;
const WRONG: i32 = 2;
const COMPLAINT: i32 = 3;
const INTERRUPTED: i32 = 130;

// --- the library

async fn ping(accepted: &mut TcpStream, connected: &mut TcpStream, turn: PairInfo) -> io::Result<()> {
    connected.write_all(&turn.seed.to_be_bytes()).await?;
    assert_eq!(accepted.read_u64().await?, turn.seed);
    Ok(())
}

#[test]
fn threads_and_tasks_use_every_pair_once() {
    for backend in [Backend::Auto, Backend::Epoll] {
        let soak = Soak::new().backend(backend).pairs(301).threads(2).concurrency(3).live(10).linger(Linger::Reset);
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = std::sync::Arc::clone(&seen);
        let report = soak.run(async move |accepted: &mut TcpStream, connected: &mut TcpStream, turn: PairInfo| {
            noted.lock().unwrap().push(turn.number);
            ping(accepted, connected, turn).await
        });
        let report = report.unwrap();
        assert!(report.failures.is_empty() && !report.ended_early, "{report:?}");
        assert_eq!([report.pairs, report.make.count(), report.body.count(), report.close.count()], [301; 4]);
        let mut seen = seen.lock().unwrap();
        seen.sort();
        assert!(seen.iter().copied().eq(0..301), "{seen:?}");
        if backend == Backend::Epoll {
            assert_eq!(report.engine, Backend::Epoll);
        }
    }
}

#[test]
fn both_ends_of_a_soak_have_the_address() {
    for address in ["127.1.2.3", "::1"] {
        let address: std::net::IpAddr = address.parse().unwrap();
        let soak = Soak::new().address(address).pairs(5);
        let report = soak.run(async move |accepted: &mut TcpStream, connected: &mut TcpStream, _| {
            assert_eq!([accepted.local_addr()?.ip(), connected.local_addr()?.ip()], [address; 2]);
            Ok(())
        });
        let report = report.unwrap();
        assert_eq!((report.body.count(), report.failures.len()), (5, 0));
    }
}

#[cfg(feature = "tokio-uring")]
#[test]
fn streams_that_live_on_a_ring_are_soaked_on_one() {
    if !common::ring_is_there() {
        return;
    }
    use tokio_uring::net::TcpStream;
    let soak = Soak::new().pairs(100).concurrency(4);
    let body = async |accepted: &mut TcpStream, connected: &mut TcpStream, _: PairInfo| {
        connected.write_all(b"ping".to_vec()).await.0?;
        let (read, bytes) = accepted.read(vec![0; 4]).await;
        assert_eq!(&bytes[..read?], b"ping");
        Ok(())
    };
    let report = soak.run(body).unwrap();
    assert_eq!((report.engine, report.pairs, report.failures.len()), (Backend::Uring, 100, 0));
    let refused = soak.backend(Backend::Epoll).run(body);
    assert!(matches!(refused, Ok(report) if report.engine == Backend::Uring), "a stream decides where it lives");
}

#[test]
fn a_body_that_fails_panics_or_hangs_is_counted() {
    let soak = Soak::new().pairs(40).concurrency(2).pair_timeout(Duration::from_millis(200));
    let report = soak.run(async |_: &mut TcpStream, _: &mut TcpStream, turn: PairInfo| match turn.number {
        7 => Err(io::Error::other("the seventh fails")),
        8 => panic!("the eighth panics"),
        9 => std::future::pending().await,
        _ => Ok(()),
    });
    let report = report.unwrap();
    let failures: Vec<_> = report.failures.iter().map(|(step, count)| (step.as_str(), *count)).collect();
    assert_eq!((report.pairs, failures), (37, vec![("body", 1), ("pair_timeout", 1), ("panic", 1)]));
    assert!(report.complaints()[0].starts_with("3 pairs failed; the first said: "), "{:?}", report.complaints());
}

#[test]
fn a_pair_that_takes_too_long_is_named_with_its_stage() {
    alone(|| {
        let soak = Soak::new().pairs(3).pair_timeout(Duration::from_millis(300));
        let report = soak.run(async |_: &mut TcpStream, _: &mut TcpStream, turn: PairInfo| match turn.number {
            1 => std::future::pending().await,
            _ => Ok(()),
        });
        let report = report.unwrap();
        assert_eq!((report.pairs, report.failures["pair_timeout"]), (2, 1));
        let expected = "1 pairs failed; the first said: pair 1 was not through after 300ms: its body was running";
        assert_eq!(report.complaints(), [expected]);
    });
}

fn block_for_good() -> ! {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_thread_that_a_body_blocks_is_given_up() {
    alone(|| {
        let soak = Soak::new().pairs(20).threads(2).pair_timeout(Duration::from_millis(300));
        let report = soak.run(async |_: &mut TcpStream, _: &mut TcpStream, turn: PairInfo| {
            if turn.number == 5 {
                block_for_good();
            }
            Ok(())
        });
        let report = report.unwrap();
        assert_eq!((report.pairs, report.failures["pair_timeout"], report.blocked_threads), (19, 1, 1), "{report:?}");
        let first = report.first_failure.as_deref();
        assert_eq!(first, Some("pair 5 was not through after 300ms: its body was running, and blocks its thread"));
        assert!(report.complaints()[1].starts_with("1 threads are blocked and were given up"), "{report:?}");
    });
}

#[test]
fn bodies_that_never_end_are_abandoned_at_the_end() {
    alone(|| {
        for block in [false, true] {
            let soak = Soak::new().duration(Duration::from_secs(3600)).pair_timeout(Duration::MAX).concurrency(2);
            let stuck = Arc::new(AtomicU64::new(0));
            let are_stuck = Arc::clone(&stuck);
            let body = async move |_: &mut TcpStream, _: &mut TcpStream, turn: PairInfo| {
                let gets_stuck = turn.number == 4 || (turn.number == 3 && !block);
                stuck.fetch_add(u64::from(gets_stuck), Relaxed);
                match gets_stuck {
                    true if block => block_for_good(),
                    true => std::future::pending().await,
                    false => Ok(()),
                }
            };
            let expected = if block { 1 } else { 2 };
            let report = soak.run_while(body, |_| are_stuck.load(Relaxed) < expected).unwrap();
            assert!(report.ended_early && report.failures.is_empty(), "{report:?}");
            // A blocked thread cannot go on with its other pair either.
            assert!(if block { (1..=2).contains(&report.abandoned) } else { report.abandoned == 2 }, "{report:?}");
            assert_eq!(report.blocked_threads, u64::from(block));
            let expected = format!("{} bodies were abandoned: they did not end when the soak did", report.abandoned);
            assert_eq!(report.complaints()[0], expected);
        }
    });
}

#[cfg(feature = "tokio-uring")]
#[test]
fn reads_left_pending_on_a_ring_end_with_their_pair() {
    if !common::ring_is_there() {
        return;
    }
    use tokio_uring::net::TcpStream;
    alone(|| {
        let soak = Soak::new().pairs(2).pair_timeout(Duration::from_millis(100));
        let report = soak.run(async |accepted: &mut TcpStream, connected: &mut TcpStream, _: PairInfo| {
            let (one, other) = (accepted.read(vec![0; 1]), connected.read(vec![0; 1]));
            futures_util::future::join(one, other).await.0.0.map(drop)
        });
        let report = report.unwrap();
        assert_eq!((report.failures["pair_timeout"], report.blocked_threads), (2, 0), "{report:?}");
        assert_eq!(report.complaints().len(), 1, "nothing stays open: {report:?}");
    });
}

#[test]
fn too_many_failures_end_the_soak() {
    let body = async |_: &mut TcpStream, _: &mut TcpStream, turn: PairInfo| match turn.number % 2 {
        0 => Err(io::Error::other("each second one")),
        _ => Ok(()),
    };
    let soak = Soak::new().duration(Duration::from_secs(3600));
    for (soak, failures) in [(soak.clone().max_failures(7), 8), (soak.max_failure_rate(0.4), 51)] {
        let report = soak.run(body).unwrap();
        assert_eq!((report.failures["body"], report.failed_too_often, report.ended_early), (failures, true, false));
        assert_eq!(report.complaints()[1], "it was ended early: more pairs failed than were allowed to");
    }
}

#[test]
fn a_descriptor_that_is_left_open_is_complained_of() {
    alone(|| {
        let leak = async |_: &mut TcpStream, _: &mut TcpStream, turn: PairInfo| {
            if turn.number == 3 {
                let _ = OwnedFd::from(File::open("/dev/null")?).into_raw_fd();
            }
            Ok(())
        };
        let report = Soak::new().pairs(10).run(leak).unwrap();
        assert_eq!(report.complaints(), ["1 descriptors more are open than before"]);
    });
}

#[test]
fn pairs_are_held_open_as_many_as_asked_for() {
    alone(|| {
        // The last body looks: by then those that are held are as many as there will be.
        let look = async |accepted: &mut TcpStream, connected: &mut TcpStream, turn: PairInfo| {
            let open = fs::read_dir("/proc/self/fd")?.count();
            let told = io::Error::other(format!("{open} descriptors"));
            ping(accepted, connected, turn).await?;
            if turn.number == 199 { Err(told) } else { Ok(()) }
        };
        let open = |live| {
            let report = Soak::new().pairs(200).live(live).run(look).unwrap();
            assert_eq!(report.complaints().len(), 1, "{report:?}"); // and everything is closed in the end
            let told = report.first_failure.unwrap();
            told.split(' ').nth(2).unwrap().parse::<usize>().unwrap()
        };
        let (none, many) = (open(0), open(150));
        assert_eq!(many, none + 300);
    });
}

#[test]
fn at_a_rate_late_pairs_count_from_their_planned_begin() {
    let stall = async |_: &mut TcpStream, _: &mut TcpStream, turn: PairInfo| {
        if turn.number == 0 {
            std::thread::sleep(Duration::from_millis(200)); // the stall itself: nothing else goes on in this thread
        }
        Ok(())
    };
    let report = Soak::new().pairs(100).rate(1000.0).run(stall).unwrap();
    // All hundred should have begun within the first hundred milliseconds of a stall of two hundred.
    assert!(report.make.percentile(50.0) >= 100_000_000, "{:?}", report.make);
    assert!(report.make.count() == 100 && report.elapsed >= Duration::from_millis(200));
}

#[test]
fn it_ends_when_it_is_told_to_and_when_its_time_is_up() {
    let report = Soak::new().duration(Duration::from_secs(3600)).run_while(ping, |progress| progress.pairs == 0);
    let report = report.unwrap();
    assert!(report.ended_early && report.pairs > 0, "{report:?}");

    let report = Soak::new().duration(Duration::from_millis(50)).run(ping).unwrap();
    assert!(!report.ended_early && report.pairs > 0 && report.elapsed >= Duration::from_millis(50), "{report:?}");

    // Not even a pair that is planned for the far end of the hour holds it up.
    let slow = Soak::new().pairs(10).rate(0.001);
    let report = slow.run_while(ping, |progress| progress.pairs == 0).unwrap();
    assert!(report.ended_early && report.pairs == 1, "{report:?}");
}

#[test]
fn a_pair_that_is_never_due_is_never_made() {
    // In a year, and later than an `Instant`, a `Duration` and a number can tell.
    for rate in [3e-8, 1e-19, 1e-30, f64::from_bits(1)] {
        let soak = Soak::new().pairs(5).concurrency(2).rate(rate);
        let report = soak.clone().duration(Duration::from_millis(20)).run(ping).unwrap();
        assert_eq!((report.pairs, report.failures.len(), report.ended_early), (1, 0, false), "{rate}");
        let report = soak.run_while(ping, |progress| progress.pairs == 0).unwrap();
        assert_eq!((report.pairs, report.failures.len(), report.ended_early), (1, 0, true), "{rate}");
    }
}

#[test]
fn a_watcher_that_panics_leaves_no_thread_at_work() {
    alone(|| {
        let before = descriptors();
        let watched = std::panic::catch_unwind(|| {
            let soak = Soak::new().duration(Duration::from_secs(3600)).threads(2);
            soak.run_while(ping, |progress| if progress.pairs > 0 { panic!("as the test wants it") } else { true })
        });
        assert!(watched.is_err());
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn what_cannot_be_soaked_is_refused_before_anything_is_opened() {
    let soak = Soak::new;
    for (soak, reason) in [
        (soak().pairs(0), "a soak of no pairs shows nothing"),
        (soak().duration(Duration::ZERO), "a soak of no time"),
        (soak().rate(0.0), "greater than zero"),
        (soak().rate(f64::NAN), "greater than zero"),
        (soak().pair_timeout(Duration::ZERO), "leaves no time for a pair"),
        (soak().max_failure_rate(1.5), "a part of all pairs, from 0 to 1"),
        (soak().max_failure_rate(f64::NAN), "a part of all pairs, from 0 to 1"),
        (soak().live(usize::MAX), "descriptors, and this process may have "),
    ] {
        match soak.run(ping) {
            Err(Error::Options(why)) => assert!(why.contains(reason), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    let inside = common::runtime().block_on(async { soak().run(ping) });
    assert!(matches!(inside, Err(Error::Options(why)) if why.contains("in a runtime")));
    let refused = soak().linger(Linger::Wait(Duration::ZERO)).threads(3).run(ping);
    assert!(matches!(refused, Err(Error::Pair(error)) if error.step() == Step::Options));
}

#[test]
fn too_few_descriptors_are_reported_with_the_number_needed() {
    alone(|| {
        limit_descriptors(64);
        let soak = Soak::new().pairs(10).live(100);
        let needed = soak.descriptors_needed();
        match soak.run(ping) {
            Err(Error::Options(why)) => {
                let told: usize = why.split_whitespace().nth(2).unwrap().parse().unwrap();
                assert!((needed..needed + 20).contains(&told) && why.contains("may have 64 "), "{why}");
            }
            other => panic!("{other:?}"),
        }
    });
}

// --- the command line

#[test]
fn the_command_soaks_tells_and_says_that_it_is_clean() {
    let output = run(&["--pairs", "200", "--concurrency", "3", "--threads", "2"], 0);
    let verdict = match output.contains("in a network namespace of its own") {
        true => "\nclean: nothing failed, and nothing was left behind\n",
        false => "\nnothing failed, and nothing that was judged was left behind\n",
    };
    assert!(output.starts_with("200 pairs in ") && output.contains(verdict), "{output}");
    assert!(output.lines().all(|line| line.chars().count() <= 100), "{output}");
    for name in ["make ", "body ", "close ", "whole "] {
        let line = output.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.ends_with(" 200"), "{output}");
    }
}

#[test]
fn figures_of_a_report_agree_with_each_other() {
    for more in [&[][..], &["--linger", "graceful", "--live", "20"]] {
        let report = json(&[&["--pairs", "150", "--seed", "9", "--histograms"], more].concat());
        let is_noted = !more.is_empty() || report["netns"] == false;
        assert_eq!(report["notes"].as_array().unwrap().len(), usize::from(is_noted), "{report}");
        assert_eq!((&report["pairs"], &report["seed"], &report["clean"]), (&150.into(), &9.into(), &true.into()));
        for series in ["make", "body", "close", "whole"] {
            let values = &report[series];
            let counts = values["counts_by_ns"].as_array().unwrap();
            let sum: u64 = counts.iter().map(|count| count[1].as_u64().unwrap()).sum();
            assert_eq!((sum, &values["count"]), (150, &150.into()));
            assert_eq!(counts.last().unwrap()[0], values["max_ns"]);
        }
        assert_eq!(report["shards"], Value::Array(Vec::new()));
    }
}

#[test]
fn a_line_a_second_is_printed_and_the_report_last() {
    let output = run(&["--duration", "2.5s", "--rate", "50", "--json-lines"], 0);
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (report, seconds) = lines.split_last().unwrap();
    assert!(!seconds.is_empty() && seconds.iter().all(|line| line["kind"] == "second"), "{output}");
    assert!(seconds.iter().map(|line| line["pairs"].as_u64().unwrap()).is_sorted());
    // At fifty a second there are 125 that are planned for these seconds, however busy the machine.
    assert_eq!((&report["kind"], &report["pairs"]), (&"report".into(), &125.into()));
}

#[test]
fn wrong_input_is_refused_with_a_reason() {
    for (arguments, reason) in [
        (&["--pairs", "0"][..], "expected 1 or more"),
        (&["--duration", "1d"], "there is no unit `d`"),
        (&["--duration", "0s"], "expected more than zero"),
        (&["--rate", "-1"], "unexpected argument '-1'"),
        (&["--rate", "0"], "greater than zero"),
        (&["--threads", "0"], "expected 1 or more"),
        (&["--concurrency", "none"], "expected a whole number"),
        (&["--linger", "softly"], "invalid value 'softly'"),
        (&["--shard", "3/3"], "there is no shard 3 of 3"),
        (&["--shard", "one"], "expected an index and a number of shards, for example 0/4"),
        (
            &["--shard", "3/4", "--pairs", "2"],
            "shard 3/4 has no pair to make: 2 are fewer than the shards; ask for 4 or more",
        ),
        (&["--shard", "3/4", "--pairs", "0"], "expected 1 or more"),
        (&["--live", "9999999"], "descriptors, and this process may have "),
        (&["--json", "--json-lines"], "cannot be used with"),
        (&["--json", "/no-such-folder/report.json"], "error: --json /no-such-folder/report.json: No such file or "),
        (&["--json", "/dev"], "error: --json /dev: Is a directory"),
        (&["--pair-timeout", "0s"], "expected more than zero"),
        (&["--max-failures", "some"], "a number of pairs or a percentage, for example 10, 1k or 1%"),
        (&["--max-failures", "101%"], "expected a percentage from 0 to 100"),
    ] {
        let output = ringpair(&["soak"]).args(arguments).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(WRONG), String::new()), "{arguments:?}");
        let error = common::without_network_note(&output.stderr);
        assert!(error.starts_with("error: ") && error.contains(reason), "{arguments:?}: {error}");
    }
    let output = ringpair(&["soak"]).env("CI_NODE_INDEX", "9").env("CI_NODE_TOTAL", "4").output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(WRONG), "error: there is no shard 8 of 4: they are counted from 0\n")
    );
}

/// Runs the command by epoll, and lets each of its reads on a socket find nothing.
fn run_deaf(arguments: &'static [&'static str]) -> std::process::Output {
    let run = move || {
        let mut command = ringpair(&["soak"]);
        command.args(arguments).env("RINGPAIR_BACKEND", "epoll").env_remove("RINGPAIR_REQUIRE_URING").output().unwrap()
    };
    under(libc::SYS_recvfrom, answer(Errno::EAGAIN), run)
}

#[test]
fn a_pair_that_hangs_is_named_on_the_command_line() {
    let output = run_deaf(&["--pairs", "2", "--pair-timeout", "300ms"]);
    assert_eq!(output.status.code(), Some(COMPLAINT), "{output:?}");
    let table = text(&output.stdout);
    let expected = "pair 0 was not through after 300ms: its body was reading at the accepted end";
    assert!(table.contains("2 failed at: pair_timeout\n") && on_one_line(&table).contains(expected), "{table}");
}

#[test]
fn the_command_ends_when_too_many_pairs_have_failed() {
    for most in ["3", "3%"] {
        let arguments: &[&str] = match most {
            "3" => &["--duration", "1h", "--pair-timeout", "1ms", "--max-failures", "3"],
            _ => &["--duration", "1h", "--pair-timeout", "1ms", "--max-failures", "3%"],
        };
        let output = run_deaf(arguments);
        assert_eq!(output.status.code(), Some(COMPLAINT), "{output:?}");
        let table = text(&output.stdout);
        assert!(table.contains("it was ended early: more pairs failed than were allowed to\n"), "{table}");
    }
}

/// An hour of soaking that catches signals.
fn an_hour(mut command: Command) -> Child {
    command.args(["soak", "--duration", "1h", "--json-lines"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    common::await_catching(child.id(), Signal::SIGTERM); // a shell catches SIGINT, too
    child
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[test]
fn a_signal_ends_it_with_a_report_on_what_was_soaked() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let child = an_hour(ringpair(&[]));
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        let said = format!("Interrupted by {signal}\n");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(INTERRUPTED), said));
        let last: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
        assert_eq!((&last["kind"], &last["ended_early"]), (&"report".into(), &true.into()));
    }
}

#[test]
fn a_hangup_that_it_was_started_to_ignore_is_ignored() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringpair")]);
    let child = an_hour(command);
    send(&child, Signal::SIGHUP); // caught, it would make the next signal end the program without a report
    send(&child, Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    let said = "Interrupted by SIGINT\n".to_owned();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(INTERRUPTED), said));
}

#[test]
fn a_reader_that_leaves_ends_it_with_a_report_on_stderr() {
    let file = Scratch::new("left.json");
    for arguments in [&["--json-lines"][..], &["--json", file.0.to_str().unwrap()]] {
        let mut command = ringpair(&["soak", "--duration", "1h"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = common::without_network_note(&output.stderr);
        assert_eq!(output.status.code(), Some(INTERRUPTED), "{said}");
        assert!(said.starts_with("Interrupted by the reader of standard output, which has gone away\n"), "{said}");
        assert!(on_one_line(&said).contains(" a second, ended early; a pair takes "), "{said}");
    }
    let report: Value = serde_json::from_str(&fs::read_to_string(&file.0).unwrap()).unwrap();
    assert_eq!(report["ended_early"], true);
}

#[test]
fn a_report_goes_to_a_file_beside_the_table() {
    let file = Scratch::new("report.json");
    let path = file.0.to_str().unwrap();
    let table = run(&["--pairs", "20", "--json", path], 0);
    assert!(table.starts_with("20 pairs in "), "{table}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&file.0).unwrap()).unwrap();

    let output = ringpair(&["soak", "--pairs", "0", "--json", path]).output().unwrap();
    assert_eq!(output.status.code(), Some(WRONG));
    let kept: Value = serde_json::from_str(&fs::read_to_string(&file.0).unwrap()).unwrap();
    assert_eq!(kept, report, "a run that fails destroys no report");
}

#[test]
fn a_reader_that_has_left_is_no_error_and_a_full_disk_is_one() {
    let mut child = ringpair(&["soak", "--pairs", "3"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), common::without_network_note(&output.stderr).as_str()), (Some(0), ""));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = ringpair(&["soak", "--pairs", "3"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(WRONG));
    let said = common::without_network_note(&output.stderr);
    assert_eq!(said, "error: stdout: No space left on device (os error 28)\n");
}

#[test]
fn requests_and_responses_have_the_sizes_that_were_chosen() {
    common::alone_in_a_network(|| {
        for (sizes, of_pair) in [
            (&["--request", "1", "--response", "3k"][..], 3001..=3073),
            (&["--request", "4096"], 8192..=8192),
            (&["--response", "1"], 2..=4097),
        ] {
            for backend in ["auto", "epoll"] {
                let mut command = ringpair(&["soak", "-n", "50", "-c", "3", "--host-netns", "--backend", backend]);
                let before = common::netstat("IpExt", "OutOctets");
                let output = command.args(sizes).env_remove("RINGPAIR_REQUIRE_URING").output().unwrap();
                let sent = common::netstat("IpExt", "OutOctets") - before;
                let table = text(&output.stdout);
                assert!(output.status.success() && table.starts_with("50 pairs in "), "{sizes:?}: {output:?}");
                // The headers of a pair's packets are less than a thousand bytes.
                assert!((50 * of_pair.start()..50 * (of_pair.end() + 1000)).contains(&sent), "{sizes:?}: {sent}");
            }
        }
    });
}

#[test]
fn the_report_begins_with_the_answer_and_fits_the_terminal() {
    for columns in [60, 80, 120] {
        let shown = common::shown_on_a_terminal(ringpair(&["soak", "--pairs", "1_500", "--threads", "2"]), columns);
        assert!(shown.lines().all(|line| line.chars().count() <= columns.min(80).into()), "{columns}: {shown}");
        let told = on_one_line(&shown);
        assert!(told.starts_with("1,500 pairs in ") && told.contains(" a second; a pair takes "), "{shown}");
        assert!(told.contains("(p99); clean Pairs are made through ") && told.contains(" 1,500 body "), "{shown}");
    }
}

#[test]
fn a_terminal_shows_one_line_with_total_and_time_left() {
    assert!(run(&["--duration", "300ms", "--rate", "20"], 0).starts_with("6 pairs in ")); // which says nothing else
    for (arguments, total) in [(&["--duration", "300ms"][..], " of 300ms, "), (&["--pairs", "6"], " of 6, ")] {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let mut command = ringpair(&["soak", "--rate", "20"]);
        command.args(arguments).env("TERM", "xterm").stdout(terminal.slave.try_clone().unwrap());
        let mut child = command.stderr(terminal.slave).spawn().unwrap();
        drop(command); // has the slave open
        let mut shown = Vec::new();
        let _ = File::from(terminal.master).read_to_end(&mut shown); // ends with EIO
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let shown = text(&shown);
        let shown = &shown[shown.find('\r').unwrap()..]; // past what is said about the network
        let (line, report) = shown.trim_start_matches(['\r', '\n']).split_once("\r\n").unwrap();
        assert!(line.contains(total) && line.contains(" left: ") && line.contains(" pairs, "), "{line}");
        assert!(line.contains('\r'), "it is drawn again: {line}");
        assert!(report.starts_with("6 pairs in "), "{shown}");
    }
}

#[test]
fn without_a_ring_it_soaks_by_epoll_and_says_so() {
    for (form, sign) in [("--json", "\"engine\": \"epoll\""), ("--json-lines", "\"engine\":\"epoll\"")] {
        let mut command = ringpair(&["soak", "--pairs", "20", form]);
        let output = command.env("RINGPAIR_BACKEND", "epoll").env_remove("RINGPAIR_REQUIRE_URING").output().unwrap();
        assert!(output.status.success() && text(&output.stdout).contains(sign), "{output:?}");
    }
    let output = ringpair(&["soak", "--pairs", "20"]).env("RINGPAIR_BACKEND", "epoll").output().unwrap();
    assert!(text(&output.stdout).contains("Pairs are made through epoll, and not through io_uring\n"), "{output:?}");
}

// --- the network namespace

#[test]
fn without_a_network_of_its_own_nothing_is_called_clean() {
    for arguments in [&["--pairs", "20"][..], &["--pairs", "20", "--host-netns"]] {
        let mut command = ringpair(&["soak"]);
        command.args(arguments);
        let output = under(libc::SYS_unshare, answer(Errno::EPERM), move || command.output().unwrap());
        let (table, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{table}{said}");
        assert!(table.contains("in a network namespace that others share"), "{table}");
        assert!(!table.contains("clean"), "{table}");
        let note = "note: sockets and TIME_WAIT are not judged: others share this network namespace";
        let verdict = "nothing failed, and nothing that was judged was left behind";
        assert!(on_one_line(&table).ends_with(&format!("{note} {verdict}")), "{table}");
        let is_told = said.starts_with("note: no network namespace of its own is available: that takes CAP_SYS_ADMIN");
        assert_eq!((is_told, said.is_empty()), (arguments.len() == 2, arguments.len() > 2), "{said}");
    }
}

#[test]
fn a_network_that_is_demanded_and_refused_is_an_error() {
    let run = || ringpair(&["soak", "--pairs", "20", "--netns"]).output().unwrap();
    let output = under(libc::SYS_unshare, answer(Errno::EPERM), run);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(FAILED), ""));
    assert!(text(&output.stderr).starts_with("error: no network namespace of its own is available: "), "{output:?}");
}

#[test]
fn an_ordinary_user_soaks_in_a_network_of_its_own() {
    use std::os::unix::process::CommandExt;

    let mut command = ringpair(&["soak", "--pairs", "20"]);
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let Ok(output) = command.output() else { return common::skip("another user may not run the binary") };
    if text(&output.stderr).contains("no network namespace of its own is available") {
        return common::skip("ordinary users may have no network namespace here");
    }
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{output:?}");
    let table = text(&output.stdout);
    assert!(table.contains("in a network namespace of its own\n") && table.contains("\nclean: "), "{table}");
}

#[test]
fn a_graceful_soak_is_not_called_clean() {
    let output = ringpair(&["soak", "--pairs", "101", "--linger", "graceful", "--netns"]).output().unwrap();
    if output.status.code() == Some(FAILED) {
        return common::skip("no network of its own is available here");
    }
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = text(&output.stdout);
    assert!(table.contains("note: 101 sockets entered TIME_WAIT") && !table.contains("clean"), "{table}");
}

#[test]
fn a_time_wait_that_a_reset_should_not_leave_is_complained_of() {
    common::alone_in_a_network(|| {
        let shut = async |accepted: &mut TcpStream, connected: &mut TcpStream, _: PairInfo| {
            accepted.shutdown().await?;
            connected.shutdown().await?;
            let read = accepted.read(&mut [0]).await? + connected.read(&mut [0]).await?;
            assert_eq!(read, 0);
            Ok(())
        };
        let soak = Soak::new().pairs(5);
        assert_eq!(soak.run(shut).unwrap().complaints(), [""; 0]);
        let report = soak.own_network(true).run(shut).unwrap();
        assert_eq!(report.complaints(), ["5 sockets entered TIME_WAIT; a reset leaves none"]);
    });
}

#[test]
fn what_cannot_be_counted_without_proc_is_complained_of() {
    let hide = "mount -t tmpfs none /proc && exec \"$0\" soak --pairs 20";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--", "sh", "-c", hide, env!("CARGO_BIN_EXE_ringpair")]);
    let Ok(output) = command.output() else { return common::skip("there is no unshare") };
    if text(&output.stderr).contains("unshare: ") || text(&output.stderr).contains("mount: ") {
        return common::skip("/proc cannot be hidden here");
    }
    assert_eq!(output.status.code(), Some(COMPLAINT), "{output:?}");
    let table = text(&output.stdout);
    for name in ["descriptors", "memory", "sockets", "TIME_WAIT"] {
        assert!(table.contains(&format!("\n  {name} could not be counted: /proc does not tell\n")), "{table}");
    }
}

// --- helpers

fn run(arguments: &[&str], code: i32) -> String {
    let output = ringpair(&["soak"]).args(arguments).output().unwrap();
    let (out, err) = (text(&output.stdout), common::without_network_note(&output.stderr));
    assert_eq!((output.status.code(), err.as_str()), (Some(code), ""), "{out}");
    out
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&run(&[arguments, &["--json"]].concat(), 0)).unwrap()
}
