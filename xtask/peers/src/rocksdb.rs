//! RocksDB, as the benchmark drives it.
//!
//! Reads lend what RocksDB pins, and scans go through its raw iterator, so that nothing is copied
//! on its account. Writes without sync go to its log all the same: they survive the process.

use std::path::Path;

use ::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, Options, ReadOptions,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};
use lsm_bench::store::{Durability, EngineFactory, Result, Store, StoreOptions, Tuning};

use crate::versions::locked;

/// Opens RocksDB.
pub(crate) const FACTORY: EngineFactory =
    EngineFactory { name: "rocksdb", version: || locked("librocksdb-sys"), compresses: true, open };

/// How many memtables this store holds at most: one that takes writes, three that wait.
const MEMTABLES: i32 = 4;

/// Threads for flushes and compactions together; this store has one for each of the two.
const BACKGROUND_JOBS: i32 = 2;

struct RocksDb {
    db: DB,
    /// Made once: each is an object on the other side of the language border.
    synced: WriteOptions,
    buffered: WriteOptions,
    /// For gets. An iterator takes options of its own along, so that those of a scan are made for it.
    read: ReadOptions,
}

fn open(dir: &Path, options: &StoreOptions) -> Result<Box<dyn Store>> {
    Ok(Box::new(RocksDb::open(dir, options)?))
}

impl RocksDb {
    fn open(dir: &Path, options: &StoreOptions) -> Result<RocksDb> {
        let db = DB::open(&db_options(options), dir)?;
        let (mut synced, mut buffered) = (WriteOptions::default(), WriteOptions::default());
        synced.set_sync(true);
        buffered.set_sync(false);
        Ok(RocksDb { db, synced, buffered, read: ReadOptions::default() })
    }

    fn write_options(&self, durability: Durability) -> &WriteOptions {
        match durability {
            Durability::Sync => &self.synced,
            Durability::Buffered => &self.buffered,
        }
    }
}

impl Store for RocksDb {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        Ok(self.db.put_opt(key, value, self.write_options(durability))?)
    }

    fn put_batch(&self, entries: &[(Vec<u8>, Vec<u8>)], durability: Durability) -> Result<()> {
        let mut batch = WriteBatch::default();
        entries.iter().for_each(|(key, value)| batch.put(key, value));
        Ok(self.db.write_opt(batch, self.write_options(durability))?)
    }

    fn delete(&self, key: &[u8], durability: Durability) -> Result<()> {
        Ok(self.db.delete_opt(key, self.write_options(durability))?)
    }

    fn get(&self, key: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get_pinned_opt(key, &self.read)?;
        Ok(value.map(|value| take(&value)).is_some())
    }

    fn scan(&self, start: &[u8], limit: u64, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut iterator = self.db.raw_iterator();
        iterator.seek(start);
        let mut count = 0;
        while count < limit
            && let Some((key, value)) = iterator.item()
        {
            take(key, value);
            count += 1;
            iterator.next();
        }
        // An iterator that failed looks like one that is at its end.
        iterator.status()?;
        Ok(count)
    }

    fn settle(&self) -> Result<()> {
        let mut options = WaitForCompactOptions::default();
        options.set_flush(true);
        Ok(self.db.wait_for_compact(&options)?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn db_options(options: &StoreOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.set_write_buffer_size(options.memtable_bytes);
    db.set_max_write_buffer_number(MEMTABLES);
    db.set_max_background_jobs(BACKGROUND_JOBS);
    db.set_level_compaction_dynamic_level_bytes(true);
    db.set_compression_per_level(&compression(options.is_compressed));
    let mut table = table_options(options);
    if options.tuning == Tuning::Own {
        tune(&mut db, &mut table);
    }
    db.set_block_based_table_factory(&table);
    db
}

/// What a careful user sets beyond that on a machine with two processors and memory to spare.
///
/// Not taken: ribbon filters and filters in parts, which save memory and cost time; index blocks in
/// the cache, likewise; maps, with which it checks a block at every read, and direct reads, which
/// leave the page cache unused; larger blocks and other triggers of level 0, which trade gets and
/// writes for one another, so that a workload would have to be known.
fn tune(db: &mut Options, table: &mut BlockBasedOptions) {
    // A compaction of level 0 is one job, and the longest; this parts it between the processors.
    db.set_max_subcompactions(2);
    // As its manual recommends: files go to the disk while they are written, not all at the end.
    db.set_bytes_per_sync(1 << 20);
    // A log's file is used again: a sync has no new size to make durable. This store does the same.
    db.set_recycle_log_file_num(MEMTABLES as usize);
    // The next group of writers fills the log while this one fills the memtable.
    db.set_enable_pipelined_write(true);
    // A get of a key that no memtable holds need not search each.
    db.set_memtable_prefix_bloom_ratio(0.02);
    db.set_memtable_whole_key_filtering(true);
    // A get finds its place in a block by a hash.
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
}

/// The first element is for level 0, the second for the level that level 0 is merged into, which
/// is the last one as long as there is little data. This store leaves levels 0 and 1 as they are,
/// and its level 1 has tables only once there are terabytes: so all but level 0 is compressed.
fn compression(is_compressed: bool) -> [DBCompressionType; 7] {
    let below = if is_compressed { DBCompressionType::Lz4 } else { DBCompressionType::None };
    let mut levels = [below; 7];
    levels[0] = DBCompressionType::None;
    levels
}

fn table_options(options: &StoreOptions) -> BlockBasedOptions {
    // The cache that RocksDB recommends, with the entry size left for it to find.
    let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&cache);
    if 0 < options.bloom_bits {
        // One filter for a whole table; the format with a filter for each block is gone.
        table.set_bloom_filter(f64::from(options.bloom_bits), false);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{
        OPTIONS, check_every_workload, check_filled, check_reopened, fill, folder,
    };
    use ::rocksdb::properties;

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
        let store = RocksDb::open(dir.path(), &OPTIONS).unwrap();
        fill(&store);
        store.settle().unwrap();
        for property in [
            properties::NUM_RUNNING_FLUSHES,
            properties::MEM_TABLE_FLUSH_PENDING,
            properties::NUM_RUNNING_COMPACTIONS,
            properties::COMPACTION_PENDING,
            properties::NUM_ENTRIES_ACTIVE_MEM_TABLE,
        ] {
            let value = store.db.property_int_value(property).unwrap();
            assert_eq!(value, Some(0), "{property:?}");
        }
        check_filled(&store);
    }
}
