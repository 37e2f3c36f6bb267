//! Background work that fails: who waits for it is told, and the rest goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lsm_base::FileName;
use lsm_base::fs::{Fault, FaultFs, Op, OpKind};
use lsm_engine::{Db, Durability, ErrorKind, Event, Health, Options, Read, WriteOptions};
use parking_lot::{Condvar, Mutex};

use crate::harness::{self, DIR, disk, open_with, orphans, small_options};
use crate::support::bounded;

const BUFFERED: WriteOptions =
    WriteOptions { durability: Some(Durability::Buffered), condition: None, stall_timeout: None };

fn is_table(op: &Op) -> bool {
    matches!(op.file_name(), Some(FileName::Table(_)))
}

/// Lets no table be read: a flush fails when it reads back what it wrote.
fn blind(fs: &FaultFs) {
    fs.set_plan(|op| (is_table(op) && op.kind == OpKind::Read).then_some(Fault::Eio));
}

#[test]
fn a_flush_that_fails_is_told_to_who_waits_for_it() {
    for interval in [Duration::from_millis(5), Duration::MAX] {
        bounded(move || {
            let (_, fs) = disk();
            let options = Options { compaction_interval: interval, ..small_options(1) };
            let db = open_with(&fs, options).unwrap();
            db.put_with("k", "v", &BUFFERED).unwrap();
            blind(&fs);
            assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::Io);
            assert_eq!(db.compact::<&str>(..).unwrap_err().kind(), ErrorKind::Io);
            assert_eq!(db.wait_idle().unwrap_err().kind(), ErrorKind::Io);
            assert_eq!(db.health(), Health::Running);
            // Who asks when it can be done has it done, whenever the worker would try again.
            fs.clear_plan();
            db.flush().unwrap();
            db.wait_idle().unwrap();
            db.put_with("k", "w", &BUFFERED).unwrap();
            blind(&fs);
            assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Io);
        });
    }
}

#[test]
fn a_write_does_not_wait_for_ever_for_a_flush_that_fails() {
    bounded(|| {
        let (_, fs) = disk();
        let interval = Duration::from_millis(5);
        let db =
            open_with(&fs, Options { compaction_interval: interval, ..small_options(1) }).unwrap();
        blind(&fs);
        let error = loop {
            if let Err(error) = db.put_with("k", [7; 500], &BUFFERED) {
                break error;
            }
        };
        assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::Io, false), "{error}");
        fs.clear_plan();
        // As soon as a flush succeeds there is room.
        while db.put_with("k", [7; 500], &BUFFERED).is_err() {}
        db.flush().unwrap();
    });
}

#[test]
fn a_damaged_table_does_not_keep_others_from_being_compacted() {
    for threads in [0, 1] {
        bounded(move || {
            let (_, fs) = disk();
            let options = Options { compaction_interval: Duration::MAX, ..small_options(0) };
            let db = open_with(&fs, options.clone()).unwrap();
            let damaged = db.keyspace("damaged").unwrap();
            for round in 0..2 {
                for i in 0..20_u32 {
                    damaged.put(i.to_be_bytes(), [round; 300]).unwrap();
                }
                db.flush().unwrap();
            }
            let name = harness::names(&fs, |name| matches!(name, FileName::Table(_))).remove(0);
            harness::patch_file(&fs, &name, 100, &[0xff; 8]);
            // More urgent than what is to come.
            for i in 0..8_u32 {
                damaged.put(i.to_be_bytes(), [7; 300]).unwrap();
                db.flush().unwrap();
            }
            db.close().unwrap();
            let options = Options { background_threads: threads, ..options };
            let db = open_with(&fs, options).unwrap();
            for i in 0..5_u32 {
                db.put((i % 2).to_be_bytes(), [7; 300]).unwrap();
                db.flush().unwrap();
            }
            assert_eq!(db.wait_idle().unwrap_err().kind(), ErrorKind::Corruption);
            let levels = db.levels();
            let of = |name: &str| levels.iter().find(|levels| levels.name == name).unwrap();
            assert!(of("default").levels[0].tables.len() < 4, "{:?}", of("default").levels[0]);
            assert!(4 <= of("damaged").levels[0].tables.len());
            // Who asks for it meets the damage, each time.
            for _ in 0..2 {
                assert_eq!(db.compact::<&str>(..).unwrap_err().kind(), ErrorKind::Corruption);
            }
            assert_eq!(db.health(), Health::Running);
            assert_goes_on(&db);
        });
    }
}

