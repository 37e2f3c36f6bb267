//! Tests of reads through a real map; the integration tests use a file system in memory as well.

use std::path::PathBuf;

use lsm_base::fs::{Fault, FaultFs, Op, OpKind, StdFs};
use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, InternalKeyRef, KeyspaceId};
use tempfile::TempDir;

use super::*;
use crate::builder::TableBuilder;
use crate::options::{Compression, TableOptions};

const COUNT: u32 = 2000;

struct Setup {
    _dir: TempDir,
    path: PathBuf,
    table: Arc<Table>,
}

fn key_of(index: u32) -> Vec<u8> {
    format!("key{index:08}").into_bytes()
}

fn value_of(index: u32) -> Vec<u8> {
    vec![index as u8; index as usize % 900]
}

fn build(mode: ReadMode, compression: Compression) -> Setup {
    build_in(Arc::new(StdFs), mode, compression)
}

fn build_in(fs: Arc<dyn Fs>, mode: ReadMode, compression: Compression) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("000007.sst");
    let options = TableOptions { compression, ..TableOptions::default() };
    let file = fs.create(&path).unwrap();
    let mut builder = TableBuilder::new(file, 99, (KeyspaceId::DEFAULT, "default"), options);
    for index in 0..COUNT {
        let key = key_of(index);
        let key = InternalKeyRef::new(&key, Seq::new(1 + u64::from(index)), Kind::Put);
        builder.add(key, &value_of(index)).unwrap();
    }
    let summary = builder.finish().unwrap();
    let source =
        TableSource { fs, path: path.clone(), number: 7, id: summary.id, len: summary.len };
    Setup { _dir: dir, path, table: Table::new(source, mode, BlockCache::new(1 << 20)) }
}

fn read_all(table: &Arc<Table>) {
    for index in 0..COUNT {
        let key = key_of(index);
        let entry = table.get(&key, hash_user_key(&key), Seq::MAX).unwrap().unwrap();
        assert_eq!(*entry.value, *value_of(index));
        let len = table.get_with(&key, hash_user_key(&key), Seq::MAX, |_, _, value| value.len());
        assert_eq!(len.unwrap(), Some(value_of(index).len()));
    }
    let mut cursor = table.cursor(CursorMode::Read);
    cursor.seek_to_first().unwrap();
    for index in 0..COUNT {
        assert_eq!(cursor.key().user_key, key_of(index));
        assert_eq!(cursor.value(), value_of(index));
        cursor.next().unwrap();
    }
    assert!(!cursor.valid());
}

#[test]
fn every_mode_reads_what_was_written() {
    for mode in [ReadMode::Map, ReadMode::Pread] {
        for compression in [Compression::None, Compression::Lz4] {
            let setup = build(mode, compression);
            read_all(&setup.table);
            // What was read once comes from elsewhere the next time, and from the file again where
            // the cache has no room for it.
            read_all(&setup.table);
            let Setup { table, path, .. } = &setup;
            let cache = BlockCache::new(1);
            let alone = Table::open_standalone(Arc::new(StdFs), path, mode, cache).unwrap();
            read_all(&alone);
            read_all(&alone);
            table.verify().unwrap();
            setup.table.forget_verified();
            read_all(&setup.table);
            setup.table.verify().unwrap();
        }
    }
}

#[test]
fn threads_share_a_table() {
    let setup = build(ReadMode::Map, Compression::None);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| read_all(&setup.table));
        }
    });
}

#[test]
fn a_value_outlives_its_table_and_its_file() {
    for mode in [ReadMode::Map, ReadMode::Pread] {
        let setup = build(mode, Compression::None);
        let get = |index| {
            let key = key_of(index);
            setup.table.get(&key, hash_user_key(&key), Seq::MAX).unwrap().unwrap().value
        };
        let (short, middle, long) = (get(10), get(300), get(899));
        assert_eq!([&short, &middle, &long].map(TableValue::is_pinned), [false, false, true]);
        StdFs.remove(&setup.path).unwrap();
        drop(setup);
        assert_eq!((&*short, &*middle, &*long), (&*value_of(10), &*value_of(300), &*value_of(899)));
        assert_eq!(long.clone(), long);
        assert!(short != middle && *short.as_ref() == *short);
    }
}

#[test]
fn nothing_is_read_before_the_first_use_and_little_after() {
    let setup = build(ReadMode::Map, Compression::None);
    let (present, absent) = (key_of(5), b"key00000005a".to_vec());
    let ask = |key: &[u8]| setup.table.get_resident(key, hash_user_key(key), Seq::MAX).unwrap();
    assert_eq!(setup.table.pinned_bytes(), 0);
    assert_eq!(ask(&present), Resident::WouldTouchDisk);
    assert_eq!(setup.table.properties().unwrap().entries, u64::from(COUNT));
    // Fences and filter stay in the map.
    assert!((1..500).contains(&setup.table.pinned_bytes()));
    let on_heap = build(ReadMode::Pread, Compression::None);
    on_heap.table.properties().unwrap();
    assert!(2500 < on_heap.table.pinned_bytes());
    assert_eq!(ask(&absent), Resident::Known(None));
    assert_eq!(ask(&present), Resident::WouldTouchDisk);
    setup.table.get(&present, hash_user_key(&present), Seq::MAX).unwrap();
    let Resident::Known(Some(entry)) = ask(&present) else { panic!("the block was touched") };
    assert_eq!(*entry.value, *value_of(5));
    setup.table.forget_verified();
    assert_eq!(ask(&present), Resident::WouldTouchDisk);
}

