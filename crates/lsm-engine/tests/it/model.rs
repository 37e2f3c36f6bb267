//! The store against a model, under many sets of options.
//!
//! A stream of random operations is a function of its seed: writes and reads of every kind,
//! snapshots and cursors that are held while the store is flushed, compacted, closed, opened again
//! and crashed, and its keyspaces come and go. Each set of options takes the same streams. After
//! every operation the store must have answered what the model answers, and at the end of a stream
//! all sets must have come to the same content. Options and background threads make runs differ in
//! files and timing, never in what they must answer.
//!
//! A stream that fails, or comes to another content than it did under other options, is run again
//! without ever more of its operations (`model/shrink.rs`), and what is left is printed with the seed.
//!
//! `LSM_MODEL_SEED` sets the first seed, `LSM_MODEL_OPS` the number of operations of a stream,
//! `LSM_MODEL_ONLY` their numbers, and `LSM_MODEL_SHRINK` for how many seconds to shrink.

mod copies;
mod disk;
mod doors;
mod driver;
mod figures;
mod heard;
mod held;
mod input;
mod late;
mod lives;
mod oracle;
mod reads;
mod sets;
mod shrink;
mod told;

use std::cell::Cell;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use self::disk::{Directory, Disk, Memory};
use self::driver::Driver;
use self::figures::Figures;
use self::sets::Set;

/// How many streams each set takes.
const STREAMS: u64 = 3;

/// The operations of a stream.
const OPS: u64 = 12_300;

/// The operations of the one stream in a directory, where syncs take their time.
const OPS_IN_DIRECTORY: u64 = 6_000;

/// What a set makes at least of its streams' operations: some find nothing to do.
const OPS_OF_SET: u64 = 34_500;

/// What all sets together make at least.
const ALL_OPS: u64 = 1_000_000;

fn variable<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

/// A stream under a set of options, which can be run as often as need be.
#[derive(Clone, Copy)]
struct Stream<'a> {
    set: &'a str,
    seed: u64,
    disk: &'a dyn Fn() -> Box<dyn Disk>,
}

impl Stream<'_> {
    /// Runs some of its operations on a new store, and notes at which of them it is.
    fn run(&self, ops: &[u64], at: &Cell<usize>) -> (Figures, u64) {
        let mut driver = Driver::new(self.seed, (self.disk)());
        for (index, op) in ops.iter().enumerate() {
            at.set(index);
            driver.step(*op);
        }
        driver.finish()
    }

    /// The same, and no panic goes on.
    fn attempt(&self, ops: &[u64], at: &Cell<usize>) -> thread::Result<(Figures, u64)> {
        panic::catch_unwind(AssertUnwindSafe(|| self.run(ops, at)))
    }

    /// Runs it; if it fails, says which operations are enough for that.
    fn judge(&self, ops: &[u64]) -> (Figures, u64) {
        let at = Cell::new(0);
        let panicked = match self.attempt(ops, &at) {
            Ok(result) => return result,
            Err(panicked) => panicked,
        };
        let Stream { set, seed, .. } = self;
        eprintln!("set {set}: LSM_MODEL_SEED={seed} failed at operation {}", ops[at.get()]);
        let failed = ops[..=at.get()].to_vec();
        self.shrink(failed, |ops| self.attempt(ops, &at).is_err());
        panic::resume_unwind(panicked);
    }

    /// Another set must have come to the same content; if not, says which operations are enough for
    /// that.
    fn judge_with(&self, other: &Stream<'_>, ops: &[u64], contents: [u64; 2]) {
        if contents[0] == contents[1] {
            return;
        }
        let Stream { set, seed, .. } = self;
        let content = |stream: &Stream<'_>, ops: &[u64]| {
            stream.attempt(ops, &Cell::new(0)).ok().map(|(_, content)| content)
        };
        self.shrink(ops.to_vec(), |ops| differ(content(self, ops), content(other, ops)));
        panic!("{set} and {} differ at LSM_MODEL_SEED={seed}", other.set);
    }

    /// Prints the few of these operations that are enough to fail.
    fn shrink(&self, failed: Vec<u64>, fails: impl FnMut(&[u64]) -> bool) {
        let Stream { set, seed, .. } = self;
        // Whoever makes mistakes on purpose wants to know that they are noticed, and no more.
        let seconds = variable("LSM_MODEL_SHRINK").unwrap_or(if cfg!(plants) { 0 } else { 60 });
        let left = shrink::shrink(failed, Duration::from_secs(seconds), fails);
        let numbers: Vec<_> = left.iter().map(u64::to_string).collect();
        let names: Vec<_> = left.iter().map(|op| Driver::describe(*seed, *op)).collect();
        eprintln!("set {set}: these {} fail too: {names:#?}", left.len());
        eprintln!("LSM_MODEL_SEED={seed} LSM_MODEL_ONLY={}", numbers.join(","));
    }
}

