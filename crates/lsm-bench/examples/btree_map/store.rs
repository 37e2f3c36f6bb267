//! A store for the benchmark in few lines: a `BTreeMap` behind a lock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lsm_bench::store::{Durability, EngineFactory, Result, Store, StoreOptions};

/// Opens an empty map; folder and options are of no use to it.
pub(crate) const FACTORY: EngineFactory =
    EngineFactory { name: "btree-map", version: || "of std".into(), compresses: false, open };

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The map. It survives nothing, so it ignores how durable a write is to be.
#[derive(Default)]
pub(crate) struct BTreeMapStore(RwLock<Map>);

fn open(_: &Path, _: &StoreOptions) -> Result<Box<dyn Store>> {
    Ok(Box::<BTreeMapStore>::default())
}

impl BTreeMapStore {
    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for BTreeMapStore {
    fn put(&self, key: &[u8], value: &[u8], _: Durability) -> Result<()> {
        self.write().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn put_batch(&self, entries: &[(Vec<u8>, Vec<u8>)], _: Durability) -> Result<()> {
        self.write().extend(entries.iter().cloned());
        Ok(())
    }

    fn delete(&self, key: &[u8], _: Durability) -> Result<()> {
        self.write().remove(key);
        Ok(())
    }

    fn get(&self, key: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.read().get(key).map(|value| take(value)).is_some())
    }

    fn scan(&self, start: &[u8], limit: u64, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let map = self.read();
        let entries = map.range(start.to_vec()..).take(usize::try_from(limit)?);
        Ok(entries.map(|(key, value)| take(key, value)).count() as u64)
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
