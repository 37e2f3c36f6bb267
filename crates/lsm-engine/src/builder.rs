//! Opening a database, with settings and components of the caller's choice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use lsm_base::fs::FileLock;
use lsm_base::plant::{self, Plant};
use lsm_base::{FileName, Fs, KeyspaceId, Seq};
use lsm_compaction::{State, Tree};
use lsm_sstable::BlockCache;
use parking_lot::{Mutex, RwLock};

use crate::admission::Admission;
use crate::background::Background;
use crate::commit::Commit;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::event::{EventListener, Untold};
use crate::generation::{Generation, GenerationView};
use crate::handle::Handle;
use crate::health::HealthCell;
use crate::inner::{Inner, WriteSide, random_u64};
use crate::open_tree::OpenVersion;
use crate::options::{Options, Resolved};
use crate::pressure::Pressure;
use crate::promise::Promises;
use crate::recovery::{Recovered, Recovery, keyspace_ids};
use crate::replay_buffer::ARENA_SLACK;
use crate::scrub::Scrub;
use crate::super_version::{SuperVersion, SuperVersions};
use crate::sync_gate::SyncGate;
use crate::version_set::VersionSet;

/// Settings and components of a database that is to be opened.
#[derive(Debug)]
pub struct DbBuilder {
    dir: PathBuf,
    options: Options,
    fs: Arc<dyn Fs>,
    listener: Option<Arc<dyn EventListener>>,
}

impl DbBuilder {
    pub(crate) fn new(dir: &Path) -> DbBuilder {
        let (options, fs) = (Options::default(), Arc::new(lsm_base::fs::StdFs));
        DbBuilder { dir: dir.to_owned(), options, fs, listener: None }
    }

    /// Sets the options.
    #[must_use]
    pub fn options(mut self, options: Options) -> DbBuilder {
        self.options = options;
        self
    }

