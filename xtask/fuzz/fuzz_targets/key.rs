//! `lsm_base::fuzz::key`, fed by the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsm_base::fuzz::key(bytes));
