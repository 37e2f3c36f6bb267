//! Fuzz targets of this crate: a sequence of operations against a sorted map, and the opening of a
//! store whose MANIFEST and log are whole and say anything. See [`lsm_base::testing::corpus`].
//!
//! ```text
//! input of `operations`   settings u8 | operation*     operation := code u8 | key u8 | argument u8
//! input of `recovery`     edit* | 0 u16 | record*      edit := length u16, payload of the MANIFEST
//!                                                      record := sequence u64, length u16, batch
//! ```
//!
//! A value is a function of the key, the argument and how many operations came before, so that every
//! write can be told from every other. All writes are synced: what a power loss takes away is
//! nothing that was acknowledged.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use lsm_base::coding::Reader;
use lsm_base::fs::{Fault, FaultFs, Keep, MemFs};
use lsm_base::{FileName, Fs, Seq};
use lsm_wal::{JournalWriter, Record, Wal, WalOptions};

use crate::manifest;
use crate::{
    Compression, Db, ErrorKind, Keyspace, Options, Read, ReadMode, Snapshot, WriteBatch,
    WriteOptions,
};

/// The most operations of one input.
const MAX_OPERATIONS: usize = 400;

/// Where the stores are.
const DIR: &str = "db";

/// Whose MANIFEST and log `recovery` opens.
const DB_ID: u128 = 7;

/// What a keyspace holds.
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Whatever is done to a store, it answers what a sorted map does.
pub fn operations(bytes: &[u8]) {
    let Some((&settings, rest)) = bytes.split_first() else { return };
    let mut run = Run::new(settings);
    for (number, operation) in rest.chunks_exact(3).take(MAX_OPERATIONS).enumerate() {
        run.step(number, operation[0], operation[1], operation[2]);
    }
    run.check();
    run.reopen();
    run.check();
}

/// A store is opened for reading and for writing, or both say what is wrong with which of its files.
pub fn recovery(bytes: &[u8]) {
    let memory = MemFs::new();
    write_store(&memory, bytes).expect("the disk takes everything");
    let builder = || {
        let options = Options {
            memory_budget: Some(64 << 10),
            memtable_size: Some(16 << 10),
            max_log_bytes: Some(8 << 10),
            background_threads: 0,
            read_mode: Some(ReadMode::Pread),
            ..Options::default()
        };
        Db::builder(DIR).options(options).fs(Arc::new(memory.clone()))
    };
    let read = builder().open_read_only().and_then(|db| read_all(&db));
    let written = builder().open().and_then(|db| read_all(&db));
    for error in [read.as_ref().err(), written.as_ref().err()].into_iter().flatten() {
        let kinds = [ErrorKind::Corruption, ErrorKind::MissingFile, ErrorKind::UnsupportedFormat];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
    if let (Ok(read), Ok(written)) = (&read, &written) {
        assert_eq!(read, written);
    }
    if let Ok(written) = written {
        let again = builder().open().and_then(|db| read_all(&db));
        assert_eq!(again.expect("it was opened before"), written);
    }
}

/// Writes CURRENT, a MANIFEST of one journal record for each edit, and a log.
fn write_store(fs: &MemFs, bytes: &[u8]) -> lsm_base::Result<()> {
    let dir = Path::new(DIR);
    fs.create_dir(dir)?;
    drop(fs.lock(&FileName::Lock.path(dir))?);
    let mut reader = Reader::new(bytes);
    let path = FileName::Manifest(1).path(dir);
    let mut journal = JournalWriter::create(fs, &path, 1, 0x5eed, DB_ID)?;
    while let Some(edit) = short_slice(&mut reader).filter(|edit| !edit.is_empty()) {
        journal.append(edit)?;
    }
    manifest::set_current(fs, dir, 1)?;
    let options = WalOptions { segment_size: 16 << 10, owner: DB_ID, ..WalOptions::default() };
    let wal = Wal::create(Arc::new(fs.clone()), dir, options, 1, Box::new(|| 0x5eed))?;
    while let Some(first_seq) = reader.u64() {
        let payload = short_slice(&mut reader).unwrap_or_default();
        let first_seq = Seq::new(first_seq & Seq::MAX.get());
        // One that does not ascend, or finds no room, is left out.
        let _ = wal.append(&[Record { first_seq, payload }]);
    }
    wal.sync(wal.appended_lsn())
}

fn short_slice<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = usize::from(reader.u16()?).min(reader.rest().len());
    reader.bytes(len)
}

/// What each keyspace holds.
fn read_all(db: &Db) -> crate::Result<Vec<(String, Model)>> {
    let entries = |space: &Keyspace| {
        let pairs =
            space.prefix("").map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())));
        pairs.collect::<crate::Result<_>>()
    };
    db.keyspaces()?.iter().map(|space| Ok((space.name().to_owned(), entries(space)?))).collect()
}

struct Run {
    options: Options,
    fs: FaultFs,
    memory: MemFs,
    /// `None` between two lives.
    db: Option<Db>,
    models: [Model; 2],
    /// A snapshot, and what the first keyspace held then.
    snapshot: Option<(Snapshot, Model)>,
}

