//! A MANIFEST that has grown is begun anew, whatever happens meanwhile.

use std::path::Path;
use std::sync::{Arc, Mutex};

use lsm_base::fs::{Fault, Keep, MemFs, OpKind};
use lsm_base::{Error, FileName, Fs, Seq};
use lsm_compaction::{Replay, State, VersionEdit};
use lsm_engine::{Db, ErrorKind, Health, Read};
use lsm_wal::{JournalWriter, read_journal};

use crate::harness::{self, changes_the_disk, kill, names, on, open, orphans};

/// Creates and drops keyspaces until the MANIFEST has another number, or something fails.
fn grow(db: &Db, fs: &MemFs) -> lsm_engine::Result<usize> {
    let before = names(fs, |name| matches!(name, FileName::Manifest(_)));
    for count in 1.. {
        db.keyspace(&"n".repeat(64))?;
        db.drop_keyspace(&"n".repeat(64))?;
        if names(fs, |name| matches!(name, FileName::Manifest(_))) != before {
            return Ok(count);
        }
    }
    unreachable!("it is begun anew at some length")
}

fn prepared() -> (MemFs, lsm_base::fs::FaultFs, Db) {
    let (memory, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    db.put("in a table", "1").unwrap();
    db.flush().unwrap();
    db.put("in the log", "2").unwrap();
    (memory, fs, db)
}

fn check(memory: &MemFs) {
    let fs = on(memory);
    let db = open(&fs, 0).unwrap();
    assert_eq!(db.get("in a table").unwrap().unwrap(), b"1");
    assert_eq!(db.get("in the log").unwrap().unwrap(), b"2");
    assert_eq!(orphans(&fs, &db), [""; 0]);
    kill(&fs, db);
}

/// Whether an operation belongs to the change from one MANIFEST to the next.
fn is_rotation(op: &lsm_base::fs::Op) -> bool {
    let is_append = matches!(op.file_name(), Some(FileName::Manifest(1)));
    changes_the_disk(op) && !is_append
}

#[test]
fn a_power_loss_while_the_manifest_is_begun_anew_loses_nothing() {
    let (memory, fs, db) = prepared();
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, disk) = (Arc::clone(&images), memory.clone());
    fs.after_each(move |op| {
        if is_rotation(op) {
            let subsets = (0..24).map(|seed| Keep::Subset { seed });
            let keeps = subsets.chain([Keep::SyncedOnly, Keep::Everything]);
            taken.lock().unwrap().extend(keeps.map(|keep| disk.crash(keep)));
        }
    });
    let count = grow(&db, &memory).unwrap();
    fs.clear_hooks();
    db.wait_idle().unwrap();
    assert_eq!(orphans(&fs, &db), [""; 0]);
    let images = images.lock().unwrap();
    println!("after {count} edits: {} images", images.len());
    assert!(8 * 26 <= images.len());
    images.iter().for_each(check);
    check(&memory.crash(Keep::SyncedOnly));
}

#[test]
fn a_failure_while_the_manifest_is_begun_anew_loses_nothing() {
    for fault in [Fault::Enospc, Fault::EioAfter] {
        for skipped in 0.. {
            let (memory, fs, db) = prepared();
            let mut seen = 0;
            fs.set_plan(move |op| {
                let is_it = is_rotation(op) && op.kind != OpKind::Lock && seen == skipped;
                seen += u32::from(is_rotation(op));
                is_it.then_some(fault)
            });
            let grown = grow(&db, &memory);
            let was_injected = fs.injected() != 0;
            fs.clear_plan();
            match db.health() {
                Health::Poisoned(_) => {
                    assert_eq!(db.put("k", "v").unwrap_err().kind(), ErrorKind::Poisoned);
                }
                _ => {
                    db.put("k", "v").unwrap();
                    db.wait_idle().unwrap();
                    assert_eq!(orphans(&fs, &db), [""; 0], "{fault:?} at {skipped}: {grown:?}");
                }
            }
            kill(&fs, db);
            check(&memory.crash(Keep::SyncedOnly));
            check(&memory);
            if !was_injected {
                assert!(grown.is_ok() && 6 < skipped, "{skipped}: {grown:?}");
                break;
            }
        }
    }
}

#[test]
fn an_error_in_the_manifest_names_its_byte() {
    let fs = MemFs::new();
    let path = Path::new("/MANIFEST-000001");
    let mut journal = JournalWriter::create(&fs, path, 1, 7, 7).unwrap();
    let state = State::new(7);
    journal.append(&state.snapshot_edit().encode()).unwrap();
    // A second item without a whole header, behind one that is as it should be.
    let edit = VersionEdit { last_seq: Some(Seq::new(5)), ..VersionEdit::default() };
    journal.append(&[&edit.encode()[..], b"damage"].concat()).unwrap();
    let mut replay = Replay::new(path);
    let result = read_journal(&fs, path, &mut |offset, payload| replay.record(offset, payload));
    match result.unwrap_err() {
        Error::Corruption { path: named, offset, .. } => {
            let mut found = [0; 6];
            fs.open(&named).unwrap().read_exact_at(&mut found, offset).unwrap();
            assert_eq!(&found, b"damage");
        }
        other => panic!("{other}"),
    }
}
