//! Copies whose making is cut short, at each of its operations, or meets a fault there.
//!
//! `LSM_SEED` makes other images of each moment, and `LSM_IMAGES` says how many.

use std::sync::Mutex;

use lsm_base::fs::{Fault, Op, OpKind};

use super::*;
use crate::harness::{changes_the_disk, from_env};

/// A disk with a store, as the process that made it left it; what is in it, and in its log.
fn original() -> (MemFs, Content) {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    fill(&db);
    db.sync().unwrap();
    let before = content(&db);
    (memory.crash(Keep::SyncedOnly), before)
}

/// A life of that store: a copy is asked for with something in memory.
fn live(image: &MemFs) -> (MemFs, FaultFs, Db, Content) {
    let memory = image.crash(Keep::Everything);
    let fs = on(&memory);
    let db = harness::open(&fs, 0).unwrap();
    db.keyspace("other").unwrap().put("memory", "again").unwrap();
    let content = content(&db);
    (memory, fs, db, content)
}

/// What became of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Nothing,
    Refused,
    Damaged,
    Complete,
}

/// Opens what is left of a copy, cuts the power behind that, and opens it again.
fn judge(image: &MemFs, expected: &Content, context: &str) -> Found {
    let memory = image.crash(Keep::Everything);
    let fs = on(&memory);
    if !fs.exists(COPY.as_ref()).unwrap() {
        return Found::Nothing;
    }
    let copy = match open_copy(&fs) {
        Ok(copy) => copy,
        Err(error) if error.kind() == ErrorKind::MissingFile => return Found::Refused,
        Err(error) if error.kind() == ErrorKind::Corruption => return Found::Damaged,
        Err(error) => panic!("{context}: {error}"),
    };
    if copy.recovery_report().is_new {
        assert_same(&content(&copy), &Content::new(), context);
        return Found::Nothing;
    }
    assert_same(&content(&copy), expected, context);
    assert!(copy.verify().unwrap().is_clean(), "{context}");
    let again = open_copy(&on(&memory.crash(Keep::SyncedOnly))).unwrap();
    assert_same(&content(&again), expected, context);
    Found::Complete
}

/// The images of a disk at a moment that a power loss may leave.
fn images(memory: &MemFs, moment: u64) -> impl Iterator<Item = MemFs> {
    let (seed, count) = (from_env("LSM_SEED", 0), from_env("LSM_IMAGES", 8));
    // Every moment of every seed has its own.
    let first = ((seed << 20) + moment) * count;
    let subsets = (first..first + count).map(|seed| Keep::Subset { seed });
    [Keep::SyncedOnly, Keep::Everything].into_iter().chain(subsets).map(|keep| memory.crash(keep))
}

/// Makes a copy and takes images after each of its operations; `lost` is the sync that is lost, by
/// its place among all of them. Returns the syncs that there were, how many images were judged, and
/// the first that breaks a promise: that the store is unharmed, that a copy which has begun to take
/// tables is never taken for nothing, and that it is complete when the call has returned.
fn cut(base: &MemFs, lost: Option<usize>) -> (Vec<Op>, usize, Option<String>) {
    let (memory, fs, db, expected) = live(base);
    fs.clear_trace();
    let mut syncs = 0;
    fs.set_plan(move |op| {
        syncs += usize::from(op.kind.is_sync());
        (op.kind.is_sync() && lost == Some(syncs - 1)).then_some(Fault::LostSync)
    });
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (kept, of) = (Arc::clone(&taken), memory.clone());
    fs.after_each(move |op| {
        if changes_the_disk(op) {
            kept.lock().unwrap().extend(images(&of, op.index).map(|image| (op.clone(), image)));
        }
    });
    db.checkpoint(COPY).unwrap();
    fs.clear_hooks();
    let syncs = fs.trace().into_iter().filter(|op| op.kind.is_sync()).collect();
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    let after: Vec<_> = images(&memory, 0).collect();
    let count = taken.len() + after.len();
    let mut has_begun = false;
    for (op, image) in taken {
        has_begun |= op.kind == OpKind::Link;
        let found = judge(&image, &expected, &op.to_string());
        if has_begun && found == Found::Nothing || found == Found::Damaged {
            return (syncs, count, Some(format!("{found:?} after {op}")));
        }
        if lost.is_none() {
            let original = harness::open(&on(&image), 0).unwrap();
            assert_same(&content(&original), &expected, &format!("the original after {op}"));
        }
    }
    for image in after {
        let found = judge(&image, &expected, "the return");
        if found != Found::Complete {
            return (syncs, count, Some(format!("{found:?} after the return")));
        }
    }
    (syncs, count, None)
}

