//! Settings, as plain data.
//!
//! Components (file system, event listener) are handed to the builder instead. A field that is
//! left unset is derived: from the machine, or from the other fields.

use std::time::Duration;

use lsm_base::Seq;
pub use lsm_compaction::job::Recheck;
pub use lsm_sstable::{Compression, ReadMode};
use lsm_wal::MAX_FILE_LEN;

use crate::error::{Error, Result};

/// What an acknowledged write survives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Durability {
    /// `Ok` means on disk: it survives a power loss.
    #[default]
    Sync,
    /// `Ok` means in the page cache: it survives the death of the process, not a power loss.
    Buffered,
}

/// The settings of a database.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// The memory that memtables, block cache, and fences and filters that are not in a map may
    /// take together, in bytes: at least two memtables. The block cache gives way to the others.
    /// Unset: a quarter of the machine's memory, at most 1 GiB; more if `block_cache_size` and four
    /// memtables ask for it.
    pub memory_budget: Option<usize>,
    /// When the active memtables are sealed and flushed, in bytes of arena: 16 KiB to 4 GiB.
    /// Unset: 64 MiB, or an eighth of the budget if that is less.
    pub memtable_size: Option<usize>,
    /// The most that the cache of decompressed blocks takes, in bytes.
    /// Unset: what the budget leaves beside four memtables, at least an eighth of it.
    pub block_cache_size: Option<usize>,
    /// The target size of a table's block, in bytes: 1 to 16 MiB.
    pub block_size: u32,
    /// The target size of a table, in bytes: at most 8 GiB.
    pub table_size: u64,
    /// Bits of Bloom filter per key in the last level; levels above get up to 4 more, but no table
    /// gets more than 32. 0 is no filter; at most 32.
    pub bloom_bits_per_key: u32,
    /// How tables below level 1 are compressed. Levels 0 and 1 never are.
    pub compression: Compression,
    /// What a write survives if its own options do not say.
    pub durability: Durability,
    /// How often background work looks for what no trigger announced, and tries again what failed.
    /// [`Duration::MAX`] is never.
    pub compaction_interval: Duration,
    /// How many compactions may run at once: 0 to 64. With 0 there are no threads at all: calls to
    /// [`flush`](crate::Db::flush), [`compact`](crate::Db::compact) and
    /// [`wait_idle`](crate::Db::wait_idle) do the work, and a write that finds no room does what
    /// it needs. After the disk was full, each call that changes something looks for space first.
    pub background_threads: usize,
    /// How tables are read. Unset: through maps while all tables together fit 60 % of the machine's
    /// memory, by `pread` those that are opened beyond that.
    pub read_mode: Option<ReadMode>,
    /// How many bytes of log may wait for memtables to be flushed. A log segment is as long as
    /// a memtable, or half of this if that is less, and always below 4 GiB. Unset: four memtables.
    pub max_log_bytes: Option<u64>,
    /// What puts leave free on the disk, in bytes, so that it can be emptied by deletes: these, and
    /// flushes and compactions, go on within it. Unset: a hundredth of the disk, at most 64 MiB.
    /// At least three short log segments, of 1 MiB if memtables are not smaller.
    /// 0: nothing, and nobody looks how full the disk is before it refuses.
    pub disk_reserve: Option<u64>,
    /// How much of each new table is read back before it counts. Its inputs go only after that.
    pub recheck: Recheck,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            memory_budget: None,
            memtable_size: None,
            block_cache_size: None,
            block_size: 4096,
            table_size: 64 << 20,
            bloom_bits_per_key: 10,
            compression: Compression::Lz4,
            durability: Durability::Sync,
            compaction_interval: Duration::from_secs(10),
            background_threads: 1,
            read_mode: None,
            max_log_bytes: None,
            disk_reserve: None,
            recheck: Recheck::Sample,
        }
    }
}

/// The smallest log segment, in bytes.
const MIN_SEGMENT_SIZE: u64 = 4 << 10;

/// The smallest memtable, in bytes.
const MIN_MEMTABLE_SIZE: usize = 16 << 10;

/// The largest target of a table, in bytes: outputs may reach twice their target, and a table's
/// format ends at 32 GiB.
const MAX_TABLE_SIZE: usize = 8 << 30;

const MAX_MEMTABLE_SIZE: usize = 4 << 30;

/// The most bits of Bloom filter per key that a table takes.
pub(crate) const MAX_BLOOM_BITS: u32 = 32;

/// The settings with every field derived.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) memory_budget: usize,
    pub(crate) memtable_size: usize,
    pub(crate) block_cache_size: usize,
    pub(crate) block_size: u32,
    pub(crate) table_size: u64,
    pub(crate) bloom_bits_per_key: u32,
    pub(crate) compression: Compression,
    pub(crate) durability: Durability,
    pub(crate) compaction_interval: Duration,
    pub(crate) background_threads: usize,
    pub(crate) read_mode: Option<ReadMode>,
    pub(crate) disk_reserve: Option<u64>,
    pub(crate) recheck: Recheck,
    pub(crate) machine_memory: usize,
    /// The length of a log segment: a generation is sealed too when its segment is full.
    pub(crate) segment_size: u64,
    /// How many generations may wait for their flush.
    pub(crate) max_sealed: usize,
}

