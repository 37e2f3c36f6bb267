//! The wakers of futures that have their outcome, until a thread of the engine calls them.
//!
//! A waker is code of a caller: it may write and wait for that, block, panic, or close the store.
//! So whoever answers a future, under whichever lock, only puts its waker here. One thread, which
//! has no other work and holds nothing, calls them in turn: no write ever waits for it.
//!
//! Invariant: a waker that was put here before the end is called, whatever others do.

use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::task::Waker;

use super::signal::Signal;
use crate::sync::Mutex;

/// Wakers that are to be called.
#[derive(Debug)]
pub(crate) struct Wakers {
    due: Mutex<Due>,
    signal: Signal,
}

#[derive(Debug, Default)]
struct Due {
    wakers: Vec<Waker>,
    /// Whether no more will come.
    is_ended: bool,
}

impl Wakers {
    pub(super) fn new() -> Wakers {
        Wakers { due: Mutex::new(Due::default()), signal: Signal::new() }
    }

    /// Has a waker called soon.
    pub(super) fn push(&self, waker: Waker) {
        self.due.lock().wakers.push(waker);
        self.signal.raise();
    }

    /// Lets the thread end that calls them, when it has called all.
    pub(super) fn end(&self) {
        self.due.lock().is_ended = true;
        self.signal.raise();
    }

    /// Calls what comes, until the [end](Self::end).
    pub(crate) fn call_until_ended(&self) {
        loop {
            let Due { wakers, is_ended } = {
                let mut due = self.due.lock();
                Due { wakers: mem::take(&mut due.wakers), is_ended: due.is_ended }
            };
            for waker in wakers {
                // The message was printed; whose fault it is, is not known here.
                let _ = panic::catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
            if is_ended {
                return;
            }
            self.signal.wait(None);
        }
    }
}
