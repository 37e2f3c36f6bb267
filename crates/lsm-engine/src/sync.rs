//! What threads meet in where a model checks it: parking_lot's and std's, or loom's in the models.
//!
//! `commit` uses it for what decides who works next and who is woken, `snapshot` for its slots. What
//! a model has nothing to explore in stays as it is elsewhere.

#[cfg(not(loom))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, fence};
#[cfg(not(loom))]
pub(crate) use std::thread::{Thread, current, park};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, fence};
#[cfg(loom)]
pub(crate) use loomed::{Mutex, Thread, current, park};

use std::time::Instant;

/// Waits until the thread is unparked, or `until` has come; or for no reason at all.
#[cfg(not(loom))]
pub(crate) fn park_until(until: Option<Instant>) {
    match until {
        Some(until) => {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        None => park(),
    }
}

/// Waits until the thread is unparked. Models know no time.
#[cfg(loom)]
pub(crate) fn park_until(until: Option<Instant>) {
    assert!(until.is_none(), "a model cannot wait for a moment");
    park();
}

#[cfg(loom)]
mod loomed {
    use std::sync::PoisonError;

    use loom::sync::{Arc, Condvar, MutexGuard};

    /// loom's mutex with the face of parking_lot's.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// A thread that can be unparked. loom's own `unpark` (0.7.3) also lets a thread run on that is
    /// blocked by a mutex, so parking is built of a condition variable here.
    #[derive(Clone, Debug)]
    pub(crate) struct Thread(Arc<Parking>);

    #[derive(Debug)]
    struct Parking {
        has_token: Mutex<bool>,
        unparked: Condvar,
    }

    loom::thread_local! {
        static CURRENT: Thread = Thread(Arc::new(Parking {
            has_token: Mutex::new(false),
            unparked: Condvar::new(),
        }));
    }

    pub(crate) fn current() -> Thread {
        CURRENT.with(Thread::clone)
    }

    pub(crate) fn park() {
        let Thread(parking) = current();
        let mut has_token = parking.has_token.lock();
        while !*has_token {
            has_token = parking.unparked.wait(has_token).unwrap_or_else(PoisonError::into_inner);
        }
        *has_token = false;
    }

    impl Thread {
        pub(crate) fn unpark(&self) {
            *self.0.has_token.lock() = true;
            self.0.unparked.notify_one();
        }
    }
}
