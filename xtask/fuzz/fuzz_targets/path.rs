//! `lsm_server::fuzz::path`, fed by the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsm_server::fuzz::path(bytes));
