//! A segment between its making and its use, and where the epochs of new ones come from.
//!
//! Invariant: there is one maker of segments, and whoever holds an installed one is it.

use std::fmt;

use parking_lot::MutexGuard;

use super::Wal;
use crate::segment::Segment;

/// A segment that stands in the directory and is not offered to appends yet. One that is dropped
/// stays unused; the next one takes its place and its number.
#[derive(Debug)]
pub struct Installed<'a> {
    wal: &'a Wal,
    segment: Segment,
    _maker: MutexGuard<'a, Epochs>,
}

impl<'a> Installed<'a> {
    pub(super) fn new(
        wal: &'a Wal,
        segment: Segment,
        maker: MutexGuard<'a, Epochs>,
    ) -> Installed<'a> {
        Installed { wal, segment, _maker: maker }
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.segment.number
    }

    /// Makes it the segment that a rotation moves on to. `false` if that is to have another number
    /// by now: then there is none yet.
    #[must_use]
    pub fn offer(self) -> bool {
        self.wal.tail.lock().offer_ready(self.segment)
    }
}

/// Where epochs come from.
pub(super) struct Epochs(Box<dyn FnMut() -> u64 + Send>);

impl Epochs {
    pub(super) fn new(source: Box<dyn FnMut() -> u64 + Send>) -> Epochs {
        Epochs(source)
    }

    pub(super) fn take(&mut self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epochs").finish_non_exhaustive()
    }
}
