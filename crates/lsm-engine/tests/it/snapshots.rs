//! What is held while the store goes on: snapshots, cursors, keyspaces.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lsm_engine::base::fs::{FaultFs, Keep, MemFs, OpKind};
use lsm_engine::base::{FileName, Fs};
use lsm_engine::{Durability, ErrorKind, Options, Read, WriteBatch, WriteOptions};
use parking_lot::Mutex;

use crate::harness;
use crate::support::{memory, open, tiny};

const BUFFERED: WriteOptions =
    WriteOptions { durability: Some(Durability::Buffered), condition: None, stall_timeout: None };

#[test]
fn a_cursor_that_meets_the_close_stands_on_nothing() {
    let db = open(&memory(), &Options::default());
    db.put("a", "1").unwrap();
    db.put("b", "2").unwrap();
    let mut cursor = db.cursor().unwrap();
    cursor.seek_to_first().unwrap();
    assert_eq!((cursor.key(), cursor.value()), (&b"a"[..], &b"1"[..]));
    db.close().unwrap();
    assert_eq!(cursor.next().unwrap_err().kind(), ErrorKind::Closed);
    assert!(!cursor.valid());
}

#[test]
fn a_dropped_snapshot_frees_what_it_held() {
    const KEYS: u64 = 1_000;
    let db = open(&memory(), &tiny());
    let write_all = |value: &str| {
        for i in 0..KEYS {
            db.put_with(format!("{i:04}"), value, &BUFFERED).unwrap();
        }
    };
    let entries = || {
        db.compact::<&str>(..).unwrap();
        let levels = &db.levels()[0].levels;
        levels.iter().flat_map(|level| &level.tables).map(|table| table.entries).sum::<u64>()
    };
    write_all("old");
    let snapshot = db.snapshot().unwrap();
    let twin = snapshot.clone();
    write_all("new");
    assert_eq!(entries(), 2 * KEYS);
    drop(snapshot);
    assert_eq!((entries(), db.metrics().snapshots), (2 * KEYS, 1));
    assert_eq!(twin.get("0500").unwrap().unwrap(), b"old");
    drop(twin);
    assert_eq!((entries(), db.metrics().snapshots), (KEYS, 0));
    assert_eq!(db.get("0500").unwrap().unwrap(), b"new");
}

