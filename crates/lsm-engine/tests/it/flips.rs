//! One byte of one file of an open store is not what was written there: what `verify` says of it.
//! `sweep.rs` has what a damaged store answers that is opened.

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::MemFs;
use lsm_base::{Error as Base, FileName, Fs};
use lsm_sstable::{BlockCache, ReadMode, Table};
use lsm_wal::{Finding, Inspector};

use crate::harness::specimen::{MODES, Specimen, open_in};
use crate::harness::{DIR, names, patch_file, read_file};

/// Where the regions of a file begin: what has a checksum of its own, and what lies between.
fn regions(memory: &MemFs, name: &str) -> Vec<u64> {
    let path = Path::new(DIR).join(name);
    let mut begins = vec![0];
    match FileName::parse(name).unwrap() {
        FileName::Log(_) | FileName::Manifest(_) => {
            for finding in Inspector::open(memory, &path).unwrap() {
                if let Finding::Record(record) = finding.unwrap() {
                    begins.push(record.offset);
                }
            }
            assert!(1 < begins.len() || name.ends_with(".log"), "{name} has no record");
        }
        FileName::Table(_) => {
            let fs = Arc::new(memory.clone());
            let table = Table::open_standalone(fs, &path, ReadMode::Pread, BlockCache::new(0));
            let inspection = table.unwrap().inspect().unwrap();
            begins.extend(inspection.blocks.iter().map(|block| block.offset));
            for section in &inspection.sections {
                begins.extend([section.offset, section.offset + section.len]);
            }
            // The directory ends where the footer begins.
            let footer = inspection.len - 64;
            let mut directory = [0; 8];
            memory.open(&path).unwrap().read_exact_at(&mut directory, footer).unwrap();
            begins.extend([u64::from_le_bytes(directory), footer]);
            assert!(6 < begins.len(), "{name}: {begins:?}");
        }
        _ => {}
    }
    begins.sort_unstable();
    begins
}

/// `verify` of an open store names the damaged file, and a place in the region that was hit, at or before the damage.
#[test]
fn verify_names_file_and_offset_of_every_damage() {
    MODES.into_iter().for_each(flip_bytes);
}

fn flip_bytes(mode: ReadMode) {
    let specimen = Specimen { owner: 'a', is_closed: false };
    let memory = specimen.make();
    let db = open_in(&memory, mode).unwrap();
    for key in 0..8_u32 {
        db.put(key.to_be_bytes(), specimen.value(key)).unwrap();
    }
    assert!(db.verify().unwrap().is_clean());
    let files = names(&memory, |name| name != FileName::Lock);
    for name in &files {
        let bytes = read_file(&memory, name);
        let begins = regions(&memory, name);
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        // Every seventh byte meets every field of headers, blocks, fences, filter and footer.
        for at in (0..used).step_by(7).chain([used - 1]) {
            patch_file(&memory, name, at as u64, &[bytes[at] ^ 4]);
            let report = db.verify().unwrap();
            patch_file(&memory, name, at as u64, &[bytes[at]]);
            assert!(!report.is_clean(), "{name} at {at}: not noticed");
            let hit = begins.iter().rfind(|begin| **begin <= at as u64).unwrap();
            for error in &report.damage {
                let Some(Base::Corruption { path, offset, .. }) = error.base() else {
                    panic!("{name} at {at}: {error}")
                };
                assert_eq!(path, &Path::new(DIR).join(name), "{name} at {at}: {error}");
                // A flaw within a region may be named where it is.
                let place = *hit..=at as u64;
                assert!(place.contains(offset), "{name} at {at}, region {hit}: {error}");
            }
        }
    }
    assert!(db.verify().unwrap().is_clean());
    assert!(memory.exists(Path::new(DIR)).unwrap());
}
