//! What a close answers: whether everything acknowledged is in safety.

use lsm_base::fs::{Fault, FaultFs, Keep, Op, OpKind};
use lsm_base::{FileName, Fs};
use lsm_engine::{Db, Durability, ErrorKind, Health, Read, Result, WriteOptions};

use crate::harness::{self, disk, on};

const BUFFERED: WriteOptions =
    WriteOptions { durability: Some(Durability::Buffered), condition: None, stall_timeout: None };

fn is_table(op: &Op) -> bool {
    matches!(op.file_name(), Some(FileName::Table(_)))
}

/// A store that holds a buffered write, and in which a flush has failed in this way.
fn after_failed_flush(kind: OpKind, fault: Fault) -> (lsm_base::fs::MemFs, FaultFs, Db) {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    db.put_with("k", "v", &BUFFERED).unwrap();
    fs.set_plan(move |op| (is_table(op) && op.kind == kind).then_some(fault));
    db.flush().unwrap_err();
    (memory, fs, db)
}

fn synced_content(memory: &lsm_base::fs::MemFs) -> Result<bool> {
    harness::open(&on(&memory.crash(Keep::SyncedOnly)), 0)?.contains("k")
}

#[test]
fn a_store_that_stopped_says_so_when_it_is_closed() {
    let (_, fs, db) = after_failed_flush(OpKind::SyncData, Fault::Eio);
    assert!(matches!(db.health(), Health::Poisoned(_)), "{:?}", db.health());
    fs.clear_plan();
    let index = fs.next_index();
    assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Poisoned);
    let late: Vec<_> = fs.trace().into_iter().filter(|op| index <= op.index).collect();
    assert!(late.iter().all(|op| !op.kind.is_change() && !op.kind.is_sync()), "{late:?}");
}

#[test]
fn a_full_disk_is_told_and_the_log_synced() {
    let (memory, fs, db) = after_failed_flush(OpKind::Write, Fault::Enospc);
    assert_eq!(db.health(), Health::NoSpace);
    // Nor is there space for what the close would write.
    fs.set_plan(|op| {
        let is_new = matches!(op.kind, OpKind::Create | OpKind::Write | OpKind::Allocate);
        is_new.then_some(Fault::Enospc)
    });
    assert_eq!(db.close().unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(synced_content(&memory).unwrap());
}

#[test]
fn a_flush_that_fails_in_the_close_is_told_and_the_log_synced() {
    let (memory, _, db) = after_failed_flush(OpKind::Read, Fault::Eio);
    assert_eq!(db.health(), Health::Running);
    assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Io);
    assert!(synced_content(&memory).unwrap());
}

#[test]
fn a_close_leaves_tables_and_what_names_them() {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    let last = db.put("k", "v").unwrap();
    db.close().unwrap();
    let left = harness::names(&memory, |_| true);
    let kinds: Vec<_> = left.iter().map(|name| name.split(['-', '.']).next_back()).collect();
    assert_eq!(kinds, ["sst", "CURRENT", "LOCK", &left[3]["MANIFEST-".len()..]].map(Some));
    for keep in [Keep::SyncedOnly, Keep::Everything] {
        let db = harness::open(&on(&memory.crash(keep)), 0).unwrap();
        assert!(db.recovery_report().was_closed);
        assert_eq!(db.put("k", "w").unwrap().get(), last.get() + 1);
    }
}

/// What the close would write besides is for the next open's convenience.
#[test]
fn a_close_that_cannot_begin_a_manifest_leaves_the_log_to_be_replayed() {
    for fault in [Fault::Enospc, Fault::Emfile] {
        let (memory, fs) = disk();
        let db = harness::open(&fs, 0).unwrap();
        db.put_with("k", "v", &BUFFERED).unwrap();
        fs.set_plan(move |op| {
            let is_manifest = matches!(op.file_name(), Some(FileName::Manifest(_)));
            (is_manifest && op.kind == OpKind::Create).then_some(fault)
        });
        db.close().unwrap();
        assert!(synced_content(&memory).unwrap());
        let db = harness::open(&on(&memory), 0).unwrap();
        assert!(!db.recovery_report().was_closed);
        assert_eq!(db.recovery_report().replayed_records, 0);
        assert_eq!(harness::orphans(&on(&memory), &db), [""; 0]);
    }
}

