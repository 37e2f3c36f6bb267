//! What the tests of crashes and faults share: a small store on a simulated disk, a script that
//! writes to it, and the judge of what a recovery gives back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use lsm_base::fs::{Fault, FaultFs, MemFs, Op};
use lsm_base::{FileName, Fs};
use lsm_engine::{Db, ErrorKind, Event, Options, ReadMode, Recheck, Result};

pub(crate) mod cuts;
pub(crate) mod script;
pub(crate) mod specimen;

/// Where the store is, on a file system in memory.
pub(crate) const DIR: &str = "db";

/// Options that make a few hundred writes flush and compact many times.
pub(crate) fn small_options(background_threads: usize) -> Options {
    Options {
        memory_budget: Some(1 << 20),
        memtable_size: Some(16 << 10),
        max_log_bytes: Some(32 << 10),
        block_size: 512,
        table_size: 16 << 10,
        background_threads,
        read_mode: Some(ReadMode::Pread),
        recheck: Recheck::Full,
        // So that a test that fills the disk meets its end.
        disk_reserve: Some(0),
        ..Options::default()
    }
}

/// Opens the store on a simulated disk.
pub(crate) fn open(fs: &FaultFs, background_threads: usize) -> Result<Db> {
    open_with(fs, small_options(background_threads))
}

/// Opens the store on a simulated disk with these options.
pub(crate) fn open_with(fs: &FaultFs, options: Options) -> Result<Db> {
    Db::builder(DIR).options(options).fs(Arc::new(fs.clone())).open()
}

/// Opens the store on a simulated disk, with tables read by calls or as maps: whichever it is the turn of.
pub(crate) fn open_in_turn(fs: &FaultFs, background_threads: usize, turn: u64) -> Result<Db> {
    let options = small_options(background_threads);
    open_with(fs, Options { read_mode: Some(read_mode(turn)), ..options })
}

/// How tables are read in a test that tries both ways in turn. A map is a copy here, in memory as the
/// file is.
pub(crate) fn read_mode(turn: u64) -> ReadMode {
    if turn.is_multiple_of(2) { ReadMode::Pread } else { ReadMode::Map }
}

/// A store with threads that look for space every few milliseconds, and who is told when there is.
pub(crate) fn open_watched(fs: &FaultFs) -> (Db, Receiver<()>) {
    let (sender, resumed) = sync_channel(1);
    let interval = Duration::from_millis(5);
    let options = Options { compaction_interval: interval, ..small_options(1) };
    let builder = Db::builder(DIR).options(options).fs(Arc::new(fs.clone()));
    let listener = move |event: &Event| {
        if let Event::Resumed = event {
            let _ = sender.try_send(());
        }
    };
    (builder.listener(listener).open().unwrap(), resumed)
}

/// Makes a call on a store of [`open_watched`] until it finds space. Being told once is not enough:
/// that may be of space that the store has filled again since.
pub(crate) fn once_resumed<T>(resumed: &Receiver<()>, call: impl Fn() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                resumed.recv_timeout(Duration::from_secs(60)).expect("the store looks for space");
            }
            result => return result,
        }
    }
}

/// A file system in memory behind one that counts and breaks.
pub(crate) fn disk() -> (MemFs, FaultFs) {
    let memory = MemFs::new();
    (memory.clone(), FaultFs::new(Arc::new(memory)))
}

/// The file system that a power loss left, ready to be counted and broken again.
pub(crate) fn on(image: &MemFs) -> FaultFs {
    FaultFs::new(Arc::new(image.clone()))
}

/// The process dies: from now on nothing that it does reaches the disk. What it wrote is still in
/// the page cache, and its lock is gone.
pub(crate) fn kill(fs: &FaultFs, db: Db) {
    fs.fail_from(0, Fault::Eio);
    drop(db);
    fs.clear_plan();
}

/// A switch that a plan asks: once it is thrown, the process is dead.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeathSwitch(Arc<AtomicBool>);

impl DeathSwitch {
    pub(crate) fn is_dead(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Lets the process of `db` die, and brings the disk back for the next one.
    pub(crate) fn kill(&self, db: Db) {
        self.0.store(true, Ordering::Relaxed);
        drop(db);
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The names of our files in the directory that nothing of an open, idle store refers to.
pub(crate) fn orphans(fs: &dyn Fs, db: &Db) -> Vec<String> {
    let mut live = Vec::new();
    for keyspace in db.levels() {
        let tables = keyspace.levels.iter().flat_map(|level| &level.tables);
        live.extend(tables.map(|table| FileName::Table(table.number)));
    }
    let entries = fs.list(Path::new(DIR)).unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    names.sort();
    let (mut manifests, mut logs) = (0, 0);
    names.retain(|name| match FileName::parse(name) {
        Some(FileName::Lock | FileName::Current) | None => false,
        Some(FileName::Manifest(_)) => {
            manifests += 1;
            1 < manifests
        }
        // The one that takes records, and the one that is ready to be next.
        Some(FileName::Log(_)) => {
            logs += 1;
            2 < logs
        }
        Some(table @ FileName::Table(_)) => !live.contains(&table),
        Some(_) => true,
    });
    names
}

/// Every file below the directory with its content, to tell whether anything was changed.
pub(crate) fn tree(fs: &dyn Fs) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs.list(Path::new(DIR)).unwrap() {
        files.push((entry.name.clone(), read_file(fs, &entry.name)));
    }
    files.sort();
    files
}

/// The bytes of a file of the store.
pub(crate) fn read_file(fs: &dyn Fs, name: &str) -> Vec<u8> {
    let file = fs.open(&Path::new(DIR).join(name)).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Puts a file of the store in place, whatever was there before.
pub(crate) fn write_file(fs: &dyn Fs, name: &str, bytes: &[u8]) {
    let path = Path::new(DIR).join(name);
    if fs.exists(&path).unwrap() {
        fs.remove(&path).unwrap();
    }
    fs.create(&path).unwrap().write_all_at(bytes, 0).unwrap();
}

/// Changes bytes of a file of the store where they stand.
pub(crate) fn patch_file(fs: &dyn Fs, name: &str, offset: u64, bytes: &[u8]) {
    let file = fs.open_writable(&Path::new(DIR).join(name)).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

/// The names of the store's files of one sort, ascending.
pub(crate) fn names(fs: &dyn Fs, is_wanted: impl Fn(FileName) -> bool) -> Vec<String> {
    let entries = fs.list(Path::new(DIR)).unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| FileName::parse(name).is_some_and(&is_wanted));
    names.sort();
    names
}

/// Whether a power loss after this operation can leave another disk than one before it.
pub(crate) fn changes_the_disk(op: &Op) -> bool {
    op.kind.is_change() || op.kind.is_sync()
}

/// A number from the environment, for longer runs than the usual ones.
pub(crate) fn from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}
