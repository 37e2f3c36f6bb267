//! The memory budget: what each part takes, and who gives way.
//!
//! ```text
//! budget = memtables            their size × (sealed ones at most + the active one), reserved
//!        + fences and filters   of the tables that were used, as far as they are not in a map
//!        + block cache          what is left, at most its own size
//! ```
//!
//! Memtables are bounded by admission. Fences and filters are needed for as long as their table is
//! in the tree, and become more with every table that is used for the first time. So the block
//! cache gives way to them.
//!
//! Maps are no part of the budget: the system takes their pages back when it needs them. That is
//! right only while the tables fit memory; beyond that they are read by `pread`, and their blocks
//! live in the cache.

use lsm_compaction::State;
use lsm_sstable::ReadMode;

use crate::generation::GenerationView;
use crate::inner::Inner;
use crate::options::Resolved;

/// The least that the block cache keeps: enough for the blocks that one read goes through.
const MIN_CACHE: u64 = 64 << 10;

/// How much of the machine's memory tables may take to be read through maps, in percent.
const MAP_PERCENT: u64 = 60;

impl Resolved {
    /// How tables are read that are opened while the tree is that of `state`.
    pub(crate) fn read_mode(&self, state: &State) -> ReadMode {
        let tables = || state.version.trees().flat_map(|(_, tree)| tree.tables());
        let limit = self.machine_memory as u64 / 100 * MAP_PERCENT;
        match self.read_mode {
            Some(mode) => mode,
            None if tables().map(|(_, table)| table.len).sum::<u64>() <= limit => ReadMode::Map,
            None => ReadMode::Pread,
        }
    }

    /// What the block cache may take beside fences and filters of so many bytes.
    fn cache_capacity(&self, pinned: u64) -> u64 {
        let memtables = (self.max_sealed as u64 + 1) * self.memtable_size as u64;
        let left = (self.memory_budget as u64).saturating_sub(memtables + pinned);
        let most = self.block_cache_size as u64;
        left.max(MIN_CACHE).min(most)
    }
}

impl Inner {
    /// Fits the block cache into what the other parts leave of the budget.
    pub(crate) fn fit_memory(&self) {
        let capacity = self.options.cache_capacity(self.pinned_bytes());
        if self.cache.capacity() != capacity {
            self.cache.set_capacity(capacity);
        }
    }

    /// What fences and filters take outside of maps.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        let super_version = self.super_versions.load();
        super_version.version.tables().map(|(_, table)| table.pinned_bytes()).sum()
    }
}

/// What the memtables of a generation take.
pub(crate) fn memtable_bytes(view: &GenerationView) -> u64 {
    let filters = view.memtables().iter().map(|(_, memtable)| memtable.filter_memory());
    (view.generation.arena.used() + filters.sum::<usize>()) as u64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn the_cache_gives_way_to_what_cannot() {
        let options = Options { memory_budget: Some(256 << 20), ..Options::default() };
        let resolved = options.resolve(8 << 30).unwrap();
        let memtables = 128 << 20;
        assert_eq!(resolved.cache_capacity(0), resolved.block_cache_size as u64);
        assert_eq!(resolved.cache_capacity(28 << 20), (256 << 20) - memtables - (28 << 20));
        assert_eq!(resolved.cache_capacity(1 << 40), MIN_CACHE);
        let options = Options { block_cache_size: Some(1), ..options };
        assert_eq!(options.resolve(8 << 30).unwrap().cache_capacity(0), 1);
    }
}
