//! Where a flush goes: as deep as nothing is in its way, and into no level that is to stay empty.
//!
//! The level is foreseen when the flush starts, because codec and filter depend on it, and
//! confirmed under the version lock when its table is installed:
//!
//! ```text
//! L0            [p..t]         a flush of [c..f]: nothing overlaps in L0 to L4, so L4 is foreseen;
//! L4   [a..b]          [k..z]  had a compaction into L4 with the hull [a..d] begun since, or a
//! L5     [b......d]            flush of [e..g] come to L0, it would be confirmed for L0 only
//! ```
//!
//! Invariant: of the keys in the hull of the flush, nothing lies above it, nor will any running
//! compaction put something there. So what is above it is newer.

use super::Picker;
use crate::key_range::KeyRange;
use crate::version::LEVELS;

impl Picker<'_> {
    /// The deepest level such that neither it nor any above overlaps `range`; L0 if there is none,
    /// or if it is above the base level: what came to stand there would only be merged once more.
    #[must_use]
    pub fn flush_level(&self, range: &KeyRange) -> usize {
        let clear = (0..LEVELS).take_while(|level| self.is_clear(*level, range));
        clear.last().filter(|level| self.targets().base <= *level).unwrap_or(0)
    }

    /// The level that was foreseen, if it would be free still; else L0.
    #[must_use]
    pub fn confirm_flush_level(&self, foreseen: usize, range: &KeyRange) -> usize {
        let is_free = (0..=foreseen).all(|level| self.is_clear(level, range));
        if is_free { foreseen } else { 0 }
    }

    fn is_clear(&self, level: usize, range: &KeyRange) -> bool {
        !self.tree.overlaps(level, range)
            && !self.running.conflicts(self.keyspace, (level, level), range)
    }
}