impl Options {
    /// Checks the fields and derives the unset ones; `machine_memory` is in bytes.
    pub(crate) fn resolve(&self, machine_memory: usize) -> Result<Resolved> {
        let memory_budget = self.memory_budget.unwrap_or_else(|| {
            let asked = self.block_cache_size.unwrap_or(0);
            let memtables = self.memtable_size.unwrap_or(0).saturating_mul(4);
            (machine_memory / 4).min(1 << 30).max(memtables.saturating_add(asked))
        });
        let memtable_size =
            self.memtable_size.unwrap_or((memory_budget / 8).clamp(MIN_MEMTABLE_SIZE, 64 << 20));
        check_range("memtable_size", memtable_size, MIN_MEMTABLE_SIZE, MAX_MEMTABLE_SIZE)?;
        // The memtable that takes writes, and one that is being flushed.
        if memory_budget < 2 * memtable_size {
            let least = 2 * memtable_size;
            return Err(Error::invalid(format!(
                "memory_budget is {memory_budget}; it must be at least two memtables, {least}"
            )));
        }
        check_range("block_size", self.block_size as usize, 1, 16 << 20)?;
        check_range("table_size", self.table_size as usize, 1, MAX_TABLE_SIZE)?;
        check_range(
            "bloom_bits_per_key",
            self.bloom_bits_per_key as usize,
            0,
            MAX_BLOOM_BITS as usize,
        )?;
        check_range("background_threads", self.background_threads, 0, 64)?;
        if self.compaction_interval.is_zero() {
            return Err(Error::invalid("compaction_interval must be more than zero"));
        }
        let sealed_room = memory_budget.saturating_sub(memtable_size) / memtable_size;
        let block_cache_size = self
            .block_cache_size
            .unwrap_or(memory_budget.saturating_sub(4 * memtable_size).max(memory_budget / 8));
        let max_log_bytes = self.max_log_bytes.unwrap_or(4 * memtable_size as u64);
        let segment_size =
            (max_log_bytes / 2).min(memtable_size as u64).clamp(MIN_SEGMENT_SIZE, MAX_FILE_LEN);
        let log_room = (max_log_bytes / segment_size).saturating_sub(1) as usize;
        Ok(Resolved {
            memory_budget,
            memtable_size,
            block_cache_size,
            block_size: self.block_size,
            table_size: self.table_size,
            bloom_bits_per_key: self.bloom_bits_per_key,
            compression: self.compression,
            durability: self.durability,
            compaction_interval: self.compaction_interval,
            background_threads: self.background_threads,
            read_mode: self.read_mode,
            disk_reserve: self.disk_reserve,
            recheck: self.recheck,
            machine_memory,
            segment_size,
            max_sealed: sealed_room.min(log_room).clamp(1, 3),
        })
    }
}

fn check_range(name: &str, value: usize, min: usize, max: usize) -> Result<()> {
    if value < min || max < value {
        return Err(Error::invalid(format!("{name} is {value}; it must be {min} to {max}")));
    }
    Ok(())
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Condition {
    /// The key has no value.
    Absent,
    /// The key has a value.
    Exists,
    /// The key has a value, and its last write has this sequence.
    Seq(Seq),
    /// The key has no value, or its last write has another sequence.
    NotSeq(Seq),
}

impl Condition {
    /// Whether the condition holds for a key whose value was written at `current`, if it has one.
    #[must_use]
    pub fn holds(self, current: Option<Seq>) -> bool {
        match self {
            Condition::Absent => current.is_none(),
            Condition::Exists => current.is_some(),
            Condition::Seq(seq) => current == Some(seq),
            Condition::NotSeq(seq) => current != Some(seq),
        }
    }
}

/// How one write is to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteOptions {
    /// What the write survives; unset is what [`Options::durability`] says.
    pub durability: Option<Durability>,
    /// What must hold for it to happen. Needs a batch of exactly one operation.
    pub condition: Option<Condition>,
    /// How long the write may wait while the store is behind with its background work, before it
    /// answers [`Busy`](crate::ErrorKind::Busy). Unset, or too long to tell: as long as it takes.
    /// Zero: not at all.
    pub stall_timeout: Option<Duration>,
}

impl WriteOptions {
    /// The defaults with this durability.
    #[must_use]
    pub fn durability(durability: Durability) -> WriteOptions {
        WriteOptions { durability: Some(durability), ..WriteOptions::default() }
    }

    /// The defaults with this condition.
    #[must_use]
    pub fn condition(condition: Condition) -> WriteOptions {
        WriteOptions { condition: Some(condition), ..WriteOptions::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_fields_are_derived_from_the_budget() {
        let options = Options { memory_budget: Some(256 << 20), ..Options::default() };
        let resolved = options.resolve(8 << 30).unwrap();
        assert_eq!(resolved.memtable_size, 32 << 20);
        assert_eq!(resolved.block_cache_size, 128 << 20);
        assert_eq!((resolved.segment_size, resolved.max_sealed), (32 << 20, 3));
        let options = Options { max_log_bytes: Some(32 << 20), ..options };
        let resolved = options.resolve(8 << 30).unwrap();
        assert_eq!((resolved.segment_size, resolved.max_sealed), (16 << 20, 1));
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let options = Options { memtable_size: Some(1), ..Options::default() };
        let message = options.resolve(1 << 30).unwrap_err().to_string();
        assert!(message.contains("memtable_size"), "{message}");
        let options = Options { bloom_bits_per_key: 33, ..Options::default() };
        assert!(options.resolve(1 << 30).is_err());
    }

    #[test]
    fn conditions_see_absence_as_a_version() {
        let seq = Seq::new(3);
        assert!(Condition::Absent.holds(None) && !Condition::Absent.holds(Some(seq)));
        assert!(Condition::Exists.holds(Some(seq)) && !Condition::Exists.holds(None));
        assert!(Condition::Seq(seq).holds(Some(seq)) && !Condition::Seq(seq).holds(None));
        assert!(Condition::NotSeq(seq).holds(None) && !Condition::NotSeq(seq).holds(Some(seq)));
    }
}
