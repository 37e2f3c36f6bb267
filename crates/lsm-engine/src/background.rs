//! Background work: who does it, and how it is woken.
//!
//! - the *keeper* makes the next log segment ready, starts the write-back of the log, fits the cache
//!   into the memory budget and scrubs;
//! - the *cleaner* unlinks what is obsolete;
//! - the *flusher* turns sealed generations into tables, oldest first;
//! - the *compactors* keep the shape of the tree.
//!
//! Two more, the *attendants*, work for asynchronous writes ([`commit`](crate::commit)).
//!
//! Each worker looks for work until there is none, and then waits for a change, or for the interval to
//! pass. With no threads, the calls that need the work do it themselves.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use lsm_compaction::InProgress;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::commit::Commit;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::handle::Caller;
use crate::inner::Inner;
use crate::progress::FlushWatch;
use crate::set_aside::SetAside;

/// The workers and what they wait for.
#[derive(Debug, Default)]
pub(crate) struct Background {
    signal: Mutex<Signal>,
    changed: Condvar,
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// The threads that work for asynchronous writes, once there was one: the attendants, and the
    /// one that calls wakers.
    attendants: Mutex<Vec<JoinHandle<()>>>,
    /// Held by whoever flushes: generations become tables one after the other.
    pub(crate) flushing: Mutex<()>,
    /// The calls that want to know how far that is.
    pub(crate) flush_watch: FlushWatch,
    /// The compactions that run. Taken after the lock of the version set.
    pub(crate) compacting: Mutex<InProgress>,
    /// Those that failed on what they read.
    pub(crate) set_aside: SetAside,
}

#[derive(Debug, Default)]
struct Signal {
    /// Counts changes: whoever saw an older count looks again.
    changes: u64,
    /// Counts the calls that wait for work: a worker that failed tries again for each.
    asked: u64,
    is_stopping: bool,
    workers: Vec<Worker>,
}

/// How far a worker is.
#[derive(Clone, Debug, Default)]
struct Worker {
    /// How many times it has begun to look for work.
    rounds: u64,
    /// Up to which change it has looked and found nothing left to do. One that failed, or is gone,
    /// has nothing to do until time has passed or somebody asks.
    idle_since: Option<u64>,
    /// The last round that failed, and why.
    failure: Option<(u64, Error)>,
}

impl Signal {
    /// Whether every worker has looked since the last change, and waits.
    fn is_idle(&self) -> bool {
        let is_idle = |seen| self.changes <= seen;
        self.workers.iter().all(|worker| worker.idle_since.is_some_and(is_idle))
    }

    /// Lets workers try again that failed.
    fn ask(&mut self) {
        self.asked += 1;
        self.changes += 1;
        for worker in self.workers.iter_mut().filter(|worker| worker.has_failed()) {
            worker.idle_since = None;
        }
    }
}

impl Worker {
    /// Whether its last round failed.
    fn has_failed(&self) -> bool {
        self.failure.as_ref().is_some_and(|(round, _)| *round == self.rounds)
    }
}

/// Says for a worker that it is gone, and if it panicked stops the writes that would wait for it.
struct LastWord<'a> {
    inner: &'a Inner,
    worker: usize,
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        let background = &self.inner.background;
        let gone = Worker { idle_since: Some(u64::MAX), ..Worker::default() };
        background.signal.lock().workers[self.worker] = gone;
        if thread::panicking() {
            // No listener is told: it may be what panicked.
            self.inner.health.poison("a background thread panicked");
        }
        background.changed();
    }
}

/// The worker that flushes.
const FLUSHER: usize = 1;

/// A kind of background work: does a piece of it, and says whether there was any.
type Work = fn(&Inner) -> Result<bool>;

impl Background {
    /// Starts the workers.
    pub(crate) fn start(inner: &Arc<Inner>) -> Result<()> {
        let compactors = inner.options.background_threads;
        if compactors == 0 {
            return Ok(());
        }
        let mut work: Vec<(&str, Work)> = vec![
            ("lsm-keeper", Inner::keep),
            ("lsm-flusher", Inner::flush_oldest),
            ("lsm-cleaner", Inner::give_back),
        ];
        work.resize(work.len() + compactors, ("lsm-compactor", Inner::compact_once));
        inner.background.signal.lock().workers = vec![Worker::default(); work.len()];
        for (worker, (name, work)) in work.into_iter().enumerate() {
            let shared = Arc::clone(inner);
            let spawned = thread::Builder::new()
                .name(name.into())
                .spawn(move || shared.background.run(&shared, worker, name, work));
            match spawned {
                Ok(handle) => inner.background.workers.lock().push(handle),
                Err(error) => {
                    inner.background.stop();
                    return Err(lsm_base::Error::io("start a thread for", &inner.dir, error).into());
                }
            }
        }
        Ok(())
    }