#[test]
fn a_first_use_that_fails_is_tried_again() {
    let setup = build(ReadMode::Map, Compression::None);
    let hidden = setup.path.with_extension("away");
    StdFs.rename(&setup.path, &hidden).unwrap();
    assert!(
        matches!(setup.table.properties(), Err(Error::MissingFile(path)) if path == setup.path)
    );
    StdFs.rename(&hidden, &setup.path).unwrap();
    read_all(&setup.table);
}

#[test]
fn the_manifest_has_the_last_word_on_length_and_id() {
    let setup = build(ReadMode::Map, Compression::None);
    let good = setup.table.source().clone();
    let other_id = TableSource { id: good.id ^ 1, ..good.clone() };
    let table = Table::new(other_id, ReadMode::Map, BlockCache::new(0));
    let Err(Error::Corruption { offset, .. }) = table.properties() else { panic!("another id") };
    assert_eq!(offset, good.len - 48, "where the id stands in the footer");
    for source in [
        TableSource { id: good.id ^ 1, ..good.clone() },
        TableSource { len: good.len - 1, ..good.clone() },
        TableSource { len: good.len + 1, ..good },
    ] {
        let table = Table::new(source, ReadMode::Map, BlockCache::new(0));
        assert!(
            matches!(table.properties(), Err(Error::Corruption { path, .. }) if path == setup.path)
        );
    }
}

#[test]
fn each_block_is_touched_by_itself() {
    let setup = build(ReadMode::Map, Compression::None);
    let opened = setup.table.opened().unwrap();
    let count = opened.fences.count();
    assert!(130 < count, "{count} blocks");
    let touched = || (0..count).filter(|&index| opened.is_touched(index)).collect::<Vec<_>>();
    for index in [0, 1, 7, 63, 64, 65, 127, 128, 129] {
        opened.forget_touched();
        assert_eq!(touched(), []);
        opened.load(index).unwrap();
        assert_eq!(touched(), [index]);
    }
    opened.load(1).unwrap();
    assert_eq!(touched(), [1, 129]);
}

#[test]
fn what_a_table_pins_is_what_it_has_on_the_heap() {
    for mode in [ReadMode::Map, ReadMode::Pread] {
        let setup = build(mode, Compression::None);
        let opened = setup.table.opened().unwrap();
        let blocks = opened.fences.count();
        let own = 8 * (blocks / 16 + blocks.div_ceil(64));
        let regions = match mode {
            ReadMode::Map => 0,
            ReadMode::Pread => opened.fences.len() + opened.filter.as_ref().unwrap().len(),
        };
        assert_eq!(setup.table.pinned_bytes(), (own + regions) as u64);
    }
}

#[test]
fn a_table_by_itself_knows_its_number_and_where_its_keys_are() {
    let setup = build(ReadMode::Map, Compression::None);
    let cache = BlockCache::new(0);
    let open = Table::open_standalone(Arc::new(StdFs), &setup.path, ReadMode::Map, cache);
    let table = open.unwrap();
    assert_eq!((table.source().number, table.source().id), (7, 99));
    let data = table.opened().unwrap().data.len;
    let offset = |key: &[u8]| table.approximate_offset(key).unwrap();
    assert_eq!((offset(b""), offset(&key_of(0)), offset(b"z")), (0, 0, data));
    let middle = offset(&key_of(COUNT / 2));
    assert!((data / 3..data * 2 / 3).contains(&middle), "{middle} of {data}");
}

#[test]
fn the_filter_is_asked_with_and_without_the_disk() {
    let setup = build(ReadMode::Map, Compression::None);
    let (present, absent) = (hash_user_key(&key_of(5)), hash_user_key(b"key00000005a"));
    assert!(matches!(setup.table.probe_resident(present), Resident::WouldTouchDisk));
    for (hash, expected) in [(present, true), (absent, false)] {
        assert_eq!(setup.table.probe(hash).unwrap().is_some(), expected);
        let resident = setup.table.probe_resident(hash);
        assert!(matches!(resident, Resident::Known(probe) if probe.is_some() == expected));
    }
}

