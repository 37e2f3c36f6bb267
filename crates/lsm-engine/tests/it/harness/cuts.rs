//! Cuts: images of the disk at every moment of a script, and what becomes of each.
//!
//! Each image is recovered, cut again inside that recovery, written to, cut again, and recovered
//! once more. The images are judged on other threads while the script goes on. The processes of the
//! script, and the recoveries, read tables by calls and as maps in turn.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use lsm_base::fs::{Fault, FaultFs, Keep, MemFs, Op, OpKind};
use lsm_base::testing::SplitMix64;
use lsm_engine::{Db, Read};

use super::script::{Bounds, PROBE, Progress, Script, Step, probe};
use super::{DeathSwitch, changes_the_disk, on, open_in_turn, orphans};

/// How many threads recover images.
const JUDGES: usize = 2;

/// How a script is cut.
pub(crate) struct Plan {
    /// Background threads of the store that is cut.
    pub(crate) threads: usize,
    /// Of the operations that change the disk, how many there are for each that is cut after.
    pub(crate) every: u64,
    /// Of the operations that are cut after, how many there are for each of which an image has all that
    /// was done.
    pub(crate) whole_every: u64,
    /// How many random images are taken after a name was changed.
    pub(crate) images_per_name: u64,
}

/// What the judges did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Count {
    /// Images that were judged.
    pub(crate) images: u64,
    /// Recoveries of these and of what they became.
    pub(crate) recoveries: u64,
}

/// What is being done to the store when an operation happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    FirstOpen,
    Write,
    Sync,
    Flush,
    Compact,
    Idle,
    CreateKeyspace,
    DropKeyspace,
    Close,
    OpenAfterClose,
    OpenAfterDeath,
}

const PHASES: [Phase; 11] = [
    Phase::FirstOpen,
    Phase::Write,
    Phase::Sync,
    Phase::Flush,
    Phase::Compact,
    Phase::Idle,
    Phase::CreateKeyspace,
    Phase::DropKeyspace,
    Phase::Close,
    Phase::OpenAfterClose,
    Phase::OpenAfterDeath,
];

/// Runs a script, with `breaks` asked about each operation, and judges all images that are taken.
pub(crate) fn cut_everywhere(
    script: &Script,
    plan: &Plan,
    mut breaks: impl FnMut(&Op, Phase) -> Option<Fault> + Send + 'static,
) -> Result<Count, String> {
    let (memory, fs) = super::disk();
    let (sender, received) = sync_channel(64);
    let run = Arc::new(Run {
        memory,
        progress: Progress::default(),
        phase: AtomicU8::new(Phase::FirstOpen as u8),
        cuts: sender,
        every: plan.every,
        whole_every: plan.whole_every,
        images_per_name: plan.images_per_name,
        seen: AtomicU64::new(0),
    });
    let (tally, received) = (Tally::default(), Mutex::new(received));
    let death = DeathSwitch::default();
    let result = thread::scope(|scope| {
        for _ in 0..JUDGES {
            scope.spawn(|| tally.judge_all(script, &received));
        }
        let (asked, phase) = (death.clone(), Arc::clone(&run));
        fs.set_plan(move |op| match asked.is_dead() {
            true => Some(Fault::Eio),
            false => breaks(op, phase.phase()),
        });
        let watcher = Arc::clone(&run);
        fs.after_each(move |op| watcher.after(op));
        let result = run.script(script, &fs, plan.threads, &death, &tally.has_failed);
        // The judges end when nobody can send them anything.
        fs.clear_hooks();
        fs.clear_plan();
        drop(run);
        result
    });
    match tally.failure.into_inner().expect("no judge panics") {
        Some(failure) => Err(failure),
        None => result.map(|()| Count {
            images: tally.images.into_inner(),
            recoveries: tally.recoveries.into_inner(),
        }),
    }
}

/// An image of the disk, and what must be found on it.
struct Cut {
    image: MemFs,
    bounds: Bounds,
    seed: u64,
    at: String,
    expect: Expect,
}

/// What the recovery must say about the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    Whatever,
    /// That it was closed.
    CleanClose,
}

/// A script that runs, and images of its disk for the judges.
struct Run {
    memory: MemFs,
    progress: Progress,
    phase: AtomicU8,
    cuts: SyncSender<Cut>,
    /// Every so many operations.
    every: u64,
    whole_every: u64,
    images_per_name: u64,
    seen: AtomicU64,
}

/// What the judges did.
#[derive(Default)]
struct Tally {
    images: AtomicU64,
    recoveries: AtomicU64,
    failure: Mutex<Option<String>>,
    has_failed: AtomicBool,
}

