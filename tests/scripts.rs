//! A script returns its bytes in order, whatever the code does and however its calls are split. `ci/fuzz` fuzzes the same
//! bodies.

mod replay;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any};
use proptest::proptest;

proptest! {
    // No file of failures: a failing seed should become a test.
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn code_that_follows_a_script_uses_it_up(data in vec(any::<u8>(), 0..400)) {
        replay::code_that_follows_a_script_uses_it_up(&data);
    }

    #[test]
    fn code_that_diverges_gets_the_same_mismatch_afterwards(data in vec(any::<u8>(), 0..800)) {
        replay::code_that_diverges_gets_the_same_mismatch_afterwards(&data);
    }

    #[test]
    fn the_verdict_does_not_depend_on_split_points(data in vec(any::<u8>(), 0..400)) {
        replay::the_verdict_does_not_depend_on_split_points(&data);
    }

    #[test]
    fn an_offer_that_changes_is_compared_again(data in vec(any::<u8>(), 0..400)) {
        replay::an_offer_that_changes_is_compared_again(&data);
    }
}
