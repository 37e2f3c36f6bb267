//! Admission: writes are slowed down before they have to stop.
//!
//! Under [pressure](crate::pressure) writes may come at a certain rate. Each takes a ticket for its
//! bytes, behind those that came before it, and goes when the bytes up to there are *released*, which
//! they are at that rate. So all callers together keep it, and a change of the rate holds at once
//! for those who wait already:
//!
//! ```text
//!          released           tail
//!             v                v
//! ------------+--------+-------+     bytes of all tickets
//!   these go        these wait
//! ```
//!
//! Invariant: released <= tail. What was not used in time is no credit for later.
//!
//! A write sleeps only when it would for at least 100 µs, so that many small writes do not sleep for
//! one microsecond each. And each 64 KiB of a write add [`MAX_COST`] at most: where there is room
//! yet, a write does not wait for as long as the flush of all of it may take on a slow disk.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The most that a write adds to the time that it, and what comes behind it, waits: so much for each
/// [`PIECE`] that it begins.
const MAX_COST: Duration = Duration::from_millis(10);
const PIECE: u64 = 64 << 10;

/// Waits below this are not slept.
const MIN_DELAY: Duration = Duration::from_micros(100);

/// After so long a wait is looked at again.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Bytes a second; `None` is without limit.
pub(crate) type Rate = Option<f64>;

/// Decides when a write may come.
#[derive(Debug)]
pub(crate) struct Admission {
    account: Mutex<Account>,
    changed: Condvar,
}

/// The place of a write among all bytes that ever had to wait: it may go when those up to there are
/// released.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub(crate) struct Ticket(pub(crate) f64);

/// A write would have to wait for longer than it is ready to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLate;

#[derive(Debug)]
struct Account {
    /// When `released` was right.
    now: Instant,
    /// What has held since then.
    rate: Rate,
    released: f64,
    tail: f64,
}

impl Admission {
    pub(crate) fn new(now: Instant) -> Admission {
        Admission {
            account: Mutex::new(Account { now, rate: None, released: 0.0, tail: 0.0 }),
            changed: Condvar::new(),
        }
    }

    /// Waits until a write of `bytes` may go, at whatever rate holds meanwhile. Returns how long
    /// that took.
    pub(crate) fn admit(
        &self,
        bytes: u64,
        deadline: Option<Instant>,
        rate: impl Fn() -> Rate,
    ) -> Result<Duration, TooLate> {
        let Some(first_rate) = rate() else { return Ok(Duration::ZERO) };
        let started = Instant::now();
        let mut account = self.account.lock();
        let ticket = account.take(started, bytes, deadline, Some(first_rate))?;
        while let Some(due) = ticket.and_then(|ticket| account.due(ticket)) {
            if deadline.is_some_and(|deadline| deadline < due) {
                return Err(TooLate);
            }
            self.changed.wait_until(&mut account, due);
            account.advance(Instant::now(), rate());
        }
        Ok(ticket.map_or(Duration::ZERO, |_| started.elapsed()))
    }

    /// Takes a ticket for a write of `bytes` that comes at `now`, unless it may go at once.
    pub(crate) fn reserve(
        &self,
        now: Instant,
        bytes: u64,
        deadline: Option<Instant>,
        rate: Rate,
    ) -> Result<Option<Ticket>, TooLate> {
        match rate {
            None => Ok(None),
            rate => self.account.lock().take(now, bytes, deadline, rate),
        }
    }

    /// When the write with this ticket may go; `None` is now.
    pub(crate) fn due(&self, now: Instant, ticket: Ticket, rate: Rate) -> Option<Instant> {
        let mut account = self.account.lock();
        account.advance(now, rate);
        account.due(ticket)
    }

    /// Lets those who wait look again at the rate.
    pub(crate) fn rate_changed(&self) {
        // Under the lock nobody is between the look and the wait.
        drop(self.account.lock());
        self.changed.notify_all();
    }
}

impl Account {
    /// Releases what the time until `now` has paid; from now on it is paid at `rate`.
    fn advance(&mut self, now: Instant, rate: Rate) {
        let passed = now.saturating_duration_since(self.now).as_secs_f64();
        let paid = self.rate.map_or(f64::INFINITY, |rate| rate * passed);
        self.released = match rate {
            None => self.tail,
            Some(_) => (self.released + paid).min(self.tail),
        };
        (self.now, self.rate) = (self.now.max(now), rate);
    }

    /// Takes the next ticket; `None` if it would be due at once.
    fn take(
        &mut self,
        now: Instant,
        bytes: u64,
        deadline: Option<Instant>,
        rate: Rate,
    ) -> Result<Option<Ticket>, TooLate> {
        self.advance(now, rate);
        let max_cost = MAX_COST.as_secs_f64() * bytes.div_ceil(PIECE) as f64;
        let most = rate.map_or(f64::INFINITY, |rate| rate * max_cost);
        let ticket = Ticket(self.tail + (bytes as f64).min(most));
        let due = self.due(ticket);
        if due.is_some_and(|due| deadline.is_some_and(|deadline| deadline < due)) {
            return Err(TooLate);
        }
        self.tail = ticket.0;
        Ok(due.map(|_| ticket))
    }

