//! Figures about the store: what `/v1/stats` answers and `lsm stats --json` prints.
//!
//! Fields stand in the order in which they are sent. A reader passes over fields that it does not
//! know, so that a later server can add some.

use serde::{Deserialize, Serialize};

/// Figures about the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The last sequence that reads see.
    pub seq: u64,
    /// What a write survives that does not say: `sync` or `buffered`.
    pub durability: String,
    /// For how long the store has been open.
    pub uptime_ms: u64,
    /// What the store can do, in one word: `ready` is everything.
    pub state: String,
    /// How far background work is behind: 0 is idle, at 1 writes are slowed down to its pace.
    pub write_pressure: f64,
    /// Memory in use.
    pub memory: Memory,
    /// Disk in use.
    pub disk: Disk,
    /// What a byte costs.
    pub amplification: Amplification,
    /// What the open found and did.
    pub recovery: Recovery,
    /// The keyspaces, in the order of their creation.
    pub keyspaces: Vec<KeyspaceStats>,
}

/// Memory in use, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What all parts may take together.
    pub budget: u64,
    /// Arenas of memtables.
    pub memtables: u64,
    /// Decompressed blocks.
    pub block_cache: u64,
    /// Fences and filters that tables hold outside the map.
    pub pinned: u64,
}

/// Disk in use, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// Segments of the log in use.
    pub wal: u64,
    /// Tables of the tree.
    pub tables: u64,
    /// The MANIFEST.
    pub manifest: u64,
}

/// What a byte costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amplification {
    /// Bytes written to disk for each byte that was asked to be written, since the start; null
    /// before the first write.
    pub write: Option<f64>,
    /// Bytes of all tables for each byte of the deepest level that has any, which is about what
    /// the data would take without old versions; null while there are no tables.
    pub space: Option<f64>,
}

/// What the open found and did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Log records that were replayed.
    pub replayed_records: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// Bytes that were dropped from the end of the log.
    pub dropped_bytes: u64,
    /// Files of ours that nothing named, and that were removed.
    pub orphans_removed: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// Figures about a keyspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyspaceStats {
    /// Its name.
    pub name: String,
    /// How many keys it has at most, give or take what is overwritten or removed in ways that
    /// only a compaction sees.
    pub entries_estimate: u64,
    /// Bytes of its tables.
    pub bytes: u64,
}

#[cfg(feature = "engine")]
mod from_engine {
    use std::time::Duration;

    use lsm_engine::{Db, KeyspaceLevels, Metrics};

    use super::{Amplification, Disk, KeyspaceStats, Memory, Recovery, Stats};

    impl Stats {
        /// The figures of a database. What it does not know of itself is handed in: the durability
        /// of its writes, its state in one word, and how long it has been open.
        #[must_use]
        pub fn of(db: &Db, durability: &str, state: &str, uptime: Duration) -> Stats {
            let (metrics, levels) = (db.metrics(), db.levels());
            let (memory, disk, recovery) = (metrics.memory, metrics.disk, db.recovery_report());
            Stats {
                seq: db.seq().get(),
                durability: durability.into(),
                uptime_ms: millis(uptime),
                state: state.into(),
                write_pressure: metrics.write_pressure,
                memory: Memory {
                    budget: memory.budget,
                    memtables: memory.memtable_active + memory.memtable_sealed,
                    block_cache: memory.block_cache,
                    pinned: memory.pinned,
                },
                disk: Disk { wal: disk.wal, tables: disk.tables, manifest: disk.manifest },
                amplification: Amplification {
                    write: write_amplification(&metrics),
                    space: space_amplification(&levels),
                },
                recovery: Recovery {
                    replayed_records: recovery.replayed_records,
                    replayed_bytes: recovery.replayed_bytes,
                    dropped_bytes: recovery.dropped_bytes,
                    orphans_removed: recovery.orphans_removed,
                    duration_ms: millis(recovery.duration),
                },
                keyspaces: levels.iter().map(keyspace).collect(),
            }
        }
    }

    fn write_amplification(metrics: &Metrics) -> Option<f64> {
        let written =
            metrics.wal_appended_bytes + metrics.flush_bytes + metrics.compaction_written_bytes;
        ratio(written, metrics.write_bytes)
    }

    fn space_amplification(keyspaces: &[KeyspaceLevels]) -> Option<f64> {
        let (mut all, mut deepest) = (0, 0);
        for keyspace in keyspaces {
            let levels = keyspace.levels.iter();
            let sizes: Vec<u64> =
                levels.map(|level| level.tables.iter().map(|table| table.bytes).sum()).collect();
            all += sizes.iter().sum::<u64>();
            deepest += sizes.iter().rev().find(|&&size| size != 0).copied().unwrap_or(0);
        }
        ratio(all, deepest)
    }

    fn keyspace(keyspace: &KeyspaceLevels) -> KeyspaceStats {
        let tables = || keyspace.levels.iter().flat_map(|level| &level.tables);
        let in_tables: u64 =
            tables().map(|table| table.entries.saturating_sub(table.tombstones)).sum();
        let in_memory: u64 = keyspace.memtables.iter().map(|memtable| memtable.entries).sum();
        KeyspaceStats {
            name: keyspace.name.clone(),
            entries_estimate: in_tables + in_memory,
            bytes: tables().map(|table| table.bytes).sum(),
        }
    }

    fn ratio(part: u64, whole: u64) -> Option<f64> {
        (whole != 0).then(|| part as f64 / whole as f64)
    }

    fn millis(duration: Duration) -> u64 {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_programs_rely_on() {
        let json = concat!(
            r#"{"seq":42,"durability":"sync","uptime_ms":5,"state":"ready","write_pressure":0.0,"#,
            r#""memory":{"budget":1,"memtables":2,"block_cache":3,"pinned":4},"#,
            r#""disk":{"wal":5,"tables":6,"manifest":7},"#,
            r#""amplification":{"write":null,"space":1.5},"#,
            r#""recovery":{"replayed_records":1,"replayed_bytes":2,"dropped_bytes":3,"#,
            r#""orphans_removed":4,"duration_ms":5},"#,
            r#""keyspaces":[{"name":"default","entries_estimate":8,"bytes":9}]}"#
        );
        let stats: Stats = serde_json::from_str(json).unwrap();
        assert_eq!(stats.amplification, Amplification { write: None, space: Some(1.5) });
        assert_eq!(serde_json::to_string(&stats).unwrap(), json);
    }
}
