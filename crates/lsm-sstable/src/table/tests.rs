//! Tests of reads through a real map; the integration tests use a file system in memory as well.

use std::path::PathBuf;

use lsm_base::fs::StdFs;
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
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("000007.sst");
    let options = TableOptions { compression, ..TableOptions::default() };
    let file = StdFs.create(&path).unwrap();
    let mut builder = TableBuilder::new(file, 99, (KeyspaceId::DEFAULT, "default"), options);
    for index in 0..COUNT {
        let key = key_of(index);
        let key = InternalKeyRef::new(&key, Seq::new(1 + u64::from(index)), Kind::Put);
        builder.add(key, &value_of(index)).unwrap();
    }
    let summary = builder.finish().unwrap();
    let source = TableSource {
        fs: Arc::new(StdFs),
        path: path.clone(),
        number: 7,
        id: summary.id,
        len: summary.len,
    };
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
