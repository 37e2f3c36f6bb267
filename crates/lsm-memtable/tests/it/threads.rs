//! Readers beside a writer, in real threads: what is published is found, at every moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, Kind, Seq};
use lsm_memtable::{Arena, Memtable, MemtableCursor};

const INSERTS: u64 = 60_000;

/// The key of an insert. Every eighth repeats an earlier key.
type KeyOf = fn(u64) -> [u8; 8];

fn fresh(seq: u64) -> u64 {
    if seq % 8 == 7 { seq / 2 } else { seq }
}

fn scattered(seq: u64) -> [u8; 8] {
    // An odd factor makes a permutation of the numbers.
    fresh(seq).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn ascending(seq: u64) -> [u8; 8] {
    fresh(seq).to_be_bytes()
}

fn zig_zag(seq: u64) -> [u8; 8] {
    let number = fresh(seq);
    (if number.is_multiple_of(2) { number } else { u64::MAX - number }).to_be_bytes()
}

/// A table, and how far it is published.
struct Shared {
    table: Arc<Memtable>,
    visible: AtomicU64,
    key_of: KeyOf,
}

impl Shared {
    fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    /// Looks up keys all over what is published, those written last above all.
    fn get_until_done(&self, mut random: u64) {
        loop {
            let visible = self.visible();
            for back in 0..16 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let seq = match back {
                    0..8 => visible.saturating_sub(back),
                    _ => (random >> 33) % visible.max(1),
                };
                if seq != 0 {
                    self.assert_found(seq, visible);
                }
            }
            if visible == INSERTS {
                return;
            }
        }
    }

    /// The write of `seq` is there at its own sequence, and it or a newer one at `visible`.
    fn assert_found(&self, seq: u64, visible: u64) {
        let key = (self.key_of)(seq);
        let hash = hash_user_key(&key);
        let entry = self.table.get(&key, hash, Seq::new(seq)).expect("a published key is found");
        assert_eq!((entry.seq, entry.value), (Seq::new(seq), &seq.to_le_bytes()[..]));
        let newest = self.table.get(&key, hash, Seq::new(visible)).expect("and stays");
        assert!(seq <= newest.seq.get() && newest.seq.get() <= visible);
        let latest = self.table.get(&key, hash, Seq::MAX).expect("and stays");
        assert!(newest.seq <= latest.seq);
    }

    /// Walks parts of the table to and fro: entries ascend, and all published ones are met.
    fn scan_until_done(&self, mut random: u64) {
        let mut cursor = self.table.cursor();
        loop {
            let visible = self.visible();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if visible != 0 {
                let seq = 1 + (random >> 33) % visible;
                self.assert_walk(&mut cursor, seq, visible);
            }
            if visible == INSERTS {
                break;
            }
        }
        cursor.seek_to_first().unwrap();
        assert_eq!(count(&mut cursor, MemtableCursor::next), INSERTS);
        cursor.seek_to_last().unwrap();
        assert_eq!(count(&mut cursor, MemtableCursor::prev), INSERTS);
    }

    fn assert_walk(&self, cursor: &mut MemtableCursor, seq: u64, visible: u64) {
        let key = (self.key_of)(seq);
        cursor.seek(&key, Seq::new(seq)).unwrap();
        assert_eq!((cursor.key().user_key, cursor.key().seq.get()), (&key[..], seq));
        let mut forward = Vec::new();
        for _ in 0..40 {
            if !cursor.valid() {
                break;
            }
            forward.push(cursor.key().to_owned());
            cursor.next().unwrap();
        }
        assert!(forward.is_sorted_by(|a, b| a < b), "entries ascend");
        // The way back meets every entry of the way there, and between them only newer ones.
        let (start, end) = (&forward[0], &forward[forward.len() - 1]);
        cursor.seek(&end.user_key, end.seq).unwrap();
        let mut backward = Vec::new();
        while cursor.valid() && start.as_ref() <= cursor.key() {
            backward.push(cursor.key().to_owned());
            cursor.prev().unwrap();
        }
        backward.reverse();
        assert!(backward.is_sorted_by(|a, b| a < b), "entries descend");
        let published = |entries: Vec<lsm_base::InternalKey>| -> Vec<_> {
            entries.into_iter().filter(|key| key.seq.get() <= visible).collect()
        };
        assert_eq!(published(forward), published(backward));
    }
}

fn count(
    cursor: &mut MemtableCursor,
    step: fn(&mut MemtableCursor) -> lsm_base::Result<()>,
) -> u64 {
    let mut entries = 0;
    while cursor.valid() {
        entries += 1;
        step(cursor).unwrap();
    }
    entries
}

fn readers_beside_a_writer(key_of: KeyOf) {
    let arena = Arena::new(INSERTS as usize * Memtable::insert_bound(8, 8));
    let mut writer = arena.writer().unwrap();
    let table = Arc::new(Memtable::new(&arena, b""));
    let shared = Shared { table: Arc::clone(&table), visible: AtomicU64::new(0), key_of };
    thread::scope(|scope| {
        for seed in 1..=2 {
            let shared = &shared;
            scope.spawn(move || shared.get_until_done(seed));
        }
        scope.spawn(|| shared.scan_until_done(3));
        for seq in 1..=INSERTS {
            let (key, value) = (key_of(seq), seq.to_le_bytes());
            let hash = hash_user_key(&key);
            table.insert(&mut writer, &key, hash, Seq::new(seq), Kind::Put, &value).unwrap();
            shared.visible.store(seq, Ordering::Release);
        }
    });
}

#[test]
fn readers_beside_scattered_inserts() {
    readers_beside_a_writer(scattered);
}

#[test]
fn readers_beside_ascending_inserts() {
    readers_beside_a_writer(ascending);
}

#[test]
fn readers_beside_inserts_from_both_ends() {
    readers_beside_a_writer(zig_zag);
}
