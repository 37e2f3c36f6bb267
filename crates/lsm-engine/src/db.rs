//! The handle of a database.

use std::fmt;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lsm_base::{KeyspaceId, Seq, WriteBatch};
use lsm_compaction::State;

use crate::builder::DbBuilder;
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::health::Health;
#[cfg(test)]
use crate::inner::Inner;
use crate::keyspace::Keyspace;
use crate::levels::KeyspaceLevels;
use crate::metrics::Metrics;
use crate::options::WriteOptions;
use crate::progress::Progress;
use crate::read::{Read, View};
use crate::recovery::RecoveryReport;
use crate::scan::key_bounds;
use crate::snapshot::SnapshotSlot;
use crate::verify::VerifyReport;
use crate::write::WriteFuture;

/// A database. Cheap to clone; every clone is the same database, usable from any thread.
///
/// It is closed by [`close`](Db::close), which reports errors, or when the last handle is dropped:
/// keyspaces and snapshots are handles too, cursors and scans are not.
/// The methods of [`Read`] read its default keyspace.
#[derive(Clone)]
pub struct Db {
    handle: Handle,
}

impl Db {
    /// Opens the database in `dir` with the default options, creating it if there is none.
    ///
    /// A child that the process forks must not use it: see [`DbBuilder::open`].
    ///
    /// # Errors
    /// Kind `Locked` if it is open already; `Corruption`, `MissingFile` or `UnsupportedFormat` if
    /// its files are not what was written; `Io`, `NoSpace`.
    pub fn open(dir: impl AsRef<Path>) -> Result<Db> {
        Db::builder(dir).open()
    }

    /// Opens a database with other options.
    #[must_use]
    pub fn builder(dir: impl AsRef<Path>) -> DbBuilder {
        DbBuilder::new(dir.as_ref())
    }

    pub(crate) fn new(handle: Handle) -> Db {
        Db { handle }
    }

    #[cfg(test)]
    pub(crate) fn inner(&self) -> &Inner {
        self.handle.look()
    }

