//! Counters, gauges and histograms that hot paths can afford.
//!
//! A [`Counter`] is spread over a few cache lines, of which every thread has one, so that threads
//! that count do not wait for each other; whoever reads it adds them up. A [`Histogram`] has a
//! fixed table of buckets, and finds the one of a value with a few shifts. All operations are
//! relaxed atomics: a reader sees every number some time, and no two numbers at one instant.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub use self::histogram::{Histogram, HistogramSnapshot};

mod histogram;

/// How many lines a counter has. Threads beyond that share them.
const CELLS: usize = 8;

/// A number that only grows, at the hands of many threads.
#[derive(Default)]
pub struct Counter {
    cells: [Padded; CELLS],
}

/// A number alone on its cache line; two lines, because processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Padded(AtomicU64);

impl Counter {
    /// A counter that stands at zero.
    #[must_use]
    pub fn new() -> Counter {
        Counter::default()
    }

    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `count`.
    pub fn add(&self, count: u64) {
        self.cells[cell_of_thread()].0.fetch_add(count, Ordering::Relaxed);
    }

    /// What was counted, modulo 2^64. Two calls in a row never go back.
    #[must_use]
    pub fn get(&self) -> u64 {
        let cells = self.cells.iter().map(|cell| cell.0.load(Ordering::Relaxed));
        cells.fold(0, u64::wrapping_add)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A number that goes up and down.
#[derive(Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// A gauge that stands at zero.
    #[must_use]
    pub const fn new() -> Gauge {
        Gauge(AtomicU64::new(0))
    }

    /// Sets the number.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Raises the number to `value` if it is lower.
    pub fn raise(&self, value: u64) {
        // Mostly it is not, and then the line stays shared.
        if self.get() < value {
            self.0.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Which cell is this thread's: they are given out in turn.
fn cell_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const NONE: usize = usize::MAX;
    thread_local!(static CELL: Cell<usize> = const { Cell::new(NONE) });
    let cell = CELL.get();
    if cell != NONE {
        return cell;
    }
    let cell = NEXT.fetch_add(1, Ordering::Relaxed) % CELLS;
    CELL.set(cell);
    cell
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_counter_counts_what_all_threads_count() {
        let counter = Counter::new();
        thread::scope(|scope| {
            for _ in 0..2 * CELLS {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counter.increment();
                    }
                    counter.add(24);
                });
            }
        });
        assert_eq!(counter.get(), 2 * CELLS as u64 * 1024);
    }

    #[test]
    fn a_counter_wraps() {
        let counter = Counter::new();
        counter.add(u64::MAX);
        thread::scope(|scope| {
            scope.spawn(|| counter.add(3));
        });
        assert_eq!(counter.get(), 2);
    }

    #[test]
    fn threads_that_follow_each_other_have_different_cells() {
        let cells: std::collections::BTreeSet<_> =
            (0..64).map(|_| thread::spawn(cell_of_thread).join().unwrap()).collect();
        assert!(1 < cells.len(), "{cells:?}");
        assert!(cells.last().is_some_and(|cell| *cell < CELLS));
        assert_eq!(cell_of_thread(), cell_of_thread());
    }

    #[test]
    fn a_gauge_goes_up_and_is_set_anew() {
        let gauge = Gauge::new();
        gauge.set(10);
        gauge.add(5);
        assert_eq!(gauge.get(), 15);
        gauge.raise(11);
        assert_eq!(gauge.get(), 15);
        gauge.raise(16);
        assert_eq!(gauge.get(), 16);
        gauge.set(2);
        assert_eq!(gauge.get(), 2);
    }
}
