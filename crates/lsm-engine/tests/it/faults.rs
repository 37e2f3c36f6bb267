//! Every file operation of a script fails, in every way, once and from then on; then the power
//! fails, and so does the recovery.
//!
//! What must hold whatever fails: a call answers success or a typed error; what was acknowledged
//! is read back, in this process and after the next open, and after a power loss if it was synced;
//! what was answered "not written" never appears; a file whose sync or append failed is not
//! touched again; a full disk heals by itself; no handle and no thread is left; and the next open
//! leaves no file behind that nothing refers to.
//!
//! Each run has one fault. Right behind it, a little later, and at its end the power fails; what
//! that leaves is recovered by an open that meets a fault itself, and after another power loss by
//! one that does not. Without background threads every run of a stage does the same, so that no
//! operation is passed over. With threads the order is another each time, and what must hold is not.
//!
//! `LSM_SEED` makes another script, and `LSM_FAULT_STEPS` a longer one.

use std::panic::{self, AssertUnwindSafe};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lsm_base::fs::{Fault, FaultFs, Op, OpKind};
use lsm_base::testing::SplitMix64;
use lsm_base::{FileName, Fs};
use lsm_engine::{Condition, Db, ErrorKind, Health, Read, WriteOptions};

use self::how::{How, WAYS};
use self::run::Run;
use self::stage::Stage;
use crate::harness::script::Script;
use crate::harness::{self, from_env, kill};
use crate::support::bounded;

mod how;
mod recovery;
mod run;
mod stage;
mod untouched;

/// How many steps the script has.
const STEPS: u64 = 250;

/// How many runs must have met their fault, at least, without threads: with the others 20,000.
const FLOOR: u64 = 18_000;

/// How many runs must have met their fault, at least, with threads.
const FLOOR_WITH_THREADS: u64 = 2_000;

/// With threads, one of so many runs is made.
const STRIDE: usize = 8;

/// After so many runs that went wrong there is enough to look at.
const MAX_FAILURES: usize = 12;

/// A run to make.
#[derive(Clone)]
struct Job {
    stage: Arc<Stage>,
    threads: usize,
    at: u64,
    how: How,
    seed: u64,
}

/// What the runs came to.
#[derive(Default)]
struct Tally {
    /// Runs that met their fault.
    faults: AtomicU64,
    /// Recoveries that met one.
    in_recovery: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Job {
    fn run(&self, tally: &Tally) {
        let mut random = SplitMix64::new(self.seed);
        let mut run = Run::new(&self.stage, self.threads, (self.at, self.how), &mut random);
        run.run();
        tally.in_recovery.fetch_add(run.recover_all(&mut random), Ordering::Relaxed);
        if run.broken.lock().unwrap().is_some() {
            tally.faults.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The operations of a stage that nothing disturbs.
fn trace(stage: &Stage, threads: usize) -> Vec<Op> {
    let never = (u64::MAX, How::Once(Fault::Eio));
    let mut clean = Run::new(stage, threads, never, &mut SplitMix64::new(0));
    clean.run();
    assert_eq!(clean.acked, stage.steps.end);
    clean.trace()
}

/// Every way in which each operation of each stage can go wrong.
fn jobs(seed: u64, threads: usize) -> Vec<Job> {
    let script = Script::new(seed, from_env("LSM_FAULT_STEPS", STEPS) as usize);
    let mut random = SplitMix64::new(seed);
    let mut jobs = Vec::new();
    for stage in Stage::all(script) {
        for op in trace(&stage, threads) {
            for how in WAYS.into_iter().filter(|how| how.applies_to(&op)) {
                let (stage, seed) = (Arc::clone(&stage), random.next_u64());
                jobs.push(Job { stage, threads, at: op.index, how, seed });
            }
        }
    }
    jobs
}

/// Makes the runs, two at a time.
fn run_all(jobs: &[Job]) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (run, counted) = (job.clone(), Arc::clone(&tally));
            let result =
                panic::catch_unwind(AssertUnwindSafe(|| bounded(move || run.run(&counted))));
            let mut failures = tally.failures.lock().unwrap();
            if result.is_err() {
                let Job { stage, at, how, threads, .. } = job;
                let steps = &stage.steps;
                failures.push(format!("{how:?} at {at} of {steps:?}, {threads} threads"));
            }
            if MAX_FAILURES <= failures.len() {
                break;
            }
        }
    };
    thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    tally
}

/// Makes the runs, says how many there were, and fails if one did, or if there were too few.
fn survive(jobs: &[Job], seed: u64, floor: u64) {
    println!("{} runs", jobs.len());
    let started = Instant::now();
    let tally = run_all(jobs);
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (faults, in_recovery) = (count(&tally.faults), count(&tally.in_recovery));
    let took = started.elapsed();
    println!("{faults} faults, and {in_recovery} in recoveries, in {took:.1?}, LSM_SEED={seed}");
    let failures = tally.failures.lock().unwrap();
    assert!(failures.is_empty(), "LSM_SEED={seed}: {failures:#?}");
    let is_short = from_env("LSM_FAULT_STEPS", STEPS) < STEPS;
    assert!(is_short || floor <= faults, "{faults} faults are fewer than {floor}");
}

#[test]
fn no_fault_loses_what_was_acknowledged() {
    let seed = from_env("LSM_SEED", 5);
    survive(&jobs(seed, 0), seed, FLOOR);
}

/// Set in the child only.
const CHILD: &str = "LSM_FAULTS_CHILD";

fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// A process that has no threads but those of the faulted stores.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let before = thread_count();
    let seed = from_env("LSM_SEED", 6);
    let jobs: Vec<_> = (1..=2)
        .flat_map(|threads| jobs(seed, threads).into_iter().skip(threads).step_by(2 * STRIDE))
        .collect();
    survive(&jobs, seed, FLOOR_WITH_THREADS);
    // A thread that has been joined may be listed for a moment.
    let deadline = Instant::now() + Duration::from_secs(60);
    while before < thread_count() {
        assert!(Instant::now() < deadline, "{before} threads became {}", thread_count());
        thread::yield_now();
    }
}

