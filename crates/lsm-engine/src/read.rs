//! Reads: the same methods for a database, a keyspace and a snapshot.
//!
//! A point read pins the SuperVersion, loads the visible sequence, and asks memtables, then
//! tables, newest data first; the first hit ends it.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use lsm_base::{KeyspaceId, Kind, Seq, key};
use lsm_memtable::Entry as MemtableEntry;
use lsm_sstable::{CursorMode, Resident, TableEntry};

use crate::db_cursor::DbCursor;
use crate::error::{Error, Result};
use crate::inner::Inner;
use crate::scan::{KeyBounds, Scan, key_bounds, prefix_bounds};
use crate::source::Source;
use crate::super_version::SuperVersion;
use crate::sync::Guard;
use crate::value::{Entry, Value};

/// What can be read: a database (its default keyspace), a keyspace, or a snapshot of one.
///
/// Every method sees all writes that were acknowledged before it was called, or, on a snapshot,
/// those that were visible when it was taken.
///
/// # Errors
/// All methods answer kind `Closed` after the database was closed or the keyspace dropped, and
/// `Io`, `Corruption` or `MissingFile` where a table cannot be read. A key of a forbidden length
/// is simply absent.
pub trait Read {
    /// What is read; for the methods below.
    fn view(&self) -> View<'_>;

    /// The value of `key`.
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        Ok(self.get_entry(key)?.map(|entry| entry.value))
    }

    /// The value of `key` and the sequence of the write that stored it.
    fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.view().get_entry(key.as_ref())
    }

    /// Like [`get_entry`](Read::get_entry), as far as that is possible without reading the disk:
    /// from memtables, from filters that say no, and from blocks that were read before. For callers
    /// that must not wait, such as the thread of an event loop.
    fn try_get_resident(&self, key: impl AsRef<[u8]>) -> Result<Resident<Option<Entry>>> {
        let view = self.view();
        view.pin()?.get_resident(view.inner, key.as_ref())
    }

    /// Calls `take` with the value of `key` where it lies; nothing is copied or pinned.
    ///
    /// Do not call the store inside.
    fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        self.view().get_with(key.as_ref(), take)
    }

    /// Whether `key` has a value.
    fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get_with(key, |_| ())?.is_some())
    }

    /// The values of `keys`, in their order, all as of one moment.
    fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        let entries = self.get_entries(keys)?;
        Ok(entries.into_iter().map(|entry| entry.map(|entry| entry.value)).collect())
    }

    /// The entries of `keys`, in their order, all as of one moment.
    fn get_entries<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Entry>>> {
        let view = self.view();
        let pinned = view.pin()?;
        keys.iter().map(|key| pinned.get_entry(view.inner, key.as_ref())).collect()
    }

    /// The entries whose keys lie in `range`, in key order, from either end.
    ///
    /// ```
    /// # use lsm_engine::{Db, Read, Result};
    /// # fn demo(db: &Db) -> Result<()> {
    /// for entry in db.scan("a".."m") {
    ///     let (key, value) = entry?;
    ///     println!("{} = {value:?}", key.escape_ascii());
    /// }
    /// # Ok(()) }
    /// ```
    fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Scan {
        self.view().scan(key_bounds(&range))
    }

    /// The entries whose keys begin with `prefix`, in key order, from either end.
    fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.view().scan(prefix_bounds(prefix.as_ref()))
    }

    /// A cursor over all entries.
    fn cursor(&self) -> Result<DbCursor> {
        self.view().cursor((Bound::Unbounded, Bound::Unbounded))
    }

    /// A cursor over the entries whose keys lie in `range`.
    fn cursor_in<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<DbCursor> {
        self.view().cursor(key_bounds(&range))
    }
}

/// A keyspace of a database, as of now or as of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) keyspace: KeyspaceId,
    /// Unset is "now".
    pub(crate) seq: Option<Seq>,
}

/// A view with its SuperVersion.
struct Pinned {
    super_version: Guard<Arc<SuperVersion>>,
    keyspace: KeyspaceId,
    seq: Seq,
}

