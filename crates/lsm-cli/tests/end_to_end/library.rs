//! The walk through the library: imports run in a process of their own, which is this test's program
//! started again, so that it can be killed.
//!
//! The importer's threads write batch after batch, every fourth one synced, and print a line for
//! each that they were told is safe. They may run ahead of the lines that were read by [`AHEAD`]
//! batches, so that they are busy while they are killed, and never come to the end of their work.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use lsm_engine::{Db, Durability, Options, Read as _, WriteBatch, WriteOptions};

use crate::cli::{self, Place};
use crate::data::{Batch, Op, Records};
use crate::oracle::{self, Fate, Oracle};
use crate::process::{Process, command, say};
use crate::server_process::ServerProcess;

/// Names the directory and makes this program an importer.
const DIRECTORY: &str = "LSM_END_TO_END_DIRECTORY";
/// Which import: `first` or `second`.
const EDITION: &str = "LSM_END_TO_END_EDITION";
/// How many threads of the importer write at once.
const WRITERS: usize = 3;
/// How many batches the importer may be ahead.
const AHEAD: usize = 2 * WRITERS;

#[test]
fn a_library_keeps_what_it_acknowledged() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return import(Path::new(&directory), &std::env::var(EDITION).unwrap());
    }
    let start = Instant::now();
    let records = Records::load();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut oracle = Oracle::default();

    import_first_edition(&data, dir.path(), &records, &mut oracle);
    assert_eq!(oracle.len(), records.len());
    let db = open(&data);
    read_back(&db, &oracle);
    scan_prefixes(&db, &oracle);
    delete_a_third(&db, &records, &mut oracle);
    db.close().unwrap();
    for prefix in oracle.some_prefixes() {
        cli::assert_prefix(Place::Directory(&data), &oracle, &prefix);
    }
    cli::assert_export(Place::Directory(&data), &oracle);

    let batches = records.second_edition();
    let left = import_until_killed(&data, &batches, &mut oracle);
    let db = open(&data);
    assert!(!db.recovery_report().was_closed);
    let absent = settle(&db, &batches, &left, &mut oracle);
    let whole = left.len() - absent.len();
    assert!(whole <= WRITERS, "{whole} batches are there that nobody can have waited for");
    read_back(&db, &oracle);
    for n in absent {
        write(&db, n, &batches[n]);
        oracle.apply(&batches[n]);
    }
    assert!(db.verify().unwrap().is_clean());
    db.close().unwrap();
    cli::assert_export(Place::Directory(&data), &oracle);
    let server = ServerProcess::start(&data);
    cli::assert_export(Place::Server(&server.url), &oracle);
    server.stop();
    say(&format!(
        "library: {} records, {:?}; killed after {} of {} batches, of those in flight {whole} are there",
        records.len(),
        start.elapsed(),
        batches.len() - left.len(),
        batches.len(),
    ));
}

/// Imports the first edition: three quarters in a process of its own, the rest by `lsm import`.
fn import_first_edition(data: &Path, dir: &Path, records: &Records, oracle: &mut Oracle) {
    let batches = records.first_edition();
    let (by_library, by_cli) = batches.split_at(batches.len() / 4 * 3);
    let mut importer = start_importer(data, "first");
    let mut acknowledged = BTreeSet::new();
    while let Some(n) = acknowledgement(&importer) {
        assert!(acknowledged.insert(n), "{n} twice");
        importer.tell("next");
    }
    assert!(acknowledged.into_iter().eq(0..by_library.len()));
    assert!(importer.wait().success());
    cli::import(Place::Directory(data), dir, by_cli);
    batches.iter().for_each(|batch| oracle.apply(batch));
}

/// Reads every record back, by its key and in order.
fn read_back(db: &Db, oracle: &Oracle) {
    let mut scan = db.scan::<&[u8]>(..);
    for (key, value) in oracle.iter() {
        assert_eq!(db.get(key).unwrap().as_deref(), Some(&value[..]), "{}", key.escape_ascii());
        let found = scan.next().expect("the scan has every record").unwrap();
        assert_eq!((&found.0[..], &found.1[..]), (&key[..], &value[..]));
    }
    assert!(scan.next().is_none());
}

/// Scans by prefixes of text and of bytes, in both directions.
fn scan_prefixes(db: &Db, oracle: &Oracle) {
    for prefix in oracle.some_prefixes() {
        let expected: Vec<_> =
            oracle.prefix(&prefix).map(|(key, value)| (key.clone(), value.clone())).collect();
        assert!(1 < expected.len());
        let owned = |item: lsm_engine::Result<_>| {
            let (key, value): (_, lsm_engine::Value) = item.unwrap();
            (key, value.to_vec())
        };
        let up: Vec<(Vec<u8>, Vec<u8>)> = db.prefix(&prefix).map(owned).collect();
        let mut down: Vec<(Vec<u8>, Vec<u8>)> = db.prefix(&prefix).rev().map(owned).collect();
        down.reverse();
        assert_eq!((&up, &down), (&expected, &expected));
    }
}

