//! Conditional writes: what the caller saw, and whether it still holds under the commit lock.
//!
//! The caller reads the key's version before it queues, from disk if need be. The leader looks in
//! memory only: whatever was written since that read is in the generation that was active then, or
//! in a later one. If that generation has left memory, the caller reads again.

use lsm_base::plant::{self, Plant};
use lsm_base::{KeyspaceId, Kind, Seq, WriteBatch, key};

use crate::error::{Error, Result};
use crate::inner::Inner;
use crate::options::Condition;

/// A condition, and what the caller found out before it queued.
#[derive(Clone, Debug)]
pub(super) struct Check {
    condition: Condition,
    keyspace: KeyspaceId,
    user_key: Box<[u8]>,
    /// The version of the key in memory and on disk at that time, if it had a value.
    found: Option<Seq>,
    /// The generation that was active at that time.
    generation: u64,
}

/// What the leader says to a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Holds,
    /// It does not; the version of the key, if it has a value.
    Conflict(Option<Seq>),
    /// What the caller found is too old to tell.
    ReadAgain,
}

impl Check {
    /// Reads the version of the one key that `batch` writes.
    pub(super) fn prepare(
        inner: &Inner,
        condition: Condition,
        batch: &WriteBatch,
    ) -> Result<Check> {
        let mut ops = batch.ops();
        let (Some(Ok(op)), None) = (ops.next(), ops.next()) else {
            return Err(Error::invalid("a condition needs a batch of exactly one operation"));
        };
        let super_version = inner.super_versions.load();
        let hash = key::hash_user_key(op.key);
        let version =
            super_version.newest_version(op.keyspace, op.key, hash, &inner.metrics.filters);
        let version = version.map_err(|error| inner.note_read_error(error.into()).not_begun())?;
        Ok(Check {
            condition,
            keyspace: op.keyspace,
            user_key: op.key.into(),
            found: value_version(version),
            generation: super_version.active.generation.number,
        })
    }

    /// Requires: the commit lock, and every earlier write applied.
    pub(super) fn verdict(&self, inner: &Inner) -> Verdict {
        let super_version = inner.super_versions.load();
        let hash = key::hash_user_key(&self.user_key);
        let in_memory = super_version.newest_in_memory(self.keyspace, &self.user_key, hash);
        let current = match in_memory {
            _ if plant::is_live(Plant::ConditionJudgedTooEarly) => self.found,
            Some(version) => value_version(Some(version)),
            None if self.generation < super_version.oldest_generation() => {
                return Verdict::ReadAgain;
            }
            None => self.found,
        };
        if self.condition.holds(current) { Verdict::Holds } else { Verdict::Conflict(current) }
    }
}

/// The version of a key as a condition sees it: a tombstone is no value.
fn value_version(version: Option<(Seq, Kind)>) -> Option<Seq> {
    match version {
        Some((seq, Kind::Put)) => Some(seq),
        Some((_, Kind::Delete)) | None => None,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use lsm_base::fs::MemFs;

    use super::*;
    use crate::error::ErrorKind;
    use crate::{Db, Options};

    fn store() -> Db {
        let options = Options { background_threads: 0, ..Options::default() };
        Db::builder("db").options(options).fs(Arc::new(MemFs::new())).open().unwrap()
    }

    fn prepared(db: &Db, condition: Condition) -> Check {
        let mut batch = WriteBatch::new();
        batch.put("a", "new");
        Check::prepare(db.inner(), condition, &batch).unwrap()
    }

    #[test]
    fn a_condition_is_judged_by_what_is_there_at_its_turn() {
        let db = store();
        let absent = prepared(&db, Condition::Absent);
        assert_eq!(absent.verdict(db.inner()), Verdict::Holds);
        let seq = db.put("a", "1").unwrap();
        assert_eq!(absent.verdict(db.inner()), Verdict::Conflict(Some(seq)));
        let same = prepared(&db, Condition::Seq(seq));
        assert_eq!(same.verdict(db.inner()), Verdict::Holds);
        db.delete("a").unwrap();
        assert_eq!(absent.verdict(db.inner()), Verdict::Holds);
        assert_eq!(same.verdict(db.inner()), Verdict::Conflict(None));
    }

    #[test]
    fn what_may_have_left_memory_since_is_read_again() {
        let db = store();
        let seq = db.put("a", "1").unwrap();
        let before = prepared(&db, Condition::Seq(seq));
        db.put("b", "1").unwrap();
        db.flush().unwrap();
        assert_eq!(before.verdict(db.inner()), Verdict::ReadAgain);
        // What was read on disk holds as long as nothing newer is in memory.
        let same = prepared(&db, Condition::Seq(seq));
        assert_eq!(same.verdict(db.inner()), Verdict::Holds);
        let absent = prepared(&db, Condition::Absent);
        assert_eq!(absent.verdict(db.inner()), Verdict::Conflict(Some(seq)));
        db.delete("a").unwrap();
        db.flush().unwrap();
        assert_eq!(prepared(&db, Condition::Absent).verdict(db.inner()), Verdict::Holds);
    }

    #[test]
    fn a_condition_is_of_one_operation() {
        let db = store();
        let mut batch = WriteBatch::new();
        for _ in 0..2 {
            let error = Check::prepare(db.inner(), Condition::Absent, &batch);
            let error = error.map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            batch.put("a", "1");
            batch.put("b", "1");
        }
    }
}
