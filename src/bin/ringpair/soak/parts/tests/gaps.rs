//! Shards that are not one whole soak.

use super::super::gaps::gaps;
use super::*;

fn gaps_of(shards: &[&str]) -> Vec<String> {
    let mut shards: Vec<Shard> = shards.iter().filter_map(|text| shard(text)).collect();
    shards.sort();
    gaps(&shards)
}

#[test]
fn shards_are_a_soak_if_each_is_there_once() {
    assert_eq!(gaps_of(&[]), [""; 0]);
    assert_eq!(gaps_of(&["0/1"]), [""; 0]);
    assert_eq!(gaps_of(&["2/3", "0/3", "1/3"]), [""; 0]);
    assert_eq!(gaps_of(&["2/3"]), ["shard 0/3 is missing", "shard 1/3 is missing"]);
    assert_eq!(gaps_of(&["1/3", "0/3"]), ["shard 2/3 is missing"]);
    assert_eq!(gaps_of(&["1/3", "1/3", "0/3", "1/3"]), ["shard 1/3 is there 3 times", "shard 2/3 is missing"]);
    assert_eq!(gaps_of(&["0/1", "0/1"]), ["the whole soak is there 2 times"]);
    assert_eq!(gaps_of(&["0/2", "0/1", "1/2"]), ["a whole soak and shards of 2 are no parts of one soak"]);
    let all = ["0/2", "0/3", "0/4", "0/5", "0/6", "0/7", "0/8", "0/9", "0/10"];
    let told = (2..=9).map(|of| format!("shards of {of} and ")).collect::<String>();
    assert_eq!(gaps_of(&all), [format!("{told}others are no parts of one soak")]);
    let told = told.trim_end_matches(" and ");
    assert_eq!(gaps_of(&all[..8]), [format!("{told} are no parts of one soak")]);
}

#[test]
fn many_gaps_are_counted_and_not_listed() {
    let told = gaps_of(&["3/1000000", "999999/1000000"]);
    assert_eq!((told.len(), told[7].as_str()), (9, "shard 8/1000000 is missing"));
    assert_eq!(told[8], "999990 more shards are missing");
    let twice: Vec<String> = (0..10).flat_map(|index| [format!("{index}/10"), format!("{index}/10")]).collect();
    let told = gaps_of(&twice.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((told.len(), told[8].as_str()), (9, "2 more shards are there more than once"));
    let eight: Vec<String> = (0..8).flat_map(|index| [format!("{index}/8"), format!("{index}/8")]).collect();
    assert_eq!(gaps_of(&eight.iter().map(String::as_str).collect::<Vec<_>>()).len(), 8);
    assert_eq!(gaps_of(&["8/9"]).len(), 8);
}

#[test]
fn gaps_of_a_sum_are_forgotten_when_it_is_added_up() {
    let shards: Vec<_> = (0..3).map(|index| good(2, shard(&format!("{index}/3")))).collect();
    let two = merged([&shards[2], &shards[0]]);
    assert_eq!((two.clean, &two.complaints[..]), (false, &["shard 1/3 is missing".to_owned()][..]));
    assert!(merged([&two, &shards[1]]).clean);
    assert_eq!(merged([&two, &shards[0]]).complaints, ["shard 0/3 is there 2 times", "shard 1/3 is missing"]);
    // A whole soak among shards is never right, whatever comes on top.
    let mixed = merged([&good(1, None), &shards[0]]);
    assert!(!merged([&mixed, &shards[1], &shards[2]]).clean);
    assert_eq!(merged([&good(1, None)]).shards, []);
    assert!(merged([&merged([&good(1, None)])]).clean);
}
