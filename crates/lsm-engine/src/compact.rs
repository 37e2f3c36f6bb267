//! Compaction: picks, runs and installs what keeps the shape of the tree.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use lsm_base::KeyspaceId;
use lsm_compaction::in_progress::JobId;
use lsm_compaction::picker::{ManualCompaction, ManualStep};
use lsm_compaction::{Compaction, Elision, TableMeta, Version, VersionEdit};

use crate::build::{Merge, picker_options};
use crate::error::{ErrorKind, Result};
use crate::event::Event;
use crate::handle::Caller;
use crate::inner::Inner;
use crate::open_tree::OpenVersion;
use crate::progress::{Progress, bytes_in_memory};
use crate::scan::KeyBounds;
use crate::version_set::{Change, Work};

/// A compaction that was picked, with the version it was picked from.
struct Job {
    id: JobId,
    compaction: Arc<Compaction>,
    version: Arc<OpenVersion>,
}

/// What was begun for a request.
enum Begun {
    /// A compaction, and by how many bytes it lowers what there is to merge.
    Job(Job, u64),
    /// Nothing, until a compaction ends.
    Nothing,
    /// Nothing is left to do.
    Done,
}

/// What a job wants to change.
struct Proposal {
    edit: VersionEdit,
    /// The tables that it wrote.
    new_tables: Vec<u64>,
    /// The bytes of the tables that it merged, and of those that it wrote.
    read: u64,
    written: u64,
}

impl Inner {
    /// Picks and runs one compaction. Returns whether there was one to do.
    pub(crate) fn compact_once(&self) -> Result<bool> {
        if self.check_writable().is_err() {
            return Ok(false);
        }
        self.background.set_aside.release_due(self);
        let Some(job) = self.pick() else { return Ok(false) };
        // Until its inputs can be unlinked there is more to come than its outputs take.
        let in_flux = self.promises.announce();
        let result = match self.run_job(&job, &|_| {}) {
            Err(error) if self.check_writable().is_ok() => {
                let error = self.note_background_error("lsm-compactor", error);
                let retry_at = Instant::now().checked_add(self.options.compaction_interval);
                let keyspace = job.compaction.keyspace;
                self.background.set_aside.add(job.id, keyspace, error, retry_at);
                Ok(())
            }
            result => {
                self.background.compacting.lock().end(job.id);
                result
            }
        };
        // The job held the tables that it replaced: only now can they be unlinked.
        drop((job, in_flux));
        self.background.changed();
        result.map(|()| true)
    }

    /// Picks the most urgent compaction, over all keyspaces, and marks it as running.
    fn pick(&self) -> Option<Job> {
        // Under this lock the version cannot change between the pick and the mark.
        let _current = self.versions.lock();
        let mut running = self.background.compacting.lock();
        let version = Arc::clone(&self.super_versions.load().version);
        let mut best: Option<(f64, Compaction)> = None;
        for (keyspace, tree) in version.state.version.trees() {
            let picked = self.with_picker(keyspace, tree, &running, |picker| {
                let compaction = picker.pick()?;
                Some((picker.scores()[compaction.level].score, compaction))
            });
            if let Some((score, compaction)) = picked
                && best.as_ref().is_none_or(|(best_score, _)| *best_score < score)
            {
                best = Some((score, compaction));
            }
        }
        let (_, compaction) = best?;
        let compaction = Arc::new(compaction);
        let id = running.begin(Arc::clone(&compaction));
        Some(Job { id, compaction, version })
    }

    /// Runs a compaction. It goes on to be marked as running. Calls `note_read` now and then with
    /// what part of its inputs was read.
    fn run_job(&self, job: &Job, note_read: &dyn Fn(f64)) -> Result<()> {
        let started = Instant::now();
        let compaction = &job.compaction;
        let proposal = self.propose(job, note_read)?;
        let (read, written) = (proposal.read, proposal.written);
        if !self.install_proposal(compaction, proposal)? {
            return Ok(());
        }
        let took = started.elapsed();
        self.note(Event::Compacted {
            keyspace: compaction.keyspace,
            reason: compaction.reason,
            from: compaction.level,
            to: compaction.output_level,
            read,
            written,
            took,
        });
        self.shape_changed();
        Ok(())
    }

