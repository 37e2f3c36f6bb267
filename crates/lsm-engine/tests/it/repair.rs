//! Repair: what was damaged in whatever place, what the new store answers is what was written, or
//! lies in a range that the report names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::{Fault, Keep, MemFs};
use lsm_base::testing::SplitMix64;
use lsm_base::{FileName, Fs};
use lsm_engine::{
    Db, Durability, ErrorKind, Options, Read, Repair, RepairReport, Result, WriteOptions,
};
use lsm_wal::{Finding, Inspector};

use crate::harness::specimen::{KEYS, Specimen, options};
use crate::harness::{DIR, disk, kill, names, on, patch_file, read_file, tree, write_file};

mod deaths;

use deaths::deaths;

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
    let db = open(image, TARGET).unwrap();
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

#[test]
fn a_store_that_is_whole_loses_nothing() {
    for specimen in specimens() {
        let image = specimen.make();
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
            let found = repaired(&image);
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
    for seed in 0..600 {
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
        let found = repaired(&image);
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
fn without_current_and_manifest_the_tables_and_the_log_tell_all() {
    for specimen in specimens() {
        let image = specimen.make();
        for name in names(&image, |name| matches!(name, FileName::Current | FileName::Manifest(_)))
        {
            image.remove(&Path::new(DIR).join(name)).unwrap();
        }
        let report = repair(&image).unwrap();
        assert!(!report.is_lossless());
        assert_eq!(repaired(&image), truth(specimen), "{report:#?}");
        // The log alone has a keyspace of every key, but no name of it.
        assert_eq!(report.guessed_names, Vec::<String>::new());
    }
}

#[test]
fn a_keyspace_that_only_the_log_has_gets_a_name() {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    db.keyspace("fruit").unwrap().put("apple", "red").unwrap();
    kill(&fs, db);
    for name in names(&memory, |name| matches!(name, FileName::Current | FileName::Manifest(_))) {
        memory.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let report = repair(&memory).unwrap();
    assert_eq!(report.guessed_names, ["keyspace-1"]);
    let found = repaired(&memory);
    assert_eq!(found[&("keyspace-1".to_owned(), b"apple".to_vec())], b"red");
}

#[test]
fn a_keyspace_whose_edit_is_lost_is_told() {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    db.keyspace("fruit").unwrap().put("apple", "red").unwrap();
    let truth = content(&db);
    kill(&fs, db);
    let manifest = names(&memory, |name| matches!(name, FileName::Manifest(_))).pop().unwrap();
    let bytes = read_file(&memory, &manifest);
    let last = *edits(&memory, &manifest).last().unwrap();
    // To its reader the last record looks torn.
    patch_file(&memory, &manifest, last as u64, &[bytes[last] ^ 1]);
    let report = repair(&memory).unwrap();
    assert_eq!(report.guessed_names, ["keyspace-1"]);
    let found = repaired(&memory);
    assert_eq!(found[&("keyspace-1".to_owned(), b"apple".to_vec())], b"red");
    assert_told(&truth, &found, &report);
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

/// What is put beside the files of a store, or in the place of its log, is not taken for its own.
#[test]
fn the_log_of_another_store_is_not_replayed() {
    let other = Specimen { owner: 'b', is_closed: false }.make();
    let theirs = names(&other, |name| matches!(name, FileName::Log(_)));
    for specimen in specimens() {
        for number in [None, Some(1), Some(900)] {
            let image = specimen.make();
            for log in &theirs {
                // In the place of the same segment of this store, if it has that, or elsewhere.
                let name = number.map_or(log.clone(), |number| FileName::Log(number).to_string());
                write_file(&image, &name, &read_file(&other, log));
            }
            let report = repair(&image).unwrap();
            let (truth, found) = (truth(specimen), repaired(&image));
            for (key, value) in &found {
                assert_eq!(Some(value), truth.get(key), "{specimen:?}, {number:?}: {key:?}");
            }
            assert_told(&truth, &found, &report);
            if specimen.is_closed {
                assert_eq!(found, truth, "{number:?}: {report:#?}");
            }
        }
    }
}

#[test]
fn the_manifest_of_another_store_is_not_believed() {
    for specimen in specimens() {
        let image = specimen.make();
        let other = Specimen { owner: 'b', ..specimen }.make();
        for name in names(&image, |name| matches!(name, FileName::Current | FileName::Manifest(_)))
        {
            write_file(&image, &name, &read_file(&other, &name));
        }
        let report = repair(&image).unwrap();
        assert!(!report.is_lossless());
        assert_eq!(repaired(&image), truth(specimen), "{report:#?}");
    }
}

/// Where the edits of a MANIFEST begin.
fn edits(image: &MemFs, manifest: &str) -> Vec<usize> {
    let inspector = Inspector::open(image, &Path::new(DIR).join(manifest)).unwrap();
    let records = inspector.filter_map(|finding| match finding.unwrap() {
        Finding::Record(record) => Some(record.offset as usize),
        Finding::Gap { .. } => None,
    });
    records.collect()
}

#[test]
fn a_manifest_that_lost_its_last_edits_is_not_believed() {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    for round in 0..3_u32 {
        for key in 0..30_u32 {
            db.put((key + 10 * round).to_be_bytes(), round.to_be_bytes()).unwrap();
        }
        db.flush().unwrap();
    }
    db.compact::<&str>(..).unwrap();
    let truth = content(&db);
    kill(&fs, db);
    let manifest = names(&memory, |name| matches!(name, FileName::Manifest(_))).pop().unwrap();
    let bytes = read_file(&memory, &manifest);
    let mut doubted = 0;
    for end in edits(&memory, &manifest).into_iter().skip(1) {
        let image = memory.crash(Keep::Everything);
        write_file(&image, &manifest, &bytes[..end]);
        let report = repair(&image).unwrap();
        // Nothing is lost but the certainty.
        assert_eq!(repaired(&image), truth, "cut at {end}: {report:#?}");
        doubted += usize::from(!report.is_lossless());
    }
    assert!(2 < doubted, "{doubted} cuts were noticed");
}

/// A store with two tables, of which the younger holds the tombstones of the older's keys and a
/// keyspace that was dropped; and the files of before that.
fn with_obsolete_tables() -> (MemFs, Vec<(String, Vec<u8>)>) {
    let (memory, fs) = disk();
    let db = open(&fs, DIR).unwrap();
    let gone = db.keyspace("gone").unwrap();
    for key in 0..10_u32 {
        db.put(key.to_be_bytes(), "old").unwrap();
        gone.put(key.to_be_bytes(), "dropped").unwrap();
    }
    db.flush().unwrap();
    let is_table = |name| matches!(name, FileName::Table(_));
    let tables = names(&memory, is_table).into_iter();
    let obsolete = tables.map(|name| (name.clone(), read_file(&memory, &name))).collect();
    for key in 0..5_u32 {
        db.delete(key.to_be_bytes()).unwrap();
    }
    drop(gone);
    db.drop_keyspace("gone").unwrap();
    db.compact::<&str>(..).unwrap();
    db.close().unwrap();
    (memory, obsolete)
}

/// The MANIFEST of a close is unlinked by the next open, which a power loss may undo.
#[test]
fn the_manifest_of_an_earlier_close_does_not_hide_what_was_written_since() {
    let image = specimens()[0].make();
    let is_manifest = |name| matches!(name, FileName::Manifest(_));
    let old = names(&image, is_manifest).pop().unwrap();
    let bytes = read_file(&image, &old);
    let fs = on(&image);
    let db = open(&fs, DIR).unwrap();
    db.put("since", "then").unwrap();
    let truth = content(&db);
    kill(&fs, db);
    for name in names(&image, |name| name == FileName::Current || is_manifest(name)) {
        image.remove(&Path::new(DIR).join(name)).unwrap();
    }
    write_file(&image, &old, &bytes);
    let report = repair(&image).unwrap();
    let found = repaired(&image);
    assert_told(&truth, &found, &report);
    assert_eq!(found, truth);
}

#[test]
fn what_the_manifest_no_longer_names_does_not_come_back() {
    let (memory, obsolete) = with_obsolete_tables();
    let truth = content(&open(&memory.crash(Keep::Everything), DIR).unwrap());
    assert_eq!(truth.len(), 5);
    assert_eq!(obsolete.len(), 2);
    for (name, bytes) in &obsolete {
        assert!(!memory.exists(&Path::new(DIR).join(name)).unwrap(), "{name} is not obsolete");
        write_file(&memory, name, bytes);
    }
    let report = repair(&memory).unwrap();
    assert!(report.is_lossless(), "{report:#?}");
    assert_eq!(report.tables_skipped, 2);
    assert_eq!(repaired(&memory), truth);
}

#[test]
fn without_a_manifest_what_comes_back_is_told() {
    let (memory, obsolete) = with_obsolete_tables();
    let truth = content(&open(&memory.crash(Keep::Everything), DIR).unwrap());
    obsolete.iter().for_each(|(name, bytes)| write_file(&memory, name, bytes));
    for name in names(&memory, |name| matches!(name, FileName::Manifest(_))) {
        memory.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let report = repair(&memory).unwrap();
    let found = repaired(&memory);
    assert!(!differences(&truth, &found).is_empty(), "the obsolete tables were to be read");
    assert_told(&truth, &found, &report);
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

/// Whether what a repair left in its target is no store, or the whole one.
fn judge_target(image: &MemFs, truth: &Content, context: &str) {
    if !image.exists(Path::new(TARGET)).unwrap() {
        return;
    }
    match open(image, TARGET) {
        Ok(db) if db.recovery_report().is_new => assert!(content(&db).is_empty(), "{context}"),
        Ok(db) => assert_eq!(content(&db), *truth, "{context}"),
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
    let mut injected = 0;
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
                for keep in [Keep::Everything, Keep::SyncedOnly] {
                    judge_target(&memory.crash(keep), &truth, &context);
                }
                if made.is_ok() {
                    assert_eq!(repaired(&memory.crash(Keep::SyncedOnly)), truth, "{context}");
                }
            }
        }
    }
    println!("{injected} faults in {count} operations");
    assert!(500 < injected, "{injected} faults are too few");
}

#[test]
fn a_power_loss_leaves_a_target_that_is_whole_or_none() {
    let specimen = specimens()[0];
    let store = specimen.make();
    let truth = truth(specimen);
    let images = deaths(&store, |fs| drop(repair(fs).unwrap()));
    for (op, image) in images {
        judge_target(&image, &truth, &op);
    }
}
