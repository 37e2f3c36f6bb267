//! Copies of an open store: each holds one moment, whole, whatever happens while it is made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lsm_base::fs::{FaultFs, Keep, MemFs};
use lsm_base::{FileName, Fs, Seq};
use lsm_engine::{Db, Durability, ErrorKind, Health, Options, Read, Result, WriteOptions};

use crate::harness::{self, DIR, disk, on, small_options};

mod broken;

/// Where the copy is.
const COPY: &str = "copy";

const BUFFERED: WriteOptions =
    WriteOptions { durability: Some(Durability::Buffered), condition: None, stall_timeout: None };

/// Every entry of every keyspace, by the keyspace's name and the key.
type Content = BTreeMap<(String, Vec<u8>), (Vec<u8>, Seq)>;

fn content(db: &Db) -> Content {
    let mut content = Content::new();
    for keyspace in db.keyspaces().unwrap() {
        let mut cursor = keyspace.cursor().unwrap();
        cursor.seek_to_first().unwrap();
        while cursor.valid() {
            let key = (keyspace.name().to_owned(), cursor.key().to_vec());
            let previous = content.insert(key, (cursor.value().to_vec(), cursor.entry_seq()));
            assert_eq!(previous, None);
            cursor.next().unwrap();
        }
    }
    content
}

/// Compares two contents, and tells the first difference alone.
#[track_caller]
fn assert_same<V: PartialEq + std::fmt::Debug>(
    found: &BTreeMap<(String, Vec<u8>), V>,
    expected: &BTreeMap<(String, Vec<u8>), V>,
    context: &str,
) {
    let more = found.iter().find(|(key, value)| expected.get(*key) != Some(value));
    let less = expected.iter().find(|(key, _)| !found.contains_key(*key));
    assert!(more.is_none() && less.is_none(), "{context}: {more:?} is wrong, {less:?} missing");
}

fn open_copy(fs: &FaultFs) -> Result<Db> {
    Db::builder(COPY).options(small_options(0)).fs(Arc::new(fs.clone())).open()
}

fn names(fs: &dyn Fs, dir: &str) -> Vec<String> {
    let mut names: Vec<_> = fs.list(dir.as_ref()).unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    names
}

/// Tables on several levels, a keyspace beside the default one, another that was dropped, and writes
/// that are in memory.
fn fill(db: &Db) {
    let other = db.keyspace("other").unwrap();
    let dropped = db.keyspace("dropped").unwrap();
    for i in 0..300_u32 {
        db.put_with((i % 200).to_be_bytes(), [i as u8; 100], &BUFFERED).unwrap();
        other.put_with(i.to_be_bytes(), [7; 20], &BUFFERED).unwrap();
        dropped.put_with(i.to_be_bytes(), "gone", &BUFFERED).unwrap();
        if i == 150 {
            db.compact::<&str>(..).unwrap();
        }
    }
    for i in 0..50_u32 {
        db.delete_with((i * 3).to_be_bytes(), &BUFFERED).unwrap();
    }
    db.drop_keyspace("dropped").unwrap();
    other.put("last", "in memory").unwrap();
}

