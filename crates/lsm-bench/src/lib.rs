//! Workloads and measurement, generic over a small [`Store`] trait.
//!
//! - [`data`]: the keys and values, the same for every engine;
//! - [`workload`]: what is done with them;
//! - [`measure`]: how long it took, and what the process used for it;
//! - [`runner`]: one engine's workloads in a process of their own;
//! - [`cli`]: the command line, which runs engines in turn, round by round, and compares them.
//!
//! The binary of this crate knows this store only; the package in `xtask/peers` adds others to the
//! same command line, so that nobody compiles them by accident.

#![forbid(unsafe_code)]

pub mod cli;
pub mod data;
pub mod lsm;
pub mod measure;
pub mod report;
pub mod runner;
pub mod store;
pub mod workload;

pub use store::{EngineFactory, Store, StoreOptions};
