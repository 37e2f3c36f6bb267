//! redb, as the benchmark drives it.
//!
//! A get is a transaction of its own, as it is for an application that wants what was last written:
//! redb has no other, and one that is kept sees none of the writes after it and keeps their pages
//! from being used again. The value is lent from redb's page.
//!
//! A commit of redb is on disk, or it is lost with the process: it has no level between. That one is
//! made here: every commit is a durable one, and below it, where the file is, those that are to
//! survive the process only are not synced. They are in the kernel's hands then, in the order in
//! which they were made, and the death of a process takes none of them away.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redb::backends::FileBackend;
use ::redb::{
    BackendError, Builder, Database, ReadableDatabase, StorageBackend, Table, TableDefinition,
};
use lsm_bench::store::{Durability, EngineFactory, Result, Store, StoreOptions, Tuning};

use crate::versions::locked;

/// Opens redb.
pub(crate) const FACTORY: EngineFactory =
    EngineFactory { name: "redb", version: || locked("redb"), compresses: false, open };

/// How many memtables the others hold at most: one that takes writes, three that wait.
const MEMTABLES: usize = 4;

type Bytes = &'static [u8];

const TABLE: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("bench");

struct Redb {
    db: Database,
    file: File,
    /// Whether the commit that is under way is to be on disk. Set by whoever holds redb's one write
    /// transaction.
    is_synced: Arc<AtomicBool>,
}

fn open(dir: &Path, options: &StoreOptions) -> Result<Box<dyn Store>> {
    Ok(Box::new(Redb::open(dir, options)?))
}

impl Redb {
    /// Memtables and filters are of no use to it.
    fn open(dir: &Path, options: &StoreOptions) -> Result<Redb> {
        let path = dir.join("bench.redb");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let is_synced = Arc::new(AtomicBool::new(true));
        let backend = Backend {
            file: FileBackend::new(file.try_clone()?)?,
            is_synced: Arc::clone(&is_synced),
        };
        let db =
            Builder::new().set_cache_size(cache_bytes(options)).create_with_backend(backend)?;
        let store = Redb { db, file, is_synced };
        store.write(Durability::Sync, |_| Ok(()))?;
        Ok(store)
    }

    fn write(
        &self,
        durability: Durability,
        apply: impl FnOnce(&mut Table<'_, Bytes, Bytes>) -> Result<()>,
    ) -> Result<()> {
        let transaction = self.db.begin_write()?;
        self.is_synced.store(durability == Durability::Sync, Ordering::Relaxed);
        apply(&mut transaction.open_table(TABLE)?)?;
        Ok(transaction.commit()?)
    }
}

impl Store for Redb {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.write(durability, |table| {
            table.insert(key, value)?;
            Ok(())
        })
    }

    fn put_batch(&self, entries: &[(Vec<u8>, Vec<u8>)], durability: Durability) -> Result<()> {
        self.write(durability, |table| {
            for (key, value) in entries {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            Ok(())
        })
    }

    fn delete(&self, key: &[u8], durability: Durability) -> Result<()> {
        self.write(durability, |table| {
            table.remove(key)?;
            Ok(())
        })
    }

    fn get(&self, key: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let table = self.db.begin_read()?.open_table(TABLE)?;
        Ok(table.get(key)?.map(|value| take(value.value())).is_some())
    }

    fn scan(&self, start: &[u8], limit: u64, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let table = self.db.begin_read()?.open_table(TABLE)?;
        let mut entries = table.range(start..)?;
        let mut count = 0;
        while count < limit
            && let Some(entry) = entries.next()
        {
            let (key, value) = entry?;
            take(key.value(), value.value());
            count += 1;
        }
        Ok(count)
    }

    /// Nothing is done in the background. What was not synced is synced: the tables of the others
    /// are on disk when they are settled, and reads are to find a disk at rest.
    fn settle(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// In its own tuning, what the others' memtables take comes on top: redb keeps what it has not
/// written yet in its cache. There is nothing else to tune.
fn cache_bytes(options: &StoreOptions) -> usize {
    match options.tuning {
        Tuning::Equal => options.cache_bytes,
        Tuning::Own => options.cache_bytes + MEMTABLES * options.memtable_bytes,
    }
}

/// redb's own file, which is synced only where that is wanted.
#[derive(Debug)]
struct Backend {
    file: FileBackend,
    is_synced: Arc<AtomicBool>,
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // Relaxed: who set it is the thread that commits.
        if self.is_synced.load(Ordering::Relaxed) { self.file.sync_data() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{
        OPTIONS, check_every_workload, check_filled, check_reopened, fill, folder,
    };

    #[test]
    fn every_workload_runs_and_finds_its_values() {
        check_every_workload(&FACTORY, Tuning::Equal, "none");
    }

    #[test]
    fn every_workload_runs_in_its_own_tuning() {
        check_every_workload(&FACTORY, Tuning::Own, "none");
    }

    #[test]
    fn every_kind_of_write_is_there_after_a_close() {
        check_reopened(&FACTORY, Tuning::Equal);
        check_reopened(&FACTORY, Tuning::Own);
    }

    #[test]
    fn a_settled_store_has_nothing_left_to_do() {
        let dir = folder();
        let store = Redb::open(dir.path(), &OPTIONS).unwrap();
        fill(&store);
        store.settle().unwrap();
        check_filled(&store);
    }

    /// What the process had at its death is in the file, as a copy of it shows.
    #[test]
    fn a_buffered_commit_is_in_the_file_when_it_returns() {
        let (dir, copy) = (folder(), folder());
        let store = Redb::open(dir.path(), &OPTIONS).unwrap();
        fill(&store);
        assert!(!store.is_synced.load(Ordering::Relaxed));
        let name = "bench.redb";
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        check_filled(&Redb::open(copy.path(), &OPTIONS).unwrap());
        store.put(&[1], &[1], Durability::Sync).unwrap();
        assert!(store.is_synced.load(Ordering::Relaxed));
    }
}
