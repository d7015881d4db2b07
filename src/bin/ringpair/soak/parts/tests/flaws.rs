//! What is wrong with a file, in words.

use serde_json::{Value, json};

use super::super::flaw::Flaw;
use super::super::gaps::gaps;
use super::*;

fn flaw_of(text: &str) -> String {
    parts_in(text.as_bytes()).map(|parts| parts.len()).unwrap_err().to_string()
}

/// What is wrong with a report in which the field at a path has another value.
fn flaw_with(path: &str, value: Value) -> String {
    let mut document = json!(good(3, shard("0/2")));
    let (parent, name) = path.rsplit_once('/').unwrap_or_default();
    let parent = document.pointer_mut(parent).and_then(Value::as_object_mut);
    parent.map(|parent| parent.insert(name.to_owned(), value));
    flaw_of(&document.to_string())
}

#[test]
fn what_is_not_a_report_is_told_in_one_sentence() {
    let whole = text(&good(3, None));
    let second = r#"{"kind":"second","schema":3}"#;
    for (input, flaw) in [
        ("", "it is empty; was the soak killed?"),
        (" \n\n", "it is empty; was the soak killed?"),
        (&whole[..whole.len() / 2], "it is cut off in the middle of a report; was the soak killed?"),
        (&format!("{second}\n{second}\n"), "it ends with lines of progress and without a report; was the soak killed?"),
        (&format!("{whole}\n{second}\n"), "it ends with lines of progress and without a report; was the soak killed?"),
        (&format!("{whole} and more"), "it is not JSON: expected value at line 1 column "),
        ("no JSON", "it is not JSON: expected ident at line 1 column 2"),
        ("[1]", "it is no report of a soak: its JSON is not an object"),
        ("3", "it is no report of a soak: its JSON is not an object"),
        ("{}", "it is no report of a soak: it has no `kind`"),
        (r#"{"cells": [], "fits": true}"#, "it is a report of `ringpair close`, not of a soak"),
        (r#"{"kind": "close"}"#, "it is a report of `ringpair close`, not of a soak"),
        (r#"{"kind": "doctor"}"#, "it is no report of a soak: its kind is `doctor`"),
        (r#"{"kind": 3}"#, "it is no report of a soak: in `kind`: invalid type: integer `3`, expected a string"),
        (r#"{"kind": "report", "kind": "report"}"#, "it is no report of a soak: duplicate field `kind`"),
        (r#"{"kind": "report"}"#, "it has no `schema`; this ringpair reads reports of schema 3"),
        (r#"{"kind": "report", "schema": 2}"#, "it is of schema 2; this ringpair reads reports of schema 3"),
        (r#"{"kind": "report", "schema": 3}"#, "it is no report of a soak: missing field `version`"),
    ] {
        let told = flaw_of(input);
        assert!(told.starts_with(flaw), "{input}: {told}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(flaw_of(&format!(r#"{{"kind": "report", "schema": 3, "x": {deep}}}"#)).contains("unknown field `x`"));
    assert!(flaw_of(&format!(r#"{{"kind": {deep}}}"#)).contains("in `kind`: invalid type: sequence"));
    let bytes = [b"{\"kind\": \"\xff\"}".as_slice(), b"\xff", b"\xef\xbb\xbf{}"];
    for flaw in bytes.map(|bytes| parts_in(bytes).map(|parts| parts.len()).unwrap_err()) {
        assert!(matches!(flaw, Flaw::NotJson(_)), "{flaw}");
    }
}

#[test]
fn a_field_that_is_wrong_is_named() {
    let no_report = "it is no report of a soak: ";
    for (path, value, flaw) in [
        ("/pairs", json!(-1), "in `pairs`: invalid value: integer `-1`, expected u64"),
        ("/pairs", json!(2.5), "in `pairs`: invalid type: floating point `2.5`, expected u64"),
        ("/pairs_per_second", Value::Null, "in `pairs_per_second`: invalid type: null, expected f64"),
        ("/make/p50_ns", json!("1"), "in `p50_ns`: invalid type: string \"1\", expected u64"),
        ("/failures", json!(3), "in `failures`: invalid type: integer `3`, expected a count for each step"),
        ("/engine", json!("kqueue"), "in `engine`: unknown variant `kqueue`"),
        ("/before/memory_bytes", json!(-5), "in `memory_bytes`: invalid value: integer `-5`, expected u64"),
        ("/before/swap", json!(5), "unknown field `swap`"),
        ("/failures", json!({"body": -2}), "in `body`: invalid value: integer `-2`, expected u64"),
        ("/shards", json!([{"index": 2, "of": 2}]), "in `of`: there is no shard 2 of 2: they are counted from 0"),
        ("/shards", json!([{"index": 0, "of": 0}]), "in `of`: a soak of no shards shows nothing"),
        ("/shards", json!([{"index": 0, "of": u64::MAX}]), "in `of`: a soak has at most 1000000 shards, not 1844"),
        ("/shards", json!([{"index": 0}]), "missing field `of`"),
    ] {
        let told = flaw_with(path, value);
        assert!(told.starts_with(&format!("{no_report}{flaw}")), "{path}: {told}");
    }
    let whole = text(&good(1, None));
    let without = whole.replacen(r#""first_failure":null,"#, "", 1);
    assert_eq!(flaw_of(&without), format!("{no_report}missing field `first_failure`"));
    let twice = whole.replacen(r#""pairs":1,"#, r#""pairs":1,"pairs":1,"#, 1);
    assert_eq!(flaw_of(&twice), format!("{no_report}duplicate field `pairs`"));
    let twice = whole.replacen(r#""failures":{}"#, r#""failures":{"body":1,"body":2}"#, 1);
    assert_eq!(flaw_of(&twice), format!("{no_report}in `body`: `body` is there twice"));
    // Also if the report has many lines.
    let lines = whole.replace(',', ",\n").replacen(r#""seed":7"#, r#""seed":-7"#, 1);
    assert_eq!(flaw_of(&lines), format!("{no_report}in `seed`: invalid value: integer `-7`, expected u64"));
}

#[test]
fn a_report_without_histograms_says_which_option_it_lacks() {
    for series in ["make", "body", "close", "whole"] {
        let told = flaw_with(&format!("/{series}/counts_by_ns"), Value::Null);
        assert_eq!(told, format!("it has no histogram of `{series}`; soak with --histograms to add reports up"));
    }
}

#[test]
fn a_report_that_contradicts_itself_is_refused() {
    let clean = "whether it is clean is not what its complaints say";
    let of_make = "its figures of `make` are not those of its histogram";
    for (path, value, what) in [
        ("/clean", json!(false), clean),
        ("/complaints", json!(["a leak"]), clean),
        ("/failures", json!({"body": 2, "connect": 1}), "3 pairs failed, and it does not complain of them"),
        ("/failures", json!({"body": 0}), "it names a step at which no pair failed"),
        ("/failures", json!({"body": u64::MAX}), "it counts more pairs than a report can hold"),
        ("/failures", json!({"body": u64::MAX, "connect": 1}), "it counts more pairs than a report can hold"),
        ("/pairs", json!(0), "it has no pairs, and does not complain of it"),
        ("/pairs", json!(4), "of 4 pairs it has 3 values of `make`"),
        ("/elapsed_seconds", json!(-1.0), "its `elapsed_seconds` is -1"),
        ("/pairs_per_second", json!(-0.5), "its `pairs_per_second` is -0.5"),
        ("/make/count", json!(4), of_make),
        ("/make/p99_ns", json!(7), of_make),
        ("/make/counts_by_ns", json!([[1000, 4]]), of_make),
        ("/make/counts_by_ns", json!([[1000, 2], [1000, 1]]), of_make),
        ("/make/counts_by_ns", json!([[999, 0], [1000, 3]]), of_make),
        ("/make/counts_by_ns", json!([[1000, u64::MAX], [2000, 4]]), of_make),
        ("/body/counts_by_ns", json!([]), "its figures of `body` are not those of its histogram"),
        ("/close/counts_by_ns", json!([]), "its figures of `close` are not those of its histogram"),
        ("/whole/counts_by_ns", json!([]), "its figures of `whole` are not those of its histogram"),
        ("/whole", json!(good(2, None).whole), "of 3 values of `close` it has 2 of `whole`"),
    ] {
        assert_eq!(flaw_with(path, value), format!("it contradicts itself: {what}"), "{path}");
    }
}

#[test]
fn a_complaint_about_gaps_does_not_stand_for_failures() {
    let mut document = good(3, shard("0/2"));
    document.failures.insert("body".to_owned(), 1);
    document.complaints = gaps(&document.shards);
    document.clean = false;
    let told = "it contradicts itself: 1 pairs failed, and it does not complain of them";
    assert_eq!(flaw_of(&text(&document)), told);
}

#[test]
fn all_reports_of_a_file_count() {
    let second = r#"{"kind":"second","schema":3,"pairs":1}"#;
    let [one, two] = [good(3, shard("0/2")), good(4, shard("1/2"))].map(|document| text(&document));
    for input in [format!("{one}\n{two}\n"), format!("{one}{two}"), format!("{second}\n{one}\n{second}\n{two}")] {
        let parts = read(&input);
        assert_eq!(parts.iter().map(|part| part.document.pairs).collect::<Vec<_>>(), [3, 4]);
    }
}
