//! What an open finds, does and leaves behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsm_base::fs::{Fault, FaultFs, Keep, Op, OpKind, StdFs};
use lsm_base::{Error as Base, FileName, Fs};
use lsm_engine::{Db, Durability, ErrorKind, Read, WriteOptions};

use crate::harness::{self, DIR, changes_the_disk, kill, on, open, orphans, tree, write_file};

/// Whatever fits no single memtable of the recovery.
fn fill(db: &lsm_engine::Db, from: u32) {
    for i in from..from + 200 {
        db.put_with(format!("fill{i:05}"), [7; 100], &buffered()).unwrap();
    }
}

fn buffered() -> WriteOptions {
    WriteOptions::durability(Durability::Buffered)
}

#[test]
fn a_tombstone_that_is_replayed_behind_its_value_hides_it() {
    let (_, fs) = harness::disk();
    let mut options = harness::small_options(0);
    options.memtable_size = Some(128 << 10);
    options.max_log_bytes = None;
    let db = harness::open_with(&fs, options).unwrap();
    db.put("a", "old").unwrap();
    fill(&db, 0);
    db.delete("a").unwrap();
    fill(&db, 200);
    kill(&fs, db);
    // The recovery has smaller memtables, so that value and tombstone become tables one by one.
    let db = open(&fs, 0).unwrap();
    assert_eq!(db.recovery_report().replayed_records, 402);
    assert_eq!(db.get("a").unwrap(), None);
}

/// Contract P-4: a first open that died or lost power at any point leaves no database, or an
/// empty one that opens.
#[test]
fn a_first_open_that_was_cut_short_is_begun_anew() {
    for changes in 0.. {
        let (memory, fs) = harness::disk();
        let mut seen = 0;
        fs.set_plan(move |op| {
            seen += u32::from(changes_the_disk(op));
            (changes < seen).then_some(Fault::Eio)
        });
        let has_opened = open(&fs, 0).is_ok();
        fs.clear_plan();
        let keeps = (0..20).map(|seed| Keep::Subset { seed });
        let images = keeps.chain([Keep::SyncedOnly, Keep::Everything]);
        for image in images.map(|keep| memory.crash(keep)).chain([memory.clone()]) {
            let db = open(&on(&image), 0).unwrap_or_else(|error| panic!("{changes}: {error}"));
            assert_eq!(db.prefix("").count(), 0);
            db.put("k", "v").unwrap();
            assert_eq!(orphans(&image, &db), [""; 0]);
        }
        if has_opened {
            return assert!(10 < changes);
        }
    }
}

