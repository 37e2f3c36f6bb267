//! Every file operation of a script fails, in every way, once and from then on.
//!
//! What must hold whatever fails: a call answers success or a typed error; what was acknowledged
//! is read back, in this process and after the next open, and after a power loss if it was synced;
//! what was answered "not written" never appears; a file whose sync or append failed is not
//! touched again; a full disk heals by itself; and the next open leaves no file behind that
//! nothing refers to.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use lsm_base::FileName;
use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, Op, OpKind};
use lsm_engine::{Condition, Db, ErrorKind, Health, WriteOptions};

use crate::harness::script::{Bounds, Progress, Script, Step, probe};
use crate::harness::{self, kill, on, orphans};

/// How a run is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    Once(Fault),
    /// From then on, wherever the fault makes sense.
    Sticky(Fault),
    /// The disk becomes full after so many bytes of a write, and has space again behind it.
    FullMidway(usize),
}

const WAYS: [How; 12] = [
    How::Once(Fault::Eio),
    How::Sticky(Fault::Eio),
    How::Once(Fault::Enospc),
    How::Sticky(Fault::Enospc),
    How::Once(Fault::Eintr),
    How::Once(Fault::EioAfter),
    How::Once(Fault::Short(1)),
    How::Sticky(Fault::Short(7)),
    How::Once(Fault::Torn(40)),
    How::Once(Fault::ForgettingSync),
    How::Sticky(Fault::ForgettingSync),
    How::FullMidway(40),
];

impl How {
    fn plan(self, at: u64) -> impl FnMut(&Op) -> Option<Fault> + Send + 'static {
        move |op| match self {
            How::Once(fault) => (op.index == at).then_some(fault),
            How::Sticky(fault) => (at <= op.index && makes_sense(fault, op)).then_some(fault),
            // What is left of a write is the next operation.
            How::FullMidway(len) if op.index == at => Some(Fault::Short(len)),
            How::FullMidway(_) => (op.index == at + 1).then_some(Fault::Enospc),
        }
    }

    /// Whether there is a fault at this operation.
    fn applies_to(self, op: &Op) -> bool {
        match self {
            How::Once(fault) => fault.applies_to(op),
            How::Sticky(fault) => fault.applies_to(op) && makes_sense(fault, op),
            How::FullMidway(len) => op.kind == OpKind::Write && Fault::Short(len).applies_to(op),
        }
    }

    /// Whether the caller must not notice at all: the seam tries again.
    fn is_hidden(self, kind: OpKind) -> bool {
        let is_transfer = matches!(kind, OpKind::Read | OpKind::Write);
        match self {
            How::Once(Fault::Short(_)) | How::Sticky(Fault::Short(_)) => true,
            How::Once(Fault::Eintr) => is_transfer,
            _ => false,
        }
    }
}

/// A full disk refuses what needs room, and nothing else.
fn makes_sense(fault: Fault, op: &Op) -> bool {
    let needs_room = matches!(
        op.kind,
        OpKind::Write | OpKind::Allocate | OpKind::Create | OpKind::CreateDir | OpKind::Rename
    );
    fault != Fault::Enospc || needs_room
}

/// What became of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It was acknowledged, or did not write.
    Done,
    /// It is known not to have happened.
    NotDone,
    /// The next open decides.
    Undecided,
}

/// One run of the script with one fault.
struct Run<'a> {
    script: &'a Script,
    memory: MemFs,
    fs: FaultFs,
    progress: Progress,
    fates: Vec<Fate>,
    /// The steps that the page cache holds.
    acked: usize,
}

