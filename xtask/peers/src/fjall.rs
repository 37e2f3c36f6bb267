//! fjall, as the benchmark drives it.
//!
//! Reads lend what fjall counts references of: a value is a slice of its block. Writes without sync
//! go to its journal by `write` all the same: they survive the process.

use std::path::Path;
use std::thread;
use std::time::Duration;

use ::fjall::config::{
    BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy,
};
use ::fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use lsm_bench::store::{Durability, EngineFactory, Result, Store, StoreOptions, Tuning};

use crate::versions::locked;

/// Opens fjall.
pub(crate) const FACTORY: EngineFactory =
    EngineFactory { name: "fjall", version: || locked("fjall"), compresses: true, open };

/// Threads for flushes and compactions together; this store has one for each of the two, and of two
/// fjall keeps one for flushes.
const WORKERS: usize = 2;

/// How long nothing must have happened for fjall to be idle, and how often that is looked at. It has
/// no call that waits for its compactions; between two that are queued pass microseconds, and each
/// takes a millisecond at least.
const QUIET: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_millis(1);

struct Fjall {
    keyspace: Keyspace,
    db: Database,
}

fn open(dir: &Path, options: &StoreOptions) -> Result<Box<dyn Store>> {
    Ok(Box::new(Fjall::open(dir, options)?))
}

impl Fjall {
    fn open(dir: &Path, options: &StoreOptions) -> Result<Fjall> {
        let db = Database::builder(dir)
            .cache_size(options.cache_bytes as u64)
            .worker_threads(WORKERS)
            .open()?;
        let keyspace = db.keyspace("bench", || match options.tuning {
            Tuning::Equal => keyspace_options(options),
            Tuning::Own => tuned(keyspace_options(options), options),
        })?;
        Ok(Fjall { keyspace, db })
    }

    /// What makes a write that is in the journal as durable as it is to be.
    fn persist(&self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Buffered => Ok(()),
            Durability::Sync => Ok(self.db.persist(mode(durability))?),
        }
    }

    /// What changes while anything is done in the background, and whether something is under way.
    fn activity(&self) -> (usize, bool) {
        let waiting = self.db.outstanding_flushes() + self.keyspace.sealed_memtable_count();
        let is_active = 0 < waiting + self.db.active_compactions();
        (self.db.compactions_completed(), is_active)
    }
}

/// `SyncData` is `fdatasync`, which every other engine uses too.
fn mode(durability: Durability) -> PersistMode {
    match durability {
        Durability::Sync => PersistMode::SyncData,
        Durability::Buffered => PersistMode::Buffer,
    }
}

impl Store for Fjall {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.keyspace.insert(key, value)?;
        self.persist(durability)
    }

    fn put_batch(&self, entries: &[(Vec<u8>, Vec<u8>)], durability: Durability) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(mode(durability)));
        for (key, value) in entries {
            batch.insert(&self.keyspace, key.as_slice(), value.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn delete(&self, key: &[u8], durability: Durability) -> Result<()> {
        self.keyspace.remove(key)?;
        self.persist(durability)
    }

    fn get(&self, key: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.keyspace.get(key)?.map(|value| take(&value)).is_some())
    }

    fn scan(&self, start: &[u8], limit: u64, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut entries = self.keyspace.range(start..);
        let mut count = 0;
        while count < limit
            && let Some(entry) = entries.next()
        {
            let (key, value) = entry.into_inner()?;
            take(&key, &value);
            count += 1;
        }
        Ok(count)
    }

    /// Flushes, and waits until fjall does nothing more by itself. After a flush it compacts once for
    /// each worker, and then no more before the next: a level may stay larger than it should be.
    fn settle(&self) -> Result<()> {
        self.keyspace.rotate_memtable()?;
        let mut last = self.activity();
        let mut quiet = Duration::ZERO;
        while quiet < QUIET {
            // A worker that failed leaves its work undone for ever; then this reports it.
            self.db.persist(PersistMode::Buffer)?;
            thread::sleep(LOOK);
            let activity = self.activity();
            let is_quiet = !activity.1 && activity == last;
            quiet = if is_quiet { quiet + LOOK } else { Duration::ZERO };
            last = activity;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn keyspace_options(options: &StoreOptions) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(options.memtable_bytes as u64)
        .data_block_compression_policy(compression(options.is_compressed))
        .filter_policy(filters(options.bloom_bits))
}

/// What a careful user sets beyond that.
///
/// Not taken: larger blocks and a longer restart interval, which trade gets for space;
/// `expect_point_read_hits`, which would tell it about the workload; key-value separation, for values
/// that are larger; more workers than processors.
fn tuned(keyspace: KeyspaceCreateOptions, options: &StoreOptions) -> KeyspaceCreateOptions {
    let keyspace = keyspace
        // Memory is there, and indexes and filters then leave the cache to the blocks.
        .index_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_pinning_policy(PinningPolicy::all(true));
    let keyspace = match options.is_compressed {
        // Its own choice: level 1 is rewritten soon.
        true => keyspace.data_block_compression_policy(CompressionPolicy::new([
            CompressionType::None,
            CompressionType::None,
            CompressionType::Lz4,
        ])),
        false => keyspace,
    };
    match bits(options.bloom_bits) {
        // Its own choice: level 0 has few keys and is asked first, so its filters are sharper.
        Some(below) => keyspace.filter_policy(FilterPolicy::new([
            FilterPolicyEntry::Bloom(BloomConstructionPolicy::FalsePositiveRate(0.0001)),
            below,
        ])),
        None => keyspace,
    }
}

/// The first element is for level 0, the last for all levels below. By default fjall leaves level 1
/// as it is too, which holds 256 MiB; the others compress all but level 0.
fn compression(is_compressed: bool) -> CompressionPolicy {
    if is_compressed {
        CompressionPolicy::new([CompressionType::None, CompressionType::Lz4])
    } else {
        CompressionPolicy::disabled()
    }
}

/// The same bits in every level, as RocksDB has them.
fn filters(bloom_bits: u32) -> FilterPolicy {
    bits(bloom_bits).map_or_else(FilterPolicy::disabled, FilterPolicy::all)
}

fn bits(bloom_bits: u32) -> Option<FilterPolicyEntry> {
    let bits = BloomConstructionPolicy::BitsPerKey(bloom_bits as f32);
    (0 < bloom_bits).then_some(FilterPolicyEntry::Bloom(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{
        OPTIONS, check_every_workload, check_filled, check_reopened, fill, folder,
    };
    use ::fjall::AbstractTree;

    #[test]
    fn every_workload_runs_and_finds_its_values() {
        check_every_workload(&FACTORY, Tuning::Equal, "lz4");
    }

    #[test]
    fn every_workload_runs_in_its_own_tuning() {
        check_every_workload(&FACTORY, Tuning::Own, "lz4");
    }

    #[test]
    fn every_kind_of_write_is_there_after_a_close() {
        check_reopened(&FACTORY, Tuning::Equal);
        check_reopened(&FACTORY, Tuning::Own);
    }

    #[test]
    fn a_settled_store_has_nothing_left_to_do() {
        let dir = folder();
        let store = Fjall::open(dir.path(), &OPTIONS).unwrap();
        fill(&store);
        store.settle().unwrap();
        let compactions = store.db.compactions_completed();
        assert_eq!(store.activity(), (compactions, false));
        assert_eq!(store.keyspace.tree.active_memtable().size(), 0);
        assert!(0 < compactions);
        check_filled(&store);
        assert_eq!(store.activity(), (compactions, false));
    }
}
