//! Verification: every byte of every file is read and checked.
//!
//! What the tables hold is also what the MANIFEST says of them. With that the tables of a level below
//! the first are disjoint and in order, since no MANIFEST can be read that says otherwise.

use std::sync::Arc;

use lsm_base::FileName;
use lsm_wal::{Lsn, ReplayFrom};

use crate::error::{Error, Result};
use crate::handle::Caller;
use crate::inner::Inner;
use crate::manifest;
use crate::progress::Progress;
use crate::recovery::lsn;
use crate::version_set::Current;

/// What a verification read, and what was wrong.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Tables that were read.
    pub tables: u64,
    /// Their bytes.
    pub table_bytes: u64,
    /// Their entries.
    pub entries: u64,
    /// Log records that were read.
    pub log_records: u64,
    /// The first damage in each damaged file; each names the file and the offset.
    pub damage: Vec<Error>,
}

impl VerifyReport {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }
}

/// How far a verification is: the bytes of the files that it is through with.
struct Reading<'a> {
    progress: &'a Progress,
    done: u64,
}

impl Reading<'_> {
    /// So many bytes of the next file were read.
    fn note(&self, read: u64) {
        self.progress.reach(self.done + read);
    }

    /// The next file, which is so long, was read.
    fn pass(&mut self, len: u64) {
        self.done += len;
        self.progress.reach(self.done);
    }
}

impl Caller<'_> {
    /// Reads and checks every byte.
    pub(crate) fn verify(&self, progress: &Progress) -> Result<VerifyReport> {
        self.check_open()?;
        let mut report = VerifyReport::default();
        let super_version = self.super_versions.load_full();
        let table_bytes: u64 = super_version.version.tables().map(|(meta, _)| meta.len).sum();
        let manifest_bytes = self.versions.manifest_len();
        progress.begin(table_bytes + manifest_bytes + self.log_bytes());
        let mut reading = Reading { progress, done: 0 };
        for (meta, table) in super_version.version.tables() {
            let result = table.verify_with(&mut |read| reading.note(read)).and_then(|read| {
                meta.check_against(&read.properties, &table.source().path)?;
                Ok(read)
            });
            // After a close another process may unlink what is not open yet.
            self.check_open()?;
            reading.pass(meta.len);
            match result {
                Ok(read) => {
                    report.tables += 1;
                    report.table_bytes += read.bytes;
                    report.entries += read.entries;
                }
                Err(error) => report.damage.push(self.note_read_error(error.into())),
            }
        }
        self.verify_manifest(&mut report);
        reading.pass(manifest_bytes);
        self.verify_log(&mut report, &reading);
        // What another process did to them since is no damage.
        self.check_open()?;
        progress.end();
        Ok(report)
    }
}

impl Inner {
    /// About how many bytes of log there are to read.
    fn log_bytes(&self) -> u64 {
        match self.write_side {
            Some(_) => self.log_distance(self.log_floor(), self.wal().appended_lsn()),
            None => self.recovery.replayed_bytes,
        }
    }

    /// The bytes from the beginning of a segment to a place behind it, as if each segment between
    /// had its usual length.
    fn log_distance(&self, first_segment: u64, to: Lsn) -> u64 {
        to.segment.saturating_sub(first_segment) * self.options.segment_size + to.offset
    }

    fn verify_manifest(&self, report: &mut VerifyReport) {
        // Under this lock nobody appends to the MANIFEST or replaces it.
        let current = self.versions.lock();
        let result = self.read_manifest(&current);
        if let Err(error) = result {
            report.damage.push(self.note_read_error(error.into()));
        }
    }

    fn read_manifest(&self, current: &Current) -> lsm_base::Result<()> {
        let number = manifest::read_current(&*self.fs, &self.dir)?;
        let path = FileName::Manifest(number).path(&self.dir);
        let (_, journal) = manifest::read(&self.fs, &self.dir, number)?;
        manifest::check_owner(&path, &journal, current.state().header.db_id)?;
        let torn = match self.write_side {
            // Dropped by the open, which has reported it; and nobody has written since.
            None => self.recovery.manifest_dropped_bytes,
            // The edit that a failed append left behind is not part of the MANIFEST yet.
            Some(_) if current.is_undecided() => return Ok(()),
            Some(_) => 0,
        };
        if journal.dropped_bytes == torn {
            return Ok(());
        }
        Err(lsm_base::Error::corruption(&path, journal.end, "damage in the last record"))
    }

    fn verify_log(&self, report: &mut VerifyReport, reading: &Reading<'_>) {
        // Without flushes the floor of the log stays where it is, but for one that a full disk had
        // left undecided: what is missing then was released meanwhile.
        let _flushing = self.background.flushing.lock();
        let result = loop {
            let floor = self.log_floor();
            let result = self.read_log(report, reading);
            if result.is_ok() || floor == self.log_floor() {
                break result;
            }
        };
        if let Err(error) = result {
            report.damage.push(self.note_read_error(error));
        }
    }

    fn read_log(&self, report: &mut VerifyReport, reading: &Reading<'_>) -> Result<()> {
        let state = Arc::clone(&self.super_versions.load().version.state);
        let first_segment = state.log_floor.first_segment;
        if self.write_side.is_some() {
            if self.check_writable().is_ok() {
                self.commit().sync(self)?;
            }
            // What is on disk for certain must be whole; what is being written may be torn.
            let synced = self.wal().synced_lsn();
            let db_id = state.header.db_id;
            let mut note = |at| reading.note(self.log_distance(first_segment, at));
            report.log_records =
                lsm_wal::check(&*self.fs, &self.dir, db_id, first_segment, synced, &mut note)?;
            return Ok(());
        }
        let from = ReplayFrom {
            first_segment,
            synced: lsn(state.log_floor.synced),
            highest_used: state.log_floor.highest_segment,
            names_all: true,
            clean_end: state.clean_close.map(lsn),
            owner: state.header.db_id,
        };
        let mut bytes = 0;
        let read = lsm_wal::replay(&*self.fs, &self.dir, from, &mut |record| {
            bytes += record.payload.len() as u64;
            reading.note(bytes);
            Ok(())
        })?;
        report.log_records = read.records;
        Ok(())
    }
}
