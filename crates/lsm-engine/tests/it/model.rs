//! The store against a model, under many settings.
//!
//! Each run is a stream of random operations that is a function of its seed: writes of every kind,
//! reads of every kind, snapshots and cursors that are held while the store is flushed, compacted,
//! and its keyspaces come and go. After every operation the store must have answered what the
//! model answers. Background threads make runs differ in timing, never in what they must answer.
//!
//! `LSM_MODEL_SEED` sets the seed, `LSM_MODEL_OPS` the number of operations of each run.

mod driver;
mod held;
mod input;
mod oracle;
mod reads;

use std::env;
use std::str::FromStr;
use std::time::Instant;

use lsm_engine::{Compression, Db, DbBuilder, Options, ReadMode};

use self::driver::{Driver, Figures};
use crate::support::{builder, memory, tiny};

/// Operations of one run in memory; with the one in a directory, eight runs make 200,000.
const OPS: u64 = 28_000;

/// Operations of the run in a directory, where syncs take their time.
const OPS_IN_DIRECTORY: u64 = 4_000;

/// Says how to repeat a run that failed.
struct Place {
    set: &'static str,
    seed: u64,
    op: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "set {}: LSM_MODEL_SEED={} failed at operation {}",
                self.set, self.seed, self.op
            );
        }
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

fn run(set: &'static str, ops: u64, reopen: impl Fn() -> DbBuilder + 'static) -> Figures {
    let seed = variable("LSM_MODEL_SEED").unwrap_or(0x5eed);
    let started = Instant::now();
    let mut place = Place { set, seed, op: 0 };
    // Sets differ in their operations too.
    let mixed = set.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte));
    let mut driver = Driver::new(mixed, reopen);
    let ops = variable("LSM_MODEL_OPS").unwrap_or(ops);
    while place.op < ops {
        driver.step();
        place.op += 1;
    }
    let figures = driver.finish();
    println!("{set}: {figures:?} in {:?}", started.elapsed());
    figures
}

fn run_in_memory(set: &'static str, options: Options) -> Figures {
    let fs = memory();
    run(set, OPS, move || builder(&fs, &options))
}

/// Every set with the smallest memtables is busy in the background all the time.
fn assert_busy(figures: Figures) {
    assert!(100 <= figures.flushes, "{figures:?}");
    assert!(50 <= figures.compactions, "{figures:?}");
    assert!(3 <= figures.levels, "{figures:?}");
    assert!(50 <= figures.resident, "{figures:?}");
}

#[test]
fn small_memtables() {
    assert_busy(run_in_memory("small memtables", tiny()));
}

#[test]
fn small_memtables_without_threads() {
    let options = Options {
        background_threads: 0,
        block_size: 128,
        table_size: 2 << 10,
        max_log_bytes: Some(8 << 10),
        ..tiny()
    };
    assert_busy(run_in_memory("small memtables without threads", options));
}

#[test]
fn small_memtables_with_a_block_for_each_entry() {
    let options = Options {
        block_size: 1,
        block_cache_size: Some(1),
        bloom_bits_per_key: 0,
        compression: Compression::None,
        read_mode: Some(ReadMode::Pread),
        background_threads: 1,
        ..tiny()
    };
    assert_busy(run_in_memory("small memtables with a block for each entry", options));
}

#[test]
fn small_memtables_and_small_tables() {
    let options = Options {
        table_size: 4 << 10,
        block_cache_size: Some(8 << 10),
        bloom_bits_per_key: 32,
        read_mode: Some(ReadMode::Pread),
        ..tiny()
    };
    assert_busy(run_in_memory("small memtables and small tables", options));
}

#[test]
fn a_real_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let options = Options { memtable_size: Some(32 << 10), table_size: 32 << 10, ..tiny() };
    run("a real directory", OPS_IN_DIRECTORY, move || Db::builder(&path).options(options.clone()));
}

#[test]
fn default_options() {
    run_in_memory("default options", Options::default());
}

#[test]
fn a_short_log() {
    let options =
        Options { memtable_size: Some(128 << 10), max_log_bytes: Some(8 << 10), ..tiny() };
    run_in_memory("a short log", options);
}

#[test]
fn medium_memtables_without_threads() {
    let options = Options {
        memtable_size: Some(128 << 10),
        table_size: 8 << 10,
        bloom_bits_per_key: 1,
        compression: Compression::None,
        background_threads: 0,
        ..Options::default()
    };
    run_in_memory("medium memtables without threads", options);
}
