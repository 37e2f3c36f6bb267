//! A histogram of times, as Prometheus reads it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::prometheus::Text;

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// How often something took how long.
#[derive(Debug, Default)]
pub(super) struct Seconds {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    nanos: AtomicU64,
}

// Counters are independent of one another and of everything else: relaxed throughout.
impl Seconds {
    pub(super) fn record(&self, took: Duration) {
        if let Some(bucket) = BOUNDS.iter().position(|&bound| took.as_secs_f64() <= bound) {
            self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Prints the samples, if there are any.
    pub(super) fn print(&self, text: &mut Text, name: &str, label: (&str, &str)) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let count = load(&self.count);
        if count == 0 {
            return;
        }
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(&self.buckets).map(|(&bound, count)| {
            below += load(count);
            (bound, below)
        });
        text.histogram(name, &[label], buckets, count, load(&self.nanos) as f64 / 1e9);
    }
}