impl Run {
    fn new(settings: u8) -> Run {
        let bit = |index: u8| settings >> index & 1 != 0;
        let options = Options {
            memory_budget: Some(256 << 10),
            memtable_size: Some(16 << 10),
            max_log_bytes: Some(8 << 10),
            block_size: if bit(0) { 1 } else { 256 },
            table_size: if bit(1) { 1 << 10 } else { 64 << 10 },
            bloom_bits_per_key: if bit(2) { 0 } else { 10 },
            compression: if bit(3) { Compression::None } else { Compression::Lz4 },
            read_mode: Some(if bit(4) { ReadMode::Map } else { ReadMode::Pread }),
            block_cache_size: Some(if bit(5) { 1 } else { 64 << 10 }),
            background_threads: 0,
            ..Options::default()
        };
        let memory = MemFs::new();
        let fs = FaultFs::new(Arc::new(memory.clone()));
        let mut run =
            Run { options, fs, memory, db: None, models: Default::default(), snapshot: None };
        run.open();
        run
    }

    fn open(&mut self) {
        let builder = Db::builder(DIR).options(self.options.clone());
        self.db = Some(builder.fs(Arc::new(self.fs.clone())).open().expect("the store opens"));
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open between operations")
    }

    fn space(&self, index: usize) -> Keyspace {
        self.db().keyspace(["default", "other"][index]).expect("it is there or made")
    }

    fn step(&mut self, number: usize, code: u8, key: u8, argument: u8) {
        let index = usize::from(code >> 7);
        let (key, value) = (key_of(key), value_of(number, key, argument));
        match code & 0x1f {
            0..8 => {
                self.space(index).put(&key, &value).expect("a put");
                self.models[index].insert(key, value);
            }
            8..11 => {
                self.space(index).delete(&key).expect("a delete");
                self.models[index].remove(&key);
            }
            11 | 12 => self.write_batch(&key, &value, argument),
            13..18 => {
                let got = self.space(index).get(&key).expect("a get");
                assert_eq!(got.as_deref(), self.models[index].get(&key).map(|value| &value[..]));
            }
            18..20 => self.scan(index, key, argument),
            20 => self.db().flush().expect("a flush"),
            21 => self.db().compact::<&str>(..).expect("a compaction"),
            22 => self.db().wait_idle().expect("background work"),
            23 => {
                let snapshot = self.db().snapshot().expect("a snapshot");
                self.snapshot = Some((snapshot, self.models[0].clone()));
            }
            24 => self.check_snapshot(),
            25 => self.reopen(),
            26 => self.lose_power(u64::from(argument) << 8 | number as u64),
            27 => assert!(self.db().verify().expect("a verification").is_clean()),
            28 => {
                drop(self.space(1));
                self.db().drop_keyspace("other").expect("a drop");
                self.models[1].clear();
            }
            _ => self.walk(index, &key),
        }
    }

    fn write_batch(&mut self, key: &[u8], value: &[u8], argument: u8) {
        let mut batch = WriteBatch::new();
        for index in 0..2 {
            let space = self.space(index);
            batch.put_in(&space, key, value);
            self.models[index].insert(key.to_vec(), value.to_vec());
            let other = key_of(argument);
            batch.delete_in(&space, &other);
            self.models[index].remove(&other);
        }
        self.db().write(batch, &WriteOptions::default()).expect("a batch");
    }

    fn scan(&self, index: usize, start: Vec<u8>, argument: u8) {
        let end = key_of(argument);
        let space = self.space(index);
        let bounds = (Bound::Included(start), Bound::Excluded(end));
        let found: Vec<_> =
            space.scan(bounds.clone()).map(|entry| entry.expect("a scan")).collect();
        let model = &self.models[index];
        let is_ordered = matches!(&bounds, (Bound::Included(a), Bound::Excluded(b)) if a <= b);
        let expected: Vec<_> =
            is_ordered.then(|| model.range(bounds)).into_iter().flatten().collect();
        assert_eq!(found.len(), expected.len());
        for ((key, value), (expected_key, expected_value)) in found.iter().zip(expected) {
            assert_eq!((&**key, &**value), (&expected_key[..], &expected_value[..]));
        }
    }

    /// A cursor goes from a key backwards and forwards again.
    fn walk(&self, index: usize, key: &[u8]) {
        let model = &self.models[index];
        let mut cursor = self.space(index).cursor().expect("a cursor");
        cursor.seek(key).expect("a seek");
        let at = |entry: Option<(&Vec<u8>, &Vec<u8>)>| entry.map(|(key, _)| key.clone());
        let mut expected = at(model.range(key.to_vec()..).next());
        for _ in 0..4 {
            assert_eq!(cursor.valid().then(|| cursor.key().to_vec()), expected);
            let Some(here) = expected else { return };
            cursor.prev().expect("a step");
            expected = at(model.range(..here).next_back());
        }
        while let Some(here) = expected {
            assert_eq!(cursor.key(), here);
            cursor.next().expect("a step");
            expected = at(model.range((Bound::Excluded(here), Bound::Unbounded)).next());
        }
    }

