//! What each writer writes, as a function of its number and the write's, and so what must be there.
//!
//! A writer numbers its writes from 1, and each is a batch over both keyspaces. So one number for
//! each writer says what the store holds, to the byte.

use std::collections::BTreeMap;

use lsm_base::testing::SplitMix64;
use lsm_engine::{Db, Keyspace, Read, WriteBatch};

/// How many threads write.
pub(super) const WRITERS: usize = 3;

/// How many keys a writer has in each keyspace.
const KEYS: u64 = 700;

/// The keyspace beside the default one.
pub(super) const SIDE: &str = "side";

/// The number of each writer's last write.
pub(super) type Numbers = [u64; WRITERS];

/// An operation of a batch: the keyspace by its index, and the value unless it deletes.
type Op = (usize, Vec<u8>, Option<Vec<u8>>);

/// Where a writer keeps the number of its last write.
fn last_key(writer: usize) -> Vec<u8> {
    format!("w{writer}/last").into_bytes()
}

/// The operations of a write. The last of them is the number in the default keyspace.
fn ops(writer: usize, number: u64) -> Vec<Op> {
    let mut random = SplitMix64::new(((writer as u64) << 56) | number);
    let mut ops: Vec<Op> = (0..1 + random.below(4))
        .map(|_| {
            let place = random.below(2) as usize;
            let key = format!("w{writer}/{:05}", random.below(KEYS)).into_bytes();
            let value = (0 < random.below(5)).then(|| {
                let mut value = vec![0; random.below(300) as usize];
                random.fill(&mut value);
                [number.to_string().as_bytes(), &value].concat()
            });
            (place, key, value)
        })
        .collect();
    let number = number.to_string().into_bytes();
    ops.push((1, last_key(writer), Some(number.clone())));
    ops.push((0, last_key(writer), Some(number)));
    ops
}

/// A write, as the store takes it.
pub(super) fn batch(writer: usize, number: u64, side: &Keyspace) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (place, key, value) in ops(writer, number) {
        match (place, value) {
            (0, Some(value)) => batch.put(key, value),
            (0, None) => batch.delete(key),
            (_, Some(value)) => batch.put_in(side, key, value),
            (_, None) => batch.delete_in(side, key),
        }
    }
    batch
}

/// The number of each writer's last write that a store has.
pub(super) fn last_numbers(db: &Db) -> Numbers {
    std::array::from_fn(|writer| {
        let value = db.get(last_key(writer)).unwrap();
        value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap())
    })
}

/// What was acknowledged, and what the store must hold for it.
#[derive(Default)]
pub(super) struct Oracle {
    /// The last write of each that was acknowledged, or that an open has served.
    acked: Numbers,
    /// The sequence with which it was acknowledged; 0 if it was only served.
    seqs: Numbers,
    /// The highest sequence that is known to have been handed out before this life.
    highest: u64,
    acks: u64,
    /// The writes that the maps below have.
    applied: Numbers,
    keyspaces: [BTreeMap<Vec<u8>, Vec<u8>>; 2],
}

impl Oracle {
    /// How many acknowledgements there were.
    pub(super) fn acks(&self) -> u64 {
        self.acks
    }

    /// An open serves these writes: whatever it says counts from now on.
    pub(super) fn serve(&mut self, numbers: Numbers) {
        for (writer, number) in numbers.into_iter().enumerate() {
            let acked = self.acked[writer];
            assert!(
                acked <= number,
                "writer {writer}: {acked} was acknowledged, {number} is there"
            );
            assert!(number <= acked + 1, "writer {writer}: {number} after {acked}, never begun");
            if acked < number {
                (self.acked[writer], self.seqs[writer]) = (number, 0);
            }
        }
        self.highest = self.highest.max(self.seqs.into_iter().max().unwrap_or(0));
    }

    /// A write was acknowledged, with the sequence of its last operation.
    pub(super) fn acknowledge(&mut self, writer: usize, number: u64, seq: u64) {
        assert_eq!(number, self.acked[writer] + 1, "writer {writer} counts");
        assert!(self.highest < seq && self.seqs[writer] < seq, "{seq} was handed out twice");
        (self.acked[writer], self.seqs[writer]) = (number, seq);
        self.acks += 1;
    }

    /// Every write that was acknowledged is there, each whole, and nothing else.
    pub(super) fn check(&mut self, db: &Db) {
        let found = last_numbers(db);
        for (writer, number) in found.into_iter().enumerate() {
            if number == self.acked[writer] && 0 < self.seqs[writer] {
                let entry = db.get_entry(last_key(writer)).unwrap().unwrap();
                assert_eq!(entry.seq.get(), self.seqs[writer], "writer {writer}: its sequence");
            }
        }
        self.serve(found);
        self.highest = self.highest.max(db.seq().get());
        self.apply(found);
        let side = db.keyspace(SIDE).unwrap();
        for (place, scan) in [db.scan::<&[u8]>(..), side.scan::<&[u8]>(..)].into_iter().enumerate()
        {
            let mut expected = self.keyspaces[place].iter();
            for item in scan {
                let (key, value) = item.unwrap();
                let text = String::from_utf8_lossy(&key).into_owned();
                let (known, wanted) =
                    expected.next().unwrap_or_else(|| panic!("{text} is too much"));
                assert_eq!((&key, &value[..]), (known, &wanted[..]), "{text} in keyspace {place}");
            }
            assert_eq!(expected.next(), None, "keyspace {place} ends too early");
        }
    }

    fn apply(&mut self, found: Numbers) {
        for (writer, last) in found.into_iter().enumerate() {
            for number in self.applied[writer] + 1..=last {
                for (place, key, value) in ops(writer, number) {
                    match value {
                        Some(value) => self.keyspaces[place].insert(key, value),
                        None => self.keyspaces[place].remove(&key),
                    };
                }
            }
            self.applied[writer] = last;
        }
    }
}
