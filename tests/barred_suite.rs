//! The whole suite passes if a seccomp filter blocks the ring, in each way that containers do. Under every filter, doctor
//! reports what a pair does.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod barred;
mod common;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use barred::{answer, begin_under};
use common::text;
use nix::errno::Errno;
use nix::libc::{self, SYS_io_uring_setup};
use ringpair::PairOptions;
use seccompiler::SeccompAction;
use serde_json::Value;

/// The command to run under each filter, set by `ci/barred`.
const COMMAND: &str = "RINGPAIR_BARRED_COMMAND";

/// How many of the errnos the whole suite runs under [default: all].
const ANSWERS_AT_MOST: &str = "RINGPAIR_BARRED_ANSWERS";

#[test]
#[ignore = "runs the whole suite once for each filter; ci/barred runs it"]
fn the_suite_passes_under_every_filter() {
    let command = std::env::var(COMMAND).expect("ci/barred sets it");
    let kills = ("a kill", SeccompAction::KillProcess);
    let answers = barred::ANSWERS.map(|errno| (errno.desc(), barred::answer(errno)));
    // All errnos mean the same to the engine, as the next test shows.
    let most = std::env::var(ANSWERS_AT_MOST).map_or(usize::MAX, |most| most.parse().unwrap());
    for (name, action) in std::iter::once(kills).chain(answers.into_iter().take(most)) {
        let run = command.clone();
        let output = barred::under(SYS_io_uring_setup, action, move || {
            Command::new("sh").args(["-c", &run]).env_remove("RINGPAIR_REQUIRE_URING").output().unwrap()
        });
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let passed = out.lines().filter(|line| line.ends_with("... ok")).count();
        let skipped = err.lines().filter(|line| line.starts_with("SKIPPED")).count();
        let line = format!("under {name}: {} passed, {skipped} of them skipped\n", passed);
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        assert!(output.status.success(), "under {name}\n{out}\n{err}");
        assert!(
            passed > 200 && skipped > 100,
            "under {name} hardly anything ran, or the ring was not barred\n{out}\n{err}"
        );
    }
}

/// The calls of the ring engine.
const RING_CALLS: [(&str, i64); 3] = [
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("io_uring_enter", libc::SYS_io_uring_enter),
];

/// Other system calls of pairs and of the probe.
const CALLS: [(&str, i64); 15] = [
    ("socket", libc::SYS_socket),
    ("setsockopt", libc::SYS_setsockopt),
    ("getsockopt", libc::SYS_getsockopt),
    ("bind", libc::SYS_bind),
    ("getsockname", libc::SYS_getsockname),
    ("listen", libc::SYS_listen),
    ("connect", libc::SYS_connect),
    ("accept4", libc::SYS_accept4),
    ("getpeername", libc::SYS_getpeername),
    ("shutdown", libc::SYS_shutdown),
    ("epoll_create1", libc::SYS_epoll_create1),
    ("epoll_ctl", libc::SYS_epoll_ctl),
    ("madvise", libc::SYS_madvise),
    ("pipe2", libc::SYS_pipe2),
    ("sched_yield", libc::SYS_sched_yield),
];

/// Calls that a process needs in order to start. A filter may refuse them, but not kill.
const CALLS_OF_LIFE: [(&str, i64); 3] =
    [("clone", libc::SYS_clone), ("wait4", libc::SYS_wait4), ("prctl", libc::SYS_prctl)];

const KILL: (&str, SeccompAction) = ("a kill", SeccompAction::KillProcess);

fn errno(errno: Errno) -> (&'static str, SeccompAction) {
    (errno.desc(), answer(errno))
}

