//! Every insert of friendly and hostile key orders leaves a balanced, threaded tree.

use lsm_base::key::hash_user_key;
use lsm_base::{Kind, Seq};

use crate::arena::{Arena, ArenaWriter};
use crate::key_entry::key_entry_len;
use crate::memtable::Memtable;
use crate::node::NODE_LEN;
use crate::tree::check::check;

/// A memtable that is checked from end to end after every insert.
struct Checked {
    table: Memtable,
    writer: ArenaWriter,
    keys: std::collections::BTreeSet<Vec<u8>>,
    inserts: u64,
}

impl Checked {
    fn new(common_prefix: &[u8]) -> Checked {
        let arena = Arena::new(1 << 20);
        let writer = arena.writer().unwrap();
        let table = Memtable::new(&arena, common_prefix);
        Checked { table, writer, keys: Default::default(), inserts: 0 }
    }

    fn insert(&mut self, key: &[u8]) {
        self.inserts += 1;
        let (seq, used) = (Seq::new(self.inserts), self.writer.arena().used());
        let hash = hash_user_key(key);
        self.table.insert(&mut self.writer, key, hash, seq, Kind::Put, key).unwrap();
        let taken = self.writer.arena().used() - used;
        assert!(taken <= Memtable::insert_bound(key.len(), key.len()));
        self.keys.insert(key.to_vec());
        let found = check(&self.table.tree, &self.table.list, self.table.space());
        assert_eq!(found, self.keys.len());
        assert_eq!(self.table.keys.get(), self.keys.len() as u64);
        assert_eq!(self.table.len() as u64, self.inserts);
    }

    fn insert_numbers(numbers: impl IntoIterator<Item = u32>) -> Checked {
        let mut checked = Checked::new(b"");
        numbers.into_iter().for_each(|number| checked.insert(&number.to_be_bytes()));
        checked
    }
}

const COUNT: u32 = 300;

#[test]
fn ascending_keys() {
    let checked = Checked::insert_numbers(0..COUNT);
    // Single rotations only, each of which copies a node that then never moves down again.
    let nodes = NODE_LEN * 2 * COUNT as usize;
    assert!(checked.writer.arena().used() <= nodes + key_entry_len(4, 4) * COUNT as usize);
}

#[test]
fn descending_keys() {
    Checked::insert_numbers((0..COUNT).rev());
}

#[test]
fn zig_zag_keys() {
    // From both ends to the middle: every insert is an inner grandchild of a heavy side.
    Checked::insert_numbers((0..COUNT).map(|i| if i % 2 == 0 { i } else { 2 * COUNT - i }));
}

#[test]
fn organ_pipe_keys() {
    // From the middle to both ends, then back between.
    let outward = (0..COUNT / 2).flat_map(|i| [2 * (COUNT - i), 2 * (COUNT + i)]);
    let inward = (0..COUNT / 2).rev().flat_map(|i| [2 * (COUNT - i) + 1, 2 * (COUNT + i) + 1]);
    Checked::insert_numbers(outward.chain(inward));
}

#[test]
fn random_keys_with_repetitions() {
    let mut state = 0x9e37_79b9_u32;
    Checked::insert_numbers((0..2 * COUNT).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % COUNT
    }));
}

#[test]
fn equal_keys() {
    let checked = Checked::insert_numbers((0..COUNT).map(|_| 7));
    assert_eq!(checked.keys.len(), 1);
}

#[test]
fn ascending_runs_between_other_keys() {
    // The kept right edge must survive, or be forgotten by, inserts elsewhere and overwrites.
    let mut checked = Checked::new(b"");
    for round in 0..20_u32 {
        for step in 0..8 {
            checked.insert(&(1_000_000 + 100 * round + step).to_be_bytes());
        }
        checked.insert(&(1_000_000 + 100 * round).to_be_bytes());
        checked.insert(&(1_000_000 + 100 * round + 3).to_be_bytes());
        checked.insert(&(1_000_000 - round).to_be_bytes());
        checked.insert(&(1_000_000 + 50 * round + 40).to_be_bytes());
    }
}

#[test]
fn keys_with_equal_prefixes_and_strangers() {
    // Equal for nine bytes and longer than the prefix; shorter than it; without the common part.
    let mut checked = Checked::new(b"user");
    for number in 0..60_u32 {
        let scattered = number * 37 % 60;
        checked.insert(format!("user12345678{scattered:04}").as_bytes());
        checked.insert(format!("user{scattered}").as_bytes());
        checked.insert(&b"user\0\0\0\0\0\0\0\0\0"[..number as usize % 14]);
        checked.insert(format!("a{scattered:04}").as_bytes());
        checked.insert(format!("z{scattered:04}").as_bytes());
        checked.insert(format!("use{scattered:04}").as_bytes());
    }
}
