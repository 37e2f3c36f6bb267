//! Counters of the engine, and the plain snapshot of them that users get.

use lsm_base::metrics::{Counter, Histogram, HistogramSnapshot};

use crate::filter_checks::FilterCounters;

/// The live counters: cheap to bump from any thread.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) gets: Counter,
    pub(crate) cursors: Counter,
    pub(crate) puts: Counter,
    pub(crate) deletes: Counter,
    pub(crate) write_bytes: Counter,
    pub(crate) wal_appended_bytes: Counter,
    pub(crate) wal_sync_nanos: Histogram,
    pub(crate) write_group_size: Histogram,
    pub(crate) stall_nanos: Histogram,
    pub(crate) flushes: Counter,
    pub(crate) flush_bytes: Counter,
    pub(crate) compactions: Counter,
    pub(crate) compaction_read_bytes: Counter,
    pub(crate) compaction_written_bytes: Counter,
    pub(crate) corruptions: Counter,
    pub(crate) filters: FilterCounters,
}

/// What the engine did since it was opened, and what it holds now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Point reads, those of keys without a value included.
    pub gets: u64,
    /// Cursors and scans that were begun.
    pub cursors: u64,
    /// Put operations that went to the log and to memory. They count from then on, which is before
    /// the sync that an acknowledgement may wait for, and whether or not that succeeds.
    pub puts: u64,
    /// Delete operations, counted likewise.
    pub deletes: u64,
    /// Bytes of encoded batches, counted likewise.
    pub write_bytes: u64,
    /// Bytes appended to the log, framing included.
    pub wal_appended_bytes: u64,
    /// How long syncs of the log took, in nanoseconds.
    pub wal_sync_nanos: HistogramSnapshot,
    /// How many calls shared one append to the log.
    pub write_group_size: HistogramSnapshot,
    /// How long writes waited for background work, in nanoseconds.
    pub stall_nanos: HistogramSnapshot,
    /// Generations of memtables that became tables.
    pub flushes: u64,
    /// Bytes of tables that flushes wrote.
    pub flush_bytes: u64,
    /// Compactions that were installed, moves included.
    pub compactions: u64,
    /// Bytes of tables that compactions read.
    pub compaction_read_bytes: u64,
    /// Bytes of tables that compactions wrote.
    pub compaction_written_bytes: u64,
    /// Reads that met damage on disk.
    pub corruptions: u64,
    /// Filters of tables that said to a point read that the key is not there.
    pub filter_negatives: u64,
    /// Filters that said that the key may be there, and it was.
    pub filter_true_positives: u64,
    /// Filters that said so, and it was not. A table without a filter always says so.
    pub filter_false_positives: u64,
    /// Block cache: look-ups that found the block.
    pub cache_hits: u64,
    /// Block cache: look-ups that did not.
    pub cache_misses: u64,
    /// The parts of the memory in use.
    pub memory: MemoryUse,
    /// The parts of the disk in use.
    pub disk: DiskUse,
    /// How far background work is behind: 0 is idle, at 1 writes are slowed down to its pace.
    pub write_pressure: f64,
    /// Snapshots that are held.
    pub snapshots: usize,
}

/// Memory in use, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryUse {
    /// What all parts may take together.
    pub budget: u64,
    /// The memtable that writes go to.
    pub memtable_active: u64,
    /// Memtables that wait for their flush.
    pub memtable_sealed: u64,
    /// Decompressed blocks.
    pub block_cache: u64,
    /// Fences and filters that tables hold outside the map.
    pub pinned: u64,
}

/// Disk in use, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskUse {
    /// Log segments whose writes are still in memory, each at its usual length. The one that is
    /// ready to be next, longer ones of long batches, and those that are about to be unlinked come
    /// on top.
    pub wal: u64,
    /// Tables of the tree.
    pub tables: u64,
    /// The MANIFEST.
    pub manifest: u64,
}
