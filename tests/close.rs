//! `ringpair close` measures what it was asked to. Its figures agree with each other and with the kernel's, every form of the
//! report says the same, and words and exit code report what is wrong.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod barred;
#[allow(unused_imports, unused_macros)] // no body here runs on each engine
mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use barred::{answer, under};
use common::{Scratch, alone_in_a_network, on_one_line, ring_is_there, skip, text};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const WAYS: [&str; 7] = ["reset", "fin", "shutdown", "wait", "abort", "reset-unread", "fin-unread"];
const SERIES: [&str; 4] = ["first", "peer", "second", "whole"];

const FAILED: i32 = 1;
const WRONG: i32 = 2;
const MISFIT: i32 = 3;
const INTERRUPTED: i32 = 130;

// --- figures

#[test]
fn every_way_call_and_order_is_measured_and_fits_the_counters() {
    let Some(report) = json(close(&["--pairs", "30"])) else { return };
    assert_eq!(
        (&report["fits"], &report["ended_early"], &report["netns"]),
        (&true.into(), &false.into(), &true.into())
    );
    let calls: &[&str] = if report["engine"] == "uring" { &["close", "uring"] } else { &["close"] };
    let cells = report["cells"].as_array().unwrap();
    let mut expected = Vec::new();
    for way in WAYS {
        for call in calls {
            expected.extend(["accepted_first", "connected_first"].map(|order| (way, *call, order)));
        }
    }
    let told = |cell: &'_ Value, name| cell[name].as_str().unwrap().to_owned();
    let found: Vec<_> = cells.iter().map(|cell| (told(cell, "way"), told(cell, "call"), told(cell, "order"))).collect();
    let found: Vec<_> = found.iter().map(|(way, call, order)| (way.as_str(), call.as_str(), order.as_str())).collect();
    assert_eq!(found, expected);
    for cell in cells {
        assert_agrees_with_itself(cell, 30);
    }
}

/// A cell that was not disturbed: as many values as pairs, in order; what the kernel counted is what its way must show.
fn assert_agrees_with_itself(cell: &Value, pairs: u64) {
    assert_eq!((&cell["pairs"], &cell["fits"]), (&pairs.into(), &true.into()), "{cell}");
    for series in SERIES {
        assert_eq!(cell[series]["count"], pairs, "{cell}");
        let values = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns"]
            .map(|name| cell[series][name].as_u64().unwrap());
        assert!(values.is_sorted() && values[0] > 0, "{series}: {values:?}");
    }
    let [first, peer, second, whole] = SERIES.map(|series| cell[series]["min_ns"].as_u64().unwrap());
    assert!(whole >= peer && whole >= first + second, "{cell}");
    let is_reset = cell["ending"] == "reset";
    let counted = |name: &str| cell["counted"][name].as_u64().unwrap();
    assert_eq!(counted("time_wait") + counted("time_wait_overflow"), if is_reset { 0 } else { pairs }, "{cell}");
    assert_eq!(counted("out_rsts"), if is_reset { pairs } else { 0 }, "{cell}");
    assert_eq!(counted("estab_resets"), if is_reset { 2 * pairs } else { 0 }, "{cell}");
    assert_eq!(counted("abort_on_data"), if cell["way"] == "reset" { pairs } else { 0 }, "{cell}");
    let is_unread = cell["way"].as_str().unwrap().ends_with("-unread");
    assert_eq!(counted("abort_on_close"), if is_unread { pairs } else { 0 }, "{cell}");
}

#[test]
fn only_the_named_ways_are_measured_in_their_order() {
    let Some(report) = json(close(&["--pairs", "3", "--ways", "wait,reset"])) else { return };
    let mut ways: Vec<&str> = cells(&report).map(|cell| cell["way"].as_str().unwrap()).collect();
    ways.dedup();
    assert_eq!(ways, ["wait", "reset"]);
    // There is no fin to be compared with.
    assert!(cells(&report).all(|cell| cell["p50_over_fin"]["whole"].is_null()));
}