/// Whether two runs did not come to the same; one that failed came to nothing.
fn differ(one: Option<u64>, other: Option<u64>) -> bool {
    one.is_none() || one != other
}

/// The operations of a stream, or those of them that are asked for.
fn operations(len: u64) -> Vec<u64> {
    let only: Option<String> = variable("LSM_MODEL_ONLY");
    let only = only.map(|list| list.split(',').map(|op| op.parse().unwrap()).collect());
    only.unwrap_or_else(|| (0..len).collect())
}

/// Runs every stream under each of the sets, which must come to the same content: that of a set
/// which all groups share.
fn run_sets(sets: &[Set], check: fn(&str, Figures)) {
    let first_seed = variable("LSM_MODEL_SEED").unwrap_or(0x5eed);
    let ops = operations(variable("LSM_MODEL_OPS").unwrap_or(OPS));
    let shared = sets::shared();
    let shared_disk = || Box::new(Memory::new(shared.options.clone())) as Box<dyn Disk>;
    let streams: Vec<_> = (first_seed..first_seed + STREAMS)
        .map(|seed| Stream { set: shared.name, seed, disk: &shared_disk })
        .map(|stream| (stream, stream.judge(&ops).1))
        .collect();
    for Set { name, options } in sets {
        let started = Instant::now();
        let mut sum = Figures::default();
        for (known, content) in &streams {
            let disk = || Box::new(Memory::new(options.clone())) as Box<dyn Disk>;
            let stream = Stream { set: name, disk: &disk, ..*known };
            let (figures, found) = stream.judge(&ops);
            sum.add(figures);
            stream.judge_with(known, &ops, [found, *content]);
        }
        println!("{name}: {sum:?} in {:?}", started.elapsed());
        if is_usual() {
            assert_eq!(sum.ops + sum.idle, STREAMS * OPS);
            assert!(OPS_OF_SET <= sum.ops, "{name}: {sum:?}");
            check_usual(name, sum);
            check(name, sum);
        }
    }
}

/// Whether this run is as long as it is by itself.
fn is_usual() -> bool {
    ["LSM_MODEL_OPS", "LSM_MODEL_ONLY"].iter().all(|name| env::var_os(name).is_none())
}

/// What every set must have come across.
fn check_usual(name: &str, figures: Figures) {
    assert!(20 <= figures.reopens, "{name}: {figures:?}");
    assert!(20 <= figures.crashes, "{name}: {figures:?}");
    assert!(300 <= figures.turns, "{name}: {figures:?}");
    assert!(30 <= figures.woken, "{name}: {figures:?}");
    assert!(50 <= figures.resident, "{name}: {figures:?}");
    assert!(400 <= figures.in_flight, "{name}: {figures:?}");
    assert!(80 <= figures.late, "{name}: {figures:?}");
    assert!(8 <= figures.checkpoints, "{name}: {figures:?}");
    assert!(4 <= figures.repairs, "{name}: {figures:?}");
    assert!(10 <= figures.heard, "{name}: {figures:?}");
    assert!(40 <= figures.sizes, "{name}: {figures:?}");
    assert!(60 <= figures.told, "{name}: {figures:?}");
}

