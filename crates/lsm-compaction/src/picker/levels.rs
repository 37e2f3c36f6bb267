//! How large the levels should be, and how urgent it is that they are not.
//!
//! The targets follow from the bytes below L0, from the last level upwards. With 256 MiB for the
//! base level, a multiplier of 10 and 100 GiB in all:
//!
//! ```text
//! L6   90 GiB          nine tenths of all: the other levels repeat at most an eleventh
//! L5    9 GiB          a tenth of the level below …
//! L4  0.9 GiB
//! L3  0.09 GiB         … until one is no larger than the base should be: L3 is the base level
//! L1, L2               stay empty
//! ```
//!
//! Then the multiplier is smoothed so that the base level gets its whole target: 256 MiB, times
//! 7.1 = 1.8 GiB, times 7.1 = 12.7 GiB, times 7.1 = 90 GiB. L0 never counts: what a burst of writes
//! piles up there must not enlarge the levels that are to take it in.
//!
//! The score of a level is its fill divided by the fill of the next one, so that a level is not
//! emptied into one that is fuller than itself.

use super::Picker;
use crate::table_meta::total_len;
use crate::version::LEVELS;

const LAST: usize = LEVELS - 1;

/// The fill of a next level counts at least as this, so that an empty one outweighs nothing.
const MIN_FILL: f64 = 0.01;

/// How large each level should be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LevelTargets {
    /// The level that L0 is merged into. Those between are empty.
    pub base: usize,
    /// Bytes for each level; of no meaning for L0, and 0 between L0 and the base level.
    pub bytes: [u64; LEVELS],
}

/// How full a level is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LevelScore {
    /// Which level.
    pub level: usize,
    /// Bytes in it, without those that are being merged into the next.
    pub bytes: u64,
    /// Bytes it should have at most; for L0, [`base_bytes`](super::PickerOptions::base_bytes).
    pub target_bytes: u64,
    /// 1 is full.
    pub fill: f64,
    /// What full levels are ordered by: the fill divided by that of the next level.
    pub score: f64,
}

impl Picker<'_> {
    /// How large each level should be.
    #[must_use]
    pub fn targets(&self) -> LevelTargets {
        let options = self.options;
        let growth = f64::from(options.multiplier.max(2));
        let base_bytes = options.base_bytes.max(1) as f64;
        let total: u64 = (1..LEVELS).map(|level| total_len(&**self.tree.level(level))).sum();
        let last_bytes = (total as f64 * (growth - 1.0) / growth).max(base_bytes);

        let mut ideal_base = LAST;
        let mut bytes = last_bytes;
        while base_bytes < bytes && 1 < ideal_base {
            ideal_base -= 1;
            bytes /= growth;
        }
        let steps = (LAST - ideal_base).max(1) as f64;
        let smoothed = (last_bytes / base_bytes).powf(1.0 / steps);
        // Data above the ideal base, from when there was more, must stay reachable for L0. Its
        // levels get what is left of the geometric row, so that they drain but for small rests.
        let base = ideal_base.min(self.first_used_level());
        let mut targets = LevelTargets { base, bytes: [0; LEVELS] };
        for level in base..LEVELS {
            let distance = level as i32 - ideal_base as i32;
            let factor = if distance < 0 { growth } else { smoothed };
            targets.bytes[level] = (base_bytes * factor.powi(distance)) as u64;
        }
        targets
    }

    /// How full each level is, L0 first. The last level is never full: there is no next one.
    #[must_use]
    pub fn scores(&self) -> [LevelScore; LEVELS] {
        let targets = self.targets();
        let mut scores: [LevelScore; LEVELS] =
            std::array::from_fn(|level| self.fill(level, &targets));
        for level in (0..LAST).rev() {
            let next = if level == 0 { targets.base } else { level + 1 };
            scores[level].score = scores[level].fill / scores[next].fill.max(MIN_FILL);
        }
        scores
    }

    fn fill(&self, level: usize, targets: &LevelTargets) -> LevelScore {
        let jobs = || self.running.of(self.keyspace).filter(|job| job.level != job.output_level);
        let leaving: u64 =
            jobs().filter(|job| job.level == level).map(|job| total_len(&job.inputs)).sum();
        let coming: u64 =
            jobs().filter(|job| job.output_level == level).map(|job| total_len(&job.inputs)).sum();
        let tables = &**self.tree.level(level);
        // A job that is installed may still stand among those that run, for a moment.
        let bytes = (total_len(tables) + coming).saturating_sub(leaving);
        let target_bytes = if level == 0 { self.options.base_bytes } else { targets.bytes[level] };
        let by_bytes = bytes as f64 / target_bytes.max(1) as f64;
        let fill = if level == 0 {
            let idle = tables.iter().filter(|table| !self.running.reads(table.number)).count();
            by_bytes.max(idle as f64 / f64::from(self.options.l0_trigger.max(1)))
        } else if level == LAST {
            // Its target follows its size; below 1 it is one more level that can take bytes in.
            by_bytes.min(1.0)
        } else {
            by_bytes
        };
        LevelScore { level, bytes, target_bytes, fill, score: 0.0 }
    }

    /// The uppermost level below L0 that has tables or is about to get some.
    fn first_used_level(&self) -> usize {
        let of_tables = (1..LEVELS).find(|level| !self.tree.level(*level).is_empty());
        let of_jobs = self.running.of(self.keyspace).map(|job| job.output_level.max(1)).min();
        of_tables.into_iter().chain(of_jobs).min().unwrap_or(LAST)
    }
}
