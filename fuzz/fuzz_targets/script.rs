//! The bodies of tests/scripts.rs, fed by libFuzzer.
#![no_main]

#[path = "../../tests/replay/mod.rs"]
mod replay;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    replay::code_that_follows_a_script_uses_it_up(data);
    replay::code_that_diverges_gets_the_same_mismatch_afterwards(data);
    replay::an_offer_that_changes_is_compared_again(data);
    replay::the_verdict_does_not_depend_on_split_points(data);
});
