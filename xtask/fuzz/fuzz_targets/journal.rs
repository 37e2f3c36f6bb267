//! `lsm_wal::fuzz::journal`, fed by the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsm_wal::fuzz::journal(bytes));
