//! Jobs end to end: what they write, what they notice, and what they leave when they fail.

use std::cell::Cell;
use std::sync::Arc;

use expect_test::expect;
use lsm_base::fs::{Fault, FaultFs, MemFs, OpKind};
use lsm_base::testing::SplitMix64;
use lsm_base::{Error, FileName, Fs, InternalKey, Kind, Seq};
use lsm_compaction::compaction::{Compaction, Reason};
use lsm_compaction::job::{Aborted, CANCELLATION_INTERVAL, Cause, Recheck};
use lsm_compaction::table_meta::TableMeta;
use lsm_compaction::{PickerOptions, VersionEdit};

use crate::store::{Entry, KEYSPACE, Store, never};

fn entry(user_key: &str, seq: u64, value: Option<&[u8]>) -> Entry {
    let kind = if value.is_some() { Kind::Put } else { Kind::Delete };
    let key = InternalKey { user_key: user_key.as_bytes().into(), seq: Seq::new(seq), kind };
    (key, value.unwrap_or_default().to_vec())
}

/// A value that no codec makes shorter.
fn value(seed: u64, len: usize) -> Vec<u8> {
    let mut value = vec![0; len];
    SplitMix64::new(seed).fill(&mut value);
    value
}

fn options(table_bytes: u64) -> PickerOptions {
    PickerOptions { l0_trigger: 2, table_bytes, ..PickerOptions::default() }
}

/// Two tables in L0, each with `keys` keys of which every second is in both; the older one has
/// values of `value_len` bytes, the newer one a tombstone for each third.
fn two_flushes(store: &mut Store, keys: u64, value_len: usize) {
    let older: Vec<_> = (0..keys)
        .map(|i| entry(&format!("key{i:05}"), i + 1, Some(&value(i, value_len))))
        .collect();
    let newer: Vec<_> = (0..keys)
        .map(|i| {
            let value = (i % 3 != 0).then_some(&b"new"[..]);
            entry(&format!("key{:05}", 2 * i), keys + i + 1, value)
        })
        .collect();
    for entries in [older, newer] {
        let (_, outcome) = store.flush(entries, &[Seq::new(2 * keys)]).unwrap();
        let mut edit = VersionEdit::default();
        for table in outcome.tables {
            edit.add_table(0, table);
        }
        store.install(&edit);
    }
}

fn pick(store: &Store) -> Compaction {
    let compaction = store.picker(Seq::MAX).pick().unwrap();
    assert!(!compaction.is_trivial_move && compaction.reason == Reason::LevelZero);
    compaction
}

fn failure(aborted: Aborted) -> Error {
    match aborted.cause {
        Cause::Failed(error) => error,
        Cause::Cancelled => panic!("nobody cancelled"),
    }
}

