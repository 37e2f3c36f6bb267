//! `stats`, `levels`, `verify`, `flush` and `compact`.

use lsm_engine::{Db, Options};
use lsm_server::wire::tree::Table;
use lsm_server::wire::{Stats, Tree};

use crate::lsm::{Lsm, bare, damage, items, run};

fn filled() -> Lsm {
    let lsm = Lsm::new();
    lsm.run_with(&["import"], items(3_000).as_bytes()).ok();
    lsm
}

/// The tables of the default keyspace.
fn tables(lsm: &Lsm) -> Vec<Table> {
    let tree: Tree = serde_json::from_str(&lsm.ok(&["levels", "--json"])).unwrap();
    tree.keyspaces[0].levels.iter().flat_map(|level| level.tables.clone()).collect()
}

#[test]
fn figures_and_drawings_tell_of_the_store() {
    let lsm = filled();
    let stats = lsm.ok(&["stats"]);
    assert!(stats.contains("sequence             3,000\n"), "{stats}");
    assert!(stats.contains("keyspace default     about 3,000 entries"), "{stats}");
    let levels = lsm.ok(&["levels"]);
    assert!(levels.starts_with("keyspace default\n"), "{levels}");
    let row = levels.lines().find(|line| line.contains("L6")).unwrap();
    assert!(row.contains("3,000") && row.ends_with("█"), "{levels}");
}

#[test]
fn documents_are_those_of_a_server() {
    let lsm = filled();
    let stats: Stats = serde_json::from_str(&lsm.ok(&["stats", "--json"])).unwrap();
    assert_eq!((stats.seq, stats.keyspaces[0].entries_estimate), (3_000, 3_000));
    let len = |part: &str| -> u64 {
        lsm.files(part).iter().map(|file| std::fs::metadata(file).unwrap().len()).sum()
    };
    assert_eq!((stats.disk.tables, stats.disk.manifest), (len(".sst"), len("MANIFEST")));
    assert_eq!(tables(&lsm).iter().map(|table| table.entries).sum::<u64>(), 3_000);
}

#[test]
fn a_compaction_leaves_one_table_and_everything_in_it() {
    let lsm = Lsm::new();
    for value in ["1", "2", "3"] {
        lsm.ok(&["put", "a", value]);
        lsm.ok(&["put", "b", value]);
        lsm.ok(&["flush"]);
    }
    lsm.ok(&["del", "b"]);
    lsm.ok(&["compact"]);
    let merged = tables(&lsm);
    assert_eq!((merged.len(), merged[0].entries), (1, 1));
    assert_eq!(lsm.ok(&["scan"]), "a\t3\n");
    lsm.ok(&["put", "z", "1"]);
    let two = tables(&lsm);
    assert_eq!(two.len(), 2);
    // Behind every key there is no table to merge.
    lsm.ok(&["compact", "--start", "zz"]);
    assert_eq!(tables(&lsm), two);
}

#[test]
fn a_whole_store_verifies() {
    let lsm = filled();
    let report = lsm.ok(&["verify"]);
    assert!(report.starts_with("clean: 1 table with 3000 entries in "), "{report}");
    let json = lsm.ok(&["verify", "--json"]);
    assert!(json.starts_with("{\"is_clean\":true,\"tables\":1,"), "{json}");
}

#[test]
fn damage_is_named_with_file_and_offset() {
    let lsm = filled();
    lsm.ok(&["put", "key-0", "before the others"]);
    let tables = lsm.files(".sst");
    assert_eq!(tables.len(), 2);
    damage(&tables[0], 100);
    let name = tables[0].to_str().unwrap();
    let ran = lsm.run(&["verify"]);
    ran.failed(4, &["1 file is damaged"]);
    let report = String::from_utf8(ran.stdout).unwrap();
    assert!(report.contains(&format!("corrupt {name} at 0: ")), "{report}");
    assert!(report.contains("whole are: 1 table with 1 entry"), "{report}");
    lsm.run(&["get", "key-000000"]).failed(4, &[name, " at 0: ", "lsm verify"]);
    lsm.run(&["export"]).failed(4, &[name]);
    // What is not damaged can still be read.
    assert_eq!(lsm.ok(&["get", "key-0"]), "before the others");
    assert_eq!(lsm.ok(&["get", "key-002999"]).len(), 100);
    damage(&tables[1], 10);
    lsm.run(&["verify"]).failed(4, &["2 files are damaged"]);
}

