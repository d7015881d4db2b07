//! What came of the checks.

use std::fmt;

/// Every check with its outcome, in the order in which they ran.
///
/// `Display` is a table of one line a check, with their sum in the last.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use ringpair::conformance::check_stream;
///
/// let report = check_stream(async || Ok(tokio::io::duplex(4096))).await;
/// assert!(report.is_conformant(), "{report}");
/// assert!(report.to_string().ends_with("checks: all passed"));
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// One for every check, also for those that were left out.
    pub checks: Vec<Checked>,
}

/// A check and what came of it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use ringpair::conformance::check_stream;
///
/// let report = check_stream(async || Ok(tokio::io::duplex(4096))).await;
/// let checked = &report.checks[0];
/// assert_eq!(checked.to_string(), format!("passed     {}", checked.name));
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The check's name, by which it can be left out.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a check.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use ringpair::conformance::{Conformance, Outcome};
///
/// let conformance = Conformance::new().without("end-of-file-stays", "told once by this stream");
/// let report = conformance.check_stream(async || Ok(tokio::io::duplex(4096))).await;
/// let left_out = report.checks.iter().find(|checked| checked.name == "end-of-file-stays").unwrap();
/// assert_eq!(left_out.outcome, Outcome::LeftOut("told once by this stream".to_owned()));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The stream holds to it.
    Passed,
    /// The stream does not, and this is how it showed.
    Failed(String),
    /// It was not through when its time was up, and this is what was pending then.
    TimedOut(String),
    /// It was not run, for this reason.
    LeftOut(String),
}

impl Report {
    /// Whether no check failed or timed out. Those that were left out do not count.
    pub fn is_conformant(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The checks that failed or timed out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use ringpair::conformance::check_stream;
    ///
    /// let report = check_stream(async || Ok(tokio::io::duplex(4096))).await;
    /// assert_eq!(report.failures().count(), 0);
    /// # }
    /// ```
    pub fn failures(&self) -> impl Iterator<Item = &Checked> {
        self.checks.iter().filter(|checked| matches!(checked.outcome, Outcome::Failed(_) | Outcome::TimedOut(_)))
    }

    /// For the end of a test.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// ringpair::conformance::check_stream(async || Ok(tokio::io::duplex(4096))).await.assert();
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// With the whole table, where the stream is not conformant.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.is_conformant(), "the stream does not conform\n{self}");
    }

    /// How many came out in each way, leaving out what none did: `2 failed, 30 passed`.
    fn sum(&self) -> String {
        let count = |word: &str| self.checks.iter().filter(|checked| checked.outcome.word() == word).count();
        let words = ["FAILED", "TIMED OUT", "left out", "passed"];
        let some = words.map(|word| (count(word), word)).into_iter().filter(|(count, _)| *count > 0);
        some.map(|(count, word)| format!("{count} {}", word.to_lowercase())).collect::<Vec<_>>().join(", ")
    }
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "FAILED",
            Outcome::TimedOut(_) => "TIMED OUT",
            Outcome::LeftOut(_) => "left out",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for checked in &self.checks {
            writeln!(f, "{checked}")?;
        }
        let count = self.checks.len();
        if self.checks.iter().all(|checked| checked.outcome == Outcome::Passed) {
            write!(f, "{count} checks: all passed")
        } else {
            write!(f, "{count} checks: {}", self.sum())
        }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10} {}", self.outcome.word(), self.name)?;
        match &self.outcome {
            Outcome::Passed => Ok(()),
            Outcome::Failed(why) | Outcome::TimedOut(why) | Outcome::LeftOut(why) => write!(f, ": {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: impl IntoIterator<Item = Outcome>) -> Report {
        let checked = |(place, outcome)| Checked { name: format!("check-{place}"), outcome };
        Report { checks: outcomes.into_iter().enumerate().map(checked).collect() }
    }

    fn some_of_each() -> Report {
        report([
            Outcome::Passed,
            Outcome::Failed("a byte was wrong".to_owned()),
            Outcome::TimedOut("after 3s; pending: nothing".to_owned()),
            Outcome::LeftOut("not ours".to_owned()),
            Outcome::Passed,
        ])
    }

    #[test]
    fn the_table_has_a_line_for_every_check_and_their_sum() {
        let expected = "\
passed     check-0
FAILED     check-1: a byte was wrong
TIMED OUT  check-2: after 3s; pending: nothing
left out   check-3: not ours
passed     check-4
5 checks: 1 failed, 1 timed out, 1 left out, 2 passed";
        assert_eq!(some_of_each().to_string(), expected);
        assert_eq!(report([Outcome::Passed]).to_string(), "passed     check-0\n1 checks: all passed");
    }

    #[test]
    fn what_failed_or_timed_out_is_against_it_and_what_was_left_out_is_not() {
        let names: Vec<String> = some_of_each().failures().map(|checked| checked.name.clone()).collect();
        assert_eq!(names, ["check-1", "check-2"]);
        assert!(!some_of_each().is_conformant());
        assert!(report([Outcome::Passed, Outcome::LeftOut("not ours".to_owned())]).is_conformant());
    }

    #[test]
    #[should_panic(expected = "FAILED     check-1: a byte was wrong")]
    fn asserting_panics_with_the_table() {
        some_of_each().assert();
    }
}
