//! The report: ratios, goals, and whether the machine was quiet enough to judge them.

use crate::common::report::{Json, Table, object};
use crate::common::{Spread, host};
use crate::late::{self, Parked};
use crate::rivals::{RIVALS, Rival, Yardstick};
use crate::threads::{self, Threads, per_second};
use crate::turns::{Runner, drift, median, ratio};

/// The control may be off 1.00 by this much.
const CONTROL_OFF: f64 = 0.03;

/// The middle half of the control's rounds may span this much.
const CONTROL_SPAN: f64 = 0.10;

/// With more sockets in TIME_WAIT than this, `std` is too slow to be a yardstick.
pub(crate) const MANY_IN_TIME_WAIT: u64 = 1000;

pub(crate) struct Report {
    pub(crate) rounds: usize,
    pub(crate) pairs: usize,
    /// Sockets in TIME_WAIT before and after.
    pub(crate) time_wait: (u64, u64),
    /// In the order of `RIVALS`; the control comes last.
    pub(crate) runners: Vec<Runner>,
    pub(crate) threads: Threads,
    /// The rows, or why there are none.
    pub(crate) late: Result<Vec<late::Row>, String>,
}

/// A row of ringpair over its own yardstick.
struct Comparison {
    row: String,
    over: &'static str,
    ratio: Spread,
    goal: Option<Goal>,
    /// Why the goal cannot be judged.
    unclear: Option<String>,
}

#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let (before, after) = self.time_wait;
        format!(
            "A pair made and closed, over the floor of the same round; {} rounds, {}\n\n{}\n\
             TIME_WAIT {before} before, {after} after; the floor, last third of the rounds over the first: {:.2}\n\n\
             ringpair over its own yardstick\n\n{}\n{}\n\n{}\n{}",
            self.rounds,
            host(),
            self.rivals_table(),
            drift(self.micros_of("floor")),
            self.comparisons_table(),
            self.threads_in_words(),
            self.late_in_words(),
            self.conclusion(),
        )
    }

    fn rivals_table(&self) -> Table {
        let mut table = Table::new(["rival", "median", "min", "max", "µs a pair", "pairs a turn"]);
        for runner in &self.runners {
            let cost = [format!("{:.1}", median(&runner.micros)), runner.pairs.to_string()];
            table.row(runner.name, self.over_floor(runner).cells().into_iter().chain(cost));
        }
        table
    }

    fn comparisons_table(&self) -> Table {
        let mut table = Table::new(["", "median", "min", "max", "goal", ""]);
        for comparison in self.comparisons() {
            let goal = comparison.goal.map_or_else(String::new, |goal| goal.to_string());
            let cells = comparison.ratio.cells().into_iter().chain([goal, comparison.verdict().to_string()]);
            table.row(&format!("{} over {}", comparison.row, comparison.over), cells);
        }
        table.row("floor, two threads over one", self.floor_threads().cells());
        table
    }

    fn threads_in_words(&self) -> String {
        let (one, two) = self.pairs_per_second();
        format!("One factory makes {one:.0} pairs a second on one thread, and {two:.0} on two that share it.")
    }

    fn late_in_words(&self) -> String {
        let rows = match &self.late {
            Ok(rows) => rows,
            Err(reason) => return format!("No pairs with late handshakes: {reason}"),
        };
        let mut table = Table::new(["late handshakes", "median", "min", "max", "µs a pair", "parked"]);
        for row in rows {
            let parked = row.parked.as_ref().map_or_else(String::new, Parked::percent);
            let cost = [format!("{:.1}", median(&row.micros)), parked];
            table.row(&row.name, ratio(&row.micros, &rows[0].micros).cells().into_iter().chain(cost));
        }
        table.to_string()
    }

    /// The answer, in the last lines.
    fn conclusion(&self) -> String {
        let noise: String =
            self.noise().iter().map(|noise| format!("The machine was too noisy to tell: {noise}.\n")).collect();
        let comparisons = self.comparisons();
        let count = |verdict| comparisons.iter().filter(|comparison| comparison.verdict() == verdict).count();
        let (met, missed, unclear) = (count("met"), count("missed"), count("unclear"));
        format!("{noise}Goals: {met} met, {missed} missed, {unclear} unclear.")
    }

    fn comparisons(&self) -> Vec<Comparison> {
        let of_rival =
            |rival: &'static Rival| rival.yardsticks.iter().map(|yardstick| self.comparison(rival, yardstick));
        RIVALS.iter().flat_map(of_rival).chain([self.threads_comparison()]).collect()
    }

    fn comparison(&self, rival: &Rival, yardstick: &Yardstick) -> Comparison {
        let (before, _) = self.time_wait;
        let crowded = || {
            let crowded = yardstick.over == "std" && before > MANY_IN_TIME_WAIT;
            crowded.then(|| format!("{before} sockets in TIME_WAIT slow std down"))
        };
        Comparison {
            row: rival.name.into(),
            over: yardstick.over,
            ratio: ratio(self.micros_of(rival.name), self.micros_of(yardstick.over)),
            goal: yardstick.goal.map(Goal::AtMost),
            unclear: noise(&self.control()).or_else(crowded),
        }
    }

    fn threads_comparison(&self) -> Comparison {
        let floor = self.floor_threads().median;
        let one_cpu = || {
            let short = floor < threads::FLOOR_AT_LEAST;
            short.then(|| format!("two threads of plain system calls are at {floor:.2} of one"))
        };
        Comparison {
            row: "ringpair-factory, 2 threads".into(),
            over: "1 thread",
            ratio: Spread::of(self.threads.factory.iter().map(|counts| counts.two_over_one())),
            goal: Some(Goal::AtLeast(threads::GOAL)),
            unclear: noise(&self.control()).or_else(one_cpu),
        }
    }

    fn floor_threads(&self) -> Spread {
        Spread::of(self.threads.floor.iter().map(|counts| counts.two_over_one()))
    }

    fn pairs_per_second(&self) -> (f64, f64) {
        let counts = &self.threads.factory;
        (per_second(counts, |counts| counts.one), per_second(counts, |counts| counts.two))
    }

    fn micros_of(&self, name: &str) -> &[f64] {
        &self.runners.iter().find(|runner| runner.name == name).unwrap().micros
    }

    fn over_floor(&self, runner: &Runner) -> Spread {
        ratio(&runner.micros, self.micros_of("floor"))
    }

    fn control(&self) -> Spread {
        self.over_floor(self.runners.last().unwrap())
    }

    /// Everything that keeps goals or rows from being judged, once each.
    fn noise(&self) -> Vec<String> {
        let mut noise: Vec<String> = self.comparisons().into_iter().filter_map(|row| row.unclear).collect();
        noise.extend(self.late_noise());
        noise.dedup();
        noise
    }

    fn late_noise(&self) -> Option<String> {
        let rows = self.late.as_ref().ok()?;
        let noise = noise(&ratio(&rows.last()?.micros, &rows.first()?.micros))?;
        Some(format!("late handshakes: {noise}"))
    }
}