#[test]
fn ratios_are_to_fin_by_the_same_call_in_the_same_order() {
    let Some(report) = json(close(&["--pairs", "20", "--ways", "fin,abort"])) else { return };
    for cell in cells(&report) {
        let same = |other: &&Value| ["call", "order"].iter().all(|name| other[*name] == cell[*name]);
        let fin = cells(&report).find(|other| other["way"] == "fin" && same(other)).unwrap();
        for series in SERIES {
            let [own, fin] = [cell, fin].map(|cell| cell[series]["p50_ns"].as_f64().unwrap());
            let told = cell["p50_over_fin"][series].as_f64().unwrap();
            assert!((told - own / fin).abs() < 1e-9, "{series}: {told}"); // decimals are read back with an error in the last
        }
    }
}

#[test]
fn the_seed_and_what_is_to_lie_unread_are_taken_and_told() {
    let arguments = ["--pairs", "5", "--ways", "fin-unread,reset-unread", "--unread", "65536", "--seed", "7"];
    let Some(report) = json(close(&arguments)) else { return };
    assert_eq!((&report["unread_bytes"], &report["seed"], &report["pairs"]), (&65536.into(), &7.into(), &5.into()));
    assert_eq!(report["fits"], true);
}

#[test]
fn connections_of_others_disturb_it_only_in_the_hosts_network() {
    alone_in_a_network(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let over = AtomicBool::new(false);
        let output = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                    let (accepted, _) = listener.accept().unwrap();
                    ringpair::abort(&accepted).unwrap();
                    drop((connected, accepted));
                }
            });
            let output = ringpair(&["close", "--pairs", "200", "--ways", "fin", "--host-netns"]).output();
            let undisturbed = ringpair(&["close", "--pairs", "200", "--ways", "fin"]).output();
            over.store(true, Relaxed);
            assert_eq!(undisturbed.unwrap().status.code(), Some(0), "by default it has a network of its own");
            output.unwrap()
        });
        assert_eq!(output.status.code(), Some(MISFIT), "{output:?}");
        let table = text(&output.stdout);
        assert!(table.contains("does not fit:\n  out_rsts went up by ") && table.contains(", not 0\n"), "{table}");
        let table = on_one_line(&table);
        assert!(table.contains("TIME_WAIT unknown, since the counters are shared with the host"), "{table}");
        assert!(table.contains("; but do not trust this: some reads or counters are not as they must be"), "{table}");
        assert!(table.contains("Counters are shared with the host: "), "{table}");
        assert!(table.contains("--netns measures without its other connections"), "{table}");
    });
}

// --- forms of the report

#[test]
fn the_answer_comes_first_then_a_row_for_each_way() {
    let Some(output) = measured(close(&["--pairs", "200"])) else { return };
    assert!(!output.contains('\x1b') && output.lines().all(|line| line.trim_end() == line), "{output}");
    let parts: Vec<&str> = output.trim_end().split("\n\n").collect();
    let answer = on_one_line(parts[0]);
    assert!(
        answer.starts_with("reset: ") && answer.contains(" µs to close both ends, no TIME_WAIT; fin: "),
        "{answer}"
    );
    assert!(answer.contains(" µs, one TIME_WAIT; "), "{answer}");
    assert!(answer.ends_with(" times as fast") || answer.ends_with("; too close to tell which is faster"), "{answer}");
    let rows: Vec<Vec<&str>> = parts[1].lines().skip(3).map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), WAYS);
    for row in rows {
        let is_reset = !["fin", "shutdown", "wait"].contains(&row[0]);
        assert_eq!((row.len(), row[6]), (7, if is_reset { "0" } else { "1" }), "{row:?}");
    }
    assert_eq!(parts[2], "Every read and every counter is as it must be.");
    assert!(parts[3].starts_with("wait: close returns when"), "{output}");
    assert!(on_one_line(parts[4]).starts_with("200 pairs for each way, call and order; seed "), "{output}");
    assert_eq!(parts[5..], ["--all shows every call, order and counter."]);
    assert_fits(&output, 80);
}

