//! Reading a log that is in use, to see whether it is as it was written.

use std::path::Path;

use lsm_base::{Error, FileName, Fs, Result};

use super::{corruption_at, segments};
use crate::format::FILE_HEADER_LEN;
use crate::lsn::Lsn;
use crate::scan::RecordFile;

/// Reads every record from the beginning of `first_segment` up to `upto`, and the headers of the
/// segments behind that, all of which must belong to `owner`; returns how many data records there
/// are.
///
/// Appends may go on meanwhile: what stands behind `upto`, which the log was synced to, is not
/// looked at, and neither is anything concluded from it. `note_read` is called with the place of each
/// record.
///
/// # Errors
/// [`Error::Corruption`] for the first record or header that is not whole, [`Error::MissingFile`],
/// [`Error::Io`].
pub fn check(
    fs: &dyn Fs,
    dir: &Path,
    owner: u128,
    first_segment: u64,
    upto: Lsn,
    note_read: &mut dyn FnMut(Lsn),
) -> Result<u64> {
    let open = |number| open(fs, dir, owner, number);
    let mut records = 0;
    for number in first_segment..=upto.segment {
        let mut file = open(number)?;
        // Where a segment ends the next one says, but for the last.
        let end = match number == upto.segment {
            true => upto.offset,
            false => end_by_link(dir, &mut open(number + 1)?, number)?,
        };
        if file.len() < end {
            let detail = format!("the log goes on to {end} of a segment that ends before");
            return Err(file.corruption(file.len(), detail));
        }
        let walk = segments::walk(&mut file, Some(end), &mut |record| {
            note_read(record.lsn);
            Ok(())
        })?;
        if walk.end != end {
            let why = walk.stop.unwrap_or("a record ends elsewhere");
            let detail = format!("{why}, but the log was synced up to {upto}");
            return Err(file.corruption(walk.end, detail));
        }
        records += walk.records;
    }
    let mut number = first_segment.max(upto.segment + 1);
    while fs.exists(&FileName::Log(number).path(dir))? {
        open(number)?;
        number += 1;
    }
    Ok(records)
}

/// Where the segment `number` ends, as `next` says.
fn end_by_link(dir: &Path, next: &mut RecordFile, number: u64) -> Result<u64> {
    let link = segments::read_link(next)?;
    match link.filter(|link| link.segment == number) {
        Some(link) => Ok(link.length),
        None => {
            let at = Lsn::new(number + 1, FILE_HEADER_LEN);
            Err(corruption_at(dir, at, "the first record is no link to the segment before"))
        }
    }
}

fn open(fs: &dyn Fs, dir: &Path, owner: u128, number: u64) -> Result<RecordFile> {
    segments::open(fs, dir, number, owner).map_err(|error| match error.is_not_found() {
        true => Error::MissingFile(FileName::Log(number).path(dir)),
        false => error,
    })
}
