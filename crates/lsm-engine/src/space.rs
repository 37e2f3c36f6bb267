//! Space on the disk, and room in log and memory: what gives it, and who waits for it.
//!
//! What installed edits have made obsolete is given back whether the disk is full or not: it may be
//! full of nothing else. A worker of its own does that, because it takes long where files are large,
//! and a writer may be about to need the next log segment.

use std::cell::Cell;
use std::time::Instant;

use lsm_base::plant::{self, Plant};
use lsm_compaction::VersionEdit;
use lsm_compaction::edit::LogFloor;
use lsm_wal::Installed;

use crate::error::{Error, Result};
use crate::health::Health;
use crate::inner::Inner;
use crate::memory::memtable_bytes;
use crate::promise::Promise;
use crate::reserve::Room;

/// What a log segment and a MANIFEST take on a disk that is nearly full, in bytes.
const SMALL_SPACE: u64 = 2 << 20;

impl Inner {
    /// Looks whether a full disk has space again, makes the next log segment ready, lets the system
    /// write what was logged, fits the block cache into the memory budget, and scrubs.
    pub(crate) fn keep(&self) -> Result<bool> {
        self.fit_memory();
        self.scrub(Instant::now());
        let has_sealed = self.look_for_space()?;
        let prepared = self.check_writable().is_ok() && self.prepare_next()?;
        self.wal().start_writeback();
        Ok(prepared || has_sealed)
    }

    /// Looks whether a full disk has space again, and how much any has. Where puts are refused, what is
    /// in memory is sealed as soon as it can be flushed: it takes as much again of the disk, in the log.
    /// Returns whether that is so from now on.
    pub(crate) fn look_for_space(&self) -> Result<bool> {
        let has_resumed = self.try_resume()?;
        if self.check_writable().is_err() {
            return Ok(false);
        }
        // If nobody can say how full the disk is, it says so by itself.
        let is_news = self.look_at_space().unwrap_or(false);
        let is_low = is_news || has_resumed && self.health.lacks_space();
        // What could not be sealed then may have room by now.
        let is_due = || is_low || self.health.lacks_space() && self.has_long_segment();
        if is_due() && self.can_flush_active() {
            self.seal_active()?;
        }
        Ok(is_low)
    }

    /// Unlinks tables, MANIFESTs and log segments that an installed edit has made obsolete. Returns
    /// whether there were any.
    ///
    /// # Errors
    /// The first failure; the rest is unlinked all the same.
    pub(crate) fn give_back(&self) -> Result<bool> {
        let health = self.health.get();
        if !matches!(health, Health::Running | Health::LowSpace | Health::NoSpace) {
            return Ok(false);
        }
        // Whoever needs the space waits for who has begun to.
        let _one_at_a_time = self.giving_back.lock();
        let removed = self.obsolete.remove(self);
        let released = self.wal().release(self.log_floor())?;
        Ok(removed? != 0 || released != 0)
    }

    /// Makes the next log segment ready. Returns whether there was none.
    fn prepare_next(&self) -> Result<bool> {
        if self.wal().is_ready(0) {
            return Ok(false);
        }
        let promise = Cell::new(None);
        let len = || len_of(self.spare_segment(0), &promise);
        match self.wal().install(0, len) {
            Err(error) if error.is_no_space() => {
                // A disk may be full of what the cleaner has not come to. If that fails, it says so.
                drop(promise.take());
                let _ = self.give_back();
                self.use_segment(0, len, self.wal().install(0, len))?;
            }
            installed => self.use_segment(0, len, installed)?,
        }
        Ok(self.wal().is_ready(0))
    }

