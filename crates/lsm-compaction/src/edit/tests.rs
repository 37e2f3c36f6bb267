//! Tests of the codec: round trips, frozen bytes, damage, and records of newer builds.

use super::*;
use crate::item::{Need, put_item};
use crate::replay::Replay;
use crate::state::State;
use crate::table_meta::Mark;
use crate::testing::table;
use crate::version::LEVELS;
use expect_test::expect;
use lsm_base::{Error, Kind};
use lsm_sstable::Compression;
use proptest::prelude::*;

const PATH: &str = "MANIFEST-000001";

fn decode(bytes: &[u8]) -> Result<VersionEdit> {
    VersionEdit::decode(bytes, Path::new(PATH), 40)
}

fn unknown(tag: u16) -> Item {
    Item { tag, need: Need::Optional, payload: vec![1, 2, 3] }
}

/// An edit that has every item.
fn full_edit() -> VersionEdit {
    let mut edit = State::new(0x1234).snapshot_edit();
    edit.log_floor = Some(LogFloor {
        first_segment: 3,
        synced: LogPosition { segment: 4, offset: 77 },
        highest_segment: 5,
    });
    edit.last_seq = Some(Seq::new(99));
    edit.clean_close = Some(LogPosition { segment: 5, offset: 4096 });
    edit.dropped_keyspaces.push(DroppedKeyspace { id: KeyspaceId(8), seq: Seq::new(98) });
    edit.created_keyspaces[0].unknown.push(unknown(40));
    edit.deleted_tables.push(DeletedTable { keyspace: KeyspaceId(0), level: 6, number: 2 });
    let mut moved = table(3, "a", "m", 5, 9);
    moved.smallest.kind = Kind::Delete;
    moved.tombstones = 1;
    moved.compression = Compression::Lz4;
    moved.mark = Mark::Recompress;
    moved.unknown.push(unknown(41));
    edit.add_table(2, Arc::new(moved));
    edit.unknown.push(unknown(42));
    edit
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(32) {
        for byte in chunk {
            text.push_str(&format!("{byte:02x}"));
        }
        text.push('\n');
    }
    text
}

#[test]
fn every_item_comes_back() {
    let edit = full_edit();
    assert_eq!(decode(&edit.encode()).unwrap(), edit);
    assert_eq!(decode(&[]).unwrap(), VersionEdit::default());
}