/// Every set with the smallest memtables is busy in the background all the time.
fn check_busy(name: &str, figures: Figures) {
    assert!(100 <= figures.flushes, "{name}: {figures:?}");
    assert!(50 <= figures.compactions, "{name}: {figures:?}");
    assert!(3 <= figures.levels, "{name}: {figures:?}");
}

#[test]
fn small_memtables() {
    run_sets(&sets::small_memtables(), check_busy);
}

#[test]
fn small_memtables_without_threads() {
    run_sets(&sets::small_memtables_without_threads(), |name, figures| {
        check_busy(name, figures);
        if name.contains("three generations") {
            assert!(2 <= figures.sealed, "{name}: {figures:?}");
        }
    });
}

#[test]
fn small_memtables_with_a_block_for_each_entry() {
    run_sets(&sets::small_memtables_with_a_block_for_each_entry(), check_busy);
}

#[test]
fn blocks_tables_and_caches() {
    run_sets(&sets::blocks_tables_and_caches(), |_, _| ());
}

#[test]
fn logs_and_memory() {
    run_sets(&sets::logs_and_memory(), |name, figures| {
        if name == "buffered by default" {
            assert!(10 <= figures.lost, "{name}: {figures:?}");
        }
    });
}

#[test]
fn threads_and_changes() {
    run_sets(&sets::threads_and_changes(), |_, _| ());
}

#[test]
fn a_real_directory() {
    let seed = variable("LSM_MODEL_SEED").unwrap_or(0x5eed);
    let len = variable("LSM_MODEL_OPS").unwrap_or(OPS_IN_DIRECTORY);
    let ops = operations(len);
    let disk = || Box::new(Directory::new(sets::a_real_directory())) as Box<dyn Disk>;
    let stream = Stream { set: "a real directory", seed, disk: &disk };
    let (figures, found) = stream.judge(&ops);
    println!("a real directory: {figures:?}");
    let shared = sets::shared();
    let memory = || Box::new(Memory::new(shared.options.clone())) as Box<dyn Disk>;
    let known = Stream { set: shared.name, disk: &memory, ..stream };
    let (_, content) = known.judge(&ops);
    stream.judge_with(&known, &ops, [found, content]);
}

#[test]
fn all_sets_together_make_a_million_operations() {
    let groups = [
        sets::small_memtables(),
        sets::small_memtables_without_threads(),
        sets::small_memtables_with_a_block_for_each_entry(),
        sets::blocks_tables_and_caches(),
        sets::logs_and_memory(),
        sets::threads_and_changes(),
    ];
    let sets = groups.iter().map(Vec::len).sum::<usize>() as u64;
    assert!(24 <= sets, "{sets}");
    assert!(ALL_OPS <= sets * OPS_OF_SET, "{sets}");
}

/// One of two stores loses a write, and all operations but those are left out that show it.
#[test]
fn a_difference_in_content_is_shrunk() {
    let shared = sets::shared();
    let disk = || Box::new(Memory::new(shared.options.clone())) as Box<dyn Disk>;
    let stream = Stream { set: shared.name, seed: 7, disk: &disk };
    let content = |ops: &[u64]| Some(stream.run(ops, &Cell::new(0)).1);
    let all: Vec<u64> = (0..200).collect();
    let but = |lost: u64| move |op: &u64| *op != lost;
    let without =
        |ops: &[u64], lost| content(&ops.iter().copied().filter(but(lost)).collect::<Vec<_>>());
    let is_put = |op: &u64| Driver::describe(stream.seed, *op).contains("put");
    let shows = |lost: &u64| differ(content(&all), without(&all, *lost));
    let lost = all.iter().copied().filter(is_put).rfind(shows).expect("a put that counts");
    let fails = |ops: &[u64]| differ(content(ops), without(ops, lost));
    let left = shrink::shrink(all.clone(), Duration::MAX, fails);
    assert!(left.contains(&lost) && left.len() <= 2, "{lost} of {left:?}");
}
