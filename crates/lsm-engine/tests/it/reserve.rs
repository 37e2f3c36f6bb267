//! What puts leave free of a disk, and what goes on within it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use lsm_base::fs::{FaultFs, Keep, MemFs, OpKind};
use lsm_base::testing::SplitMix64;
use lsm_base::{Fs, WriteBatch};
use lsm_engine::{Db, Durability, ErrorKind, Event, Health, Options, Read, WriteOptions};

use crate::harness::{self, DIR, kill, on};

const RESERVE: u64 = 512 << 10;

/// As much as the store can be asked to keep free, and to use beside it, in bytes.
const CAPACITY: u64 = 2 << 20;

const VALUE: [u8; 300] = [7; 300];

fn options(threads: usize) -> Options {
    Options { disk_reserve: Some(RESERVE), ..harness::small_options(threads) }
}

fn prepared(threads: usize) -> (MemFs, FaultFs, Db) {
    let (memory, fs) = harness::disk();
    memory.set_capacity(CAPACITY);
    let db = harness::open_with(&fs, options(threads)).unwrap();
    (memory, fs, db)
}

fn free(memory: &MemFs) -> u64 {
    memory.space(DIR.as_ref()).unwrap().free
}

/// Somebody else takes all but so many bytes of what is free.
fn take_but(memory: &MemFs, left: u64) {
    let space = memory.space(DIR.as_ref()).unwrap();
    memory.set_capacity(space.total - space.free + left);
}

fn buffered() -> WriteOptions {
    WriteOptions::durability(Durability::Buffered)
}

/// Puts until that is refused for good: what a compaction gives back is used too. Returns how many
/// were taken.
fn fill(db: &Db) -> u32 {
    let mut count = 0_u32;
    loop {
        match db.put_with(count.to_be_bytes(), VALUE, &buffered()) {
            Ok(_) => count += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                assert!(!error.is_undecided());
                // It may fail for a compaction that does not fit any more.
                let _ = db.wait_idle();
                if db.health() == Health::LowSpace {
                    return count;
                }
            }
        }
    }
}

fn check_content(db: &Db, range: std::ops::Range<u32>) {
    assert_eq!(db.prefix("").count(), range.len());
    for i in range {
        assert_eq!(db.get(i.to_be_bytes()).unwrap().unwrap(), &VALUE);
    }
}

#[test]
fn puts_leave_it_and_deletes_empty_the_disk() {
    for threads in [0, 2] {
        let (memory, fs, db) = prepared(threads);
        let count = fill(&db);
        assert!(2_000 < count, "{count} puts, with {threads} threads");
        assert_eq!(db.health(), Health::LowSpace, "{threads} threads, {:?}", fs.trace().last());
        check_content(&db, 0..count);
        // What works on: a flush, and each delete of nine in ten.
        db.flush().unwrap();
        assert!(RESERVE / 2 < free(&memory), "{} free", free(&memory));
        for i in 0..count / 10 * 9 {
            db.delete_with(i.to_be_bytes(), &buffered()).unwrap();
        }
        db.flush().unwrap();
        db.compact::<&str>(..).unwrap();
        db.wait_idle().unwrap();
        assert_eq!(db.health(), Health::Running, "{} free, {threads} threads", free(&memory));
        check_content(&db, count / 10 * 9..count);
        // And so do puts again, for as long as there is more than the reserve.
        db.put("k", VALUE).unwrap();
        assert!(1_000 < fill(&db));
        kill(&fs, db);
        let image = memory.crash(Keep::SyncedOnly);
        assert!(harness::open_with(&on(&image), options(0)).unwrap().get("k").unwrap().is_some());
    }
}

#[test]
fn a_batch_that_puts_anything_is_refused_whole() {
    let (_, _, db) = prepared(0);
    let count = fill(&db);
    let batch = |is_mixed: bool| {
        let mut batch = WriteBatch::new();
        batch.delete(0_u32.to_be_bytes());
        batch.delete(1_u32.to_be_bytes());
        if is_mixed {
            batch.put("k", "v");
        }
        batch
    };
    let refused = db.write(batch(true), &buffered()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    db.delete("k").unwrap();
    db.put(0_u32.to_be_bytes(), "v").unwrap_err();
    let queued = db.write_async(batch(true), &buffered());
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Err(error)) = pin!(queued).poll(&mut context) else { panic!("not refused") };
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    db.write(batch(false), &buffered()).unwrap();
    assert_eq!(db.prefix("").count() as u32, count - 2);
}

