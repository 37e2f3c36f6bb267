//! `lsm_sstable::fuzz::filter`, fed by the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsm_sstable::fuzz::filter(bytes));
