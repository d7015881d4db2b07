//! The outcomes of the checks.

use std::fmt;

/// Every check with its outcome, in the order in which they ran.
///
/// `Display` is a table with one line per check and a summary line.
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
    /// One entry per check, in the order of [`checks`](super::checks).
    pub checks: Vec<Checked>,
}

/// A check and its outcome.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use ringpair::conformance::check_stream;
///
/// let report = check_stream(async || Ok(tokio::io::duplex(4096))).await;
/// let checked = &report.checks[0];
/// assert_eq!(checked.to_string(), format!("passed        {}", checked.name));
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The check's name, by which it can be left out.
    pub name: String,
    /// What the check found.
    pub outcome: Outcome,
}

/// The outcome of a check.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use ringpair::conformance::{Conformance, Outcome};
///
/// let conformance = Conformance::new().without("eof-stays", "told once by this stream");
/// let report = conformance.check_stream(async || Ok(tokio::io::duplex(4096))).await;
/// let left_out = report.checks.iter().find(|checked| checked.name == "eof-stays").unwrap();
/// assert_eq!(left_out.outcome, Outcome::LeftOut("told once by this stream".to_owned()));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The stream keeps the promise.
    Passed,
    /// The stream breaks the promise; the text says how.
    Failed(String),
    /// The check did not end in time; the text names the pending operations.
    TimedOut(String),
    /// The check could not create its situation, so it says nothing about the stream; the text says why.
    NotExercised(String),
    /// The check was left out, for this reason.
    LeftOut(String),
}

impl Report {
    /// Returns whether no check failed or timed out. Checks that were not exercised or left out do not count.
    pub fn is_conformant(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Returns the checks that failed or timed out.
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

    /// Panics with the whole table if the stream is not conformant.
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
    /// If [`is_conformant`](Report::is_conformant) is false.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.is_conformant(), "the stream does not conform\n{self}");
    }

    /// Counts the outcomes: `2 failed, 30 passed`.
    fn sum(&self) -> String {
        let count = |word: &str| self.checks.iter().filter(|checked| checked.outcome.word() == word).count();
        let words = ["FAILED", "TIMED OUT", "not exercised", "left out", "passed"];
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
            Outcome::NotExercised(_) => "not exercised",
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
        write!(f, "{:<13} {}", self.outcome.word(), self.name)?;
        match &self.outcome {
            Outcome::Passed => Ok(()),
            Outcome::Failed(why) | Outcome::TimedOut(why) | Outcome::NotExercised(why) | Outcome::LeftOut(why) => {
                write!(f, ": {why}")
            }
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
            Outcome::NotExercised("no write was left pending".to_owned()),
            Outcome::LeftOut("not ours".to_owned()),
            Outcome::Passed,
        ])
    }

    #[test]
    fn the_table_has_a_line_for_every_check_and_their_sum() {
        let expected = "\
passed        check-0
FAILED        check-1: a byte was wrong
TIMED OUT     check-2: after 3s; pending: nothing
not exercised check-3: no write was left pending
left out      check-4: not ours
passed        check-5
6 checks: 1 failed, 1 timed out, 1 not exercised, 1 left out, 2 passed";
        assert_eq!(some_of_each().to_string(), expected);
        assert_eq!(report([Outcome::Passed]).to_string(), "passed        check-0\n1 checks: all passed");
    }

    #[test]
    fn only_failures_and_timeouts_count_against_a_stream() {
        let names: Vec<String> = some_of_each().failures().map(|checked| checked.name.clone()).collect();
        assert_eq!(names, ["check-1", "check-2"]);
        assert!(!some_of_each().is_conformant());
        assert!(report([Outcome::Passed, Outcome::LeftOut("not ours".to_owned())]).is_conformant());
        assert!(report([Outcome::Passed, Outcome::NotExercised("no".to_owned())]).is_conformant());
    }

    #[test]
    #[should_panic(expected = "FAILED        check-1: a byte was wrong")]
    fn asserting_panics_with_the_table() {
        some_of_each().assert();
    }
}
