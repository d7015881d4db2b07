//! Shared by the benchmarks: arguments, statistics, and the description of the host.
//!
//! `floor` is what they measure against, `report` prints tables and JSON, `spell` runs threads side by side.

pub(crate) mod floor;
pub(crate) mod report;
pub(crate) mod spell;

use std::fs;
use std::process::exit;
use std::thread::available_parallelism;

use report::{Json, object};

/// The parsed command line.
pub(crate) struct Arguments {
    pub(crate) json: bool,
    sizes: Vec<(&'static str, usize)>,
}

impl Arguments {
    /// Parses `--json` and a number for each of `sizes`, which come with their defaults. Exits with 2 on anything else.
    pub(crate) fn of(bench: &str, sizes: &[(&'static str, usize)]) -> Arguments {
        let mut parsed = Arguments { json: false, sizes: sizes.to_vec() };
        if let Err(why) = parsed.parse(std::env::args().skip(1)) {
            let sizes: String =
                sizes.iter().map(|(name, default)| format!(" [{name} N (default {default})]")).collect();
            eprintln!("{bench}: {why}\nusage: cargo bench --bench {bench} -- [--json]{sizes}");
            exit(2);
        }
        if cfg!(debug_assertions) {
            eprintln!("{bench}: built without optimization, so the figures mean nothing; use cargo bench");
        }
        parsed
    }

    pub(crate) fn size(&self, name: &str) -> usize {
        self.sizes.iter().find(|(known, _)| *known == name).map_or(0, |(_, size)| *size)
    }

    fn parse(&mut self, mut words: impl Iterator<Item = String>) -> Result<(), String> {
        while let Some(word) = words.next() {
            let size = self.sizes.iter_mut().find(|(name, _)| *name == word);
            match (word.as_str(), size) {
                ("--bench", _) => {} // cargo passes it to every benchmark
                ("--json", _) => self.json = true,
                (_, Some((_, size))) => *size = positive(&word, words.next())?,
                (_, None) => return Err(format!("unknown argument {word:?}")),
            }
        }
        Ok(())
    }
}

fn positive(name: &str, value: Option<String>) -> Result<usize, String> {
    let value = value.filter(|value| value != "--bench").ok_or_else(|| format!("{name} needs a number"))?;
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{name} needs a whole number from 1, not {value:?}")),
    }
}

/// Prints the error with its causes and exits with 1.
pub(crate) fn give_up(bench: &str, error: &dyn std::error::Error) -> ! {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: String = causes.map(|cause| format!(": {cause}")).collect();
    eprintln!("{bench}: {error}{causes}");
    exit(1);
}

/// The order statistics of repeated measurements. There is no mean: one interrupted turn would move it.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The first and the third quartile.
    pub(crate) middle_half: (f64, f64),
}

impl Spread {
    /// Sorts at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        let median = (values[last / 2] + values[last.div_ceil(2)]) / 2.0;
        Spread { median, min: values[0], max: values[last], middle_half: (values[last / 4], values[last - last / 4]) }
    }

    /// Median, min and max, with two decimals.
    pub(crate) fn cells(&self) -> [String; 3] {
        [self.median, self.min, self.max].map(|value| format!("{value:.2}"))
    }

    pub(crate) fn json(&self) -> Json {
        object([
            ("median", Json::Number(self.median)),
            ("min", Json::Number(self.min)),
            ("max", Json::Number(self.max)),
            ("q1", Json::Number(self.middle_half.0)),
            ("q3", Json::Number(self.middle_half.1)),
        ])
    }
}

/// Kernel version and number of CPUs.
pub(crate) fn host() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}, {} CPUs", kernel.trim(), available_parallelism().map_or(0, usize::from))
}

/// Number of sockets in TIME_WAIT in this network namespace.
pub(crate) fn time_wait() -> u64 {
    let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != "tw");
    words.nth(1).and_then(|count| count.parse().ok()).unwrap_or(0)
}