#[test]
fn doctor_says_what_a_pair_does_under_a_filter() {
    let mut differ = Vec::new();
    for call in RING_CALLS {
        for meets in [errno(Errno::EPERM), errno(Errno::EINVAL), KILL] {
            differ.extend(difference(call, &meets, None));
        }
    }
    for call in CALLS {
        differ.extend(difference(call, &KILL, None));
    }
    for call in CALLS.into_iter().chain(CALLS_OF_LIFE) {
        differ.extend(difference(call, &errno(Errno::EPERM), None));
    }
    assert!(differ.is_empty(), "doctor, and then a pair:\n{}", differ.join("\n"));
}

#[test]
#[ignore = "takes a minute; ci/barred runs it"]
fn doctor_says_what_a_pair_does_under_every_filter() {
    let errnos =
        [Errno::EPERM, Errno::ENOSYS, Errno::EACCES, Errno::EOPNOTSUPP, Errno::ENOMEM, Errno::EINVAL, Errno::EBADF];
    let deadly = [KILL, ("a trap", SeccompAction::Trap)];
    let mut differ = Vec::new();
    for backend in [None, Some("epoll"), Some("uring")] {
        for call in RING_CALLS.into_iter().chain(CALLS) {
            differ.extend(deadly.iter().filter_map(|meets| difference(call, meets, backend)));
        }
        for call in RING_CALLS.into_iter().chain(CALLS).chain(CALLS_OF_LIFE) {
            differ.extend(errnos.into_iter().filter_map(|answered| difference(call, &errno(answered), backend)));
        }
    }
    assert!(differ.is_empty(), "doctor, and then a pair:\n{}", differ.join("\n"));
}

fn difference(call: (&str, i64), meets: &(&str, SeccompAction), backend: Option<&str>) -> Option<String> {
    let ((name, call), (how, action)) = (call, meets);
    let (doctor, pair) = (asked_of_doctor(call, action, backend), asked_of_a_pair(call, action, backend));
    let line = || format!("{name} meets {how}, RINGPAIR_BACKEND {backend:?}: {doctor}, {pair}");
    (doctor != pair).then(line)
}

/// Returns the engine that doctor reports, after checking the exit code.
fn asked_of_doctor(call: i64, action: &SeccompAction, backend: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpair"));
    command.args(["doctor", "--json"]);
    let output = barred_by(command, call, action, backend).output().unwrap();
    let told: Value = match serde_json::from_slice(&output.stdout) {
        Ok(told) => told,
        Err(_) => return format!("{output:?}"),
    };
    let verdict = told["verdict"].as_str().unwrap().to_owned();
    let code = if verdict == "nothing" { 1 } else { 0 };
    if output.status.code() == Some(code) { verdict } else { format!("{verdict} and {:?}", output.status) }
}

fn asked_of_a_pair(call: i64, action: &SeccompAction, backend: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_pair_shows_which_engine_made_it", "--exact", "--nocapture", "--test-threads=1"]).env(ASKED, "1");
    let output = barred_by(command, call, action, backend).output().unwrap();
    let out = text(&output.stdout);
    let made_by = out.split_once("made by ").map(|(_, rest)| rest.split_whitespace().next().unwrap().to_owned());
    made_by.unwrap_or("nothing".to_owned())
}

fn barred_by(mut command: Command, call: i64, action: &SeccompAction, backend: Option<&str>) -> Command {
    command.env_remove("RINGPAIR_REQUIRE_URING").env_remove("RINGPAIR_BACKEND");
    command.envs(backend.map(|backend| ("RINGPAIR_BACKEND", backend)));
    begin_under(&mut command, &[call], action.clone());
    command
}

const ASKED: &str = "RINGPAIR_BARRED_ASKED";

#[test]
fn a_pair_shows_which_engine_made_it() {
    if std::env::var_os(ASKED).is_none() {
        return; // the test above starts it
    }
    let factory = PairOptions::new().factory().unwrap();
    drop(factory.pair_blocking::<TcpStream>().unwrap());
    let name = match factory.backend() {
        ringpair::Backend::Uring => "ring",
        _ => "epoll",
    };
    drop(factory);
    println!("made by {name} ");
}
