//! Any sequence of inserts reads like a sorted map of internal keys, from every point and in both
//! directions, and takes no more memory than its bounds say.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, InternalKey, InternalKeyRef, Kind, Seq};
use lsm_memtable::{Arena, ArenaFull, Memtable, MemtableCursor};
use proptest::collection::vec;
use proptest::prelude::*;

type Model = BTreeMap<InternalKey, Vec<u8>>;

/// Short keys over few letters, so that keys repeat, prefix one another and tie.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(0xff)], 0..5),
        vec(prop_oneof![Just(b'a'), Just(b'b')], 0..3).prop_map(|tail| [
            b"common/12345678",
            &tail[..]
        ]
        .concat()),
    ]
}

fn hints() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), Just(b"common/".to_vec()), Just(b"a".to_vec())]
}

/// Inserts: key, value, whether it is a tombstone, and how far the sequence advances.
fn inserts() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>, bool, u64)>> {
    vec((keys(), vec(any::<u8>(), 0..40), any::<bool>(), 1..4_u64), 0..120)
}

fn fill(table: &Memtable, arena: &Arc<Arena>, inserts: &[(Vec<u8>, Vec<u8>, bool, u64)]) -> Model {
    let mut writer = arena.writer().unwrap();
    let mut model = Model::new();
    let (mut seq, mut bounds) = (Seq::ZERO, 0);
    for (key, value, is_tombstone, step) in inserts {
        seq = seq.plus(*step);
        let (kind, value) = match is_tombstone {
            true => (Kind::Delete, &[][..]),
            false => (Kind::Put, &value[..]),
        };
        bounds += Memtable::insert_bound(key.len(), value.len());
        table.insert(&mut writer, key, hash_user_key(key), seq, kind, value).unwrap();
        assert!(arena.used() <= bounds, "{} bytes used, {bounds} announced", arena.used());
        model.insert(InternalKeyRef::new(key, seq, kind).to_owned(), value.to_vec());
    }
    model
}

/// The key from which on the model holds what a seek to (`key`, `seq`) is to find.
fn point(key: &[u8], seq: Seq) -> InternalKey {
    // Of equal keys and sequences the greatest kind comes first; there is none above this.
    InternalKeyRef::new(key, seq, Kind::Delete).to_owned()
}

fn newest_of(key: &[u8]) -> InternalKey {
    point(key, Seq::MAX)
}

fn assert_at(cursor: &MemtableCursor, expected: Option<(&InternalKey, &Vec<u8>)>) {
    let found = cursor.valid().then(|| (cursor.key(), cursor.value()));
    assert_eq!(found, expected.map(|(key, value)| (key.as_ref(), &value[..])));
}

