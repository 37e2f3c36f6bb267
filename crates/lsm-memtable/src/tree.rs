//! The index: an AVL tree over the key entries, with one writer and readers that never block.
//!
//! A search compares prefixes: the eight bytes of a key that follow the common prefix of the data,
//! as a number. Keys that lack the common prefix sort in front of all others (0) or behind them
//! (`u64::MAX`), so the number never contradicts the key order, and on a tie the keys decide.
//!
//! Rotations are relativistic (Howard and Walpole, "Relativistic red-black trees", 2013; see
//! `tree/rotation.rs`). What follows from them, for a reader that first learns by an `Acquire`
//! load that entries up to some sequence are inserted, and then searches:
//!
//! - every such key is found: the subtree below any node that the reader stands on never loses a
//!   key that was there when it arrived;
//! - a key inserted meanwhile may be missed, and carries a newer sequence than the reader's.
//!
//! Invariant: between inserts the heights of any node's subtrees differ by at most one, and the
//! tree holds exactly the entries of the list.

use std::cmp::Ordering;

use lsm_base::key::key_prefix;

use crate::arena::{ArenaWriter, Link, LinkCell, PrivateSlot, Slot, Space};
use crate::key_entry::KeyEntry;
use crate::node::{Node, NodeParts, Side};
use crate::sync::Private;

mod ahead;
#[cfg(all(test, not(loom)))]
pub(crate) mod check;
mod path;
mod rotation;

use path::Path;
pub(crate) use rotation::ROTATION_LEN;

/// An AVL tree of nodes in an arena.
pub(crate) struct Tree {
    root: LinkCell,
    common_prefix: Box<[u8]>,
    writer: WriterState,
}

/// What the writer knows about the tree, on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct WriterState {
    /// The way that the last [`Tree::locate`] took.
    path: Path,
    /// The entry of the last key, and its prefix.
    last: PrivateSlot,
    last_prefix: Private,
}

/// A key that is looked for, with its prefix.
#[derive(Clone, Copy)]
pub(crate) struct Target<'k> {
    key: &'k [u8],
    prefix: u64,
}

/// Where a key belongs.
pub(crate) enum Place {
    /// The tree has it, with this entry.
    Taken(Slot),
    /// It comes between these entries, or in front of all, or behind.
    Free(Option<Slot>, Option<Slot>),
}

impl Tree {
    pub(crate) fn new(common_prefix: &[u8]) -> Tree {
        Tree {
            root: LinkCell::default(),
            common_prefix: common_prefix.into(),
            writer: WriterState::default(),
        }
    }

    pub(crate) fn common_prefix(&self) -> &[u8] {
        &self.common_prefix
    }

