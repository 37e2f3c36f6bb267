//! The shape of the tree: what `/v1/tree` answers and `lsm levels --json` prints.
//!
//! Fields stand in the order in which they are sent. A reader passes over fields that it does not
//! know, so that a later server can add some.

use serde::{Deserialize, Serialize};

/// Memtables, levels and compactions of every keyspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The last sequence that reads see.
    pub seq: u64,
    /// The keyspaces, in the order of their creation.
    pub keyspaces: Vec<KeyspaceTree>,
}

/// What a keyspace consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyspaceTree {
    /// Its name.
    pub name: String,
    /// Its memtables, newest first.
    pub memtables: Vec<Memtable>,
    /// Its levels, from 0 down.
    pub levels: Vec<Level>,
    /// The compactions that run on it.
    pub compactions: Vec<Compaction>,
}

/// A memtable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memtable {
    /// `active`, or `sealed` if it waits for its flush.
    pub state: String,
    /// Bytes of its arena, which it shares with other keyspaces.
    pub bytes: u64,
    /// Versions in it, tombstones included.
    pub entries: u64,
}

/// A level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Its number.
    pub level: u64,
    /// Its bytes, without those that are being merged into the next.
    pub bytes: u64,
    /// The bytes that it should have at most.
    pub target_bytes: u64,
    /// How urgent it is to compact it; 1 is full.
    pub score: f64,
    /// Its tables; level 0 newest first, others by key.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The number in its file's name.
    pub id: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Versions in it, tombstones included.
    pub entries: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// The first user key.
    pub smallest_b64: String,
    /// The last user key.
    pub largest_b64: String,
    /// The oldest sequence in it.
    pub min_seq: u64,
    /// The newest sequence in it.
    pub max_seq: u64,
    /// The codec: `none` or `lz4`.
    pub compression: String,
}

/// A compaction that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compaction {
    /// The level that it reads.
    pub from: u64,
    /// The level that it writes.
    pub to: u64,
    /// How many tables it reads.
    pub inputs: u64,
    /// How far it is, 0 to 1; null where the engine does not tell.
    pub progress: Option<f64>,
}

#[cfg(feature = "engine")]
impl Tree {
    /// The shape of a database.
    #[must_use]
    pub fn of(db: &lsm_engine::Db) -> Tree {
        let keyspaces = db.levels().iter().map(from_engine::keyspace).collect();
        Tree { seq: db.seq().get(), keyspaces }
    }
}

/// From the engine's types, which are not serialisable.
#[cfg(feature = "engine")]
mod from_engine {
    use lsm_engine::{CompactionInfo, KeyspaceLevels, LevelInfo, MemtableInfo, TableInfo};

    use super::super::to_base64;
    use super::{Compaction, KeyspaceTree, Level, Memtable, Table};

    pub(super) fn keyspace(keyspace: &KeyspaceLevels) -> KeyspaceTree {
        KeyspaceTree {
            name: keyspace.name.clone(),
            memtables: keyspace.memtables.iter().map(memtable).collect(),
            levels: keyspace.levels.iter().map(level).collect(),
            compactions: keyspace.compactions.iter().map(compaction).collect(),
        }
    }

    fn memtable(memtable: &MemtableInfo) -> Memtable {
        let state = if memtable.is_sealed { "sealed" } else { "active" };
        Memtable { state: state.into(), bytes: memtable.bytes, entries: memtable.entries }
    }

    fn level(level: &LevelInfo) -> Level {
        Level {
            level: level.level as u64,
            bytes: level.bytes,
            target_bytes: level.target_bytes,
            score: level.score,
            tables: level.tables.iter().map(table).collect(),
        }
    }

    fn table(table: &TableInfo) -> Table {
        Table {
            id: table.number,
            bytes: table.bytes,
            entries: table.entries,
            tombstones: table.tombstones,
            smallest_b64: to_base64(&table.smallest),
            largest_b64: to_base64(&table.largest),
            min_seq: table.min_seq.get(),
            max_seq: table.max_seq.get(),
            compression: table.compression.to_string(),
        }
    }

    fn compaction(compaction: &CompactionInfo) -> Compaction {
        let (from, to) = (compaction.from as u64, compaction.to as u64);
        Compaction {
            from,
            to,
            inputs: compaction.inputs as u64,
            progress: Some(compaction.progress),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_programs_rely_on() {
        let table = Table {
            id: 3,
            bytes: 4096,
            entries: 10,
            tombstones: 1,
            smallest_b64: "YQ==".into(),
            largest_b64: "eg==".into(),
            min_seq: 1,
            max_seq: 10,
            compression: "lz4".into(),
        };
        let tree = Tree {
            seq: 42,
            keyspaces: vec![KeyspaceTree {
                name: "default".into(),
                memtables: vec![Memtable { state: "active".into(), bytes: 64, entries: 2 }],
                levels: vec![Level {
                    level: 6,
                    bytes: 4096,
                    target_bytes: 8192,
                    score: 0.5,
                    tables: vec![table],
                }],
                compactions: vec![Compaction { from: 5, to: 6, inputs: 2, progress: None }],
            }],
        };
        let json = concat!(
            r#"{"seq":42,"keyspaces":[{"name":"default","#,
            r#""memtables":[{"state":"active","bytes":64,"entries":2}],"#,
            r#""levels":[{"level":6,"bytes":4096,"target_bytes":8192,"score":0.5,"tables":["#,
            r#"{"id":3,"bytes":4096,"entries":10,"tombstones":1,"smallest_b64":"YQ==","#,
            r#""largest_b64":"eg==","min_seq":1,"max_seq":10,"compression":"lz4"}]}],"#,
            r#""compactions":[{"from":5,"to":6,"inputs":2,"progress":null}]}]}"#
        );
        assert_eq!(serde_json::to_string(&tree).unwrap(), json);
        assert_eq!(serde_json::from_str::<Tree>(json).unwrap(), tree);
    }
}
