//! Two workloads on a store of one's own: a `BTreeMap` behind a lock.
//!
//! ```text
//! cargo run --release -p lsm-bench --example btree_map
//! ```
//!
//! What it prints is the price of the measurement itself, and of a map that keeps nothing on disk:
//! no figure to hold against a store that does.

#![forbid(unsafe_code)]

mod store;

use lsm_bench::StoreOptions;
use lsm_bench::report;
use lsm_bench::runner::{self, Plan};
use lsm_bench::store::{Result, Tuning};
use lsm_bench::workload::{Effort, Workload};

fn main() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("lsm-bench-btree-map-{}", std::process::id()));
    let plan = Plan {
        workloads: vec![Workload::FillRandom, Workload::ReadRandom],
        keys: 100_000,
        value_bytes: 100,
        effort: Effort { threads: 1, read_seconds: 0.5, synced_writes: 0, write_rate: 0 },
        store: StoreOptions {
            memtable_bytes: 0,
            cache_bytes: 0,
            bloom_bits: 0,
            is_compressed: false,
            tuning: Tuning::Equal,
        },
        dir: dir.clone(),
    };
    let mut outcomes = Vec::new();
    runner::run(&store::FACTORY, &plan, &mut |outcome| {
        outcomes.push(outcome.clone());
        Ok(())
    })?;
    std::fs::remove_dir_all(dir)?;
    println!("{}", report::table(&[outcomes]));
    Ok(())
}
