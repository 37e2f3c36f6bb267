//! Keyspaces that come and go while the disk refuses.

use lsm_base::FileName;
use lsm_base::fs::{Fault, FaultFs, OpKind};
use lsm_engine::{ErrorKind, Health, Read};

use crate::harness::{self, disk, kill, on};

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
