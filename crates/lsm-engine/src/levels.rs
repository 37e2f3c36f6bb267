//! The shape of the tree, for people and tools.

use lsm_base::{KeyspaceId, Seq};
use lsm_compaction::LEVELS;
use lsm_sstable::Compression;

use crate::error::{Error, Result};
use crate::inner::Inner;
use crate::memory::memtable_bytes;
use crate::metrics::{DiskUse, MemoryUse, Metrics};
use crate::scan::KeyBounds;

/// What a keyspace consists of.
#[derive(Clone, Debug)]
pub struct KeyspaceLevels {
    /// The name.
    pub name: String,
    /// The number.
    pub id: KeyspaceId,
    /// Its memtables, newest first.
    pub memtables: Vec<MemtableInfo>,
    /// Its levels, from 0 down.
    pub levels: Vec<LevelInfo>,
    /// The compactions that run on it.
    pub compactions: Vec<CompactionInfo>,
}

/// A memtable.
#[derive(Clone, Debug)]
pub struct MemtableInfo {
    /// Whether it waits for its flush.
    pub is_sealed: bool,
    /// Bytes of its generation's arena, which it shares with other keyspaces.
    pub bytes: u64,
    /// Versions in it, tombstones included.
    pub entries: u64,
}

/// A level.
#[derive(Clone, Debug)]
pub struct LevelInfo {
    /// Its number.
    pub level: usize,
    /// Its bytes, without those that are being merged into the next.
    pub bytes: u64,
    /// The bytes that it should have at most.
    pub target_bytes: u64,
    /// How urgent it is to compact it; 1 is full.
    pub score: f64,
    /// Its tables; level 0 newest first, others by key.
    pub tables: Vec<TableInfo>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// The number in its file's name.
    pub number: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Versions in it, tombstones included.
    pub entries: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// The first user key.
    pub smallest: Vec<u8>,
    /// The last user key.
    pub largest: Vec<u8>,
    /// The oldest sequence.
    pub min_seq: Seq,
    /// The newest sequence.
    pub max_seq: Seq,
    /// The codec.
    pub compression: Compression,
}

/// A compaction that runs.
#[derive(Clone, Debug)]
pub struct CompactionInfo {
    /// The level that it reads.
    pub from: usize,
    /// The level that it writes.
    pub to: usize,
    /// How many tables it reads.
    pub inputs: usize,
    /// Their bytes.
    pub input_bytes: u64,
    /// How much of them it has read, 0 to 1.
    pub progress: f64,
}

impl Inner {
    pub(crate) fn levels(&self) -> Vec<KeyspaceLevels> {
        let running = self.background.compacting.lock();
        let super_version = self.super_versions.load();
        let trees = super_version.version.state.version.trees();
        trees
            .map(|(id, tree)| {
                let generations = super_version.generations().enumerate();
                let memtables = generations.filter_map(|(age, view)| {
                    let memtable = view.memtable(id)?;
                    Some(MemtableInfo {
                        is_sealed: age != 0,
                        bytes: memtable_bytes(view),
                        entries: memtable.len() as u64,
                    })
                });
                let scores = self.with_picker(id, tree, &running, |picker| picker.scores());
                let level = |level: usize| LevelInfo {
                    level,
                    bytes: scores[level].bytes,
                    target_bytes: scores[level].target_bytes,
                    score: scores[level].score,
                    tables: tree.level(level).iter().map(|meta| table_info(meta)).collect(),
                };
                let jobs = running.progress().filter(|(job, _)| job.keyspace == id);
                KeyspaceLevels {
                    name: tree.name().into(),
                    id,
                    memtables: memtables.collect(),
                    levels: (0..LEVELS).map(level).collect(),
                    compactions: jobs
                        .map(|(job, progress)| CompactionInfo {
                            from: job.level,
                            to: job.output_level,
                            inputs: job.tables().count(),
                            input_bytes: job.input_bytes(),
                            progress,
                        })
                        .collect(),
                }
            })
            .collect()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let counters = &self.metrics;
        let super_version = self.super_versions.load_full();
        let sealed = super_version.sealed.iter().map(memtable_bytes);
        let tables = || super_version.version.tables();
        let memory = MemoryUse {
            budget: self.options.memory_budget as u64,
            memtable_active: memtable_bytes(&super_version.active),
            memtable_sealed: sealed.sum(),
            block_cache: self.cache.used_bytes(),
            pinned: self.pinned_bytes(),
        };
        let log_segments = super_version.generations().count() as u64;
        let disk = DiskUse {
            wal: log_segments * self.options.segment_size,
            tables: tables().map(|(meta, _)| meta.len).sum(),
            manifest: self.versions.manifest_len(),
        };
        Metrics {
            gets: counters.gets.get(),
            cursors: counters.cursors.get(),
            puts: counters.puts.get(),
            deletes: counters.deletes.get(),
            write_bytes: counters.write_bytes.get(),
            wal_appended_bytes: counters.wal_appended_bytes.get(),
            wal_sync_nanos: counters.wal_sync_nanos.snapshot(),
            write_group_size: counters.write_group_size.snapshot(),
            stall_nanos: counters.stall_nanos.snapshot(),
            flushes: counters.flushes.get(),
            flush_bytes: counters.flush_bytes.get(),
            compactions: counters.compactions.get(),
            compaction_read_bytes: counters.compaction_read_bytes.get(),
            compaction_written_bytes: counters.compaction_written_bytes.get(),
            corruptions: counters.corruptions.get(),
            filter_negatives: counters.filters.negative.get(),
            filter_true_positives: counters.filters.true_positive.get(),
            filter_false_positives: counters.filters.false_positive.get(),
            cache_hits: self.cache.hits(),
            cache_misses: self.cache.misses(),
            memory,
            disk,
            write_pressure: self.write_pressure(),
            snapshots: self.snapshots.count(),
        }
    }

    /// About how many bytes the tables hold of a range of keys of the default keyspace.
    pub(crate) fn approximate_size(&self, bounds: &KeyBounds) -> Result<u64> {
        use std::ops::Bound;
        self.check_open()?;
        let super_version = self.super_versions.load_full();
        let tree = super_version.version.tree(KeyspaceId::DEFAULT);
        let tree = tree.ok_or_else(Error::keyspace_dropped)?;
        let key = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Unbounded => None,
            Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
        };
        let (start, end) = (key(&bounds.0), key(&bounds.1));
        let mut total = 0;
        for (meta, table) in tree.tables() {
            let (smallest, largest) = meta.bounds();
            let begins_before = end.as_ref().is_none_or(|end| smallest <= &end[..]);
            let ends_behind = start.as_ref().is_none_or(|start| &start[..] <= largest);
            if !begins_before || !ends_behind {
                continue;
            }
            let from = match &start {
                Some(start) if smallest < &start[..] => table.approximate_offset(start)?,
                _ => 0,
            };
            let to = match &end {
                Some(end) if &end[..] < largest => table.approximate_offset(end)?,
                _ => meta.len,
            };
            total += to.saturating_sub(from);
        }
        Ok(total)
    }
}

fn table_info(meta: &lsm_compaction::TableMeta) -> TableInfo {
    TableInfo {
        number: meta.number,
        bytes: meta.len,
        entries: meta.entries,
        tombstones: meta.tombstones,
        smallest: meta.smallest.user_key.to_vec(),
        largest: meta.largest.user_key.to_vec(),
        min_seq: meta.min_seq,
        max_seq: meta.max_seq,
        compression: meta.compression,
    }
}
