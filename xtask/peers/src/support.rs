//! What the tests of all peers share: small stores, and a run of every workload.

use lsm_bench::runner::{self, Plan};
use lsm_bench::store::{Durability, EngineFactory, Store, StoreOptions, Tuning};
use lsm_bench::workload::{Effort, Workload};
use tempfile::TempDir;

/// Memtables that are small enough for several flushes.
pub(crate) const OPTIONS: StoreOptions = StoreOptions {
    memtable_bytes: 256 << 10,
    cache_bytes: 1 << 20,
    bloom_bits: 10,
    is_compressed: true,
    tuning: Tuning::Equal,
};

/// How many entries [`fill`] stores.
pub(crate) const ENTRIES: u64 = 50_000;

/// A folder beside the sources, since the one for temporary files may be in memory.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
}

/// Runs every workload. Each checks what it reads; here it is what its lines say.
pub(crate) fn check_every_workload(engine: &EngineFactory, tuning: Tuning, compression: &str) {
    let dir = folder();
    let plan = Plan {
        workloads: workloads(),
        keys: 5_000,
        value_bytes: 100,
        effort: Effort { threads: 2, read_seconds: 0.05, synced_writes: 20, write_rate: 10_000 },
        store: StoreOptions { tuning, ..OPTIONS },
        dir: dir.path().to_owned(),
    };
    let mut names = Vec::new();
    runner::run(engine, &plan, &mut |outcome| {
        names.push(outcome.workload.clone());
        assert_eq!(
            (outcome.tuning.as_str(), outcome.compression.as_str()),
            (&*tuning.to_string(), compression)
        );
        assert!(0 < outcome.bytes_on_disk, "{}", outcome.workload);
        Ok(())
    })
    .unwrap();
    assert_eq!(names, plan.workloads.iter().map(|workload| workload.name()).collect::<Vec<_>>());
}

/// All of them, each on a store as it wants it.
fn workloads() -> Vec<Workload> {
    let all = Workload::all().iter();
    all.flat_map(|&workload| {
        let fill = workload.needs_full_store().then_some(Workload::FillRandom);
        fill.into_iter().chain([workload])
    })
    .collect()
}

/// Stores entries in random order.
pub(crate) fn fill(store: &dyn Store) {
    let numbers: Vec<u32> = (0..ENTRIES as u32).collect();
    for part in numbers.chunks(100) {
        let key = |number: &u32| number.wrapping_mul(0x9e37_79b9).to_be_bytes().to_vec();
        let entries: Vec<_> = part.iter().map(|number| (key(number), vec![7; 100])).collect();
        store.put_batch(&entries, Durability::Buffered).unwrap();
    }
}

/// Checks that a store holds what [`fill`] stored.
pub(crate) fn check_filled(store: &dyn Store) {
    let mut last = None;
    // No key is empty: LMDB takes none.
    let count = store.scan(&[0], u64::MAX, &mut |key, value| {
        assert!(last.as_deref() < Some(key));
        last = Some(key.to_vec());
        assert_eq!(value, [7; 100]);
    });
    assert_eq!(count.unwrap(), ENTRIES);
}

/// Checks that what one store has stored in either way is there when the files are opened again.
pub(crate) fn check_reopened(engine: &EngineFactory, tuning: Tuning) {
    let dir = folder();
    let open = || (engine.open)(dir.path(), &StoreOptions { tuning, ..OPTIONS }).unwrap();
    let store = open();
    let pair = |number: u8| (vec![number], vec![number; 10]);
    store.put(&[1], &[1; 10], Durability::Buffered).unwrap();
    store.put(&[2], &[2; 10], Durability::Sync).unwrap();
    store.put_batch(&[pair(3), pair(4)], Durability::Sync).unwrap();
    store.put_batch(&[pair(5), pair(6)], Durability::Buffered).unwrap();
    store.delete(&[3], Durability::Sync).unwrap();
    store.delete(&[5], Durability::Buffered).unwrap();
    store.close().unwrap();
    let store = open();
    let mut found = Vec::new();
    let mut take = |key: &[u8], value: &[u8]| found.push((key.to_vec(), value.to_vec()));
    assert_eq!(store.scan(&[2], 2, &mut take).unwrap(), 2);
    assert_eq!(found, [pair(2), pair(4)]);
    assert!(store.get(&[1], &mut |value| assert_eq!(value, [1; 10])).unwrap());
    assert!(!store.get(&[5], &mut |_| panic!("it was deleted")).unwrap());
    store.close().unwrap();
}