#[test]
fn a_store_that_cannot_be_opened_is_verified_all_the_same() {
    let lsm = filled();
    let (manifest, table) = (&lsm.files("MANIFEST")[0], &lsm.files(".sst")[0]);
    damage(manifest, 100);
    damage(table, 100);
    let ran = lsm.run(&["verify", "--json"]);
    ran.failed(4, &["2 files are damaged"]);
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let damage = report["damage"].as_array().unwrap();
    assert!(damage[0].as_str().unwrap().contains(manifest.to_str().unwrap()), "{report}");
    assert!(damage[1].as_str().unwrap().contains(table.to_str().unwrap()), "{report}");
    lsm.run(&["get", "key-000000"]).failed(4, &["MANIFEST"]);
}

#[test]
fn a_file_that_is_gone_is_told_once_by_whatever_path() {
    let lsm = filled();
    let table = &lsm.files(".sst")[0];
    std::fs::remove_file(table).unwrap();
    let folder = lsm.db().parent().unwrap().to_owned();
    let ran = run(bare(&["verify", "--db", "db"]).current_dir(folder), b"");
    ran.failed(4, &["1 file is damaged"]);
    let report = String::from_utf8(ran.stdout).unwrap();
    assert!(report.contains(table.to_str().unwrap()), "{report}");
}

#[test]
fn a_verification_makes_no_lock() {
    let lsm = filled();
    let lock = lsm.db().join("LOCK");
    std::fs::remove_file(&lock).unwrap();
    for _ in 0..2 {
        lsm.run(&["verify"]).failed(4, &["1 file is damaged"]);
        assert!(!lock.exists());
    }
    // Nor does that of one that has lost CURRENT as well.
    std::fs::remove_file(lsm.db().join("CURRENT")).unwrap();
    lsm.run(&["verify"]).failed(4, &["1 file is damaged"]);
    assert!(!lock.exists());
}

#[test]
fn an_unfinished_table_is_damage_only_where_nobody_can_tell() {
    let lsm = filled();
    lsm.ok(&["put", "key-0", "before the others"]);
    let tables = lsm.files(".sst");
    let unfinished = lsm.db().join("000900.sst");
    std::fs::write(&unfinished, b"the begi").unwrap();
    let said = "the store cannot be opened: only tables were checked";
    // Nobody names it: a store that can be opened takes no notice of it.
    assert!(lsm.ok(&["verify"]).starts_with("clean: 2 tables"));
    std::fs::remove_file(&tables[0]).unwrap();
    let ran = lsm.run(&["verify"]);
    ran.failed(4, &["1 file is damaged"]);
    let report = String::from_utf8(ran.stdout).unwrap();
    assert!(report.contains(tables[0].to_str().unwrap()), "{report}");
    assert!(report.contains("whole are: 1 table ") && report.contains(said), "{report}");
    // Without the MANIFEST it may be a table like any other.
    damage(&lsm.files("MANIFEST")[0], 100);
    let ran = lsm.run(&["verify", "--json"]);
    ran.failed(4, &["2 files are damaged"]);
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert!(report["damage"][1].as_str().unwrap().contains("000900.sst"), "{report}");
    assert_eq!((&report["tables"], &report["tables_only"]), (&1.into(), &true.into()));
}