impl Run {
    fn after(&self, op: &Op) {
        if !changes_the_disk(op) {
            return;
        }
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        if seen.is_multiple_of(self.every) {
            let at = format!("after {op}");
            self.cut(seen, &at);
            if (seen / self.every).is_multiple_of(self.whole_every) {
                self.take_whole(seen, &at);
            }
        }
        // Names are lost one by one, and in every combination, but change seldom: look closer.
        if op.kind == OpKind::Rename || op.kind == OpKind::Create {
            for seed in 1..self.images_per_name {
                let seed = seen + (seed << 32);
                self.take(Keep::Subset { seed }, seed, &format!("after {op}"), Expect::Whatever);
            }
        }
    }

    /// Does every step. Ends early where a judge has seen enough.
    fn script(
        &self,
        script: &Script,
        fs: &FaultFs,
        threads: usize,
        death: &DeathSwitch,
        has_failed: &AtomicBool,
    ) -> Result<(), String> {
        let mut turn = threads as u64;
        let mut open = |phase| {
            self.phase.store(phase as u8, Ordering::Relaxed);
            turn += 1;
            open_in_turn(fs, threads, turn).map_err(|error| format!("{phase:?}: {error}"))
        };
        let mut db = open(Phase::FirstOpen)?;
        for (index, step) in script.steps.iter().enumerate() {
            if has_failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let phase = phase_of(step);
            self.phase.store(phase as u8, Ordering::Relaxed);
            let failed = |error| format!("step {index}, {step:?}: {error}");
            match step {
                Step::Kill | Step::Close => {
                    self.progress.set_begun(index + 1);
                    if let Step::Kill = step {
                        death.kill(db);
                    } else {
                        db.close().map_err(failed)?;
                        self.progress.set_durable(index + 1);
                        self.take(Keep::SyncedOnly, 0, "after a close", Expect::CleanClose);
                    }
                    db = open(phase_after(step))?;
                    // What an open serves is on disk.
                    self.progress.set_durable(index + 1);
                }
                _ => {
                    let before = self.progress.bounds().durable;
                    script.run_step(index, &db, &self.progress).map_err(failed)?;
                    if before < self.progress.bounds().durable {
                        self.cut(index as u64, &format!("after step {index} was acknowledged"));
                    }
                }
            }
        }
        self.phase.store(Phase::Close as u8, Ordering::Relaxed);
        db.close().map_err(|error| format!("the last close: {error}"))
    }

    fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Ordering::Relaxed))]
    }

    fn cut(&self, seed: u64, at: &str) {
        for keep in [Keep::SyncedOnly, Keep::Subset { seed }] {
            self.take(keep, seed, at, Expect::Whatever);
        }
    }

    /// Takes an image of all that was done: nothing is missing of it that was acknowledged.
    fn take_whole(&self, seed: u64, at: &str) {
        let acked = self.progress.bounds().begun.saturating_sub(1);
        let (image, bounds) = self.progress.around(|| self.memory.crash(Keep::Everything));
        let bounds = Bounds { durable: bounds.durable.max(acked), ..bounds };
        self.send(Keep::Everything, (image, bounds), seed, at, Expect::Whatever);
    }

    fn take(&self, keep: Keep, seed: u64, at: &str, expect: Expect) {
        let taken = self.progress.around(|| self.memory.crash(keep));
        self.send(keep, taken, seed, at, expect);
    }

    fn send(
        &self,
        keep: Keep,
        (image, bounds): (MemFs, Bounds),
        seed: u64,
        at: &str,
        expect: Expect,
    ) {
        let at = format!("{:?} {at}, keeping {keep:?}, {bounds:?}", self.phase());
        // Without judges there is no test any more, and the script may end.
        let _ = self.cuts.send(Cut { image, bounds, seed, at, expect });
    }
}

impl Tally {
    /// Recovers images until there are no more.
    fn judge_all(&self, script: &Script, cuts: &Mutex<Receiver<Cut>>) {
        loop {
            let next = cuts.lock().unwrap().recv();
            let Ok(cut) = next else { return };
            if self.has_failed.load(Ordering::Relaxed) {
                continue;
            }
            self.images.fetch_add(1, Ordering::Relaxed);
            let judged = thread::scope(|scope| {
                let judge = scope.spawn(|| self.judge(script, &cut));
                judge.join().unwrap_or_else(|_| Err("a panic, see above".into()))
            });
            if let Err(why) = judged {
                self.has_failed.store(true, Ordering::Relaxed);
                self.failure.lock().unwrap().get_or_insert(format!("{}: {why}", cut.at));
            }
        }
    }