#[test]
fn a_copy_holds_what_was_acknowledged_and_goes_its_own_way() {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    fill(&db);
    let before = content(&db);
    let seq = db.checkpoint(COPY).unwrap();
    assert_eq!(seq, db.seq());
    // The original overwrites and merges all that it shares.
    for i in 0..200_u32 {
        db.put_with(i.to_be_bytes(), "overwritten", &BUFFERED).unwrap();
    }
    db.compact::<&str>(..).unwrap();
    let after = content(&db);
    assert!(before != after);

    // It can be read without a write, and opened.
    let builder = || Db::builder(COPY).options(small_options(0)).fs(Arc::new(fs.clone()));
    let read_only = builder().open_read_only().unwrap();
    assert_eq!(read_only.seq(), seq);
    assert_same(&content(&read_only), &before, "read only");
    drop(read_only);
    let copy = open_copy(&fs).unwrap();
    let report = copy.recovery_report();
    // Its first MANIFEST is begun anew, as at each open, and nothing else of it goes.
    assert_eq!((report.is_new, report.orphans_removed, report.replayed_records), (false, 1, 0));
    assert_same(&content(&copy), &before, "copy");
    assert!(copy.verify().unwrap().is_clean() && db.verify().unwrap().is_clean());
    // No sequence stands for two writes.
    assert!(db.put("new", "original").unwrap() < copy.put("new", "copy").unwrap());

    // And the copy merges what it shares.
    copy.compact::<&str>(..).unwrap();
    copy.delete("new").unwrap();
    assert_same(&content(&copy), &before, "copy");
    db.delete("new").unwrap();
    assert_same(&content(&db), &after, "db");
    assert!(copy.verify().unwrap().is_clean() && db.verify().unwrap().is_clean());
    copy.close().unwrap();
    db.close().unwrap();
    assert_same(&content(&open_copy(&on(&memory)).unwrap()), &before, "the copy");
    let original = harness::open(&on(&memory), 0).unwrap();
    assert_same(&content(&original), &after, "the original");
}

#[test]
fn deleting_one_of_them_leaves_the_other() {
    for gone in [DIR, COPY] {
        let (memory, fs) = disk();
        let db = harness::open(&fs, 0).unwrap();
        fill(&db);
        let before = content(&db);
        db.checkpoint(COPY).unwrap();
        db.close().unwrap();
        for name in names(&fs, gone) {
            fs.remove(&Path::new(gone).join(name)).unwrap();
        }
        fs.sync_dir(gone.as_ref()).unwrap();
        let image = on(&memory.crash(Keep::SyncedOnly));
        let left = if gone == DIR { open_copy(&image) } else { harness::open(&image, 0) };
        let left = left.unwrap();
        assert_same(&content(&left), &before, "left");
        assert!(left.verify().unwrap().is_clean());
    }
}

