//! Files of ours that nothing names: which may go, and when.
//!
//! Invariant: no file is unlinked that a MANIFEST names which a power loss may bring back.

use std::collections::BTreeSet;

use lsm_base::{FileName, Result};
use lsm_compaction::State;

use super::files::Files;
use super::{Recovered, Recovery, manifest_number};
use crate::manifest::{self, SetCurrentError};
use crate::replay_buffer::ReplayBuffer;

impl Recovery<'_> {
    /// Unlinks tables and log segments that no MANIFEST needs, whichever a power loss leaves, and
    /// returns how many. All that is named is found first.
    ///
    /// The last record of the MANIFEST may stand in the page cache alone, so what it deletes must
    /// stay until a new MANIFEST is synced; and with a newer MANIFEST there, even which one counts
    /// may not be certain. An only record was synced before CURRENT named the MANIFEST, so that is named
    /// once more.
    pub(super) fn remove_certain_orphans(&self, files: &Files) -> Result<u64> {
        let (number, state, _) = self.read_manifest(files)?;
        let newest = files.regular().iter().copied().filter_map(manifest_number).max();
        if newest != Some(number) {
            return Ok(0);
        }
        let settled = match manifest::read_settled(self.fs, self.dir, number)? {
            Some(settled) => settled,
            None if self.name_again(number)? => state.clone(),
            None => return Ok(0),
        };
        // The log may be damaged: then nothing is touched.
        let mut buffer = ReplayBuffer::new(&state, self.options.memtable_size);
        self.replay(&state, &mut buffer, &mut |_| Ok(()))?;
        let tables = |state: &State| -> Vec<u64> {
            state.version.tables().map(|table| table.number).collect()
        };
        let live: BTreeSet<u64> = tables(&state).into_iter().chain(tables(&settled)).collect();
        let first_segment = settled.log_floor.first_segment;
        let mut removed = 0;
        for file in files.regular() {
            let is_orphan = match file {
                FileName::Table(number) => !live.contains(number),
                FileName::Log(number) => *number < first_segment,
                FileName::TableTemp(_) | FileName::LogTemp(_) => true,
                _ => false,
            };
            removed += u64::from(is_orphan && self.unlink(*file));
        }
        Ok(removed)
    }

    /// Makes CURRENT name the MANIFEST that it names. A sync of the directory is not enough: one that
    /// failed may have forgotten the name, which stands in the cache alone then. Returns whether there
    /// was space for it.
    fn name_again(&self, number: u64) -> Result<bool> {
        match manifest::set_current(&**self.fs, self.dir, number) {
            Ok(()) => Ok(true),
            Err(SetCurrentError::Before(error)) if error.is_no_space() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Unlinks what a recovery or a checkpoint made that failed, so that one which is tried again
    /// and again on a full disk does not fill it further.
    pub(crate) fn remove_all_but(&self, files: &BTreeSet<FileName>) {
        let Ok(left) = self.list() else { return };
        for file in left.regular().difference(files) {
            self.unlink(*file);
        }
    }

    /// Unlinks files of ours that nothing names, now that what is named is synced. Returns how many,
    /// and those that could not be unlinked and whose names nobody uses again.
    pub(super) fn remove_orphans(&self, recovered: &Recovered) -> Result<(u64, Vec<FileName>)> {
        let live: BTreeSet<u64> =
            recovered.state.version.tables().map(|table| table.number).collect();
        let (mut removed, mut left) = (0, Vec::new());
        for file in self.list()?.regular().iter().copied() {
            let is_live = match file {
                FileName::Lock | FileName::Current => true,
                FileName::Manifest(number) => number == recovered.manifest_number,
                FileName::Table(number) => live.contains(&number),
                FileName::Log(number) => recovered.wal.active_segment() <= number,
                _ => false,
            };
            if is_live {
                continue;
            }
            match file {
                _ if self.unlink(file) => removed += 1,
                // Who needs this name removes it first, and may be about to write under it.
                FileName::CurrentTemp | FileName::LogTemp(_) => {}
                _ => left.push(file),
            }
        }
        Ok((removed, left))
    }

    /// Unlinks a file that is in nobody's way: that it cannot be is no reason to fail.
    fn unlink(&self, file: FileName) -> bool {
        self.fs.remove(&file.path(self.dir)).is_ok()
    }
}
