//! The memtable: entries in memory, sorted, written by one and read by many.
//!
//! An insert of a new key takes these steps, in this order, so that nothing is visible before all
//! that it leads to is: bits of the filter; key entry with its first version; list; tree. A new
//! version of a key that is there is one store: the head of the key's versions.
//!
//! A reader that loaded the sequence up to which writes are published, by an `Acquire` load that
//! pairs with the `Release` store after the inserts, finds every entry up to that sequence. What
//! it meets beyond is newer, and it skips that by the sequence it reads at.

use std::fmt;
use std::sync::Arc;

use lsm_base::batch::MAX_VALUE_LEN;
use lsm_base::key::MAX_KEY_LEN;
use lsm_base::{Kind, Seq};

use crate::arena::{Arena, ArenaFull, ArenaWriter, Space};
use crate::bloom::Filter;
use crate::cursor::MemtableCursor;
use crate::key_entry::{KeyEntry, key_entry_len};
use crate::list::List;
use crate::node::NODE_LEN;
use crate::sync::Private;
use crate::tree::{Place, ROTATION_LEN, Tree};
use crate::version::version_len;

/// Fewer keys than this say little about the keys to come.
const MIN_KEYS_FOR_PREFIX: u64 = 16;

/// A sorted table in memory.
pub struct Memtable {
    arena: Arc<Arena>,
    tree: Tree,
    list: List,
    filter: Filter,
    keys: Private,
    versions: Private,
}

/// What a look-up found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// When it was written.
    pub seq: Seq,
    /// What was done to the key.
    pub kind: Kind,
    /// The value, empty for a tombstone.
    pub value: &'a [u8],
}

impl Memtable {
    /// An empty memtable that takes its memory from `arena`.
    ///
    /// Most keys are expected to begin with `common_prefix`, which searches then skip: a hint that
    /// makes no difference but in speed. [`Memtable::common_prefix`] of the table before is a good
    /// one.
    #[must_use]
    pub fn new(arena: &Arc<Arena>, common_prefix: &[u8]) -> Memtable {
        Memtable {
            arena: Arc::clone(arena),
            tree: Tree::new(common_prefix),
            list: List::default(),
            filter: Filter::default(),
            keys: Private::default(),
            versions: Private::default(),
        }
    }

    /// The most that an insert takes from the arena, in bytes, rebalancing included.
    ///
    /// If the bounds of a group of inserts sum up to no more than [`ArenaWriter::remaining`], none
    /// of them fails.
    #[must_use]
    pub const fn insert_bound(key_len: usize, value_len: usize) -> usize {
        key_entry_len(key_len, value_len).saturating_add(NODE_LEN + ROTATION_LEN)
    }

    /// Adds an entry. `hash` is [`hash_user_key`](lsm_base::key::hash_user_key) of `key`.
    ///
    /// # Errors
    /// [`ArenaFull`] if the arena has less room than [`Memtable::insert_bound`] for a new key, or
    /// than the version takes for a key that is there. The memtable is as it was.
    ///
    /// # Panics
    /// If `writer` belongs to another arena, if `key` is longer than [`MAX_KEY_LEN`] or `value`
    /// than [`MAX_VALUE_LEN`], or if the key has an entry whose sequence is `seq` or newer: each
    /// is a mistake of the caller's that would damage data.
    pub fn insert(
        &self,
        writer: &mut ArenaWriter,
        key: &[u8],
        hash: u64,
        seq: Seq,
        kind: Kind,
        value: &[u8],
    ) -> Result<(), ArenaFull> {
        assert!(Arc::ptr_eq(&self.arena, writer.arena()), "the writer is of another arena");
        assert!(key.len() <= MAX_KEY_LEN, "a key of {} bytes", key.len());
        assert!(value.len() <= MAX_VALUE_LEN, "a value of {} bytes", value.len());
        let space = self.space();
        let target = self.tree.target(key);
        match self.tree.locate(space, target) {
            Place::Taken(entry) => {
                let entry = KeyEntry::new(space, entry);
                let newest = entry.newest().seq();
                assert!(newest < seq, "the key has {newest:?} already, and {seq:?} is not newer");
                writer.check_room(version_len(value.len()))?;
                entry.push(writer, seq, kind, value);
            }
            Place::Free(before, after) => {
                writer.check_room(Memtable::insert_bound(key.len(), value.len()))?;
                self.filter.add(hash);
                let entry = KeyEntry::create(writer, key, seq, kind, value);
                self.list.link(space, before, entry, after);
                self.tree.attach(writer, space, target, entry);
                self.keys.set(self.keys.get() + 1);
            }
        }
        self.versions.set(self.versions.get() + 1);
        Ok(())
    }

