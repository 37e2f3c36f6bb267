//! The benchmark of this store beside its peers, with the command line of `lsm-bench`.
//!
//! Each peer is one file: an [`EngineFactory`](lsm_bench::EngineFactory) with its settings argued at
//! their place. Compression, memtable and cache bytes, filters and durability are those that
//! `lsm-bench` asks of every engine, where the peer has such a thing; the rest is its own default, or
//! with `--tuned` what its careful user sets.

mod fjall;
mod lmdb;
mod redb;
mod rocksdb;
#[cfg(test)]
mod support;
mod versions;

use std::process::ExitCode;

use lsm_bench::EngineFactory;

/// This store first: it is compared with the others.
const ENGINES: [EngineFactory; 5] =
    [lsm_bench::lsm::FACTORY, rocksdb::FACTORY, fjall::FACTORY, redb::FACTORY, lmdb::FACTORY];

fn main() -> ExitCode {
    lsm_bench::cli::main(&ENGINES)
}
