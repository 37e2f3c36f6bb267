//! A directory: the engine in this process.

use std::cell::Cell;
use std::ops::Bound;
use std::path::Path;

use lsm_engine::base::fs::{Fs, StdFs};
use lsm_engine::base::{FileName, WriteBatch};
use lsm_engine::{
    Condition, Db, Durability, Error, ErrorKind, Health, Keyspace, Options, Progress as Told,
    Read as _, RecoveryReport, WriteOptions,
};
use lsm_server::wire::{ItemRef, Stats, Tree};

use super::{Access, Direction, Found, Pair, PutCondition, Range, Source, Unfinished, Wanted};
use crate::exit::{Failure, Outcome, say};
use crate::progress::Progress;
use crate::text;

/// A directory that was opened, and one of its keyspaces.
pub(crate) struct Directory {
    db: Db,
    keyspace: Keyspace,
    /// Whether something was written that may not be on disk.
    is_unsynced: Cell<bool>,
}

impl Directory {
    /// Opens the directory. Only a command that stores something begins a new database, and only
    /// it creates a keyspace.
    pub(super) fn open(path: &Path, keyspace: Option<&str>, access: Access) -> Outcome<Directory> {
        if access != Access::Create {
            must_exist(path)?;
        }
        let builder = Db::builder(path);
        let db = match access {
            Access::Read => builder.open_read_only(),
            Access::Change | Access::Create => builder.open(),
        }?;
        tell_of_drop(db.recovery_report());
        let name = keyspace.unwrap_or("default");
        let keyspace = match access {
            Access::Create => db.keyspace(name)?,
            Access::Read | Access::Change => find_keyspace(&db, name)?,
        };
        Ok(Directory::of(db, keyspace))
    }

    fn of(db: Db, keyspace: Keyspace) -> Directory {
        Directory { db, keyspace, is_unsynced: Cell::new(false) }
    }

    fn write(&self, batch: WriteBatch, options: &WriteOptions) -> Outcome {
        self.db.write(batch, options)?;
        Ok(())
    }
}

/// Says on stderr what the open found that did not come through the last crash: it is no damage if
/// the power failed, and nothing else would tell the two apart.
pub(super) fn tell_of_drop(report: &RecoveryReport) {
    if let Some(reason) = &report.drop_reason {
        let bytes = text::count(report.dropped_bytes, "byte", "bytes");
        say(&format!("the end of the log, {bytes}, did not survive a crash: {reason}"));
    }
    if report.manifest_dropped_bytes != 0 {
        let bytes = text::count(report.manifest_dropped_bytes, "byte", "bytes");
        say(&format!("the end of the MANIFEST, {bytes}, did not survive a crash"));
    }
}

/// Refuses a directory without any file of a database, where opening it would begin one.
///
/// Where CURRENT alone is gone, the engine says what is wrong.
pub(crate) fn must_exist(path: &Path) -> Outcome {
    let entries = if StdFs.exists(path)? { StdFs.list(path)? } else { Vec::new() };
    if entries.iter().any(|entry| FileName::parse(&entry.name).is_some()) {
        return Ok(());
    }
    let message = format!("there is no database in {}", path.display());
    Err(Failure::error(message + "; `lsm put` and `lsm import` begin one"))
}

fn find_keyspace(db: &Db, name: &str) -> Outcome<Keyspace> {
    let keyspaces = db.keyspaces()?;
    if let Some(found) = keyspaces.iter().find(|keyspace| keyspace.name() == name) {
        return Ok(found.clone());
    }
    let names: Vec<&str> = keyspaces.iter().map(Keyspace::name).collect();
    Err(Failure::error(format!("there is no keyspace {name:?}; there are: {}", names.join(", "))))
}

impl Source for Directory {
    fn get(&self, key: &[u8]) -> Outcome<Option<Found>> {
        let entry = self.keyspace.get_entry(key)?;
        Ok(entry.map(|entry| Found { value: entry.value.into(), seq: entry.seq.get() }))
    }

    fn put(&self, key: &[u8], value: &[u8], condition: PutCondition) -> Outcome {
        let options = match condition {
            PutCondition::Always => WriteOptions::default(),
            PutCondition::Absent => WriteOptions::condition(Condition::Absent),
            PutCondition::Seq(seq) => WriteOptions::condition(Condition::Seq(seq)),
        };
        self.keyspace.put_with(key, value, &options)?;
        Ok(())
    }

    fn delete(&self, keys: &[Vec<u8>]) -> Outcome {
        let mut batch = WriteBatch::new();
        for key in keys {
            batch.delete_in(&self.keyspace, key);
        }
        Directory::write(self, batch, &WriteOptions::default())
    }

    fn delete_existing(&self, key: &[u8]) -> Outcome<bool> {
        let options = WriteOptions::condition(Condition::Exists);
        match self.keyspace.delete_with(key, &options) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, pairs: &[Pair]) -> Outcome {
        let mut batch = WriteBatch::new();
        for pair in pairs {
            batch.put_in(&self.keyspace, &pair.key, &pair.value);
        }
        self.is_unsynced.set(true);
        Directory::write(self, batch, &WriteOptions::durability(Durability::Buffered))
    }

