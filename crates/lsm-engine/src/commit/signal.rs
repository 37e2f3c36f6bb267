//! A signal to one thread: raised by any, taken by the one that waits for it.
//!
//! Invariant: a signal that was raised is taken, however the two meet. Whoever raises it sets the
//! flag first and looks for the thread then; the thread makes itself known first and looks at the
//! flag then.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::sync::{AtomicU8, Mutex, Thread, current, park_until};

/// A signal to one thread.
#[derive(Debug)]
pub(super) struct Signal {
    is_raised: AtomicU8,
    waiter: Mutex<Option<Thread>>,
}

impl Signal {
    pub(super) fn new() -> Signal {
        Signal { is_raised: AtomicU8::new(0), waiter: Mutex::new(None) }
    }

    /// Lets the waiter go on once, now or when it comes to wait.
    pub(super) fn raise(&self) {
        if self.is_raised.swap(1, Ordering::AcqRel) == 1 {
            // Whoever raised it wakes the waiter, and the waiter has not taken it yet.
            return;
        }
        let waiter = self.waiter.lock();
        if let Some(thread) = &*waiter {
            thread.unpark();
        }
    }

    /// Waits until the signal is raised, and takes it, or until a moment has come.
    pub(super) fn wait(&self, until: Option<Instant>) {
        *self.waiter.lock() = Some(current());
        while self.is_raised.swap(0, Ordering::AcqRel) == 0 {
            if until.is_some_and(|until| until <= Instant::now()) {
                return;
            }
            park_until(until);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_signal_is_taken_once_and_waiting_has_an_end() {
        let signal = Signal::new();
        signal.raise();
        signal.raise();
        signal.wait(None);
        let soon = Instant::now() + std::time::Duration::from_millis(5);
        signal.wait(Some(soon));
        assert!(soon <= Instant::now(), "nobody raised it");
        thread::scope(|scope| {
            scope.spawn(|| signal.raise());
            signal.wait(None);
        });
    }
}
