//! Pressure: how far background work is behind, and how fast writes may come for it.
//!
//! It is the larger of two numbers, of which 0 is idle:
//!
//! - *memory*: what part is in use of the room that writes have: of the generations that may be in
//!   memory, or of the active one alone as long as the log has no segment ready for the next. It is
//!   1 at the moment where a write has to stop and wait;
//! - *tree*: the tables in level 0, or the bytes that compaction owes, against a limit. It may pass
//!   1: nothing stops there.
//!
//! Up to 0.5 writes are free. Beyond, they may come at a multiple m(u) of the rate D at which flushes
//! were seen to retire what was written:
//!
//! ```text
//! m(u) = 2 ^ ((0.7 - u) / 0.06)
//! ```
//!
//! So the rate bends and never breaks. It meets D while there is still room, and what room is left
//! then stretches: each further 0.06 lasts twice as long as the one before, so that a flush which
//! takes far longer than the last ones is waited for in many short delays, not in one long one.
//! Flushes lose nothing by it: wherever writes are slowed down by memory, there is work for them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lsm_compaction::LEVELS;

use crate::build::L0_TRIGGER;
use crate::inner::Inner;

/// Level 0 may hold so many times its trigger before pressure is 1.
const L0_LIMIT: f64 = 5.0 * L0_TRIGGER as f64;

/// Levels may exceed their targets by so many tables' bytes, together, before pressure is 1.
const DEBT_LIMIT_TABLES: f64 = 64.0;

/// Up to here writes are free.
const FREE: f64 = 0.5;

/// Where writes come as fast as flushes retire them.
const BALANCE: f64 = 0.7;

/// So much more pressure halves the rate of writes.
const HALVING: f64 = 0.06;

/// Writes never come slower than this multiple: what cannot be compacted, because it is damaged, is
/// no reason to stop.
const LEAST_FACTOR: f64 = 1.0 / 128.0;

/// The rate at which flushes are taken to retire bytes until one was seen, in bytes a second.
const ASSUMED_RATE: f64 = 64e6;

/// The parts of the pressure that are measured where they change.
#[derive(Debug)]
pub(crate) struct Pressure {
    /// What part of the active generation is full.
    fill: AtomicF64,
    /// Whether the log has a segment for the generation behind that.
    has_next: AtomicBool,
    tree: AtomicF64,
    /// Bytes a second that flushes retire, as a moving average.
    drain_rate: AtomicF64,
}

impl Pressure {
    pub(crate) fn new() -> Pressure {
        Pressure {
            fill: AtomicF64::new(0.0),
            has_next: AtomicBool::new(true),
            tree: AtomicF64::new(0.0),
            drain_rate: AtomicF64::new(ASSUMED_RATE),
        }
    }

    /// Notes what part of the active generation is full. For who holds the commit lock.
    pub(crate) fn set_fill(&self, fill: f64) {
        self.fill.set(fill);
    }

    /// Notes whether the log has a segment for the next generation.
    pub(crate) fn set_has_next(&self, has_next: bool) {
        // Relaxed: as for the numbers.
        self.has_next.store(has_next, Ordering::Relaxed);
    }

    /// Notes how many bytes of batches a flush retired in which time. For the one flush that runs.
    pub(crate) fn drained(&self, bytes: u64, took: Duration) {
        let seconds = took.as_secs_f64();
        // A tiny piece says more about its fixed costs than about the rate.
        if bytes < 1 << 16 || seconds == 0.0 {
            return;
        }
        let before = self.drain_rate.get();
        self.drain_rate.set(before + 0.3 * (bytes as f64 / seconds - before));
    }
}

impl Inner {
    /// How far background work is behind.
    pub(crate) fn write_pressure(&self) -> f64 {
        self.memory_pressure().max(self.pressure.tree.get())
    }

    /// What part is in use of the room that writes have.
    fn memory_pressure(&self) -> f64 {
        let fill = self.pressure.fill.get();
        let all = used_share(self.super_versions.sealed(), fill, self.options.max_sealed);
        if self.pressure.has_next.load(Ordering::Relaxed) { all } else { all.max(fill) }
    }

    /// How fast writes may come now, in bytes a second; `None` is without limit.
    pub(crate) fn permitted_rate(&self) -> Option<f64> {
        let pressure = self.write_pressure();
        let rate = || (rate_factor(pressure) * self.pressure.drain_rate.get()).max(1.0);
        (FREE < pressure).then(rate)
    }

    /// Measures the tree anew, and lets those look again who wait because of the pressure.
    pub(crate) fn update_pressure(&self) {
        self.set_tree_pressure(self.measure_tree());
    }

    pub(crate) fn set_tree_pressure(&self, pressure: f64) {
        self.pressure.tree.set(pressure);
        self.rate_changed();
    }

    /// Lets those look again who wait because of the pressure.
    pub(crate) fn rate_changed(&self) {
        self.admission.rate_changed();
        if let Some(side) = &self.write_side {
            side.commit.rate_changed();
        }
    }

    fn measure_tree(&self) -> f64 {
        let super_version = self.super_versions.load();
        let running = self.background.compacting.lock();
        let mut pressure: f64 = 0.0;
        for (keyspace, tree) in super_version.version.state.version.trees() {
            let l0 = tree.level(0).len() as f64 / L0_LIMIT;
            let scores = self.with_picker(keyspace, tree, &running, |picker| picker.scores());
            let debt: u64 = scores[1..LEVELS - 1]
                .iter()
                .map(|score| score.bytes.saturating_sub(score.target_bytes))
                .sum();
            let debt_limit = DEBT_LIMIT_TABLES
                * self.options.table_size.max(self.options.memtable_size as u64) as f64;
            pressure = pressure.max(l0).max(debt as f64 / debt_limit);
        }
        pressure
    }
}

