//! What holds for reports that `ringpair merge` adds up, fed by libFuzzer.
#![no_main]

// The command has no library; these files of it know neither files nor terminals.
#[allow(dead_code)]
#[path = "../../src/bin/ringpair/soak"]
mod soak {
    mod document;
    pub mod laws;
    mod parts;
    mod shard;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| soak::laws::a_sum_is_a_report_in_any_order(data));
