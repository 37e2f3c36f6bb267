//! Asynchronous writes that pressure holds back, until they are due.
//!
//! Invariant: what comes behind a delayed write is delayed too, so that one caller's writes are
//! committed in the order of its calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::request::Request;
use crate::admission::Ticket;

/// The writes that are held back, in the order of their calls.
#[derive(Debug, Default)]
pub(super) struct Delayed(Mutex<VecDeque<Held>>);

#[derive(Debug)]
struct Held {
    request: Arc<Request>,
    since: Instant,
    ticket: Ticket,
}

impl Delayed {
    /// Whether none is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Holds a write back until its ticket is due, or for as long as one before it. Else, calls
    /// `enqueue`, before any later write can be. Returns whether it is held back.
    pub(super) fn hold_back(
        &self,
        request: &Arc<Request>,
        ticket: Option<Ticket>,
        enqueue: impl FnOnce(),
    ) -> bool {
        let mut held = self.0.lock();
        let Some(ticket) = ticket.or(held.back().map(|last| last.ticket)) else {
            enqueue();
            return false;
        };
        held.push_back(Held { request: Arc::clone(request), since: Instant::now(), ticket });
        true
    }

    /// Calls `enqueue` with each write for whose ticket `due` says no moment. Returns when the next
    /// one is due, and for how long each of these was held back.
    pub(super) fn take_due(
        &self,
        due: impl Fn(Ticket) -> Option<Instant>,
        mut enqueue: impl FnMut(Arc<Request>),
    ) -> (Option<Instant>, Vec<Duration>) {
        let mut waits = Vec::new();
        // Queued under the lock: a write that comes now must not get ahead.
        let mut held = self.0.lock();
        while let Some(first) = held.front() {
            if let Some(due) = due(first.ticket) {
                return (Some(due), waits);
            }
            let first = held.pop_front().expect("there is a first");
            waits.push(first.since.elapsed());
            enqueue(first.request);
        }
        (None, waits)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::options::Durability;

    fn request() -> Arc<Request> {
        Arc::new(Request::of_thread(Arc::default(), Durability::Buffered, None, None))
    }

    #[test]
    fn a_write_waits_for_its_moment_and_for_those_before_it() {
        let delayed = Delayed::default();
        let free = request();
        let mut enqueued = 0;
        assert!(!delayed.hold_back(&free, None, || enqueued += 1));
        assert_eq!(enqueued, 1);
        let due = Instant::now() + Duration::from_secs(60);
        let (first, behind) = (request(), request());
        let ticket = Ticket(1.0);
        assert!(delayed.hold_back(&first, Some(ticket), || unreachable!()));
        assert!(delayed.hold_back(&behind, None, || unreachable!()));
        let is_due = |_| Some(due);
        assert_eq!(delayed.take_due(is_due, |_| unreachable!()), (Some(due), Vec::new()));
        let mut order = Vec::new();
        let (next, waits) = delayed.take_due(|_| None, |request| order.push(request));
        assert_eq!((next, waits.len()), (None, 2));
        assert!(Arc::ptr_eq(&order[0], &first) && Arc::ptr_eq(&order[1], &behind));
    }
}