/// What part is in use of all the generations that may be in memory.
fn used_share(sealed: usize, fill: f64, max_sealed: usize) -> f64 {
    (sealed as f64 + fill) / (max_sealed as f64 + 1.0)
}

/// m(u): by how much writes may outrun flushes.
fn rate_factor(pressure: f64) -> f64 {
    ((BALANCE - pressure) / HALVING).exp2().max(LEAST_FACTOR)
}

/// A number that is read without a lock. Each has one writer at a time.
#[derive(Debug)]
struct AtomicF64(AtomicU64);

impl AtomicF64 {
    fn new(value: f64) -> AtomicF64 {
        AtomicF64(AtomicU64::new(value.to_bits()))
    }

    fn get(&self) -> f64 {
        // Relaxed: a price may be a moment old, and nothing is published by it.
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;
    use std::time::Instant;

    #[test]
    fn the_rate_bends_without_a_step() {
        assert!((rate_factor(BALANCE) - 1.0).abs() < 1e-9);
        assert!(10.0 < rate_factor(FREE), "it begins far above what is drained");
        let mut last = rate_factor(FREE);
        for step in 1..2_000 {
            let factor = rate_factor(FREE + f64::from(step) / 1_000.0);
            assert!(factor <= last && LEAST_FACTOR <= factor, "at {step}");
            assert!(0.98 * last < factor, "a step at {step}: {factor} after {last}");
            last = factor;
        }
        assert_eq!(last, LEAST_FACTOR);
        // Where memory ends, there is still a way down.
        assert!(LEAST_FACTOR < rate_factor(1.0));
    }

    #[test]
    fn the_drain_rate_follows_what_is_seen() {
        let pressure = Pressure::new();
        for _ in 0..40 {
            pressure.drained(10_000_000, Duration::from_secs(1));
        }
        assert!((pressure.drain_rate.get() - 1e7).abs() < 1e5);
        pressure.drained(1, Duration::from_secs(1));
        assert!((pressure.drain_rate.get() - 1e7).abs() < 1e5);
    }

    /// A writer of 64 KiB values that is faster than the flusher, on a clock of their own.
    struct Race {
        now: Instant,
        /// When the flush ends that runs, and how many generations are sealed with that one.
        flushed: Instant,
        sealed: usize,
        fill: f64,
        flushes: u32,
    }

    const GENERATION: f64 = 16e6;
    const VALUE: u64 = 64 << 10;
    const MAX_SEALED: usize = 3;
    const FLUSH: Duration = Duration::from_millis(100);

    impl Race {
        /// Every tenth flush takes five times as long.
        fn begin_flush(&mut self, at: Instant) {
            self.flushes += 1;
            self.flushed = at + if self.flushes.is_multiple_of(10) { 5 * FLUSH } else { FLUSH };
        }

        fn rate(&mut self, now: Instant) -> Option<f64> {
            while self.sealed != 0 && self.flushed <= now {
                self.sealed -= 1;
                self.begin_flush(self.flushed);
            }
            let pressure = used_share(self.sealed, self.fill, MAX_SEALED);
            let rate = GENERATION / FLUSH.as_secs_f64() * rate_factor(pressure);
            (FREE < pressure).then_some(rate)
        }

        /// One write. Returns how long it waited.
        fn write(&mut self, admission: &Admission) -> Duration {
            let came = self.now;
            let rate = self.rate(came);
            let ticket = admission.reserve(came, VALUE, None, rate).unwrap();
            while let Some(due) = ticket.and_then(|ticket| {
                let rate = self.rate(self.now);
                admission.due(self.now, ticket, rate)
            }) {
                // Who waits looks again when a flush has ended.
                let flushed = if self.now < self.flushed { self.flushed } else { due };
                self.now = due.min(flushed);
            }
            if 1.0 <= self.fill {
                while self.sealed == MAX_SEALED {
                    self.now = self.flushed;
                    self.rate(self.now);
                }
                if self.sealed == 0 {
                    self.begin_flush(self.now);
                }
                self.sealed += 1;
                self.fill = 0.0;
            }
            self.fill += VALUE as f64 / GENERATION;
            let waited = self.now - came;
            self.now += Duration::from_micros(50);
            waited
        }
    }

    #[test]
    fn slow_flushes_are_waited_for_in_short_delays() {
        let begin = Instant::now();
        let admission = Admission::new(begin);
        let mut race = Race { now: begin, flushed: begin, sealed: 0, fill: 0.0, flushes: 0 };
        let waits: Vec<_> = (0..100_000).map(|_| race.write(&admission)).collect();
        let longest = waits.iter().max().unwrap();
        assert!(*longest < Duration::from_millis(15), "{longest:?}");
        // And the flusher was hardly ever without work: 14 flushes' time for ten of them.
        let least = FLUSH.as_secs_f64() * 1.4 * f64::from(race.flushes);
        let took = (race.now - begin).as_secs_f64();
        assert!(took < 1.03 * least, "{took} s, and flushes took {least} s");
    }
}
