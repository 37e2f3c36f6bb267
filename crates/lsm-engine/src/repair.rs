//! Repair: what is left of a damaged store, in a new directory.
//!
//! 1. The source is locked as by an open for reading only, and never changed. `source.rs`: what of it
//!    the disk refuses to read is damaged.
//! 2. `evidence.rs`: what CURRENT and the MANIFEST say, and whether that can be believed.
//! 3. `tables.rs`: which tables count, and where they are.
//! 4. `log.rs`: what the log still gives goes into tables of the target, a memtable at a time.
//! 5. `merge.rs`: all of it is merged, keyspace by keyspace; of each key the newest version stays,
//!    with its sequence, unless it is a tombstone.
//! 6. The target gets its MANIFEST, then CURRENT, as a checkpoint does: without CURRENT a directory
//!    with tables is refused.
//!
//! Invariant: a key for which the target answers anything else than the source was told last lies in
//! a range that the report names. Memory holds a memtable, and of each run of disjoint tables a block
//! and the fences of one table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::fs::{FileLock, StdFs};
use lsm_base::plant::{self, Plant};
use lsm_base::{FileName, Fs, Seq};
use lsm_compaction::edit::LogFloor;
use lsm_compaction::{LEVELS, State, TableMeta, VersionEdit};
use lsm_wal::FILE_HEADER_LEN;

use crate::build::TableFactory;
use crate::builder::machine_memory;
use crate::checkpoint::begin;
use crate::error::{Error, Result};
use crate::file_numbers::FileNumbers;
use crate::inner::{new_db_id, random_u64};
use crate::manifest;
use crate::options::{Options, Resolved};
use crate::progress::Progress;
use crate::recovery::Recovery;

mod evidence;
mod keyspaces;
mod log;
mod merge;
mod report;
mod source;
mod tables;

pub use report::{LostRange, RepairReport};

use evidence::Evidence;
use keyspaces::Keyspaces;
use report::Ledger;
use source::{Source, Unreadable};

/// Brings what is left of the store in `source` into a new one in `target`, with default options.
///
/// # Errors
/// As [`Repair::run`].
pub fn repair(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<RepairReport> {
    Repair::new(source, target).run()
}

/// A repair that is to be made.
///
/// ```
/// # use lsm_engine::{Db, Read, Repair};
/// # fn main() -> lsm_engine::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let (damaged, repaired) = (dir.path().join("damaged"), dir.path().join("repaired"));
/// # let db = Db::open(&damaged)?;
/// # db.put("apple", "red")?;
/// # db.close()?;
/// # std::fs::remove_file(damaged.join("CURRENT")).unwrap();
/// assert!(Db::open(&damaged).is_err());
/// let report = Repair::new(&damaged, &repaired).run()?;
/// for lost in &report.lost {
///     println!("{lost}");
/// }
/// assert_eq!(Db::open(&repaired)?.get("apple")?.unwrap(), b"red");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Repair {
    source: PathBuf,
    target: PathBuf,
    options: Options,
    fs: Arc<dyn Fs>,
    progress: Progress,
}

impl Repair {
    /// A repair of the store in `source` into `target`, which is empty or not there yet.
    #[must_use]
    pub fn new(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Repair {
        Repair {
            source: source.as_ref().to_owned(),
            target: target.as_ref().to_owned(),
            options: Options::default(),
            fs: Arc::new(StdFs),
            progress: Progress::new(),
        }
    }

    /// Sets the options, as of a database: they say how the new tables are built, and how large a
    /// memtable is.
    #[must_use]
    pub fn options(mut self, options: Options) -> Repair {
        self.options = options;
        self
    }

    /// Sets the file system; unset is the operating system's.
    #[must_use]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Repair {
        self.fs = fs;
        self
    }

    /// Tells how far it is.
    #[must_use]
    pub fn progress(mut self, progress: &Progress) -> Repair {
        self.progress = progress.clone();
        self
    }

    /// Reads the source, and makes the target.
    ///
    /// # Errors
    /// Kind `Locked` if the source is open; `InvalidArgument` if the target is not empty, or is or lies
    /// in the source; `MissingFile` if the source has no file of a store; `UnsupportedFormat` if a file
    /// of it is of a later release; `Io`, `NoSpace`, though not for what the disk refuses to read of the
    /// source: that is damage. What was begun in the target is gone then, if the
    /// file system lets it go: all that is left is a LOCK, or a directory that an open refuses.
    pub fn run(self) -> Result<RepairReport> {
        let options = self.options.resolve(machine_memory())?;
        if self.source.as_os_str().is_empty() || self.target.as_os_str().is_empty() {
            return Err(Error::invalid("the path of a store is empty"));
        }
        let source = self.fs.absolute(&self.source)?;
        let target = self.fs.absolute(&self.target)?;
        if resolve(&*self.fs, &target)?.starts_with(resolve(&*self.fs, &source)?) {
            let detail = format!("{} lies in the store that is repaired", target.display());
            return Err(Error::invalid(detail));
        }
        let _source_lock = lock(&*self.fs, &source)?;
        let files = list_store(&*self.fs, &source)?;
        let copy = Recovery { fs: &self.fs, dir: &target, options: &options };
        let _lock = begin(&copy)?;
        let made = self.fill(&source, &files, &copy);
        if made.is_err() {
            copy.remove_all_but(&BTreeSet::from([FileName::Lock]));
        }
        made
    }

