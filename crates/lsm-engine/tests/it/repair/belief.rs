//! Which MANIFEST is believed, and what comes back when none is.

use std::path::Path;

use lsm_base::fs::{Keep, MemFs, OpKind};
use lsm_base::{FileName, Fs};
use lsm_wal::{Finding, Inspector};

use super::{assert_told, content, differences, open, repair, repaired, specimens, truth};
use crate::harness::{DIR, disk, kill, names, on, patch_file, read_file, write_file};

/// Where the edits of a MANIFEST begin.
fn edits(image: &MemFs, manifest: &str) -> Vec<usize> {
    let inspector = Inspector::open(image, &Path::new(DIR).join(manifest)).unwrap();
    let records = inspector.filter_map(|finding| match finding.unwrap() {
        Finding::Record(record) => Some(record.offset as usize),
        Finding::Gap { .. } => None,
    });
    records.collect()
}

#[test]
fn a_manifest_that_lost_its_last_edits_is_not_believed() {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    for round in 0..3_u32 {
        for key in 0..30_u32 {
            db.put((key + 10 * round).to_be_bytes(), round.to_be_bytes()).unwrap();
        }
        db.flush().unwrap();
    }
    db.compact::<&str>(..).unwrap();
    let truth = content(&db);
    kill(&fs, db);
    let manifest = names(&memory, |name| matches!(name, FileName::Manifest(_))).pop().unwrap();
    let bytes = read_file(&memory, &manifest);
    let mut doubted = 0;
    for end in edits(&memory, &manifest).into_iter().skip(1) {
        let image = memory.crash(Keep::Everything);
        write_file(&image, &manifest, &bytes[..end]);
        let report = repair(&image).unwrap();
        // Nothing is lost but the certainty.
        assert_eq!(repaired(&image), truth, "cut at {end}: {report:#?}");
        doubted += usize::from(!report.is_lossless());
    }
    assert!(2 < doubted, "{doubted} cuts were noticed");
}

/// What a crash leaves of an edit that was being appended.
#[test]
fn what_is_dropped_from_the_end_of_the_manifest_is_counted() {
    for specimen in specimens() {
        let image = specimen.make();
        let name = names(&image, |name| matches!(name, FileName::Manifest(_))).pop().unwrap();
        let whole = read_file(&image, &name);
        write_file(&image, &name, &[&whole[..], &[0xa5; 100]].concat());
        let report = repair(&image).unwrap();
        assert_eq!(report.manifest_bytes_dropped, 100);
        assert!(report.is_lossless(), "{report:#?}");
        assert_eq!(repaired(&image), truth(specimen));
    }
}

/// A MANIFEST that was made long by mistake keeps nobody waiting, and what it says counts.
#[test]
fn a_manifest_of_gigabytes_is_read_no_further_than_an_edit_may_reach() {
    for specimen in specimens() {
        let image = specimen.make();
        let name = names(&image, |name| matches!(name, FileName::Manifest(_))).pop().unwrap();
        image.open_writable(&Path::new(DIR).join(&name)).unwrap().allocate(4 << 30).unwrap();
        let fs = on(&image);
        let error = open(&fs, DIR).unwrap_err().to_string();
        assert!(error.contains(&name) && error.contains("more bytes follow"), "{error}");
        let read = fs.trace().into_iter().filter(|op| op.kind == OpKind::Read).map(|op| op.len);
        assert!(read.sum::<u64>() < 4 << 20);
        fs.clear_trace();
        let report = repair(&fs).unwrap();
        assert!(!report.is_lossless());
        let read = fs.trace().into_iter().filter(|op| op.kind == OpKind::Read).map(|op| op.len);
        assert!(read.sum::<u64>() < 1 << 30);
        assert_eq!(repaired(&image), truth(specimen), "{report:#?}");
    }
}

/// A store with two tables, of which the younger holds the tombstones of the older's keys and a
/// keyspace that was dropped; and the files of before that.
fn with_obsolete_tables() -> (MemFs, Vec<(String, Vec<u8>)>) {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    let gone = db.keyspace("gone").unwrap();
    for key in 0..10_u32 {
        db.put(key.to_be_bytes(), "old").unwrap();
        gone.put(key.to_be_bytes(), "dropped").unwrap();
    }
    db.flush().unwrap();
    let is_table = |name| matches!(name, FileName::Table(_));
    let tables = names(&memory, is_table).into_iter();
    let obsolete = tables.map(|name| (name.clone(), read_file(&memory, &name))).collect();
    for key in 0..5_u32 {
        db.delete(key.to_be_bytes()).unwrap();
    }
    drop(gone);
    db.drop_keyspace("gone").unwrap();
    db.compact::<&str>(..).unwrap();
    db.close().unwrap();
    (memory, obsolete)
}

