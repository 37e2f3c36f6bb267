//! The reserve: what puts leave free on the disk, so that it can be emptied by deletes.
//!
//! ```text
//! disk = what others and the store use | what puts may take | reserve
//! ```
//!
//! Below the reserve puts are refused. Deletes, flushes and compactions go on, and what they need they
//! take from it. What is in memory does not count: each byte of it has one of log, which goes when it
//! has come into a table.
//!
//! The store takes space a log segment at a time. So a segment for puts is as long as it may be such
//! that the reserve stays free, and that there is space for the tables of this segment, of any other
//! that waits for its flush, and for a small segment behind it: without a next one no generation can
//! be sealed.

use lsm_base::fs::Space;
use lsm_compaction::Compaction;
use lsm_wal::SMALL_SEGMENT;

use crate::error::{Error, Result};
use crate::event::Event;
use crate::generation::table_bound;
use crate::inner::Inner;
use crate::memory::memtable_bytes;
use crate::options::Resolved;
use crate::promise::Promise;

/// The most that is reserved unless somebody asks for it, in bytes.
const MAX_RESERVE: u64 = 64 << 20;

/// The same as a part of the disk.
const RESERVED_PART: u64 = 100;

/// What deletes need at least: a short log segment, its tables, and the segment behind it.
const LEAST_SEGMENTS: u64 = 3;

/// What is free, and what of that is for puts.
#[derive(Clone, Copy, Debug)]
struct Measure {
    free: u64,
    reserve: u64,
    /// What of it others are about to take.
    promised: u64,
    /// The size of a memtable.
    memtable: u64,
}

/// Where a write, or a generation to be sealed, finds its log segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// In one that is made now.
    Segment,
    /// Nowhere, until a flush has given its log back, or a compaction its inputs.
    Later,
    /// Nowhere.
    Nothing,
}

impl Resolved {
    /// How long the first log segment may be on such a disk.
    pub(crate) fn first_segment_len(&self, space: impl FnOnce() -> lsm_base::Result<Space>) -> u64 {
        let usual = self.segment_size;
        match self.measure(space) {
            Ok(Some(measure)) => measure.long_segment(usual, 0).unwrap_or(self.small_segment()),
            // If nobody can say how full the disk is, it is to say so by itself.
            Ok(None) | Err(_) => usual,
        }
    }

    /// How long a segment is if space is short.
    pub(crate) fn small_segment(&self) -> u64 {
        SMALL_SEGMENT.min(self.segment_size)
    }

    /// `None` if nothing is reserved, in which case nobody looks, or nobody knows.
    fn measure(
        &self,
        space: impl FnOnce() -> lsm_base::Result<Space>,
    ) -> lsm_base::Result<Option<Measure>> {
        if self.disk_reserve == Some(0) {
            return Ok(None);
        }
        let Space { free, total } = space()?;
        if total == 0 {
            // What some file systems say that do not know.
            return Ok(None);
        }
        let reserve = self.disk_reserve.unwrap_or((total / RESERVED_PART).min(MAX_RESERVE));
        let reserve = reserve.max(LEAST_SEGMENTS * self.small_segment());
        let memtable = self.memtable_size as u64;
        Ok(Some(Measure { free, reserve, promised: 0, memtable }))
    }
}

impl Measure {
    /// The longest segment of at most `usual` bytes that may be made while a flush of up to `waiting`
    /// bytes is to come; `None` is a short one at most.
    fn long_segment(self, usual: u64, waiting: u64) -> Option<u64> {
        let small = SMALL_SEGMENT.min(usual);
        let free = self.free.saturating_sub(self.promised);
        let beside_others = free.saturating_sub(self.reserve.max(waiting + small));
        let with_own_flush = self.longest_with_flush(free.saturating_sub(2 * small), usual);
        let len = usual.min(beside_others).min(with_own_flush);
        (small <= len).then_some(len)
    }

    /// The longest segment of at most `usual` bytes that fits, with its tables, what is free.
    fn longest_with_flush(self, free: u64, usual: u64) -> u64 {
        let fits = |len: &u64| *len <= usual && len + table_bound(*len, self.memtable) <= free;
        let lens = [usual, free / 9 * 4, free.saturating_sub(self.memtable), free / 3];
        lens.into_iter().filter(fits).max().unwrap_or(0)
    }

    /// Whether a segment of so many bytes may be made while a flush of up to `waiting` bytes is to come,
    /// with `small` to spare.
    fn has_room(self, len: u64, small: u64, waiting: u64) -> bool {
        let left = self.reserve.max(waiting.max(table_bound(len, self.memtable)) + small);
        self.promised.saturating_add(left).saturating_add(len) <= self.free
    }

    fn is_low(self) -> bool {
        self.free < self.reserve
    }

    /// Whether puts go on: not for the space that a next one takes at once.
    fn has_recovered(self, small: u64) -> bool {
        self.reserve.saturating_add(2 * small) <= self.free
    }
}

