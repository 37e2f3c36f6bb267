//! Repair: what was damaged in whatever place, what the new store answers is what was written, or
//! lies in a range that the report names.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsm_base::Fs;
use lsm_base::fs::MemFs;
use lsm_engine::{Db, Read, ReadMode, Repair, RepairReport, Result};

use crate::harness::DIR;
use crate::harness::specimen::{KEYS, MODES, Specimen, options, options_in};

mod belief;
mod damage;
mod deaths;
mod foreign;
mod syncs;
mod target;
mod unreadable;
mod whole;

const TARGET: &str = "repaired";

/// Keyspace and key of every entry, and its value.
type Content = BTreeMap<(String, Vec<u8>), Vec<u8>>;

fn repair(fs: &dyn CloneFs) -> Result<RepairReport> {
    Repair::new(DIR, TARGET).options(options()).fs(fs.shared()).run()
}

/// Either simulated disk.
trait CloneFs {
    fn shared(&self) -> Arc<dyn Fs>;
}

impl<F: Fs + Clone> CloneFs for F {
    fn shared(&self) -> Arc<dyn Fs> {
        Arc::new(self.clone())
    }
}

fn open(fs: &dyn CloneFs, dir: &str) -> Result<Db> {
    Db::builder(dir).options(options()).fs(fs.shared()).open()
}

/// All that a store holds; walks and point reads agree.
fn content(db: &Db) -> Content {
    let mut content = Content::new();
    for space in db.keyspaces().unwrap() {
        for entry in space.prefix("") {
            let (key, value) = entry.unwrap();
            assert_eq!(space.get(&key).unwrap().unwrap(), &value[..]);
            content.insert((space.name().into(), key.to_vec()), value.to_vec());
        }
    }
    content
}

/// What the repaired store holds. It is a whole one.
fn repaired(image: &MemFs) -> Content {
    repaired_in(image, MODES[0])
}

/// The same, read in this way.
fn repaired_in(image: &MemFs, mode: ReadMode) -> Content {
    let builder = Db::builder(TARGET).options(options_in(mode)).fs(image.shared());
    let db = builder.open().unwrap();
    let content = content(&db);
    assert!(db.verify().unwrap().is_clean());
    db.close().unwrap();
    content
}

/// What the specimen was told.
fn truth(specimen: Specimen) -> Content {
    let entry = |key: u32| {
        let space = ["default", "other"][key as usize / 8 % 2];
        ((space.to_owned(), key.to_be_bytes().to_vec()), specimen.value(key))
    };
    (0..KEYS).map(entry).collect()
}

/// The keys for which two stores answer differently.
fn differences<'a>(a: &'a Content, b: &'a Content) -> Vec<&'a (String, Vec<u8>)> {
    let all = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
    all.filter(|key| a.get(*key) != b.get(*key)).collect()
}

#[track_caller]
fn assert_told(truth: &Content, found: &Content, report: &RepairReport) {
    for (space, key) in differences(truth, found) {
        assert!(report.covers(space, key), "{space} {key:?} differs, and {report:#?}");
    }
}

fn specimens() -> [Specimen; 2] {
    [true, false].map(|is_closed| Specimen { owner: 'a', is_closed })
}
