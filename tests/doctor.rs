//! `ringpair doctor` reports what the probe found: by exit code, in words, as JSON and to GitHub. Colour is for terminals, and a
//! reader that has left is no error.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod barred;
#[allow(unused_imports, unused_macros)] // no body here runs on each engine
mod common;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use barred::{ANSWERS, CALLS, answer, begin_under, under};
use common::{Scratch, ring_is_there, skip, text};
use nix::errno::Errno;
use nix::libc;
use nix::pty::{Winsize, openpty};
use seccompiler::SeccompAction;
use serde_json::Value;

const PAIRS: i32 = 0;
const NO_PAIRS: i32 = 1;
const WRONG: i32 = 2;
const NO_RING: i32 = 3;

const THE_THREE_CALLS: &str = "io_uring_setup, io_uring_enter and io_uring_register";

#[test]
fn a_host_with_a_ring_is_healthy() {
    if ring_is_there() {
        for arguments in [&[][..], &["--require-uring"]] {
            let output = run(doctor(arguments), PAIRS);
            assert!(output.starts_with("verdict        ring: pairs are made through io_uring\nkernel "), "{output}");
        }
    }
}

#[test]
fn a_filter_that_answers_makes_it_epoll() {
    if !ring_is_there() {
        return;
    }
    for errno in ANSWERS {
        let output = under(libc::SYS_io_uring_setup, answer(errno), || run(doctor(&[]), PAIRS));
        assert!(output.contains(&format!(" is refused: {errno:?}\n")), "{output}");
        assert!(output.starts_with("verdict        epoll: ") && output.contains("\nremedy         "), "{output}");
        if errno != Errno::EACCES {
            assert!(unwrapped(&output).contains(THE_THREE_CALLS), "{output}");
        }
        let required = under(libc::SYS_io_uring_setup, answer(errno), || run(doctor(&["--require-uring"]), NO_RING));
        assert_eq!(required.lines().next(), output.lines().next());
    }
}

#[test]
fn a_ring_that_fails_makes_it_nothing() {
    if !ring_is_there() {
        return;
    }
    for (call, errno, cause) in [
        (libc::SYS_io_uring_setup, Errno::EINVAL, "io_uring_setup fails with EINVAL"),
        (libc::SYS_io_uring_setup, Errno::EBADF, "io_uring_setup fails with EBADF"),
        (libc::SYS_io_uring_setup, Errno::ENOMEM, ""),
        (libc::SYS_io_uring_enter, Errno::EPERM, "a seccomp filter answers io_uring_enter with EPERM"),
    ] {
        let output = under(call, answer(errno), || run(doctor(&[]), NO_PAIRS));
        assert!(output.starts_with("verdict        nothing: "), "{output}");
        assert!(output.contains(&format!("\ncause          {cause}")), "{output}");
        assert!(unwrapped(&output).contains("Or make pairs without a ring: set RINGPAIR_BACKEND=epoll."), "{output}");
        under(call, answer(errno), || run(doctor(&["--require-uring"]), NO_RING));
        let remedied = under(call, answer(errno), || {
            let mut command = doctor(&[]);
            command.env("RINGPAIR_BACKEND", "epoll");
            run(command, PAIRS)
        });
        assert!(remedied.starts_with("verdict        epoll: "), "{remedied}");
    }
}

#[test]
fn a_filter_that_kills_does_not_kill_doctor() {
    if !ring_is_there() {
        return;
    }
    for call in CALLS {
        let code = if call == libc::SYS_io_uring_setup { PAIRS } else { NO_PAIRS };
        for action in [SeccompAction::KillProcess, SeccompAction::Trap] {
            let output = under(call, action, move || run(doctor(&[]), code));
            assert!(output.contains("\ncause          a seccomp filter kills callers of io_uring_"), "{output}");
            assert!(unwrapped(&output).contains(THE_THREE_CALLS), "{output}");
        }
    }
}

#[test]
fn without_a_process_to_try_a_filter_auto_keeps_to_epoll() {
    let by_epoll = if cfg!(feature = "epoll") { ("epoll", 0) } else { ("unknown", NO_PAIRS) };
    for (required, (verdict, code)) in [("0", by_epoll), ("1", ("unknown", NO_PAIRS))] {
        let mut command = doctor(&[]);
        command.env("RINGPAIR_REQUIRE_URING", required);
        begin_under(&mut command, &[libc::SYS_clone, libc::SYS_clone3], answer(Errno::EAGAIN));
        let output = run(command, code);
        assert!(output.starts_with(&format!("verdict        {verdict}: ")), "{output}");
        let why = "no process could be started to find out whether it kills: EAGAIN";
        assert!(unwrapped(&output).contains(why), "{output}");
    }
}

