//! `/v1/tree`: memtables, levels, tables and running compactions, as JSON.

use hyper::StatusCode;
use lsm_engine::{CompactionInfo, Compression, KeyspaceLevels, LevelInfo, MemtableInfo, TableInfo};
use serde_json::{Value, json};

use super::with_seq;
use crate::answer::{self, Answer};
use crate::service::Call;
use crate::wire::{Problem, to_base64};

/// Answers the shape of the tree.
pub(super) fn answer(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let db = call.db()?;
    let (seq, keyspaces) = (db.seq(), db.levels());
    let body = json!({
        "seq": seq.get(),
        "keyspaces": keyspaces.iter().map(keyspace).collect::<Vec<Value>>(),
    });
    Ok(with_seq(answer::json(StatusCode::OK, body.to_string().into_bytes()), seq))
}

fn keyspace(keyspace: &KeyspaceLevels) -> Value {
    json!({
        "name": keyspace.name,
        "memtables": keyspace.memtables.iter().map(memtable).collect::<Vec<Value>>(),
        "levels": keyspace.levels.iter().map(level).collect::<Vec<Value>>(),
        "compactions": keyspace.compactions.iter().map(compaction).collect::<Vec<Value>>(),
    })
}

fn memtable(memtable: &MemtableInfo) -> Value {
    let state = if memtable.is_sealed { "sealed" } else { "active" };
    json!({ "state": state, "bytes": memtable.bytes, "entries": memtable.entries })
}

fn level(level: &LevelInfo) -> Value {
    json!({
        "level": level.level,
        "bytes": level.bytes,
        "target_bytes": level.target_bytes,
        "score": level.score,
        "tables": level.tables.iter().map(table).collect::<Vec<Value>>(),
    })
}

fn table(table: &TableInfo) -> Value {
    let compression = match table.compression {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
    };
    json!({
        "id": table.number,
        "bytes": table.bytes,
        "entries": table.entries,
        "tombstones": table.tombstones,
        "smallest_b64": to_base64(&table.smallest),
        "largest_b64": to_base64(&table.largest),
        "min_seq": table.min_seq.get(),
        "max_seq": table.max_seq.get(),
        "compression": compression,
    })
}

fn compaction(compaction: &CompactionInfo) -> Value {
    json!({
        "from": compaction.from,
        "to": compaction.to,
        "inputs": compaction.inputs,
        // How far it is, the engine does not tell.
        "progress": Value::Null,
    })
}
