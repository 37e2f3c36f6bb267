//! What everybody does with a store, each in a few lines.

use lsm_engine::{
    Condition, Db, Durability, ErrorKind, Options, Read, Resident, WriteBatch, WriteOptions,
};

use crate::support;

fn open(dir: &tempfile::TempDir) -> Db {
    Db::open(dir.path().join("data")).unwrap()
}

#[test]
fn writes_are_read_and_survive_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    assert!(db.recovery_report().is_new);
    let first = db.put("a", "1").unwrap();
    let second = db.put("b", "2").unwrap();
    assert!(first < second);
    db.delete("a").unwrap();
    assert_eq!(db.get("a").unwrap(), None);
    assert_eq!(db.get_entry("b").unwrap().unwrap().seq, second);
    db.close().unwrap();

    let db = open(&dir);
    assert!(db.recovery_report().was_closed);
    assert_eq!(db.recovery_report().replayed_records, 0);
    assert_eq!(db.get("b").unwrap().unwrap(), b"2");
    assert!(second < db.put("c", "3").unwrap());
}

#[test]
fn writes_survive_without_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let buffered = WriteOptions::durability(Durability::Buffered);
    for i in 0..1_000 {
        db.put_with(format!("k{i:04}"), format!("v{i}"), &buffered).unwrap();
    }
    // The process dies: nothing is flushed, and the lock goes with it. Nobody makes a file while the
    // others are copied.
    db.wait_idle().unwrap();
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("data")).unwrap();
    for entry in std::fs::read_dir(dir.path().join("data")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join("data").join(entry.file_name())).unwrap();
    }
    let db = open(&copy);
    assert_eq!(db.recovery_report().replayed_records, 1_000);
    assert_eq!(db.scan("".."z").count(), 1_000);
    assert_eq!(db.get("k0500").unwrap().unwrap(), b"v500");
}

#[test]
fn scans_go_both_ways_and_meet() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    for key in ["a", "b", "c", "d", "e"] {
        db.put(key, key.to_uppercase()).unwrap();
    }
    db.delete("c").unwrap();
    db.flush().unwrap();
    db.put("b", "new").unwrap();
    let mut scan = db.scan("a".."e");
    let mut keys = Vec::new();
    while let Some(entry) = scan.next() {
        keys.push(entry.unwrap().0);
        keys.extend(scan.next_back().map(|entry| entry.unwrap().0));
    }
    assert_eq!(keys, [b"a", b"d", b"b"]);
    let reversed: Vec<_> = db.prefix("").rev().map(|entry| entry.unwrap()).collect();
    assert_eq!(reversed.len(), 4);
    assert_eq!(reversed[2].1, b"new");
}

#[test]
fn a_snapshot_keeps_what_it_saw() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    db.put("k", "old").unwrap();
    let snapshot = db.snapshot().unwrap();
    db.put("k", "new").unwrap();
    db.flush().unwrap();
    db.compact::<&str>(..).unwrap();
    assert_eq!(snapshot.get("k").unwrap().unwrap(), b"old");
    assert_eq!(db.get("k").unwrap().unwrap(), b"new");
}

#[test]
fn a_batch_spans_keyspaces() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let users = db.keyspace("users").unwrap();
    let mut batch = WriteBatch::new();
    batch.put("k", "default");
    batch.put_in(&users, "k", "users");
    let seq = db.write(batch, &WriteOptions::default()).unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), b"default");
    assert_eq!(users.get_entry("k").unwrap().unwrap().seq, seq);
    drop(users);
    db.close().unwrap();
    let db = open(&dir);
    let users = db.keyspace("users").unwrap();
    assert_eq!(users.get("k").unwrap().unwrap(), b"users");
    db.drop_keyspace("users").unwrap();
    assert_eq!(users.get("k").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(users.put("k", "v").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(db.keyspace("users").unwrap().get("k").unwrap(), None);
}

#[test]
fn conditions_hold_or_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let absent = WriteOptions::condition(Condition::Absent);
    let seq = db.put_with("k", "1", &absent).unwrap();
    let conflict = db.put_with("k", "2", &absent).unwrap_err();
    assert_eq!(conflict.kind(), ErrorKind::Conflict);
    assert_eq!(conflict.current(), Some(Some(seq)));
    db.flush().unwrap();
    let matching = WriteOptions::condition(Condition::Seq(seq));
    let next = db.put_with("k", "3", &matching).unwrap();
    assert_eq!(db.put_with("k", "4", &matching).unwrap_err().current(), Some(Some(next)));
    assert_eq!(db.get("k").unwrap().unwrap(), b"3");
}

