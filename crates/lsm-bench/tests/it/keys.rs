//! Which keys a workload asks for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use lsm_bench::data::DataSet;
use lsm_bench::store::{Durability, Result, Store};
use lsm_bench::workload::{Effort, Workload};

use crate::btree_map::BTreeMapStore;
use crate::support::{KEYS, plan};

/// How many keys of batches are one too many.
const FULL: usize = 500;

/// A map that writes down which keys it is asked for, in this order.
#[derive(Default)]
struct Recording {
    map: BTreeMapStore,
    keys: Mutex<Vec<Vec<u8>>>,
}

impl Recording {
    fn record(&self, key: &[u8]) {
        // The last digit of a key that is not there is none, and is left out of all of them.
        self.keys.lock().unwrap().push(key[..key.len() - 1].to_vec());
    }
}

impl Store for Recording {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.record(key);
        self.map.put(key, value, durability)
    }

    fn put_batch(&self, entries: &[(Vec<u8>, Vec<u8>)], _: Durability) -> Result<()> {
        entries.iter().for_each(|(key, _)| self.record(key));
        if self.keys.lock().unwrap().len() < FULL { Ok(()) } else { Err("full".into()) }
    }

    fn delete(&self, key: &[u8], _: Durability) -> Result<()> {
        self.record(key);
        Ok(())
    }

    fn get(&self, key: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.record(key);
        self.map.get(key, take)
    }

    fn scan(&self, start: &[u8], limit: u64, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        self.record(start);
        self.map.scan(start, limit, take)
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn no_workload_asks_for_the_keys_of_another() {
    let (store, data) = (Recording::default(), DataSet::new(KEYS, 10));
    let plan = plan(Path::new("unused"), &[]);
    let effort = Effort { threads: 1, synced_writes: 1000, ..plan.effort };
    let asked = |workload: Workload, repetition: u64| {
        store.keys.lock().unwrap().clear();
        workload.run(&store, &data, &effort, repetition).unwrap();
        let keys = std::mem::take(&mut *store.keys.lock().unwrap());
        assert!(100 <= keys.len(), "{}: {}", workload.name(), keys.len());
        keys[..100].to_vec()
    };
    asked(Workload::FillSeq, 0);
    let sequences: Vec<_> = [
        (Workload::FillSync, 0),
        (Workload::Overwrite, 0),
        (Workload::ReadRandom, 0),
        (Workload::ReadRandom, 1),
        (Workload::ReadMissing, 0),
        (Workload::SeekRandom, 0),
        (Workload::DeleteRandom, 0),
        (Workload::ReadWhileWriting, 0),
        (Workload::YcsbA, 0),
        (Workload::YcsbB, 0),
        (Workload::YcsbC, 0),
        (Workload::YcsbC, 1),
        (Workload::YcsbD, 0),
        (Workload::YcsbE, 0),
        (Workload::YcsbF, 0),
    ]
    .map(|(workload, repetition)| (workload.name(), asked(workload, repetition)))
    .into();
    for (index, (name, keys)) in sequences.iter().enumerate() {
        for (other, others) in &sequences[..index] {
            assert_ne!(keys, others, "{name} and {other}");
        }
    }
    assert_eq!(asked(Workload::ReadRandom, 0), sequences[2].1, "every run is the same");
}

#[test]
fn a_popular_key_is_asked_for_more_often() {
    let (store, data) = (Recording::default(), DataSet::new(KEYS, 10));
    let effort = Effort { threads: 1, ..plan(Path::new("unused"), &[]).effort };
    Workload::FillSeq.run(&store, &data, &effort, 0).unwrap();
    // Ten keys of the data set are one here, since their last digit is left out.
    let share_of_first = |workload: Workload| {
        store.keys.lock().unwrap().clear();
        workload.run(&store, &data, &effort, 0).unwrap();
        let keys = std::mem::take(&mut *store.keys.lock().unwrap());
        let mut counts = HashMap::new();
        keys.iter().for_each(|key| *counts.entry(key).or_insert(0_u32) += 1);
        f64::from(*counts.values().max().unwrap()) / keys.len() as f64
    };
    let (even, skewed) = (share_of_first(Workload::ReadRandom), share_of_first(Workload::YcsbC));
    assert!(even < 0.05, "{even}");
    // The sum of 1 / i^0.99 up to 5,000 is about 9.5.
    assert!((0.08..0.2).contains(&skewed), "{skewed}");
}

#[test]
fn batches_take_no_memory_for_keys_to_come() {
    // A list of all positions would take eight terabytes.
    let (store, data) = (Recording::default(), DataSet::new(1 << 40, 10));
    let effort = Effort { threads: 2, ..plan(Path::new("unused"), &[]).effort };
    let error = Workload::FillBatch.run(&store, &data, &effort, 0).unwrap_err();
    assert_eq!(error.to_string(), "full");
    let asked = store.keys.lock().unwrap().len();
    assert!((FULL..2 * FULL).contains(&asked), "{asked} keys until the store was full");
}
