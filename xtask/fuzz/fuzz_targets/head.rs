//! `lsm_server::fuzz::head`, fed by the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsm_server::fuzz::head(bytes));