#[test]
fn damage_in_a_file_that_both_name_is_damage_in_both() {
    let (_, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    fill(&db);
    db.checkpoint(COPY).unwrap();
    let copy = open_copy(&fs).unwrap();
    let is_table = |name: &String| matches!(FileName::parse(name), Some(FileName::Table(_)));
    let table = names(&fs, COPY).into_iter().find(is_table).unwrap();
    harness::patch_file(&fs, &table, 100, &[0xff; 8]);
    for (dir, db) in [(DIR, db), (COPY, copy)] {
        let report = db.verify().unwrap();
        assert_eq!(report.damage.len(), 1, "{dir}: {report:?}");
        let message = report.damage[0].to_string();
        assert!(message.contains(&format!("{dir}/{table}")), "{message}");
    }
}

#[test]
fn an_empty_store_has_an_empty_copy() {
    let (memory, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    db.keyspace("empty").unwrap();
    assert_eq!(db.checkpoint(COPY).unwrap(), Seq::ZERO);
    let copy = open_copy(&on(&memory.crash(Keep::SyncedOnly))).unwrap();
    assert!(!copy.recovery_report().is_new);
    assert_eq!(copy.keyspaces().unwrap().len(), 2);
    assert_eq!(content(&copy), Content::new());
}

#[test]
fn what_is_in_the_way_stays_as_it_is() {
    let (_, fs) = disk();
    let db = harness::open(&fs, 0).unwrap();
    db.put("k", "v").unwrap();
    fs.create_dir("full".as_ref()).unwrap();
    fs.create("full/note.txt".as_ref()).unwrap();
    for dir in ["full", DIR, ""] {
        let error = db.checkpoint(dir).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    assert_eq!(names(&fs, "full"), ["note.txt"]);
    assert_eq!(db.checkpoint("full/note.txt").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(db.checkpoint("no/parent").unwrap_err().kind(), ErrorKind::Io);
    // Somebody is about to make something of this one.
    fs.create_dir(COPY.as_ref()).unwrap();
    let lock = fs.lock(&FileName::Lock.path(COPY.as_ref())).unwrap();
    assert_eq!(db.checkpoint(COPY).unwrap_err().kind(), ErrorKind::Locked);
    drop(lock);
    db.checkpoint(COPY).unwrap();
    let before = names(&fs, COPY);
    assert_eq!(db.checkpoint(COPY).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(names(&fs, COPY), before);
    assert_eq!(db.health(), Health::Running);
    db.clone().close().unwrap();
    assert_eq!(db.checkpoint("late").unwrap_err().kind(), ErrorKind::Closed);
    let builder = Db::builder(DIR).options(small_options(0)).fs(Arc::new(fs.clone()));
    let read_only = builder.open_read_only().unwrap();
    assert_eq!(read_only.checkpoint("late").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(!fs.exists("late".as_ref()).unwrap());
}

/// What a writer did, in order: a put with its sequence, or the drop of a keyspace.
enum Done {
    Put(String, Vec<u8>, Seq),
    Dropped(String),
}

/// Writes to the default keyspace and to others, which come and go.
fn write_until(db: &Db, stop: &AtomicBool) -> Vec<Done> {
    let mut done = Vec::new();
    for round in 0_u32.. {
        let name = format!("round-{round}");
        let keyspace = db.keyspace(&name).unwrap();
        for i in 0..4_u32 {
            let key = (round % 50 * 4 + i).to_be_bytes();
            let seq = db.put_with(key, [round as u8; 200], &BUFFERED).unwrap();
            done.push(Done::Put("default".into(), key.to_vec(), seq));
            let seq = keyspace.put_with(key, "x", &BUFFERED).unwrap();
            done.push(Done::Put(name.clone(), key.to_vec(), seq));
        }
        db.drop_keyspace(&name).unwrap();
        done.push(Done::Dropped(name));
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    done
}

/// Compares a copy with all that was written up to its sequence.
fn check_moment(copy: &Db, seq: Seq, done: &[Done]) {
    let found: BTreeMap<_, _> =
        content(copy).into_iter().map(|(key, (_, seq))| (key, seq)).collect();
    let mut expected = BTreeMap::new();
    for done in done {
        match done {
            Done::Put(_, _, put) if seq < *put => break,
            Done::Put(keyspace, key, put) => {
                expected.insert((keyspace.clone(), key.clone()), *put);
            }
            Done::Dropped(name) => {
                // Its sequence is one more than that of the put before: with that put alone it is
                // in the copy or not.
                let is_in = |put: &Seq| *put < seq;
                if expected.values().max().is_some_and(is_in) {
                    expected.retain(|(keyspace, _), _| keyspace != name);
                }
            }
        }
    }
    assert_same(&found, &expected, &format!("at {seq}"));
}

#[test]
fn a_copy_that_is_made_beside_writers_holds_one_moment() {
    const COPIES: usize = 60;
    let (memory, fs) = disk();
    let options = Options { background_threads: 2, ..small_options(2) };
    let db = harness::open_with(&fs, options).unwrap();
    let stop = AtomicBool::new(false);
    let (done, copies) = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&db, &stop));
        let mut copies: Vec<(Seq, MemFs)> = Vec::new();
        while copies.len() < COPIES {
            // The writer is at work, and each copy has another moment.
            while copies.last().is_some_and(|(last, _)| db.seq() <= *last) {
                thread::yield_now();
            }
            let seq = db.checkpoint(format!("copy-{}", copies.len())).unwrap();
            copies.push((seq, memory.crash(Keep::SyncedOnly)));
        }
        stop.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), copies)
    });
    assert!(copies.windows(2).all(|two| two[0].0 < two[1].0));
    for (number, (seq, image)) in copies.iter().enumerate() {
        let builder = Db::builder(format!("copy-{number}")).options(small_options(0));
        let copy = builder.fs(Arc::new(on(image))).open().unwrap();
        check_moment(&copy, *seq, &done);
        assert!(copy.verify().unwrap().is_clean());
    }
    assert!(db.verify().unwrap().is_clean());
}
