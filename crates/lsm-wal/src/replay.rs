//! Reading the log back after a crash, or after a clean close.
//!
//! 1. *Survey.* Every segment from the MANIFEST's floor on is opened, and its header and first
//!    record are read. The first record, the link, says where the segment before it ends.
//! 2. *Judge.* Every segment is read up to its end or its first damage; behind damage the rest is
//!    searched for record headers. The log is whole up to a position E. All that is known to have
//!    been synced ends at S, the furthest `synced_lsn` in the MANIFEST or in any record header.
//!    If E < S something is gone that was promised: that is corruption. Else what stands behind E
//!    is what a crash left of an unsynced tail: it is dropped, and reported.
//! 3. *Deliver.* The records up to E are read once more and handed over.
//!
//! Invariant: nothing is delivered before all is judged, and nothing is ever written.

use std::path::Path;

use lsm_base::file_name::FILE_NUMBER_END;
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, FileName, Fs, Result, Seq};

use crate::lsn::Lsn;

mod check;
mod salvage;
mod segments;
mod verdict;

pub use check::check;
pub use salvage::{LostRecords, Salvaged, salvage};
use segments::{Survey, Walk};
use verdict::Verdict;

/// What the MANIFEST knows of the log. By default nothing is known; a floor there must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplayFrom {
    /// The log's floor: what is in older segments is in tables.
    pub first_segment: u64,
    /// How far the log was known to be synced; [`Lsn::ZERO`] if nothing is known.
    pub synced: Lsn,
    /// The highest segment number known to have been made ready or used; 0 if none. Every segment
    /// from the floor to this one must exist.
    pub highest_used: u64,
    /// Whether no segment above `highest_used` can hold a record, since each is written down before
    /// it takes any ([`Wal::install`](crate::Wal::install)). One that is there was not used then, and
    /// says nothing of those before it; by default, it says that the one before it was in use.
    pub names_all: bool,
    /// What [`Wal::close`](crate::Wal::close) or [`Wal::retire`](crate::Wal::retire) returned, if the
    /// log was ended.
    pub clean_end: Option<Lsn>,
    /// The log's [`owner`](crate::WalOptions::owner).
    pub owner: u128,
}

/// A record of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplayRecord<'a> {
    /// Where it begins.
    pub lsn: Lsn,
    /// The sequence that it was appended with.
    pub first_seq: Seq,
    /// The bytes that it was appended with.
    pub payload: &'a [u8],
}

/// What a replay found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayReport {
    /// How many records were delivered.
    pub records: u64,
    /// The bytes of their payloads.
    pub bytes: u64,
    /// How many record headers stand in what was dropped. Records whose headers are gone are not
    /// among them.
    pub dropped_records: u64,
    /// How many bytes were dropped: in each segment from where the log ended to the last byte that
    /// is not zero.
    pub dropped_bytes: u64,
    /// Where the log ends.
    pub end: Lsn,
    /// The first sequence of the last record delivered; [`Seq::ZERO`] if there was none. How many
    /// sequences that record covers only the caller can tell.
    pub last_record_seq: Seq,
    /// The number for the first segment of the log that follows: above all that exist.
    pub next_segment: u64,
    /// Why something was dropped, and where; `None` if nothing was.
    pub reason: Option<String>,
}

/// Delivers every record of the log in `dir` that survived, in the order of appending.
///
/// If the log was not closed, what was not synced may be missing from the end, and only from the
/// end. The log is only read. Bring what was delivered into tables, begin a new log at
/// [`ReplayReport::next_segment`], write that into the MANIFEST, then
/// [`remove_segments`](crate::remove_segments).
///
/// # Errors
/// - [`Error::Corruption`] if something is damaged or gone that was synced, or anything at all in
///   a log that was closed, or if a segment belongs to another owner;
/// - [`Error::MissingFile`] if a segment between the floor and the highest one used is gone;
/// - [`Error::UnsupportedFormat`] if a segment is of a newer format;
/// - [`Error::Io`] if reading fails;
/// - [`Error::InvalidArgument`] if the floor is no number of a segment;
/// - whatever `deliver` answers. Unless it did, nothing was delivered when this fails, or bytes
///   changed between two readings.
pub fn replay(
    fs: &dyn Fs,
    dir: &Path,
    from: ReplayFrom,
    deliver: &mut dyn FnMut(ReplayRecord<'_>) -> Result<()>,
) -> Result<ReplayReport> {
    if FILE_NUMBER_END <= from.first_segment {
        return Err(Error::invalid(format!("{} is no log segment", from.first_segment)));
    }
    let survey = Survey::take(fs, dir, &from)?;
    let verdict = Verdict::pass(fs, dir, &survey, &from)?;
    let mut delivered = Walk::default();
    let mut extents: Vec<_> = verdict.extents(&survey).collect();
    if plant::is_live(Plant::ReplayedInWrongOrder) {
        extents.reverse();
    }
    for (number, end) in extents {
        let mut file = segments::open(fs, dir, number, from.owner)?;
        let walk = segments::walk(&mut file, Some(end), deliver)?;
        if walk.end != end {
            return Err(file.corruption(walk.end, "changed while it was read"));
        }
        delivered.add(&walk);
    }
    Ok(ReplayReport {
        records: delivered.records,
        bytes: delivered.bytes,
        dropped_records: verdict.dropped_records,
        dropped_bytes: verdict.dropped_bytes,
        end: verdict.end,
        last_record_seq: delivered.last_record_seq,
        next_segment: survey.next_segment,
        reason: verdict.reason,
    })
}

fn corruption_at(dir: &Path, lsn: Lsn, detail: impl Into<String>) -> Error {
    Error::corruption(&FileName::Log(lsn.segment).path(dir), lsn.offset, detail)
}

#[cfg(test)]
mod tests;
