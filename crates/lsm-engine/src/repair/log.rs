//! What the log still gives, as tables of the target.
//!
//! A log that a recovery would replay is replayed, and what it drops is no loss: the end of a log that
//! was not closed, which no later record vouches for. Of any other log every record is taken that is
//! whole, and what is lost between two of them is told by their sequences. Which keys were written
//! there nobody knows, so such a range has every key. A log of which something cannot be read is any
//! other log, whatever a replay says of it. The log that a close has ended has nothing that
//! is not in tables: damage in it is told, and costs nothing.
//!
//! Invariant: a batch is taken whole or not at all. Memory holds one memtable, and one record.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use lsm_base::batch::BatchReader;
use lsm_base::{Cursor, Error, FileName, Fs, KeyspaceId, Result, Seq};
use lsm_compaction::{State, TableMeta};
use lsm_wal::{FILE_HEADER_LEN, LostRecords, Lsn, ReplayFrom, ReplayRecord, Salvaged};

use super::Job;
use super::evidence::{Evidence, is_damage};
use super::keyspaces::Keyspaces;
use super::report::{Ledger, LostRange, everything, of_error};
use crate::generation::GenerationView;
use crate::replay_buffer::ReplayBuffer;

/// The tables of the target that hold what was in the log.
#[derive(Default)]
pub(super) struct Spilled(Vec<Arc<TableMeta>>);

impl Spilled {
    /// Those of a keyspace.
    pub(super) fn of(&self, keyspace: KeyspaceId) -> impl Iterator<Item = &Arc<TableMeta>> {
        self.0.iter().filter(move |table| table.keyspace == keyspace)
    }

    /// Their numbers.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.0.iter().map(|table| table.number).collect()
    }
}

/// The bytes of all segments that can be opened, to tell how far the reading is.
pub(super) fn bytes(fs: &dyn Fs, dir: &Path, files: &BTreeSet<FileName>) -> u64 {
    let segments = files.iter().filter(|file| matches!(file, FileName::Log(_)));
    let len = |segment: &FileName| fs.open(&segment.path(dir)).and_then(|file| file.len());
    segments.map(|segment| len(segment).unwrap_or(0)).sum()
}

/// Brings the log into tables of the target.
pub(super) fn spill(
    job: &Job<'_>,
    evidence: &Evidence,
    keyspaces: &mut Keyspaces,
    ledger: &mut Ledger,
) -> Result<Spilled> {
    let from = evidence.replay_from(job.files);
    let memtable_size = job.options().memtable_size;
    let buffer = ReplayBuffer::new(&State::new(0), memtable_size);
    let spilled = Spilled::default();
    let mut filling = Filling { job, buffer, keyspaces, ledger, spilled, passed: 0 };
    // What a recovery drops was not synced; what cannot be read may have been, wherever it stands.
    let check = || job.unreadable.check_log(job.source, from.first_segment);
    let replayed = lsm_wal::replay(&**job.fs, job.source, from, &mut |record| {
        check()?;
        filling.take(record)
    });
    match replayed.and_then(|report| check().map(|()| report)) {
        Ok(report) => filling.ledger.report.log_bytes_dropped = report.dropped_bytes,
        // The close came after the flush of everything, so nothing is in the log alone.
        Err(error) if is_damage(&error) && has_end(&from) => filling.ledger.note_damage(&error),
        Err(error) if is_damage(&error) && filling.ledger.report.log_records == 0 => {
            filling.salvage(from, &error)?;
        }
        // A place that could be read before.
        Err(error) if is_damage(&error) && check().is_err() => {
            filling.begin_anew();
            filling.salvage(from, &error)?;
        }
        // What it was about to deliver, it had found whole; or this is about what we write.
        Err(error) => return Err(error),
    }
    let spilled = filling.finish()?;
    // Of a MANIFEST that is believed every keyspace has its name, but for those of edits that it lost;
    // and what others of these said is gone as well.
    if evidence.believed().is_some() && !keyspaces.guessed().is_empty() {
        let why = "the log has writes to a keyspace that no edit of the MANIFEST has created";
        ledger.lose(None, everything(job.source, 0, why));
    }
    Ok(spilled)
}

/// Whether the close left a log that ends. Where it left none, what there is was written since, and
/// the MANIFEST is one that came back.
fn has_end(from: &ReplayFrom) -> bool {
    from.clean_end.is_some_and(|end| end != Lsn::new(from.first_segment, FILE_HEADER_LEN))
}

