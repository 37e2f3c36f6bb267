//! Models of the publication order: loom runs the shipped code under every interleaving, up to a
//! bounded number of preemptions, and under every outcome that the memory orderings allow.
//!
//! Each model builds a tree up to the brink, then lets one thread insert the keys that tip it over
//! while another reads. Loom also fails a model in which plain bytes are read that the write did
//! not happen before.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, Kind, Seq};

use super::*;

/// Runs `before` alone, then `during` beside a reader; rotations copy so many nodes in all. The
/// writer publishes each sequence as an engine does; the reader loads the published sequence once
/// and then `read`s.
fn model(
    before: &'static [u8],
    during: &'static [u8],
    copies: usize,
    read: impl Fn(&Arc<Memtable>, &[u8]) + Clone + Send + Sync + 'static,
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let arena = Arena::new(1 << 10);
        let mut writer = arena.writer().unwrap();
        let table = Arc::new(Memtable::new(&arena, b""));
        let visible = loom::sync::Arc::new(AtomicU64::new(0));
        for (seq, &key) in (1..).zip(before) {
            insert(&table, &mut writer, key, seq);
            visible.store(seq, Ordering::Release);
        }
        let reader = {
            let (table, visible, read) = (Arc::clone(&table), visible.clone(), read.clone());
            thread::spawn(move || {
                let seq = visible.load(Ordering::Acquire) as usize;
                let keys: Vec<u8> = before.iter().chain(during).copied().collect();
                read(&table, &keys[..seq]);
            })
        };
        for (seq, &key) in (1 + before.len() as u64..).zip(during) {
            insert(&table, &mut writer, key, seq);
            visible.store(seq, Ordering::Release);
        }
        reader.join().unwrap();
        let keys: Vec<u8> = before.iter().chain(during).copied().collect();
        finds_all(&table, &keys);
        cursor_finds_all(&table, &keys);
        assert_eq!(copied_nodes(&table, keys.len()), copies, "copies by rotations");
    });
}

fn insert(table: &Memtable, writer: &mut ArenaWriter, key: u8, seq: u64) {
    let key = [key];
    table.insert(writer, &key, hash_user_key(&key), Seq::new(seq), Kind::Put, &key).unwrap();
}

/// How many nodes there are beyond one for each key.
fn copied_nodes(table: &Memtable, versions: usize) -> usize {
    let keys = table.keys.get() as usize;
    let entries = keys * key_entry_len(1, 1) + (versions - keys) * version_len(1);
    (table.arena.used() - entries) / NODE_LEN - keys
}

/// Every key is found, with the sequence of its last published write.
fn finds_all(table: &Arc<Memtable>, keys: &[u8]) {
    let visible = Seq::new(keys.len() as u64);
    for &key in keys {
        let newest = keys.iter().rposition(|&other| other == key).unwrap() as u64 + 1;
        let entry = table.get(&[key], hash_user_key(&[key]), visible);
        let entry = entry.expect("a published key is found");
        assert_eq!((entry.seq, entry.value), (Seq::new(newest), &[key][..]));
    }
}

/// The entries that a cursor meets ascend and contain every published one, in both directions.
fn cursor_finds_all(table: &Arc<Memtable>, keys: &[u8]) {
    let mut published: Vec<_> = (1..).zip(keys).map(|(seq, &key)| (key, Seq::new(seq))).collect();
    published.sort_by_key(|&(key, seq)| (key, std::cmp::Reverse(seq)));
    let visible = Seq::new(keys.len() as u64);
    let mut cursor = table.cursor();
    let place = |cursor: &MemtableCursor| (cursor.key().user_key[0], cursor.key().seq);

    let mut forward = Vec::new();
    cursor.seek(&[0], visible).unwrap();
    while cursor.valid() {
        forward.push(place(&cursor));
        cursor.next().unwrap();
    }
    let mut backward = Vec::new();
    cursor.seek_to_last().unwrap();
    while cursor.valid() {
        backward.push(place(&cursor));
        cursor.prev().unwrap();
    }
    backward.reverse();
    for mut met in [forward, backward] {
        assert!(met.is_sorted_by_key(|&(key, seq)| (key, std::cmp::Reverse(seq))));
        met.retain(|&(_, seq)| seq <= visible);
        assert_eq!(met, published);
    }
}

