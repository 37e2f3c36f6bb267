//! The compactions that run, and what they keep others from doing.
//!
//! Two compactions may run at once if no user key lies in both hulls, or if no level lies between
//! the input and the output level of both:
//!
//! ```text
//!            L1 [a....f]                 L1 [a....f]                 L1 [a....f]
//!  may:         v                may:       v                may not:   v
//!            L2 [b..d] [k..p]            L2 [b..d]                   L2 [b..d] [e..p]
//!                      v                                                       v
//!            L3        [m..z]            L3 [c..e]                   L3        [f..z]
//!                                           v
//!                                        L4 [a.......g]
//! ```
//!
//! Then the outputs of either stay where the other neither reads nor writes, whichever ends first.

use std::sync::Arc;

use lsm_base::KeyspaceId;

use crate::compaction::Compaction;
use crate::key_range::KeyRange;

/// The compactions that run.
#[derive(Clone, Debug, Default)]
pub struct InProgress {
    jobs: Vec<Running>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Running {
    id: JobId,
    compaction: Arc<Compaction>,
    read: u64,
}

/// A compaction that runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(u64);

impl InProgress {
    /// No compaction runs.
    #[must_use]
    pub fn new() -> InProgress {
        InProgress::default()
    }

    /// A compaction begins. Requires: a picker chose it under this very set.
    pub fn begin(&mut self, compaction: Arc<Compaction>) -> JobId {
        let id = JobId(self.next);
        self.next += 1;
        self.jobs.push(Running { id, compaction, read: 0 });
        id
    }

    /// The id of the next compaction that begins; ids ascend.
    #[must_use]
    pub fn next_id(&self) -> JobId {
        JobId(self.next)
    }

    /// Notes how many entries of its inputs a compaction has read.
    pub fn note_read(&mut self, id: JobId, entries: u64) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            job.read = entries;
        }
    }

    /// A compaction ended: its edit is installed, or it failed.
    pub fn end(&mut self, id: JobId) {
        self.jobs.retain(|job| job.id != id);
    }

    /// The compactions that run, in the order in which they began.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<Compaction>> {
        self.jobs.iter().map(|job| &job.compaction)
    }

    /// The same, each with the part of its inputs that it has read, 0 to 1.
    pub fn progress(&self) -> impl Iterator<Item = (&Arc<Compaction>, f64)> {
        self.jobs.iter().map(|job| {
            let entries = job.compaction.input_entries().max(1);
            (&job.compaction, (job.read as f64 / entries as f64).min(1.0))
        })
    }

    /// How many run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The compactions that run in a keyspace.
    pub(crate) fn of(&self, keyspace: KeyspaceId) -> impl Iterator<Item = &Arc<Compaction>> {
        self.jobs().filter(move |job| job.keyspace == keyspace)
    }

    /// Whether a compaction reads this table.
    pub(crate) fn reads(&self, number: u64) -> bool {
        self.jobs().any(|job| job.tables().any(|table| table.number == number))
    }

    /// Whether a compaction may change the tables of `range` in a level from `first` to `last`.
    pub(crate) fn conflicts(
        &self,
        keyspace: KeyspaceId,
        (first, last): (usize, usize),
        range: &KeyRange,
    ) -> bool {
        self.of(keyspace)
            .any(|job| job.level <= last && first <= job.output_level && job.hull().overlaps(range))
    }
}
