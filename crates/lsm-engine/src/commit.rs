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
//! An asynchronous write goes the same way. Its caller leads in passing if nobody else does, and
//! waits for nothing: what there is to wait for is left to the engine's own threads
//! ([`Attendants`](attendants::Attendants)).
//!
//! Invariant: the order of sequences, of log records, of memtable entries and of publication is
//! one and the same, because the commit lock is held over all four.

mod attendants;
mod check;
mod delayed;
mod handover;
mod leader;
mod publication;
mod request;
mod signal;
mod state;
mod wakers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use lsm_base::{KeyspaceId, Seq, WriteBatch};

use self::check::Check;
use self::delayed::Delayed;
use self::handover::Handover;
use self::publication::Publication;
use self::request::Outcome;
pub(crate) use self::request::Request;
use self::state::CommitState;
pub(crate) use self::wakers::Wakers;
use crate::admission::Ticket;
use crate::error::{Error, Result};
use crate::generation::GenerationView;
use crate::inner::Inner;
use crate::options::{Durability, WriteOptions};

/// The commit path of a writable database.
#[derive(Debug)]
pub(crate) struct Commit {
    handover: Handover<CommitState>,
    delayed: Delayed,
}

impl Commit {
    /// A commit path whose next operation gets the sequence `next_seq`.
    pub(crate) fn new(
        next_seq: Seq,
        active: GenerationView,
        keyspaces: BTreeSet<KeyspaceId>,
        prefixes: BTreeMap<KeyspaceId, Vec<u8>>,
        log_room: u64,
    ) -> Commit {
        let visible = Seq::new(next_seq.get() - 1);
        let state = CommitState::new(next_seq, active, keyspaces, prefixes, log_room);
        Commit { handover: Handover::new(state, visible), delayed: Delayed::default() }
    }

    /// What is visible.
    pub(crate) fn publication(&self) -> &Publication {
        &self.handover.publication
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
            let batch = Arc::clone(&batch);
            let request = Arc::new(Request::of_thread(batch, durability, deadline, check));
            match self.handover.submit(inner, &request) {
                Outcome::Answered(result) => return result,
                Outcome::ReadAgain => {}
            }
        }
    }

    /// Queues a batch that was checked and goes when its ticket is due, or now. Waits for nothing. What
    /// one thread queues is committed in that order.
    ///
    /// Requires: the attendants were started, and the close waits for this call.
    pub(crate) fn write_async(
        &self,
        inner: &Inner,
        batch: WriteBatch,
        durability: Durability,
        deadline: Option<Instant>,
        ticket: Option<Ticket>,
    ) -> Arc<Request> {
        let attendants = &self.handover.attendants;
        let request = Request::of_future(batch, durability, deadline, attendants);
        let request = Arc::new(request);
        if self.delayed.hold_back(&request, ticket, || self.handover.enqueue(Arc::clone(&request)))
        {
            attendants.lead.raise();
        } else {
            self.handover.lead_in_passing(inner);
        }
        request
    }

    /// Makes everything that was logged before durable, and publishes what that allows.
    ///
    /// The caller syncs by itself and waits for no other thread: a flush that calls this may be
    /// what others wait for.
    pub(crate) fn sync(&self, inner: &Inner) -> Result<()> {
        self.handover.sync(inner).map_err(Error::indeterminate)
    }

    /// Whether nothing was written to the active generation.
    pub(crate) fn is_active_empty(&self, inner: &Inner) -> bool {
        self.handover.with_state(inner, |state| state.is_active_empty())
    }

    /// Seals the active generation if it holds anything. `false` if it does and cannot be sealed,
    /// because no segment is ready or too many generations wait for their flush.
    pub(crate) fn try_seal(&self, inner: &Inner) -> bool {
        self.handover
            .with_state(inner, |state| state.is_active_empty() || state.rotate(inner, 0, 0))
    }

    /// Takes the next place in commit order for the drop of a keyspace, from which on nothing is
    /// written to it, and calls `install` to make the drop durable. Writes behind it wait until that
    /// has returned: none is logged, or refused because of the drop, that a crash could undo.
    ///
    /// Requires: the lock of the version set, so that there is one drop at a time.
    pub(crate) fn drop_keyspace(
        &self,
        inner: &Inner,
        keyspace: KeyspaceId,
        install: impl FnOnce(Seq) -> Result<()>,
    ) -> Result<()> {
        self.handover.hold(inner, |state| state.take_drop(keyspace), install)
    }

    /// Lets writes to these keyspaces in.
    pub(crate) fn open_keyspaces(
        &self,
        inner: &Inner,
        keyspaces: impl Iterator<Item = KeyspaceId>,
    ) {
        self.handover.with_state(inner, |state| state.keyspaces.extend(keyspaces));
    }

    /// The thread that leads for futures: admits delayed writes, and leads what is queued.
    pub(crate) fn attend_lead(&self, inner: &Inner) {
        self.handover.attend_lead(inner, || {
            self.admit(inner, |ticket| {
                inner.admission.due(Instant::now(), ticket, inner.permitted_rate())
            })
        });
    }

    /// Has it looked again at the writes that pressure holds back.
    pub(crate) fn rate_changed(&self) {
        if !self.delayed.is_empty() {
            self.handover.attendants.lead.raise();
        }
    }

    /// The thread that syncs for futures.
    pub(crate) fn attend_sync(&self, inner: &Inner) {
        self.handover.attend_sync(inner);
    }

    /// The wakers of futures, which a thread that knows nothing else is to call.
    pub(crate) fn wakers(&self) -> Arc<Wakers> {
        Arc::clone(&self.handover.attendants.wakers)
    }

    /// Answers what is still on its way, and lets the attendants end. Requires: the database is
    /// closed, and no asynchronous write is being queued.
    pub(crate) fn stop(&self, inner: &Inner) {
        self.admit(inner, |_| None);
        self.handover.finish(inner);
    }

    /// Lets the thread end that calls wakers. Requires: the attendants have ended.
    pub(crate) fn stop_waking(&self) {
        self.handover.attendants.wakers.end();
    }

    /// Queues the delayed writes for which `due` says no moment. Returns when the next one is due.
    fn admit(&self, inner: &Inner, due: impl Fn(Ticket) -> Option<Instant>) -> Option<Instant> {
        let (next, waits) = self.delayed.take_due(due, |request| self.handover.enqueue(request));
        let is_last = next.is_none() && !waits.is_empty();
        waits.into_iter().for_each(|waited| inner.note_stall(waited));
        if is_last {
            // For a worker, which tells it. As long as there is pressure, they come by themselves.
            inner.background.changed();
        }
        next
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
