//! Publication: writes become visible in commit order, each when it may.
//!
//! A buffered write may at once, a synced one when the log is on disk up to its end. What stands
//! behind a write that may not yet waits with it, because what is visible is always a prefix of
//! the commit order. One of the waiting threads syncs the log for all that was appended so far,
//! publishes what that allows, and hands over to the next if there is something left.
//!
//! Invariant: `visible` never passes a write whose log failed. After a failed sync nothing is
//! published any more, and everybody who waits, and who comes, gets an error.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::utils::CachePadded;
use lsm_base::Seq;
use lsm_base::plant::{self, Plant};
use lsm_wal::Lsn;

use super::request::Request;
use crate::sync::{AtomicU64, Mutex};

/// What was committed and is not visible yet.
#[derive(Debug)]
pub(crate) struct Publication {
    /// The last sequence that readers may see.
    visible: CachePadded<AtomicU64>,
    pending: Mutex<Pending>,
}

/// The requests in commit order.
#[derive(Debug, Default)]
struct Pending {
    requests: VecDeque<Arc<Request>>,
    /// Whether a thread has the sync.
    is_syncing: bool,
    /// The failure after which nothing is published.
    failure: Option<lsm_base::Error>,
}

impl Publication {
    pub(super) fn new(visible: Seq) -> Publication {
        Publication {
            visible: CachePadded::new(AtomicU64::new(visible.get())),
            pending: Mutex::new(Pending::default()),
        }
    }

    /// The last sequence that readers may see.
    pub(crate) fn visible(&self) -> Seq {
        // Acquire: whoever sees a sequence sees the memtable entries published before it.
        Seq::new(self.visible.load(Ordering::Acquire))
    }

    /// Lets readers see what is not ready: the planted mistake.
    pub(super) fn publish_early(&self, seq: Seq) {
        self.visible.fetch_max(seq.get(), Ordering::Release);
    }

    /// Whether nothing waits to become visible.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.lock().requests.is_empty()
    }

    /// Takes over requests that were applied, in commit order. Requires: the commit lock, so that
    /// they come in that order.
    pub(super) fn push(&self, requests: Vec<Arc<Request>>, synced: Lsn) {
        let mut pending = self.pending.lock();
        if let Some(error) = pending.failure.clone() {
            drop(pending);
            requests.iter().for_each(|request| request.fail(&error));
            return;
        }
        pending.requests.extend(requests);
        self.advance(&mut pending, synced);
        if !pending.is_syncing {
            Self::appoint(&mut pending);
        }
    }

    /// Publishes what a finished sync allows, and finds the next to sync if one is needed. Whoever
    /// was appointed before may be answered by this, so somebody is appointed anew.
    pub(super) fn sync_finished(&self, result: Result<Lsn, lsm_base::Error>) {
        let mut pending = self.pending.lock();
        match result {
            Ok(synced) => {
                self.advance(&mut pending, synced);
                Self::appoint(&mut pending);
            }
            Err(error) => Self::fail_all(&mut pending, &error),
        }
    }

    /// Stops publication because the log failed.
    pub(super) fn fail(&self, error: &lsm_base::Error) {
        Self::fail_all(&mut self.pending.lock(), error);
    }

    fn fail_all(pending: &mut Pending, error: &lsm_base::Error) {
        for request in pending.requests.drain(..) {
            request.fail(error);
        }
        pending.is_syncing = false;
        pending.failure.get_or_insert_with(|| error.clone());
    }

    fn advance(&self, pending: &mut Pending, synced: Lsn) {
        while let Some(request) = pending.requests.front() {
            let (seq, end) = request.place();
            if end.is_some_and(|end| synced < end) {
                if plant::is_live(Plant::PublishedPastWaiting)
                    && let Some(seq) = pending.requests.back().and_then(|last| last.place().0)
                {
                    self.publish_early(seq);
                }
                return;
            }
            if let Some(seq) = seq {
                // Release: the entries of the batch were linked before.
                let unordered = plant::is_live(Plant::PublishedUnordered);
                let order = if unordered { Ordering::Relaxed } else { Ordering::Release };
                self.visible.store(seq.get(), order);
            }
            // The log may have been synced beyond a request whose place was not known yet when
            // its turn to sync was given out. Whoever comes next must not count on that sync.
            if request.complete() {
                pending.is_syncing = false;
            }
            pending.requests.pop_front();
        }
    }

    /// Gives the sync to the first request that needs one. After [`advance`](Self::advance) that
    /// is the first of all, if there is any.
    fn appoint(pending: &mut Pending) {
        pending.is_syncing = !pending.requests.is_empty();
        if let Some(request) = pending.requests.front() {
            request.wake_to_sync();
        }
    }
}

