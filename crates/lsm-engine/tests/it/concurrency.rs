//! Many threads at once: each scenario has an oracle that holds whatever the interleaving, and
//! ends after a fixed amount of work.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use lsm_engine::base::Fs;
use lsm_engine::base::fs::{FaultFs, MemFs, Op, OpKind};
use lsm_engine::{
    Condition, Db, Durability, Error, ErrorKind, Event, Keyspace, Options, Read, Result,
    WriteBatch, WriteOptions,
};

use crate::support::{bounded, builder, memory, open, tiny};

#[test]
fn a_writer_that_meets_a_flush_at_the_commit_lock_is_not_forgotten() {
    bounded(|| {
        let db = open(&memory(), &Options { durability: Durability::Buffered, ..tiny() });
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            // Flushing an empty memtable holds the commit lock for a moment, and nothing else: a
            // writer that comes meanwhile cannot lead, and nobody else writes.
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        db.flush().unwrap();
                    }
                });
            }
            for i in 0..60_000_u32 {
                db.put(b"k", i.to_le_bytes()).unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn waiting_until_idle_waits_for_work_that_has_not_begun() {
    bounded(|| {
        let db = open(&memory(), &tiny());
        let buffered = WriteOptions::durability(Durability::Buffered);
        for round in 0..300_u32 {
            let before = db.metrics().flushes;
            // The last of these seals a memtable, and no worker has woken yet.
            while db.levels()[0].memtables.iter().all(|memtable| !memtable.is_sealed)
                && db.metrics().flushes == before
            {
                db.put_with(round.to_be_bytes(), [0; 1_000], &buffered).unwrap();
            }
            db.wait_idle().unwrap();
            let levels = &db.levels()[0];
            assert!(levels.memtables.iter().all(|memtable| !memtable.is_sealed), "{levels:?}");
            assert!(levels.levels[0].tables.len() < 4, "{:?}", levels.levels[0]);
        }
    });
}

#[test]
fn a_worker_that_panics_stops_writes_and_keeps_nobody_waiting() {
    bounded(|| {
        let panics = |event: &Event| assert!(!matches!(event, Event::Flushed { .. }), "planned");
        let db = builder(&memory(), &tiny()).listener(panics).open().unwrap();
        db.put("k", "v").unwrap();
        // The first flush is done by the time that the listener hears of it.
        db.flush().unwrap();
        let stopped = loop {
            match db.put("k", [0; 5_000]) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(stopped.kind(), ErrorKind::Poisoned);
        assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(db.wait_idle().unwrap_err().kind(), ErrorKind::Poisoned);
        assert!(db.contains("k").unwrap());
        assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Poisoned);
    });
}

/// Fills memtables, so that they rotate all the time.
const FILLER: [u8; 600] = [7; 600];

#[test]
fn counters_that_many_threads_increment_lose_nothing() {
    const THREADS: u64 = 8;
    const INCREMENTS: u64 = 400;
    bounded(|| {
        let db = open(&memory(), &tiny());
        let increment = |counter: &str, durability| {
            loop {
                let entry = db.get_entry(counter).unwrap();
                let count = entry.as_ref().map_or(0, |entry| number(&entry.value));
                let condition = match entry {
                    Some(entry) => Condition::Seq(entry.seq),
                    None => Condition::Absent,
                };
                let options = WriteOptions {
                    condition: Some(condition),
                    durability: Some(durability),
                    ..WriteOptions::default()
                };
                let mut value = (count + 1).to_le_bytes().to_vec();
                value.extend(FILLER);
                match db.put_with(counter, value, &options) {
                    Ok(_) => return,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
            }
        };
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let increment = &increment;
                scope.spawn(move || {
                    let durability = [Durability::Sync, Durability::Buffered][thread as usize % 2];
                    for i in 0..INCREMENTS {
                        increment(["a", "b", "c"][i as usize % 3], durability);
                    }
                });
            }
        });
        let counters = db.get_many(&["a", "b", "c"]).unwrap();
        let sum: u64 = counters.iter().flatten().map(|value| number(value)).sum();
        assert_eq!(sum, THREADS * INCREMENTS);
        assert!(10 < db.metrics().flushes);
    });
}

#[test]
fn a_batch_is_seen_whole_by_every_reader() {
    const PAIRS: u64 = 4;
    bounded(|| {
        let db = open(&memory(), &tiny());
        let other = db.keyspace("other").unwrap();
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..PAIRS)
                .map(|pair| {
                    let (db, other) = (db.clone(), &other);
                    scope.spawn(move || write_pairs(&db, other, pair, 1_500))
                })
                .collect();
            for reader in 0..2 {
                let (db, is_done) = (db.clone(), &is_done);
                scope.spawn(move || {
                    let mut last = [0; PAIRS as usize];
                    while !is_done.load(Ordering::Relaxed) {
                        read_pairs(&db, reader, &mut last);
                    }
                });
            }
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    db.compact::<&str>(..).unwrap();
                    db.wait_idle().unwrap();
                }
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            is_done.store(true, Ordering::Relaxed);
        });
        assert!(db.verify().unwrap().is_clean());
    });
}

