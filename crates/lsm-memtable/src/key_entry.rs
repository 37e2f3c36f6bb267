//! Key entries: a key, its place in the list of all keys, and the head of its versions.
//!
//! ```text
//! | next (4) | prev (4) | newest version (4) | key length (2) | - (2) | key | - | oldest version |
//!   links                                      plain                            see version.rs
//! ```
//!
//! The key is padded to whole units. The first version ever written of a key stands behind it, so
//! that a key with one version is one record.

use std::cmp::Ordering;

use lsm_base::{Kind, Seq};

use crate::arena::{ArenaWriter, Link, Slot, Space, UNIT};
use crate::version::{Version, VersionParts, version_len};

const NEXT: usize = 0;
const PREV: usize = 4;
const NEWEST: usize = 8;
const KEY_LEN: usize = 12;
const KEY: usize = 16;

/// Bytes that a key entry with one version takes in the arena.
pub(crate) const fn key_entry_len(key_len: usize, value_len: usize) -> usize {
    oldest_at(key_len).saturating_add(version_len(value_len))
}

/// Where the oldest version begins in the record.
const fn oldest_at(key_len: usize) -> usize {
    key_len.saturating_add(KEY + UNIT - 1) / UNIT * UNIT
}

/// A key with its versions.
#[derive(Clone, Copy)]
pub(crate) struct KeyEntry<'a> {
    space: Space<'a>,
    slot: Slot,
}

impl<'a> KeyEntry<'a> {
    #[inline(always)]
    pub(crate) fn new(space: Space<'a>, slot: Slot) -> KeyEntry<'a> {
        KeyEntry { space, slot }
    }

    /// Makes an entry with its first version, which no reader knows of yet.
    ///
    /// Requires: room for [`key_entry_len`] bytes in the arena.
    pub(crate) fn create(
        writer: &mut ArenaWriter,
        key: &[u8],
        seq: Seq,
        kind: Kind,
        value: &[u8],
    ) -> Slot {
        let key_len = u16::try_from(key.len()).expect("the length of a key was checked");
        let oldest = oldest_at(key.len());
        let mut draft = writer.draft_low(key_entry_len(key.len(), value.len()));
        draft.put(KEY_LEN, &key_len.to_ne_bytes());
        draft.put(KEY, key);
        VersionParts::first(seq, kind, value).write(&mut draft, oldest);
        let newest = draft.part(oldest);
        draft.link(NEWEST).prepare(Some(newest));
        draft.finish()
    }

    #[inline(always)]
    pub(crate) fn slot(self) -> Slot {
        self.slot
    }

    #[inline(always)]
    pub(crate) fn key(self) -> &'a [u8] {
        let len = u16::from_ne_bytes(self.space.array(self.slot, KEY_LEN));
        self.space.bytes(self.slot, KEY, usize::from(len))
    }

    /// Where this entry stands against `key`.
    #[inline]
    pub(crate) fn compare(self, key: &[u8]) -> Ordering {
        lsm_base::key::compare_user_keys(self.key(), key)
    }

    #[inline(always)]
    pub(crate) fn next(self) -> Link<'a> {
        self.space.link(self.slot, NEXT)
    }

    #[inline(always)]
    pub(crate) fn prev(self) -> Link<'a> {
        self.space.link(self.slot, PREV)
    }

    #[inline(always)]
    pub(crate) fn newest(self) -> Version<'a> {
        let newest = self.newest_link().get().expect("an entry has a version before it is linked");
        Version::new(self.space, newest)
    }

    pub(crate) fn oldest(self) -> Version<'a> {
        Version::new(self.space, self.slot.part(oldest_at(self.key().len())))
    }

    /// The newest version that a reader at `seq` sees.
    #[inline]
    pub(crate) fn version_at(self, seq: Seq) -> Option<Version<'a>> {
        self.newest().at_or_before(seq)
    }

    /// Publishes one more version, newer than all before.
    ///
    /// Requires: room for [`version_len`] bytes in the arena.
    pub(crate) fn push(self, writer: &mut ArenaWriter, seq: Seq, kind: Kind, value: &[u8]) {
        let parts = VersionParts::above(self.newest(), seq, kind, value);
        let mut draft = writer.draft_low(version_len(value.len()));
        parts.write(&mut draft, 0);
        self.newest_link().set(Some(draft.finish()));
    }

    fn newest_link(self) -> Link<'a> {
        self.space.link(self.slot, NEWEST)
    }
}
