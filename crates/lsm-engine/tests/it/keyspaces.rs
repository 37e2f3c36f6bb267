//! Keyspaces that come and go while the disk refuses.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use lsm_base::FileName;
use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, OpKind};
use lsm_engine::{
    Db, Durability, ErrorKind, Health, Keyspace, Options, Read, Result, Seq, WriteBatch,
    WriteFuture, WriteOptions,
};
use parking_lot::Mutex;

use crate::harness::{self, disk, kill, on};
use crate::support::{bounded, wait};

/// Lets appends to a MANIFEST meet a full disk, and new ones this.
fn refuse_edits(fs: &FaultFs, create: Fault) {
    fs.set_plan(move |op| match (op.file_name(), op.kind) {
        (Some(FileName::Manifest(_)), OpKind::Write) => Some(Fault::Enospc),
        (Some(FileName::Manifest(_)), OpKind::Create) => Some(create),
        _ => None,
    });
}

#[test]
fn a_drop_that_was_not_begun_leaves_the_keyspace_as_it_was() {
    let (_, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    let kept = db.keyspace("kept").unwrap();
    // An edit before it is undecided, and stays so.
    refuse_edits(&fs, Fault::Eintr);
    let error = db.keyspace("other").unwrap_err();
    assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::Io, true), "{error}");
    let error = db.drop_keyspace("kept").unwrap_err();
    assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::Io, false), "{error}");
    assert_eq!(db.health(), Health::Running);
    kept.put("k", "v").unwrap();
    fs.clear_plan();
    kept.put("k", "w").unwrap();
    assert_eq!(db.keyspace("other").unwrap().name(), "other");
    db.drop_keyspace("kept").unwrap();
    assert_eq!(kept.put("k", "v").unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn an_undecided_edit_is_told_as_such() {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    let doomed = db.keyspace("doomed").unwrap();
    doomed.put("k", "v").unwrap();
    refuse_edits(&fs, Fault::Enospc);
    let error = db.drop_keyspace("doomed").unwrap_err();
    assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::Io, true), "{error}");
    // Begun, but not done: nothing is written to it, and it is there.
    assert_eq!(doomed.put("k", "w").unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(doomed.get("k").unwrap().unwrap(), b"v");
    let error = db.keyspace("new").unwrap_err();
    assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::NoSpace, false), "{error}");
    // With space it takes effect.
    fs.clear_plan();
    db.put("k", "v").unwrap();
    assert_eq!(db.keyspaces().unwrap().len(), 1);
    assert_eq!(doomed.put("k", "w").unwrap_err().kind(), ErrorKind::Closed);
    drop(doomed);
    kill(&fs, db);
    assert_eq!(harness::open(&on(&memory), 0).unwrap().keyspaces().unwrap().len(), 1);
}

#[test]
fn a_failed_append_leaves_the_edit_to_the_next_open() {
    let (_, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    fs.set_plan(|op| match (op.file_name(), op.kind) {
        (Some(FileName::Manifest(_)), OpKind::SyncData) => Some(Fault::Eio),
        _ => None,
    });
    let error = db.keyspace("new").unwrap_err();
    assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::Io, true), "{error}");
    assert!(matches!(db.health(), Health::Poisoned(_)));
    let error = db.keyspace("new").unwrap_err();
    assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::Poisoned, false), "{error}");
}

/// What a drop leaves of writes that come while the MANIFEST is written for it.
struct Behind {
    /// The outcome of one to the keyspace that is dropped.
    dropped: Result<Seq>,
    /// The outcomes of a buffered and of a synced one to another.
    others: [Result<Seq>; 2],
    /// The disk at that moment, page cache and all.
    image: MemFs,
}

/// Drops a keyspace, and writes behind the drop as soon as it has its place in commit order.
fn drop_and_write(
    db: &Db,
    doomed: &Keyspace,
    memory: &MemFs,
    fs: &FaultFs,
) -> (Result<()>, Behind) {
    let at_manifest = Arc::new(Mutex::new(None));
    let (writes, db_behind, id, disk) =
        (Arc::clone(&at_manifest), db.clone(), doomed.id(), memory.clone());
    fs.before_each(move |op| {
        let is_manifest = matches!(op.file_name(), Some(FileName::Manifest(_)));
        if !is_manifest || op.kind != OpKind::Write || writes.lock().is_some() {
            return;
        }
        let write = |durability, put: &dyn Fn(&mut WriteBatch)| {
            let mut batch = WriteBatch::new();
            put(&mut batch);
            db_behind.write_async(batch, &WriteOptions::durability(durability))
        };
        let mut queued: [WriteFuture; 3] = [
            write(Durability::Buffered, &|batch| batch.put_in(id, "behind", "v")),
            write(Durability::Buffered, &|batch| batch.put("buffered", "v")),
            write(Durability::Sync, &|batch| batch.put("synced", "v")),
        ];
        for write in &mut queued {
            let poll = std::pin::Pin::new(write).poll(&mut Context::from_waker(Waker::noop()));
            assert!(poll.is_pending(), "answered before the drop is on disk: {poll:?}");
        }
        *writes.lock() = Some((queued, disk.crash(Keep::Everything)));
    });
    let result = db.drop_keyspace(doomed.name());
    fs.clear_hooks();
    let (queued, image) = at_manifest.lock().take().expect("a drop writes to the MANIFEST");
    let [dropped, buffered, synced] = queued.map(wait);
    (result, Behind { dropped, others: [buffered, synced], image })
}