#[test]
fn data_larger_than_memory_moves_down_the_levels() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        memtable_size: Some(64 << 10),
        table_size: 64 << 10,
        durability: Durability::Buffered,
        ..Options::default()
    };
    let db = Db::builder(dir.path().join("data")).options(options).open().unwrap();
    for i in 0..20_000_u32 {
        db.put(i.wrapping_mul(2_654_435_761).to_be_bytes(), [i as u8; 100]).unwrap();
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    let metrics = db.metrics();
    assert!(10 < metrics.flushes && 5 < metrics.compactions, "{metrics:?}");
    for i in 0..20_000_u32 {
        let value = db.get(i.wrapping_mul(2_654_435_761).to_be_bytes()).unwrap();
        assert_eq!(value.unwrap(), &[i as u8; 100]);
    }
    assert!(db.verify().unwrap().is_clean());
    assert_eq!(db.prefix("").count(), 20_000);
    db.close().unwrap();
}

#[test]
fn a_second_opener_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let second = Db::open(dir.path().join("data")).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Locked);
    drop(db);
    open(&dir);
}

#[test]
fn a_resident_read_never_goes_to_disk() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    db.put("k", "v").unwrap();
    let known = |db: &Db, key: &str| match db.try_get_resident(key).unwrap() {
        Resident::Known(entry) => Some(entry.map(|entry| entry.value.to_vec())),
        Resident::WouldTouchDisk => None,
    };
    assert_eq!(known(&db, "k"), Some(Some(b"v".to_vec())));
    assert_eq!(known(&db, "absent"), Some(None));
    db.flush().unwrap();
    // The table was never read: even its filter is on disk.
    assert_eq!(known(&db, "k"), None);
    assert_eq!(db.get("k").unwrap().unwrap(), b"v");
    assert_eq!(known(&db, "k"), Some(Some(b"v".to_vec())));
}

#[test]
fn a_compaction_leaves_no_table_behind_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    for round in 0..3 {
        for key in 0..100 {
            db.put_with(
                format!("k{key}"),
                format!("{round}"),
                &WriteOptions::durability(Durability::Buffered),
            )
            .unwrap();
        }
        db.flush().unwrap();
    }
    db.compact::<&str>(..).unwrap();
    let tables: usize = db.levels()[0].levels.iter().map(|level| level.tables.len()).sum();
    db.close().unwrap();
    let files = std::fs::read_dir(dir.path().join("data")).unwrap();
    let files = files.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.ends_with(".sst")
    });
    assert_eq!(files.count(), tables);
}

#[test]
fn a_keyspace_keeps_its_database_open() {
    let dir = tempfile::tempdir().unwrap();
    let users = open(&dir).keyspace("users").unwrap();
    users.put("k", "v").unwrap();
    assert_eq!(users.get("k").unwrap().unwrap(), b"v");
    drop(users);
    let snapshot = open(&dir).snapshot().unwrap();
    assert_eq!(snapshot.keyspace("users").unwrap().get("k").unwrap().unwrap(), b"v");
}

#[test]
fn handles_say_in_short_what_they_are() {
    let db = support::open(&support::memory(), &Options::default());
    let keyspace = db.keyspace("side").unwrap();
    keyspace.put("k", "v").unwrap();
    let snapshot = db.snapshot().unwrap().keyspace("side").unwrap();
    assert_eq!(format!("{db:?}"), r#"Db { dir: "data", seq: 1 }"#);
    assert_eq!(format!("{keyspace:?}"), r#"Keyspace { dir: "data", name: "side" }"#);
    assert_eq!(format!("{snapshot:?}"), r#"Snapshot { dir: "data", keyspace: "side", seq: 1 }"#);
}

/// Each says what the user is to do: nobody else knows.
#[test]
fn a_path_that_can_be_no_directory_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", path("link")).unwrap();
    for (path, message) in [
        ("".into(), "the path of the database is empty"),
        (path("none/data"), "No such file or directory (os error 2); create its parent first"),
        (path("link"), "File exists (os error 17); it is a link that leads nowhere"),
        (path("file"), "Not a directory (os error 20); a file is in the place of a directory"),
        (path("file/data"), "Not a directory (os error 20); a file is in the place of a directory"),
    ] {
        let error = Db::open(&path).unwrap_err().to_string();
        assert!(error.ends_with(message), "{error}");
        let error = Db::builder(&path).open_read_only().unwrap_err().to_string();
        assert!(!error.contains(" : "), "{error}");
    }
}