struct Filling<'a, 'b> {
    job: &'a Job<'b>,
    buffer: ReplayBuffer,
    keyspaces: &'a mut Keyspaces,
    ledger: &'a mut Ledger,
    spilled: Spilled,
    /// Bytes of the log that were read.
    passed: u64,
}

impl Filling<'_, '_> {
    /// Forgets what was taken.
    fn begin_anew(&mut self) {
        self.buffer = ReplayBuffer::new(&State::new(0), self.job.options().memtable_size);
        self.job.factory.remove(&std::mem::take(&mut self.spilled).numbers());
        self.ledger.report.log_records = 0;
        self.passed = 0;
    }

    /// Takes what can be taken of a log that a recovery refuses for this reason.
    fn salvage(&mut self, from: ReplayFrom, reason: &Error) -> Result<()> {
        let mut is_told = false;
        lsm_wal::salvage(&**self.job.fs, self.job.source, from, &mut |item| match item {
            Salvaged::Record(record) => self.take(record),
            Salvaged::Lost(lost) => {
                is_told = true;
                self.lose(lost);
                Ok(())
            }
        })?;
        if !is_told {
            // Whole records that contradict each other.
            self.ledger.lose(None, of_error(self.job.source, reason));
        }
        Ok(())
    }

    fn take(&mut self, record: ReplayRecord<'_>) -> Result<()> {
        let path = || FileName::Log(record.lsn.segment).path(self.job.source);
        for op in BatchReader::new(record.payload) {
            match op {
                Ok(_) => {}
                Err(error) if error.is_unsupported => {
                    return Err(Error::unsupported(&path(), error.detail));
                }
                Err(error) => {
                    let range = everything(&path(), record.lsn.offset, error.detail);
                    self.ledger.lose(None, range);
                    return Ok(());
                }
            }
        }
        if record.first_seq <= self.buffer.last_seq() {
            let range = everything(&path(), record.lsn.offset, "a sequence that comes again");
            self.ledger.lose(None, range);
            return Ok(());
        }
        self.ledger.report.log_records += 1;
        self.passed += lsm_wal::record_len(record.payload.len() as u64);
        self.job.progress.reach(self.passed);
        let mut seq = record.first_seq;
        for op in BatchReader::new(record.payload).flatten() {
            if let Some(full) = self.buffer.make_room(op.key.len(), op.value.len()) {
                self.spill(&full)?;
            }
            if self.keyspaces.admit(op.keyspace) {
                self.buffer.admit(op.keyspace);
            }
            self.buffer.insert(&op, seq);
            self.ledger.last_seq = self.ledger.last_seq.max(seq);
            seq = Seq::try_new(seq.get() + 1).unwrap_or(Seq::MAX);
        }
        Ok(())
    }

    fn lose(&mut self, lost: LostRecords) {
        let path = FileName::Log(lost.segment).path(self.job.source);
        self.ledger.report.log_bytes_lost += lost.len;
        let range = LostRange {
            len: lost.len,
            after_seq: Some(lost.after),
            before_seq: lost.before,
            ..everything(&path, lost.offset, lost.detail)
        };
        self.ledger.lose(None, range);
    }

    fn finish(mut self) -> Result<Spilled> {
        let last = self.buffer.take();
        self.spilled.0.extend(write(self.job, self.keyspaces, &last)?);
        Ok(self.spilled)
    }

    fn spill(&mut self, full: &GenerationView) -> Result<()> {
        self.spilled.0.extend(write(self.job, self.keyspaces, full)?);
        Ok(())
    }
}

/// Writes memtables into tables, every version of every key.
fn write(
    job: &Job<'_>,
    keyspaces: &Keyspaces,
    view: &GenerationView,
) -> Result<Vec<Arc<TableMeta>>> {
    let mut tables = Vec::new();
    for (id, memtable) in view.memtables() {
        let name = keyspaces.name(*id).expect("the buffer has living keyspaces only");
        let written = job.factory.write((*id, name), 0, |writer| {
            let mut cursor = memtable.cursor();
            cursor.seek_to_first()?;
            while cursor.valid() {
                writer.add(cursor.key(), cursor.value())?;
                cursor.next()?;
            }
            Ok(())
        })?;
        tables.extend(written);
    }
    Ok(tables)
}
