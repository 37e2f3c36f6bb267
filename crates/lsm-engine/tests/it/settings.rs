//! Every setting that is allowed works.

use std::time::Duration;

use lsm_base::FileName;
use lsm_base::fs::OpKind;
use lsm_engine::{Health, Options, Read, Recheck, WriteOptions};

use crate::harness;
use crate::support::{bounded, builder, memory, open, tiny};

#[test]
fn filters_of_every_allowed_size_work_in_every_level() {
    bounded(|| {
        for bloom_bits_per_key in [0, 1, 28, 29, 31, 32] {
            let db = open(&memory(), &Options { bloom_bits_per_key, ..tiny() });
            db.put("k", "v").unwrap();
            db.flush().unwrap();
            assert_eq!(db.get("k").unwrap().unwrap(), b"v");
            db.put("k", "w").unwrap();
            db.compact::<&str>(..).unwrap();
            assert_eq!(db.get("k").unwrap().unwrap(), b"w");
            assert_eq!(db.get("absent").unwrap(), None);
        }
    });
}

#[test]
fn both_ends_of_every_range_work() {
    type Change = fn(&mut Options);
    let ends: [(&str, Change); 16] = [
        ("memtable_size", |options| options.memtable_size = Some(16 << 10)),
        ("memtable_size", |options| options.memtable_size = Some(4 << 30)),
        ("memory_budget", |options| options.memory_budget = Some(32 << 10)),
        ("memory_budget", |options| options.memory_budget = Some(usize::MAX)),
        ("block_cache_size", |options| options.block_cache_size = Some(0)),
        ("block_cache_size", |options| options.block_cache_size = Some(usize::MAX)),
        ("block_size", |options| options.block_size = 1),
        ("block_size", |options| options.block_size = 16 << 20),
        ("table_size", |options| options.table_size = 1),
        ("table_size", |options| options.table_size = 8 << 30),
        ("bloom_bits_per_key", |options| options.bloom_bits_per_key = 0),
        ("bloom_bits_per_key", |options| options.bloom_bits_per_key = 32),
        ("background_threads", |options| options.background_threads = 0),
        ("background_threads", |options| options.background_threads = 64),
        ("max_log_bytes", |options| options.max_log_bytes = Some(0)),
        ("max_log_bytes", |options| options.max_log_bytes = Some(u64::MAX)),
    ];
    bounded(move || {
        for (name, change) in ends {
            let mut options = tiny();
            change(&mut options);
            let fs = memory();
            let db =
                builder(&fs, &options).open().unwrap_or_else(|error| panic!("{name}: {error}"));
            for i in 0..60_u32 {
                db.put(i.to_be_bytes(), [7; 300]).unwrap();
            }
            db.flush().unwrap();
            db.compact::<&str>(..).unwrap();
            db.put("in the log", "v").unwrap();
            assert_eq!(db.prefix("").count(), 61, "{options:?}");
            db.close().unwrap();
            let db = open(&fs, &options);
            assert_eq!(db.prefix("").count(), 61, "{options:?}");
        }
    });
}

#[test]
fn times_of_every_length_work() {
    bounded(|| {
        for compaction_interval in [Duration::from_nanos(1), Duration::MAX] {
            let db = open(&memory(), &Options { compaction_interval, ..tiny() });
            let patient =
                WriteOptions { stall_timeout: Some(Duration::MAX), ..WriteOptions::default() };
            for i in 0..200_u32 {
                db.put_with(i.to_be_bytes(), [7; 300], &patient).unwrap();
            }
            db.wait_idle().unwrap();
            db.flush().unwrap();
            assert_eq!(db.health(), Health::Running);
            assert_eq!(db.prefix("").count(), 200);
            db.close().unwrap();
        }
    });
}

#[test]
fn a_full_recheck_reads_every_byte_of_a_new_table() {
    let read = |recheck| {
        let (_, fs) = harness::disk();
        let db = harness::open_with(&fs, Options { recheck, ..harness::small_options(0) }).unwrap();
        for i in 0..40_u32 {
            db.put(i.to_be_bytes(), [i as u8; 200]).unwrap();
        }
        fs.clear_trace();
        db.flush().unwrap();
        let trace = fs.trace();
        let is_table = |name| matches!(name, Some(FileName::Table(_)));
        let reads = trace.iter().filter(|op| op.kind == OpKind::Read && is_table(op.file_name()));
        (reads.map(|op| op.len).sum::<u64>(), db.metrics().disk.tables)
    };
    let (sampled, len) = read(Recheck::Sample);
    assert!(sampled < len, "{sampled} of {len}");
    let (all, len) = read(Recheck::Full);
    assert!(len <= all, "{all} of {len}");
}