    fn fill(
        &self,
        source: &Path,
        files: &BTreeSet<FileName>,
        copy: &Recovery<'_>,
    ) -> Result<RepairReport> {
        copy.sync_parent()?;
        let numbers = FileNumbers::from(2);
        let factory = TableFactory {
            fs: &self.fs,
            dir: copy.dir,
            options: copy.options,
            numbers: &numbers,
            obsolete: None,
        };
        let readable = Source::new(&self.fs);
        let unreadable = readable.unreadable();
        let fs: Arc<dyn Fs> = Arc::new(readable);
        let mut evidence = Evidence::gather(&fs, &unreadable, source, files)?;
        let mut ledger = Ledger::default();
        let mut keyspaces = Keyspaces::default();
        let mut found = tables::find(&fs, source, files, &evidence, &mut ledger)?;
        if !evidence.settle(&found, files, source) {
            ledger.begin_anew();
            found = tables::find(&fs, source, files, &evidence, &mut ledger)?;
        }
        evidence.tell(&mut ledger);
        keyspaces.learn(&evidence, &found);
        self.progress.begin(found.bytes() + log::bytes(&*fs, source, files));
        let progress = &self.progress;
        let job = Job { fs: &fs, unreadable: &unreadable, source, files, factory, progress };
        let spilled = log::spill(&job, &evidence, &mut keyspaces, &mut ledger)?;
        if plant::is_live(Plant::RepairNamedTooEarly) {
            let (number, none) = (numbers.take(), &[]);
            let state = self.state(&evidence, &keyspaces, none, &numbers, &ledger)?;
            manifest::create(copy.fs, copy.dir, number, random_u64(), &state)?;
            manifest::set_current(&**copy.fs, copy.dir, number).map_err(lsm_base::Error::from)?;
        }
        let tables = merge::merge(&job, &keyspaces, found, &spilled, &mut ledger)?;
        factory.remove(&spilled.numbers());
        let number = numbers.take();
        let state = self.state(&evidence, &keyspaces, &tables, &numbers, &ledger)?;
        manifest::create(copy.fs, copy.dir, number, random_u64(), &state)?;
        manifest::set_current(&**copy.fs, copy.dir, number).map_err(lsm_base::Error::from)?;
        self.progress.end();
        Ok(ledger.report(&keyspaces, &unreadable))
    }

    /// The state of the target.
    fn state(
        &self,
        evidence: &Evidence,
        keyspaces: &Keyspaces,
        tables: &[Arc<TableMeta>],
        numbers: &FileNumbers,
        ledger: &Ledger,
    ) -> Result<State> {
        let mut edit = VersionEdit {
            created_keyspaces: keyspaces.created(),
            next_keyspace_id: Some(evidence.next_keyspace_id),
            log_floor: Some(LogFloor { first_segment: 1, ..LogFloor::default() }),
            next_file_number: Some(numbers.next()),
            first_seq: Some(evidence.first_seq),
            last_seq: Some(evidence.last_seq.max(ledger.last_seq)),
            ..VersionEdit::default()
        };
        for table in tables {
            edit.add_table(LEVELS - 1, Arc::clone(table));
        }
        Ok(State::new(new_db_id()).apply(&edit)?)
    }
}

/// What the steps of a repair work on.
struct Job<'a> {
    /// Of the source.
    fs: &'a Arc<dyn Fs>,
    unreadable: &'a Unreadable,
    source: &'a Path,
    files: &'a BTreeSet<FileName>,
    factory: TableFactory<'a>,
    progress: &'a Progress,
}

impl Job<'_> {
    fn options(&self) -> &Resolved {
        self.factory.options
    }
}

/// The path of a directory without links; of one that is not there yet, by that of its parent.
fn resolve(fs: &dyn Fs, path: &Path) -> Result<PathBuf> {
    let canonical = |path: &Path| match fs.canonical(path) {
        Err(error) if error.is_not_found() => Ok(None),
        found => found.map(Some),
    };
    if let Some(found) = canonical(path)? {
        return Ok(found);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(path.to_owned());
    };
    Ok(canonical(parent)?.map_or_else(|| path.to_owned(), |parent| parent.join(name)))
}

/// Keeps everybody else from opening the store, as an open for reading only does. A directory that
/// lost its LOCK is open to nobody.
fn lock(fs: &dyn Fs, source: &Path) -> Result<Option<Box<dyn FileLock>>> {
    let path = FileName::Lock.path(source);
    if plant::is_live(Plant::RepairChangesSource) {
        return Ok(Some(fs.lock(&path)?));
    }
    match fs.lock_existing(&path) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The files of the store, of which there must be one that says something. What stands under the name
/// of one and is none is a file that is lost.
fn list_store(fs: &dyn Fs, source: &Path) -> Result<BTreeSet<FileName>> {
    let missing = || lsm_base::Error::MissingFile(FileName::Current.path(source));
    let entries = fs.list(source).map_err(|error| match error.is_not_found() {
        true => missing(),
        false => error,
    })?;
    let files = entries.iter().filter_map(|entry| {
        let name = FileName::parse(&entry.name)?;
        // What has no room for a header says nothing of the log: somebody may have put it there.
        let is_segment = entry.is_file && FILE_HEADER_LEN <= entry.len;
        (is_segment || !matches!(name, FileName::Log(_))).then_some(name)
    });
    let files: BTreeSet<_> = files.collect();
    let says_something = |file: &FileName| {
        use FileName::{Current, Log, Manifest, Table};
        matches!(file, Current | Manifest(_) | Table(_) | Log(_))
    };
    match files.iter().any(says_something) {
        true => Ok(files),
        false => Err(missing().into()),
    }
}

/// The largest of some sequences.
fn last_of(seqs: impl IntoIterator<Item = Seq>) -> Seq {
    seqs.into_iter().fold(Seq::ZERO, Seq::max)
}
