//! What a flush leaves behind where it fails, and where it goes.

use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::{Fault, FaultFs, MemFs, OpKind};
use lsm_base::{FileName, Fs};

use crate::{Db, ErrorKind, Options};

const DIR: &str = "db";

/// A store in which nothing happens but what the test does.
fn store() -> (FaultFs, Db) {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let options = Options { background_threads: 0, ..Options::default() };
    let db = Db::builder(DIR).options(options).fs(Arc::new(fs.clone())).open().unwrap();
    (fs, db)
}

fn tables(fs: &FaultFs) -> usize {
    let names = fs.list(Path::new(DIR)).unwrap();
    let is_table = |entry: &&lsm_base::fs::DirEntry| {
        matches!(FileName::parse(&entry.name), Some(FileName::Table(_)))
    };
    names.iter().filter(is_table).count()
}

#[test]
fn a_poisoned_store_unlinks_nothing() {
    let (fs, db) = store();
    db.put("k", "v").unwrap();
    db.keyspace("other").unwrap().put("k", "v").unwrap();
    let mut synced = 0;
    fs.set_plan(move |op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_)));
        synced += usize::from(is_table && op.kind.is_sync());
        (op.kind == OpKind::SyncDir && synced == 2).then_some(Fault::Eio)
    });
    db.flush().unwrap_err();
    assert!(matches!(db.health(), crate::Health::Poisoned(_)));
    fs.clear_plan();
    assert_eq!(tables(&fs), 2);
}

#[test]
fn a_flush_that_fails_unlinks_what_it_wrote_of_other_keyspaces() {
    let (fs, db) = store();
    db.put("k", "v").unwrap();
    db.keyspace("other").unwrap().put("k", "v").unwrap();
    let mut created = 0;
    fs.set_plan(move |op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_)));
        created += usize::from(is_table && op.kind == OpKind::Create);
        (is_table && op.kind == OpKind::Write && created == 2).then_some(Fault::Enospc)
    });
    assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::NoSpace);
    fs.clear_plan();
    assert_eq!(tables(&fs), 0);
    db.flush().unwrap();
    assert_eq!(tables(&fs), 2);
}

#[test]
fn a_table_goes_as_deep_as_nothing_lies_above_it() {
    let (_fs, db) = store();
    let level_of = |key: &str| {
        db.put(key, "v").unwrap();
        db.flush().unwrap();
        let version = Arc::clone(&db.inner().super_versions.load().version);
        let tree = version.state.version.tree(lsm_base::KeyspaceId::DEFAULT).unwrap();
        let filled = tree.levels().iter().rposition(|level| !level.is_empty());
        (filled, tree.levels()[0].len())
    };
    let (deepest, above) = level_of("apple");
    assert!(deepest.is_some_and(|level| 0 < level), "{deepest:?}");
    assert_eq!(above, 0, "nothing lies in the way of the first");
    assert_eq!(level_of("banana"), (deepest, 0));
    assert_eq!(level_of("apple"), (deepest, 1), "an older version lies there");
}

#[test]
fn a_new_store_counts_its_files_behind_its_manifest_and_its_sequences_from_one() {
    let (_fs, db) = store();
    let version = Arc::clone(&db.inner().super_versions.load().version);
    let state = &version.state;
    assert_eq!((state.first_seq.get(), state.next_file_number), (1, 2));
}