    /// Makes a log segment ready that holds a record of this length, and takes what was promised.
    fn prepare_segment<'a>(
        &'a self,
        log_len: u64,
        space: impl Fn() -> Option<Promise<'a>>,
    ) -> Result<()> {
        let promise = Cell::new(None);
        let len = || len_of(space(), &promise);
        self.use_segment(log_len, len, self.wal().install(log_len, len))
    }

    /// Writes into the MANIFEST that a segment is there, and then offers it: so that a segment which
    /// holds records is never missed in silence.
    fn use_segment<'a>(
        &'a self,
        log_len: u64,
        len: impl Fn() -> Option<u64>,
        mut installed: lsm_base::Result<Option<Installed<'a>>>,
    ) -> Result<()> {
        while let Some(segment) = installed.map_err(|error| self.note_write_error(error))? {
            plant::unless(Plant::SegmentUnnamed, || self.name_segment(segment.number()))?;
            if segment.offer() {
                break;
            }
            installed = self.wal().install(log_len, &len);
        }
        if self.wal().is_ready(0) {
            self.segment_is_ready();
        }
        Ok(())
    }

    fn name_segment(&self, number: u64) -> Result<()> {
        let mut current = self.lock_decided(&[])?;
        let floor = current.state().log_floor;
        if number <= floor.highest_segment {
            return Ok(());
        }
        let log_floor = Some(LogFloor { highest_segment: number, ..floor });
        let edit = VersionEdit { log_floor, ..VersionEdit::default() };
        self.versions.log_and_apply(self, &mut current, edit.into())
    }

    fn segment_is_ready(&self) {
        self.pressure.set_has_next(true);
        self.rate_changed();
    }

    /// The first log segment that is still needed.
    pub(crate) fn log_floor(&self) -> u64 {
        self.super_versions.load().version.state.log_floor.first_segment
    }

    /// Looks whether the disk has space again, and if so lets writes go on.
    pub(crate) fn try_resume(&self) -> Result<bool> {
        if self.health.get() != Health::NoSpace {
            return Ok(false);
        }
        // What is free must hold the tables of what is in memory, and a small segment.
        let super_version = self.super_versions.load_full();
        let in_memory: u64 = super_version.generations().map(memtable_bytes).sum();
        let needed = in_memory + SMALL_SPACE.min(2 * self.options.memtable_size as u64);
        let space = self.fs.space(&self.dir)?;
        if space.free < needed {
            return Ok(false);
        }
        self.versions.decide(self, &mut self.versions.lock())?;
        Ok(self.resume_with(space))
    }

    /// Waits until a generation can be begun with room for a record of this length, or until
    /// nobody needs it any more. For puts, or for what may take from the reserve.
    pub(crate) fn make_room(
        &self,
        log_len: u64,
        has_puts: bool,
        deadline: Option<Instant>,
        is_needed: impl Fn() -> bool,
    ) -> Result<()> {
        let _call = self.begin_call()?;
        let started = Instant::now();
        let result = self.wait_for_room(log_len, has_puts, deadline, is_needed);
        self.note_stall(started.elapsed());
        // For a worker, which tells it.
        self.background.changed();
        result
    }

    fn wait_for_room(
        &self,
        log_len: u64,
        has_puts: bool,
        deadline: Option<Instant>,
        is_needed: impl Fn() -> bool,
    ) -> Result<()> {
        let round = self.background.flush_round();
        let mut has_waited = false;
        loop {
            let seen = self.background.changes();
            if !is_needed() {
                return Ok(());
            }
            self.health.check_takes(|| has_puts)?;
            if !self.wal().is_ready(log_len) {
                if self.options.background_threads == 0 {
                    // Nobody else does. If it fails, there may be room for the segment still.
                    let _ = self.give_back();
                }
                match self.use_room(log_len, has_puts)? {
                    Room::Segment => {}
                    Room::Later => has_waited = true,
                    Room::Nothing => {
                        if let Some(measure) = self.nearly_full() {
                            self.note_low_space(measure);
                        } else if has_waited {
                            // After a flush the active generation is empty, and may do.
                            return Ok(());
                        }
                        return Err(Error::low_space());
                    }
                }
            }
            if self.wal().is_ready(log_len) && self.may_rotate() {
                return Ok(());
            }
            let has_threads = self.options.background_threads != 0;
            if !has_threads && self.flush_oldest().map_err(|error| self.before_append(error))? {
                continue;
            }
            if let Some(error) = self.background.flush_failure(round) {
                return Err(self.before_append(error));
            } else if !self.background.wait_for_change(seen, deadline) {
                return Err(Error::busy());
            }
        }
    }

    /// Makes a log segment ready if there is room for it, and seals what may make room.
    fn use_room(&self, log_len: u64, has_puts: bool) -> Result<Room> {
        let room = self.find_room(log_len, has_puts);
        let used = match room {
            Room::Segment => self.prepare_segment(log_len, || {
                self.spare_segment(log_len).or_else(|| self.short_segment(log_len))
            }),
            Room::Later => self.seal_active(),
            Room::Nothing => Ok(()),
        };
        used.map_err(|error| self.before_append(error)).map(|()| room)
    }

    /// Whether the active generation has a longer segment than it would get now.
    fn has_long_segment(&self) -> bool {
        self.options.short_segment_len() < self.wal().active_len()
    }

    /// Seals what the active generation has, in favour of a small one, unless there are others that
    /// have to be flushed first.
    fn seal_active(&self) -> Result<()> {
        if !self.may_rotate() || self.commit().try_seal(self) {
            return Ok(());
        }
        self.prepare_segment(0, || self.short_segment(0))?;
        self.commit().try_seal(self);
        Ok(())
    }

    /// What a write is answered whose append never began: that writes have stopped, if they have.
    fn before_append(&self, error: Error) -> Error {
        self.check_writable().err().unwrap_or_else(|| error.not_begun())
    }
}

/// The length of a segment for which there is space. `kept` holds the promise until it is taken.
fn len_of<'a>(promise: Option<Promise<'a>>, kept: &Cell<Option<Promise<'a>>>) -> Option<u64> {
    let promise = promise?;
    let len = promise.bytes();
    kept.set(Some(promise));
    Some(len)
}
