//! One run of a stage with one fault, and what must hold while it lasts and when it has passed.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, Op, OpKind};
use lsm_base::testing::SplitMix64;
use lsm_base::{FileName, Fs};
use lsm_engine::{Db, ErrorKind, Event, Health, Options, Result};

use super::how::{Broken, How, ROOM};
use super::stage::Stage;
use super::untouched::check_untouched;
use crate::harness::script::{Bounds, Progress, Step, probe};
use crate::harness::{self, DeathSwitch, changes_the_disk, orphans, read_mode, small_options};

/// Up to how many operations that change the disk lie between the fault and a power loss.
const MAX_DELAY: u64 = 60;

/// What became of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It was acknowledged, or did not write.
    Done,
    /// It is known not to have happened.
    NotDone,
    /// The next open decides.
    Undecided,
}

/// What a power loss left.
pub(super) struct Cut {
    pub(super) image: MemFs,
    pub(super) bounds: Bounds,
    pub(super) at: String,
}

/// One run of a stage with one fault.
pub(super) struct Run<'a> {
    pub(super) stage: &'a Stage,
    pub(super) how: How,
    threads: usize,
    pub(super) memory: MemFs,
    fs: Arc<FaultFs>,
    death: DeathSwitch,
    /// The operation at which the fault struck.
    pub(super) broken: Broken,
    pub(super) progress: Arc<Progress>,
    pub(super) fates: Vec<Fate>,
    /// The steps before this one are in the page cache.
    pub(super) acked: usize,
    pub(super) cuts: Arc<Mutex<Vec<Cut>>>,
    /// Told when a full disk has space again.
    resumed: (SyncSender<()>, Receiver<()>),
    /// The operations of the processes that have ended.
    past: Vec<Op>,
    /// How many processes there were.
    processes: usize,
}