impl Inner {
    /// Looks how full the disk is. Returns whether from now on puts are refused.
    pub(crate) fn look_at_space(&self) -> Result<bool> {
        let Some(measure) = self.measure_until(|measure| !measure.is_low())? else {
            return Ok(false);
        };
        if measure.has_recovered(self.options.small_segment()) && self.health.end_low_space() {
            self.note(Event::Resumed);
        }
        // A flush or a compaction takes its space before it gives back more.
        let is_settled = measure.promised == 0 && self.super_versions.sealed() == 0;
        Ok(measure.is_low() && is_settled && self.note_low_space(measure))
    }

    /// Sees to it that a flush of so many bytes has space, if what is obsolete has it.
    pub(crate) fn free_for_flush(&self, bytes: u64) {
        let needed = bytes + 2 * self.options.small_segment();
        // If that cannot be measured, or is too little, the flush will tell.
        let _ = self.measure_until(|measure| needed <= measure.free);
    }

    /// Where a log segment for records of this length may be made: for puts, or for what the reserve
    /// is for.
    pub(crate) fn find_room(&self, log_len: u64, has_puts: bool) -> Room {
        match self.look_for_room(log_len, has_puts) {
            Room::Nothing => {
                // The cleaner may not have come to what a flush left.
                let _ = self.give_back();
                self.look_for_room(log_len, has_puts)
            }
            room => room,
        }
    }

    fn look_for_room(&self, log_len: u64, has_puts: bool) -> Room {
        let usual = self.options.segment_size;
        // If nobody can say how full the disk is, it is to say so by itself.
        let Ok(Some(measure)) = self.measure() else { return Room::Segment };
        let waiting = self.longest_waiting();
        let small = self.options.small_segment();
        match measure.long_segment(usual, waiting) {
            Some(len) if log_len <= len => Room::Segment,
            _ if !has_puts || measure.has_room(small.max(log_len), small, waiting) => Room::Segment,
            _ if measure.promised != 0 || self.is_memory_in_use() => Room::Later,
            _ => Room::Nothing,
        }
    }

    /// Whether not even a short segment for puts has room, nothing being in memory. Then puts are
    /// refused from now on.
    pub(crate) fn is_nearly_full(&self) -> bool {
        // What others are about to take, they may give back.
        let Ok(Some(measure)) = self.measure_beside(0) else { return false };
        let small = self.options.small_segment();
        let has_room = measure.has_room(small, small, 0);
        if !has_room {
            self.note_low_space(measure);
        }
        !has_room
    }

