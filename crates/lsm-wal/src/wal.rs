//! The writer's side of the log.
//!
//! Appends and syncs run side by side: an append writes behind the tail under one short lock, a
//! sync takes what was appended so far and waits for the disk without that lock.
//!
//! ```text
//! segment 7 (sealed)      segment 8 (active)              segment 9 (ready, unused)
//! link, data, data        link, data, data, ......        ...........................
//!                ^ synced              ^ appended
//! ```
//!
//! Invariants:
//! - `synced <= appended`, and a file is synced only after every older one.
//! - The first failed sync, or append that failed with anything but a full disk, ends the log: no
//!   file is written or synced after it, and every call gets a clone of that error.
//!
//! Order of locks: `epochs` and `syncing` (never both), then `tail`, then `marks`. A caller may take
//! locks of its own under `epochs`, between [`install`](Wal::install) and [`offer`](Installed::offer).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lsm_base::file_name::FILE_NUMBER_END;
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, FileName, Fs, Result, Seq};
use parking_lot::Mutex;

use crate::format::{
    END_RECORD_LEN, FILE_HEADER_LEN, FileHeader, FileKind, LINK_RECORD_LEN, Link, MAX_FILE_LEN,
    record_len,
};
use crate::lsn::Lsn;
use crate::segment::{PrepareError, Segment, remove_if_present};

mod installed;
mod tail;

use installed::Epochs;
pub use installed::Installed;
use tail::{Active, Group, Tail};

/// A write-ahead log that is open for appending.
pub struct Wal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: WalOptions,
    /// Where epochs come from; held while a segment is made, so that there is one maker.
    epochs: Mutex<Epochs>,
    /// Held by the one caller that syncs.
    syncing: Mutex<()>,
    tail: Mutex<Tail>,
    marks: Mutex<Marks>,
    /// What ended the log.
    poison: OnceLock<Error>,
}

/// How a log is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalOptions {
    /// Length of a segment in bytes; longer only where one group of records needs it.
    /// At most [`MAX_FILE_LEN`]; what is too short for the log's own records is lengthened.
    pub segment_size: u64,
    /// The system shall begin writing to disk after this many appended bytes, so that no sync finds
    /// a whole segment dirty: see [`start_writeback`](Wal::start_writeback). 0: never.
    pub writeback_bytes: u64,
    /// Whom the log belongs to: any number that tells it from other logs, such as a database's id.
    /// It stands in every segment, and a [`replay`](crate::replay()) takes no other's.
    pub owner: u128,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions { segment_size: 64 << 20, writeback_bytes: 4 << 20, owner: 0 }
    }
}

/// What is to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The sequence of the first operation in it: above that of the record before, and not 0.
    pub first_seq: Seq,
    /// Bytes that the log never looks into; at most [`MAX_PAYLOAD_LEN`](crate::MAX_PAYLOAD_LEN).
    pub payload: &'a [u8],
}

/// How records come to the page cache; what survives what is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// By a call of the system: where a sync follows at once.
    Call,
    /// Through a map of the segment where there can be one and syncs are rare: each makes the next
    /// store into a page slower than a call.
    Map,
}

/// How far the log was written, and how far of that it is on disk.
struct Marks {
    appended: Lsn,
    synced: Lsn,
}

