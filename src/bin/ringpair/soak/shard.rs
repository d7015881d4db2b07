//! One part of a soak that several machines share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The `index`-th of `of`, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    pub(super) index: u64,
    pub(super) of: u64,
}

impl Shard {
    fn new(index: u64, of: u64) -> Result<Shard, String> {
        match index < of {
            true => Ok(Shard { index, of }),
            false => Err(format!("there is no shard {index} of {of}: they are counted from 0")),
        }
    }

    /// What a scheduler says that it has started this as.
    pub(super) fn of_the_scheduler() -> Result<Option<Shard>, String> {
        Shard::told_by(|name| std::env::var(name).ok())
    }

    fn told_by(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Shard>, String> {
        for (index, first, of) in SCHEDULERS {
            let number = |name: &str| match variable(name) {
                Some(text) => text.parse().map(Some).map_err(|_| format!("{name} is `{text}`, which is no number")),
                None => Ok(None),
            };
            let (Some(index), Some(of)) = (number(index)?, number(of)?) else { continue };
            let first = match first {
                First::Is(first) => first,
                First::In(name) => number(name)?.unwrap_or(0),
            };
            let index =
                index.checked_sub(first).ok_or_else(|| format!("shard {index} comes before {first}, the first"))?;
            return Shard::new(index, of).map(Some);
        }
        Ok(None)
    }

    /// How many of the pairs are this one's; all shares together are all pairs.
    pub(super) fn share_of(self, pairs: u64) -> u64 {
        pairs / self.of + u64::from(self.index < pairs % self.of)
    }

    /// A seed of its own.
    pub(super) fn seed(self, seed: u64) -> u64 {
        fastrand::Rng::with_seed(seed.wrapping_add(self.index)).u64(..)
    }
}

enum First {
    Is(u64),
    In(&'static str),
}

/// The variables of an index, of the first one, and of how many there are.
const SCHEDULERS: [(&str, First, &str); 3] = [
    ("JOB_COMPLETION_INDEX", First::Is(0), "RINGPAIR_SHARDS"),
    ("SLURM_ARRAY_TASK_ID", First::In("SLURM_ARRAY_TASK_MIN"), "SLURM_ARRAY_TASK_COUNT"),
    ("CI_NODE_INDEX", First::Is(1), "CI_NODE_TOTAL"),
];

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// `0/4`.
impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        let (index, of) = numbers.ok_or("it takes an index and a number of shards, such as 0/4")?;
        Shard::new(index, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_an_index_below_a_number() {
        assert_eq!("3/4".parse(), Ok(Shard { index: 3, of: 4 }));
        for text in ["4/4", "0/0", "1", "a/b", "-1/4", "1/4/2", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_shares_of_all_shards_are_all_pairs() {
        for (pairs, of) in [(10, 4), (3, 4), (8, 4), (1_000_000, 7)] {
            let shares: u64 = (0..of).map(|index| Shard { index, of }.share_of(pairs)).sum();
            assert_eq!(shares, pairs);
        }
    }

    #[test]
    fn a_scheduler_tells_the_shard_by_its_variables() {
        let told = |variables: &[(&str, &str)]| {
            Shard::told_by(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(told(&[]), Ok(None));
        assert_eq!(told(&[("JOB_COMPLETION_INDEX", "2")]), Ok(None)); // of how many?
        assert_eq!(
            told(&[("JOB_COMPLETION_INDEX", "2"), ("RINGPAIR_SHARDS", "4")]),
            Ok(Some(Shard { index: 2, of: 4 }))
        );
        let slurm = [("SLURM_ARRAY_TASK_ID", "5"), ("SLURM_ARRAY_TASK_MIN", "5"), ("SLURM_ARRAY_TASK_COUNT", "3")];
        assert_eq!(told(&slurm), Ok(Some(Shard { index: 0, of: 3 })));
        assert_eq!(told(&[("CI_NODE_INDEX", "4"), ("CI_NODE_TOTAL", "4")]), Ok(Some(Shard { index: 3, of: 4 })));
        assert!(told(&[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "4")]).is_err());
        assert!(told(&[("CI_NODE_INDEX", "one"), ("CI_NODE_TOTAL", "4")]).is_err());
    }
}
