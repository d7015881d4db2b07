//! Properties of sums, whatever the soak and however it is split.

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any};
use proptest::sample::Index;
use proptest::{prop_assert_eq, proptest};

use super::*;
use crate::soak::laws::{a_sum_is_a_report_in_any_order, assert_same};

fn outcome() -> impl Strategy<Value = Outcome> {
    let failed_at = proptest::sample::select(vec![None, None, None, Some("body"), Some("connect")]);
    (0..100_000u64, failed_at).prop_map(|(nanos, failed_at)| Outcome { nanos, failed_at })
}

/// Outcomes, each with the shard that it belongs to.
fn split() -> impl Strategy<Value = (u64, Vec<(Outcome, u64)>)> {
    (1..6u64).prop_flat_map(|of| (Just(of), vec((outcome(), 0..of), 0..24)))
}

fn reports_of(of: u64, outcomes: &[(Outcome, u64)]) -> Vec<Document> {
    let own = |index| outcomes.iter().filter(move |(_, owner)| *owner == index).map(|(outcome, _)| *outcome);
    (0..of).map(|index| report(&own(index).collect::<Vec<_>>(), shard(&format!("{index}/{of}")))).collect()
}

/// The sum of all documents, which are added up two at a time as chance has it.
fn grouped(mut documents: Vec<Document>, picks: &[Index]) -> Document {
    for pick in picks.iter().cycle() {
        if documents.len() < 2 {
            break;
        }
        let one = documents.swap_remove(pick.index(documents.len()));
        let other = documents.swap_remove(pick.index(documents.len()));
        documents.push(merged([&one, &other]));
    }
    merged(&documents)
}

proptest! {
    // No file of failures: a seed that fails is to become a test of its own.
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_a_soak_adds_up_to_the_whole((of, outcomes) in split()) {
        let parts = reports_of(of, &outcomes);
        let sum = merged(&parts);
        let whole = report(&outcomes.iter().map(|(outcome, _)| *outcome).collect::<Vec<_>>(), None);
        prop_assert_eq!((sum.pairs, &sum.failures, &sum.first_failure), (whole.pairs, &whole.failures, &whole.first_failure));
        prop_assert_eq!([&sum.make, &sum.body, &sum.close], [&whole.make, &whole.body, &whole.close]);
        prop_assert_eq!(sum.complaints.len(), parts.iter().map(|part| part.complaints.len()).sum::<usize>());
        prop_assert_eq!(sum.clean, parts.iter().all(|part| part.clean));
        let held = usage([9 * of, (50 << 20) * of, 3 * of, 0]);
        prop_assert_eq!([sum.before, sum.settled, sum.peak, sum.after], [held; 4]);
    }

    #[test]
    fn any_order_and_any_grouping_make_the_same_sum((of, outcomes) in split(), picks in vec(any::<Index>(), 1..20)) {
        let mut parts = reports_of(of, &outcomes);
        // Also of shards that are missing, there twice, or not of this soak.
        let odd = [None, Some(good(1, None)), Some(good(2, shard("1/7"))), Some(parts[0].clone())];
        parts.extend(odd[picks[0].index(odd.len())].clone());
        if picks.len() > 10 && parts.len() > 1 {
            parts.swap_remove(picks[1].index(parts.len()));
        }
        for (seed, part) in (0..).zip(&mut parts) {
            (part.seed, part.ended_early, part.elapsed_seconds) = (seed, seed == 1, seed as f64);
        }
        let whole = merged(&parts);
        assert_same(&Ok::<_, ()>(Some(grouped(parts, &picks))), &whole);
    }

    #[test]
    fn no_input_breaks_the_sum((of, outcomes) in split(), edits in vec((any::<Index>(), vec(any::<u8>(), 0..3), 0..3usize), 0..4)) {
        let mut bytes = reports_of(of, &outcomes).iter().map(text).collect::<String>().into_bytes();
        for (place, new, removed) in edits {
            let place = place.index(bytes.len());
            let end = (place + removed).min(bytes.len());
            bytes.splice(place..end, new);
        }
        a_sum_is_a_report_in_any_order(&bytes);
    }

    #[test]
    fn no_number_breaks_the_sum(numbers in vec((any::<Index>(), proptest::sample::select(ODD_NUMBERS.to_vec())), 1..3)) {
        let two = format!("{}{}", text(&good(3, shard("0/2"))), text(&good(3, shard("1/2"))));
        let places: Vec<_> = two.match_indices(|letter: char| letter.is_ascii_digit()).map(|(place, _)| place).collect();
        let mut odd = two.clone();
        for (place, number) in numbers {
            let place = places[place.index(places.len())];
            odd.replace_range(place..=place, number); // shifts what is behind it, which is still some place
            a_sum_is_a_report_in_any_order(odd.as_bytes());
            odd.clone_from(&two);
        }
    }
}

const ODD_NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "0.5",
    "1e308",
    "1e999",
    "null",
    "NaN",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "\"3\"",
    "[]",
];
