//! The tables of one keyspace, level by level.
//!
//! ```text
//! L0   newest flush first; key ranges overlap                 [c......m]
//!                                                          [a.....k]
//! L1 … L6   each a sorted run: ascending, disjoint         [a..b] [d.......h] [j..z]
//!                                                          [a.......c] [d..f] [g..q] [r....z]
//! ```
//!
//! Invariants, checked for every table that enters:
//!
//! 1. below L0 the ranges of user keys are disjoint, ends included: the versions of a user key are
//!    never split between two tables of a level;
//! 2. tables of L0 that share user keys share no span of sequences, so that their order is an order
//!    of age; L0 is sorted by age;
//! 3. of a user key, everything in an upper level is newer than everything in a deeper one. Bounds
//!    tell this only for a user key that is a bound of both tables: there the sequences must agree.
//!
//! A look-up that goes from newest to oldest may therefore end at its first hit.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::item::Item;
use crate::key_range::KeyRange;
use crate::table_meta::{TableMeta, overlapping};
use crate::version::LEVELS;

/// The tables of one keyspace. Immutable; a clone shares the levels.
#[derive(Clone, PartialEq, Eq)]
pub struct Tree {
    name: Arc<str>,
    levels: [Arc<[Arc<TableMeta>]>; LEVELS],
    options: Arc<[Item]>,
}

impl Tree {
    /// A tree without tables for the keyspace of this name.
    #[must_use]
    pub fn new(name: &str) -> Tree {
        Tree::with_options(name, &[])
    }

    pub(crate) fn with_options(name: &str, options: &[Item]) -> Tree {
        let levels = std::array::from_fn(|_| Arc::from([]));
        Tree { name: name.into(), levels, options: options.into() }
    }

    /// The name of the keyspace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tables of a level: L0 newest first, the others by key.
    ///
    /// # Panics
    /// If there is no such level.
    #[must_use]
    pub fn level(&self, level: usize) -> &Arc<[Arc<TableMeta>]> {
        &self.levels[level]
    }

    /// The levels, L0 first.
    #[must_use]
    pub fn levels(&self) -> &[Arc<[Arc<TableMeta>]>; LEVELS] {
        &self.levels
    }

    /// Every table, upper levels first.
    pub fn tables(&self) -> impl Iterator<Item = (usize, &Arc<TableMeta>)> {
        let levels = self.levels.iter().enumerate();
        levels.flat_map(|(level, tables)| tables.iter().map(move |table| (level, table)))
    }

    /// The tables of a level that may hold a key of `range`, in the level's order.
    #[must_use]
    pub fn overlapping(&self, level: usize, range: &KeyRange) -> Vec<Arc<TableMeta>> {
        match level {
            0 => {
                let tables = self.levels[0].iter();
                tables.filter(|table| range.overlaps_table(table)).cloned().collect()
            }
            _ => overlapping(&self.levels[level], range.smallest(), range.largest()).to_vec(),
        }
    }

    /// Whether a table of the level may hold a key of `range`.
    #[must_use]
    pub fn overlaps(&self, level: usize, range: &KeyRange) -> bool {
        match level {
            0 => self.levels[0].iter().any(|table| range.overlaps_table(table)),
            _ => !overlapping(&self.levels[level], range.smallest(), range.largest()).is_empty(),
        }
    }

    /// Options of the keyspace that this build does not know.
    pub(crate) fn options(&self) -> &[Item] {
        &self.options
    }

    /// The tree without the tables of `deleted` and then with those of `added`.
    pub(crate) fn change(
        &self,
        deleted: &[(usize, u64)],
        added: &[(usize, Arc<TableMeta>)],
    ) -> Result<Tree, String> {
        let mut tree = self.clone();
        for level in 0..LEVELS {
            let leaving = deleted.iter().filter(|(from, _)| *from == level);
            let leaving: Vec<u64> = leaving.map(|(_, number)| *number).collect();
            let entering = added.iter().filter(|(to, _)| *to == level);
            let entering: Vec<_> = entering.map(|(_, table)| Arc::clone(table)).collect();
            if !leaving.is_empty() || !entering.is_empty() {
                tree.change_level(level, leaving, entering)?;
            }
        }
        for (level, table) in added {
            tree.check_ages(*level, table)?;
        }
        Ok(tree)
    }

