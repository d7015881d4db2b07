//! The bodies of tests/scripts.rs, fed by libFuzzer.
#![no_main]

#[path = "../../tests/playing/mod.rs"]
mod playing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    playing::obeying_code_reads_what_was_provided_and_uses_the_script_up(data);
    playing::code_that_does_anything_is_told_the_same_ever_after(data);
    playing::the_verdict_does_not_depend_on_how_transfers_are_cut(data);
});
