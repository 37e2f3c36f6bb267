//! The writer beside readers: overwrites of random keys, at a pace that is the same for all stores.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use crate::store::{Durability, Result};

use super::pacer::Pacer;
use super::worker::Worker;

impl Worker<'_> {
    /// Overwrites keys until the readers are done. Returns how many bytes it put, and how many keys
    /// a second: less than it was to, where the store takes no more.
    pub(super) fn write_paced(mut self) -> Result<(u64, f64)> {
        let started = Instant::now();
        let mut pacer = Pacer::new(self.effort.write_rate, started);
        let mut count = 0_u64;
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let wait = pacer.wait(Instant::now());
            if wait.is_zero() {
                let number = self.random.below(self.data.count());
                self.put(number, Durability::Buffered)?;
                count += 1;
            } else {
                thread::sleep(wait);
            }
        }
        Ok((self.bytes_put, count as f64 / started.elapsed().as_secs_f64()))
    }
}