/// Writes the same number to three places at once, again and again.
fn write_pairs(db: &Db, other: &Keyspace, pair: u64, rounds: u64) {
    for i in 1..=rounds {
        let mut batch = WriteBatch::new();
        let mut value = i.to_le_bytes().to_vec();
        value.extend(&FILLER[..i as usize % 600]);
        batch.put(format!("{pair}/left"), &value);
        batch.put_in(other, format!("{pair}/middle"), &value);
        batch.put(format!("{pair}/right"), &value);
        let durability = if i % 4 == 0 { Durability::Sync } else { Durability::Buffered };
        db.write(batch, &WriteOptions::durability(durability)).unwrap();
        let own = db.get(format!("{pair}/left")).unwrap().unwrap();
        assert_eq!(number(&own), i, "a thread reads its own write");
    }
}

/// Whatever way they are read, the places of a pair hold the same number, and never an older one
/// than before.
fn read_pairs(db: &Db, reader: u64, last: &mut [u64]) {
    for (pair, last) in last.iter_mut().enumerate() {
        let (left, right) = (format!("{pair}/left"), format!("{pair}/right"));
        let many = db.get_many(&[&left, &right]).unwrap();
        let scanned: Vec<_> = match reader {
            0 => db.prefix(format!("{pair}/")).map(|entry| entry.unwrap().1).collect(),
            _ => db.prefix(format!("{pair}/")).rev().map(|entry| entry.unwrap().1).collect(),
        };
        let snapshot = db.snapshot().unwrap();
        let middle = snapshot.keyspace("other").unwrap().get(format!("{pair}/middle")).unwrap();
        let kept = [snapshot.get(&right).unwrap(), middle, snapshot.get(&left).unwrap()];
        let ways = [many, scanned.into_iter().map(Some).collect(), kept.into()];
        for seen in ways {
            let mut numbers: Vec<u64> = seen.iter().flatten().map(|value| number(value)).collect();
            assert!(numbers.is_empty() || numbers.len() == seen.len(), "{numbers:?}");
            numbers.dedup();
            assert!(numbers.len() < 2, "{numbers:?}");
            let now = numbers.first().copied().unwrap_or(0);
            assert!(*last <= now, "{now} after {last}");
            *last = now;
        }
    }
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().unwrap())
}

