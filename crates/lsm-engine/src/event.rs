//! What the engine tells a listener about its background work.

use std::fmt;
use std::time::Duration;

use lsm_base::KeyspaceId;

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
    /// A write waited for background work.
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
    /// The disk had been full, and writes go on.
    Resumed,
}

/// Receives events, on a thread that does background work or, without threads, a caller's: return
/// quickly, and do not call the store.
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
