//! The leveled policy: which tables of a full level go down, and what is done when none is full.

use std::sync::Arc;

use super::Picker;
use crate::compaction::{Compaction, Reason};
use crate::key_range::KeyRange;
use crate::table_meta::{Mark, TableMeta, total_len};
use crate::version::LEVELS;

const LAST: usize = LEVELS - 1;

impl Picker<'_> {
    /// From the full level with the highest score that can be helped now.
    pub(super) fn pick_full_level(&self) -> Option<Compaction> {
        let mut full: Vec<_> = self.scores()[..LAST].to_vec();
        full.retain(|level| 1.0 <= level.fill);
        full.sort_by(|a, b| b.score.total_cmp(&a.score));
        full.iter().find_map(|full| match full.level {
            0 => self.pick_level_zero(Reason::LevelZero, |_| true),
            level => self.pick_level(level),
        })
    }

    /// From L0 into the base level: the oldest table that `is_seed`, and as many more as overlap.
    pub(super) fn pick_level_zero(
        &self,
        reason: Reason,
        is_seed: impl Fn(&TableMeta) -> bool,
    ) -> Option<Compaction> {
        let tables = self.tree.level(0);
        let base = self.targets().base;
        let seeds = tables.iter().enumerate().rev().filter(|(_, table)| is_seed(table));
        seeds.into_iter().find_map(|(seed, _)| {
            let inputs = self.level_zero_inputs(seed)?;
            self.candidate(reason, (0, base), inputs)
        })
    }

    /// The table at `seed` with every older one that it drags along, and then newer ones that
    /// overlap these, as long as a compaction may read so much. `None` if a running compaction
    /// reads one of the first.
    ///
    /// ```text
    /// newest   [a..c]    comes along, if it is not too much
    ///                 [m..p]    overlaps nothing that was chosen: stays
    ///              [b.....f]    the seed
    /// oldest            [e..k]    must come along: what it holds of `e` is older than the seed's
    /// ```
    fn level_zero_inputs(&self, seed: usize) -> Option<Vec<Arc<TableMeta>>> {
        let tables = self.tree.level(0);
        let is_idle = |chosen: &[bool]| {
            tables.iter().zip(chosen).all(|(table, is_in)| !is_in || self.is_idle(table))
        };
        let mut chosen = vec![false; tables.len()];
        let mut range = choose_with_older(tables, &mut chosen, seed, None);
        if !is_idle(&chosen) {
            return None;
        }
        for newer in (0..tables.len()).rev() {
            if chosen[newer] || !range.overlaps_table(&tables[newer]) {
                continue;
            }
            let mut wider = chosen.clone();
            let wider_range = choose_with_older(tables, &mut wider, newer, Some(range.clone()));
            let bytes = total_len(select(tables, &wider));
            if self.options.max_compaction_bytes() < bytes || !is_idle(&wider) {
                break;
            }
            (chosen, range) = (wider, wider_range);
        }
        Some(select(tables, &chosen).cloned().collect())
    }

    /// From a level below L0 into the next: the table that makes the least work for its size.
    fn pick_level(&self, level: usize) -> Option<Compaction> {
        let mut best: Option<(bool, f64, Compaction)> = None;
        for table in self.tree.level(level).iter() {
            let inputs = vec![Arc::clone(table)];
            let Some(candidate) = self.candidate(Reason::LevelSize, (level, level + 1), inputs)
            else {
                continue;
            };
            let is_sparse = !self.is_dense(table);
            let ratio = total_len(&candidate.overlapped) as f64 / compensated_len(table);
            let is_better = match &best {
                None => true,
                Some((best_sparse, best_ratio, _)) => {
                    (is_sparse, ratio) < (*best_sparse, *best_ratio)
                }
            };
            if is_better {
                best = Some((is_sparse, ratio, candidate));
            }
        }
        best.map(|(_, _, candidate)| self.widen(candidate))
    }

    /// A dense table: a level down; in the last level written anew, if all tombstones go by that.
    pub(super) fn pick_tombstones(&self) -> Option<Compaction> {
        (1..LEVELS).rev().find_map(|level| {
            let output_level = LAST.min(level + 1);
            let dense = self.tree.level(level).iter().filter(|table| self.is_dense(table));
            let mut ready =
                dense.filter(|table| level < LAST || table.max_seq <= self.oldest_snapshot);
            ready.find_map(|table| {
                let inputs = vec![Arc::clone(table)];
                self.candidate(Reason::Tombstones, (level, output_level), inputs)
            })
        })
    }

    /// Neighbouring tables that wait for recompression, in a level where nothing runs.
    pub(super) fn pick_marked(&self) -> Option<Compaction> {
        let is_quiet = |level: usize| {
            self.running.of(self.keyspace).all(|job| level < job.level || job.output_level < level)
        };
        (1..LEVELS).filter(|level| is_quiet(*level)).find_map(|level| {
            let tables = self.tree.level(level);
            let is_marked = |table: &&Arc<TableMeta>| table.mark == Mark::Recompress;
            let first = tables.iter().position(|table| is_marked(&table))?;
            let run = tables[first..].iter().take_while(is_marked);
            let inputs = up_to(run, self.options.max_compaction_bytes(), |table| table.len);
            self.candidate(Reason::Recompression, (level, level), inputs)
        })
    }

    fn is_dense(&self, table: &TableMeta) -> bool {
        let percent = u128::from(self.options.tombstone_percent.max(1));
        percent * u128::from(table.entries) <= 100 * u128::from(table.tombstones)
    }
}

/// As many tables from the front as `limit` bytes allow, and at least one.
pub(super) fn up_to<'a>(
    tables: impl Iterator<Item = &'a Arc<TableMeta>>,
    limit: u64,
    bytes: impl Fn(&TableMeta) -> u64,
) -> Vec<Arc<TableMeta>> {
    let mut total = 0_u64;
    let mut taken = Vec::new();
    for table in tables {
        total = total.saturating_add(bytes(table));
        if limit < total && !taken.is_empty() {
            break;
        }
        taken.push(Arc::clone(table));
    }
    taken
}

/// The length of a table, and once more for the tombstones in it: what they hide goes too.
fn compensated_len(table: &TableMeta) -> f64 {
    let tombstones = table.tombstones as f64 / table.entries.max(1) as f64;
    table.len.max(1) as f64 * (1.0 + tombstones)
}

fn select<'a>(
    tables: &'a [Arc<TableMeta>],
    chosen: &'a [bool],
) -> impl Iterator<Item = &'a Arc<TableMeta>> {
    tables.iter().zip(chosen).filter(|(_, is_in)| **is_in).map(|(table, _)| table)
}

/// Chooses a table of L0, and every older one that overlaps what is chosen, until none does.
fn choose_with_older(
    tables: &[Arc<TableMeta>],
    chosen: &mut [bool],
    first: usize,
    range: Option<KeyRange>,
) -> KeyRange {
    chosen[first] = true;
    let own = || KeyRange::new(tables[first].bounds().0, tables[first].bounds().1);
    let mut range = range.map_or_else(own, |range| range.and_table(&tables[first]));
    let newest = chosen.iter().position(|is_in| *is_in).expect("the first is chosen");
    loop {
        let more = (newest + 1..tables.len())
            .find(|&index| !chosen[index] && range.overlaps_table(&tables[index]));
        match more {
            Some(index) => {
                chosen[index] = true;
                range = range.and_table(&tables[index]);
            }
            None => return range,
        }
    }
}