#[test]
fn all_shows_every_cell_and_every_counter() {
    let Some(output) = measured(close(&["--pairs", "2", "--all"])) else { return };
    assert_fits(&output, 80);
    for way in WAYS {
        let rows = output.lines().filter(|line| line.starts_with(&format!("{way:12} "))).count();
        // One by way, one of its counters, and one for each call, order and percentile.
        assert!(rows == 10 || rows == 6, "{way}: {rows}\n{output}");
    }
    for title in ["p50 in µs", "p99 in µs", "per pair"] {
        assert_eq!(output.lines().filter(|line| line.starts_with(title)).count(), 1, "{title}\n{output}");
    }
    assert!(!output.contains("--all shows"), "{output}");
}

#[test]
fn a_percentile_needs_as_many_pairs() {
    for (pairs, is_told) in [("99", false), ("100", true)] {
        let Some(output) = measured(close(&["--pairs", pairs, "--ways", "fin"])) else { return };
        let row: Vec<&str> =
            output.lines().find(|line| line.starts_with("fin   ")).unwrap().split_whitespace().collect();
        assert_eq!(row[4] != "-", is_told, "{pairs} pairs: {row:?}");
    }
}

#[test]
fn a_way_that_is_not_measured_is_not_compared() {
    for (way, told) in
        [("reset", "; fin was not measured"), ("fin", "; reset was not measured"), ("abort", "neither reset nor fin ")]
    {
        let Some(output) = measured(close(&["--pairs", "2", "--ways", way])) else { return };
        assert!(output.lines().next().unwrap().contains(told), "{output}");
    }
}

#[test]
fn texts_are_as_wide_as_the_terminal_and_whole() {
    let Some(_) = measured(close(&["--pairs", "2", "--ways", "fin"])) else { return };
    for columns in [60, 80, 120] {
        for all in [&[][..], &["--all"]] {
            let shown = shown_on_a_terminal(columns, &[&["--pairs", "2", "--seed", "7"], all].concat());
            assert_fits(&shown, columns.min(80).into());
            assert!(!shown.contains('\x1b'), "nothing is wrong that a colour would tell: {shown}");
            let told = on_one_line(&shown);
            assert!(told.contains("; seed 7; Linux "), "{shown}");
            assert!(told.contains("Counters are those of a network namespace of its own."), "{shown}");
            assert_eq!(shown.lines().filter(|line| line.starts_with("reset-unread ")).count() > 1, !all.is_empty());
        }
    }
}

/// What a run in a network of its own prints on a terminal of so many columns.
fn shown_on_a_terminal(columns: u16, arguments: &[&str]) -> String {
    common::shown_on_a_terminal(close(arguments), columns)
}

/// No line is wider, and tables fit sixty columns.
fn assert_fits(output: &str, columns: usize) {
    assert!(output.lines().all(|line| line.chars().count() <= columns), "{columns} columns:\n{output}");
    let is_row = |line: &&str| WAYS.iter().any(|way| line.starts_with(&format!("{way:12} ")));
    assert!(output.lines().filter(is_row).all(|line| line.chars().count() <= 60), "{output}");
}

#[test]
fn the_csv_has_a_line_of_equal_fields_for_each_series() {
    let Some(output) = measured(close(&["--pairs", "4", "--csv"])) else { return };
    let mut lines = output.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    assert_eq!(head[..5], ["way", "call", "order", "series", "count"]);
    let rows: Vec<_> = lines.collect();
    let calls = if rows[0].contains(&"uring") { 2 } else { 1 };
    assert_eq!(rows.len(), WAYS.len() * calls * 2 * SERIES.len());
    for row in rows {
        assert!(row.len() == head.len() && row[4] == "4" && row[13] == "true", "{row:?}");
    }
}