    /// Wakes whoever waits for a change: workers, and writers that wait for room.
    pub(crate) fn changed(&self) {
        self.signal.lock().changes += 1;
        self.changed.notify_all();
    }

    /// Lets the workers end their piece of work, and waits for them.
    pub(crate) fn stop(&self) {
        self.signal.lock().is_stopping = true;
        self.changed.notify_all();
        join(&self.workers);
    }

    /// Waits for the attendants of the commit path, which were told to stop. Not for the thread
    /// that calls wakers: these may wait for the caller, or be the caller.
    pub(crate) fn join_attendants(&self) {
        self.attendants.lock().truncate(ATTENDANTS.len());
        join(&self.attendants);
    }

    /// Whether workers are to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.signal.lock().is_stopping
    }

    /// A count that grows with every change; for [`wait_for_change`](Self::wait_for_change).
    pub(crate) fn changes(&self) -> u64 {
        self.signal.lock().changes
    }

    /// Waits until the count of changes is another than `seen`. `false` if `deadline` passed.
    pub(crate) fn wait_for_change(&self, seen: u64, deadline: Option<Instant>) -> bool {
        let mut signal = self.signal.lock();
        while signal.changes == seen && !signal.is_stopping {
            if !wait_until(&self.changed, &mut signal, deadline) {
                return false;
            }
        }
        true
    }

    /// Waits until every worker has seen every change, and waits.
    ///
    /// # Errors
    /// Why a worker failed, after this call had let it try again.
    fn wait_until_idle(&self) -> Result<()> {
        let mut signal = self.signal.lock();
        signal.ask();
        self.changed.notify_all();
        while !signal.is_idle() && !signal.is_stopping {
            self.changed.wait(&mut signal);
        }
        let failure = signal.workers.iter().find(|worker| worker.has_failed());
        failure.and_then(|worker| worker.failure.clone()).map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Lets the flusher try again if it failed. Returns the round that it has begun, for
    /// [`flush_failure`](Self::flush_failure).
    pub(crate) fn ask_for_flush(&self) -> u64 {
        let mut signal = self.signal.lock();
        signal.ask();
        self.changed.notify_all();
        signal.flush_round()
    }

    /// The round that the flusher has begun.
    pub(crate) fn flush_round(&self) -> u64 {
        self.signal.lock().flush_round()
    }

    /// Why the flusher failed in a round that began after this one.
    pub(crate) fn flush_failure(&self, round: u64) -> Option<Error> {
        let signal = self.signal.lock();
        let (failed, error) = signal.workers.get(FLUSHER)?.failure.as_ref()?;
        (round < *failed).then(|| error.clone())
    }

    fn run(&self, inner: &Inner, worker: usize, name: &'static str, work: Work) {
        let _last_word = LastWord { inner, worker };
        let interval = inner.options.compaction_interval;
        let mut signal = self.signal.lock();
        while !signal.is_stopping {
            let (seen, asked) = (signal.changes, signal.asked);
            signal.workers[worker].rounds += 1;
            signal.workers[worker].idle_since = None;
            drop(signal);
            let result = inner.work_until_idle(name, work);
            signal = self.signal.lock();
            let has_failed = result.is_err();
            signal.finish_round(worker, seen, asked, result);
            self.changed.notify_all();
            // After a failure only time helps, not what others do.
            let retry_at = Instant::now().checked_add(interval);
            while !signal.is_stopping
                && signal.asked == asked
                && (signal.changes == seen || has_failed)
            {
                if !wait_until(&self.changed, &mut signal, retry_at) {
                    break;
                }
            }
        }
    }
}

impl Signal {
    fn flush_round(&self) -> u64 {
        self.workers.get(FLUSHER).map_or(0, |flusher| flusher.rounds)
    }

