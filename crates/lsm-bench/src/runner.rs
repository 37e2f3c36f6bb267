//! One engine's workloads, in this process.
//!
//! A workload that fills the store gets a new one; the others go on with what is there. Between
//! two workloads the store is idle, so each begins with a settled tree and pays for its own work.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::data::DataSet;
use crate::measure::{MemoryWatch, Usage, disk_bytes, file_system_type};
use crate::report::Outcome;
use crate::store::{EngineFactory, Result, Store, StoreOptions};
use crate::workload::{Effort, SCANNED, Workload};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The workloads, in this order.
    pub workloads: Vec<Workload>,
    /// How many keys.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// How much of each workload.
    pub effort: Effort,
    /// What is the same for every engine.
    pub store: StoreOptions,
    /// Where the stores go; each gets a directory of its own there, removed at the end. What a
    /// failed run leaves, stays to be looked at.
    pub dir: PathBuf,
}

impl Plan {
    /// Checks that every workload will find what it wants, and has something to do.
    ///
    /// # Errors
    /// One that reads without a fill before it, or after keys were deleted or added; no workload, or
    /// less of something than there must be.
    pub fn check(&self) -> Result<()> {
        let has = |workload| self.workloads.contains(&workload);
        for (what, count) in [
            ("workloads", self.workloads.len() as u64),
            ("keys", self.keys),
            ("value bytes", self.value_bytes as u64),
            ("threads", self.effort.threads.into()),
            ("synced writes", if has(Workload::FillSync) { self.effort.synced_writes } else { 1 }),
            (
                "the write rate",
                if has(Workload::ReadWhileWriting) { self.effort.write_rate } else { 1 },
            ),
        ] {
            if count == 0 {
                return Err(format!("{what} must be one or more").into());
            }
        }
        let mut is_full = false;
        for workload in &self.workloads {
            let name = workload.name();
            if workload.needs_full_store() && !is_full {
                return Err(format!("{name} wants every key; run fillrandom before it").into());
            }
            is_full = workload.fills_store() || is_full && workload.keeps_keys();
        }
        let queue = SCANNED + u64::from(self.effort.threads);
        if has(Workload::Queue) && self.keys < queue {
            return Err(format!("a queue wants {queue} keys or more").into());
        }
        Ok(())
    }
}

/// Runs the plan with one engine, and gives each outcome to `report`.
///
/// # Errors
/// What the store reports; a value that is not the one written; a workload that did nothing; a
/// synced one on a file system in memory; a plan that [`Plan::check`] refuses.
pub fn run(
    engine: &EngineFactory,
    plan: &Plan,
    report: &mut dyn FnMut(&Outcome) -> Result<()>,
) -> Result<()> {
    plan.check()?;
    fs::create_dir_all(&plan.dir)?;
    let file_system = file_system_type(&plan.dir)?;
    let syncs = plan.workloads.contains(&Workload::FillSync);
    if syncs && matches!(file_system.as_str(), "tmpfs" | "ramfs") {
        return Err(format!("a synced workload on {file_system} measures nothing").into());
    }
    let data = DataSet::new(plan.keys, plan.value_bytes);
    let dir = plan.dir.join(format!("{}-{}", engine.name, std::process::id()));
    let watch = MemoryWatch::start();
    let mut store: Option<Box<dyn Store>> = None;
    for (index, workload) in plan.workloads.iter().enumerate() {
        if workload.needs_empty_store() {
            close(store.take(), &dir)?;
        }
        let open = match store.take() {
            Some(open) => open,
            None => {
                fs::create_dir_all(&dir)?;
                (engine.open)(&dir, &plan.store)?
            }
        };
        let outcome = measure(engine, plan, index, &data, &*open, &watch, &dir);
        let outcome = outcome.map_err(|error| {
            format!("{}: {error}; the store stays in {}", workload.name(), dir.display())
        })?;
        report(&outcome)?;
        store = Some(open);
    }
    close(store, &dir)
}

fn close(store: Option<Box<dyn Store>>, dir: &Path) -> Result<()> {
    if let Some(store) = store {
        store.close()?;
    }
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}

/// The ratio of two counts, if the second is not 0.
fn ratio(count: u64, of: u64) -> Option<f64> {
    (0 < of).then(|| count as f64 / of as f64)
}

/// How the engine's files are compressed, which is not always what was asked.
fn compression(engine: &EngineFactory, options: &StoreOptions) -> &'static str {
    if engine.compresses && options.is_compressed { "lz4" } else { "none" }
}

/// Measures the workload at this index of the plan.
fn measure(
    engine: &EngineFactory,
    plan: &Plan,
    index: usize,
    data: &DataSet,
    store: &dyn Store,
    watch: &MemoryWatch,
    dir: &Path,
) -> Result<Outcome> {
    let workload = plan.workloads[index];
    let earlier = plan.workloads[..index].iter().filter(|&&earlier| earlier == workload);
    let repetition = earlier.count() as u64;
    let _ = watch.take_peaks();
    let before = Usage::now()?;
    let started = Instant::now();
    let done = workload.run(store, data, &plan.effort, repetition)?;
    let (recorder, ops) = (&done.latencies, done.operations);
    let seconds = started.elapsed().as_secs_f64();
    if ops == 0 {
        return Err("it had nothing to do; a rate of nothing is no figure".into());
    }
    if workload.is_write() {
        store.settle()?;
    }
    let idle_after_seconds = started.elapsed().as_secs_f64() - seconds;
    let used = Usage::now()?.since(before);
    let (rss_anon_peak, rss_file_peak) = watch.take_peaks();
    Ok(Outcome {
        workload: workload.name().into(),
        engine: engine.name.into(),
        tuning: plan.store.tuning.to_string(),
        threads: plan.effort.threads,
        keys: plan.keys,
        value_bytes: plan.value_bytes as u64,
        durability: workload.durability().to_string(),
        compression: compression(engine, &plan.store).into(),
        ops,
        seconds,
        ops_per_second: ops as f64 / seconds,
        p50_us: recorder.quantile_us(0.5),
        p90_us: recorder.quantile_us(0.9),
        p99_us: recorder.quantile_us(0.99),
        p999_us: recorder.quantile_us(0.999),
        p9999_us: recorder.quantile_us(0.9999),
        max_us: recorder.max_us(),
        bytes_written: used.written_bytes,
        bytes_put: done.bytes_put,
        bytes_written_per_byte_put: ratio(used.written_bytes, done.bytes_put),
        bytes_on_disk: disk_bytes(dir)?,
        rss_anon_peak,
        rss_file_peak,
        cpu_seconds: used.cpu_seconds,
        writer_ops_per_second: done.writer_rate,
        idle_after_seconds,
        longest_stall_ms: store.longest_stall().map(|seconds| seconds * 1e3),
    })
}
