//! Keys that threads insert together: which numbers are given out, and up to where all are there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Numbers that are given out in order and come back in any order.
#[derive(Debug)]
pub(super) struct Inserts {
    next: AtomicU64,
    /// All below are there. Written under the lock of `ahead`.
    end: AtomicU64,
    /// Those that are there beyond one that is not yet.
    ahead: Mutex<BTreeSet<u64>>,
}

impl Inserts {
    /// All below `end` are there.
    pub(super) fn new(end: u64) -> Inserts {
        let (next, end) = (AtomicU64::new(end), AtomicU64::new(end));
        Inserts { next, end, ahead: Mutex::default() }
    }

    /// A number that nobody else gets.
    pub(super) fn take(&self) -> u64 {
        // Relaxed: it is only a number; `end` says what others may read.
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// All numbers below were given out.
    pub(super) fn taken(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// The number is there.
    pub(super) fn complete(&self, number: u64) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.insert(number);
        let mut end = self.end.load(Ordering::Relaxed);
        while ahead.remove(&end) {
            end += 1;
        }
        // Release: whoever sees it sees what was inserted before.
        self.end.store(end, Ordering::Release);
    }

    /// All numbers below are there.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_once_all_before_them_are_there() {
        let inserts = Inserts::new(10);
        assert_eq!((inserts.take(), inserts.take(), inserts.take()), (10, 11, 12));
        inserts.complete(12);
        assert_eq!((inserts.end(), inserts.taken()), (10, 13));
        inserts.complete(10);
        assert_eq!(inserts.end(), 11);
        inserts.complete(11);
        assert_eq!(inserts.end(), 13);
    }
}