#[test]
fn each_series_has_a_file_that_ends_at_a_hundred_percent() {
    let folder = Scratch::new("hgrm");
    let path = folder.0.to_str().unwrap();
    let Some(_) = measured(close(&["--pairs", "10", "--ways", "fin,abort", "--hgrm", path])) else { return };
    let files: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() == 32 || files.len() == 16, "{files:?}");
    for file in files {
        let told = fs::read_to_string(file).unwrap();
        let mut lines = told.lines();
        assert_eq!(lines.next().unwrap().split_whitespace().next(), Some("Value"));
        let mut rows = lines.clone().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let last: Vec<_> = rows.next_back().unwrap().split_whitespace().collect();
        assert_eq!(last[1..], ["1.000000000000", "10"], "{told}");
        assert!(
            lines.any(|line| line.starts_with("#[Max ") && line.ends_with("Total count    =           10]")),
            "{told}"
        );
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_shows_every_way() {
    let file = Scratch::new("page.html");
    let path = file.0.to_str().unwrap();
    let Some(output) = measured(close(&["--pairs", "10", "--html", path])) else { return };
    let page = fs::read_to_string(&file.0).unwrap();
    for elsewhere in ["http:", "https:", "//", "src=", "<link", "<script", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    let heading = page.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0;
    assert!(on_one_line(&output).starts_with(heading), "{heading}");
    for title in ["µs to close both ends (median)", "µs, each line ten times the one below", "percentile of pairs"] {
        assert!(page.contains(&format!(">{title}</text>")), "{title}");
    }
    // Ten pairs have no 99th percentile.
    assert!(page.contains(">90 %</text>") && !page.contains(">99 %</text>"), "{page}");
    assert_eq!(page.matches(" of fin, 1 TIME_WAIT</text>").count(), 3, "{page}");
    assert_eq!(page.matches(" of fin, 0 TIME_WAIT</text>").count(), 4, "{page}");
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("is as it must be."), "{page}");
    for way in WAYS {
        assert_eq!(
            page.matches(&format!("<title>{way}</title>")).count(),
            SERIES.len(),
            "{way}: a curve in each chart"
        );
        assert!(page.contains(&format!(">{way}</text>")), "{way}: a bar");
        assert!(page.contains(&format!("<td>{way}</td>")), "{way}: a row");
    }
}

#[test]
fn a_browser_draws_the_page() {
    let Some(browser) = browser() else { return skip("there is no chromium here to draw a page with") };
    let (page, picture) = (Scratch::new("drawn.html"), Scratch::new("drawn.png"));
    let Some(_) = measured(close(&["--pairs", "10", "--html", page.0.to_str().unwrap()])) else { return };
    let home = Scratch::new("browser");
    let drawn = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", home.0.display()))
        .arg(format!("file://{}", page.0.display()))
        .output()
        .unwrap();
    let (document, log) = (text(&drawn.stdout), String::from_utf8_lossy(&drawn.stderr).into_owned());
    assert!(document.contains("<h1>reset: "), "{log}");
    assert_eq!(
        document.matches("<figure>").count(),
        SERIES.len(),
        "a browser that mends the page has not understood it"
    );
    assert!(!log.contains("CONSOLE"), "{log}");
    let drawn = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,1400"])
        .arg(format!("--user-data-dir={}", home.0.display()))
        .arg(format!("--screenshot={}", picture.0.display()))
        .arg(format!("file://{}", page.0.display()))
        .output()
        .unwrap();
    // A picture of an empty page compresses to almost nothing.
    let size = fs::metadata(&picture.0).map(|picture| picture.len()).unwrap_or_default();
    assert!(size > 20_000, "{size} bytes; {drawn:?}");
}

/// Run in the page: names the labels that are cut off, and the colour of the paper.
const LOOK: &str = "<script>
const cut = [...document.querySelectorAll('svg text')].filter(text => {
    const box = text.getBBox(), view = text.ownerSVGElement.viewBox.baseVal;
    return box.x < 0 || box.y < 0 || box.x + box.width > view.width || box.y + box.height > view.height;
});
document.body.dataset.cut = cut.map(text => text.textContent).join('; ');
document.body.dataset.paper = getComputedStyle(document.body).backgroundColor;
document.body.dataset.overflow = document.documentElement.scrollWidth > innerWidth;
</script>";

#[test]
fn no_label_is_cut_off_in_light_or_dark_narrow_or_wide() {
    let Some(browser) = browser() else { return skip("there is no chromium here to draw a page with") };
    let (page, home) = (Scratch::new("looked-at.html"), Scratch::new("looker"));
    let Some(_) = measured(close(&["--pairs", "10", "--html", page.0.to_str().unwrap()])) else { return };
    let drawn = fs::read_to_string(&page.0).unwrap();
    fs::write(&page.0, drawn.replace("</body>", &format!("{LOOK}</body>"))).unwrap();
    for (scheme, paper) in [(0, "rgb(22, 25, 28)"), (1, "rgb(252, 252, 251)")] {
        for width in [600, 1100] {
            let looked = Command::new(browser)
                .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
                .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
                .arg(format!("--window-size={width},1400"))
                .arg(format!("--user-data-dir={}", home.0.display()))
                .arg(format!("file://{}", page.0.display()))
                .output()
                .unwrap();
            let document = text(&looked.stdout);
            let body = document.split_once("<body").unwrap().1.split_once('>').unwrap().0;
            assert_eq!(body, format!(r#" data-cut="" data-paper="{paper}" data-overflow="false""#), "{width}");
        }
    }
}

fn browser() -> Option<&'static str> {
    let is_there =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there)
}

#[test]
fn without_a_ring_every_form_of_the_report_says_epoll() {
    if !ring_is_there() {
        return;
    }
    for form in [&[][..], &["--json"], &["--csv"]] {
        let page = Scratch::new("epoll.html");
        let mut command = close(&[&["--pairs", "3", "--html", page.0.to_str().unwrap()], form].concat());
        command.env_remove("RINGPAIR_REQUIRE_URING").env_remove("RINGPAIR_BACKEND");
        let measured = move || measured(command);
        let Some(output) = under(libc::SYS_io_uring_setup, answer(Errno::EPERM), measured) else { return };
        let sign = match form {
            ["--json"] => "\"engine\": \"epoll\"",
            ["--csv"] => ",epoll\n",
            _ => "Pairs are made through epoll, and not through io_uring",
        };
        let told = if form.is_empty() { on_one_line(&output) } else { format!("{output}\n") };
        assert!(told.contains(sign), "{output}");
        assert!(!output.contains(",uring,") && !output.contains("\"uring\""), "{output}");
        assert!(fs::read_to_string(&page.0).unwrap().contains("epoll, and not through io_uring"));
    }
}

// --- what goes wrong

#[test]
fn wrong_input_is_refused_before_anything_is_measured() {
    for (arguments, reason) in [
        (&["--pairs", "0"][..], "expected 1 or more"),
        (&["--pairs", "18446744073709551615"], "so many pairs in each cell are more than can be counted; ask for "),
        (&["--pairs", "many"], "invalid value 'many' for '--pairs <N>'"),
        (&["--ways", "slam"], "there is no way `slam`; the ways are reset, fin, "),
        (&["--ways", "fin,fin"], "the way fin is named twice"),
        (&["--ways", ""], "there is no way ``"),
        (&["--unread", "0"], "expected 1 to 65536 bytes"),
        (&["--unread", "65537"], "expected 1 to 65536 bytes"),
        (&["--seed", "-1"], "unexpected argument '-1'"),
        (&["--json", "--csv"], "cannot be used with"),
        (&["--hgrm", "/proc/no-such-folder"], "error: --hgrm /proc/no-such-folder: "),
        (&["--html", "/no-such/page.html"], "error: --html /no-such/page.html: No such file or directory"),
        (&["--json", "/no-such/report.json"], "error: --json /no-such/report.json: No such file or directory"),
        (&["--csv", "/dev"], "error: --csv /dev: Is a directory"),
        (&["--loudly"], "unexpected argument '--loudly'"),
    ] {
        let output = ringpair(&["close"]).args(arguments).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(WRONG), String::new()), "{arguments:?}");
        let error = common::without_network_note(&output.stderr);
        assert!(error.starts_with("error: ") && error.contains(reason), "{arguments:?}: {error}");
    }
}

