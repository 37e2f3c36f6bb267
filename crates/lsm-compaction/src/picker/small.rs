//! Small tables of the last level, which nothing else would ever merge: each flush of keys that no
//! table has puts one there, and it may hold a single entry.
//!
//! ```text
//! L6   [a] [b] [c..f] [g] [h] [i] [k] [m] [n............z]
//!      `------------------------------------'   eight, none of which has more than half of the bytes
//! ```
//!
//! Invariant: a table that is written anew so is at most half of what comes of it. So no byte is
//! written more often for this than a table can double until it is not small any more.

use std::sync::Arc;

use super::Picker;
use crate::compaction::{Compaction, Reason};
use crate::table_meta::TableMeta;
use crate::version::LEVELS;

const LAST: usize = LEVELS - 1;

/// So many make a merge worth while.
const LEAST: usize = 8;

/// Nor are more looked at from one that is larger than all that follow: those before it will do.
const MOST: usize = 64;

/// A table is small below this part of what a table is to have.
const SMALL: u64 = 8;

impl Picker<'_> {
    /// Neighbouring small tables that make one.
    pub(super) fn pick_small(&self) -> Option<Compaction> {
        let tables = self.tree.level(LAST);
        if tables.len() < LEAST {
            return None;
        }
        let is_small = |table: &Arc<TableMeta>| table.len < self.options.table_bytes / SMALL;
        let runs = tables.chunk_by(|a, b| is_small(a) && is_small(b));
        let mut starts = runs.flat_map(|run| (0..run.len()).map(|start| &run[start..]));
        starts.find_map(|tables| {
            let inputs = self.small_run(tables)?.to_vec();
            self.candidate(Reason::SmallTables, (LAST, LAST), inputs)
        })
    }

    /// The fewest of these tables, from the first on, that are worth a merge into one.
    fn small_run<'a>(&self, tables: &'a [Arc<TableMeta>]) -> Option<&'a [Arc<TableMeta>]> {
        let (mut sum, mut largest) = (0, 0);
        for (index, table) in tables.iter().take(MOST).enumerate() {
            sum += table.len;
            largest = table.len.max(largest);
            // Before this there were fewer than eight, or one with more than half of the bytes, and each
            // is below an eighth of a table: so these make one.
            if LEAST <= index + 1 && largest <= sum / 2 {
                return Some(&tables[..=index]);
            }
        }
        None
    }
}
