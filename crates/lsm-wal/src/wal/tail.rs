//! The end of the log: the segment that takes records, the one that will be next, and those that
//! were left behind unsynced.
//!
//! Invariant: `active.end` is the end of the last whole record that the log stands for. A write
//! that failed for want of space leaves it where it was and spoils the segment; what that write
//! left behind it is cut off by the next segment, whose link names `active.end`.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use lsm_base::plant::{self, Plant};
use lsm_base::{Error, File, Result, Seq};

use super::{Medium, Record, WalOptions};
use crate::format::{
    END_RECORD_LEN, FILE_HEADER_LEN, LINK_RECORD_LEN, Link, MAX_FILE_LEN, MAX_PAYLOAD_LEN,
    RecordKind, encode_record, record_len,
};
use crate::lsn::Lsn;
use crate::segment::Segment;

/// A buffer of a larger group is given back to the allocator after use.
const MAX_KEPT_BUFFER: usize = 1 << 20;

/// After a sync, so many bytes are written by calls before the map is used again: a page that was written
/// to disk costs a fault.
const CALLS_AFTER_SYNC: u64 = 64 << 10;

/// Longer groups are written by a call: it costs less than a fault for each of their pages.
const MAX_MAPPED_LEN: usize = 4096;

/// Write-back ends at page boundaries: the last page will be written again.
const PAGE_LEN: u64 = 4096;

/// What `Wal` guards by its `tail` lock.
pub(super) struct Tail {
    pub(super) active: Active,
    /// The lowest number of this log whose file may exist.
    pub(super) oldest: u64,
    ready: Option<Segment>,
    /// Segments left behind, oldest first.
    sealed: VecDeque<Active>,
    last_seq: Seq,
    buffer: Vec<u8>,
    /// How many bytes are pushed at once, a multiple of a page; 0: none are.
    stretch: u64,
    /// Whether another stretch was filled since somebody last asked.
    is_writeback_wanted: bool,
    state: State,
}

/// What the log still takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// No records: it is to be read as it is.
    Closed,
    /// No records, and nothing in it is needed.
    Retired,
}

/// What one write puts behind the tail.
#[derive(Clone, Copy)]
pub(super) enum Group<'a> {
    /// Nothing but the link of a segment that is still empty.
    Link,
    /// The caller's records.
    Data(&'a [Record<'a>]),
    /// The end trailer.
    End,
}

/// The segment that takes records, or did.
pub(super) struct Active {
    pub(super) segment: Segment,
    /// What its first record says.
    link: Link,
    end: u64,
    /// Up to here the system was asked to write to disk, or is just being asked.
    pushed: u64,
    /// From here on groups may be written through a map.
    map_from: u64,
    /// The full disk that ended this segment.
    spoiled: Option<Error>,
}

impl Tail {
    pub(super) fn new(active: Active, options: WalOptions) -> Tail {
        Tail {
            oldest: active.segment.number,
            active,
            ready: None,
            sealed: VecDeque::new(),
            last_seq: Seq::ZERO,
            buffer: Vec::new(),
            stretch: options.writeback_bytes.min(MAX_FILE_LEN).next_multiple_of(PAGE_LEN),
            is_writeback_wanted: false,
            state: State::Open,
        }
    }

    pub(super) fn check_open(&self) -> Result<()> {
        match self.state {
            State::Open => Ok(()),
            State::Closed | State::Retired => Err(Error::invalid("the log is closed")),
        }
    }

    pub(super) fn close(&mut self) {
        self.state = State::Closed;
    }

    pub(super) fn retire(&mut self) {
        self.state = State::Retired;
    }

    /// The highest number of this log whose file may exist.
    pub(super) fn newest(&self) -> u64 {
        let active = self.active.segment.number;
        self.ready.as_ref().map_or(active, |ready| ready.number.max(active))
    }

