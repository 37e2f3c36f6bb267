//! Models of the hand-over: loom runs the shipped code under every interleaving, up to a bound on
//! preemptions, over a log that exists in two numbers.
//!
//! A model fails if somebody waits for ever, if a synced write is answered before the disk has it,
//! or if what is visible is not a prefix of the commit order.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering as StdOrdering};
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc as LoomArc, Condvar, Mutex as LoomMutex};
use loom::thread;
use lsm_base::WriteBatch;

use super::*;
use crate::options::Durability;

/// A log of numbers: each request takes one place.
struct Log {
    handover: Handover<Leading>,
    appended: AtomicU64,
    synced: AtomicU64,
    /// The syncs that fail: all from this one on.
    good_syncs: usize,
    syncs: AtomicUsize,
    /// What panics each time, if anything.
    panics: Option<Panics>,
    /// 1 after a panic.
    has_given_up: AtomicU64,
    /// How many more requests there is room for, beside what a leader has.
    spare: LoomMutex<u64>,
    room_changed: Condvar,
}

/// What of a duty panics. Not what is done under the commit lock: loom's mutexes cannot be used
/// after that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Panics {
    Sync,
    Room,
}

/// What the commit lock guards.
#[derive(Debug)]
struct Leading {
    next: u64,
    room: u64,
}

impl Log {
    fn new(room: u64, good_syncs: usize) -> Log {
        Log {
            handover: Handover::new(Leading { next: 1, room }, Seq::ZERO),
            appended: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            good_syncs,
            syncs: AtomicUsize::new(0),
            panics: None,
            has_given_up: AtomicU64::new(0),
            spare: LoomMutex::new(0),
            room_changed: Condvar::new(),
        }
    }

    fn panic_if(&self, panics: Panics) {
        if self.panics == Some(panics) {
            // Without the message, which each of many executions would print.
            panic::resume_unwind(Box::new("planned"));
        }
    }

    fn synced_lsn(&self) -> Lsn {
        lsn(self.synced.load(Ordering::Acquire))
    }

    /// What a flush brings.
    fn give_room(&self, room: u64) {
        *self.spare.lock().unwrap() += room;
        self.room_changed.notify_all();
    }

    /// A write of a thread. Returns its sequence.
    fn write(&self, durability: Durability) -> Result<Seq> {
        let request = Arc::new(Request::of_thread(batch(), durability, None, None));
        match self.handover.submit(self, &request) {
            Outcome::Answered(result) => self.check(durability, result),
            Outcome::ReadAgain => unreachable!("there is no condition"),
        }
    }

    fn queue(&self, durability: Durability) -> Arc<Request> {
        let attendants = &self.handover.attendants;
        let batch = WriteBatch::clone(&batch());
        let request = Arc::new(Request::of_future(batch, durability, None, attendants));
        self.handover.enqueue(Arc::clone(&request));
        self.handover.lead_in_passing(self);
        request
    }

    /// A write whose outcome is looked for again and again: who calls wakers is a model of its own.
    fn write_async(&self, durability: Durability) -> Result<Seq> {
        let request = self.queue(durability);
        loop {
            match request.poll(&Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => return self.check(durability, result),
                Poll::Pending => thread::yield_now(),
            }
        }
    }

    /// A write whose outcome its waker tells of.
    fn write_woken(&self, durability: Durability) -> Result<Seq> {
        let request = self.queue(durability);
        let waker = Waker::from(Arc::new(Unpark(crate::sync::current())));
        loop {
            match request.poll(&Context::from_waker(&waker)) {
                Poll::Ready(result) => return self.check(durability, result),
                Poll::Pending => crate::sync::park(),
            }
        }
    }

    /// What holds when a write is answered.
    fn check(&self, durability: Durability, result: Result<Seq>) -> Result<Seq> {
        if let Ok(seq) = &result {
            assert!(*seq <= self.handover.publication.visible());
            let is_on_disk = seq.get() <= self.synced.load(Ordering::Acquire);
            assert!(durability == Durability::Buffered || is_on_disk);
        }
        result
    }
}

impl Duty for Log {
    type State = Leading;

    fn lead(&self, handover: &Handover<Leading>, state: &mut Leading, pace: Pace) -> Need {
        let mut group = Vec::new();
        let mut need = Need::Nothing;
        while let Some(request) = handover.pop_if(|_| pace.takes(0, 1)) {
            if request.take_needs_room() {
                drop(self.spare.lock().unwrap());
                self.room_changed.notify_all();
            }
            if self.has_given_up.load(Ordering::Acquire) == 1 {
                request.answer(Outcome::Answered(Err(Error::poisoned("planned"))));
                continue;
            }
            if state.room == 0 {
                state.room = std::mem::take(&mut *self.spare.lock().unwrap());
            }
            if state.room == 0 {
                request.set_needs_room();
                handover.put_back(request);
                need = Need::Room;
                break;
            }
            state.room -= 1;
            request.set_last_seq(Seq::new(state.next));
            request.set_end(lsn(state.next));
            self.appended.store(state.next, Ordering::Release);
            state.next += 1;
            group.push(request);
        }
        if !group.is_empty() {
            handover.publication.push(group, self.synced_lsn());
        }
        need
    }

