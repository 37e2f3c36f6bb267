//! What the engine tells a listener about its background work.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use lsm_base::KeyspaceId;
use parking_lot::Mutex;

use crate::error::Error;

/// Why a compaction ran.
pub use lsm_compaction::Reason as CompactionReason;

/// Something that the engine did, or that happened to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A generation of memtables became tables.
    Flushed {
        /// How many tables.
        tables: usize,
        /// Their bytes.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
    /// A compaction was installed.
    Compacted {
        /// Whose tables.
        keyspace: KeyspaceId,
        /// Why.
        reason: CompactionReason,
        /// The level that was read.
        from: usize,
        /// The level that was written.
        to: usize,
        /// Bytes read; 0 if tables were moved without being read.
        read: u64,
        /// Bytes written.
        written: u64,
        /// How long it took.
        took: Duration,
    },
    /// A write waited for background work. Of stalls that nobody had time to tell yet only the
    /// first thousand are told; [`stall_nanos`](crate::Metrics::stall_nanos) has all of them.
    Stalled {
        /// How long.
        took: Duration,
    },
    /// Background work failed. What it means for writes is in the error's kind.
    BackgroundError {
        /// What the work was.
        work: &'static str,
        /// What went wrong.
        error: Error,
    },
    /// The disk is full up to its [reserve](crate::Options::disk_reserve): puts are refused.
    LowSpace {
        /// What is free, in bytes.
        free: u64,
        /// What is reserved.
        reserve: u64,
    },
    /// The disk had been full, or up to its reserve, and there is space for puts again.
    Resumed,
}

/// Receives events: return quickly, and do not call the store.
///
/// It is called by the threads of the database that do background work, between two pieces of it;
/// with no [`background_threads`](crate::Options::background_threads), by each call at its end. The
/// close tells what is left.
///
/// No lock is held meanwhile, and no write waits for its answer behind the call. A listener that
/// does not return keeps its thread from other work. If it panics on a thread of the database,
/// writes stop until the next open; else the panic is that of the call, whose work is done.
pub trait EventListener: Send + Sync + 'static {
    /// Called for each event.
    fn on_event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> EventListener for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}

impl fmt::Debug for dyn EventListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventListener")
    }
}

/// How many events may wait to be told before stalls are left out: a busy listener, or one that
/// hangs, must not take memory with each write.
const MAX_UNTOLD: usize = 1_000;

/// What the listener was not told of yet, in order.
#[derive(Debug, Default)]
pub(crate) struct Untold(Mutex<VecDeque<Event>>);

impl Untold {
    pub(crate) fn push(&self, event: Event) {
        let mut events = self.0.lock();
        if events.len() < MAX_UNTOLD || !matches!(event, Event::Stalled { .. }) {
            events.push_back(event);
        }
    }

    pub(crate) fn pop(&self) -> Option<Event> {
        self.0.lock().pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_hangs_takes_no_memory_with_each_stall() {
        let untold = Untold::default();
        for i in 0..2 * MAX_UNTOLD as u64 {
            untold.push(Event::Stalled { took: Duration::from_millis(i) });
        }
        untold.push(Event::Resumed);
        for i in 0..MAX_UNTOLD as u64 {
            let event = untold.pop();
            assert!(
                matches!(event, Some(Event::Stalled { took }) if took.as_millis() == u128::from(i))
            );
        }
        assert!(matches!(untold.pop(), Some(Event::Resumed)));
        assert!(untold.pop().is_none());
    }
}
