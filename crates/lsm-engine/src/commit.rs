//! The commit path: from a batch to a visible, logged write.
//!
//! 1. The caller queues its request and tries to lead. Who does not get the commit lock waits.
//! 2. The leader takes requests off the queue, checks conditions, assigns sequences, appends the
//!    whole group to the log with one write, and applies it to the memtables. Nobody syncs under
//!    this lock, and there is no other I/O than that write.
//! 3. [`Publication`] makes the writes visible in order; one waiting thread syncs the log for all.
//! 4. The leader passes the lead to whoever came meanwhile.
//!
//! A leader that finds no room in the active generation seals it and opens the next, if a segment
//! is ready; else it leaves the lock and waits for one.
//!
//! Invariant: the order of sequences, of log records, of memtable entries and of publication is
//! one and the same, because the commit lock is held over all four.

mod check;
mod publication;
mod request;
mod state;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use lsm_base::{KeyspaceId, Seq, WriteBatch};
use lsm_wal::Lsn;
use parking_lot::Mutex;

use self::check::{Check, Verdict};
pub(crate) use self::publication::Publication;
use self::request::{Outcome, Request, Turn};
use self::state::CommitState;
use crate::error::{Error, Result};
use crate::generation::GenerationView;
use crate::inner::Inner;
use crate::options::{Durability, WriteOptions};

/// A group ends after this many bytes of log, so that the first of it does not wait for long.
const MAX_GROUP_BYTES: u64 = 1 << 20;

/// The commit path of a writable database.
#[derive(Debug)]
pub(crate) struct Commit {
    queue: Mutex<VecDeque<Arc<Request>>>,
    state: Mutex<CommitState>,
    pub(crate) publication: Publication,
}

/// What a leader needs before it can go on.
#[derive(Clone, Copy, Debug)]
enum Need {
    /// Nothing.
    Nothing,
    /// A new generation, for a request that takes this much of the log.
    Room { log_len: u64 },
}

impl Commit {
    /// A commit path whose next operation gets the sequence `next_seq`.
    pub(crate) fn new(
        next_seq: Seq,
        active: GenerationView,
        keyspaces: BTreeSet<KeyspaceId>,
        prefixes: BTreeMap<KeyspaceId, Vec<u8>>,
    ) -> Commit {
        let visible = Seq::new(next_seq.get() - 1);
        Commit {
            queue: Mutex::default(),
            state: Mutex::new(CommitState::new(next_seq, active, keyspaces, prefixes)),
            publication: Publication::new(visible),
        }
    }

    /// Writes a batch that was checked and admitted.
    pub(crate) fn write(
        &self,
        inner: &Inner,
        batch: WriteBatch,
        durability: Durability,
        options: &WriteOptions,
        deadline: Option<Instant>,
    ) -> Result<Seq> {
        let batch = Arc::new(batch);
        loop {
            let check = match options.condition {
                Some(condition) => Some(Check::prepare(inner, condition, &batch)?),
                None => None,
            };
            // Whoever answered the request may hold it a moment longer than its caller.
            let request = Arc::new(Request::write(Arc::clone(&batch), durability, check));
            match self.submit(inner, &request, deadline) {
                Outcome::Answered(result) => return result,
                Outcome::ReadAgain => {}
            }
        }
    }

    /// Makes everything that was logged before durable, and publishes what that allows.
    ///
    /// The caller syncs by itself and waits for no other thread: whoever is appointed to sync may
    /// be waiting for room, and so for the flush that called this.
    pub(crate) fn sync(&self, inner: &Inner) -> Result<()> {
        let wal = inner.wal();
        let started = Instant::now();
        let result = wal.sync(wal.appended_lsn()).map(|()| wal.synced_lsn());
        inner.metrics.wal_sync_nanos.record(started.elapsed().as_nanos() as u64);
        if let Err(error) = &result {
            inner.poison(error);
        }
        self.publication.sync_finished(result.clone());
        result.map(|_| ()).map_err(Error::indeterminate)
    }

    /// Whether nothing was written to the active generation.
    pub(crate) fn is_active_empty(&self) -> bool {
        self.with_state(|state| state.is_active_empty())
    }

    /// Seals the active generation if it holds anything. `false` if it does and cannot be sealed,
    /// because no segment is ready or too many generations wait for their flush.
    pub(crate) fn try_seal(&self, inner: &Inner) -> bool {
        self.with_state(|state| state.is_active_empty() || state.rotate(inner, 0, 0))
    }

    /// Takes the next place in commit order for an edit that goes around the log, with `change`
    /// applied to the set of keyspaces that may be written to. Returns that place, and the log
    /// position that has to be synced before the edit is made durable.
    pub(crate) fn take_place(
        &self,
        inner: &Inner,
        change: impl FnOnce(&mut BTreeSet<KeyspaceId>),
    ) -> (Seq, Lsn) {
        self.with_state(|state| {
            change(&mut state.keyspaces);
            (state.take_seq(), inner.wal().appended_lsn())
        })
    }

    /// Lets writes to these keyspaces in.
    pub(crate) fn open_keyspaces(&self, keyspaces: impl Iterator<Item = KeyspaceId>) {
        self.with_state(|state| state.keyspaces.extend(keyspaces));
    }

