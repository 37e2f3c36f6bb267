//! Flush: the oldest sealed generation becomes tables, whole and in one edit.
//!
//! 1. Wait until all of it is visible: what nobody will ever see must not reach a table.
//! 2. For each keyspace, foresee the level: the deepest such that neither it nor any above holds
//!    keys of the range. Write the tables with the codec and filter of that level.
//! 3. Under the lock of the version set confirm the levels; what overlaps by now goes to level 0.
//! 4. Install the edit, which also says that the generation's log segment is no longer needed.

use std::time::Instant;

use lsm_base::plant::{self, Plant};
use lsm_base::{KeyspaceId, Seq};
use lsm_compaction::edit::{LogFloor, LogPosition};
use lsm_compaction::job::Cause;
use lsm_compaction::{InProgress, KeyRange, Outcome, Picker, Tree, VersionEdit};
use parking_lot::MutexGuard;

use crate::build::{TableFactory, picker_options};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::generation::GenerationView;
use crate::handle::Caller;
use crate::health::Health;
use crate::inner::Inner;
use crate::progress::{Progress, bytes_in_memory};
use crate::version_set::{Change, Current, Work};

/// The tables that a memtable became, and where they are to go.
struct Flushed {
    keyspace: KeyspaceId,
    range: KeyRange,
    level: usize,
    outcome: Outcome,
}

/// What a flush has brought into the tree.
struct Installed {
    tables: usize,
    bytes: u64,
}

impl Caller<'_> {
    /// Returns when everything written before is in tables.
    pub(crate) fn flush(&self, progress: &Progress) -> Result<()> {
        self.flush_all(progress)
    }
}

impl Inner {
    /// Flushes the oldest sealed generation. Returns whether there was one.
    pub(crate) fn flush_oldest(&self) -> Result<bool> {
        let _one_at_a_time = self.background.flushing.lock();
        if self.check_writable().is_err() {
            return Ok(false);
        }
        let Some(view) = self.oldest_sealed() else {
            return Ok(false);
        };
        let started = Instant::now();
        let last_seq = view.generation.last_seq().expect("a sealed generation has a last sequence");
        if self.visible() < last_seq {
            self.commit().sync(self)?;
        }
        let log_bytes = view.generation.log_bytes();
        let log_bytes = log_bytes.expect("a sealed generation knows its bytes");
        self.free_for_flush(view.generation.table_bound());
        let flushed = self.write_tables(&view)?;
        let written = new_tables(&flushed);
        if !written.is_empty() {
            self.sync_tables(&written)?;
        }
        let Some(Installed { tables, bytes }) = self.install_flush(&view, last_seq, flushed)?
        else {
            return Ok(true);
        };
        let took = started.elapsed();
        self.pressure.drained(log_bytes, took);
        self.background.flush_watch.note(view.generation.number, 1.0);
        self.note(Event::Flushed { tables, bytes, took });
        Ok(true)
    }

    fn write_tables(&self, view: &GenerationView) -> Result<Vec<Flushed>> {
        let snapshots = self.live_seqs();
        let version = std::sync::Arc::clone(&self.super_versions.load().version);
        let mut flushed: Vec<Flushed> = Vec::new();
        let all: u64 = view.memtables().iter().map(|(_, memtable)| memtable.len() as u64).sum();
        let mut before = 0;
        for (keyspace, memtable) in view.memtables() {
            let note_read = |entries: u64| {
                let fraction = (before + entries) as f64 / all.max(1) as f64;
                self.background.flush_watch.note(view.generation.number, fraction);
            };
            // A keyspace that was dropped takes its memtables along.
            let Some(tree) = version.state.version.tree(*keyspace) else { continue };
            let Some(range) = memtable_range(memtable)? else { continue };
            let level = self.foresee_level(*keyspace, tree, &range);
            let factory = self.table_factory();
            match factory.flush(view, *keyspace, tree, level, &snapshots, &note_read) {
                Ok(outcome) => flushed.push(Flushed { keyspace: *keyspace, range, level, outcome }),
                Err(cause) => {
                    flushed.iter().for_each(|part| self.remove_tables(&part.outcome));
                    return Err(self.note_job_error(cause));
                }
            }
            before += memtable.len() as u64;
        }
        Ok(flushed)
    }