#[test]
fn the_environment_is_heeded_before_anything_is_tried() {
    for (name, value, takes) in [
        ("RINGPAIR_REQUIRE_URING", "maybe", "1, true, yes, on, 0, false, no or off"),
        ("RINGPAIR_BACKEND", "kqueue", "uring or epoll"),
    ] {
        for arguments in [&["doctor"][..], &["doctor", "--json"], &["soak", "--pairs", "1"], &["close", "--pairs", "1"]]
        {
            let output = ringpair(arguments).env(name, value).output().unwrap();
            assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(WRONG), ""), "{arguments:?}: {output:?}");
            let complaint = format!("error: invalid options: {name} is {value:?}; it takes {takes}\n");
            assert_eq!(text(&output.stderr), complaint);
        }
    }
}

#[test]
fn the_environment_can_require_a_ring_in_any_case() {
    if !ring_is_there() {
        return;
    }
    for (value, code) in [("TRUE", NO_PAIRS), ("yes", NO_PAIRS), ("On", NO_PAIRS), ("No", PAIRS), ("false", PAIRS)] {
        under(libc::SYS_io_uring_setup, answer(Errno::EPERM), move || {
            let mut command = doctor(&[]);
            command.env("RINGPAIR_REQUIRE_URING", value);
            run(command, code);
        });
    }
}

#[test]
fn a_filter_that_kills_is_told_if_sigchld_is_ignored() {
    if !ring_is_there() {
        return;
    }
    let deaf = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("env");
        command.arg("--ignore-signal=CHLD").arg(program).args(arguments).env_remove("RINGPAIR_REQUIRE_URING");
        command
    };
    if !deaf("true", &[]).status().is_ok_and(|status| status.success()) {
        return skip("this env cannot start a program that ignores SIGCHLD");
    }
    let ask = move || run(deaf(env!("CARGO_BIN_EXE_ringpair"), &["doctor"]), PAIRS);
    let output = under(libc::SYS_io_uring_setup, SeccompAction::KillProcess, ask);
    assert!(output.contains("\ncause          a seccomp filter kills callers of io_uring_setup\n"), "{output}");
}

#[test]
fn a_host_that_bars_sockets_has_nothing() {
    for (call, name) in [(libc::SYS_socket, "socket"), (libc::SYS_setsockopt, "setsockopt")] {
        let output = under(call, answer(Errno::EPERM), || run(doctor(&[]), NO_PAIRS));
        assert!(output.starts_with("verdict        nothing: no pairs can be made here\n"), "{output}");
        assert!(output.contains(&format!("\nremedy         Allow {name} in the seccomp profile.\n")), "{output}");
    }
}

#[test]
fn an_interface_that_is_down_is_nothing() {
    let own = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--", program]);
        command
    };
    if !own("true").output().is_ok_and(|output| output.status.success()) {
        return skip("no network of its own is available here");
    }
    let mut command = own(env!("CARGO_BIN_EXE_ringpair"));
    command.arg("doctor");
    let output = run(command, NO_PAIRS);
    assert!(output.contains("\ncause          the interface lo is down\n"), "{output}");
    assert!(output.contains("ip link set lo up"), "{output}");
}

