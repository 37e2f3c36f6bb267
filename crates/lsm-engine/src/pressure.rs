//! How far background work is behind, as a number.

use lsm_compaction::LEVELS;

use crate::build::L0_TRIGGER;
use crate::inner::Inner;

/// Level 0 may hold so many times its trigger before pressure is 1.
const L0_LIMIT: f64 = 5.0 * L0_TRIGGER as f64;

/// Levels may exceed their targets by so many tables' bytes, together, before pressure is 1.
const DEBT_LIMIT_TABLES: f64 = 64.0;

impl Inner {
    /// How far background work is behind: what was measured last, and memory as it is now, since
    /// generations are sealed where nothing can be measured.
    pub(crate) fn write_pressure(&self) -> f64 {
        self.admission.pressure().max(self.memory_pressure())
    }

    /// How much of the memory that may wait for its flush does.
    fn memory_pressure(&self) -> f64 {
        let sealed = self.super_versions.load().sealed.len();
        sealed as f64 / (self.options.max_sealed as f64 + 1.0)
    }

    /// Measures the pressure anew, and with it how fast writes may come.
    pub(crate) fn update_pressure(&self) {
        let super_version = self.super_versions.load();
        let running = self.background.compacting.lock();
        let mut tree_pressure: f64 = 0.0;
        for (keyspace, tree) in super_version.version.state.version.trees() {
            let l0 = tree.level(0).len() as f64 / L0_LIMIT;
            let scores = self.with_picker(keyspace, tree, &running, |picker| picker.scores());
            let debt: u64 = scores[1..LEVELS - 1]
                .iter()
                .map(|score| score.bytes.saturating_sub(score.target_bytes))
                .sum();
            let debt_limit = DEBT_LIMIT_TABLES
                * self.options.table_size.max(self.options.memtable_size as u64) as f64;
            tree_pressure = tree_pressure.max(l0).max(debt as f64 / debt_limit);
        }
        drop(running);
        self.set_pressure(self.memory_pressure().max(tree_pressure));
    }

    /// Sets the price of writes, and lets those go that wait although nothing is owed any more.
    pub(crate) fn set_pressure(&self, pressure: f64) {
        self.admission.set_pressure(pressure);
        if let (true, Some(side)) = (self.admission.is_free(), &self.write_side) {
            side.commit.relieve();
        }
    }
}
