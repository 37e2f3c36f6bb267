//! A process that runs out of file descriptors: calls fail, and nothing stops for good.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_base::Fs;
use lsm_base::fs::{self, DirEntry, FaultFs, FileLock, MemFs};
use lsm_engine::{Db, ErrorKind, Health, Options, Read, Result};

use crate::harness::{self, small_options};

/// A file system before another one that has no descriptor for one call.
#[derive(Clone, Debug)]
struct Scarce {
    inner: MemFs,
    calls: Arc<AtomicU64>,
    /// The calls that need a descriptor and get none.
    fails: std::ops::Range<u64>,
}

impl Scarce {
    fn take(&self, op: &'static str, path: &Path) -> lsm_base::Result<()> {
        const EMFILE: i32 = 24;
        if self.fails.contains(&self.calls.fetch_add(1, Ordering::Relaxed)) {
            let error = std::io::Error::from_raw_os_error(EMFILE);
            return Err(lsm_base::Error::io(op, path, error));
        }
        Ok(())
    }
}

impl Fs for Scarce {
    fn absolute(&self, path: &Path) -> lsm_base::Result<PathBuf> {
        self.inner.absolute(path)
    }

    fn create(&self, path: &Path) -> lsm_base::Result<Arc<dyn fs::File>> {
        self.take("create", path)?;
        self.inner.create(path)
    }

    fn open(&self, path: &Path) -> lsm_base::Result<Arc<dyn fs::File>> {
        self.take("open", path)?;
        self.inner.open(path)
    }

    fn open_writable(&self, path: &Path) -> lsm_base::Result<Arc<dyn fs::File>> {
        self.take("open", path)?;
        self.inner.open_writable(path)
    }

    fn list(&self, dir: &Path) -> lsm_base::Result<Vec<DirEntry>> {
        self.take("list", dir)?;
        self.inner.list(dir)
    }

    fn lock(&self, path: &Path) -> lsm_base::Result<Box<dyn FileLock>> {
        self.take("open", path)?;
        self.inner.lock(path)
    }

    fn lock_existing(&self, path: &Path) -> lsm_base::Result<Box<dyn FileLock>> {
        self.take("open", path)?;
        self.inner.lock_existing(path)
    }

    fn create_dir(&self, dir: &Path) -> lsm_base::Result<()> {
        self.inner.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> lsm_base::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> lsm_base::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> lsm_base::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> lsm_base::Result<bool> {
        self.inner.exists(path)
    }

    fn free_space(&self, dir: &Path) -> lsm_base::Result<u64> {
        self.inner.free_space(dir)
    }
}

const KEYS: u32 = 300;

/// Does something of everything. What fails is tried once more.
fn use_store(db: &Db) -> Result<()> {
    let twice = |call: &dyn Fn() -> Result<()>| call().or_else(|_| call());
    for i in 0..KEYS {
        twice(&|| db.put(i.to_be_bytes(), [7; 200]).map(drop))?;
    }
    twice(&|| db.flush())?;
    twice(&|| db.keyspace("side").map(drop))?;
    twice(&|| db.compact::<&str>(..))?;
    twice(&|| db.drop_keyspace("side"))?;
    twice(&|| db.wait_idle())?;
    twice(&|| db.get(1_u32.to_be_bytes()).map(drop))
}

fn open(fs: &FaultFs) -> Result<Db> {
    harness::open_with(fs, small_options(0))
}

/// Uses a store while these calls get no descriptor. `false` if there were not as many calls.
fn run(fails: std::ops::Range<u64>, break_manifest: bool) -> bool {
    let memory = MemFs::new();
    let start = fails.start;
    let scarce = Scarce { inner: memory.clone(), calls: Arc::default(), fails };
    let fs = FaultFs::new(Arc::new(scarce.clone()));
    if break_manifest {
        // So that MANIFESTs are begun anew, which they seldom are.
        let mut appends = 0;
        fs.set_plan(move |op| {
            let is_manifest = matches!(op.file_name(), Some(lsm_base::FileName::Manifest(_)));
            let is_append = is_manifest && op.kind == fs::OpKind::Write && 1_000 < op.offset;
            appends += u32::from(is_append);
            (is_append && appends.is_multiple_of(2)).then_some(fs::Fault::Enospc)
        });
    }
    let db = match open(&fs).or_else(|_| open(&fs)) {
        Ok(db) => db,
        Err(error) => panic!("an open after call {start} failed, twice: {error}"),
    };
    if let Err(error) = use_store(&db) {
        panic!("call {start} failed, and then: {error}, {:?}", db.health());
    }
    assert_eq!(db.health(), Health::Running, "call {start}");
    db.close().unwrap();
    let has_failed = start < scarce.calls.load(Ordering::Relaxed);
    let db = open(&harness::on(&memory)).unwrap();
    assert_eq!(db.prefix("").count(), KEYS as usize, "call {start}");
    assert_eq!(db.keyspaces().unwrap().len(), 1, "call {start}");
    assert_eq!(harness::orphans(&harness::on(&memory), &db), [""; 0], "call {start}");
    has_failed
}

#[test]
fn no_call_without_a_descriptor_stops_the_store() {
    assert!(10 < (0..).take_while(|&at| run(at..at + 1, false)).count());
}

#[test]
fn nor_where_the_manifest_is_begun_anew() {
    assert!(10 < (0..).take_while(|&at| run(at..at + 1, true)).count());
}

/// The directory to use; set in the child only.
const CHILD: &str = "LSM_DESCRIPTORS_CHILD";

/// Uses a store on the real file system with few descriptors left.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let options = Options { background_threads: 0, ..small_options(0) };
    let db = Db::builder(dir).options(options).open().unwrap();
    let mut failures = 0;
    for free in 0..6 {
        let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        taken.truncate(taken.len() - free);
        for i in 0..KEYS {
            let put = db.put(i.to_be_bytes(), [7; 200]).map(drop);
            let compacted = if i % 100 == 0 { db.compact::<&str>(..) } else { Ok(()) };
            for error in [put, compacted].into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), ErrorKind::Io, "with {free} left: {error}");
                assert!(error.is_passing(), "with {free} left: {error}");
                failures += 1;
            }
        }
        assert_eq!(db.health(), Health::Running, "with {free} left");
        drop(taken);
        use_store(&db).unwrap();
    }
    assert!(0 < failures, "there were descriptors enough");
    assert_eq!(db.prefix("").count(), KEYS as usize);
    db.close().unwrap();
}

#[test]
fn a_store_survives_a_process_without_descriptors() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" descriptors::child --exact --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, dir.path().join("data"))
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}
