//! A small store that tests damage: tables in two levels, a log, closed or not; and the judge of
//! what it may answer then.
//!
//! Two specimens that differ in their owner alone have files of the same names and lengths, and no
//! value in common.

use std::sync::Arc;

use lsm_base::Error as Base;
use lsm_base::fs::{Keep, MemFs};
use lsm_engine::{Db, Durability, Error, Options, Read, ReadMode, Result, WriteOptions};

use super::{DIR, kill, on};

/// The keys of the store; the last ones are in the log alone.
pub(crate) const KEYS: u32 = 40;
const KEYS_IN_TABLES: u32 = 30;

/// A kind of store to be damaged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Specimen {
    /// Whose it is: a letter in every value.
    pub(crate) owner: char,
    pub(crate) is_closed: bool,
}

impl Specimen {
    /// Writes the store.
    pub(crate) fn make(self) -> MemFs {
        let memory = MemFs::new();
        let fs = on(&memory);
        let db = Db::builder(DIR).options(options()).fs(Arc::new(fs.clone())).open().unwrap();
        let sync = WriteOptions::durability(Durability::Sync);
        for key in 0..KEYS_IN_TABLES {
            if key == KEYS_IN_TABLES / 2 {
                db.compact::<&str>(..).unwrap();
            }
            db.put_with(key.to_be_bytes(), self.value(key), &sync).unwrap();
        }
        db.flush().unwrap();
        db.wait_idle().unwrap();
        for key in KEYS_IN_TABLES..KEYS {
            db.put_with(key.to_be_bytes(), self.value(key), &sync).unwrap();
        }
        match self.is_closed {
            true => db.close().unwrap(),
            false => kill(&fs, db),
        }
        memory.crash(Keep::Everything)
    }

    /// The value of a key.
    pub(crate) fn value(self, key: u32) -> Vec<u8> {
        format!("{}'s value {key} ", self.owner).repeat(3).into_bytes()
    }

    /// All that such a store may say when it is damaged in one place, with which `records_hit`
    /// records of the log can be gone. Not only their last: what would vouch for one is the next.
    pub(crate) fn judge(
        self,
        opened: Result<Db>,
        records_hit: u32,
    ) -> std::result::Result<(), String> {
        let db = match opened {
            Ok(db) => db,
            Err(error) => return judge_error(&error),
        };
        let mut found = 0_u32;
        for entry in db.prefix("") {
            let (key, bytes) = match entry {
                Ok(entry) => entry,
                Err(error) => return judge_error(&error),
            };
            if key != found.to_be_bytes() || *bytes != self.value(found)[..] {
                return Err(format!("{} has {bytes:?}", key.escape_ascii()));
            }
            found += 1;
        }
        let report = db.recovery_report();
        let is_told = 0 < report.dropped_bytes && report.drop_reason.is_some();
        match found {
            KEYS => Ok(()),
            // The end of an unclean log that no later record vouches for may have been a tear.
            KEYS_IN_TABLES.. if !self.is_closed && is_told && KEYS - found <= records_hit => Ok(()),
            _ => Err(format!("{found} entries of {KEYS}, {report:?}")),
        }
    }
}

/// An error that a damaged store may answer: it names a file of the store.
pub(crate) fn judge_error(error: &Error) -> std::result::Result<(), String> {
    match error.base() {
        Some(Base::Corruption { path, .. }) if path.starts_with(DIR) => Ok(()),
        // CURRENT or the MANIFEST may say less than they should, never something else.
        Some(Base::MissingFile(path) | Base::UnsupportedFormat { path, .. })
            if path.starts_with(DIR) =>
        {
            Ok(())
        }
        _ => Err(format!("{:?}: {error}", error.kind())),
    }
}

fn options() -> Options {
    Options {
        memtable_size: Some(16 << 10),
        max_log_bytes: Some(8 << 10),
        block_size: 256,
        background_threads: 0,
        read_mode: Some(ReadMode::Pread),
        ..Options::default()
    }
}

pub(crate) fn open(memory: &MemFs) -> Result<Db> {
    Db::builder(DIR).options(options()).fs(Arc::new(memory.clone())).open()
}

pub(crate) fn open_read_only(memory: &MemFs) -> Result<Db> {
    Db::builder(DIR).options(options()).fs(Arc::new(memory.clone())).open_read_only()
}