#[test]
fn a_network_that_is_demanded_and_refused_is_an_error() {
    let output = under(libc::SYS_unshare, answer(Errno::EPERM), || ringpair(&["close", "--netns"]).output().unwrap());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(FAILED), String::new()));
    let error = text(&output.stderr);
    assert!(
        error.starts_with("error: no network namespace of its own is available: that takes CAP_SYS_ADMIN"),
        "{error}"
    );
    let output = ringpair(&["close", "--netns", "--host-netns"]).output().unwrap();
    assert_eq!(output.status.code(), Some(WRONG));
}

#[test]
fn without_a_network_of_its_own_it_stays_and_says_so() {
    if is_refused_a_network(&close(&["--pairs", "1", "--ways", "reset"]).output().unwrap()) {
        return skip("a network of its own is neither available nor refused here");
    }
    // No such namespace, and one whose `lo` stays down: the message that brings it up is refused.
    for (call, why) in [(libc::SYS_unshare, "that takes CAP_SYS_ADMIN"), (libc::SYS_sendto, "its lo stays down")] {
        let run = || ringpair(&["close", "--pairs", "3", "--ways", "reset"]).output().unwrap();
        let output = under(call, answer(Errno::EPERM), run);
        let (table, said) = (text(&output.stdout), text(&output.stderr));
        assert!(said.starts_with(&format!("note: no network namespace of its own is available: {why}")), "{said}");
        assert!(said.ends_with("; sockets, TIME_WAIT and counters are shared with the host\n"), "{said}");
        assert!(on_one_line(&table).contains("Counters are shared with the host: "), "{table}");
    }
}