    /// Stores `value` under `key`. Returns the sequence of the write: the key's new version.
    ///
    /// # Errors
    /// Kind `InvalidArgument` if key or value have a forbidden length; `NoSpace`, `Poisoned`,
    /// `ReadOnly`, `Closed`, after which nothing was written; `Io`, after which the next open
    /// decides. All writes answer so.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Seq> {
        self.put_with(key, value, &WriteOptions::default())
    }

    /// Stores `value` under `key`, if a condition holds, with a durability, or within a time.
    ///
    /// # Errors
    /// Also kind `Conflict` if the condition does not hold, with the key's version, and `Busy`.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: &WriteOptions,
    ) -> Result<Seq> {
        self.handle
            .call(|call| call.put(KeyspaceId::DEFAULT, key.as_ref(), value.as_ref(), options))
    }

    /// Removes `key`, whether it has a value or not. Returns the sequence of the write.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Seq> {
        self.delete_with(key, &WriteOptions::default())
    }

    /// Removes `key`, if a condition holds, with a durability, or within a time.
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: &WriteOptions) -> Result<Seq> {
        self.handle.call(|call| call.delete(KeyspaceId::DEFAULT, key.as_ref(), options))
    }

    /// Writes all operations of a batch, or none. Returns the sequence of the last.
    pub fn write(&self, batch: WriteBatch, options: &WriteOptions) -> Result<Seq> {
        self.handle.call(|call| call.write(batch, options))
    }

    /// Writes all operations of a batch, or none, without keeping the thread: for event loops.
    ///
    /// The batch is queued at the call: a thread's asynchronous writes are committed in the order
    /// of its calls. The call itself does at most what a moment takes: the append of a few small
    /// writes to the page cache, and to memory. Syncs, delays and waits for room are left to two
    /// threads of the database, which start with the first such write.
    ///
    /// With no [`background_threads`](crate::Options::background_threads) the call does all of it,
    /// and waits.
    ///
    /// ```
    /// # use lsm_engine::{Db, Result, WriteBatch, WriteOptions};
    /// # async fn demo(db: Db) -> Result<()> {
    /// let mut batch = WriteBatch::new();
    /// batch.put("apple", "red");
    /// batch.delete("banana");
    /// let seq = db.write_async(batch, &WriteOptions::default()).await?;
    /// println!("on disk, as write {seq}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`put_with`](Db::put_with), when the future is awaited; also kind `InvalidArgument` if
    /// there is a condition, which may have to read the disk.
    pub fn write_async(&self, batch: WriteBatch, options: &WriteOptions) -> WriteFuture {
        self.handle.call(|call| call.write_async(batch, options))
    }

    /// Returns when every write that was acknowledged before is on disk. That takes no space, so a
    /// full disk is no hindrance.
    ///
    /// An asynchronous write is acknowledged when its future has answered. One that nobody awaited
    /// may still be on its way: await its future before the call, to have it covered.
    ///
    /// # Errors
    /// Kind `Io` if the sync failed: the next open decides about what was not on disk before.
    /// `Poisoned`, `ReadOnly`, `Closed`.
    pub fn sync(&self) -> Result<()> {
        self.handle.call(|call| call.sync())
    }

    /// The data as of now, for as long as the snapshot is held.
    ///
    /// # Errors
    /// Kind `Closed`.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.handle.look().check_open()?;
        let state = || Arc::clone(&self.handle.look().super_versions.load().version.state);
        let mut before = state();
        let pin = loop {
            let pin = self.pin();
            // No keyspace came while the sequence was taken, so those of before are its own.
            let after = state();
            if before.next_keyspace_id == after.next_keyspace_id {
                break pin;
            }
            before = after;
        };
        Ok(Snapshot {
            handle: self.handle.clone(),
            keyspace: KeyspaceId::DEFAULT,
            state: before,
            pin: Arc::new(pin),
        })
    }

    fn pin(&self) -> Pin {
        let inner = self.handle.look();
        match &inner.write_side {
            Some(_) => Pin::Slot(inner.snapshots.acquire(|| inner.visible())),
            None => Pin::ReadOnly(inner.read_only_seq),
        }
    }

    /// The keyspace of this name, created if there is none: 1 to 64 of `[A-Za-z0-9_-]`.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        self.handle.call(|call| call.keyspace(name))
    }

    /// Every keyspace, by name; `default` is always there.
    pub fn keyspaces(&self) -> Result<Vec<Keyspace>> {
        self.handle.keyspaces()
    }

    /// Drops a keyspace and all that is in it. Reads of it, by snapshots too, answer `Closed`
    /// from then on; cursors that are open go on. Writes that come before the drop is on disk wait
    /// for that, whatever they write to.
    ///
    /// # Errors
    /// If [`is_undecided`](Error::is_undecided), the keyspace may go yet, and takes no more writes;
    /// any other error leaves it as it was.
    pub fn drop_keyspace(&self, name: &str) -> Result<()> {
        self.handle.call(|call| call.drop_keyspace(name))
    }

    /// Returns when everything written before is in tables.
    ///
    /// # Errors
    /// Why it cannot be done now, `Io` or `Corruption` among others: it is tried again later.
    pub fn flush(&self) -> Result<()> {
        self.flush_with(&Progress::new())
    }

    /// The same, and tells how far it is: of the bytes in memory when it began, how many are in
    /// tables.
    pub fn flush_with(&self, progress: &Progress) -> Result<()> {
        self.handle.call(|call| call.flush(progress))
    }

    /// Merges all tables that hold keys of `range`, in every keyspace, into the last level.
    /// What was written before is flushed first.
    pub fn compact<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<()> {
        self.compact_with(range, &Progress::new())
    }

    /// The same, and tells how far it is. A table counts once for each level that it is to go down,
    /// and what is in memory once for the flush and once for the merge, as far as all of that can
    /// be foreseen.
    pub fn compact_with<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        progress: &Progress,
    ) -> Result<()> {
        self.handle.call(|call| call.compact(&key_bounds(&range), progress))
    }

    /// Returns when background work has nothing to do.
    ///
    /// # Errors
    /// Why some of it cannot be done now, once there is nothing else.
    pub fn wait_idle(&self) -> Result<()> {
        self.handle.call(|call| call.wait_idle())
    }

    /// What the engine did since it was opened, and what it holds now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.handle.look().metrics()
    }

    /// The tables of each level of each keyspace.
    #[must_use]
    pub fn levels(&self) -> Vec<KeyspaceLevels> {
        self.handle.look().levels()
    }

    /// About how many bytes the tables hold of the keys of `range`, in the default keyspace.
    pub fn approximate_size<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<u64> {
        self.handle.look().approximate_size(&key_bounds(&range))
    }

    /// Whether the store takes writes.
    #[must_use]
    pub fn health(&self) -> Health {
        self.handle.look().health.get()
    }

    /// The last sequence that reads see.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.handle.look().visible()
    }

    /// How far background work is behind: 0 is idle, at 1 writes are slowed down to its pace.
    #[must_use]
    pub fn write_pressure(&self) -> f64 {
        self.handle.look().write_pressure()
    }

    /// What the open found and did.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.handle.look().recovery
    }

    /// When the database was opened.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.handle.look().opened
    }

    /// Reads and checks every byte of every table. The first damage of each file is reported.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_with(&Progress::new())
    }

    /// The same, and tells how far it is: of the bytes of all files, how many were read.
    pub fn verify_with(&self, progress: &Progress) -> Result<VerifyReport> {
        self.handle.call(|call| call.verify(progress))
    }

    /// Makes a copy of the database in `dir`, which is a database of its own, and returns the
    /// sequence that it holds: every write up to it, to whatever keyspace, and none behind it. What
    /// was acknowledged before the call is in it, on disk, when the call returns.
    ///
    /// What is in memory is flushed; tables are not copied, but get another name in `dir`, which has
    /// to be on the same file system. From then on neither database touches what the other has.
    /// Writes go on meanwhile.
    ///
    /// ```
    /// # use lsm_engine::{Db, Read};
    /// # fn main() -> lsm_engine::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = Db::open(dir.path().join("data"))?;
    /// db.put("apple", "red")?;
    /// let seq = db.checkpoint(dir.path().join("copy"))?;
    /// db.put("apple", "green")?;
    ///
    /// let copy = Db::open(dir.path().join("copy"))?;
    /// let apple = copy.get_entry("apple")?.unwrap();
    /// assert_eq!((&*apple.value, apple.seq), (&b"red"[..], seq));
    /// # Ok(()) }
    /// ```
    ///
    /// `dir` is created; its parent must exist. If the power fails meanwhile, what is left is a
    /// directory with nothing in it that counts, one that is not opened, or the whole copy.
    ///
    /// # Errors
    /// Kind `InvalidArgument` if there is anything in `dir` but the lock that an earlier try left;
    /// `Locked` if another call is making a copy there. Also what a flush answers, and `Io` and
    /// `NoSpace` of what is done in `dir`: these stop no writes. After any error no file of the copy
    /// is left but the lock, as far as files can be removed. After a sync that failed take another
    /// directory: nobody knows whether the name of this one is on disk.
    pub fn checkpoint(&self, dir: impl AsRef<Path>) -> Result<Seq> {
        self.handle.call(|call| call.checkpoint(dir.as_ref()))
    }

    /// Flushes, ends the log, and closes the database. Calls on other handles answer `Closed`
    /// from then on. `Ok` means that every write that was acknowledged is on disk. No table stays
    /// open but for cursors, scans and long values; a few files of the log go with the last handle.
    ///
    /// # Errors
    /// The database is closed all the same. Kind `Poisoned` if the store had stopped: the next open
    /// decides about what was not synced. `NoSpace`, and `Io` or `Corruption` of a flush that
    /// failed: the log was synced, and the next open replays it. `Io` of a sync that failed.
    pub fn close(self) -> Result<()> {
        // It tells by itself, whoever is there to do it.
        self.handle.look().close()
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq().get();
        f.debug_struct("Db").field("dir", &self.handle.look().dir).field("seq", &seq).finish()
    }
}

