//! What a leader takes in one go, which of it makes a group, and what a generation has room for.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lsm_base::fs::MemFs;

use super::handover::Pace;
use super::request::Turn;
use super::*;
use crate::options::Condition;
use crate::{Db, Options, Read};

/// A store that nothing happens in but what the test does.
fn store(memtable_size: usize, max_log_bytes: Option<u64>) -> Db {
    let options = Options {
        background_threads: 0,
        memtable_size: Some(memtable_size),
        max_log_bytes,
        ..Options::default()
    };
    Db::builder("db").options(options).fs(Arc::new(MemFs::new())).open().unwrap()
}

/// A write of so many bytes that waits in the queue.
fn enqueue(db: &Db, key: usize, len: usize, condition: Option<Condition>) -> Arc<Request> {
    let mut batch = WriteBatch::new();
    batch.put(format!("key{key:02}").as_bytes(), vec![b'v'; len]);
    let inner = db.inner();
    let check = condition.map(|condition| Check::prepare(inner, condition, &batch).unwrap());
    let request = Request::of_thread(Arc::new(batch), Durability::Buffered, None, check);
    let request = Arc::new(request);
    inner.commit().handover.enqueue(Arc::clone(&request));
    request
}

/// The sequence of a write that was led to its end.
fn seq_of(request: &Request) -> u64 {
    assert_eq!(request.wait(None), Turn::Done);
    match request.take_outcome() {
        Outcome::Answered(answer) => answer.unwrap().get(),
        Outcome::ReadAgain => panic!("the version is the last one"),
    }
}

/// Whether this write is the first that nobody has led yet.
fn is_next(db: &Db, request: &Arc<Request>) -> bool {
    let mut next = None;
    db.inner().commit().handover.pop_if(|first| {
        next = Some(std::ptr::from_ref(first));
        false
    });
    next == Some(Arc::as_ptr(request))
}

fn groups(db: &Db) -> (u64, u64) {
    let groups = db.metrics().write_group_size;
    (groups.count(), groups.max())
}

#[test]
fn a_leader_takes_a_mebibyte_and_one_in_passing_a_sixteenth() {
    for (led_bytes, log_len, whole, moment) in [
        (0, 1, true, true),
        (0, 64 << 10, true, true),
        (1, 64 << 10, true, false),
        ((64 << 10) - 1, 1, true, true),
        (64 << 10, 1, true, false),
        ((1 << 20) - 1, 1 << 30, true, false),
        (1 << 20, 1, false, false),
        ((1 << 20) + 1, 1, false, false),
    ] {
        let context = format!("{log_len} after {led_bytes}");
        assert_eq!(Pace::Whole.takes(led_bytes, log_len), whole, "{context}");
        assert_eq!(Pace::Moment.takes(led_bytes, log_len), moment, "{context}");
    }
}

#[test]
fn what_is_led_in_passing_is_one_group_of_so_many_bytes() {
    let db = store(1 << 20, None);
    let (before, _) = groups(&db);
    let taken = [0, 1, 2].map(|key| enqueue(&db, key, 20 << 10, None));
    let left = enqueue(&db, 3, 30 << 10, None);
    db.inner().commit().handover.lead_in_passing(db.inner());
    assert_eq!(taken.map(|request| seq_of(&request)), [1, 2, 3]);
    assert_eq!(groups(&db), (before + 1, 3));
    assert!(is_next(&db, &left));
    db.inner().commit().handover.lead_in_passing(db.inner());
    assert_eq!(seq_of(&left), 4);
}

#[test]
fn what_is_put_back_for_its_group_counts_once() {
    let db = store(1 << 20, None);
    let (before, _) = groups(&db);
    let plain = enqueue(&db, 0, 20 << 10, None);
    // Its turn comes when what stands before it is in memory, so not in that group.
    let conditional = enqueue(&db, 1, 30 << 10, Some(Condition::Absent));
    let left = enqueue(&db, 2, 30 << 10, None);
    db.inner().commit().handover.lead_in_passing(db.inner());
    assert_eq!((seq_of(&plain), seq_of(&conditional)), (1, 2));
    assert_eq!(groups(&db).0, before + 2);
    assert!(is_next(&db, &left));
}