    /// `key`, ready for any number of searches.
    #[inline]
    pub(crate) fn target<'k>(&self, key: &'k [u8]) -> Target<'k> {
        let common = &*self.common_prefix;
        // The case is not left to `strip_prefix`: where libc compares by masked vector loads, the
        // empty slice's dangling address costs some hundred nanoseconds of fault suppression.
        if common.is_empty() {
            return Target { key, prefix: key_prefix(key) };
        }
        let prefix = match key.strip_prefix(common) {
            Some(rest) => key_prefix(rest),
            None if key < common => 0,
            None => u64::MAX,
        };
        Target { key, prefix }
    }

    /// The entry of a key.
    #[inline]
    pub(crate) fn find<'a>(&self, space: Space<'a>, target: Target<'_>) -> Option<KeyEntry<'a>> {
        let mut next = self.root.link().get();
        while let Some(slot) = next {
            let node = Node::new(space, slot);
            match target.side_of(node) {
                Ok(side) => next = node.child(side).get(),
                Err(entry) => return Some(entry),
            }
        }
        None
    }

    /// The last entry at or before a key.
    ///
    /// Entries that are inserted during the search may be missed or not; see [`Tree`].
    #[inline]
    pub(crate) fn floor<'a>(&self, space: Space<'a>, target: Target<'_>) -> Option<KeyEntry<'a>> {
        let mut floor = None;
        let mut next = self.root.link().get();
        while let Some(slot) = next {
            let node = Node::new(space, slot);
            match target.side_of(node) {
                Ok(side) => {
                    if side == Side::Right {
                        floor = Some(node);
                    }
                    next = node.child(side).get();
                }
                Err(entry) => return Some(entry),
            }
        }
        floor.map(Node::entry)
    }

    /// Where a key belongs, and for [`Tree::attach`] the way there.
    /// Requires: the caller is the writer.
    pub(crate) fn locate(&self, space: Space<'_>, target: Target<'_>) -> Place {
        if self.is_behind_all(space, target) {
            self.writer.path.along_right_edge(space, self.root.link());
            return Place::Free(self.writer.last.get(), None);
        }
        // The last turns to either side were taken at the neighbours.
        let mut neighbours = [None; 2];
        let mut next = self.root.link().get();
        let mut path = self.writer.path.restart();
        while let Some(slot) = next {
            let node = Node::new(space, slot);
            match target.side_of(node) {
                Ok(side) => {
                    path.push(slot, side);
                    neighbours[side as usize] = Some(slot);
                    next = node.child(side).get();
                }
                Err(entry) => return Place::Taken(entry.slot()),
            }
        }
        path.finish();
        let [after, before] =
            neighbours.map(|slot| slot.map(|slot| Node::new(space, slot).entry().slot()));
        Place::Free(before, after)
    }

    /// Adds a node for an entry that the list already has, where [`Tree::locate`] just found the
    /// place free, and restores the balance.
    ///
    /// Requires: room for three nodes in the arena, of which a rotation takes up to two.
    pub(crate) fn attach(
        &self,
        writer: &mut ArenaWriter,
        space: Space<'_>,
        target: Target<'_>,
        entry: Slot,
    ) {
        let path = &self.writer.path;
        let parts = NodeParts { prefix: target.prefix, entry, children: [None, None], balance: 0 };
        let leaf = Node::create(writer, &parts);
        self.link_at(space, path.len()).set(Some(leaf));
        let mut removed = None;
        for depth in (0..path.len()).rev() {
            let (node, side) = path.at(space, depth);
            if node.balance() == 0 {
                // The subtree grew by one level, so its parent is next.
                node.set_balance(side.weight());
                continue;
            }
            if node.balance() == side.weight() {
                rotation::rotate(writer, space, node, side, self.link_at(space, depth));
                removed = Some(depth);
            } else {
                node.set_balance(0);
            }
            break;
        }
        if path.is_right_edge() {
            self.writer.last.set(entry);
            self.writer.last_prefix.set(target.prefix);
            path.extend_right_edge(removed, leaf);
        }
    }

    /// The link to the node at `depth` of the path: the root, or the child of the node above.
    fn link_at<'a>(&'a self, space: Space<'a>, depth: usize) -> Link<'a> {
        match depth.checked_sub(1) {
            Some(above) => {
                let (node, side) = self.writer.path.at(space, above);
                node.child(side)
            }
            None => self.root.link(),
        }
    }

    /// Whether there are keys, and this one comes behind them.
    fn is_behind_all(&self, space: Space<'_>, target: Target<'_>) -> bool {
        let Some(last) = self.writer.last.get() else { return false };
        match self.writer.last_prefix.get().cmp(&target.prefix) {
            Ordering::Equal => KeyEntry::new(space, last).compare(target.key).is_lt(),
            order => order.is_lt(),
        }
    }
}

impl Target<'_> {
    /// In which subtree of `node` the key belongs, or the entry of `node` if it is the key's.
    #[inline(always)]
    fn side_of<'a>(self, node: Node<'a>) -> Result<Side, KeyEntry<'a>> {
        let prefix = node.prefix();
        if prefix != self.prefix {
            return Ok(Side::right_if(prefix < self.prefix));
        }
        let entry = node.entry();
        entry.prefetch();
        match entry.compare(self.key) {
            Ordering::Equal => Err(entry),
            order => Ok(Side::right_if(order == Ordering::Less)),
        }
    }
}