    fn sync_log(&self) -> Result<Lsn, lsm_base::Error> {
        if self.good_syncs <= self.syncs.fetch_add(1, StdOrdering::Relaxed) {
            return Err(lsm_base::Error::invalid("planned"));
        }
        self.panic_if(Panics::Sync);
        let appended = self.appended.load(Ordering::Acquire);
        self.synced.fetch_max(appended, Ordering::AcqRel);
        Ok(self.synced_lsn())
    }

    fn make_room(&self, request: &Request) -> Result<()> {
        self.panic_if(Panics::Room);
        let mut spare = self.spare.lock().unwrap();
        while *spare == 0 && request.needs_room() {
            spare = self.room_changed.wait(spare).unwrap();
        }
        Ok(())
    }

    fn give_up(&self) -> lsm_base::Error {
        self.has_given_up.store(1, Ordering::Release);
        lsm_base::Error::invalid("planned")
    }
}

struct Unpark(crate::sync::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn batch() -> Arc<WriteBatch> {
    let mut batch = WriteBatch::new();
    batch.put("k", "v");
    Arc::new(batch)
}

fn lsn(number: u64) -> Lsn {
    Lsn { segment: 1, offset: number }
}

const NEVER: usize = usize::MAX;

fn explore(log: impl Fn() -> Log + Send + Sync + 'static, scenario: fn(&LoomArc<Log>)) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    // Who polls makes steps without an end of its own.
    builder.max_branches = 20_000;
    builder.check(move || scenario(&LoomArc::new(log())));
}

fn spawn<T: 'static>(
    log: &LoomArc<Log>,
    work: impl FnOnce(&Log) -> T + 'static,
) -> thread::JoinHandle<T> {
    let log = LoomArc::clone(log);
    thread::spawn(move || work(&log))
}

/// Runs a scenario beside the attendants, and stops them.
fn attended(log: &LoomArc<Log>, scenario: impl FnOnce()) {
    let leading = spawn(log, |log| log.handover.attend_lead(log, || None));
    let syncing = spawn(log, |log| log.handover.attend_sync(log));
    scenario();
    log.handover.finish(&**log);
    leading.join().unwrap();
    syncing.join().unwrap();
}

fn visible(log: &Log) -> u64 {
    log.handover.publication.visible().get()
}

#[test]
fn loom_two_synced_writers() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            let other = spawn(log, |log| log.write(Durability::Sync).unwrap());
            log.write(Durability::Sync).unwrap();
            other.join().unwrap();
            assert_eq!(visible(log), 2);
        },
    );
}

#[test]
fn loom_a_buffered_writer_between_synced_ones() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            let synced = spawn(log, |log| log.write(Durability::Sync).unwrap());
            let buffered = spawn(log, |log| log.write(Durability::Buffered).unwrap());
            log.write(Durability::Sync).unwrap();
            synced.join().unwrap();
            buffered.join().unwrap();
            assert_eq!(visible(log), 3);
        },
    );
}

#[test]
fn loom_a_lock_taken_without_leading() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            let other = spawn(log, |log| log.write(Durability::Buffered).unwrap());
            // Something happens under the lock, so that the other thread may find it taken.
            let appended = || log.appended.load(Ordering::Acquire);
            log.handover.with_state(&**log, |state| state.next += appended());
            other.join().unwrap();
        },
    );
}

#[test]
fn loom_a_sync_by_somebody_else() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            let other = spawn(log, |log| log.write(Durability::Sync).unwrap());
            log.handover.sync(&**log).unwrap();
            log.write(Durability::Sync).unwrap();
            other.join().unwrap();
        },
    );
}

#[test]
fn loom_a_sync_that_fails_is_everybodys_answer() {
    explore(
        || Log::new(9, 0),
        |log| {
            let other = spawn(log, |log| log.write(Durability::Sync).is_err());
            assert!(log.write(Durability::Sync).is_err());
            assert!(other.join().unwrap());
            assert_eq!(visible(log), 0);
            assert!(log.write(Durability::Buffered).is_err());
        },
    );
}

/// Two writers, of whom one at least meets a panic, and neither succeeds nor waits for ever.
fn no_write_succeeds(log: &LoomArc<Log>) {
    let panics = |log: &Log| {
        // It outlives the panic: what is dropped while a thread unwinds must not be loom's.
        let request = Arc::new(Request::of_thread(batch(), Durability::Sync, None, None));
        let submit = AssertUnwindSafe(|| log.handover.submit(log, &request));
        let outcome = panic::catch_unwind(submit);
        assert!(!matches!(outcome, Ok(Outcome::Answered(Ok(_)))));
        outcome.is_err()
    };
    let other = spawn(log, panics);
    let has_panicked = panics(log);
    assert!(other.join().unwrap() || has_panicked, "nobody met the panic");
    assert_eq!(visible(log), 0);
}

