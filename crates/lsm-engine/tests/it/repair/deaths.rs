//! Repairs of what a death leaves: files that no MANIFEST names yet, or none any more.

use std::path::Path;
use std::sync::{Arc, Mutex};

use lsm_base::fs::{FaultFs, Keep, MemFs};
use lsm_base::{FileName, Fs};

use super::{DIR, content, differences, open, repair, repaired, specimens};
use crate::harness::{changes_the_disk, names, on, patch_file};

/// A life of a store that was not closed: a recovery, more writes, a flush, a new keyspace and one
/// that goes, a merge of everything, and a close.
fn live(fs: &FaultFs) {
    let db = open(fs, DIR).unwrap();
    for key in 0..20_u32 {
        db.put(key.to_be_bytes(), "later").unwrap();
    }
    db.flush().unwrap();
    db.keyspace("fruit").unwrap().put("apple", "red").unwrap();
    db.drop_keyspace("other").unwrap();
    db.compact::<&str>(..).unwrap();
    db.put("last", "of all").unwrap();
    db.close().unwrap();
}

/// What is on the disk after each operation of `life`, if the process dies then or the power fails.
pub(super) fn deaths(memory: &MemFs, life: impl FnOnce(&FaultFs)) -> Vec<(String, MemFs)> {
    let fs = on(memory);
    let images = Arc::new(Mutex::new(Vec::new()));
    let (kept, of) = (Arc::clone(&images), memory.clone());
    fs.after_each(move |op| {
        if changes_the_disk(op) {
            for keep in [Keep::SyncedOnly, Keep::Everything, Keep::Subset { seed: op.index }] {
                kept.lock().unwrap().push((op.to_string(), of.crash(keep)));
            }
        }
    });
    life(&fs);
    fs.clear_hooks();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(50 < images.len(), "{} images", images.len());
    images
}

/// A repair that finds nothing damaged is what an open is, wherever the process died: there may be
/// a MANIFEST that CURRENT does not name yet, and tables and segments that it alone knows.
#[test]
fn after_a_death_anywhere_a_repair_reads_what_an_open_does() {
    for (op, image) in deaths(&specimens()[1].make(), live) {
        let report = repair(&image).unwrap_or_else(|error| panic!("{op}: {error}"));
        let opened = content(&open(&image, DIR).unwrap());
        let found = repaired(&image);
        assert!(report.is_lossless(), "{op}: {report:#?}");
        assert!(found == opened, "{op}: {:?}, {report:#?}", differences(&opened, &found));
    }
}

#[test]
fn after_a_death_anywhere_any_one_file_may_be_gone_or_without_its_header() {
    for (op, store) in deaths(&specimens()[1].make(), live) {
        let truth = content(&open(&store.crash(Keep::Everything), DIR).unwrap());
        let last = names(&store, |file| matches!(file, FileName::Log(_))).pop();
        for name in names(&store, |name| name != FileName::Lock) {
            for is_gone in [true, false] {
                let image = store.crash(Keep::Everything);
                match is_gone {
                    // Nothing names the last segment until a later one does, or the MANIFEST.
                    true if Some(&name) == last.as_ref() => continue,
                    true => image.remove(&Path::new(DIR).join(&name)).unwrap(),
                    false => patch_file(&image, &name, 20, &[0x55; 12]),
                }
                let context = format!("{op}, {name}, gone {is_gone}");
                let report = repair(&image).unwrap_or_else(|error| panic!("{context}: {error}"));
                let found = repaired(&image);
                let untold = |key: &&(String, Vec<u8>)| !report.covers(&key.0, &key.1);
                let untold = differences(&truth, &found).into_iter().find(untold);
                assert_eq!(untold, None, "{context}: {report:#?}");
            }
        }
    }
}