#[test]
fn a_manifest_with_edits_is_a_database_that_lost_its_current() {
    let (memory, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    kill(&fs, db);
    for name in harness::names(&memory, |name| !matches!(name, FileName::Manifest(_))) {
        memory.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let before = tree(&memory);
    assert_eq!(open(&on(&memory), 0).unwrap_err().kind(), ErrorKind::MissingFile);
    let is_of_before = |file: &(String, Vec<u8>)| before.contains(file);
    assert_eq!(tree(&memory).iter().filter(|file| is_of_before(file)).count(), before.len());
}

/// A name that stood on the disk once is not given to another file: an unlink may be lost.
#[test]
fn numbers_go_on_behind_every_file_that_was_found() {
    for orphan in ["000099.sst", "MANIFEST-000099", "MANIFEST-000099.tmp"] {
        let (memory, fs) = harness::disk();
        kill(&fs, open(&fs, 0).unwrap());
        write_file(&memory, orphan, b"nothing names it");
        let db = open(&on(&memory), 0).unwrap();
        let manifests = harness::names(&memory, |name| matches!(name, FileName::Manifest(_)));
        assert_eq!(manifests, ["MANIFEST-000100"], "behind {orphan}");
        db.put("k", "v").unwrap();
        db.flush().unwrap();
        let tables = harness::names(&memory, |name| matches!(name, FileName::Table(_)));
        assert_eq!(tables, ["000101.sst"], "behind {orphan}");
    }
}

/// Only a full disk is a reason to try again; what failed otherwise may have gone halfway.
#[test]
fn an_open_that_cannot_write_its_manifest_is_not_tried_again() {
    let (memory, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    db.put("k", "v").unwrap();
    kill(&fs, db);
    write_file(&memory, "000099.sst", b"no table that anything names");
    for kind in [OpKind::Write, OpKind::SyncData] {
        let fs = on(&memory.crash(Keep::Everything));
        let mut seen = 0;
        fs.set_plan(move |op| {
            let is_new = matches!(op.file_name(), Some(FileName::Manifest(2..))) && op.kind == kind;
            seen += u32::from(is_new);
            (is_new && seen == 1).then_some(Fault::Eio)
        });
        assert_eq!(open(&fs, 0).unwrap_err().kind(), ErrorKind::Io, "{kind:?}");
        assert_eq!(fs.injected(), 1, "{kind:?}");
        assert!(fs.exists(&Path::new(DIR).join("000099.sst")).unwrap(), "{kind:?}");
    }
}

/// A sync of the directory that fails may forget a name, which stands in the cache until the power
/// goes. The next open finds that segment and goes on behind it.
#[test]
fn a_segment_that_a_failed_open_left_in_the_cache_alone_is_not_missed() {
    let (memory, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    db.put("k", "v").unwrap();
    kill(&fs, db);
    let fs = on(&memory);
    let (mut is_renamed, mut is_dead) = (false, false);
    fs.set_plan(move |op| {
        if is_dead {
            return Some(Fault::Eio);
        }
        is_renamed |= op.kind == OpKind::Rename;
        is_dead = is_renamed && op.kind == OpKind::SyncDir;
        is_dead.then_some(Fault::ForgettingSync)
    });
    open(&fs, 0).unwrap_err();
    let fs = on(&memory);
    fs.set_plan(|op| {
        let is_current = op.file_name() == Some(FileName::CurrentTemp);
        (is_current && op.kind == OpKind::Create).then_some(Fault::Eio)
    });
    open(&fs, 0).unwrap_err();
    let image = memory.crash(Keep::SyncedOnly);
    assert_eq!(open(&on(&image), 0).unwrap().get("k").unwrap().unwrap(), b"v");
}

/// Contract F-1, whether the MANIFEST has had another reason to say more or not.
#[test]
fn no_log_segment_is_missed_in_silence() {
    for threads in [0, 1] {
        for is_flushed in [false, true] {
            let (memory, fs) = harness::disk();
            let db = open(&fs, threads).unwrap();
            // More than a segment holds.
            for key in 0..60_u32 {
                db.put(key.to_be_bytes(), [7; 1000]).unwrap();
            }
            if is_flushed {
                db.flush().unwrap();
                db.put("late", "write").unwrap();
            }
            kill(&fs, db);
            let logs = harness::names(&memory, |name| matches!(name, FileName::Log(_)));
            let mut refused = 0;
            for log in &logs {
                let image = memory.crash(Keep::Everything);
                image.remove(&Path::new(harness::DIR).join(log)).unwrap();
                match open(&on(&image), 0) {
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::MissingFile, "{log}: {error}");
                        assert!(error.to_string().contains(log), "{log}: {error}");
                        refused += 1;
                    }
                    // It was below the log's floor, or held nothing.
                    Ok(db) => assert_eq!(db.prefix("").count(), 60 + usize::from(is_flushed)),
                }
            }
            assert!(0 < refused, "{logs:?}");
        }
    }
}

/// Contract F-2 and K-3.
#[test]
fn files_of_ours_that_nothing_names_go_and_foreign_ones_stay() {
    let (_, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    fill(&db, 0);
    db.flush().unwrap();
    kill(&fs, db);
    let foreign = [
        ".DS_Store",
        "._000001.sst",
        "1.sst",
        "000001.sst.bak",
        "LOCK.tmp",
        "notes.txt",
        "72057594037927936.sst",
    ];
    let ours = ["000077.sst", "000078.sst.tmp", "MANIFEST-000079", "MANIFEST-000080.tmp"];
    let logs = ["000099.log.tmp", "CURRENT.tmp"];
    for name in foreign.iter().chain(&ours).chain(&logs) {
        write_file(&fs, name, b"something");
    }
    let db = open(&fs, 0).unwrap();
    assert_eq!(orphans(&fs, &db), [""; 0]);
    assert!(ours.len() as u64 <= db.recovery_report().orphans_removed);
    let left: Vec<String> = tree(&fs).into_iter().map(|(name, _)| name).collect();
    assert!(foreign.iter().all(|name| left.contains(&(*name).to_owned())), "{left:?}");
    // The next file has a number above every one that was there.
    fill(&db, 200);
    db.flush().unwrap();
    let newest = harness::names(&fs, |name| matches!(name, FileName::Table(_))).pop().unwrap();
    assert!(*"000080.sst" < *newest, "{newest}");
}

/// A file that nothing names is in nobody's way, whatever keeps it from being unlinked.
#[test]
fn a_file_that_cannot_be_unlinked_keeps_no_store_from_being_opened() {
    for is_full in [false, true] {
        let (memory, fs) = harness::disk();
        let db = open(&fs, 0).unwrap();
        fill(&db, 0);
        kill(&fs, db);
        let orphans = ["000077.sst", "000078.sst"];
        orphans.iter().for_each(|name| write_file(&fs, name, &[1; 100 << 10]));
        if is_full {
            let used = fs.list(DIR.as_ref()).unwrap().iter().map(|entry| entry.len).sum::<u64>();
            memory.set_capacity(used + (10 << 10));
        }
        fs.set_plan(|op| {
            let is_stuck = op.file_name() == Some(FileName::Table(77));
            (is_stuck && op.kind == OpKind::Remove).then_some(Fault::Eio)
        });
        let db = open(&fs, 0).unwrap();
        assert!(fs.injected() != 0, "nobody tried");
        assert_eq!(db.prefix("").count(), 200);
        assert_eq!(harness::orphans(&fs, &db), orphans[..1], "full: {is_full}");
        assert_eq!(db.wait_idle().unwrap_err().kind(), ErrorKind::Io);
        // The cleaner tries again.
        fs.clear_plan();
        db.wait_idle().unwrap();
        assert_eq!(harness::orphans(&fs, &db), [""; 0]);
    }
}

/// Every life writes one key that no table has, as a command line does.
#[test]
fn many_short_lives_leave_few_tables() {
    let (memory, fs) = harness::disk();
    for life in 0..300_u32 {
        let db = open(&fs, 0).unwrap();
        // Some of them in the middle.
        db.put((life * 7919 % 1000).to_be_bytes(), "value").unwrap();
        db.flush().unwrap();
        db.wait_idle().unwrap();
        db.close().unwrap();
    }
    let tables = harness::names(&memory, |name| matches!(name, FileName::Table(_)));
    assert!(tables.len() < 40, "{} tables", tables.len());
    assert_eq!(open(&fs, 0).unwrap().prefix("").count(), 300);
}

/// Contract K-3: nothing grows over opens, deaths and closes.
#[test]
fn many_lives_leave_as_many_files_as_one() {
    let (memory, fs) = harness::disk();
    for life in 0..30 {
        let db = open(&fs, 0).unwrap();
        assert_eq!(orphans(&memory, &db), [""; 0], "life {life}");
        fill(&db, 0);
        match life % 3 {
            0 => db.close().unwrap(),
            1 => kill(&fs, db),
            _ => {
                db.wait_idle().unwrap();
                assert_eq!(orphans(&memory, &db), [""; 0], "life {life}, idle");
                drop(db);
            }
        }
    }
}

/// Every file of a real directory, with its content.
fn bytes_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// Contract F-3.
#[test]
fn a_directory_has_one_opener_by_whatever_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let db = Db::open(&data).unwrap();
    db.put("k", "v").unwrap();
    // Nothing is left to be done that would change a file.
    db.wait_idle().unwrap();
    let before = bytes_of(&data);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&data, &link).unwrap();
    for path in [&data, &link] {
        // A busy machine may hold up one try, and not each of ten.
        let tries = (0..10).map(|_| {
            let started = Instant::now();
            assert_eq!(Db::open(path).unwrap_err().kind(), ErrorKind::Locked);
            let read_only = Db::builder(path).open_read_only();
            assert_eq!(read_only.unwrap_err().kind(), ErrorKind::Locked);
            started.elapsed()
        });
        let fastest = tries.min().unwrap();
        assert!(fastest < Duration::from_millis(100), "{fastest:?}");
    }
    assert_eq!(bytes_of(&data), before, "who was refused has changed something");
    assert_eq!(db.get("k").unwrap().unwrap(), b"v");
    db.close().unwrap();
    // A reader keeps writers out too, and the lock goes with its holder.
    let reader = Db::builder(&link).open_read_only().unwrap();
    assert_eq!(Db::open(&data).unwrap_err().kind(), ErrorKind::Locked);
    drop(reader);
    Db::open(&data).unwrap();
}

/// Whoever reads first may act on what the holder of the lock is about to change.
#[test]
fn the_lock_is_taken_before_anything_is_read() {
    let (_, fs) = harness::disk();
    for is_first in [true, false] {
        fs.clear_trace();
        let db = open(&fs, 0).unwrap();
        assert_eq!(db.recovery_report().is_new, is_first);
        let trace = fs.trace();
        let is_read = |op: &Op| matches!(op.kind, OpKind::List | OpKind::Open | OpKind::Read);
        let lock = trace.iter().position(|op| op.kind == OpKind::Lock).unwrap();
        let read = trace.iter().position(is_read).unwrap();
        assert!(lock < read, "{:?}", &trace[..=lock]);
    }
}

/// Contract E-5: whatever state the store was left in.
#[test]
fn an_open_for_reading_only_changes_nothing() {
    for is_closed in [true, false] {
        let (_, fs) = harness::disk();
        let db = open(&fs, 0).unwrap();
        fill(&db, 0);
        db.wait_idle().unwrap();
        fill(&db, 200);
        match is_closed {
            true => db.close().unwrap(),
            false => kill(&fs, db),
        }
        let before = tree(&fs);
        fs.clear_trace();
        let builder = Db::builder(DIR).options(harness::small_options(1));
        let db = builder.fs(Arc::new(fs.clone())).open_read_only().unwrap();
        assert_eq!(db.prefix("").count(), 400);
        assert_eq!(db.snapshot().unwrap().get("fill00399").unwrap().unwrap(), &[7; 100]);
        assert!(db.verify().unwrap().is_clean());
        for refused in [db.put("k", "v").map(drop), db.flush(), db.sync(), db.wait_idle()] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnly);
        }
        assert_eq!(db.keyspace("new").unwrap_err().kind(), ErrorKind::ReadOnly);
        db.close().unwrap();
        assert_eq!(tree(&fs), before);
        let changes: Vec<_> = fs.trace().into_iter().filter(changes_the_disk).collect();
        assert!(changes.is_empty(), "{changes:?}");
    }
}

