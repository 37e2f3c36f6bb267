//! The memtable against `crossbeam-skiplist` and a `BTreeMap` behind a lock.
//!
//! 16-byte keys and 100-byte values, at 10^5 and 10^6 entries. Within each of three rounds the
//! contenders take turns at each workload; the table shows medians, and the ratio of the best other
//! contender to ours as the median of the rounds' ratios (above 1: ours is faster). Keys, values
//! and orders are made outside the timing; hashing a key for our filter is inside. Every hit is
//! checked by the first byte of its value. `cargo bench -p lsm-memtable [entries]`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_skiplist::SkipMap;
use lsm_base::key::{hash_user_key, pack_trailer};
use lsm_base::{Cursor, Kind, Seq};
use lsm_memtable::{Arena, ArenaWriter, Memtable};
use parking_lot::RwLock;

const ROUNDS: usize = 3;
const VALUE_LEN: usize = 100;

type Key = [u8; 16];

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![100_000, 1_000_000] } else { asked };
    for entries in sizes {
        for shape in [Shape::Binary, Shape::Decimal] {
            compare(&Data::new(shape, entries));
        }
    }
}

/// Runs all rounds over one data set and prints its table.
fn compare(data: &Data) {
    // [workload][contender] -> nanoseconds an operation, for each round.
    let mut times = vec![[const { Vec::new() }; 3]; WORKLOADS.len()];
    for _ in 0..ROUNDS {
        let rounds = [
            run::<Ours>(data),
            run::<SkipMap<InternalKey, Box<[u8]>>>(data),
            run::<RwLock<BTreeMap<InternalKey, Box<[u8]>>>>(data),
        ];
        for (contender, round) in rounds.iter().enumerate() {
            for (workload, &time) in round.iter().enumerate() {
                times[workload][contender].push(time);
            }
        }
    }
    println!("\n{} entries, {:?} keys; ns/op", data.keys.len(), data.shape);
    println!(
        "{:<26}{:>10}{:>10}{:>10}{:>14}{:>12}",
        "", "ours", "skiplist", "btree", "skiplist/ours", "best/ours"
    );
    for (name, [ours, skiplist, btree]) in WORKLOADS.iter().zip(times) {
        let ratios = |other: &dyn Fn(usize) -> f64| {
            median((0..ROUNDS).map(|round| other(round) / ours[round]).collect())
        };
        let to_skiplist = ratios(&|round| skiplist[round]);
        let to_best = ratios(&|round| skiplist[round].min(btree[round]));
        println!(
            "{name:<26}{:>10.0}{:>10.0}{:>10.0}{to_skiplist:>14.2}{to_best:>12.2}",
            median(ours.clone()),
            median(skiplist),
            median(btree),
        );
    }
    let table = Ours::new(data);
    data.insert_all(&table, &data.keys);
    let overhead = table.arena.used() as f64 / data.keys.len() as f64 - (16 + VALUE_LEN) as f64;
    println!("arena bytes an entry beyond key and value (random order): {overhead:.1}");
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

const WORKLOADS: [&str; 7] = [
    "random insert",
    "sequential insert",
    "get hit",
    "get miss",
    "iterate",
    "get beside inserts",
    "insert beside gets",
];

/// One round of one contender.
fn run<S: Store>(data: &Data) -> [f64; WORKLOADS.len()] {
    let count = data.keys.len() as f64;
    let timed = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_nanos() as f64 / count
    };
    let random = S::new(data);
    let insert_random = timed(&mut || data.insert_all(&random, &data.keys));
    let get_hit = timed(&mut || data.get_all(&random, &data.gets));
    let get_miss = timed(&mut || {
        assert_eq!(data.absent.iter().filter(|key| random.get(key).is_some()).count(), 0);
    });
    let iterate = timed(&mut || {
        assert_eq!(black_box(&random).iterate(), data.sum);
    });
    let (get_beside, insert_beside) = beside(&random, data);
    drop(random);
    let sequential = S::new(data);
    let insert_sequential = timed(&mut || data.insert_all(&sequential, &data.sorted));
    assert_eq!(sequential.iterate(), data.sum);
    [insert_random, insert_sequential, get_hit, get_miss, iterate, get_beside, insert_beside]
}

