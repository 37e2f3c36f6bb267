//! The header of a run: the first line of JSON, with all that the other lines have in common.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::runner::Plan;
use crate::store::EngineFactory;

/// The first line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The one field, by which it is known from the lines with outcomes.
    pub run: Run,
}

/// A run, of one round or more.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// When it began, in seconds since 1970.
    pub unix_seconds: u64,
    /// The commit that the program was compiled from, with `-dirty` behind it if files had been
    /// changed; `None` if it was not compiled by `cargo xtask bench`.
    pub commit: Option<String>,
    /// The machine.
    pub machine: Machine,
    /// The engines that take turns, the first of which is compared with the others.
    pub engines: Vec<Engine>,
    /// How often each takes its turn.
    pub rounds: u32,
    /// Whether each takes another one with its own tuning.
    pub tuned: bool,
    /// What is the same for all.
    pub options: Options,
}

/// An engine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Engine {
    /// What it is called.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The options of the command line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are documented where they are given")]
pub struct Options {
    pub workloads: Vec<String>,
    pub keys: u64,
    pub value_bytes: u64,
    pub threads: u32,
    pub read_seconds: f64,
    pub synced_writes: u64,
    pub write_rate: u64,
    pub memtable_bytes: u64,
    pub cache_bytes: u64,
    pub bloom_bits: u32,
    pub compressed: bool,
}

impl Run {
    /// The run of a plan that begins now.
    #[must_use]
    pub fn of(
        plan: &Plan,
        engines: &[&EngineFactory],
        (rounds, tuned): (u32, bool),
        machine: Machine,
    ) -> Run {
        let engine = |engine: &&EngineFactory| Engine {
            name: engine.name.into(),
            version: (engine.version)(),
        };
        // A clock that is set to before 1970 tells nothing.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Run {
            unix_seconds: now.as_secs(),
            commit: option_env!("LSM_BENCH_COMMIT").map(str::to_owned),
            machine,
            engines: engines.iter().map(engine).collect(),
            rounds,
            tuned,
            options: Options::of(plan),
        }
    }
}

impl Options {
    fn of(plan: &Plan) -> Options {
        Options {
            workloads: plan.workloads.iter().map(|workload| workload.name().into()).collect(),
            keys: plan.keys,
            value_bytes: plan.value_bytes as u64,
            threads: plan.effort.threads,
            read_seconds: plan.effort.read_seconds,
            synced_writes: plan.effort.synced_writes,
            write_rate: plan.effort.write_rate,
            memtable_bytes: plan.store.memtable_bytes as u64,
            cache_bytes: plan.store.cache_bytes as u64,
            bloom_bits: plan.store.bloom_bits,
            compressed: plan.store.is_compressed,
        }
    }
}
