//! Where a flush goes.

use crate::drawn_tree::{DrawnTree, range};

#[test]
fn a_flush_goes_as_deep_as_nothing_is_in_its_way() {
    let level = |drawing: &str, keys: &str| {
        let drawn = DrawnTree::new(drawing);
        drawn.picker().flush_level(&range(keys))
    };
    assert_eq!(level("", "a-z"), 6);
    let tree = "L0 9:[a-b]
                L4 8:[c-d]/40M 7:[m-n]
                L5 6:[e-f]
                L6 1:[a-k]/900M";
    assert_eq!(level(tree, "b-b"), 0, "L0 overlaps");
    assert_eq!(level(tree, "d-e"), 0, "L4 overlaps, and above the base nothing is to stand");
    assert_eq!(level(tree, "e-e"), 4);
    assert_eq!(level(tree, "g-h"), 5);
    assert_eq!(level(tree, "o-p"), 6);
    assert_eq!(level(tree, "a-p"), 0);
}

#[test]
fn a_flush_keeps_away_from_what_runs() {
    let tree = "L5 4:[a-c] 5:[g-i]
                L6 1:[a-i]/30M 2:[k-k] 3:[p-q]
                running L5->L6 4 5 1";
    let drawn = DrawnTree::new(tree);
    assert_eq!(drawn.picker().flush_level(&range("d-e")), 0, "in the hull");
    assert_eq!(drawn.picker().flush_level(&range("k-k")), 5);
    assert_eq!(drawn.picker().flush_level(&range("l-m")), 6);
}

#[test]
fn a_flush_is_confirmed_where_it_was_foreseen_or_goes_to_level_zero() {
    let confirm = |drawing: &str, foreseen: usize| {
        let drawn = DrawnTree::new(drawing);
        drawn.picker().confirm_flush_level(foreseen, &range("d-e"))
    };
    assert_eq!(confirm("", 6), 6);
    assert_eq!(confirm("L6 1:[a-z]", 5), 5);
    assert_eq!(confirm("L6 1:[a-c]", 5), 5, "never deeper than foreseen");
    assert_eq!(confirm("L5 1:[a-z]", 5), 0);
    assert_eq!(confirm("L0 1:[a-z]", 5), 0);
    assert_eq!(confirm("L4 1:[a-z]", 5), 0, "never below what is older");
    let running = "L4 4:[a-c] 5:[f-g]
                   L5 1:[h-i]
                   running L4->L5 4 5";
    assert_eq!(confirm(running, 6), 0);
    assert_eq!(confirm(running, 3), 3, "above all that runs");
}