    fn change_level(
        &mut self,
        level: usize,
        mut leaving: Vec<u64>,
        entering: Vec<Arc<TableMeta>>,
    ) -> Result<(), String> {
        leaving.sort_unstable();
        let before = &self.levels[level];
        let stays = |table: &&Arc<TableMeta>| leaving.binary_search(&table.number).is_err();
        let staying: Vec<_> = before.iter().filter(stays).cloned().collect();
        if staying.len() + leaving.len() != before.len() {
            return Err(stray(level, before, &leaving));
        }
        self.levels[level] = put_in(level, staying, entering)?.into();
        Ok(())
    }

    /// Checks a table that entered `level` against what it overlaps.
    fn check_ages(&self, level: usize, table: &Arc<TableMeta>) -> Result<(), String> {
        if level == 0 {
            for other in self.levels[0].iter().filter(|other| !Arc::ptr_eq(other, table)) {
                if table.overlaps(other)
                    && table.min_seq <= other.max_seq
                    && other.min_seq <= table.max_seq
                {
                    let (a, b) = (table.number, other.number);
                    return Err(format!("the ages of tables {a} and {b} of L0 are mingled"));
                }
            }
        }
        let range = KeyRange::new(table.bounds().0, table.bounds().1);
        for other_level in (0..LEVELS).filter(|other| *other != level) {
            for other in self.overlapping(other_level, &range) {
                let (upper, deeper) =
                    if level < other_level { (table, &other) } else { (&other, table) };
                check_order(upper, deeper)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Tree {
    /// A line for each table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, table) in self.tables() {
            writeln!(f, "L{level} {table:?}")?;
        }
        Ok(())
    }
}

/// Which of two tables stands first in a level: the newer one in L0, in others by key.
fn order_in(level: usize, a: &TableMeta, b: &TableMeta) -> Ordering {
    match level {
        0 => (b.max_seq, b.number).cmp(&(a.max_seq, a.number)),
        _ => a.smallest.cmp(&b.smallest),
    }
}

/// The tables of a level, in its order, with those that enter it.
///
/// Most of a large level stays as it is: only the places of those that enter are looked for, and
/// only what stands beside them is compared.
fn put_in(
    level: usize,
    mut staying: Vec<Arc<TableMeta>>,
    mut entering: Vec<Arc<TableMeta>>,
) -> Result<Vec<Arc<TableMeta>>, String> {
    entering.sort_by(|a, b| order_in(level, a, b));
    let mut tables = Vec::with_capacity(staying.len() + entering.len());
    let mut staying = staying.drain(..);
    let mut places = Vec::with_capacity(entering.len());
    for table in entering {
        let stands_before = |old: &Arc<TableMeta>| order_in(level, old, &table).is_lt();
        let count = staying.as_slice().partition_point(stands_before);
        tables.extend(staying.by_ref().take(count));
        places.push(tables.len());
        tables.push(table);
    }
    tables.extend(staying);
    if level != 0 {
        for place in places {
            let (start, end) = (place.saturating_sub(1), tables.len().min(place + 2));
            check_disjoint(level, &tables[start..end])?;
        }
    }
    Ok(tables)
}

/// Why tables cannot be deleted of which not every one is in the level, once.
#[cold]
fn stray(level: usize, tables: &[Arc<TableMeta>], leaving: &[u64]) -> String {
    let twice = leaving.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    let is_there = |number: &u64| tables.iter().any(|table| table.number == *number);
    match twice.or_else(|| leaving.iter().copied().find(|number| !is_there(number))) {
        Some(number) => format!("table {number} is not in L{level} to be deleted"),
        None => format!("a table is in L{level} twice"),
    }
}

fn check_disjoint(level: usize, tables: &[Arc<TableMeta>]) -> Result<(), String> {
    for pair in tables.windows(2) {
        if pair[1].smallest.user_key <= pair[0].largest.user_key {
            let (a, b) = (pair[0].number, pair[1].number);
            return Err(format!("tables {a} and {b} of L{level} overlap"));
        }
    }
    Ok(())
}

/// Checks that of the user keys at which both tables end, the upper one's versions are newer.
fn check_order(upper: &TableMeta, deeper: &TableMeta) -> Result<(), String> {
    for above in [&upper.smallest, &upper.largest] {
        for below in [&deeper.smallest, &deeper.largest] {
            if above.user_key == below.user_key && above.seq <= below.seq {
                let key = above.user_key.escape_ascii();
                let (a, b) = (upper.number, deeper.number);
                return Err(format!("`{key}` is older in table {a} than below it in table {b}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::table;

    fn add(tree: &Tree, tables: &[(usize, TableMeta)]) -> Result<Tree, String> {
        let added: Vec<_> = tables.iter().map(|(l, t)| (*l, Arc::new(t.clone()))).collect();
        tree.change(&[], &added)
    }

    fn numbers(tree: &Tree, level: usize) -> Vec<u64> {
        tree.level(level).iter().map(|table| table.number).collect()
    }

    #[test]
    fn level_zero_is_newest_first_and_the_others_by_key() {
        let tree = Tree::new("t");
        let tree = add(&tree, &[(0, table(1, "a", "m", 1, 5)), (0, table(2, "c", "z", 6, 9))]);
        let tree =
            add(&tree.unwrap(), &[(6, table(4, "n", "z", 1, 1)), (6, table(3, "b", "d", 2, 2))]);
        let tree = tree.unwrap();
        assert_eq!(numbers(&tree, 0), [2, 1]);
        assert_eq!(numbers(&tree, 6), [3, 4]);
    }

    #[test]
    fn a_user_key_is_never_split_within_a_level() {
        let pair = [(3, table(1, "a", "m", 5, 9)), (3, table(2, "m", "z", 1, 4))];
        assert_eq!(add(&Tree::new("t"), &pair), Err("tables 1 and 2 of L3 overlap".into()));
    }

    #[test]
    fn nothing_moves_below_what_is_older() {
        let tree = add(&Tree::new("t"), &[(2, table(1, "a", "m", 5, 9))]).unwrap();
        let error = add(&tree, &[(4, table(2, "m", "z", 10, 20))]).unwrap_err();
        assert_eq!(error, "`m` is older in table 1 than below it in table 2");
        assert!(add(&tree, &[(4, table(2, "m", "z", 1, 4))]).is_ok());
        assert!(add(&tree, &[(1, table(2, "m", "z", 1, 4))]).is_err());
    }

    #[test]
    fn flushes_of_level_zero_do_not_mingle_their_sequences() {
        let tree = add(&Tree::new("t"), &[(0, table(1, "a", "m", 5, 9))]).unwrap();
        assert!(add(&tree, &[(0, table(2, "c", "z", 9, 12))]).is_err());
        assert!(add(&tree, &[(0, table(2, "c", "z", 10, 12))]).is_ok());
        assert!(add(&tree, &[(0, table(2, "n", "z", 6, 12))]).is_ok());
        // Nor does an older one that comes later.
        assert!(add(&tree, &[(0, table(2, "c", "z", 1, 5))]).is_err());
        assert!(add(&tree, &[(0, table(2, "c", "z", 1, 4))]).is_ok());
        assert!(add(&tree, &[(0, table(2, "c", "z", 1, 20))]).is_err());
        assert!(add(&tree, &[(0, table(2, "c", "z", 6, 8))]).is_err());
    }

    #[test]
    fn the_same_version_does_not_stand_in_two_levels() {
        let tree = add(&Tree::new("t"), &[(2, table(1, "a", "m", 5, 9))]).unwrap();
        // `m` is of sequence 5 there, and `a` of sequence 9.
        for level in [1, 4] {
            assert!(add(&tree, &[(level, table(2, "m", "z", 5, 5))]).is_err());
            assert!(add(&tree, &[(level, table(2, "a", "b", 9, 9))]).is_err());
        }
    }

    #[test]
    fn what_cannot_be_deleted_is_named() {
        let pair = [(3, table(1, "a", "b", 5, 9)), (3, table(2, "m", "z", 1, 4))];
        let tree = add(&Tree::new("t"), &pair).unwrap();
        let why = |deleted: &[(usize, u64)]| tree.change(deleted, &[]).unwrap_err();
        assert_eq!(why(&[(3, 1), (3, 7), (3, 2)]), "table 7 is not in L3 to be deleted");
        assert_eq!(why(&[(3, 2), (3, 1), (3, 2)]), "table 2 is not in L3 to be deleted");
        assert_eq!(why(&[(4, 1)]), "table 1 is not in L4 to be deleted");
    }

    #[test]
    fn a_range_meets_the_tables_of_a_level_that_share_a_key_with_it() {
        let tables = [
            (0, table(4, "c", "m", 7, 8)),
            (0, table(3, "a", "d", 5, 6)),
            (2, table(1, "a", "c", 3, 4)),
            (2, table(2, "f", "h", 1, 2)),
        ];
        let tree = add(&Tree::new("t"), &tables).unwrap();
        for (level, (smallest, largest), expected) in [
            (0, ("d", "d"), &[4, 3][..]),
            (0, ("e", "z"), &[4]),
            (0, ("n", "z"), &[]),
            (2, ("c", "f"), &[1, 2]),
            (2, ("d", "e"), &[]),
        ] {
            let range = KeyRange::new(smallest.as_bytes(), largest.as_bytes());
            let found = tree.overlapping(level, &range);
            let found: Vec<_> = found.iter().map(|table| table.number).collect();
            assert_eq!(found, expected, "L{level} {range:?}");
            assert_eq!(tree.overlaps(level, &range), !expected.is_empty(), "L{level} {range:?}");
        }
        let levels: Vec<_> = tree.tables().map(|(level, table)| (level, table.number)).collect();
        assert_eq!(levels, [(0, 4), (0, 3), (2, 1), (2, 2)]);
    }

    #[test]
    fn a_table_may_move_and_only_from_where_it_is() {
        let tree = add(&Tree::new("t"), &[(2, table(1, "a", "m", 5, 9))]).unwrap();
        let moved = Arc::clone(&tree.level(2)[0]);
        assert!(tree.change(&[], &[(3, Arc::clone(&moved))]).is_err());
        assert!(tree.change(&[(4, 1)], &[(3, Arc::clone(&moved))]).is_err());
        let after = tree.change(&[(2, 1)], &[(3, moved)]).unwrap();
        assert_eq!((numbers(&after, 2), numbers(&after, 3)), (vec![], vec![1]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn a_change_is_what_sorting_the_level_anew_gives(
            level in prop_oneof![Just(0_usize), Just(6)],
            steps in prop::collection::vec(
                (prop::collection::vec(0_u64..40, 0..3), prop::collection::vec((0_u8..60, 0_u8..3), 0..4)),
                1..12,
            ),
        ) {
            let (mut tree, mut number) = (Tree::new("t"), 0);
            for (leaving, entering) in steps {
                let deleted: Vec<_> = leaving.iter().map(|number| (level, *number)).collect();
                let added: Vec<_> = entering.iter().map(|(from, len)| {
                    number += 1;
                    let (smallest, largest) = (format!("{from:02}"), format!("{:02}", from + len));
                    (level, Arc::new(table(number, &smallest, &largest, 2 * number, 2 * number)))
                }).collect();
                let expected = sorted_anew(&tree, level, &deleted, &added);
                let changed = tree.change(&deleted, &added);
                prop_assert_eq!(changed.as_ref().ok().map(|tree| tree.level(level).to_vec()), expected);
                tree = changed.unwrap_or(tree);
            }
        }
    }

    fn sorted_anew(
        tree: &Tree,
        level: usize,
        deleted: &[(usize, u64)],
        added: &[(usize, Arc<TableMeta>)],
    ) -> Option<Vec<Arc<TableMeta>>> {
        let mut tables = tree.level(level).to_vec();
        for (_, number) in deleted {
            let index = tables.iter().position(|table| table.number == *number)?;
            tables.remove(index);
        }
        tables.extend(added.iter().map(|(_, table)| Arc::clone(table)));
        if level == 0 {
            tables.sort_by_key(|table| Reverse(table.number));
            return Some(tables);
        }
        tables.sort_by(|a, b| a.smallest.cmp(&b.smallest));
        let is_apart = |pair: &[Arc<TableMeta>]| pair[0].bounds().1 < pair[1].bounds().0;
        tables.windows(2).all(is_apart).then_some(tables)
    }
}
