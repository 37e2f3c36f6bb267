//! What is picked from which tree. The drawings are the specification.

use expect_test::{Expect, expect};
use lsm_base::Seq;
use lsm_compaction::picker::{ManualCompaction, ManualStep};

use crate::drawn_tree::{DrawnTree, range};

fn check(drawing: &str, expected: &Expect) {
    expected.assert_eq(&DrawnTree::new(drawing).picks());
}

fn check_scores(drawing: &str, expected: &Expect) {
    expected.assert_eq(&DrawnTree::new(drawing).scores());
}

#[test]
fn an_empty_tree_has_the_last_level_as_its_base() {
    check_scores(
        "",
        &expect![[r#"
        base L6
        L0 0 of 40 MiB, fill 0.00, score 0.00
        L6 0 of 40 MiB, fill 0.00, score 0.00
    "#]],
    );
    check("", &expect![[r#""#]]);
}

#[test]
fn the_base_level_rises_as_the_tree_grows() {
    check_scores(
        "L6 1:[a-z]/40M",
        &expect![[r#"
        base L6
        L0 0 of 40 MiB, fill 0.00, score 0.00
        L6 40 of 40 MiB, fill 1.00, score 0.00
    "#]],
    );
    check_scores(
        "L6 1:[a-z]/100M",
        &expect![[r#"
        base L5
        L0 0 of 40 MiB, fill 0.00, score 0.00
        L5 0 of 40 MiB, fill 0.00, score 0.00
        L6 100 of 90 MiB, fill 1.00, score 0.00
    "#]],
    );
    check_scores(
        "L6 1:[a-z]/1000M",
        &expect![[r#"
        base L4
        L0 0 of 40 MiB, fill 0.00, score 0.00
        L4 0 of 40 MiB, fill 0.00, score 0.00
        L5 0 of 189 MiB, fill 0.00, score 0.00
        L6 1000 of 900 MiB, fill 1.00, score 0.00
    "#]],
    );
    check_scores(
        "L6 1:[a-z]/10000M",
        &expect![[r#"
        base L3
        L0 0 of 40 MiB, fill 0.00, score 0.00
        L3 0 of 40 MiB, fill 0.00, score 0.00
        L4 0 of 243 MiB, fill 0.00, score 0.00
        L5 0 of 1479 MiB, fill 0.00, score 0.00
        L6 10000 of 8999 MiB, fill 1.00, score 0.00
    "#]],
    );
}

#[test]
fn level_zero_does_not_enlarge_the_levels_that_take_it_in() {
    check_scores(
        "L0 9:[a-z]/900M 8:[a-z]/900M
         L6 1:[a-z]/30M",
        &expect![[r#"
            base L6
            L0 1800 of 40 MiB, fill 45.00, score 60.00
            L6 30 of 40 MiB, fill 0.75, score 0.00
        "#]],
    );
}

#[test]
fn data_above_the_ideal_base_is_drained() {
    // So much for L3 was due when the tree was larger.
    check_scores(
        "L3 3:[a-c]/20M
         L6 1:[a-z]/100M",
        &expect![[r#"
            base L3
            L0 0 of 40 MiB, fill 0.00, score 0.00
            L3 20 of 0 MiB, fill 50.00, score 5000.00
            L4 0 of 4 MiB, fill 0.00, score 0.00
            L5 0 of 40 MiB, fill 0.00, score 0.00
            L6 100 of 108 MiB, fill 0.93, score 0.00
        "#]],
    );
    check(
        "L3 3:[a-c]/20M
         L6 1:[a-z]/100M",
        &expect![[r#"
            LevelSize: move L3 [3] into L4
        "#]],
    );
}

#[test]
fn level_zero_is_full_by_count() {
    check(
        "L0 9:[a-m] 8:[c-z] 7:[a-z]
         L6 1:[a-z]",
        &expect![[r#""#]],
    );
    check(
        "L0 9:[a-m] 8:[c-z] 7:[a-z] 6:[d-f]
         L6 1:[a-b] 2:[c-g] 3:[h-z]",
        &expect![[r#"
            LevelZero: merge L0 [9, 8, 7, 6] with L6 [1, 2, 3] into L6
        "#]],
    );
}

#[test]
fn level_zero_is_full_by_bytes() {
    check(
        "L0 9:[a-m]/20M 8:[c-z]/20M
         L6 1:[a-z]",
        &expect![[r#"
            LevelZero: merge L0 [9, 8] with L6 [1] into L6
        "#]],
    );
}

#[test]
fn level_zero_goes_into_the_base_level_and_is_cut_at_the_next() {
    check(
        "L0 9:[a-m] 8:[c-k] 7:[a-h] 6:[d-f]
         L5 4:[a-c] 5:[n-o]
         L6 1:[a-b]/100M 2:[c-g]/100M 3:[h-z]/100M",
        &expect![[r#"
            LevelZero: merge L0 [9, 8, 7, 6] with L5 [4] into L5 above [1, 2, 3]
        "#]],
    );
}

#[test]
fn older_tables_of_level_zero_come_along_and_strangers_stay() {
    // 6 is the oldest; 7 overlaps it, 9 overlaps 7; 8 and 5 share no key with these.
    check(
        "L0 9:[k-m] 8:[x-z] 5:[p-q] 7:[f-k] 6:[d-f]
         L6 1:[a-z]",
        &expect![[r#"
            LevelZero: merge L0 [9, 7, 6] with L6 [1] into L6
        "#]],
    );
}

#[test]
fn a_newer_table_of_level_zero_brings_the_older_ones_that_it_overlaps() {
    // 9 joins the oldest, 6, with 7, which alone 6 does not touch.
    check(
        "L0 9:[c-m] 8:[x-z] 7:[k-p] 6:[a-d]
         L6 1:[a-z]",
        &expect![[r#"
            LevelZero: merge L0 [9, 7, 6] with L6 [1] into L6
        "#]],
    );
}

#[test]
fn a_deep_level_zero_is_merged_in_pieces_from_the_oldest() {
    check(
        "L0 9:[a-z]/100M 8:[a-z]/100M 7:[a-z]/100M 6:[a-z]/100M
         L6 1:[a-z]",
        &expect![[r#"
            LevelZero: merge L0 [7, 6] with L6 [1] into L6
        "#]],
    );
}

#[test]
fn nothing_older_is_left_behind_by_level_zero_while_it_is_merged() {
    // 9 overlaps 6, which is being merged, and must wait, as must what overlaps 9. 8 and 7 need not.
    check(
        "L0 12:[c-c] 11:[b-b] 10:[a-a] 9:[a-c] 8:[m-p] 7:[n-q] 6:[a-b]
         L6 1:[a-d]
         running L0->L6 6 1",
        &expect![[r#"
            LevelZero: merge L0 [8, 7] into L6
        "#]],
    );
}

#[test]
fn a_single_table_that_overlaps_nothing_is_moved() {
    check(
        "L0 9:[a-c] 8:[d-f] 7:[g-i] 6:[k-m]
         L6 1:[n-z]",
        &expect![[r#"
            LevelZero: move L0 [6] into L6
        "#]],
    );
}

#[test]
fn a_move_above_too_many_grandparent_bytes_is_a_merge() {
    let drawing = |bytes: u64| {
        format!(
            "L0 9:[q-q] 8:[r-r] 7:[s-s] 6:[a-m]
             L5 5:[t-u]
             L6 1:[a-c]/{bytes}M 2:[d-f]/50M 3:[v-z]/100M"
        )
    };
    check(
        &drawing(50),
        &expect![[r#"
        LevelZero: move L0 [6] into L5 above [1, 2]
    "#]],
    );
    check(
        &drawing(51),
        &expect![[r#"
        LevelZero: merge L0 [6] into L5 above [1, 2]
    "#]],
    );
}

#[test]
fn the_table_with_the_least_overlap_for_its_size_goes_first() {
    check(
        "L5 4:[a-c]/30M 5:[d-f]/10M 6:[g-i]/20M
         L6 1:[a-c]/60M 2:[d-e]/30M 3:[g-i]/30M",
        &expect![[r#"
            LevelSize: merge L5 [6] with L6 [3] into L6
            LevelSize: merge L5 [4] with L6 [1] into L6
        "#]],
    );
}

#[test]
fn tables_that_cost_only_themselves_come_along() {
    check(
        "L5 4:[a-c]/21M 5:[e-f]/20M 6:[h-i]/1M
         L6 1:[b-g]/20M 2:[i-j]/10M",
        &expect![[r#"
            LevelSize: merge L5 [4, 5] with L6 [1] into L6
        "#]],
    );
}

#[test]
fn tombstones_go_first_within_a_level() {
    check(
        "L5 4:[a-c]/20M 5:[d-f]/20M/t50 6:[g-i]/20M
         L6 1:[a-a]/1M 2:[d-f]/50M",
        &expect![[r#"
            LevelSize: merge L5 [5] with L6 [2] into L6
            LevelSize: move L5 [6] into L6
        "#]],
    );
}

#[test]
fn the_fuller_next_level_goes_before_the_level_above() {
    // L4 is full, but L5 is fuller.
    check_scores(
        "L4 9:[a-z]/250M
         L5 5:[a-z]/1700M
         L6 1:[a-z]/5000M",
        &expect![[r#"
            base L3
            L0 0 of 40 MiB, fill 0.00, score 0.00
            L3 0 of 40 MiB, fill 0.00, score 0.00
            L4 250 of 215 MiB, fill 1.16, score 0.79
            L5 1700 of 1161 MiB, fill 1.46, score 1.83
            L6 5000 of 6254 MiB, fill 0.80, score 0.00
        "#]],
    );
    check(
        "L4 9:[a-z]/250M
         L5 5:[a-z]/1700M
         L6 1:[a-z]/5000M",
        &expect![[r#"
            LevelSize: merge L5 [5] with L6 [1] into L6
        "#]],
    );
}

#[test]
fn bytes_on_their_way_down_count_where_they_arrive() {
    check_scores(
        "L4 8:[a-m]/30M 9:[n-z]/30M
         L5 5:[a-m]/200M
         L6 1:[a-z]/5000M
         running L4->L5 8 5",
        &expect![[r#"
            base L3
            L0 0 of 40 MiB, fill 0.00, score 0.00
            L3 0 of 40 MiB, fill 0.00, score 0.00
            L4 30 of 196 MiB, fill 0.15, score 0.64
            L5 230 of 964 MiB, fill 0.24, score 0.24
            L6 5000 of 4734 MiB, fill 1.00, score 0.00
        "#]],
    );
}

#[test]
fn what_runs_keeps_others_from_its_tables_and_its_hull() {
    // 9 overlaps 4, which is being merged into L6; 8 lies in the hull of that merge, [a-p].
    check(
        "L4 9:[c-d]/90M 8:[k-m]/90M 7:[q-r]/90M
         L5 4:[a-c]/30M 5:[s-t]/30M
         L6 1:[a-p]/5000M
         running L5->L6 4 1",
        &expect![[r#"
            LevelSize: move L4 [7] into L5
        "#]],
    );
}

#[test]
fn levels_that_do_not_touch_are_merged_at_once() {
    check(
        "L3 9:[a-d]/300M
         L4 8:[a-c]/60M
         L5 5:[b-d]/900M
         L6 1:[a-d]/50000M
         running L5->L6 5 1",
        &expect![[r#"
            LevelSize: merge L3 [9] with L4 [8] into L4 above [5]
        "#]],
    );
}

#[test]
fn dense_tables_sink_when_no_level_is_full() {
    check(
        "L5 4:[a-c]/t49 5:[d-f]/t50
         L6 1:[a-c]/100M 2:[d-f]/100M",
        &expect![[r#"
            Tombstones: merge L5 [5] with L6 [2] into L6
        "#]],
    );
}

#[test]
fn tombstones_of_the_last_level_go_when_no_snapshot_needs_them() {
    let drawing = "L6 1:[a-c]/t60/@10-20 2:[d-f]/t60/@10-30";
    let mut drawn = DrawnTree::new(drawing);
    drawn.oldest_snapshot = Seq::new(20);
    expect![[r#"
        Tombstones: merge L6 [1] into L6
    "#]]
    .assert_eq(&drawn.picks());
    let mut drawn = DrawnTree::new(drawing);
    drawn.oldest_snapshot = Seq::new(19);
    expect![[r#""#]].assert_eq(&drawn.picks());
}

#[test]
fn marked_neighbours_are_written_anew_when_their_level_is_idle() {
    check(
        "L6 1:[a-b] 2:[c-d]/mark 3:[e-f]/mark 4:[g-h] 5:[i-j]/mark",
        &expect![[r#"
        Recompression: merge L6 [2, 3] into L6
    "#]],
    );
    check(
        "L5 7:[x-x] 8:[y-y]
         L6 2:[c-d]/mark 5:[x-z]
         running L5->L6 7 5",
        &expect![[r#""#]],
    );
}

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