/// A store with threads and a keyspace in it.
fn with_doomed() -> (MemFs, FaultFs, Db, Keyspace) {
    let (memory, fs) = disk();
    // The keeper looks often whether a full disk has space again.
    let options =
        Options { compaction_interval: Duration::from_millis(1), ..harness::small_options(1) };
    let db = harness::open_with(&fs, options).unwrap();
    let doomed = db.keyspace("doomed").unwrap();
    doomed.put("before", "v").unwrap();
    db.wait_idle().unwrap();
    (memory, fs, db, doomed)
}

#[test]
fn what_comes_behind_a_drop_is_begun_when_the_drop_is_on_disk() {
    bounded(|| {
        let (memory, fs, db, doomed) = with_doomed();
        let (result, behind) = drop_and_write(&db, &doomed, &memory, &fs);
        result.unwrap();
        assert_eq!(behind.dropped.unwrap_err().kind(), ErrorKind::Closed);
        assert!(behind.others.iter().all(Result::is_ok), "{:?}", behind.others);
        assert!(db.contains("buffered").unwrap() && db.contains("synced").unwrap());
        // Had the process died then, the drop would be undone, and nothing behind it done.
        let db = harness::open(&on(&behind.image), 0).unwrap();
        assert_eq!(db.keyspace("doomed").unwrap().get("before").unwrap().unwrap(), b"v");
        assert_eq!(db.prefix("").count(), 0);
    });
}

#[test]
fn nothing_is_begun_behind_a_drop_that_fails() {
    bounded(|| {
        let (memory, fs, db, doomed) = with_doomed();
        fs.set_plan(|op| match (op.file_name(), op.kind) {
            (Some(FileName::Manifest(_)), OpKind::SyncData) => Some(Fault::Eio),
            _ => None,
        });
        let (result, behind) = drop_and_write(&db, &doomed, &memory, &fs);
        assert!(result.unwrap_err().is_undecided());
        for outcome in behind.others.into_iter().chain([behind.dropped]) {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Poisoned);
        }
    });
}

#[test]
fn nothing_is_begun_behind_a_drop_that_a_full_disk_leaves_undecided() {
    bounded(|| {
        let (memory, fs, db, doomed) = with_doomed();
        refuse_edits(&fs, Fault::Enospc);
        let (result, behind) = drop_and_write(&db, &doomed, &memory, &fs);
        assert!(result.unwrap_err().is_undecided());
        for outcome in behind.others.into_iter().chain([behind.dropped]) {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NoSpace);
        }
        assert_eq!(doomed.get("before").unwrap().unwrap(), b"v");
        fs.clear_plan();
        while let Err(error) = db.put("k", "v") {
            assert_eq!(error.kind(), ErrorKind::NoSpace);
            thread::yield_now();
        }
        assert_eq!(db.keyspaces().unwrap().len(), 1, "decided before a write is taken");
    });
}

#[test]
fn a_drop_that_is_undecided_on_a_disk_with_space_has_its_place_where_it_takes_effect() {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    let doomed = db.keyspace("doomed").unwrap();
    doomed.put("before", "v").unwrap();
    refuse_edits(&fs, Fault::Eintr);
    let error = db.drop_keyspace("doomed").unwrap_err();
    assert_eq!((error.is_undecided(), db.health()), (true, Health::Running), "{error}");
    // It refuses writes, and others go on: they stand before the drop.
    assert_eq!(doomed.put("k", "v").unwrap_err().kind(), ErrorKind::Closed);
    db.put("other", "v").unwrap();
    let image = memory.crash(Keep::SyncedOnly);
    let found = harness::open(&on(&image), 0).unwrap();
    assert!(found.contains("other").unwrap());
    assert_eq!(found.keyspace("doomed").unwrap().get("before").unwrap().unwrap(), b"v");
    // The next edit decides it.
    fs.clear_plan();
    db.keyspace("new").unwrap();
    assert_eq!(doomed.get("before").unwrap_err().kind(), ErrorKind::Closed);
}
