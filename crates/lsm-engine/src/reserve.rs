//! The reserve: what puts leave free on the disk, so that it can be emptied by deletes.
//!
//! Below it puts are refused. Deletes, flushes and compactions go on, and what they need they take
//! from it. What is in memory does not count: each byte of it has one of log, which goes when it has
//! come into a table. How much there is of each says [`Measure`].

use lsm_base::fs::Space;
use lsm_compaction::Compaction;

use crate::error::{Error, Result};
use crate::event::Event;
use crate::generation::table_bound;
use crate::inner::Inner;
use crate::measure::Measure;
use crate::memory::memtable_bytes;
use crate::promise::Promise;

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

impl Inner {
    /// Looks how full the disk is. Returns whether from now on puts are refused.
    pub(crate) fn look_at_space(&self) -> Result<bool> {
        let Some(measure) = self.measure_until(|measure| !measure.is_low())? else {
            return Ok(false);
        };
        if self.has_recovered(measure) && self.health.end_low_space() {
            self.note(Event::Resumed);
        }
        // A flush or a compaction takes its space before it gives back more.
        let is_settled = measure.promised == 0 && self.super_versions.sealed() == 0;
        Ok(measure.is_low() && is_settled && self.note_low_space(measure))
    }

    /// Sees to it that a flush of so many bytes has space, if what is obsolete has it.
    pub(crate) fn free_for_flush(&self, bytes: u64) {
        // If that cannot be measured, or is too little, the flush will tell.
        let _ = self.measure_until(|measure| measure.has_room_for_flush(bytes, 2));
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
        // If nobody can say how full the disk is, it is to say so by itself.
        let Ok(Some(measure)) = self.measure() else { return Room::Segment };
        let waiting = self.longest_waiting();
        match measure.long_segment(waiting) {
            Some(len) if log_len <= len => Room::Segment,
            _ if !has_puts || measure.has_room(log_len, waiting) => Room::Segment,
            _ if measure.promised != 0 || self.gives_back(measure) => Room::Later,
            _ => Room::Nothing,
        }
    }

    /// What there is, if not even a short segment for puts has room beside what is in memory and cannot
    /// be flushed.
    pub(crate) fn nearly_full(&self) -> Option<Measure> {
        // What others are about to take, they may give back.
        let measure = self.measure_beside(0).ok()??;
        (!measure.has_room(0, 0) || !self.has_room_for_active(measure)).then_some(measure)
    }

    /// Whether what the active generation holds can be sealed and flushed. If nobody can say, that is
    /// tried.
    pub(crate) fn can_flush_active(&self) -> bool {
        !matches!(self.measure(), Ok(Some(measure)) if !self.has_room_for_active(measure))
    }

    /// The space for a segment that takes nothing from the reserve or from a flush; `None` if even a
    /// short one does.
    pub(crate) fn spare_segment(&self, log_len: u64) -> Option<Promise<'_>> {
        let promise = self.promises.make(|promised| match self.measure_beside(promised) {
            Ok(Some(measure)) => measure.long_segment(self.longest_waiting()).ok_or(()),
            Ok(None) | Err(_) => Ok(self.options.segment_size),
        });
        promise.ok().filter(|promise| log_len <= promise.bytes())
    }

    /// The space for a segment as short as it may be, wherever it comes from.
    pub(crate) fn short_segment(&self, log_len: u64) -> Option<Promise<'_>> {
        let len = self.options.short_segment_len().max(log_len);
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
        let measure = self.options.measure(|| Ok(space), 0).ok().flatten();
        let low = measure.filter(|measure| !self.has_recovered(*measure));
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
        Ok(self.options.measure(|| self.fs.space(&self.dir), promised)?)
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

    /// Refuses puts from now on. Returns whether that is news.
    pub(crate) fn note_low_space(&self, Measure { free, reserve, .. }: Measure) -> bool {
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
        self.longest_waiting() + 2 * self.options.short_segment_len()
    }

    /// Whether flushes are to come that give log back.
    fn gives_back(&self, measure: Measure) -> bool {
        self.super_versions.sealed() != 0
            || !self.commit().is_active_empty(self) && self.has_room_for_active(measure)
    }

    fn has_room_for_active(&self, measure: Measure) -> bool {
        let super_version = self.super_versions.load();
        let active = &super_version.active;
        let bytes = memtable_bytes(active).min(active.generation.table_bound());
        // The segment that follows, and one to spare.
        let segments = if self.wal().is_ready(0) { 1 } else { 2 };
        measure.has_room_for_flush(bytes, segments)
    }

    /// Whether puts go on that were refused.
    fn has_recovered(&self, measure: Measure) -> bool {
        measure.has_recovered() && self.has_room_for_active(measure)
    }
}
