//! The shards of a soak are the whole. `ringpair merge` loses nothing of their reports, names missing and duplicate shards, and
//! refuses in one sentence what is not a report. Text from a file is escaped.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[allow(unused_imports, unused_macros)] // other tests differ by engine
#[path = "../common/mod.rs"]
mod common;
mod refused;
mod shards;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use common::{Scratch, ringpair, text};
use serde_json::{Value, json};

const WRONG: i32 = 2;
const FINDING: i32 = 3;
const INTERRUPTED: i32 = 130;

#[test]
fn shards_add_up_to_the_whole() {
    let folder = Folder::new("shards");
    let (mut files, mut reports) = (Vec::new(), Vec::new());
    for index in 0..4 {
        // Each way to tell a shard, and each form of a report.
        let mut command = soak(&["--pairs", "103", "--seed", "1"]);
        match index {
            0 => command.args(["--shard", "0/4", "--json"]),
            1 => command.arg("--json-lines").env("JOB_COMPLETION_INDEX", "1").env("RINGPAIR_SHARDS", "4"),
            2 => command.arg("--json").envs(slurm(["16", "10", "19", "3", "4"])),
            _ => command.arg("--json").env("CI_NODE_INDEX", "4").env("CI_NODE_TOTAL", "4"),
        };
        let printed = printed(command, 0);
        let last = printed.lines().next_back().unwrap();
        let report: Value = serde_json::from_str(if index == 1 { last } else { &printed }).unwrap();
        assert_eq!(report["pairs"], if index == 3 { 25 } else { 26 });
        reports.push(report);
        files.push(folder.file(&index.to_string(), printed));
    }
    let merged = merged_json(&files, 0);
    assert_eq!((&merged["pairs"], &merged["clean"]), (&json!(103), &json!(true)));
    for name in ["make", "body", "close", "whole"] {
        let mut counts = std::collections::BTreeMap::new();
        for bucket in reports.iter().flat_map(|report| report[name]["counts_by_ns"].as_array().unwrap()) {
            *counts.entry(bucket[0].as_u64().unwrap()).or_insert(0) += bucket[1].as_u64().unwrap();
        }
        assert_eq!(merged[name]["counts_by_ns"], json!(counts.into_iter().collect::<Vec<_>>()));
    }

    let table = merged_table(&[files[2].clone(), files[0].clone(), files[3].clone()], FINDING);
    assert!(table.contains("shards 0/4 2/4 3/4\n"), "{table}");
    assert!(table.ends_with("\nNOT CLEAN\n  shard 1/4 is missing\n"), "{table}");
    files.push(files[1].clone());
    let table = merged_table(&files, FINDING);
    assert!(table.ends_with("\nNOT CLEAN\n  shard 1/4 is there 2 times\n"), "{table}");
}

#[test]
fn a_merged_report_is_merged_with_the_rest() {
    let folder = Folder::new("again");
    let [one, two, three] = [0, 1, 2].map(|index| folder.file(&index.to_string(), shard(index, 3)));
    let some = merged_json(&[three.clone(), one.clone()], FINDING);
    assert_eq!(some["complaints"], json!(["shard 1/3 is missing"]));
    let some = folder.file("some", some);
    let all = merged_json(&[some.clone(), two.clone()], 0);
    assert_eq!(all["pairs"], merged_json(&[one.clone(), two, three], 0)["pairs"]);
    let twice = merged_json(&[some, one], FINDING);
    assert_eq!(twice["complaints"], json!(["shard 0/3 is there 2 times", "shard 1/3 is missing"]));
}

