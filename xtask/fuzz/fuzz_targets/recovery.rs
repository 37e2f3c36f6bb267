//! `lsm_engine::fuzz::recovery`, fed by the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsm_engine::fuzz::recovery(bytes));
