//! What a log still gives that [`replay`](super::replay) refuses: every record that is whole, and
//! where something is lost between them.
//!
//! Behind damage the search goes on at the next record header. A record that is found names its
//! sequence, and with that the place of what is lost: between two sequences. What stands behind the
//! end of a segment as the next one's link tells it was never acknowledged, and is not looked at.
//!
//! Invariant: records come in the order of their sequences, each whole, and what is lost between two
//! of them comes between them; but where only a later record tells that a segment had more, which
//! comes last.

use std::path::Path;

use lsm_base::{Error, FileName, Fs, Result, Seq};

use super::segments::{self, highest_known};
use super::{ReplayFrom, ReplayRecord};
use crate::format::{FILE_HEADER_LEN, RecordKind};
use crate::inspect::{Finding, Inspector, RecordInfo};
use crate::lsn::Lsn;

/// What comes next in a damaged log.
#[derive(Clone, Debug)]
pub enum Salvaged<'a> {
    /// A whole record.
    Record(ReplayRecord<'a>),
    /// A stretch in which there may have been records.
    Lost(LostRecords),
}

/// A stretch of a log that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostRecords {
    /// The segment.
    pub segment: u64,
    /// Where in it the stretch begins.
    pub offset: u64,
    /// How many bytes it has; 0 if the segment is gone.
    pub len: u64,
    /// The first sequence of the last whole record before it; [`Seq::ZERO`] if there is none.
    pub after: Seq,
    /// The first sequence of the next whole record behind it, if there is one.
    pub before: Option<Seq>,
    /// What is wrong.
    pub detail: String,
}

/// Delivers every whole record of the log in `dir`, and what is lost between them.
///
/// Unlike [`replay`](super::replay) it judges nothing: where that succeeds, it is to be used, since
/// here a torn tail counts as lost.
///
/// # Errors
/// [`Error::UnsupportedFormat`] if a segment is of a newer format, [`Error::Io`], and whatever
/// `deliver` answers.
pub fn salvage(
    fs: &dyn Fs,
    dir: &Path,
    from: ReplayFrom,
    deliver: &mut dyn FnMut(Salvaged<'_>) -> Result<()>,
) -> Result<()> {
    let listed = segments::list(fs, dir, from.first_segment)?;
    let highest = highest_known(&from, listed.last().map_or(0, |segment| segment.number));
    let promised = from.synced.max(from.clean_end.unwrap_or_default());
    let mut salvage = Salvage {
        fs,
        dir,
        owner: from.owner,
        deliver,
        last_seq: Seq::ZERO,
        pending: Vec::new(),
        promised,
        ends: Vec::new(),
    };
    let mut expected = from.first_segment;
    for number in segments::may_have_records(&listed, &from) {
        salvage.note_missing(expected, number);
        salvage.read_segment(number)?;
        expected = number + 1;
    }
    salvage.note_missing(expected, highest.saturating_add(1));
    salvage.finish()
}

struct Salvage<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    owner: u128,
    deliver: &'a mut dyn FnMut(Salvaged<'_>) -> Result<()>,
    last_seq: Seq,
    /// What is lost behind the last record.
    pending: Vec<LostRecords>,
    /// How far the log is known to have been synced.
    promised: Lsn,
    ends: Vec<End>,
}

/// Where a segment that could be read ends, its lost stretches included.
struct End {
    lsn: Lsn,
    /// The first sequence of the last whole record before it, and that of the next behind it.
    after: Seq,
    before: Option<Seq>,
}

