//! The cost of making and closing a pair: ringpair beside plain system calls and beside what people write without it.
//!
//! *What is measured.* Wall-clock time from the first call to the return of the second close, one pair at a time, or 64
//! at a time in rows that end in `-64`. The accepted end is always closed first. Runtimes, rings and kept listeners are
//! set up beforehand. Rivals with a listener for each pair open and close it within the measured time, as they do in
//! use. One short turn of each rival does not count.
//!
//! *Yardsticks.* All ratios are over the floor, and those of ringpair also over its own yardstick, where the goals are:
//!
//! - `floor`: socket, setsockopt, connect, accept4, close, close, as plain system calls on a kept listener whose zero
//!   linger the accepted end inherits. It does not check who connected.
//! - `floor-verified`: the floor, then getsockname of the connected end and getpeername of the accepted one, compared.
//!   For rows with a factory.
//! - `floor-held-64`: `floor-verified`, with 64 pairs alive before the first is closed. For batches.
//! - `std`: a listener for each pair, and no check. For one-shots.
//!
//! *Two threads.* One factory shared by two threads, in pairs per second, over the same factory used by one thread:
//! `std` streams, blocking calls. The floor does the same with a listener for each thread: if it is below 1.80, the host
//! has no two CPUs to give, and the goal is not judged.
//!
//! *Late handshakes.* With receive packet steering, another CPU completes the handshake after the system call that
//! began it has returned, so the pair has to be waited for. Measured in a network namespace of its own, pinned to one
//! CPU, over the floor in the same namespace; needs two CPUs and root. There is no rival and no goal: the rows are for
//! comparing versions of ringpair.
//!
//! *How.* All rivals take short turns in one process. Each round begins with another rival, and every second round goes
//! backwards, so a drift of the host affects all alike and no rival always has the same neighbour. Ratios are taken
//! within a round. The floor has a second turn in each round, the control: its distance from 1.00 is the error of the
//! method on this host. If it is above 0.03, or if the middle half of its rounds spans more than 0.10, the report says
//! that the machine was too noisy, and no goal counts as met or missed. Ratios can be compared between hosts;
//! microseconds cannot.
//!
//! A turn is 1,024 pairs, that is sixteen batches. The first pairs of a turn find the caches as the neighbour has left
//! them, which costs most where most memory is used. `--pairs 128 --rounds 161` gives that start eight times the weight.
//!
//! *TIME_WAIT.* `std`, `tokio-join` and `tokio-uring-join` close with FIN, as they do in use. Each of their pairs leaves
//! a socket in TIME_WAIT for a minute, on the port of a closed listener. For a listener that sets SO_REUSEADDR before it
//! binds, as that of `std` does, bind(2) tries the odd ports of the lower half of `ip_local_port_range` first. Once that
//! quarter (7,058 ports) is in TIME_WAIT, each bind searches for a millisecond or more, and nothing else would be
//! visible here. Therefore these three make at most 4,000 pairs in a run, in shorter turns than the others. The report
//! prints the sockets in TIME_WAIT before and after, and how the floor has drifted from the first third of the rounds to
//! the last. If there are many before, wait for a minute, or use a network namespace: `unshare -n`, `ip link set lo up`.
//!
//! *Not measured.* Bytes, throughput and latency of the streams; processor time; memory; more than two threads; any
//! network but loopback; the first pair.
//!
//! `cargo bench --bench peers -- [--json] [--rounds N] [--pairs N]`
#![allow(clippy::unwrap_used)] // a panic ends the benchmark

#[path = "../common/mod.rs"]
mod common;
mod late;
mod report;
mod rivals;
mod threads;
mod turns;

use common::report::print;
use common::{Arguments, give_up, time_wait};
use report::{MANY_IN_TIME_WAIT, Report};
use ringpair::PairOptions;
use rivals::{CONTROL, Closes, RIVALS, Rival};
use turns::{Runner, take_turns};

/// The most pairs that may leave a TIME_WAIT in one run. Each turn makes at least one.
const FIN_PAIRS: usize = 4000;

fn main() {
    let arguments = Arguments::of("peers", &[("--rounds", 41), ("--pairs", 1024)]);
    let (rounds, pairs) = (arguments.size("--rounds"), arguments.size("--pairs"));
    if let Err(error) = PairOptions::new().factory() {
        give_up("peers", &error);
    }
    if late::is_child() {
        return late::run_child(rounds, pairs).unwrap_or_else(|error| give_up("peers", &error));
    }
    if time_wait() > MANY_IN_TIME_WAIT {
        eprintln!("peers: {} sockets are in TIME_WAIT; wait for a minute to get fair figures", time_wait());
    }
    let report = measure(rounds, pairs);
    match arguments.json {
        true => print(&report.json()),
        false => print(&report.text()),
    }
}

fn measure(rounds: usize, pairs: usize) -> Report {
    let time_wait_before = time_wait();
    let runner = |rival: &Rival| Runner::warmed_up(rival.name, pairs_a_turn(rival, rounds, pairs), (rival.open)());
    let mut runners: Vec<Runner> = RIVALS.iter().chain([&CONTROL]).map(runner).collect();
    take_turns(&mut runners, rounds);
    let time_wait = (time_wait_before, time_wait());
    Report { rounds, pairs, time_wait, runners, threads: threads::measure(rounds), late: late::measure() }
}

fn pairs_a_turn(rival: &Rival, rounds: usize, pairs: usize) -> usize {
    let rivals_with_fin = RIVALS.iter().filter(|rival| rival.closes == Closes::WithFin).count();
    match rival.closes {
        Closes::WithReset => pairs,
        Closes::WithFin => pairs.min(FIN_PAIRS / rivals_with_fin / rounds).max(1),
    }
}
