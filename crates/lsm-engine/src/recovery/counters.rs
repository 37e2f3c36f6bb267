//! The counters that an open goes on with: file numbers, segments, sequences.
//!
//! Invariant: an open that may write finds enough of each for as long as it lasts. A store does not
//! come near their end by itself, so what says that it did is refused, by its name.

use std::path::Path;

use lsm_base::file_name::FILE_NUMBER_END;
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, FileName, Result, Seq};
use lsm_compaction::State;

use super::files::Files;
use super::{Recovery, file_number};
use crate::file_numbers::KEPT_FREE;

/// How far sequences jump after an open that was not preceded by a close: further than any writes
/// that were handed out and lost.
const UNCLEAN_JUMP: u64 = 1 << 32;

/// The last sequence that an open may begin at; a million writes a second take nine years from here
/// to the end.
const LAST_FIRST_SEQ: u64 = Seq::MAX.get() - (1 << 48);

/// The last number of a file behind which there are enough.
const LAST_NUMBER: u64 = FILE_NUMBER_END - KEPT_FREE;

impl Recovery<'_> {
    /// Refuses a directory whose files, or a MANIFEST whose records, leave too little.
    pub(super) fn check_counters(&self, files: &Files, manifest: u64, state: &State) -> Result<()> {
        let too_far = |name: FileName, what: &str| {
            Err(Error::corruption(&name.path(self.dir), 0, format!("{what}: too few are left")))
        };
        let (floor, close) = (state.log_floor, state.clean_close.unwrap_or_default());
        let segments = [floor.first_segment, floor.highest_segment, close.segment];
        if LAST_NUMBER < state.next_file_number {
            return too_far(FileName::Manifest(manifest), "file numbers come near their end");
        }
        if segments.iter().any(|segment| LAST_NUMBER < *segment) {
            return too_far(FileName::Manifest(manifest), "log segments come near their end");
        }
        next_seq(state, state.last_seq, &FileName::Manifest(manifest).path(self.dir))?;
        let stray = files.names().find(|file| {
            let number = match file {
                FileName::Log(number) => Some(*number),
                _ => file_number(*file),
            };
            number.is_some_and(|number| LAST_NUMBER < number)
        });
        match stray {
            Some(file) => too_far(file, "a number near the end"),
            None => Ok(()),
        }
    }
}

/// The first sequence that this open may hand out, after `last_seq`, of which `path` tells.
pub(super) fn next_seq(state: &State, last_seq: Seq, path: &Path) -> Result<Seq> {
    let behind_all = (last_seq.get() + 1).max(state.first_seq.get());
    let first = match state.clean_close {
        Some(_) => behind_all,
        None if plant::is_live(Plant::SequenceHandedOutTwice) => last_seq.get() + 1,
        None => behind_all + UNCLEAN_JUMP,
    };
    if LAST_FIRST_SEQ < first {
        let detail = format!("the next sequence is {first}: too few are left");
        return Err(Error::corruption(path, 0, detail));
    }
    Ok(Seq::new(first))
}
