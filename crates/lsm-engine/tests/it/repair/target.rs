//! The target: refused, whole, or nothing that counts, whatever fails on the way.

use std::path::Path;
use std::sync::Arc;

use lsm_base::Fs;
use lsm_base::fs::{Fault, Keep, MemFs};
use lsm_engine::{Db, ErrorKind, Read, Repair, RepairReport};

use super::deaths::deaths;
use super::{
    Content, TARGET, assert_told, content, differences, open, repair, repaired, specimens, truth,
};
use crate::harness::specimen::options;
use crate::harness::{DIR, on, tree};

#[test]
fn a_target_in_use_and_an_open_source_are_refused() {
    let image = specimens()[0].make();
    let run = |source: &str, target: &str| {
        let result =
            Repair::new(source, target).options(options()).fs(Arc::new(image.clone())).run();
        result.map(|_| ()).map_err(|error| error.kind())
    };
    assert_eq!(run(DIR, DIR), Err(ErrorKind::InvalidArgument));
    assert_eq!(run(DIR, "db/inside"), Err(ErrorKind::InvalidArgument));
    assert_eq!(run(DIR, ""), Err(ErrorKind::InvalidArgument));
    assert_eq!(run("nothing", TARGET), Err(ErrorKind::MissingFile));
    image.create_dir(Path::new("used")).unwrap();
    image.create(Path::new("used/file")).unwrap();
    assert_eq!(run(DIR, "used"), Err(ErrorKind::InvalidArgument));
    image.create_dir(Path::new("empty")).unwrap();
    assert_eq!(run("empty", TARGET), Err(ErrorKind::MissingFile));
    let db = open(&image, DIR).unwrap();
    assert_eq!(run(DIR, TARGET), Err(ErrorKind::Locked));
    db.close().unwrap();
    assert_eq!(run(DIR, "empty"), Ok(()));
    assert_eq!(run(DIR, "empty"), Err(ErrorKind::InvalidArgument));
}

/// Names of a directory that lead into the source, and one that only looks so.
#[test]
fn a_target_that_a_link_leads_into_the_source_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (source, link, sub) = (path("db"), path("link"), path("sub"));
    let db = Db::open(&source).unwrap();
    db.put("k", "v").unwrap();
    db.close().unwrap();
    std::fs::create_dir(source.join("deep")).unwrap();
    std::os::unix::fs::symlink(&source, &link).unwrap();
    std::os::unix::fs::symlink(source.join("deep"), &sub).unwrap();
    let roundabout = path("db").join("..").join("db").join("new");
    let inside = [
        link.clone(),
        link.join("new"),
        link.join("deep"),
        sub.clone(),
        sub.join("new"),
        roundabout,
    ];
    for target in inside {
        for source in [&source, &link] {
            let error = Repair::new(source, &target).run().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{target:?}: {error}");
            assert!(error.to_string().contains("lies in the store"), "{target:?}: {error}");
        }
    }
    assert!(std::fs::read_dir(source.join("deep")).unwrap().next().is_none());
    let beside = source.join("..").join("beside");
    assert!(Repair::new(&link, beside).run().unwrap().is_lossless());
    assert_eq!(Db::open(path("beside")).unwrap().get("k").unwrap().unwrap(), b"v");
}

/// Whether what a repair left in its target is no store, or the whole one but for what it told.
fn judge_target(image: &MemFs, truth: &Content, report: &RepairReport, context: &str) {
    if !image.exists(Path::new(TARGET)).unwrap() {
        return;
    }
    match open(image, TARGET) {
        Ok(db) if db.recovery_report().is_new => assert!(content(&db).is_empty(), "{context}"),
        Ok(db) => {
            let found = content(&db);
            let is_told = |key: &&(String, Vec<u8>)| report.covers(&key.0, &key.1);
            let untold = differences(truth, &found).into_iter().find(|key| !is_told(key));
            assert_eq!(untold, None, "{context}: {report:#?}");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::MissingFile, "{context}: {error}"),
    }
}

#[test]
fn a_fault_at_any_operation_is_a_typed_error_and_leaves_no_half_store() {
    let specimen = specimens()[1];
    let store = specimen.make();
    let truth = truth(specimen);
    let count = {
        let fs = on(&store.crash(Keep::Everything));
        repair(&fs).unwrap();
        fs.next_index()
    };
    let (mut injected, mut lossy) = (0, 0);
    for fault in [Fault::Eio, Fault::EioAfter, Fault::Enospc, Fault::Emfile] {
        for at in 0..count {
            for is_sticky in [false, true] {
                let memory = store.crash(Keep::Everything);
                let fs = on(&memory);
                match is_sticky {
                    true => fs.fail_from(at, fault),
                    false => fs.fail_at(at, fault),
                }
                let made = repair(&fs);
                if fs.injected() == 0 {
                    continue;
                }
                injected += 1;
                fs.clear_plan();
                let context = format!("{fault:?} at {at}, sticky {is_sticky}");
                if let Err(error) = &made {
                    let kinds = [ErrorKind::Io, ErrorKind::NoSpace];
                    assert!(kinds.contains(&error.kind()), "{context}: {error}");
                }
                assert_eq!(tree(&memory), tree(&store), "{context}: the source was changed");
                // What the source could not give is told.
                let is_made = made.is_ok();
                let report = made.unwrap_or_default();
                for keep in [Keep::Everything, Keep::SyncedOnly] {
                    judge_target(&memory.crash(keep), &truth, &report, &context);
                }
                if is_made {
                    let found = repaired(&memory.crash(Keep::SyncedOnly));
                    assert_told(&truth, &found, &report);
                    lossy += usize::from(found != truth);
                }
            }
        }
    }
    println!("{injected} faults in {count} operations, {lossy} of which cost something");
    assert!(500 < injected, "{injected} faults are too few");
}

#[test]
fn a_power_loss_leaves_a_target_that_is_whole_or_none() {
    let specimen = specimens()[0];
    let store = specimen.make();
    let truth = truth(specimen);
    let images = deaths(&store, |fs| drop(repair(fs).unwrap()));
    for (op, image) in images {
        judge_target(&image, &truth, &RepairReport::default(), &op);
    }
}