impl View<'_> {
    fn pin(&self) -> Result<Pinned> {
        self.pinned(self.inner.super_versions.pin(|| self.look())?)
    }

    /// Like [`pin`](Self::pin), for those who tell their sequence.
    fn pin_exactly(&self) -> Result<Pinned> {
        match self.seq {
            // A snapshot's is nothing that may come too late.
            Some(_) => self.pin(),
            None => self.pinned(self.inner.super_versions.pin_exactly(|| self.look())?),
        }
    }

    /// The sequence to read at.
    #[inline]
    fn look(&self) -> Result<Seq> {
        // Behind the pin: whoever pinned what the close left, which lacks the memtables, sees the
        // close.
        self.inner.check_open()?;
        Ok(self.seq.unwrap_or_else(|| self.inner.visible()))
    }

    #[inline]
    fn pinned(&self, (super_version, seq): (Guard<Arc<SuperVersion>>, Seq)) -> Result<Pinned> {
        if super_version.version.tree(self.keyspace).is_none() {
            return Err(Error::keyspace_dropped());
        }
        Ok(Pinned { super_version, keyspace: self.keyspace, seq })
    }

    fn get_entry(&self, user_key: &[u8]) -> Result<Option<Entry>> {
        self.pin()?.get_entry(self.inner, user_key)
    }

    fn get_with<R>(&self, user_key: &[u8], take: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        self.pin()?.get_with(self.inner, user_key, take)
    }

    fn scan(&self, bounds: KeyBounds) -> Scan {
        Scan::new(self.cursor(bounds))
    }

    fn cursor(&self, bounds: KeyBounds) -> Result<DbCursor> {
        let Pinned { super_version, keyspace, seq } = self.pin_exactly()?;
        let super_version = Guard::into_inner(super_version);
        let inner = Arc::clone(self.inner);
        inner.metrics.cursors.add(1);
        Ok(DbCursor::new(inner, super_version, keyspace, seq, bounds))
    }
}

impl Pinned {
    fn get_entry(&self, inner: &Inner, user_key: &[u8]) -> Result<Option<Entry>> {
        inner.metrics.gets.add(1);
        let hash = key::hash_user_key(user_key);
        if let Some(found) = self.find_in_memory(user_key, hash) {
            return Ok(memtable_entry(found));
        }
        let Some(tree) = self.super_version.version.tree(self.keyspace) else { return Ok(None) };
        let found = tree.get(user_key, hash, self.seq, &inner.metrics.filters);
        Ok(found.map_err(|error| inner.note_read_error(error.into()))?.and_then(table_entry))
    }

    fn get_resident(&self, inner: &Inner, user_key: &[u8]) -> Result<Resident<Option<Entry>>> {
        let hash = key::hash_user_key(user_key);
        if let Some(found) = self.find_in_memory(user_key, hash) {
            inner.metrics.gets.add(1);
            return Ok(Resident::Known(memtable_entry(found)));
        }
        let Some(tree) = self.super_version.version.tree(self.keyspace) else {
            return Ok(Resident::Known(None));
        };
        match tree.get_resident(user_key, hash, self.seq, &inner.metrics.filters) {
            Ok(Resident::Known(found)) => {
                inner.metrics.gets.add(1);
                Ok(Resident::Known(found.and_then(table_entry)))
            }
            Ok(Resident::WouldTouchDisk) => Ok(Resident::WouldTouchDisk),
            Err(error) => Err(inner.note_read_error(error.into())),
        }
    }

    fn get_with<R>(
        &self,
        inner: &Inner,
        user_key: &[u8],
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        inner.metrics.gets.add(1);
        let hash = key::hash_user_key(user_key);
        if let Some(found) = self.find_in_memory(user_key, hash) {
            return Ok((found.kind == Kind::Put).then(|| take(found.value)));
        }
        let Some(tree) = self.super_version.version.tree(self.keyspace) else { return Ok(None) };
        let mut take = Some(take);
        let filters = &inner.metrics.filters;
        let found = tree.get_with(user_key, hash, self.seq, filters, |_, kind, value| match kind {
            Kind::Put => take.take().map(|take| take(value)),
            Kind::Delete => None,
        });
        Ok(found.map_err(|error| inner.note_read_error(error.into()))?.flatten())
    }

    fn find_in_memory(&self, user_key: &[u8], hash: u64) -> Option<MemtableEntry<'_>> {
        let mut memtables =
            self.super_version.generations().filter_map(|view| view.memtable(self.keyspace));
        memtables.find_map(|memtable| memtable.get(user_key, hash, self.seq))
    }
}

fn memtable_entry(found: MemtableEntry<'_>) -> Option<Entry> {
    let entry = || Entry { value: Value::copied(found.value), seq: found.seq };
    (found.kind == Kind::Put).then(entry)
}

fn table_entry(found: TableEntry) -> Option<Entry> {
    let TableEntry { seq, kind, value } = found;
    (kind == Kind::Put).then(|| Entry { value: Value::from_table(value), seq })
}

/// A cursor for everything that a SuperVersion has of a keyspace.
pub(crate) fn sources(super_version: &SuperVersion, keyspace: KeyspaceId) -> Vec<Source> {
    let memtables = super_version.generations().filter_map(|view| view.memtable(keyspace));
    let mut sources: Vec<_> =
        memtables.map(|memtable| Source::Memtable(memtable.cursor())).collect();
    if let Some(tree) = super_version.version.tree(keyspace) {
        sources.extend(tree.sources(CursorMode::Read));
    }
    sources
}
