//! What reading allocates, counted. A binary of its own, because the counter is its global
//! allocator and other tests would count too.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use lsm_base::fs::{MemFs, StdFs};
use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, Fs, InternalKeyRef, KeyspaceId, Kind, Seq};
use lsm_sstable::{
    BlockCache, Compression, CursorMode, ReadMode, Table, TableBuilder, TableOptions,
};

/// The system's allocator, with the calls and the bytes of each thread counted.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    CALLS.set(CALLS.get() + u64::from(0 < bytes));
    LIVE.set(LIVE.get() + bytes);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

#[expect(unsafe_code, reason = "a global allocator is unsafe by its interface")]
// SAFETY: every call goes to the system's allocator as it came; counting touches plain cells.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: what the implementation says above.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: what the implementation says above.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

/// How many bytes beyond what lived before `work` holds at its worst.
fn peak_bytes(work: impl FnOnce()) -> i64 {
    let before = LIVE.get();
    PEAK.set(before);
    work();
    PEAK.get() - before
}

const COUNT: u32 = 5000;

fn build(fs: &Arc<dyn Fs>, path: &Path, compression: Compression) -> u64 {
    let options = TableOptions { compression, ..TableOptions::default() };
    let keyspace = (KeyspaceId::DEFAULT, "default");
    let mut builder = TableBuilder::new(fs.create(path).unwrap(), 5, keyspace, options);
    for index in 0..COUNT {
        let key = InternalKeyRef::new(&key_of(index), Seq::new(1), Kind::Put).to_owned();
        builder.add(key.as_ref(), &[7; 100]).unwrap();
    }
    builder.finish().unwrap().len
}

fn key_of(index: u32) -> [u8; 16] {
    let mut key = *b"key             ";
    key[8..12].copy_from_slice(&index.to_be_bytes());
    key
}

fn scan(table: &Arc<Table>, mode: CursorMode) -> u64 {
    let mut cursor = table.cursor(mode);
    // The first block of each kind may make room.
    cursor.seek_to_first().unwrap();
    cursor.seek(&key_of(100), Seq::MAX).unwrap();
    allocations(|| {
        cursor.seek_to_first().unwrap();
        for index in 0..COUNT {
            assert_eq!((cursor.key().user_key, cursor.value().len()), (&key_of(index)[..], 100));
            cursor.next().unwrap();
        }
        cursor.seek_to_last().unwrap();
        while cursor.valid() {
            cursor.prev().unwrap();
        }
    })
}

#[test]
fn scans_and_gets_in_place_allocate_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("000001.sst");
    let fs: Arc<dyn Fs> = Arc::new(StdFs);
    build(&fs, &path, Compression::None);
    let table = Table::open_standalone(fs, &path, ReadMode::Map, BlockCache::new(1 << 20)).unwrap();
    scan(&table, CursorMode::Read);
    assert_eq!(scan(&table, CursorMode::Read), 0, "a scan of touched blocks");
    let gets = allocations(|| {
        for index in 0..2 * COUNT {
            let key = key_of(index);
            let found = table
                .get_with(&key, hash_user_key(&key), Seq::MAX, |_, _, value| value.len())
                .unwrap();
            assert_eq!(found, (index < COUNT).then_some(100));
        }
    });
    assert_eq!(gets, 0, "gets that lend their value");
}

#[test]
fn compaction_reuses_its_buffers() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(StdFs);
    for compression in [Compression::None, Compression::Lz4] {
        let path = dir.path().join(compression.to_string());
        build(&fs, &path, compression);
        let cache = BlockCache::new(1 << 20);
        let table =
            Table::open_standalone(Arc::clone(&fs), &path, ReadMode::Map, Arc::clone(&cache));
        let count = scan(&table.unwrap(), CursorMode::Compaction);
        // The window grows once to its full length, the second buffer to the largest block.
        assert!(count <= 4, "{count} allocations for {} entries", 2 * COUNT);
        assert_eq!(cache.used_bytes(), 0, "compaction fills no cache");
    }
}

#[test]
fn cached_blocks_are_allocated_once() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let path = Path::new("/000001.sst");
    build(&fs, path, Compression::Lz4);
    let table =
        Table::open_standalone(fs, path, ReadMode::Pread, BlockCache::new(64 << 20)).unwrap();
    scan(&table, CursorMode::Read);
    assert_eq!(scan(&table, CursorMode::Read), 0, "a scan of cached blocks");
}

#[test]
fn a_damaged_file_makes_no_large_allocation() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let path = Path::new("/000001.sst");
    let len = build(&fs, path, Compression::Lz4);
    let file = fs.open_writable(path).unwrap();
    let limit = 2 * len as i64 + (1 << 20);
    let mut places: Vec<u64> = (0..64).chain((0..len).step_by(997)).collect();
    places.extend(len - 4096..len);
    for at in places {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        for damaged in [0, 0xff, byte[0] ^ 0x80] {
            file.write_all_at(&[damaged], at).unwrap();
            let peak = peak_bytes(|| {
                let cache = BlockCache::new(1 << 20);
                let fs = Arc::clone(&fs);
                if let Ok(table) = Table::open_standalone(fs, path, ReadMode::Map, cache) {
                    let key = key_of(1);
                    let _ = table.get(&key, hash_user_key(&key), Seq::MAX);
                }
            });
            assert!(peak <= limit, "{peak} bytes with byte {at} as {damaged}");
        }
        file.write_all_at(&byte, at).unwrap();
    }
}
