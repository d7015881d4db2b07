//! The bodies of tests/scripts.rs, fed by libFuzzer.
#![no_main]

#[path = "../../tests/replay/mod.rs"]
mod replay;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    replay::obeying_code_reads_what_was_provided_and_uses_the_script_up(data);
    replay::code_that_does_anything_is_told_the_same_ever_after(data);
    replay::an_offer_that_changes_is_compared_again(data);
    replay::the_verdict_does_not_depend_on_how_transfers_are_cut(data);
});
