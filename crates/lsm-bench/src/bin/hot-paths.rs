//! One hot path of the engine, for a tool that counts instructions.
//!
//! ```text
//! hot-paths PATH COUNT DIR
//! ```
//!
//! prepares a store in the new directory DIR, goes the path COUNT times, and says on stdout how many
//! units that were: operations, or entries. With a COUNT of 0 it does nothing but prepare. So the
//! difference of two runs is the path alone, and costs the same on a busy machine.
//!
//! There are no background threads, and what is prepared was read once: no run depends on time.

#![forbid(unsafe_code)]

use std::mem::ManuallyDrop;
use std::path::Path;
use std::process::ExitCode;

use lsm_bench::data::{DataSet, KEY_LEN, Random, write_key};
use lsm_bench::store::Result;
use lsm_engine::{Compression, Db, Durability, Options, Read, WriteOptions};

/// How many entries are prepared.
const ENTRIES: u64 = 20_000;

const VALUE_LEN: usize = 100;

/// Bytes of the block cache: all entries fit.
const CACHE: usize = 16 << 20;

/// What a run needs.
struct Paths {
    db: Db,
    data: DataSet,
    random: Random,
    key: [u8; KEY_LEN],
    value: Vec<u8>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let units = match &arguments[..] {
        [path, count, dir] => {
            count.parse().map_err(Into::into).and_then(|count| run(path, count, dir.as_ref()))
        }
        _ => Err("usage: hot-paths PATH COUNT DIR".into()),
    };
    match units {
        Ok(units) => {
            println!("{units}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hot-paths: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prepares, and goes the path so many times. Returns how many units that were.
fn run(path: &str, count: u64, dir: &Path) -> Result<u64> {
    let (compression, cache) = match path {
        "get-lz4" => (Compression::Lz4, CACHE),
        // Next to no block is there when it is wanted again.
        "get-decompress" => (Compression::Lz4, CACHE / 256),
        _ => (Compression::None, CACHE),
    };
    // Not closed: that would flush what a path has put, and count for it.
    let mut paths = ManuallyDrop::new(Paths::new(dir, compression, cache)?);
    if path == "put" {
        return paths.puts(count);
    }
    paths.fill(ENTRIES)?;
    if path == "compaction" {
        paths.fill(ENTRIES)?;
        // Once: what was merged is not merged again.
        return if count == 0 { Ok(0) } else { paths.compact().map(|()| 2 * ENTRIES) };
    }
    paths.compact()?;
    paths.scans(ENTRIES)?;
    match path {
        "get" | "get-lz4" | "get-decompress" => paths.gets(count),
        "get-missing" => paths.gets_missing(count),
        "next" => paths.scans(count),
        "seek" => paths.seeks(count),
        _ => Err(format!("no path {path:?}").into()),
    }
}

impl Paths {
    fn new(dir: &Path, compression: Compression, cache: usize) -> Result<Paths> {
        let options = Options {
            background_threads: 0,
            memory_budget: Some(64 << 20),
            memtable_size: Some(8 << 20),
            block_cache_size: Some(cache),
            disk_reserve: Some(0),
            compression,
            ..Options::default()
        };
        let db = Db::builder(dir).options(options).open()?;
        let (data, random) = (DataSet::new(ENTRIES, VALUE_LEN), Random::new(7));
        Ok(Paths { db, data, random, key: [0; KEY_LEN], value: Vec::new() })
    }

    /// Puts keys in random order.
    fn puts(&mut self, count: u64) -> Result<u64> {
        let buffered = WriteOptions::durability(Durability::Buffered);
        for position in 0..count {
            let number = self.data.shuffled(position % ENTRIES);
            write_key(number, &mut self.key);
            self.data.fill_value(number, &mut self.value);
            self.db.put_with(self.key, &self.value, &buffered)?;
        }
        Ok(count)
    }

    /// Puts keys into a table of their own.
    fn fill(&mut self, count: u64) -> Result<()> {
        self.puts(count)?;
        Ok(self.db.flush()?)
    }

    fn compact(&mut self) -> Result<()> {
        Ok(self.db.compact::<&str>(..)?)
    }

    fn gets(&mut self, count: u64) -> Result<u64> {
        for _ in 0..count {
            let number = self.random.below(ENTRIES);
            write_key(number, &mut self.key);
            let found = self.db.get_with(self.key, |value| self.data.is_value_of(number, value))?;
            if found != Some(true) {
                return Err(format!("key {number}: {found:?}").into());
            }
        }
        Ok(count)
    }

    fn gets_missing(&mut self, count: u64) -> Result<u64> {
        for _ in 0..count {
            write_key(self.random.below(ENTRIES), &mut self.key);
            // Between two keys that are there.
            self.key[KEY_LEN - 1] += 10;
            if self.db.contains(self.key)? {
                return Err("a key that nobody has put".into());
            }
        }
        Ok(count)
    }

    /// Steps of a cursor from the first key to the last, and again.
    fn scans(&mut self, count: u64) -> Result<u64> {
        let mut cursor = self.db.cursor()?;
        let mut done = 0;
        while done < count {
            cursor.seek_to_first()?;
            let mut number = 0;
            while cursor.valid() && done < count {
                if !self.data.is_value_of(number, cursor.value()) {
                    return Err(format!("entry {number} has another value").into());
                }
                (number, done) = (number + 1, done + 1);
                cursor.next()?;
            }
        }
        Ok(count)
    }

    fn seeks(&mut self, count: u64) -> Result<u64> {
        let mut cursor = self.db.cursor()?;
        for _ in 0..count {
            write_key(self.random.below(ENTRIES), &mut self.key);
            cursor.seek(self.key)?;
            if !cursor.valid() || cursor.key() != self.key {
                return Err("a seek that ended elsewhere".into());
            }
        }
        Ok(count)
    }
}
