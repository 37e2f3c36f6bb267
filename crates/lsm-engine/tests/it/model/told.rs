//! What the store says of itself: how far long calls are, how well it is, how much it holds.
//!
//! None of that is data, and most of it depends on options and timing. What is held here is true
//! under every set of options, whatever runs in the background.

use std::collections::BTreeSet;
use std::ops::Bound;

use lsm_engine::{Db, Health, Keyspace, KeyspaceId, KeyspaceLevels, Progress, Seq, TableInfo};

use super::driver::Driver;
use super::held::Shared;
use super::oracle::{Seen, Space};

/// What of the limit of level 0 may be used when nothing is left to compact.
const PRESSURE_WHEN_IDLE: f64 = 0.2;

impl Driver {
    /// Half of the time the call that is handed a progress, which must tell of all of it.
    fn tells(
        &mut self,
        quiet: impl FnOnce(&Db),
        telling: impl FnOnce(&Db, &Progress),
    ) -> Option<Progress> {
        let db = self.db();
        if self.input.once_in(2) {
            quiet(&db);
            return None;
        }
        let progress = Progress::new();
        assert_eq!((progress.done_bytes(), progress.total_bytes()), (0, 0));
        telling(&db, &progress.clone());
        assert_complete(&progress);
        self.figures.told += 1;
        Some(progress)
    }

    pub(super) fn flush(&mut self) {
        self.tells(|db| db.flush().unwrap(), |db, progress| db.flush_with(progress).unwrap());
        self.all_synced();
        // The first half of each visible value is random: no table holds it in less.
        let values: usize = {
            let space = self.spaces[0].1.borrow();
            visible(&space, self.seq).map(|(_, value, _)| value.len() / 2).sum()
        };
        let size = self.db().approximate_size::<&[u8]>(..).unwrap();
        assert!(values as u64 <= size, "{values} bytes of values in tables of {size}");
        if self.input.once_in(2) {
            self.wait_idle();
            let pressure = self.db().write_pressure();
            assert!(pressure <= PRESSURE_WHEN_IDLE, "{pressure} with nothing to do");
            self.write_at_once();
        }
    }

    pub(super) fn wait_idle(&mut self) {
        let db = self.db();
        db.wait_idle().unwrap();
        // What lists every table takes its time.
        if !self.input.once_in(4) {
            return;
        }
        assert!(db.levels().iter().all(|keyspace| keyspace.compactions.is_empty()));
    }

    pub(super) fn verify(&mut self) {
        let mut report = None;
        let progress = self.tells(
            |db| assert!(db.verify().unwrap().is_clean()),
            |db, progress| report = Some(db.verify_with(progress).unwrap()),
        );
        let (Some(report), Some(progress)) = (report, progress) else { return };
        assert!(report.is_clean(), "{report:?}");
        // The MANIFEST is never empty.
        let total = progress.total_bytes();
        assert!(report.table_bytes < total, "{total} bytes for {report:?}");
    }

    pub(super) fn compact(&mut self) {
        if self.input.once_in(4) {
            self.tells(
                |db| db.compact::<&[u8]>(..).unwrap(),
                |db, progress| db.compact_with::<&[u8]>(.., progress).unwrap(),
            );
            self.assert_compact();
        } else {
            let bounds = self.input.bounds();
            self.tells(
                |db| db.compact(bounds.clone()).unwrap(),
                |db, progress| db.compact_with(bounds.clone(), progress).unwrap(),
            );
        }
        self.wake_cursors();
    }

    /// Everything was merged into the last level, and nobody has written since.
    fn assert_compact(&self) {
        let levels = self.db().levels();
        for (keyspace, space) in &self.spaces {
            let found = levels.iter().find(|levels| levels.id == keyspace.id()).unwrap();
            let (last, above) = found.levels.split_last().unwrap();
            assert!(above.iter().all(|level| level.tables.is_empty()), "{found:?}");
            let entries: u64 = last.tables.iter().map(|table| table.entries).sum();
            let expected = visible(&space.borrow(), self.seq).count() as u64;
            assert!(expected <= entries, "{entries} entries for {expected}");
        }
    }

