//! The walk through the library: imports run in a process of their own, which is this test's program
//! started again, so that it can be killed.
//!
//! The importer writes batch after batch, by turns synced and buffered, and prints a line for each
//! that it was told is safe. It may run ahead of the lines that were read by [`AHEAD`] batches, so
//! that it always has work while it is killed, and never comes to the end of it.

use std::path::Path;
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
/// How many batches the importer may be ahead.
const AHEAD: usize = 4;

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
    let acknowledged = import_until_killed(&data, &batches, &mut oracle);
    let db = open(&data);
    assert!(!db.recovery_report().was_closed);
    let fate = settle(&db, &batches[acknowledged], &mut oracle);
    read_back(&db, &oracle);
    let is_whole = usize::from(fate == Fate::Whole);
    for (n, batch) in batches.iter().enumerate().skip(acknowledged + is_whole) {
        write(&db, n, batch);
        oracle.apply(batch);
    }
    assert!(db.verify().unwrap().is_clean());
    db.close().unwrap();
    cli::assert_export(Place::Directory(&data), &oracle);
    let server = ServerProcess::start(&data);
    cli::assert_export(Place::Server(&server.url), &oracle);
    server.stop();
    say(&format!(
        "library: {} records, {:?}; killed after {acknowledged} of {} batches, the next one {fate:?}",
        records.len(),
        start.elapsed(),
        batches.len(),
    ));
}

/// Imports the first edition: three quarters in a process of its own, the rest by `lsm import`.
fn import_first_edition(data: &Path, dir: &Path, records: &Records, oracle: &mut Oracle) {
    let batches = records.first_edition();
    let (by_library, by_cli) = batches.split_at(batches.len() / 4 * 3);
    let mut importer = start_importer(data, "first");
    for n in 0..by_library.len() {
        assert_eq!(acknowledgement(&importer), Some(n));
        importer.tell("next");
    }
    assert_eq!(acknowledgement(&importer), None);
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

/// Imports the second edition, and kills the importer in the middle. Returns how many batches it
/// acknowledged.
fn import_until_killed(data: &Path, batches: &[Batch], oracle: &mut Oracle) -> usize {
    let kill_at = batches.len() / 2;
    let mut importer = start_importer(data, "second");
    for n in 0..kill_at {
        assert_eq!(acknowledgement(&importer), Some(n));
        // For the last one, the importer is already busy with the next batches.
        importer.tell("next");
    }
    importer.kill();
    // What it said before it was killed is still in the pipe.
    let mut count = kill_at;
    while let Some(n) = acknowledgement(&importer) {
        assert_eq!(n, count);
        count += 1;
    }
    assert!(!importer.wait().success());
    assert!(batches.len() <= count * 5 && count * 5 <= batches.len() * 4, "{count} acknowledged");
    batches[..count].iter().for_each(|batch| oracle.apply(batch));
    count
}

/// Finds out what became of the batch behind the last that was acknowledged.
fn settle(db: &Db, batch: &Batch, oracle: &mut Oracle) -> Fate {
    let item = |Op { key, .. }: &Op| {
        let value = db.get(key).unwrap().map(|value| value.to_vec());
        oracle::item_or_null((key, value.as_ref()))
    };
    let found: Vec<_> = batch.iter().map(item).collect();
    oracle.settle(batch, &found)
}

/// Opens a store with memtables so small that the data fills many of them.
fn open(data: &Path) -> Db {
    let options = Options { memtable_size: Some(1 << 20), ..Options::default() };
    Db::builder(data).options(options).open().unwrap()
}

/// Writes a batch with both durabilities by turns.
fn write(db: &Db, n: usize, batch: &Batch) {
    let mut operations = WriteBatch::new();
    for Op { key, value } in batch {
        match value {
            Some(value) => operations.put(key, value),
            None => operations.delete(key),
        };
    }
    let durability = if n.is_multiple_of(2) { Durability::Sync } else { Durability::Buffered };
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
    for (n, batch) in batches.iter().enumerate() {
        if AHEAD <= n && std::io::stdin().read_line(&mut String::new()).unwrap() == 0 {
            // Who started it is gone.
            return;
        }
        write(&db, n, batch);
        println!("acknowledged {n}");
    }
    db.close().unwrap();
}
