//! Rates of one table: build, get, scan. `cargo bench -p lsm-sstable`
//!
//! One million entries of 16 + 100 bytes, gets and seeks in random order, everything in the page
//! cache. Operations are timed in batches of a few milliseconds, and the figure is the tenth
//! percentile of the batches: on a machine with other work, the time that the operation itself
//! takes. The mean stands beside it.

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
const BATCH: usize = 500;

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    println!("{COUNT} entries of 16 + 100 bytes; tenth percentile and mean, in ns");
    for compression in [Compression::None, Compression::Lz4] {
        let path = dir.path().join(compression.to_string());
        let start = Instant::now();
        build(&path, compression);
        let seconds = start.elapsed().as_secs_f64();
        let len = StdFs.open(&path).and_then(|file| file.len()).expect("the table just built");
        println!("\ncompression {compression}: {} MB", len / 1_000_000);
        println!("  with sync: {:.0} MB/s", len as f64 / seconds / 1e6);
        for mode in [ReadMode::Map, ReadMode::Pread] {
            println!("  read mode {mode:?}");
            measure_reads(&path, mode);
        }
    }
    measure_values(dir.path());
}

fn measure_reads(path: &Path, mode: ReadMode) {
    let cache = BlockCache::new(512 << 20);
    let table =
        Table::open_standalone(Arc::new(StdFs), path, mode, cache).expect("the table just built");
    let order: Vec<u64> =
        (0..COUNT).map(|index| hash_user_key(&index.to_le_bytes()) % COUNT).collect();
    let get = |number: u64| {
        let key = key_of(number);
        let found = table
            .get_with(&key, hash_user_key(&key), Seq::MAX, |_, _, value| value[0])
            .expect("a whole table");
        black_box(found).is_some()
    };
    let mut touch = Rates::new("first touch");
    scan(&table, CursorMode::Read, &mut touch);
    touch.report();

    let (mut hits, mut misses) = (Rates::new("get hit"), Rates::new("get miss"));
    let mut seeks = Rates::new("seek");
    let mut cursor = table.cursor(CursorMode::Read);
    for batch in order.chunks(BATCH) {
        hits.time(|| assert!(batch.iter().all(|&index| get(2 * index))));
        misses.time(|| assert!(batch.iter().all(|&index| !get(2 * index + 1))));
        seeks.time(|| {
            for &index in batch {
                cursor.seek(&key_of(2 * index), Seq::MAX).expect("a whole table");
                assert!(cursor.valid());
            }
        });
    }
    [hits, misses, seeks].iter_mut().for_each(Rates::report);

    for (name, cursor_mode) in
        [("scan", CursorMode::Read), ("compaction scan", CursorMode::Compaction)]
    {
        let mut rates = Rates::new(name);
        scan(&table, cursor_mode, &mut rates);
        rates.report();
    }
    let mut rates = Rates::new("scan back");
    scan_back(&table, &mut rates);
    rates.report();
}

/// What the two ways to return a value cost, by its length: where copying ends is chosen by this.
fn measure_values(dir: &Path) {
    println!("\nget of a value, mapped");
    for len in [16, 100, 400, 500, 600, 1000, 4000] {
        let path = dir.join(len.to_string());
        let (count, value) = (BATCH as u64, vec![7; len]);
        build_with(&path, Compression::None, count, &mut Rates::new(""), |_| &value);
        let cache = BlockCache::new(0);
        let table = Table::open_standalone(Arc::new(StdFs), &path, ReadMode::Map, cache)
            .expect("the table just built");
        let keys: Vec<_> = (0..count).map(|index| key_of(2 * index)).collect();
        let hashes: Vec<_> = keys.iter().map(|key| hash_user_key(key)).collect();
        let (mut owned, mut lent) =
            (Rates::new(&format!("{len} owned")), Rates::new(&format!("{len} lent")));
        for _ in 0..100 {
            owned.time(|| {
                for (key, &hash) in keys.iter().zip(&hashes) {
                    black_box(table.get(key, hash, Seq::MAX).expect("a whole table"));
                }
            });
            lent.time(|| {
                for (key, &hash) in keys.iter().zip(&hashes) {
                    let read = |_, _, value: &[u8]| black_box(value).len();
                    black_box(table.get_with(key, hash, Seq::MAX, read).expect("a whole table"));
                }
            });
        }
        owned.report();
        lent.report();
    }
}

fn build(path: &Path, compression: Compression) {
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
    let mut rates = Rates::new("build");
    build_with(path, compression, COUNT, &mut rates, value);
    rates.report();
}

fn build_with<V: AsRef<[u8]>>(
    path: &Path,
    compression: Compression,
    count: u64,
    rates: &mut Rates,
    value: impl Fn(&[u8; 16]) -> V,
) {
    let options = TableOptions { compression, ..TableOptions::default() };
    let file = StdFs.create(path).expect("a new file");
    let mut builder = TableBuilder::new(file, 1, (KeyspaceId::DEFAULT, "default"), options);
    for first in (0..count).step_by(BATCH) {
        rates.time(|| {
            for index in first..first + BATCH as u64 {
                let user_key = key_of(2 * index);
                let key = InternalKeyRef::new(&user_key, Seq::new(1 + index), Kind::Put);
                builder.add(key, value(&user_key).as_ref()).expect("a writable file");
            }
        });
    }
    builder.finish().expect("a writable file");
}

fn scan(table: &Arc<Table>, mode: CursorMode, rates: &mut Rates) {
    let mut cursor = table.cursor(mode);
    cursor.seek_to_first().expect("a whole table");
    while cursor.valid() {
        rates.time(|| {
            for _ in 0..BATCH {
                black_box((cursor.key(), cursor.value()));
                cursor.next().expect("a whole table");
            }
        });
    }
}

fn scan_back(table: &Arc<Table>, rates: &mut Rates) {
    let mut cursor = table.cursor(CursorMode::Read);
    cursor.seek_to_last().expect("a whole table");
    while cursor.valid() {
        rates.time(|| {
            for _ in 0..BATCH {
                black_box((cursor.key(), cursor.value()));
                cursor.prev().expect("a whole table");
            }
        });
    }
}

/// Sixteen bytes, ordered as the numbers are; present keys are even.
fn key_of(number: u64) -> [u8; 16] {
    let mut key = *b"user0000\0\0\0\0\0\0\0\0";
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The times of batches of [`BATCH`] operations.
struct Rates {
    name: String,
    batches: Vec<Duration>,
}

impl Rates {
    fn new(name: &str) -> Rates {
        Rates { name: name.to_owned(), batches: Vec::new() }
    }

    fn time(&mut self, batch: impl FnOnce()) {
        let start = Instant::now();
        batch();
        self.batches.push(start.elapsed());
    }

    fn report(&mut self) {
        self.batches.sort();
        let per = |time: Duration| time.as_nanos() as f64 / BATCH as f64;
        let mean = self.batches.iter().sum::<Duration>() / self.batches.len() as u32;
        let low = self.batches[self.batches.len() / 10];
        println!("    {:<16} {:8.1} {:8.1}", self.name, per(low), per(mean));
    }
}
