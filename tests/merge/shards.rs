//! What a soak prints for `ringpair merge`, and which shard it takes itself for.

use super::*;

#[test]
fn histograms_are_left_out_or_one_bucket_a_line() {
    let short = printed(soak(&["--pairs", "200", "--json"]), 0);
    assert!(short.lines().count() < 100 && !short.contains("counts_by_ns"), "{short}");
    let long = printed(soak(&["--pairs", "200", "--json", "--histograms"]), 0);
    let report: Value = serde_json::from_str(&long).unwrap();
    let buckets = ["make", "body", "close", "whole"].map(|name| report[name]["counts_by_ns"].as_array().unwrap().len());
    assert!(long.lines().count() <= short.lines().count() + buckets.iter().sum::<usize>() + 4 * 2, "{long}");

    let folder = Folder::new("short");
    let flaw = "it has no histogram of `make`; soak with --histograms to add reports up";
    assert_refused(&[folder.file("short", short)], flaw);
    let output = soak(&["--pairs", "3", "--histograms"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(WRONG), ""));
    assert!(text(&output.stderr).contains("--json"), "{output:?}");
}

#[test]
fn names_of_times_and_sizes_end_with_their_unit() {
    let report = report(None);
    assert_eq!(report["schema"], 3);
    assert!(report["peak"]["memory_bytes"].as_u64() > Some(0));
    let names: Vec<_> = report["make"].as_object().unwrap().keys().collect();
    let no_unit: Vec<_> = names.iter().filter(|name| !name.ends_with("_ns")).collect();
    assert_eq!(no_unit, [&"count"]);
}

#[test]
fn a_scheduler_that_does_not_tell_the_shard_is_an_error() {
    let list = slurm(["5", "1", "7", "1", "3"]);
    let rerun = slurm(["3", "3", "3", "1", "1"]);
    for variables in [
        &list[..],
        &rerun,
        &list[..1],
        &[("JOB_COMPLETION_INDEX", "1")],
        &[("RINGPAIR_SHARDS", "4")],
        &[("CI_NODE_INDEX", "1")],
        &[("CI_NODE_TOTAL", "4")],
    ] {
        let output = soak(&["--pairs", "100"]).envs(variables.iter().copied()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(WRONG), ""), "{variables:?}");
        assert!(text(&output.stderr).ends_with("say which shard this is with --shard I/N\n"), "{output:?}");
        // To say it helps.
        let mut command = soak(&["--pairs", "100", "--shard", "1/4", "--json"]);
        command.envs(variables.iter().copied());
        assert!(printed(command, 0).contains("\"pairs\": 25,"), "{variables:?}");
    }
    let output = soak(&["--shard", "0/18446744073709551615"]).output().unwrap();
    assert_eq!(output.status.code(), Some(WRONG));
    assert!(text(&output.stderr).contains("a soak has at most 1000000 shards"), "{output:?}");
}