impl Read for Db {
    fn view(&self) -> View<'_> {
        View { inner: self.handle.look(), keyspace: KeyspaceId::DEFAULT, seq: None }
    }
}

/// The data of a moment, kept for as long as any clone of this is held.
///
/// The methods of [`Read`] read the default keyspace; [`keyspace`](Snapshot::keyspace) gives the
/// others. Old versions of what is overwritten meanwhile stay on disk, so do not hold one for long.
#[derive(Clone)]
pub struct Snapshot {
    handle: Handle,
    keyspace: KeyspaceId,
    /// What the keyspaces were called at that moment.
    state: Arc<State>,
    pin: Arc<Pin>,
}

#[derive(Debug)]
enum Pin {
    Slot(SnapshotSlot),
    /// Nothing changes under a database that is open for reading only.
    ReadOnly(Seq),
}

impl Snapshot {
    /// The sequence that the snapshot sees: every write up to it, and none behind it.
    #[must_use]
    pub fn seq(&self) -> Seq {
        match &*self.pin {
            Pin::Slot(slot) => slot.seq(),
            Pin::ReadOnly(seq) => *seq,
        }
    }

    /// The same moment of another keyspace.
    ///
    /// # Errors
    /// Kind `InvalidArgument` if there was none of this name at that moment; `Closed` if it was
    /// dropped since, whatever has its name now.
    pub fn keyspace(&self, name: &str) -> Result<Snapshot> {
        self.handle.look().check_open()?;
        let Some(keyspace) = self.state.version.keyspace(name) else {
            return Err(Error::invalid(format!("there was no keyspace {name:?}")));
        };
        match self.handle.look().super_versions.load().version.tree(keyspace) {
            Some(_) => Ok(Snapshot { keyspace, ..self.clone() }),
            None => Err(Error::keyspace_dropped()),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keyspace = self.state.version.tree(self.keyspace).map_or("", |tree| tree.name());
        f.debug_struct("Snapshot")
            .field("dir", &self.handle.look().dir)
            .field("keyspace", &keyspace)
            .field("seq", &self.seq().get())
            .finish()
    }
}

impl Read for Snapshot {
    fn view(&self) -> View<'_> {
        View { inner: self.handle.look(), keyspace: self.keyspace, seq: Some(self.seq()) }
    }
}