    fn scan(
        &self,
        range: &Range,
        what: Wanted,
        each: &mut dyn FnMut(ItemRef<'_>) -> Outcome,
    ) -> Outcome {
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let start = Bound::Included(&range.start[..]);
        let mut cursor = self.keyspace.cursor_in::<&[u8]>((start, end))?;
        match range.direction {
            Direction::Up => cursor.seek_to_first()?,
            Direction::Down => cursor.seek_to_last()?,
        }
        let mut left = range.limit.unwrap_or(u64::MAX);
        while cursor.valid() && left != 0 {
            let value = (what == Wanted::KeysAndValues).then(|| cursor.value());
            each(ItemRef { key: cursor.key(), value, seq: Some(cursor.entry_seq().get()) })?;
            left -= 1;
            match range.direction {
                Direction::Up => cursor.next()?,
                Direction::Down => cursor.prev()?,
            }
        }
        Ok(())
    }

    fn stats(&self) -> Outcome<Stats> {
        // What a server would say of a store in this state; a store that is open for reading
        // only is as ready as a command needs it.
        let state = match self.db.health() {
            Health::NoSpace => "no_space",
            Health::LowSpace => "low_space",
            Health::Poisoned(_) => "poisoned",
            _ => "ready",
        };
        // It was opened with the default options, whatever another program asks of it.
        let durability = match Options::default().durability {
            Durability::Sync => "sync",
            Durability::Buffered => "buffered",
        };
        Ok(Stats::of(&self.db, durability, state, self.db.opened().elapsed()))
    }

    fn tree(&self) -> Outcome<Tree> {
        Ok(Tree::of(&self.db))
    }

    fn flush(&self, progress: &Progress) -> Outcome {
        let told = Told::new();
        Ok(progress.follow(&told, || self.db.flush_with(&told))?)
    }

    fn compact(&self, start: Option<&[u8]>, end: Option<&[u8]>, progress: &Progress) -> Outcome {
        let start = start.map_or(Bound::Unbounded, Bound::Included);
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let told = Told::new();
        let work = || self.db.compact_with::<&[u8]>((start, end), &told);
        Ok(progress.follow(&told, work)?)
    }

    fn close(self: Box<Self>) -> Result<(), Unfinished> {
        // The batches went ahead of the disk. A store that stopped behind the last of them, because
        // the disk was full or a sync failed, has to say so here.
        let synced = if self.is_unsynced.get() { self.db.sync() } else { Ok(()) };
        let closed = self.db.close();
        // A store whose disk is full refuses the sync, and syncs its log when it is closed. If that
        // failed, the answer is the failure itself; else it is no more than that the disk is full.
        let is_full = |error: &Error| error.kind() == ErrorKind::NoSpace && error.base().is_none();
        let is_safe = synced.is_ok() || closed.as_ref().is_err_and(is_full);
        let ended = synced.and(closed);
        ended.map_err(|error| Unfinished { failure: error.into(), is_safe })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use lsm_base::fs::{Fault, FaultFs, Keep, MemFs};

    use super::*;

    fn open(fs: Arc<dyn Fs>) -> Directory {
        // Without threads, so that nothing happens but what the test asks for.
        let options = Options { background_threads: 0, ..Default::default() };
        let db = Db::builder("db").fs(fs).options(options).open().unwrap();
        let keyspace = db.keyspace("default").unwrap();
        Directory::of(db, keyspace)
    }

    /// An empty directory on a disk of so many bytes.
    pub(crate) fn in_memory(capacity: u64) -> (MemFs, Directory) {
        let memory = MemFs::new();
        memory.set_capacity(capacity);
        let directory = open(Arc::new(memory.clone()));
        (memory, directory)
    }

    /// How many items are left of such a directory after a loss of power, on a disk with room.
    pub(crate) fn count_after_power_loss(memory: &MemFs) -> usize {
        let left = memory.crash(Keep::SyncedOnly);
        left.set_capacity(1 << 30);
        let directory = open(Arc::new(left));
        let mut count = 0;
        let each = &mut |_: ItemRef<'_>| {
            count += 1;
            Ok(())
        };
        directory.scan(&Range::default(), Wanted::Keys, each).unwrap();
        count
    }

    /// A directory with a batch in it that is not on disk, and a full disk.
    pub(crate) fn on_a_full_disk() -> Directory {
        let directory = stopped_by(".sst", Fault::Enospc);
        assert_eq!(directory.db.health(), Health::NoSpace);
        directory
    }

    /// A directory with a batch in it that is not on disk, and that no other can follow.
    pub(crate) fn poisoned() -> Directory {
        let directory = stopped_by("MANIFEST", Fault::Eio);
        assert!(matches!(directory.db.health(), Health::Poisoned(_)));
        directory
    }

    /// A directory with a batch in it that is not on disk. The flush that was to bring it there
    /// failed, as every call does that is about a file with this in its name.
    fn stopped_by(part: &'static str, fault: Fault) -> Directory {
        let disk = Arc::new(FaultFs::new(Arc::new(MemFs::new())));
        let directory = open(Arc::clone(&disk) as Arc<dyn Fs>);
        let pair = Pair { key: b"key".to_vec(), value: vec![7; 300] };
        Source::write(&directory, &[pair]).unwrap();
        disk.set_plan(move |op| op.path.to_string_lossy().contains(part).then_some(fault));
        directory.db.flush().unwrap_err();
        directory
    }

    #[test]
    fn a_store_that_stopped_behind_the_last_batch_is_no_good_end() {
        for (stopped, words, is_safe) in
            [(on_a_full_disk(), "free some space", true), (poisoned(), "MANIFEST", false)]
        {
            let unfinished = Box::new(stopped).close().unwrap_err();
            let Failure::Said { message, .. } = &unfinished.failure else {
                panic!("{unfinished:?}");
            };
            assert!(message.contains(words), "{message}");
            assert_eq!(unfinished.is_safe, is_safe);
        }
    }

    #[test]
    fn a_write_that_is_done_is_no_failure_because_of_what_comes_behind_it() {
        assert_eq!(Box::new(on_a_full_disk()).finish_write(), Ok(()));
        Box::new(on_a_full_disk()).finish().unwrap_err();
        Box::new(poisoned()).finish_write().unwrap_err();
    }
}
