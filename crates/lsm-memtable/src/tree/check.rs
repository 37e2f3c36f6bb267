//! The invariants of the tree and the list, checked from end to end.

use super::Tree;
use crate::arena::{Slot, Space};
use crate::key_entry::KeyEntry;
use crate::list::List;
use crate::node::{Node, Side};

/// Checks order, heights, balances, prefixes and threading; returns how many keys there are.
pub(crate) fn check(tree: &Tree, list: &List, space: Space<'_>) -> usize {
    let mut in_order = Vec::new();
    subtree(tree, space, tree.root.link().get(), &mut in_order);
    let mut threaded = Vec::new();
    let mut entry = list.first(space);
    while let Some(current) = entry {
        let before = list.before(space, current).map(KeyEntry::slot);
        assert_eq!(before, threaded.last().copied(), "prev leads to the entry before");
        assert_eq!(current.prev().get(), before, "between inserts the hint is exact");
        threaded.push(current.slot());
        entry = list.after(space, Some(current));
    }
    assert_eq!(in_order, threaded, "the tree holds the entries of the list, in order");
    assert_eq!(list.last(space).map(KeyEntry::slot), threaded.last().copied());
    let keys: Vec<_> = threaded.iter().map(|&slot| KeyEntry::new(space, slot).key()).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "keys ascend");
    check_edge(tree, space);
    keys.len()
}

/// Appends the entries below `slot` in order; returns the height.
fn subtree(tree: &Tree, space: Space<'_>, slot: Option<Slot>, in_order: &mut Vec<Slot>) -> i32 {
    let Some(slot) = slot else { return 0 };
    let node = Node::new(space, slot);
    let left = subtree(tree, space, node.child(Side::Left).get(), in_order);
    assert_eq!(node.prefix(), tree.target(node.entry().key()).prefix);
    in_order.push(node.entry().slot());
    let right = subtree(tree, space, node.child(Side::Right).get(), in_order);
    assert!((right - left).abs() <= 1, "heights {left} and {right}");
    assert_eq!(node.balance(), right - left);
    1 + left.max(right)
}

/// If the writer believes that its path is the right edge, it is.
fn check_edge(tree: &Tree, space: Space<'_>) {
    let path = &tree.writer.path;
    if !path.is_right_edge() {
        return;
    }
    let mut next = tree.root.link().get();
    for depth in 0..path.len() {
        let (node, side) = path.at(space, depth);
        assert_eq!((Some(node.slot()), side), (next, Side::Right));
        next = node.child(Side::Right).get();
    }
    assert_eq!(next, None);
}
