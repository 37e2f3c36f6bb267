//! `lsm_sstable::fuzz::fences`, fed by the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsm_sstable::fuzz::fences(bytes));