impl<'a> Run<'a> {
    /// Prepares a run that breaks at the operation number `at`, or the next that can break so.
    pub(super) fn new(
        stage: &'a Stage,
        threads: usize,
        (at, how): (u64, How),
        random: &mut SplitMix64,
    ) -> Run<'a> {
        let (memory, fs) = stage.disk();
        let start = stage.steps.start;
        let progress = Arc::new(Progress::default());
        progress.set_durable(start);
        progress.set_begun(start);
        let run = Run {
            stage,
            how,
            threads,
            memory,
            fs: Arc::new(fs),
            death: DeathSwitch::default(),
            broken: Broken::default(),
            progress,
            fates: vec![Fate::Done; stage.script.steps.len()],
            acked: start,
            cuts: Arc::default(),
            resumed: sync_channel(1),
            past: Vec::new(),
            processes: 0,
        };
        run.fs.set_plan(how.plan(at, &run.memory, &run.death, &run.broken));
        run.cut_after_fault(random);
        run
    }

    /// Lets the power fail right after the fault, or soon after it.
    fn cut_after_fault(&self, random: &mut SplitMix64) {
        let (memory, progress) = (self.memory.clone(), Arc::clone(&self.progress));
        let (broken, death, cuts) =
            (Arc::clone(&self.broken), self.death.clone(), Arc::clone(&self.cuts));
        let seed = random.next_u64();
        let (moment, keep) = match random.below(2) {
            0 => (0, Keep::SyncedOnly),
            _ => (1 + seed % MAX_DELAY, Keep::Subset { seed }),
        };
        let seen = Mutex::new(0);
        self.fs.after_each(move |op| {
            let has_struck = broken.lock().unwrap().as_ref().is_some_and(|at| at.index <= op.index);
            if !has_struck || death.is_dead() {
                return;
            }
            let mut seen = seen.lock().unwrap();
            if *seen == moment {
                let (image, bounds) = progress.around(|| memory.crash(keep));
                let at = format!("after {op}, keeping {keep:?}, {bounds:?}");
                cuts.lock().unwrap().push(Cut { image, bounds, at });
            }
            *seen += u64::from(changes_the_disk(op) || *seen == 0);
        });
    }

    /// Runs the stage as far as it goes.
    pub(super) fn run(&mut self) {
        match self.open() {
            Ok(db) => self.run_steps(db),
            Err(error) => self.check_failed_open(&error),
        }
        self.fs.clear_plan();
        self.fs.clear_hooks();
        self.memory.set_capacity(ROOM);
        assert_eq!(self.memory.handle_count(), 0, "handles are left");
        assert_eq!(Arc::strong_count(&self.fs), 1, "a thread is left");
        self.check_hidden();
    }

    fn run_steps(&mut self, mut db: Db) {
        for index in self.stage.steps.clone() {
            self.progress.set_begun(index + 1);
            let step = &self.stage.script.steps[index];
            match step {
                Step::Close | Step::Kill => {
                    self.end_process(db, matches!(step, Step::Kill));
                    db = match self.open() {
                        Ok(next) => next,
                        Err(error) => return self.check_failed_open(&error),
                    };
                    self.acked = index + 1;
                    if !self.learn(&db) {
                        return self.end_process(db, true);
                    }
                    continue;
                }
                Step::Flush | Step::Compact | Step::Idle => self.look(&db),
                _ => {}
            }
            match self.stage.script.run_step(index, &db, &self.progress) {
                Ok(()) => self.acked = index + 1,
                Err(error) => self.fates[index] = self.fate(&error, step, &db),
            }
        }
        self.settle(&db);
        self.end_process(db, true);
    }

    /// The next process. It reads tables in another way than the one before, and the first of a stage
    /// in another than that of the next stage; all runs of a stage do as its trace did.
    fn open(&mut self) -> Result<Db> {
        self.processes += 1;
        let mut options = Options {
            disk_reserve: self.how.disk_reserve(),
            read_mode: Some(read_mode((self.stage.number + self.processes) as u64)),
            recheck: self.stage.recheck(),
            ..small_options(self.threads)
        };
        if self.threads != 0 {
            // How often a full disk is looked at, and what failed is tried again.
            options.compaction_interval = Duration::from_millis(5);
        }
        let sender = self.resumed.0.clone();
        let listener = move |event: &Event| {
            if let Event::Resumed = event {
                let _ = sender.try_send(());
            }
        };
        let fs: Arc<dyn Fs> = Arc::<FaultFs>::clone(&self.fs);
        Db::builder(harness::DIR).options(options).fs(fs).listener(listener).open()
    }

    /// A death, or a close. One that fails is as a death.
    fn end_process(&mut self, db: Db, is_death: bool) {
        if is_death {
            // What a dead process would have done is not done.
            self.end_trace();
            self.death.kill(db);
        } else {
            let _ = db.close();
            self.end_trace();
        }
        self.fs.clear_trace();
    }

    /// Judges what the process did, and keeps it.
    fn end_trace(&mut self) {
        let trace = self.fs.trace();
        check_untouched(&trace, self.threads);
        self.past.extend(trace);
    }

    /// An open that meets the fault says what it met, and leaves alone what failed.
    fn check_failed_open(&self, error: &lsm_engine::Error) {
        check_open_error(error);
        check_untouched(&self.fs.trace(), self.threads);
    }

    /// Every operation, but for those that a dying process tried.
    pub(super) fn trace(&self) -> Vec<Op> {
        self.past.iter().cloned().chain(self.fs.trace()).collect()
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
                self.check_read_error(&why);
                false
            }
        }
    }

    /// What can be read meanwhile is all that was acknowledged, and nothing else.
    fn look(&self, db: &Db) {
        let bounds = Bounds { durable: self.acked, ..self.progress.bounds() };
        match self.try_judge(db, bounds) {
            Ok(got) => {
                let is_done = |last: usize| self.fates[last] == Fate::Done;
                assert!(got.checked_sub(1).is_none_or(is_done), "a step failed, and is visible");
            }
            Err(why) => self.check_read_error(&why),
        }
    }

    fn check_read_error(&self, why: &str) {
        assert!(why.starts_with("a read failed: cannot") && !self.how.spares_reads(), "{why}");
    }

    fn fate(&self, error: &lsm_engine::Error, step: &Step, db: &Db) -> Fate {
        match error.kind() {
            ErrorKind::NoSpace | ErrorKind::Poisoned => Fate::NotDone,
            ErrorKind::Io if !error.is_undecided() || !matches!(step, Step::Write { .. }) => {
                Fate::NotDone
            }
            ErrorKind::Io => {
                // A thread may have found space already.
                let has_stopped = db.health() != Health::Running || self.threads != 0;
                assert!(has_stopped, "{step:?}: {error}");
                Fate::Undecided
            }
            kind => panic!("{kind:?} from {step:?}: {error}, {:?}", db.health()),
        }
    }

    /// The end of the fault, seen by the process that met it.
    fn settle(&mut self, db: &Db) {
        self.look(db);
        let (image, bounds) = self.progress.around(|| self.memory.crash(Keep::SyncedOnly));
        let at = format!("before the fault ends, {bounds:?}");
        self.cuts.lock().unwrap().push(Cut { image, bounds, at });
        self.fs.clear_plan();
        self.memory.set_capacity(ROOM);
        if self.threads != 0 {
            // What has struck a thread may not have come to the store's health yet; why it failed
            // shows there.
            let _ = db.wait_idle();
        }
        self.wait_for_space(db);
        self.look(db);
        if let Health::Poisoned(cause) = db.health() {
            assert!(self.may_poison(), "poisoned by what passes: {cause}");
            assert_eq!(probe(db, "no").unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(db.sync().unwrap_err().kind(), ErrorKind::Poisoned);
            return;
        }
        probe(db, "yes").unwrap_or_else(|error| panic!("{:?}: {error}", db.health()));
        assert_eq!(db.health(), Health::Running);
        db.compact::<&str>(..).unwrap();
        db.wait_idle().unwrap();
        assert_eq!(orphans(&*self.fs, db), [""; 0]);
        self.acked = self.stage.steps.end;
        self.progress.set_durable(self.acked);
    }

    /// With threads the store finds by itself that there is space; without, the next call does.
    fn wait_for_space(&self, db: &Db) {
        while self.threads != 0 && matches!(db.health(), Health::LowSpace | Health::NoSpace) {
            let told = self.resumed.1.recv_timeout(Duration::from_secs(60));
            told.expect("the store looks for space");
        }
    }

    /// Whether something failed that passes by itself cannot explain: a sync, whatever it said, and
    /// the rename of CURRENT, after which nobody knows which MANIFEST counts.
    fn may_poison(&self) -> bool {
        self.fs.trace().iter().any(|op| match op.fault {
            Some(Fault::Enospc | Fault::Eintr) => {
                let is_current = op.file_name() == Some(FileName::Current);
                op.kind.is_sync() || op.kind == OpKind::Rename && is_current
            }
            Some(Fault::Emfile | Fault::Short(_)) | None => false,
            Some(_) => true,
        })
    }

    /// What the seam tries again, no caller has noticed.
    fn check_hidden(&self) {
        let broken = self.broken.lock().unwrap();
        if broken.as_ref().is_some_and(|op| self.how.is_hidden(op.kind)) {
            assert!(self.fates.iter().all(|fate| *fate == Fate::Done), "was noticed");
            assert_eq!(self.acked, self.stage.steps.end, "was noticed");
        }
    }

    pub(super) fn judge(&self, db: &Db, bounds: Bounds) -> usize {
        self.try_judge(db, bounds).unwrap()
    }

    /// Of the steps that were not acknowledged, nothing may be there but the last, undecided one,
    /// and the drop of a keyspace.
    pub(super) fn try_judge(&self, db: &Db, bounds: Bounds) -> std::result::Result<usize, String> {
        let script = &self.stage.script;
        let is_missing = |step: usize| self.fates[step] != Fate::Done;
        let is_missing_write =
            |step: usize| is_missing(step) && !matches!(script.steps[step], Step::DropSide);
        let got = script.judge_without(db, bounds, &is_missing);
        // A read that failed may succeed now: it is the first answer that counts.
        let got = got.or_else(|why| {
            let if_dropped = script.judge_without(db, bounds, &is_missing_write);
            if_dropped.map_err(|other| format!("{why}; {other}"))
        })?;
        if let Some(last) = got.checked_sub(1) {
            assert_ne!(self.fates[last], Fate::NotDone, "step {last} was refused, and is there");
        }
        Ok(got)
    }
}

/// An open that meets a fault succeeds, or says what it met.
pub(super) fn check_open_error(error: &lsm_engine::Error) {
    let is_typed = matches!(error.kind(), ErrorKind::Io | ErrorKind::NoSpace);
    assert!(is_typed, "an open that fails: {error}");
}
