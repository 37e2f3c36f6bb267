//! One byte of one file is not what was written there.
//!
//! Every byte of every file of a small store is changed in turn. What is read then is what was
//! written, or the answer is an error that names file and offset. A store that was not closed may
//! also have lost its end, and says so.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use lsm_base::fs::{Keep, MemFs};
use lsm_base::{Error as Base, FileName, Fs};
use lsm_sstable::{BlockCache, ReadMode, Table};
use lsm_wal::{Finding, Inspector};

use crate::harness::specimen::{Specimen, open, open_read_only};
use crate::harness::{DIR, names, patch_file, read_file};

/// How many threads change bytes.
const THREADS: usize = 2;

/// The bits that are changed: one, another one, and all.
const MASKS: [u8; 3] = [0x40, 0x01, 0xff];

/// Changes every byte of every file in turn.
fn sweep(is_closed: bool) {
    let started = Instant::now();
    let specimen = Specimen { owner: 'a', is_closed };
    let store = specimen.make();
    let files = names(&store, |name| name != FileName::Lock);
    let mut places = Vec::new();
    for name in &files {
        let bytes = read_file(&store, name);
        // The zeros behind the end of a log are looked at up to a sector.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let end = bytes.len().min(used + 64);
        // And a few of the rest.
        let rest = (end..bytes.len()).step_by(97);
        for at in (0..end).chain(rest) {
            places.extend(MASKS.map(|mask| (name.as_str(), at as u64, bytes[at] ^ mask)));
        }
    }
    let (next, errors) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || {
        while let Some(&(name, offset, byte)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let image = store.crash(Keep::Everything);
            patch_file(&image, name, offset, &[byte]);
            let opened = if offset % 2 == 0 { open(&image) } else { open_read_only(&image) };
            errors.fetch_add(u64::from(opened.is_err()), Ordering::Relaxed);
            if let Err(why) = specimen.judge(opened, 1) {
                panic!("{name} at {offset} made {byte:#x}: {why}");
            }
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let (count, errors) = (places.len(), errors.into_inner());
    println!("{count} changes of {files:?}, {errors} opens refused, {:.1?}", started.elapsed());
    assert!(10_000 <= count && 1_000 <= errors, "{count} changes, {errors} opens refused");
}

#[test]
fn a_closed_store_with_a_changed_byte_is_right_or_refused() {
    sweep(true);
}

#[test]
fn a_store_that_was_not_closed_is_right_or_refused_or_says_what_is_gone() {
    sweep(false);
}

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
    let specimen = Specimen { owner: 'a', is_closed: false };
    let memory = specimen.make();
    let db = open(&memory).unwrap();
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
