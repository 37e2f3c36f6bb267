//! The way from the root to where the next node goes: the writer's own notes.
//!
//! After an insert behind all others the way is kept as the right edge of the tree, so that
//! ascending keys never search. A search for any other key forgets it, since the insert that
//! follows may rotate the edge.
//!
//! Invariant: every node of a way is part of the tree, never one that a rotation replaced.

use crate::arena::{Link, PrivateSlot, Slot, Space};
use crate::node::{Node, Side};
use crate::sync::Private;

/// An AVL tree of 2^32 nodes has fewer than 1.45 * 32 levels.
const MAX_HEIGHT: usize = 48;

/// Nodes from the root downwards, and the side that was taken at each.
pub(super) struct Path {
    nodes: [PrivateSlot; MAX_HEIGHT],
    /// Bit `depth` is set where the right side was taken.
    sides: Private,
    len: Private,
    /// Whether the nodes are those of the right edge, all of them.
    is_edge: Private,
}

impl Path {
    /// Begins at the root.
    pub(super) fn restart(&self) -> PathDraft<'_> {
        self.is_edge.set(0);
        PathDraft { path: self, sides: 0, len: 0 }
    }

    /// Goes along the right edge, unless that is where the path is.
    pub(super) fn along_right_edge(&self, space: Space<'_>, root: Link<'_>) {
        if self.is_right_edge() {
            return;
        }
        let mut draft = self.restart();
        let mut next = root.get();
        while let Some(slot) = next {
            draft.push(slot, Side::Right);
            next = Node::new(space, slot).child(Side::Right).get();
        }
        draft.finish();
    }

    pub(super) fn is_right_edge(&self) -> bool {
        self.is_edge.get() == 1
    }

    /// How many nodes lead to the place.
    pub(super) fn len(&self) -> usize {
        self.len.get() as usize
    }

    /// The node at `depth`, and the side that was taken there.
    pub(super) fn at<'a>(&self, space: Space<'a>, depth: usize) -> (Node<'a>, Side) {
        let slot = self.nodes[depth].get().expect("a path has nodes up to its length");
        (Node::new(space, slot), Side::right_if(self.sides.get() >> depth & 1 == 1))
    }

    /// Takes a new last node in, after the node at depth `rotated` left the edge for the left.
    pub(super) fn extend_right_edge(&self, rotated: Option<usize>, leaf: Slot) {
        let mut len = self.len();
        if let Some(depth) = rotated {
            for below in depth + 1..len {
                let slot = self.nodes[below].get().expect("a path has nodes up to its length");
                self.nodes[below - 1].set(slot);
            }
            len -= 1;
        }
        self.nodes[len].set(leaf);
        self.len.set(len as u64 + 1);
        self.sides.set(all_right(len + 1));
    }
}

impl Default for Path {
    fn default() -> Path {
        Path {
            nodes: [const { PrivateSlot::NONE }; MAX_HEIGHT],
            sides: Private::default(),
            len: Private::default(),
            is_edge: Private::default(),
        }
    }
}

/// A path in the making.
pub(super) struct PathDraft<'p> {
    path: &'p Path,
    sides: u64,
    len: usize,
}

impl PathDraft<'_> {
    #[inline(always)]
    pub(super) fn push(&mut self, node: Slot, side: Side) {
        self.path.nodes[self.len].set(node);
        self.sides |= (side as u64) << self.len;
        self.len += 1;
    }

    pub(super) fn finish(self) {
        self.path.sides.set(self.sides);
        self.path.len.set(self.len as u64);
        self.path.is_edge.set(u64::from(self.sides == all_right(self.len)));
    }
}

fn all_right(len: usize) -> u64 {
    (1 << len) - 1
}
