//! LMDB, as the benchmark drives it, through heed.
//!
//! A get is a transaction of its own, as it is for an application that wants what was last written:
//! one that is kept sees none of the writes after it and keeps their pages from being used again.
//! The slot in the table of readers belongs to the thread and stays its own, so that beginning takes
//! no lock; LMDB's `reset` and `renew` would save an allocation besides, but heed has neither. The
//! value is lent from the map.

#![expect(unsafe_code, reason = "heed wants promises about the files that it maps")]

use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use heed::types::Bytes;
use heed::{Env, EnvFlags, EnvOpenOptions, FlagSetMode, RwTxn, WithTls};
use lsm_bench::store::{Durability, EngineFactory, Result, Store, StoreOptions, Tuning};

use crate::versions::locked;

/// Opens LMDB.
pub(crate) const FACTORY: EngineFactory =
    EngineFactory { name: "lmdb", version, compresses: false, open };

/// The most that its file may grow to, as it must be told beforehand: addresses only, neither memory
/// nor disk.
const MAP_BYTES: usize = 256 << 30;

type Database = heed::Database<Bytes, Bytes>;

struct Lmdb {
    env: Env<WithTls>,
    database: Database,
    /// Whether commits are on disk when they return. Changed by whoever holds LMDB's one write
    /// transaction.
    is_synced: AtomicBool,
}

/// That of heed, and LMDB's own.
fn version() -> String {
    format!("{} ({})", locked("heed"), heed::lmdb_version().string)
}

fn open(dir: &Path, options: &StoreOptions) -> Result<Box<dyn Store>> {
    Ok(Box::new(Lmdb::open(dir, options)?))
}

impl Lmdb {
    /// Memtables, cache, filters and compression: it has none of them. Its cache is the kernel's.
    fn open(dir: &Path, options: &StoreOptions) -> Result<Lmdb> {
        let mut environment = EnvOpenOptions::new();
        environment.map_size(MAP_BYTES);
        // SAFETY: the map that can be written is LMDB's alone: nothing here writes through what a
        // read lends.
        unsafe { environment.flags(flags(options.tuning)) };
        // SAFETY: the folder was made for this process, which opens it once at a time; nothing else
        // changes the file under the map.
        let env = unsafe { environment.open(dir)? };
        let mut transaction = env.write_txn()?;
        let database = env.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Lmdb { env, database, is_synced: AtomicBool::new(true) })
    }

    fn write(
        &self,
        durability: Durability,
        apply: impl FnOnce(Database, &mut RwTxn<'_>) -> heed::Result<()>,
    ) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.set_durability(&transaction, durability)?;
        apply(self.database, &mut transaction)?;
        Ok(transaction.commit()?)
    }

    /// Without sync a commit writes its pages to the file, so that it survives the process. After a
    /// loss of power the file may be broken until the next commit with sync, and after further ones
    /// without it again: no workload mixes the two.
    fn set_durability(&self, _: &RwTxn<'_>, durability: Durability) -> Result<()> {
        let is_synced = durability == Durability::Sync;
        if self.is_synced.swap(is_synced, Ordering::Relaxed) != is_synced {
            let mode = if is_synced { FlagSetMode::Disable } else { FlagSetMode::Enable };
            // SAFETY: one thread at a time, since the caller holds the one write transaction; and
            // what a loss of power does to the file is not the process's to see.
            unsafe { self.env.set_flags(EnvFlags::NO_SYNC, mode)? };
        }
        Ok(())
    }
}

/// In its own tuning, commits change the map in place, and write no page by a call: those of a process
/// that dies are the kernel's just the same.
///
/// Not taken: `NO_META_SYNC`, with which a power loss takes the last synced write away; `NO_READ_AHEAD`,
/// which helps with data that is larger than memory and hurts a cold start with any other;
/// `NO_MEM_INIT`, which does nothing with a map that can be written; `NO_LOCK`, which makes several
/// threads the caller's business.
fn flags(tuning: Tuning) -> EnvFlags {
    match tuning {
        Tuning::Equal => EnvFlags::empty(),
        Tuning::Own => EnvFlags::WRITE_MAP,
    }
}

impl Store for Lmdb {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.write(durability, |database, transaction| database.put(transaction, key, value))
    }

    fn put_batch(&self, entries: &[(Vec<u8>, Vec<u8>)], durability: Durability) -> Result<()> {
        self.write(durability, |database, transaction| {
            entries.iter().try_for_each(|(key, value)| database.put(transaction, key, value))
        })
    }

    fn delete(&self, key: &[u8], durability: Durability) -> Result<()> {
        self.write(durability, |database, transaction| {
            database.delete(transaction, key).map(|_was_there| ())
        })
    }

    fn get(&self, key: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let transaction = self.env.read_txn()?;
        Ok(self.database.get(&transaction, key)?.map(take).is_some())
    }

    fn scan(&self, start: &[u8], limit: u64, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let transaction = self.env.read_txn()?;
        let range = (Bound::Included(start), Bound::Unbounded);
        let mut entries = self.database.range(&transaction, &range)?;
        let mut count = 0;
        while count < limit
            && let Some(entry) = entries.next()
        {
            let (key, value) = entry?;
            take(key, value);
            count += 1;
        }
        Ok(count)
    }

    /// Nothing is done in the background. What was not synced is synced: the tables of the others
    /// are on disk when they are settled, and reads are to find a disk at rest.
    fn settle(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Its folder is opened again by the next workload, and LMDB allows that only once it is shut.
        self.env.prepare_for_closing().wait();
        Ok(())
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
        let store = Lmdb::open(dir.path(), &OPTIONS).unwrap();
        fill(&store);
        store.settle().unwrap();
        check_filled(&store);
    }

    /// What the process had at its death is in the file, as a copy of it shows.
    #[test]
    fn a_buffered_commit_is_in_the_file_when_it_returns() {
        let (dir, copy) = (folder(), folder());
        let store = Lmdb::open(dir.path(), &OPTIONS).unwrap();
        let is_synced = || !store.env.flags().unwrap().unwrap().contains(EnvFlags::NO_SYNC);
        fill(&store);
        assert!(!is_synced());
        std::fs::copy(dir.path().join("data.mdb"), copy.path().join("data.mdb")).unwrap();
        check_filled(&Lmdb::open(copy.path(), &OPTIONS).unwrap());
        store.put(&[1], &[1], Durability::Sync).unwrap();
        assert!(is_synced());
    }
}