/// Contract C-6: whoever wants something else than the damaged place notices nothing.
fn assert_goes_on(db: &Db) {
    let damaged = db.keyspace("damaged").unwrap();
    let key = |i: u32| i.to_be_bytes();
    for space in [&db.keyspace("default").unwrap(), &damaged] {
        for i in 100..140 {
            space.put(key(i), [9; 300]).unwrap();
        }
        db.flush().unwrap();
        space.delete(key(139)).unwrap();
        let others = space.scan(key(100)..).map(|entry| entry.unwrap().1.to_vec());
        assert_eq!(others.collect::<Vec<_>>(), vec![vec![9; 300]; 39]);
        assert_eq!(space.get(key(138)).unwrap().unwrap(), &[9; 300]);
    }
    // Of the damaged table itself what lies in other blocks, beneath a newer table.
    for i in 8..20 {
        assert_eq!(damaged.get(key(i)).unwrap().unwrap(), &[1; 300]);
    }
    assert_eq!(damaged.scan(key(10)..key(100)).map(Result::unwrap).count(), 10);
    let met = damaged.prefix("").find_map(Result::err).expect("it is still damaged");
    assert_eq!(met.kind(), ErrorKind::Corruption);
    assert_eq!(db.health(), Health::Running);
}

#[test]
fn a_compaction_that_writes_stop_under_says_why_they_did() {
    let (_, fs) = disk();
    // Long enough for one compaction to ask now and then whether it is called off.
    let options = Options {
        memtable_size: Some(2 << 20),
        max_log_bytes: None,
        memory_budget: None,
        table_size: 8 << 20,
        ..small_options(0)
    };
    let db = open_with(&fs, options).unwrap();
    for _ in 0..2 {
        for i in 0..2_000_u32 {
            db.put_with(i.to_be_bytes(), [7; 300], &BUFFERED).unwrap();
        }
        db.flush().unwrap();
    }
    let before = fs.next_index();
    // The disk fills under the compaction, and another thread's write notices.
    let (writer, is_first) = (db.clone(), AtomicBool::new(true));
    fs.set_plan(|op| {
        let is_log = matches!(op.file_name(), Some(FileName::Log(_) | FileName::LogTemp(_)));
        (is_log && op.kind == OpKind::Write).then_some(Fault::Enospc)
    });
    fs.before_each(move |op| {
        if is_table(op) && op.kind == OpKind::Create && is_first.swap(false, Ordering::SeqCst) {
            writer.put("k", "v").unwrap_err();
        }
    });
    let error = db.compact::<&str>(..).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    let called_off = |op: &Op| before <= op.index && is_table(op) && op.kind == OpKind::Remove;
    assert!(fs.trace().iter().any(called_off), "it came to its end");
    fs.clear_plan();
    fs.clear_hooks();
    db.compact::<&str>(..).unwrap();
}

#[test]
fn a_table_that_cannot_be_unlinked_does_not_keep_the_log() {
    let (_, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    fs.set_plan(|op| (is_table(op) && op.kind == OpKind::Remove).then_some(Fault::Eio));
    for i in 0..400_u32 {
        db.put_with((i % 40).to_be_bytes(), [7; 300], &BUFFERED).unwrap();
    }
    db.compact::<&str>(..).unwrap();
    assert_eq!(db.wait_idle().unwrap_err().kind(), ErrorKind::Io);
    let logs = harness::names(&fs, |name| matches!(name, FileName::Log(_)));
    assert!(logs.len() <= 2, "{logs:?}");
    fs.clear_plan();
    db.wait_idle().unwrap();
    assert_eq!(harness::orphans(&fs, &db), [""; 0]);
}

#[test]
fn metrics_wait_for_no_sync() {
    bounded(|| {
        let (_, fs) = disk();
        let db = harness::open(&fs, 0).unwrap();
        let gate = Arc::new((Mutex::new((false, false)), Condvar::new()));
        let held = Arc::clone(&gate);
        fs.on_sync(move |path| {
            let name = path.file_name().and_then(|name| FileName::parse(name.to_str()?));
            if matches!(name, Some(FileName::Manifest(_))) {
                let (state, changed) = &*held;
                let mut state = state.lock();
                state.0 = true;
                changed.notify_all();
                changed.wait_while(&mut state, |(_, is_open)| !*is_open);
            }
        });
        std::thread::scope(|scope| {
            let creating = scope.spawn(|| db.keyspace("new").unwrap());
            let (state, changed) = &*gate;
            changed.wait_while(&mut state.lock(), |(is_reached, _)| !*is_reached);
            assert!(0 < db.metrics().disk.manifest);
            assert!(!creating.is_finished());
            state.lock().1 = true;
            changed.notify_all();
            creating.join().unwrap();
        });
    });
}

#[test]
fn a_listener_that_panics_leaves_no_write_without_its_answer() {
    bounded(|| {
        let (_, fs) = disk();
        let is_told = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_told);
        let panics = move |event: &Event| {
            // Once: what the keeper has left to tell, the close tells.
            let is_failure = matches!(event, Event::BackgroundError { .. });
            assert!(!is_failure || told.swap(true, Ordering::SeqCst), "planned");
        };
        let builder = Db::builder(harness::DIR).options(small_options(1)).listener(panics);
        let db = builder.fs(Arc::new(fs.clone())).open().unwrap();
        db.put("k", "v").unwrap();
        // No segment is being made, whose writes would fail before that of the batch.
        db.wait_idle().unwrap();
        fs.set_plan(|op| {
            let is_log = matches!(op.file_name(), Some(FileName::Log(_) | FileName::LogTemp(_)));
            (is_log && op.kind == OpKind::Write).then_some(Fault::Eio)
        });
        let write = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut batch = lsm_engine::WriteBatch::new();
            batch.put("k", "w");
            db.write_async(batch, &WriteOptions::default())
        }));
        let error = crate::support::wait(write.expect("no listener is called")).unwrap_err();
        assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::Io, true));
        assert!(matches!(db.health(), Health::Poisoned(_)));
        // A worker tells it, or the close would.
        while !is_told.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Poisoned);
    });
}