#[test]
fn none_does_beside_background_threads() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["faults::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "")
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&child.stdout));
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

#[test]
fn a_write_that_fails_before_its_append_says_so() {
    let (_, fs) = harness::disk();
    let db = harness::open(&fs, 0).unwrap();
    db.put("k", "v").unwrap();
    db.flush().unwrap();
    // What its condition needs cannot be read.
    fs.set_plan(|op| (op.kind == OpKind::Read).then_some(Fault::Eio));
    let exists = WriteOptions::condition(Condition::Exists);
    let error = db.put_with("k", "w", &exists).unwrap_err();
    assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::Io, false));
    assert!(error.to_string().starts_with("nothing was written: cannot read "), "{error}");
    // A sync that fails leaves its write to the next open.
    fs.set_plan(|op| op.kind.is_sync().then_some(Fault::Eio));
    let error = db.put("k", "w").unwrap_err();
    assert_eq!((error.kind(), error.is_undecided()), (ErrorKind::Io, true));
}

/// A file that cannot be made, and not for want of space or of descriptors, leaves the disk in
/// doubt: writes stop for good, and reads do not.
#[test]
fn what_cannot_be_made_stops_writes_until_the_next_open() {
    type IsHit = fn(&Op) -> bool;
    let hits: [IsHit; 4] = [
        |op| op.kind == OpKind::Create && matches!(op.file_name(), Some(FileName::Table(_))),
        |op| op.kind == OpKind::Write && matches!(op.file_name(), Some(FileName::Table(_))),
        |op| op.kind == OpKind::Write && matches!(op.file_name(), Some(FileName::Manifest(_))),
        |op| op.kind == OpKind::SyncDir,
    ];
    let stops = |fs: &FaultFs, arrange: &dyn Fn()| {
        let db = harness::open(fs, 0).unwrap();
        db.put("k", "v").unwrap();
        arrange();
        db.flush().unwrap_err();
        fs.clear_plan();
        fs.clear_hooks();
        assert!(matches!(db.health(), Health::Poisoned(_)), "{:?}", db.health());
        assert_eq!(db.put("k", "w").unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(db.get("k").unwrap().unwrap(), b"v");
        kill(fs, db);
        let db = harness::open(fs, 0).unwrap();
        db.put("k", "w").unwrap();
    };
    for is_hit in hits {
        let (_, fs) = harness::disk();
        stops(&fs, &|| fs.set_plan(move |op| is_hit(op).then_some(Fault::Eio)));
        assert_eq!(fs.injected(), 1);
    }
    // Somebody else takes the name.
    let (memory, fs) = harness::disk();
    let others = memory.clone();
    stops(&fs, &|| {
        let others = others.clone();
        fs.before_each(move |op| {
            if hits[0](op) {
                others.create(&op.path).unwrap();
            }
        });
    });
}

#[test]
fn a_directory_that_is_gone_stops_writes() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let db = Db::builder(&dir).options(harness::small_options(0)).open().unwrap();
    db.put("k", "v").unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    db.flush().unwrap_err();
    assert!(matches!(db.health(), Health::Poisoned(_)), "{:?}", db.health());
    assert_eq!(db.put("k", "w").unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(db.get("k").unwrap().unwrap(), b"v");
}
