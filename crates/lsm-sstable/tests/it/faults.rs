//! Contract E-3 and E-4: every operation of the file system fails once, and for good, in turn.
//!
//! A read that fails is an `Err` of the call that needed it: never "not found", never the end of a
//! scan, and never remembered. Short counts and interruptions are nobody's business.

use std::path::PathBuf;
use std::sync::Arc;

use lsm_base::fs::{Fault, FaultFs, MemFs, OpKind, StdFs};
use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, Error, Fs, KeyspaceId, Result, Seq};
use lsm_sstable::{
    BlockCache, Compression, CursorMode, ReadMode, Resident, Table, TableBuilder, TableOptions,
    TableSummary,
};
use tempfile::TempDir;

use crate::support::{
    Entry, ID, build, delete, entry_at, find, get, noise, open, put, read_file, table_path,
};

fn entries() -> Vec<Entry> {
    let mut entries: Vec<Entry> = (0..40)
        .map(|i| match i % 3 {
            0 => put(format!("key{i:03}"), i + 1, noise(60)),
            1 => put(format!("key{i:03}"), i + 1, "the same words ".repeat(5)),
            _ => delete(format!("key{i:03}"), i + 1),
        })
        .collect();
    entries.extend((1..10).rev().map(|seq| put(b"versions", seq, noise(70))));
    entries
}

/// A table behind a file system that fails on demand.
struct Setup {
    fs: FaultFs,
    path: PathBuf,
    summary: TableSummary,
    mode: ReadMode,
    _dir: Option<TempDir>,
}

impl Setup {
    fn open(&self) -> Arc<Table> {
        open(Arc::new(self.fs.clone()), &self.path, &self.summary, self.mode)
    }
}

/// A real map, the heap in place of one, and no map; compressed or not.
fn setups() -> Vec<Setup> {
    let mut setups = Vec::new();
    for compression in [Compression::None, Compression::Lz4] {
        let options = TableOptions { block_size: 300, compression, bloom_bits_per_key: 10 };
        for (mode, is_on_disk) in
            [(ReadMode::Map, true), (ReadMode::Map, false), (ReadMode::Pread, false)]
        {
            let dir = is_on_disk.then(|| tempfile::tempdir().unwrap());
            let (inner, path): (Arc<dyn Fs>, _) = match &dir {
                Some(dir) => (Arc::new(StdFs), dir.path().join("000007.sst")),
                None => (Arc::new(MemFs::new()), table_path()),
            };
            let summary = build(&*inner, &path, ID, options, &entries());
            let fs = FaultFs::new(inner);
            fs.show_descriptors();
            setups.push(Setup { fs, path, summary, mode, _dir: dir });
        }
    }
    setups
}

/// Reads everything in every way; counts the calls that failed, and panics at a wrong answer.
fn read_everything(table: &Arc<Table>, entries: &[Entry]) -> usize {
    let mut failures = 0;
    let mut note = |result: Result<()>| match result {
        Ok(()) => {}
        Err(Error::Io { path, .. }) => {
            assert_eq!(path, table.source().path);
            failures += 1;
        }
        Err(other) => panic!("{other}"),
    };
    for (key, _) in entries {
        let hash = hash_user_key(&key.user_key);
        let expected = find(entries, &key.user_key, key.seq);
        match table.get_resident(&key.user_key, hash, key.seq).unwrap() {
            Resident::Known(found) => assert_eq!(found.unwrap().seq, key.seq),
            Resident::WouldTouchDisk => {}
        }
        let found = get(table, &key.user_key, key.seq);
        note(found.map(|found| assert_eq!(found.as_ref(), expected)));
    }
    for mode in [CursorMode::Read, CursorMode::Compaction] {
        let mut cursor = table.cursor(mode);
        let scanned = cursor.seek_to_first().and_then(|()| {
            for entry in entries {
                assert_eq!(entry_at(&cursor).as_ref(), Some(entry));
                cursor.next()?;
            }
            assert!(!cursor.valid());
            Ok(())
        });
        assert!(!cursor.valid());
        note(scanned);
        let sought = cursor.seek(b"key020", Seq::MAX);
        note(sought.map(|()| assert_eq!(entry_at(&cursor).as_ref(), Some(&entries[20]))));
    }
    note(table.verify().map(|report| assert_eq!(report.entries, entries.len() as u64)));
    note(table.properties().map(|properties| assert_eq!(properties.tombstones, 13)));
    failures
}

