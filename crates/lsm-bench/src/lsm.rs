//! This store, as the benchmark drives it.
//!
//! It has no tuning of its own: beside memory, filters and compression, which are equal, its options
//! are to be changed when a figure of a workload asks for it. So its turn with [`Tuning::Own`] runs
//! with the same settings as the other, and shows how much of a difference is noise.
//!
//! [`Tuning::Own`]: crate::store::Tuning::Own

use std::path::Path;

use lsm_engine::{Compression, Db, Options, Read, WriteBatch, WriteOptions};

use crate::store::{Durability, EngineFactory, Result, Store, StoreOptions};

/// Opens this store.
pub const FACTORY: EngineFactory = EngineFactory {
    name: "lsm",
    version: || env!("CARGO_PKG_VERSION").into(),
    compresses: true,
    open,
};

struct Lsm(Db);

fn open(dir: &Path, options: &StoreOptions) -> Result<Box<dyn Store>> {
    let memory = options.cache_bytes + 4 * options.memtable_bytes;
    let options = Options {
        memory_budget: Some(memory),
        memtable_size: Some(options.memtable_bytes),
        block_cache_size: Some(options.cache_bytes),
        bloom_bits_per_key: options.bloom_bits,
        compression: if options.is_compressed { Compression::Lz4 } else { Compression::None },
        ..Options::default()
    };
    Ok(Box::new(Lsm(Db::builder(dir).options(options).open()?)))
}

fn write_options(durability: Durability) -> WriteOptions {
    WriteOptions::durability(match durability {
        Durability::Sync => lsm_engine::Durability::Sync,
        Durability::Buffered => lsm_engine::Durability::Buffered,
    })
}

impl Store for Lsm {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.0.put_with(key, value, &write_options(durability))?;
        Ok(())
    }

    fn put_batch(&self, entries: &[(Vec<u8>, Vec<u8>)], durability: Durability) -> Result<()> {
        let mut batch = WriteBatch::new();
        entries.iter().for_each(|(key, value)| batch.put(key, value));
        self.0.write(batch, &write_options(durability))?;
        Ok(())
    }

    fn delete(&self, key: &[u8], durability: Durability) -> Result<()> {
        self.0.delete_with(key, &write_options(durability))?;
        Ok(())
    }

    fn get(&self, key: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.0.get_with(key, take)?.is_some())
    }

    fn scan(&self, start: &[u8], limit: u64, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut cursor = self.0.cursor()?;
        cursor.seek(start)?;
        let mut count = 0;
        while cursor.valid() && count < limit {
            take(cursor.key(), cursor.value());
            count += 1;
            cursor.next()?;
        }
        Ok(count)
    }

    fn settle(&self) -> Result<()> {
        self.0.flush()?;
        Ok(self.0.wait_idle()?)
    }

    fn longest_stall(&self) -> Option<f64> {
        Some(self.0.metrics().stall_nanos.max() as f64 / 1e9)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}
