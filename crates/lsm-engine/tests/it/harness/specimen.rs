//! A small store that tests damage, closed or not; and the judge of what it may answer then.
//!
//! It has every kind of block: tables in two levels of two keyspaces, their blocks compressed and
//! not, with tombstones; filters, fences, properties; MANIFEST, CURRENT; a log of
//! several segments, unless it was closed.
//! Two specimens that differ in their owner alone have files of the same names and lengths, and no
//! value in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsm_base::Error as Base;
use lsm_base::fs::{Keep, MemFs};
use lsm_base::testing::SplitMix64;
use lsm_engine::{
    Db, Durability, Error, Keyspace, Options, Read, ReadMode, Recheck, Result, WriteOptions,
};

use super::{DIR, kill, on};

/// The keys of the store; the last ones are in the log alone.
pub(crate) const KEYS: u32 = 175;
const KEYS_IN_DEPTH: u32 = 104;
const KEYS_IN_TABLES: u32 = 120;
/// Keys behind these that were written and deleted.
const DELETED: u32 = 4;

/// The keyspace of some of the keys.
const OTHER: &str = "other";

/// A kind of store to be damaged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Specimen {
    /// Whose it is: a letter in every value.
    pub(crate) owner: char,
    pub(crate) is_closed: bool,
}

/// What of the end of an unclean log may be gone: no later record vouches for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    /// How many records.
    pub(crate) records: u32,
    /// Whether the open says so. It cannot where nothing but zeros is left.
    pub(crate) is_told: bool,
}

impl Loss {
    /// Nothing may be gone.
    pub(crate) const NONE: Loss = Loss::told(0);

    /// So many records, of which the open says that they are gone.
    pub(crate) const fn told(records: u32) -> Loss {
        Loss { records, is_told: true }
    }
}

impl Specimen {
    /// Writes the store.
    pub(crate) fn make(self) -> MemFs {
        let memory = MemFs::new();
        let fs = on(&memory);
        let db = Db::builder(DIR).options(options()).fs(Arc::new(fs.clone())).open().unwrap();
        let spaces = [db.keyspace("default").unwrap(), db.keyspace(OTHER).unwrap()];
        let sync = WriteOptions::durability(Durability::Sync);
        let put = |key: u32| {
            space_of(&spaces, key).put_with(key.to_be_bytes(), self.value(key), &sync).unwrap();
        };
        (0..KEYS_IN_DEPTH).chain(KEYS..KEYS + DELETED).for_each(put);
        db.compact::<&str>(..).unwrap();
        for key in KEYS..KEYS + DELETED {
            space_of(&spaces, key).delete_with(key.to_be_bytes(), &sync).unwrap();
        }
        (KEYS_IN_DEPTH..KEYS_IN_TABLES).for_each(put);
        db.flush().unwrap();
        db.wait_idle().unwrap();
        (KEYS_IN_TABLES..KEYS).for_each(put);
        for space in &db.levels() {
            let depths = space.levels.iter().filter(|level| !level.tables.is_empty()).count();
            assert_eq!(depths, 2, "{space:?}");
        }
        drop(spaces);
        match self.is_closed {
            true => db.close().unwrap(),
            false => kill(&fs, db),
        }
        memory.crash(Keep::Everything)
    }

    /// The value of a key: text that compresses, or for a run of keys bytes that do not.
    pub(crate) fn value(self, key: u32) -> Vec<u8> {
        if (8..16).contains(&key) {
            let mut bytes = vec![self.owner as u8; 50];
            SplitMix64::new(u64::from(key) << 8 | self.owner as u64).fill(&mut bytes[1..]);
            return bytes;
        }
        format!("{}'s value {key} ", self.owner).repeat(3).into_bytes()
    }