    /// Does the work of a compaction.
    fn propose(&self, job: &Job, note_read: &dyn Fn(f64)) -> Result<Proposal> {
        let compaction = &*job.compaction;
        if compaction.is_trivial_move {
            let compression = picker_options(&self.options).compression;
            let edit = compaction.move_edit(&compression);
            return Ok(Proposal { edit, new_tables: Vec::new(), read: 0, written: 0 });
        }
        let keyspace = compaction.keyspace;
        let tree = job.version.state.version.tree(keyspace).expect("the pick is from this version");
        let open = job.version.tree(keyspace).expect("every tree of the version is open");
        let snapshots = self.live_seqs();
        let mut below = tree.levels()[compaction.output_level + 1..].iter();
        let drops = snapshots.len() == 1 && below.all(|level| level.is_empty());
        let promise = self.space_for(compaction, drops)?;
        let merge = Merge {
            inputs: open.compaction_sources(compaction),
            entries: compaction.input_entries(),
            keyspace,
            tree,
            level: compaction.output_level,
            snapshots: &snapshots,
            elision: Elision::below(tree, compaction.output_level),
            grandparents: &compaction.grandparents,
        };
        let mut is_cancelled = |entries_read| {
            self.background.compacting.lock().note_read(job.id, entries_read);
            let part = entries_read as f64 / compaction.input_entries().max(1) as f64;
            promise.take(part);
            note_read(part);
            self.background.is_stopping() || self.check_writable().is_err()
        };
        let outcome = self.table_factory().run(merge, &mut is_cancelled);
        let outcome = outcome.map_err(|cause| self.note_job_error(cause))?;
        let new_tables: Vec<_> = outcome.tables.iter().map(|table| table.number).collect();
        self.sync_tables(&new_tables)?;
        let written = outcome.stats.output_bytes;
        let (edit, read) = (compaction.edit(outcome.tables), compaction.input_bytes());
        Ok(Proposal { edit, new_tables, read, written })
    }

    /// Installs what a job proposes. Returns whether there was still need for it.
    fn install_proposal(&self, compaction: &Compaction, proposal: Proposal) -> Result<bool> {
        let mut current = self.lock_decided(&proposal.new_tables)?;
        if !has_inputs(&current.state().version, compaction) {
            // The keyspace was dropped while the job ran, or an earlier attempt was installed that
            // had been undecided.
            self.table_factory().remove(&proposal.new_tables);
            return Ok(false);
        }
        let (read_bytes, written_bytes) = (proposal.read, proposal.written);
        let work = Work::Compaction { read_bytes, written_bytes };
        let change = Change { edit: proposal.edit, work };
        let result = self.versions.log_and_apply(self, &mut current, change);
        if let Err(error) = &result
            && error.kind() == ErrorKind::InvalidArgument
            && !current.is_undecided()
        {
            // It contradicts the tree, and nothing of it was written. After any other error it may
            // take effect yet, so its tables stay.
            self.table_factory().remove(&proposal.new_tables);
        }
        result.map(|()| true)
    }
}

impl Caller<'_> {
    /// Merges all tables that hold keys of a range into the last level, in every keyspace.
    pub(crate) fn compact(&self, bounds: &KeyBounds, progress: &Progress) -> Result<()> {
        let _call = self.begin_call()?;
        let mut request = ManualCompaction {
            start: start_key(&bounds.0),
            end: end_key(&bounds.1),
            up_to_seq: self.visible(),
            before_number: u64::MAX,
        };
        let in_memory = bytes_in_memory(&self.super_versions.load());
        progress.begin(2 * in_memory + self.manual_debt(&request));
        self.flush_part(progress)?;
        // What failed before is tried again, and its failure is this call's.
        let first = self.background.set_aside.release(self);
        let version = Arc::clone(&self.super_versions.load().version);
        request.up_to_seq = self.visible();
        request.before_number = self.versions.file_numbers().take();
        for (keyspace, _) in version.state.version.trees() {
            self.compact_keyspace(keyspace, &request, first, progress)?;
        }
        progress.end();
        Ok(())
    }
}

impl Inner {
    fn compact_keyspace(
        &self,
        keyspace: KeyspaceId,
        request: &ManualCompaction,
        first: JobId,
        progress: &Progress,
    ) -> Result<()> {
        loop {
            self.check_writable()?;
            let seen = self.background.changes();
            let done = progress.total_bytes().saturating_sub(self.manual_debt(request));
            progress.reach(done);
            match self.begin_manual(keyspace, request) {
                Begun::Job(job, gain) => {
                    let in_flux = self.promises.announce();
                    let note_read = |part| progress.reach(done + (gain as f64 * part) as u64);
                    let result = self.run_job(&job, &note_read);
                    self.background.compacting.lock().end(job.id);
                    drop((job, in_flux));
                    self.background.changed();
                    result?;
                }
                Begun::Nothing => {
                    // A worker may have met the failure first since this call began.
                    self.background.set_aside.failure_in(keyspace, first)?;
                    if !self.background.set_aside.release_older(self, first) {
                        self.background.wait_for_change(seen, None);
                    }
                }
                Begun::Done => return Ok(()),
            }
            self.background.changed();
        }
    }

    /// Picks the next compaction for a request in a keyspace, and marks it as running.
    fn begin_manual(&self, keyspace: KeyspaceId, request: &ManualCompaction) -> Begun {
        let _current = self.versions.lock();
        let mut running = self.background.compacting.lock();
        let version = Arc::clone(&self.super_versions.load().version);
        let Some(tree) = version.state.version.tree(keyspace) else { return Begun::Done };
        let picked = self.with_picker(keyspace, tree, &running, |picker| {
            match picker.pick_manual(request) {
                ManualStep::Run(compaction) => {
                    let gain = picker.manual_gain(request, &compaction);
                    Ok((Arc::new(compaction), gain))
                }
                ManualStep::Wait => Err(Begun::Nothing),
                ManualStep::Done => Err(Begun::Done),
            }
        });
        match picked {
            Ok((compaction, gain)) => {
                let id = running.begin(Arc::clone(&compaction));
                Begun::Job(Job { id, compaction, version: Arc::clone(&version) }, gain)
            }
            Err(nothing) => nothing,
        }
    }

