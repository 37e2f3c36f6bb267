//! Background work: who does it, and how it is woken.
//!
//! - the *keeper* makes the next log segment ready and unlinks what is obsolete;
//! - the *flusher* turns sealed generations into tables, oldest first;
//! - the *compactors* keep the shape of the tree.
//!
//! Two more, the *attendants*, work for asynchronous writes ([`commit`](crate::commit)).
//!
//! Each worker looks for work until there is none, and then waits for a change, or for the interval to
//! pass. With no threads, the calls that need the work do it themselves.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use lsm_compaction::InProgress;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::health::Health;
use crate::inner::Inner;
use crate::manifest::is_sync;
use crate::set_aside::SetAside;

/// The workers and what they wait for.
#[derive(Debug, Default)]
pub(crate) struct Background {
    signal: Mutex<Signal>,
    changed: Condvar,
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// The threads that work for asynchronous writes, once there was one.
    attendants: Mutex<Vec<JoinHandle<()>>>,
    /// Held by whoever flushes: generations become tables one after the other.
    pub(crate) flushing: Mutex<()>,
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
        let mut work: Vec<(&str, Work)> =
            vec![("lsm-keeper", Inner::keep), ("lsm-flusher", Inner::flush_oldest)];
        work.resize(2 + compactors, ("lsm-compactor", Inner::compact_once));
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

    /// Waits for the attendants of the commit path, which were told to stop.
    pub(crate) fn join_attendants(&self) {
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

/// Stops writes if the thread that holds this panics: others would wait for it.
struct PoisonOnPanic<'a>(&'a Inner);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            // No listener is told: it may be what panicked.
            self.0.health.poison("a thread of the commit path panicked");
            self.0.background.changed();
        }
    }
}

impl Inner {
    /// Starts the threads that work for asynchronous writes, unless they run.
    pub(crate) fn start_attendants(self: &Arc<Self>) -> Result<()> {
        let mut running = self.background.attendants.lock();
        while let Some((name, attend)) = ATTENDANTS.get(running.len()) {
            let shared = Arc::clone(self);
            let work = move || {
                let _guard = PoisonOnPanic(&shared);
                attend(shared.commit(), &shared);
            };
            let spawned = thread::Builder::new().name((*name).into()).spawn(work);
            let start_failed = |error| lsm_base::Error::io("start a thread for", &self.dir, error);
            running.push(spawned.map_err(start_failed)?);
        }
        Ok(())
    }

    /// Does a kind of work until there is none left.
    fn work_until_idle(&self, name: &'static str, work: Work) -> Result<()> {
        loop {
            self.tell();
            if self.background.is_stopping() {
                return Ok(());
            }
            match work(self) {
                Ok(true) => self.background.changed(),
                Ok(false) => return Ok(()),
                Err(error) => return Err(self.note_background_error(name, error)),
            }
        }
    }

    /// Counts and reports a failure of background work.
    pub(crate) fn note_background_error(&self, work: &'static str, error: Error) -> Error {
        let error = self.note_read_error(error);
        self.emit(&Event::BackgroundError { work, error: error.clone() });
        error
    }

    /// Unlinks what is obsolete, looks whether a full disk has space again, and makes the next log
    /// segment ready.
    pub(crate) fn keep(&self) -> Result<bool> {
        // First what gives space back: a disk may be full of nothing else.
        let given_back = self.give_back();
        let prepared = match self.check_writable().is_ok() || self.try_resume()? {
            true => !self.wal().is_ready(0) && self.prepare_segment(0).map(|()| true)?,
            false => false,
        };
        Ok(given_back? || prepared)
    }

    /// Unlinks tables, MANIFESTs and log segments that an installed edit has made obsolete. Returns
    /// whether there were any.
    ///
    /// # Errors
    /// The first failure; the rest is unlinked all the same.
    pub(crate) fn give_back(&self) -> Result<bool> {
        if !matches!(self.health.get(), Health::Running | Health::NoSpace) {
            return Ok(false);
        }
        let removed = self.obsolete.remove(self);
        let released = self.wal().release(self.log_floor())?;
        Ok(removed? != 0 || released != 0)
    }

    /// Makes a log segment ready that holds a record of this length.
    pub(crate) fn prepare_segment(&self, log_len: u64) -> Result<()> {
        self.wal().prepare(log_len).map_err(|error| self.note_write_error(error))
    }

    /// The first log segment that is still needed.
    fn log_floor(&self) -> u64 {
        self.super_versions.load().version.state.log_floor.first_segment
    }

    /// Looks whether the disk has space again, and if so lets writes go on.
    pub(crate) fn try_resume(&self) -> Result<bool> {
        if self.health.get() != Health::NoSpace {
            return Ok(false);
        }
        // What is free must hold a segment and the tables of what is in memory.
        let needed = 2 * self.options.memtable_size as u64;
        if self.fs.free_space(&self.dir)? < needed {
            return Ok(false);
        }
        self.versions.decide(self, &mut self.versions.lock())?;
        let is_news = self.health.resume();
        if is_news {
            self.emit(&Event::Resumed);
        }
        Ok(is_news)
    }