#[test]
fn a_file_of_another_store_is_named() {
    let [this, other] = [filled(), filled()];
    [&this, &other].into_iter().for_each(Lsm::kill_after_a_write);
    let exchange = |part: &str| {
        // The last one: earlier segments of the log may wait to be unlinked.
        let [mine, theirs] = [&this, &other].map(|lsm| lsm.files(part).pop().unwrap());
        assert_eq!(mine.file_name(), theirs.file_name());
        let content = std::fs::read(&mine).unwrap();
        std::fs::copy(&theirs, &mine).unwrap();
        (mine.to_str().unwrap().to_owned(), content)
    };
    let named = |part: &str| {
        let ran = this.run(&["verify", "--json"]);
        ran.failed(4, &[" damaged; "]);
        let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        let damage = report["damage"].as_array().unwrap().iter();
        assert!(damage.clone().any(|told| told.as_str().unwrap().contains(part)), "{report}");
        damage.len()
    };
    for part in [".log", ".sst"] {
        let (path, content) = exchange(part);
        assert_eq!(named(&path), 1, "{part}");
        this.run(&["get", "key-000000"]).failed(4, &[&path]);
        std::fs::write(&path, content).unwrap();
    }
    // Their MANIFEST says that this log is not theirs.
    let (path, content) = exchange("MANIFEST");
    named(".log");
    std::fs::write(&path, content).unwrap();
    // A store that cannot be opened is told of the table as well.
    let (log, _) = exchange(".log");
    let (table, _) = exchange(".sst");
    assert_eq!((named(&log), named(&table)), (2, 2));
}

#[test]
fn a_file_that_is_gone_is_named() {
    let lsm = filled();
    let table = &lsm.files(".sst")[0];
    std::fs::remove_file(table).unwrap();
    let ran = lsm.run(&["verify"]);
    ran.failed(4, &["1 file is damaged"]);
    assert!(String::from_utf8(ran.stdout).unwrap().contains(table.to_str().unwrap()));
    lsm.run(&["put", "a", "1"]).failed(4, &["missing file", table.to_str().unwrap()]);
    std::fs::remove_file(lsm.db().join("CURRENT")).unwrap();
    // Never a fresh database over the remains of another.
    assert_eq!(lsm.run(&["put", "a", "1"]).code, Some(4));
    assert_eq!(lsm.run(&["get", "a"]).code, Some(4));
}

/// Counts the keys with a stderr that takes nothing: what is told there changes nothing else.
fn untold(lsm: &Lsm) -> String {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = lsm.command(&["scan", "--count"]).stderr(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn a_manifest_whose_end_was_lost_is_told_of() {
    let lsm = filled();
    let manifest = &lsm.files("MANIFEST")[0];
    let whole = std::fs::read(manifest).unwrap();
    std::fs::write(manifest, [&whole[..], &[0xa5; 100]].concat()).unwrap();
    assert_eq!(untold(&lsm).into_bytes(), lsm.run(&["scan", "--count"]).stdout);
    for arguments in [&["verify"][..], &["get", "key-000000"], &["put", "c", "3"]] {
        let ran = lsm.run(arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let told = "lsm: the end of the MANIFEST, 100 bytes, did not survive a crash\n";
        assert_eq!(ran.stderr, told, "{arguments:?}");
    }
    // The open that wrote has begun another.
    assert!(lsm.ok(&["verify"]).starts_with("clean: "));
}

#[test]
fn a_log_whose_end_was_lost_is_told_of() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "a", "1"]);
    // Not closed: the lock is given back with the process, here with the copy.
    let origin = tempfile::tempdir().unwrap();
    // Nobody makes a file while the others are copied.
    let options = Options { background_threads: 0, ..Options::default() };
    let open = Db::builder(origin.path().join("data")).options(options).open().unwrap();
    open.put("a", "1").unwrap();
    open.put("b", [7; 1_000]).unwrap();
    for entry in std::fs::read_dir(lsm.db()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for entry in std::fs::read_dir(origin.path().join("data")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, lsm.db().join(from.file_name().unwrap())).unwrap();
    }
    let log = &lsm.files(".log")[0];
    let mut bytes = std::fs::read(log).unwrap();
    let last = bytes.iter().rposition(|byte| *byte == 7).unwrap();
    bytes[last] ^= 1;
    std::fs::write(log, bytes).unwrap();
    assert_eq!(untold(&lsm), "1\n");
    for arguments in [&["verify"][..], &["get", "a"], &["scan"], &["put", "c", "3"]] {
        let ran = lsm.run(arguments);
        assert_eq!((ran.code, ran.stderr.lines().count()), (Some(0), 1), "{}", ran.stderr);
        assert!(ran.stderr.contains("did not survive a crash"), "{}", ran.stderr);
        assert!(ran.stderr.contains(".log at "), "{}", ran.stderr);
    }
    // What was dropped is gone by then.
    assert_eq!(lsm.ok(&["scan"]), "a\t1\nc\t3\n");
}
