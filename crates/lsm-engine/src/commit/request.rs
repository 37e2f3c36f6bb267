//! A write on its way through the commit path, and who is told of it.
//!
//! ```text
//! queued ──▶ logged and applied ──▶ visible: done
//!    │                 │
//!    ╰─ turn: Lead     ╰─ turn: Sync        the owner is woken to work for all, then waits on
//! ```
//!
//! The owner is the thread that waits, or a future: then the work falls to the engine's own
//! [`Attendants`], and the outcome to whoever polls.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use lsm_base::{KeyspaceId, Seq, WriteBatch};
use lsm_memtable::Memtable;
use lsm_wal::Lsn;

use super::attendants::Attendants;
use super::check::Check;
use crate::error::{Error, Result};
use crate::options::Durability;
use crate::sync::{AtomicU8, Mutex, Thread, current, park_until};

/// How long a waiter watches its turn before it sleeps: about 2 µs of pauses. On two cores a
/// longer watch would take the core from the thread it waits for.
const SPINS: u32 = if cfg!(loom) { 0 } else { 40 };

/// What the owner of a request is woken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Turn {
    /// Nothing yet.
    Wait = 0,
    /// To lead the next group.
    Lead = 1,
    /// To sync the log for everybody.
    Sync = 2,
    /// The outcome is there.
    Done = 3,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Written and visible, or refused.
    Answered(Result<Seq>),
    /// The version that the caller read cannot be trusted any more: read it again.
    ReadAgain,
}

/// One call on its way through the commit path.
#[derive(Debug)]
pub(crate) struct Request {
    batch: Arc<WriteBatch>,
    pub(super) durability: Durability,
    pub(super) check: Option<Check>,
    /// When the caller stops waiting for room.
    deadline: Option<Instant>,
    /// The most arena that applying the batch takes.
    pub(super) arena_bound: usize,
    /// What the batch takes in the log.
    log_len: u64,
    owner: Owner,
    /// 1 while it stands in the queue because there was no room for it.
    needs_room: AtomicU8,
    progress: Mutex<Progress>,
}

/// Who works when it is the request's turn.
#[derive(Debug)]
enum Owner {
    /// The thread that waits in the call.
    Thread { turn: AtomicU8, thread: Thread },
    /// The engine's threads, for a future.
    Future(Arc<Attendants>),
}

/// What the leader found out.
#[derive(Debug, Default)]
struct Progress {
    /// The last sequence of a batch that was accepted.
    last_seq: Option<Seq>,
    /// The log position behind the batch.
    end: Option<Lsn>,
    /// What to answer when everything before is visible, if not success.
    refusal: Option<Error>,
    outcome: Option<Outcome>,
    /// Whom to tell when the outcome is there.
    waker: Option<Waker>,
}

impl Request {
    /// A write whose caller waits on this thread.
    pub(super) fn of_thread(
        batch: Arc<WriteBatch>,
        durability: Durability,
        deadline: Option<Instant>,
        check: Option<Check>,
    ) -> Request {
        let turn = AtomicU8::new(Turn::Wait as u8);
        let owner = Owner::Thread { turn, thread: current() };
        Request { check, ..Request::new(batch, durability, deadline, owner) }
    }

    /// A write whose outcome is [polled](Self::poll).
    pub(super) fn of_future(
        batch: WriteBatch,
        durability: Durability,
        deadline: Option<Instant>,
        attendants: &Arc<Attendants>,
    ) -> Request {
        let owner = Owner::Future(Arc::clone(attendants));
        Request::new(Arc::new(batch), durability, deadline, owner)
    }

    fn new(
        batch: Arc<WriteBatch>,
        durability: Durability,
        deadline: Option<Instant>,
        owner: Owner,
    ) -> Request {
        let arena_bound =
            op_sizes(&batch).map(|(key, value)| Memtable::insert_bound(key, value)).sum();
        let log_len = lsm_wal::Wal::record_len(batch.as_bytes().len() as u64);
        let progress = Mutex::new(Progress::default());
        Request {
            batch,
            durability,
            check: None,
            deadline,
            arena_bound,
            log_len,
            owner,
            needs_room: AtomicU8::new(0),
            progress,
        }
    }