    /// What a failure to write or sync a file means for the store.
    pub(crate) fn note_write_error(&self, error: lsm_base::Error) -> Error {
        if error.is_no_space() && !is_sync(&error) {
            self.report_no_space(&error);
        } else if is_write_failure(&error) {
            self.poison(&error);
        }
        error.into()
    }

    /// Waits until a generation can be begun with room for a record of this length, or until
    /// nobody needs it any more.
    pub(crate) fn make_room(
        &self,
        log_len: u64,
        deadline: Option<Instant>,
        is_needed: impl Fn() -> bool,
    ) -> Result<()> {
        let _call = self.begin_call()?;
        let started = Instant::now();
        let result = self.wait_for_room(log_len, deadline, is_needed);
        self.note_stall(started.elapsed());
        result
    }

    fn wait_for_room(
        &self,
        log_len: u64,
        deadline: Option<Instant>,
        is_needed: impl Fn() -> bool,
    ) -> Result<()> {
        let round = self.background.flush_round();
        loop {
            let seen = self.background.changes();
            if !is_needed() {
                return Ok(());
            }
            self.check_writable()?;
            if !self.wal().is_ready(log_len) {
                if self.options.background_threads == 0 {
                    // Nobody else does. If it fails, there may be room for the segment still.
                    let _ = self.give_back();
                }
                self.prepare_segment(log_len).map_err(|error| self.before_append(error))?;
            }
            if self.may_rotate() {
                return Ok(());
            }
            if self.options.background_threads == 0 {
                self.flush_oldest().map_err(|error| self.before_append(error))?;
            } else if let Some(error) = self.background.flush_failure(round) {
                return Err(self.before_append(error));
            } else if !self.background.wait_for_change(seen, deadline) {
                return Err(Error::busy());
            }
        }
    }

    /// What a write is answered whose append never began: that writes have stopped, if they have.
    fn before_append(&self, error: Error) -> Error {
        self.check_writable().err().unwrap_or_else(|| error.not_begun())
    }

    /// Returns when background work has nothing to do.
    pub(crate) fn wait_idle(&self) -> Result<()> {
        let _call = self.begin_call()?;
        if self.options.background_threads == 0 {
            self.background.set_aside.release(self);
            while self.flush_oldest()? || self.compact_once()? || self.keep()? {}
            self.check_writable()?;
            return self.background.set_aside.failure();
        }
        self.background.set_aside.release(self);
        let result = self.background.wait_until_idle();
        self.check_writable()?;
        result.and(self.background.set_aside.failure())
    }
}

/// Whether a file could not be written, synced, created or renamed, so that what is on disk is in
/// doubt: not a read, and not what another try may do.
fn is_write_failure(error: &lsm_base::Error) -> bool {
    const READS: [&str; 7] =
        ["read", "open", "map", "list", "look up", "measure", "measure the free space of"];
    match error {
        lsm_base::Error::Io { op, .. } => !READS.contains(op) && !is_passing(error),
        _ => false,
    }
}

/// Whether nothing was done for a reason that passes: the process, or the system, is out of
/// descriptors, or a signal came. A sync has failed whatever the reason.
pub(crate) fn is_passing(error: &lsm_base::Error) -> bool {
    match error {
        lsm_base::Error::Io { source, .. } if !is_sync(error) => {
            source.kind() == io::ErrorKind::Interrupted
                || matches!(source.raw_os_error(), Some(EMFILE | ENFILE))
        }
        _ => false,
    }
}

const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_base::fs::OpKind;
    use std::path::Path;

    fn failure(op: &'static str, errno: i32) -> lsm_base::Error {
        lsm_base::Error::io(op, Path::new("file"), io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn only_what_leaves_the_disk_in_doubt_is_a_write_failure() {
        let writes = [
            OpKind::CreateDir,
            OpKind::Create,
            OpKind::Rename,
            OpKind::Remove,
            OpKind::SyncDir,
            OpKind::Lock,
            OpKind::Write,
            OpKind::Allocate,
            OpKind::SyncData,
            OpKind::SyncAll,
            OpKind::StartWriteback,
        ];
        let reads = [
            OpKind::Open,
            OpKind::OpenWritable,
            OpKind::List,
            OpKind::Exists,
            OpKind::FreeSpace,
            OpKind::Read,
            OpKind::Len,
        ];
        const EINTR: i32 = 4;
        const EIO: i32 = 5;
        const ENOMEM: i32 = 12;
        for kind in writes {
            assert!(is_write_failure(&failure(kind.verb(), EIO)), "{kind:?}");
            for errno in [EMFILE, EINTR] {
                let is_failure = is_write_failure(&failure(kind.verb(), errno));
                assert_eq!(is_failure, kind.is_sync(), "{kind:?}");
            }
        }
        for kind in reads {
            assert!(!is_write_failure(&failure(kind.verb(), EIO)), "{kind:?}");
        }
        // The verb of a table that is mapped.
        assert!(!is_write_failure(&failure("map", ENOMEM)));
    }
}
