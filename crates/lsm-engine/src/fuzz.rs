//! The fuzz target of this crate: a sequence of operations against a sorted map. See
//! [`lsm_base::testing::corpus`].
//!
//! ```text
//! input       settings u8 | operation*
//! operation   code u8 | key u8 | argument u8
//! ```
//!
//! A value is a function of the key, the argument and how many operations came before, so that every
//! write can be told from every other. All writes are synced: what a power loss takes away is
//! nothing that was acknowledged.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use lsm_base::fs::{Fault, FaultFs, Keep, MemFs};

use crate::{
    Compression, Db, Keyspace, Options, Read, ReadMode, Snapshot, WriteBatch, WriteOptions,
};

/// The most operations of one input.
const MAX_OPERATIONS: usize = 400;

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
        let builder = Db::builder("db").options(self.options.clone());
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
    use lsm_base::testing::{SplitMix64, corpus};

    use super::*;

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
