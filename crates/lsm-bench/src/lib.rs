//! Workloads and measurement, generic over a small [`Store`] trait.
//!
//! - [`data`]: the keys and values, the same for every engine;
//! - [`workload`]: what is done with them;
//! - [`measure`]: how long it took, and what the process used for it;
//! - [`runner`]: one engine's workloads in a process of their own;
//! - [`machine`] and [`header`]: where that was, and with what;
//! - [`cli`]: the command line, which runs engines in turn, round by round, and compares them.
//!
//! The binary of this crate knows this store only; the package in `xtask/peers` adds others to the
//! same command line, so that nobody compiles them by accident.
//!
//! ```
//! use lsm_bench::runner::{self, Plan};
//! use lsm_bench::store::Tuning;
//! use lsm_bench::workload::{Effort, Workload};
//! use lsm_bench::{StoreOptions, lsm};
//!
//! # fn main() -> lsm_bench::store::Result<()> {
//! let dir = tempfile::tempdir()?;
//! let plan = Plan {
//!     workloads: vec![Workload::FillRandom, Workload::ReadRandom],
//!     keys: 1000,
//!     value_bytes: 100,
//!     effort: Effort { threads: 1, read_seconds: 0.01, synced_writes: 0, write_rate: 0 },
//!     store: StoreOptions {
//!         memtable_bytes: 1 << 20,
//!         cache_bytes: 1 << 20,
//!         bloom_bits: 10,
//!         is_compressed: true,
//!         tuning: Tuning::Equal,
//!     },
//!     dir: dir.path().to_owned(),
//! };
//! runner::run(&lsm::FACTORY, &plan, &mut |outcome| {
//!     println!("{}: {:.0} a second", outcome.workload, outcome.ops_per_second);
//!     Ok(())
//! })
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod cli;
pub mod data;
pub mod header;
pub mod lsm;
pub mod machine;
pub mod measure;
pub mod report;
pub mod runner;
pub mod store;
mod turn;
pub mod workload;
mod zipf;

pub use store::{EngineFactory, Store, StoreOptions};
