//! The list of all key entries, in key order: what cursors walk, so that no rotation disturbs them.
//!
//! An entry is linked in three steps: its own links, then its predecessor's `next`, then its
//! successor's `prev`. From the second step on it belongs to the list, so `next` is the truth and
//! `prev` a hint that may be one insert behind: going back means following `prev` and then walking
//! forward until the next entry is the one we came from. Nothing is ever unlinked.

use crate::arena::{Link, LinkCell, Slot, Space};
use crate::key_entry::KeyEntry;

/// The two ends of the list.
#[derive(Default)]
pub(crate) struct List {
    first: LinkCell,
    last: LinkCell,
}

impl List {
    /// Links `entry` between its neighbours. Requires: the caller is the writer.
    ///
    /// Both neighbours are only stored to: most often their memory is far away, and a store does
    /// not wait for it.
    pub(crate) fn link(
        &self,
        space: Space<'_>,
        before: Option<Slot>,
        entry: Slot,
        after: Option<Slot>,
    ) {
        let new = KeyEntry::new(space, entry);
        new.next().prepare(after);
        new.prev().prepare(before);
        self.next_link(before.map(|slot| KeyEntry::new(space, slot))).set(Some(entry));
        match after {
            Some(after) => KeyEntry::new(space, after).prev().set(Some(entry)),
            None => self.last.link().set(Some(entry)),
        }
    }

    pub(crate) fn first<'a>(&self, space: Space<'a>) -> Option<KeyEntry<'a>> {
        self.after(space, None)
    }

    pub(crate) fn last<'a>(&self, space: Space<'a>) -> Option<KeyEntry<'a>> {
        self.walk_until(space, self.last.link().get(), None)
    }

    /// The entry behind `entry`, or the first.
    #[inline]
    pub(crate) fn after<'a>(
        &self,
        space: Space<'a>,
        entry: Option<KeyEntry<'_>>,
    ) -> Option<KeyEntry<'a>> {
        self.next_link(entry).get().map(|slot| KeyEntry::new(space, slot))
    }

    /// The entry in front of `entry`.
    pub(crate) fn before<'a>(&self, space: Space<'a>, entry: KeyEntry<'_>) -> Option<KeyEntry<'a>> {
        self.walk_until(space, entry.prev().get(), Some(entry))
    }

    /// From `hint`, or the front, forward to the entry whose next one is `end`.
    fn walk_until<'a>(
        &self,
        space: Space<'a>,
        hint: Option<Slot>,
        end: Option<KeyEntry<'_>>,
    ) -> Option<KeyEntry<'a>> {
        let end = end.map(KeyEntry::slot);
        let mut entry = hint.map(|slot| KeyEntry::new(space, slot));
        loop {
            match self.next_link(entry).get() {
                next if next == end => return entry,
                Some(next) => entry = Some(KeyEntry::new(space, next)),
                // Coherence forbids it: `end` was reached over the list, so it is on it.
                None => return entry,
            }
        }
    }

    fn next_link<'a>(&'a self, entry: Option<KeyEntry<'a>>) -> Link<'a> {
        match entry {
            Some(entry) => entry.next(),
            None => self.first.link(),
        }
    }
}
