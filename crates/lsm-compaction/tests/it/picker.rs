//! What is picked from which tree. The drawings are the specification.

use expect_test::{Expect, expect};
use lsm_base::Seq;

use crate::drawn_tree::DrawnTree;

mod flush;
mod manual;

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
fn a_compaction_may_read_as_much_as_its_limit() {
    // 6 to 8 have the 250 MiB that it may read.
    check(
        "L0 9:[a-z]/1M 8:[a-z]/50M 7:[a-z]/100M 6:[a-z]/100M
         L6 1:[a-z]",
        &expect![[r#"
            LevelZero: merge L0 [8, 7, 6] with L6 [1] into L6
        "#]],
    );
    // 2 and 3 have as much, to be written anew.
    check(
        "L6 2:[c-d]/150M/mark 3:[e-f]/100M/mark 4:[g-h]/1M/mark",
        &expect![[r#"
        Recompression: merge L6 [2, 3] into L6
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
fn of_equal_tables_the_first_goes_first() {
    check(
        "L5 4:[a-c]/30M 5:[d-f]/30M
         L6 1:[a-c]/60M 2:[d-f]/60M",
        &expect![[r#"
            LevelSize: merge L5 [4] with L6 [1] into L6
        "#]],
    );
}

#[test]
fn tables_that_would_bring_others_or_too_much_stay() {
    // 5 overlaps what 4 does, and 2 besides.
    check(
        "L5 4:[a-c]/30M 5:[e-h]/20M
         L6 1:[b-g]/20M 2:[h-j]/50M",
        &expect![[r#"
            LevelSize: merge L5 [4] with L6 [1] into L6
        "#]],
    );
    // Together with 1 they have 250 MiB, or one more.
    check(
        "L5 4:[a-c]/100M 5:[e-f]/99M
         L6 1:[b-g]/51M",
        &expect![[r#"
            LevelSize: merge L5 [4, 5] with L6 [1] into L6
        "#]],
    );
    check(
        "L5 4:[a-c]/100M 5:[e-f]/100M
         L6 1:[b-g]/51M",
        &expect![[r#"
            LevelSize: merge L5 [4] with L6 [1] into L6
        "#]],
    );
}

#[test]
fn tombstones_count_for_the_bytes_that_they_hide() {
    // 5 counts for 28 MiB. To merge it costs 1.43 times as much, or 1.61.
    check(
        "L5 4:[a-c]/20M 5:[d-f]/20M/t40
         L6 1:[a-c]/30M 2:[d-f]/40M",
        &expect![[r#"
            LevelSize: merge L5 [5] with L6 [2] into L6
        "#]],
    );
    check(
        "L5 4:[a-c]/20M 5:[d-f]/20M/t40
         L6 1:[a-c]/30M 2:[d-f]/45M",
        &expect![[r#"
            LevelSize: merge L5 [4] with L6 [1] into L6
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
    // From a level above they go down whoever needs them.
    let mut drawn = DrawnTree::new("L5 3:[a-c]/t60\nL6 1:[a-c]/100M");
    drawn.oldest_snapshot = Seq::new(19);
    expect![[r#"
        Tombstones: merge L5 [3] with L6 [1] into L6
    "#]]
    .assert_eq(&drawn.picks());
}

#[test]
fn small_neighbours_of_the_last_level_become_one() {
    let small = |count: usize, size: &str| {
        let keys = ('a'..='z').take(count).enumerate();
        let tables = keys.map(|(at, key)| format!("{}:[{key}-{key}]/{size}", at + 1));
        format!("L6 {}", tables.collect::<Vec<_>>().join(" "))
    };
    check(&small(7, "1M"), &expect![[r#""#]]);
    check(
        &small(8, "1M"),
        &expect![[r#"
            SmallTables: merge L6 [1, 2, 3, 4, 5, 6, 7, 8] into L6
        "#]],
    );
    // As large as an eighth of a table they stay, and so does what is in a level above.
    check(&small(8, "2M"), &expect![[r#""#]]);
    check(&small(8, "1280K"), &expect![[r#""#]]);
    check(
        &small(8, "1279K"),
        &expect![[r#"
        SmallTables: merge L6 [1, 2, 3, 4, 5, 6, 7, 8] into L6
    "#]],
    );
    let above = small(8, "1M").replace("L6", "L5");
    check(&format!("{above}\nL6 30:[a-z]/100M"), &expect![[r#""#]]);
    // One that was merged before waits until as much came beside it again.
    let grown = small(20, "64K").replace("3:[c-c]/64K", "3:[c-c]/512K");
    check(
        &grown,
        &expect![[r#"
            SmallTables: merge L6 [1, 2, 3, 4, 5, 6, 7, 8, 9] into L6
            SmallTables: merge L6 [10, 11, 12, 13, 14, 15, 16, 17] into L6
        "#]],
    );
    // Not over one that is large, nor over one that is being read.
    let parted = small(20, "1M").replace("5:[e-e]/1M", "5:[e-e]/9M");
    check(
        &format!("{parted}\nL5 30:[l-l]\nrunning L5->L6 30 12"),
        &expect![[r#"
            SmallTables: merge L6 [13, 14, 15, 16, 17, 18, 19, 20] into L6
        "#]],
    );
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
fn a_level_is_idle_unless_something_runs_into_it_or_out_of_it() {
    // Of the tables with the keys [a-b] the one of this level waits for recompression.
    let drawing = |level: usize| {
        let mark = |of: usize| if of == level { "/mark" } else { "" };
        format!(
            "L3 1:[a-b]{}
             L4 2:[a-b]{} 4:[m-n]
             L5 3:[a-b]{} 6:[m-n]
             L6 5:[a-b]{} 7:[x-z]/9000M
             running L4->L5 4 6",
            mark(3),
            mark(4),
            mark(5),
            mark(6),
        )
    };
    check(
        &drawing(3),
        &expect![[r#"
        Recompression: merge L3 [1] into L3 above [2]
    "#]],
    );
    check(&drawing(4), &expect![[r#""#]]);
    check(&drawing(5), &expect![[r#""#]]);
    check(
        &drawing(6),
        &expect![[r#"
        Recompression: merge L6 [5] into L6
    "#]],
    );
}

#[test]
fn the_base_level_is_never_above_the_first() {
    let mut drawn = DrawnTree::new("L6 1:[a-z]/40M");
    (drawn.options.base_bytes, drawn.options.multiplier) = (1, 2);
    assert_eq!(drawn.picker().targets().base, 1);
}