#[cfg(all(test, loom))]
mod model;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::request::{Outcome, Turn};
    use super::*;
    use crate::options::Durability;

    fn synced_write(end: u64) -> Arc<Request> {
        let request = Request::of_thread(Arc::default(), Durability::Sync, None, None);
        request.set_end(Lsn { segment: 1, offset: end });
        Arc::new(request)
    }

    #[test]
    fn a_sync_that_its_request_no_longer_needs_falls_to_the_next() {
        let publication = Publication::new(Seq::ZERO);
        let (first, second) = (synced_write(10), synced_write(20));
        // The leader read how far the log is synced before a sync ended that covers the write.
        publication.push(vec![Arc::clone(&first)], Lsn { segment: 1, offset: 5 });
        // The next leader read it later, before the first thread has looked at its turn.
        publication.push(vec![Arc::clone(&second)], Lsn { segment: 1, offset: 12 });
        assert_eq!(first.wait(None), Turn::Done);
        assert_eq!(second.wait(None), Turn::Sync);
    }

    fn at(offset: u64) -> Lsn {
        Lsn { segment: 1, offset }
    }

    fn numbered_write(seq: u64, end: u64) -> Arc<Request> {
        let request = synced_write(end);
        request.set_last_seq(Seq::new(seq));
        request
    }

    /// What the owner of a request is to do, if anything.
    fn turn_of(request: &Request) -> Turn {
        request.wait(Some(std::time::Instant::now()))
    }

    #[test]
    fn a_write_is_visible_once_the_log_is_on_disk_up_to_its_end() {
        let publication = Publication::new(Seq::new(6));
        assert!(publication.is_idle());
        let writes = [(7, 10), (9, 20)].map(|(seq, end)| numbered_write(seq, end));
        publication.push(writes.to_vec(), at(9));
        assert!(!publication.is_idle());
        assert_eq!(publication.visible(), Seq::new(6));
        // The first has the sync, and nobody besides.
        assert_eq!(writes.each_ref().map(|write| turn_of(write)), [Turn::Sync, Turn::Wait]);
        publication.sync_finished(Ok(at(10)));
        assert_eq!(publication.visible(), Seq::new(7));
        assert_eq!(writes.each_ref().map(|write| turn_of(write)), [Turn::Done, Turn::Sync]);
        let third = numbered_write(10, 30);
        publication.push(vec![Arc::clone(&third)], at(10));
        assert_eq!([&writes[1], &third].map(|write| turn_of(write)), [Turn::Wait, Turn::Wait]);
        publication.sync_finished(Ok(at(30)));
        assert_eq!([&writes[1], &third].map(|write| turn_of(write)), [Turn::Done, Turn::Done]);
        assert!(publication.is_idle() && publication.visible() == Seq::new(10));
    }

    #[test]
    fn after_a_failure_nothing_is_published_and_everybody_is_told() {
        let error = lsm_base::Error::io(
            "sync",
            std::path::Path::new("000001.log"),
            std::io::Error::other("the disk is gone"),
        );
        let by_sync = |publication: &Publication| publication.sync_finished(Err(error.clone()));
        let by_append = |publication: &Publication| publication.fail(&error);
        for fail in [&by_sync as &dyn Fn(&Publication), &by_append] {
            let publication = Publication::new(Seq::new(6));
            let before = numbered_write(7, 10);
            publication.push(vec![Arc::clone(&before)], at(5));
            fail(&publication);
            let behind = numbered_write(8, 20);
            publication.push(vec![Arc::clone(&behind)], at(30));
            for write in [before, behind] {
                // It may have been told to sync before.
                while turn_of(&write) != Turn::Done {}
                let Outcome::Answered(answer) = write.take_outcome() else {
                    panic!("no condition")
                };
                answer.unwrap_err();
            }
            assert!(publication.is_idle() && publication.visible() == Seq::new(6));
        }
    }
}
