//! What all handles of a database share.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use lsm_base::fs::FileLock;
use lsm_base::{Fs, Seq, WriteBatch};
use lsm_compaction::TableMeta;
use lsm_sstable::{BlockCache, ReadMode, Table};
use lsm_wal::Wal;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::admission::Admission;
use crate::background::Background;
use crate::commit::Commit;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventListener, Untold};
use crate::health::HealthCell;
use crate::metrics::Counters;
use crate::obsolete::Obsolete;
use crate::options::Resolved;
use crate::pressure::Pressure;
use crate::promise::Promises;
use crate::recovery::RecoveryReport;
use crate::scrub::Scrub;
use crate::snapshot::SnapshotRegister;
use crate::super_version::SuperVersions;
use crate::version_set::VersionSet;

/// The database behind its handles.
pub(crate) struct Inner {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Resolved,
    pub(crate) listener: Option<Arc<dyn EventListener>>,
    pub(crate) untold: Untold,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) super_versions: SuperVersions,
    pub(crate) snapshots: Arc<SnapshotRegister>,
    pub(crate) versions: VersionSet,
    pub(crate) obsolete: Obsolete,
    /// Held by whoever unlinks what is obsolete. Others are taken under it, and none above it but that
    /// of the flush.
    pub(crate) giving_back: Mutex<()>,
    pub(crate) metrics: Counters,
    pub(crate) health: HealthCell,
    pub(crate) background: Background,
    pub(crate) pressure: Pressure,
    pub(crate) promises: Promises,
    pub(crate) admission: Admission,
    pub(crate) scrub: Mutex<Scrub>,
    pub(crate) recovery: RecoveryReport,
    pub(crate) opened: Instant,
    /// Log and commit path; a database open for reading only has none.
    pub(crate) write_side: Option<WriteSide>,
    /// What readers see of a database that is open for reading only.
    pub(crate) read_only_seq: Seq,
    /// Held for reading by calls that change files on their own thread; the close waits for them.
    pub(crate) calls: RwLock<()>,
    /// Released by the close.
    pub(crate) lock: Mutex<Option<Box<dyn FileLock>>>,
}

/// A call that changes files on its caller's thread. If it ends in a panic of the file system,
/// writes stop: how far it came is not known.
pub(crate) struct Call<'a> {
    inner: &'a Inner,
    /// A call that is made while its thread unwinds has nothing to do with that.
    was_panicking: bool,
    _calls: RwLockReadGuard<'a, ()>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if thread::panicking() && !self.was_panicking {
            self.inner.give_up();
        }
    }
}

/// What only a writable database has.
#[derive(Debug)]
pub(crate) struct WriteSide {
    pub(crate) wal: Wal,
    pub(crate) commit: Commit,
}

impl Inner {
    /// Requires: a writable database, as after [`check_writable`](Self::check_writable).
    pub(crate) fn wal(&self) -> &Wal {
        &self.write_side.as_ref().expect("only a writable database reaches the log").wal
    }

    /// Requires: a writable database, as after [`check_writable`](Self::check_writable).
    pub(crate) fn commit(&self) -> &Commit {
        &self.write_side.as_ref().expect("only a writable database commits").commit
    }

    /// The last sequence that readers see.
    pub(crate) fn visible(&self) -> Seq {
        match &self.write_side {
            Some(side) => side.commit.publication().visible(),
            None => self.read_only_seq,
        }
    }

    /// The sequences that flush and compaction must respect, ascending.
    pub(crate) fn live_seqs(&self) -> Vec<Seq> {
        match &self.write_side {
            Some(_) => self.snapshots.live(|| self.visible()),
            None => vec![self.read_only_seq],
        }
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        self.health.check_writable()
    }

    /// Whether a batch is taken.
    pub(crate) fn check_takes(&self, batch: &WriteBatch) -> Result<()> {
        self.health.check_takes(|| batch.has_puts())
    }

    /// Begins a call that changes files on the caller's thread, other than the append of a leader.
    /// The close waits until the guard is dropped.
    pub(crate) fn begin_call(&self) -> Result<Call<'_>> {
        // Recursive: calls are made of calls, and none may wait for a close that waits for it.
        let calls = self.calls.read_recursive();
        self.begin_change()?;
        Ok(Call { inner: self, was_panicking: thread::panicking(), _calls: calls })
    }

    /// Whether a call that changes something may begin. Without threads nobody else would look
    /// whether a full disk has space again.
    pub(crate) fn begin_change(&self) -> Result<()> {
        if self.options.background_threads == 0 && self.health.lacks_space() {
            // The close waits for this too; once it has begun, nothing is done here.
            let _guard = self.calls.read_recursive();
            // Why these failed shows in the state that they leave.
            let _ = self.give_back();
            let _ = self.look_for_space();
        }
        self.check_writable()
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        self.health.check_open()
    }

    /// Whether another generation may be sealed: memory has room for one more.
    pub(crate) fn may_rotate(&self) -> bool {
        self.super_versions.load().sealed.len() < self.options.max_sealed
    }

    /// The handle of a table; no file is touched.
    pub(crate) fn open_table(&self, mode: ReadMode, meta: &TableMeta) -> Arc<Table> {
        open_table(&self.fs, &self.dir, mode, &self.cache, meta)
    }

    /// Stops writes until the next open.
    pub(crate) fn poison(&self, cause: &lsm_base::Error) {
        if self.health.poison(&cause.to_string()) {
            let error = Error::poisoned(cause.to_string());
            self.note(Event::BackgroundError { work: "write", error });
        }
        self.background.changed();
    }

    /// Stops writes until the next open, because a thread panicked and left something half done.
    pub(crate) fn give_up(&self) -> lsm_base::Error {
        let error = lsm_base::Error::io("write", &self.dir, io::Error::other("a thread panicked"));
        self.poison(&error);
        error
    }

    /// Stops writes until space returns.
    pub(crate) fn report_no_space(&self, cause: &lsm_base::Error) {
        if self.health.set_no_space() {
            let error = cause.clone().into();
            self.note(Event::BackgroundError { work: "write", error });
        }
        self.background.changed();
    }

    /// Counts damage that a read met.
    pub(crate) fn note_read_error(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Corruption {
            self.metrics.corruptions.add(1);
        }
        error
    }

    /// Keeps an event until somebody [tells](Self::tell) it: a worker between two pieces of work,
    /// a call without threads at its end, or the close.
    pub(crate) fn note(&self, event: Event) {
        if self.listener.is_some() {
            self.untold.push(event);
        }
    }

    /// Tells the listener what was noted. A listener that blocks or panics must keep nobody else
    /// from an answer. So this is for threads that hold no lock, have no request in the queue of
    /// writes, and have left nothing half done.
    pub(crate) fn tell(&self) {
        let Some(listener) = &self.listener else { return };
        while let Some(event) = self.untold.pop() {
            listener.on_event(&event);
        }
    }
}

/// The handle of a table; no file is touched.
pub(crate) fn open_table(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    mode: ReadMode,
    cache: &Arc<BlockCache>,
    meta: &TableMeta,
) -> Arc<Table> {
    Table::new(meta.source(fs, dir), mode, Arc::clone(cache))
}

/// A random number, for ids and epochs: they tell files apart, and guard nothing.
pub(crate) fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    u64::from_le_bytes(bytes)
}

/// The id of a store that is begun.
pub(crate) fn new_db_id() -> u128 {
    u128::from(random_u64()) << 64 | u128::from(random_u64())
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("dir", &self.dir)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}