/// A store without threads, and how many events of a sort its listener was told.
fn open_counting(fs: &FaultFs, is_counted: fn(&Event) -> bool) -> (Db, Arc<AtomicU64>) {
    let told = Arc::new(AtomicU64::new(0));
    let own = Arc::clone(&told);
    let listener = move |event: &Event| {
        own.fetch_add(u64::from(is_counted(event)), Ordering::SeqCst);
    };
    let builder = Db::builder(DIR).options(small_options(0)).fs(Arc::new(fs.clone()));
    (builder.listener(listener).open().unwrap(), told)
}

/// What happens to a keyspace while its compaction runs is no compaction.
#[test]
fn a_compaction_whose_keyspace_is_dropped_is_neither_counted_nor_told() {
    let (_, fs) = disk();
    let (db, told) = open_counting(&fs, |event| matches!(event, Event::Compacted { .. }));
    let doomed = db.keyspace("doomed").unwrap();
    for value in ["1", "2"] {
        doomed.put("k", value).unwrap();
        db.flush().unwrap();
    }
    let handle = Mutex::new(Some(db.clone()));
    fs.before_each(move |op: &Op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_)));
        if is_table
            && op.kind == OpKind::Create
            && let Some(db) = handle.lock().take()
        {
            db.drop_keyspace("doomed").unwrap();
        }
    });
    db.compact::<&str>(..).unwrap();
    fs.clear_hooks();
    assert_eq!(db.keyspaces().unwrap().len(), 1, "the compaction was to write a table");
    assert_eq!((db.metrics().compactions, told.load(Ordering::SeqCst)), (0, 0));
    db.wait_idle().unwrap();
    assert_eq!(orphans(&fs, &db), [""; 0]);
}

/// The edit of the first attempt waits, undecided, until a second one is about to install its own.
#[test]
fn a_flush_whose_work_was_done_meanwhile_is_not_told() {
    let (_, fs) = disk();
    let (db, told) = open_counting(&fs, |event| matches!(event, Event::Flushed { .. }));
    db.put("k", [7; 300]).unwrap();
    // The next log segment is there, and named.
    db.wait_idle().unwrap();
    fs.set_plan(|op| match (op.file_name(), op.kind) {
        (Some(FileName::Manifest(_)), OpKind::Write) => Some(Fault::Enospc),
        (Some(FileName::Manifest(_)), OpKind::Create) => Some(Fault::Eintr),
        _ => None,
    });
    db.flush().unwrap_err();
    assert_eq!((db.health(), db.metrics().flushes), (Health::Running, 0));
    fs.clear_plan();
    db.flush().unwrap();
    let metrics = db.metrics();
    assert_eq!((metrics.flushes, metrics.flush_bytes), (1, metrics.disk.tables));
    assert_eq!(db.get("k").unwrap().unwrap(), &[7; 300]);
    db.wait_idle().unwrap();
    // The tables of the second are not in the tree, nor anywhere else.
    assert_eq!(told.load(Ordering::SeqCst), 0);
    assert_eq!(orphans(&fs, &db), [""; 0]);
}
