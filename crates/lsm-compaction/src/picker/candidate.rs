//! From tables to a compaction: what must come along, and whether it may run now.

use std::sync::Arc;

use super::Picker;
use crate::compaction::{Compaction, Reason};
use crate::key_range::KeyRange;
use crate::table_meta::{TableMeta, overlapping, total_len};
use crate::version::LEVELS;

impl Picker<'_> {
    /// The compaction of these tables of `level` into `output_level`; `None` if what runs stands
    /// in its way. Requires: `inputs` is not empty, and in L0 has all older tables that overlap it.
    pub(super) fn candidate(
        &self,
        reason: Reason,
        (level, output_level): (usize, usize),
        inputs: Vec<Arc<TableMeta>>,
    ) -> Option<Compaction> {
        let range = KeyRange::hull(&inputs)?;
        let overlapped = if level == output_level {
            Vec::new()
        } else {
            self.tree.overlapping(output_level, &range)
        };
        let hull = KeyRange::hull(inputs.iter().chain(&overlapped))?;
        let grandparents = match output_level + 1 {
            LEVELS => Vec::new(),
            deeper => self.tree.overlapping(deeper, &hull),
        };
        let mut compaction = Compaction {
            reason,
            keyspace: self.keyspace,
            level,
            output_level,
            inputs,
            overlapped,
            grandparents,
            is_trivial_move: false,
        };
        compaction.is_trivial_move = self.is_trivial_move(&compaction);
        self.may_run(&compaction).then_some(compaction)
    }

    /// The same compaction with more tables of its level, if they cost nothing more than
    /// themselves: no further table of the output level, and no more bytes than a compaction may
    /// read. Requires: the level is below L0.
    ///
    /// ```text
    /// level              [c..e]* [f..g]  [h..k]      * was chosen; [f..g] lies in the hull and
    /// output level     [a...........g]  [h...m]        comes along, [h..k] would add [h...m]
    /// ```
    pub(super) fn widen(&self, compaction: Compaction) -> Compaction {
        debug_assert_ne!(compaction.level, 0, "what is older would have to come along");
        let inputs = self.tree.overlapping(compaction.level, &compaction.hull());
        if inputs.len() == compaction.inputs.len() {
            return compaction;
        }
        let levels = (compaction.level, compaction.output_level);
        match self.candidate(compaction.reason, levels, inputs) {
            Some(wider)
                if wider.overlapped.len() == compaction.overlapped.len()
                    && wider.input_bytes() <= self.options.max_compaction_bytes() =>
            {
                wider
            }
            _ => compaction,
        }
    }

    pub(super) fn is_idle(&self, table: &TableMeta) -> bool {
        !self.running.reads(table.number)
    }

    fn may_run(&self, compaction: &Compaction) -> bool {
        let levels = (compaction.level, compaction.output_level);
        compaction.tables().all(|table| self.is_idle(table))
            && !self.running.conflicts(self.keyspace, levels, &compaction.hull())
    }

    fn is_trivial_move(&self, compaction: &Compaction) -> bool {
        let Compaction { level, output_level, inputs, overlapped, grandparents, .. } = compaction;
        level != output_level
            && overlapped.is_empty()
            && (*level != 0 || inputs.len() == 1)
            && inputs.iter().all(|table| {
                let (smallest, largest) = table.bounds();
                let below = overlapping(grandparents, smallest, largest);
                total_len(below) <= self.options.max_grandparent_bytes()
            })
    }
}
