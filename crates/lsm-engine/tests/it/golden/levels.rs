//! A store of version 0 with all that a tree may consist of: levels 0, 5 and 6, tombstones, versions
//! that only a snapshot saw, tables with LZ4 and without, with a filter and without, a MANIFEST
//! with edits behind its first record, and a log.
//!
//! How it was made is data, so that what must be in it follows from the same steps. What the tables
//! hold, version by version, stands beside them in `levels.txt`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use lsm_engine::base::Cursor;
use lsm_engine::base::fs::StdFs;
use lsm_engine::{Compression, Db, Keyspace, Options, Read, Snapshot, TableInfo, Value};
use lsm_sstable::{BlockCache, CursorMode, ReadMode, Table};

use super::{copy, golden, is_to_be_rewritten};

const NAME: &str = "levels";

/// The keyspace in which the tree has three levels.
const DEEP: &str = "default";
/// The one whose tables are neither compressed nor filtered, but for the one in level 0.
const PLAIN: &str = "plain";
/// The one that comes late, compressed and filtered.
const PACKED: &str = "packed";

/// What there is too much of to stay in level 6 alone, before it is deleted again.
const BULK: Range<u32> = 0..80;

/// The keys of a keyspace, by number.
const KEYS: Range<u32> = 0..24;

/// How the store was made, step by step.
enum Step {
    /// Closed, if it is open, and opened with these settings.
    Open(Options),
    Put(&'static str, String, String),
    Delete(&'static str, String),
    /// One that lives until the next close.
    Snapshot,
    Flush,
    Compact(&'static str, &'static str),
}

use Step::{Compact, Delete, Flush, Open, Put};

/// What the store holds, by keyspace.
type Model = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

fn options(compression: Compression, bloom_bits_per_key: u32) -> Options {
    Options { table_size: 4 << 10, compression, bloom_bits_per_key, ..super::options() }
}

fn key(number: u32) -> String {
    format!("a/{number:02}")
}

fn put(keyspace: &'static str, number: u32, text: &str) -> Step {
    Put(keyspace, key(number), format!("{text} {number} ").repeat(4))
}

/// The numbers that leave `rest` when they are divided by `by`.
fn every(by: u32, rest: u32) -> impl Iterator<Item = u32> {
    KEYS.filter(move |number| number % by == rest)
}

fn steps() -> Vec<Step> {
    let mut steps = vec![Open(options(Compression::None, 0))];
    // Level 6, with versions that the snapshot sees.
    for keyspace in [DEEP, PLAIN] {
        steps.extend(KEYS.map(|number| put(keyspace, number, "first")));
    }
    steps.push(Step::Snapshot);
    for keyspace in [DEEP, PLAIN] {
        steps.extend(every(4, 0).map(|number| put(keyspace, number, "second")));
    }
    let bulk = |number: u32| format!("z/{number:02}");
    steps.extend(BULK.map(|number| Put(DEEP, bulk(number), "bulk".repeat(256))));
    steps.push(Compact("", "~"));
    // With so much in it level 6 wants another above it, which stays when the bulk goes.
    steps.extend([put(DEEP, 0, "third"), Flush]);
    steps.extend(BULK.map(|number| Delete(DEEP, bulk(number))));
    steps.push(Compact("z/", "z~"));

    steps.push(Open(options(Compression::Lz4, 10)));
    // Level 5 of one keyspace, level 6 of another, and level 0 of the third.
    for keyspace in [DEEP, PLAIN, PACKED] {
        steps.extend(every(3, 1).map(|number| put(keyspace, number, "fourth")));
    }
    steps.push(Step::Snapshot);
    for keyspace in [DEEP, PLAIN, PACKED] {
        steps.extend(every(6, 1).map(|number| put(keyspace, number, "fifth")));
        steps.extend(every(6, 4).map(|number| Delete(keyspace, key(number))));
    }
    steps.push(Flush);
    // Level 0, twice.
    steps.extend(every(5, 2).map(|number| put(DEEP, number, "sixth")));
    steps.push(Step::Snapshot);
    steps.extend(every(10, 2).map(|number| Delete(DEEP, key(number))));
    steps.push(Flush);
    steps.extend(every(10, 7).map(|number| put(DEEP, number, "seventh")));
    steps.push(Flush);
    // And what is in the log alone.
    for keyspace in [DEEP, PLAIN, PACKED] {
        steps.extend(every(8, 5).map(|number| put(keyspace, number, "eighth")));
        steps.extend(every(8, 6).map(|number| Delete(keyspace, key(number))));
    }
    steps
}

/// What must be in the store after these steps.
fn model(steps: &[Step]) -> Model {
    let mut model = Model::from([(DEEP, BTreeMap::new())]);
    for step in steps {
        match step {
            Put(keyspace, key, value) => {
                let keyspace = model.entry(keyspace).or_default();
                keyspace.insert(key.clone().into(), value.clone().into());
            }
            Delete(keyspace, key) => {
                model.entry(keyspace).or_default().remove(key.as_bytes());
            }
            Open(_) | Step::Snapshot | Flush | Compact(..) => {}
        }
    }
    model
}

fn check(db: &Db, model: &Model) {
    let keyspaces = db.keyspaces().unwrap();
    let names: Vec<_> = keyspaces.iter().map(Keyspace::name).collect();
    assert_eq!(names, [DEEP, PACKED, PLAIN]);
    for keyspace in &keyspaces {
        let name = keyspace.name();
        let expected: Vec<_> = model[name].clone().into_iter().collect();
        let entry = |(key, value): (Vec<u8>, Value)| (key, value.to_vec());
        let forward = keyspace.prefix("").map(|found| entry(found.unwrap()));
        assert_eq!(forward.collect::<Vec<_>>(), expected, "{name}");
        let backward = keyspace.prefix("").rev().map(|found| entry(found.unwrap()));
        let mut backward: Vec<_> = backward.collect();
        backward.reverse();
        assert_eq!(backward, expected, "{name}");
        let bulk = BULK.map(|number| format!("z/{number:02}"));
        for key in KEYS.map(key).chain(bulk) {
            let found = keyspace.get(&key).unwrap().map(|value| value.to_vec());
            assert_eq!(found.as_ref(), model[name].get(key.as_bytes()), "{name} {key}");
        }
    }
    assert!(db.verify().unwrap().is_clean());
}

/// The tables of an open store, with each version in them.
fn describe(db: &Db, dir: &Path) -> String {
    let mut text = String::new();
    for keyspace in db.levels() {
        writeln!(text, "{} \"{}\"", keyspace.id.0, keyspace.name).unwrap();
        for level in keyspace.levels {
            for table in level.tables {
                describe_table(&mut text, dir, level.level, &table);
            }
        }
    }
    text
}

fn describe_table(text: &mut String, dir: &Path, level: usize, info: &TableInfo) {
    let TableInfo { number, bytes, entries, tombstones, min_seq, max_seq, .. } = info;
    let path = dir.join(format!("{number:06}.sst"));
    let cache = BlockCache::new(1 << 20);
    let table = Table::open_standalone(Arc::new(StdFs), &path, ReadMode::Pread, cache).unwrap();
    let inspection = table.inspect().unwrap();
    let codecs = inspection.blocks.iter().map(|block| block.detail.as_ref().unwrap().codec);
    let codecs: Vec<_> = codecs.map(|codec| codec.to_string()).collect();
    let filter = inspection.filter.map_or("no filter".to_string(), |filter| {
        format!("{} lines of filter, {} probes", filter.lines, filter.probes)
    });
    let codecs = codecs.join(" ");
    writeln!(
        text,
        "  L{level} {number:06}.sst: {bytes} bytes, {entries} entries, {tombstones} tombstones, \
         {min_seq} to {max_seq}, blocks {codecs}, {filter}"
    )
    .unwrap();
    let mut cursor = table.cursor(CursorMode::Compaction);
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        let value = cursor.value().escape_ascii();
        writeln!(text, "    {:?} = {value}", cursor.key()).unwrap();
        cursor.next().unwrap();
    }
}

/// It has all that it is there for.
fn check_shape(db: &Db, text: &str) {
    let tables = |name: &str, level: usize| -> Vec<TableInfo> {
        let levels = db.levels();
        let keyspace = levels.iter().find(|keyspace| keyspace.name == name).unwrap();
        keyspace.levels[level].tables.clone()
    };
    assert_eq!(tables(DEEP, 0).len(), 2);
    for (name, level) in [(DEEP, 0), (DEEP, 5), (PLAIN, 0), (PACKED, 6)] {
        let tombstones: u64 = tables(name, level).iter().map(|table| table.tombstones).sum();
        assert_ne!(tombstones, 0, "{name} {level}");
    }
    let entries: u64 = tables(PLAIN, 6).iter().map(|table| table.entries).sum();
    assert!(u64::from(KEYS.end) < entries, "older versions");
    let has = |what: &[&str]| {
        let mut lines = text.lines();
        assert!(lines.any(|line| what.iter().all(|what| line.contains(what))), "{what:?}");
    };
    has(&["L6", "blocks none", "no filter"]);
    has(&["L6", "blocks lz4", "probes"]);
    has(&["L5", "blocks lz4", "probes"]);
    has(&["L0", "blocks none", "probes"]);
}

fn fill(steps: Vec<Step>, dir: &Path) -> Db {
    let mut db: Option<Db> = None;
    let mut snapshots: Vec<Snapshot> = Vec::new();
    for step in steps {
        if let Open(options) = step {
            snapshots.clear();
            db.take().map_or(Ok(()), Db::close).unwrap();
            db = Some(Db::builder(dir).options(options).open().unwrap());
            continue;
        }
        let db = db.as_ref().expect("the first step opens it");
        match step {
            Put(name, key, value) => drop(db.keyspace(name).unwrap().put(key, value).unwrap()),
            Delete(name, key) => drop(db.keyspace(name).unwrap().delete(key).unwrap()),
            Step::Snapshot => snapshots.push(db.snapshot().unwrap()),
            Flush => db.flush().unwrap(),
            Compact(first, last) => db.compact(first..=last).unwrap(),
            Open(_) => unreachable!(),
        }
    }
    let db = db.expect("the first step opens it");
    db.sync().unwrap();
    db
}

#[test]
fn a_directory_of_version_0_with_several_levels_opens() {
    let model = model(&steps());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join(NAME);
    copy(&golden(NAME), &dir);
    let packed = options(Compression::Lz4, 10);
    let db = Db::builder(&dir).options(packed.clone()).open_read_only().unwrap();
    check(&db, &model);
    let text = describe(&db, &dir);
    check_shape(&db, &text);
    assert_eq!(text, fs::read_to_string(golden("levels.txt")).unwrap());
    drop(db);

    // It goes on from there, whatever the settings.
    for options in [packed, options(Compression::None, 0)] {
        let dir = dir.with_extension(options.compression.to_string());
        copy(&golden(NAME), &dir);
        let open = || Db::builder(&dir).options(options.clone()).open().unwrap();
        let db = open();
        assert!(!db.recovery_report().was_closed);
        assert_ne!(db.recovery_report().replayed_records, 0);
        check(&db, &model);
        db.compact::<&str>(..).unwrap();
        check(&db, &model);
        db.close().unwrap();
        check(&open(), &model);
    }
}

/// Writes the directory and its description anew.
#[test]
fn rewrite() {
    if !is_to_be_rewritten() {
        return;
    }
    let _ = fs::remove_dir_all(golden(NAME));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join(NAME);
    let db = fill(steps(), &data);
    copy(&data, &golden(NAME));
    fs::write(golden("levels.txt"), describe(&db, &data)).unwrap();
}
