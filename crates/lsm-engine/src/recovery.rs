//! Recovery: from the files of a directory to a state that is durable and whole.
//!
//! 1. CURRENT names the MANIFEST, the MANIFEST describes the tree and says which log segments count.
//! 2. Every file that it names must be there, before anything is changed.
//! 3. The log is replayed into memtables, and these are flushed into new, synced tables.
//! 4. A new segment is made ready; a fresh MANIFEST with the whole state, and the first sequence
//!    that may be handed out, is written and synced; CURRENT names it.
//! 5. Files of ours that nothing names are removed; what cannot be is left to the cleaner. If the disk
//!    is too full for steps 3 and 4, those that were never named, or not for long enough, go before.
//!
//! A crash at any point leaves either the old CURRENT with everything that it needs, or the new
//! one. What was replayed is served only after it is durable in tables.

use std::collections::BTreeSet;
use std::io::ErrorKind::PermissionDenied;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsm_base::batch::BatchReader;
use lsm_base::file_name::FILE_NUMBER_END;
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, FileName, Fs, KeyspaceId, Result, Seq};
use lsm_compaction::edit::{LogFloor, LogPosition};
use lsm_compaction::job::Cause;
use lsm_compaction::{State, VersionEdit};
use lsm_wal::{JournalWriter, Lsn, ReplayFrom, ReplayRecord, ReplayReport, Wal, WalOptions};

use crate::build::TableFactory;
use crate::file_numbers::FileNumbers;
use crate::generation::GenerationView;
use crate::inner::{new_db_id, random_u64};
use crate::manifest::{self, SetCurrentError};
use crate::options::Resolved;
use crate::replay_buffer::ReplayBuffer;

mod counters;
mod files;
mod orphans;

use files::Files;

/// The number of a new database's MANIFEST.
const FIRST_MANIFEST: u64 = 1;

/// What an open found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the database was created by this open.
    pub is_new: bool,
    /// Whether it had been closed before.
    pub was_closed: bool,
    /// Log records that were replayed.
    pub replayed_records: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// Log records that were dropped from the end, as far as they can be counted: writes that were
    /// not synced when the power failed.
    pub dropped_records: u64,
    /// Bytes that were dropped from the end of the log.
    pub dropped_bytes: u64,
    /// Why log records were dropped.
    pub drop_reason: Option<String>,
    /// Bytes that were dropped from the end of the MANIFEST: an edit that was not installed.
    pub manifest_dropped_bytes: u64,
    /// Files of ours that nothing named, and that were removed.
    pub orphans_removed: u64,
    /// How long it took.
    pub duration: Duration,
}

/// A database as recovery hands it over.
pub(crate) struct Recovered {
    pub(crate) state: Arc<State>,
    pub(crate) manifest_number: u64,
    pub(crate) journal: JournalWriter,
    pub(crate) wal: Wal,
    /// The first sequence that may be handed out.
    pub(crate) next_seq: Seq,
    /// Files that nothing names or will name, and that could not be unlinked yet.
    pub(crate) orphans: Vec<FileName>,
    pub(crate) report: RecoveryReport,
}

/// A database that was only read.
pub(crate) struct ReadOnly {
    pub(crate) state: Arc<State>,
    pub(crate) manifest_number: u64,
    /// What the log held, newest first.
    pub(crate) generations: Vec<GenerationView>,
    pub(crate) last_seq: Seq,
    pub(crate) report: RecoveryReport,
}

/// The directory and how it is to be opened.
pub(crate) struct Recovery<'a> {
    pub(crate) fs: &'a Arc<dyn Fs>,
    pub(crate) dir: &'a Path,
    pub(crate) options: &'a Resolved,
}