    /// The space for a segment that takes nothing from the reserve or from a flush; `None` if even a
    /// short one does.
    pub(crate) fn spare_segment(&self, log_len: u64) -> Option<Promise<'_>> {
        let usual = self.options.segment_size;
        let promise = self.promises.make(|promised| match self.measure_beside(promised) {
            Ok(Some(measure)) => measure.long_segment(usual, self.longest_waiting()).ok_or(()),
            Ok(None) | Err(_) => Ok(usual),
        });
        promise.ok().filter(|promise| log_len <= promise.bytes())
    }

    /// The space for a segment as short as it may be, wherever it comes from.
    pub(crate) fn short_segment(&self, log_len: u64) -> Option<Promise<'_>> {
        let len = self.options.small_segment().max(log_len);
        self.promises.make(|_| Ok::<_, ()>(len)).ok()
    }

    /// The space for the outputs of a compaction, which `drops` what tombstones hide, and them, or has
    /// to keep both.
    ///
    /// # Errors
    /// `NoSpace` if there is not so much beside a flush: it would end in a full disk, and so would
    /// every try.
    pub(crate) fn space_for(&self, compaction: &Compaction, drops: bool) -> Result<Promise<'_>> {
        let wanted = if drops { compaction.expected_bytes() } else { compaction.input_bytes() };
        let promise = || {
            self.promises.make(|promised| match self.measure_beside(promised) {
                Ok(Some(measure)) if measure.free < promised + wanted + self.flush_need() => {
                    Err(Error::low_space())
                }
                _ => Ok(wanted),
            })
        };
        promise().or_else(|_| {
            // The cleaner may not have come to what others left. What fails here, it tells.
            let _ = self.give_back();
            promise()
        })
    }

    /// Lets a store whose disk was full go on with such space: with everything, or with all but puts.
    /// Returns whether that is news.
    pub(crate) fn resume_with(&self, space: Space) -> bool {
        let small = self.options.small_segment();
        let measure = self.options.measure(|| Ok(space)).ok().flatten();
        let low = measure.filter(|measure| !measure.has_recovered(small));
        let is_news = self.health.resume(low.is_some());
        if is_news {
            self.note(match low {
                Some(Measure { free, reserve, .. }) => Event::LowSpace { free, reserve },
                None => Event::Resumed,
            });
        }
        is_news
    }

    fn measure(&self) -> Result<Option<Measure>> {
        self.measure_beside(self.promises.total())
    }

    fn measure_beside(&self, promised: u64) -> Result<Option<Measure>> {
        let measure = self.options.measure(|| self.fs.space(&self.dir))?;
        Ok(measure.map(|measure| Measure { promised, ..measure }))
    }

    /// Measures, and once more if that was not enough: there may be files that the cleaner had not come
    /// to.
    fn measure_until(&self, is_enough: impl Fn(Measure) -> bool) -> Result<Option<Measure>> {
        let measure = self.measure()?;
        if measure.is_none_or(is_enough) {
            return Ok(measure);
        }
        // What fails here, the cleaner tells.
        let _ = self.give_back();
        self.measure()
    }

    fn note_low_space(&self, Measure { free, reserve, .. }: Measure) -> bool {
        let is_news = self.health.set_low_space();
        if is_news {
            self.note(Event::LowSpace { free, reserve });
        }
        is_news
    }

    /// The most bytes that the next flush, or one behind it, takes: of a log segment whose records are
    /// not in tables yet.
    fn longest_waiting(&self) -> u64 {
        let super_version = self.super_versions.load_full();
        let waiting = super_version.generations().map(|view| view.generation.table_bound()).max();
        // A rotation tells the log first.
        let active = table_bound(self.wal().active_len(), self.options.memtable_size as u64);
        active.max(waiting.unwrap_or(0))
    }

    /// What flushes may take before one of them gives log back.
    fn flush_need(&self) -> u64 {
        if self.health.lacks_space() {
            // Nothing much is added, as puts are refused.
            let in_memory = self.super_versions.load_full();
            return in_memory.generations().map(memtable_bytes).max().unwrap_or(0);
        }
        self.longest_waiting() + 2 * self.options.small_segment()
    }

    fn is_memory_in_use(&self) -> bool {
        !self.super_versions.load().sealed.is_empty() || !self.commit().is_active_empty(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    const MIB: u64 = 1 << 20;
    const USUAL: u64 = 64 * MIB;

    fn measure(free: u64, reserve: u64) -> Measure {
        Measure { free: free * MIB, reserve: reserve * MIB, promised: 0, memtable: USUAL }
    }

    #[test]
    fn a_large_disk_gets_segments_as_usual() {
        assert_eq!(measure(1_000, 64).long_segment(USUAL, USUAL), Some(USUAL));
        // For its own tables, those of another, and the reserve, which these may take.
        assert_eq!(measure(147, 64).long_segment(USUAL, 80 * MIB), Some(USUAL));
        // Of a shorter one the tables may be twice as long, but not longer than a memtable.
        assert_eq!(measure(128, 64).long_segment(USUAL, 64 * MIB), Some(56 * MIB));
    }

    #[test]
    fn a_small_disk_gets_short_ones_that_can_be_flushed() {
        for free in 3..200 {
            for reserve in [1, 2, 64] {
                let measure = measure(free, reserve);
                let Some(len) = measure.long_segment(USUAL, 0) else { continue };
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
                assert!(after.free < measure.reserve + MIB || after.has_room(MIB, MIB, waiting));
            }
        }
        assert_eq!(measure(65, 64).long_segment(USUAL, 0), Some(MIB));
        assert_eq!(measure(64, 64).long_segment(USUAL, 0), None);
        assert_eq!(measure(64, 1).long_segment(USUAL, 63 * MIB), None);
    }

    #[test]
    fn what_was_promised_is_not_free() {
        let promised = 40 * MIB;
        let measure = Measure { promised, ..measure(104, 1) };
        assert_eq!(measure.long_segment(USUAL, 0), Some((104 - 40 - 2) * MIB / 3));
        let has_room = |waiting| measure.has_room(4 * MIB, MIB, waiting * MIB);
        assert!(has_room(59) && !has_room(60));
    }

    #[test]
    fn the_reserve_is_a_part_of_the_disk_and_not_more_than_that() {
        let reserve = |disk_reserve, total| {
            let options = Options { disk_reserve, ..Options::default() }.resolve(1 << 30).unwrap();
            let measure = options.measure(|| Ok(Space { free: 0, total })).unwrap();
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
        assert!(!measure(65, 64).has_recovered(MIB) && measure(66, 64).has_recovered(MIB));
        let endless =
            Measure { free: u64::MAX - 1, reserve: u64::MAX, promised: u64::MAX, ..measure(0, 0) };
        assert!(endless.is_low() && !endless.has_recovered(MIB) && !endless.has_room(1, 1, 1));
        assert_eq!(endless.long_segment(USUAL, 0), None);
    }

    #[test]
    fn what_is_longer_than_the_reserve_needs_space_for_its_flush_too() {
        let has_room = |free| measure(free, 10).has_room(20 * MIB, MIB, 8 * MIB);
        assert!(!has_room(35) && !has_room(60) && has_room(61));
    }
}
