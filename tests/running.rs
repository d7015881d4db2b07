//! `ringpair run` gives a command a network of its own, and ends as the command does.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod barred;
#[allow(unused_imports, unused_macros)] // no body here runs on each engine
mod common;

use std::net::TcpListener;
use std::process::{Command, Output};

use barred::{answer, under};
use nix::libc;

fn ringpair_run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringpair")).arg("run").args(arguments).output().unwrap()
}

/// Whether a namespace is available here; skips the test visibly if not.
fn networks_can_be_had() -> bool {
    let can = ringpair_run(&["--require", "true"]).status.success();
    if !can {
        common::skip("no network of its own is available here");
    }
    can
}

fn told(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_command_has_a_network_of_its_own() {
    if !networks_can_be_had() {
        return;
    }
    let _listener = TcpListener::bind("127.0.0.1:0").unwrap(); // one that the command must not see
    let output = ringpair_run(&["--require", "--", "sh", "-c", "cat /proc/net/dev; tail -n +2 /proc/net/tcp; id -u"]);
    let stdout = told(&output.stdout);
    let interfaces: Vec<_> = stdout.lines().filter(|line| line.contains(':') && !line.contains('|')).collect();
    assert_eq!(interfaces.len(), 1, "{stdout}");
    assert!(interfaces[0].trim_start().starts_with("lo:"), "{stdout}");
    assert_eq!(stdout.lines().last(), Some(nix::unistd::getuid().to_string().as_str()));
    assert_eq!((output.status.code(), told(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn loopback_is_up_there() {
    if !networks_can_be_had() {
        return;
    }
    let output = ringpair_run(&["--require", "--", env!("CARGO_BIN_EXE_ringpair"), "doctor"]);
    assert!(told(&output.stdout).contains("lo is up"), "{output:?}");
}

#[test]
fn the_exit_code_is_the_commands() {
    for (arguments, code) in [
        (&["--", "sh", "-c", "exit 7"][..], 7),
        (&["true"], 0),
        (&["/no/such/command"], 127),
        (&["--", "/"], 126),
        (&[], 2),
        (&["--no-such-flag", "true"], 2),
    ] {
        let output = ringpair_run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    let output = ringpair_run(&["/no/such/command"]);
    let error = "error: /no/such/command cannot be run: No such file or directory (os error 2)\n";
    assert!(told(&output.stderr).ends_with(error), "{output:?}");
}

#[test]
fn a_host_that_forbids_it_is_told_of_in_a_sentence() {
    let forbidden = |arguments: &'static [&str]| {
        under(libc::SYS_unshare, answer(nix::errno::Errno::EPERM), move || ringpair_run(arguments))
    };
    let output = forbidden(&["--", "echo", "it runs"]);
    assert_eq!((output.status.code(), told(&output.stdout).as_str()), (Some(0), "it runs\n"));
    let note = told(&output.stderr);
    assert!(note.starts_with("note: no network namespace of its own is available: "), "{note}");
    assert!(note.ends_with("; the command runs in the host's\n"), "{note}");
    assert_eq!(note.lines().count(), 1, "{note}");

    let output = forbidden(&["--require", "--", "echo", "it runs"]);
    assert_eq!((output.status.code(), told(&output.stdout).as_str()), (Some(125), ""));
    assert!(told(&output.stderr).starts_with("error: no network namespace of its own is available: "), "{output:?}");
}