#[test]
fn json_has_the_verdict_the_facts_and_what_was_tried() {
    let told: Value = serde_json::from_str(&any(doctor(&["--json"]))).unwrap();
    let fields =
        ["schema", "verdict", "cause", "cause_text", "remedy", "host", "opcodes", "tried", "network_namespace"];
    assert_eq!(told.as_object().unwrap().len(), fields.len());
    for field in fields {
        assert!(told.get(field).is_some(), "{field}");
    }
    let host = [
        "kernel_release",
        "sysctls_readable",
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
        "reserved_ports",
        "time_wait",
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
fn json_names_cause_and_remedy() {
    if !ring_is_there() {
        return;
    }
    let barred = under(libc::SYS_io_uring_setup, answer(Errno::EPERM), || run(doctor(&["--json"]), PAIRS));
    let told: Value = serde_json::from_str(&barred).unwrap();
    assert_eq!(told["verdict"], "epoll");
    assert_eq!(told["cause"], serde_json::json!({"kind": "seccomp_errno", "attempt": "ring_setup", "errno": 1}));
    assert_eq!(told["cause_text"], "a seccomp filter answers io_uring_setup with EPERM");
    assert!(told["remedy"].as_str().unwrap().contains(THE_THREE_CALLS));
    assert_eq!(told["tried"]["ring_setup"], serde_json::json!({"outcome": "refused", "errno": 1}));
    assert_eq!(told["tried"]["ring_enter"], serde_json::json!({"outcome": "untried"}));
    assert_eq!(told["opcodes"], Value::Null);

    let free: Value = serde_json::from_str(&run(doctor(&["--json"]), PAIRS)).unwrap();
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
        move || {
            let mut command = doctor(&["--github"]);
            command.env("GITHUB_STEP_SUMMARY", &path);
            run(command, PAIRS)
        }
    };
    assert_eq!(ask(), "::notice title=ringpair doctor::ring\n");
    let barred = under(libc::SYS_io_uring_setup, answer(Errno::EPERM), ask);
    let begin = "::warning title=ringpair doctor::epoll: a seccomp filter answers io_uring_setup with EPERM. Allow ";
    assert!(barred.starts_with(begin) && barred.contains(THE_THREE_CALLS), "{barred}");
    assert_eq!(barred.lines().count(), 1, "{barred}");

    let text = std::fs::read_to_string(&summary.0).unwrap();
    assert!(text.starts_with("before\n### ringpair doctor: ring\n\n```text\nverdict "), "{text}");
    assert!(text.contains("\n```\n\n### ringpair doctor: epoll\n\n```text\nverdict "), "{text}");
    assert!(text.ends_with("\n```\n\n"), "{text}");
}

#[test]
fn github_gets_outputs_after_what_is_there() {
    if !ring_is_there() {
        return;
    }
    let (summary, output) = (Scratch::new("unread"), Scratch::new("outputs"));
    std::fs::write(&output.0, "before=1\n").unwrap();
    let ask = {
        let paths = (summary.0.clone(), output.0.clone());
        move || {
            let mut command = doctor(&["--github"]);
            command.env("GITHUB_STEP_SUMMARY", &paths.0).env("GITHUB_OUTPUT", &paths.1);
            run(command, PAIRS)
        }
    };
    ask();
    under(libc::SYS_io_uring_setup, answer(Errno::EPERM), ask);
    let expected = "before=1\nverdict=ring\ncause=\nhas-ring=true\n\
        verdict=epoll\ncause=a seccomp filter answers io_uring_setup with EPERM\nhas-ring=false\n";
    assert_eq!(std::fs::read_to_string(&output.0).unwrap(), expected);
}

#[test]
fn github_outputs_that_cannot_be_written_are_an_error() {
    let summary = Scratch::new("no-outputs");
    let mut command = doctor(&["--github"]);
    command.env("GITHUB_STEP_SUMMARY", &summary.0).env("GITHUB_OUTPUT", std::env::temp_dir());
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(WRONG), ""), "{output:?}");
    assert_eq!(text(&output.stderr), "error: $GITHUB_OUTPUT: Is a directory (os error 21)\n");
    assert_eq!(std::fs::read_to_string(&summary.0).unwrap(), "", "half a report is written");
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
fn namespaces_are_available_if_run_can_make_one() {
    let is_made = ringpair(&["run", "--require", "--", "true"]).output().unwrap().status.success();
    let told: Value = serde_json::from_str(&any(doctor(&["--json"]))).unwrap();
    let namespace = &told["network_namespace"];
    let is_explained = [!namespace["way"].is_null(), namespace["cause_text"].is_null()];
    assert_eq!((&namespace["available"], is_explained), (&is_made.into(), [is_made; 2]), "{namespace}");
    let table = any(doctor(&[]));
    assert_eq!(table.contains("\nnamespaces     a network namespace of its own is available, "), is_made, "{table}");
}

#[test]
fn a_refused_namespace_is_reported_with_its_cause() {
    let cause = "no network namespace of its own is available: that takes CAP_SYS_ADMIN or a user namespace, which ";
    let refused =
        |arguments: &'static [&str]| under(libc::SYS_unshare, answer(Errno::EPERM), || any(doctor(arguments)));
    let table = unwrapped(&refused(&[]));
    assert!(table.contains(&format!("namespaces {cause}")), "{table}");
    let told: Value = serde_json::from_str(&refused(&["--json"])).unwrap();
    let namespace = &told["network_namespace"];
    assert_eq!((&namespace["available"], &namespace["way"]), (&false.into(), &Value::Null));
    let text = namespace["cause_text"].as_str().unwrap();
    assert!(text.starts_with(cause) && text.ends_with(": Operation not permitted)"), "{text}");
}

#[test]
fn help_and_version_are_printed() {
    let help = run(ringpair(&["doctor", "--help"]), 0);
    for part in ["--json", "--github", "--require-uring", "Exit codes:\n  0 ", "\n  3 ", "\n  1 ", "\n  2 "] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
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
fn colour_is_for_terminals_and_can_be_switched_off() {
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

#[test]
fn the_table_fits_the_terminal() {
    for (columns, most) in [(None, 80), (Some(50), 50), (Some(100), 100), (Some(300), 100)] {
        let output = under(libc::SYS_io_uring_setup, answer(Errno::EPERM), move || {
            let mut command = doctor(&[]);
            command.env("NO_COLOR", "1");
            on_a_terminal_of(columns, command)
        });
        let longest = output.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
        assert!((most - 15..=most).contains(&longest), "{columns:?}\n{output}");
        assert!(output.starts_with("verdict "), "{output}");
    }
}

fn ringpair(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpair"));
    for name in ["GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "RINGPAIR_REQUIRE_URING", "RINGPAIR_BACKEND"] {
        command.env_remove(name);
    }
    command.args(arguments);
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
    if out.starts_with("verdict ") {
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    }
    out
}

fn on_a_terminal(command: Command) -> String {
    on_a_terminal_of(None, command)
}

fn on_a_terminal_of(columns: Option<u16>, mut command: Command) -> String {
    let size = columns.map(|columns| Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 });
    let terminal = openpty(size.as_ref(), None).unwrap();
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
