//! A scan allocates nothing for an entry: what it needs is there after the first walk.

use std::sync::Arc;

use lsm_engine::base::fs::MemFs;
use lsm_engine::{Compression, Db, DbBuilder, DbCursor, Durability, Options, Read, ReadMode};

use crate::allocator;

const ENTRIES: u32 = 10_000;

/// A store with a third of its entries in a deep level, a third in level 0, a third in memory.
fn fill(builder: DbBuilder, options: Options) -> Db {
    let db = builder.options(options).open().unwrap();
    for part in 0..3 {
        for i in (0..ENTRIES).filter(|i| i % 3 == part) {
            db.put(i.to_be_bytes(), [i as u8; 50]).unwrap();
        }
        match part {
            0 => db.compact::<&str>(..).unwrap(),
            1 => db.flush().unwrap(),
            _ => {}
        }
    }
    let levels = &db.levels()[0];
    assert!(!levels.levels[0].tables.is_empty() && !levels.levels[6].tables.is_empty());
    assert_eq!(levels.memtables[0].entries, u64::from(ENTRIES / 3));
    db
}

fn options() -> Options {
    // One level-0 table more is no reason to compact, and a memtable holds a third.
    Options { durability: Durability::Buffered, table_size: 64 << 10, ..Options::default() }
}

fn walk_forwards(cursor: &mut DbCursor) -> u64 {
    let before = allocator::count();
    let mut entries = 0;
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        assert_eq!(cursor.value()[0], cursor.key()[3]);
        entries += 1;
        cursor.next().unwrap();
    }
    assert_eq!(entries, ENTRIES);
    allocator::count() - before
}

fn walk_backwards(cursor: &mut DbCursor) -> u64 {
    let before = allocator::count();
    let mut entries = 0;
    cursor.seek_to_last().unwrap();
    while cursor.valid() {
        entries += 1;
        cursor.prev().unwrap();
    }
    assert_eq!(entries, ENTRIES);
    allocator::count() - before
}

#[test]
fn a_mapped_scan_allocates_nothing_after_the_first_walk() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Db::builder(dir.path().join("data"));
    let db = fill(builder, Options { compression: Compression::None, ..options() });
    let mut cursor = db.cursor().unwrap();
    let first = walk_forwards(&mut cursor);
    let (second, back) = (walk_forwards(&mut cursor), walk_backwards(&mut cursor));
    let again = walk_backwards(&mut cursor);
    println!("first walk {first}, second {second}, first back {back}, second {again}");
    let tables = db.levels()[0].levels.iter().map(|level| level.tables.len() as u64).sum::<u64>();
    assert!(first < 50 + 40 * tables, "{first} allocations for {tables} tables");
    assert_eq!((second, again), (0, 0));
}

#[test]
fn a_scan_of_cached_blocks_allocates_for_none_of_their_entries() {
    let builder = Db::builder("data").fs(Arc::new(MemFs::new()));
    let db = fill(builder, Options { read_mode: Some(ReadMode::Pread), ..options() });
    let mut cursor = db.cursor().unwrap();
    let first = walk_forwards(&mut cursor);
    let second = walk_forwards(&mut cursor);
    println!("first walk {first}, second {second}");
    // Blocks of 4 KiB hold some 60 entries; the first walk reads each of them once.
    assert!(first < u64::from(ENTRIES / 10), "{first}");
    assert_eq!(second, 0);
}
