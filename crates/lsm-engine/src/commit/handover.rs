//! The hand-over: which thread leads, which one syncs, and how the others learn of it.
//!
//! - A request is queued first, and its owner tries to take the commit lock then. Who holds the
//!   lock looks at the queue after giving it back, and wakes the owner of the first. So either the
//!   owner gets the lock, or the holder sees the request.
//! - Who leads with its own request first goes on leading; for another's it gives the lead away,
//!   because only the owner can wait for room without keeping somebody else from its answer.
//! - One owner syncs the log at a time; [`Publication`] appoints it.
//! - What takes a place in commit order and is not in the log, the drop of a keyspace, [holds](
//!   Handover::hold) the queue until it is on disk: nobody leads meanwhile.
//!
//! What leading and syncing consist of is the [`Duty`]'s: the models of this module run the same
//! hand-over over a log of their own.
//!
//! Leading, syncing and making room call code of others, a file system. If that panics, writes stop
//! and everybody gets an answer, before the panic goes on. Wakers are [called elsewhere](
//! super::wakers), under no lock and by nobody whom others wait for.
//!
//! Invariant: as long as a request is queued, somebody has the lead, has been woken for it, or holds
//! the queue; as long as a published prefix waits for the disk, somebody has the sync.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use lsm_base::Seq;
use lsm_wal::Lsn;

use super::attendants::Attendants;
use super::publication::Publication;
use super::request::{Outcome, Request, Turn};
use crate::error::{Error, Result};
use crate::sync::Mutex;

/// What a leader needs before it can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// A new generation with room for the first request.
    Room,
}

/// How much of the queue a leader takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Group after group while there is work, as a thread that has to wait anyway.
    Whole,
    /// No more than a moment's work, as the thread of an event loop.
    Moment,
}

/// What falls to whoever leads or syncs.
pub(super) trait Duty {
    /// What the commit lock guards.
    type State;

    /// Takes requests off the queue, from the first on, commits them, and hands them to
    /// publication. The first stays if it needs room.
    fn lead(&self, handover: &Handover<Self::State>, state: &mut Self::State, pace: Pace) -> Need;

    /// Syncs the log; returns up to where.
    fn sync_log(&self) -> Result<Lsn, lsm_base::Error>;

    /// Waits until there is room for this request, or it [needs none](Request::needs_room) any more.
    fn make_room(&self, request: &Request) -> Result<()>;

    /// Stops writes, because one of the above panicked: from now on `lead` answers all that is
    /// queued. Returns what became of those that were committed and wait for publication.
    fn give_up(&self) -> lsm_base::Error;
}

/// The queue, the commit lock, and who is told what.
#[derive(Debug)]
pub(super) struct Handover<S> {
    queue: Mutex<VecDeque<Arc<Request>>>,
    locked: Mutex<Locked<S>>,
    pub(super) publication: Publication,
    pub(super) attendants: Arc<Attendants>,
}

/// What the commit lock guards.
#[derive(Debug)]
struct Locked<S> {
    state: S,
    /// Whether nobody is to lead.
    is_held: bool,
}

impl<S> Handover<S> {
    /// A hand-over with nothing in it; everything up to `visible` is published.
    pub(super) fn new(state: S, visible: Seq) -> Handover<S> {
        Handover {
            queue: Mutex::new(VecDeque::new()),
            locked: Mutex::new(Locked { state, is_held: false }),
            publication: Publication::new(visible),
            attendants: Arc::new(Attendants::new()),
        }
    }

    /// Brings a request of this thread to its outcome; works for others meanwhile.
    pub(super) fn submit(&self, duty: &impl Duty<State = S>, request: &Arc<Request>) -> Outcome {
        self.enqueue(Arc::clone(request));
        self.lead_own(duty, request);
        let mut deadline = request.deadline();
        loop {
            match request.wait(deadline) {
                Turn::Done => return request.take_outcome(),
                Turn::Lead => self.lead_own(duty, request),
                // A failure is everybody's outcome, the own one's too.
                Turn::Sync => drop(self.sync(duty)),
                Turn::Wait => {
                    // Too late, unless a leader has taken it: then there is nothing to wait for
                    // but the disk.
                    deadline = None;
                    self.withdraw(request, Error::busy());
                    // The lead may have come to it just now; it is passed on.
                    self.lead_own(duty, request);
                }
            }
        }
    }

    /// Queues a request. Its owner is to lead next, or to be woken for it.
    pub(super) fn enqueue(&self, request: Arc<Request>) {
        self.queue.lock().push_back(request);
    }

    /// Leads until the queue is empty, the own request is done, or somebody else leads.
    fn lead_own(&self, duty: &impl Duty<State = S>, own: &Arc<Request>) {
        self.lead_while(duty, |first| Arc::ptr_eq(first, own));
    }

    /// Leads, for as long as the first request is one that this thread waits for room for.
    fn lead_while(&self, duty: &impl Duty<State = S>, is_own: impl Fn(&Arc<Request>) -> bool) {
        while let Some(need) = self.try_lead(duty, Pace::Whole) {
            let Some(first) = self.first() else { return };
            if !is_own(&first) {
                first.wake_to_lead();
                return;
            }
            if need == Need::Room
                && let Err(error) = self.guard(duty, || duty.make_room(&first))
            {
                self.withdraw(&first, error);
            }
        }
    }

