//! Verification: every byte of every file is read and checked.

use std::sync::Arc;

use lsm_base::FileName;
use lsm_wal::ReplayFrom;

use crate::error::{Error, Result};
use crate::inner::Inner;
use crate::manifest;
use crate::recovery::lsn;

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

impl Inner {
    pub(crate) fn verify(&self) -> Result<VerifyReport> {
        self.check_open()?;
        let mut report = VerifyReport::default();
        let super_version = self.super_versions.load_full();
        for (_, table) in super_version.version.tables() {
            let result = table.verify();
            // After a close another process may unlink what is not open yet.
            self.check_open()?;
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
        self.verify_log(&mut report);
        // What another process did to them since is no damage.
        self.check_open()?;
        Ok(report)
    }

    fn verify_manifest(&self, report: &mut VerifyReport) {
        // Under this lock nobody appends to the MANIFEST or replaces it.
        let _current = self.versions.lock();
        let result = manifest::read_current(&*self.fs, &self.dir)
            .and_then(|number| Ok((number, manifest::read(&self.fs, &self.dir, number)?.1)))
            .and_then(|(number, journal)| match journal.dropped_bytes {
                0 => Ok(()),
                _ => {
                    let path = FileName::Manifest(number).path(&self.dir);
                    Err(lsm_base::Error::corruption(
                        &path,
                        journal.end,
                        "damage in the last record",
                    ))
                }
            });
        if let Err(error) = result {
            report.damage.push(self.note_read_error(error.into()));
        }
    }

    fn verify_log(&self, report: &mut VerifyReport) {
        // Without flushes the floor of the log stays where it is.
        let _flushing = self.background.flushing.lock();
        if let Err(error) = self.read_log(report) {
            report.damage.push(self.note_read_error(error));
        }
    }

    fn read_log(&self, report: &mut VerifyReport) -> Result<()> {
        let state = Arc::clone(&self.super_versions.load().version.state);
        let first_segment = state.log_floor.first_segment;
        if self.write_side.is_some() {
            if self.check_writable().is_ok() {
                self.commit().sync(self)?;
            }
            // What is on disk for certain must be whole; what is being written may be torn.
            let synced = self.wal().synced_lsn();
            report.log_records = lsm_wal::check(&*self.fs, &self.dir, first_segment, synced)?;
            return Ok(());
        }
        let from = ReplayFrom {
            first_segment,
            synced: lsn(state.log_floor.synced),
            highest_used: state.log_floor.highest_segment,
            clean_end: state.clean_close.map(lsn),
        };
        let read = lsm_wal::replay(&*self.fs, &self.dir, from, &mut |_| Ok(()))?;
        report.log_records = read.records;
        Ok(())
    }
}