#[test]
fn compaction_reads_a_block_anew_at_every_visit() {
    let setup = build(ReadMode::Map, Compression::None);
    let mut compaction = setup.table.cursor(CursorMode::Compaction);
    let mut reader = setup.table.cursor(CursorMode::Read);
    for cursor in [&mut compaction, &mut reader] {
        cursor.seek(&key_of(1), Seq::MAX).unwrap();
        assert_eq!(cursor.key().user_key, key_of(1));
    }
    // The padding of the first block, which only its checksum covers.
    let end = setup.table.opened().unwrap().place(0).len as u64;
    let file = StdFs.open_writable(&setup.path).unwrap();
    file.write_all_at(&[1], end - 9).unwrap();
    for _ in 0..2 {
        reader.seek(&key_of(1), Seq::MAX).unwrap();
        assert_eq!(reader.key().user_key, key_of(1));
        let error = compaction.seek(&key_of(1), Seq::MAX).unwrap_err();
        assert!(matches!(error, Error::Corruption { .. }), "{error}");
    }
}

#[test]
fn compaction_reads_ahead_and_not_into_what_cannot_be_read() {
    const READ_AHEAD: u64 = 256 << 10;
    let fs = Arc::new(FaultFs::new(Arc::new(StdFs)));
    let setup = build_in(Arc::clone(&fs) as _, ReadMode::Pread, Compression::None);
    let opened = setup.table.opened().unwrap();
    let mut cursor = setup.table.cursor(CursorMode::Compaction);
    fs.clear_trace();
    cursor.seek_to_first().unwrap();
    for _ in 1..COUNT {
        cursor.next().unwrap();
    }
    let reads: Vec<_> = fs.trace().into_iter().filter(|op| op.kind == OpKind::Read).collect();
    let [first, ahead @ ..] = &reads[..] else { panic!("nothing was read") };
    assert_eq!(first.len, opened.place(0).len as u64, "a seek reads what it looks for");
    let [whole @ .., last] = ahead else { panic!("nothing was read ahead") };
    assert!(1 < whole.len() && whole.iter().all(|op| op.len == READ_AHEAD), "{reads:?}");
    assert_eq!(last.offset + last.len, opened.data.end());
    // In the second stretch that is read ahead.
    let bad = (0..).find(|&index| whole[1].offset + 20_000 < opened.place(index).offset).unwrap();
    let sector = opened.place(bad).offset;
    let is_bad = move |op: &Op| (op.offset..op.offset + op.len).contains(&sector);
    fs.set_plan(move |op| (op.kind == OpKind::Read && is_bad(op)).then_some(Fault::Eio));
    let mut read = 1_usize;
    cursor.seek_to_first().unwrap();
    let error = loop {
        match cursor.next() {
            Ok(()) => read += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Io { .. }), "{error}");
    fs.clear_plan();
    let count = |index| opened.read_block(index, &mut Vec::new()).unwrap().count();
    let before: usize = (0..bad).map(count).sum();
    assert_eq!(read, before, "the blocks before the one that cannot be read are read");
}

#[test]
fn a_block_that_changes_under_its_map_does_not_end_a_scan() {
    let setup = build(ReadMode::Map, Compression::None);
    let file = StdFs.open_writable(&setup.path).unwrap();
    let mut cursor = setup.table.cursor(CursorMode::Read);
    cursor.seek_to_first().unwrap();
    // The tags, and the offsets behind them.
    file.write_all_at(&[0xff; 200], 24).unwrap();
    let error = cursor.next().unwrap_err();
    assert!(matches!(error, Error::Corruption { .. }) && !cursor.valid(), "{error}");
    // The last block, as if it had no entries.
    cursor.seek_to_last().unwrap();
    let opened = setup.table.opened().unwrap();
    let last = opened.place(opened.fences.count() - 1).offset;
    cursor.seek_to_first().unwrap_err();
    file.write_all_at(&[0; 4], last).unwrap();
    let error = cursor.seek_to_last().unwrap_err();
    assert!(matches!(error, Error::Corruption { .. }) && !cursor.valid(), "{error}");
}

#[test]
fn the_cache_counts_what_it_holds_and_what_it_is_asked_for() {
    let setup = build(ReadMode::Pread, Compression::None);
    let cache = BlockCache::new(1 << 20);
    let table = Table::new(setup.table.source().clone(), ReadMode::Pread, Arc::clone(&cache));
    let counts = || (cache.hits(), cache.misses(), cache.used_bytes());
    assert_eq!((cache.capacity(), counts()), (1 << 20, (0, 0, 0)));
    let (first, last) = (key_of(0), key_of(COUNT - 1));
    let get = |key: &[u8]| table.get(key, hash_user_key(key), Seq::MAX).unwrap().unwrap();
    let opened = table.opened().unwrap();
    // Without its checksum, and with what the cache takes for an entry.
    let weight = |index: usize| (opened.place(index).len - 8 + 128) as u64;
    get(&first);
    assert_eq!(counts(), (0, 1, weight(0)));
    get(&first);
    assert_eq!(counts(), (1, 1, weight(0)));
    get(&last);
    assert_eq!(counts(), (1, 2, weight(0) + weight(opened.fences.count() - 1)));
    cache.set_capacity(0);
    assert_eq!((cache.capacity(), cache.used_bytes()), (0, 0));
    get(&last);
    assert_eq!(counts(), (1, 3, 0));
}