fn delete_a_third(db: &Db, records: &Records, oracle: &mut Oracle) {
    let before = oracle.len();
    for (n, batch) in records.deletion().iter().enumerate() {
        write(db, n, batch);
        oracle.apply(batch);
        assert!(!db.contains(&batch[0].key).unwrap());
    }
    assert!((before - oracle.len()).abs_diff(before / 3) <= 1);
}

/// Imports the second edition, and kills the importer in the middle, at an acknowledgement of one of
/// its threads, while the others wait for theirs. Returns the batches that were not acknowledged.
fn import_until_killed(data: &Path, batches: &[Batch], oracle: &mut Oracle) -> BTreeSet<usize> {
    let kill_at = batches.len() / 2;
    let mut importer = start_importer(data, "second");
    let mut left: BTreeSet<usize> = (0..batches.len()).collect();
    // What it said before it was killed is still in the pipe afterwards.
    while let Some(n) = acknowledgement(&importer) {
        assert!(left.remove(&n), "{n} twice");
        oracle.apply(&batches[n]);
        match (batches.len() - left.len()).cmp(&kill_at) {
            std::cmp::Ordering::Less => importer.tell("next"),
            std::cmp::Ordering::Equal => importer.kill(),
            std::cmp::Ordering::Greater => {}
        }
    }
    assert!(!importer.wait().success());
    let count = batches.len() - left.len();
    assert!(batches.len() <= count * 5 && count * 5 <= batches.len() * 4, "{count} acknowledged");
    left
}

/// Finds out what became of the batches that were not acknowledged. Returns those that are absent.
fn settle(db: &Db, batches: &[Batch], left: &BTreeSet<usize>, oracle: &mut Oracle) -> Vec<usize> {
    let item = |Op { key, .. }: &Op| {
        let value = db.get(key).unwrap().map(|value| value.to_vec());
        oracle::item_or_null((key, value.as_ref()))
    };
    let is_absent = |&n: &usize| {
        let found: Vec<_> = batches[n].iter().map(item).collect();
        oracle.settle(&batches[n], &found) == Fate::Absent
    };
    left.iter().copied().filter(is_absent).collect()
}

/// Opens a store with memtables so small that the data fills many of them.
fn open(data: &Path) -> Db {
    let options = Options { memtable_size: Some(1 << 20), ..Options::default() };
    Db::builder(data).options(options).open().unwrap()
}

/// Writes a batch, every fourth one synced.
fn write(db: &Db, n: usize, batch: &Batch) {
    let mut operations = WriteBatch::new();
    for Op { key, value } in batch {
        match value {
            Some(value) => operations.put(key, value),
            None => operations.delete(key),
        };
    }
    let durability = if n.is_multiple_of(4) { Durability::Sync } else { Durability::Buffered };
    db.write(operations, &WriteOptions::durability(durability)).unwrap();
}

/// Starts this test again as an importer.
fn start_importer(data: &Path, edition: &str) -> Process {
    let mut command = command(std::env::current_exe().unwrap());
    // The harness names a test by its path without the crate.
    let name = concat!(module_path!(), "::a_library_keeps_what_it_acknowledged");
    let name = name.split_once("::").expect("a module is in a crate").1;
    command.args([name, "--exact", "--nocapture"]);
    Process::start(command.env(DIRECTORY, data).env(EDITION, edition))
}

/// The number of the next batch that the importer acknowledges; `None` at its end.
fn acknowledgement(importer: &Process) -> Option<usize> {
    loop {
        // Lines of the test harness stand between.
        let line = importer.next_line()?;
        if let Some(number) = line.strip_prefix("acknowledged ") {
            return Some(number.parse().expect("a number"));
        }
    }
}

/// The importer: writes one edition, as far as it is told.
fn import(directory: &Path, edition: &str) {
    let records = Records::load();
    let batches = match edition {
        "first" => {
            let mut batches = records.first_edition();
            batches.truncate(batches.len() / 4 * 3);
            batches
        }
        _ => records.second_edition(),
    };
    let db = open(directory);
    // Ends the line that the test harness has begun.
    println!();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(batch) = batches.get(n) else { return };
                    if AHEAD <= n && std::io::stdin().read_line(&mut String::new()).unwrap() == 0 {
                        // Who started it is gone.
                        return;
                    }
                    write(&db, n, batch);
                    println!("acknowledged {n}");
                }
            });
        }
    });
    db.close().unwrap();
}
