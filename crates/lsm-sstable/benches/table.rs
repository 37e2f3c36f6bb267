//! Rates of one table: build, get, scan. `cargo bench -p lsm-sstable`
//!
//! One million entries of 16 + 100 bytes, keys in random order for gets, everything in the page
//! cache. Each figure is the best of several rounds, since other work on the machine only adds.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsm_base::fs::StdFs;
use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, Fs, InternalKeyRef, KeyspaceId, Kind, Seq};
use lsm_sstable::{
    BlockCache, Compression, CursorMode, ReadMode, Table, TableBuilder, TableOptions,
};

const COUNT: u64 = 1_000_000;
const GETS: u64 = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    println!("{COUNT} entries of 16 + 100 bytes, best of {ROUNDS} rounds");
    for compression in [Compression::None, Compression::Lz4] {
        let path = dir.path().join(compression.to_string());
        let build_time = build(&path, compression);
        let len = StdFs.open(&path).and_then(|file| file.len()).expect("the table just built");
        let rate = len as f64 / build_time.as_secs_f64() / 1e6;
        println!("\ncompression {compression}: {} MB", len / 1_000_000);
        println!(
            "  build           {:8.1} ns/entry, {rate:.0} MB/s with sync",
            per(build_time, COUNT)
        );
        for mode in [ReadMode::Map, ReadMode::Pread] {
            measure_reads(&path, mode);
        }
    }
    measure_values(dir.path());
}

fn measure_reads(path: &Path, mode: ReadMode) {
    let cache = BlockCache::new(512 << 20);
    let table =
        Table::open_standalone(Arc::new(StdFs), path, mode, cache).expect("the table just built");
    let report = |what: &str, time: Duration, count: u64| {
        println!("  {what:<15} {:8.1} ns  ({mode:?})", per(time, count));
    };
    let order = order();
    let get = |key: u64| {
        let key = key_of(key);
        let found = table
            .get_with(&key, hash_user_key(&key), Seq::MAX, |_, _, value| value[0])
            .expect("a whole table");
        black_box(found).is_some()
    };
    report("first touch", time(|| scan(&table, CursorMode::Read)), COUNT);
    report("get hit", best(|| assert!(order.iter().all(|&i| get(2 * i)))), GETS);
    report("get miss", best(|| assert!(order.iter().all(|&i| !get(2 * i + 1)))), GETS);
    report("scan", best(|| scan(&table, CursorMode::Read)), COUNT);
    report("scan back", best(|| scan_back(&table)), COUNT);
    report("seek", best(|| seek(&table, &order)), GETS);
    report("compaction scan", best(|| scan(&table, CursorMode::Compaction)), COUNT);
}

/// What the two ways to return a value cost, by its length: where copying ends is chosen by this.
fn measure_values(dir: &Path) {
    println!("\nget of an owned value against a lent one, mapped");
    for len in [16, 100, 400, 500, 600, 1000, 4000] {
        let path = dir.join(len.to_string());
        let (count, value) = (2000, vec![7; len]);
        build_with(&path, Compression::None, count, |_| &value);
        let cache = BlockCache::new(0);
        let table = Table::open_standalone(Arc::new(StdFs), &path, ReadMode::Map, cache)
            .expect("the table just built");
        let keys: Vec<_> = (0..count).map(|i| key_of(2 * i)).collect();
        let hashes: Vec<_> = keys.iter().map(|key| hash_user_key(key)).collect();
        let owned = best(|| {
            for (key, &hash) in keys.iter().zip(&hashes) {
                black_box(table.get(key, hash, Seq::MAX).expect("a whole table"));
            }
        });
        let lent = best(|| {
            for (key, &hash) in keys.iter().zip(&hashes) {
                let sum = |_, _, value: &[u8]| black_box(value).len();
                black_box(table.get_with(key, hash, Seq::MAX, sum).expect("a whole table"));
            }
        });
        println!("  {len:5} bytes: {:6.1} ns, lent {:6.1} ns", per(owned, count), per(lent, count));
    }
}

fn build(path: &Path, compression: Compression) -> Duration {
    let value = |key: &[u8; 16]| {
        // Half of it is noise, so that LZ4 has as much to do as it mostly has.
        let mut value = [b'v'; 100];
        let mut noise = hash_user_key(key);
        for chunk in value[..48].chunks_mut(8) {
            chunk.copy_from_slice(&noise.to_le_bytes());
            noise = noise.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        value
    };
    build_with(path, compression, COUNT, value)
}

fn build_with<V: AsRef<[u8]>>(
    path: &Path,
    compression: Compression,
    count: u64,
    value: impl Fn(&[u8; 16]) -> V,
) -> Duration {
    let options = TableOptions { compression, ..TableOptions::default() };
    let file = StdFs.create(path).expect("a new file");
    time(|| {
        let mut builder = TableBuilder::new(file, 1, (KeyspaceId::DEFAULT, "default"), options);
        for index in 0..count {
            let user_key = key_of(2 * index);
            let key = InternalKeyRef::new(&user_key, Seq::new(1 + index), Kind::Put);
            builder.add(key, value(&user_key).as_ref()).expect("a writable file");
        }
        builder.finish().expect("a writable file");
    })
}

fn scan(table: &Arc<Table>, mode: CursorMode) {
    let mut cursor = table.cursor(mode);
    cursor.seek_to_first().expect("a whole table");
    let mut count = 0;
    while cursor.valid() {
        black_box((cursor.key(), cursor.value()));
        count += 1;
        cursor.next().expect("a whole table");
    }
    assert_eq!(count, COUNT);
}

fn scan_back(table: &Arc<Table>) {
    let mut cursor = table.cursor(CursorMode::Read);
    cursor.seek_to_last().expect("a whole table");
    while cursor.valid() {
        black_box((cursor.key(), cursor.value()));
        cursor.prev().expect("a whole table");
    }
}

fn seek(table: &Arc<Table>, order: &[u64]) {
    let mut cursor = table.cursor(CursorMode::Read);
    for &index in order {
        cursor.seek(&key_of(2 * index), Seq::MAX).expect("a whole table");
        assert!(cursor.valid());
    }
}

/// The entries in an order that no cache line or page foresees.
fn order() -> Vec<u64> {
    (0..GETS).map(|index| hash_user_key(&index.to_le_bytes()) % COUNT).collect()
}

/// Sixteen bytes, ordered as the numbers are; present keys are even.
fn key_of(number: u64) -> [u8; 16] {
    let mut key = *b"user0000\0\0\0\0\0\0\0\0";
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn best(mut work: impl FnMut()) -> Duration {
    (0..ROUNDS).map(|_| time(&mut work)).min().expect("at least one round")
}

fn per(time: Duration, count: u64) -> f64 {
    time.as_nanos() as f64 / count as f64
}
