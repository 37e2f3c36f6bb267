//! A disk that cannot be written to, or that becomes so: every call that would change it gets an
//! error and leaves nothing behind, and every read goes on. (Contract E-5.)

use std::path::Path;
use std::sync::Arc;

use lsm_base::Fs;
use lsm_base::fs::{Fault, FaultFs, Op, OpKind};
use lsm_engine::{Db, ErrorKind, Health, Read, Result};

use crate::harness::{DIR, changes_the_disk, disk, kill, open, small_options, tree};

const KEYS: u32 = 200;

fn value(key: u32) -> [u8; 100] {
    [key as u8; 100]
}

/// A store with tables, and a log unless it was closed.
fn store(is_closed: bool) -> FaultFs {
    let (_, fs) = disk();
    let db = open(&fs, 0).unwrap();
    for key in 0..KEYS {
        db.put(key.to_be_bytes(), value(key)).unwrap();
        if key == KEYS / 2 {
            db.flush().unwrap();
        }
    }
    match is_closed {
        true => db.close().unwrap(),
        false => kill(&fs, db),
    }
    fs
}

fn open_read_only(fs: &FaultFs) -> Result<Db> {
    let builder = Db::builder(DIR).options(small_options(0));
    builder.fs(Arc::new(fs.clone())).open_read_only()
}

/// Whether the keys are all there, by each way to read, and nothing else.
#[track_caller]
fn assert_has(db: &Db, keys: &[u32]) {
    let found = db.prefix("").map(Result::unwrap).map(|(key, found)| {
        let key = u32::from_be_bytes((*key).try_into().unwrap());
        assert_eq!(*found, value(key), "{key}");
        key
    });
    assert_eq!(found.collect::<Vec<_>>(), keys);
    let snapshot = db.snapshot().unwrap();
    for key in keys {
        assert_eq!(db.get(key.to_be_bytes()).unwrap().unwrap(), &value(*key));
        assert!(snapshot.contains(key.to_be_bytes()).unwrap());
    }
}

fn all_keys() -> Vec<u32> {
    (0..KEYS).collect()
}

#[test]
fn an_open_is_refused_without_a_trace_and_one_for_reading_has_everything() {
    for is_closed in [true, false] {
        let fs = store(is_closed);
        let before = tree(&fs);
        // Whoever has the lock, as where LOCK alone can be written to, is refused behind it.
        for has_lock in [false, true] {
            fs.set_plan(move |op| (!(has_lock && op.kind == OpKind::Lock)).then_some(Fault::Erofs));
            let error = open(&fs, 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            assert!(error.to_string().contains("Read-only file system"), "{error}");
            assert_eq!(error.to_string().contains("LOCK"), !has_lock, "{error}");
            assert_eq!(tree(&fs), before, "lock: {has_lock}");
        }
        fs.set_plan(|_| Some(Fault::Erofs));
        let refused = fs.injected();
        let db = open_read_only(&fs).unwrap();
        assert_has(&db, &all_keys());
        assert!(db.verify().unwrap().is_clean());
        assert_eq!(db.put("k", "v").unwrap_err().kind(), ErrorKind::ReadOnly);
        db.close().unwrap();
        assert_eq!(fs.injected(), refused, "it wanted to change something");
        assert_eq!(tree(&fs), before);
    }
}

#[test]
fn a_store_is_not_begun_on_it() {
    let (memory, fs) = disk();
    fs.set_plan(|_| Some(Fault::Erofs));
    let error = open(&fs, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(!memory.exists(Path::new(DIR)).unwrap());
    assert_eq!(open_read_only(&fs).unwrap_err().kind(), ErrorKind::MissingFile);
}

/// From this change of the disk on every one is refused, and every sync if `syncs_fail`.
fn read_only_from(first: u32, syncs_fail: bool) -> impl FnMut(&Op) -> Option<Fault> + Send {
    let mut seen = 0;
    move |op| {
        seen += u32::from(changes_the_disk(op));
        (first < seen && (syncs_fail || !op.kind.is_sync())).then_some(Fault::Erofs)
    }
}

#[test]
fn a_disk_that_becomes_read_only_in_an_open_loses_nothing() {
    for is_closed in [true, false] {
        for first in 0.. {
            let fs = store(is_closed);
            let before = fs.injected();
            fs.set_plan(read_only_from(first, true));
            let opened = open(&fs, 0).map(drop);
            if fs.injected() == before {
                opened.unwrap();
                assert!(5 < first, "an open makes more changes than {first}");
                break;
            }
            // What fails behind the last change that an open needs is no failure of the open.
            if let Err(error) = opened {
                assert_eq!(error.kind(), ErrorKind::Io, "{first}: {error}");
            }
            assert_has(&open_read_only(&fs).unwrap(), &all_keys());
            fs.clear_plan();
            assert_has(&open(&fs, 0).unwrap(), &all_keys());
        }
    }
}

/// Writes, flushes, compacts, and makes keyspaces. Says which keys were acknowledged, and how many
/// calls were refused.
fn change_everything(db: &Db) -> (Vec<u32>, u32) {
    let (mut acked, mut refused) = (all_keys(), 0);
    let mut check = |result: Result<()>| match result {
        Ok(()) => assert_eq!(refused, 0, "a call succeeded behind one that was refused"),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned), "{error}");
            // At once, and not only when a later call fails too.
            assert!(matches!(db.health(), Health::Poisoned(_)), "{:?}, {error}", db.health());
            refused += 1;
        }
    };
    for key in KEYS..KEYS + 150 {
        let put = db.put(key.to_be_bytes(), value(key)).map(drop);
        if put.is_ok() {
            acked.push(key);
        }
        check(put);
    }
    check(db.flush());
    check(db.keyspace("new").map(drop));
    check(db.compact::<&str>(..));
    check(db.sync());
    (acked, refused)
}

#[test]
fn a_disk_that_becomes_read_only_beneath_an_open_store_stops_writes_alone() {
    let mut stopped = 0;
    for (threads, syncs_fail) in [(0, true), (0, false), (1, true)] {
        for first in (0..400).step_by(7) {
            let fs = store(false);
            let db = open(&fs, threads).unwrap();
            db.wait_idle().unwrap();
            let snapshot = db.snapshot().unwrap();
            fs.set_plan(read_only_from(first, syncs_fail));
            let (acked, refused) = change_everything(&db);
            assert_has(&db, &acked);
            assert_eq!(snapshot.prefix("").count(), KEYS as usize);
            assert!(db.verify().unwrap().is_clean());
            if refused != 0 {
                stopped += 1;
            }
            drop(snapshot);
            let closed = db.close();
            assert!(refused == 0 || closed.is_err(), "{first}");
            // What was not acknowledged may be there by now.
            let opens: [fn(&FaultFs) -> Result<Db>; 2] = [open_read_only, |fs| open(fs, 0)];
            for open in opens {
                let db = open(&fs).unwrap();
                for key in &acked {
                    assert_eq!(db.get(key.to_be_bytes()).unwrap().unwrap(), &value(*key), "{key}");
                }
                drop(db);
                fs.clear_plan();
            }
        }
    }
    assert!(60 < stopped, "{stopped} runs came to a refusal");
}