impl<'a> Run<'a> {
    fn new(script: &'a Script) -> Run<'a> {
        let (memory, fs) = harness::disk();
        let fates = vec![Fate::Done; script.steps.len()];
        Run { script, memory, fs, progress: Progress::default(), fates, acked: 0 }
    }

    /// Runs the script as far as it goes.
    fn run(&mut self) {
        let mut db = match harness::open(&self.fs, 0) {
            Ok(db) => db,
            Err(error) => return self.check_open_error(&error),
        };
        for (index, step) in self.script.steps.iter().enumerate() {
            self.progress.set_begun(index + 1);
            if let Step::Close | Step::Kill = step {
                // A close that failed is as a death.
                let _ = db.close();
                db = match harness::open(&self.fs, 0) {
                    Ok(next) => next,
                    Err(error) => return self.check_open_error(&error),
                };
                self.acked = index + 1;
                if !self.learn(&db) {
                    return kill(&self.fs, db);
                }
                continue;
            }
            match self.script.run_step(index, &db, &self.progress) {
                Ok(()) => self.acked = index + 1,
                Err(error) => self.fates[index] = fate(&error, step, &db),
            }
        }
        self.settle(db);
    }

    /// After an open: what was undecided is decided. `false` if reads fail, so that nobody can say.
    fn learn(&mut self, db: &Db) -> bool {
        let bounds = Bounds { durable: self.acked, ..self.progress.bounds() };
        match self.try_judge(db, bounds) {
            Ok(got) => {
                if let Some(last) = got.checked_sub(1) {
                    self.fates[last] = Fate::Done;
                }
                // What an open serves is on disk.
                self.progress.set_durable(self.acked);
                true
            }
            Err(why) => {
                assert!(why.starts_with("a read failed: cannot"), "{why}");
                false
            }
        }
    }

    fn check_open_error(&self, error: &lsm_engine::Error) {
        let is_typed = matches!(error.kind(), ErrorKind::Io | ErrorKind::NoSpace);
        assert!(is_typed, "an open that fails: {error}");
    }

    /// The end of the fault, seen by the process that met it.
    fn settle(&mut self, db: Db) {
        self.fs.clear_plan();
        let bounds = Bounds { durable: self.acked, ..self.progress.bounds() };
        let got = self.judge(&db, bounds);
        if let Some(last) = got.checked_sub(1) {
            assert_eq!(self.fates[last], Fate::Done, "step {last} failed, and is visible");
        }
        match db.health() {
            Health::Poisoned(cause) => {
                assert!(self.may_poison(), "poisoned by what passes: {cause}");
                assert_eq!(probe(&db, "no").unwrap_err().kind(), ErrorKind::Poisoned);
                assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::Poisoned);
                assert_eq!(db.sync().unwrap_err().kind(), ErrorKind::Poisoned);
                self.check_untouched();
            }
            health => {
                probe(&db, "yes").unwrap_or_else(|error| panic!("{health:?}: {error}"));
                assert_eq!(db.health(), Health::Running);
                db.compact::<&str>(..).unwrap();
                db.wait_idle().unwrap();
                assert_eq!(orphans(&self.fs, &db), [""; 0]);
                self.acked = self.script.steps.len();
                self.progress.set_durable(self.acked);
            }
        }
        kill(&self.fs, db);
    }

    /// Whether something failed that a full disk or a signal alone does not explain: a sync, whatever it said,
    /// and the rename of CURRENT, after which nobody knows which MANIFEST counts.
    fn may_poison(&self) -> bool {
        self.fs.trace().iter().any(|op| match op.fault {
            Some(Fault::Enospc | Fault::Eintr) => {
                let is_current = op.file_name() == Some(FileName::Current);
                op.kind.is_sync() || op.kind == OpKind::Rename && is_current
            }
            fault => fault.is_some(),
        })
    }

    /// No file is synced or appended to after that failed once.
    fn check_untouched(&self) {
        let mut sealed: BTreeSet<Arc<Path>> = BTreeSet::new();
        for op in self.fs.trace() {
            let is_append = op.kind == OpKind::Write && self.is_log(&op);
            if !op.kind.is_sync() && !is_append {
                continue;
            }
            assert!(!sealed.contains(&op.path), "{op} after it failed");
            let is_failure = matches!(
                op.fault,
                Some(Fault::Eio | Fault::EioAfter | Fault::Torn(_) | Fault::ForgettingSync)
            );
            let is_sync_failure =
                op.kind.is_sync() && matches!(op.fault, Some(Fault::Enospc | Fault::Eintr));
            if is_failure || is_sync_failure {
                sealed.insert(op.path);
            }
        }
    }

