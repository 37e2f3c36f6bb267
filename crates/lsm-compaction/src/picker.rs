//! Pickers: which compaction is due. Pure functions of a tree, what runs on it, and options.
//!
//! In this order:
//!
//! 1. the level with the highest score among those that are full ([`LevelScore`]);
//! 2. a table that consists of tombstones in good part;
//! 3. a table that was moved to a level with another codec;
//! 4. small tables beside each other in the last level.
//!
//! Invariant: a compaction that a picker returns conflicts with none that runs (see
//! `in_progress.rs`), and keeps the invariant of [`Compaction`].

use lsm_base::{KeyspaceId, Seq};
use lsm_sstable::Compression;

use crate::compaction::Compaction;
use crate::in_progress::InProgress;
use crate::tree::Tree;
use crate::version::LEVELS;

mod candidate;
mod flush;
mod leveled;
mod levels;
mod manual;
mod small;

pub use levels::{LevelScore, LevelTargets};
pub use manual::{ManualCompaction, ManualStep};

/// What shape a tree is to have.
#[derive(Clone, PartialEq, Debug)]
pub struct PickerOptions {
    /// L0 is full when it has this many tables; at least 1.
    pub l0_trigger: u32,
    /// Target of the uppermost level below L0 that is in use, in bytes; L0 is full with as many.
    pub base_bytes: u64,
    /// How much larger each level is than the one above; at least 2.
    pub multiplier: u32,
    /// Target of a table, in bytes.
    pub table_bytes: u64,
    /// A table is dense with so many tombstones in a hundred entries.
    pub tombstone_percent: u32,
    /// The codec of each level.
    pub compression: [Compression; LEVELS],
}

impl Default for PickerOptions {
    /// Four tables of 64 MiB in L0, a base level of 256 MiB, LZ4 below L1.
    fn default() -> PickerOptions {
        use Compression::{Lz4, None};
        PickerOptions {
            l0_trigger: 4,
            base_bytes: 256 << 20,
            multiplier: 10,
            table_bytes: 64 << 20,
            tombstone_percent: 50,
            compression: [None, None, Lz4, Lz4, Lz4, Lz4, Lz4],
        }
    }
}

impl PickerOptions {
    /// A table may overlap at most so many bytes of the level after the next: more would make its
    /// own compaction a long one.
    #[must_use]
    pub fn max_grandparent_bytes(&self) -> u64 {
        self.table_bytes.saturating_mul(10)
    }

    /// A compaction that could be smaller reads at most so many bytes.
    #[must_use]
    pub fn max_compaction_bytes(&self) -> u64 {
        self.table_bytes.saturating_mul(25)
    }
}

/// One keyspace's tree, and all that a choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Picker<'a> {
    /// Whose tree.
    pub keyspace: KeyspaceId,
    /// The tables.
    pub tree: &'a Tree,
    /// The compactions that run, in this keyspace and others.
    pub running: &'a InProgress,
    /// The shape to reach.
    pub options: &'a PickerOptions,
    /// The oldest sequence at which somebody reads: the oldest snapshot, or the visible sequence.
    pub oldest_snapshot: Seq,
}

impl Picker<'_> {
    /// The compaction that is due most, if one is due and nothing that runs stands in its way.
    #[must_use]
    pub fn pick(&self) -> Option<Compaction> {
        self.pick_full_level()
            .or_else(|| self.pick_tombstones())
            .or_else(|| self.pick_marked())
            .or_else(|| self.pick_small())
    }
}