    /// Returns what was installed, if there was need for it.
    fn install_flush(
        &self,
        view: &GenerationView,
        last_seq: Seq,
        flushed: Vec<Flushed>,
    ) -> Result<Option<Installed>> {
        let mut current = self.lock_decided(&new_tables(&flushed))?;
        if self.oldest_sealed().map(|oldest| oldest.generation.number)
            != Some(view.generation.number)
        {
            // An edit that was undecided after a full disk has just installed this generation.
            flushed.iter().for_each(|part| self.remove_tables(&part.outcome));
            return Ok(None);
        }
        let mut edit = VersionEdit {
            last_seq: Some(last_seq),
            log_floor: Some(self.log_floor_after(view)),
            ..VersionEdit::default()
        };
        for part in flushed {
            match self.confirm_level(&current, &part) {
                Some(level) => {
                    part.outcome.tables.into_iter().for_each(|table| edit.add_table(level, table));
                }
                None => self.remove_tables(&part.outcome),
            }
        }
        // Not what was written: the keyspace of some of it may have been dropped meanwhile.
        let added = &edit.added_tables;
        let bytes = added.iter().map(|added| added.table.len).sum();
        let installed = Installed { tables: added.len(), bytes };
        let change = Change { edit, work: Work::Flush(view.generation.number) };
        self.versions.log_and_apply(self, &mut current, change).map(|()| Some(installed))
    }

    /// The generation to flush next.
    fn oldest_sealed(&self) -> Option<GenerationView> {
        let super_version = self.super_versions.load();
        if plant::is_live(Plant::FlushedOutOfOrder) {
            return super_version.sealed.first().cloned();
        }
        super_version.sealed.last().cloned()
    }

    fn foresee_level(&self, keyspace: KeyspaceId, tree: &Tree, range: &KeyRange) -> usize {
        let running = self.background.compacting.lock();
        self.with_picker(keyspace, tree, &running, |picker| picker.flush_level(range))
    }

    /// The level that tables go to after all; `None` if their keyspace was dropped meanwhile.
    fn confirm_level(&self, current: &Current, part: &Flushed) -> Option<usize> {
        let tree = current.state().version.tree(part.keyspace)?;
        let running = self.background.compacting.lock();
        Some(self.with_picker(part.keyspace, tree, &running, |picker| {
            picker.confirm_flush_level(part.level, &part.range)
        }))
    }

    pub(crate) fn with_picker<R>(
        &self,
        keyspace: KeyspaceId,
        tree: &Tree,
        running: &InProgress,
        ask: impl FnOnce(&Picker<'_>) -> R,
    ) -> R {
        let options = picker_options(&self.options);
        let oldest_snapshot = self.live_seqs()[0];
        ask(&Picker { keyspace, tree, running, options: &options, oldest_snapshot })
    }

    /// What is still needed of the log once `view` is in tables: the next generation's segment.
    fn log_floor_after(&self, view: &GenerationView) -> LogFloor {
        let super_version = self.super_versions.load();
        let next = super_version
            .generations()
            .filter(|other| view.generation.number < other.generation.number)
            .last()
            .expect("the active generation is newer than any sealed one");
        let synced = self.wal().synced_lsn();
        LogFloor {
            first_segment: next.generation.segment,
            synced: LogPosition { segment: synced.segment, offset: synced.offset },
            highest_segment: super_version.version.state.log_floor.highest_segment,
        }
    }

    pub(crate) fn table_factory(&self) -> TableFactory<'_> {
        TableFactory {
            fs: &self.fs,
            dir: &self.dir,
            options: &self.options,
            numbers: self.versions.file_numbers(),
            obsolete: Some(&self.obsolete),
        }
    }

