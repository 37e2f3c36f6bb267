//! A job: merges the tables of a compaction, or the trees of a flush, into new tables.
//!
//! 1. Merge the inputs; of the versions of each key keep those that somebody can still read.
//! 2. Cut what is kept into tables; each is synced when it is whole.
//! 3. Count: every entry that the inputs should have was read, and was either written or dropped
//!    for a reason. An input that ended early, for whatever reason, shows here.
//! 4. Read the new tables back from the disk.
//!
//! The job proposes: its caller syncs the directory and installs the edit, or removes the files.
//!
//! Invariant: a job has no thread, takes no lock, reads no clock and deletes nothing. What it did
//! before an error or a cancellation is the files that it names, and nothing else. A read error is
//! the end of the job; no block that failed is ever passed over.

use std::path::Path;
use std::sync::Arc;

use lsm_base::{Cursor, Error, Fs, InternalKeyRef, MergingCursor, Result, Seq};
use lsm_sstable::{BlockCache, CursorMode, ReadMode, Table, TableSource};

use crate::compaction_iter::{CompactionIter, Counts, Step};
use crate::elision::Elision;
use crate::output::{FinishedTable, NewTable, OutputOptions, OutputWriter};
use crate::table_meta::TableMeta;

/// How many bytes are merged between two questions whether to go on.
pub const CANCELLATION_INTERVAL: u64 = 256 << 10;

/// What a job must know.
#[derive(Clone, Debug)]
pub struct JobContext<'a> {
    /// Where the new tables can be read back.
    pub fs: Arc<dyn Fs>,
    /// The sequences at which somebody reads, ascending; the visible sequence, loaded before the
    /// others were collected, is one of them.
    pub snapshots: &'a [Seq],
    /// Below which keys there is nothing.
    pub elision: Elision,
    /// Tables one level below the output, sorted by key.
    pub grandparents: &'a [Arc<TableMeta>],
    /// How the tables are to be.
    pub output: OutputOptions<'a>,
    /// How many entries the inputs have: [`Compaction::input_entries`], or what the memtable says.
    ///
    /// [`Compaction::input_entries`]: crate::Compaction::input_entries
    pub expected_entries: u64,
    /// How the new tables are read back.
    pub recheck: Recheck,
}

/// How much of a new table is read back before it is proposed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recheck {
    /// Footer, filter, fences, the first and the last block.
    #[default]
    Sample,
    /// Every byte, and every entry in its order.
    Full,
}

/// What a job proposes.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The new tables, by key; none if nothing was kept.
    pub tables: Vec<Arc<TableMeta>>,
    /// What was read and written.
    pub stats: JobStats,
}

/// What a job read and wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JobStats {
    /// Entries, and bytes of keys and values read.
    pub counts: Counts,
    /// Bytes of the new tables.
    pub output_bytes: u64,
}

/// A job that came to no proposal.
#[derive(Clone, Debug)]
pub struct Aborted {
    /// Why.
    pub cause: Cause,
    /// The numbers of the files that it took. None is of use any more.
    pub created: Vec<u64>,
}

/// Why a job came to no proposal.
#[derive(Clone, Debug)]
pub enum Cause {
    /// Its caller said so.
    Cancelled,
    /// It could not read or write, or what it read contradicts itself.
    Failed(Error),
}

/// Runs a job. The inputs are sorted, and no two have the same entry; `new_table` gives a file for
/// each table; `is_cancelled` is asked every [`CANCELLATION_INTERVAL`], with the number of entries
/// that were read.
///
/// # Errors
/// [`Aborted`], with the files that are to be removed.
pub fn run<C: Cursor>(
    inputs: Vec<C>,
    context: JobContext<'_>,
    new_table: &mut dyn FnMut() -> Result<NewTable>,
    is_cancelled: &mut dyn FnMut(u64) -> bool,
) -> Result<Outcome, Aborted> {
    let JobContext { fs, snapshots, elision, grandparents, output, expected_entries, recheck } =
        context;
    let mut iter = CompactionIter::new(MergingCursor::new(inputs), snapshots, elision);
    let mut writer = OutputWriter::new(output, grandparents, new_table);
    let result = merge(&mut iter, &mut writer, is_cancelled).and_then(|finished| {
        let counts = iter.counts();
        check_counts(counts, expected_entries, &finished)?;
        for table in &finished {
            read_back(&fs, table, recheck)?;
        }
        let tables: Vec<_> = finished.into_iter().map(|table| table.meta).collect();
        let output_bytes = tables.iter().map(|table| table.len).sum();
        Ok(Outcome { tables, stats: JobStats { counts, output_bytes } })
    });
    result.map_err(|cause| Aborted { cause, created: writer.created().to_vec() })
}

impl From<Error> for Cause {
    fn from(error: Error) -> Cause {
        Cause::Failed(error)
    }
}

fn merge<C: Cursor>(
    iter: &mut CompactionIter<'_, C>,
    writer: &mut OutputWriter<'_>,
    is_cancelled: &mut dyn FnMut(u64) -> bool,
) -> Result<Vec<FinishedTable>, Cause> {
    let mut next_question = 0;
    loop {
        if next_question <= iter.counts().input_bytes {
            if is_cancelled(iter.counts().input) {
                return Err(Cause::Cancelled);
            }
            next_question = iter.counts().input_bytes + CANCELLATION_INTERVAL;
        }
        match iter.step()? {
            Step::Kept => {
                let (key, value) = iter.entry();
                writer.add(key, value)?;
            }
            Step::Dropped => {}
            Step::End => return Ok(writer.finish()?),
        }
    }
}

