//! Tables of random entries against a sorted vector.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lsm_base::cursor::{Motion, VecCursor};
use lsm_base::fs::{MemFs, StdFs};
use lsm_base::{Cursor, Fs, InternalKey, Kind, Seq};
use lsm_sstable::{Compression, CursorMode, ReadMode, Table, TableOptions};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::support::{Entry, ID, build, entry_at, find, get, open};

/// Keys from a small alphabet, so that prefixes, neighbours and versions meet.
pub(crate) fn user_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0), Just(0xff)], 1..5),
        4 => (0_u32..200).prop_map(|number| format!("user{number:012}").into_bytes()),
        1 => vec(any::<u8>(), 100..400),
    ]
}

fn seq() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..6, 0_u64..1000, Just(Seq::MAX.get())]
}

pub(crate) fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let value = prop_oneof![
        4 => vec(any::<u8>(), 0..20),
        2 => (0_usize..2000).prop_map(|len| vec![b'v'; len]),
        1 => Just(Vec::new()),
    ];
    let versions = btree_map(seq(), (any::<bool>(), value), 1..5);
    btree_map(user_key(), versions, 1..40).prop_map(|keys| sorted(&keys))
}

type Versions = BTreeMap<u64, (bool, Vec<u8>)>;

fn sorted(keys: &BTreeMap<Vec<u8>, Versions>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (user_key, versions) in keys {
        for (&seq, (is_put, value)) in versions.iter().rev() {
            let kind = if *is_put { Kind::Put } else { Kind::Delete };
            let key =
                InternalKey { user_key: user_key.as_slice().into(), seq: Seq::new(seq), kind };
            entries.push((key, if *is_put { value.clone() } else { Vec::new() }));
        }
    }
    entries
}

pub(crate) fn options() -> impl Strategy<Value = TableOptions> {
    let block_size = prop_oneof![Just(0_u32), Just(1), Just(64), Just(500), Just(4096)];
    let bits = prop_oneof![Just(0_u32), Just(1), Just(10), Just(32)];
    (block_size, any::<bool>(), bits).prop_map(|(block_size, is_lz4, bloom_bits_per_key)| {
        let compression = if is_lz4 { Compression::Lz4 } else { Compression::None };
        TableOptions { block_size, compression, bloom_bits_per_key }
    })
}

pub(crate) fn motion() -> impl Strategy<Value = Motion> {
    prop_oneof![
        1 => Just(Motion::First),
        1 => Just(Motion::Last),
        3 => (user_key(), seq()).prop_map(|(key, seq)| Motion::Seek(key, seq)),
        3 => (user_key(), seq()).prop_map(|(key, seq)| Motion::SeekBefore(key, seq)),
        8 => Just(Motion::Next),
        8 => Just(Motion::Prev),
    ]
}

/// Moves a cursor and one over the sorted vector together, and compares after each step.
pub(crate) fn walk(cursor: &mut impl Cursor, entries: &[Entry], motions: &[Motion]) {
    let mut model = VecCursor::new(entries.to_vec());
    for motion in motions {
        if motion.is_step() && !model.valid() {
            continue;
        }
        motion.apply(cursor).unwrap();
        motion.apply(&mut model).unwrap();
        assert_eq!(entry_at(cursor), entry_at(&model), "after {motion:?}");
    }
}

fn check_table(table: &Arc<Table>, entries: &[Entry], other: &[Vec<u8>], motions: &[Motion]) {
    let keys = entries.iter().map(|(key, _)| &key.user_key[..]);
    for user_key in keys.chain(other.iter().map(|key| &key[..])) {
        for (seq, _) in entries.iter().map(|(key, _)| (key.seq, ())).step_by(7) {
            let expected = find(entries, user_key, seq).cloned();
            assert_eq!(get(table, user_key, seq).unwrap(), expected);
        }
        for version in entries.iter().filter(|(key, _)| *key.user_key == *user_key) {
            let seq = version.0.seq;
            assert_eq!(get(table, user_key, seq).unwrap().as_ref(), Some(version));
            if let Some(before) = seq.get().checked_sub(1).map(Seq::new) {
                let expected = find(entries, user_key, before).cloned();
                assert_eq!(get(table, user_key, before).unwrap(), expected);
            }
        }
    }
    for mode in [CursorMode::Read, CursorMode::Compaction] {
        walk(&mut table.cursor(mode), entries, motions);
        let mut cursor = table.cursor(mode);
        cursor.seek_to_first().unwrap();
        for entry in entries {
            assert_eq!(entry_at(&cursor).as_ref(), Some(entry));
            cursor.next().unwrap();
        }
        assert!(!cursor.valid());
        cursor.seek_to_last().unwrap();
        for entry in entries.iter().rev() {
            assert_eq!(entry_at(&cursor).as_ref(), Some(entry));
            cursor.prev().unwrap();
        }
        assert!(!cursor.valid());
    }
}

