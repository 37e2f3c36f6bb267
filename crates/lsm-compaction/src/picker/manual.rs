//! Manual compaction: everything that a range held at one moment goes to the last level, and is
//! written anew there, once.
//!
//! The caller asks for one step after the other. What is written meanwhile is left alone, so there
//! is a fixed amount to do however busy the store is. But nothing is reserved for a request: a step
//! waits as long as jobs that others picked conflict with it, and under a load that keeps its whole
//! range compacting that may be as long as the load lasts.

use std::sync::Arc;

use lsm_base::Seq;

use super::Picker;
use super::leveled::up_to;
use crate::compaction::{Compaction, Reason};
use crate::key_range::KeyRange;
use crate::table_meta::{TableMeta, total_len};
use crate::version::LEVELS;

const LAST: usize = LEVELS - 1;

/// A request to compact a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManualCompaction {
    /// First user key; `None`: from the first on.
    pub start: Option<Box<[u8]>>,
    /// Last user key, included; `None`: to the last.
    pub end: Option<Box<[u8]>>,
    /// Tables that hold nothing as old as this sequence stay where they are.
    pub up_to_seq: Seq,
    /// Tables of the last level with this number or a later one were written for the request.
    pub before_number: u64,
}

/// What is to be done next for a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ManualStep {
    /// This compaction.
    Run(Compaction),
    /// Nothing until a compaction ends.
    Wait,
    /// Nothing.
    Done,
}

impl Picker<'_> {
    /// How many bytes there are to merge for a request, if nothing shrinks by that: those of each
    /// table that is due, once for each level that it is to go down.
    #[must_use]
    pub fn manual_debt(&self, request: &ManualCompaction) -> u64 {
        let due = self.tree.tables().filter(|(level, table)| request.is_due(*level, table));
        due.map(|(level, table)| table.len * self.steps_to_last(level)).sum()
    }

    /// By how much a compaction that was picked for a request lowers that, if nothing shrinks.
    #[must_use]
    pub fn manual_gain(&self, request: &ManualCompaction, compaction: &Compaction) -> u64 {
        let Compaction { level, output_level, .. } = *compaction;
        let mut gain = total_len(&compaction.inputs)
            * match output_level {
                // What is moved there as it is has to be written anew yet.
                LAST if !compaction.is_trivial_move => self.steps_to_last(level),
                _ => self.steps_to_last(level).saturating_sub(self.steps_to_last(output_level)),
            };
        if output_level == LAST {
            let due = compaction.overlapped.iter().filter(|table| request.is_due(LAST, table));
            gain += due.map(|table| table.len).sum::<u64>();
        }
        gain
    }

    /// How many compactions a table of this level takes part in until it is in the last one.
    fn steps_to_last(&self, level: usize) -> u64 {
        let steps = match level {
            0 => 1 + LAST - self.targets().base,
            LAST => 1,
            _ => LAST - level,
        };
        steps as u64
    }

    /// The next step for a request: the uppermost level that still holds some of it goes first.
    #[must_use]
    pub fn pick_manual(&self, request: &ManualCompaction) -> ManualStep {
        let is_due = |level: usize, table: &TableMeta| request.is_due(level, table);
        let first = self.tree.tables().find(|(level, table)| is_due(*level, table));
        let step = match first {
            None => return ManualStep::Done,
            Some((0, _)) => self.pick_level_zero(Reason::Manual, |table| is_due(0, table)),
            Some((level, _)) => self.pick_run(level, |table| is_due(level, table)),
        };
        step.map_or(ManualStep::Wait, ManualStep::Run)
    }

    /// The first tables of a level that are due and neighbours, into the next level if there is one.
    fn pick_run(&self, level: usize, is_due: impl Fn(&TableMeta) -> bool) -> Option<Compaction> {
        let output_level = LAST.min(level + 1);
        let limit = self.options.max_compaction_bytes();
        let work = |table: &TableMeta| match level {
            LAST => table.len,
            _ => {
                let range = KeyRange::new(table.bounds().0, table.bounds().1);
                table.len + total_len(&self.tree.overlapping(output_level, &range))
            }
        };
        let tables = self.tree.level(level);
        (0..tables.len()).filter(|&index| is_due(&tables[index])).find_map(|first| {
            let run = tables[first..].iter().take_while(|table| is_due(table));
            let idle = run.take_while(|table| self.is_idle(table));
            let inputs = up_to(idle, limit, work);
            let single = inputs.first().map(|table| vec![Arc::clone(table)]);
            let wide = self.candidate(Reason::Manual, (level, output_level), inputs);
            wide.or_else(|| self.candidate(Reason::Manual, (level, output_level), single?))
        })
    }
}

impl ManualCompaction {
    /// Whether a table of this level still has to be merged.
    fn is_due(&self, level: usize, table: &TableMeta) -> bool {
        let is_old = match level {
            LAST => table.number < self.before_number,
            _ => table.min_seq <= self.up_to_seq,
        };
        is_old && self.touches(table)
    }

    fn touches(&self, table: &TableMeta) -> bool {
        let (smallest, largest) = table.bounds();
        self.start.as_deref().is_none_or(|start| start <= largest)
            && self.end.as_deref().is_none_or(|end| smallest <= end)
    }
}