#[test]
fn what_others_take_is_noticed_and_what_they_give_back() {
    let (memory, fs) = harness::disk();
    let low = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&low);
    let listener = move |event: &Event| {
        if let Event::LowSpace { free, reserve } = event {
            assert!(free < reserve);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    };
    let builder = Db::builder(DIR).options(options(0)).listener(listener);
    let db = builder.fs(Arc::new(fs.clone())).open().unwrap();
    db.put("a", VALUE).unwrap();
    take_but(&memory, RESERVE - 1);
    db.wait_idle().unwrap();
    assert_eq!((db.health(), low.load(Ordering::SeqCst)), (Health::LowSpace, 1));
    assert_eq!(db.put("b", VALUE).unwrap_err().kind(), ErrorKind::NoSpace);
    db.delete("a").unwrap();
    db.flush().unwrap();
    // A close is as any other, and an open looks.
    db.close().unwrap();
    let db = harness::open_with(&fs, options(0)).unwrap();
    assert!(db.recovery_report().was_closed);
    assert_eq!(db.health(), Health::LowSpace);
    take_but(&memory, 4 * RESERVE);
    db.put("b", VALUE).unwrap();
    assert_eq!(db.health(), Health::Running);
    assert_eq!(db.prefix("").count(), 1);
}

/// The log takes as much as what is in memory. That what was written over again and again leaves a
/// small table is no reason to refuse a put: it waits for that.
#[test]
fn what_the_log_gives_back_counts() {
    for threads in [0, 1] {
        let (memory, fs) = harness::disk();
        memory.set_capacity(12 << 20);
        let large = Options {
            memory_budget: Some(32 << 20),
            memtable_size: Some(4 << 20),
            ..options(threads)
        };
        let db = harness::open_with(&fs, Options { max_log_bytes: None, ..large }).unwrap();
        for round in 0..20_000_u32 {
            let put = db.put_with((round % 8).to_be_bytes(), VALUE, &buffered());
            put.unwrap_or_else(|error| panic!("round {round}, {threads} threads: {error}"));
        }
        assert_eq!(db.health(), Health::Running);
    }
}

/// Were it begun, it would end in a full disk, and stop the deletes with it.
#[test]
fn a_compaction_that_does_not_fit_is_not_begun() {
    let (memory, fs) = harness::disk();
    let db = harness::open_with(&fs, options(0)).unwrap();
    for value in [[1; 300], VALUE] {
        for i in 0..1_000_u32 {
            db.put_with(i.to_be_bytes(), value, &buffered()).unwrap();
        }
        db.flush().unwrap();
    }
    take_but(&memory, RESERVE / 4);
    fs.clear_trace();
    assert_eq!(db.compact::<&str>(..).unwrap_err().kind(), ErrorKind::NoSpace);
    let written = fs.trace().into_iter().filter(|op| op.kind == OpKind::Create);
    assert_eq!(written.count(), 0, "what a compaction writes");
    assert_ne!(db.health(), Health::NoSpace);
    db.delete(0_u32.to_be_bytes()).unwrap();
    take_but(&memory, 8 << 20);
    db.compact::<&str>(..).unwrap();
    check_content(&db, 1..1_000);
}

#[test]
fn without_one_puts_meet_the_end_of_the_disk() {
    let (memory, fs) = harness::disk();
    memory.set_capacity(CAPACITY);
    let db = harness::open_with(&fs, Options { disk_reserve: Some(0), ..options(0) }).unwrap();
    let put = |i: u32| db.put_with(i.to_be_bytes(), VALUE, &buffered()).map(drop);
    put(0).unwrap();
    db.flush().unwrap();
    assert!(fs.trace().iter().all(|op| op.kind != OpKind::FreeSpace), "nobody looks");
    let end = (1..).find_map(|i| put(i).err()).unwrap();
    assert_eq!(db.health(), Health::NoSpace, "{end}");
    assert!(free(&memory) < RESERVE / 8);
}

#[test]
fn a_small_disk_is_used_up_to_its_reserve_with_default_options() {
    const DISK: u64 = 24 << 20;
    let (memory, fs) = harness::disk();
    memory.set_capacity(DISK);
    let open = || Db::builder(DIR).fs(Arc::new(fs.clone())).open();
    let db = open().unwrap();
    let mut random = SplitMix64::new(1);
    let value: Vec<u8> = (0..100 << 10).map(|_| random.next_u64() as u8).collect();
    let put = |db: &Db, i: u32| db.put(i.to_be_bytes(), &value);
    let mut count = 0;
    while db.health() != Health::LowSpace {
        match put(&db, count) {
            Ok(_) => count += 1,
            Err(_) => drop(db.wait_idle()),
        }
    }
    // Each keeps 100 KiB, and nothing has to be kept twice.
    assert!(150 < count, "{count} puts");
    db.close().unwrap();
    // It opens on that disk as it is, and can be emptied.
    let db = open().unwrap();
    assert_eq!(db.prefix("").count() as u32, count);
    for i in 0..count {
        db.delete(i.to_be_bytes()).unwrap();
    }
    // Another compaction may have been promised the space.
    let compacted = (0..10).find_map(|_| db.compact::<&str>(..).and_then(|()| db.wait_idle()).ok());
    assert_eq!((compacted, db.health()), (Some(()), Health::Running));
    assert_eq!(db.prefix("").count(), 0);
    put(&db, 0).unwrap();
}