#[test]
fn a_group_ends_where_its_generation_is_full() {
    // The arena is full first, or the segment.
    for (memtable_size, max_log_bytes, len) in
        [(32 << 10, None, 5 << 10), (64 << 10, Some(16 << 10), 1 << 10)]
    {
        let db = store(memtable_size, max_log_bytes);
        let inner = db.inner();
        let requests: Vec<_> = (0..10).map(|key| enqueue(&db, key, len, None)).collect();
        let log_len = requests[0].log_len();
        inner.wal().prepare(log_len).unwrap();
        inner.commit().handover.lead_in_passing(inner);
        let seqs: Vec<_> = requests.iter().map(|request| seq_of(request)).collect();
        assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
        let super_version = inner.super_versions.load();
        let [sealed] = &super_version.sealed[..] else { panic!("{:?}", super_version.sealed) };
        let last = sealed.generation.last_seq().unwrap().get();
        assert!((1..10).contains(&last), "{last} of 10 in the first generation");
        assert_eq!(sealed.generation.log_bytes(), Some(last * log_len));
        assert_eq!(super_version.active.generation.number, sealed.generation.number + 1);
        assert_eq!(db.metrics().wal_appended_bytes, 10 * log_len);
        for key in 0..10 {
            let value = db.get(format!("key{key:02}")).unwrap().unwrap();
            assert_eq!(value.len(), len);
        }
    }
}

/// A table must not tell what the log may lose: what was sealed with it would have a gap.
#[test]
fn a_flush_has_the_log_synced_up_to_what_it_writes() {
    let db = store(1 << 20, None);
    let inner = db.inner();
    let mut batch = WriteBatch::new();
    batch.put("key", "value");
    let request = Arc::new(Request::of_thread(Arc::new(batch), Durability::Sync, None, None));
    inner.commit().handover.enqueue(Arc::clone(&request));
    inner.commit().handover.lead_in_passing(inner);
    assert_eq!(inner.visible().get(), 0, "nobody has synced it");
    inner.wal().prepare(0).unwrap();
    assert!(inner.commit().try_seal(inner));
    assert!(inner.flush_oldest().unwrap());
    assert_eq!(inner.visible().get(), 1);
}

#[test]
fn pressure_is_told_how_full_a_generation_is() {
    for (memtable_size, max_log_bytes, len) in
        [(64 << 10, None, 24 << 10), (1 << 20, Some(64 << 10), 12 << 10)]
    {
        let db = store(memtable_size, max_log_bytes);
        let options = &db.inner().options;
        let room = options.segment_size.min(memtable_size as u64);
        let fill = len as f64 / room as f64;
        assert_eq!(db.metrics().write_pressure, 0.0);
        db.put("key", vec![b'v'; len]).unwrap();
        // There is no segment behind this one: nothing is left but what is free of it.
        let pressure = db.metrics().write_pressure;
        assert!((fill..1.1 * fill).contains(&pressure), "{pressure} of {fill}");
        db.inner().wal().prepare(0).unwrap();
        db.put("key", b"v").unwrap();
        let share = pressure / (options.max_sealed as f64 + 1.0);
        let pressure = db.metrics().write_pressure;
        assert!((share..1.1 * share).contains(&pressure), "{pressure} of {share}");
    }
}

#[test]
fn the_thread_that_calls_wakers_ends_with_the_store() {
    let db = Db::builder("db").fs(Arc::new(MemFs::new())).open().unwrap();
    let wakers = Arc::downgrade(&db.inner().commit().wakers());
    // The thread begins with the first write that may need it.
    drop(db.write_async(WriteBatch::new(), &crate::WriteOptions::default()));
    db.close().unwrap();
    let closed = Instant::now();
    // Nobody joins it: what a waker does may take as long as it likes.
    while 0 < wakers.strong_count() {
        assert!(closed.elapsed() < Duration::from_secs(60), "the thread still has them");
        thread::yield_now();
    }
}
