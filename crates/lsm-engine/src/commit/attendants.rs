//! The engine's own threads on the commit path: they do for futures what a waiting thread does for
//! itself.
//!
//! One leads groups, waits for room and holds delayed writes back; one syncs the log, so that no
//! sync waits for room. Both start with the first asynchronous write, and end with the close.
//! Neither calls a [waker](Wakers), so that neither ever waits for a caller.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::signal::Signal;
use super::wakers::Wakers;
use crate::sync::AtomicU8;

/// What the attendants are asked for.
#[derive(Debug)]
pub(crate) struct Attendants {
    /// To lead the next group.
    pub(super) lead: Signal,
    /// To sync the log for everybody.
    pub(super) sync: Signal,
    /// Whom to tell that an outcome is there.
    pub(super) wakers: Arc<Wakers>,
    is_stopping: AtomicU8,
}

impl Attendants {
    pub(super) fn new() -> Attendants {
        Attendants {
            lead: Signal::new(),
            sync: Signal::new(),
            wakers: Arc::new(Wakers::new()),
            is_stopping: AtomicU8::new(0),
        }
    }

    /// Whether they are to end, once they have done what they were asked for.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire) == 1
    }

    /// Lets them end. Requires: nothing asks for them any more.
    pub(super) fn stop(&self) {
        self.is_stopping.store(1, Ordering::Release);
        self.lead.raise();
        self.sync.raise();
    }
}