#[test]
fn all_reports_in_a_file_and_on_stdin_count() {
    let folder = Folder::new("many");
    let [one, two] = [shard(0, 2), shard(1, 2)];
    let second = r#"{"kind":"second","schema":3}"#;
    for input in [
        format!("{one}\n{two}\n"),
        format!("{one}{two}"),
        format!("{one:#}\n{two:#}"),
        format!("{second}\n{one}\n{second}\n{two}\n"),
    ] {
        let merged = merged_json(&[folder.file("both", &input)], 0);
        assert_eq!(merged["shards"], json!([{"index": 0, "of": 2}, {"index": 1, "of": 2}]));
        assert_eq!(merged["pairs"].as_u64(), one["pairs"].as_u64().map(|pairs| 2 * pairs));

        let mut child = ringpair(&["merge", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    }
}

#[test]
fn a_soak_that_is_not_shared_is_there_once_and_alone() {
    let folder = Folder::new("whole");
    let whole = folder.file("whole", report(None));
    assert_eq!(merged_json(std::slice::from_ref(&whole), 0)["shards"], json!([]));
    let shards = [0, 1].map(|index| folder.file(&index.to_string(), shard(index, 2)));
    let [mixed, other] = [1, 2].map(|more| [&[whole.clone()][..], &shards[..more]].concat());
    for (files, complaint) in [
        (vec![whole.clone(), whole], "the whole soak is there 2 times"),
        (mixed, "a whole soak and shards of 2 are no parts of one soak"),
        (other, "a whole soak and shards of 2 are no parts of one soak"),
        (
            vec![shards[0].clone(), folder.file("3", shard(1, 3))],
            "shards of 2 and shards of 3 are no parts of one soak",
        ),
    ] {
        assert_eq!(merged_json(&files, FINDING)["complaints"], json!([complaint]));
        let table = merged_table(&files, FINDING);
        assert!(table.ends_with(&format!("\nNOT CLEAN\n  {complaint}\n")), "{table}");
        // And stays so in a sum of sums.
        let merged = folder.file("merged", merged_json(&files, FINDING));
        assert_eq!(merged_json(&[merged], FINDING)["complaints"], json!([complaint]));
    }
}

#[test]
fn failures_and_complaints_of_a_shard_are_the_sum_s() {
    let folder = Folder::new("failed");
    let mut failed = [shard(0, 2), shard(1, 2)];
    for (index, count) in [(0, 3), (1, 4)] {
        failed[index]["failures"] = json!({"body": count, "connect": 1});
        failed[index]["complaints"] = json!([format!("{} pairs failed", count + 1)]);
        failed[index]["clean"] = json!(false);
    }
    failed[0]["ended_early"] = json!(true);
    let files = [0, 1].map(|index| folder.file(&index.to_string(), &failed[index]));
    let merged = merged_json(&files, INTERRUPTED);
    assert_eq!(merged["failures"], json!({"body": 7, "connect": 2}));
    assert_eq!(merged["complaints"], json!(["shard 0/2: 4 pairs failed", "shard 1/2: 5 pairs failed"]));
    let table = merged_table(&files, INTERRUPTED);
    assert!(table.contains("\n7 failed at: body\n") && table.contains("\n2 failed at: connect\n"), "{table}");
    assert!(table.ends_with("\nNOT CLEAN\n  shard 0/2: 4 pairs failed\n  shard 1/2: 5 pairs failed\n"), "{table}");
}

#[test]
fn what_is_not_known_of_one_shard_is_not_known_of_the_sum() {
    let folder = Folder::new("facts");
    let files = [(0, json!(2)), (1, Value::Null)].map(|(index, time_wait)| {
        let mut report = shard(index, 2);
        report["after"] = json!({"descriptors": 9, "memory_bytes": 3 << 19, "sockets": 4, "time_wait": time_wait});
        report["engine"] = json!(["uring", "epoll"][index as usize]);
        folder.file(&index.to_string(), report)
    });
    let known = json!({"descriptors": 18, "memory_bytes": 3 << 20, "sockets": 8, "time_wait": null});
    assert_eq!(merged_json(&files, 0)["after"], known);
    let table = merged_table(&files, 0);
    assert!(table.contains("\nafter                 18         8         ?       3.0\n"), "{table}");
    assert!(
        table.contains("\nPairs are made through io_uring by some shards, and through epoll by others\n"),
        "{table}"
    );
}

#[test]
fn very_many_shards_are_a_few_lines() {
    let folder = Folder::new("million");
    let mut first = shard(0, 2);
    first["shards"] = json!([{"index": 7, "of": 1_000_000}]);
    let table = merged_table(&[folder.file("7", first)], FINDING);
    assert!(table.ends_with("\n  shard 8/1000000 is missing\n  999991 more shards are missing\n"), "{table}");
    let many: Vec<_> = (0..20).map(|index| folder.file(&index.to_string(), shard(index, 20))).collect();
    let table = merged_table(&many, 0);
    assert!(table.contains("shards 0/20 1/20 2/20 3/20 4/20 5/20 6/20 7/20 and 12 more\n"), "{table}");
}

// --- helpers

/// A folder of reports.
struct Folder(Scratch);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = Scratch::new(name);
        fs::create_dir_all(&folder.0).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str, content: impl ToString) -> PathBuf {
        self.bytes(name, content.to_string().as_bytes())
    }

    fn bytes(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn soak(arguments: &[&str]) -> Command {
    ringpair(&[&["soak"], arguments].concat())
}

fn slurm([id, min, max, step, count]: [&str; 5]) -> [(&'static str, &str); 5] {
    [
        ("SLURM_ARRAY_TASK_ID", id),
        ("SLURM_ARRAY_TASK_MIN", min),
        ("SLURM_ARRAY_TASK_MAX", max),
        ("SLURM_ARRAY_TASK_STEP", step),
        ("SLURM_ARRAY_TASK_COUNT", count),
    ]
}

/// The report on a soak of thirty pairs, with other shards.
fn report(shard: Option<Value>) -> Value {
    static REPORT: OnceLock<Value> = OnceLock::new();
    let soaked = || serde_json::from_str(&printed(soak(&["--pairs", "30", "--json", "--histograms"]), 0)).unwrap();
    let mut report = REPORT.get_or_init(soaked).clone();
    report["shards"] = shard.into_iter().collect();
    report
}

fn shard(index: u64, of: u64) -> Value {
    report(Some(json!({"index": index, "of": of})))
}

fn printed(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    let error = common::without_network_note(&output.stderr);
    assert_eq!((output.status.code(), error.as_str()), (Some(code), ""), "{output:?}");
    text(&output.stdout)
}

fn merge(arguments: &[PathBuf]) -> Output {
    ringpair(&["merge"]).args(arguments).output().unwrap()
}

fn merged_table(files: &[PathBuf], code: i32) -> String {
    let mut command = ringpair(&["merge"]);
    command.args(files);
    printed(command, code)
}

fn merged_json(files: &[PathBuf], code: i32) -> Value {
    let mut command = ringpair(&["merge", "--json"]);
    command.args(files);
    serde_json::from_str(&printed(command, code)).unwrap()
}

/// The last file is named, and what is wrong with it, on one line.
fn assert_refused(files: &[PathBuf], flaw: &str) {
    let output = merge(files);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((output.status.code(), out.as_str(), err.lines().count()), (Some(WRONG), "", 1), "{err}");
    assert!(
        err.starts_with(&format!("error: {}: ", files.last().unwrap().display())) && err.contains(flaw),
        "{flaw}: {err}"
    );
    assert_plain(&err);
}

/// Nothing but lines of printable characters.
fn assert_plain(text: &str) {
    let is_plain = |letter: char| letter == '\n' || !(letter.is_control() || letter == '\u{202e}');
    assert!(text.chars().all(is_plain), "{text:?}");
}