#[test]
fn a_pair_that_cannot_be_made_is_told_with_all_causes() {
    let refused = || ringpair(&["close", "--pairs", "3"]).output().unwrap();
    let output = under(libc::SYS_listen, answer(Errno::EACCES), refused);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(FAILED), String::new()));
    let expected = "error: cannot make a pair: listen failed: Permission denied (os error 13)\n";
    assert_eq!(common::without_network_note(&output.stderr), expected);
}

#[test]
fn a_signal_ends_it_with_a_report_on_what_was_measured() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut command = ringpair(&["close", "--pairs", "100000000", "--ways", "reset", "--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        common::await_catching(child.id(), signal);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = format!("Interrupted by {signal}\n");
        let told = common::without_network_note(&output.stderr);
        assert_eq!((output.status.code(), told), (Some(INTERRUPTED), said));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ended_early"], true);
    }
}

#[test]
fn a_reader_that_leaves_ends_it_with_a_report_on_stderr() {
    let mut command = ringpair(&["close", "--pairs", "100000000", "--ways", "reset"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = common::without_network_note(&output.stderr);
    assert_eq!(output.status.code(), Some(INTERRUPTED), "{said}");
    assert!(said.starts_with("Interrupted by the reader of standard output, which has gone away\n"), "{said}");
    assert!(said.contains("fin was not measured") && said.contains("ended early"), "{said}");
}

#[test]
fn a_run_that_fails_keeps_the_old_reports() {
    let folder = Scratch::new("old");
    fs::create_dir_all(&folder.0).unwrap();
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let names = ["a.html", "b.json", "c.csv", "fin-close-accepted-first.hgrm"];
    names.iter().for_each(|name| fs::write(path(name), "old").unwrap());
    let files = ["--html", &path(names[0]), "--json", &path(names[1]), "--csv", &path(names[2]), "--hgrm", &path("")]
        .map(str::to_owned);
    for (pairs, code) in [("0", WRONG), ("3", FAILED)] {
        let mut command = ringpair(&["close", "--pairs", pairs]);
        command.args(&files);
        let output = under(libc::SYS_listen, answer(Errno::EACCES), move || command.output().unwrap());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(names.iter().all(|name| fs::read_to_string(path(name)).unwrap() == "old"));
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), names.len(), "nothing else is left");
    }
    let mut command = ringpair(&["close", "--pairs", "3", "--ways", "fin"]);
    let output = command.args(&files).output().unwrap();
    assert!(text(&output.stdout).starts_with("fin: "), "{output:?}");
    assert!(fs::read_to_string(path(names[0])).unwrap().starts_with("<!doctype html>"));
    assert!(fs::read_to_string(path(names[2])).unwrap().starts_with("way,call,order,series,"));
    assert!(fs::read_to_string(path(names[3])).unwrap().contains("TotalCount"));
}

