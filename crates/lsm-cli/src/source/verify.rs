//! The verification of a directory, whole or not.
//!
//! If it cannot even be opened, because its log or its MANIFEST is damaged or a file is gone, the
//! tables are checked one by one all the same, so that one run tells all there is to tell.

use std::path::Path;
use std::sync::Arc;

use lsm_engine::base::fs::{Fs, StdFs};
use lsm_engine::base::{self, FileName};
use lsm_engine::{Db, Error, ErrorKind};
use lsm_sstable::{BlockCache, ReadMode, Table};

use super::Verified;
use super::directory::must_exist;
use crate::exit::Outcome;

/// Reads and checks every byte of a directory.
pub(super) fn directory(path: &Path) -> Outcome<Verified> {
    must_exist(path)?;
    let opened = Db::builder(path).open_read_only();
    let db = match opened {
        Ok(db) => db,
        Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::MissingFile) => {
            return tables(path, &error);
        }
        Err(error) => return Err(error.into()),
    };
    let report = db.verify()?;
    db.close()?;
    Ok(Verified {
        is_clean: report.is_clean(),
        tables: report.tables,
        table_bytes: report.table_bytes,
        entries: report.entries,
        log_records: report.log_records,
        damaged_files: report.damage.len() as u64,
        damage: report.damage.iter().map(ToString::to_string).collect(),
    })
}

/// Checks every table of a directory that could not be opened, with the reason for that.
fn tables(path: &Path, reason: &Error) -> Outcome<Verified> {
    let _lock = StdFs.lock(&FileName::Lock.path(path))?;
    let mut verified = Verified { damage: vec![reason.to_string()], ..Verified::default() };
    let mut names: Vec<FileName> =
        StdFs.list(path)?.iter().filter_map(|entry| FileName::parse(&entry.name)).collect();
    names.sort_unstable();
    for name in names.into_iter().filter(|name| matches!(name, FileName::Table(_))) {
        match table(&name.path(path)) {
            Ok(read) => {
                verified.tables += 1;
                verified.table_bytes += read.bytes;
                verified.entries += read.entries;
            }
            Err(error) => verified.damage.push(error.to_string()),
        }
    }
    verified.damaged_files = verified.damage.len() as u64;
    Ok(verified)
}

fn table(path: &Path) -> base::Result<lsm_sstable::VerifyReport> {
    let cache = BlockCache::new(0);
    Table::open_standalone(Arc::new(StdFs), path, ReadMode::Pread, cache)?.verify()
}
