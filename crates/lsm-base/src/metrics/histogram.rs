//! Distributions of durations, in nanoseconds, or of any other whole numbers.
//!
//! Buckets are log-linear: below 32 each number has its own, above that every power of two is cut
//! into 16 of equal width, up to 2^64.
//!
//! ```text
//! value   0 .. 31  32  34  ..  62  64  68  ..  124  128  ..
//! bucket  0 .. 31  32  33  ..  47  48  49  ..   63   64  ..  975
//! ```
//!
//! So a bucket is at most a sixteenth of its lower bound wide, and its middle is off by at most
//! 1/32, or 3.2 %, from whatever fell into it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Counter, Gauge};

/// Buckets in each power of two, as a power of two.
const SPLIT_BITS: u32 = 4;
const SPLIT: u64 = 1 << SPLIT_BITS;
const BUCKETS: usize = bucket(u64::MAX) + 1;

/// A distribution that many threads record into. It takes 9 KiB.
pub struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
    sum: Counter,
    max: Gauge,
}

impl Histogram {
    /// A histogram of nothing.
    #[must_use]
    pub fn new() -> Histogram {
        let buckets = Box::new([const { AtomicU64::new(0) }; BUCKETS]);
        Histogram { buckets, sum: Counter::new(), max: Gauge::new() }
    }

    /// Records a value.
    pub fn record(&self, value: u64) {
        self.buckets[bucket(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.add(value);
        self.max.raise(value);
    }

    /// What was recorded so far. A record that is under way may be in the sum and not yet in the
    /// count, or the other way round.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        HistogramSnapshot { counts, sum: self.sum.get(), max: self.max.get() }
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// What a histogram held at some time.
#[derive(Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    counts: Box<[u64]>,
    sum: u64,
    max: u64,
}

impl HistogramSnapshot {
    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, modulo 2^64.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest, exactly; 0 if there is none.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The mean; 0 if there is none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count().max(1) as f64
    }

    /// The value that a share `q` of all values does not exceed, within 3.2 %: `quantile(0.5)` is
    /// the median. 0 if there is no value.
    ///
    /// # Panics
    /// If `q` is not between 0 and 1.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        assert!((0.0..=1.0).contains(&q), "a quantile is a share of all values");
        let count = self.count();
        let rank = ((count as f64 * q).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if rank <= seen {
                return middle(index).min(self.max);
            }
        }
        0
    }

    /// How many values were at most `value`, counting those of its bucket only if `value` is the
    /// largest that falls into it: what a cumulative bucket of this bound shows.
    #[must_use]
    pub fn count_up_to(&self, value: u64) -> u64 {
        let index = bucket(value);
        let end = if value == upper_bound(index) { index + 1 } else { index };
        self.counts[..end].iter().sum()
    }

    /// What was recorded since `earlier`, an older snapshot of the same histogram. The maximum is
    /// that of all time.
    #[must_use]
    pub fn since(&self, earlier: &HistogramSnapshot) -> HistogramSnapshot {
        let pairs = self.counts.iter().zip(&earlier.counts);
        HistogramSnapshot {
            counts: pairs.map(|(now, before)| now.saturating_sub(*before)).collect(),
            sum: self.sum.wrapping_sub(earlier.sum),
            max: self.max,
        }
    }
}

impl fmt::Debug for HistogramSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("mean", &self.mean())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max)
            .finish()
    }
}

/// The bucket of a value.
const fn bucket(value: u64) -> usize {
    // How far to shift so that the first five significant bits remain.
    let exponent = (u64::BITS - (value | SPLIT).leading_zeros()) - SPLIT_BITS - 1;
    (exponent as u64 * SPLIT + (value >> exponent)) as usize
}

/// The smallest value of a bucket.
const fn lower_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * SPLIT {
        return index;
    }
    let exponent = index / SPLIT - 1;
    (index - exponent * SPLIT) << exponent
}

/// The largest value of a bucket.
const fn upper_bound(index: usize) -> u64 {
    if index + 1 == BUCKETS { u64::MAX } else { lower_bound(index + 1) - 1 }
}

fn middle(index: usize) -> u64 {
    u64::midpoint(lower_bound(index), upper_bound(index))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(lower_bound(index)), index);
            assert_eq!(bucket(upper_bound(index)), index);
            if 0 < index {
                assert_eq!(upper_bound(index - 1) + 1, lower_bound(index));
            }
        }
        assert_eq!(
            (BUCKETS, bucket(31), bucket(32), bucket(62), bucket(64)),
            (976, 31, 32, 47, 48)
        );
    }

    #[test]
    fn an_empty_histogram_has_no_values() {
        let empty = Histogram::new().snapshot();
        assert_eq!((empty.count(), empty.sum(), empty.max(), empty.quantile(0.5)), (0, 0, 0, 0));
        assert!(empty.mean() == 0.0);
    }

    #[test]
    fn the_difference_of_two_snapshots_is_what_came_between() {
        let histogram = Histogram::new();
        histogram.record(1000);
        let earlier = histogram.snapshot();
        histogram.record(20);
        histogram.record(5);
        let between = histogram.snapshot().since(&earlier);
        assert_eq!((between.count(), between.sum(), between.quantile(1.0)), (2, 25, 20));
    }

    #[test]
    fn a_cumulative_bucket_counts_what_is_surely_below() {
        let histogram = Histogram::new();
        for value in [3, 32, 33, 34, 100] {
            histogram.record(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(
            [2, 3, 32, 33, 34, u64::MAX].map(|le| snapshot.count_up_to(le)),
            [0, 1, 1, 3, 3, 5]
        );
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = Histogram::new();
        thread::scope(|scope| {
            for thread in 1..=4 {
                let histogram = &histogram;
                scope.spawn(move || (0..1000).for_each(|i| histogram.record(thread * i)));
            }
        });
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count(), snapshot.max()), (4000, 3996));
        assert_eq!(snapshot.sum(), 10 * (0..1000).sum::<u64>());
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_thirty_second(
            values in prop::collection::vec((0..64_u32, any::<u64>()), 1..50),
            q in 0.0..=1.0_f64,
        ) {
            let histogram = Histogram::new();
            let mut values: Vec<u64> =
                values.into_iter().map(|(shift, value)| value >> shift).collect();
            values.iter().for_each(|value| histogram.record(*value));
            values.sort_unstable();
            let rank = ((values.len() as f64 * q).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let estimate = histogram.snapshot().quantile(q);
            prop_assert!(estimate.abs_diff(exact) <= exact / 32, "{estimate} for {exact}");
        }
    }
}
