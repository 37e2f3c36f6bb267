//! Prefetching along the key order: the index knows the entries that a cursor will come to.
//!
//! This only hints. Beside a writer a walk may meet an entry twice or miss one.

use super::{Target, Tree};
use crate::arena::{Slot, Space};
use crate::node::{Node, Side};

/// More levels than these a walk does not remember; a tree of 2^20 keys has at most 28.
const MAX_LEVELS: usize = 40;

impl Tree {
    /// Asks for the memory of the `count` entries behind a key.
    pub(crate) fn prefetch_behind(&self, space: Space<'_>, target: Target<'_>, count: u32) {
        let mut ahead = Ahead { space, stack: [None; MAX_LEVELS], len: 0 };
        let mut next = self.root.link().get();
        while let Some(slot) = next {
            let node = Node::new(space, slot);
            let side = target.side_of(node).unwrap_or(Side::Right);
            if side == Side::Left {
                ahead.push(slot);
            }
            next = node.child(side).get();
        }
        for _ in 0..count {
            let Some(node) = ahead.pop() else { return };
            node.entry().prefetch();
            ahead.push_left_edge(node.child(Side::Right).get());
        }
    }
}

/// Nodes whose entries lie ahead, the nearest last.
struct Ahead<'a> {
    space: Space<'a>,
    stack: [Option<Slot>; MAX_LEVELS],
    len: usize,
}

impl<'a> Ahead<'a> {
    fn push_left_edge(&mut self, mut next: Option<Slot>) {
        while let Some(slot) = next {
            let node = Node::new(self.space, slot);
            node.prefetch_children();
            self.push(slot);
            next = node.child(Side::Left).get();
        }
    }

    fn push(&mut self, slot: Slot) {
        if let Some(place) = self.stack.get_mut(self.len) {
            *place = Some(slot);
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Option<Node<'a>> {
        self.len = self.len.checked_sub(1)?;
        self.stack[self.len].map(|slot| Node::new(self.space, slot))
    }
}
