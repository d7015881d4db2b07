//! Owes: `ringpair doctor` says by its exit code, in words, as JSON and to GitHub what the probe found, whatever bars it; it
//! is in nobody's way: no colour off a terminal, no complaint about a reader that has left.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod barred;
#[allow(unused_imports, unused_macros)] // no body here runs on each engine
mod common;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use barred::{ANSWERS, CALLS, answer, under};
use common::{Scratch, ring_is_there, skip, text};
use nix::errno::Errno;
use nix::libc;
use seccompiler::SeccompAction;
use serde_json::Value;

const RING: i32 = 0;
const NOTHING: i32 = 1;
const WRONG: i32 = 2;
const EPOLL: i32 = 3;

const THE_THREE_CALLS: &str = "io_uring_setup, io_uring_enter and io_uring_register";

#[test]
fn a_host_with_a_ring_is_healthy() {
    if ring_is_there() {
        let output = run(doctor(&[]), RING);
        assert!(output.ends_with("\nverdict        ring: pairs can be made through io_uring\n"), "{output}");
    }
}

#[test]
fn a_filter_that_answers_makes_it_epoll_and_says_which_calls_to_allow() {
    if !ring_is_there() {
        return;
    }
    for errno in ANSWERS {
        for call in [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter] {
            let output = under(call, answer(errno), || run(doctor(&[]), EPOLL));
            assert!(output.contains(&format!(" is refused: {errno:?}\n")), "{output}");
            assert!(output.contains("\nverdict        epoll: ") && output.contains("\nremedy         "), "{output}");
            if errno != Errno::EACCES {
                assert!(unwrapped(&output).contains(THE_THREE_CALLS), "{output}");
            }
        }
    }
}

#[test]
fn a_filter_that_kills_makes_it_epoll_too_and_does_not_kill_it() {
    if !ring_is_there() {
        return;
    }
    for call in CALLS {
        for action in [SeccompAction::KillProcess, SeccompAction::Trap] {
            let output = under(call, action, || run(doctor(&[]), EPOLL));
            assert!(output.contains("\ncause          a seccomp filter kills whoever calls io_uring_"), "{output}");
            assert!(unwrapped(&output).contains(THE_THREE_CALLS), "{output}");
        }
    }
}

#[test]
fn a_filter_that_kills_is_told_also_where_nobody_may_see_a_child_die() {
    if !ring_is_there() {
        return;
    }
    let deaf = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("env");
        command.arg("--ignore-signal=CHLD").arg(program).args(arguments);
        command
    };
    if !deaf("true", &[]).status().is_ok_and(|status| status.success()) {
        return skip("this env cannot start a program that ignores SIGCHLD");
    }
    let ask = move || run(deaf(env!("CARGO_BIN_EXE_ringpair"), &["doctor"]), EPOLL);
    let output = under(libc::SYS_io_uring_setup, SeccompAction::KillProcess, ask);
    assert!(output.contains("\ncause          a seccomp filter kills whoever calls io_uring_setup\n"), "{output}");
}

#[test]
fn a_host_that_bars_sockets_has_nothing() {
    let output = under(libc::SYS_socket, answer(Errno::EPERM), || run(doctor(&[]), NOTHING));
    assert!(output.contains("\nverdict        nothing: no pair can be made here\n"), "{output}");
    assert!(output.contains("\nremedy         Allow socket in the seccomp profile.\n"), "{output}");
}

#[test]
fn an_interface_that_is_down_is_nothing_and_told_how_to_be_mended() {
    let own = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--", program]);
        command
    };
    if !own("true").output().is_ok_and(|output| output.status.success()) {
        return skip("no network of its own can be had here");
    }
    let mut command = own(env!("CARGO_BIN_EXE_ringpair"));
    command.arg("doctor");
    let output = run(command, NOTHING);
    assert!(output.contains("\ncause          the interface lo is down\n"), "{output}");
    assert!(output.contains("ip link set lo up"), "{output}");
}