impl Wal {
    /// Begins a log in `dir` whose first segment has the number `first_segment`, and makes that
    /// segment ready; nothing needs to be prepared before the first append.
    ///
    /// The number must be above that of every segment in `dir`: after a recovery,
    /// [`ReplayReport::next_segment`](crate::ReplayReport::next_segment); in a new database 1.
    /// `epochs` gives a fresh random number for each segment.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the number is 0 or taken or an option is out of range;
    /// [`Error::Io`] if the segment cannot be made.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: WalOptions,
        first_segment: u64,
        epochs: Box<dyn FnMut() -> u64 + Send>,
    ) -> Result<Wal> {
        let mut epochs = Epochs::new(epochs);
        check_number(first_segment)?;
        let sizes = options.sizes_for(0)?;
        let header = options.header(first_segment, epochs.take(), sizes);
        let path = FileName::Log(first_segment).path(dir);
        if fs.exists(&path)? {
            return Err(Error::invalid(format!("segment {} exists already", path.display())));
        }
        let made = Segment::write_largest(&*fs, dir, header, sizes.least)
            .and_then(|segment| segment.install(&*fs, dir).map(|()| segment));
        let segment = match made {
            Ok(segment) => segment,
            Err(PrepareError::Sync(error) | PrepareError::Other(error)) => return Err(error),
        };
        let start = Lsn::new(first_segment, FILE_HEADER_LEN);
        Ok(Wal {
            fs,
            dir: dir.to_owned(),
            options,
            epochs: Mutex::new(epochs),
            syncing: Mutex::new(()),
            tail: Mutex::new(Tail::new(Active::new(segment, Link::BEGIN), options)),
            marks: Mutex::new(Marks { appended: start, synced: start }),
            poison: OnceLock::new(),
        })
    }

    /// Makes the next segment ready, with room for at least `min_capacity` bytes of records (see
    /// [`record_len`](Wal::record_len)). A ready segment that is too small is replaced. A disk that
    /// has no space for a segment of the usual size gets a smaller one.
    ///
    /// Slow: it allocates, writes and syncs. For a background thread, or for a writer that found
    /// the log without a ready segment, outside of any lock that writers need.
    ///
    /// # Errors
    /// [`Error::Io`]: with [`is_no_space`](Error::is_no_space), or any failure but that of a sync,
    /// it may be tried again; a failed sync ends the log. [`Error::InvalidArgument`] if no segment
    /// can be that large.
    pub fn prepare(&self, min_capacity: u64) -> Result<()> {
        let usual = self.options.segment_size;
        while let Some(installed) = self.install(min_capacity, || Some(usual))? {
            if installed.offer() {
                break;
            }
        }
        Ok(())
    }

    /// The first half of [`prepare`](Wal::prepare): the segment stands in the directory, for good, and
    /// takes no records before it is [offered](Installed::offer). So its number can be written down
    /// first, where a replay learns that it must be there. Other callers of either method wait until it
    /// is offered or dropped.
    ///
    /// It gets the length that `segment_size` says, as [`WalOptions::segment_size`] would; that is
    /// asked when no other segment is ready or being made, so that it can go by what the disk has.
    /// `None` if one is ready, or `segment_size` says so.
    ///
    /// # Errors
    /// As [`prepare`](Wal::prepare).
    pub fn install(
        &self,
        min_capacity: u64,
        segment_size: impl Fn() -> Option<u64>,
    ) -> Result<Option<Installed<'_>>> {
        let mut epochs = self.epochs.lock();
        loop {
            self.check_poison()?;
            let number = {
                let tail = self.tail.lock();
                tail.check_open()?;
                if tail.is_ready(min_capacity) {
                    return Ok(None);
                }
                tail.next_number()
            };
            check_number(number)?;
            let Some(segment_size) = segment_size() else { return Ok(None) };
            let sizes = WalOptions { segment_size, ..self.options }.sizes_for(min_capacity)?;
            let header = self.options.header(number, epochs.take(), sizes);
            let segment = Segment::write_largest(&*self.fs, &self.dir, header, sizes.least)
                .map_err(|error| self.prepare_failed(error))?;
            // From here on no rotation can take the segment that this one replaces. If one has
            // taken it already, its number is in use and another one is needed.
            if !self.tail.lock().withdraw_ready(number) {
                segment.discard(&*self.fs, &self.dir);
                continue;
            }
            segment.install(&*self.fs, &self.dir).map_err(|error| self.prepare_failed(error))?;
            return Ok(Some(Installed::new(self, segment, epochs)));
        }
    }

    /// Whether a segment with room for `min_capacity` bytes of records is ready.
    #[must_use]
    pub fn is_ready(&self, min_capacity: u64) -> bool {
        self.tail.lock().is_ready(min_capacity)
    }

    /// Moves on to the segment that [`prepare`](Wal::prepare) made ready, if there is one with room
    /// for `min_capacity` bytes of records; returns its number. Nothing is synced. The segment left
    /// behind takes no more records.
    ///
    /// # Errors
    /// [`Error::Io`] if the segment left behind was still empty and its own first record cannot be
    /// written: with [`is_no_space`](Error::is_no_space), it has to be [prepared](Wal::prepare) anew.
    pub fn rotate(&self, min_capacity: u64) -> Result<Option<u64>> {
        // One lock from the question to the move: a `prepare` may withdraw the segment.
        let mut tail = self.tail.lock();
        self.check_poison()?;
        tail.check_open()?;
        if !tail.is_ready(min_capacity) {
            return Ok(None);
        }
        if tail.active.is_unused() {
            // The next segment will name this one, so this one must name its own predecessor.
            self.append_locked(&mut tail, Group::Link, Medium::Call)?;
        }
        Ok(Some(tail.advance()))
    }

    /// Appends these records with one write, and returns where the last one ends.
    ///
    /// When this returns they survive the process; after a [`sync`](Wal::sync) up to the returned
    /// position they survive the machine.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if they do not fit [`remaining`](Wal::remaining), one is too
    /// long, or sequences do not ascend: nothing was written. [`Error::Io`] with
    /// [`is_no_space`](Error::is_no_space): these records are not part of the log once the next
    /// segment is in use, and the active segment takes no more: see
    /// [`needs_rotation`](Wal::needs_rotation). Any other [`Error::Io`] ends the log; whether the
    /// records are in it shows at the next open.
    pub fn append(&self, records: &[Record<'_>]) -> Result<Lsn> {
        self.append_by(records, Medium::Call)
    }

    /// Like [`append`](Wal::append), by the medium that is said to be the better one.
    ///
    /// # Errors
    /// As [`append`](Wal::append).
    pub fn append_by(&self, records: &[Record<'_>], medium: Medium) -> Result<Lsn> {
        let mut tail = self.tail.lock();
        self.check_poison()?;
        tail.check_open()?;
        tail.check_group(records)?;
        if records.is_empty() {
            return Ok(self.appended_lsn());
        }
        self.append_locked(&mut tail, Group::Data(records), medium)
    }

    /// Makes everything up to `upto` survive a power loss, and with it whatever else was appended
    /// before the call. Runs beside appends. Of several callers one syncs, and the others find
    /// their part done or take the next turn.
    ///
    /// # Errors
    /// [`Error::Io`] if a sync failed, now or earlier: the log is at its end, and what was
    /// appended beyond [`synced_lsn`](Wal::synced_lsn) shows at the next open.
    /// [`Error::InvalidArgument`] if `upto` was never appended.
    pub fn sync(&self, upto: Lsn) -> Result<()> {
        let _turn = self.syncing.lock();
        self.check_poison()?;
        let synced = self.synced_lsn();
        if upto <= synced {
            return Ok(());
        }
        let (segments, target) = {
            let tail = self.tail.lock();
            (tail.unsynced(synced), self.marks.lock().appended)
        };
        if target < upto {
            return Err(Error::invalid(format!("{upto} is beyond the end of the log, {target}")));
        }
        let sync =
            |file: &dyn lsm_base::File| plant::again(Plant::SyncTriedAgain, || file.sync_data());
        for segment in segments {
            if plant::is_live(Plant::HoleInLog) && segment.number != target.segment {
                continue;
            }
            plant::unless(Plant::LogNotSynced, || sync(&*segment.file))
                .map_err(|error| self.poison_with(error))?;
        }
        // Files are closed, and their maps undone, under no lock.
        let _left = self.tail.lock().note_synced(target);
        self.marks.lock().synced = target;
        Ok(())
    }

    /// Whether another [`writeback_bytes`](WalOptions::writeback_bytes) were appended since this was
    /// last asked, so that [`start_writeback`](Wal::start_writeback) has something to do.
    #[must_use]
    pub fn take_writeback_request(&self) -> bool {
        self.tail.lock().take_writeback_request()
    }

    /// Asks the system to begin writing to disk what was appended, as far as enough of it gathered;
    /// returns how many bytes that were. It is advice: what becomes of them is for a
    /// [`sync`](Wal::sync) to say.
    ///
    /// Slow where the disk is busy, since the caller queues the writes: for a background thread,
    /// outside of any lock that writers need. Appends and syncs run beside it.
    pub fn start_writeback(&self) -> u64 {
        let mut pushed = 0;
        while self.poison.get().is_none() {
            let Some((file, range)) = self.tail.lock().take_unpushed() else { break };
            let len = range.end - range.start;
            // Only advice, as said above.
            let _ = file.start_writeback(range.start, len);
            pushed += len;
        }
        pushed
    }

    /// Ends the log: syncs it, appends the end trailer and syncs that. Returns where the trailer
    /// ends, for [`ReplayFrom::clean_end`](crate::ReplayFrom::clean_end). No append follows.
    ///
    /// # Errors
    /// As [`append`](Wal::append) and [`sync`](Wal::sync). The log is not clean then, and will be
    /// replayed as after a crash.
    pub fn close(&self) -> Result<Lsn> {
        {
            let mut tail = self.tail.lock();
            self.check_poison()?;
            tail.check_open()?;
            if tail.active.is_spoiled() && tail.is_ready(0) {
                tail.advance();
            }
            tail.close();
        }
        // The trailer's header shall testify that all before it was on disk.
        self.sync(self.appended_lsn())?;
        let end = self.append_locked(&mut self.tail.lock(), Group::End, Medium::Call)?;
        self.sync(end)?;
        Ok(end)
    }

    /// Ends a log of which nothing is needed any more: nothing is written or synced for that. Returns
    /// the beginning of a segment behind all that there are. No append follows.
    ///
    /// When the MANIFEST says so, a [`release`](Wal::release) below that segment removes all of them.
    /// With it as the floor, and the place as [`clean_end`](crate::ReplayFrom::clean_end), a replay
    /// finds a log that is whole and empty.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the log was closed before; [`Error::Io`] if it is at its end.
    pub fn retire(&self) -> Result<Lsn> {
        // Whoever makes a segment ready comes to an end first.
        let _epochs = self.epochs.lock();
        let mut tail = self.tail.lock();
        self.check_poison()?;
        tail.check_open()?;
        tail.retire();
        Ok(Lsn::new(tail.newest() + 1, FILE_HEADER_LEN))
    }

    /// Removes this log's segments with numbers below `below`; returns how many files that were.
    /// What they hold must be durable elsewhere, and the MANIFEST must say so.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the active segment is among them and the log was not
    /// [retired](Wal::retire); [`Error::Io`] if a file cannot be removed, and a later call tries
    /// again.
    pub fn release(&self, below: u64) -> Result<u32> {
        let mut removed = 0;
        if plant::is_live(Plant::LogNeverReleased) {
            return Ok(removed);
        }
        loop {
            // One segment a turn: no file is removed under the lock that appends need.
            let (oldest, _left) = {
                let mut tail = self.tail.lock();
                tail.check_release(below)?;
                (tail.oldest, tail.take_sealed_below(below))
            };
            if below <= oldest {
                return Ok(removed);
            }
            let path = FileName::Log(oldest).path(&self.dir);
            removed += u32::from(remove_if_present(&*self.fs, &path)?);
            let mut tail = self.tail.lock();
            tail.oldest = tail.oldest.max(oldest + 1);
        }
    }

    /// Bytes of records that the active segment can still take.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.tail.lock().active.remaining()
    }

    /// The length of the active segment, in bytes.
    #[must_use]
    pub fn active_len(&self) -> u64 {
        self.tail.lock().active.segment.capacity
    }

    /// Bytes that a record with a payload of `payload_len` bytes takes.
    #[must_use]
    pub const fn record_len(payload_len: u64) -> u64 {
        record_len(payload_len)
    }

    /// Whether the disk was full during an append, so that only a new segment can take records:
    /// [`prepare`](Wal::prepare) until it succeeds, then [`rotate`](Wal::rotate).
    #[must_use]
    pub fn needs_rotation(&self) -> bool {
        self.tail.lock().active.is_spoiled()
    }

    /// The end of the last record on disk: everything before it survives a power loss.
    #[must_use]
    pub fn synced_lsn(&self) -> Lsn {
        self.marks.lock().synced
    }

    /// The end of the last record appended.
    #[must_use]
    pub fn appended_lsn(&self) -> Lsn {
        self.marks.lock().appended
    }

    /// The number of the segment that takes records.
    #[must_use]
    pub fn active_segment(&self) -> u64 {
        self.tail.lock().active.segment.number
    }

    /// Writes a group, or one record of the log's own, behind the tail.
    fn append_locked(&self, tail: &mut Tail, group: Group<'_>, medium: Medium) -> Result<Lsn> {
        let end = tail
            .write(group, self.synced_lsn(), medium)
            .map_err(|error| if error.is_no_space() { error } else { self.poison_with(error) })?;
        // A sync that failed meanwhile speaks for what was appended beside it too.
        self.check_poison()?;
        self.marks.lock().appended = end;
        Ok(end)
    }

    fn prepare_failed(&self, error: PrepareError) -> Error {
        match error {
            PrepareError::Sync(error) => self.poison_with(error),
            PrepareError::Other(error) => error,
        }
    }

    /// Ends the log; returns what ended it, which may be an earlier error.
    fn poison_with(&self, error: Error) -> Error {
        self.poison.get_or_init(|| error).clone()
    }

    fn check_poison(&self) -> Result<()> {
        self.poison.get().map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("dir", &self.dir)
            .field("appended", &self.appended_lsn())
            .field("synced", &self.synced_lsn())
            .field("poison", &self.poison.get())
            .finish_non_exhaustive()
    }
}