/// What the control says against the machine.
fn noise(control: &Spread) -> Option<String> {
    let (low, high) = control.middle_half;
    let noisy = (control.median - 1.0).abs() > CONTROL_OFF || high - low > CONTROL_SPAN;
    noisy.then(|| format!("the control is at {:.2}, its middle half from {low:.2} to {high:.2}", control.median))
}

impl Comparison {
    fn verdict(&self) -> &'static str {
        match self.goal {
            None => "",
            Some(_) if self.unclear.is_some() => "unclear",
            Some(goal) if goal.is_met(self.ratio.median) => "met",
            Some(_) => "missed",
        }
    }

    fn json(&self) -> Json {
        let mut members = vec![("over", Json::Text(self.over.into())), ("ratio", self.ratio.json())];
        if let Some(goal) = self.goal {
            members.extend([("goal", Json::Text(goal.to_string())), ("verdict", Json::Text(self.verdict().into()))]);
        }
        Json::Object(members)
    }
}

impl Goal {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Goal::AtMost(most) => ratio <= most,
            Goal::AtLeast(least) => ratio >= least,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Goal::AtMost(most) => write!(f, "<= {most:.2}"),
            Goal::AtLeast(least) => write!(f, ">= {least:.2}"),
        }
    }
}

impl Parked {
    fn percent(&self) -> String {
        format!("{:.1} %", 100.0 * self.parked as f64 / self.pairs as f64)
    }
}

impl Report {
    pub(crate) fn json(&self) -> Json {
        let (control, rivals) = self.runners.split_last().unwrap();
        let (before, after) = self.time_wait;
        object([
            ("bench", Json::Text("peers".into())),
            ("host", Json::Text(host())),
            ("rounds", Json::Count(self.rounds as u64)),
            ("pairs", Json::Count(self.pairs as u64)),
            ("rivals", Json::List(rivals.iter().map(|runner| self.runner_json(runner)).collect())),
            ("control", self.runner_json(control)),
            ("floor_drift", Json::Number(drift(self.micros_of("floor")))),
            ("time_wait", object([("before", Json::Count(before)), ("after", Json::Count(after))])),
            ("two_threads", self.threads_json()),
            ("late", self.late_json()),
            ("noise", Json::List(self.noise().into_iter().map(Json::Text).collect())),
        ])
    }

    fn runner_json(&self, runner: &Runner) -> Json {
        let comparisons = self.comparisons().into_iter().filter(|comparison| comparison.row == runner.name);
        object([
            ("name", Json::Text(runner.name.into())),
            ("pairs_a_turn", Json::Count(runner.pairs as u64)),
            ("ratio", self.over_floor(runner).json()),
            ("us_per_pair", Json::Number(median(&runner.micros))),
            ("yardsticks", Json::List(comparisons.map(|comparison| comparison.json()).collect())),
        ])
    }

    fn threads_json(&self) -> Json {
        let (one, two) = self.pairs_per_second();
        object([
            ("factory", self.threads_comparison().json()),
            ("floor", self.floor_threads().json()),
            ("pairs_per_second", object([("one", Json::Number(one)), ("two", Json::Number(two))])),
        ])
    }

    fn late_json(&self) -> Json {
        match &self.late {
            Ok(rows) => {
                let row_json = |row: &late::Row| row.json(&ratio(&row.micros, &rows[0].micros));
                object([("rows", Json::List(rows.iter().map(row_json).collect()))])
            }
            Err(reason) => object([("missing", Json::Text(reason.clone()))]),
        }
    }
}

impl late::Row {
    fn json(&self, ratio: &Spread) -> Json {
        let mut members = vec![
            ("name", Json::Text(self.name.clone())),
            ("pairs_a_turn", Json::Count(self.pairs as u64)),
            ("ratio", ratio.json()),
            ("us_per_pair", Json::Number(median(&self.micros))),
        ];
        if let Some(parked) = &self.parked {
            members.extend([("parked", Json::Count(parked.parked)), ("of_pairs", Json::Count(parked.pairs))]);
        }
        Json::Object(members)
    }
}