#[test]
fn a_cursor_sees_all_up_to_the_sequence_that_it_tells() {
    bounded(|| {
        let db = open(&memory(), &tiny());
        db.put("k", FILLER).unwrap();
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        // Every write is to this key: its version is the last sequence.
                        let mut cursor = db.cursor().unwrap();
                        cursor.seek_to_first().unwrap();
                        assert_eq!(cursor.entry_seq(), cursor.seq());
                    }
                });
            }
            let buffered = WriteOptions::durability(Durability::Buffered);
            for _ in 0..20_000 {
                db.put_with("k", FILLER, &buffered).unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn closing_ends_every_call_and_nothing_is_written_after_it() {
    for round in 0..30 {
        bounded(move || close_under_load(round));
    }
}

fn close_under_load(round: u64) {
    let files = FaultFs::new(Arc::new(MemFs::new()));
    let fs: Arc<dyn Fs> = Arc::new(files.clone());
    let options = Options { background_threads: round as usize % 3, ..tiny() };
    let db = open(&fs, &options);
    let acknowledged: Vec<_> = (0..3).map(|_| AtomicU64::new(0)).collect();
    let is_closed = |error: Error| assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    let start = Barrier::new(7);
    let at_close = thread::scope(|scope| {
        for (writer, last) in acknowledged.iter().enumerate() {
            let (db, start) = (db.clone(), &start);
            scope.spawn(move || {
                let durability = [Durability::Sync, Durability::Buffered][writer % 2];
                let options = WriteOptions::durability(durability);
                start.wait();
                for i in 1.. {
                    let mut value = u64::to_le_bytes(i).to_vec();
                    value.extend(FILLER);
                    match db.put_with(writer.to_string(), value, &options) {
                        Ok(_) => last.store(i, Ordering::SeqCst),
                        Err(error) => return is_closed(error),
                    }
                }
            });
        }
        let calls: [fn(&Db) -> Result<()>; 3] = [
            |db| db.compact::<&str>(..),
            |db| db.keyspace("other").and_then(|_| db.drop_keyspace("other")),
            |db| {
                db.prefix("").try_for_each(|entry| entry.map(|_| ())).and_then(|()| db.wait_idle())
            },
        ];
        for call in calls {
            let (db, start) = (db.clone(), &start);
            scope.spawn(move || {
                start.wait();
                loop {
                    if let Err(error) = call(&db) {
                        return is_closed(error);
                    }
                }
            });
        }
        start.wait();
        while acknowledged.iter().any(|last| last.load(Ordering::SeqCst) < 20 + round) {
            thread::yield_now();
        }
        db.clone().close().unwrap();
        files.next_index()
    });
    let late = files.trace().into_iter().filter(|op| at_close <= op.index);
    let late: Vec<_> = late.filter(|op| !matches!(op.kind, OpKind::Read | OpKind::Open)).collect();
    // Threads that sync what they appended before the close may still be about to.
    let is_sync = |op: &&Op| op.kind == OpKind::SyncData;
    assert!(late.iter().all(|op| is_sync(&op)), "{late:?}");
    let db = open(&fs, &options);
    for (writer, last) in acknowledged.iter().enumerate() {
        let found = db.get(writer.to_string()).unwrap().unwrap();
        assert!(last.load(Ordering::SeqCst) <= number(&found));
    }
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn the_last_handle_closes_and_one_opener_has_the_store() {
    bounded(|| {
        let fs = memory();
        let db = open(&fs, &tiny());
        let users = db.keyspace("users").unwrap();
        users.put("k", "v").unwrap();
        let clone = db.clone();
        drop(db);
        thread::scope(|scope| {
            let second = scope.spawn(|| builder(&fs, &tiny()).open().unwrap_err().kind());
            assert_eq!(second.join().unwrap(), ErrorKind::Locked);
        });
        assert_eq!(users.get("k").unwrap().unwrap(), b"v");
        let mut cursor = users.cursor().unwrap();
        drop(clone);
        assert_eq!(users.get("k").unwrap().unwrap(), b"v");
        drop(users);
        assert_eq!(cursor.seek_to_first().unwrap_err().kind(), ErrorKind::Closed);
        let db = open(&fs, &tiny());
        assert!(db.recovery_report().was_closed);
        assert_eq!(db.keyspace("users").unwrap().get("k").unwrap().unwrap(), b"v");
    });
}

#[test]
fn a_keyspace_that_is_dropped_while_it_is_written_to_is_gone_for_good() {
    bounded(|| {
        let fs = memory();
        let db = open(&fs, &tiny());
        for round in 0..20_u64 {
            let doomed = db.keyspace("doomed").unwrap();
            let written = AtomicU64::new(0);
            thread::scope(|scope| {
                for writer in 0..3 {
                    let (db, doomed, written) = (&db, &doomed, &written);
                    scope.spawn(move || {
                        loop {
                            let mut batch = WriteBatch::new();
                            let count = (written.fetch_add(1, Ordering::SeqCst) + 1).to_le_bytes();
                            batch.put(format!("{writer}"), count);
                            batch.put_in(doomed, format!("{writer}"), FILLER);
                            let options = WriteOptions::durability(Durability::Buffered);
                            if let Err(error) = db.write(batch, &options) {
                                return assert_eq!(error.kind(), ErrorKind::Closed);
                            }
                        }
                    });
                }
                while written.load(Ordering::SeqCst) < 40 {
                    thread::yield_now();
                }
                db.drop_keyspace("doomed").unwrap();
            });
            assert_eq!(doomed.get("0").unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(db.keyspaces().unwrap().len(), 1, "round {round}");
        }
        db.close().unwrap();
        let db = open(&fs, &tiny());
        assert_eq!(db.prefix("").count(), 3);
        assert_eq!(db.keyspace("doomed").unwrap().prefix("").count(), 0);
    });
}

#[test]
fn a_condition_that_was_read_before_a_flush_is_read_again() {
    bounded(|| {
        let files = FaultFs::new(Arc::new(MemFs::new()));
        let fs: Arc<dyn Fs> = Arc::new(files.clone());
        let db = open(&fs, &Options { background_threads: 0, ..tiny() });
        let old = db.put("k", "old").unwrap();
        db.put("z", "other").unwrap();
        db.flush().unwrap();
        // The condition's reading is held where it touches the table for the first time.
        let (reached, passed) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (at_table, behind_table) = (Arc::clone(&reached), Arc::clone(&passed));
        let is_first = AtomicBool::new(true);
        files.after_each(move |op| {
            let is_held = thread::current().name() == Some("conditional");
            if is_held && op.kind == OpKind::Read && is_first.swap(false, Ordering::SeqCst) {
                at_table.wait();
                behind_table.wait();
            }
        });
        thread::scope(|scope| {
            let conditional = thread::Builder::new().name("conditional".into());
            let options = WriteOptions::condition(Condition::Seq(old));
            let db = &db;
            let write = move || db.put_with("k", "lost", &options).unwrap_err();
            let refused = conditional.spawn_scoped(scope, write).unwrap();
            reached.wait();
            // The version that forbids the write comes, and is not in memory any more.
            let new = db.put("k", "new").unwrap();
            db.flush().unwrap();
            passed.wait();
            assert_eq!(refused.join().unwrap().current(), Some(Some(new)));
        });
        assert_eq!(db.get("k").unwrap().unwrap(), b"new");
    });
}
