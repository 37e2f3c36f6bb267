//! One arena, two memtables, a reader in another thread, and the end of a generation.
//!
//! `cargo run -p lsm-memtable --example generations`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, Kind, Seq};
use lsm_memtable::{Arena, ArenaWriter, Memtable};

fn main() {
    // A generation: the memtables of two keyspaces share an arena of 1 MiB.
    let arena = Arena::new(1 << 20);
    let mut writer = arena.writer().expect("the first to ask gets the writer");
    let users = Arc::new(Memtable::new(&arena, b""));
    let orders = Arc::new(Memtable::new(&arena, b""));
    let visible = AtomicU64::new(0);
    let is_full = AtomicBool::new(false);

    let seq = thread::scope(|scope| {
        // A reader learns how far writes are published, and then finds all of them.
        scope.spawn(|| {
            loop {
                let ended = is_full.load(Ordering::Acquire);
                let seq = visible.load(Ordering::Acquire);
                if 1 < seq {
                    let key = key(seq / 2);
                    let hash = hash_user_key(&key);
                    assert!(users.get(&key, hash, Seq::new(seq)).is_some());
                }
                if ended {
                    return;
                }
            }
        });
        let last = fill(&mut writer, &users, &orders, &visible);
        is_full.store(true, Ordering::Release);
        println!("{last} writes fit");
        last
    });

    println!("{} users, {} orders, {arena:?}", users.len(), orders.len());
    let mut cursor = users.cursor();
    cursor.seek(b"user00000100", Seq::new(seq)).expect("a memtable's cursor does not fail");
    println!("{:?} is {}", cursor.key(), cursor.value().escape_ascii());
    println!("the next generation may expect {}", users.common_prefix().escape_ascii());
}

/// Writes pairs of a user and an order until the arena has no room for another pair.
fn fill(writer: &mut ArenaWriter, users: &Memtable, orders: &Memtable, visible: &AtomicU64) -> u64 {
    let mut seq = 0;
    loop {
        let key = key(seq / 2 + 1);
        let hash = hash_user_key(&key);
        // As an engine does before it logs a group: is there room for all of it?
        if writer.remaining() < 2 * Memtable::insert_bound(key.len(), 3) {
            return seq;
        }
        for (table, value) in [(users, b"Ada"), (orders, b"tea")] {
            seq += 1;
            table
                .insert(writer, &key, hash, Seq::new(seq), Kind::Put, value)
                .expect("room was checked");
        }
        visible.store(seq, Ordering::Release);
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("user{number:08}").into_bytes()
}
