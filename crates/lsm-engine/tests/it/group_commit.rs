//! Group commit: how many syncs many writers need, and who waits for one.
//!
//! A sync of the log takes as long as the test's own clock says: it waits at a turnstile for the
//! next tick.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lsm_engine::base::fs::{FaultFs, MemFs, OpKind};
use lsm_engine::base::{FileName, Fs};
use lsm_engine::{Db, Durability, Options, Read, WriteBatch, WriteOptions};
use parking_lot::{Condvar, Mutex};

use crate::support::{bounded, open, wait};

const WRITERS: u64 = 16;

/// Where syncs of the log wait for the clock.
#[derive(Default)]
struct Turnstile {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_on: bool,
    /// Syncs that came, and ticks that let one of them through.
    arrived: u64,
    ticks: u64,
}

impl State {
    fn is_waiting(&self) -> bool {
        self.ticks < self.arrived
    }
}

impl Turnstile {
    fn pass(&self) {
        let mut state = self.state.lock();
        if state.is_on {
            state.arrived += 1;
            self.changed.notify_all();
            let own = state.arrived;
            self.changed.wait_while(&mut state, |state| state.is_on && state.ticks < own);
        }
    }

    fn switch(&self, is_on: bool) {
        self.state.lock().is_on = is_on;
        self.changed.notify_all();
    }

    fn wait_for_arrival(&self, number: u64) {
        self.changed.wait_while(&mut self.state.lock(), |state| state.arrived < number);
    }

    fn tick(&self) {
        self.state.lock().ticks += 1;
        self.changed.notify_all();
    }
}

/// A store whose log syncs wait at the turnstile.
fn open_behind(turnstile: &Arc<Turnstile>) -> Db {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let db = open(&(Arc::new(fs.clone()) as Arc<dyn Fs>), &Options::default());
    // By then the next segment is ready, and the only syncs are those of the log in use. Its file
    // is known here by the name that it was made under.
    db.wait_idle().unwrap();
    let own = Arc::clone(turnstile);
    fs.on_sync(move |path: &Path| {
        let name = path.file_name().and_then(|name| FileName::parse(name.to_str()?));
        if matches!(name, Some(FileName::Log(_) | FileName::LogTemp(_))) {
            own.pass();
        }
    });
    turnstile.switch(true);
    db
}

#[test]
fn many_synced_writers_share_their_syncs() {
    const WRITES: u64 = 50;
    bounded(|| {
        let turnstile = Arc::new(Turnstile::default());
        let db = open_behind(&turnstile);
        let appended = || db.metrics().wal_appended_bytes;
        db.put_with("00/00", "v", &WriteOptions::durability(Durability::Buffered)).unwrap();
        let record = appended();
        // Writers that have calls left to make.
        let live = AtomicU64::new(WRITERS);
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (db, live) = (db.clone(), &live);
                scope.spawn(move || {
                    for i in 0..WRITES {
                        db.put(format!("{writer:02}/{i:02}"), "v").unwrap();
                    }
                    live.fetch_sub(1, Ordering::SeqCst);
                });
            }
            // A millisecond is long: while a sync lasts, every writer that has a call left to
            // make has it in the log, where it waits to be visible. What is visible is looked at
            // last, so that none is counted that has just become so.
            while live.load(Ordering::SeqCst) != 0 {
                let waiting = turnstile.state.lock().is_waiting();
                let in_log = (appended() / record).checked_sub(db.seq().get());
                if waiting && in_log == Some(live.load(Ordering::SeqCst)) {
                    turnstile.tick();
                }
                thread::yield_now();
            }
        });
        turnstile.switch(false);
        let syncs = turnstile.state.lock().arrived;
        println!("{} synced writes by {WRITERS} threads took {syncs} syncs", WRITERS * WRITES);
        assert!(0 < syncs && syncs <= WRITERS * WRITES / 4, "{syncs} syncs");
        assert_eq!(db.prefix("").count() as u64, WRITERS * WRITES);
    });
}

#[test]
fn buffered_writers_wait_for_no_sync_but_one_ahead_of_them() {
    bounded(|| {
        let turnstile = Arc::new(Turnstile::default());
        let db = open_behind(&turnstile);
        let buffered = WriteOptions::durability(Durability::Buffered);
        for i in 0..1_000_u32 {
            db.put_with(i.to_be_bytes(), "v", &buffered).unwrap();
        }
        assert_eq!(turnstile.state.lock().arrived, 0);
        thread::scope(|scope| {
            let synced = scope.spawn(|| db.put("synced", "v").unwrap());
            turnstile.wait_for_arrival(1);
            assert_eq!(db.metrics().puts, 1_001, "counted when it is in the log");
            let behind = scope.spawn(|| {
                let seq = db.put_with("behind", "v", &buffered).unwrap();
                assert!(db.contains("synced").unwrap(), "visible before what stands ahead");
                seq
            });
            // What is not on disk is not visible, and a reader does not wait for it.
            assert!(!db.contains("synced").unwrap() && !db.contains("behind").unwrap());
            turnstile.tick();
            assert!(synced.join().unwrap() < behind.join().unwrap());
        });
        assert_eq!(turnstile.state.lock().arrived, 1);
        turnstile.switch(false);
    });
}

#[test]
fn synced_writes_of_one_thread_share_their_syncs() {
    const WRITES: u64 = 200;
    bounded(|| {
        let turnstile = Arc::new(Turnstile::default());
        let db = open_behind(&turnstile);
        let writes: Vec<_> = (0..WRITES)
            .map(|i| {
                let mut batch = WriteBatch::new();
                batch.put(i.to_be_bytes(), "v");
                db.write_async(batch, &WriteOptions::durability(Durability::Sync))
            })
            .collect();
        // All are queued. The first sync began with some of them, the second has the rest.
        turnstile.wait_for_arrival(1);
        assert_eq!(db.prefix("").count(), 0);
        turnstile.switch(false);
        for write in writes {
            wait(write).unwrap();
        }
        assert!(turnstile.state.lock().arrived <= 2);
        assert_eq!(db.prefix("").count() as u64, WRITES);
    });
}

#[test]
fn no_writer_waits_for_the_write_back_of_the_log() {
    bounded(|| {
        let turnstile = Arc::new(Turnstile::default());
        let fs = FaultFs::new(Arc::new(MemFs::new()));
        let db = open(&(Arc::new(fs.clone()) as Arc<dyn Fs>), &Options::default());
        db.wait_idle().unwrap();
        let own = Arc::clone(&turnstile);
        fs.before_each(move |op| {
            if op.kind == OpKind::StartWriteback {
                own.pass();
            }
        });
        turnstile.switch(true);
        let buffered = WriteOptions::durability(Durability::Buffered);
        let value = vec![1; 1 << 20];
        for i in 0..6_u32 {
            db.put_with(i.to_be_bytes(), &value, &buffered).unwrap();
        }
        // The keeper came to it, and stands there while others write and sync.
        turnstile.wait_for_arrival(1);
        db.put("synced", "v").unwrap();
        turnstile.switch(false);
    });
}
