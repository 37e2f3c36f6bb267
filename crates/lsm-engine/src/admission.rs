//! Admission: writes are slowed down before they have to stop.
//!
//! The pressure *u* says how far background work is behind: 0 is idle, 1 is as far as it may get.
//! It is the largest of three parts: memory that waits for its flush, tables in level 0, and bytes
//! that compaction owes. Up to u = 0.5 writes are free. Beyond, they may come at a multiple m(u)
//! of the rate D at which background work was seen to retire bytes:
//!
//! ```text
//! m(u)  ∞ |
//!       3 |    ╲             (0.6, 3)
//!     1.5 |       ╲          (0.75, 1.5)
//!       1 |           ╲      (0.9, 1)
//!     0.7 |              ╲   (1, 0.7)
//!         0.5   0.6 0.75 0.9 1   u
//! ```
//!
//! So the rate bends and never breaks: it meets D while there is still room. A write pays for its
//! bytes before it queues, and sleeps only when at least 100 µs are owed, so that many small
//! writes do not sleep for one microsecond each. What the callers of a moment owe adds up, so all of
//! them together keep the rate. A single payment is capped at [`MAX_COST`], however slow background
//! work seems to be; and when the pressure has passed, so has what was owed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The most that one write adds to the time that it, and what comes behind it, waits.
const MAX_COST: Duration = Duration::from_secs(1);

/// Delays below this are carried forward instead of slept.
const MIN_DELAY: Duration = Duration::from_micros(100);

/// The rate at which background work is taken to retire bytes until it was seen, in bytes a second.
const ASSUMED_RATE: f64 = 64e6;

/// Decides how fast writes may come.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Picoseconds that a byte costs; 0 is free.
    price: AtomicU64,
    /// The pressure, as the bits of an `f64`.
    pressure: AtomicU64,
    account: Mutex<Account>,
    relieved: Condvar,
}

#[derive(Debug)]
struct Account {
    /// A moment that has passed.
    opened: Instant,
    /// Until when the bytes admitted so far are paid.
    paid_until: Instant,
    /// Bytes a second that background work retires, as a moving average.
    drain_rate: f64,
}

/// A write would have to wait for longer than it is ready to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLate;

impl Admission {
    pub(crate) fn new(now: Instant) -> Admission {
        Admission {
            price: AtomicU64::new(0),
            pressure: AtomicU64::new(0f64.to_bits()),
            account: Mutex::new(Account { opened: now, paid_until: now, drain_rate: ASSUMED_RATE }),
            relieved: Condvar::new(),
        }
    }

    /// How far background work is behind.
    pub(crate) fn pressure(&self) -> f64 {
        f64::from_bits(self.pressure.load(Ordering::Relaxed))
    }

    /// Whether writes cost nothing now.
    pub(crate) fn is_free(&self) -> bool {
        self.price.load(Ordering::Relaxed) == 0
    }

    /// Notes how many bytes a piece of background work retired in which time.
    pub(crate) fn drained(&self, bytes: u64, took: Duration) {
        let seconds = took.as_secs_f64();
        // A tiny piece says more about its fixed costs than about the rate.
        if bytes < 1 << 16 || seconds == 0.0 {
            return;
        }
        let mut account = self.account.lock();
        account.drain_rate += 0.3 * (bytes as f64 / seconds - account.drain_rate);
    }

    /// Sets the pressure, and with it the price of a byte.
    pub(crate) fn set_pressure(&self, pressure: f64) {
        let mut account = self.account.lock();
        let price = match rate_factor(pressure) {
            Some(factor) => 1e12 / (factor * account.drain_rate).max(1.0),
            None => 0.0,
        };
        self.pressure.store(pressure.to_bits(), Ordering::Relaxed);
        let before = self.price.swap(price as u64, Ordering::Relaxed);
        if price as u64 == 0 {
            account.paid_until = account.opened;
        }
        drop(account);
        if (price as u64) < before {
            self.relieved.notify_all();
        }
    }

    /// Pays for a write of `bytes`, waiting if need be. Returns how long that took.
    pub(crate) fn admit(&self, bytes: u64, deadline: Option<Instant>) -> Result<Duration, TooLate> {
        if self.price.load(Ordering::Relaxed) == 0 {
            return Ok(Duration::ZERO);
        }
        let now = Instant::now();
        let Some(due) = self.reserve(now, bytes, deadline)? else { return Ok(Duration::ZERO) };
        let mut account = self.account.lock();
        while self.price.load(Ordering::Relaxed) != 0 {
            if self.relieved.wait_until(&mut account, due).timed_out() {
                break;
            }
        }
        Ok(now.elapsed())
    }