fn check_offsets(table: &Table, entries: &[Entry], len: u64) {
    let offsets: Vec<u64> =
        entries.iter().map(|(key, _)| table.approximate_offset(&key.user_key).unwrap()).collect();
    assert!(offsets.is_sorted());
    assert_eq!(offsets[0], 0);
    assert!(table.approximate_offset(&[0xff; 500]).unwrap() <= len);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tables_hold_what_was_added(
        entries in entries(),
        options in options(),
        other in vec(user_key(), 10),
        motions in vec(motion(), 60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let disk: (Arc<dyn Fs>, _) = (Arc::new(StdFs), dir.path().join("000007.sst"));
        let memory: (Arc<dyn Fs>, _) = (Arc::new(MemFs::new()), Path::new("/000007.sst").to_owned());
        for (fs, path) in [disk, memory] {
            let summary = build(&*fs, &path, ID, options, &entries);
            for mode in [ReadMode::Map, ReadMode::Pread] {
                let table = open(Arc::clone(&fs), &path, &summary, mode);
                check_table(&table, &entries, &other, &motions);
                check_offsets(&table, &entries, summary.len);
                let report = table.verify().unwrap();
                prop_assert_eq!((report.bytes, report.entries), (summary.len, summary.entries));
            }
        }
    }

    #[test]
    fn summary_and_properties_describe_the_entries(entries in entries(), options in options()) {
        let (fs, path) = (Arc::new(MemFs::new()), Path::new("/000007.sst"));
        let summary = build(&*fs, path, ID, options, &entries);
        let table = open(fs, path, &summary, ReadMode::Map);
        let properties = table.properties().unwrap();
        let seqs = || entries.iter().map(|(key, _)| key.seq);
        let tombstones = entries.iter().filter(|(key, _)| key.kind == Kind::Delete).count() as u64;
        prop_assert_eq!(properties.entries, entries.len() as u64);
        prop_assert_eq!(properties.tombstones, tombstones);
        prop_assert_eq!(Some(properties.min_seq), seqs().min());
        prop_assert_eq!(Some(properties.max_seq), seqs().max());
        prop_assert_eq!(&properties.smallest, &entries[0].0);
        prop_assert_eq!(&properties.largest, &entries[entries.len() - 1].0);
        prop_assert_eq!((properties.keyspace.0, properties.keyspace_name.as_str()), (3, "users"));
        prop_assert_eq!(properties.options, options);
        prop_assert_eq!(
            (summary.entries, summary.tombstones, summary.min_seq, summary.max_seq),
            (properties.entries, tombstones, properties.min_seq, properties.max_seq)
        );
        prop_assert_eq!((summary.id, summary.len), (ID, table.source().len));
    }
}

#[test]
fn many_versions_of_a_key_straddle_blocks() {
    let mut entries = vec![crate::support::put(b"a", 1, b"before")];
    entries
        .extend((1..=500).rev().map(|seq| crate::support::put(b"k", 2 * seq, seq.to_le_bytes())));
    entries.push(crate::support::put(b"k\0", 1, b"behind"));
    let options = TableOptions { block_size: 100, ..TableOptions::default() };
    let (fs, path) = (Arc::new(MemFs::new()), Path::new("/000007.sst"));
    let summary = build(&*fs, path, ID, options, &entries);
    let table = open(fs, path, &summary, ReadMode::Map);
    for seq in (0..=1002).map(Seq::new) {
        assert_eq!(get(&table, b"k", seq).unwrap(), find(&entries, b"k", seq).cloned(), "{seq}");
        let mut cursor = table.cursor(CursorMode::Read);
        cursor.seek(b"k", seq).unwrap();
        let expected = find(&entries, b"k", seq).or(entries.last());
        assert_eq!(entry_at(&cursor).as_ref(), expected);
        cursor.seek_before(b"k", seq).unwrap();
        let index = entries.iter().position(|entry| Some(entry) == expected).unwrap();
        assert_eq!(entry_at(&cursor).as_ref(), Some(&entries[index - 1]));
    }
}

#[test]
#[should_panic(expected = "behind")]
fn entries_out_of_order_are_refused() {
    let entries = [crate::support::put(b"b", 1, b""), crate::support::put(b"a", 2, b"")];
    build(&MemFs::new(), Path::new("/000007.sst"), ID, TableOptions::default(), &entries);
}

#[test]
#[should_panic(expected = "behind")]
fn the_same_version_twice_is_refused() {
    let entries = [crate::support::put(b"a", 1, b"x"), crate::support::put(b"a", 1, b"y")];
    build(&MemFs::new(), Path::new("/000007.sst"), ID, TableOptions::default(), &entries);
}
