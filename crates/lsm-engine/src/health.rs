//! Whether the store takes writes, and if not, why.
//!
//! ```text
//! Running ⇄ LowSpace ⇄ NoSpace    a disk that is nearly full, or is; ends by itself when space
//!    │          │         │        returns, and any of the three may follow any other
//!    ╰──────────┴─────────┴──▶ Poisoned    a sync or a change of a file failed, or a thread
//!                                          panicked; ends with the next open
//! any ──▶ Closed
//! ```

use std::sync::atomic::{AtomicU8, Ordering};

use lsm_base::plant::{self, Plant};
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// Whether the store takes writes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Health {
    /// Reads and writes.
    Running,
    /// The disk is full up to its [reserve](crate::Options::disk_reserve): puts are refused until
    /// there is space. Reads, deletes, flushes and compactions go on.
    LowSpace,
    /// The disk is full: reads go on, writes are refused until there is space.
    NoSpace,
    /// Reads go on; writes stop until the database is opened again. The failure is named.
    Poisoned(String),
    /// Opened for reading only.
    ReadOnly,
    /// Closed.
    Closed,
}

const RUNNING: u8 = 0;
const LOW_SPACE: u8 = 1;
const NO_SPACE: u8 = 2;
const POISONED: u8 = 3;
const READ_ONLY: u8 = 4;
const CLOSED: u8 = 5;

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
            LOW_SPACE => Health::LowSpace,
            NO_SPACE => Health::NoSpace,
            POISONED => Health::Poisoned(self.cause.lock().clone()),
            READ_ONLY => Health::ReadOnly,
            _ => Health::Closed,
        }
    }

    /// Whether files can be written: deletes are taken, memory is flushed, tables are compacted.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_takes(|| false)
    }

    /// Whether a write is taken.
    pub(crate) fn check_takes(&self, has_puts: impl FnOnce() -> bool) -> Result<()> {
        match self.state.load(Ordering::Acquire) {
            RUNNING => Ok(()),
            LOW_SPACE if has_puts() && !plant::is_live(Plant::PutsTakeReserve) => {
                Err(Error::low_space())
            }
            LOW_SPACE => Ok(()),
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

    /// Whether the disk is full, or up to its reserve.
    pub(crate) fn lacks_space(&self) -> bool {
        matches!(self.state.load(Ordering::Acquire), LOW_SPACE | NO_SPACE)
    }

    /// Notes a disk that is full up to its reserve. Returns whether that is news.
    pub(crate) fn set_low_space(&self) -> bool {
        self.change(RUNNING, LOW_SPACE)
    }

    /// Notes that there is more than the reserve. Returns whether that is news.
    pub(crate) fn end_low_space(&self) -> bool {
        self.change(LOW_SPACE, RUNNING)
    }

    /// Notes a full disk. Returns whether that is news.
    pub(crate) fn set_no_space(&self) -> bool {
        self.change(RUNNING, NO_SPACE) || self.change(LOW_SPACE, NO_SPACE)
    }

    /// Notes that there is space again: for puts, or in the reserve alone. Returns whether that is
    /// news.
    pub(crate) fn resume(&self, is_low: bool) -> bool {
        self.change(NO_SPACE, if is_low { LOW_SPACE } else { RUNNING })
    }

    /// Stops writes for good. The first cause stays. Returns whether that is news.
    pub(crate) fn poison(&self, cause: &str) -> bool {
        let mut kept = self.cause.lock();
        if kept.is_empty() {
            cause.clone_into(&mut kept);
        }
        // The cause is in place before anybody can ask for it. One step: the disk may become full,
        // or have space again, right now.
        let if_live = |now| matches!(now, RUNNING | LOW_SPACE | NO_SPACE).then_some(POISONED);
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
        assert!(health.resume(false) && health.check_writable().is_ok());
        assert!(health.poison("first") && !health.poison("second"));
        assert_eq!(health.get(), Health::Poisoned("first".into()));
        assert!(!health.set_no_space() && !health.set_low_space() && !health.resume(false));
        assert!(health.check_open().is_ok());
        health.close();
        assert!(!health.poison("late"));
        assert_eq!(health.check_open().unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn a_disk_that_is_nearly_full_refuses_puts_alone() {
        let health = HealthCell::running();
        assert!(!health.end_low_space() && health.set_low_space() && !health.set_low_space());
        assert!(health.lacks_space() && health.check_writable().is_ok());
        assert!(health.check_takes(|| false).is_ok());
        assert_eq!(health.check_takes(|| true).unwrap_err().kind(), ErrorKind::NoSpace);
        assert!(health.set_no_space() && health.check_takes(|| false).is_err());
        assert!(health.resume(true) && health.get() == Health::LowSpace);
        assert!(health.end_low_space() && health.check_takes(|| true).is_ok());
        assert!(health.set_low_space() && health.poison("cause"));
    }

    #[test]
    fn poison_is_not_lost_to_a_disk_that_fills_and_empties_at_that_moment() {
        for round in 0..10_000 {
            let health = HealthCell::running();
            std::thread::scope(|scope| {
                let poisoning = scope.spawn(|| health.poison("cause"));
                while !poisoning.is_finished() {
                    for _ in 0..64 {
                        health.set_low_space();
                        health.set_no_space();
                        health.resume(true);
                        health.end_low_space();
                    }
                    std::thread::yield_now();
                }
            });
            assert_eq!(health.close(), Health::Poisoned("cause".into()), "in round {round}");
        }
    }
}
