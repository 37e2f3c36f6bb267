//! Segment files: how one comes into being, and how it goes.
//!
//! 1. Under its temporary name a segment gets its full length and its header, and is synced.
//! 2. It is renamed, over an unused one of the same number if there is one.
//! 3. The directory is synced.
//!
//! Invariant: whatever stands under a segment's final name is whole. So a bad header there, or a
//! length other than the capacity, is damage and never the trace of a crash.

use std::path::Path;
use std::sync::Arc;

use lsm_base::plant::{self, Plant};
use lsm_base::{Error, File, FileName, Fs, Result};

use crate::format::{FileHeader, Place};

/// A segment that this process made.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) capacity: u64,
    pub(crate) file: Arc<dyn File>,
}

/// Why a segment was not made.
#[derive(Debug)]
pub(crate) enum PrepareError {
    /// A sync failed: nobody knows what is on disk, and no sync is ever repeated.
    Sync(Error),
    /// Anything else, such as a full disk: it may be tried again.
    Other(Error),
}

impl Segment {
    /// Makes a segment under its temporary name, synced.
    pub(crate) fn write_temp(
        fs: &dyn Fs,
        dir: &Path,
        header: FileHeader,
    ) -> Result<Segment, PrepareError> {
        let FileHeader { number, epoch, capacity, .. } = header;
        let path = FileName::LogTemp(number).path(dir);
        // What a crash, or an attempt on a full disk, left under this name.
        remove_if_present(fs, &path).map_err(PrepareError::Other)?;
        let file = fs.create(&path).map_err(PrepareError::Other)?;
        let segment = Segment { number, epoch, capacity, file };
        let written = segment
            .file
            .allocate(capacity)
            .and_then(|()| segment.file.write_all_at(&header.encode(), 0));
        if let Err(error) = written {
            segment.discard(fs, dir);
            return Err(PrepareError::Other(error));
        }
        plant::unless(Plant::SegmentNotSynced, || {
            plant::again(Plant::SegmentSyncTriedAgain, || segment.file.sync_all())
        })
        .map_err(PrepareError::Sync)?;
        Ok(segment)
    }

    /// Writes the largest segment, of the length that `header` says or less but at least of
    /// `least` bytes, that the disk has space for.
    pub(crate) fn write_largest(
        fs: &dyn Fs,
        dir: &Path,
        mut header: FileHeader,
        least: u64,
    ) -> Result<Segment, PrepareError> {
        loop {
            match Segment::write_temp(fs, dir, header) {
                Err(PrepareError::Other(error))
                    if error.is_no_space() && least < header.capacity =>
                {
                    header.capacity = (header.capacity / 4).next_multiple_of(8).max(least);
                }
                result => return result,
            }
        }
    }

    /// Gives a segment made by [`write_temp`](Segment::write_temp) its name, for good.
    pub(crate) fn install(&self, fs: &dyn Fs, dir: &Path) -> Result<(), PrepareError> {
        let from = FileName::LogTemp(self.number).path(dir);
        if let Err(error) = fs.rename(&from, &FileName::Log(self.number).path(dir)) {
            self.discard(fs, dir);
            return Err(PrepareError::Other(error));
        }
        plant::unless(Plant::SegmentNameNotSynced, || fs.sync_dir(dir)).map_err(PrepareError::Sync)
    }

    /// Removes a segment that still has its temporary name.
    pub(crate) fn discard(&self, fs: &dyn Fs, dir: &Path) {
        // The error that led here is the one to report; the next attempt removes what stays.
        let _ = fs.remove(&FileName::LogTemp(self.number).path(dir));
    }

    /// The place at `offset`.
    pub(crate) const fn place(&self, offset: u64) -> Place {
        Place { number: self.number, epoch: self.epoch, offset }
    }
}

/// Removes every segment in `dir` with a number below `below`, and the temporary files of such;
/// returns how many files that were.
///
/// For an engine that has brought a recovered log into tables and has written so into its
/// MANIFEST. The directory needs no sync: a segment that comes back is below the log's floor.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be listed or a file not be removed; the rest stays then.
pub fn remove_segments(fs: &dyn Fs, dir: &Path, below: u64) -> Result<u32> {
    let mut removed = 0;
    for entry in fs.list(dir)?.into_iter().filter(|entry| entry.is_file) {
        let Some(name) = FileName::parse(&entry.name) else { continue };
        match name {
            FileName::Log(number) | FileName::LogTemp(number) if number < below => {
                fs.remove(&name.path(dir))?;
                removed += 1;
            }
            _ => {}
        }
    }
    Ok(removed)
}

/// Removes a file; that there is none is no error. Whether there was one.
pub(crate) fn remove_if_present(fs: &dyn Fs, path: &Path) -> Result<bool> {
    match fs.remove(path) {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
