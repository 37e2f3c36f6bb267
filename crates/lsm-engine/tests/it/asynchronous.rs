//! Asynchronous writes: in the order of the calls, whoever polls, beside everything else.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use lsm_engine::base::Fs;
use lsm_engine::base::fs::{Keep, MemFs};
use lsm_engine::{
    Condition, Db, Durability, ErrorKind, Options, Read, WriteBatch, WriteFuture, WriteOptions,
};

use crate::support::{bounded, builder, memory, open, tiny, wait};

fn put(db: &Db, key: &str, value: &str, durability: Durability) -> WriteFuture {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    db.write_async(batch, &WriteOptions::durability(durability))
}

#[test]
fn a_buffered_write_is_done_at_the_call() {
    let db = open(&memory(), &Options::default());
    let mut write = Box::pin(put(&db, "k", "v", Durability::Buffered));
    let seq = match write.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => panic!("nobody else writes, so there is nothing to wait for"),
    };
    assert_eq!(db.get_entry("k").unwrap().unwrap().seq, seq);
}

#[test]
fn writes_are_committed_in_the_order_of_the_calls() {
    bounded(|| {
        let fs = memory();
        let db = open(&fs, &tiny());
        thread::scope(|scope| {
            for writer in 0..4 {
                let db = &db;
                scope.spawn(move || {
                    let key = format!("key{writer}");
                    let mut writes = Vec::new();
                    for i in 0..800_u32 {
                        let durability = [Durability::Sync, Durability::Buffered][i as usize % 2];
                        // Memtables rotate, so that some of these wait for room.
                        let value = format!("{i:0700}");
                        writes.push(put(db, &key, &value, durability));
                    }
                    let seqs: Vec<_> =
                        writes.into_iter().map(|write| wait(write).unwrap()).collect();
                    assert!(seqs.is_sorted_by(|a, b| a < b));
                    assert_eq!(db.get(&key).unwrap().unwrap(), format!("{:0700}", 799).as_bytes());
                });
            }
            // Threads that wait for themselves write beside them.
            scope.spawn(|| {
                for i in 0..300_u32 {
                    db.put("own", [i as u8; 500]).unwrap();
                }
            });
        });
        assert!(10 < db.metrics().flushes);
        assert_eq!(db.metrics().puts, 4 * 800 + 300);
        db.close().unwrap();
    });
}

#[test]
fn a_write_that_nobody_waits_for_happens() {
    bounded(|| {
        let fs = MemFs::new();
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let db = open(&shared, &Options::default());
        for i in 0..100 {
            drop(put(&db, &format!("{i:03}"), "v", Durability::Sync));
        }
        // Behind all of them, and synced: when it is done they are on disk.
        wait(put(&db, "last", "v", Durability::Sync)).unwrap();
        let image: Arc<dyn Fs> = Arc::new(fs.crash(Keep::SyncedOnly));
        let found = open(&image, &Options::default());
        assert_eq!(found.prefix("").count(), 101);
    });
}

#[test]
fn the_close_answers_every_write() {
    bounded(|| {
        for round in 0..50 {
            let fs = memory();
            let db = open(&fs, &tiny());
            let other = db.clone();
            let writing = thread::spawn(move || {
                let mut writes = Vec::new();
                loop {
                    let key = format!("{:05}", writes.len());
                    let write = put(&other, &key, &"v".repeat(200), Durability::Sync);
                    writes.push(write);
                    if other.get("").is_err_and(|error| error.kind() == ErrorKind::Closed) {
                        return writes;
                    }
                }
            });
            while db.metrics().puts < round {
                thread::yield_now();
            }
            db.close().unwrap();
            let outcomes: Vec<_> = writing.join().unwrap().into_iter().map(wait).collect();
            let written = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
            for refused in &outcomes[written..] {
                assert_eq!(refused.as_ref().unwrap_err().kind(), ErrorKind::Closed);
            }
            let found = open(&fs, &tiny());
            assert_eq!(found.prefix("").count(), written, "in round {round}");
        }
    });
}

#[test]
fn without_threads_the_call_does_the_work() {
    let db = open(&memory(), &Options { background_threads: 0, ..tiny() });
    for i in 0..100 {
        let mut write = Box::pin(put(&db, &format!("{i}"), &"v".repeat(1_000), Durability::Sync));
        assert!(write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
    assert!(1 < db.metrics().flushes);
}

/// A condition is refused whoever does the work, so that what works in a test works elsewhere.
#[test]
fn a_condition_is_refused_with_and_without_threads() {
    for background_threads in [0, 1] {
        let db = open(&memory(), &Options { background_threads, ..Options::default() });
        let mut batch = WriteBatch::new();
        batch.put("k", "v");
        let condition = WriteOptions::condition(Condition::Absent);
        let refusal = wait(db.write_async(batch, &condition)).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::InvalidArgument);
        assert_eq!(db.get("k").unwrap(), None);
    }
}

#[test]
fn what_cannot_be_written_is_refused_when_it_is_awaited() {
    let fs = memory();
    let db = open(&fs, &Options::default());
    let refused =
        |batch, options: &WriteOptions| wait(db.write_async(batch, options)).unwrap_err().kind();
    let mut empty_key = WriteBatch::new();
    empty_key.put("", "v");
    assert_eq!(refused(empty_key, &WriteOptions::default()), ErrorKind::InvalidArgument);
    let mut one = WriteBatch::new();
    one.put("k", "v");
    let before = db.seq();
    assert_eq!(wait(db.write_async(WriteBatch::new(), &WriteOptions::default())).unwrap(), before);
    db.close().unwrap();
    let reader = builder(&fs, &Options::default()).open_read_only().unwrap();
    let refusal = wait(reader.write_async(one, &WriteOptions::default())).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::ReadOnly);
}