    /// All that such a store may say when it is damaged in one place, of which `loss` may come.
    /// Not only the log's last records may be gone: what would vouch for one is the next. Gives
    /// the error by which it was refused, if it was.
    pub(crate) fn judge(
        self,
        opened: Result<Db>,
        loss: Loss,
    ) -> std::result::Result<Option<Error>, String> {
        match opened.and_then(|db| self.read(&db).map(|found| (db, found))) {
            Ok((db, found)) => self.judge_found(&db, &found, loss).map(|()| None),
            Err(error) => judge_error(&error).map(|()| Some(error)),
        }
    }

    /// All that the store holds: by walks over each keyspace, and again by point reads.
    fn read(self, db: &Db) -> Result<BTreeMap<u32, Vec<u8>>> {
        let spaces = [db.keyspace("default")?, db.keyspace(OTHER)?];
        let mut found = BTreeMap::new();
        for (index, space) in spaces.iter().enumerate() {
            for entry in space.prefix("") {
                let (key, bytes) = entry?;
                let key = u32::from_be_bytes((*key).try_into().expect("a key of four bytes"));
                assert_eq!(index, space_index(key), "{key} in the wrong keyspace");
                assert!(found.insert(key, bytes.to_vec()).is_none(), "{key} comes twice");
            }
        }
        for key in 0..KEYS + DELETED {
            let got = space_of(&spaces, key).get(key.to_be_bytes())?;
            assert_eq!(got.as_deref(), found.get(&key).map(|value| &value[..]), "get of {key}");
        }
        Ok(found)
    }

    fn judge_found(
        self,
        db: &Db,
        found: &BTreeMap<u32, Vec<u8>>,
        loss: Loss,
    ) -> std::result::Result<(), String> {
        let count = found.len() as u32;
        for (expected, (key, value)) in (0..).zip(found) {
            if *key != expected || *value != self.value(expected) {
                return Err(format!("{key} has {value:?} where {expected} was to be"));
            }
        }
        let report = db.recovery_report();
        let is_told = 0 < report.dropped_bytes && report.drop_reason.is_some();
        match count {
            KEYS => Ok(()),
            // The end of an unclean log that no later record vouches for may have been a tear.
            KEYS_IN_TABLES..KEYS
                if !self.is_closed && is_told >= loss.is_told && KEYS - count <= loss.records =>
            {
                Ok(())
            }
            _ => Err(format!("{count} entries of {KEYS}, {report:?}")),
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

/// Runs of eight keys go to either keyspace.
const fn space_index(key: u32) -> usize {
    key as usize / 8 % 2
}

fn space_of(spaces: &[Keyspace; 2], key: u32) -> &Keyspace {
    &spaces[space_index(key)]
}

/// Both ways to read tables, which damage meets in turns.
pub(crate) const MODES: [ReadMode; 2] = [ReadMode::Pread, ReadMode::Map];

/// How the store is opened, where it does not matter how tables are read: the disk of a test that
/// cannot read a place of one says so only where tables are not mapped.
pub(crate) fn options() -> Options {
    options_in(MODES[0])
}

/// How the store is opened.
pub(crate) fn options_in(mode: ReadMode) -> Options {
    Options {
        memory_budget: Some(64 << 10),
        memtable_size: Some(16 << 10),
        block_cache_size: Some(8 << 10),
        max_log_bytes: Some(8 << 10),
        block_size: 256,
        background_threads: 0,
        read_mode: Some(mode),
        recheck: Recheck::Full,
        ..Options::default()
    }
}

pub(crate) fn open(memory: &MemFs) -> Result<Db> {
    open_in(memory, MODES[0])
}

pub(crate) fn open_in(memory: &MemFs, mode: ReadMode) -> Result<Db> {
    Db::builder(DIR).options(options_in(mode)).fs(Arc::new(memory.clone())).open()
}

pub(crate) fn open_read_only(memory: &MemFs) -> Result<Db> {
    open_read_only_in(memory, MODES[0])
}

pub(crate) fn open_read_only_in(memory: &MemFs, mode: ReadMode) -> Result<Db> {
    Db::builder(DIR).options(options_in(mode)).fs(Arc::new(memory.clone())).open_read_only()
}
