//! Verification of a store that is in use. `flips.rs` has the damage that it must find.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use lsm_base::fs::{Fault, Op, OpKind};
use lsm_base::{FileName, Fs};
use lsm_engine::{Db, Durability, ErrorKind, Health, WriteOptions};
use parking_lot::Mutex;

use crate::harness::{self, DIR, kill, open, patch_file, read_file, small_options, write_file};

#[test]
fn a_verification_ends_with_the_database() {
    let (_, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    for i in 0..3_u32 {
        db.put(i.to_be_bytes(), "v").unwrap();
        db.flush().unwrap();
    }
    let handle = Mutex::new(Some(db.clone()));
    fs.before_each(move |op: &Op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_)));
        if is_table
            && op.kind == OpKind::Read
            && let Some(db) = handle.lock().take()
        {
            db.close().unwrap();
        }
    });
    assert_eq!(db.verify().unwrap_err().kind(), ErrorKind::Closed);
}

/// Writes come between any two operations of a verification, and move the log on to its next
/// segment, or make a larger one ready in its place.
#[test]
fn writes_beside_a_verification_are_no_damage() {
    let (buffered, sync) = (Durability::Buffered, Durability::Sync);
    for (value_len, durability) in [(400, buffered), (400, sync), (20_000, buffered)] {
        for at in 0.. {
            let (_, fs) = harness::disk();
            let db = open(&fs, 0).unwrap();
            db.put("k", "v").unwrap();
            db.wait_idle().unwrap();
            db.put("k", "v").unwrap();
            let seen = Arc::new(AtomicU64::new(0));
            let (counter, writer) = (Arc::clone(&seen), db.clone());
            fs.before_each(move |op: &Op| {
                let is_log = matches!(op.file_name(), Some(FileName::Log(_)));
                let is_look = is_log && matches!(op.kind, OpKind::Open | OpKind::Read);
                if is_look && counter.fetch_add(1, Ordering::Relaxed) == at {
                    let options = WriteOptions::durability(durability);
                    // As much as begins one new segment.
                    for i in 0..(18_000_usize.div_ceil(value_len)) as u32 {
                        writer.put_with(i.to_be_bytes(), vec![7; value_len], &options).unwrap();
                    }
                }
            });
            let report = db.verify().unwrap();
            fs.clear_hooks();
            assert!(report.is_clean(), "{value_len}, {durability:?}, at {at}: {report:?}");
            if seen.load(Ordering::Relaxed) <= at {
                assert!(4 <= at, "{at}");
                break;
            }
        }
    }
}

fn manifest(fs: &dyn Fs) -> String {
    harness::names(fs, |name| matches!(name, FileName::Manifest(_))).remove(0)
}

/// What a crash leaves of an edit that was being appended.
#[test]
fn a_torn_manifest_is_no_damage_to_whoever_opened_it() {
    let (_, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    db.put("k", "v").unwrap();
    kill(&fs, db);
    let name = manifest(&fs);
    let whole = read_file(&fs, &name);
    write_file(&fs, &name, &[&whole[..], &[0xa5; 100]].concat());
    let read_only = || {
        let builder = Db::builder(DIR).options(small_options(0));
        builder.fs(Arc::new(fs.clone())).open_read_only().unwrap()
    };
    let db = read_only();
    assert_eq!(db.recovery_report().manifest_dropped_bytes, 100);
    let report = db.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    // What was whole when it was opened, and is not any more, is damage.
    let last = whole.len() as u64 - 1;
    patch_file(&fs, &name, last, &[whole[last as usize] ^ 1]);
    let report = db.verify().unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert!(report.damage[0].to_string().contains(&name), "{report:?}");
    patch_file(&fs, &name, last, &[whole[last as usize]]);
    drop(db);
    // To an open that writes, too, and it begins a MANIFEST of its own.
    let db = open(&fs, 0).unwrap();
    assert_eq!(db.recovery_report().manifest_dropped_bytes, 100);
    assert!(db.verify().unwrap().is_clean());
}

/// An append to the MANIFEST that was cut short by a full disk, and is still undecided.
#[test]
fn an_undecided_edit_is_no_damage() {
    let (_, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    db.put("k", "v").unwrap();
    let name = manifest(&fs);
    let before = read_file(&fs, &name).len();
    let mut is_begun = false;
    fs.set_plan(move |op| match (op.file_name(), op.kind) {
        (Some(FileName::Manifest(_)), OpKind::Write) => {
            Some(if std::mem::replace(&mut is_begun, true) {
                Fault::Enospc
            } else {
                Fault::Short(40)
            })
        }
        (Some(FileName::Manifest(_)), OpKind::Create) => Some(Fault::Enospc),
        _ => None,
    });
    assert!(db.keyspace("new").unwrap_err().is_undecided());
    assert!(before < read_file(&fs, &name).len(), "nothing of the edit was written");
    let report = db.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    // The records before it must be whole all the same.
    fs.clear_plan();
    let byte = read_file(&fs, &name)[100];
    patch_file(&fs, &name, 100, &[!byte]);
    let report = db.verify().unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert!(report.damage[0].to_string().contains(&name), "{report:?}");
}

/// Whoever finds that a full disk has space installs the flush that it had left undecided, and the
/// log of that goes, in the middle of a verification.
#[test]
fn the_end_of_a_full_disk_is_no_damage() {
    let (_, fs) = harness::disk();
    let (db, resumed) = harness::open_watched(&fs);
    db.put("k", "v").unwrap();
    db.wait_idle().unwrap();
    // The disk is full when the log segment behind that of the flush is there, and named: it is the
    // edit of the flush that finds no space.
    let (sender, named) = sync_channel(1);
    let named = Mutex::new(Some(named));
    let disk = fs.clone();
    fs.before_each(move |op: &Op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_) | FileName::TableTemp(_)));
        if is_table
            && op.kind == OpKind::Create
            && let Some(named) = named.lock().take()
        {
            named.recv_timeout(Duration::from_secs(60)).expect("the keeper makes a segment");
            disk.set_plan(|op| {
                let is_manifest = matches!(op.file_name(), Some(FileName::Manifest(_)));
                let is_refused = matches!(op.kind, OpKind::Write | OpKind::Create);
                (is_manifest && is_refused).then_some(Fault::Enospc)
            });
        }
    });
    fs.after_each(move |op: &Op| {
        if matches!(op.file_name(), Some(FileName::Manifest(_))) && op.kind == OpKind::SyncData {
            let _ = sender.try_send(());
        }
    });
    db.flush().unwrap_err();
    fs.clear_hooks();
    assert_eq!(db.health(), Health::NoSpace);
    let (sender, released) = sync_channel(1);
    let released = Mutex::new(Some(released));
    let disk = fs.clone();
    fs.before_each(move |op: &Op| {
        let is_log = matches!(op.file_name(), Some(FileName::Log(_)));
        if is_log
            && op.kind == OpKind::Open
            && let Some(released) = released.lock().take()
        {
            disk.clear_plan();
            released.recv_timeout(Duration::from_secs(60)).expect("the keeper finds the space");
        }
    });
    fs.after_each(move |op: &Op| {
        let is_log = matches!(op.file_name(), Some(FileName::Log(_)));
        if is_log && op.kind == OpKind::Remove {
            let _ = sender.try_send(());
        }
    });
    let report = db.verify().unwrap();
    fs.clear_hooks();
    assert!(report.is_clean(), "{report:?}");
    // The log may go before whoever found the space has let writes go on.
    harness::once_resumed(&resumed, || db.wait_idle()).unwrap();
    assert_eq!((db.health(), db.metrics().flushes), (Health::Running, 1));
}
