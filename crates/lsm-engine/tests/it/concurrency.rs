//! Many threads at once: each scenario has an oracle that holds whatever the interleaving, and
//! ends after a fixed amount of work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lsm_engine::{Durability, ErrorKind, Event, Options, Read, WriteOptions};

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
        db.close().unwrap();
    });
}