    /// Does something under the commit lock without leading.
    fn with_state<R>(&self, f: impl FnOnce(&mut CommitState) -> R) -> R {
        let result = f(&mut self.state.lock());
        // Who came meanwhile found the lock taken, and waits for its holder to pass the lead on.
        if let Some(first) = self.queue.lock().front() {
            first.wake(Turn::Lead);
        }
        result
    }

    fn submit(&self, inner: &Inner, request: &Arc<Request>, deadline: Option<Instant>) -> Outcome {
        self.queue.lock().push_back(Arc::clone(request));
        self.try_lead(inner, request, deadline);
        self.work_until_done(inner, request, deadline)
    }

    /// Does for all what falls to the thread of `request`, until it has its outcome.
    fn work_until_done(
        &self,
        inner: &Inner,
        request: &Arc<Request>,
        deadline: Option<Instant>,
    ) -> Outcome {
        loop {
            match request.wait() {
                Turn::Done => return request.take_outcome(),
                Turn::Lead => self.try_lead(inner, request, deadline),
                Turn::Sync => {
                    // A failure is everybody's outcome, the own one's too.
                    let _ = self.sync(inner);
                }
                Turn::Wait => {}
            }
        }
    }

    /// Leads groups until the queue is empty, the own request is done, or somebody else leads.
    fn try_lead(&self, inner: &Inner, own: &Arc<Request>, deadline: Option<Instant>) {
        // Whoever holds the lock looks at the queue after giving it back, and wakes the first.
        while let Some(mut state) = self.state.try_lock() {
            let need = self.lead(inner, &mut state);
            drop(state);
            let Some(first) = self.queue.lock().front().map(Arc::clone) else { return };
            if !Arc::ptr_eq(&first, own) {
                first.wake(Turn::Lead);
                return;
            }
            if let Need::Room { log_len } = need
                && let Err(error) = inner.make_room(log_len, deadline)
            {
                self.withdraw(own, error);
            }
        }
    }

    /// Answers `request` with `error`, unless a leader took it off the queue meanwhile.
    fn withdraw(&self, request: &Arc<Request>, error: Error) {
        let mut queue = self.queue.lock();
        let Some(index) = queue.iter().position(|queued| Arc::ptr_eq(queued, request)) else {
            return;
        };
        queue.remove(index);
        drop(queue);
        request.answer(Outcome::Answered(Err(error)));
    }

    /// Takes requests off the queue until it is empty or the group is large.
    fn lead(&self, inner: &Inner, state: &mut CommitState) -> Need {
        let mut led_bytes = 0;
        while led_bytes < MAX_GROUP_BYTES {
            let Some(request) = self.queue.lock().pop_front() else { break };
            let (log_len, arena_bound) = (request.log_len, request.arena_bound);
            led_bytes += log_len;
            if let Err(error) = inner.check_writable() {
                request.answer(Outcome::Answered(Err(error)));
                continue;
            }
            if !state.has_room(inner, log_len, arena_bound) {
                self.commit_group(inner, state);
                if !state.rotate(inner, log_len, arena_bound) {
                    self.queue.lock().push_front(request);
                    return Need::Room { log_len };
                }
            }
            self.stage(inner, state, request);
        }
        self.commit_group(inner, state);
        Need::Nothing
    }

    /// Makes a request part of the group, or answers it.
    fn stage(&self, inner: &Inner, state: &mut CommitState, request: Arc<Request>) {
        if request.keyspaces().any(|keyspace| !state.keyspaces.contains(&keyspace)) {
            request.answer(Outcome::Answered(Err(Error::keyspace_dropped())));
            return;
        }
        if let Some(check) = &request.check {
            // The memtables must hold what earlier members of the group write.
            self.commit_group(inner, state);
            match check.verdict(inner) {
                Verdict::Holds => {}
                Verdict::ReadAgain => {
                    request.answer(Outcome::ReadAgain);
                    return;
                }
                Verdict::Conflict(current) => request.refuse(Error::conflict(current)),
            }
        }
        state.push(request);
    }

    /// Logs the group, applies it to the memtables, and hands it over for publication.
    fn commit_group(&self, inner: &Inner, state: &mut CommitState) {
        let group = state.take_group();
        if group.is_empty() {
            return;
        }
        inner.metrics.write_group_size.record(group.len() as u64);
        match state.log_and_apply(inner, &group) {
            Ok(()) => self.publication.push(group, inner.wal().synced_lsn()),
            // The log's end is known: what stands before the group is whole, and a new segment
            // will name it. Only what the group would have written is lost.
            Err(error) if error.is_no_space() => {
                inner.report_no_space(&error);
                let (lost, rest): (Vec<_>, Vec<_>) =
                    group.into_iter().partition(|request| request.accepted_batch().is_some());
                lost.iter().for_each(|request| request.fail(&error));
                rest.iter().for_each(|request| request.set_end(inner.wal().appended_lsn()));
                self.publication.push(rest, inner.wal().synced_lsn());
            }
            Err(error) => {
                inner.poison(&error);
                self.publication.fail(&error);
                group.iter().for_each(|request| request.fail(&error));
            }
        }
    }
}
