//! The scrubber: what was checked once is not believed for ever.
//!
//! A block that is read through a map is checked at its first touch. Damage that the disk does to
//! it later shows only if it is checked again, so every table forgets once in [`ROUND`] which of
//! its blocks were checked. The tables take turns, in the order of their numbers and spread over
//! the round, so that the reads that check again do not come all at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lsm_sstable::Table;

use crate::inner::Inner;

/// In which time every table has its turn.
const ROUND: Duration = Duration::from_secs(24 * 60 * 60);

/// How often somebody looks whose turn it is.
const LOOK: Duration = Duration::from_secs(60);

/// How far a round is.
#[derive(Debug)]
pub(crate) struct Scrub {
    began: Instant,
    looked: Instant,
    /// Tables up to this number had their turn in this round.
    done: u64,
}

impl Scrub {
    pub(crate) fn new(now: Instant) -> Scrub {
        Scrub { began: now, looked: now, done: 0 }
    }

    /// Whether it is time to look whose turn has come.
    fn is_time(&mut self, now: Instant) -> bool {
        let is_time = LOOK <= now.saturating_duration_since(self.looked);
        if is_time {
            self.looked = now;
        }
        is_time
    }

    /// Those of `tables`, ascending by number, whose turn has come at `now`.
    fn due(&mut self, now: Instant, tables: &[(u64, Arc<Table>)]) -> Vec<Arc<Table>> {
        let part = now.saturating_duration_since(self.began).as_secs_f64() / ROUND.as_secs_f64();
        let target = (tables.len() as f64 * part.min(1.0)) as usize;
        let due = tables[..target].iter().filter(|(number, _)| self.done < *number);
        let due = due.map(|(_, table)| Arc::clone(table)).collect();
        if let Some((number, _)) = tables[..target].last() {
            self.done = self.done.max(*number);
        }
        if 1.0 <= part {
            *self = Scrub::new(now);
        }
        due
    }
}

impl Inner {
    /// Lets those tables forget what was checked whose turn has come.
    pub(crate) fn scrub(&self, now: Instant) {
        let mut scrub = self.scrub.lock();
        if !scrub.is_time(now) {
            return;
        }
        let super_version = self.super_versions.load();
        let mut tables: Vec<_> = super_version
            .version
            .tables()
            .map(|(meta, table)| (meta.number, Arc::clone(table)))
            .collect();
        tables.sort_unstable_by_key(|(number, _)| *number);
        for table in scrub.due(now, &tables) {
            table.forget_verified();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Db, ErrorKind, Options, Read};
    use lsm_base::fs::{Fault, FaultFs, MemFs, OpKind};
    use lsm_base::{FileName, Fs};
    use lsm_sstable::{BlockCache, ReadMode, TableSource};

    fn tables(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, Arc<Table>)> {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let table = |number| {
            let source =
                TableSource { fs: Arc::clone(&fs), path: "t".into(), number, id: number, len: 1 };
            (number, Table::new(source, ReadMode::Map, BlockCache::new(0)))
        };
        numbers.into_iter().map(table).collect()
    }

    #[test]
    fn every_table_has_its_turn_once_in_a_round() {
        let start = Instant::now();
        let mut scrub = Scrub::new(start);
        let mut tables = tables(1..=10);
        let numbers = |due: Vec<Arc<Table>>| -> Vec<u64> {
            due.iter().map(|table| table.source().number).collect()
        };
        assert!(scrub.due(start, &tables).is_empty());
        assert_eq!(numbers(scrub.due(start + ROUND / 2, &tables)), [1, 2, 3, 4, 5]);
        assert!(scrub.due(start + ROUND / 2, &tables).is_empty());
        // A compaction replaces some tables; those that come later are behind the others.
        tables.drain(..6);
        assert_eq!(numbers(scrub.due(start + ROUND, &tables)), [7, 8, 9, 10]);
        // The next round.
        assert!(scrub.due(start + ROUND, &tables).is_empty());
        assert_eq!(numbers(scrub.due(start + 3 * ROUND, &tables)), [7, 8, 9, 10]);
    }

    #[test]
    fn a_block_that_died_after_its_first_touch_is_found() {
        let fs = FaultFs::new(Arc::new(MemFs::new()));
        let options =
            Options { background_threads: 0, read_mode: Some(ReadMode::Map), ..Options::default() };
        let db = Db::builder("data").options(options).fs(Arc::new(fs.clone())).open().unwrap();
        db.put("k", "v").unwrap();
        db.flush().unwrap();
        assert!(db.contains("k").unwrap());
        fs.set_plan(|op| {
            let is_table = matches!(op.file_name(), Some(FileName::Table(_)));
            (is_table && op.kind == OpKind::Read).then_some(Fault::Eio)
        });
        db.inner().scrub(Instant::now() + LOOK);
        assert!(db.contains("k").unwrap(), "its turn has not come");
        db.inner().scrub(Instant::now() + ROUND);
        assert_eq!(db.contains("k").unwrap_err().kind(), ErrorKind::Io);
    }
}