    /// Takes the lock of the version set for an edit that adds these tables, once every edit before
    /// it is decided. If that fails the edit is not even begun, and its tables are unlinked.
    pub(crate) fn lock_decided(&self, new_tables: &[u64]) -> Result<MutexGuard<'_, Current>> {
        let mut current = self.versions.lock();
        match self.versions.decide(self, &mut current) {
            Ok(()) => Ok(current),
            Err(error) => {
                self.table_factory().remove(new_tables);
                Err(error)
            }
        }
    }

    /// Makes the names of new tables durable. If that fails they are unlinked, unless the store is
    /// poisoned: then nothing is.
    pub(crate) fn sync_tables(&self, numbers: &[u64]) -> Result<()> {
        plant::unless(Plant::TableNameNotSynced, || self.fs.sync_dir(&self.dir)).map_err(|error| {
            let error = self.note_write_error(error);
            if !matches!(self.health.get(), Health::Poisoned(_)) {
                self.table_factory().remove(numbers);
            }
            error
        })
    }

    /// Unlinks tables that no edit names.
    pub(crate) fn remove_tables(&self, outcome: &Outcome) {
        let numbers: Vec<_> = outcome.tables.iter().map(|table| table.number).collect();
        self.table_factory().remove(&numbers);
    }

    /// What a failed job means for the store.
    pub(crate) fn note_job_error(&self, cause: Cause) -> Error {
        match cause {
            // Why writes have stopped; else the workers are told to.
            Cause::Cancelled => self.check_writable().err().unwrap_or_else(Error::closed),
            Cause::Failed(error) => self.note_write_error(error),
        }
    }

    fn active_generation(&self) -> u64 {
        self.super_versions.load().active.generation.number
    }

    /// Returns when everything written before is in tables.
    pub(crate) fn flush_all(&self, progress: &Progress) -> Result<()> {
        progress.begin(bytes_in_memory(&self.super_versions.load()));
        self.flush_part(progress)?;
        progress.end();
        Ok(())
    }

    /// The same, as the first part of what `progress` tells of.
    pub(crate) fn flush_part(&self, progress: &Progress) -> Result<()> {
        let _call = self.begin_call()?;
        let _watching = self.background.flush_watch.begin(&self.super_versions.load(), progress);
        let round = self.background.ask_for_flush();
        let failure = || self.background.flush_failure(round);
        let target = self.active_generation();
        while self.active_generation() == target {
            if self.commit().is_active_empty(self) {
                break;
            }
            if let Some(error) = failure() {
                return Err(error);
            }
            if !self.commit().try_seal(self) {
                let is_needed = || self.active_generation() == target && failure().is_none();
                self.make_room(0, false, None, is_needed)?;
            }
        }
        loop {
            let seen = self.background.changes();
            if self.super_versions.load().oldest_generation() > target
                || self.super_versions.load().sealed.is_empty()
            {
                return Ok(());
            }
            self.check_writable()?;
            if self.options.background_threads == 0 {
                self.flush_oldest()?;
            } else if let Some(error) = failure() {
                return Err(error);
            } else {
                self.background.wait_for_change(seen, None);
            }
        }
    }
}

fn new_tables(flushed: &[Flushed]) -> Vec<u64> {
    let tables = flushed.iter().flat_map(|part| &part.outcome.tables);
    tables.map(|table| table.number).collect()
}

/// The user keys of a memtable; `None` if it is empty.
fn memtable_range(
    memtable: &std::sync::Arc<lsm_memtable::Memtable>,
) -> Result<Option<KeyRange>, lsm_base::Error> {
    use lsm_base::Cursor;
    let mut cursor = memtable.cursor();
    cursor.seek_to_first()?;
    if !cursor.valid() {
        return Ok(None);
    }
    let smallest: Box<[u8]> = cursor.key().user_key.into();
    cursor.seek_to_last()?;
    let largest: Box<[u8]> = cursor.key().user_key.into();
    Ok(Some(KeyRange::new(smallest, largest)))
}

#[cfg(all(test, not(loom)))]
mod tests;
