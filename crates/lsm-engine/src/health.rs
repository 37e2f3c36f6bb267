//! Whether the store takes writes, and if not, why.
//!
//! ```text
//! Running ⇄ NoSpace          a full disk; ends by itself when space returns
//!    ╰──────┴──▶ Poisoned    a sync or a change of a file failed, or a thread panicked; ends with
//!                            the next open
//! any ──▶ Closed
//! ```

use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// Whether the store takes writes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Health {
    /// Reads and writes.
    Running,
    /// The disk is full: reads go on, writes wait for space.
    NoSpace,
    /// Reads go on; writes stop until the database is opened again. The failure is named.
    Poisoned(String),
    /// Opened for reading only.
    ReadOnly,
    /// Closed.
    Closed,
}

const RUNNING: u8 = 0;
const NO_SPACE: u8 = 1;
const POISONED: u8 = 2;
const READ_ONLY: u8 = 3;
const CLOSED: u8 = 4;

/// The state, cheap to look at.
#[derive(Debug)]
pub(crate) struct HealthCell {
    state: AtomicU8,
    /// Why the store is poisoned.
    cause: Mutex<String>,
}

impl HealthCell {
    pub(crate) fn running() -> HealthCell {
        HealthCell { state: AtomicU8::new(RUNNING), cause: Mutex::default() }
    }

    pub(crate) fn read_only() -> HealthCell {
        HealthCell { state: AtomicU8::new(READ_ONLY), cause: Mutex::default() }
    }

    pub(crate) fn get(&self) -> Health {
        self.describe(self.state.load(Ordering::Acquire))
    }

    fn describe(&self, state: u8) -> Health {
        match state {
            RUNNING => Health::Running,
            NO_SPACE => Health::NoSpace,
            POISONED => Health::Poisoned(self.cause.lock().clone()),
            READ_ONLY => Health::ReadOnly,
            _ => Health::Closed,
        }
    }

    /// Whether writes are taken.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.state.load(Ordering::Acquire) {
            RUNNING => Ok(()),
            NO_SPACE => Err(Error::no_space()),
            POISONED => Err(Error::poisoned(self.cause.lock().clone())),
            READ_ONLY => Err(Error::read_only()),
            _ => Err(Error::closed()),
        }
    }

    /// Whether reads are.
    pub(crate) fn check_open(&self) -> Result<()> {
        match self.state.load(Ordering::Acquire) {
            CLOSED => Err(Error::closed()),
            _ => Ok(()),
        }
    }

    /// Notes a full disk. Returns whether that is news.
    pub(crate) fn set_no_space(&self) -> bool {
        self.change(RUNNING, NO_SPACE)
    }

    /// Notes that space is back. Returns whether that is news.
    pub(crate) fn resume(&self) -> bool {
        self.change(NO_SPACE, RUNNING)
    }

    /// Stops writes for good. The first cause stays. Returns whether that is news.
    pub(crate) fn poison(&self, cause: &str) -> bool {
        let mut kept = self.cause.lock();
        if kept.is_empty() {
            cause.clone_into(&mut kept);
        }
        // The cause is in place before anybody can ask for it. One step: the disk may become full,
        // or have space again, right now.
        let if_live = |now| matches!(now, RUNNING | NO_SPACE).then_some(POISONED);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, if_live).is_ok()
    }

    /// Returns what the state was before.
    pub(crate) fn close(&self) -> Health {
        // One step: what poisoned the store a moment before is not to be overlooked.
        self.describe(self.state.swap(CLOSED, Ordering::AcqRel))
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_full_disk_passes_and_poison_does_not() {
        let health = HealthCell::running();
        assert!(health.set_no_space() && !health.set_no_space());
        assert_eq!(health.check_writable().unwrap_err().kind(), ErrorKind::NoSpace);
        assert!(health.resume() && health.check_writable().is_ok());
        assert!(health.poison("first") && !health.poison("second"));
        assert_eq!(health.get(), Health::Poisoned("first".into()));
        assert!(!health.set_no_space() && !health.resume());
        assert!(health.check_open().is_ok());
        health.close();
        assert!(!health.poison("late"));
        assert_eq!(health.check_open().unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn poison_is_not_lost_to_a_disk_that_fills_and_empties_at_that_moment() {
        for round in 0..10_000 {
            let health = HealthCell::running();
            std::thread::scope(|scope| {
                let poisoning = scope.spawn(|| health.poison("cause"));
                while !poisoning.is_finished() {
                    for _ in 0..64 {
                        health.set_no_space();
                        health.resume();
                    }
                    std::thread::yield_now();
                }
            });
            assert_eq!(health.close(), Health::Poisoned("cause".into()), "in round {round}");
        }
    }
}
