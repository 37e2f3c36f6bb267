//! A store that answers wrong gets an error, not a figure.

use std::path::Path;

use lsm_bench::runner::Plan;
use lsm_bench::store::{Durability, EngineFactory, Result, Store, StoreOptions};
use lsm_bench::workload::Workload;

use crate::btree_map::{self, BTreeMapStore};
use crate::support::{folder, plan, run};

/// A map with one fault.
struct Faulty {
    map: BTreeMapStore,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Never finds a key.
    LosesKeys,
    /// Finds every key.
    FindsAll,
    /// Cuts the last byte of a value off.
    CutsValues,
    /// Ends a scan one entry early.
    EndsEarly,
    /// Leaves out the second entry of a scan.
    SkipsAnEntry,
    /// Deletes nothing.
    KeepsDeleted,
    /// Stores only keys of the data set.
    LosesNewKeys,
}

impl Store for Faulty {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        let is_new = !key.iter().all(u8::is_ascii_digit);
        if self.fault == Fault::LosesNewKeys && is_new {
            return Ok(());
        }
        self.map.put(key, value, durability)
    }

    fn put_batch(&self, entries: &[(Vec<u8>, Vec<u8>)], durability: Durability) -> Result<()> {
        self.map.put_batch(entries, durability)
    }

    fn delete(&self, key: &[u8], durability: Durability) -> Result<()> {
        if self.fault == Fault::KeepsDeleted {
            return Ok(());
        }
        self.map.delete(key, durability)
    }

    fn get(&self, key: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match self.fault {
            Fault::LosesKeys => Ok(false),
            Fault::FindsAll => self.map.get(key, take).map(|_| true),
            Fault::CutsValues => self.map.get(key, &mut |value| take(&value[1..])),
            _ => self.map.get(key, take),
        }
    }

    fn scan(&self, start: &[u8], limit: u64, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut seen = 0;
        let fault = self.fault;
        let count = self.map.scan(start, limit, &mut |key, value| {
            seen += 1;
            if fault != Fault::SkipsAnEntry || seen != 2 {
                take(key, if fault == Fault::CutsValues { &value[1..] } else { value });
            }
        })?;
        Ok(if fault == Fault::EndsEarly { count - 1 } else { count })
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

type Open = fn(&Path, &StoreOptions) -> Result<Box<dyn Store>>;

fn open<const FAULT: u8>(_: &Path, _: &StoreOptions) -> Result<Box<dyn Store>> {
    let fault = match FAULT {
        0 => Fault::LosesKeys,
        1 => Fault::FindsAll,
        2 => Fault::CutsValues,
        3 => Fault::EndsEarly,
        4 => Fault::SkipsAnEntry,
        5 => Fault::KeepsDeleted,
        _ => Fault::LosesNewKeys,
    };
    Ok(Box::new(Faulty { map: BTreeMapStore::default(), fault }))
}

fn faulty(name: &'static str, open: Open) -> EngineFactory {
    EngineFactory { name, version: String::new, compresses: false, open }
}

fn error_of(engine: &EngineFactory, workloads: &[Workload]) -> String {
    let dir = folder();
    run(engine, &plan(dir.path(), workloads)).unwrap_err().to_string()
}

#[test]
fn a_wrong_answer_is_no_figure() {
    use Workload::{
        Queue, ReadMissing, ReadRandom, ReadSeq, ReadWhileWriting, SeekRandom, YcsbA, YcsbB, YcsbC,
        YcsbD, YcsbE, YcsbF,
    };
    let gets = [ReadRandom, ReadWhileWriting, YcsbA, YcsbB, YcsbC, YcsbD, YcsbF];
    let scans = [ReadSeq, SeekRandom, YcsbE, Queue];
    let all = [&gets[..], &scans].concat();
    let cases: [(EngineFactory, &[Workload]); 7] = [
        (faulty("loses-keys", open::<0>), &gets),
        (faulty("finds-all", open::<1>), &[ReadMissing]),
        (faulty("cuts-values", open::<2>), &all),
        (faulty("ends-early", open::<3>), &[ReadSeq, SeekRandom, YcsbE]),
        (faulty("skips-an-entry", open::<4>), &scans),
        (faulty("keeps-deleted", open::<5>), &[Queue]),
        (faulty("loses-new-keys", open::<6>), &[YcsbD]),
    ];
    for (engine, workloads) in cases {
        for workload in workloads {
            let error = error_of(&engine, &[Workload::FillRandom, *workload]);
            let name = workload.name();
            assert!(error.starts_with(&format!("{name}: ")), "{}: {error}", engine.name);
            assert!(error.contains("; the store stays in "), "{error}");
        }
    }
}

#[test]
fn reads_need_a_store_that_a_workload_filled() {
    for workloads in [
        &[Workload::ReadRandom][..],
        &[Workload::FillSync, Workload::ReadSeq],
        &[Workload::FillSeq, Workload::DeleteRandom, Workload::ReadMissing],
        &[Workload::FillSeq, Workload::DeleteRandom, Workload::Overwrite, Workload::SeekRandom],
        &[Workload::FillSeq, Workload::YcsbD, Workload::YcsbD],
        &[Workload::FillSeq, Workload::YcsbE, Workload::ReadSeq],
        &[Workload::FillSeq, Workload::Queue, Workload::Queue],
        &[Workload::YcsbC],
    ] {
        let error = error_of(&btree_map::FACTORY, workloads);
        assert!(error.contains("wants every key"), "{error}");
    }
    let good = [
        Workload::FillBatch,
        Workload::ReadRandom,
        Workload::Overwrite,
        Workload::ReadWhileWriting,
        Workload::YcsbA,
        Workload::YcsbF,
        Workload::ReadSeq,
        Workload::Queue,
    ];
    assert!(plan(Path::new("unused"), &good).check().is_ok());
}

#[test]
fn a_workload_with_nothing_to_do_is_no_figure() {
    let dir = folder();
    let plan = Plan { keys: 1, ..plan(dir.path(), &[Workload::DeleteRandom]) };
    let error = run(&btree_map::FACTORY, &plan).unwrap_err().to_string();
    assert!(error.starts_with("deleterandom: it had nothing to do"), "{error}");
}

/// In memory, which `/dev/shm` is, nothing is ever on disk.
#[test]
fn a_synced_workload_in_memory_is_refused() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let run_in_memory = |workload| run(&btree_map::FACTORY, &plan(dir.path(), &[workload]));
    let error = run_in_memory(Workload::FillSync).unwrap_err().to_string();
    assert!(error.ends_with(" measures nothing"), "{error}");
    assert_eq!(run_in_memory(Workload::FillSeq).unwrap().len(), 1);
}