#[test]
fn a_compaction_keeps_the_newest_and_counts_the_rest() {
    let mut store = Store::new(options(1 << 20));
    two_flushes(&mut store, 300, 10);
    let compaction = pick(&store);
    let outcome = store.compact(&compaction, &[Seq::new(600)], &mut never).unwrap();
    // The older flush has 300 keys, of which the newer hides 150. That one had 100 tombstones: 50
    // above nothing were elided when it was flushed, the others are elided now.
    expect![[r#"
        Counts {
            input: 550,
            output: 350,
            shadowed: 150,
            elided: 50,
            input_bytes: 12400,
        }
    "#]]
    .assert_debug_eq(&outcome.stats.counts);
    store.install(&compaction.edit(outcome.tables));
    assert_eq!(store.entries().len(), 350);
    assert_eq!(store.get(b"key00002", Seq::MAX), Some(b"new".to_vec()));
    assert_eq!(store.get(b"key00003", Seq::MAX), Some(value(3, 10)));
    assert_eq!(store.get(b"key00006", Seq::MAX), None);
}

#[test]
fn a_compaction_in_which_everything_goes_leaves_no_table() {
    let mut store = Store::new(options(1 << 20));
    for (seq, value) in [(1, Some(&b"x"[..])), (2, None)] {
        let (_, outcome) = store.flush(vec![entry("k", seq, value)], &[Seq::new(1)]).unwrap();
        let mut edit = VersionEdit::default();
        outcome.tables.into_iter().for_each(|table| edit.add_table(0, table));
        store.install(&edit);
    }
    let compaction = pick(&store);
    let outcome = store.compact(&compaction, &[Seq::new(2)], &mut never).unwrap();
    assert_eq!((outcome.tables.len(), outcome.stats.output_bytes), (0, 0));
    store.install(&compaction.edit(outcome.tables));
    assert_eq!(store.tree().tables().count(), 0);
}

#[test]
fn tables_are_cut_at_their_size_and_never_within_a_user_key() {
    let mut store = Store::new(options(4 << 10));
    let mut entries = Vec::new();
    for key in 0..40 {
        // Eleven versions of each key, all of them in use: a KiB and more.
        for version in 0..11_u64 {
            let seq = 1000 - version * 50 + key % 50;
            entries.push(entry(&format!("key{key:03}"), seq, Some(&value(seq, 100))));
        }
    }
    let snapshots: Vec<_> = (1..1100).map(Seq::new).collect();
    let (_, outcome) = store.flush(entries, &snapshots).unwrap();
    assert!(8 < outcome.tables.len(), "{:?}", outcome.tables);
    for pair in outcome.tables.windows(2) {
        assert!(pair[0].largest.user_key < pair[1].smallest.user_key);
    }
    for table in &outcome.tables {
        assert!(table.entries.is_multiple_of(11) && table.len < 8 << 10, "{table:?}");
    }
}

#[test]
fn an_input_that_is_short_of_entries_is_corrupt() {
    let mut store = Store::new(options(1 << 20));
    two_flushes(&mut store, 30, 10);
    let mut compaction = pick(&store);
    let first = TableMeta::clone(&compaction.inputs[0]);
    compaction.inputs[0] = Arc::new(TableMeta { entries: first.entries + 1, ..first });
    let aborted = store.compact(&compaction, &[Seq::new(60)], &mut never).unwrap_err();
    assert_eq!(aborted.created.len(), 1);
    expect!["corrupt merge input at 0: the merge read 55 entries of 56"]
        .assert_eq(&failure(aborted).to_string());
}

#[test]
fn a_cancellation_is_heard_in_time_and_names_the_files() {
    let mut store = Store::new(options(4 << 20));
    two_flushes(&mut store, 2000, 1000);
    let compaction = pick(&store);
    store.options.table_bytes = 64 << 10;
    let questions = Cell::new(0);
    let mut is_cancelled = |_| {
        questions.set(questions.get() + 1);
        questions.get() == 4
    };
    let aborted = store.compact(&compaction, &[Seq::new(4000)], &mut is_cancelled).unwrap_err();
    assert!(matches!(aborted.cause, Cause::Cancelled));
    // Three intervals were merged, at more than 64 KiB of values for each table.
    assert!((3..=12).contains(&aborted.created.len()), "{:?}", aborted.created);

    let (questions, last_read) = (Cell::new(0), Cell::new(0));
    let mut count = |entries_read| {
        questions.set(questions.get() + 1);
        assert!(last_read.replace(entries_read) < entries_read || entries_read == 0);
        false
    };
    let outcome = store.compact(&compaction, &[Seq::new(4000)], &mut count).unwrap();
    let intervals = outcome.stats.counts.input_bytes / CANCELLATION_INTERVAL;
    assert!((intervals..=intervals + 1).contains(&questions.get()));
    assert!(last_read.get() <= outcome.stats.counts.input);
}

#[test]
fn a_job_that_is_cancelled_before_it_began_takes_no_file() {
    let mut store = Store::new(options(1 << 20));
    two_flushes(&mut store, 30, 10);
    let compaction = pick(&store);
    let mut asked = Vec::new();
    let mut is_cancelled = |entries_read| {
        asked.push(entries_read);
        true
    };
    let aborted = store.compact(&compaction, &[Seq::new(60)], &mut is_cancelled).unwrap_err();
    assert!(matches!(aborted.cause, Cause::Cancelled));
    assert_eq!((aborted.created, asked), (vec![], vec![0]));
}

/// Whether only one operation fails, or every one from there on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lasting {
    Once,
    Forever,
}

/// More than any block of the tables has, and less than a read ahead.
const BLOCK_ROOM: u64 = 600;

/// A compaction over a file system whose operation `index` fails; whether there is such a one.
fn compact_with_fault(recheck: Recheck, index: u64, fault: Fault, lasting: Lasting) -> bool {
    let faults = FaultFs::new(Arc::new(MemFs::new()));
    let mut store = Store::on(Arc::new(faults.clone()), options(2 << 10));
    store.recheck = recheck;
    two_flushes(&mut store, 40, 40);
    let compaction = pick(&store);
    let before = store.state.clone();
    faults.clear_trace();
    let first = faults.next_index() + index;
    match lasting {
        Lasting::Once => faults.fail_at(first, fault),
        Lasting::Forever => faults.fail_from(first, fault),
    }
    let result = store.compact(&compaction, &[Seq::new(80)], &mut never);
    faults.clear_plan();
    let aborted = match result {
        Ok(outcome) => {
            assert_eq!(outcome.stats.counts.input, compaction.input_entries());
            let Some(op) = faults.trace().into_iter().find(|op| op.fault.is_some()) else {
                return false;
            };
            // A read ahead of need may fail and be made up for; nothing else may.
            let is_read_ahead = op.kind == OpKind::Read && BLOCK_ROOM < op.len;
            assert!(lasting == Lasting::Once && is_read_ahead, "{op} was swallowed");
            return true;
        }
        Err(aborted) => aborted,
    };
    // What was there is there still: the files that were named go, and a second try succeeds.
    assert_eq!(store.state, before);
    for number in &aborted.created {
        let path = FileName::Table(*number).path(&store.dir);
        store.fs.remove(&path).expect("a file that was named exists");
    }
    let listed = store.fs.list(&store.dir).unwrap();
    let live = store.state.version.tables().count();
    assert_eq!(listed.len(), live, "no file is left that nobody names: {listed:?}");
    let outcome = store.compact(&compaction, &[Seq::new(80)], &mut never).unwrap();
    assert_eq!(outcome.stats.counts.input, compaction.input_entries());
    assert!(matches!(failure(aborted), Error::Io { .. }), "operation {index}");
    true
}

#[test]
fn every_error_of_the_disk_surfaces_and_nothing_is_lost() {
    for recheck in [Recheck::Sample, Recheck::Full] {
        for fault in [Fault::Eio, Fault::Enospc] {
            for lasting in [Lasting::Once, Lasting::Forever] {
                let failing = (0..)
                    .take_while(|index| compact_with_fault(recheck, *index, fault, lasting))
                    .count();
                assert!(10 < failing, "{recheck:?} {fault:?} {lasting:?}: {failing} operations");
            }
        }
    }
}

#[test]
fn a_table_that_was_written_wrong_is_not_proposed() {
    // A bit of each block flips on its way to the disk; the digest in memory is of the right one.
    for at in (0..3000).step_by(101) {
        let disk: Arc<dyn Fs> = Arc::new(MemFs::new());
        let flipping = Arc::new(flipping::FlippingFs::new(disk, at));
        let mut store = Store::on(Arc::clone(&flipping) as Arc<dyn Fs>, options(1 << 20));
        two_flushes(&mut store, 40, 40);
        let compaction = pick(&store);
        flipping.start();
        match store.compact(&compaction, &[Seq::new(80)], &mut never) {
            Ok(_) => assert!(!flipping.has_flipped(), "byte {at}"),
            Err(aborted) => {
                assert!(matches!(failure(aborted), Error::Corruption { .. }), "byte {at}");
            }
        }
    }
}

#[test]
fn tables_of_a_job_belong_to_its_keyspace_and_codec() {
    let mut store = Store::new(options(1 << 20));
    two_flushes(&mut store, 30, 10);
    let compaction = pick(&store);
    let outcome = store.compact(&compaction, &[Seq::new(60)], &mut never).unwrap();
    let table = &outcome.tables[0];
    assert_eq!(table.keyspace, KEYSPACE);
    assert_eq!(table.compression, store.options.compression[compaction.output_level]);
    let opened = store.open(table);
    assert_eq!(opened.properties().unwrap().keyspace, KEYSPACE);
}

/// A file system that flips one bit of what is written to new files.
mod flipping {
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use lsm_base::fs::{DirEntry, FileLock, Space};
    use lsm_base::{File, Fs, Result};

    #[derive(Debug)]
    pub(super) struct FlippingFs {
        inner: Arc<dyn Fs>,
        at: u64,
        control: Arc<Control>,
    }

    #[derive(Debug, Default)]
    struct Control {
        is_on: AtomicBool,
        has_flipped: AtomicBool,
    }

    #[derive(Debug)]
    struct FlippingFile {
        inner: Arc<dyn File>,
        at: u64,
        control: Arc<Control>,
    }

    impl FlippingFs {
        pub(super) fn new(inner: Arc<dyn Fs>, at: u64) -> FlippingFs {
            FlippingFs { inner, at, control: Arc::default() }
        }

        pub(super) fn start(&self) {
            self.control.is_on.store(true, Ordering::SeqCst);
        }

        pub(super) fn has_flipped(&self) -> bool {
            self.control.has_flipped.load(Ordering::SeqCst)
        }
    }

    impl Fs for FlippingFs {
        fn absolute(&self, path: &Path) -> Result<PathBuf> {
            self.inner.absolute(path)
        }
        fn canonical(&self, path: &Path) -> Result<PathBuf> {
            self.inner.canonical(path)
        }
        fn create_dir(&self, dir: &Path) -> Result<()> {
            self.inner.create_dir(dir)
        }
        fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
            let (inner, control) = (self.inner.create(path)?, Arc::clone(&self.control));
            Ok(Arc::new(FlippingFile { inner, at: self.at, control }))
        }
        fn open(&self, path: &Path) -> Result<Arc<dyn File>> {
            self.inner.open(path)
        }
        fn open_writable(&self, path: &Path) -> Result<Arc<dyn File>> {
            self.inner.open_writable(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> Result<()> {
            self.inner.rename(from, to)
        }
        fn link(&self, from: &Path, to: &Path) -> Result<()> {
            self.inner.link(from, to)
        }
        fn remove(&self, path: &Path) -> Result<()> {
            self.inner.remove(path)
        }
        fn sync_dir(&self, dir: &Path) -> Result<()> {
            self.inner.sync_dir(dir)
        }
        fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
            self.inner.list(dir)
        }
        fn exists(&self, path: &Path) -> Result<bool> {
            self.inner.exists(path)
        }
        fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>> {
            self.inner.lock(path)
        }

        fn lock_existing(&self, path: &Path) -> Result<Box<dyn FileLock>> {
            self.inner.lock_existing(path)
        }
        fn space(&self, dir: &Path) -> Result<Space> {
            self.inner.space(dir)
        }
    }

    impl File for FlippingFile {
        fn path(&self) -> &Path {
            self.inner.path()
        }
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.inner.read_at(buf, offset)
        }
        fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
            let mut bytes = buf.to_vec();
            let is_here = (offset..offset + buf.len() as u64).contains(&self.at);
            if is_here && self.control.is_on.load(Ordering::SeqCst) {
                bytes[(self.at - offset) as usize] ^= 1;
                self.control.has_flipped.store(true, Ordering::SeqCst);
            }
            self.inner.write_at(&bytes, offset)
        }
        fn allocate(&self, len: u64) -> Result<()> {
            self.inner.allocate(len)
        }
        fn sync_data(&self) -> Result<()> {
            self.inner.sync_data()
        }
        fn sync_all(&self) -> Result<()> {
            self.inner.sync_all()
        }
        fn start_writeback(&self, offset: u64, len: u64) -> Result<()> {
            self.inner.start_writeback(offset, len)
        }
        fn len(&self) -> Result<u64> {
            self.inner.len()
        }
        fn descriptor(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }
}
