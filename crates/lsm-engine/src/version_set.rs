//! The one door through which the shape of the tree changes.
//!
//! An edit is appended to the MANIFEST and synced; then the new version, with its tables at hand,
//! becomes part of a new SuperVersion. What it deletes is unlinked later, by a worker, when no
//! reader holds it any more.
//!
//! An append that fails leaves its edit undecided: whether the bytes are on disk is not known. If
//! the disk was full, a new MANIFEST with the whole state decides it: now, or when space returns, or
//! what else was in its way has passed.
//! After any other failure the store is poisoned and the next open decides. Until then nothing
//! that the edit adds or deletes is unlinked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_base::{FileName, KeyspaceId, Seq};
use lsm_compaction::{State, TableMeta, VersionEdit};
use lsm_wal::JournalWriter;
use parking_lot::{Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::failure::is_passing;
use crate::file_numbers::FileNumbers;
use crate::health::Health;
use crate::inner::{Inner, random_u64};
use crate::manifest::{self, SetCurrentError};
use crate::metrics::Counters;
use crate::open_tree::OpenVersion;

/// A MANIFEST is begun anew when it is this many times as long as its first record.
const MAX_GROWTH: u64 = 6;

/// No MANIFEST is begun anew below this length, in bytes.
const MIN_ROTATION_LEN: u64 = 1 << 20;

/// The state of the store, and its MANIFEST.
#[derive(Debug)]
pub(crate) struct VersionSet {
    file_numbers: FileNumbers,
    /// The bytes of the MANIFEST, for those who must not wait for its sync.
    manifest_len: AtomicU64,
    current: Mutex<Current>,
}

#[derive(Debug)]
pub(crate) struct Current {
    state: Arc<State>,
    number: u64,
    /// `None` after an append failed.
    journal: Option<JournalWriter>,
    /// The length of the first record.
    base_len: u64,
    /// The last sequence of the last generation that was flushed: all up to it is in tables.
    flushed_seq: Seq,
    /// The edit that a failed append left undecided.
    undecided: Option<Change>,
}

/// An edit and the work that it ends.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) edit: VersionEdit,
    pub(crate) work: Work,
}

/// Background work whose result an edit is. It is counted when that is installed, once, even if the
/// edit was undecided for a while; and before anybody can see it installed, so that whoever waited
/// for the work finds it in the figures.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    None,
    /// The tables replace the sealed generation of this number.
    Flush(u64),
    Compaction {
        read_bytes: u64,
        written_bytes: u64,
    },
}

impl From<VersionEdit> for Change {
    fn from(edit: VersionEdit) -> Change {
        Change { edit, work: Work::None }
    }
}

impl Change {
    /// The sealed generation that its tables replace.
    fn flushed(&self) -> Option<u64> {
        match self.work {
            Work::Flush(generation) => Some(generation),
            Work::None | Work::Compaction { .. } => None,
        }
    }

    fn count(&self, metrics: &Counters) {
        match self.work {
            Work::None => {}
            Work::Flush(_) => {
                metrics.flushes.add(1);
                let bytes = self.edit.added_tables.iter().map(|added| added.table.len).sum();
                metrics.flush_bytes.add(bytes);
            }
            Work::Compaction { read_bytes, written_bytes } => {
                metrics.compactions.add(1);
                metrics.compaction_read_bytes.add(read_bytes);
                metrics.compaction_written_bytes.add(written_bytes);
            }
        }
    }
}

impl VersionSet {
    /// `journal` is the MANIFEST of this number; a database open for reading only has none.
    pub(crate) fn new(
        state: Arc<State>,
        number: u64,
        journal: Option<JournalWriter>,
    ) -> VersionSet {
        let base_len = journal.as_ref().map_or(0, JournalWriter::len);
        // An open brings all that it finds into tables.
        let flushed_seq = state.last_seq;
        let current = Current { state, number, journal, base_len, flushed_seq, undecided: None };
        VersionSet {
            file_numbers: FileNumbers::from(current.state.next_file_number.max(number + 1)),
            manifest_len: AtomicU64::new(base_len),
            current: Mutex::new(current),
        }
    }

    /// The numbers of tables and MANIFESTs.
    pub(crate) const fn file_numbers(&self) -> &FileNumbers {
        &self.file_numbers
    }

