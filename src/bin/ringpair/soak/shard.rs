//! A shard: one part of a soak that several machines share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::values;

/// The maximum number of shards. A larger number is a mistake.
const MAX_SHARDS: u64 = 1_000_000;

/// The `index`-th of `of`, counted from 0.
// In this order, a soak's shards sort by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Numbers")]
pub(crate) struct Shard {
    pub(super) of: u64,
    pub(super) index: u64,
}

/// Two numbers that need not be a shard.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    index: u64,
    of: u64,
}

impl TryFrom<Numbers> for Shard {
    type Error = String;

    fn try_from(numbers: Numbers) -> Result<Shard, String> {
        Shard::new(numbers.index, numbers.of)
    }
}

impl Shard {
    /// The only shard of a soak that is not shared.
    pub(super) const WHOLE: Shard = Shard { of: 1, index: 0 };

    fn new(index: u64, of: u64) -> Result<Shard, String> {
        match of {
            0 => Err("a soak of no shards shows nothing".to_owned()),
            _ if of > MAX_SHARDS => Err(format!("a soak has at most {MAX_SHARDS} shards, not {of}")),
            _ if index < of => Ok(Shard { of, index }),
            _ => Err(format!("there is no shard {index} of {of}: they are counted from 0")),
        }
    }

    /// Returns the shard that a scheduler has named in the environment.
    pub(super) fn of_the_scheduler() -> Result<Option<Shard>, String> {
        Shard::told_by(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn told_by(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Shard>, String> {
        let variables = Variables(&variable);
        let told = [variables.kubernetes()?, variables.slurm()?, variables.gitlab()?];
        let mut shards = told.into_iter().flatten();
        let first = shards.next();
        match shards.find(|shard| Some(*shard) != first).zip(first) {
            Some((other, first)) => Err(format!("two schedulers say shard {first} and shard {other}: {ASK}")),
            None => Ok(first),
        }
    }

    /// Returns this shard's number of pairs. All shards together have all pairs.
    pub(super) fn share_of(self, pairs: u64) -> u64 {
        pairs / self.of + u64::from(self.index < pairs % self.of)
    }

    /// Returns this shard's own seed.
    pub(super) fn seed(self, seed: u64) -> u64 {
        fastrand::Rng::with_seed(seed.wrapping_add(self.index)).u64(..)
    }
}

const ASK: &str = "say which shard this is with --shard I/N";

/// Environment variables of schedulers.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    /// An indexed Job. Kubernetes does not tell the number of shards.
    fn kubernetes(&self) -> Result<Option<Shard>, String> {
        let told = self.both("JOB_COMPLETION_INDEX", "RINGPAIR_SHARDS")?;
        told.map(|(index, of)| Shard::new(index, of)).transpose()
    }

    /// An array whose tasks are a range, with or without a step. A list or a rerun of some tasks does not identify the shard.
    fn slurm(&self) -> Result<Option<Shard>, String> {
        let Some((id, count)) = self.both("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")? else { return Ok(None) };
        let Some(min) = self.number("SLURM_ARRAY_TASK_MIN")? else {
            return Err(format!("SLURM_ARRAY_TASK_MIN is not set: {ASK}"));
        };
        if count == 1 {
            return Err(format!("a Slurm array of one task may be the rerun of one shard: {ASK}"));
        }
        let step = self.number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1);
        let last = count.checked_sub(1).and_then(|steps| min.checked_add(steps.checked_mul(step)?));
        let max = self.number("SLURM_ARRAY_TASK_MAX")?.or(last);
        let steps = |id: u64| id.checked_sub(min)?.checked_div(step);
        // The end of a range need not be one of its tasks: 0-10:3 is 0, 3, 6 and 9.
        let is_range = last.is_some() && max.and_then(steps) == count.checked_sub(1);
        match steps(id) {
            Some(index) if is_range && index < count && min + index * step == id => Shard::new(index, count).map(Some),
            _ => Err(format!(
                "Slurm's task {id} is none of {count} tasks from {min} on in steps of {step}: if the array is a list or the \
                 rerun of some tasks, {ASK}"
            )),
        }
    }

    /// A job with `parallel`. It counts from 1.
    fn gitlab(&self) -> Result<Option<Shard>, String> {
        let Some((index, of)) = self.both("CI_NODE_INDEX", "CI_NODE_TOTAL")? else { return Ok(None) };
        let index = index.checked_sub(1).ok_or_else(|| format!("CI_NODE_INDEX is 0, and is counted from 1: {ASK}"))?;
        Shard::new(index, of).map(Some)
    }

    /// Parses index and number. One without the other is an error, and not the whole soak.
    fn both(&self, index: &str, total: &str) -> Result<Option<(u64, u64)>, String> {
        match (self.number(index)?, self.number(total)?) {
            (Some(index), Some(total)) => Ok(Some((index, total))),
            (None, None | Some(1)) => Ok(None), // GitLab tells the total of 1 to jobs that are not parallel
            (Some(_), None) => Err(format!("{index} is set and {total} is not: set it, or {ASK}")),
            (None, Some(_)) => Err(format!("{total} is set and {index} is not: set it, or {ASK}")),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let text = (self.0)(name);
        text.map(|text| values::digits(&text).ok_or_else(|| format!("{name} is {text:?}, which is no number")))
            .transpose()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// `0/4`.
impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| Some((values::digits(index)?, values::digits(of)?)));
        let (index, of) = numbers.ok_or("expected an index and a number of shards, for example 0/4")?;
        Shard::new(index, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Result<Option<Shard>, String> {
        Shard::told_by(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn slurm(id: &str, min: &str, max: &str, step: &str, count: &str) -> Result<Option<Shard>, String> {
        told(&[
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_MIN", min),
            ("SLURM_ARRAY_TASK_MAX", max),
            ("SLURM_ARRAY_TASK_STEP", step),
            ("SLURM_ARRAY_TASK_COUNT", count),
        ])
    }

    #[test]
    fn a_shard_is_an_index_below_a_number() {
        assert_eq!("3/4".parse(), Ok(Shard { index: 3, of: 4 }));
        assert_eq!("999999/1000000".parse(), Ok(Shard { index: 999_999, of: 1_000_000 }));
        for text in ["4/4", "0/0", "1", "a/b", "-1/4", "+1/4", "1/4/2", "", "0/1000001", "0/18446744073709551615"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!(Shard { index: 3, of: 4 }.to_string(), "3/4");
    }

    #[test]
    fn the_shares_of_all_shards_are_all_pairs() {
        for (pairs, of) in [(10, 4), (3, 4), (8, 4), (1_000_000, 7)] {
            let shares: Vec<u64> = (0..of).map(|index| Shard { index, of }.share_of(pairs)).collect();
            assert_eq!(shares.iter().sum::<u64>(), pairs);
            assert!(shares.iter().all(|share| share.abs_diff(pairs / of) <= 1), "{shares:?}");
        }
    }

    #[test]
    fn each_shard_has_a_seed_of_its_own() {
        let seeds: Vec<u64> = (0..4).map(|index| Shard { index, of: 4 }.seed(7)).collect();
        assert!((1..4).all(|index| !seeds[..index].contains(&seeds[index])), "{seeds:?}");
        assert_eq!(seeds[1], Shard { index: 1, of: 4 }.seed(7));
        assert_ne!(seeds[1], Shard { index: 1, of: 4 }.seed(8));
    }

    #[test]
    fn a_scheduler_tells_the_shard_by_its_variables() {
        assert_eq!(told(&[]), Ok(None));
        assert_eq!(
            told(&[("JOB_COMPLETION_INDEX", "2"), ("RINGPAIR_SHARDS", "4")]),
            Ok(Some(Shard { index: 2, of: 4 }))
        );
        assert_eq!(told(&[("CI_NODE_INDEX", "4"), ("CI_NODE_TOTAL", "4")]), Ok(Some(Shard { index: 3, of: 4 })));
        assert_eq!(told(&[("CI_NODE_TOTAL", "1")]), Ok(None)); // a job that is not parallel
        for wrong in ["0", "5", "one", ""] {
            assert!(told(&[("CI_NODE_INDEX", wrong), ("CI_NODE_TOTAL", "4")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_slurm_array_is_a_range_with_or_without_a_step() {
        assert_eq!(slurm("5", "5", "7", "1", "3"), Ok(Some(Shard { index: 0, of: 3 })));
        assert_eq!(slurm("7", "5", "7", "1", "3"), Ok(Some(Shard { index: 2, of: 3 })));
        for (index, id) in ["0", "3", "6", "9"].into_iter().enumerate() {
            for max in ["9", "10"] {
                assert_eq!(slurm(id, "0", max, "3", "4"), Ok(Some(Shard { index: index as u64, of: 4 })));
            }
        }
        let without_step =
            [("SLURM_ARRAY_TASK_ID", "6"), ("SLURM_ARRAY_TASK_MIN", "5"), ("SLURM_ARRAY_TASK_COUNT", "3")];
        assert_eq!(told(&without_step), Ok(Some(Shard { index: 1, of: 3 })));
    }

    #[test]
    fn a_slurm_array_that_is_no_range_is_refused() {
        for [id, min, max, step, count] in [
            ["5", "1", "7", "1", "3"],  // the list 1,5,7
            ["3", "3", "3", "1", "1"],  // the rerun of one task
            ["1", "1", "3", "1", "2"],  // the rerun of two
            ["4", "0", "9", "3", "4"],  // between two tasks
            ["12", "0", "9", "3", "4"], // behind the last
            ["8", "5", "7", "1", "3"],
            ["4", "5", "7", "1", "3"],
            ["5", "5", "7", "0", "3"],
            ["0", "0", "0", "1", "0"],
            ["0", "18446744073709551615", "0", "2", "3"],
        ] {
            let refused = slurm(id, min, max, step, count).unwrap_err();
            assert!(refused.ends_with("say which shard this is with --shard I/N"), "{refused}");
        }
        assert!(told(&[("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_COUNT", "3")]).is_err());
    }

    #[test]
    fn an_index_without_a_total_is_never_the_whole_soak() {
        for variables in [
            [("JOB_COMPLETION_INDEX", "2")],
            [("RINGPAIR_SHARDS", "4")],
            [("SLURM_ARRAY_TASK_ID", "2")],
            [("SLURM_ARRAY_TASK_COUNT", "4")],
            [("CI_NODE_INDEX", "2")],
            [("CI_NODE_TOTAL", "4")],
        ] {
            let refused = told(&variables).unwrap_err();
            assert!(refused.contains(" is set and ") && refused.contains(variables[0].0), "{refused}");
        }
    }

    #[test]
    fn two_schedulers_must_say_the_same() {
        let gitlab = [("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "4")];
        let both = |index| told(&[&gitlab[..], &[("JOB_COMPLETION_INDEX", index), ("RINGPAIR_SHARDS", "4")]].concat());
        assert_eq!(both("1"), Ok(Some(Shard { index: 1, of: 4 })));
        assert!(both("2").unwrap_err().contains("shard 2/4 and shard 1/4"));
    }
}