    /// Notes how a round ended that began when `seen` changes and `asked` questions were known.
    fn finish_round(&mut self, worker: usize, seen: u64, asked: u64, result: Result<()>) {
        let is_asked = self.asked != asked;
        let worker = &mut self.workers[worker];
        match result {
            Ok(()) => worker.idle_since = Some(seen),
            Err(error) => {
                // Who asked meanwhile waits for the next round.
                worker.idle_since = (!is_asked).then_some(u64::MAX);
                worker.failure = Some((worker.rounds, error));
                // Who waits for what this worker does has to know.
                self.changes += 1;
            }
        }
    }
}

/// Waits for a notification, or until `deadline`, if there is one. `false` if that passed.
fn wait_until(
    changed: &Condvar,
    signal: &mut MutexGuard<'_, Signal>,
    deadline: Option<Instant>,
) -> bool {
    match deadline {
        Some(deadline) => !changed.wait_until(signal, deadline).timed_out(),
        None => {
            changed.wait(signal);
            true
        }
    }
}

fn join(threads: &Mutex<Vec<JoinHandle<()>>>) {
    for thread in std::mem::take(&mut *threads.lock()) {
        // One that panicked has said so on stderr; what it held is released.
        let _ = thread.join();
    }
}

/// What an attendant of the commit path does until it is told to stop.
type Attend = fn(&Commit, &Inner);

const ATTENDANTS: [(&str, Attend); 2] =
    [("lsm-commit", Commit::attend_lead), ("lsm-sync", Commit::attend_sync)];

impl Inner {
    /// Starts the threads that work for asynchronous writes, unless they run.
    pub(crate) fn start_attendants(self: &Arc<Self>) -> Result<()> {
        let mut running = self.background.attendants.lock();
        let start_failed = |error| lsm_base::Error::io("start a thread for", &self.dir, error);
        while let Some((name, attend)) = ATTENDANTS.get(running.len()) {
            let shared = Arc::clone(self);
            let work = move || {
                let attend = || attend(shared.commit(), &shared);
                while panic::catch_unwind(AssertUnwindSafe(attend)).is_err() {
                    // It goes on, to answer those who were about to queue: nobody else would.
                    shared.give_up();
                }
            };
            let spawned = thread::Builder::new().name((*name).into()).spawn(work);
            running.push(spawned.map_err(start_failed)?);
        }
        if running.len() == ATTENDANTS.len() {
            // It may outlive the close, and keeps nothing of the database open.
            let wakers = self.commit().wakers();
            let work = move || wakers.call_until_ended();
            let spawned = thread::Builder::new().name("lsm-wake".into()).spawn(work);
            running.push(spawned.map_err(start_failed)?);
        }
        Ok(())
    }

    /// Does a kind of work until there is none left.
    fn work_until_idle(&self, name: &'static str, work: Work) -> Result<()> {
        loop {
            if self.background.is_stopping() {
                return Ok(());
            }
            let result = work(self).map_err(|error| match error.kind() {
                // The close called it off, and nobody has to hear of that.
                ErrorKind::Closed => error,
                _ => self.note_background_error(name, error),
            });
            self.tell();
            match result {
                Ok(true) => self.background.changed(),
                Ok(false) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Counts and notes a failure of background work.
    pub(crate) fn note_background_error(&self, work: &'static str, error: Error) -> Error {
        let error = self.note_read_error(error);
        self.note(Event::BackgroundError { work, error: error.clone() });
        error
    }
}

impl Caller<'_> {
    /// Returns when background work has nothing to do.
    pub(crate) fn wait_idle(&self) -> Result<()> {
        let _call = self.begin_call()?;
        if self.options.background_threads == 0 {
            let first = self.background.set_aside.release(self);
            while self.flush_oldest()?
                || self.compact_once()?
                || self.give_back()?
                || self.keep()?
            {}
            self.check_writable()?;
            return self.background.set_aside.failure(first);
        }
        let first = self.background.set_aside.release(self);
        let mut result = self.background.wait_until_idle();
        while result.is_ok() && self.background.set_aside.release_older(self, first) {
            result = self.background.wait_until_idle();
        }
        // What the cleaner found held by another worker is held by none now.
        let result = result.and(self.give_back().map(drop));
        self.check_writable()?;
        result.and(self.background.set_aside.failure(first))
    }
}
