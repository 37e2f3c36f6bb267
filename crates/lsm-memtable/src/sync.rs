//! The atomics of the crate: std's, or loom's when the publication order is model-checked.
//!
//! Readers and the writer meet only in the types exported here, so that a model sees every step of
//! their protocol. What the writer alone touches is a [`Private`]: a model has nothing to explore
//! there.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicUsize};
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicUsize};

use std::sync::atomic::AtomicU64;

/// A number that only the holder of the arena's writer stores, and that no reader acts upon.
///
/// Every access is `Relaxed`: there is one writer, whoever hands its token to another thread
/// orders the two, and others at most look at the number as a statistic.
#[derive(Default)]
pub(crate) struct Private(AtomicU64);

impl Private {
    pub(crate) const ZERO: Private = Private(AtomicU64::new(0));

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }
}
