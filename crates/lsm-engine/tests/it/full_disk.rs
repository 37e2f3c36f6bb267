//! A disk that is full, and then is not.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use lsm_base::Fs;
use lsm_base::fs::{Fault, MemFs, OpKind};
use lsm_engine::{Db, ErrorKind, Event, Health, Read};

use crate::harness::{self, kill, on, orphans, small_options};

/// Writes until the disk is full; returns how many writes were acknowledged.
fn fill(db: &Db) -> u32 {
    for i in 0_u32.. {
        match db.put(i.to_be_bytes(), [7; 300]) {
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
    let calls: [(&str, Call); 6] = [
        ("sync", Db::sync),
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

#[test]
fn with_threads_the_store_notices_by_itself() {
    let (memory, fs) = harness::disk();
    memory.set_capacity(200 << 10);
    let (sender, resumed) = sync_channel(1);
    let options =
        lsm_engine::Options { compaction_interval: Duration::from_millis(5), ..small_options(1) };
    let builder = Db::builder(harness::DIR).options(options).fs(std::sync::Arc::new(fs.clone()));
    let listener = move |event: &Event| {
        if let Event::Resumed = event {
            let _ = sender.try_send(());
        }
    };
    let db = builder.listener(listener).open().unwrap();
    let count = fill(&db);
    free(&memory);
    resumed.recv_timeout(Duration::from_secs(60)).expect("the store looks for space");
    db.put(count.to_be_bytes(), [7; 300]).unwrap();
    check_content(&db, count + 1);
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