/// The MANIFEST of a close is unlinked by the next open, which a power loss may undo.
#[test]
fn the_manifest_of_an_earlier_close_does_not_hide_what_was_written_since() {
    let image = specimens()[0].make();
    let is_manifest = |name| matches!(name, FileName::Manifest(_));
    let old = names(&image, is_manifest).pop().unwrap();
    let bytes = read_file(&image, &old);
    let fs = on(&image);
    let db = open(&fs, DIR).unwrap();
    db.put("since", "then").unwrap();
    let truth = content(&db);
    kill(&fs, db);
    for name in names(&image, |name| name == FileName::Current || is_manifest(name)) {
        image.remove(&Path::new(DIR).join(name)).unwrap();
    }
    write_file(&image, &old, &bytes);
    let report = repair(&image).unwrap();
    let found = repaired(&image);
    assert_told(&truth, &found, &report);
    assert_eq!(found, truth);
}

#[test]
fn what_the_manifest_no_longer_names_does_not_come_back() {
    let (memory, obsolete) = with_obsolete_tables();
    let truth = content(&open(&memory.crash(Keep::Everything), DIR).unwrap());
    assert_eq!(truth.len(), 5);
    assert_eq!(obsolete.len(), 2);
    for (name, bytes) in &obsolete {
        assert!(!memory.exists(&Path::new(DIR).join(name)).unwrap(), "{name} is not obsolete");
        write_file(&memory, name, bytes);
    }
    let report = repair(&memory).unwrap();
    assert!(report.is_lossless(), "{report:#?}");
    assert_eq!(report.tables_skipped, 2);
    assert_eq!(repaired(&memory), truth);
}

#[test]
fn writes_to_a_keyspace_that_was_dropped_do_not_come_back() {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    db.put("k", "v").unwrap();
    let gone = db.keyspace("gone").unwrap();
    gone.put("k", "dropped").unwrap();
    drop(gone);
    db.drop_keyspace("gone").unwrap();
    let truth = content(&db);
    kill(&fs, db);
    let report = repair(&memory).unwrap();
    assert!(report.is_lossless() && report.guessed_names.is_empty(), "{report:#?}");
    assert_eq!(report.log_records, 2, "the log was to have both writes");
    assert_eq!(repaired(&memory), truth);
}

#[test]
fn without_a_manifest_what_comes_back_is_told() {
    let (memory, obsolete) = with_obsolete_tables();
    let truth = content(&open(&memory.crash(Keep::Everything), DIR).unwrap());
    obsolete.iter().for_each(|(name, bytes)| write_file(&memory, name, bytes));
    for name in names(&memory, |name| matches!(name, FileName::Manifest(_))) {
        memory.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let report = repair(&memory).unwrap();
    let found = repaired(&memory);
    assert!(!differences(&truth, &found).is_empty(), "the obsolete tables were to be read");
    assert_told(&truth, &found, &report);
}

#[test]
fn without_current_and_manifest_the_tables_and_the_log_tell_all() {
    for specimen in specimens() {
        let image = specimen.make();
        for name in names(&image, |name| matches!(name, FileName::Current | FileName::Manifest(_)))
        {
            image.remove(&Path::new(DIR).join(name)).unwrap();
        }
        let report = repair(&image).unwrap();
        assert!(!report.is_lossless());
        assert_eq!(repaired(&image), truth(specimen), "{report:#?}");
        // The log alone has a keyspace of every key, but no name of it.
        assert_eq!(report.guessed_names, Vec::<String>::new());
    }
}

#[test]
fn a_keyspace_that_only_the_log_has_gets_a_name() {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    db.keyspace("fruit").unwrap().put("apple", "red").unwrap();
    kill(&fs, db);
    for name in names(&memory, |name| matches!(name, FileName::Current | FileName::Manifest(_))) {
        memory.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let report = repair(&memory).unwrap();
    assert_eq!(report.guessed_names, ["keyspace-1"]);
    let found = repaired(&memory);
    assert_eq!(found[&("keyspace-1".to_owned(), b"apple".to_vec())], b"red");
}

#[test]
fn a_keyspace_whose_edit_is_lost_is_told() {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    db.keyspace("fruit").unwrap().put("apple", "red").unwrap();
    let truth = content(&db);
    kill(&fs, db);
    let manifest = names(&memory, |name| matches!(name, FileName::Manifest(_))).pop().unwrap();
    let bytes = read_file(&memory, &manifest);
    let last = *edits(&memory, &manifest).last().unwrap();
    // To its reader the last record looks torn.
    patch_file(&memory, &manifest, last as u64, &[bytes[last] ^ 1]);
    let report = repair(&memory).unwrap();
    assert_eq!(report.guessed_names, ["keyspace-1"]);
    let found = repaired(&memory);
    assert_eq!(found[&("keyspace-1".to_owned(), b"apple".to_vec())], b"red");
    assert_told(&truth, &found, &report);
}