/// It may not make the file that it would lock, and says which one it wants.
#[test]
fn an_open_for_reading_only_names_a_lock_that_is_gone() {
    let (memory, fs) = harness::disk();
    open(&fs, 0).unwrap().close().unwrap();
    let lock = FileName::Lock.path(Path::new(DIR));
    memory.remove(&lock).unwrap();
    let error = Db::builder(DIR).fs(Arc::new(memory.clone())).open_read_only().unwrap_err();
    assert!(matches!(error.base(), Some(Base::MissingFile(path)) if *path == lock), "{error}");
    assert!(!memory.exists(&lock).unwrap());
}

/// Contract P-2: an open jumps beyond whatever may have been handed out and lost.
#[test]
fn sequences_jump_after_a_death_and_not_after_a_close() {
    let (_, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    let first = db.put("k", "1").unwrap().get();
    db.close().unwrap();
    let db = open(&fs, 0).unwrap();
    let second = db.put("k", "2").unwrap().get();
    assert_eq!(second, first + 1);
    kill(&fs, db);
    let db = open(&fs, 0).unwrap();
    let third = db.put("k", "3").unwrap().get();
    assert_eq!(third, second + 1 + (1 << 32));
    kill(&fs, db);
    // Nothing was written: the jump counts from what the open before wrote down.
    kill(&fs, open(&fs, 0).unwrap());
    let db = open(&fs, 0).unwrap();
    assert_eq!(db.put("k", "4").unwrap().get(), third + 1 + (2 << 32));
}

/// Who comes second to a directory that is not there yet finds it, or its lock.
#[test]
fn a_directory_that_another_opener_creates_meanwhile_is_no_failure() {
    let (memory, fs) = harness::disk();
    fs.before_each(move |op| {
        if op.kind == OpKind::CreateDir {
            memory.create_dir(&op.path).unwrap();
        }
    });
    let db = open(&fs, 0).unwrap();
    assert!(db.recovery_report().is_new);
}

/// The working directory may change while the database is open, and in the new one there may be
/// another database of this name.
#[test]
fn a_relative_path_means_one_directory_from_the_open_on() {
    let dir = tempfile::tempdir().unwrap();
    let here = std::env::current_dir().unwrap();
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(dir.path().strip_prefix("/").unwrap()).join("data");
    let fs = FaultFs::new(Arc::new(StdFs));
    let builder = || Db::builder(&relative).options(harness::small_options(1));
    let db = builder().fs(Arc::new(fs.clone())).open().unwrap();
    fill(&db, 0);
    db.compact::<&str>(..).unwrap();
    fill(&db, 200);
    db.close().unwrap();
    let db = builder().fs(Arc::new(fs.clone())).open_read_only().unwrap();
    assert_eq!(db.prefix("").count(), 400);
    for op in fs.trace() {
        let paths = [Some(&op.path), op.to.as_ref()];
        assert!(paths.into_iter().flatten().all(|path| path.is_absolute()), "{op:?}");
    }
}

/// Contract F-7: nothing in a directory depends on where it is.
#[test]
fn a_closed_directory_may_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    let db = Db::open(&here).unwrap();
    fill(&db, 0);
    db.close().unwrap();
    std::fs::rename(&here, &there).unwrap();
    let db = Db::open(&there).unwrap();
    assert!(db.recovery_report().was_closed);
    assert_eq!(db.prefix("").count(), 200);
}