    /// Recovers an image, cuts it inside and after that recovery, and recovers both.
    fn judge(&self, script: &Script, cut: &Cut) -> Result<(), String> {
        let mut random = SplitMix64::new(cut.seed);
        let inside = Inside::new(&cut.image, &mut random);
        let turns = random.next_u64();
        let fs = on(&cut.image);
        inside.watch(&fs);
        let (got, seq) = self.recover(script, &fs, cut, ("first", turns))?;
        fs.clear_hooks();
        let after = cut.image.crash(Keep::SyncedOnly);
        if let Some(image) = inside.take() {
            let (again, _) = self.recover(script, &on(&image), cut, ("cut inside", turns >> 1))?;
            if again != got {
                return Err(format!("cut inside a recovery that found {got} steps, it is {again}"));
            }
        }
        let bounds = Bounds { max_seq: seq, ..cut.bounds };
        let fs = on(&after);
        let db = self.open(&fs, "second", turns >> 2)?;
        let again = script.judge(&db, bounds).map_err(|why| format!("second recovery: {why}"))?;
        if again != got || db.get(PROBE).map_err(|error| error.to_string())?.is_none() {
            return Err(format!("{got} steps and a write became {again} steps"));
        }
        super::kill(&fs, db);
        Ok(())
    }

    /// Opens an image, compares it, and writes to it. How many steps it has, and the new sequence.
    fn recover(
        &self,
        script: &Script,
        fs: &FaultFs,
        cut: &Cut,
        (name, turn): (&str, u64),
    ) -> Result<(usize, u64), String> {
        let (db, bounds) = (self.open(fs, name, turn)?, cut.bounds);
        if cut.expect == Expect::CleanClose && !db.recovery_report().was_closed {
            return Err("the close left no trace".into());
        }
        let got = script.judge(&db, bounds).map_err(|why| format!("{name} recovery: {why}"))?;
        let orphans = orphans(fs, &db);
        if !orphans.is_empty() {
            return Err(format!("{name} recovery left {orphans:?}"));
        }
        let seq = probe(&db, name).map_err(|error| format!("{name} recovery, write: {error}"))?;
        if seq.get() <= bounds.max_seq {
            return Err(format!("{name} recovery hands out {seq} after {}", bounds.max_seq));
        }
        super::kill(fs, db);
        Ok((got, seq.get()))
    }

    fn open(&self, fs: &FaultFs, name: &str, turn: u64) -> Result<Db, String> {
        self.recoveries.fetch_add(1, Ordering::Relaxed);
        open_in_turn(fs, 0, turn).map_err(|error| format!("{name} recovery: {error}"))
    }
}

fn phase_of(step: &Step) -> Phase {
    match step {
        Step::Write { .. } => Phase::Write,
        Step::Sync => Phase::Sync,
        Step::Flush => Phase::Flush,
        Step::Compact => Phase::Compact,
        Step::Idle => Phase::Idle,
        Step::CreateSide => Phase::CreateKeyspace,
        Step::DropSide => Phase::DropKeyspace,
        Step::Close | Step::Kill => Phase::Close,
    }
}

fn phase_after(step: &Step) -> Phase {
    match step {
        Step::Kill => Phase::OpenAfterDeath,
        _ => Phase::OpenAfterClose,
    }
}

/// An image that is taken inside a recovery.
struct Inside {
    memory: MemFs,
    keep: Keep,
    /// After so many operations that change the disk.
    after: u64,
    image: Arc<Mutex<Option<MemFs>>>,
}

impl Inside {
    fn new(memory: &MemFs, random: &mut SplitMix64) -> Inside {
        let seed = random.next_u64();
        let keep = if seed.is_multiple_of(2) { Keep::SyncedOnly } else { Keep::Subset { seed } };
        Inside { memory: memory.clone(), keep, after: random.below(24), image: Arc::default() }
    }

    fn watch(&self, fs: &FaultFs) {
        let (memory, keep, after) = (self.memory.clone(), self.keep, self.after);
        let image = Arc::clone(&self.image);
        let seen = AtomicU64::new(0);
        fs.after_each(move |op| {
            if changes_the_disk(op) && seen.fetch_add(1, Ordering::Relaxed) == after {
                *image.lock().unwrap() = Some(memory.crash(keep));
            }
        });
    }

    fn take(&self) -> Option<MemFs> {
        self.image.lock().unwrap().take()
    }
}