#[test]
fn a_power_loss_leaves_a_copy_that_is_complete_or_refused() {
    let (base, _) = original();
    let (_, count, broken) = cut(&base, None);
    println!("{count} images of a copy on its way");
    assert_eq!(broken, None);
    assert!(200 < count, "{count} images are too few");
}

#[test]
fn every_sync_of_a_copy_is_missed_by_some_cut() {
    let (base, _) = original();
    let (syncs, _, _) = cut(&base, None);
    let is_of_copy = |op: &Op| op.path.starts_with(COPY) || op.path.as_os_str() == ".";
    let mut noticed = Vec::new();
    for (number, op) in syncs.iter().enumerate().filter(|(_, op)| is_of_copy(op)) {
        let (_, _, broken) = cut(&base, Some(number));
        println!("without {op}: {broken:?}");
        noticed.push((op.kind, broken.is_some()));
    }
    let expected = [
        // The parent.
        (OpKind::SyncDir, true),
        // The MANIFEST and its name.
        (OpKind::SyncData, true),
        (OpKind::SyncDir, true),
        // CURRENT and its name, with those of the tables.
        (OpKind::SyncAll, true),
        (OpKind::SyncDir, true),
    ];
    assert_eq!(noticed, expected);
}

#[test]
fn a_fault_ends_a_copy_and_harms_no_store() {
    let (base, _) = original();
    let (_, fs, db, _) = live(&base);
    fs.clear_trace();
    db.checkpoint(COPY).unwrap();
    let ops = fs.trace();
    drop(db);
    let faults = [
        Fault::Eio,
        Fault::EioAfter,
        Fault::Enospc,
        Fault::Eintr,
        Fault::Emfile,
        Fault::ForgettingSync,
        Fault::Torn(7),
    ];
    let mut injected = 0;
    for (place, op) in ops.iter().enumerate() {
        for fault in faults.into_iter().filter(|fault| fault.applies_to(op)) {
            // A transfer that a signal interrupts each time would be tried for ever.
            let is_transfer = matches!(op.kind, OpKind::Read | OpKind::Write);
            for is_sticky in [false, true] {
                if is_sticky && fault == Fault::Eintr && is_transfer {
                    continue;
                }
                fail(&base, place as u64, fault, is_sticky, op);
                injected += 1;
            }
        }
    }
    println!("{injected} faults in {} operations", ops.len());
    assert!(400 < injected, "{injected} faults are too few");
}

/// Makes a copy with a fault at this place, and looks at what is left of both stores.
fn fail(base: &MemFs, place: u64, fault: Fault, is_sticky: bool, op: &Op) {
    let context = format!("{fault:?}, sticky {is_sticky}, at {op}");
    let (memory, fs, db, expected) = live(base);
    let at = fs.next_index() + place;
    match is_sticky {
        true => fs.fail_from(at, fault),
        false => fs.fail_at(at, fault),
    }
    let made = db.checkpoint(COPY);
    assert_ne!(fs.injected(), 0, "{context}");
    fs.clear_plan();
    let is_in_copy = op.path.starts_with(COPY) || op.kind == OpKind::Link;
    if is_in_copy {
        assert_eq!(db.health(), Health::Running, "{context}");
    }
    assert_same(&content(&db), &expected, &context);
    match &made {
        Ok(_) => {
            // An interruption of a transfer is made good.
            for image in images(&memory, place) {
                assert_eq!(judge(&image, &expected, &context), Found::Complete, "{context}");
            }
        }
        Err(_) if !is_sticky => {
            // What was made is gone again, and another try is welcome.
            if fs.exists(COPY.as_ref()).unwrap() {
                let left = names(&fs, COPY);
                assert!(left.iter().all(|name| name == "LOCK"), "{context}: {left:?}");
            }
            // Whether a later sync covers what one forgot that failed, nobody knows: the name of
            // the directory itself is one that another try does not make anew.
            let is_lost = fault == Fault::ForgettingSync && op.path.as_os_str() == ".";
            if db.health() == Health::Running && !is_lost {
                db.checkpoint(COPY).unwrap_or_else(|error| panic!("{context}: {error}"));
                let image = memory.crash(Keep::SyncedOnly);
                assert_eq!(judge(&image, &expected, &context), Found::Complete, "{context}");
            }
        }
        Err(_) => {}
    }
    if made.is_err() {
        // A power loss may bring back any of it.
        for image in images(&memory, place) {
            assert_ne!(judge(&image, &expected, &context), Found::Damaged, "{context}");
        }
    }
    drop(db);
    for image in images(&memory, place).take(2) {
        let original = harness::open(&on(&image), 0).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_same(&content(&original), &expected, &context);
    }
}
