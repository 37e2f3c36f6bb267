//! Index nodes: what a search walks.
//!
//! ```text
//! | prefix (8) | left (4) | right (4) | key entry (4) | balance (4) |      24 bytes
//!   plain        links                  plain           atomic
//! ```
//!
//! The prefix decides almost every comparison, so that a search stays among nodes and touches a
//! key only where prefixes tie. The balance is the height of the right subtree less that of the
//! left one; only the writer reads it.
//!
//! Invariant: the links of a node change only while it is part of the tree. A node that a
//! rotation replaced by a copy keeps its last links for the readers that still stand on it.

use crate::arena::{ArenaWriter, Link, Slot, Space};
use crate::key_entry::KeyEntry;
use crate::sync::Ordering;

/// Bytes that a node takes in the arena.
pub(crate) const NODE_LEN: usize = 24;

const PREFIX: usize = 0;
const CHILDREN: usize = 8;
const ENTRY: usize = 16;
const BALANCE: usize = 20;

/// A node of the tree.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    space: Space<'a>,
    slot: Slot,
}

/// What a new node is made of.
pub(crate) struct NodeParts {
    pub(crate) prefix: u64,
    pub(crate) entry: Slot,
    /// Left, then right.
    pub(crate) children: [Option<Slot>; 2],
    pub(crate) balance: i32,
}

impl<'a> Node<'a> {
    pub(crate) fn new(space: Space<'a>, slot: Slot) -> Node<'a> {
        Node { space, slot }
    }

    /// Makes a node that no reader knows of yet.
    ///
    /// Requires: room for [`NODE_LEN`] bytes in the arena.
    pub(crate) fn create(writer: &mut ArenaWriter, parts: &NodeParts) -> Slot {
        let mut draft = writer.draft_high(NODE_LEN);
        draft.put(PREFIX, &parts.prefix.to_ne_bytes());
        draft.put_slot(ENTRY, Some(parts.entry));
        draft.link(CHILDREN).prepare(parts.children[0]);
        draft.link(CHILDREN + 4).prepare(parts.children[1]);
        // Relaxed: the writer's own.
        draft.atomic(BALANCE).store(parts.balance as u32, Ordering::Relaxed);
        draft.finish()
    }

    /// What a copy of this node is made of.
    pub(crate) fn parts(self) -> NodeParts {
        NodeParts {
            prefix: self.prefix(),
            entry: self.entry_slot(),
            children: [self.child(Side::Left).get(), self.child(Side::Right).get()],
            balance: self.balance(),
        }
    }

    #[inline(always)]
    pub(crate) fn slot(self) -> Slot {
        self.slot
    }

    #[inline(always)]
    pub(crate) fn prefix(self) -> u64 {
        u64::from_ne_bytes(self.space.array(self.slot, PREFIX))
    }

    #[inline(always)]
    pub(crate) fn child(self, side: Side) -> Link<'a> {
        self.space.link(self.slot, CHILDREN + 4 * side as usize)
    }

    #[inline(always)]
    pub(crate) fn entry(self) -> KeyEntry<'a> {
        KeyEntry::new(self.space, self.entry_slot())
    }

    /// Asks for the memory of both children before it is needed.
    #[inline(always)]
    pub(crate) fn prefetch_children(self) {
        for side in [Side::Left, Side::Right] {
            if let Some(child) = self.child(side).get() {
                self.space.prefetch(child, 0);
            }
        }
    }

    fn entry_slot(self) -> Slot {
        self.space.slot(self.slot, ENTRY).expect("every node has a key entry")
    }

    pub(crate) fn balance(self) -> i32 {
        // Relaxed, as below: the writer's own.
        self.space.atomic(self.slot, BALANCE).load(Ordering::Relaxed) as i32
    }

    pub(crate) fn set_balance(self, balance: i32) {
        self.space.atomic(self.slot, BALANCE).store(balance as u32, Ordering::Relaxed);
    }
}

/// One of the two subtrees of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Left = 0,
    Right = 1,
}

impl Side {
    /// Where a key goes that is above the node's, or is not.
    #[inline(always)]
    pub(crate) fn right_if(above: bool) -> Side {
        if above { Side::Right } else { Side::Left }
    }

    pub(crate) fn opposite(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }

    /// The balance of a node whose subtree on this side is one higher.
    pub(crate) fn weight(self) -> i32 {
        match self {
            Side::Left => -1,
            Side::Right => 1,
        }
    }
}
