//! How far a long call is, as another thread sees it: looked at before every operation of the disk.

use std::sync::Arc;

use lsm_base::fs::{FaultFs, Op};
use lsm_engine::{Db, Durability, Options, Progress, WriteOptions};
use parking_lot::Mutex;

use crate::harness;

/// What was seen of a call: bytes done, and in all.
type Sightings = Arc<Mutex<Vec<(u64, u64)>>>;

/// Runs a call, and checks what is seen of it on the way: how many different places it was at.
fn watch(fs: &FaultFs, call: impl FnOnce(&Progress)) -> usize {
    let progress = Progress::new();
    let sightings = Sightings::default();
    let (seen, seen_by_hook) = (progress.clone(), Arc::clone(&sightings));
    fs.before_each(move |_: &Op| {
        let done = seen.done_bytes();
        seen_by_hook.lock().push((done, seen.total_bytes()));
    });
    call(&progress);
    fs.clear_hooks();
    let total = progress.total_bytes();
    assert!(total != 0);
    assert_eq!((progress.done_bytes(), progress.fraction()), (total, 1.0), "the end is everything");
    let sightings = sightings.lock();
    let mut last = 0;
    let mut places = 0;
    for (done, of) in sightings.iter().copied() {
        assert!(last <= done && done < of.max(1), "{done} of {of} after {last}");
        // The keeper may look at the disk before the call has begun.
        assert!(of == total || (of, done) == (0, 0), "the total changed from {of} to {total}");
        places += usize::from(last < done && done < total);
        last = done;
    }
    places
}

/// Writes keys all over the range, with values that no codec makes shorter.
fn fill(db: &Db, bytes: usize, seed: u64) {
    const LEN: usize = 1_000;
    let options = WriteOptions::durability(Durability::Buffered);
    let mut random = seed;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..bytes / LEN {
        let value: Vec<u8> = (0..LEN / 8).flat_map(|_| next().to_le_bytes()).collect();
        db.put_with(next().to_be_bytes(), value, &options).unwrap();
    }
}

/// A few large tables, of which each is written and read in many steps.
fn large_options(background_threads: usize) -> Options {
    Options {
        memory_budget: Some(64 << 20),
        memtable_size: Some(8 << 20),
        table_size: 4 << 20,
        ..harness::small_options(background_threads)
    }
}

#[test]
fn a_flush_tells_how_far_it_is() {
    for threads in [0, 1] {
        let (_, fs) = harness::disk();
        let options = Options { max_log_bytes: None, ..large_options(threads) };
        let db = harness::open_with(&fs, options).unwrap();
        fill(&db, 4 << 20, 1);
        let places = watch(&fs, |progress| db.flush_with(progress).unwrap());
        assert!(4 <= places, "{places} with {threads} threads");
        // Nothing is left, and the end of that is told too.
        let progress = Progress::new();
        db.flush_with(&progress).unwrap();
        assert_eq!(progress.done_bytes(), progress.total_bytes());
    }
}

#[test]
fn a_compaction_tells_how_far_it_is() {
    let small = Options { max_log_bytes: None, ..harness::small_options(0) };
    for (options, least) in [(small, 16), (large_options(0), 8), (large_options(1), 8)] {
        let (_, fs) = harness::disk();
        let options = Options { max_log_bytes: None, ..options };
        let db = harness::open_with(&fs, options).unwrap();
        for seed in 1..4 {
            fill(&db, 1 << 20, seed);
            db.flush().unwrap();
        }
        db.wait_idle().unwrap();
        // This much is in memory still.
        fill(&db, 10_000, 7);
        let places = watch(&fs, |progress| db.compact_with::<&[u8]>(.., progress).unwrap());
        assert!(least <= places, "{places}");
    }
}

#[test]
fn a_verification_tells_how_far_it_is() {
    for (options, least) in [(harness::small_options(0), 100), (large_options(0), 8)] {
        let (_, fs) = harness::disk();
        let db = harness::open_with(&fs, Options { max_log_bytes: None, ..options }).unwrap();
        fill(&db, 4 << 20, 1);
        db.compact::<&[u8]>(..).unwrap();
        fill(&db, 10_000, 2);
        let places = watch(&fs, |progress| {
            assert!(db.verify_with(progress).unwrap().is_clean());
        });
        assert!(least <= places, "{places}");
    }
}

#[test]
fn a_call_that_fails_does_not_tell_that_it_is_done() {
    let (_, fs) = harness::disk();
    let db = harness::open_with(&fs, harness::small_options(0)).unwrap();
    db.put("k", "v").unwrap();
    let progress = Progress::new();
    fs.set_plan(|op| {
        op.path.to_string_lossy().ends_with(".sst").then_some(lsm_base::fs::Fault::Eio)
    });
    db.flush_with(&progress).unwrap_err();
    assert!(progress.done_bytes() < progress.total_bytes());
}
