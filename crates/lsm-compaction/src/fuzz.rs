//! The fuzz target of this crate: what holds of any edits. See [`lsm_base::testing::corpus`].
//!
//! ```text
//! input   edit*        edit := length u16, payload of a MANIFEST record
//! ```

use std::path::Path;

use lsm_base::Error;
use lsm_base::coding::Reader;

use crate::edit::VersionEdit;
use crate::replay::Replay;

/// An edit that is read is written and read as the same one, and the state that edits make is the
/// state that its own snapshot makes.
pub fn edits(bytes: &[u8]) {
    let path = Path::new("MANIFEST-000001");
    let mut reader = Reader::new(bytes);
    let mut replay = Replay::new(path);
    while let Some(len) = reader.u16() {
        let len = usize::from(len).min(reader.rest().len());
        let payload = reader.bytes(len).expect("so many are left");
        match VersionEdit::decode(payload, path, 0) {
            Ok(edit) => {
                let again =
                    VersionEdit::decode(&edit.encode(), path, 0).expect("it was just written");
                assert_eq!(edit, again);
            }
            Err(error) => check_error(&error, path),
        }
        if let Err(error) = replay.record(0, payload) {
            return check_error(&error, path);
        }
    }
    let Ok(state) = replay.finish() else { return };
    let mut again = Replay::new(path);
    again.record(0, &state.snapshot_edit().encode()).expect("a snapshot makes a state");
    assert_eq!(again.finish().expect("there was a record"), state);
}

fn check_error(error: &Error, expected: &Path) {
    match error {
        Error::Corruption { path, .. } | Error::UnsupportedFormat { path, .. } => {
            assert_eq!(path, expected, "{error}");
        }
        _ => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lsm_base::testing::corpus;
    use lsm_base::{KeyspaceId, Seq};

    use super::*;
    use crate::edit::{CreatedKeyspace, LogFloor, LogPosition};
    use crate::item::{Item, Need};
    use crate::state::State;
    use crate::table_meta::TableMeta;
    use crate::testing::table;

    fn input(edits: &[VersionEdit]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for edit in edits {
            let payload = edit.encode();
            bytes.extend_from_slice(&(payload.len() as u16).to_le_bytes());
            bytes.extend_from_slice(&payload);
        }
        bytes
    }

    #[test]
    fn the_corpus_of_edits() {
        let begun = State::new(7).snapshot_edit();
        let (low, high) = (table(1, "a", "f", 1, 9), table(2, "g", "z", 3, 7));
        let mut grown = VersionEdit {
            log_floor: Some(LogFloor {
                first_segment: 2,
                highest_segment: 3,
                ..LogFloor::default()
            }),
            next_file_number: Some(9),
            last_seq: Some(Seq::new(9)),
            next_keyspace_id: Some(2),
            created_keyspaces: vec![CreatedKeyspace {
                id: KeyspaceId(1),
                name: "users".into(),
                unknown: Vec::new(),
            }],
            unknown: vec![Item { tag: 900, need: Need::Optional, payload: vec![1, 2, 3] }],
            ..VersionEdit::default()
        };
        grown.add_table(0, Arc::new(low.clone()));
        grown.add_table(6, Arc::new(TableMeta { keyspace: KeyspaceId(1), ..high }));
        let mut moved = VersionEdit {
            clean_close: Some(LogPosition { segment: 3, offset: 80 }),
            ..VersionEdit::default()
        };
        moved.delete_table(0, &low);
        moved.add_table(3, Arc::new(low));
        let seeds = [&[begun, grown, moved][..]];
        let mut seeds: Vec<_> =
            seeds.iter().flat_map(|all| (1..=3).map(|n| input(&all[..n]))).collect();
        // That these edits are good ones is what the fuzzer begins with.
        let mut replay = Replay::new(Path::new("MANIFEST-000001"));
        let mut reader = Reader::new(&seeds[2]);
        while let Some(len) = reader.u16() {
            replay.record(0, reader.bytes(usize::from(len)).unwrap()).unwrap();
        }
        seeds.push(vec![3, 0, 1, 2, 3]);
        corpus::replay("edits", &seeds, corpus::RUNS, edits);
    }
}