/// Checks that no entry was lost between the inputs and the new tables.
fn check_counts(counts: Counts, expected: u64, finished: &[FinishedTable]) -> Result<()> {
    let written: u64 = finished.iter().map(|table| table.meta.entries).sum();
    let Counts { input, output, shadowed, elided, .. } = counts;
    if input != expected {
        return Err(miscount(format!("the merge read {input} entries of {expected}")));
    }
    if input != output + shadowed + elided || output != written {
        let detail = format!(
            "of {input} entries {output} were kept, {shadowed} shadowed and {elided} elided; \
             the tables have {written}"
        );
        return Err(miscount(detail));
    }
    Ok(())
}

fn miscount(detail: String) -> Error {
    Error::corruption(Path::new("merge input"), 0, detail)
}

/// Reads a new table back as a later reader will find it.
fn read_back(fs: &Arc<dyn Fs>, finished: &FinishedTable, recheck: Recheck) -> Result<()> {
    let FinishedTable { meta, path } = finished;
    let source = TableSource {
        fs: Arc::clone(fs),
        path: path.clone(),
        number: meta.number,
        id: meta.id,
        len: meta.len,
    };
    let table = Table::new(source, ReadMode::Pread, BlockCache::new(0));
    let expect_key = |found: Option<InternalKeyRef<'_>>, expected: InternalKeyRef<'_>| {
        if found == Some(expected) {
            return Ok(());
        }
        let detail = format!("read {found:?} back where {expected:?} was written");
        Err(Error::corruption(path, 0, detail))
    };
    let mut cursor = table.cursor(CursorMode::Compaction);
    cursor.seek_to_last()?;
    expect_key(cursor.valid().then(|| cursor.key()), meta.largest.as_ref())?;
    cursor.seek_to_first()?;
    expect_key(cursor.valid().then(|| cursor.key()), meta.smallest.as_ref())?;
    if recheck == Recheck::Full {
        table.verify()?;
        check_entries(cursor, meta, path)?;
    }
    Ok(())
}

/// Checks order and number of the entries from where `cursor` stands, at the first.
fn check_entries(mut cursor: impl Cursor, meta: &TableMeta, path: &Path) -> Result<()> {
    let mut last = cursor.key().to_owned();
    let mut entries = 1;
    cursor.next()?;
    while cursor.valid() {
        let key = cursor.key();
        if key <= last.as_ref() {
            return Err(Error::corruption(path, 0, format!("{key:?} follows {last:?}")));
        }
        last = key.to_owned();
        entries += 1;
        cursor.next()?;
    }
    if entries != meta.entries {
        let detail = format!("read {entries} entries back where {} were written", meta.entries);
        return Err(Error::corruption(path, 0, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lsm_base::InternalKey;
    use lsm_base::Kind;
    use lsm_base::cursor::VecCursor;

    use super::*;
    use crate::testing::table;

    /// A job that read 100 entries, kept 60 and wrote them.
    const COUNTS: Counts =
        Counts { input: 100, output: 60, shadowed: 30, elided: 10, input_bytes: 1000 };

    fn finished(meta: TableMeta) -> FinishedTable {
        FinishedTable { meta: Arc::new(meta), path: "000001.sst".into() }
    }

    #[test]
    fn entries_that_are_lost_between_inputs_and_tables_are_missed() {
        let tables = |entries: [u64; 2]| {
            entries.map(|entries| finished(TableMeta { entries, ..table(1, "a", "m", 5, 9) }))
        };
        let whole = tables([40, 20]);
        assert!(check_counts(COUNTS, 100, &whole).is_ok());
        let miscounts = [
            (COUNTS, 101, &whole),
            (COUNTS, 99, &whole),
            // One was neither kept nor dropped, or is counted twice.
            (Counts { elided: 9, ..COUNTS }, 100, &whole),
            (Counts { shadowed: 31, ..COUNTS }, 100, &whole),
            // One was kept and is in no table, or in two.
            (COUNTS, 100, &tables([40, 19])),
            (COUNTS, 100, &tables([41, 20])),
        ];
        for (counts, expected, finished) in miscounts {
            let result = check_counts(counts, expected, finished);
            assert!(matches!(result, Err(Error::Corruption { .. })), "{counts:?} of {expected}");
        }
    }

    #[test]
    fn a_new_table_has_its_entries_in_order_and_all_of_them() {
        let check = |keys: &[(&str, u64)], entries| {
            let keys = keys.iter().map(|(user_key, seq)| InternalKey {
                user_key: user_key.as_bytes().into(),
                seq: Seq::new(*seq),
                kind: Kind::Put,
            });
            let mut cursor = VecCursor::unsorted(keys.map(|key| (key, Vec::new())).collect());
            cursor.seek_to_first().unwrap();
            let meta = TableMeta { entries, ..table(1, "a", "b", 1, 9) };
            check_entries(cursor, &meta, Path::new("000001.sst"))
        };
        let sound = [("a", 2), ("a", 1), ("b", 9)];
        assert!(check(&sound, 3).is_ok());
        assert!(check(&sound[..1], 1).is_ok());
        for disorder in [[("a", 1), ("a", 2)], [("a", 1), ("a", 1)], [("b", 1), ("a", 1)]] {
            assert!(matches!(check(&disorder, 2), Err(Error::Corruption { .. })), "{disorder:?}");
        }
        for entries in [2, 4] {
            assert!(matches!(check(&sound, entries), Err(Error::Corruption { .. })), "{entries}");
        }
    }
}
