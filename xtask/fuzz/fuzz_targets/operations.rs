//! `lsm_engine::fuzz::operations`, fed by the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsm_engine::fuzz::operations(bytes));