/// What a cursor met on its way forward it meets again on its way back.
fn cursor_retraces(table: &Arc<Memtable>, keys: &[u8]) {
    let mut cursor = table.cursor();
    let mut forward = Vec::new();
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        forward.push(cursor.key().user_key[0]);
        cursor.next().unwrap();
    }
    assert!(keys.iter().all(|key| forward.contains(key)));
    let Some(&last) = forward.last() else { return };
    cursor.seek(&[last], Seq::MAX).unwrap();
    let mut backward = Vec::new();
    while cursor.valid() {
        backward.push(cursor.key().user_key[0]);
        cursor.prev().unwrap();
    }
    assert!(forward.iter().all(|key| backward.contains(key)), "{forward:?}, then {backward:?}");
}

/// A seek to a key that is being inserted, or right behind it, lands on its side of the point and
/// leads on to every published entry of that side.
fn seeks_keep_their_side(table: &Arc<Memtable>, keys: &[u8]) {
    let mut cursor = table.cursor();
    for point in [&b"b"[..], b"b\0"] {
        let mut met = Vec::new();
        cursor.seek(point, Seq::MAX).unwrap();
        while cursor.valid() {
            assert!(point <= cursor.key().user_key);
            met.push(cursor.key().user_key[0]);
            cursor.next().unwrap();
        }
        cursor.seek_before(point, Seq::MAX).unwrap();
        while cursor.valid() {
            assert!(cursor.key().user_key < point);
            met.push(cursor.key().user_key[0]);
            cursor.prev().unwrap();
        }
        assert!(keys.iter().all(|key| met.contains(key)), "{met:?} of {keys:?}");
    }
}

#[test]
fn loom_first_inserts() {
    model(b"", b"ba", 0, finds_all);
}

#[test]
fn loom_single_rotation_left() {
    model(b"ab", b"cd", 1, finds_all);
}

#[test]
fn loom_single_rotation_right() {
    model(b"cb", b"a", 1, finds_all);
}

#[test]
fn loom_single_rotation_takes_a_subtree_over() {
    // `d` moves down, and its copy takes `c` over from `b`, which moves up to the root.
    model(b"dbeac", b"A", 1, finds_all);
}

#[test]
fn loom_double_rotation_at_the_root() {
    model(b"ac", b"b", 2, finds_all);
}

#[test]
fn loom_double_rotation_takes_subtrees_over() {
    // `d` moves up between `b` and `f`; of its subtrees one is empty, the other new.
    model(b"fbgad", b"c", 2, finds_all);
    model(b"fbgad", b"e", 2, finds_all);
}

#[test]
fn loom_double_rotation_below_the_root() {
    // The link that changes last is not the root's.
    model(b"dbfac", b"hg", 2, finds_all);
}

#[test]
fn loom_overwrites() {
    model(b"ab", b"aa", 0, finds_all);
}

#[test]
fn loom_cursor_beside_an_insert_between() {
    model(b"bd", b"c", 2, cursor_finds_all);
}

#[test]
fn loom_cursor_retraces_its_way() {
    model(b"bd", b"c", 2, cursor_retraces);
}

#[test]
fn loom_cursor_beside_a_new_first_and_last() {
    model(b"b", b"ac", 0, cursor_finds_all);
}

#[test]
fn loom_cursor_beside_overwrites() {
    model(b"ab", b"a", 0, cursor_finds_all);
}

#[test]
fn loom_seeks_beside_a_rotation() {
    model(b"ac", b"b", 2, seeks_keep_their_side);
}
