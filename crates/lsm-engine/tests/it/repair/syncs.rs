//! Each sync of a repair, left out: some cut of the power then leaves a target that is damaged, or
//! not the store that the call has told of.

use std::path::Path;
use std::sync::{Arc, Mutex};

use lsm_base::Fs;
use lsm_base::fs::{Fault, Keep, MemFs, Op, OpKind};
use lsm_engine::ErrorKind;

use super::{Content, TARGET, content, open, repair, specimens, truth};
use crate::harness::{changes_the_disk, on};

/// What a power loss has left of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Nothing,
    Refused,
    Damaged,
    Incomplete,
    Complete,
}

fn judge(image: &MemFs, truth: &Content) -> Found {
    if !image.exists(Path::new(TARGET)).unwrap() {
        return Found::Nothing;
    }
    let db = match open(image, TARGET) {
        Ok(db) => db,
        Err(error) if error.kind() == ErrorKind::MissingFile => return Found::Refused,
        Err(_) => return Found::Damaged,
    };
    if db.recovery_report().is_new {
        return Found::Nothing;
    }
    match db.verify() {
        Ok(report) if report.is_clean() => {}
        _ => return Found::Damaged,
    }
    if content(&db) == *truth { Found::Complete } else { Found::Incomplete }
}

/// Repairs `store` without the sync that has this place among all of them. Returns the syncs that
/// there were, and the first cut that breaks a promise: that the target is no store or the whole
/// one, and that it is the whole one when the call has returned.
fn cut(store: &MemFs, truth: &Content, lost: Option<usize>) -> (Vec<Op>, Option<String>) {
    let memory = store.crash(Keep::Everything);
    let fs = on(&memory);
    let mut syncs = 0;
    fs.set_plan(move |op| {
        syncs += usize::from(op.kind.is_sync());
        (op.kind.is_sync() && lost == Some(syncs - 1)).then_some(Fault::LostSync)
    });
    let images = Arc::new(Mutex::new(Vec::new()));
    let (kept, of) = (Arc::clone(&images), memory.clone());
    fs.after_each(move |op| {
        if changes_the_disk(op) {
            let subsets = (0..6).map(|n| Keep::Subset { seed: op.index * 6 + n });
            let keeps = [Keep::SyncedOnly, Keep::Everything].into_iter().chain(subsets);
            kept.lock().unwrap().extend(keeps.map(|keep| (op.to_string(), of.crash(keep))));
        }
    });
    repair(&fs).unwrap();
    fs.clear_hooks();
    let syncs = fs.trace().into_iter().filter(|op| op.kind.is_sync()).collect();
    for (op, image) in std::mem::take(&mut *images.lock().unwrap()) {
        let found = judge(&image, truth);
        if matches!(found, Found::Damaged | Found::Incomplete) {
            return (syncs, Some(format!("{found:?} after {op}")));
        }
    }
    for seed in 0..32 {
        let found = judge(&memory.crash(Keep::Subset { seed }), truth);
        if found != Found::Complete {
            return (syncs, Some(format!("{found:?} after the return")));
        }
    }
    let found = judge(&memory.crash(Keep::SyncedOnly), truth);
    let broken = (found != Found::Complete).then(|| format!("{found:?} after the return"));
    (syncs, broken)
}

#[test]
fn every_sync_of_a_repair_is_missed_by_some_cut() {
    let specimen = specimens()[0];
    let (store, truth) = (specimen.make(), truth(specimen));
    let (syncs, broken) = cut(&store, &truth, None);
    assert_eq!(broken, None, "with every sync");
    let mut noticed = Vec::new();
    for (number, op) in syncs.iter().enumerate() {
        let (_, broken) = cut(&store, &truth, Some(number));
        println!("without {op}: {broken:?}");
        noticed.push((op.kind, broken.is_some()));
    }
    let expected = [
        // The parent.
        (OpKind::SyncDir, true),
        // A table of each keyspace, and the MANIFEST.
        (OpKind::SyncData, true),
        (OpKind::SyncData, true),
        (OpKind::SyncData, true),
        // Their names: without them the target is refused until the last sync of the directory,
        // before which the call has not returned.
        (OpKind::SyncDir, false),
        // CURRENT and its name.
        (OpKind::SyncAll, true),
        (OpKind::SyncDir, true),
    ];
    assert_eq!(noticed, expected);
}