impl Recovery<'_> {
    /// Recovers the database in the directory, or begins one. Requires: the lock.
    pub(crate) fn run(&self) -> Result<Recovered> {
        let started = Instant::now();
        let files = self.list()?;
        let mut recovered = if files.contains(FileName::Current) {
            self.recover(&files)?
        } else {
            self.create(&files)?
        };
        let (removed, left) = self.remove_orphans(&recovered)?;
        recovered.report.orphans_removed += removed;
        recovered.orphans = left;
        recovered.report.duration = started.elapsed();
        Ok(recovered)
    }

    /// Reads the database in the directory, and writes nothing. Requires: the lock.
    pub(crate) fn read_only(&self) -> Result<ReadOnly> {
        let started = Instant::now();
        let files = self.list()?;
        let (manifest_number, state, mut report) = self.read_manifest(&files)?;
        let mut buffer = ReplayBuffer::new(&state, self.options.memtable_size);
        let mut generations = Vec::new();
        let replayed = self.replay(&state, &mut buffer, &mut |view| {
            generations.insert(0, view);
            Ok(())
        })?;
        note_replay(&mut report, &replayed);
        let last_seq = state.last_seq.max(buffer.last_seq());
        generations.insert(0, buffer.take());
        report.duration = started.elapsed();
        Ok(ReadOnly { state: Arc::new(state), manifest_number, generations, last_seq, report })
    }

    fn list(&self) -> Result<Files> {
        Files::list(&**self.fs, self.dir)
    }

    /// Begins a database, unless the directory holds the remains of one that must not be lost.
    fn create(&self, files: &Files) -> Result<Recovered> {
        self.check_remains(files)?;
        for file in files.regular().iter().filter(|file| **file != FileName::Lock) {
            self.fs.remove(&file.path(self.dir))?;
        }
        let number = FIRST_MANIFEST;
        let first_seq = Seq::new(1);
        let begun = VersionEdit {
            first_seq: Some(first_seq),
            next_file_number: Some(number + 1),
            log_floor: Some(LogFloor { first_segment: 1, ..LogFloor::default() }),
            ..VersionEdit::default()
        };
        let state = State::new(new_db_id()).apply(&begun)?;
        let mut journal = manifest::create(self.fs, self.dir, number, random_u64(), &state)?;
        self.sync_parent()?;
        manifest::set_current(&**self.fs, self.dir, number)?;
        // Only now may there be a segment: one without CURRENT is the trace of a lost database.
        let wal = self.create_log(state.header.db_id, 1)?;
        let log_floor =
            LogFloor { first_segment: 1, synced: LogPosition::default(), highest_segment: 1 };
        let edit = VersionEdit { log_floor: Some(log_floor), ..VersionEdit::default() };
        manifest::append(&mut journal, &edit)?;
        let state = Arc::new(state.apply(&edit)?);
        let report = RecoveryReport { is_new: true, ..RecoveryReport::default() };
        Ok(Recovered {
            state,
            manifest_number: number,
            journal,
            wal,
            next_seq: first_seq,
            orphans: Vec::new(),
            report,
        })
    }

    /// Makes the name of the directory durable, whoever created it: an earlier open may have died
    /// before it could.
    pub(crate) fn sync_parent(&self) -> Result<()> {
        let parent = self.dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        match plant::unless(Plant::ParentNotSynced, || self.fs.sync_dir(parent)) {
            // Who may not even read the parent was given the directory by somebody else.
            Err(Error::Io { source, .. }) if source.kind() == PermissionDenied => Ok(()),
            result => result,
        }
    }

    /// Without CURRENT only the remains of a first open may be begun anew: the lock, temporary
    /// files, and the first MANIFEST with at most its first record.
    fn check_remains(&self, files: &Files) -> Result<()> {
        files.require_no_others(self.dir)?;
        let is_data = |file: &&FileName| matches!(file, FileName::Log(_) | FileName::Table(_));
        let files = files.regular();
        let manifests: Vec<u64> = files.iter().copied().filter_map(manifest_number).collect();
        let has_edits = match manifests[..] {
            [] => false,
            [FIRST_MANIFEST] => self.has_edits(FIRST_MANIFEST)?,
            _ => true,
        };
        if has_edits || files.iter().any(|file| is_data(&file)) {
            return Err(Error::MissingFile(FileName::Current.path(self.dir)));
        }
        Ok(())
    }

    fn has_edits(&self, number: u64) -> Result<bool> {
        match manifest::read(self.fs, self.dir, number) {
            Ok((_, report)) => Ok(1 < report.records),
            // Its first record was not whole: the first open ended before CURRENT could name it.
            Err(Error::Corruption { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn recover(&self, files: &Files) -> Result<Recovered> {
        match self.try_recover(files) {
            // A disk that is full of orphans is not to keep the database from being opened.
            Err(SetCurrentError::Before(error))
                if error.is_no_space() && !manifest::is_sync(&error) =>
            {
                let removed = self.remove_certain_orphans(files)?;
                if removed == 0 {
                    return Err(error);
                }
                let mut recovered = self.try_recover(&self.list()?)?;
                recovered.report.orphans_removed = removed;
                Ok(recovered)
            }
            result => Ok(result?),
        }
    }

    fn try_recover(&self, files: &Files) -> Result<Recovered, SetCurrentError> {
        let result = self.rebuild(files).map_err(SetCurrentError::Before).and_then(|recovered| {
            self.sow_early_removals(files);
            manifest::set_current(&**self.fs, self.dir, recovered.manifest_number)?;
            Ok(recovered)
        });
        // Otherwise nobody knows which MANIFEST counts: both need all of their files.
        if let Err(SetCurrentError::Before(_)) = &result {
            self.remove_all_but(files.regular());
        }
        result
    }

    /// Unlinks what CURRENT still needs, if that is the mistake to make.
    fn sow_early_removals(&self, files: &Files) {
        for file in files.regular() {
            let goes = match file {
                FileName::Manifest(_) => plant::is_live(Plant::UnlinkedBeforeRename),
                FileName::Log(_) => plant::is_live(Plant::LogUnlinkedInRecovery),
                _ => false,
            };
            if goes {
                let _ = self.fs.remove(&file.path(self.dir));
            }
        }
    }

    /// Brings the log into tables, and writes all of the state into a MANIFEST that nothing names.
    fn rebuild(&self, files: &Files) -> Result<Recovered> {
        let (old_manifest, state, mut report) = self.read_manifest(files)?;
        self.check_counters(files, old_manifest, &state)?;
        let next_number = files.names().filter_map(file_number).max();
        let next_number = state.next_file_number.max(next_number.map_or(0, |number| number + 1));
        let numbers = FileNumbers::from(next_number.max(old_manifest + 1));
        let factory = TableFactory {
            fs: self.fs,
            dir: self.dir,
            options: self.options,
            numbers: &numbers,
            obsolete: None,
        };
        let mut edit = VersionEdit::default();
        let mut buffer = ReplayBuffer::new(&state, self.options.memtable_size);
        let replayed = self.replay(&state, &mut buffer, &mut |view| {
            self.flush_recovered(&factory, &state, &view, &mut edit)
        })?;
        let last_seq = state.last_seq.max(buffer.last_seq());
        // The names of these tables become durable with that of the MANIFEST which names them.
        self.flush_recovered(&factory, &state, &buffer.take(), &mut edit)?;
        note_replay(&mut report, &replayed);

        let segment = FileName::Log(replayed.end.segment).path(self.dir);
        let next_seq = counters::next_seq(&state, last_seq, &segment)?;
        let wal = self.create_log(state.header.db_id, replayed.next_segment)?;
        let manifest_number = numbers.take();
        let synced = state.log_floor.synced.max(position(wal.synced_lsn()));
        edit.log_floor = Some(LogFloor {
            first_segment: replayed.next_segment,
            synced,
            highest_segment: replayed.next_segment,
        });
        edit.last_seq = Some(last_seq);
        edit.first_seq = Some(next_seq);
        edit.next_file_number = Some(numbers.next());
        let state = Arc::new(state.apply(&edit)?);
        let journal = manifest::create(self.fs, self.dir, manifest_number, random_u64(), &state)?;
        let orphans = Vec::new();
        Ok(Recovered { state, manifest_number, journal, wal, next_seq, orphans, report })
    }

    /// The state on disk, once every file that it names was found.
    fn read_manifest(&self, files: &Files) -> Result<(u64, State, RecoveryReport)> {
        files.require(FileName::Current, self.dir)?;
        let number = manifest::read_current(&**self.fs, self.dir)?;
        let name = FileName::Manifest(number);
        files.require(name, self.dir)?;
        let (state, journal) = manifest::read(self.fs, self.dir, number)?;
        if FILE_NUMBER_END <= state.log_floor.first_segment {
            let detail = format!("the log begins at {}", state.log_floor.first_segment);
            return Err(Error::corruption(&name.path(self.dir), 0, detail));
        }
        for table in state.version.tables() {
            files.require(FileName::Table(table.number), self.dir)?;
        }
        let report = RecoveryReport {
            was_closed: state.clean_close.is_some(),
            manifest_dropped_bytes: journal.dropped_bytes,
            ..RecoveryReport::default()
        };
        Ok((number, state, report))
    }

    /// Replays the log into `buffer`; a full one is handed to `full` and emptied.
    fn replay(
        &self,
        state: &State,
        buffer: &mut ReplayBuffer,
        full: &mut dyn FnMut(GenerationView) -> Result<()>,
    ) -> Result<ReplayReport> {
        let from = ReplayFrom {
            first_segment: state.log_floor.first_segment,
            synced: lsn(state.log_floor.synced),
            highest_used: state.log_floor.highest_segment,
            names_all: true,
            clean_end: state.clean_close.map(lsn),
            owner: state.header.db_id,
        };
        lsm_wal::replay(&**self.fs, self.dir, from, &mut |record: ReplayRecord<'_>| {
            let path = FileName::Log(record.lsn.segment).path(self.dir);
            let mut seq = record.first_seq;
            for op in BatchReader::new(record.payload) {
                let op = op.map_err(|error| match error.is_unsupported {
                    true => Error::unsupported(&path, error.detail),
                    false => Error::corruption(&path, record.lsn.offset, error.detail),
                })?;
                if let Some(view) = buffer.make_room(op.key.len(), op.value.len()) {
                    full(view)?;
                }
                if seq <= buffer.last_seq() {
                    let detail = format!("sequence {seq} comes again");
                    return Err(Error::corruption(&path, record.lsn.offset, detail));
                }
                if !buffer.insert(&op, seq) {
                    let detail = format!("a write to keyspace {}, which never was", op.keyspace.0);
                    return Err(Error::corruption(&path, record.lsn.offset, detail));
                }
                seq = Seq::try_new(seq.get() + 1).ok_or_else(|| {
                    Error::corruption(&path, record.lsn.offset, "sequences beyond 56 bits")
                })?;
            }
            Ok(())
        })
    }

    /// Writes what was replayed into tables of level 0, newer than all that the tree has.
    fn flush_recovered(
        &self,
        factory: &TableFactory<'_>,
        state: &State,
        view: &GenerationView,
        edit: &mut VersionEdit,
    ) -> Result<()> {
        // What this replay has flushed already counts: a tombstone must stay if it hides a value
        // there.
        let version = state.version.apply(edit)?;
        for (keyspace, _) in view.memtables() {
            let tree = version.tree(*keyspace).expect("the buffer knows the keyspaces");
            // Nobody reads at an older sequence.
            let snapshots = [Seq::MAX];
            let outcome = factory.flush(view, *keyspace, tree, 0, &snapshots, &|_| {});
            let outcome = outcome.map_err(|cause| match cause {
                Cause::Failed(error) => error,
                Cause::Cancelled => unreachable!("a flush is never called off"),
            })?;
            outcome.tables.into_iter().for_each(|table| edit.add_table(0, table));
        }
        Ok(())
    }

    fn create_log(&self, db_id: u128, first_segment: u64) -> Result<Wal> {
        let segment_size = self.options.first_segment_len(|| self.fs.space(self.dir));
        let options = WalOptions { segment_size, owner: db_id, ..WalOptions::default() };
        Wal::create(Arc::clone(self.fs), self.dir, options, first_segment, Box::new(random_u64))
    }
}

fn note_replay(report: &mut RecoveryReport, replayed: &ReplayReport) {
    report.replayed_records = replayed.records;
    report.replayed_bytes = replayed.bytes;
    report.dropped_records = replayed.dropped_records;
    report.dropped_bytes = replayed.dropped_bytes;
    report.drop_reason.clone_from(&replayed.reason);
}

pub(crate) fn position(lsn: Lsn) -> LogPosition {
    LogPosition { segment: lsn.segment, offset: lsn.offset }
}

pub(crate) fn lsn(position: LogPosition) -> Lsn {
    Lsn::new(position.segment, position.offset)
}

fn manifest_number(file: FileName) -> Option<u64> {
    match file {
        FileName::Manifest(number) => Some(number),
        _ => None,
    }
}

/// The number of a file that takes it from the counter of tables and MANIFESTs.
fn file_number(file: FileName) -> Option<u64> {
    match file {
        FileName::Manifest(number)
        | FileName::ManifestTemp(number)
        | FileName::Table(number)
        | FileName::TableTemp(number) => Some(number),
        _ => None,
    }
}

/// The keyspaces of a state.
pub(crate) fn keyspace_ids(state: &State) -> BTreeSet<KeyspaceId> {
    state.version.trees().map(|(id, _)| id).collect()
}
