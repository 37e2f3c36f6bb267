//! A disk that is full, and then is not.

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, Op, OpKind};
use lsm_base::{FileName, Fs};
use lsm_engine::{Db, DbCursor, Durability, ErrorKind, Health, Read, WriteOptions};

use crate::harness::{self, kill, on, orphans};

const BUFFERED: WriteOptions =
    WriteOptions { durability: Some(Durability::Buffered), condition: None, stall_timeout: None };

fn is_log(op: &Op) -> bool {
    matches!(op.file_name(), Some(FileName::Log(_) | FileName::LogTemp(_)))
}

/// What the files of the store take, as the disk counts it.
fn used(fs: &FaultFs) -> u64 {
    fs.list(harness::DIR.as_ref()).unwrap().iter().map(|entry| entry.len).sum()
}

/// Writes until the disk is full, and nothing on it can be given back; returns how many writes were
/// acknowledged.
fn fill(db: &Db) -> u32 {
    for i in 0_u32.. {
        let put = || db.put(i.to_be_bytes(), [7; 300]);
        // Without threads a call looks for space before it writes.
        match put().or_else(|_| put()) {
            Ok(_) => {}
            // `Io` where the append had begun: the next segment decides against it.
            Err(error) if matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::Io) => return i,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("a disk of this size is full at some time")
}

fn check_content(db: &Db, count: u32) {
    assert_eq!(db.prefix("").count(), count as usize);
    for i in 0..count {
        assert_eq!(db.get(i.to_be_bytes()).unwrap().unwrap(), &[7; 300]);
    }
}

fn free(memory: &MemFs) {
    memory.set_capacity(1 << 30);
}

#[test]
fn without_threads_the_next_write_notices_that_there_is_space_again() {
    let (memory, fs) = harness::disk();
    memory.set_capacity(200 << 10);
    let db = harness::open(&fs, 0).unwrap();
    let count = fill(&db);
    assert_eq!(db.health(), Health::NoSpace);
    assert_eq!(db.put("k", "v").unwrap_err().kind(), ErrorKind::NoSpace);
    check_content(&db, count);
    free(&memory);
    db.put(count.to_be_bytes(), [7; 300]).unwrap();
    assert_eq!(db.health(), Health::Running);
    db.compact::<&str>(..).unwrap();
    db.wait_idle().unwrap();
    check_content(&db, count + 1);
    assert_eq!(orphans(&fs, &db), [""; 0]);
    kill(&fs, db);
    check_content(&harness::open(&on(&memory), 0).unwrap(), count + 1);
}

#[test]
fn every_call_that_writes_notices_it() {
    type Call = fn(&Db) -> lsm_engine::Result<()>;
    let calls: [(&str, Call); 5] = [
        ("flush", Db::flush),
        ("compact", |db| db.compact::<&str>(..)),
        ("wait_idle", Db::wait_idle),
        ("keyspace", |db| db.keyspace("new").map(|_| ())),
        ("drop_keyspace", |db| db.drop_keyspace("old")),
    ];
    for (name, call) in calls {
        let (memory, fs) = harness::disk();
        let db = harness::open(&fs, 0).unwrap();
        db.keyspace("old").unwrap();
        memory.set_capacity(200 << 10);
        let count = fill(&db);
        assert_eq!(call(&db).unwrap_err().kind(), ErrorKind::NoSpace, "{name}");
        free(&memory);
        call(&db).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_content(&db, count);
    }
}

/// A sync writes nothing new: what was acknowledged can be made durable without space.
#[test]
fn what_was_acknowledged_can_be_synced_on_a_full_disk() {
    for (threads, is_in_append) in [(0, false), (0, true), (1, false), (1, true)] {
        let (memory, fs) = harness::disk();
        let db = harness::open(&fs, threads).unwrap();
        db.put_with("k", "v", &BUFFERED).unwrap();
        memory.set_capacity(0);
        let lost = match is_in_append {
            true => vec![7; 10],
            // It fits no segment that there is, so that its append does not begin.
            false => vec![7; 64 << 10],
        };
        fs.set_plan(move |op| {
            let is_append = op.kind == OpKind::Write && is_log(op);
            (is_in_append && is_append).then_some(Fault::Enospc)
        });
        db.put_with("lost", &lost, &BUFFERED).unwrap_err();
        fs.clear_plan();
        assert_eq!(db.health(), Health::NoSpace);
        let count_synced = || {
            let image = memory.crash(Keep::SyncedOnly);
            free(&image);
            harness::open(&on(&image), 0).unwrap().prefix("k").count()
        };
        assert_eq!(count_synced(), 0);
        db.sync().unwrap();
        assert_eq!(db.health(), Health::NoSpace);
        assert_eq!(count_synced(), 1);
    }
}

#[test]
fn with_threads_the_store_notices_by_itself() {
    let (memory, fs) = harness::disk();
    memory.set_capacity(200 << 10);
    let (db, resumed) = harness::open_watched(&fs);
    let count = fill(&db);
    free(&memory);
    harness::once_resumed(&resumed, || db.put(count.to_be_bytes(), [7; 300])).unwrap();
    check_content(&db, count + 1);
}

/// Fills a disk of which a cursor holds a large part: the inputs of a compaction.
fn fill_beside_a_cursor(memory: &MemFs, fs: &FaultFs, db: &Db) -> (DbCursor, u32) {
    for value in [[1; 300], [7; 300]] {
        for i in 0..1_000_u32 {
            db.put_with(i.to_be_bytes(), value, &BUFFERED).unwrap();
        }
        if value[0] == 1 {
            db.flush().unwrap();
        }
    }
    let cursor = db.cursor().unwrap();
    db.compact::<&str>(..).unwrap();
    memory.set_capacity(used(fs) + (20 << 10));
    let count = fill(db);
    assert_eq!(db.health(), Health::NoSpace);
    (cursor, count.max(1_000))
}

#[test]
fn what_the_last_reader_lets_go_of_ends_a_full_disk() {
    let (memory, fs) = harness::disk();
    let (db, resumed) = harness::open_watched(&fs);
    let (cursor, count) = fill_beside_a_cursor(&memory, &fs, &db);
    drop(cursor);
    harness::once_resumed(&resumed, || db.put("k", "v")).unwrap();
    db.delete("k").unwrap();
    check_content(&db, count);
}

#[test]
fn without_threads_the_next_call_frees_it() {
    let (memory, fs) = harness::disk();
    let db = harness::open(&fs, 0).unwrap();
    let (cursor, count) = fill_beside_a_cursor(&memory, &fs, &db);
    assert_eq!(db.put("k", "v").unwrap_err().kind(), ErrorKind::NoSpace);
    drop(cursor);
    db.put("k", "v").unwrap();
    db.delete("k").unwrap();
    check_content(&db, count);
}

/// Kills a store whose disk is full of tables that no MANIFEST ever named.
fn kill_among_orphans(memory: &MemFs, fs: &FaultFs, db: Db) -> Vec<String> {
    kill(fs, db);
    let orphan = "000900.sst";
    harness::write_file(fs, orphan, &[1; 200 << 10]);
    memory.set_capacity(used(fs) + (10 << 10));
    vec![orphan.into()]
}

#[test]
fn an_open_makes_room_among_what_nothing_names() {
    let (memory, fs) = harness::disk();
    let db = harness::open(&fs, 0).unwrap();
    for i in 0..100_u32 {
        db.put(i.to_be_bytes(), [7; 300]).unwrap();
    }
    let orphans = kill_among_orphans(&memory, &fs, db);
    let fs = on(&memory);
    let db = harness::open(&fs, 0).unwrap();
    assert!(orphans.len() as u64 <= db.recovery_report().orphans_removed);
    assert!(!fs.exists(&Path::new(harness::DIR).join(&orphans[0])).unwrap());
    check_content(&db, 100);
}

/// Unlinking is not synced: after a power loss the log may be back.
#[test]
fn an_open_makes_room_among_what_a_close_had_unlinked() {
    let (memory, fs) = harness::disk();
    let db = harness::open(&fs, 0).unwrap();
    for i in 0..100_u32 {
        db.put(i.to_be_bytes(), [7; 300]).unwrap();
    }
    let logs = harness::names(&fs, |name| matches!(name, FileName::Log(_)));
    let logs: Vec<_> = logs.into_iter().map(|log| (harness::read_file(&fs, &log), log)).collect();
    db.close().unwrap();
    assert!(!logs.is_empty());
    logs.iter().for_each(|(bytes, log)| harness::write_file(&fs, log, bytes));
    memory.set_capacity(used(&fs) + 100);
    let fs = on(&memory);
    let db = harness::open(&fs, 0).unwrap();
    assert!(logs.len() as u64 <= db.recovery_report().orphans_removed);
    check_content(&db, 100);
}

#[test]
fn an_open_without_room_keeps_what_an_edit_deletes_that_may_be_lost() {
    let (memory, fs) = harness::disk();
    let db = harness::open(&fs, 0).unwrap();
    for i in 0..100_u32 {
        db.put(i.to_be_bytes(), [7; 300]).unwrap();
    }
    db.flush().unwrap();
    // The record of a compaction reaches the page cache and not the disk.
    fs.set_plan(|op| {
        let is_manifest = matches!(op.file_name(), Some(FileName::Manifest(_)));
        (is_manifest && op.kind.is_sync()).then_some(Fault::ForgettingSync)
    });
    db.compact::<&str>(..).unwrap_err();
    kill_among_orphans(&memory, &fs, db);
    // The open makes what room it can, and fails at last.
    let fs = on(&memory);
    fs.set_plan(|op| {
        let is_manifest = matches!(op.file_name(), Some(FileName::Manifest(_)));
        (is_manifest && op.kind == OpKind::Write).then_some(Fault::Enospc)
    });
    assert_eq!(harness::open(&fs, 0).unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(!fs.exists(&Path::new(harness::DIR).join("000900.sst")).unwrap());
    let image = memory.crash(Keep::SyncedOnly);
    image.set_capacity(1 << 30);
    check_content(&harness::open(&on(&image), 0).unwrap(), 100);
}

#[test]
fn an_open_without_room_says_so_and_one_for_reading_goes_on() {
    let (memory, fs) = harness::disk();
    let db = harness::open(&fs, 0).unwrap();
    for i in 0..40_u32 {
        db.put(i.to_be_bytes(), [7; 300]).unwrap();
    }
    kill(&fs, db);
    memory.set_capacity(used(&fs));
    let before = harness::tree(&fs);
    assert_eq!(harness::open(&fs, 0).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(harness::tree(&fs), before);
    let builder = Db::builder(harness::DIR).options(harness::small_options(0));
    let reader = builder.fs(Arc::new(fs.clone())).open_read_only().unwrap();
    check_content(&reader, 40);
    drop(reader);
    free(&memory);
    check_content(&harness::open(&fs, 0).unwrap(), 40);
}

#[test]
fn a_full_disk_met_by_a_rotation_passes_too() {
    let (memory, fs) = harness::disk();
    let db = harness::open(&fs, 0).unwrap();
    // The first batch does not fit the first segment. That is left unused, and gets the one record
    // that says so.
    fs.set_plan(|op| {
        let is_link = is_log(op) && op.kind == OpKind::Write && op.offset != 0 && op.len < 1_000;
        is_link.then_some(Fault::Enospc)
    });
    let put = |i: u32| db.put(i.to_be_bytes(), [7; 40_000]);
    // There is space all the same, so the call itself goes on.
    put(0).unwrap();
    assert_eq!((fs.injected(), db.health()), (1, Health::Running));
    fs.clear_plan();
    put(1).unwrap();
    kill(&fs, db);
    let db = harness::open(&on(&memory), 0).unwrap();
    assert_eq!(db.prefix("").count(), 2);
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn what_a_full_disk_cut_short_leaves_no_file() {
    let (memory, fs) = harness::disk();
    let db = harness::open(&fs, 0).unwrap();
    for i in 0..40_u32 {
        db.put(i.to_be_bytes(), [7; 300]).unwrap();
    }
    let before = fs.list(harness::DIR.as_ref()).unwrap().len();
    fs.set_plan(|op| {
        let is_table = op.path.extension().is_some_and(|extension| extension == "sst");
        (is_table && op.kind == OpKind::Write).then_some(Fault::Enospc)
    });
    assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::NoSpace);
    // The next segment may have been made ready.
    assert!(fs.list(harness::DIR.as_ref()).unwrap().len() <= before + 1);
    fs.clear_plan();
    kill(&fs, db);
    // A recovery that has not room for all of its tables keeps none of them.
    for _ in 0..3 {
        let fs = on(&memory);
        let before = fs.list(harness::DIR.as_ref()).unwrap();
        fs.set_plan(|op| {
            let is_manifest = op.path.to_string_lossy().contains("MANIFEST");
            (is_manifest && op.kind == OpKind::Write).then_some(Fault::Enospc)
        });
        assert_eq!(harness::open(&fs, 0).unwrap_err().kind(), ErrorKind::NoSpace);
        let after = fs.list(harness::DIR.as_ref()).unwrap();
        assert_eq!(after.len(), before.len(), "{after:?}");
    }
}

/// The default log segment takes 64 MiB.
#[test]
fn a_small_disk_takes_writes_with_default_options() {
    let (memory, fs) = harness::disk();
    memory.set_capacity(24 << 20);
    let open = || Db::builder(harness::DIR).fs(Arc::new(fs.clone())).open();
    let db = open().unwrap();
    let mut count = 0_u32;
    let value = vec![7; 100 << 10];
    let full = loop {
        match db.put(count.to_be_bytes(), &value) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full.kind(), ErrorKind::NoSpace | ErrorKind::Io), "{full}");
    assert!(30 < count, "{count} writes of 100 KiB");
    assert_eq!(db.prefix("").count() as u32, count);
    drop(db);
    // What the log holds goes into tables, which needs as much again.
    memory.set_capacity(48 << 20);
    let db = open().unwrap();
    db.put("k", "v").unwrap();
    assert_eq!(db.prefix("").count() as u32, count + 1);
}