#[test]
fn json_has_the_verdict_the_facts_and_what_was_tried() {
    let told: Value = serde_json::from_str(&any(doctor(&["--json"]))).unwrap();
    let fields = ["verdict", "cause", "cause_text", "remedy", "host", "opcodes", "tried"];
    assert_eq!(told.as_object().unwrap().len(), fields.len());
    for field in fields {
        assert!(told.get(field).is_some(), "{field}");
    }
    let host = [
        "kernel_release",
        "loopback_up",
        "io_uring_disabled",
        "io_uring_group",
        "in_io_uring_group",
        "seccomp",
        "security_label",
        "initial_user_namespace",
        "cap_sys_admin",
        "cap_ipc_lock",
        "locked_memory",
        "descriptors",
        "open_descriptors",
        "local_ports",
        "tcp_max_tw_buckets",
        "tcp_tw_reuse",
        "somaxconn",
    ];
    assert_eq!(told["host"].as_object().unwrap().len(), host.len());
    for field in host {
        assert!(told["host"].get(field).is_some(), "{field}");
    }
    assert_eq!(told["tried"]["connect"]["outcome"], "worked");
    assert!(told["host"]["descriptors"]["soft"].is_u64());
}

#[test]
fn json_names_cause_and_remedy_and_has_the_exit_code_of_the_table() {
    if !ring_is_there() {
        return;
    }
    let barred = under(libc::SYS_io_uring_setup, answer(Errno::EPERM), || run(doctor(&["--json"]), EPOLL));
    let told: Value = serde_json::from_str(&barred).unwrap();
    assert_eq!(told["verdict"], "epoll");
    assert_eq!(told["cause"], serde_json::json!({"kind": "seccomp_errno", "attempt": "ring_setup", "errno": 1}));
    assert_eq!(told["cause_text"], "a seccomp filter answers io_uring_setup with EPERM");
    assert!(told["remedy"].as_str().unwrap().contains(THE_THREE_CALLS));
    assert_eq!(told["tried"]["ring_setup"], serde_json::json!({"outcome": "refused", "errno": 1}));
    assert_eq!(told["tried"]["ring_enter"], serde_json::json!({"outcome": "untried"}));
    assert_eq!(told["opcodes"], Value::Null);

    let free: Value = serde_json::from_str(&run(doctor(&["--json"]), RING)).unwrap();
    assert_eq!((&free["verdict"], &free["cause"], &free["remedy"]), (&"ring".into(), &Value::Null, &Value::Null));
    assert_eq!(free["opcodes"]["accept"], true);
}

#[test]
fn github_gets_the_table_after_what_is_there_and_one_line() {
    if !ring_is_there() {
        return;
    }
    let summary = Scratch::new("summary");
    std::fs::write(&summary.0, "before\n").unwrap();
    let ask = {
        let path = summary.0.clone();
        move |code| {
            let mut command = doctor(&["--github"]);
            command.env("GITHUB_STEP_SUMMARY", &path);
            run(command, code)
        }
    };
    assert_eq!(ask(RING), "::notice title=ringpair doctor::ring\n");
    let barred = under(libc::SYS_io_uring_setup, answer(Errno::ENOSYS), move || ask(EPOLL));
    let begin = "::warning title=ringpair doctor::epoll: a seccomp filter answers io_uring_setup with ENOSYS. Allow ";
    assert!(barred.starts_with(begin) && barred.contains(THE_THREE_CALLS), "{barred}");
    assert_eq!(barred.lines().count(), 1, "{barred}");

    let text = std::fs::read_to_string(&summary.0).unwrap();
    assert!(text.starts_with("before\n### ringpair doctor: ring\n\n```text\nkernel "), "{text}");
    assert!(text.contains("\n```\n\n### ringpair doctor: epoll\n\n```text\nkernel "), "{text}");
    assert!(text.ends_with("SystemCallFilter=.\n```\n\n"), "{text}");
}

