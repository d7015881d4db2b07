//! Files that are not reports, and reports that do not add up.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

#[test]
fn a_file_that_is_no_report_is_refused_in_one_sentence() {
    let folder = Folder::new("odd");
    let good = shard(0, 2).to_string();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (content, flaw) in [
        ("".to_owned(), "it is empty; was the soak killed?"),
        (good[..good.len() / 2].to_owned(), "it is cut off in the middle of a report; was the soak killed?"),
        (r#"{"kind":"second","schema":3}"#.to_owned(), "without a report; was the soak killed?"),
        (format!("{good} and more"), "it is not JSON: "),
        (deep.clone(), "it is no report of a soak: its JSON is not an object"),
        (good.replacen("\"make\":", &format!("\"more\":{deep},\"make\":"), 1), "unknown field `more`"),
        ("{}".to_owned(), "it is no report of a soak: it has no `kind`"),
        (good.replacen("\"report\"", "\"rapport\"", 1), "its kind is `rapport`"),
        (
            good.replacen("\"schema\":3", "\"schema\":1", 1),
            "it is of schema 1; this ringpair reads reports of schema 3",
        ),
        (good.replacen("\"schema\":3,", "", 1), "it has no `schema`; this ringpair reads reports of schema 3"),
        (good.replacen("\"pairs\":", "\"pairs\":-", 1), "in `pairs`: invalid value: integer `-30`, expected u64"),
        (good.replacen("\"seed\":", "\"seed\":0.5,\"seed\":", 1), "in `seed`: invalid type: floating point `0.5`"),
        (good.replacen("\"pairs\":", "\"pairs\":30,\"pairs\":", 1), "duplicate field `pairs`"),
        (good.replacen("\"netns\":", "\"netns\":null,\"netns\":", 1), "in `netns`: invalid type: null"),
        (good.replacen("\"elapsed_seconds\":", "\"elapsed_seconds\":NaN,\"x\":", 1), "it is not JSON: "),
    ] {
        assert_refused(&[folder.file("odd", content)], flaw);
    }
    assert_refused(
        &[folder.bytes("odd", &[b"{\"kind\":\"\xff\"}".as_slice(), good.as_bytes()].concat())],
        "it is not JSON: ",
    );
}

#[test]
fn a_report_that_cannot_be_true_is_refused() {
    let folder = Folder::new("untrue");
    for (field, value, flaw) in [
        ("shards", json!([{"index": 2, "of": 2}]), "there is no shard 2 of 2"),
        ("shards", json!([{"index": 0, "of": 0}]), "a soak of no shards shows nothing"),
        (
            "shards",
            json!([{"index": 0, "of": u64::MAX}]),
            "a soak has at most 1000000 shards, not 18446744073709551615",
        ),
        ("clean", json!(false), "whether it is clean is not what its complaints say"),
        ("complaints", json!(["a leak"]), "whether it is clean is not what its complaints say"),
        ("failures", json!({"body": 1}), "1 pairs failed, and it does not complain of them"),
        ("pairs", json!(31), "of 31 pairs it has 30 values of `make`"),
        ("pairs_per_second", json!(-1.5), "its `pairs_per_second` is -1.5"),
        ("pairs_per_second", Value::Null, "in `pairs_per_second`: invalid type: null"),
        ("engine", json!("kqueue"), "in `engine`: unknown variant `kqueue`"),
    ] {
        let mut report = shard(0, 2);
        report[field] = value;
        assert_refused(&[folder.file("untrue", report)], flaw);
    }
}

#[test]
fn reports_that_do_not_add_up_are_refused() {
    let folder = Folder::new("sums");
    let with = |field: &str, value: Value| {
        [0, 1].map(|index| {
            let mut report = shard(index, 2);
            report[field] = value.clone();
            folder.file(&index.to_string(), report)
        })
    };
    let memory = |bytes| json!({"descriptors": 9, "memory_bytes": bytes, "sockets": 3, "time_wait": null});
    assert_refused(
        &with("pairs_per_second", json!(1e308)),
        "with it, `pairs_per_second` is more than a report can hold",
    );
    assert_refused(&with("peak", memory(u64::MAX)), "with it, `memory_bytes` is more than a report can hold");
    let mut files = with("peak", memory(5));
    assert_eq!(merged_json(&files, 0)["peak"]["memory_bytes"], 10);
    let mut other = shard(1, 2);
    other["version"] = json!("9.9.9");
    files[1] = folder.file("other", other);
    assert_refused(&files, "it is by ringpair 9.9.9, and the first report by ");
}

#[test]
fn a_report_of_close_and_a_file_that_cannot_be_read_are_refused() {
    let folder = Folder::new("close");
    let mut close = ringpair(&["close", "--pairs", "3", "--ways", "reset", "--json"]);
    let close = close.output().unwrap().stdout; // some hosts count more than its own connections: any code will do
    assert_refused(&[folder.bytes("close", &close)], "it is a report of `ringpair close`, not of a soak");
    let error = text(&merge(std::slice::from_ref(&folder.0.0)).stderr);
    assert_eq!(error, format!("error: {}: Is a directory (os error 21)\n", folder.0.0.display()));
    assert_refused(&["/no-such-file".into()], "No such file or directory");
    let [good, missing] = [folder.file("good", report(None)), "/no-such-file".into()];
    assert_eq!(merge(&[good, missing]).status.code(), Some(WRONG));
    assert_eq!(ringpair(&["merge"]).output().unwrap().status.code(), Some(WRONG));
    let output = ringpair(&["merge", "-"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(text(&output.stderr), "error: stdin: it is empty; was the soak killed?\n");
}

#[test]
fn what_a_file_says_steers_no_terminal() {
    let folder = Folder::new("escapes");
    let forged = "\u{1b}[2J\r\u{9b}1A\u{202e}\n\nclean: nothing failed, and nothing was left behind\n";
    let mut report = shard(0, 1);
    report["failures"] = json!({ forged: 1 });
    report["first_failure"] = json!(forged);
    report["complaints"] = json!([forged]);
    report["clean"] = json!(false);
    let file = folder.file("forged", &report);
    let table = merged_table(std::slice::from_ref(&file), FINDING);
    assert_plain(&table);
    assert!(!table.lines().any(|line| line.starts_with("clean")) && table.contains(r"\u{1b}[2J\r\u{9b}1A"), "{table}");
    let output = merge(&["--json".into(), file]);
    assert_plain(&text(&output.stdout));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["complaints"][0], forged);

    for field in ["kind", "version", "engine"] {
        let mut odd = shard(1, 2);
        odd[field] = json!(forged);
        let files = [folder.file("good", shard(0, 2)), folder.file("odd", odd)];
        assert_refused(&files, r"\u{1b}[2J\r\u{9b}1A\u{202e}\n\nclean: ");
    }
    let mut odd = report;
    odd[forged] = json!(1);
    assert_refused(&[folder.file("odd", odd)], r"unknown field `\u{1b}[2J");
    let name = OsString::from_vec(b"/no-such\n\x1b[2Jfile\xff".to_vec());
    let output = merge(&[name.into()]);
    assert_plain(&text(&output.stderr));
    assert!(text(&output.stderr).starts_with(r"error: /no-such\n\u{1b}[2Jfile"), "{output:?}");
}
