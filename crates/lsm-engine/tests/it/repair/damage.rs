//! Damage to bytes, to several places, and to whole files.
//!
//! `LSM_SEED` makes other damage in several places, and `LSM_DAMAGES` says how often.

use std::path::Path;

use lsm_base::fs::Keep;
use lsm_base::testing::SplitMix64;
use lsm_base::{FileName, Fs};

use super::{assert_told, differences, repair, repaired, repaired_in, specimens, truth};
use crate::harness::specimen::{MODES, Specimen};
use crate::harness::{DIR, from_env, names, patch_file, read_file, tree, write_file};

/// Damages one byte after the other, and judges what is left.
fn sweep(specimen: Specimen, step: usize) -> (usize, usize) {
    let store = specimen.make();
    let truth = truth(specimen);
    let (mut count, mut lossless) = (0, 0);
    for name in names(&store, |_| true) {
        let is_log = matches!(FileName::parse(&name), Some(FileName::Log(_)));
        let is_table = matches!(FileName::parse(&name), Some(FileName::Table(_)));
        let bytes = read_file(&store, &name);
        for at in (0..bytes.len()).step_by(step) {
            let image = store.crash(Keep::Everything);
            let byte = bytes[at] ^ 1 << (at / step % 8);
            patch_file(&image, &name, at as u64, &[byte]);
            let before = tree(&image);
            let report = repair(&image).unwrap_or_else(|error| panic!("{name} at {at}: {error}"));
            assert_eq!(tree(&image), before, "{name} at {at}: the source was changed");
            // Each bit of the eight meets both ways to read.
            let found = repaired_in(&image, MODES[at / step / 8 % 2]);
            let differ = differences(&truth, &found);
            let told = differ.iter().filter(|(space, key)| report.covers(space, key)).count();
            // The end of an unclean log that no later record vouches for may have been a tear.
            let torn = usize::from(is_log && !specimen.is_closed && 0 < report.log_bytes_dropped);
            assert!(differ.len() - told <= torn, "{name} at {at}: {differ:?} {report:#?}");
            if is_table {
                assert!(differ.len() <= 8, "{name} at {at}: {differ:?}");
                let is_narrow = report.lost.iter().all(|lost| {
                    lost.keyspace.is_some() && lost.first_key.is_some() && lost.last_key.is_some()
                });
                assert!(is_narrow && report.lost.len() <= 1, "{name} at {at}: {report:#?}");
            }
            lossless += usize::from(report.is_lossless());
            count += 1;
        }
    }
    (count, lossless)
}

#[test]
fn one_damaged_byte_of_a_closed_store_is_told() {
    let (count, lossless) = sweep(specimens()[0], 3);
    println!("{count} damages, {lossless} without a loss");
    assert!(1_000 <= count && 100 < lossless && lossless < count, "{count}, {lossless}");
}

#[test]
fn one_damaged_byte_of_a_store_that_was_not_closed_is_told() {
    let (count, lossless) = sweep(specimens()[1], 3);
    println!("{count} damages, {lossless} without a loss");
    assert!(1_000 <= count && 100 < lossless && lossless < count, "{count}, {lossless}");
}

#[test]
fn damage_in_several_places_is_told() {
    let specimen = specimens()[0];
    let store = specimen.make();
    let truth = truth(specimen);
    let all = names(&store, |name| name != FileName::Lock);
    let (seed, count) = (from_env("LSM_SEED", 0), from_env("LSM_DAMAGES", 600));
    println!("LSM_SEED={seed} LSM_DAMAGES={count}");
    for seed in (seed << 20)..(seed << 20) + count {
        let image = store.crash(Keep::Everything);
        let mut random = SplitMix64::new(seed);
        for _ in 0..2 + random.below(4) {
            let name = &all[random.below(all.len() as u64) as usize];
            let path = Path::new(DIR).join(name);
            let bytes = match image.exists(&path).unwrap() {
                true => read_file(&image, name),
                false => continue,
            };
            let at = random.below(bytes.len() as u64 + 1) as usize;
            match random.below(6) {
                0 => image.remove(&path).unwrap(),
                1 => write_file(&image, name, &bytes[..at]),
                2 => patch_file(&image, name, at as u64, &[0; 64]),
                _ => patch_file(&image, name, at as u64, &[random.next_u64() as u8]),
            }
        }
        let report = repair(&image).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = repaired_in(&image, MODES[seed as usize % 2]);
        for (space, key) in differences(&truth, &found) {
            assert!(report.covers(space, key), "seed {seed}: {space} {key:?}, {report:#?}");
        }
    }
}

#[test]
fn any_one_file_may_be_gone() {
    for specimen in specimens() {
        let store = specimen.make();
        for name in names(&store, |name| name != FileName::Lock) {
            let image = store.crash(Keep::Everything);
            image.remove(&Path::new(DIR).join(&name)).unwrap();
            let report = repair(&image).unwrap();
            let found = repaired(&image);
            println!("without {name}: {} lost ranges", report.lost.len());
            assert_told(&truth(specimen), &found, &report);
            match FileName::parse(&name).unwrap() {
                FileName::Current => {
                    assert!(report.is_lossless() && !report.damage.is_empty(), "{report:#?}");
                    assert_eq!(found, truth(specimen));
                }
                FileName::Manifest(_) => {
                    assert!(!report.is_lossless());
                    assert_eq!(found, truth(specimen), "{report:#?}");
                }
                FileName::Table(_) => assert_eq!(report.lost.len(), 1, "{report:#?}"),
                _ => {}
            }
        }
    }
}

#[test]
fn tables_that_changed_places_are_found_by_their_ids() {
    let specimen = specimens()[0];
    let image = specimen.make();
    let tables = names(&image, |name| matches!(name, FileName::Table(_)));
    let (one, two) = (read_file(&image, &tables[0]), read_file(&image, &tables[1]));
    write_file(&image, &tables[0], &two);
    write_file(&image, &tables[1], &one);
    let report = repair(&image).unwrap();
    assert!(report.is_lossless(), "{report:#?}");
    assert_eq!(repaired(&image), truth(specimen));
}