    /// Whether the segments below `below` may go.
    pub(super) fn check_release(&self, below: u64) -> Result<()> {
        let end = match self.state {
            State::Retired => self.newest() + 1,
            State::Open | State::Closed => self.active.segment.number,
        };
        if below <= end { Ok(()) } else { Err(Error::invalid("the log segment is in use")) }
    }

    /// Whether these records may be appended as they are.
    pub(super) fn check_group(&self, records: &[Record<'_>]) -> Result<()> {
        let mut last_seq = self.last_seq;
        let mut len = 0;
        for record in records {
            if MAX_PAYLOAD_LEN < record.payload.len() as u64 {
                let detail = format!("a log record of {} bytes", record.payload.len());
                return Err(Error::invalid(detail));
            }
            if record.first_seq <= last_seq {
                let detail = format!("sequence {} after {last_seq}", record.first_seq);
                return Err(Error::invalid(detail));
            }
            last_seq = record.first_seq;
            len += record_len(record.payload.len() as u64);
        }
        if let Some(error) = &self.active.spoiled {
            return Err(error.clone());
        }
        if self.active.remaining() < len {
            let detail = format!("{len} bytes do not fit segment {}", self.active.segment.number);
            return Err(Error::invalid(detail));
        }
        Ok(())
    }

    /// Writes a group behind the last record with one write, which begins with the link where the
    /// segment is still empty; returns the new end.
    pub(super) fn write(&mut self, group: Group<'_>, synced: Lsn, medium: Medium) -> Result<Lsn> {
        if let Some(error) = &self.active.spoiled {
            return Err(error.clone());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        self.active.encode(&mut buffer, group, synced);
        let written = self.active.put(&buffer, medium);
        let len = buffer.len() as u64;
        if buffer.capacity() <= MAX_KEPT_BUFFER {
            buffer.clear();
            self.buffer = buffer;
        }
        if let Err(error) = written {
            if plant::is_live(Plant::AppendedBehindRemains) && error.is_no_space() {
                self.active.end += len;
                return Err(error);
            }
            self.spoil(error.clone());
            return Err(error);
        }
        let filled = self.active.end.checked_div(self.stretch);
        self.active.end += len;
        // One wish for each stretch, however long it takes until somebody has time for it.
        self.is_writeback_wanted |= filled != self.active.end.checked_div(self.stretch);
        if let Group::Data([.., last]) = group {
            self.last_seq = last.first_seq;
        }
        Ok(Lsn::new(self.active.segment.number, self.active.end))
    }

    /// Leaves the active segment for the ready one.
    ///
    /// # Panics
    /// If none is ready.
    pub(super) fn advance(&mut self) -> u64 {
        let next = self.ready.take().expect("the caller saw a ready segment");
        let link = self.active.successor_link(self.last_seq);
        let number = next.number;
        let left = std::mem::replace(&mut self.active, Active::new(next, link));
        if !left.is_empty() {
            self.sealed.push_back(left);
        }
        number
    }

    pub(super) fn is_ready(&self, min_capacity: u64) -> bool {
        self.ready.as_ref().is_some_and(|segment| min_capacity <= room(segment))
    }

    /// The number that the next segment must have. A segment that was spoiled before it held a
    /// whole record never came into use: its number is given out again.
    pub(super) fn next_number(&self) -> u64 {
        let number = self.active.segment.number;
        if self.active.is_spoiled() && self.active.is_empty() { number } else { number + 1 }
    }

    /// Takes the ready segment away, if `number` is still the next.
    pub(super) fn withdraw_ready(&mut self, number: u64) -> bool {
        let is_next = self.next_number() == number;
        if is_next {
            self.ready = None;
        }
        is_next
    }

    /// Makes `segment` the ready one, if its number is still the next.
    pub(super) fn offer_ready(&mut self, segment: Segment) -> bool {
        let is_next = self.next_number() == segment.number;
        if is_next {
            self.ready = Some(segment);
        }
        is_next
    }

    /// The segments that hold records beyond `synced`, oldest first.
    pub(super) fn unsynced(&self, synced: Lsn) -> Vec<Segment> {
        let active = (!self.active.is_empty()).then_some(&self.active);
        let written = self.sealed.iter().chain(active);
        written
            .filter(|written| synced < Lsn::new(written.segment.number, written.end))
            .map(|written| written.segment.clone())
            .collect()
    }

    /// The next range that the system is to be asked to write to disk, oldest first. Whoever takes
    /// it asks.
    pub(super) fn take_unpushed(&mut self) -> Option<(Arc<dyn File>, Range<u64>)> {
        let stretch = self.stretch;
        let mut written = self.sealed.iter_mut().chain([&mut self.active]);
        written.find_map(|written| {
            let range = written.take_unpushed(stretch)?;
            Some((Arc::clone(&written.segment.file), range))
        })
    }

    pub(super) fn take_writeback_request(&mut self) -> bool {
        std::mem::take(&mut self.is_writeback_wanted)
    }

    /// Notes that everything up to `synced` is on disk. Returns the segments that nobody will sync again,
    /// for the caller to drop behind the lock.
    pub(super) fn note_synced(&mut self, synced: Lsn) -> Vec<Active> {
        if self.active.segment.number == synced.segment {
            self.active.map_from = self.active.end + CALLS_AFTER_SYNC;
        }
        self.take_sealed_below(synced.segment)
    }

    /// Takes away the sealed segments with lower numbers.
    pub(super) fn take_sealed_below(&mut self, number: u64) -> Vec<Active> {
        let count = self.sealed.partition_point(|sealed| sealed.segment.number < number);
        self.sealed.drain(..count).collect()
    }

    #[cfg(test)]
    pub(super) const fn buffer_capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn spoil(&mut self, error: Error) {
        self.active.spoiled = Some(error);
        if self.active.is_empty() {
            // It was made to follow the number that now has to be made again.
            self.ready = None;
        }
    }
}

impl Active {
    pub(super) const fn new(segment: Segment, link: Link) -> Active {
        let start = FILE_HEADER_LEN;
        Active { segment, link, end: start, pushed: 0, map_from: start, spoiled: None }
    }

    /// Whether it holds no whole record.
    pub(super) const fn is_empty(&self) -> bool {
        self.end == FILE_HEADER_LEN
    }

    pub(super) const fn is_spoiled(&self) -> bool {
        self.spoiled.is_some()
    }

    /// Whether nothing was ever written to it.
    pub(super) const fn is_unused(&self) -> bool {
        self.is_empty() && !self.is_spoiled()
    }

    pub(super) const fn remaining(&self) -> u64 {
        if self.is_spoiled() {
            return 0;
        }
        let link = if self.is_empty() { LINK_RECORD_LEN } else { 0 };
        // The end trailer always fits.
        self.segment.capacity - self.end - link - END_RECORD_LEN
    }

    /// Puts encoded records behind the last one.
    fn put(&self, bytes: &[u8], medium: Medium) -> Result<()> {
        let file = &self.segment.file;
        let may_be_mapped = self.map_from <= self.end && bytes.len() <= MAX_MAPPED_LEN;
        match medium {
            Medium::Map if may_be_mapped => file.write_all_mapped_at(bytes, self.end),
            Medium::Map | Medium::Call => file.write_all_at(bytes, self.end),
        }
    }

    fn encode(&self, buffer: &mut Vec<u8>, group: Group<'_>, synced: Lsn) {
        let mut place = self.segment.place(self.end);
        let mut put = |kind, first_seq, payload: &[u8]| {
            encode_record(buffer, place, kind, first_seq, synced, payload);
            place = place.plus(record_len(payload.len() as u64));
        };
        if self.is_empty() {
            put(RecordKind::Link, Seq::ZERO, &self.link.encode());
        }
        match group {
            Group::Link => {}
            Group::Data(records) => {
                for record in records {
                    put(RecordKind::Data, record.first_seq, record.payload);
                }
            }
            Group::End => put(RecordKind::End, Seq::ZERO, &[]),
        }
    }

    /// What the first record of the next segment says.
    fn successor_link(&self, last_seq: Seq) -> Link {
        if self.is_empty() {
            // Spoiled while empty: the next segment takes its place.
            return self.link;
        }
        let Segment { number, epoch, .. } = self.segment;
        Link { segment: number, epoch, length: self.end, last_seq }
    }

    fn take_unpushed(&mut self, stretch: u64) -> Option<Range<u64>> {
        let upto = self.end.checked_div(stretch)? * stretch;
        let from = std::mem::replace(&mut self.pushed, upto);
        (from < upto).then_some(from..upto)
    }
}

/// Bytes of records that an unused segment can take.
const fn room(segment: &Segment) -> u64 {
    segment.capacity - FILE_HEADER_LEN - LINK_RECORD_LEN - END_RECORD_LEN
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A file that counts how it is written to.
    #[derive(Debug, Default)]
    struct Counted {
        by_call: AtomicU64,
        by_map: AtomicU64,
    }

    impl File for Counted {
        fn path(&self) -> &Path {
            Path::new("000001.log")
        }

        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn write_at(&self, buf: &[u8], _: u64) -> io::Result<usize> {
            self.by_call.fetch_add(1, Ordering::Relaxed);
            Ok(buf.len())
        }

        fn write_mapped_at(&self, buf: &[u8], _: u64) -> io::Result<usize> {
            self.by_map.fetch_add(1, Ordering::Relaxed);
            Ok(buf.len())
        }

        fn allocate(&self, _: u64) -> Result<()> {
            Ok(())
        }

        fn sync_data(&self) -> Result<()> {
            Ok(())
        }

        fn sync_all(&self) -> Result<()> {
            Ok(())
        }

        fn start_writeback(&self, _: u64, _: u64) -> Result<()> {
            Ok(())
        }

        fn len(&self) -> Result<u64> {
            Ok(1 << 20)
        }

        fn descriptor(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }

    #[test]
    fn the_map_is_left_alone_for_a_while_after_a_sync() {
        let file = Arc::new(Counted::default());
        let shared: Arc<dyn File> = Arc::<Counted>::clone(&file);
        let segment = Segment { number: 1, epoch: 1, capacity: 1 << 20, file: shared };
        let mut tail = Tail::new(Active::new(segment, Link::BEGIN), WalOptions::default());
        let (mut seq, mut end) = (0, Lsn::ZERO);
        let mut count = |tail: &mut Tail, medium| {
            let before = [&file.by_call, &file.by_map].map(|count| count.load(Ordering::Relaxed));
            for _ in 0..100 {
                seq += 1;
                let record = [Record { first_seq: Seq::new(seq), payload: &[7; 984] }];
                end = tail.write(Group::Data(&record), Lsn::ZERO, medium).unwrap();
            }
            let now = [&file.by_call, &file.by_map].map(|count| count.load(Ordering::Relaxed));
            (end, (now[0] - before[0], now[1] - before[1]))
        };
        assert_eq!(count(&mut tail, Medium::Map).1, (0, 100));
        let (end, counts) = count(&mut tail, Medium::Call);
        assert_eq!(counts, (100, 0));
        assert!(tail.note_synced(end).is_empty());
        // Records of 1 KiB.
        assert_eq!(count(&mut tail, Medium::Map).1, (64, 36));
        // A sync of what was left behind long ago says nothing of this segment.
        tail.note_synced(Lsn::ZERO);
        assert_eq!(count(&mut tail, Medium::Map).1, (0, 100));
        let group: Vec<_> = (1_000..1_005)
            .map(|seq| Record { first_seq: Seq::new(seq), payload: &[7; 984] })
            .collect();
        let calls = file.by_call.load(Ordering::Relaxed);
        tail.write(Group::Data(&group), Lsn::ZERO, Medium::Map).unwrap();
        assert_eq!(file.by_call.load(Ordering::Relaxed), calls + 1);
    }
}