#[test]
fn github_without_a_place_for_the_table_is_wrong_and_says_so() {
    let folder = std::env::temp_dir();
    for (path, complaint) in [
        (None, "error: $GITHUB_STEP_SUMMARY is not set: --github is for GitHub Actions\n"),
        (Some(PathBuf::new()), "error: $GITHUB_STEP_SUMMARY is not set: --github is for GitHub Actions\n"),
        (Some(folder), "error: $GITHUB_STEP_SUMMARY: Is a directory (os error 21)\n"),
    ] {
        let mut command = doctor(&["--github"]);
        path.map(|path| command.env("GITHUB_STEP_SUMMARY", path));
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(WRONG), ""), "{output:?}");
        assert_eq!(text(&output.stderr), complaint);
    }
}

#[test]
fn wrong_usage_is_told_from_every_verdict() {
    for arguments in
        [&[][..], &["nonsense"], &["doctor", "--nonsense"], &["doctor", "--json", "--github"], &["doctor", "x"]]
    {
        let output = ringpair(arguments).output().unwrap();
        assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(WRONG), ""), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains("Usage: ringpair"), "{output:?}");
    }
}

#[test]
fn help_and_version_are_to_be_had() {
    let help = run(ringpair(&["doctor", "--help"]), 0);
    for part in ["--json", "--github", "Exit codes:\n  0 ", "\n  3 ", "\n  1 ", "\n  2 "] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
    assert_eq!(run(ringpair(&["--version"]), 0), format!("ringpair {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_reader_that_has_left_changes_nothing() {
    let verdict = doctor(&[]).output().unwrap().status.code();
    for arguments in [&[][..], &["--json"]] {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let output = doctor(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &*text(&output.stderr)), (verdict, ""));
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_no_verdict() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = doctor(&[]).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(WRONG));
    assert_eq!(text(&output.stderr), "error: stdout: No space left on device (os error 28)\n");
}

#[test]
fn there_is_colour_on_a_terminal_only_and_not_where_it_is_not_wanted() {
    assert!(!any(doctor(&[])).contains('\x1b'));
    for (name, value, expected) in [
        ("NO_COLOR", None, true),
        ("NO_COLOR", Some(""), true),
        ("NO_COLOR", Some("1"), false),
        ("TERM", Some("dumb"), false),
    ] {
        let mut command = doctor(&[]);
        command.env_remove("NO_COLOR").env("TERM", "xterm");
        value.map(|value| command.env(name, value));
        let output = on_a_terminal(command);
        assert!(output.contains("verdict"), "{output:?}");
        assert_eq!(output.contains("\x1b[1;"), expected, "{name}={value:?}: {output:?}");
    }
    let mut command = doctor(&["--json"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm");
    assert!(!on_a_terminal(command).contains('\x1b'));
}

fn ringpair(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpair"));
    command.args(arguments).env_remove("GITHUB_STEP_SUMMARY");
    command
}

fn doctor(arguments: &[&str]) -> Command {
    let mut command = ringpair(&["doctor"]);
    command.args(arguments);
    command
}

/// What it prints, when it ends like this and complains of nothing. A table is checked for its width.
fn run(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    printed(output)
}

fn any(mut command: Command) -> String {
    printed(command.output().unwrap())
}

fn printed(output: Output) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(err, "");
    if out.starts_with("kernel ") {
        assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    }
    out
}

fn on_a_terminal(mut command: Command) -> String {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut child = command.stdout(terminal.slave).spawn().unwrap();
    drop(command); // has the slave open
    let mut read = Vec::new();
    let _ = File::from(terminal.master).read_to_end(&mut read); // ends with EIO
    assert!(child.wait().unwrap().code().is_some());
    text(&read)
}

/// A table without its line breaks.
fn unwrapped(table: &str) -> String {
    table.split_whitespace().collect::<Vec<_>>().join(" ")
}
