//! What a benchmark asks of a store.

use std::fmt;
use std::path::Path;

/// An error of any engine; a benchmark stops at the first.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of a store's operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An open store.
pub trait Store: Send + Sync {
    /// Stores a value.
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()>;

    /// Stores values, all or none.
    fn put_batch(&self, entries: &[(Vec<u8>, Vec<u8>)], durability: Durability) -> Result<()>;

    /// Removes a key.
    fn delete(&self, key: &[u8], durability: Durability) -> Result<()>;

    /// Calls `take` with the value, if there is one, and says whether there was.
    fn get(&self, key: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Calls `take` with up to `limit` entries from `start` on, in key order; returns how many.
    fn scan(&self, start: &[u8], limit: u64, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64>;

    /// Returns when nothing is left to do in the background, memtables included.
    fn settle(&self) -> Result<()>;

    /// The longest that the engine itself held a write back, in seconds, if it can tell.
    fn longest_stall(&self) -> Option<f64> {
        None
    }

    /// Closes the store.
    fn close(self: Box<Self>) -> Result<()>;
}

/// What a write is to survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// A power loss.
    Sync,
    /// The death of the process.
    Buffered,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::Sync => "sync",
            Durability::Buffered => "buffered",
        })
    }
}

/// What is the same for every engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreOptions {
    /// Bytes of a memtable.
    pub memtable_bytes: usize,
    /// Bytes of the block cache.
    pub cache_bytes: usize,
    /// Bits of Bloom filter per key.
    pub bloom_bits: u32,
    /// Whether tables are compressed with LZ4, by the engines that compress.
    pub is_compressed: bool,
    /// Whether it is set up beyond that.
    pub tuning: Tuning,
}

/// How far an engine is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Tuning {
    /// What is the same for every engine, and its defaults.
    #[default]
    Equal,
    /// Beside that, what a careful user of this engine sets on a machine like this one, who does not
    /// know the workload.
    Own,
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tuning::Equal => "equal",
            Tuning::Own => "own",
        })
    }
}

/// Opens an engine.
#[derive(Clone, Copy)]
pub struct EngineFactory {
    /// What it is called on the command line and in results.
    pub name: &'static str,
    /// Its version.
    pub version: fn() -> String,
    /// Whether it can compress its files. Results of one that cannot say `none`, whatever was asked.
    pub compresses: bool,
    /// Opens a store in a directory, creating it if there is none. It is told nothing about the
    /// workload.
    pub open: fn(&Path, &StoreOptions) -> Result<Box<dyn Store>>,
}

impl fmt::Debug for EngineFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