    /// When a ticket is due at the rate of now; `None` if it needs no wait.
    fn due(&self, ticket: Ticket) -> Option<Instant> {
        let seconds = (ticket.0 - self.released).max(0.0) / self.rate?;
        let wait = Duration::from_secs_f64(seconds.min(LONGEST_WAIT.as_secs_f64()));
        (MIN_DELAY <= wait).then(|| self.now + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const RATE: f64 = 64e6;

    /// A clock that stands still, and an account at its beginning.
    fn prepared() -> (Instant, Admission) {
        let now = Instant::now();
        (now, Admission::new(now))
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn callers_together_keep_the_rate() {
        const WRITES: u32 = 100;
        let (now, admission) = prepared();
        let mut last = None;
        for _ in 0..WRITES {
            last = admission.reserve(now, 1 << 20, None, Some(RATE)).unwrap();
        }
        let due = admission.due(now, last.unwrap(), Some(RATE)).unwrap();
        let expected = f64::from(WRITES << 20) / RATE;
        let waited = (due - now).as_secs_f64();
        assert!((waited - expected).abs() < 0.01 * expected, "{waited} s for {expected} s");
        // What comes later waits behind them, less the time that has passed.
        let later = now + seconds(1.0);
        let ticket = admission.reserve(later, 1 << 20, None, Some(RATE)).unwrap().unwrap();
        let expected = f64::from((WRITES + 1) << 20) / RATE - 1.0;
        let waited = (admission.due(later, ticket, Some(RATE)).unwrap() - later).as_secs_f64();
        assert!((waited - expected).abs() < 0.01, "{waited} s for {expected} s");
    }

    #[test]
    fn a_change_of_the_rate_holds_for_those_who_wait() {
        let (now, admission) = prepared();
        let ticket = admission.reserve(now, 10_000_000, None, Some(1e7)).unwrap().unwrap();
        let close_to = |due: Option<Instant>, expected: f64| {
            let waits = (due.unwrap() - now).as_secs_f64();
            assert!((waits - expected).abs() < 1e-3, "{waits} s, not {expected} s");
        };
        close_to(admission.due(now, ticket, Some(1e7)), 1.0);
        // Half of it at the first rate, the rest at twice that, and then at a tenth.
        let half = now + seconds(0.5);
        close_to(admission.due(half, ticket, Some(2e7)), 0.75);
        close_to(admission.due(half, ticket, Some(1e6)), 5.5);
        assert_eq!(admission.due(half, ticket, None), None);
        // Nothing is owed when pressure comes again.
        assert_eq!(admission.reserve(half, 100, None, Some(1e7)), Ok(None));
    }

    #[test]
    fn time_in_which_nobody_came_is_no_credit() {
        let (now, admission) = prepared();
        assert_eq!(admission.reserve(now, 100, None, Some(RATE)), Ok(None));
        let later = now + seconds(100.0);
        let ticket = admission.reserve(later, RATE as u64, None, Some(RATE)).unwrap().unwrap();
        let waits = admission.due(later, ticket, Some(RATE)).unwrap() - later;
        assert!(seconds(0.99) < waits, "{waits:?}");
    }

    #[test]
    fn a_write_adds_a_bounded_time_by_its_size() {
        for (bytes, most) in [(100, MAX_COST), (PIECE, MAX_COST), (PIECE + 1, 2 * MAX_COST)] {
            let (now, admission) = prepared();
            let ticket = admission.reserve(now, bytes, None, Some(1.0)).unwrap().unwrap();
            let waits = admission.due(now, ticket, Some(1.0)).unwrap() - now;
            assert!((waits.as_secs_f64() - most.as_secs_f64()).abs() < 1e-6, "{waits:?}");
        }
    }

    #[test]
    fn who_has_no_time_to_wait_is_let_through_where_nothing_is_waited() {
        let (now, admission) = prepared();
        assert_eq!(admission.reserve(now, 100, Some(now), Some(RATE)), Ok(None));
        assert_eq!(admission.reserve(now, 1 << 20, Some(now), Some(RATE)), Err(TooLate));
        // What was refused is not charged.
        assert_eq!(admission.reserve(now, 100, Some(now), Some(RATE)), Ok(None));
        assert_eq!(admission.admit(1 << 20, Some(now), || Some(RATE)), Err(TooLate));
        assert_eq!(admission.admit(1 << 40, Some(now), || None), Ok(Duration::ZERO));
    }

    #[test]
    fn a_thread_that_waits_goes_as_soon_as_it_may() {
        let (_, admission) = prepared();
        let is_free = std::sync::atomic::AtomicBool::new(false);
        let rate = || {
            let is_free = is_free.load(std::sync::atomic::Ordering::Acquire);
            (!is_free).then_some(1.0)
        };
        thread::scope(|scope| {
            let waits: Vec<_> =
                (0..4).map(|_| scope.spawn(|| admission.admit(1 << 30, None, rate))).collect();
            // Each adds some minutes to the account.
            let each = MAX_COST.as_secs_f64() * ((1 << 30) / PIECE) as f64;
            while admission.account.lock().tail < 4.0 * each {
                thread::yield_now();
            }
            is_free.store(true, std::sync::atomic::Ordering::Release);
            admission.rate_changed();
            for wait in waits {
                let took = wait.join().unwrap().unwrap();
                assert!(Duration::ZERO < took && took < Duration::from_secs(60), "{took:?}");
            }
        });
    }
}