/// An error of a close is about what may not be on disk.
#[test]
fn a_log_that_cannot_be_unlinked_is_no_failure_of_the_close() {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    let last = db.put("k", "v").unwrap();
    fs.set_plan(|op| {
        let is_left = matches!(op.file_name(), Some(FileName::Log(_) | FileName::Manifest(_)));
        (is_left && op.kind == OpKind::Remove).then_some(Fault::Eio)
    });
    db.close().unwrap();
    assert!(fs.injected() != 0, "nobody tried");
    fs.clear_plan();
    let logs = harness::names(&memory, |name| matches!(name, FileName::Log(_)));
    assert!(!logs.is_empty());
    let db = harness::open(&fs, 0).unwrap();
    assert!(db.recovery_report().was_closed);
    assert_eq!(db.recovery_report().replayed_records, 0);
    assert_eq!(harness::orphans(&memory, &db), [""; 0]);
    assert_eq!(db.put("k", "w").unwrap().get(), last.get() + 1);
}

/// The sync that makes CURRENT name the new MANIFEST fails, and forgets it; what the process sees is
/// the new one. An open that looks for space goes by neither: a power loss brings the old one back.
#[test]
fn what_a_close_left_undecided_keeps_the_log_on_a_full_disk() {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    db.put("k", "v").unwrap();
    let mut is_renamed = false;
    fs.set_plan(move |op| {
        let is_current = matches!(op.file_name(), Some(FileName::Current | FileName::CurrentTemp));
        is_renamed |= is_current && op.kind == OpKind::Rename;
        (is_renamed && op.kind == OpKind::SyncDir).then_some(Fault::ForgettingSync)
    });
    db.close().unwrap_err();
    let fs = on(&memory);
    // There is space for the segment at the second try, whose sync makes what was unlinked so for good.
    let mut tries = 0;
    fs.set_plan(move |op| {
        tries += u32::from(op.kind == OpKind::Allocate);
        match op.kind {
            OpKind::Allocate if tries == 1 => Some(Fault::Enospc),
            OpKind::Create if op.file_name() == Some(FileName::CurrentTemp) => Some(Fault::Eio),
            _ => None,
        }
    });
    harness::open(&fs, 0).unwrap_err();
    assert!(synced_content(&memory).unwrap());
    assert!(harness::open(&on(&memory), 0).unwrap().contains("k").unwrap());
}

/// A handle that outlives the close must not keep the space of what others remove then; a scan does,
/// until it is dropped.
#[test]
fn a_closed_database_holds_no_tables() {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    for i in 0..200_u32 {
        db.put_with(i.to_be_bytes(), [7; 300], &BUFFERED).unwrap();
    }
    db.compact::<&str>(..).unwrap();
    assert_eq!(db.prefix("").count(), 200);
    let (handle, snapshot) = (db.clone(), db.snapshot().unwrap());
    let scan = db.prefix("");
    db.close().unwrap();
    let free = || memory.space(harness::DIR.as_ref()).unwrap().free;
    let (before, mut removed) = (free(), 0);
    for entry in memory.list(harness::DIR.as_ref()).unwrap() {
        if let Some(FileName::Table(_)) = FileName::parse(&entry.name) {
            removed += entry.len;
            memory.remove(&std::path::Path::new(harness::DIR).join(entry.name)).unwrap();
        }
    }
    assert!(0 < removed);
    drop(scan);
    assert_eq!(free(), before + removed);
    for read in [handle.get([0; 4]), snapshot.get([0; 4])] {
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Closed);
    }
}
