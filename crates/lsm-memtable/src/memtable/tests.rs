//! What one thread can see of a memtable: limits, errors, and the exactness of a full arena.

use lsm_base::Cursor;
use lsm_base::key::hash_user_key;

use super::*;
use crate::tree::check::check;

mod balance;

fn put(table: &Memtable, writer: &mut ArenaWriter, key: &[u8], seq: u64) -> Result<(), ArenaFull> {
    table.insert(writer, key, hash_user_key(key), Seq::new(seq), Kind::Put, b"value")
}

fn new_table(capacity: usize) -> (Arc<Memtable>, ArenaWriter) {
    let arena = Arena::new(capacity);
    let writer = arena.writer().unwrap();
    (Arc::new(Memtable::new(&arena, b"")), writer)
}

#[test]
fn a_full_arena_leaves_the_table_as_it_was() {
    // Every capacity up to a few inserts: the arena fills at every point of an insert.
    for capacity in (0..1200).step_by(8) {
        let (table, mut writer) = new_table(capacity);
        let mut held = Vec::new();
        let mut refused = 0;
        for seq in 1..40_u64 {
            // Every other insert is a version of a key that is there.
            let key = (seq / 2 * 7 % 20).to_be_bytes();
            let used = table.arena.used();
            match put(&table, &mut writer, &key, seq) {
                Ok(()) => held.push((key, seq)),
                Err(ArenaFull) => {
                    refused += 1;
                    assert_eq!(table.arena.used(), used);
                    assert!(
                        capacity - used < Memtable::insert_bound(key.len(), b"value".len()),
                        "refused with {} bytes free",
                        capacity - used
                    );
                }
            }
            let keys = check(&table.tree, &table.list, table.space());
            assert_eq!(keys as u64, table.keys.get());
            assert_eq!(table.len(), held.len());
        }
        assert!(0 < refused);
        for (key, seq) in held {
            let entry = table.get(&key, hash_user_key(&key), Seq::new(seq)).unwrap();
            assert_eq!((entry.seq, entry.value), (Seq::new(seq), &b"value"[..]));
        }
    }
}

#[test]
fn a_refused_key_is_not_even_in_the_filter() {
    let (table, mut writer) = new_table(8);
    assert_eq!(put(&table, &mut writer, b"k", 1), Err(ArenaFull));
    assert!(!table.filter.may_contain(hash_user_key(b"k")));
    assert!(table.is_empty() && table.get(b"k", hash_user_key(b"k"), Seq::MAX).is_none());
}

#[test]
#[should_panic(expected = "another arena")]
fn a_writer_of_another_arena_is_refused() {
    let (table, _writer) = new_table(1 << 10);
    let (_other, mut writer) = new_table(1 << 10);
    let _ = put(&table, &mut writer, b"k", 1);
}

#[test]
#[should_panic(expected = "is not newer")]
fn a_sequence_that_is_not_newer_is_refused() {
    let (table, mut writer) = new_table(1 << 10);
    put(&table, &mut writer, b"k", 5).unwrap();
    let _ = put(&table, &mut writer, b"k", 5);
}

#[test]
#[should_panic(expected = "a key of 65536 bytes")]
fn a_key_above_the_limit_is_refused() {
    let (table, mut writer) = new_table(1 << 20);
    let _ = put(&table, &mut writer, &[0; 65_536], 1);
}

#[test]
fn the_longest_key_and_the_empty_one_fit() {
    let (table, mut writer) = new_table(1 << 20);
    let long = vec![b'k'; MAX_KEY_LEN];
    put(&table, &mut writer, &long, 1).unwrap();
    put(&table, &mut writer, b"", 2).unwrap();
    let mut cursor = table.cursor();
    cursor.seek_to_first().unwrap();
    assert_eq!(cursor.key().user_key, b"");
    cursor.next().unwrap();
    assert_eq!((cursor.key().user_key, cursor.value()), (&long[..], &b"value"[..]));
    cursor.next().unwrap();
    assert!(!cursor.valid());
}

#[test]
fn the_common_prefix_is_learnt_from_enough_keys() {
    let arena = Arena::new(1 << 20);
    let mut writer = arena.writer().unwrap();
    let table = Memtable::new(&arena, b"hint");
    for number in 0..15 {
        put(&table, &mut writer, format!("user{number:03}").as_bytes(), number + 1).unwrap();
    }
    assert_eq!(table.common_prefix(), b"hint");
    put(&table, &mut writer, b"user015", 99).unwrap();
    assert_eq!(table.common_prefix(), b"user0");
    put(&table, &mut writer, b"x", 100).unwrap();
    assert_eq!(table.common_prefix(), b"");
}

#[test]
fn a_bound_of_absurd_lengths_does_not_wrap() {
    assert!(usize::MAX / 2 < Memtable::insert_bound(usize::MAX, 0));
    assert!(usize::MAX / 2 < Memtable::insert_bound(0, usize::MAX));
    assert!(usize::MAX / 2 < Memtable::insert_bound(usize::MAX, usize::MAX));
}