fn assert_walks_agree(cursor: &mut MemtableCursor, model: &Model) {
    cursor.seek_to_first().unwrap();
    for entry in model {
        assert_at(cursor, Some(entry));
        cursor.next().unwrap();
    }
    assert_at(cursor, None);
    cursor.seek_to_last().unwrap();
    for entry in model.iter().rev() {
        assert_at(cursor, Some(entry));
        cursor.prev().unwrap();
    }
    assert_at(cursor, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_memtable_reads_like_a_sorted_map(
        inserts in inserts(),
        hint in hints(),
        probes in vec((keys(), 0..260_u64), 1..40),
    ) {
        let arena = Arena::new(1 << 20);
        let table = Arc::new(Memtable::new(&arena, &hint));
        let model = fill(&table, &arena, &inserts);
        prop_assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
        let mut cursor = table.cursor();
        assert_at(&cursor, None);
        assert_walks_agree(&mut cursor, &model);

        let present = inserts.iter().map(|(key, ..)| key.clone()).zip((0..260).step_by(7));
        for (key, seq) in probes.into_iter().chain(present) {
            let (hash, seq) = (hash_user_key(&key), Seq::new(seq));
            let point = point(&key, seq);
            let at_or_behind = model.range(&point..).next();
            let before = model.range(..&point).next_back();

            let visible = at_or_behind.filter(|(found, _)| *found.user_key == *key);
            let got = table.get(&key, hash, seq);
            prop_assert_eq!(
                got.map(|entry| (entry.seq, entry.kind, entry.value)),
                visible.map(|(found, value)| (found.seq, found.kind, &value[..]))
            );
            let first = model.range(newest_of(&key)..).next();
            let latest = first.filter(|(found, _)| *found.user_key == *key);
            let newest = table.get(&key, hash, Seq::MAX);
            prop_assert_eq!(newest.map(|entry| entry.seq), latest.map(|(found, _)| found.seq));

            cursor.seek(&key, seq).unwrap();
            assert_at(&cursor, at_or_behind);
            if cursor.valid() {
                cursor.prev().unwrap();
                assert_at(&cursor, before);
            }
            cursor.seek_before(&key, seq).unwrap();
            assert_at(&cursor, before);
            if cursor.valid() {
                cursor.next().unwrap();
                assert_at(&cursor, at_or_behind);
            }
        }
    }

    #[test]
    fn inserts_within_their_bounds_never_fail(inserts in inserts(), surplus in 0..8_usize) {
        let bound = |(key, value, ..): &(Vec<u8>, Vec<u8>, bool, u64)| {
            Memtable::insert_bound(key.len(), value.len())
        };
        let arena = Arena::new(inserts.iter().map(bound).sum::<usize>() + surplus);
        let table = Arc::new(Memtable::new(&arena, b""));
        let model = fill(&table, &arena, &inserts);
        assert_walks_agree(&mut table.cursor(), &model);
    }
}

#[test]
fn memtables_of_one_arena_are_strangers() {
    let arena = Arena::new(1 << 20);
    let mut writer = arena.writer().unwrap();
    let tables: Vec<_> = (0..3).map(|_| Arc::new(Memtable::new(&arena, b""))).collect();
    for seq in 1..=900_u64 {
        let key = (seq / 3 * 7919 % 300).to_be_bytes();
        let table = &tables[seq as usize % 3];
        let value = seq.to_le_bytes();
        let result =
            table.insert(&mut writer, &key, hash_user_key(&key), Seq::new(seq), Kind::Put, &value);
        result.unwrap();
    }
    for (number, table) in tables.iter().enumerate() {
        assert_eq!(table.len(), 300);
        let mut cursor = table.cursor();
        cursor.seek_to_first().unwrap();
        while cursor.valid() {
            assert_eq!(cursor.key().seq.get() as usize % 3, number);
            assert_eq!(cursor.value(), cursor.key().seq.get().to_le_bytes());
            cursor.next().unwrap();
        }
    }
}

#[test]
fn a_cursor_sees_what_is_inserted_while_it_stands() {
    let arena = Arena::new(1 << 16);
    let mut writer = arena.writer().unwrap();
    let table = Arc::new(Memtable::new(&arena, b""));
    let mut insert = |key: &[u8], seq| -> Result<(), ArenaFull> {
        table.insert(&mut writer, key, hash_user_key(key), Seq::new(seq), Kind::Put, b"")
    };
    insert(b"b", 1).unwrap();
    let mut cursor = table.cursor();
    cursor.seek(b"b", Seq::MAX).unwrap();
    let place = |cursor: &MemtableCursor| (cursor.key().user_key.to_vec(), cursor.key().seq.get());

    insert(b"c", 2).unwrap();
    cursor.next().unwrap();
    assert_eq!(place(&cursor), (b"c".to_vec(), 2));
    insert(b"bb", 3).unwrap();
    cursor.prev().unwrap();
    assert_eq!(place(&cursor), (b"bb".to_vec(), 3));
    insert(b"bb", 4).unwrap();
    cursor.prev().unwrap();
    assert_eq!(place(&cursor), (b"bb".to_vec(), 4));
    cursor.prev().unwrap();
    assert_eq!(place(&cursor), (b"b".to_vec(), 1));
    insert(b"a", 5).unwrap();
    cursor.prev().unwrap();
    assert_eq!(place(&cursor), (b"a".to_vec(), 5));
    cursor.prev().unwrap();
    assert!(!cursor.valid());
}

#[test]
fn a_cursor_outlives_every_other_handle() {
    let arena = Arena::new(1 << 16);
    let mut writer = arena.writer().unwrap();
    let table = Arc::new(Memtable::new(&arena, b""));
    let hash = hash_user_key(b"k");
    table.insert(&mut writer, b"k", hash, Seq::new(1), Kind::Put, b"v").unwrap();
    let mut cursor = table.cursor();
    drop((table, writer, arena));
    let thread = std::thread::spawn(move || {
        cursor.seek_to_first().unwrap();
        (cursor.key().to_owned(), cursor.value().to_vec())
    });
    let (key, value) = thread.join().unwrap();
    assert_eq!((&*key.user_key, key.seq, &value[..]), (&b"k"[..], Seq::new(1), &b"v"[..]));
}
