//! The verification of a directory, whole or not.
//!
//! If it cannot even be opened, because its log or its MANIFEST is damaged or a file is gone, its
//! tables are checked one by one all the same: those that the MANIFEST names, or if it cannot be read
//! to its end, all that are there. Of the rest of the log and the MANIFEST nothing is told then.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_compaction::{Replay, TableMeta};
use lsm_engine::base::fs::{Fs, StdFs};
use lsm_engine::base::{self, FileName};
use lsm_engine::{Db, Error, ErrorKind, Progress as Told};
use lsm_sstable::{BlockCache, ReadMode, Table, TableSource};
use lsm_wal::{Finding, Inspector};

use super::Verified;
use super::directory::{must_exist, tell_of_drop};
use crate::exit::Outcome;
use crate::progress::Progress;

/// Reads and checks every byte of a directory.
pub(super) fn directory(path: &Path, progress: &Progress) -> Outcome<Verified> {
    must_exist(path)?;
    // The engine names files so, and what it names is not to be told again by another name.
    let path = &StdFs.absolute(path)?;
    let opened = Db::builder(path).open_read_only();
    let db = match opened {
        Ok(db) => db,
        Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::MissingFile) => {
            return tables(path, &error, progress);
        }
        Err(error) => return Err(error.into()),
    };
    tell_of_drop(db.recovery_report());
    let told = Told::new();
    let report = progress.follow(&told, || db.verify_with(&told))?;
    db.close()?;
    if let Some(error) = only_unread(&report.damage) {
        return Err(error.clone().into());
    }
    Ok(Verified {
        is_clean: report.is_clean(),
        tables: report.tables,
        table_bytes: report.table_bytes,
        entries: report.entries,
        log_records: report.log_records,
        damaged_files: report.damage.len() as u64,
        damage: report.damage.iter().map(ToString::to_string).collect(),
        tables_only: false,
    })
}

/// The first of the files that could not be read, if nothing worse was found: what the system keeps
/// from us may be whole.
fn only_unread(damage: &[Error]) -> Option<&Error> {
    let is_unread = |error: &Error| error.kind() == ErrorKind::Io;
    damage.first().filter(|_| damage.iter().all(is_unread))
}

/// Checks the tables of a directory that could not be opened, with the reason for that.
fn tables(path: &Path, reason: &Error, progress: &Progress) -> Outcome<Verified> {
    // Like an open for reading only it changes nothing; a directory without a LOCK is open to nobody.
    let _lock = match StdFs.lock_existing(&FileName::Lock.path(path)) {
        Ok(lock) => Some(lock),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let mut verified =
        Verified { tables_only: true, damage: vec![reason.to_string()], ..Verified::default() };
    let tables: Vec<Named> = match named_tables(path) {
        Some(tables) => tables.into_iter().map(Named::ByManifest).collect(),
        None => all_tables(path)?.into_iter().map(Named::ByFile).collect(),
    };
    let lens: Vec<u64> = tables.iter().map(|table| table.len(path)).collect();
    progress.begin_bytes(lens.iter().sum());
    let mut done = 0;
    for (table, len) in tables.iter().zip(lens) {
        let read = table
            .open(path)
            .and_then(|table| table.verify_with(&mut |read| progress.set(done + read)))
            .and_then(|read| match &table {
                Named::ByManifest(meta) => {
                    let file = FileName::Table(meta.number).path(path);
                    meta.check_against(&read.properties, &file).map(|()| read)
                }
                Named::ByFile(_) => Ok(read),
            });
        done += len;
        progress.set(done);
        match read {
            Ok(read) => {
                verified.tables += 1;
                verified.table_bytes += read.bytes;
                verified.entries += read.entries;
            }
            Err(error) => {
                let error = error.to_string();
                // The table may be what the directory could not be opened for.
                if !verified.damage.contains(&error) {
                    verified.damage.push(error);
                }
            }
        }
    }
    verified.damaged_files = verified.damage.len() as u64;
    Ok(verified)
}

/// The tables that the MANIFEST names, if it can be read to its end. Others that are there belong to
/// nobody, and may be what a crash left of one that was being written.
fn named_tables(dir: &Path) -> Option<Vec<Arc<TableMeta>>> {
    let manifest = current_manifest(dir)?;
    let mut replay = Replay::new(&manifest);
    let mut is_over = false;
    for finding in Inspector::open(&StdFs, &manifest).ok()? {
        match finding.ok()? {
            // Behind a gap nothing can be believed as a whole.
            Finding::Record(_) if is_over => return None,
            Finding::Record(record) => replay.record(record.offset, &record.payload?).ok()?,
            Finding::Gap { content_len, .. } => is_over |= content_len != 0,
        }
    }
    let state = replay.finish().ok()?;
    let mut tables: Vec<_> = state.version.tables().cloned().collect();
    tables.sort_unstable_by_key(|table| table.number);
    Some(tables)
}

/// The MANIFEST that CURRENT names.
fn current_manifest(dir: &Path) -> Option<PathBuf> {
    /// More than a name and a checksum take.
    const LONGEST: u64 = 128;
    let file = StdFs.open(&FileName::Current.path(dir)).ok()?;
    let len = file.len().ok().filter(|len| *len <= LONGEST)?;
    let mut text = vec![0; len as usize];
    file.read_exact_at(&mut text, 0).ok()?;
    let name = std::str::from_utf8(&text).ok()?.lines().next().and_then(FileName::parse)?;
    matches!(name, FileName::Manifest(_)).then(|| name.path(dir))
}

fn all_tables(dir: &Path) -> Outcome<Vec<u64>> {
    let names = StdFs.list(dir)?.into_iter().filter_map(|entry| FileName::parse(&entry.name));
    let number = |name| if let FileName::Table(number) = name { Some(number) } else { None };
    let mut numbers: Vec<_> = names.filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// A table, by what is known of it.
enum Named {
    /// The MANIFEST says which it is: one of another store is none, however whole.
    ByManifest(Arc<TableMeta>),
    /// Only its file tells.
    ByFile(u64),
}

impl Named {
    fn open(&self, dir: &Path) -> base::Result<Arc<Table>> {
        let (fs, cache) = (Arc::new(StdFs), BlockCache::new(0));
        match self {
            Named::ByManifest(meta) => {
                let path = FileName::Table(meta.number).path(dir);
                let TableMeta { number, id, len, .. } = **meta;
                let source = TableSource { fs, path, number, id, len };
                Ok(Table::new(source, ReadMode::Pread, cache))
            }
            Named::ByFile(number) => {
                let path = FileName::Table(*number).path(dir);
                Table::open_standalone(fs, &path, ReadMode::Pread, cache)
            }
        }
    }

    /// Its length in bytes; one that is gone has nothing to be read.
    fn len(&self, dir: &Path) -> u64 {
        match self {
            Named::ByManifest(meta) => meta.len,
            Named::ByFile(number) => {
                let path = FileName::Table(*number).path(dir);
                StdFs.open(&path).and_then(|file| file.len()).unwrap_or(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_no_damage() {
        let path = Path::new("000001.sst");
        let refused = std::io::ErrorKind::PermissionDenied.into();
        let unread = Error::from(base::Error::io("open", path, refused));
        let corrupt = Error::from(base::Error::corruption(path, 0, "mismatch"));
        assert!(only_unread(&[]).is_none());
        assert!(only_unread(&[unread.clone(), unread.clone()]).is_some());
        assert!(only_unread(&[unread, corrupt]).is_none());
    }
}
