//! Pairs with late handshakes: another CPU completes them, after the system call that began them has returned.
//!
//! The benchmark runs itself again in a network namespace, pinned to CPU 0, with receive packet steering on `lo` set to
//! CPU 1. The child measures and prints one line per row; the parent reads them.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use ringpair::PairFactory;

use crate::rivals::{factory, factory_on_tokio, factory_on_tokio_uring, floor};
use crate::turns::{Runner, take_turns};

/// The environment variable that is set in the child.
const CHILD: &str = "RINGPAIR_PEERS_LATE";

/// Turns of the other rows are longer: a late pair takes several times as long.
const SHORTER: usize = 4;

/// What the child measured in one row.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) pairs: usize,
    pub(crate) micros: Vec<f64>,
    /// `None` in rows of plain system calls.
    pub(crate) parked: Option<Parked>,
}

/// The share of pairs that had to be waited for, warm-up included.
pub(crate) struct Parked {
    pub(crate) parked: u64,
    pub(crate) pairs: u64,
}

/// Runs the child and reads its rows: the floor first, the control last. An error is the reason, in one line.
pub(crate) fn measure() -> Result<Vec<Row>, String> {
    if !Path::new("/sys/devices/system/cpu/cpu1").exists() {
        return Err("there is only one CPU".into());
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new("unshare");
    child.args(["--net", "--mount", "--", "taskset", "1"]).arg(program).args(std::env::args().skip(1));
    let output = child.env(CHILD, "1").env("LC_ALL", "C").output().map_err(|error| format!("unshare: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reason = stderr.lines().rfind(|line| !line.trim().is_empty());
        return Err(reason.map_or_else(|| output.status.to_string(), String::from));
    }
    let rows: Option<Vec<Row>> = String::from_utf8_lossy(&output.stdout).lines().map(Row::parse).collect();
    rows.filter(|rows| rows.len() > 1).ok_or_else(|| "the child printed something else".into())
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The child's part: measures and prints the rows.
pub(crate) fn run_child(rounds: usize, pairs: usize) -> io::Result<()> {
    steer_packets()?;
    let pairs = (pairs / SHORTER).max(1);
    let on_tokio_uring = Rc::new(factory());
    let on_tokio = Rc::new(factory());
    let mut runners = [
        Runner::warmed_up("floor", pairs, floor()),
        Runner::warmed_up("ringpair-tokio-uring", pairs, factory_on_tokio_uring(Rc::clone(&on_tokio_uring))),
        Runner::warmed_up("ringpair-tokio", pairs, factory_on_tokio::<std::net::TcpStream>(Rc::clone(&on_tokio))),
        Runner::warmed_up("(control: the floor again)", pairs, floor()),
    ];
    take_turns(&mut runners, rounds);
    for (runner, factory) in runners.into_iter().zip([None, Some(on_tokio_uring), Some(on_tokio), None]) {
        let parked = factory.map(|factory| Parked::of(&factory));
        println!("{}", Row { name: runner.name.into(), pairs, micros: runner.micros, parked }.line());
    }
    Ok(())
}

/// Sends the packets of `lo` to CPU 1. The namespace is new: its `lo` is down, and `/sys` shows the old one.
fn steer_packets() -> io::Result<()> {
    run("ip", &["link", "set", "lo", "up"])?;
    run("mount", &["-t", "sysfs", "none", "/sys"])?;
    fs::write("/sys/class/net/lo/queues/rx-0/rps_cpus", "2")
        .map_err(|error| io::Error::other(format!("packets of lo cannot be steered: {error}")))
}

fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

impl Parked {
    fn of(factory: &PairFactory) -> Parked {
        let stats = factory.stats();
        Parked { parked: stats.parked, pairs: stats.pairs }
    }
}

impl Row {
    /// Name, pairs per turn, parked pairs, all pairs, then the microseconds of each turn, separated by tabs.
    fn line(&self) -> String {
        let (parked, all) = self.parked.as_ref().map_or((0, 0), |parked| (parked.parked, parked.pairs));
        let micros: String = self.micros.iter().map(|micros| format!("\t{micros}")).collect();
        format!("{}\t{}\t{parked}\t{all}{micros}", self.name, self.pairs)
    }

    fn parse(line: &str) -> Option<Row> {
        let mut fields = line.split('\t');
        let name = fields.next()?.to_string();
        let pairs = fields.next()?.parse().ok()?;
        let parked = Parked { parked: fields.next()?.parse().ok()?, pairs: fields.next()?.parse().ok()? };
        let micros = fields.map(str::parse).collect::<Result<Vec<f64>, _>>().ok()?;
        Some(Row { name, pairs, micros, parked: Some(parked).filter(|parked| parked.pairs > 0) })
    }
}
