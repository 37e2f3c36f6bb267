//! Building tables: what flush, compaction and recovery have in common.

use std::path::Path;
use std::sync::Arc;

use lsm_base::{Cursor, FileName, Fs, KeyspaceId, Result, Seq};
use lsm_compaction::job::{self, Aborted, Cause};
use lsm_compaction::picker::PickerOptions;
use lsm_compaction::{
    Elision, JobContext, LEVELS, NewTable, Outcome, OutputOptions, OutputWriter, TableMeta, Tree,
};
use lsm_sstable::{Compression, TableOptions};

use crate::file_numbers::FileNumbers;
use crate::generation::GenerationView;
use crate::inner::random_u64;
use crate::obsolete::Obsolete;
use crate::options::{MAX_BLOOM_BITS, Resolved};

/// Level 0 is full with so many tables.
pub(crate) const L0_TRIGGER: u32 = 4;

/// What is needed to build tables.
#[derive(Clone, Copy)]
pub(crate) struct TableFactory<'a> {
    pub(crate) fs: &'a Arc<dyn Fs>,
    pub(crate) dir: &'a Path,
    pub(crate) options: &'a Resolved,
    /// What the tables are to be called.
    pub(crate) numbers: &'a FileNumbers,
    /// Who unlinks later what could not be unlinked at once.
    pub(crate) obsolete: Option<&'a Obsolete>,
}

/// What a merge is to become.
pub(crate) struct Merge<'a, C> {
    pub(crate) inputs: Vec<C>,
    /// How many entries the inputs have.
    pub(crate) entries: u64,
    pub(crate) keyspace: KeyspaceId,
    pub(crate) tree: &'a Tree,
    pub(crate) level: usize,
    pub(crate) snapshots: &'a [Seq],
    pub(crate) elision: Elision,
    pub(crate) grandparents: &'a [Arc<TableMeta>],
}

impl TableFactory<'_> {
    /// Merges the inputs into synced tables. After a failure the files that were begun are gone.
    pub(crate) fn run<C: Cursor>(
        &self,
        merge: Merge<'_, C>,
        is_cancelled: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Outcome, Cause> {
        let picker_options = picker_options(self.options);
        let context = JobContext {
            fs: Arc::clone(self.fs),
            snapshots: merge.snapshots,
            elision: merge.elision,
            grandparents: merge.grandparents,
            output: OutputOptions {
                keyspace: (merge.keyspace, merge.tree.name()),
                table: table_options(self.options, merge.level),
                target_bytes: self.options.table_size,
                max_grandparent_bytes: picker_options.max_grandparent_bytes(),
            },
            expected_entries: merge.entries,
            recheck: self.options.recheck,
        };
        let mut new_table = || self.new_table();
        job::run(merge.inputs, context, &mut new_table, is_cancelled).map_err(|aborted| {
            let Aborted { cause, created } = aborted;
            self.remove(&created);
            cause
        })
    }

    /// Writes a sorted stream into synced tables, as tables of `level` are built.
    pub(crate) fn write(
        &self,
        keyspace: (KeyspaceId, &str),
        level: usize,
        fill: impl FnOnce(&mut OutputWriter<'_>) -> Result<()>,
    ) -> Result<Vec<Arc<TableMeta>>> {
        let output = OutputOptions {
            keyspace,
            table: table_options(self.options, level),
            target_bytes: self.options.table_size,
            max_grandparent_bytes: u64::MAX,
        };
        let mut new_table = || self.new_table();
        let mut writer = OutputWriter::new(output, &[], &mut new_table);
        fill(&mut writer)?;
        Ok(writer.finish()?.into_iter().map(|table| table.meta).collect())
    }

    /// Unlinks tables that no edit names. What cannot be unlinked is left to the cleaner, or in a
    /// recovery to the next open.
    pub(crate) fn remove(&self, numbers: &[u64]) {
        for file in numbers.iter().map(|number| FileName::Table(*number)) {
            let removed = self.fs.remove(&file.path(self.dir));
            if let (true, Some(obsolete)) = (removed.is_err(), self.obsolete) {
                obsolete.add_file(file);
            }
        }
    }

    fn new_table(&self) -> Result<NewTable> {
        let number = self.numbers.take();
        let file = self.fs.create(&FileName::Table(number).path(self.dir))?;
        Ok(NewTable { file, number, id: random_u64() })
    }

    /// Turns the memtable of a keyspace into tables for `level`. Calls `note_read` now and then with
    /// the number of entries that were read.
    pub(crate) fn flush(
        &self,
        view: &GenerationView,
        keyspace: KeyspaceId,
        tree: &Tree,
        level: usize,
        snapshots: &[Seq],
        note_read: &dyn Fn(u64),
    ) -> Result<Outcome, Cause> {
        let Some(memtable) = view.memtable(keyspace) else { return Ok(no_tables()) };
        let grandparents = tree.levels().get(level + 1).map_or(&[][..], |tables| tables);
        let merge = Merge {
            inputs: vec![memtable.cursor()],
            entries: memtable.len() as u64,
            keyspace,
            tree,
            level,
            snapshots,
            elision: Elision::whole(tree),
            grandparents: if level == 0 { &[] } else { grandparents },
        };
        self.run(merge, &mut |entries_read| {
            note_read(entries_read);
            // A flush is never called off: memory waits for it.
            false
        })
    }
}

fn no_tables() -> Outcome {
    Outcome { tables: Vec::new(), stats: job::JobStats::default() }
}

/// The shape that the options ask for.
pub(crate) fn picker_options(options: &Resolved) -> PickerOptions {
    PickerOptions {
        l0_trigger: L0_TRIGGER,
        base_bytes: options.table_size.max(u64::from(L0_TRIGGER) * options.memtable_size as u64),
        table_bytes: options.table_size,
        compression: std::array::from_fn(|level| compression(options, level)),
        ..PickerOptions::default()
    }
}

/// Levels 0 and 1 are rewritten too soon for compression to pay.
fn compression(options: &Resolved, level: usize) -> Compression {
    if level < 2 { Compression::None } else { options.compression }
}

/// A table of the last level answers most reads of a key that exists; those above are mostly asked
/// in vain, so a bit more of filter pays there.
fn table_options(options: &Resolved, level: usize) -> TableOptions {
    let extra = match LEVELS - 1 - level {
        0 => 0,
        1 => 2,
        _ => 4,
    };
    let bits = options.bloom_bits_per_key;
    TableOptions {
        block_size: options.block_size,
        compression: compression(options, level),
        bloom_bits_per_key: if bits == 0 { 0 } else { (bits + extra).min(MAX_BLOOM_BITS) },
    }
}
