//! Does a short write to a mocket cost the same however much is offered?
//!
//! A mocket that takes one byte at a time compares each offer as a whole, and must not do so again for the rest of it. The bench
//! writes 16 KiB to 1 MiB by single bytes and prints nanoseconds per byte, making the script and dropping the mocket included.
//! Goal: 1 MiB costs at most 1.5 times as much per byte as 16 KiB. The plain writer does the least that can be done: it compares
//! the byte that it takes. Both take turns in one process; the median decides. Times are CPU times of the thread, because the
//! largest size takes longer than a busy machine leaves a process alone.
//!
//! *Not measured.* Sockets, delays, reads.
//!
//! `cargo bench --bench short_writes -- [--json] [--rounds N]`
#![allow(clippy::unwrap_used)] // a panic ends the benchmark

#[allow(dead_code)] // nothing here makes pairs
mod common;

use std::io::{self, Write};
use std::time::Duration;

use common::report::{Json, Table, object, print};
use common::{Arguments, Spread, host};
use nix::time::{ClockId, clock_gettime};
use ringpair::mocket::{MocketOptions, Script};

const SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
const AT_MOST: f64 = 1.5;

fn main() {
    let arguments = Arguments::of("short_writes", &[("--rounds", 15)]);
    let report = Report::measure(arguments.size("--rounds"));
    match arguments.json {
        true => print(&report.json()),
        false => print(&report.table()),
    }
}

/// Takes one byte per write, and compares that byte alone.
struct Plain {
    expected: Vec<u8>,
    written: usize,
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert_eq!(bytes.first(), self.expected.get(self.written));
        self.written += 1;
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nanoseconds per byte, for each size.
struct Report {
    rounds: usize,
    mocket: [Spread; 4],
    plain: [Spread; 4],
}

impl Report {
    fn measure(rounds: usize) -> Report {
        let mut mocket = SIZES.map(|_| Vec::new());
        let mut plain = SIZES.map(|_| Vec::new());
        for _ in 0..rounds {
            for (place, size) in SIZES.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
                mocket[place].push(per_byte(&bytes, || {
                    let script = Script::new().expect(&bytes);
                    MocketOptions::new().script(script).max_write_size(1).scripted().unwrap()
                }));
                plain[place].push(per_byte(&bytes, || Plain { expected: bytes.clone(), written: 0 }));
            }
        }
        Report { rounds, mocket: mocket.map(Spread::of), plain: plain.map(Spread::of) }
    }

    fn largest_over_smallest(&self) -> f64 {
        self.mocket[3].median / self.mocket[0].median
    }

    fn is_met(&self) -> bool {
        self.largest_over_smallest() <= AT_MOST
    }

    fn table(&self) -> String {
        let mut table = Table::new(["ns per byte", "median", "min", "max", "over plain"]);
        for (place, size) in SIZES.iter().enumerate() {
            let over_plain = self.mocket[place].median / self.plain[place].median;
            let figures = self.mocket[place].cells().into_iter().chain([format!("{over_plain:.1}")]);
            table.row(&format!("{} KiB", size >> 10), figures);
        }
        let verdict = if self.is_met() { "met" } else { "missed" };
        let ratio = self.largest_over_smallest();
        format!(
            "{}; {} rounds\n\n{table}\n1 MiB over 16 KiB: {ratio:.2}, goal <= {AT_MOST:.2}: {verdict}",
            host(),
            self.rounds
        )
    }

    fn json(&self) -> Json {
        let sizes = SIZES.iter().zip(self.mocket.iter().zip(&self.plain)).map(|(size, (mocket, plain))| {
            object([("bytes", Json::Count(*size as u64)), ("mocket", mocket.json()), ("plain", plain.json())])
        });
        object([
            ("bench", Json::Text("short_writes".into())),
            ("host", Json::Text(host())),
            ("rounds", Json::Count(self.rounds as u64)),
            ("ns_per_byte", Json::List(sizes.collect())),
            ("largest_over_smallest", Json::Number(self.largest_over_smallest())),
            ("wanted", Json::Number(AT_MOST)),
            ("met", Json::Flag(self.is_met())),
        ])
    }
}

/// Nanoseconds per byte to write all of it, the stream's making and dropping included.
fn per_byte<W: Write>(bytes: &[u8], make: impl FnOnce() -> W) -> f64 {
    let begin = cpu_time();
    make().write_all(bytes).unwrap();
    (cpu_time() - begin).as_secs_f64() * 1e9 / bytes.len() as f64
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