impl WalOptions {
    /// How long a segment may be that can take `records_len` bytes of records beside its own.
    fn sizes_for(&self, records_len: u64) -> Result<SegmentSizes> {
        let own = FILE_HEADER_LEN + LINK_RECORD_LEN + END_RECORD_LEN;
        let needed = records_len.saturating_add(own);
        let usual = needed.max(self.segment_size);
        if MAX_FILE_LEN < usual {
            let detail = format!("a log segment of {usual} bytes; at most {MAX_FILE_LEN}");
            return Err(Error::invalid(detail));
        }
        let least = needed.max(SMALL_SEGMENT.min(self.segment_size));
        Ok(SegmentSizes { usual: usual.next_multiple_of(8), least: least.next_multiple_of(8) })
    }

    const fn header(&self, number: u64, epoch: u64, sizes: SegmentSizes) -> FileHeader {
        let (kind, capacity, owner) = (FileKind::Segment, sizes.usual, self.owner);
        FileHeader { kind, number, epoch, capacity, owner }
    }
}

/// How long a segment is to be, and how long it must be at least, in bytes.
#[derive(Clone, Copy)]
struct SegmentSizes {
    usual: u64,
    least: u64,
}

/// The length of a segment on a disk that is nearly full, in bytes, if segments are not smaller anyway.
pub const SMALL_SEGMENT: u64 = 1 << 20;

fn check_number(number: u64) -> Result<()> {
    if (1..FILE_NUMBER_END).contains(&number) {
        Ok(())
    } else {
        Err(Error::invalid(format!("{number} is no number of a log segment")))
    }
}

#[cfg(test)]
mod tests;