/// A batch longer than the reserve has to be flushed too.
#[test]
fn a_batch_that_could_not_be_flushed_is_refused() {
    let (memory, _, db) = prepared(0);
    let mut random = SplitMix64::new(2);
    let mut value = vec![0; 700 << 10];
    random.fill(&mut value);
    let refused = (0_u32..).find_map(|i| db.put(i.to_be_bytes(), &value).err()).unwrap();
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    assert_ne!(db.health(), Health::NoSpace, "{} free", free(&memory));
    db.delete(0_u32.to_be_bytes()).unwrap();
    db.flush().unwrap();
    assert_ne!(db.health(), Health::NoSpace);
}

/// Somebody else has taken the whole disk, and given half of the reserve back: what the log has
/// beyond what is in memory ends that.
#[test]
fn what_is_in_memory_is_flushed_where_a_full_disk_has_a_little_space_again() {
    let (memory, fs) = harness::disk();
    memory.set_capacity(16 << 20);
    let large = Options {
        memory_budget: Some(32 << 20),
        memtable_size: Some(2 << 20),
        max_log_bytes: None,
        disk_reserve: Some(3 << 20),
        ..options(0)
    };
    let db = harness::open_with(&fs, large).unwrap();
    // The log takes 1.5 MiB, of which the table will have little.
    for i in 0..4_000_u32 {
        db.put_with((i % 8).to_be_bytes(), VALUE, &buffered()).unwrap();
    }
    take_but(&memory, 0);
    let mut large = WriteBatch::new();
    (0..64_u8).for_each(|i| large.delete([i; 60_000]));
    db.write(large, &buffered()).unwrap_err();
    assert_eq!(db.health(), Health::NoSpace);
    // Not enough for puts, but for a flush.
    take_but(&memory, 9 << 19);
    db.wait_idle().unwrap();
    assert_eq!(db.health(), Health::Running, "{} free", free(&memory));
    db.put_with("k", VALUE, &buffered()).unwrap();
    assert_eq!(db.prefix("").count(), 9);
}

/// Tables of small operations in large batches take more than their log.
#[test]
fn tables_that_are_larger_than_their_log_have_space_too() {
    for (threads, value_len) in [(0, 0), (1, 10), (1, 1_000)] {
        let (memory, fs) = harness::disk();
        memory.set_capacity(40 << 20);
        let options = Options { background_threads: threads, ..Options::default() };
        let db = harness::open_with(&fs, options).unwrap();
        let mut random = SplitMix64::new(3);
        let mut value = vec![0; value_len];
        let mut count = 0_u64;
        while db.health() == Health::Running {
            let mut batch = WriteBatch::new();
            for _ in 0..1_000 {
                random.fill(&mut value);
                // Keys that no prefix shortens.
                batch.put(random.next_u64().to_be_bytes(), &value);
            }
            match db.write(batch, &buffered()) {
                Ok(_) => count += 1_000,
                Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace),
            }
        }
        let state = (db.health(), free(&memory));
        assert_eq!(state.0, Health::LowSpace, "{threads}, {value_len}: {state:?} {count}");
        db.close().unwrap();
        let db = Db::builder(DIR).fs(Arc::new(fs.clone())).open().unwrap();
        assert_eq!(db.prefix("").count() as u64, count);
    }
}

/// A store with default options that holds 1,000 values of 3 KiB in memory, of whose disk others leave
/// so many bytes.
fn squeezed(threads: usize, left: u64) -> (MemFs, FaultFs, Db) {
    let (memory, fs) = harness::disk();
    memory.set_capacity(1 << 30);
    let reserve = Some(16 << 20);
    let options =
        Options { disk_reserve: reserve, background_threads: threads, ..Options::default() };
    let db = harness::open_with(&fs, options).unwrap();
    if threads != 0 {
        // Then the next segment is ready, and without it is not.
        db.wait_idle().unwrap();
    }
    for i in 0..1_000_u32 {
        db.put_with(i.to_be_bytes(), [7; 3 << 10], &buffered()).unwrap();
    }
    take_but(&memory, left);
    (memory, fs, db)
}

/// Nothing is begun to win space that does not fit what there is: deletes go on in the segment that the
/// log has.
#[test]
fn what_others_leave_is_not_used_up_for_a_flush_that_does_not_fit() {
    for threads in [0, 1] {
        // Too little for a segment, and too little for the tables behind it.
        for left in [100 << 10, 5 << 19] {
            let (memory, fs, db) = squeezed(threads, left);
            db.wait_idle().unwrap();
            assert_eq!(db.health(), Health::LowSpace, "{left} left, {threads} threads");
            for i in 0..500_u32 {
                db.delete_with(i.to_be_bytes(), &buffered()).unwrap();
            }
            assert_eq!(db.put("k", "v").unwrap_err().kind(), ErrorKind::NoSpace);
            assert_eq!((db.health(), free(&memory)), (Health::LowSpace, left));
            // Once it fits it is flushed, although there is too little for puts still.
            take_but(&memory, 7 << 20);
            db.wait_idle().unwrap();
            assert_eq!(db.health(), Health::Running, "{} free", free(&memory));
            assert_eq!(db.prefix("").count(), 500, "{threads} threads");
            kill(&fs, db);
        }
    }
}
