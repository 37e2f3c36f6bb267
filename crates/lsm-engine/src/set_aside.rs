//! Compactions that failed on what they read, and that are not to keep others waiting.
//!
//! A pick follows from the shape of the tree alone, so a table that is damaged, or cannot be read,
//! would be picked again and again. A compaction that failed so goes on to count as running: what
//! it would read is not picked, and the worker goes on to what else there is. It is tried again
//! when the interval has passed, or when a call waits for background work.
//!
//! Invariant: a call answers no failure of a compaction that began before it. What made that one fail
//! may have passed, even if it comes to be set aside only now.

use std::time::Instant;

use lsm_base::KeyspaceId;
use lsm_compaction::in_progress::JobId;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::inner::Inner;

/// The compactions that failed.
#[derive(Debug, Default)]
pub(crate) struct SetAside(Mutex<Vec<Failed>>);

#[derive(Debug)]
struct Failed {
    id: JobId,
    keyspace: KeyspaceId,
    error: Error,
    /// When it may be tried again; `None` is not by itself.
    retry_at: Option<Instant>,
}

impl SetAside {
    /// Takes a compaction that goes on to count as running.
    pub(crate) fn add(
        &self,
        id: JobId,
        keyspace: KeyspaceId,
        error: Error,
        retry_at: Option<Instant>,
    ) {
        self.0.lock().push(Failed { id, keyspace, error, retry_at });
    }

    /// Lets all be picked again. Returns the first compaction to come, whose failure would be one of
    /// a call that begins now.
    pub(crate) fn release(&self, inner: &Inner) -> JobId {
        let next = inner.background.compacting.lock().next_id();
        self.release_if(inner, |_| true);
        next
    }

    /// Lets those be picked again that began before this one. Returns whether there were any.
    pub(crate) fn release_older(&self, inner: &Inner, first: JobId) -> bool {
        self.release_if(inner, |failed| failed.id < first)
    }

    /// Lets those be picked again whose time has come.
    pub(crate) fn release_due(&self, inner: &Inner) {
        let now = Instant::now();
        self.release_if(inner, |failed| failed.retry_at.is_some_and(|at| at <= now));
    }

    fn release_if(&self, inner: &Inner, is_due: impl Fn(&Failed) -> bool) -> bool {
        let mut failed = self.0.lock();
        let due: Vec<JobId> =
            failed.iter().filter(|failed| is_due(failed)).map(|failed| failed.id).collect();
        if due.is_empty() {
            return false;
        }
        failed.retain(|failed| !due.contains(&failed.id));
        drop(failed);
        let mut running = inner.background.compacting.lock();
        due.into_iter().for_each(|id| running.end(id));
        true
    }

    /// Why the first failed of those from `first` on.
    pub(crate) fn failure(&self, first: JobId) -> Result<()> {
        self.failure_if(|failed| first <= failed.id)
    }

    /// The same, of those in a keyspace.
    pub(crate) fn failure_in(&self, keyspace: KeyspaceId, first: JobId) -> Result<()> {
        self.failure_if(|failed| first <= failed.id && failed.keyspace == keyspace)
    }

    fn failure_if(&self, is_meant: impl Fn(&Failed) -> bool) -> Result<()> {
        let failed = self.0.lock();
        let first = failed.iter().find(|failed| is_meant(failed));
        first.map_or(Ok(()), |failed| Err(failed.error.clone()))
    }
}