#[test]
fn loom_a_sync_that_panics_keeps_nobody_waiting() {
    explore(|| Log { panics: Some(Panics::Sync), ..Log::new(9, NEVER) }, no_write_succeeds);
}

#[test]
fn loom_a_wait_for_room_that_panics_keeps_nobody_waiting() {
    explore(|| Log { panics: Some(Panics::Room), ..Log::new(0, NEVER) }, no_write_succeeds);
}

#[test]
fn loom_writers_that_wait_for_room() {
    explore(
        || Log::new(0, NEVER),
        |log| {
            let other = spawn(log, |log| log.write(Durability::Sync).unwrap());
            let flusher = spawn(log, |log| log.give_room(2));
            log.write(Durability::Sync).unwrap();
            other.join().unwrap();
            flusher.join().unwrap();
            assert_eq!(visible(log), 2);
        },
    );
}

/// The room is for two: the third waits for a flush that begins when the first two are answered.
#[test]
fn loom_a_sync_does_not_wait_for_room() {
    explore(
        || Log::new(0, NEVER),
        |log| {
            let other = spawn(log, |log| log.write(Durability::Sync).unwrap());
            log.give_room(1);
            let last = spawn(log, |log| log.write(Durability::Buffered).unwrap());
            while visible(log) == 0 {
                thread::yield_now();
            }
            log.give_room(1);
            other.join().unwrap();
            last.join().unwrap();
        },
    );
}

/// Takes a place in commit order, and says whether nothing was logged before it was settled.
fn hold(log: &Log) -> bool {
    let appended = || log.appended.load(Ordering::Acquire);
    let take_place = |state: &mut Leading| {
        state.next += 1;
        appended()
    };
    log.handover.hold(log, take_place, |before| {
        log.handover.sync(log).unwrap();
        // As the installation of the edit does.
        log.handover.with_state(log, |_| ());
        appended() == before
    })
}

#[test]
fn loom_nothing_is_begun_behind_a_hold() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            let synced = spawn(log, |log| log.write(Durability::Sync).unwrap());
            let buffered = spawn(log, |log| log.write(Durability::Buffered).unwrap());
            assert!(hold(log));
            synced.join().unwrap();
            buffered.join().unwrap();
            assert_eq!(visible(log), log.appended.load(Ordering::Acquire));
        },
    );
}

#[test]
fn loom_an_asynchronous_write_waits_for_a_hold() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            attended(log, || {
                let holder = spawn(log, |log| assert!(hold(log)));
                log.write_async(Durability::Sync).unwrap();
                holder.join().unwrap();
            });
        },
    );
}

#[test]
fn loom_an_asynchronous_write_beside_a_thread() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            attended(log, || {
                let other = spawn(log, |log| log.write(Durability::Sync).unwrap());
                log.write_async(Durability::Buffered).unwrap();
                other.join().unwrap();
            });
            assert_eq!(visible(log), 2);
        },
    );
}

#[test]
fn loom_synced_asynchronous_writes() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            attended(log, || {
                let first = log.queue(Durability::Sync);
                log.write_async(Durability::Sync).unwrap();
                // What is published is a prefix, so the first has its outcome too.
                let context = &mut Context::from_waker(Waker::noop());
                assert!(matches!(first.poll(context), Poll::Ready(Ok(_))));
            });
            assert_eq!(visible(log), 2);
        },
    );
}

#[test]
fn loom_a_write_that_waits_for_the_disk_is_told_by_its_waker() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            let waking = spawn(log, |log| log.handover.attendants.wakers.call_until_ended());
            let syncing = spawn(log, |log| drop(log.handover.sync(log)));
            let syncs = spawn(log, |log| log.handover.attend_sync(log));
            log.write_woken(Durability::Sync).unwrap();
            syncing.join().unwrap();
            log.handover.finish(&**log);
            syncs.join().unwrap();
            log.handover.attendants.wakers.end();
            waking.join().unwrap();
        },
    );
}

#[test]
fn loom_an_asynchronous_write_waits_for_room() {
    explore(
        || Log::new(0, NEVER),
        |log| {
            attended(log, || {
                let flusher = spawn(log, |log| log.give_room(1));
                log.write_async(Durability::Sync).unwrap();
                flusher.join().unwrap();
            });
            assert_eq!(visible(log), 1);
        },
    );
}

#[test]
fn loom_what_is_on_its_way_at_the_close_is_answered() {
    explore(
        || Log::new(9, NEVER),
        |log| {
            let request = log.queue(Durability::Sync);
            let other = spawn(log, |log| log.handover.with_state(log, |state| state.next += 1));
            let late = log.queue(Durability::Sync);
            other.join().unwrap();
            log.handover.finish(&**log);
            let context = &mut Context::from_waker(Waker::noop());
            assert!(matches!(request.poll(context), Poll::Ready(Ok(_))));
            assert!(matches!(late.poll(context), Poll::Ready(Ok(_))));
        },
    );
}
