//! The engine's options that the server's settings come to.

use lsm_engine::{Durability, Options};

use crate::config::{Config, ConfigError, DurabilityLevel};

/// The options with which the store is opened.
///
/// # Errors
///
/// If a size does not fit this machine's memory.
pub(crate) fn options(config: &Config) -> Result<Options, ConfigError> {
    let fits = |flag: &str, bytes: u64| {
        usize::try_from(bytes)
            .map_err(|_| ConfigError(format!("--{flag} is more than this machine can address")))
    };
    let memory_budget = match config.memory_budget {
        None => None,
        Some(bytes) => Some(fits("memory-budget", bytes)?),
    };
    Ok(Options {
        memory_budget,
        memtable_size: Some(fits("memtable-size", config.memtable_size)?),
        bloom_bits_per_key: config.bloom_bits_per_key,
        durability: durability(config.durability),
        compaction_interval: config.compaction_interval,
        ..Options::default()
    })
}

/// The engine's word for a level of durability.
pub(crate) const fn durability(level: DurabilityLevel) -> Durability {
    match level {
        DurabilityLevel::Sync => Durability::Sync,
        DurabilityLevel::Buffered => Durability::Buffered,
    }
}