    /// The bytes of the MANIFEST.
    pub(crate) fn manifest_len(&self) -> u64 {
        self.manifest_len.load(Ordering::Relaxed)
    }

    /// Tells the bytes of a MANIFEST that is only read.
    pub(crate) fn set_manifest_len(&self, len: u64) {
        self.manifest_len.store(len, Ordering::Relaxed);
    }

    /// The lock under which versions change; whoever confirms an edit against the current version
    /// holds it from the check to [`log_and_apply`](Self::log_and_apply).
    pub(crate) fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock()
    }

    /// Makes an edit durable and installs what it makes of the tree.
    ///
    /// # Errors
    /// After an error the edit may take effect later, unless the kind is `InvalidArgument`: its
    /// files must stay. An edit that was undecided before is decided first; whoever has files to
    /// remove if that fails calls [`decide`](Self::decide) before.
    pub(crate) fn log_and_apply(
        &self,
        inner: &Inner,
        current: &mut Current,
        mut change: Change,
    ) -> Result<()> {
        self.decide(inner, current)?;
        change.edit.next_file_number = Some(self.file_numbers.next());
        let next = Arc::new(current.state.apply(&change.edit)?);
        let appended = match &mut current.journal {
            Some(journal) if !is_outgrown(journal.len(), current.base_len) => {
                manifest::append(journal, &change.edit)
            }
            Some(_) => return self.rotate(inner, current, &next, change),
            None => return Err(unwritable()),
        };
        match appended {
            Ok(()) => {
                install(inner, current, next, &change);
                Ok(())
            }
            Err(error) if error.is_no_space() && !manifest::is_sync(&error) => {
                current.journal = None;
                self.rotate(inner, current, &next, change)
            }
            Err(error) => {
                current.journal = None;
                inner.poison(&error);
                Err(error.into())
            }
        }
    }

    /// As [`log_and_apply`](Self::log_and_apply), but into a new MANIFEST that has no other record.
    pub(crate) fn log_anew(
        &self,
        inner: &Inner,
        current: &mut Current,
        change: Change,
    ) -> Result<()> {
        self.decide(inner, current)?;
        let next = Arc::new(current.state.apply(&change.edit)?);
        match current.journal {
            Some(_) => self.rotate(inner, current, &next, change),
            None => Err(unwritable()),
        }
    }

    /// Decides an edit that a full disk, or a failure that passes, left undecided.
    pub(crate) fn decide(&self, inner: &Inner, current: &mut Current) -> Result<()> {
        if let Health::Poisoned(cause) = inner.health.get() {
            return Err(Error::poisoned(cause));
        }
        let Some(change) = current.undecided.take() else { return Ok(()) };
        let next = Arc::new(current.state.apply(&change.edit)?);
        self.rotate(inner, current, &next, change)
    }

    /// Writes a new MANIFEST that begins with `next`, and installs it.
    fn rotate(
        &self,
        inner: &Inner,
        current: &mut Current,
        next: &Arc<State>,
        change: Change,
    ) -> Result<()> {
        let number = self.file_numbers.take();
        let mut state = State::clone(next);
        state.next_file_number = state.next_file_number.max(number + 1);
        let state = Arc::new(state);
        let journal = match self.write_manifest(inner, number, &state) {
            Ok(journal) => journal,
            Err(error) if error.is_no_space() || is_passing(&error) => {
                // CURRENT names the old MANIFEST still, whose last record is the question.
                let refused = FileName::Manifest(number);
                if inner.fs.remove(&refused.path(&inner.dir)).is_err() {
                    inner.obsolete.add_file(refused);
                }
                current.undecided = Some(change);
                if error.is_no_space() {
                    inner.report_no_space(&error);
                }
                return Err(error.into());
            }
            Err(error) => {
                // Which MANIFEST counts is not known: neither is appended to any more.
                current.journal = None;
                inner.poison(&error);
                return Err(error.into());
            }
        };
        let obsolete = std::mem::replace(&mut current.number, number);
        inner.obsolete.add_file(FileName::Manifest(obsolete));
        current.base_len = journal.len();
        current.journal = Some(journal);
        install(inner, current, state, &change);
        Ok(())
    }

    /// Fails for want of space, or for a reason that passes, only while CURRENT is what it was.
    fn write_manifest(
        &self,
        inner: &Inner,
        number: u64,
        state: &State,
    ) -> Result<JournalWriter, lsm_base::Error> {
        let journal = manifest::create(&inner.fs, &inner.dir, number, random_u64(), state)
            .map_err(after_sync)?;
        match manifest::set_current(&*inner.fs, &inner.dir, number) {
            Ok(()) => Ok(journal),
            Err(SetCurrentError::Before(error)) => Err(error),
            Err(SetCurrentError::Unknown(error)) => Err(undecidable(error)),
        }
    }
}