    /// What is to be written.
    pub(super) fn batch(&self) -> &WriteBatch {
        &self.batch
    }

    /// When the caller stops waiting for room.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What the batch takes in the log.
    pub(super) fn log_len(&self) -> u64 {
        self.log_len
    }

    /// Whether the engine's threads work for it.
    pub(super) fn is_attended(&self) -> bool {
        matches!(self.owner, Owner::Future(_))
    }

    /// Whether it still waits for room: no leader has taken it since there was none.
    pub(super) fn needs_room(&self) -> bool {
        self.needs_room.load(Ordering::Acquire) == 1
    }

    /// Notes that there is no room for it. Requires: the commit lock.
    pub(super) fn set_needs_room(&self) {
        self.needs_room.store(1, Ordering::Release);
    }

    /// Notes that a leader has taken it. Returns whether its owner may be waiting for room: that
    /// has to be woken, because there may be other work for it. Requires: the commit lock.
    pub(super) fn take_needs_room(&self) -> bool {
        self.needs_room.swap(0, Ordering::AcqRel) == 1
    }

    /// The keyspaces that the batch writes to, with repetitions.
    pub(super) fn keyspaces(&self) -> impl Iterator<Item = KeyspaceId> + '_ {
        self.batch.ops().map(|op| op.expect("the bytes of a batch always parse").keyspace)
    }

    /// The batch, unless it was refused.
    pub(super) fn accepted_batch(&self) -> Option<&WriteBatch> {
        Some(&*self.batch).filter(|_| self.progress.lock().refusal.is_none())
    }

    /// Notes that the answer will be `error`, once everything before is visible.
    pub(super) fn refuse(&self, error: Error) {
        self.progress.lock().refusal = Some(error);
    }

    /// Notes where the batch stands in commit order.
    pub(super) fn set_last_seq(&self, last_seq: Seq) {
        self.progress.lock().last_seq = Some(last_seq);
    }

    /// Notes which log position has to be on disk before a synced request may be answered.
    pub(super) fn set_end(&self, end: Lsn) {
        self.progress.lock().end = Some(end);
    }

    /// The sequence to publish with this request, if it has one, and the log position that has to
    /// be on disk before, if it waits for one.
    pub(super) fn place(&self) -> (Option<Seq>, Option<Lsn>) {
        let progress = self.progress.lock();
        let waits_for_disk = self.durability == Durability::Sync && progress.refusal.is_none();
        (progress.last_seq, progress.end.filter(|_| waits_for_disk))
    }

    /// Answers the request: success, or the refusal that was noted. Returns whether the sync had
    /// fallen to its thread and was not begun: it falls to nobody then.
    pub(super) fn complete(&self) -> bool {
        let mut progress = self.progress.lock();
        let result = match progress.refusal.take() {
            Some(error) => Err(error),
            None => Ok(progress.last_seq.unwrap_or_default()),
        };
        progress.outcome = Some(Outcome::Answered(result));
        let waker = progress.waker.take();
        drop(progress);
        match &self.owner {
            Owner::Thread { turn, thread } => {
                let turn = turn.swap(Turn::Done as u8, Ordering::AcqRel);
                thread.unpark();
                turn == Turn::Sync as u8
            }
            Owner::Future(attendants) => {
                waker.into_iter().for_each(|waker| attendants.wakers.push(waker));
                // An attendant that was asked to sync does so, needed or not.
                false
            }
        }
    }

    /// Answers the request because the log failed before it became visible.
    pub(super) fn fail(&self, error: &lsm_base::Error) {
        // What would have been a refusal rests on versions that nobody will ever see.
        let error = match self.progress.lock().refusal.take() {
            Some(_) => Error::poisoned(error.to_string()),
            None => Error::indeterminate(error.clone()),
        };
        self.answer(Outcome::Answered(Err(error)));
    }

    /// Answers a request that was not logged.
    pub(super) fn answer(&self, outcome: Outcome) {
        let mut progress = self.progress.lock();
        progress.outcome = Some(outcome);
        let waker = progress.waker.take();
        drop(progress);
        match &self.owner {
            Owner::Thread { turn, thread } => {
                // Not a store: the owner may be taking a turn, and a model must know which came last.
                turn.swap(Turn::Done as u8, Ordering::AcqRel);
                thread.unpark();
            }
            Owner::Future(attendants) => {
                waker.into_iter().for_each(|waker| attendants.wakers.push(waker));
            }
        }
    }

    /// Gives the owner the lead of the next group, unless it has its answer or something to do.
    pub(super) fn wake_to_lead(&self) {
        match &self.owner {
            Owner::Thread { turn, thread } => {
                if try_turn(turn, Turn::Wait, Turn::Lead) {
                    thread.unpark();
                }
            }
            Owner::Future(attendants) => attendants.lead.raise(),
        }
    }

    /// Gives the owner the sync of the log, unless it has its answer.
    pub(super) fn wake_to_sync(&self) {
        match &self.owner {
            Owner::Thread { turn, thread } => {
                // A sync that falls to a thread must not be lost to the lead of a group, which any
                // other may take. One step: the thread may be taking its lead right now.
                let unless_done = |now| (now != Turn::Done as u8).then_some(Turn::Sync as u8);
                let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
                if turn.fetch_update(success, failure, unless_done).is_ok() {
                    thread.unpark();
                }
            }
            Owner::Future(attendants) => attendants.sync.raise(),
        }
    }

    /// Waits until there is something to do, and takes it. [`Turn::Wait`] if `until` came first.
    ///
    /// Requires: the calling thread is the owner.
    pub(super) fn wait(&self, until: Option<Instant>) -> Turn {
        let Owner::Thread { turn, .. } = &self.owner else {
            unreachable!("a future is polled, not waited for")
        };
        let mut spins = 0;
        loop {
            match turn.load(Ordering::Acquire) {
                now if now == Turn::Done as u8 => return Turn::Done,
                now if now == Turn::Lead as u8 => {
                    if try_turn(turn, Turn::Lead, Turn::Wait) {
                        return Turn::Lead;
                    }
                }
                now if now == Turn::Sync as u8 => {
                    if try_turn(turn, Turn::Sync, Turn::Wait) {
                        return Turn::Sync;
                    }
                }
                _ if spins < SPINS => {
                    spins += 1;
                    hint::spin_loop();
                }
                _ if until.is_some_and(|until| until <= Instant::now()) => return Turn::Wait,
                _ => park_until(until),
            }
        }
    }

    /// The outcome. Requires: the turn is [`Turn::Done`].
    pub(super) fn take_outcome(&self) -> Outcome {
        self.progress.lock().outcome.take().expect("a request is done once it has its outcome")
    }

    /// The outcome if it is there; else the task of `context` is woken when it is.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Result<Seq>> {
        // Cloned before the lock is taken, and dropped after: that is code of the caller as well.
        let waker = context.waker().clone();
        let mut progress = self.progress.lock();
        match progress.outcome.take() {
            Some(Outcome::Answered(result)) => Poll::Ready(result),
            Some(Outcome::ReadAgain) => unreachable!("a future has no condition"),
            None => {
                let before = progress.waker.replace(waker);
                drop(progress);
                drop(before);
                Poll::Pending
            }
        }
    }
}

