//! `repair`.

use crate::lsm::{Lsm, Ran, bare, damage, items, run};

/// Repairs the database into the directory `mended` beside it.
fn repair(lsm: &Lsm, more: &[&str]) -> Ran {
    let target = lsm.db().with_file_name("mended");
    let mut command = bare(&["repair"]);
    run(command.arg(lsm.db()).arg(target).args(more), b"")
}

fn filled() -> Lsm {
    let lsm = Lsm::new();
    lsm.run_with(&["import"], items(3_000).as_bytes()).ok();
    lsm
}

/// What the repaired database holds, as an export.
fn mended(lsm: &Lsm) -> String {
    let target = lsm.db().with_file_name("mended");
    run(bare(&["export"]).arg("--db").arg(target), b"").ok()
}

#[test]
fn what_is_whole_comes_through_as_it_was() {
    let lsm = filled();
    let report = repair(&lsm, &[]).ok();
    assert_eq!(report, "repaired: 3000 keys, from 1 table and 0 log records\n");
    assert_eq!(mended(&lsm), items(3_000));
    // A target in use is refused.
    repair(&lsm, &[]).failed(2, &["is not empty"]);
}

#[test]
fn what_may_be_lost_is_named_and_everything_else_is_there() {
    let lsm = filled();
    let table = &lsm.files(".sst")[0];
    damage(table, 100);
    let ran = repair(&lsm, &["--json"]);
    ran.failed(4, &["something may be lost in 1 range"]);
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let lost = &report["lost"][0];
    assert_eq!(lost["file"].as_str(), table.to_str(), "{report}");
    assert_eq!((&lost["offset"], &lost["keyspace"]), (&0.into(), &"default".into()), "{report}");
    assert_eq!(report["is_lossless"], false);
    let entries = report["entries"].as_u64().unwrap() as usize;
    assert!((2_900..3_000).contains(&entries), "{report}");
    let (all, left) = (items(3_000), mended(&lsm));
    assert!(all.ends_with(&left) && left.lines().count() == entries, "{report}");
}

#[test]
fn a_database_without_its_manifest_is_told_to_be_in_doubt() {
    let lsm = filled();
    std::fs::remove_file(&lsm.files("MANIFEST")[0]).unwrap();
    let ran = repair(&lsm, &[]);
    ran.failed(4, &["something may be lost in 1 range"]);
    let report = String::from_utf8(ran.stdout).unwrap();
    assert!(report.contains("the MANIFEST is not believed"), "{report}");
    assert_eq!(mended(&lsm), items(3_000));
}

#[test]
fn what_was_dropped_from_the_manifest_is_told() {
    let lsm = filled();
    let manifest = &lsm.files("MANIFEST")[0];
    let mut bytes = std::fs::read(manifest).unwrap();
    bytes.extend([0xa5; 100]);
    std::fs::write(manifest, bytes).unwrap();
    let ran = repair(&lsm, &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&report["manifest_bytes_dropped"], ran.code), (&100.into(), Some(0)), "{report}");
    std::fs::remove_dir_all(lsm.db().with_file_name("mended")).unwrap();
    let report = repair(&lsm, &[]).ok();
    assert!(report.starts_with("the end of the MANIFEST, 100 bytes, is no whole"), "{report}");
    assert_eq!(mended(&lsm), items(3_000));
}

/// In the place of a file there may stand what keeps whoever opens it waiting for ever.
#[test]
fn a_pipe_in_the_place_of_a_file_keeps_nobody_waiting() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    for part in ["CURRENT", "LOCK", "MANIFEST", ".sst", ".log"] {
        let lsm = filled();
        lsm.kill_after_a_write();
        let file = lsm.files(part).pop().unwrap();
        std::fs::remove_file(&file).unwrap();
        mknodat(CWD, &file, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let words = [name, "not a regular file"];
        lsm.run(&["get", "key-1"]).failed(4, &words);
        let verified = lsm.run(&["verify"]);
        let said = String::from_utf8_lossy(&verified.stdout) + &*verified.stderr;
        assert_eq!(verified.code, Some(4), "{name}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
        let repaired = repair(&lsm, &[]);
        let said = String::from_utf8_lossy(&repaired.stdout) + &*repaired.stderr;
        // CURRENT alone costs nothing, and without a lock nothing is read.
        let code = if name == "CURRENT" { 0 } else { 4 };
        assert_eq!(repaired.code, Some(code), "{name}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
    }
}

#[test]
fn places_that_make_no_sense_are_refused() {
    let lsm = filled();
    let target = lsm.db().with_file_name("mended");
    lsm.run(&["repair".as_ref(), lsm.db().as_os_str(), target.as_os_str()])
        .failed(2, &["directories alone"]);
    run(bare(&["repair"]).arg(lsm.db()).arg(lsm.db()), b"").failed(2, &["lies in the store"]);
    run(bare(&["repair"]).arg(&target).arg(lsm.db()), b"").failed(1, &["there is no database"]);
    let open = lsm_engine::Db::open(lsm.db()).unwrap();
    repair(&lsm, &[]).failed(5, &["LOCK"]);
    open.close().unwrap();
    assert!(!target.exists());
}