impl Current {
    /// The state that was installed last.
    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Whether the tables hold all writes up to one sequence, and none behind it. They do not while
    /// memory holds what came before the drop of a keyspace, which is in force already.
    pub(crate) fn is_prefix(&self) -> bool {
        self.flushed_seq == self.state.last_seq
    }

    /// Whether an edit that failed may take effect yet: with the next MANIFEST of this process, or,
    /// if there will be none, at the next open.
    pub(crate) fn is_undecided(&self) -> bool {
        self.undecided.is_some() || self.journal.is_none()
    }
}

/// Whether a MANIFEST of this length, whose first record has that one, is to be begun anew.
fn is_outgrown(len: u64, base_len: u64) -> bool {
    MIN_ROTATION_LEN.max(MAX_GROWTH * base_len) <= len
}

/// An append failed for good, and the next open decides what it did: a new MANIFEST from here on
/// would decide it behind the back of what was answered.
fn unwritable() -> Error {
    Error::poisoned("the MANIFEST could not be written")
}

/// A failed sync is no full disk, whatever the system called it.
fn after_sync(error: lsm_base::Error) -> lsm_base::Error {
    if manifest::is_sync(&error) { undecidable(error) } else { error }
}

fn undecidable(error: lsm_base::Error) -> lsm_base::Error {
    match error {
        lsm_base::Error::Io { op, path, source } => {
            let message = std::io::Error::other(source.to_string());
            lsm_base::Error::io(op, &path, message)
        }
        other => other,
    }
}

fn install(inner: &Inner, current: &mut Current, next: Arc<State>, change: &Change) {
    current.state = Arc::clone(&next);
    if let Some(seq) = change.flushed().and(change.edit.last_seq) {
        current.flushed_seq = seq;
    }
    let manifest_len = current.journal.as_ref().map_or(0, JournalWriter::len);
    inner.versions.manifest_len.store(manifest_len, Ordering::Relaxed);
    let previous = Arc::clone(&inner.super_versions.load().version);
    let mode = inner.options.read_mode(&next);
    let open = |meta: &TableMeta| inner.open_table(mode, meta);
    let version = Arc::new(OpenVersion::new(next, Some(&previous), open));
    drop(previous);
    if let Some(side) = &inner.write_side {
        // The edit is durable, and nobody can have found the keyspaces yet.
        let created = change.edit.created_keyspaces.iter().map(|created| created.id);
        side.commit.open_keyspaces(inner, created);
    }
    change.count(&inner.metrics);
    inner.super_versions.set_version(version, change.flushed(), &inner.obsolete);
    inner.shape_changed();
}