#[test]
fn the_bytes_are_frozen() {
    // Every MANIFEST ever written has these bytes.
    expect![[r#"
        0100010055000000000000003412000000000000000000000000000008000000
        0000000062797465776973652900000000000000787868332d36342073656564
        656420776974682069642c206f666673657420616e6420726567696f6e020001
        0020000000030000000000000004000000000000004d00000000000000050000
        0000000000030001000800000001000000000000000400010008000000000000
        0000000000050001000800000063000000000000000600010004000000010000
        00070001002600000000000000070000000000000064656661756c740b000000
        000000002800000003000000010203080001000c000000080000006200000000
        000000090001000d000000000000000602000000000000000a0001007b000000
        02000000000300000000000000cdab0000030000000000100000000000640000
        0000000000010000000000000001000000000000006102090000000000000100
        0000000000006d01050000000000000500000000000000090000000000000001
        1300000000000000080000000000000029000000030000000102030b00010010
        000000050000000000000000100000000000002a00000003000000010203
    "#]]
    .assert_eq(&hex(&full_edit().encode()));
}

#[test]
fn a_required_item_of_a_newer_build_is_refused() {
    let mut bytes = full_edit().encode();
    put_item(&mut bytes, 12, Need::Required, b"");
    let error = decode(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unsupported format of MANIFEST-000001: required item 12 is unknown; use a newer release"
    );
}

#[test]
fn required_attributes_and_options_of_a_newer_build_are_refused() {
    let mut edit = full_edit();
    edit.created_keyspaces[0].unknown[0].need = Need::Required;
    assert!(matches!(decode(&edit.encode()), Err(Error::UnsupportedFormat { .. })));
    let mut virtual_table = table(3, "a", "m", 5, 9);
    virtual_table.unknown.push(Item { tag: 1, need: Need::Required, payload: vec![] });
    let mut edit = VersionEdit::default();
    edit.add_table(2, Arc::new(virtual_table));
    assert!(matches!(decode(&edit.encode()), Err(Error::UnsupportedFormat { .. })));
}

#[test]
fn a_newer_format_is_told_whatever_follows_the_version() {
    let mut payload = (FORMAT_VERSION + 1).to_le_bytes().to_vec();
    payload.extend_from_slice(b"whatever");
    let mut bytes = Vec::new();
    put_item(&mut bytes, 1, Need::Required, &payload);
    assert!(matches!(decode(&bytes), Err(Error::UnsupportedFormat { .. })));
}

#[test]
fn an_item_that_may_stand_once_stands_once() {
    let edit = VersionEdit { last_seq: Some(Seq::new(1)), ..VersionEdit::default() };
    let bytes = [edit.encode(), edit.encode()].concat();
    let error = decode(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "corrupt MANIFEST-000001 at 56: item 5 stands twice");
}

#[test]
fn a_level_that_no_tree_has_is_corrupt() {
    for (level, is_sound) in [(0, true), (LEVELS - 1, true), (LEVELS, false), (255, false)] {
        let deleted = DeletedTable { keyspace: KeyspaceId(0), level, number: 2 };
        let leaving = VersionEdit { deleted_tables: vec![deleted], ..VersionEdit::default() };
        let mut entering = VersionEdit::default();
        entering.add_table(level, Arc::new(table(3, "a", "m", 5, 9)));
        for edit in [leaving, entering] {
            match decode(&edit.encode()) {
                Ok(found) => assert!(is_sound && found == edit, "{level}"),
                Err(error) => {
                    let expected = format!("corrupt {PATH} at 40: level {level}");
                    assert!(!is_sound && error.to_string() == expected, "{level}: {error}");
                }
            }
        }
    }
}

#[test]
fn an_error_names_the_byte_that_is_wrong() {
    let option = Item { tag: 41, need: Need::Optional, payload: vec![1, 2, 3] };
    let mut with_table = VersionEdit::default();
    with_table.add_table(
        2,
        Arc::new(TableMeta { unknown: vec![option.clone()], ..table(3, "a", "m", 5, 9) }),
    );
    let created = CreatedKeyspace { id: KeyspaceId(3), name: "k".into(), unknown: vec![option] };
    let with_keyspace = VersionEdit { created_keyspaces: vec![created], ..VersionEdit::default() };
    // The attribute is the last thing in both: a header of eight bytes and its payload.
    for edit in [with_table, with_keyspace] {
        let mut bytes = edit.encode();
        let at = bytes.len() - 11;
        bytes[at + 4] = 200;
        match decode(&bytes).unwrap_err() {
            Error::Corruption { offset, .. } => assert_eq!(offset, 40 + at as u64),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn what_an_old_build_does_not_know_survives_a_fresh_manifest() {
    let mut replay = Replay::new(Path::new(PATH));
    let mut first = State::new(1).snapshot_edit();
    first.unknown.push(unknown(42));
    first.created_keyspaces[0].unknown.push(unknown(40));
    let mut moved = table(3, "a", "m", 5, 9);
    moved.unknown.push(unknown(41));
    first.add_table(2, Arc::new(moved));
    replay.record(0, &first.encode()).unwrap();
    let second = VersionEdit { unknown: vec![unknown(43)], ..VersionEdit::default() };
    replay.record(1, &second.encode()).unwrap();
    let state = replay.finish().unwrap();
    let snapshot = decode(&state.snapshot_edit().encode()).unwrap();
    assert_eq!(snapshot.unknown, [unknown(42), unknown(43)]);
    assert_eq!(snapshot.created_keyspaces[0].unknown, [unknown(40)]);
    assert_eq!(snapshot.added_tables[0].table.unknown, [unknown(41)]);
}

#[test]
fn a_replay_refuses_foreign_and_headless_manifests() {
    let refuse = |change: fn(&mut VersionEdit)| {
        let mut edit = State::new(1).snapshot_edit();
        change(&mut edit);
        Replay::new(Path::new(PATH)).record(24, &edit.encode()).unwrap_err().to_string()
    };
    let header = |edit: &mut VersionEdit| edit.header.take().unwrap();
    expect!["unsupported format of MANIFEST-000001: the key order is `reverse`; this build knows `bytewise`; use a newer release"]
        .assert_eq(&refuse(|edit| edit.header.as_mut().unwrap().key_order = "reverse".into()));
    expect!["unsupported format of MANIFEST-000001: the checksum is `crc32c`; this build knows `xxh3-64 seeded with id, offset and region`; use a newer release"]
        .assert_eq(&refuse(|edit| edit.header.as_mut().unwrap().checksum = "crc32c".into()));
    expect!["corrupt MANIFEST-000001 at 24: the first record has no header"]
        .assert_eq(&refuse(|edit| edit.header = None));
    let mut edit = State::new(1).snapshot_edit();
    let mut replay = Replay::new(Path::new(PATH));
    replay.record(24, &edit.encode()).unwrap();
    let error = replay.record(600, &edit.encode()).unwrap_err();
    expect!["corrupt MANIFEST-000001 at 600: a header behind the first record"]
        .assert_eq(&error.to_string());
    header(&mut edit);
    let error = replay.record(600, &edit.encode()).unwrap_err();
    expect!["corrupt MANIFEST-000001 at 600: keyspace id 0 was in use before"]
        .assert_eq(&error.to_string());
    assert!(Replay::new(Path::new(PATH)).finish().is_err());
}

fn any_table() -> impl Strategy<Value = TableMeta> {
    (any::<[u64; 5]>(), any::<bool>(), prop::collection::vec(any::<u8>(), 1..20), 0_u64..1 << 56)
        .prop_map(|(numbers, is_marked, key, seq)| {
            let mut table = table(numbers[0], "a", "b", 1, 2);
            [table.id, table.len, table.entries, table.tombstones] =
                [numbers[1], numbers[2], numbers[3], numbers[4]];
            table.largest.user_key = key.into();
            table.max_seq = Seq::new(seq);
            table.mark = if is_marked { Mark::Recompress } else { Mark::None };
            table
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn tables_round_trip(tables in prop::collection::vec((0..7_usize, any_table()), 0..6)) {
        let mut edit = VersionEdit::default();
        for (level, table) in tables {
            edit.delete_table(level, &table);
            edit.add_table(level, Arc::new(table));
        }
        prop_assert_eq!(decode(&edit.encode()).unwrap(), edit);
    }

    #[test]
    fn arbitrary_bytes_give_an_edit_or_an_error(bytes: Vec<u8>) {
        if let Ok(edit) = decode(&bytes) {
            prop_assert_eq!(decode(&edit.encode()).unwrap(), edit);
        }
    }

    #[test]
    fn arbitrary_payloads_give_an_edit_or_an_error(
        items in prop::collection::vec((0..16_u16, prop::collection::vec(any::<u8>(), 0..80)), 1..4)
    ) {
        let mut bytes = Vec::new();
        for (tag, payload) in items {
            put_item(&mut bytes, tag, Need::Required, &payload);
        }
        let _ = Replay::new(Path::new(PATH)).record(0, &bytes);
    }

    #[test]
    fn damaged_edits_never_panic(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let mut bytes = full_edit().encode();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        let _ = Replay::new(Path::new(PATH)).record(0, &bytes);
    }
}

#[test]
fn every_truncation_between_items_aside_is_an_error() {
    let bytes = full_edit().encode();
    let boundaries = item_boundaries(&bytes);
    for len in 0..bytes.len() {
        assert_eq!(decode(&bytes[..len]).is_ok(), boundaries.contains(&len), "{len}");
    }
}

fn item_boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut boundaries = vec![0];
    let mut at = 0;
    while at < bytes.len() {
        at += 8 + u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        boundaries.push(at);
    }
    boundaries
}
