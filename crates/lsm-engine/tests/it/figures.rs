//! Figures that the store gives of itself: they add up.

use std::sync::{Arc, OnceLock};

use lsm_engine::base::fs::{Fault, FaultFs, MemFs, Op, OpKind};
use lsm_engine::base::{FileName, Fs};
use lsm_engine::{Db, Durability, Options, Read, ReadMode, Resident, WriteOptions};
use parking_lot::Mutex;

use crate::support::{memory, open};

fn options() -> Options {
    Options { background_threads: 0, durability: Durability::Buffered, ..Options::default() }
}

#[test]
fn each_check_of_a_filter_is_counted_once() {
    const KEYS: u64 = 2_000;
    let db = open(&memory(), &options());
    let key = |number: u64| format!("{number:08}");
    for number in 0..KEYS {
        db.put(key(2 * number), "v").unwrap();
    }
    // In the memtable no filter of a table is asked.
    assert!(db.contains(key(0)).unwrap());
    db.flush().unwrap();
    let counted = || {
        let metrics = db.metrics();
        let checks = metrics.filter_negatives + metrics.filter_false_positives;
        (checks, metrics.filter_true_positives, metrics.filter_false_positives)
    };
    assert_eq!(counted(), (0, 0, 0));
    // The first may not read the disk, so that it is asked again.
    assert!(matches!(db.try_get_resident(key(0)).unwrap(), Resident::WouldTouchDisk));
    assert_eq!(counted(), (0, 0, 0));
    for number in 0..KEYS {
        assert!(db.get(key(2 * number)).unwrap().is_some());
    }
    assert_eq!(counted(), (0, KEYS, 0));
    for number in 0..KEYS - 1 {
        assert!(!db.contains(key(2 * number + 1)).unwrap());
    }
    let (absent, present, wrong) = counted();
    assert_eq!((absent, present), (KEYS - 1, KEYS));
    assert!(wrong < KEYS / 20, "{wrong} of {KEYS} filters were wrong");
    assert!(matches!(db.try_get_resident(key(0)).unwrap(), Resident::Known(Some(_))));
    assert_eq!(counted(), (absent, KEYS + 1, wrong));
}

/// Who waits for a flush reads the figures at once, while the worker that made it goes on.
#[test]
fn a_flush_is_counted_when_its_call_returns() {
    let db = open(&memory(), &Options { background_threads: 1, ..options() });
    for round in 1..=300_u64 {
        let before = db.metrics().flush_bytes;
        db.put("k", "v").unwrap();
        db.flush().unwrap();
        let metrics = db.metrics();
        assert_eq!(metrics.flushes, round);
        assert!(before < metrics.flush_bytes, "{metrics:?}");
    }
}

#[test]
fn what_a_full_disk_left_undecided_is_counted_when_it_is_installed() {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let db = open(&(Arc::new(fs.clone()) as Arc<dyn Fs>), &options());
    let fill = || {
        // The next log segment is there, and named.
        db.wait_idle().unwrap();
        fs.set_plan(|op| {
            let is_manifest = matches!(op.file_name(), Some(FileName::Manifest(_)));
            (is_manifest && !op.kind.is_sync()).then_some(Fault::Enospc)
        });
    };
    let decide = |name: &str| {
        fs.clear_plan();
        db.keyspace(name).unwrap();
    };
    let flushed = || (db.metrics().flushes, db.metrics().flush_bytes);
    db.put("a", "v").unwrap();
    db.put("c", "v").unwrap();
    fill();
    db.flush().unwrap_err();
    assert_eq!(flushed(), (0, 0));
    decide("first");
    let first = db.metrics().disk.tables;
    assert_eq!(flushed(), (1, first));
    assert!(0 < first);

    // Another table of the same keys, so that a compaction merges the two rather than move one.
    db.put("b", "v").unwrap();
    db.flush().unwrap();
    let read = db.metrics().disk.tables;
    let compacted = || {
        let metrics = db.metrics();
        let (read, written) = (metrics.compaction_read_bytes, metrics.compaction_written_bytes);
        (metrics.compactions, read, written)
    };
    fill();
    db.compact::<&str>(..).unwrap_err();
    assert_eq!(compacted(), (0, 0, 0));
    decide("second");
    assert_eq!(compacted(), (1, read, db.metrics().disk.tables));
}

#[test]
fn the_block_cache_gives_way_to_fences_and_filters() {
    let budget = 512 << 10;
    let options = Options {
        memory_budget: Some(budget),
        memtable_size: Some(64 << 10),
        bloom_bits_per_key: 32,
        block_size: 256,
        read_mode: Some(ReadMode::Pread),
        ..options()
    };
    let db = open(&memory(), &options);
    for number in 0..20_000_u32 {
        db.put(number.to_be_bytes(), [7; 40]).unwrap();
    }
    db.compact::<&str>(..).unwrap();
    db.wait_idle().unwrap();
    let used = || db.metrics().memory;
    // Nothing was read, so the cache may have what the memtables leave.
    let read_all = || assert!((0..20_000_u32).all(|i| db.contains(i.to_be_bytes()).unwrap()));
    read_all();
    db.wait_idle().unwrap();
    assert!(budget as u64 / 8 < used().pinned, "{:?}", used());
    read_all();
    assert!(0 < used().block_cache);
    let memtables = 4 * (64 << 10);
    assert!(memtables + used().pinned + used().block_cache <= budget as u64, "{:?}", used());
}

#[test]
fn a_compaction_says_how_far_it_is() {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let db: Arc<OnceLock<Db>> = Arc::default();
    let (own, watched) = (Arc::clone(&seen), Arc::clone(&db));
    fs.before_each(move |op: &Op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_) | FileName::TableTemp(_)));
        if let (OpKind::Write, true, Some(db)) = (op.kind, is_table, watched.get()) {
            let levels = &db.levels()[0];
            let running = levels.compactions.iter();
            own.lock().extend(running.map(|job| ((job.from, job.inputs), job.progress)));
        }
    });
    let options = Options { table_size: 256 << 10, ..options() };
    let db = db.get_or_init(|| open(&(Arc::new(fs.clone()) as Arc<dyn Fs>), &options));
    // Two overlapping tables, so that the compaction moves none of them as it is.
    for round in 0..2 {
        for number in 0..4_000_u32 {
            db.put_with((2 * number + round).to_be_bytes(), [7; 300], &WriteOptions::default())
                .unwrap();
        }
        db.flush().unwrap();
    }
    assert!(seen.lock().is_empty());
    db.compact::<&str>(..).unwrap();
    fs.clear_hooks();
    let seen = seen.lock();
    for job in seen.chunk_by(|a, b| a.0 == b.0) {
        assert!(job.is_sorted_by_key(|(_, progress)| *progress), "{job:?}");
        assert!(job.iter().all(|(_, progress)| (0.0..=1.0).contains(progress)), "{job:?}");
    }
    assert!(seen.iter().any(|(_, progress)| (0.3..0.9).contains(progress)), "{seen:?}");
    assert!(db.levels()[0].compactions.is_empty());
}
