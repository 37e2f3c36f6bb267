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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compaction::Reason;
    use crate::table_meta::TableMeta;
    use crate::testing::table;

    /// A compaction of a table of 100 entries.
    fn compaction(keyspace: u32, level: usize, input: TableMeta) -> Arc<Compaction> {
        Arc::new(Compaction {
            reason: Reason::LevelSize,
            keyspace: KeyspaceId(keyspace),
            level,
            output_level: level + 1,
            inputs: vec![Arc::new(input)],
            overlapped: Vec::new(),
            grandparents: Vec::new(),
            is_trivial_move: false,
        })
    }

    #[test]
    fn each_has_an_id_of_its_own_until_it_ends() {
        let mut running = InProgress::new();
        assert!(running.is_empty());
        let ids = [1, 2, 3].map(|number| {
            let id = running.next_id();
            let begun = running.begin(compaction(0, 3, table(number, "a", "m", 1, 2)));
            assert_eq!(begun, id);
            id
        });
        assert!(ids.is_sorted() && ids[0] != ids[1] && ids[1] != ids[2]);
        running.end(ids[1]);
        let numbers = running.jobs().map(|job| job.inputs[0].number);
        assert_eq!(numbers.collect::<Vec<_>>(), [1, 3]);
        assert_eq!((running.len(), running.is_empty()), (2, false));
        assert!(ids.iter().all(|id| *id < running.next_id()));
        assert!(running.reads(1) && !running.reads(2) && running.reads(3));
        running.end(ids[0]);
        running.end(ids[2]);
        assert_eq!((running.len(), running.is_empty()), (0, true));
    }

    #[test]
    fn progress_is_the_part_of_the_inputs_that_was_read() {
        let mut running = InProgress::new();
        let first = running.begin(compaction(0, 3, table(1, "a", "m", 1, 2)));
        let second = running.begin(compaction(0, 3, table(2, "n", "z", 1, 2)));
        running.note_read(second, 25);
        let progress = |running: &InProgress| -> Vec<_> {
            running.progress().map(|(job, part)| (job.inputs[0].number, part)).collect()
        };
        assert_eq!(progress(&running), [(1, 0.0), (2, 0.25)]);
        running.note_read(first, 101);
        assert_eq!(progress(&running), [(1, 1.0), (2, 0.25)]);
    }

    #[test]
    fn a_conflict_shares_keys_and_a_level_of_one_keyspace() {
        let mut running = InProgress::new();
        running.begin(compaction(1, 3, table(1, "d", "m", 1, 2)));
        let conflicts = |keyspace, levels, smallest: &str, largest: &str| {
            let range = KeyRange::new(smallest.as_bytes(), largest.as_bytes());
            running.conflicts(KeyspaceId(keyspace), levels, &range)
        };
        assert!(conflicts(1, (3, 4), "a", "z"));
        assert!(!conflicts(0, (3, 4), "a", "z"));
        for (levels, meets) in [((1, 2), false), ((2, 3), true), ((4, 5), true), ((5, 6), false)] {
            assert_eq!(conflicts(1, levels, "a", "d"), meets, "{levels:?}");
            assert_eq!(conflicts(1, levels, "m", "z"), meets, "{levels:?}");
            assert!(!conflicts(1, levels, "a", "c") && !conflicts(1, levels, "n", "z"));
        }
    }
}