    fn is_log(&self, op: &Op) -> bool {
        matches!(
            op.file_name(),
            Some(FileName::Log(_) | FileName::LogTemp(_) | FileName::Manifest(_))
        )
    }

    /// What the next process finds, and the one after a power loss. What either of them finds is on
    /// disk since, whatever a failed sync has left in the page cache.
    fn reopen(&self) {
        let all = Bounds { durable: self.acked, ..self.progress.bounds() };
        let synced = self.memory.crash(Keep::SyncedOnly);
        let bounds = self.progress.bounds();
        for (memory, bounds) in [(synced, bounds), (self.memory.clone(), all)] {
            let fs = on(&memory);
            let db = harness::open(&fs, 0).unwrap();
            let found = self.judge(&db, bounds);
            assert_eq!(orphans(&fs, &db), [""; 0]);
            let seq = probe(&db, "reopened").unwrap();
            assert!(bounds.max_seq < seq.get());
            kill(&fs, db);
            let db = harness::open(&on(&memory.crash(Keep::SyncedOnly)), 0).unwrap();
            assert_eq!(self.judge(&db, Bounds { durable: found, ..bounds }), found);
        }
    }

    fn judge(&self, db: &Db, bounds: Bounds) -> usize {
        self.try_judge(db, bounds).unwrap()
    }

    /// Of the steps that were not acknowledged, nothing may be there but the last, undecided one,
    /// and the drop of a keyspace.
    fn try_judge(&self, db: &Db, bounds: Bounds) -> Result<usize, String> {
        let is_missing = |step: usize| self.fates[step] != Fate::Done;
        let is_missing_write =
            |step: usize| is_missing(step) && !matches!(self.script.steps[step], Step::DropSide);
        let got = self.script.judge_without(db, bounds, &is_missing);
        let got = got.or_else(|_| self.script.judge_without(db, bounds, &is_missing_write))?;
        if let Some(last) = got.checked_sub(1) {
            assert_ne!(self.fates[last], Fate::NotDone, "step {last} was refused, and is there");
        }
        Ok(got)
    }
}

fn fate(error: &lsm_engine::Error, step: &Step, db: &Db) -> Fate {
    match error.kind() {
        ErrorKind::NoSpace | ErrorKind::Poisoned => Fate::NotDone,
        ErrorKind::Io => {
            if !error.is_undecided() || !matches!(step, Step::Write { .. }) {
                return Fate::NotDone;
            }
            assert_ne!(db.health(), Health::Running, "{step:?}: {error}");
            Fate::Undecided
        }
        kind => panic!("{kind:?} from {step:?}: {error}, {:?}", db.health()),
    }
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

#[test]
fn no_fault_loses_what_was_acknowledged() {
    let started = Instant::now();
    let script = Script::new(5, 100);
    let mut clean = Run::new(&script);
    clean.run();
    let trace = clean.fs.trace();
    let next = AtomicUsize::new(0);
    let runs = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let jobs: Vec<(usize, How)> =
        (0..trace.len()).flat_map(|at| WAYS.map(|how| (at, how))).collect();
    thread::scope(|scope| {
        let work = || {
            while let Some(&(at, how)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let op = &trace[at];
                if !how.applies_to(op) {
                    continue;
                }
                runs.fetch_add(1, Ordering::Relaxed);
                let broken = std::panic::catch_unwind(|| {
                    let mut run = Run::new(&script);
                    run.fs.set_plan(how.plan(at as u64));
                    run.run();
                    if how.is_hidden(op.kind) {
                        assert!(run.fates.iter().all(|fate| *fate == Fate::Done), "was noticed");
                    }
                    run.fs.clear_plan();
                    run.reopen();
                });
                if broken.is_err() {
                    failures.lock().unwrap().push(format!("{how:?} at {op}"));
                }
            }
        };
        scope.spawn(work);
        scope.spawn(work);
    });
    let runs = runs.into_inner();
    println!("{runs} faults in {:.1?}", started.elapsed());
    assert!(trace.len() as u64 <= runs, "{runs} faults at {} operations", trace.len());
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} faults, among them {:#?}",
        failures.len(),
        &failures[..failures.len().min(12)]
    );
}