    pub(super) fn look_at_levels(&mut self) {
        let db = self.db();
        self.heard.assert_counted(|| db.metrics());
        self.assert_well(&db);
        let all = db.levels();
        self.assert_listed(&all);
        for keyspace in all {
            let sealed = keyspace.memtables.iter().filter(|memtable| memtable.is_sealed).count();
            self.figures.sealed = self.figures.sealed.max(sealed);
            let mut used = 0;
            for level in &keyspace.levels {
                used += usize::from(!level.tables.is_empty());
                let is_run = level.tables.windows(2).all(|pair| pair[0].largest < pair[1].smallest);
                assert!(level.level == 0 || is_run, "level {} overlaps", level.level);
            }
            self.figures.levels = self.figures.levels.max(used);
        }
    }

    /// The levels are those of every keyspace.
    fn assert_listed(&self, levels: &[KeyspaceLevels]) {
        let found: BTreeSet<_> =
            levels.iter().map(|levels| (levels.id, &levels.name[..])).collect();
        let spaces = self.spaces.iter().map(|(space, _)| (space.id(), Keyspace::name(space)));
        assert_eq!(found, spaces.collect());
    }

    /// It runs, and has counted what was written.
    fn assert_well(&self, db: &Db) {
        assert_eq!(db.health(), Health::Running);
        let metrics = db.metrics();
        let pressures = [db.write_pressure(), metrics.write_pressure];
        assert!(pressures.iter().all(|pressure| pressure.is_finite() && 0.0 <= *pressure));
        let written = (self.written.puts, self.written.deletes);
        assert_eq!((metrics.puts, metrics.deletes), written);
        assert_eq!(metrics.snapshots, self.snapshots.len());
        assert_eq!(metrics.corruptions, 0);
    }

    /// Asks how much is in three ranges, which together are all.
    pub(super) fn ask_for_size(&mut self) {
        let db = self.db();
        let (one, other) = (self.input.key(), self.input.key());
        let (start, end) = if one < other { (one, other) } else { (other, one) };
        let before = tables(&db);
        let size = |from: Bound<&Vec<u8>>, to: Bound<&Vec<u8>>| {
            db.approximate_size((from.cloned(), to.cloned())).unwrap()
        };
        let all = db.approximate_size::<&[u8]>(..).unwrap();
        let [below, within, behind, from_start] = [
            size(Bound::Unbounded, Bound::Excluded(&start)),
            size(Bound::Included(&start), Bound::Excluded(&end)),
            size(Bound::Included(&end), Bound::Unbounded),
            size(Bound::Included(&start), Bound::Unbounded),
        ];
        if numbers(&before) != numbers(&tables(&db)) {
            // A table came or went between two answers, so they are of different trees.
            return;
        }
        self.figures.sizes += 1;
        let bytes = |tables: &mut dyn Iterator<Item = &TableInfo>| -> u64 {
            tables.map(|table| table.bytes).sum()
        };
        assert_eq!(all, bytes(&mut before.iter()), "the whole range is all tables");
        assert!(within <= from_start && from_start <= all, "{within}, {from_start}, {all}");
        assert!(all <= below + within + behind, "{below} + {within} + {behind} for {all}");
        // A bound that is the last key of a table may count what comes of it twice.
        let ends = |bound: &Vec<u8>| bytes(&mut before.iter().filter(|t| t.largest == *bound));
        let most = all + ends(&start) + ends(&end);
        assert!(below + within + behind <= most, "{below} + {within} + {behind} for {all}");
        let touches = |table: &&TableInfo| table.smallest <= end && start <= table.largest;
        let most = bytes(&mut before.iter().filter(touches));
        assert!(within <= most, "{within} bytes in tables of {most}");
    }
}

/// A call that succeeded told all of its work.
pub(super) fn assert_complete(progress: &Progress) {
    let (done, total) = (progress.done_bytes(), progress.total_bytes());
    assert_eq!(done, total);
    assert_eq!(progress.fraction(), if total == 0 { 0.0 } else { 1.0 });
}

/// What a verification of a store that was closed reads: all of it is in tables.
pub(super) fn visible_in(spaces: &[Shared], seq: Seq) -> u64 {
    spaces.iter().map(|space| visible(&space.borrow(), seq).count() as u64).sum()
}

fn visible(space: &Space, seq: Seq) -> impl Iterator<Item = Seen<'_>> {
    space.range(&(Bound::Unbounded, Bound::Unbounded), seq)
}

/// The tables of the default keyspace.
fn tables(db: &Db) -> Vec<TableInfo> {
    let levels = db.levels().into_iter().find(|levels| levels.id == KeyspaceId::DEFAULT).unwrap();
    levels.levels.into_iter().flat_map(|level| level.tables).collect()
}

fn numbers(tables: &[TableInfo]) -> BTreeSet<u64> {
    tables.iter().map(|table| table.number).collect()
}