#[test]
fn every_failed_read_is_an_error_of_its_call() {
    let entries = entries();
    let mut made_up_for = 0;
    for setup in setups() {
        let start = setup.fs.next_index();
        assert_eq!(read_everything(&setup.open(), &entries), 0);
        let count = setup.fs.next_index() - start;
        assert!(30 < count, "{count} operations");
        for index in 0..count {
            for fault in [Fault::Eio, Fault::EioAfter] {
                let table = setup.open();
                let injected = setup.fs.injected();
                setup.fs.clear_trace();
                setup.fs.fail_at(setup.fs.next_index() + index, fault);
                let failures = read_everything(&table, &entries);
                assert_eq!(setup.fs.injected(), injected + 1);
                let trace = setup.fs.trace();
                let op = trace.iter().find(|op| op.fault.is_some()).unwrap();
                // Reading ahead for compaction falls back to the block alone, and nothing else does.
                let is_ahead = op.kind == OpKind::Read && op.offset != 0 && BLOCK_ROOM < op.len;
                assert_eq!(failures, usize::from(!is_ahead), "{op}");
                made_up_for += usize::from(is_ahead);
                setup.fs.clear_plan();
                assert_eq!(read_everything(&table, &entries), 0, "and it was not remembered");
            }
        }
    }
    assert!(0 < made_up_for);
}

/// More than any block has but the data section.
const BLOCK_ROOM: u64 = 400;

#[test]
fn a_disk_that_stays_dead_gives_errors_for_all_that_was_not_read() {
    let entries = entries();
    for setup in setups() {
        let start = setup.fs.next_index();
        read_everything(&setup.open(), &entries);
        let count = setup.fs.next_index() - start;
        for index in 0..count {
            let table = setup.open();
            setup.fs.fail_from(setup.fs.next_index() + index, Fault::Eio);
            assert!(0 < read_everything(&table, &entries), "operation {index}");
            setup.fs.clear_plan();
            assert_eq!(read_everything(&table, &entries), 0);
        }
    }
}

#[test]
fn short_and_interrupted_reads_change_nothing() {
    let entries = entries();
    for setup in setups() {
        for fault in [Fault::Short(1), Fault::Short(100)] {
            setup.fs.set_plan(move |_| Some(fault));
            assert_eq!(read_everything(&setup.open(), &entries), 0);
        }
        let injected = setup.fs.injected();
        setup
            .fs
            .set_plan(|op| (op.kind == OpKind::Read && op.index % 2 == 0).then_some(Fault::Eintr));
        assert_eq!(read_everything(&setup.open(), &entries), 0);
        assert!(injected < setup.fs.injected());
        setup.fs.clear_plan();
    }
}

#[test]
fn a_file_that_ends_early_is_an_error() {
    let entries = entries();
    for setup in setups() {
        let table = setup.open();
        table.properties().unwrap();
        setup.fs.set_plan(|_| Some(Fault::Short(0)));
        let (key, _) = &entries[5];
        let error = get(&table, &key.user_key, key.seq).unwrap_err();
        assert!(matches!(error, Error::Io { op: "read", .. }), "{error}");
        setup.fs.clear_plan();
    }
}

/// A table of a few buffers, written through `fs`.
fn write_table(fs: &dyn Fs) -> Result<TableSummary> {
    let options = TableOptions { compression: Compression::None, ..TableOptions::default() };
    let file = fs.create(&table_path())?;
    let mut builder = TableBuilder::new(file, ID, (KeyspaceId(3), "users"), options);
    let value = noise(50_000);
    let mut failure = None;
    for index in 0..80 {
        let (key, value) = put(format!("key{index:03}"), index + 1, &value);
        if let Err(error) = builder.add(key.as_ref(), &value) {
            failure = Some(error);
        } else {
            assert!(failure.is_none(), "a builder that failed goes on failing");
        }
    }
    let result = builder.finish();
    assert!(failure.is_none() || result.is_err(), "a table that is lost is not finished");
    result
}

#[test]
fn every_failed_write_or_sync_loses_the_table() {
    let clean = FaultFs::new(Arc::new(MemFs::new()));
    let summary = write_table(&clean).unwrap();
    let count = clean.next_index();
    assert!(6 <= count, "{count} operations");
    for index in 0..count {
        for fault in [Fault::Eio, Fault::EioAfter, Fault::Enospc] {
            let fs = FaultFs::new(Arc::new(MemFs::new()));
            fs.fail_at(index, fault);
            let error = write_table(&fs).unwrap_err();
            assert!(matches!(error, Error::Io { .. }));
            assert_eq!(error.is_no_space(), fault == Fault::Enospc);
        }
    }
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    fs.set_plan(|op| {
        let fault = if op.index % 2 == 0 { Fault::Short(70_000) } else { Fault::Eintr };
        (op.kind == OpKind::Write).then_some(fault)
    });
    let interrupted = write_table(&fs).unwrap();
    assert!(10 < fs.injected());
    assert_eq!(interrupted, summary);
    assert!(read_file(&fs, &table_path()) == read_file(&clean, &table_path()));
}

#[test]
fn a_finished_table_survives_a_power_loss() {
    let fs = MemFs::new();
    let summary = write_table(&fs).unwrap();
    fs.sync_dir(&PathBuf::from("/")).unwrap();
    let image = fs.crash(lsm_base::fs::Keep::SyncedOnly);
    let table = Table::open_standalone(
        Arc::new(image),
        &table_path(),
        ReadMode::Pread,
        BlockCache::new(1 << 20),
    )
    .unwrap();
    assert_eq!(table.verify().unwrap().entries, summary.entries);
}