#[test]
fn a_dropped_keyspace_ends_for_snapshots_and_goes_on_for_cursors() {
    let db = open(&memory(), &tiny());
    let doomed = db.keyspace("doomed").unwrap();
    for i in 0..500_u32 {
        doomed.put_with(i.to_be_bytes(), [1; 100], &BUFFERED).unwrap();
    }
    let snapshot = db.snapshot().unwrap();
    let mut cursor = doomed.cursor().unwrap();
    cursor.seek_to_first().unwrap();
    let old = snapshot.keyspace("doomed").unwrap();
    db.drop_keyspace("doomed").unwrap();
    db.compact::<&str>(..).unwrap();
    db.wait_idle().unwrap();
    assert_eq!(old.get(0_u32.to_be_bytes()).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(old.get_many(&["k"]).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(old.cursor().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(old.prefix("").next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(snapshot.keyspace("doomed").unwrap_err().kind(), ErrorKind::Closed);
    // Nor is another keyspace of this name what the snapshot saw.
    let again = db.keyspace("doomed").unwrap();
    again.put("k", "v").unwrap();
    assert_eq!(snapshot.keyspace("doomed").unwrap_err().kind(), ErrorKind::Closed);
    db.keyspace("later").unwrap();
    assert_eq!(snapshot.keyspace("later").unwrap_err().kind(), ErrorKind::InvalidArgument);
    let newer = db.snapshot().unwrap();
    assert!(newer.keyspace("doomed").unwrap().contains("k").unwrap());
    assert!(!newer.keyspace("later").unwrap().contains("k").unwrap());
    db.drop_keyspace("doomed").unwrap();
    drop((newer, again));
    for i in 0..500_u32 {
        assert_eq!((cursor.key(), cursor.value()), (&i.to_be_bytes()[..], &[1; 100][..]));
        cursor.next().unwrap();
    }
    assert!(!cursor.valid());
    // Nobody reads its tables any more, so nothing of it stays.
    drop(cursor);
    db.wait_idle().unwrap();
    assert_eq!(db.metrics().disk.tables, 0);
}

#[test]
fn a_drop_takes_its_place_among_the_writes_at_whatever_point_power_fails() {
    const BEFORE: usize = 40;
    let memory = MemFs::new();
    let files = FaultFs::new(Arc::new(memory.clone()));
    let fs: Arc<dyn Fs> = Arc::new(files.clone());
    let db = open(&fs, &Options::default());
    let doomed = db.keyspace("doomed").unwrap();
    let witness = db.keyspace("witness").unwrap();
    let has_written = Arc::new(AtomicBool::new(false));
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, is_late) = (Arc::clone(&images), Arc::clone(&has_written));
    files.after_each(move |op| {
        if let (Some(FileName::Manifest(_)), OpKind::Write) = (op.file_name(), op.kind) {
            // The edit is not on disk yet: time for the witness to learn of it.
            let waits = (0..10_000).take_while(|_| !is_late.load(Ordering::SeqCst));
            waits.for_each(|_| thread::yield_now());
        }
        let modes = [Keep::SyncedOnly, Keep::Everything, Keep::Subset { seed: op.index }];
        taken.lock().extend(modes.map(|keep| memory.crash(keep)));
    });
    for i in 0..BEFORE {
        let mut batch = WriteBatch::new();
        batch.put(format!("{i:02}"), "v");
        batch.put_in(&doomed, format!("{i:02}"), "v");
        db.write(batch, &BUFFERED).unwrap();
    }
    thread::scope(|scope| {
        // Somebody else learns of the drop, and writes that down.
        scope.spawn(|| {
            while doomed.put_with("~", "v", &BUFFERED).is_ok() {}
            witness.put("dropped", "v").unwrap();
            has_written.store(true, Ordering::SeqCst);
        });
        db.drop_keyspace("doomed").unwrap();
    });
    for i in BEFORE..BEFORE + 5 {
        db.put_with(format!("{i:02}"), "v", &BUFFERED).unwrap();
    }
    files.clear_hooks();
    let mut drops = 0;
    let images = std::mem::take(&mut *images.lock());
    assert!(3 * BEFORE < images.len());
    for image in &images {
        let fs: Arc<dyn Fs> = Arc::new(image.clone());
        let db = open(&fs, &Options::default());
        let found = db.prefix("").count();
        let last = db.prefix("").next_back().map(|entry| entry.unwrap().0);
        assert_eq!(last, found.checked_sub(1).map(|last| format!("{last:02}").into_bytes()));
        if db.keyspaces().unwrap().iter().any(|keyspace| keyspace.name() == "doomed") {
            // Not dropped: the batches up to there are whole, and nothing behind outlived it.
            let doomed = db.keyspace("doomed").unwrap();
            assert_eq!(doomed.scan(.."~").count(), found);
            assert!(found <= BEFORE);
            assert!(!db.keyspace("witness").unwrap().contains("dropped").unwrap());
        } else {
            drops += 1;
            assert!(BEFORE <= found, "the drop outlived an older write: {found}");
        }
    }
    assert!(0 < drops && drops < images.len());
}

#[test]
fn a_table_that_a_cursor_has_not_opened_yet_stays_until_it_may() {
    let (memory, fs) = harness::disk();
    let db = harness::open(&fs, 0).unwrap();
    for key in 0..100_u32 {
        db.put(key.to_be_bytes(), "old").unwrap();
    }
    db.close().unwrap();
    // An open touches no table, and neither does a cursor that stands nowhere.
    let db = harness::open(&fs, 0).unwrap();
    let mut cursor = db.cursor().unwrap();
    for key in 0..100_u32 {
        db.put(key.to_be_bytes(), "new").unwrap();
    }
    db.compact::<&str>(..).unwrap();
    db.wait_idle().unwrap();
    assert_eq!(harness::orphans(&memory, &db).len(), 1, "the cursor's table is still there");
    let mut count = 0;
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        assert_eq!(cursor.value(), b"old");
        count += 1;
        cursor.next().unwrap();
    }
    assert_eq!(count, 100);
    drop(cursor);
    db.wait_idle().unwrap();
    assert_eq!(harness::orphans(&memory, &db), [""; 0]);
}