impl Inner {
    /// The keyspace of this name.
    pub(crate) fn find_keyspace(&self, name: &str) -> Option<KeyspaceId> {
        self.super_versions.load().version.state.version.keyspace(name)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use lsm_base::fs::{Fault, FaultFs, MemFs, OpKind};

    use super::*;
    use crate::{Db, Options};

    fn store() -> Db {
        let options = Options { background_threads: 0, ..Options::default() };
        Db::builder("db").options(options).fs(Arc::new(MemFs::new())).open().unwrap()
    }

    #[test]
    fn a_manifest_may_grow_to_a_mebibyte_and_to_six_times_its_first_record() {
        for (len, base_len, expected) in [
            ((1 << 20) - 1, 100, false),
            (1 << 20, 100, true),
            ((1 << 20) + 1, 0, true),
            (1 << 20, 1 << 20, false),
            ((6 << 20) - 1, 1 << 20, false),
            (6 << 20, 1 << 20, true),
        ] {
            assert_eq!(is_outgrown(len, base_len), expected, "{len} behind {base_len}");
        }
    }

    #[test]
    fn a_flush_counts_once_and_makes_the_tables_a_prefix() {
        let db = store();
        let inner = db.inner();
        let manifest_len = inner.versions.manifest_len();
        let seq = db.put("a", "1").unwrap();
        db.flush().unwrap();
        let metrics = db.metrics();
        assert_eq!((metrics.flushes, metrics.flush_bytes), (1, metrics.disk.tables));
        assert!(0 < metrics.flush_bytes);
        assert_eq!(metrics.disk.manifest, inner.versions.manifest_len());
        assert!(manifest_len + 50 < metrics.disk.manifest);
        let current = inner.versions.lock();
        assert_eq!((current.state().last_seq, current.flushed_seq), (seq, seq));
        assert!(current.is_prefix() && !current.is_undecided());
    }

    #[test]
    fn a_manifest_begun_anew_holds_everything_and_no_number_twice() {
        let db = store();
        let inner = db.inner();
        db.put("a", "1").unwrap();
        db.flush().unwrap();
        let mut current = inner.versions.lock();
        let (number, state) = (current.number, Arc::clone(current.state()));
        let change = VersionEdit::default().into();
        inner.versions.log_anew(inner, &mut current, change).unwrap();
        assert!(number < current.number);
        assert!(current.number < current.state().next_file_number);
        assert_eq!(current.state().last_seq, state.last_seq);
        assert_eq!(manifest::read_current(&*inner.fs, &inner.dir).unwrap(), current.number);
        let (read, report) = manifest::read(&inner.fs, &inner.dir, current.number).unwrap();
        assert_eq!((read.next_file_number, report.records), (current.state().next_file_number, 1));
        assert_eq!(current.base_len, inner.versions.manifest_len());
    }

    #[test]
    fn an_edit_may_take_effect_yet_while_it_or_the_journal_is_in_question() {
        let db = store();
        let mut current = db.inner().versions.lock();
        assert!(!current.is_undecided());
        current.undecided = Some(VersionEdit::default().into());
        assert!(current.is_undecided());
        let journal = current.journal.take();
        assert!(current.is_undecided());
        current.undecided = None;
        assert!(current.is_undecided());
        current.journal = journal;
        current.flushed_seq = Seq::new(77);
        assert!(!current.is_undecided() && !current.is_prefix());
    }

    #[test]
    fn a_manifest_that_is_only_read_has_its_length_told() {
        let fs: Arc<dyn lsm_base::Fs> = Arc::new(MemFs::new());
        let builder = || Db::builder("db").fs(Arc::clone(&fs));
        builder().open().unwrap().close().unwrap();
        let db = builder().open_read_only().unwrap();
        let number = manifest::read_current(&*fs, &db.inner().dir).unwrap();
        let path = FileName::Manifest(number).path(&db.inner().dir);
        let len = fs.open(&path).unwrap().len().unwrap();
        assert_eq!((0 < len, db.metrics().disk.manifest), (true, len));
    }

    #[test]
    fn only_an_append_that_found_no_space_is_tried_in_another_manifest() {
        for (kind, fault, is_decided) in [
            (OpKind::Write, Fault::Enospc, true),
            (OpKind::Write, Fault::Eio, false),
            (OpKind::SyncData, Fault::Eio, false),
            (OpKind::SyncData, Fault::Enospc, false),
        ] {
            let fs = FaultFs::new(Arc::new(MemFs::new()));
            let options = Options { background_threads: 0, ..Options::default() };
            let builder = Db::builder("db").options(options).fs(Arc::new(fs.clone()));
            let db = builder.open().unwrap();
            let inner = db.inner();
            let mut current = inner.versions.lock();
            let number = current.number;
            fs.set_plan(move |op| {
                let is_append = op.file_name() == Some(FileName::Manifest(number));
                (is_append && op.kind == kind).then_some(fault)
            });
            let edit = VersionEdit::default();
            let logged = inner.versions.log_and_apply(inner, &mut current, edit.into());
            assert!(0 < fs.injected(), "{kind:?}");
            fs.clear_plan();
            assert_eq!((logged.is_ok(), number < current.number), (is_decided, is_decided));
            assert_eq!(matches!(inner.health.get(), Health::Poisoned(_)), !is_decided);
            assert_eq!(current.is_undecided(), !is_decided);
        }
    }
}
