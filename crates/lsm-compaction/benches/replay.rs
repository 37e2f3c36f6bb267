//! What opening costs: the replay of a MANIFEST that has grown to six times its first record.
//!
//! Each edit is a compaction within the deepest level: ten tables that stand side by side leave, and
//! ten new ones take their place. Each line is the median of some runs, with the fastest and slowest.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lsm_base::{InternalKey, KeyspaceId, Kind, Seq};
use lsm_compaction::{Replay, State, TableMeta, VersionEdit};
use lsm_sstable::Compression;

const RUNS: usize = 5;
const GROWTH: usize = 6;
/// How many tables of the deepest level an edit writes anew.
const WIDTH: u64 = 10;

fn main() {
    for tables in [1_000, 10_000] {
        let records = manifest(tables);
        let mut runs: Vec<f64> = (0..RUNS).map(|_| replay(&records)).collect();
        runs.sort_by(f64::total_cmp);
        println!(
            "{tables:6} tables, {:5} edits: {:8.1} ms ({:.1} to {:.1})",
            records.len() - 1,
            runs[RUNS / 2],
            runs[0],
            runs[RUNS - 1]
        );
    }
}

fn replay(records: &[Vec<u8>]) -> f64 {
    let start = Instant::now();
    let mut replay = Replay::new(Path::new("MANIFEST-000001"));
    for record in records {
        replay.record(0, record).expect("the edits follow one from the other");
    }
    let state = replay.finish().expect("there was a record");
    assert_ne!(state.version.tables().count(), 0);
    start.elapsed().as_secs_f64() * 1e3
}

/// The records of a MANIFEST of a store with so many tables in its deepest level.
fn manifest(tables: u64) -> Vec<Vec<u8>> {
    let mut edit = VersionEdit::default();
    (0..tables).for_each(|index| edit.add_table(6, table(index, index, Seq::new(1))));
    let mut state = State::new(7).apply(&edit).expect("tables one after the other");
    let mut records = vec![state.snapshot_edit().encode()];
    let (mut len, max_len) = (records[0].len(), GROWTH * records[0].len());
    let (mut number, mut round) = (tables, 0);
    while len < max_len {
        round += 1;
        let seq = Seq::new(1 + round);
        let first = round.wrapping_mul(0x9e37_79b9) % (tables - WIDTH);
        let mut edit = VersionEdit::default();
        let levels = state.version.tree(KeyspaceId::DEFAULT).expect("it is never dropped").levels();
        for old in &levels[6][first as usize..(first + WIDTH) as usize] {
            edit.delete_table(6, old);
        }
        for index in first..first + WIDTH {
            edit.add_table(6, table(number, index, seq));
            number += 1;
        }
        state = state.apply(&edit).expect("the ranges are the same");
        records.push(edit.encode());
        len += records[records.len() - 1].len();
    }
    records
}

fn table(number: u64, index: u64, seq: Seq) -> Arc<TableMeta> {
    let key = |end: &str| {
        let user_key = format!("user{index:08}{end}").into_bytes().into();
        InternalKey { user_key, seq, kind: Kind::Put }
    };
    Arc::new(TableMeta {
        number: number + 1,
        id: number,
        keyspace: KeyspaceId::DEFAULT,
        len: 32 << 20,
        entries: 100_000,
        tombstones: 0,
        smallest: key("a"),
        largest: key("z"),
        min_seq: seq,
        max_seq: seq,
        compression: Compression::Lz4,
        mark: lsm_compaction::table_meta::Mark::None,
        unknown: Vec::new(),
    })
}