impl Salvage<'_> {
    fn read_segment(&mut self, number: u64) -> Result<()> {
        let path = FileName::Log(number).path(self.dir);
        let opened = segments::open(self.fs, self.dir, number, self.owner);
        let epoch = match opened {
            Ok(file) => file.header().epoch,
            Err(Error::Corruption { detail, .. }) => {
                // What is no file has no bytes to lose.
                let len = match self.fs.open(&path) {
                    Err(Error::Corruption { .. }) => 0,
                    opened => opened?.len()?,
                };
                self.note_lost(number, 0, len, detail);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let bound = self.bound(number, epoch)?;
        let mut end = FILE_HEADER_LEN;
        for finding in Inspector::open(self.fs, &path)? {
            let (offset, len) = match finding? {
                Finding::Record(record) if record.offset < bound => {
                    let place = (record.offset, record.record_len);
                    self.take(number, record)?;
                    place
                }
                Finding::Gap { offset, content_len, detail, .. }
                    if offset < bound && content_len != 0 =>
                {
                    let len = content_len.min(bound - offset);
                    self.note_lost(number, offset, len, detail.into());
                    (offset, len)
                }
                // Space that was never used, or was given up.
                Finding::Record(_) | Finding::Gap { .. } => break,
            };
            end = offset + len;
        }
        if end < bound && bound != u64::MAX {
            self.note_lost(number, end, bound - end, "no record".into());
            end = bound;
        }
        let (lsn, after) = (Lsn::new(number, end), self.last_seq);
        self.ends.push(End { lsn, after, before: None });
        Ok(())
    }

    /// Where a segment ends, if the link of the next one is there to say so.
    fn bound(&self, number: u64, epoch: u64) -> Result<u64> {
        if !self.fs.exists(&FileName::Log(number + 1).path(self.dir))? {
            return Ok(u64::MAX);
        }
        let link = segments::open(self.fs, self.dir, number + 1, self.owner)
            .and_then(|mut file| segments::read_link(&mut file));
        match link {
            Ok(Some(link)) if link.segment == number && link.epoch == epoch => Ok(link.length),
            Ok(_) | Err(Error::Corruption { .. }) => Ok(u64::MAX),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, number: u64, record: RecordInfo) -> Result<()> {
        self.promised = self.promised.max(record.synced);
        let RecordInfo { offset, record_len, first_seq, .. } = record;
        let Some(payload) = record.payload else {
            self.note_lost(number, offset, record_len, "payload checksum mismatch".into());
            return Ok(());
        };
        if record.kind != RecordKind::Data {
            return Ok(());
        }
        if first_seq <= self.last_seq {
            self.note_lost(number, offset, record_len, "sequences do not ascend".into());
            return Ok(());
        }
        self.tell_lost(Some(first_seq))?;
        self.last_seq = first_seq;
        for end in self.ends.iter_mut().rev().take_while(|end| end.before.is_none()) {
            end.before = Some(first_seq);
        }
        let lsn = Lsn::new(number, offset);
        (self.deliver)(Salvaged::Record(ReplayRecord { lsn, first_seq, payload: &payload }))
    }

    /// Notes that the segments from `first` up to, not including, `end` are gone.
    fn note_missing(&mut self, first: u64, end: u64) {
        if first < end {
            let last = end - 1;
            let detail = match first == last {
                true => "the segment is missing".into(),
                false => format!("the segments up to {} are missing", FileName::Log(last)),
            };
            self.note_lost(first, 0, 0, detail);
        }
    }

    fn note_lost(&mut self, segment: u64, offset: u64, len: u64, detail: String) {
        let after = self.last_seq;
        self.pending.push(LostRecords { segment, offset, len, after, before: None, detail });
    }

    /// Tells what is lost before the record of this sequence, or at the end.
    fn tell_lost(&mut self, before: Option<Seq>) -> Result<()> {
        for lost in self.pending.drain(..) {
            (self.deliver)(Salvaged::Lost(LostRecords { before, ..lost }))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.tell_lost(None)?;
        let Lsn { segment, offset } = self.promised;
        let end = self.ends.iter().find(|end| end.lsn.segment == segment);
        let Some(end) = end.filter(|end| end.lsn.offset < offset) else { return Ok(()) };
        let &End { lsn, after, before } = end;
        let detail = format!("no record, but the log was synced up to {}", self.promised);
        let (offset, len) = (lsn.offset, offset - lsn.offset);
        (self.deliver)(Salvaged::Lost(LostRecords { segment, offset, len, after, before, detail }))
    }
}
