//! Directories of every format version are kept in `tests/golden` and must open for ever.
//!
//! `LSM_REWRITE_GOLDEN=1` lets the tests called `rewrite` write those of the present version anew; a
//! version that is frozen is never written again.

mod levels;

use std::fs;
use std::path::{Path, PathBuf};

use lsm_engine::{Compression, Db, Durability, Options, Read, WriteBatch, WriteOptions};

/// Keys of the default keyspace.
const KEYS: u32 = 120;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v0").join(name)
}

fn options() -> Options {
    Options {
        memtable_size: Some(16 << 10),
        max_log_bytes: Some(16 << 10),
        block_size: 512,
        background_threads: 0,
        compression: Compression::Lz4,
        ..Options::default()
    }
}

fn open(dir: &Path) -> Db {
    Db::builder(dir).options(options()).open().unwrap()
}

/// Every third key is written twice and every fifth removed at last.
fn fill(db: &Db) {
    let side = db.keyspace("side").unwrap();
    let gone = db.keyspace("gone").unwrap();
    gone.put("k", "v").unwrap();
    for key in 0..KEYS {
        let mut batch = WriteBatch::new();
        batch.put(key.to_be_bytes(), format!("first {key} ").repeat(4));
        batch.put_in(&side, key.to_string(), []);
        db.write(batch, &WriteOptions::durability(Durability::Buffered)).unwrap();
        if key == KEYS / 2 {
            // Compressed blocks in the last level.
            db.compact::<&str>(..).unwrap();
            db.drop_keyspace("gone").unwrap();
        }
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    for key in (0..KEYS).step_by(3) {
        db.put(key.to_be_bytes(), format!("second {key}")).unwrap();
    }
    for key in (0..KEYS).step_by(5) {
        db.delete(key.to_be_bytes()).unwrap();
    }
}

fn check(db: &Db) {
    for key in 0..KEYS {
        let expected = match key {
            _ if key % 5 == 0 => None,
            _ if key % 3 == 0 => Some(format!("second {key}")),
            _ => Some(format!("first {key} ").repeat(4)),
        };
        let found = db.get(key.to_be_bytes()).unwrap();
        assert_eq!(found.as_deref(), expected.as_ref().map(String::as_bytes), "key {key}");
    }
    assert_eq!(db.prefix("").count() as u32, KEYS - KEYS / 5);
    let names: Vec<_> = db.keyspaces().unwrap().iter().map(|k| k.name().to_owned()).collect();
    assert_eq!(names, ["default", "side"]);
    let side = db.keyspace("side").unwrap();
    assert_eq!(side.prefix("").count() as u32, KEYS);
    assert_eq!(side.get("7").unwrap().unwrap(), b"");
    assert!(db.verify().unwrap().is_clean());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn is_to_be_rewritten() -> bool {
    std::env::var_os("LSM_REWRITE_GOLDEN").is_some()
}

#[test]
fn directories_of_version_0_open() {
    // The last one has a log with an end, as closes left it once.
    for (name, is_closed) in [("closed", true), ("unclosed", false), ("closed_with_log", true)] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join(name);
        copy(&golden(name), &dir);
        let db = Db::builder(&dir).options(options()).open_read_only().unwrap();
        check(&db);
        drop(db);
        let db = open(&dir);
        assert_eq!(db.recovery_report().was_closed, is_closed, "{name}");
        assert_eq!(db.recovery_report().replayed_records == 0, is_closed, "{name}");
        check(&db);
        // And it goes on from there.
        db.put("new", "value").unwrap();
        db.compact::<&str>(..).unwrap();
        db.delete("new").unwrap();
        check(&db);
        db.close().unwrap();
        check(&open(&dir));
    }
}

#[test]
fn rewrite() {
    if !is_to_be_rewritten() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for name in ["closed", "unclosed"] {
        let _ = fs::remove_dir_all(golden(name));
    }
    let db = open(&data);
    fill(&db);
    db.sync().unwrap();
    copy(&data, &golden("unclosed"));
    db.close().unwrap();
    copy(&data, &golden("closed"));
}