fn try_turn(turn: &AtomicU8, from: Turn, to: Turn) -> bool {
    turn.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// The lengths of key and value of each operation.
fn op_sizes(batch: &WriteBatch) -> impl Iterator<Item = (usize, usize)> + '_ {
    batch.ops().map(|op| {
        let op = op.expect("the bytes of a batch always parse");
        (op.key.len(), op.value.len())
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_sync_is_not_lost_to_a_lead_that_is_taken_at_that_moment() {
        for round in 0..10_000 {
            let request = Request::of_thread(Arc::default(), Durability::Sync, None, None);
            let Owner::Thread { turn, .. } = &request.owner else { unreachable!() };
            thread::scope(|scope| {
                let appointing = scope.spawn(|| request.wake_to_sync());
                while !appointing.is_finished() {
                    for _ in 0..64 {
                        request.wake_to_lead();
                        // What the owner does when it is woken.
                        let _ = try_turn(turn, Turn::Lead, Turn::Wait);
                    }
                    thread::yield_now();
                }
            });
            assert_eq!(turn.load(Ordering::Acquire), Turn::Sync as u8, "in {round}");
        }
    }

    #[test]
    fn a_request_knows_what_its_batch_takes_and_who_works_for_it() {
        let mut batch = WriteBatch::new();
        batch.put("a key", "a value");
        batch.delete("another");
        let bounds = Memtable::insert_bound(5, 7) + Memtable::insert_bound(7, 0);
        let log_len = lsm_wal::Wal::record_len(batch.as_bytes().len() as u64);
        let deadline = Some(Instant::now());
        let attendants = Arc::new(Attendants::new());
        let of_future = Request::of_future(batch.clone(), Durability::Sync, deadline, &attendants);
        let of_thread = Request::of_thread(Arc::new(batch), Durability::Sync, deadline, None);
        assert!(of_future.is_attended() && !of_thread.is_attended());
        for request in [of_future, of_thread] {
            assert_eq!((request.arena_bound, request.log_len()), (bounds, log_len));
            assert_eq!(request.deadline(), deadline);
            assert_eq!(request.keyspaces().collect::<Vec<_>>(), [KeyspaceId::DEFAULT; 2]);
        }
    }

    #[test]
    fn who_needs_room_is_taken_once() {
        let request = Request::of_thread(Arc::default(), Durability::Sync, None, None);
        assert!(!request.needs_room() && !request.take_needs_room());
        request.set_needs_room();
        assert!(request.needs_room() && request.take_needs_room());
        assert!(!request.needs_room() && !request.take_needs_room());
    }

    #[test]
    fn only_a_synced_write_that_was_accepted_waits_for_the_disk() {
        let end = Lsn { segment: 1, offset: 9 };
        for (durability, is_refused, waits) in [
            (Durability::Sync, false, true),
            (Durability::Sync, true, false),
            (Durability::Buffered, false, false),
        ] {
            let request = Request::of_thread(Arc::default(), durability, None, None);
            request.set_end(end);
            request.set_last_seq(Seq::new(5));
            if is_refused {
                request.refuse(Error::busy());
            }
            assert_eq!(request.place(), (Some(Seq::new(5)), waits.then_some(end)));
            assert_eq!(request.accepted_batch().is_none(), is_refused);
        }
    }

    #[test]
    fn the_owner_waits_for_its_turn_and_no_longer_than_it_said() {
        let request = Request::of_thread(Arc::default(), Durability::Sync, None, None);
        let past = Some(Instant::now());
        assert_eq!(request.wait(past), Turn::Wait);
        request.wake_to_lead();
        assert_eq!((request.wait(past), request.wait(past)), (Turn::Lead, Turn::Wait));
        request.wake_to_sync();
        request.wake_to_lead();
        assert_eq!((request.wait(past), request.wait(past)), (Turn::Sync, Turn::Wait));
        // The sync had not fallen to it.
        assert!(!request.complete());
        request.wake_to_sync();
        assert_eq!(request.wait(past), Turn::Done);
        let later = Some(Instant::now() + std::time::Duration::from_secs(600));
        for until in [None, later] {
            let request = Request::of_thread(Arc::default(), Durability::Sync, None, None);
            thread::scope(|scope| {
                scope.spawn(|| {
                    (0..1000).for_each(|_| thread::yield_now());
                    request.wake_to_sync();
                });
                assert_eq!(request.wait(until), Turn::Sync);
            });
            request.wake_to_sync();
            assert!(request.complete(), "the sync had fallen to it");
        }
    }
}
