//! A compaction: which tables of a level are merged into the next.
//!
//! ```text
//! level          inputs            [c..f]  [h..k]            leave
//! output level   overlapped      [a....e]   [g...j] [k..m]   leave; the outputs take their place
//! one deeper     grandparents   [a..b] [c...h] [j.......p]   stay; outputs are cut at their ends
//! ```
//!
//! Invariant: of a user key that the inputs hold, every version in the output level is in
//! `overlapped`, and every version in `level` that is older is in `inputs`. So what stays above is
//! newer than the outputs, and what stays below is older.

use std::fmt;
use std::sync::Arc;

use lsm_base::KeyspaceId;
use lsm_sstable::Compression;

use crate::edit::VersionEdit;
use crate::key_range::KeyRange;
use crate::table_meta::{Mark, TableMeta, total_len};
use crate::version::LEVELS;

/// A piece of work on one keyspace's tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Compaction {
    /// Why.
    pub reason: Reason,
    /// Whose tree.
    pub keyspace: KeyspaceId,
    /// Where the inputs are.
    pub level: usize,
    /// Where the outputs go: below `level`, or the same level if tables are only written anew.
    pub output_level: usize,
    /// Tables of `level`, in its order; at least one.
    pub inputs: Vec<Arc<TableMeta>>,
    /// Tables of `output_level` that the inputs overlap.
    pub overlapped: Vec<Arc<TableMeta>>,
    /// Tables one level deeper that the inputs overlap.
    pub grandparents: Vec<Arc<TableMeta>>,
    /// Whether the inputs can change their level as they are.
    pub is_trivial_move: bool,
}

/// Why a compaction is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// L0 has too many tables, or too many bytes.
    LevelZero,
    /// A level is larger than its target.
    LevelSize,
    /// A table consists of tombstones, in good part.
    Tombstones,
    /// A caller asked for it.
    Manual,
    /// A table was moved to a level with another codec.
    Recompression,
    /// There are many small tables beside each other.
    SmallTables,
}

impl Compaction {
    /// Every table that is read: the inputs, newest first in L0, then the overlapped ones.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableMeta>> {
        self.inputs.iter().chain(&self.overlapped)
    }

    /// The tables that are read as sorted runs, each for one cursor; newer runs first.
    #[must_use]
    pub fn runs(&self) -> Vec<&[Arc<TableMeta>]> {
        let mut runs: Vec<_> = match self.level {
            0 => self.inputs.chunks(1).collect(),
            _ => vec![&self.inputs[..]],
        };
        if !self.overlapped.is_empty() {
            runs.push(&self.overlapped);
        }
        runs
    }

    /// The range of user keys from the first to the last of every table that is read. The outputs
    /// stay within it.
    #[must_use]
    pub fn hull(&self) -> KeyRange {
        KeyRange::hull(self.tables()).expect("a compaction has an input")
    }

    /// How many bytes are read.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        total_len(self.tables())
    }

    /// How many bytes the outputs are thought to take, in the files that are there: each tombstone
    /// is taken to go, and one value with it.
    #[must_use]
    pub fn expected_bytes(&self) -> u64 {
        let entries = self.input_entries();
        let tombstones: u64 = self.tables().map(|table| table.tombstones).sum();
        let left = entries.saturating_sub(2 * tombstones) as f64 / entries.max(1) as f64;
        (self.input_bytes() as f64 * left) as u64
    }

    /// How many entries are read: what the merge must find, no more and no fewer.
    #[must_use]
    pub fn input_entries(&self) -> u64 {
        self.tables().map(|table| table.entries).sum()
    }

    /// The edit after a merge into these tables.
    #[must_use]
    pub fn edit(&self, outputs: impl IntoIterator<Item = Arc<TableMeta>>) -> VersionEdit {
        let mut edit = VersionEdit::default();
        for table in &self.inputs {
            edit.delete_table(self.level, table);
        }
        for table in &self.overlapped {
            edit.delete_table(self.output_level, table);
        }
        for table in outputs {
            edit.add_table(self.output_level, table);
        }
        edit
    }

    /// The edit of a trivial move. Tables whose codec is not that of each level's `compression`
    /// are marked.
    ///
    /// # Panics
    /// If this is no trivial move.
    #[must_use]
    pub fn move_edit(&self, compression: &[Compression; LEVELS]) -> VersionEdit {
        assert!(self.is_trivial_move, "a merge is no move");
        let marked = self.inputs.iter().map(|table| {
            let is_right = table.compression == compression[self.output_level];
            let mark = if is_right { Mark::None } else { Mark::Recompress };
            Arc::new(TableMeta { mark, ..TableMeta::clone(table) })
        });
        self.edit(marked)
    }
}

impl fmt::Debug for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_trivial_move { "move" } else { "merge" };
        let (from, to) = (self.level, self.output_level);
        write!(f, "{:?}: {verb} L{from} {:?}", self.reason, numbers(&self.inputs))?;
        if !self.overlapped.is_empty() {
            write!(f, " with L{to} {:?}", numbers(&self.overlapped))?;
        }
        write!(f, " into L{to}")?;
        if !self.grandparents.is_empty() {
            write!(f, " above {:?}", numbers(&self.grandparents))?;
        }
        Ok(())
    }
}

fn numbers(tables: &[Arc<TableMeta>]) -> Vec<u64> {
    tables.iter().map(|table| table.number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    /// Two tables of level 4, of which the second is compressed, above one of level 5.
    fn compaction() -> Compaction {
        let plain = table(1, "a", "c", 5, 6);
        let packed = TableMeta { compression: Compression::Lz4, ..table(2, "d", "f", 7, 8) };
        Compaction {
            reason: Reason::LevelSize,
            keyspace: KeyspaceId::DEFAULT,
            level: 4,
            output_level: 5,
            inputs: vec![Arc::new(plain), Arc::new(packed)],
            overlapped: vec![Arc::new(table(3, "b", "e", 1, 4))],
            grandparents: Vec::new(),
            is_trivial_move: false,
        }
    }

    #[test]
    fn all_tables_that_are_read_count() {
        let compaction = compaction();
        assert_eq!((compaction.input_bytes(), compaction.input_entries()), (3 << 20, 300));
    }

    #[test]
    fn a_move_marks_what_has_another_codec_than_its_level() {
        let compaction =
            Compaction { overlapped: Vec::new(), is_trivial_move: true, ..compaction() };
        let mut codecs = [Compression::None; LEVELS];
        let marks = |codecs: &[Compression; LEVELS]| -> Vec<_> {
            let edit = compaction.move_edit(codecs);
            let marks = edit.added_tables.iter();
            marks.map(|added| (added.level, added.table.number, added.table.mark)).collect()
        };
        assert_eq!(marks(&codecs), [(5, 1, Mark::None), (5, 2, Mark::Recompress)]);
        codecs[5] = Compression::Lz4;
        assert_eq!(marks(&codecs), [(5, 1, Mark::Recompress), (5, 2, Mark::None)]);
    }

    #[test]
    fn what_tombstones_hide_is_not_expected_in_the_outputs() {
        let with = |tombstones| {
            let upper = TableMeta { tombstones, ..table(1, "a", "c", 5, 6) };
            Compaction { inputs: vec![Arc::new(upper)], ..compaction() }
        };
        // 200 entries in 2 MiB.
        assert_eq!(with(0).expected_bytes(), 2 << 20);
        assert_eq!(with(25).expected_bytes(), (2 << 20) / 4 * 3);
        assert_eq!((with(100).expected_bytes(), with(101).expected_bytes()), (0, 0));
    }
}
