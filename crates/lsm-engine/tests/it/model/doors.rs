//! The other ways to write: by the handle of the database, within a time, and all that is refused.
//!
//! A write that is refused must have left no trace, and whoever had no time to wait writes again, so
//! that every set of options goes on alike.

use std::time::Duration;

use lsm_engine::{
    Condition, Db, Durability, Error, ErrorKind, KeyspaceId, Read, Result, Seq, WriteBatch,
    WriteOptions,
};

use super::driver::{Driver, Write};
use super::held::Shared;
use crate::support::wait;

impl Driver {
    /// Writes, but is ready to wait for background work only for so long.
    pub(super) fn write_in_time(&mut self) {
        let count = 1 + self.input.below(4);
        let (batch, ops) = self.batch(count);
        let limit = [Duration::ZERO, Duration::from_millis(1), Duration::MAX][self.input.below(3)];
        let patient = self.write_options();
        let options = WriteOptions { stall_timeout: Some(limit), ..patient };
        let db = self.db();
        let result = match self.input.once_in(2) {
            true => wait(db.write_async(batch.clone(), &options)),
            false => db.write(batch.clone(), &options),
        };
        let last = result.unwrap_or_else(|error| {
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            assert_ne!(limit, Duration::MAX, "there was time without end");
            self.assert_unwritten(&db, &ops);
            self.figures.busy += 1;
            db.write(batch, &patient).unwrap()
        });
        self.committed(last, count as u64, &patient, ops);
    }

    /// With nothing to do in the background no write has to wait.
    pub(super) fn write_at_once(&mut self) {
        let durability = Some(Durability::Buffered);
        let options =
            WriteOptions { durability, condition: None, stall_timeout: Some(Duration::ZERO) };
        let (key, value) = (self.input.key(), b"at once".to_vec());
        let seq = self.db().put_with(&key, &value, &options).unwrap();
        let ops = vec![(self.default_space(), key, Some(value))];
        self.committed(seq, 1, &options, ops);
    }

    /// Writes to the default keyspace without naming it.
    pub(super) fn write_by_another_door(&mut self) {
        let (db, space) = (self.db(), self.default_space());
        let (key, value, options) = (self.input.key(), self.input.value(), self.write_options());
        let usual = WriteOptions::default();
        let (seq, options, value) = match self.input.below(6) {
            0 => (db.put(&key, &value), usual, Some(value)),
            1 => (db.delete(&key), usual, None),
            2 => (db.put_with(&key, &value, &options), options, Some(value)),
            3 => (db.delete_with(&key, &options), options, None),
            4 => return self.write_reused_batch(key, value),
            _ => return self.write_batch_if(key, value),
        };
        self.committed(seq.unwrap(), 1, &options, vec![(space, key, value)]);
    }

    /// A batch that had something else in it before.
    fn write_reused_batch(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let mut batch = WriteBatch::with_capacity(100);
        batch.put("not", "this");
        batch.put("", "and nothing behind it");
        assert_eq!(batch.check().map_err(|error| Error::from(error).kind()), invalid());
        batch.clear();
        assert!(batch.is_empty() && batch.check().is_ok());
        let other = self.input.key();
        batch.delete(&other);
        assert!(!batch.has_puts());
        batch.put(&key, &value);
        assert!(batch.has_puts());
        let keys: Vec<_> = batch.ops().map(|op| op.unwrap().key.to_vec()).collect();
        assert_eq!(keys, [other.clone(), key.clone()]);
        let options = WriteOptions::default();
        let last = self.db().write(batch, &options).unwrap();
        let space = self.default_space();
        let ops = vec![(Shared::clone(&space), other, None), (space, key, Some(value))];
        self.committed(last, 2, &options, ops);
    }

    /// A batch of one operation may have a condition.
    fn write_batch_if(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let space = self.default_space();
        let current = space.borrow().get(&key, self.seq).map(|(_, seq)| seq);
        let condition = [Condition::Absent, Condition::Exists][self.input.below(2)];
        let options = WriteOptions::condition(condition);
        let mut batch = WriteBatch::new();
        batch.put(&key, &value);
        let result = self.db().write(batch, &options);
        let ops = vec![(space, key, Some(value))];
        match condition.holds(current) {
            true => self.committed(result.unwrap(), 1, &options, ops),
            false => {
                assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::Conflict));
                self.assert_unwritten(&self.db(), &ops);
            }
        }
    }

    /// Asks for what no store does.
    pub(super) fn be_refused(&mut self) {
        let (db, key) = (self.db(), self.input.key());
        let (batch, mut ops) = self.batch(2);
        let wanted = WriteOptions::condition(Condition::Absent);
        let mut broken = batch.clone();
        broken.put("", "a key has a byte at least");
        let usual = WriteOptions::default();
        let results = [
            db.write(batch.clone(), &wanted),
            wait(db.write_async(batch, &wanted)),
            db.write(broken.clone(), &usual),
            wait(db.write_async(broken, &usual)),
            db.put("", "nothing"),
            db.delete_with([b'k'; 65_536], &usual),
            db.keyspace("no name").map(|_| Seq::ZERO),
            db.drop_keyspace("default").map(|()| Seq::ZERO),
            db.snapshot().and_then(|s| s.keyspace("never")).map(|snapshot| snapshot.seq()),
        ];
        for (index, result) in results.into_iter().enumerate() {
            assert_eq!(result.map_err(|error| error.kind()), invalid(), "{index}");
        }
        ops.push((self.default_space(), key, None));
        self.assert_unwritten(&db, &ops);
    }

    /// None of these was written.
    fn assert_unwritten(&self, db: &Db, ops: &[Write]) {
        assert_eq!(db.seq(), self.seq);
        for (space, key, _) in ops {
            let space = space.borrow();
            let entry = db.keyspace(&space.name).unwrap().get_entry(key).unwrap();
            let found = entry.as_ref().map(|entry| (&entry.value[..], entry.seq));
            assert_eq!(found, space.get(key, self.seq), "{}", key.escape_ascii());
        }
    }

    fn default_space(&self) -> Shared {
        let (keyspace, space) = &self.spaces[0];
        assert_eq!(keyspace.id(), KeyspaceId::DEFAULT);
        Shared::clone(space)
    }
}

fn invalid<T>() -> std::result::Result<T, ErrorKind> {
    Err(ErrorKind::InvalidArgument)
}

/// A store that was closed, or is open for reading only, answers each change so.
pub(super) fn assert_refuses(db: &Db, kind: ErrorKind) {
    let usual = WriteOptions::default();
    let mut batch = WriteBatch::new();
    batch.put("k", "v");
    let results: [Result<()>; 9] = [
        db.put("k", "v").map(drop),
        db.delete("k").map(drop),
        db.write(batch.clone(), &usual).map(drop),
        wait(db.write_async(batch, &usual)).map(drop),
        db.sync(),
        db.flush(),
        db.compact::<&[u8]>(..),
        db.keyspace("of-nobody").map(drop),
        db.drop_keyspace("default"),
    ];
    for (index, result) in results.into_iter().enumerate() {
        assert_eq!(result.map_err(|error| error.kind()), Err(kind), "{index}");
    }
}
