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
    /// The next step for a request: the uppermost level that still holds some of it goes first.
    #[must_use]
    pub fn pick_manual(&self, request: &ManualCompaction) -> ManualStep {
        let is_due = |level: usize, table: &TableMeta| {
            let is_old = match level {
                LAST => table.number < request.before_number,
                _ => table.min_seq <= request.up_to_seq,
            };
            is_old && request.touches(table)
        };
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
    fn touches(&self, table: &TableMeta) -> bool {
        let (smallest, largest) = table.bounds();
        self.start.as_deref().is_none_or(|start| start <= largest)
            && self.end.as_deref().is_none_or(|end| smallest <= end)
    }
}