    /// Pays at `now` for a write of `bytes`. Returns until when it has to wait, if it does.
    pub(crate) fn reserve(
        &self,
        now: Instant,
        bytes: u64,
        deadline: Option<Instant>,
    ) -> Result<Option<Instant>, TooLate> {
        let price = self.price.load(Ordering::Relaxed);
        if price == 0 {
            return Ok(None);
        }
        let cost = Duration::from_nanos(bytes.saturating_mul(price) / 1_000);
        let mut account = self.account.lock();
        let due = account.paid_until.max(now) + cost.min(MAX_COST);
        let waits = now + MIN_DELAY <= due;
        if waits && deadline.is_some_and(|deadline| deadline < due) {
            return Err(TooLate);
        }
        account.paid_until = due;
        Ok(waits.then_some(due))
    }
}

/// m(u): by how much writes may outrun background work; `None` is without limit.
fn rate_factor(pressure: f64) -> Option<f64> {
    const POINTS: [(f64, f64); 5] = [(0.5, 8.0), (0.6, 3.0), (0.75, 1.5), (0.9, 1.0), (1.0, 0.7)];
    if pressure <= POINTS[0].0 {
        return None;
    }
    let segment = POINTS.windows(2).find(|pair| pressure <= pair[1].0);
    let Some(&[(u0, m0), (u1, m1)]) = segment else { return Some(POINTS[4].1 / pressure) };
    Some(m0 + (m1 - m0) * (pressure - u0) / (u1 - u0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_bends_without_a_step() {
        assert_eq!(rate_factor(0.0), None);
        assert_eq!(rate_factor(0.5), None);
        let mut last = f64::MAX;
        for step in 501..2_000 {
            let factor = rate_factor(f64::from(step) / 1_000.0).unwrap();
            assert!(factor <= last && 0.0 < factor, "at {step}: {factor} after {last}");
            assert!(last == f64::MAX || last - factor < 0.06, "a step at {step}");
            last = factor;
        }
        assert!((rate_factor(0.9).unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_write_pays_for_its_bytes() {
        let now = Instant::now();
        let admission = Admission::new(now);
        assert_eq!(admission.admit(1 << 30, None), Ok(Duration::ZERO));
        admission.set_pressure(1.0);
        let price = admission.price.load(Ordering::Relaxed) as f64;
        assert!((price - 1e12 / (0.7 * ASSUMED_RATE)).abs() < 2.0);
        // Small writes are carried forward.
        assert_eq!(admission.admit(100, None), Ok(Duration::ZERO));
        let soon = Some(Instant::now() + Duration::from_millis(1));
        assert_eq!(admission.admit(1 << 30, soon), Err(TooLate));
        admission.set_pressure(0.2);
        assert_eq!(admission.admit(1 << 30, None), Ok(Duration::ZERO));
    }

    #[test]
    fn callers_together_keep_the_rate() {
        const WRITES: u32 = 100;
        let now = Instant::now();
        let admission = Admission::new(now);
        admission.set_pressure(1.0);
        let rate = 0.7 * ASSUMED_RATE;
        let mut due = now;
        for _ in 0..WRITES {
            due = admission.reserve(now, 1 << 20, None).unwrap().expect("it is far above the rate");
        }
        let expected = f64::from(WRITES << 20) / rate;
        let waited = (due - now).as_secs_f64();
        assert!((waited - expected).abs() < 0.01 * expected, "{waited} s for {expected} s");
        // One write alone costs no more than so much.
        let last = admission.reserve(now, 1 << 40, None).unwrap().unwrap();
        assert_eq!(last - due, MAX_COST);
        // Nothing is owed when the pressure comes again.
        admission.set_pressure(0.0);
        admission.set_pressure(1.0);
        assert_eq!(admission.reserve(now, 100, None), Ok(None));
    }

    #[test]
    fn who_has_no_time_to_wait_is_let_through_where_nothing_is_waited() {
        let now = Instant::now();
        let admission = Admission::new(now);
        admission.set_pressure(0.9);
        assert_eq!(admission.reserve(now, 100, Some(now)), Ok(None));
        assert_eq!(admission.reserve(now, 1 << 20, Some(now)), Err(TooLate));
        assert_eq!(admission.reserve(now, 100, Some(now)), Ok(None));
    }

    #[test]
    fn the_drain_rate_follows_what_is_seen() {
        let admission = Admission::new(Instant::now());
        for _ in 0..40 {
            admission.drained(10_000_000, Duration::from_secs(1));
        }
        assert!((admission.account.lock().drain_rate - 1e7).abs() < 1e5);
        admission.drained(1, Duration::from_secs(1));
        assert!((admission.account.lock().drain_rate - 1e7).abs() < 1e5);
    }
}
