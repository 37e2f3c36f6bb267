//! Keyspaces that come and go while processes are killed.
//!
//! One thread of the child takes step after step, and each is acknowledged. In cycle *c* a keyspace
//! is made, written to twice, and the one of cycle *c* - 2 is dropped. Three names take turns, so that
//! each is given to a keyspace right behind the drop of the last that had it. The number of a step
//! says what it was, and so what must be there behind it.

use std::collections::BTreeMap;

use lsm_engine::{Db, Durability, Keyspace, Read, WriteBatch, WriteOptions};

/// Where, in the default keyspace, the number of the last step that wrote is.
pub(super) const KEY: &[u8] = b"steps";

/// The content of a keyspace.
pub(super) type Content = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Create,
    Write,
    WriteMore,
    /// Of the keyspace of two cycles before; where there is none, the number of the step alone is
    /// written, so that each step leaves a trace.
    Drop,
}

/// What a step is, counted from 1, and in which cycle.
fn step(number: u64) -> (Step, u64) {
    let (cycle, place) = ((number - 1) / 4, (number - 1) % 4);
    ([Step::Create, Step::Write, Step::WriteMore, Step::Drop][place as usize], cycle)
}

fn name(cycle: u64) -> String {
    format!("turn-{}", cycle % 3)
}

fn find(db: &Db, cycle: u64) -> Option<Keyspace> {
    db.keyspaces().unwrap().into_iter().find(|keyspace| keyspace.name() == name(cycle))
}

/// What the writes of a cycle put into its keyspace.
fn entry(step: Step, cycle: u64) -> (Vec<u8>, Vec<u8>) {
    match step {
        Step::Write => (b"cycle".to_vec(), cycle.to_be_bytes().to_vec()),
        _ => (b"more".to_vec(), vec![cycle as u8; 200 + cycle as usize % 100]),
    }
}

/// Takes a step.
pub(super) fn take(db: &Db, number: u64) {
    let (step, cycle) = step(number);
    match step {
        Step::Create => drop(db.keyspace(&name(cycle)).unwrap()),
        Step::Write | Step::WriteMore => {
            let (key, value) = entry(step, cycle);
            let mut batch = WriteBatch::new();
            batch.put_in(&db.keyspace(&name(cycle)).unwrap(), key, value);
            batch.put(KEY, number.to_be_bytes());
            db.write(batch, &WriteOptions::durability(Durability::Buffered)).unwrap();
        }
        Step::Drop if 2 <= cycle => db.drop_keyspace(&name(cycle - 2)).unwrap(),
        Step::Drop => {
            let durability = WriteOptions::durability(Durability::Buffered);
            db.put_with(KEY, number.to_be_bytes(), &durability).unwrap();
        }
    }
}

/// How many steps a store has.
pub(super) fn done(db: &Db) -> u64 {
    let Some(value) = db.get(KEY).unwrap() else {
        return u64::from(find(db, 0).is_some());
    };
    let written = u64::from_be_bytes(value[..].try_into().unwrap());
    let (last, cycle) = step(written);
    let next = find(db, cycle + 1);
    match (last, next) {
        // The last and the next cycle of this name: whose the keyspace is shows in what it has.
        (Step::WriteMore, Some(old)) if old.contains("cycle").unwrap() => written,
        (Step::WriteMore, Some(_)) => written + 2,
        (Step::WriteMore, None) if 2 <= cycle => written + 1,
        (Step::Drop, Some(_)) => written + 1,
        _ => written,
    }
}

/// The number that is at [`KEY`] behind so many steps.
pub(super) fn written(steps: u64) -> Option<u64> {
    let writes = |number| match step(number) {
        (Step::Write | Step::WriteMore, _) => true,
        (Step::Drop, cycle) => cycle < 2,
        (Step::Create, _) => false,
    };
    (1..=steps).rev().find(|number| writes(*number))
}

/// The keyspaces that are there behind so many steps, by name.
pub(super) fn expected(steps: u64) -> BTreeMap<String, Content> {
    let mut spaces = BTreeMap::new();
    // Nothing of what was before is left.
    let first = (steps / 4).saturating_sub(4) * 4;
    for number in first + 1..=steps {
        let (step, cycle) = step(number);
        match step {
            Step::Create => drop(spaces.insert(name(cycle), Content::new())),
            Step::Drop if 2 <= cycle => drop(spaces.remove(&name(cycle - 2))),
            Step::Drop => {}
            Step::Write | Step::WriteMore => {
                spaces.get_mut(&name(cycle)).expect("it was made").extend([entry(step, cycle)]);
            }
        }
    }
    spaces
}

#[test]
fn each_step_is_told_from_the_one_before() {
    let (_, fs) = crate::harness::disk();
    let db = crate::harness::open(&fs, 0).unwrap();
    assert_eq!(done(&db), 0);
    for number in 1..60 {
        take(&db, number);
        assert_eq!(done(&db), number);
    }
}
