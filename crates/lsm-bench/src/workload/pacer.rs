//! A pacer: so many operations a second, as evenly as a thread can sleep.

use std::time::{Duration, Instant};

/// What was missed by more than this is not made up for: a store that held a writer back is not to
/// be written to faster afterwards.
const SLACK: Duration = Duration::from_millis(10);

/// Says when the next operation is due.
#[derive(Debug)]
pub(super) struct Pacer {
    interval: Duration,
    next: Instant,
}

impl Pacer {
    /// So many operations a second from now on; at least one.
    pub(super) fn new(rate: u64, now: Instant) -> Pacer {
        let rate = u32::try_from(rate).unwrap_or(u32::MAX).max(1);
        Pacer { interval: Duration::from_secs(1) / rate, next: now }
    }

    /// How long the next operation is to be waited for. If it is due, it counts as begun.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        self.next = self.next.max(now.checked_sub(SLACK).unwrap_or(now));
        let wait = self.next.saturating_duration_since(now);
        if wait.is_zero() {
            self.next += self.interval;
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// How many operations are due at a moment.
    fn due(pacer: &mut Pacer, now: Instant) -> u32 {
        std::iter::repeat_with(|| pacer.wait(now)).take_while(Duration::is_zero).count() as u32
    }

    #[test]
    fn operations_are_due_at_their_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(100_000, start);
        assert_eq!(due(&mut pacer, start), 1);
        assert_eq!(pacer.wait(start), Duration::from_micros(10));
        let counts = (1..=20).map(|tick| due(&mut pacer, start + tick * MILLISECOND));
        assert_eq!(counts.sum::<u32>(), 2_000);
    }

    #[test]
    fn a_long_wait_is_not_made_up_for() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1_000, start);
        assert_eq!(due(&mut pacer, start + 500 * MILLISECOND), 11);
        assert_eq!(due(&mut pacer, start + 501 * MILLISECOND), 1);
    }
}
