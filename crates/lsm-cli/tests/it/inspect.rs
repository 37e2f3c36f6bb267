//! `inspect` on each kind of file, whole and damaged.

use std::path::Path;

use lsm_engine::{Db, WriteBatch};
use serde_json::Value;

use crate::lsm::{Lsm, bare, damage, items, run};

fn inspect(kind: &str, path: &Path, more: &[&str]) -> crate::lsm::Ran {
    run(bare(&["inspect", kind]).arg(path).args(more), b"")
}

fn json(ran: &crate::lsm::Ran) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// A database whose log holds three records, as a crash leaves it.
fn with_log() -> (Lsm, std::path::PathBuf) {
    let lsm = Lsm::new();
    let db = Db::open(lsm.db()).unwrap();
    db.put("apple", "red").unwrap();
    db.delete("banana").unwrap();
    let mut batch = WriteBatch::new();
    batch.put(b"\xff", "binary");
    batch.put("z", "");
    db.write(batch, &lsm_engine::WriteOptions::default()).unwrap();
    // The files of a store that is open are those of one that was killed.
    let segment = lsm.file("000001.log", &std::fs::read(&lsm.files("1.log")[0]).unwrap());
    drop(db);
    (lsm, segment)
}

#[test]
fn a_segment_shows_its_records_and_operations() {
    let (lsm, segment) = with_log();
    let shown = inspect("wal", &segment, &[]).ok();
    for words in [
        "segment 1 of store ",
        ", epoch ",
        "80  link ",
        "1: put apple, 3 bytes, keyspace 0",
        "2: delete banana, keyspace 0",
        "3: put b\"\\xff\", 6 bytes, keyspace 0",
        "4: put z, 0 bytes, keyspace 0",
        "unused ",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let document = json(&inspect("wal", &segment, &["--json"]));
    assert_eq!(document["records"][1]["ops"][0]["key_b64"], "YXBwbGU=");
    assert_eq!(document["damaged"], 0);
    // Which store it is of, the MANIFEST says in the same words.
    let manifest = json(&inspect("manifest", &lsm.files("MANIFEST")[0], &["--json"]));
    let id = document["db_id"].as_str().unwrap();
    assert_eq!(manifest["state"]["db_id"], id);
    assert_eq!(manifest["db_id"], id);
    assert!(id.len() == 32 && id.bytes().any(|digit| digit != b'0'), "{id}");
    // With --db, the file is one of that directory.
    let name = segment.file_name().unwrap().to_owned();
    std::fs::rename(&segment, lsm.db().join(&name)).unwrap();
    assert_eq!(lsm.run(&["inspect".as_ref(), "wal".as_ref(), name.as_os_str()]).code, Some(0));
}

#[test]
fn a_damaged_segment_is_shown_around_the_damage() {
    let (_lsm, segment) = with_log();
    let offset = json(&inspect("wal", &segment, &["--json"]))["records"][1]["offset"].as_u64();
    let offset = offset.unwrap() as usize;
    damage(&segment, offset + 34);
    let ran = inspect("wal", &segment, &[]);
    ran.failed(4, &["1 damaged place", segment.to_str().unwrap()]);
    let shown = String::from_utf8(ran.stdout).unwrap();
    assert!(shown.contains(&format!("{offset:>12}  DAMAGED  data, ")), "{shown}");
    assert!(shown.contains("2: delete banana") && shown.contains("4: put z"), "{shown}");
    // A header that is gone leaves a gap; what stands behind it is found.
    damage(&segment, offset + 2);
    let ran = inspect("wal", &segment, &["--json"]);
    ran.failed(4, &["1 damaged place"]);
    assert_eq!(json(&ran)["records"][1]["kind"], "damaged");
    assert_eq!(json(&ran)["records"][2]["ops"][0]["op"], "delete");
    // Without the file's header no record can be told from noise.
    damage(&segment, 30);
    inspect("wal", &segment, &[]).failed(4, &["at 0", "header"]);
}

#[test]
fn a_segment_of_many_operations_takes_little_memory() {
    let lsm = Lsm::new();
    let db = Db::open(lsm.db()).unwrap();
    let mut batch = WriteBatch::new();
    for number in 0_u32..100_000 {
        batch.put(number.to_be_bytes(), "");
    }
    db.write(batch, &lsm_engine::WriteOptions::default()).unwrap();
    let buffered = lsm_engine::WriteOptions::durability(lsm_engine::Durability::Buffered);
    for number in 0_u32..50_000 {
        db.put_with(number.to_be_bytes(), "", &buffered).unwrap();
    }
    for form in [&[][..], &["--json"]] {
        // What is kept of an operation takes hundreds of bytes: 64 MiB are too few for all of them.
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -d 65536 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_lsm")]);
        let shown =
            run(limited.args(["inspect", "wal"]).arg(&lsm.files("1.log")[0]).args(form), b"");
        assert_eq!((shown.code, &shown.stderr[..]), (Some(0), ""));
        let text = String::from_utf8(shown.stdout).unwrap();
        assert_eq!(text.matches("put").count(), 150_000);
    }
}

#[test]
fn a_manifest_shows_its_edits_and_what_they_add_up_to() {
    let lsm = Lsm::new();
    lsm.run_with(&["import"], items(10).as_bytes()).ok();
    let manifest = &lsm.files("MANIFEST")[0];
    let shown = inspect("manifest", manifest, &[]).ok();
    for words in [
        "new keyspace 0 `default`",
        ".sst key-000000 to key-000009, ",
        "no log before segment ",
        "closed: the next log begins with segment ",
        "the tree that they add up to",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let document = json(&inspect("manifest", manifest, &["--json"]));
    assert_eq!(document["state"]["keyspaces"][0]["tables"][0]["entries"], 10);
    let records = document["records"].as_array().unwrap();
    let last = records.last().unwrap()["offset"].as_u64().unwrap() as usize;
    damage(manifest, last + 34);
    let ran = inspect("manifest", manifest, &["--json"]);
    ran.failed(4, &["1 damaged place"]);
    let found = json(&ran);
    assert_eq!(found["records"].as_array().unwrap().len(), records.len());
    // The edits behind a lost one cannot be believed as a whole.
    assert_eq!(found["state"], Value::Null);
}

#[test]
fn a_table_shows_its_blocks_and_the_damaged_one_in_its_place() {
    let lsm = Lsm::new();
    lsm.run_with(&["import"], items(1_000).as_bytes()).ok();
    let table = &lsm.files(".sst")[0];
    let shown = inspect("sst", table, &[]).ok();
    assert!(shown.contains("entries      1000, of them 0 tombstones"), "{shown}");
    let whole = json(&inspect("sst", table, &["--json"]));
    let blocks = whole["blocks"].as_array().unwrap();
    assert!(2 < blocks.len());
    let offset = blocks[1]["offset"].as_u64().unwrap() as usize;
    damage(table, offset + 50);
    let ran = inspect("sst", table, &["--json"]);
    ran.failed(4, &["1 damaged place"]);
    let found = json(&ran);
    assert_eq!((&found["blocks"][0], &found["blocks"][2]), (&blocks[0], &blocks[2]));
    let error = found["blocks"][1]["error"].as_str().unwrap();
    assert!(error.contains(&format!("at {offset}: ")), "{error}");
    let len = std::fs::metadata(table).unwrap().len() as usize;
    damage(table, len - 1);
    inspect("sst", table, &[]).failed(4, &[table.to_str().unwrap()]);
}

#[test]
fn a_file_of_another_kind_is_told_apart() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "a", "1"]);
    lsm.kill_after_a_write();
    let (manifest, segment) = (&lsm.files("MANIFEST")[0], &lsm.files(".log")[0]);
    inspect("wal", manifest, &[]).failed(1, &["lsm inspect manifest"]);
    inspect("manifest", segment, &[]).failed(1, &["lsm inspect wal"]);
    assert_eq!(inspect("sst", segment, &[]).code, Some(4));
    assert_eq!(inspect("wal", &lsm.files(".sst")[0], &[]).code, Some(4));
    inspect("wal", Path::new("no-such-file"), &[]).failed(1, &["no file no-such-file"]);
    inspect("wal", segment, &["--url", "http://127.0.0.1:1"]).failed(2, &["no files"]);
}
