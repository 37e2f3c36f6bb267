//! `lsm_compaction::fuzz::edits`, fed by the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsm_compaction::fuzz::edits(bytes));