    fn check_snapshot(&self) {
        let Some((snapshot, model)) = &self.snapshot else { return };
        assert_same(snapshot.prefix(""), model);
    }

    fn check(&self) {
        for (index, model) in self.models.iter().enumerate() {
            assert_same(self.space(index).prefix(""), model);
        }
        self.check_snapshot();
    }

    fn reopen(&mut self) {
        self.snapshot = None;
        self.db.take().expect("it is open").close().expect("a close");
        self.open();
    }

    fn lose_power(&mut self, seed: u64) {
        self.snapshot = None;
        self.memory = self.memory.crash(Keep::Subset { seed });
        self.fs.fail_from(0, Fault::Eio);
        drop(self.db.take());
        self.fs = FaultFs::new(Arc::new(self.memory.clone()));
        self.open();
        self.check();
    }
}

fn assert_same(found: crate::Scan, model: &Model) {
    let found: Model = found
        .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
        .collect::<crate::Result<_>>()
        .expect("a scan");
    assert_eq!(found, *model);
}

/// One of 256 keys; some are beginnings of others.
fn key_of(byte: u8) -> Vec<u8> {
    match byte & 3 {
        0 => vec![byte],
        1 => vec![byte & 0xf0, byte],
        2 => vec![b'p'; usize::from(byte / 4) + 1],
        _ => format!("common/{byte:03}").into_bytes(),
    }
}

/// Mostly short; sometimes more than a log segment or a memtable holds.
fn value_of(number: usize, key: u8, argument: u8) -> Vec<u8> {
    let len = match argument {
        0 => 0,
        1..200 => usize::from(argument),
        200..250 => 20 * usize::from(argument),
        _ => 100 * usize::from(argument),
    };
    let mut value = vec![key; len];
    let mark = (number as u16).to_le_bytes();
    let count = len.min(2);
    value[..count].copy_from_slice(&mark[..count]);
    value
}

#[cfg(test)]
mod tests {
    use lsm_base::KeyspaceId;
    use lsm_base::testing::{SplitMix64, corpus};
    use lsm_compaction::edit::{CreatedKeyspace, LogFloor, LogPosition};
    use lsm_compaction::{State, VersionEdit};

    use super::*;

    #[test]
    fn the_corpus_of_recoveries() {
        let begun = VersionEdit {
            first_seq: Some(Seq::new(1)),
            next_file_number: Some(2),
            log_floor: Some(LogFloor { first_segment: 1, ..LogFloor::default() }),
            ..VersionEdit::default()
        };
        let first = State::new(DB_ID).apply(&begun).unwrap().snapshot_edit();
        let grown = VersionEdit {
            last_seq: Some(Seq::new(3)),
            next_keyspace_id: Some(2),
            created_keyspaces: vec![CreatedKeyspace {
                id: KeyspaceId(1),
                name: "other".into(),
                unknown: Vec::new(),
            }],
            ..VersionEdit::default()
        };
        let closed = VersionEdit {
            clean_close: Some(LogPosition { segment: 1, offset: 300 }),
            ..VersionEdit::default()
        };
        let mut batch = WriteBatch::new();
        batch.put("key", "value");
        batch.put_in(KeyspaceId(1), "other", "value");
        let input = |edits: &[&VersionEdit]| {
            let mut bytes = Vec::new();
            let mut put = |part: &[u8]| {
                bytes.extend_from_slice(&(part.len() as u16).to_le_bytes());
                bytes.extend_from_slice(part);
            };
            edits.iter().for_each(|edit| put(&edit.encode()));
            put(&[]);
            for seq in [4_u64, 9] {
                bytes.extend_from_slice(&seq.to_le_bytes());
                bytes.extend_from_slice(&(batch.as_bytes().len() as u16).to_le_bytes());
                bytes.extend_from_slice(batch.as_bytes());
            }
            bytes
        };
        let seeds = [input(&[&first, &grown]), input(&[&first]), input(&[&first, &grown, &closed])];
        let memory = MemFs::new();
        write_store(&memory, &seeds[0]).unwrap();
        let db = Db::builder(DIR).fs(Arc::new(memory)).open_read_only().unwrap();
        assert_eq!(read_all(&db).unwrap().iter().map(|space| space.1.len()).sum::<usize>(), 2);
        corpus::replay("recovery", &seeds, corpus::RUNS, recovery);
    }

    #[test]
    fn the_corpus_of_operations() {
        let every_code: Vec<u8> = (0..=255).flat_map(|code| [code, code / 2, 255 - code]).collect();
        let mut seeds = vec![[&[0], &every_code[..]].concat(), [&[0x15], &every_code[..]].concat()];
        for seed in 0..6 {
            let mut bytes = vec![0; 601];
            SplitMix64::new(seed).fill(&mut bytes);
            seeds.push(bytes);
        }
        corpus::replay("operations", &seeds, 200, operations);
    }
}
