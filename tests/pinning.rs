//! Checks that threads run on the CPUs that they are pinned to, and that a CPU that is not available is refused.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[allow(unused_imports, unused_macros)] // the command line and its library alone are tested here
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{eventually, ringpair, skip, text};
use ringpair::measure::soak::Soak;
use ringpair::measure::{Error, available_cpus, pin};
use serde_json::Value;
use tokio::net::TcpStream;

#[test]
fn threads_of_a_soak_are_pinned_in_turn() {
    let cpus = available_cpus().unwrap();
    let pinned: Vec<usize> = cpus.iter().rev().copied().take(2).collect();
    let found = Arc::new(Mutex::new(BTreeMap::new()));
    let seen = Arc::clone(&found);
    // Each body waits for those of the other threads, so that every thread has one.
    let body = async move |_: &mut TcpStream, _: &mut TcpStream, _| {
        let name = thread::current().name().unwrap().to_owned();
        seen.lock().unwrap().insert(name, available_cpus()?);
        while seen.lock().unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let report = Soak::new().pairs(3).threads(3).pin(pinned.clone()).run(body).unwrap();
    assert_eq!((report.pairs, &report.cpus), (3, &pinned));
    let on = |thread: usize| (format!("soak-{thread}"), vec![pinned[thread % pinned.len()]]);
    assert_eq!(*found.lock().unwrap(), BTreeMap::from([on(0), on(1), on(2)]));
    assert_eq!(available_cpus().unwrap(), cpus); // the calling thread stays as it was
}

#[test]
fn a_cpu_that_is_not_there_is_refused_before_anything_is_opened() {
    let soak = Soak::new().pin([1 << 20]);
    let error = soak.run(async |_: &mut TcpStream, _: &mut TcpStream, _| Ok(())).unwrap_err();
    assert!(matches!(error, Error::Options(_)), "{error:?}");
    assert!(error.to_string().starts_with("CPU 1048576 is not available to this process; available: ["), "{error}");
    assert!(pin(&[]).is_err() && pin(&[1 << 20]).is_err());
}

#[test]
fn a_report_names_the_cpus() {
    let cpu = available_cpus().unwrap()[0];
    for command in [&["soak", "-n", "20"][..], &["close", "-n", "5", "--ways", "reset,fin"]] {
        let run = |more: &[&str]| text(&ringpair(&[command, more].concat()).output().unwrap().stdout);
        let cpus = cpu.to_string();
        let table = run(&["--pin", &cpus]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(table.contains(&format!(", on CPU {cpu}")), "{table}");
        let report: Value = serde_json::from_str(&run(&["--json", "--pin", &cpus])).unwrap();
        assert_eq!(report["pinned_cpus"], serde_json::json!([cpu]), "{report}");
        let report: Value = serde_json::from_str(&run(&["--json"])).unwrap();
        assert_eq!(report["pinned_cpus"], serde_json::json!([]), "{report}");
    }
}

#[test]
fn what_measures_runs_on_its_cpu_alone() {
    let cpu = available_cpus().unwrap().last().unwrap().to_string();
    for (command, thread) in [("soak", "soak-0"), ("close", "ringpair")] {
        let mut command = ringpair(&[command, "-n", "100000000", "--pin", &cpu]);
        let endless = Endless(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let tasks = format!("/proc/{}/task", endless.0.id());
        let is_pinned = || allowed_of(&tasks, thread).is_some_and(|allowed| allowed == cpu);
        eventually(&format!("{thread} runs on CPU {cpu}"), is_pinned);
    }
}

/// Killed when it is dropped.
struct Endless(Child);

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The CPUs that the thread of this name may run on, if there is one.
fn allowed_of(tasks: &str, thread: &str) -> Option<String> {
    let statuses =
        fs::read_dir(tasks).ok()?.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let field = |status: &str, name| {
        status.lines().find_map(|line: &str| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let own = statuses.filter(|status| field(status, "Name:").as_deref() == Some(thread)).last()?;
    field(&own, "Cpus_allowed_list:")
}

#[test]
fn a_cpu_that_the_process_may_not_use_is_refused() {
    let [first, second, ..] = available_cpus().unwrap()[..] else { return skip("there is one CPU only") };
    for command in ["soak", "close"] {
        // The child inherits what this thread may use.
        let output = thread::spawn(move || {
            pin(&[first]).unwrap();
            ringpair(&[command, "--pin", &format!("{first},{second}")]).output().unwrap()
        });
        let output = output.join().unwrap();
        let expected = format!(
            "error: invalid value '{first},{second}' for '--pin <CPUS>': CPU {second} is not available here; available: {first}\n"
        );
        assert!(text(&output.stderr).starts_with(&expected), "{output:?}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
}
