//! What the benchmarks share: arguments, statistics, the host they ran on. `floor` is what they measure against,
//! `report` how they tell it.

pub(crate) mod floor;
pub(crate) mod report;

use std::fs;
use std::process::exit;
use std::thread::available_parallelism;

use report::{Json, object};

/// What the command line asks for.
pub(crate) struct Arguments {
    pub(crate) json: bool,
    sizes: Vec<(&'static str, usize)>,
}

impl Arguments {
    /// Takes `--json` and a number for each of `sizes`, given with its default; anything else ends the program with 2.
    pub(crate) fn of(bench: &str, sizes: &[(&'static str, usize)]) -> Arguments {
        let mut parsed = Arguments { json: false, sizes: sizes.to_vec() };
        if let Err(why) = parsed.parse(std::env::args().skip(1)) {
            let sizes: String =
                sizes.iter().map(|(name, default)| format!(" [{name} N, {default} unless told]")).collect();
            eprintln!("{bench}: {why}\nusage: cargo bench --bench {bench} -- [--json]{sizes}");
            exit(2);
        }
        if cfg!(debug_assertions) {
            eprintln!("{bench}: built without optimisation, so these figures say nothing; use cargo bench");
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

/// Ends the program with 1: it could not measure.
pub(crate) fn give_up(bench: &str, error: &dyn std::error::Error) -> ! {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: String = causes.map(|cause| format!(": {cause}")).collect();
    eprintln!("{bench}: {error}{causes}");
    exit(1);
}

/// Where repeated measurements lie. No mean: one turn that the host interrupts would move it.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        let median = (values[last / 2] + values[last.div_ceil(2)]) / 2.0;
        Spread { median, least: values[0], greatest: values[last] }
    }

    /// Median, least and greatest, each with two decimals.
    pub(crate) fn cells(&self) -> [String; 3] {
        [self.median, self.least, self.greatest].map(|value| format!("{value:.2}"))
    }

    pub(crate) fn json(&self) -> Json {
        object([
            ("median", Json::Number(self.median)),
            ("least", Json::Number(self.least)),
            ("greatest", Json::Number(self.greatest)),
        ])
    }
}

/// Kernel and CPUs, in words.
pub(crate) fn host() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}, {} CPUs", kernel.trim(), available_parallelism().map_or(0, usize::from))
}

/// How many sockets of this network namespace are in TIME_WAIT.
pub(crate) fn time_wait() -> u64 {
    let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != "tw");
    words.nth(1).and_then(|count| count.parse().ok()).unwrap_or(0)
}