/// One thread inserts as many keys again while this one gets: nanoseconds a get, and an insert.
fn beside<S: Store>(store: &S, data: &Data) -> (f64, f64) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let start = Instant::now();
            for (number, key) in data.absent.iter().enumerate() {
                store.insert(key, (data.keys.len() + number + 1) as u64, &data.value(key));
            }
            done.store(true, Ordering::Release);
            start.elapsed().as_nanos() as f64 / data.absent.len() as f64
        });
        let start = Instant::now();
        let mut gets = 0;
        for chunk in data.gets.chunks(256).cycle() {
            data.get_all(store, chunk);
            gets += chunk.len();
            if done.load(Ordering::Acquire) {
                break;
            }
        }
        let get = start.elapsed().as_nanos() as f64 / gets as f64;
        (get, writer.join().expect("the writer does not panic"))
    })
}

/// How keys look.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Shape {
    /// Random bytes.
    Binary,
    /// Sixteen decimal digits with leading zeros, as db_bench has them, and in our memtable the
    /// common prefix that the memtable before would have told.
    Decimal,
}

/// Keys, orders and values of a data set.
struct Data {
    shape: Shape,
    /// In the order of a random insert.
    keys: Vec<Key>,
    sorted: Vec<Key>,
    /// The keys in another random order.
    gets: Vec<Key>,
    absent: Vec<Key>,
    /// What [`Store::iterate`] answers.
    sum: u64,
}

impl Data {
    fn new(shape: Shape, entries: usize) -> Data {
        let mut random = SplitMix(entries as u64);
        let mut all: Vec<Key> = (0..2 * entries as u64)
            .map(|number| match shape {
                Shape::Binary => {
                    (u128::from(random.next()) << 64 | u128::from(random.next())).to_be_bytes()
                }
                Shape::Decimal => {
                    format!("{number:016}").into_bytes().try_into().expect("16 digits")
                }
            })
            .collect();
        random.shuffle(&mut all);
        let absent = all.split_off(entries);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        let mut gets = all.clone();
        random.shuffle(&mut gets);
        let sum = all.iter().map(|key| u64::from(key[15]) + u64::from(first_byte(key))).sum();
        Data { shape, keys: all, sorted, gets, absent, sum }
    }

    fn value(&self, key: &Key) -> [u8; VALUE_LEN] {
        [first_byte(key); VALUE_LEN]
    }

    fn insert_all<S: Store>(&self, store: &S, keys: &[Key]) {
        for (number, key) in keys.iter().enumerate() {
            store.insert(key, number as u64 + 1, &self.value(key));
        }
    }

    fn get_all<S: Store>(&self, store: &S, keys: &[Key]) {
        for key in keys {
            assert_eq!(store.get(key), Some(first_byte(key)));
        }
    }
}

fn first_byte(key: &Key) -> u8 {
    key[15] ^ key[7]
}

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.next() as usize % (end + 1));
        }
    }
}

/// What an engine asks of its memtable.
trait Store: Sync {
    fn new(data: &Data) -> Self;
    fn insert(&self, key: &Key, seq: u64, value: &[u8]);
    /// The first byte of the newest value.
    fn get(&self, key: &Key) -> Option<u8>;
    /// The sum of the last bytes of all keys and the first bytes of all values.
    fn iterate(&self) -> u64;
}

struct Ours {
    arena: Arc<Arena>,
    table: Arc<Memtable>,
    /// An engine's leader owns the writer; the lock stands for that and is never contended.
    writer: RwLock<ArenaWriter>,
}