#[test]
fn a_reader_that_has_left_is_no_error_and_a_full_disk_is_one() {
    let mut child = ringpair(&["close", "--pairs", "3"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = common::without_network_note(&output.stderr);
    match output.status.code() {
        // It found out during the measurement.
        Some(INTERRUPTED) => assert!(said.starts_with("Interrupted by the reader of standard output"), "{output:?}"),
        code => assert!(code != Some(WRONG) && said.is_empty(), "{output:?}"),
    }

    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = ringpair(&["close", "--pairs", "3"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(WRONG));
    let said = common::without_network_note(&output.stderr);
    assert_eq!(said, "error: stdout: No space left on device (os error 28)\n");
}

#[test]
fn there_is_a_bar_on_a_terminal_and_nothing_elsewhere() {
    let Some(_) = measured(close(&["--pairs", "3"])) else { return }; // which asserts that nothing was said beside the report
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = ringpair(&["close", "--pairs", "2000", "--ways", "reset"]);
    let mut child = command.env("TERM", "xterm").stdout(Stdio::null()).stderr(terminal.slave).spawn().unwrap();
    drop(command); // has the slave open
    // A terminal without a program at its other end answers with EIO.
    let mut lines = BufReader::new(File::from(terminal.master)).split(b'\r').map_while(Result::ok);
    let is_bar = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains("closing pairs");
    assert!(lines.by_ref().any(|line| is_bar(&line)));
    lines.for_each(drop); // until it has ended
    assert!(child.wait().unwrap().code().is_some());
}

// --- helpers

fn ringpair(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpair"));
    command.args(arguments);
    command
}

/// In a network of its own, where no other connections are counted.
fn close(arguments: &[&str]) -> Command {
    let mut command = ringpair(&["close", "--netns"]);
    command.args(arguments);
    command
}

/// What it prints, where all fits and nothing is complained of; `None`, and skipped, where no network of its own is available.
fn measured(mut command: Command) -> Option<String> {
    let output = command.output().unwrap();
    if is_refused_a_network(&output) {
        skip("no network of its own is available here");
        return None;
    }
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{}", text(&output.stdout));
    Some(text(&output.stdout))
}

fn is_refused_a_network(output: &Output) -> bool {
    output.status.code() == Some(FAILED)
        && text(&output.stderr).contains("no network namespace of its own is available")
}

fn json(mut command: Command) -> Option<Value> {
    command.arg("--json");
    Some(serde_json::from_str(&measured(command)?).unwrap())
}

fn cells(report: &Value) -> impl Iterator<Item = &Value> {
    report["cells"].as_array().unwrap().iter()
}
