//! Numbers near the end of their range, recorded by a MANIFEST or in a file's name.
//!
//! No store comes there by itself. Whoever hands out what is left would meet the end in the middle
//! of something, so an open refuses by an error that names the file, before anything is written.

use std::path::Path;

use lsm_base::file_name::FILE_NUMBER_END;
use lsm_base::fs::FaultFs;
use lsm_base::{FileName, Fs, Seq};
use lsm_compaction::edit::LogFloor;
use lsm_compaction::{Replay, State, VersionEdit};
use lsm_engine::{Db, ErrorKind, Read, WriteBatch};
use lsm_wal::{JournalWriter, Record, Wal, WalOptions, read_journal};

use crate::harness::{self, DIR, kill, names, open, small_options, tree, write_file};

/// A closed store with a value in a table.
fn closed() -> FaultFs {
    let (_, fs) = harness::disk();
    let db = open(&fs, 0).unwrap();
    db.put("k", "v").unwrap();
    db.close().unwrap();
    fs
}

fn open_read_only(fs: &FaultFs) -> lsm_engine::Result<Db> {
    let builder = Db::builder(DIR).options(small_options(0));
    builder.fs(std::sync::Arc::new(fs.clone())).open_read_only()
}

/// An open answers that this file is corrupt, and changes nothing.
fn refused(fs: &FaultFs, name: &str, what: &str) {
    let before = tree(fs);
    let error = open(fs, 0).expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
    assert!(error.to_string().contains(&format!("corrupt {DIR}/{name} at ")), "{what}: {error}");
    assert_eq!(tree(fs), before, "{what}: something was changed");
}

#[test]
fn a_stray_file_whose_number_is_near_the_end_is_refused_by_name() {
    let last = FILE_NUMBER_END - 1;
    for name in [
        FileName::Table(last),
        FileName::TableTemp(last),
        FileName::Manifest(last),
        FileName::Table(last - 1000),
        FileName::Log(last),
    ] {
        let fs = closed();
        write_file(&fs, &name.to_string(), b"");
        refused(&fs, &name.to_string(), &name.to_string());
        // It stands in nobody's way who writes nothing, and is not the store's.
        if !matches!(name, FileName::Log(_)) {
            assert_eq!(open_read_only(&fs).unwrap().get("k").unwrap().unwrap(), b"v");
        }
        fs.remove(&name.path(Path::new(DIR))).unwrap();
        assert_eq!(open(&fs, 0).unwrap().get("k").unwrap().unwrap(), b"v");
    }
}

#[test]
fn a_stray_file_with_a_large_number_is_one_like_any_other() {
    let fs = closed();
    let large = FileName::Table(FILE_NUMBER_END - (1 << 33));
    write_file(&fs, &large.to_string(), b"");
    for value in ["1", "2", "3"] {
        let db = open(&fs, 0).unwrap();
        db.put("k", value).unwrap();
        db.compact::<&str>(..).unwrap();
        assert_eq!(db.get("k").unwrap().unwrap(), value.as_bytes());
        kill(&fs, db);
    }
    assert!(!fs.exists(&large.path(Path::new(DIR))).unwrap());
}

/// The MANIFEST's name, its owner, the records and the state that they add up to.
fn read(fs: &FaultFs) -> (String, u128, Vec<Vec<u8>>, State) {
    let name = names(fs, |name| matches!(name, FileName::Manifest(_))).remove(0);
    let path = Path::new(DIR).join(&name);
    let mut replay = Replay::new(&path);
    let mut edits = Vec::new();
    let report = read_journal(fs, &path, &mut |offset, payload| {
        edits.push(payload.to_vec());
        replay.record(offset, payload)
    });
    (name, report.unwrap().owner, edits, replay.finish().unwrap())
}

/// Appends an edit to the MANIFEST, as if the store had come there by itself.
fn record(fs: &FaultFs, edit: &VersionEdit) -> String {
    let (name, owner, edits, _) = read(fs);
    let path = Path::new(DIR).join(&name);
    let Some(FileName::Manifest(number)) = FileName::parse(&name) else { panic!("{name}") };
    fs.remove(&path).unwrap();
    let mut journal = JournalWriter::create(fs, &path, number, 7, owner).unwrap();
    edits.iter().chain([&edit.encode()]).for_each(|edit| journal.append(edit).unwrap());
    name
}

#[test]
fn a_manifest_that_leaves_nothing_to_hand_out_is_refused() {
    type Change = fn(&mut VersionEdit);
    let changes: [(&str, Change); 6] = [
        ("file numbers", |edit| edit.next_file_number = Some(FILE_NUMBER_END)),
        ("file numbers beyond 56 bits", |edit| edit.next_file_number = Some(u64::MAX)),
        ("last sequence", |edit| edit.last_seq = Some(Seq::MAX)),
        ("first sequence", |edit| edit.first_seq = Some(Seq::MAX)),
        ("a sequence that a few writes reach", |edit| {
            edit.last_seq = Some(Seq::new(Seq::MAX.get() - 5));
        }),
        ("segments", |edit| {
            edit.log_floor = Some(LogFloor {
                first_segment: FILE_NUMBER_END - 1,
                highest_segment: FILE_NUMBER_END - 1,
                ..edit.log_floor.unwrap()
            });
        }),
    ];
    for (what, change) in changes {
        let fs = closed();
        let State { log_floor, clean_close, .. } = read(&fs).3;
        let log_floor = Some(log_floor);
        let mut edit = VersionEdit { log_floor, clean_close, ..VersionEdit::default() };
        change(&mut edit);
        let name = record(&fs, &edit);
        refused(&fs, &name, what);
        // Whoever only reads may find that it can be read; not that it panics.
        drop(open_read_only(&fs));
    }
}

#[test]
fn a_log_that_leaves_no_sequence_is_refused() {
    let fs = closed();
    let (_, owner, _, state) = read(&fs);
    // Without its close the store is one that died.
    record(&fs, &VersionEdit::default());
    let number = state.log_floor.first_segment;
    for name in names(&fs, |name| matches!(name, FileName::Log(_))) {
        fs.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let options = WalOptions { segment_size: 4096, owner, ..WalOptions::default() };
    let shared = std::sync::Arc::new(fs.clone());
    let wal = Wal::create(shared, Path::new(DIR), options, number, Box::new(|| 5)).unwrap();
    let mut batch = WriteBatch::new();
    batch.put("k", "w");
    let first_seq = Seq::new(Seq::MAX.get() - 3);
    let end = wal.append(&[Record { first_seq, payload: batch.as_bytes() }]).unwrap();
    wal.sync(end).unwrap();
    refused(&fs, &FileName::Log(number).to_string(), "a sequence near the end");
    assert_eq!(open_read_only(&fs).unwrap().get("k").unwrap().unwrap(), b"w");
}

#[test]
fn the_last_keyspace_id_is_not_handed_out_again_and_again() {
    let fs = closed();
    let clean_close = read(&fs).3.clean_close;
    let next_keyspace_id = Some(u32::MAX);
    record(&fs, &VersionEdit { next_keyspace_id, clean_close, ..VersionEdit::default() });
    let db = open(&fs, 0).unwrap();
    assert_eq!(db.keyspace("late").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(db.get("k").unwrap().unwrap(), b"v");
}
