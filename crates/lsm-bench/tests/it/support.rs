//! Plans that end within seconds, on a file system that syncs.

use std::path::{Path, PathBuf};

use lsm_bench::report::Outcome;
use lsm_bench::runner::{self, Plan};
use lsm_bench::store::{EngineFactory, Result, StoreOptions, Tuning};
use lsm_bench::workload::{Effort, Workload};

pub(crate) const KEYS: u64 = 5_000;

/// All workloads, each after one that leaves what it wants.
pub(crate) const WORKLOADS: [Workload; 20] = [
    Workload::FillSeq,
    Workload::ReadSeq,
    Workload::FillRandom,
    Workload::ReadRandom,
    Workload::ReadMissing,
    Workload::Overwrite,
    Workload::SeekRandom,
    Workload::ReadWhileWriting,
    Workload::YcsbA,
    Workload::YcsbB,
    Workload::YcsbC,
    Workload::YcsbF,
    Workload::YcsbD,
    Workload::FillRandom,
    Workload::YcsbE,
    Workload::FillRandom,
    Workload::Queue,
    Workload::DeleteRandom,
    Workload::FillBatch,
    Workload::FillSync,
];

/// A folder below cargo's, since the one for temporary files may be in memory.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub(crate) fn plan(dir: &Path, workloads: &[Workload]) -> Plan {
    Plan {
        workloads: workloads.to_vec(),
        keys: KEYS,
        value_bytes: 100,
        effort: Effort { threads: 2, read_seconds: 0.05, synced_writes: 20, write_rate: 10_000 },
        // Small enough for several flushes.
        store: StoreOptions {
            memtable_bytes: 128 << 10,
            cache_bytes: 1 << 20,
            bloom_bits: 10,
            is_compressed: true,
            tuning: Tuning::Equal,
        },
        dir: PathBuf::from(dir),
    }
}

pub(crate) fn run(engine: &EngineFactory, plan: &Plan) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    runner::run(engine, plan, &mut |outcome| {
        outcomes.push(outcome.clone());
        Ok(())
    })?;
    Ok(outcomes)
}
