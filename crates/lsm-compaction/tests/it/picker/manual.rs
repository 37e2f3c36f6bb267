//! What is done of a compaction that a caller asked for.

use expect_test::{Expect, expect};
use lsm_base::Seq;
use lsm_compaction::picker::{ManualCompaction, ManualStep};

use crate::drawn_tree::DrawnTree;

fn manual(before_number: u64) -> ManualCompaction {
    ManualCompaction {
        start: Some((*b"c").into()),
        end: Some((*b"m").into()),
        up_to_seq: Seq::MAX,
        before_number,
    }
}

fn check_manual(drawing: &str, request: &ManualCompaction, expected: &Expect) {
    let drawn = DrawnTree::new(drawing);
    let picker = drawn.picker();
    let debt = picker.manual_debt(request) >> 20;
    let text = match picker.pick_manual(request) {
        ManualStep::Run(compaction) => {
            let gain = picker.manual_gain(request, &compaction) >> 20;
            format!("{compaction:?}: {gain} of {debt} MiB")
        }
        ManualStep::Wait => format!("wait: {debt} MiB"),
        ManualStep::Done => format!("done: {debt} MiB"),
    };
    expected.assert_eq(&text);
}

#[test]
fn a_manual_compaction_begins_at_the_top() {
    check_manual(
        "L0 9:[a-d] 8:[x-z]
         L5 5:[a-z]
         L6 1:[a-z]/300M",
        &manual(100),
        &expect!["Manual: merge L0 [9] with L5 [5] into L5 above [1]: 10 of 330 MiB"],
    );
}

#[test]
fn a_manual_compaction_goes_level_by_level_in_pieces() {
    check_manual(
        "L5 3:[a-b]/100M 4:[c-d]/100M 5:[e-f]/100M 6:[g-h]/100M
         L6 1:[a-z]/1M",
        &manual(100),
        &expect!["Manual: merge L5 [4, 5] with L6 [1] into L6: 201 of 301 MiB"],
    );
}

#[test]
fn a_manual_compaction_writes_the_last_level_once() {
    let drawing = "L6 1:[a-b] 2:[c-d] 3:[e-f] 4:[g-h] 5:[x-z]";
    check_manual(drawing, &manual(4), &expect!["Manual: merge L6 [2, 3] into L6: 20 of 20 MiB"]);
    check_manual(drawing, &manual(2), &expect!["done: 0 MiB"]);
}

#[test]
fn a_manual_compaction_leaves_newer_writes_alone_and_waits_for_what_runs() {
    let drawing = "L0 9:[c-d]/@50-60
                   L6 1:[a-z]/@1-20";
    let request = ManualCompaction { up_to_seq: Seq::new(49), ..manual(1) };
    check_manual(drawing, &request, &expect!["done: 0 MiB"]);
    let running = "L5 5:[a-z]
                   L6 1:[a-z]
                   running L5->L6 5 1";
    check_manual(running, &manual(100), &expect!["wait: 20 MiB"]);
}

#[test]
fn what_a_manual_compaction_moves_down_is_written_anew_in_the_last_level() {
    check_manual(
        "L5 5:[d-e]/20M",
        &manual(100),
        &expect!["Manual: move L5 [5] into L6: 0 of 20 MiB"],
    );
    check_manual(
        "L6 5:[d-e]/20M",
        &manual(100),
        &expect!["Manual: merge L6 [5] into L6: 20 of 20 MiB"],
    );
}

#[test]
fn the_debt_of_a_manual_compaction_counts_each_level_to_go() {
    let debt = |drawing| {
        let drawn = DrawnTree::new(drawing);
        drawn.picker().manual_debt(&manual(100)) >> 20
    };
    assert_eq!(debt("L0 9:[d-e]"), 10);
    // The base level is the fifth, or the fourth.
    assert_eq!(debt("L0 9:[d-e]\nL6 1:[x-z]/300M"), 20);
    assert_eq!(debt("L0 9:[d-e]\nL4 1:[x-z]"), 30);
    assert_eq!(debt("L4 9:[d-e]"), 20);
    assert_eq!(debt("L5 9:[d-e]"), 10);
}

#[test]
fn a_piece_of_a_manual_compaction_counts_what_it_overlaps() {
    // Each brings 160 MiB along with itself, of 250.
    check_manual(
        "L5 4:[c-d]/100M 5:[e-f]/100M
         L6 1:[c-d]/60M 2:[e-f]/60M",
        &manual(100),
        &expect!["Manual: merge L5 [4] with L6 [1] into L6: 160 of 320 MiB"],
    );
    // In the last level a table overlaps itself alone.
    check_manual(
        "L6 4:[c-d]/100M 5:[e-f]/100M 6:[g-h]/100M",
        &manual(100),
        &expect!["Manual: merge L6 [4, 5] into L6: 200 of 300 MiB"],
    );
}
