//! What a disk has, and what of that is for puts, for deletes, and for flushes.
//!
//! ```text
//! free = what others are about to take | what puts may take | reserve
//! ```
//!
//! The store takes space a log segment at a time. So a segment for puts is as long as it may be such
//! that the reserve stays free, and that there is space for the tables of this segment, of any other
//! that waits for its flush, and for a short segment behind it: without a next one no generation can
//! be sealed.

use lsm_base::fs::Space;
use lsm_wal::SMALL_SEGMENT;

use crate::generation::table_bound;
use crate::options::Resolved;

/// The most that is reserved unless somebody asks for it, in bytes.
const MAX_RESERVE: u64 = 64 << 20;

/// The same as a part of the disk.
const RESERVED_PART: u64 = 100;

/// What deletes need at least: a short log segment, its tables, and the segment behind it.
const LEAST_SEGMENTS: u64 = 3;

/// What is free, and what of that is for puts. All in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    pub(crate) free: u64,
    pub(crate) reserve: u64,
    /// What of it others are about to take.
    pub(crate) promised: u64,
    /// The length of a log segment where space is not short, and where it is.
    usual: u64,
    short: u64,
    /// The size of a memtable.
    memtable: u64,
}

impl Resolved {
    /// How long a log segment is if space is short.
    pub(crate) fn short_segment_len(&self) -> u64 {
        SMALL_SEGMENT.min(self.segment_size)
    }

    /// How long the first log segment may be on such a disk.
    pub(crate) fn first_segment_len(&self, space: impl FnOnce() -> lsm_base::Result<Space>) -> u64 {
        match self.measure(space, 0) {
            Ok(Some(measure)) => measure.long_segment(0).unwrap_or(measure.short),
            // If nobody can say how full the disk is, it is to say so by itself.
            Ok(None) | Err(_) => self.segment_size,
        }
    }

    /// What there is while so many bytes are promised. `None` if nothing is reserved, in which case
    /// nobody looks, or nobody knows.
    pub(crate) fn measure(
        &self,
        space: impl FnOnce() -> lsm_base::Result<Space>,
        promised: u64,
    ) -> lsm_base::Result<Option<Measure>> {
        if self.disk_reserve == Some(0) {
            return Ok(None);
        }
        let Space { free, total } = space()?;
        if total == 0 {
            // What some file systems say that do not know.
            return Ok(None);
        }
        let (usual, short) = (self.segment_size, self.short_segment_len());
        let reserve = self.disk_reserve.unwrap_or((total / RESERVED_PART).min(MAX_RESERVE));
        let reserve = reserve.max(LEAST_SEGMENTS * short);
        let memtable = self.memtable_size as u64;
        Ok(Some(Measure { free, reserve, promised, usual, short, memtable }))
    }
}

impl Measure {
    /// The longest segment for puts that may be made while a flush of up to `waiting` bytes is to
    /// come; `None` is a short one at most.
    pub(crate) fn long_segment(self, waiting: u64) -> Option<u64> {
        let free = self.unpromised();
        let beside_others = free.saturating_sub(self.reserve.max(waiting + self.short));
        let with_own_flush = self.longest_with_flush(free.saturating_sub(2 * self.short));
        let len = self.usual.min(beside_others).min(with_own_flush);
        (self.short <= len).then_some(len)
    }

    /// The longest segment that fits, with its tables, into so much.
    fn longest_with_flush(self, free: u64) -> u64 {
        let usual = self.usual;
        let fits = |len: &u64| *len <= usual && len + table_bound(*len, self.memtable) <= free;
        let lens = [usual, free / 9 * 4, free.saturating_sub(self.memtable), free / 3];
        lens.into_iter().filter(fits).max().unwrap_or(0)
    }

    /// Whether a segment for puts that is no longer than it must be to take `log_len` bytes may be
    /// made while a flush of up to `waiting` bytes is to come, with a short one to spare.
    pub(crate) fn has_room(self, log_len: u64, waiting: u64) -> bool {
        let len = self.short.max(log_len);
        let flush = waiting.max(table_bound(len, self.memtable));
        let left = self.reserve.max(flush + self.short);
        self.promised.saturating_add(left).saturating_add(len) <= self.free
    }

    /// Whether a flush of so many bytes has space, wherever it comes from, beside so many short
    /// segments.
    pub(crate) fn has_room_for_flush(self, bytes: u64, segments: u64) -> bool {
        bytes.saturating_add(segments * self.short) <= self.unpromised()
    }

    pub(crate) fn is_low(self) -> bool {
        self.free < self.reserve
    }

