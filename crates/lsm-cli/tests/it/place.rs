//! Directory or server, usage, and locks.

use lsm_engine::Db;

use crate::lsm::{Lsm, bare, run};

#[test]
fn exactly_one_place_must_be_named() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "a", "1"]);
    run(&mut bare(&["get", "a"]), b"").failed(2, &["--db DIR or --url"]);
    lsm.run(&["get", "a", "--url", "http://127.0.0.1:1"]).failed(2, &["both given"]);
    assert_eq!(run(bare(&["get", "a"]).env("LSM_DB", lsm.db()), b"").ok(), "1");
    let mut both = bare(&["get", "a"]);
    both.env("LSM_DB", lsm.db()).env("LSM_URL", "http://127.0.0.1:1");
    run(&mut both, b"").failed(2, &["both set"]);
    // An argument hides the environment.
    let mut hidden = lsm.command(&["get", "a"]);
    assert_eq!(run(hidden.env("LSM_URL", "http://127.0.0.1:1"), b"").ok(), "1");
    // The place may stand before the verb as well.
    let db = lsm.db();
    let before = [db.as_os_str(), "get".as_ref(), "a".as_ref()];
    assert_eq!(run(bare(&["--db"]).args(before), b"").ok(), "1");
}

#[test]
fn usage_is_two() {
    let lsm = Lsm::new();
    for arguments in [
        &["nonsense"][..],
        &["get"],
        &["put", "a"],
        &["put", "a", "1", "-x"],
        &["put", "hex:0", "1"],
        &["scan", "--prefix", "a", "--start", "b"],
        &["scan", "--limit", "many"],
        &["get", "a", "-o", "xml"],
        &["export", "--format", "csv", "--done-line"],
        &["get", "a", "--token-file", "f"],
    ] {
        assert_eq!(lsm.run(arguments).code, Some(2), "{arguments:?}");
    }
    assert!(!lsm.db().exists());
    let help = run(&mut bare(&["--help"]), b"").ok();
    for verb in ["get", "put", "del", "scan", "import", "export", "stats", "levels", "inspect"] {
        assert!(help.contains(&format!("\n  {verb} ")), "{help}");
    }
}

#[test]
fn what_only_reads_begins_no_database() {
    let lsm = Lsm::new();
    for verb in [
        &["get", "a"][..],
        &["scan"],
        &["export"],
        &["stats"],
        &["levels"],
        &["verify"],
        &["del", "a"],
        &["flush"],
        &["compact"],
    ] {
        lsm.run(verb).failed(1, &["no database in"]);
    }
    assert!(!lsm.db().exists());
    // A directory of something else is left alone too.
    std::fs::create_dir(lsm.db()).unwrap();
    std::fs::write(lsm.db().join("notes.txt"), "mine").unwrap();
    lsm.run(&["get", "a"]).failed(1, &["no database in"]);
    assert_eq!(std::fs::read_dir(lsm.db()).unwrap().count(), 1);
}

#[test]
fn what_only_reads_changes_nothing() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "a", "1"]);
    let content = || -> Vec<_> {
        lsm.files("").into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect()
    };
    let before = content();
    for verb in [&["get", "a"][..], &["scan"], &["export"], &["stats"], &["levels"], &["verify"]] {
        lsm.ok(verb);
    }
    assert!(before == content());
}

#[test]
fn a_locked_directory_is_five() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "a", "1"]);
    let db = Db::open(lsm.db()).unwrap();
    for verb in [
        &["get", "a"][..],
        &["put", "a", "2"],
        &["del", "a"],
        &["scan"],
        &["export"],
        &["stats"],
        &["levels"],
        &["verify"],
        &["flush"],
        &["compact"],
    ] {
        lsm.run(verb).failed(5, &["in use", "--url"]);
    }
    // It needs no lock.
    let segment = &lsm.files(".log")[0];
    lsm.ok(&["inspect".as_ref(), "wal".as_ref(), segment.as_os_str()]);
    db.close().unwrap();
    assert_eq!(lsm.ok(&["get", "a"]), "1");
}
