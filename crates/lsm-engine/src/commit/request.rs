//! A write on its way through the commit path, and the thread that waits for it.
//!
//! ```text
//! queued ──▶ logged and applied ──▶ visible: done
//!    │                 │
//!    ╰─ turn: Lead     ╰─ turn: Sync        the thread is woken to work for all, then waits on
//! ```

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, Thread};

use lsm_base::{KeyspaceId, Seq, WriteBatch};
use lsm_memtable::Memtable;
use lsm_wal::Lsn;
use parking_lot::Mutex;

use super::check::Check;
use crate::error::{Error, Result};
use crate::options::Durability;

/// How long a waiter watches its turn before it sleeps: about 2 µs of pauses. On two cores a
/// longer watch would take the core from the thread it waits for.
const SPINS: u32 = 40;

/// What a waiting thread is woken for.
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
pub(super) struct Request {
    batch: Arc<WriteBatch>,
    pub(super) durability: Durability,
    pub(super) check: Option<Check>,
    /// The most arena that applying the batch takes.
    pub(super) arena_bound: usize,
    /// What the batch takes in the log.
    pub(super) log_len: u64,
    turn: AtomicU8,
    thread: Thread,
    progress: Mutex<Progress>,
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
}

impl Request {
    pub(super) fn write(
        batch: Arc<WriteBatch>,
        durability: Durability,
        check: Option<Check>,
    ) -> Self {
        let arena_bound =
            op_sizes(&batch).map(|(key, value)| Memtable::insert_bound(key, value)).sum();
        let log_len = lsm_wal::Wal::record_len(batch.as_bytes().len() as u64);
        Request {
            batch,
            durability,
            check,
            arena_bound,
            log_len,
            turn: AtomicU8::new(Turn::Wait as u8),
            thread: thread::current(),
            progress: Mutex::new(Progress::default()),
        }
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
        drop(progress);
        let turn = self.turn.swap(Turn::Done as u8, Ordering::AcqRel);
        self.thread.unpark();
        turn == Turn::Sync as u8
    }

    /// Answers the request because the log failed before it became visible.
    pub(super) fn fail(&self, error: &lsm_base::Error) {
        let mut progress = self.progress.lock();
        // What would have been a refusal rests on versions that nobody will ever see.
        let error = match progress.refusal.take() {
            Some(_) => Error::poisoned(error.to_string()),
            None => Error::indeterminate(error.clone()),
        };
        progress.outcome = Some(Outcome::Answered(Err(error)));
        drop(progress);
        self.wake(Turn::Done);
    }

    /// Answers a request that was not logged.
    pub(super) fn answer(&self, outcome: Outcome) {
        self.progress.lock().outcome = Some(outcome);
        self.wake(Turn::Done);
    }

    /// Gives the waiting thread something to do, unless it has its answer already.
    pub(super) fn wake(&self, turn: Turn) {
        let changed = match turn {
            Turn::Done => self.turn.swap(Turn::Done as u8, Ordering::AcqRel) != Turn::Done as u8,
            // A sync that falls to a thread must not be lost to the lead of a group, which any
            // other may take. One step: the thread may be taking its lead right now.
            Turn::Sync => {
                let unless_done = |now| (now != Turn::Done as u8).then_some(Turn::Sync as u8);
                let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
                self.turn.fetch_update(success, failure, unless_done).is_ok()
            }
            Turn::Lead | Turn::Wait => self.try_turn(Turn::Wait, turn),
        };
        if changed {
            self.thread.unpark();
        }
    }

    fn try_turn(&self, from: Turn, to: Turn) -> bool {
        self.turn
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Waits until there is something to do, and takes it.
    pub(super) fn wait(&self) -> Turn {
        let mut spins = 0;
        loop {
            match self.turn.load(Ordering::Acquire) {
                turn if turn == Turn::Done as u8 => return Turn::Done,
                turn if turn == Turn::Lead as u8 => {
                    if self.try_turn(Turn::Lead, Turn::Wait) {
                        return Turn::Lead;
                    }
                }
                turn if turn == Turn::Sync as u8 => {
                    if self.try_turn(Turn::Sync, Turn::Wait) {
                        return Turn::Sync;
                    }
                }
                _ if spins < SPINS => {
                    spins += 1;
                    hint::spin_loop();
                }
                _ => thread::park(),
            }
        }
    }

    /// The outcome. Requires: the turn is [`Turn::Done`].
    pub(super) fn take_outcome(&self) -> Outcome {
        self.progress.lock().outcome.take().expect("a request is done once it has its outcome")
    }
}

/// The lengths of key and value of each operation.
fn op_sizes(batch: &WriteBatch) -> impl Iterator<Item = (usize, usize)> + '_ {
    batch.ops().map(|op| {
        let op = op.expect("the bytes of a batch always parse");
        (op.key.len(), op.value.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_not_lost_to_a_lead_that_is_taken_at_that_moment() {
        for round in 0..10_000 {
            let request = Request::write(Arc::default(), Durability::Sync, None);
            thread::scope(|scope| {
                let appointing = scope.spawn(|| request.wake(Turn::Sync));
                while !appointing.is_finished() {
                    for _ in 0..64 {
                        request.wake(Turn::Lead);
                        // What the owner does when it is woken.
                        let _ = request.try_turn(Turn::Lead, Turn::Wait);
                    }
                    thread::yield_now();
                }
            });
            assert_eq!(request.turn.load(Ordering::Acquire), Turn::Sync as u8, "in {round}");
        }
    }
}
