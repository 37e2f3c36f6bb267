//! A process that runs out of file descriptors: calls fail, and nothing stops for good.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_base::FileName;
use lsm_base::fs::{Fault, FaultFs, Op, OpKind};
use lsm_engine::{Db, ErrorKind, Health, Read, Result};

use crate::harness::{self, small_options};

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
    harness::open(fs, 0)
}

/// Has no descriptor for these of the calls that need one, and counts all that do.
fn shortage(fails: Range<u64>) -> (Arc<AtomicU64>, impl FnMut(&Op) -> Option<Fault> + Send) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let plan = move |op: &Op| {
        let is_short =
            op.kind.needs_descriptor() && fails.contains(&counted.fetch_add(1, Ordering::Relaxed));
        is_short.then_some(Fault::Emfile)
    };
    (calls, plan)
}

/// A disk that is full for every second of the MANIFEST's records, so that MANIFESTs are begun
/// anew, which they seldom are.
fn manifest_breaker() -> impl FnMut(&Op) -> Option<Fault> + Send {
    let mut appends = 0;
    move |op| {
        let is_manifest = matches!(op.file_name(), Some(FileName::Manifest(_)));
        let is_append = is_manifest && op.kind == OpKind::Write && 1_000 < op.offset;
        appends += u32::from(is_append);
        (is_append && appends.is_multiple_of(2)).then_some(Fault::Enospc)
    }
}

/// Uses a store while these calls get no descriptor. `false` if there were not as many calls.
fn run(fails: Range<u64>, break_manifest: bool) -> bool {
    let start = fails.start;
    let (memory, fs) = harness::disk();
    let (calls, mut shortage) = shortage(fails);
    let mut breaker = break_manifest.then(manifest_breaker);
    fs.set_plan(move |op| {
        let broken = breaker.as_mut().and_then(|breaker| breaker(op));
        shortage(op).or(broken)
    });
    let db = match open(&fs).or_else(|_| open(&fs)) {
        Ok(db) => db,
        Err(error) => panic!("an open after call {start} failed, twice: {error}"),
    };
    if let Err(error) = use_store(&db) {
        panic!("call {start} failed, and then: {error}, {:?}", db.health());
    }
    assert_eq!(db.health(), Health::Running, "call {start}");
    db.close().unwrap();
    let has_failed = start < calls.load(Ordering::Relaxed);
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

/// Contract F-3: a program that the process runs has neither the lock nor a file of the store.
#[cfg(target_os = "linux")]
#[test]
fn every_descriptor_of_an_open_store_is_closed_for_a_program_that_is_run() {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let dir = tempfile::tempdir().unwrap();
    // As the kernel names it.
    let data = dir.path().canonicalize().unwrap().join("data");
    let db = Db::builder(&data).options(small_options(1)).open().unwrap();
    for i in 0..KEYS {
        db.put(i.to_be_bytes(), [7; 200]).unwrap();
    }
    db.flush().unwrap();
    assert_eq!(db.prefix("").count(), KEYS as usize);
    db.put("k", "in the log").unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let descriptor = entry.unwrap();
        // Another test in this process may have closed its own.
        let Ok(path) = descriptor.path().read_link() else { continue };
        let Ok(name) = path.strip_prefix(&data) else { continue };
        let info = PathBuf::from("/proc/self/fdinfo").join(descriptor.file_name());
        let Ok(info) = std::fs::read_to_string(info) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = u32::from_str_radix(flags, 8).unwrap();
        assert_ne!(flags & CLOSE_ON_EXEC, 0, "{} {flags:o}", path.display());
        found.push(name.to_str().unwrap().to_owned());
    }
    for end in ["LOCK", ".log", ".sst"] {
        assert!(found.iter().any(|name| name.ends_with(end)), "no {end} in {found:?}");
    }
    assert!(found.iter().any(|name| name.starts_with("MANIFEST-")), "{found:?}");
    assert!(found.contains(&String::new()), "not the directory itself: {found:?}");
}

/// The directory to use; set in the child only.
const CHILD: &str = "LSM_DESCRIPTORS_CHILD";

/// Uses a store on the real file system with few descriptors left.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let db = Db::builder(dir).options(small_options(0)).open().unwrap();
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
