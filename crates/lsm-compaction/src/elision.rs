//! Elision: below which keys there is nothing, so that a tombstone there hides nothing.

use std::sync::Arc;

use lsm_base::plant::{self, Plant};

use crate::table_meta::TableMeta;
use crate::tree::Tree;
use crate::version::LEVELS;

/// Which user keys may have data deeper than where the output goes.
///
/// It is asked with ascending keys, and each of its runs is passed once. Data that lies deeper
/// stays deeper while a merge runs, so the tree at its start is enough: a table that leaves for a
/// level still deeper was counted, and a flush that would come to lie deeper is turned away by the
/// hull of the running compaction.
#[derive(Clone, Debug)]
pub struct Elision {
    runs: Vec<Run>,
}

#[derive(Clone, Debug)]
struct Run {
    tables: Arc<[Arc<TableMeta>]>,
    /// Tables before this one end before every key that is still to come.
    position: usize,
}

impl Elision {
    /// For a compaction into `output_level`: what lies below it.
    #[must_use]
    pub fn below(tree: &Tree, output_level: usize) -> Elision {
        let runs = (output_level.max(1) + 1).min(LEVELS)..LEVELS;
        let mut elision =
            Elision { runs: runs.map(|level| Run::new(Arc::clone(tree.level(level)))).collect() };
        elision.runs.retain(|run| !run.tables.is_empty());
        elision
    }

    /// For a flush: all of the tree, whatever level the flush will go to. Requires: all that is
    /// older than what is flushed is in the tree, so flushes are installed in their order.
    #[must_use]
    pub fn whole(tree: &Tree) -> Elision {
        // The tables of L0 overlap, so each is a run of its own.
        let singles = tree.level(0).iter().map(|table| Run::new(Arc::from([Arc::clone(table)])));
        let mut elision = Elision::below(tree, 0);
        let first = Run::new(Arc::clone(tree.level(1)));
        elision.runs.extend(singles.chain([first]).filter(|run| !run.tables.is_empty()));
        elision
    }

    /// Whether data of `user_key` may lie deeper. Requires: no key that was asked for before is
    /// above it.
    pub fn may_exist_below(&mut self, user_key: &[u8]) -> bool {
        let is_covered = self.runs.iter_mut().any(|run| run.covers(user_key));
        is_covered && !plant::is_live(Plant::TombstoneElidedTooEarly)
    }
}

impl Run {
    fn new(tables: Arc<[Arc<TableMeta>]>) -> Run {
        Run { tables, position: 0 }
    }

    fn covers(&mut self, user_key: &[u8]) -> bool {
        let is_passed = |table: &Arc<TableMeta>| *table.largest.user_key < *user_key;
        self.position += self.tables[self.position..].partition_point(is_passed);
        self.tables.get(self.position).is_some_and(|table| table.covers(user_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    fn tree() -> Tree {
        let tables = [
            (0, table(1, "a", "d", 50, 60)),
            (0, table(2, "c", "f", 70, 80)),
            (1, table(3, "h", "i", 30, 40)),
            (5, table(4, "k", "m", 20, 29)),
            (5, table(5, "p", "r", 20, 29)),
            (6, table(6, "q", "t", 1, 9)),
        ];
        Tree::new("t").change(&[], &tables.map(|(level, table)| (level, Arc::new(table)))).unwrap()
    }

    fn covered(mut elision: Elision) -> String {
        ('a'..='z').filter(|key| elision.may_exist_below(key.to_string().as_bytes())).collect()
    }

    #[test]
    fn a_compaction_asks_about_what_is_below_its_output() {
        assert_eq!(covered(Elision::below(&tree(), 1)), "klmpqrst");
        assert_eq!(covered(Elision::below(&tree(), 5)), "qrst");
        assert_eq!(covered(Elision::below(&tree(), 6)), "");
    }

    #[test]
    fn a_flush_asks_about_everything() {
        assert_eq!(covered(Elision::whole(&tree())), "abcdefhiklmpqrst");
    }
}
