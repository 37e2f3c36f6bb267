//! `/v1/stats`: figures about the store, as JSON.

use hyper::StatusCode;
use lsm_engine::{KeyspaceLevels, Metrics};
use serde_json::{Value, json};

use super::health::readiness;
use super::with_seq;
use crate::answer::{self, Answer};
use crate::service::Call;
use crate::wire::Problem;

/// Answers the figures.
pub(super) fn answer(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let db = call.db()?;
    let (seq, metrics, levels) = (db.seq(), db.metrics(), db.levels());
    let recovery = db.recovery_report();
    let memory = metrics.memory;
    let body = json!({
        "seq": seq.get(),
        "durability": call.app.durability.name(),
        "uptime_ms": millis(call.app.started.elapsed()),
        "state": readiness(&call.app),
        "write_pressure": metrics.write_pressure,
        "memory": {
            "budget": memory.budget,
            "memtables": memory.memtable_active + memory.memtable_sealed,
            "block_cache": memory.block_cache,
            "pinned": memory.pinned,
        },
        "disk": {
            "wal": metrics.disk.wal,
            "tables": metrics.disk.tables,
            "manifest": metrics.disk.manifest,
        },
        "amplification": {
            "write": write_amplification(&metrics),
            "space": space_amplification(&levels),
        },
        "recovery": {
            "replayed_records": recovery.replayed_records,
            "replayed_bytes": recovery.replayed_bytes,
            "dropped_bytes": recovery.dropped_bytes,
            "orphans_removed": recovery.orphans_removed,
            "duration_ms": millis(recovery.duration),
        },
        "keyspaces": levels.iter().map(keyspace).collect::<Vec<Value>>(),
    });
    Ok(with_seq(answer::json(StatusCode::OK, body.to_string().into_bytes()), seq))
}

/// Bytes written to disk for each byte that was asked to be written, since the start; null before
/// the first write.
fn write_amplification(metrics: &Metrics) -> Value {
    let written =
        metrics.wal_appended_bytes + metrics.flush_bytes + metrics.compaction_written_bytes;
    ratio(written, metrics.write_bytes)
}

/// Bytes of all tables for each byte of the deepest level that has any, which is about what the data
/// would take without old versions; null while there are no tables.
fn space_amplification(keyspaces: &[KeyspaceLevels]) -> Value {
    let (mut all, mut deepest) = (0, 0);
    for keyspace in keyspaces {
        let sizes = keyspace
            .levels
            .iter()
            .map(|level| level.tables.iter().map(|table| table.bytes).sum::<u64>());
        let sizes: Vec<u64> = sizes.collect();
        all += sizes.iter().sum::<u64>();
        deepest += sizes.iter().rev().find(|&&size| size != 0).copied().unwrap_or(0);
    }
    ratio(all, deepest)
}

/// How many keys a keyspace has at most, give or take what is overwritten or removed in ways that
/// only a compaction sees, and the bytes of its tables.
fn keyspace(keyspace: &KeyspaceLevels) -> Value {
    let tables = || keyspace.levels.iter().flat_map(|level| &level.tables);
    let in_tables: u64 = tables().map(|table| table.entries.saturating_sub(table.tombstones)).sum();
    let in_memory: u64 = keyspace.memtables.iter().map(|memtable| memtable.entries).sum();
    json!({
        "name": keyspace.name,
        "entries_estimate": in_tables + in_memory,
        "bytes": tables().map(|table| table.bytes).sum::<u64>(),
    })
}

fn ratio(part: u64, whole: u64) -> Value {
    if whole == 0 { Value::Null } else { json!(part as f64 / whole as f64) }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
