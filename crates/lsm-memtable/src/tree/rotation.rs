//! Relativistic rotations: the node that moves down is copied, and links change from the bottom up.
//!
//! Single, with `x` too heavy on its left (or the mirror image):
//!
//! ```text
//!       |              |              |             1. x' := copy of x, with B for y
//!       x              x              y             2. y.right := x'
//!      / \            / \            / \            3. the link to x := y
//!     y   C    =>    y   C    =>    A   x'
//!    / \            / \                / \          A reader still on x finds y, whose right
//!   A   B          A   x'             B   C         side now leads to everything above y.
//!                     / \
//!                    B   C
//! ```
//!
//! Double, with the inner grandchild `z` too heavy: both `y` and `x` move down, so both are copied.
//!
//! ```text
//!       |              |              |             1. y' := copy of y, with Z1 for z
//!       x              x              z                x' := copy of x, with Z2 for y
//!      / \            / \           /   \           2. z.left := y'
//!     y   C    =>    y   C    =>   y'    x'         3. z.right := x'
//!    / \            / \           / \   / \         4. the link to x := z
//!   A   z          A   z         A  Z1 Z2  C
//!      / \            / \
//!     Z1 Z2          y'  x'
//! ```
//!
//! Invariant: after each store every key is reachable from the root, and from every node from
//! which it was reachable before. Nodes that stay in the tree only gain keys below them, and the
//! replaced ones keep their links for ever: readers on them lose nothing, and a search takes at
//! most a few more steps. Each store is a `Release`, so that a reader that came by a new link
//! finds the links below it at least as new.

use lsm_base::plant::{self, Plant};

use crate::arena::{ArenaWriter, Link, Space};
use crate::node::{NODE_LEN, Node, NodeParts, Side};

/// The most that a rotation takes from the arena.
pub(crate) const ROTATION_LEN: usize = 2 * NODE_LEN;

/// Rotates `x`, whose subtree on `heavy` is two levels higher than the other. `above` leads to it.
///
/// Requires: room for [`ROTATION_LEN`] bytes in the arena.
pub(super) fn rotate(
    writer: &mut ArenaWriter,
    space: Space<'_>,
    x: Node<'_>,
    heavy: Side,
    above: Link<'_>,
) {
    let y = child(space, x, heavy);
    match y.balance() == heavy.weight() {
        true => rotate_single(writer, x, y, heavy, above),
        false => rotate_double(writer, space, x, y, heavy, above),
    }
}

fn rotate_single(writer: &mut ArenaWriter, x: Node<'_>, y: Node<'_>, heavy: Side, above: Link<'_>) {
    let inner = y.child(heavy.opposite());
    let mut x_parts = NodeParts { balance: 0, ..x.parts() };
    x_parts.children[heavy as usize] = inner.get();
    let x_copy = Node::create(writer, &x_parts);
    y.set_balance(0);
    if plant::is_live(Plant::RotatedTopDown) {
        above.set(Some(y.slot()));
        inner.set(Some(x_copy));
        return;
    }
    inner.set(Some(x_copy));
    above.set(Some(y.slot()));
}

fn rotate_double(
    writer: &mut ArenaWriter,
    space: Space<'_>,
    x: Node<'_>,
    y: Node<'_>,
    heavy: Side,
    above: Link<'_>,
) {
    let light = heavy.opposite();
    let z = child(space, y, light);
    // The subtrees of z go to y and x; the one that gets the lower of the two leans the other way.
    let lean = z.balance();
    let x_balance = if lean == heavy.weight() { light.weight() } else { 0 };
    let y_balance = if lean == light.weight() { heavy.weight() } else { 0 };
    let mut y_parts = NodeParts { balance: y_balance, ..y.parts() };
    y_parts.children[light as usize] = z.child(heavy).get();
    let mut x_parts = NodeParts { balance: x_balance, ..x.parts() };
    x_parts.children[heavy as usize] = z.child(light).get();
    let y_copy = Node::create(writer, &y_parts);
    let x_copy = Node::create(writer, &x_parts);
    z.set_balance(0);
    z.child(heavy).set(Some(y_copy));
    z.child(light).set(Some(x_copy));
    above.set(Some(z.slot()));
}

fn child<'a>(space: Space<'a>, node: Node<'a>, side: Side) -> Node<'a> {
    let slot = node.child(side).get().expect("the heavy side has a child");
    Node::new(space, slot)
}