    /// The newest entry of `key` whose sequence is `seq` or older. `hash` is
    /// [`hash_user_key`](lsm_base::key::hash_user_key) of `key`.
    #[must_use]
    #[inline]
    pub fn get(&self, key: &[u8], hash: u64, seq: Seq) -> Option<Entry<'_>> {
        let version = self.find(key, hash)?.version_at(seq)?;
        let (seq, kind) = version.seq_and_kind();
        Some(Entry { seq, kind, value: version.value() })
    }

    /// A cursor over all entries, every version included.
    ///
    /// It sees entries that are inserted while it stands: each motion goes to the nearest entry at
    /// that moment.
    #[must_use]
    pub fn cursor(self: &Arc<Memtable>) -> MemtableCursor {
        MemtableCursor::new(Arc::clone(self))
    }

    /// How many entries there are: versions, tombstones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.versions.get() as usize
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory of its filter, in bytes; it is no part of the arena.
    #[must_use]
    pub fn filter_memory(&self) -> usize {
        self.filter.memory()
    }

    /// What all keys begin with, as a hint for the memtable that comes next.
    ///
    /// With fewer than 16 keys it is the hint that this memtable was given.
    #[must_use]
    pub fn common_prefix(&self) -> Vec<u8> {
        let space = self.space();
        if self.keys.get() < MIN_KEYS_FOR_PREFIX {
            return self.tree.common_prefix().to_vec();
        }
        let first = self.list.first(space).map_or(&[][..], KeyEntry::key);
        let last = self.list.last(space).map_or(&[][..], KeyEntry::key);
        first.iter().zip(last).take_while(|(a, b)| a == b).map(|(&byte, _)| byte).collect()
    }

    #[inline]
    fn find(&self, key: &[u8], hash: u64) -> Option<KeyEntry<'_>> {
        match self.filter.may_contain(hash) {
            true => self.tree.find(self.space(), self.tree.target(key)),
            false => None,
        }
    }

    #[inline]
    pub(crate) fn space(&self) -> Space<'_> {
        self.arena.space()
    }

    pub(crate) fn list(&self) -> &List {
        &self.list
    }

    /// Asks for the memory of the `count` entries behind `entry`, before they are needed.
    pub(crate) fn prefetch_behind(&self, entry: KeyEntry<'_>, count: u32) {
        self.tree.prefetch_behind(self.space(), self.tree.target(entry.key()), count);
    }

    /// The last entry whose key is `key` or before it, and the first whose key is behind.
    ///
    /// They are neighbours at one moment: asked for one after the other they need not be, for an
    /// entry on the near side of `key` may come between.
    pub(crate) fn around(&self, key: &[u8]) -> (Option<KeyEntry<'_>>, Option<KeyEntry<'_>>) {
        let space = self.space();
        let mut floor = self.tree.floor(space, self.tree.target(key));
        // The tree may lag behind the list, by what is inserted during the search.
        loop {
            let next = self.list.after(space, floor);
            if next.is_none_or(|next| next.compare(key).is_gt()) {
                return (floor, next);
            }
            floor = next;
        }
    }
}

impl fmt::Debug for Memtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memtable").field("len", &self.len()).field("arena", &self.arena).finish()
    }
}

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;
