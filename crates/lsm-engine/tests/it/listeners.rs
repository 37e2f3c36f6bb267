//! Listeners that do what they must not: nobody but who runs them suffers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use lsm_engine::base::fs::{FaultFs, MemFs, Op, OpKind};
use lsm_engine::base::{FileName, Fs};
use lsm_engine::{Db, Durability, ErrorKind, Event, Options, Read, WriteBatch, WriteOptions};
use parking_lot::{Condvar, Mutex};

use crate::support::{bounded, builder, memory, tiny, wait};

const BUFFERED: WriteOptions =
    WriteOptions { condition: None, durability: Some(Durability::Buffered), stall_timeout: None };

/// Panics at the first event of a sort, once it is armed.
#[derive(Clone, Default)]
struct Bomb(Arc<AtomicBool>);

impl Bomb {
    fn arm(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_armed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn listener(&self, is_meant: fn(&Event) -> bool) -> impl Fn(&Event) + Send + Sync + 'static {
        let armed = Arc::clone(&self.0);
        move |event| assert!(!is_meant(event) || !armed.swap(false, Ordering::SeqCst), "planned")
    }
}

/// A store that no table is created for until the gate is open, and that has no room left.
fn full(listener: impl Fn(&Event) + Send + Sync + 'static) -> (Db, Arc<(Mutex<bool>, Condvar)>) {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let own = Arc::clone(&gate);
    fs.before_each(move |op: &Op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_) | FileName::TableTemp(_)));
        if op.kind == OpKind::Create && is_table {
            own.1.wait_while(&mut own.0.lock(), |is_open| !*is_open);
        }
    });
    let db = builder(&(Arc::new(fs) as Arc<dyn Fs>), &tiny()).listener(listener).open().unwrap();
    let short =
        WriteOptions { stall_timeout: Some(std::time::Duration::from_millis(25)), ..BUFFERED };
    let refused = (0..).find_map(|i: u32| db.put_with(i.to_be_bytes(), [7; 900], &short).err());
    assert_eq!(refused.unwrap().kind(), ErrorKind::Busy);
    (db, gate)
}

fn open(gate: &(Mutex<bool>, Condvar)) {
    *gate.0.lock() = true;
    gate.1.notify_all();
}

fn put_async(db: &Db, key: &str) -> lsm_engine::WriteFuture {
    let mut batch = WriteBatch::new();
    batch.put(key, [7; 900]);
    db.write_async(batch, &BUFFERED)
}

#[test]
fn one_that_panics_at_a_stall_leaves_no_write_without_its_answer() {
    bounded(|| {
        let bomb = Bomb::default();
        let (db, gate) = full(bomb.listener(|event| matches!(event, Event::Stalled { .. })));
        bomb.arm();
        thread::scope(|scope| {
            let writers: Vec<_> = ["a", "b", "c"]
                .map(|key| {
                    let db = &db;
                    scope.spawn(move || db.put_with(key, [7; 900], &BUFFERED))
                })
                .into();
            let tasks = ["d", "e"].map(|key| put_async(&db, key));
            open(&gate);
            let mut outcomes: Vec<_> = tasks.into_iter().map(wait).collect();
            for writer in writers {
                outcomes.push(writer.join().expect("no writer runs the listener"));
            }
            for error in outcomes.into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
            }
        });
        // It does run, on a worker or with the close.
        let closed = catch_unwind(AssertUnwindSafe(|| db.close()));
        assert!(!bomb.is_armed(), "{closed:?}");
    });
}

#[test]
fn one_that_blocks_at_a_stall_keeps_no_write_waiting() {
    bounded(|| {
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(Some(released));
        let is_armed = Arc::new(AtomicBool::new(false));
        let armed = Arc::clone(&is_armed);
        let (db, gate) = full(move |event| {
            if matches!(event, Event::Stalled { .. }) && armed.load(Ordering::SeqCst) {
                // The first waits until the test is over, and the others pass.
                let first = released.lock().take();
                first.map(|released| released.recv());
            }
        });
        is_armed.store(true, Ordering::SeqCst);
        thread::scope(|scope| {
            let writers: Vec<_> = ["a", "b"]
                .map(|key| {
                    let db = &db;
                    scope.spawn(move || db.put_with(key, [7; 900], &BUFFERED))
                })
                .into();
            let task = put_async(&db, "c");
            open(&gate);
            wait(task).unwrap();
            writers.into_iter().for_each(|writer| assert!(writer.join().unwrap().is_ok()));
        });
        drop(release);
    });
}

#[test]
fn one_that_blocks_at_a_flush_keeps_no_verification_waiting() {
    bounded(|| {
        let (told, hears) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let listener = move |event: &Event| {
            if matches!(event, Event::Flushed { .. }) {
                told.send(()).unwrap();
                let _ = released.lock().recv();
            }
        };
        let db = builder(&memory(), &tiny()).listener(listener).open().unwrap();
        db.put("k", "v").unwrap();
        db.flush().unwrap();
        hears.recv().unwrap();
        assert!(db.verify().unwrap().is_clean());
        drop(release);
    });
}

/// A store without threads: each call tells what it did.
fn alone(listener: impl Fn(&Event) + Send + Sync + 'static) -> Db {
    let options = Options { background_threads: 0, ..tiny() };
    builder(&memory(), &options).listener(listener).open().unwrap()
}

#[test]
fn one_that_panics_hears_of_a_flush_when_the_write_that_needed_it_is_done() {
    bounded(|| {
        let bomb = Bomb::default();
        let db = alone(bomb.listener(|event| matches!(event, Event::Flushed { .. })));
        bomb.arm();
        let written = |key: u32| {
            let put = || db.put_with(key.to_be_bytes(), [7; 900], &BUFFERED);
            catch_unwind(AssertUnwindSafe(put)).is_ok()
        };
        let key = (0..).find(|key| !written(*key)).unwrap();
        assert!(db.contains(key.to_be_bytes()).unwrap(), "written before the listener is told");
        assert!(written(key + 1));
        db.close().unwrap();
    });
}

#[test]
fn one_that_panics_at_a_compaction_leaves_it_ended() {
    bounded(|| {
        let bomb = Bomb::default();
        let db = alone(bomb.listener(|event| matches!(event, Event::Compacted { .. })));
        for i in 0..100_u32 {
            db.put_with((i % 10).to_be_bytes(), [7; 900], &BUFFERED).unwrap();
        }
        bomb.arm();
        let compact = || db.compact::<&str>(..);
        catch_unwind(AssertUnwindSafe(compact)).unwrap_err();
        compact().unwrap();
        db.wait_idle().unwrap();
        assert!(db.levels()[0].levels[..6].iter().all(|level| level.tables.is_empty()));
    });
}

#[test]
fn one_that_panics_while_its_thread_unwinds_ends_nothing_else() {
    let fs = memory();
    let options = Options { background_threads: 0, ..tiny() };
    let listener = |_: &Event| panic!("planned");
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let db = builder(&fs, &options).listener(listener).open().unwrap();
        db.put("k", "v").unwrap();
        // The last handle goes, and the close flushes, which the listener is told.
        panic!("the first")
    }));
    assert_eq!(ended.unwrap_err().downcast_ref(), Some(&"the first"));
    let db = builder(&fs, &options).open().unwrap();
    assert!(db.recovery_report().was_closed);
}
