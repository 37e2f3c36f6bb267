//! Promises: space on the disk that somebody is about to take.
//!
//! A log segment, or a compaction's outputs, take their space a moment, or minutes, after somebody
//! looked whether there is so much. What was promised meanwhile is not there for others.
//!
//! Invariant: who is promised something looks at the disk and at all promises in one step.

use std::cell::Cell;

use parking_lot::Mutex;

/// The bytes of all promises.
#[derive(Debug, Default)]
pub(crate) struct Promises(Mutex<u64>);

/// What one was promised. What is left of it when this is dropped is there for others.
#[derive(Debug)]
pub(crate) struct Promise<'a> {
    all: &'a Promises,
    bytes: u64,
    left: Cell<u64>,
}

impl Promises {
    /// The bytes that were promised and not taken yet.
    pub(crate) fn total(&self) -> u64 {
        *self.0.lock()
    }

    /// Says that somebody will give back space in the end, while they hold this.
    pub(crate) fn announce(&self) -> Promise<'_> {
        *self.0.lock() += 1;
        Promise { all: self, bytes: 1, left: Cell::new(1) }
    }

    /// Promises as many bytes as `choose` says, which gets what was promised before. No other promise
    /// is made meanwhile.
    pub(crate) fn make<E>(
        &self,
        choose: impl FnOnce(u64) -> Result<u64, E>,
    ) -> Result<Promise<'_>, E> {
        let mut total = self.0.lock();
        let bytes = choose(*total)?;
        *total += bytes;
        Ok(Promise { all: self, bytes, left: Cell::new(bytes) })
    }
}

impl Promise<'_> {
    /// How many bytes were promised.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Notes what part of them was taken.
    pub(crate) fn take(&self, part: f64) {
        let left = (self.bytes as f64 * (1.0 - part)).max(0.0) as u64;
        let left = left.min(self.left.get());
        *self.all.0.lock() -= self.left.get() - left;
        self.left.set(left);
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.take(1.0);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_or_let_go_is_no_longer_promised() {
        let promises = Promises::default();
        let first = promises.make(|before| Ok::<_, ()>(before + 7)).unwrap();
        assert_eq!((first.bytes(), promises.total()), (7, 7));
        let second = promises.make(|before| Ok::<_, ()>(before + 93)).unwrap();
        assert_eq!(second.bytes(), 100);
        for (part, left) in [(0.25, 75), (0.5, 50), (0.25, 50), (1.5, 0)] {
            second.take(part);
            assert_eq!(promises.total(), 7 + left);
        }
        drop((first, second));
        assert_eq!(promises.total(), 0);
        let announced = promises.announce();
        assert_eq!(promises.total(), 1);
        drop(announced);
        promises.make(|_| Err(())).unwrap_err();
        assert_eq!(promises.total(), 0);
    }
}