    /// Leads once, unless somebody else has the commit lock, or holds the queue: whoever does will
    /// wake the first.
    fn try_lead(&self, duty: &impl Duty<State = S>, pace: Pace) -> Option<Need> {
        self.guard(duty, || {
            let mut locked = self.locked.try_lock().filter(|locked| !locked.is_held)?;
            Some(duty.lead(self, &mut locked.state, pace))
        })
    }

    /// Leads once if nobody does, and waits for nothing.
    pub(super) fn lead_in_passing(&self, duty: &impl Duty<State = S>) {
        if self.try_lead(duty, Pace::Moment).is_some() {
            self.pass_lead_on();
        }
    }

    /// Is the attendant that leads, until it is stopped. `admit` queues what was held back and is
    /// due, and says when more will be.
    pub(super) fn attend_lead(
        &self,
        duty: &impl Duty<State = S>,
        mut admit: impl FnMut() -> Option<Instant>,
    ) {
        while !self.attendants.is_stopping() {
            let next_due = admit();
            self.lead_while(duty, |first| first.is_attended());
            self.attendants.lead.wait(next_due);
        }
    }

    /// Is the attendant that syncs, until it is stopped.
    pub(super) fn attend_sync(&self, duty: &impl Duty<State = S>) {
        while !self.attendants.is_stopping() {
            self.attendants.sync.wait(None);
            // A failure is the outcome of whoever waits for it.
            let _ = self.sync(duty);
        }
    }

    /// Brings everything that is on its way to its outcome, and stops the attendants. Requires: no
    /// request comes any more, and none finds room to wait for.
    pub(super) fn finish(&self, duty: &impl Duty<State = S>) {
        // Whoever led besides comes to an end; what is left then waits for the disk at most.
        self.drain(duty);
        if !self.publication.is_idle() {
            let _ = self.sync(duty);
        }
        self.attendants.stop();
    }

    /// Syncs the log, and publishes what that allows.
    pub(super) fn sync(&self, duty: &impl Duty<State = S>) -> Result<(), lsm_base::Error> {
        self.guard(duty, || {
            let result = duty.sync_log();
            self.publication.sync_finished(result.clone());
            result.map(|_| ())
        })
    }

    /// Does what may panic; then writes stop, and whoever waits for this thread is answered first.
    fn guard<R>(&self, duty: &impl Duty<State = S>, work: impl FnOnce() -> R) -> R {
        match panic::catch_unwind(AssertUnwindSafe(work)) {
            Ok(result) => result,
            Err(panicked) => {
                let error = duty.give_up();
                self.publication.fail(&error);
                self.drain(duty);
                panic::resume_unwind(panicked)
            }
        }
    }

    /// Answers everything that is queued. Requires: what `lead` takes finds room or is refused.
    fn drain(&self, duty: &impl Duty<State = S>) {
        loop {
            // Also if nothing is queued: a leader that panicked may have left some of its group.
            duty.lead(self, &mut self.locked.lock().state, Pace::Whole);
            if self.first().is_none() {
                return;
            }
        }
    }

    /// Does something under the commit lock without leading.
    pub(super) fn with_state<R>(
        &self,
        duty: &impl Duty<State = S>,
        f: impl FnOnce(&mut S) -> R,
    ) -> R {
        let result = self.guard(duty, || f(&mut self.locked.lock().state));
        self.pass_lead_on();
        result
    }

    /// Takes a place in commit order under the commit lock, and `settle`s it without: nothing behind
    /// it is begun before that has returned.
    ///
    /// Requires: nobody else holds the queue, and `settle` waits for no write.
    pub(super) fn hold<P, R>(
        &self,
        duty: &impl Duty<State = S>,
        take_place: impl FnOnce(&mut S) -> P,
        settle: impl FnOnce(P) -> R,
    ) -> R {
        // Behind the guard: if this panics, writes stop before anybody leads again.
        let _held = Held(self);
        self.guard(duty, || {
            let place = {
                let mut locked = self.locked.lock();
                locked.is_held = true;
                take_place(&mut locked.state)
            };
            settle(place)
        })
    }

    /// Wakes whoever came while this thread held the commit lock, and found it taken.
    fn pass_lead_on(&self) {
        if let Some(first) = self.first() {
            first.wake_to_lead();
        }
    }

    fn first(&self) -> Option<Arc<Request>> {
        self.queue.lock().front().map(Arc::clone)
    }

    /// Takes the first request off the queue, if it is one that `takes` agrees to. For leaders.
    pub(super) fn pop_if(&self, takes: impl FnOnce(&Request) -> bool) -> Option<Arc<Request>> {
        let mut queue = self.queue.lock();
        if takes(queue.front()?) { queue.pop_front() } else { None }
    }

    /// Puts the request back that was taken off last. For leaders.
    pub(super) fn put_back(&self, request: Arc<Request>) {
        self.queue.lock().push_front(request);
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
}

/// A hold on the queue, until it is dropped.
struct Held<'a, S>(&'a Handover<S>);

impl<S> Drop for Held<'_, S> {
    fn drop(&mut self) {
        self.0.locked.lock().is_held = false;
        self.0.pass_lead_on();
    }
}

#[cfg(all(test, loom))]
mod model;
