//! Stores with nothing wrong: what a close, a death or a power loss left.

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::Keep;
use lsm_base::{FileName, Fs};
use lsm_engine::{Db, Durability, Options, Read, WriteOptions};

use super::{TARGET, content, open, repair, repaired, specimens, truth};
use crate::harness::specimen::{KEYS, options};
use crate::harness::{DIR, disk, kill, tree};

#[test]
fn a_store_that_is_whole_loses_nothing() {
    for (specimen, has_lock) in specimens().into_iter().flat_map(|one| [(one, true), (one, false)])
    {
        let image = specimen.make();
        if !has_lock {
            image.remove(&FileName::Lock.path(Path::new(DIR))).unwrap();
        }
        let before = tree(&image);
        let report = repair(&image).unwrap();
        assert!(report.is_lossless() && report.damage.is_empty(), "{report:#?}");
        assert_eq!(report.entries, u64::from(KEYS));
        assert_eq!(tree(&image), before, "the source was changed");
        assert_eq!(repaired(&image), truth(specimen));
        let left = image.list(Path::new(TARGET)).unwrap();
        assert!(left.iter().all(|entry| FileName::parse(&entry.name).is_some()), "{left:?}");
    }
}

#[test]
fn versions_go_on_from_where_they_were() {
    let image = specimens()[0].make();
    let key = 3_u32.to_be_bytes();
    let original = image.crash(Keep::Everything);
    let seq = open(&original, DIR).unwrap().get_entry(key).unwrap().unwrap().seq;
    repair(&image).unwrap();
    let db = open(&image, TARGET).unwrap();
    assert_eq!(db.get_entry(key).unwrap().unwrap().seq, seq);
    assert!(open(&original, DIR).unwrap().seq() < db.put("k", "v").unwrap());
}

#[test]
fn a_torn_end_of_the_log_is_no_loss() {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    db.put("a", "1").unwrap();
    let buffered = WriteOptions::durability(Durability::Buffered);
    for key in 0..20_u32 {
        db.put_with(key.to_be_bytes(), [7; 100], &buffered).unwrap();
    }
    kill(&fs, db);
    let mut dropped = 0;
    for seed in 0..40 {
        let image = memory.crash(Keep::Subset { seed });
        let recovered = {
            let image = image.crash(Keep::Everything);
            content(&open(&image, DIR).unwrap())
        };
        let report = repair(&image).unwrap();
        assert!(report.is_lossless(), "{seed}: {report:#?}");
        assert_eq!(repaired(&image), recovered, "{seed}");
        dropped += usize::from(0 < report.log_bytes_dropped);
    }
    assert!(4 < dropped, "{dropped} of the ends were torn");
}

#[test]
fn a_log_longer_than_memory_goes_through_tables() {
    let (memory, fs) = disk();
    let large = Options { memtable_size: Some(1 << 20), memory_budget: Some(4 << 20), ..options() };
    let large = Options { max_log_bytes: None, ..large };
    let db = Db::builder(DIR).options(large).fs(Arc::new(fs.clone())).open().unwrap();
    let buffered = WriteOptions::durability(Durability::Buffered);
    for key in 0..2_000_u32 {
        let name = (key % 500).to_be_bytes();
        match key % 7 {
            0 => db.delete_with(name, &buffered).unwrap(),
            _ => db.put_with(name, format!("{key:0100}"), &buffered).unwrap(),
        };
    }
    db.sync().unwrap();
    let truth = content(&db);
    kill(&fs, db);
    let report = repair(&memory).unwrap();
    assert!(report.is_lossless() && report.log_records == 2_000, "{report:#?}");
    assert_eq!(repaired(&memory), truth);
}