impl Store for Ours {
    fn new(data: &Data) -> Ours {
        let arena = Arena::new(2 * data.keys.len() * Memtable::insert_bound(16, VALUE_LEN));
        let writer = arena.writer().expect("the first to ask gets it");
        let hint = match data.shape {
            Shape::Binary => 0,
            Shape::Decimal => {
                let (first, last) = (data.sorted[0], data.sorted[data.sorted.len() - 1]);
                first.iter().zip(last).take_while(|(a, b)| *a == b).count()
            }
        };
        let table = Arc::new(Memtable::new(&arena, &data.sorted[0][..hint]));
        Ours { arena, table, writer: RwLock::new(writer) }
    }

    fn insert(&self, key: &Key, seq: u64, value: &[u8]) {
        let writer = &mut *self.writer.write();
        let result =
            self.table.insert(writer, key, hash_user_key(key), Seq::new(seq), Kind::Put, value);
        result.expect("the arena has room");
    }

    fn get(&self, key: &Key) -> Option<u8> {
        self.table.get(key, hash_user_key(key), Seq::MAX).map(|entry| entry.value[0])
    }

    fn iterate(&self) -> u64 {
        let mut cursor = self.table.cursor();
        let mut sum = 0;
        cursor.seek_to_first().expect("a memtable's cursor does not fail");
        while cursor.valid() {
            sum += u64::from(cursor.key().user_key[15]) + u64::from(cursor.value()[0]);
            cursor.next().expect("a memtable's cursor does not fail");
        }
        sum
    }
}

/// An internal key with short user keys in place, so that the others chase no pointer for a key.
#[derive(Clone, Copy, PartialEq, Eq)]
struct InternalKey {
    len: u8,
    bytes: [u8; 23],
    trailer: u64,
}

impl InternalKey {
    fn new(key: &[u8], seq: Seq) -> InternalKey {
        let mut bytes = [0; 23];
        bytes[..key.len()].copy_from_slice(key);
        InternalKey { len: key.len() as u8, bytes, trailer: pack_trailer(seq, Kind::Put) }
    }

    fn user_key(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Ord for InternalKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.user_key().cmp(other.user_key()).then_with(|| other.trailer.cmp(&self.trailer))
    }
}

impl PartialOrd for InternalKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Store for SkipMap<InternalKey, Box<[u8]>> {
    fn new(_: &Data) -> Self {
        SkipMap::new()
    }

    fn insert(&self, key: &Key, seq: u64, value: &[u8]) {
        self.insert(InternalKey::new(key, Seq::new(seq)), value.into());
    }

    fn get(&self, key: &Key) -> Option<u8> {
        let entry = self.lower_bound(Bound::Included(&InternalKey::new(key, Seq::MAX)))?;
        (entry.key().user_key() == key).then(|| entry.value()[0])
    }

    fn iterate(&self) -> u64 {
        let bytes =
            |key: &InternalKey, value: &[u8]| u64::from(key.bytes[15]) + u64::from(value[0]);
        self.iter().map(|entry| bytes(entry.key(), entry.value())).sum()
    }
}

impl Store for RwLock<BTreeMap<InternalKey, Box<[u8]>>> {
    fn new(_: &Data) -> Self {
        RwLock::new(BTreeMap::new())
    }

    fn insert(&self, key: &Key, seq: u64, value: &[u8]) {
        self.write().insert(InternalKey::new(key, Seq::new(seq)), value.into());
    }

    fn get(&self, key: &Key) -> Option<u8> {
        let map = self.read();
        let (found, value) = map.range(InternalKey::new(key, Seq::MAX)..).next()?;
        (found.user_key() == key).then(|| value[0])
    }

    fn iterate(&self) -> u64 {
        let map = self.read();
        map.iter().map(|(key, value)| u64::from(key.bytes[15]) + u64::from(value[0])).sum()
    }
}
