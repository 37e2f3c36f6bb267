//! A process is killed while it writes: everything that it was told is there.
//!
//! The child is this test program again, asked by a variable in its environment to write instead
//! of testing. It says what was acknowledged on its standard output; the parent kills it after a
//! random number of acknowledgements, opens the directory, and looks.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lsm_base::testing::SplitMix64;
use lsm_engine::{Db, Durability, Options, Read, WriteBatch, WriteOptions};

use crate::harness::from_env;
use crate::support::wait;

/// The directory to write to; set in the child only.
const CHILD: &str = "LSM_KILL_CHILD";

const ROUNDS: u64 = 20;

fn open(dir: &Path) -> Db {
    let options = Options {
        memtable_size: Some(16 << 10),
        max_log_bytes: Some(64 << 10),
        table_size: 32 << 10,
        ..Options::default()
    };
    Db::builder(dir).options(options).open().unwrap()
}

/// Writes for ever. Each batch has the number of the write under three keys.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let db = open(&dir);
    let side = db.keyspace("side").unwrap();
    let first = last_write(&db) + 1;
    let mut out = std::io::stdout().lock();
    for number in first.. {
        let text = number.to_string();
        let mut batch = WriteBatch::new();
        batch.put("last", &text);
        batch.put_in(&side, "last", &text);
        batch.put(format!("key{:05}", number % 1_000), &text);
        batch.put("padding", [7; 200]);
        let durability = match number % 8 {
            0 => Durability::Sync,
            _ => Durability::Buffered,
        };
        let options = WriteOptions::durability(durability);
        match number % 3 {
            0 => wait(db.write_async(batch, &options)).unwrap(),
            _ => db.write(batch, &options).unwrap(),
        };
        writeln!(out, "ack {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data");
    let mut random = SplitMix64::new(from_env("LSM_SEED", 6));
    for round in 0..from_env("LSM_ROUNDS", ROUNDS) {
        let acked = kill_after(&dir, 1 + random.below(600));
        let db = open(&dir);
        let found = last_write(&db);
        assert!(acked <= found, "round {round}: {acked} was acknowledged, {found} is there");
        check(&db, found);
        assert!(db.verify().unwrap().is_clean());
        // Half of the time the next process finds a log that was closed.
        if round % 2 == 0 {
            db.close().unwrap();
        }
    }
}

/// Lets a child write, kills it after so many acknowledgements, and returns the last of them.
fn kill_after(dir: &Path, acks: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0;
    let mut count = 0;
    for line in &mut lines {
        // The first comes behind what the test program says itself.
        if let Some((_, number)) = line.unwrap().rsplit_once("ack ") {
            last = number.parse().unwrap();
            count += 1;
        }
        if count == acks {
            break;
        }
    }
    child.kill().unwrap();
    assert_eq!(count, acks, "the child ended by itself: {:?}", child.wait().unwrap());
    // What it said before it died counts too, as far as the line is whole.
    for line in lines.map_while(Result::ok) {
        let whole = line.strip_prefix("ack ").and_then(|number| number.parse::<u64>().ok());
        // A line that was cut short has a smaller number than the one before.
        last = whole.map_or(last, |number| number.max(last));
    }
    child.wait().unwrap();
    last
}

fn last_write(db: &Db) -> u64 {
    number(db.get("last").unwrap())
}

fn number(value: Option<lsm_engine::Value>) -> u64 {
    value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

/// The store is as it was after write `last`, in both keyspaces.
fn check(db: &Db, last: u64) {
    let side = db.keyspace("side").unwrap();
    assert_eq!(number(side.get("last").unwrap()), last, "a batch was torn");
    for key in 0..1_000 {
        // The highest number up to the last that is this key's.
        let expected = last.saturating_sub((last % 1_000 + 1_000 - key) % 1_000);
        let found = number(db.get(format!("key{key:05}")).unwrap());
        let is_written = expected % 1_000 == key && 0 < expected;
        assert_eq!(found, if is_written { expected } else { 0 }, "key {key} after {last}");
    }
}