    /// Whether puts go on: not for the space that a next one takes at once.
    pub(crate) fn has_recovered(self) -> bool {
        self.reserve.saturating_add(2 * self.short) <= self.free
    }

    fn unpromised(self) -> u64 {
        self.free.saturating_sub(self.promised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    const MIB: u64 = 1 << 20;
    const USUAL: u64 = 64 * MIB;

    fn measure(free: u64, reserve: u64) -> Measure {
        Measure {
            free: free * MIB,
            reserve: reserve * MIB,
            promised: 0,
            usual: USUAL,
            short: MIB,
            memtable: USUAL,
        }
    }

    #[test]
    fn a_large_disk_gets_segments_as_usual() {
        assert_eq!(measure(1_000, 64).long_segment(USUAL), Some(USUAL));
        // For its own tables, those of another, and the reserve, which these may take.
        assert_eq!(measure(147, 64).long_segment(80 * MIB), Some(USUAL));
        // Of a shorter one the tables may be twice as long, but not longer than a memtable.
        assert_eq!(measure(128, 64).long_segment(64 * MIB), Some(56 * MIB));
    }

    #[test]
    fn a_small_disk_gets_short_ones_that_can_be_flushed() {
        for free in 3..200 {
            for reserve in [1, 2, 64] {
                let measure = measure(free, reserve);
                let Some(len) = measure.long_segment(0) else { continue };
                assert!((MIB..=USUAL).contains(&len));
                // The reserve stays, and so does what the tables and a small segment take.
                let left = measure.free - len;
                assert!(
                    measure.reserve <= left && table_bound(len, USUAL) + 2 * MIB <= left,
                    "{measure:?}: {len}"
                );
                // Then a small one has room, and no long one.
                let after = Measure { free: left, ..measure };
                let waiting = table_bound(len, USUAL);
                assert!(after.free < measure.reserve + MIB || after.has_room(MIB, waiting));
            }
        }
        assert_eq!(measure(65, 64).long_segment(0), Some(MIB));
        assert_eq!(measure(64, 64).long_segment(0), None);
        assert_eq!(measure(64, 1).long_segment(63 * MIB), None);
    }

    #[test]
    fn what_was_promised_is_not_free() {
        let promised = 40 * MIB;
        let measure = Measure { promised, ..measure(104, 1) };
        assert_eq!(measure.long_segment(0), Some((104 - 40 - 2) * MIB / 3));
        let has_room = |waiting| measure.has_room(4 * MIB, waiting * MIB);
        assert!(has_room(59) && !has_room(60));
        let flushes = |bytes, segments| measure.has_room_for_flush(bytes * MIB, segments);
        assert!(flushes(62, 2) && !flushes(63, 2) && flushes(63, 1));
    }

    #[test]
    fn the_reserve_is_a_part_of_the_disk_and_not_more_than_that() {
        let reserve = |disk_reserve, total| {
            let options = Options { disk_reserve, ..Options::default() }.resolve(1 << 30).unwrap();
            let measure = options.measure(|| Ok(Space { free: 0, total }), 0).unwrap();
            measure.map(|measure| measure.reserve)
        };
        assert_eq!(reserve(None, 1_000 * MIB), Some(10 * MIB));
        assert_eq!(reserve(None, 100 * MIB), Some(3 * MIB));
        assert_eq!(reserve(None, 1 << 40), Some(64 * MIB));
        assert_eq!(reserve(Some(5 * MIB), 1 << 40), Some(5 * MIB));
        assert_eq!(reserve(Some(1), 1 << 40), Some(3 * MIB));
        assert_eq!(reserve(Some(0), 1 << 40), None);
        assert_eq!(reserve(None, 0), None, "of a disk that does not know");
    }

    #[test]
    fn puts_go_on_when_there_is_more_than_what_the_next_one_takes() {
        assert!(measure(63, 64).is_low() && !measure(64, 64).is_low());
        assert!(!measure(65, 64).has_recovered() && measure(66, 64).has_recovered());
        let endless =
            Measure { free: u64::MAX - 1, reserve: u64::MAX, promised: u64::MAX, ..measure(0, 0) };
        assert!(endless.is_low() && !endless.has_recovered() && !endless.has_room(1, 1));
        assert_eq!(endless.long_segment(0), None);
    }

    #[test]
    fn what_is_longer_than_the_reserve_needs_space_for_its_flush_too() {
        let has_room = |free| measure(free, 10).has_room(20 * MIB, 8 * MIB);
        assert!(!has_room(35) && !has_room(60) && has_room(61));
    }
}
