//! What each writer writes, as a function of its number and the write's, and so what must be there.
//!
//! A writer numbers its writes from 1, and each is a batch over both keyspaces. So one number for
//! each writer says what the store holds, to the byte.

use std::collections::BTreeMap;

use lsm_base::testing::SplitMix64;
use lsm_engine::{Db, Keyspace, Read, WriteBatch};

use super::spaces::{self, Content};

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

/// What a store holds: of the writers the number of each's last write, and how many steps of the
/// keyspaces that come and go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Progress {
    pub(super) numbers: Numbers,
    pub(super) steps: u64,
}

impl Progress {
    /// That of a store.
    pub(super) fn of(db: &Db) -> Progress {
        Progress { numbers: last_numbers(db), steps: spaces::done(db) }
    }

    /// Whether there is nothing in this that is not in the other.
    pub(super) fn is_within(&self, other: &Progress) -> bool {
        self.steps <= other.steps
            && self.numbers.iter().zip(&other.numbers).all(|(own, other)| own <= other)
    }
}

/// What was acknowledged, and what the store must hold for it.
#[derive(Default)]
pub(super) struct Oracle {
    /// The last write of each that was acknowledged, or that an open has served, and the steps.
    acked: Progress,
    /// The sequence with which it was acknowledged; 0 if it was only served.
    seqs: Numbers,
    /// The highest sequence that is known to have been handed out before this life.
    highest: u64,
    acks: u64,
    /// The writes that the maps below have.
    applied: Numbers,
    keyspaces: [Content; 2],
}

impl Oracle {
    /// How many acknowledgements there were.
    pub(super) fn acks(&self) -> u64 {
        self.acks
    }

    /// What was acknowledged, or served.
    pub(super) fn acknowledged(&self) -> Progress {
        self.acked
    }

    /// An open serves this: whatever it says counts from now on.
    pub(super) fn serve(&mut self, found: Progress) {
        self.check_served(found);
        for (writer, number) in found.numbers.into_iter().enumerate() {
            if self.acked.numbers[writer] < number {
                (self.acked.numbers[writer], self.seqs[writer]) = (number, 0);
            }
        }
        self.acked.steps = found.steps;
        self.highest = self.highest.max(self.seqs.into_iter().max().unwrap_or(0));
    }

    /// All that was acknowledged is there, and of each thread one more at most.
    pub(super) fn check_served(&self, found: Progress) {
        let Progress { numbers, steps } = self.acked;
        assert!(steps <= found.steps, "{steps} steps were acknowledged, {} are there", found.steps);
        assert!(found.steps <= steps + 1, "step {} after {steps}, never begun", found.steps);
        for (writer, number) in found.numbers.into_iter().enumerate() {
            let acked = numbers[writer];
            assert!(
                acked <= number,
                "writer {writer}: {acked} was acknowledged, {number} is there"
            );
            assert!(number <= acked + 1, "writer {writer}: {number} after {acked}, never begun");
        }
    }

    /// A step was acknowledged.
    pub(super) fn acknowledge_step(&mut self, number: u64) {
        assert_eq!(number, self.acked.steps + 1, "steps are taken one by one");
        self.acked.steps = number;
    }

    /// A write was acknowledged, with the sequence of its last operation.
    pub(super) fn acknowledge(&mut self, writer: usize, number: u64, seq: u64) {
        assert_eq!(number, self.acked.numbers[writer] + 1, "writer {writer} counts");
        assert!(self.highest < seq && self.seqs[writer] < seq, "{seq} was handed out twice");
        (self.acked.numbers[writer], self.seqs[writer]) = (number, seq);
        self.acks += 1;
    }

    /// Every write that was acknowledged is there, each whole, and nothing else.
    pub(super) fn check(&mut self, db: &Db) {
        let found = Progress::of(db);
        for (writer, number) in found.numbers.into_iter().enumerate() {
            if number == self.acked.numbers[writer] && 0 < self.seqs[writer] {
                let entry = db.get_entry(last_key(writer)).unwrap().unwrap();
                assert_eq!(entry.seq.get(), self.seqs[writer], "writer {writer}: its sequence");
            }
        }
        self.serve(found);
        self.highest = self.highest.max(db.seq().get());
        apply(&mut self.keyspaces, self.applied, found.numbers);
        self.applied = found.numbers;
        compare(db, &self.keyspaces, found.steps);
    }

    /// A copy has what it says that it has, whole, and nothing else. It was made since the last
    /// [`check`](Self::check).
    pub(super) fn check_copy(&self, db: &Db, found: Progress) {
        let mut keyspaces = self.keyspaces.clone();
        apply(&mut keyspaces, self.applied, found.numbers);
        compare(db, &keyspaces, found.steps);
    }
}

/// Brings the contents from some writes of each to some others.
fn apply(keyspaces: &mut [Content; 2], from: Numbers, to: Numbers) {
    for (writer, last) in to.into_iter().enumerate() {
        for number in from[writer] + 1..=last {
            for (place, key, value) in ops(writer, number) {
                match value {
                    Some(value) => keyspaces[place].insert(key, value),
                    None => keyspaces[place].remove(&key),
                };
            }
        }
    }
}

/// Compares every key of every keyspace.
fn compare(db: &Db, keyspaces: &[Content; 2], steps: u64) {
    let [default, side] = keyspaces;
    let mut expected: BTreeMap<String, Content> = spaces::expected(steps);
    let mut default = default.clone();
    let written = spaces::written(steps);
    default.extend(written.map(|number| (spaces::KEY.to_vec(), number.to_be_bytes().to_vec())));
    expected.insert("default".into(), default);
    // A store that was killed before its first open had ended may lack it.
    let has_side = !side.is_empty() || db.keyspaces().unwrap().iter().any(|k| k.name() == SIDE);
    expected.extend(has_side.then(|| (SIDE.into(), side.clone())));
    let found: Vec<_> = db.keyspaces().unwrap();
    let mut names: Vec<_> = found.iter().map(|keyspace| keyspace.name().to_owned()).collect();
    names.sort();
    assert!(names.iter().eq(expected.keys()), "{names:?}, and not {:?}", expected.keys());
    for keyspace in found {
        let name = keyspace.name();
        let mut expected = expected[name].iter();
        for item in keyspace.scan::<&[u8]>(..) {
            let (key, value) = item.unwrap();
            let text = String::from_utf8_lossy(&key).into_owned();
            let (known, wanted) = expected.next().unwrap_or_else(|| panic!("{text} is too much"));
            assert_eq!((&key, &value[..]), (known, &wanted[..]), "{text} in {name}");
        }
        assert_eq!(expected.next(), None, "{name} ends too early");
    }
}