    /// How many bytes there are to merge for a request, in every keyspace.
    fn manual_debt(&self, request: &ManualCompaction) -> u64 {
        let version = Arc::clone(&self.super_versions.load().version);
        let running = self.background.compacting.lock();
        let trees = version.state.version.trees();
        trees
            .map(|(keyspace, tree)| {
                self.with_picker(keyspace, tree, &running, |picker| picker.manual_debt(request))
            })
            .sum()
    }

    /// What follows from a new shape of the tree: the pressure on writes.
    pub(crate) fn shape_changed(&self) {
        self.update_pressure();
        self.background.changed();
    }
}

/// Whether every table that a compaction read is where it was.
fn has_inputs(version: &Version, compaction: &Compaction) -> bool {
    let Some(tree) = version.tree(compaction.keyspace) else { return false };
    let has = |level: usize, table: &TableMeta| {
        tree.levels()[level].iter().any(|other| other.number == table.number)
    };
    let Compaction { level, output_level, inputs, overlapped, .. } = compaction;
    inputs.iter().all(|table| has(*level, table))
        && overlapped.iter().all(|table| has(*output_level, table))
}

fn start_key(bound: &Bound<Vec<u8>>) -> Option<Box<[u8]>> {
    match bound {
        Bound::Unbounded => None,
        // A range that begins behind a key is merged with that key: more than asked, never less.
        Bound::Included(key) | Bound::Excluded(key) => Some(key.clone().into()),
    }
}

fn end_key(bound: &Bound<Vec<u8>>) -> Option<Box<[u8]>> {
    start_key(bound)
}

#[cfg(test)]
mod tests {
    use lsm_base::fs::MemFs;
    use lsm_base::{FileName, Fs};

    use super::*;
    use crate::{Db, Error, ErrorKind, Options, Read};

    /// A full level 0 above a table, and the job that is due.
    fn prepared() -> (MemFs, Db, Job) {
        let fs = MemFs::new();
        let options = Options { background_threads: 0, ..Options::default() };
        let db = Db::builder("db").options(options).fs(Arc::new(fs.clone())).open().unwrap();
        for _ in 0..=crate::build::L0_TRIGGER {
            db.put("a", "1").unwrap();
            db.put("z", "1").unwrap();
            db.flush().unwrap();
        }
        let job = db.inner().pick().expect("level 0 is full");
        (fs, db, job)
    }

    fn tables(fs: &MemFs) -> usize {
        let entries = fs.list("db".as_ref()).unwrap();
        let is_table = |name: &str| matches!(FileName::parse(name), Some(FileName::Table(_)));
        entries.iter().filter(|entry| is_table(&entry.name)).count()
    }

    /// A worker may have met a failure before the call, and only come to note it now.
    #[test]
    fn a_call_answers_no_failure_of_a_compaction_that_began_before_it() {
        let (_, db, job) = prepared();
        let inner = db.inner();
        let first = inner.background.set_aside.release(inner);
        let keyspace = job.compaction.keyspace;
        inner.background.set_aside.add(job.id, keyspace, Error::no_space(), None);
        drop(job);
        let request = ManualCompaction {
            start: None,
            end: None,
            up_to_seq: inner.visible(),
            before_number: inner.versions.file_numbers().take(),
        };
        inner.compact_keyspace(keyspace, &request, first, &Progress::new()).unwrap();
        assert!(inner.pick().is_none());
    }

    #[test]
    fn a_proposal_that_contradicts_the_tree_fails_and_leaves_nothing() {
        let (fs, db, job) = prepared();
        let inner = db.inner();
        let shape = || inner.super_versions.load().version.state.version.clone();
        let (before, files) = (shape(), tables(&fs));
        let mut proposal = inner.propose(&job, &|_| {}).unwrap();
        // The outputs would stand among the inputs that they replace.
        assert!(!proposal.edit.deleted_tables.is_empty());
        proposal.edit.deleted_tables.clear();
        for added in &mut proposal.edit.added_tables {
            added.level = 0;
        }
        let twice = proposal.edit.added_tables.clone();
        proposal.edit.added_tables.extend(twice);
        let error = inner.install_proposal(&job.compaction, proposal).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!((shape(), tables(&fs)), (before, files));
        // What is right is installed as ever.
        let proposal = inner.propose(&job, &|_| {}).unwrap();
        assert!(inner.install_proposal(&job.compaction, proposal).unwrap());
        assert_eq!(db.get("a").unwrap().unwrap(), b"1");
        // And once only.
        let files = tables(&fs);
        let proposal = inner.propose(&job, &|_| {}).unwrap();
        assert!(!inner.install_proposal(&job.compaction, proposal).unwrap());
        assert_eq!(tables(&fs), files);
    }
}
