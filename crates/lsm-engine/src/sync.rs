//! What threads meet in where a model checks it: parking_lot's and std's, or loom's in the models.
//!
//! `commit` uses it for what decides who works next, who is woken and what is visible, `snapshot` for
//! its slots, `super_version` for what readers pin, and `obsolete` for what waits for them. What a
//! model has nothing to explore in stays as it is elsewhere.

#[cfg(not(loom))]
pub(crate) use arc_swap::{ArcSwap, Guard};
#[cfg(not(loom))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, fence};
#[cfg(not(loom))]
pub(crate) use std::thread::{Thread, current, park};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, fence};
#[cfg(loom)]
pub(crate) use loomed::{ArcSwap, Guard, Mutex, Thread, current, park};

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
    use std::mem;
    use std::ops::Deref;
    use std::sync::{Arc as StdArc, PoisonError};

    use loom::sync::atomic::{AtomicU64, Ordering};
    use loom::sync::{Arc, Condvar, MutexGuard};

    /// A pointer that is replaced while others read it, with the face of arc-swap's. The model
    /// takes a load and a store for one step each, and the value for what the last store before
    /// left: a load happens after that store, and a store after nothing that was read.
    #[derive(Debug)]
    pub(crate) struct ArcSwap<T> {
        /// How often it was replaced: the step that the model sees.
        stores: AtomicU64,
        /// Never locked while another thread of the model runs.
        value: parking_lot::Mutex<StdArc<T>>,
    }

    /// A value that is pinned.
    #[derive(Debug)]
    pub(crate) struct Guard<P>(P);

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> ArcSwap<T> {
            let value = parking_lot::Mutex::new(StdArc::new(value));
            ArcSwap { stores: AtomicU64::new(0), value }
        }

        pub(crate) fn load(&self) -> Guard<StdArc<T>> {
            Guard(self.load_full())
        }

        pub(crate) fn load_full(&self) -> StdArc<T> {
            // Not a load, which might be of a value that was replaced before.
            self.stores.fetch_add(0, Ordering::Acquire);
            StdArc::clone(&self.value.lock())
        }

        pub(crate) fn store(&self, value: StdArc<T>) {
            self.stores.fetch_add(1, Ordering::Release);
            let before = mem::replace(&mut *self.value.lock(), value);
            drop(before);
        }
    }

    impl<P> Guard<P> {
        pub(crate) fn into_inner(guard: Guard<P>) -> P {
            guard.0
        }
    }

    impl<P> Deref for Guard<P> {
        type Target = P;

        fn deref(&self) -> &P {
            &self.0
        }
    }

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
