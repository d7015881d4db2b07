//! Owes: the whole suite is green where the ring is barred, in each of the ways in which containers bar it.
#![cfg(feature = "epoll")]
#![allow(clippy::unwrap_used)]

mod barred;
mod common;

use std::io::Write;
use std::process::Command;

use nix::libc::SYS_io_uring_setup;
use seccompiler::SeccompAction;

/// What is run under each filter; `ci/barred` says which.
const COMMAND: &str = "RINGPAIR_BARRED_COMMAND";

#[test]
#[ignore = "runs the whole suite once for each filter; ci/barred runs it"]
fn the_suite_is_green_under_every_filter() {
    let command = std::env::var(COMMAND).expect("ci/barred sets it");
    let kills = ("a kill", SeccompAction::KillProcess);
    let answers = barred::ANSWERS.map(|errno| (errno.desc(), barred::answer(errno)));
    for (name, action) in std::iter::once(kills).chain(answers) {
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