    /// Sets the file system; unset is the operating system's. With the feature `testing` there are
    /// two more in [`base::fs`](crate::base::fs): a disk in memory that loses its power, and one
    /// whose operations go wrong as planned.
    #[must_use]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> DbBuilder {
        self.fs = fs;
        self
    }

    /// Sets who is told about background work.
    #[must_use]
    pub fn listener(mut self, listener: impl EventListener) -> DbBuilder {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Opens the database, creating it if the directory has none. The directory is created too,
    /// its parents are not. A relative path is taken from the working directory of this moment.
    ///
    /// The lock is on the file LOCK itself, so a link or a bind mount leads to the same one. All
    /// descriptors are close-on-exec: a program that the process runs has none of them. A child
    /// that was forked and runs none must not use the database, nor drop a handle of it: it has
    /// its parent's lock and log, and none of the threads.
    ///
    /// # Errors
    /// Kind `Locked` if it is open already; `InvalidArgument` for options out of range or no path;
    /// `Corruption`, `MissingFile` or `UnsupportedFormat` if its files are not what was written,
    /// after which nothing was changed, but that there may be an empty file LOCK now; `Io`, `NoSpace`.
    pub fn open(mut self) -> Result<Db> {
        let options = self.options.resolve(machine_memory())?;
        self.fix_dir()?;
        self.create_dir()?;
        let mut lock_path = FileName::Lock.path(&self.dir);
        if plant::is_live(Plant::LockIgnored) {
            lock_path.set_extension(random_u64().to_string());
        }
        let lock = self.fs.lock(&lock_path)?;
        self.fs = Arc::new(SyncGate::new(self.fs, &self.dir));
        let recovery = Recovery { fs: &self.fs, dir: &self.dir, options: &options };
        let recovered = recovery.run()?;
        let inner = Arc::new(self.assemble(options, recovered, lock));
        inner.update_pressure();
        // If nobody can say, it is asked again when a log segment is needed.
        let _ = inner.look_at_space();
        Background::start(&inner)?;
        Ok(Db::new(Handle::new(inner)))
    }

    /// Opens the database for reading only: nothing in the directory is changed, and no writer can
    /// open it meanwhile.
    ///
    /// # Errors
    /// As [`open`](Self::open); `MissingFile` if the directory has no database.
    pub fn open_read_only(mut self) -> Result<Db> {
        let options = self.options.resolve(machine_memory())?;
        self.fix_dir()?;
        let current = FileName::Current.path(&self.dir);
        if !self.fs.exists(&current)? {
            return Err(lsm_base::Error::MissingFile(current).into());
        }
        let lock_path = FileName::Lock.path(&self.dir);
        let lock =
            self.fs.lock_existing(&lock_path).map_err(|error| match error.is_not_found() {
                true => lsm_base::Error::MissingFile(lock_path),
                false => error,
            })?;
        let recovery = Recovery { fs: &self.fs, dir: &self.dir, options: &options };
        let mut read = recovery.read_only()?;
        let active = read.generations.remove(0);
        let versions = VersionSet::new(Arc::clone(&read.state), read.manifest_number, None);
        let manifest = FileName::Manifest(read.manifest_number).path(&self.dir);
        versions.set_manifest_len(self.fs.open(&manifest)?.len()?);
        let parts = Parts {
            state: read.state,
            active,
            sealed: read.generations,
            versions,
            write_side: None,
            read_only_seq: read.last_seq,
            health: HealthCell::read_only(),
            report: read.report,
        };
        Ok(Db::new(Handle::new(Arc::new(self.inner(options, parts, lock)))))
    }

    /// Lets the path mean the same for the life of the database, whatever the working directory.
    fn fix_dir(&mut self) -> Result<()> {
        if self.dir.as_os_str().is_empty() {
            return Err(Error::invalid("the path of the database is empty"));
        }
        self.dir = self.fs.absolute(&self.dir)?;
        Ok(())
    }

    fn create_dir(&self) -> Result<()> {
        if self.fs.exists(&self.dir)? {
            return Ok(());
        }
        match self.fs.create_dir(&self.dir) {
            // Another opener was faster; the lock decides between the two.
            Err(_) if self.fs.exists(&self.dir)? => Ok(()),
            created => Ok(created?),
        }
    }

    fn assemble(self, options: Resolved, recovered: Recovered, lock: Box<dyn FileLock>) -> Inner {
        let Recovered { state, manifest_number, journal, wal, next_seq, orphans, report } =
            recovered;
        let arena = lsm_memtable::Arena::new(options.memtable_size + ARENA_SLACK);
        let generation = Generation::new(1, wal.active_segment(), wal.active_len(), arena);
        let active = GenerationView::empty(generation);
        let prefixes = common_prefixes(&state);
        let commit =
            Commit::new(next_seq, active.clone(), keyspace_ids(&state), prefixes, wal.remaining());
        let versions = VersionSet::new(Arc::clone(&state), manifest_number, Some(journal));
        let parts = Parts {
            state,
            active,
            sealed: Vec::new(),
            versions,
            write_side: Some(WriteSide { wal, commit }),
            read_only_seq: Seq::ZERO,
            health: HealthCell::running(),
            report,
        };
        let inner = self.inner(options, parts, lock);
        orphans.into_iter().for_each(|file| inner.obsolete.add_file(file));
        inner
    }

    fn inner(self, options: Resolved, parts: Parts, lock: Box<dyn FileLock>) -> Inner {
        let cache = BlockCache::new(options.block_cache_size as u64);
        let mode = options.read_mode(&parts.state);
        let open = |meta: &lsm_compaction::TableMeta| {
            crate::inner::open_table(&self.fs, &self.dir, mode, &cache, meta)
        };
        let version = Arc::new(OpenVersion::new(parts.state, None, open));
        let first = SuperVersion { active: parts.active, sealed: parts.sealed, version };
        Inner {
            super_versions: SuperVersions::new(first),
            snapshots: Arc::default(),
            versions: parts.versions,
            obsolete: Default::default(),
            giving_back: Mutex::default(),
            metrics: Default::default(),
            health: parts.health,
            background: Background::default(),
            pressure: Pressure::new(),
            promises: Promises::default(),
            admission: Admission::new(Instant::now()),
            scrub: Mutex::new(Scrub::new(Instant::now())),
            recovery: parts.report,
            opened: Instant::now(),
            write_side: parts.write_side,
            read_only_seq: parts.read_only_seq,
            calls: RwLock::new(()),
            lock: Mutex::new(Some(lock)),
            listener: self.listener,
            untold: Untold::default(),
            cache,
            options,
            dir: self.dir,
            fs: self.fs,
        }
    }
}

/// What recovery contributes to a database.
struct Parts {
    state: Arc<lsm_compaction::State>,
    active: GenerationView,
    sealed: Vec<GenerationView>,
    versions: VersionSet,
    write_side: Option<WriteSide>,
    read_only_seq: Seq,
    health: HealthCell,
    report: crate::recovery::RecoveryReport,
}

/// What the keys in the tables of each keyspace begin with.
fn common_prefixes(state: &State) -> BTreeMap<KeyspaceId, Vec<u8>> {
    let prefix = |tree: &Tree| {
        let smallest = tree.tables().map(|(_, table)| &table.smallest.user_key).min()?;
        let largest = tree.tables().map(|(_, table)| &table.largest.user_key).max()?;
        // Every key lies between these two, so it begins with what they have in common.
        let common = smallest.iter().zip(largest.iter()).take_while(|(a, b)| a == b);
        Some(common.map(|(byte, _)| *byte).collect())
    };
    state.version.trees().filter_map(|(id, tree)| Some((id, prefix(tree)?))).collect()
}

/// The memory that this process may use, in bytes: the machine's, or a GiB if it does not say.
/// Looked up once: the files of the system that tell cost more than the open of a small store.
pub(crate) fn machine_memory() -> usize {
    static MEMORY: OnceLock<usize> = OnceLock::new();
    *MEMORY.get_or_init(|| lsm_base::fs::machine_memory().unwrap_or(1 << 30))
}
