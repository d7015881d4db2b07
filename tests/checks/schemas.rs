//! Checks every kind of JSON that `ringpair` prints against its schema in `schemas/`.
#![allow(clippy::unwrap_used)]

#[path = "../barred/mod.rs"]
mod barred;
#[allow(unused_imports, unused_macros)] // no body here runs on each engine
#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use barred::{answer, begin_under};
use common::{Scratch, await_catching, ring_is_there, skip, text};
use jsonschema::Validator;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const CLOSE: &str = include_str!("../../schemas/close.json");
const DOCTOR: &str = include_str!("../../schemas/doctor.json");
const SOAK: &str = include_str!("../../schemas/soak.json");

#[test]
fn close_prints_what_its_schema_says() {
    for arguments in [&["--pairs", "3", "--json"][..], &["--pairs", "3", "--ways", "fin,abort", "--json"]] {
        for backend in [None, Some("epoll")] {
            let Some(mut command) = ringpair("close", arguments) else { return };
            assert_fits(CLOSE, &printed(command.envs(backend.map(|engine| ("RINGPAIR_BACKEND", engine)))));
        }
    }
}

#[test]
fn soak_prints_what_its_schema_says() {
    for arguments in [
        &["--pairs", "20", "--json"][..],
        &["--pairs", "20", "--json", "--histograms", "--linger", "graceful", "--live", "5"],
        &["--pairs", "20", "--json", "--shard", "1/2"],
        &["--duration", "1.2s", "--rate", "50", "--json-lines"],
    ] {
        for backend in [None, Some("epoll")] {
            let Some(mut command) = ringpair("soak", arguments) else { return };
            for line in lines(&printed(command.envs(backend.map(|engine| ("RINGPAIR_BACKEND", engine))))) {
                assert_fits(SOAK, line);
            }
        }
    }
}

#[test]
fn a_soak_whose_pairs_fail_prints_what_its_schema_says() {
    let Some(mut command) = ringpair("soak", &["--pairs", "3", "--pair-timeout", "1ms", "--json"]) else { return };
    begin_under(&mut command, &[libc::SYS_recvfrom], answer(Errno::EAGAIN)); // each read finds nothing
    let report = printed(command.env("RINGPAIR_BACKEND", "epoll"));
    assert!(report.contains("\"pair_timeout\": 3"), "{report}");
    assert_fits(SOAK, &report);
}

#[test]
fn what_ends_early_prints_what_its_schema_says() {
    let endless = ["--pairs", "100000000", "--json"];
    for (name, schema) in [("close", CLOSE), ("soak", SOAK)] {
        let Some(mut command) = ringpair(name, &endless) else { return };
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        await_catching(child.id(), Signal::SIGINT);
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let report = text(&child.wait_with_output().unwrap().stdout);
        assert!(report.contains("\"ended_early\": true"), "{report}");
        assert_fits(schema, &report);
    }
}

#[test]
fn merge_prints_what_its_schema_says() {
    let shards: Vec<Scratch> = (0..3).map(|index| Scratch::new(&format!("of-three-{index}.json"))).collect();
    for (index, shard) in shards.iter().enumerate() {
        let (path, index) = (shard.0.to_str().unwrap(), format!("{index}/3"));
        let Some(mut soak) = ringpair("soak", &["--pairs", "30", "--histograms", "--seed", "1"]) else { return };
        assert!(soak.args(["--shard", &index, "--json", path]).output().unwrap().status.success());
    }
    for complete in [3, 2] {
        let Some(mut merge) = ringpair("merge", &["--json"]) else { return };
        assert_fits(SOAK, &printed(merge.args(shards[..complete].iter().map(|shard| &shard.0))));
    }
}

#[test]
fn doctor_prints_what_its_schema_says() {
    for backend in [None, Some("epoll")] {
        let Some(mut command) = ringpair("doctor", &["--json"]) else { return };
        assert_fits(DOCTOR, &printed(command.envs(backend.map(|engine| ("RINGPAIR_BACKEND", engine)))));
    }
    if !ring_is_there() {
        return;
    }
    for call in [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_bind] {
        let Some(mut command) = ringpair("doctor", &["--json"]) else { return };
        begin_under(&mut command, &[call], answer(Errno::EPERM));
        assert_fits(DOCTOR, &printed(&mut command));
    }
}

#[test]
fn a_schema_refuses_what_it_does_not_name() {
    for (schema, empty) in [(CLOSE, "{}"), (DOCTOR, "{}"), (SOAK, "{}"), (SOAK, r#"{"kind": "second"}"#)] {
        assert!(!validator(schema).is_valid(&serde_json::from_str(empty).unwrap()), "{schema}");
    }
}

// --- helpers

fn validator(schema: &str) -> Validator {
    jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap()
}

fn assert_fits(schema: &str, document: &str) {
    let value: Value = serde_json::from_str(document).unwrap_or_else(|error| panic!("{error} in {document:?}"));
    let complaints: Vec<String> =
        validator(schema).iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(complaints.is_empty(), "{complaints:#?}\n{document}");
}

/// A report, or the lines of one kind each.
fn lines(printed: &str) -> Vec<&str> {
    if printed.starts_with("{\n") { vec![printed] } else { printed.lines().collect() }
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.stdout.is_empty(), "{output:?}");
    text(&output.stdout)
}

/// The command line. Skips the test visibly if there is no cargo to build it with.
fn ringpair(subcommand: &str, arguments: &[&str]) -> Option<Command> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let Some(program) = BUILT.get_or_init(built) else {
        skip("cargo does not run this test, and cannot build the program that it tests");
        return None;
    };
    let mut command = Command::new(program);
    common::remove_schedulers(&mut command);
    command.env_remove("RINGPAIR_REQUIRE_URING").arg(subcommand).args(arguments);
    Some(command)
}

/// Builds the program as `cargo test --workspace --all-features` does, after which there is nothing left to build.
fn built() -> Option<PathBuf> {
    let cargo = std::env::var_os("CARGO")?;
    let test = std::env::current_exe().unwrap(); // TARGET/debug/deps/schemas-…
    let output = Command::new(cargo)
        .args(["test", "--workspace", "--all-features", "--no-run", "--test", "running", "--message-format", "json"])
        .arg("--target-dir")
        .arg(test.ancestors().nth(3).unwrap())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = text(&output.stdout);
    let mut messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let program = messages.find(|message| message["target"]["kind"] == serde_json::json!(["bin"])).unwrap();
    Some(program["executable"].as_str().unwrap().into())
}
