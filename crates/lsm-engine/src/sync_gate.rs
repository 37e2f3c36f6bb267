//! The one way to a sync of the store's directory.
//!
//! Several threads make files and sync the directory for their names: whoever makes log segments,
//! flushes, compacts, or writes the MANIFEST. A sync that fails may make the system forget the names
//! of all of them, while it is told to one thread alone; the sync of another, a moment later, then
//! succeeds for nothing. So all of them go through here.
//!
//! Invariant: a sync of the directory begins when the one before it has returned. Once one has
//! failed, or panicked, every later one fails alike and the disk is not asked again. What kept one
//! from beginning, such as a lack of descriptors, has forgotten nothing and is not kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::fs::{DirEntry, File, FileLock, Space};
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, Fs, Result};
use parking_lot::Mutex;

use crate::manifest::is_sync;

/// A file system in which a failed sync of one directory is told to all who sync it.
#[derive(Debug)]
pub(crate) struct SyncGate {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Held while the directory is synced.
    failure: Mutex<Option<Error>>,
}

impl SyncGate {
    pub(crate) fn new(fs: Arc<dyn Fs>, dir: &Path) -> SyncGate {
        SyncGate { fs, dir: dir.to_owned(), failure: Mutex::new(None) }
    }
}

impl Fs for SyncGate {
    fn sync_dir(&self, dir: &Path) -> Result<()> {
        if *dir != *self.dir {
            return self.fs.sync_dir(dir);
        }
        let mut failure = self.failure.lock();
        if let Some(error) = &*failure
            && !plant::is_live(Plant::DirSyncTriedAgain)
        {
            return Err(error.clone());
        }
        // It stays if the file system panics.
        let doubt = io::Error::other("an earlier sync did not return");
        *failure = Some(Error::io("sync directory", dir, doubt));
        let result = self.fs.sync_dir(dir);
        *failure = result.as_ref().err().filter(|error| is_sync(error)).cloned();
        result
    }

    fn absolute(&self, path: &Path) -> Result<PathBuf> {
        self.fs.absolute(path)
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        self.fs.canonical(path)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.fs.create_dir(dir)
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.fs.create(path)
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.fs.open(path)
    }

    fn open_writable(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.fs.open_writable(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.fs.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.fs.link(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.fs.remove(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        self.fs.list(dir)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.fs.exists(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>> {
        self.fs.lock(path)
    }

    fn lock_existing(&self, path: &Path) -> Result<Box<dyn FileLock>> {
        self.fs.lock_existing(path)
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        self.fs.space(dir)
    }

    #[cfg(any(test, feature = "testing"))]
    fn forget_unsynced(&self, dir: &Path) {
        self.fs.forget_unsynced(dir);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{self, AssertUnwindSafe};
    use std::sync::mpsc::sync_channel;
    use std::thread;

    use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, Op, OpKind};

    use super::*;

    const DIR: &str = "db";

    fn prepared() -> (MemFs, FaultFs, SyncGate) {
        let memory = MemFs::new();
        memory.create_dir(DIR.as_ref()).unwrap();
        let fs = FaultFs::new(Arc::new(memory.clone()));
        let gate = SyncGate::new(Arc::new(fs.clone()), DIR.as_ref());
        (memory, fs, gate)
    }

    fn syncs(fs: &FaultFs) -> usize {
        fs.trace().iter().filter(|op| op.kind == OpKind::SyncDir).count()
    }

    /// While one thread stands in a sync that will fail and forget, another makes a file.
    #[test]
    fn a_sync_beside_one_that_fails_is_not_believed() {
        let (memory, fs, gate) = prepared();
        let (begun, begins) = sync_channel(1);
        let (made, is_made) = sync_channel(1);
        let is_made = Mutex::new(Some(is_made));
        fs.before_each(move |op: &Op| {
            if op.kind == OpKind::SyncDir
                && let Some(is_made) = is_made.lock().take()
            {
                begun.send(()).unwrap();
                is_made.recv().unwrap();
            }
        });
        let count = std::sync::atomic::AtomicUsize::new(0);
        fs.set_plan(move |op| {
            let is_first = op.kind == OpKind::SyncDir
                && count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            is_first.then_some(Fault::ForgettingSync)
        });
        thread::scope(|scope| {
            let first = scope.spawn(|| gate.sync_dir(DIR.as_ref()));
            begins.recv().unwrap();
            gate.create("db/named".as_ref()).unwrap();
            let second = scope.spawn(|| gate.sync_dir(DIR.as_ref()));
            made.send(()).unwrap();
            first.join().unwrap().unwrap_err();
            let second = second.join().unwrap();
            let is_kept = memory.crash(Keep::SyncedOnly).exists("db/named".as_ref()).unwrap();
            assert!(second.is_err() && !is_kept, "{second:?}, is kept: {is_kept}");
        });
        gate.sync_dir(DIR.as_ref()).unwrap_err();
        assert_eq!(syncs(&fs), 1);
    }

    #[test]
    fn a_sync_that_panicked_has_failed() {
        let (_, fs, gate) = prepared();
        fs.before_each(|op: &Op| assert_ne!(op.kind, OpKind::SyncDir, "planned"));
        let sync = || gate.sync_dir(DIR.as_ref());
        panic::catch_unwind(AssertUnwindSafe(sync)).unwrap_err();
        fs.clear_hooks();
        sync().unwrap_err();
    }

    #[test]
    fn what_kept_a_sync_from_beginning_passes() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join(DIR);
        let gate = SyncGate::new(Arc::new(lsm_base::fs::StdFs), &dir);
        let error = gate.sync_dir(&dir).unwrap_err();
        assert!(!is_sync(&error), "{error}");
        gate.create_dir(&dir).unwrap();
        gate.sync_dir(&dir).unwrap();
    }

    #[test]
    fn another_directory_is_judged_by_itself() {
        let (_, fs, gate) = prepared();
        fs.set_plan(|op| (op.kind == OpKind::SyncDir).then_some(Fault::Eio));
        gate.sync_dir(".".as_ref()).unwrap_err();
        fs.clear_plan();
        gate.sync_dir(DIR.as_ref()).unwrap();
        gate.sync_dir(DIR.as_ref()).unwrap();
        gate.sync_dir(".".as_ref()).unwrap();
    }
}
