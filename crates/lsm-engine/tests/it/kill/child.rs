//! The process that is killed: it opens the store, writes for ever, and says what was acknowledged.
//!
//! It is this test program again, asked by variables in its environment. Each line on its standard
//! output ends in a semicolon, so that a line that was cut short is known:
//!
//! - `refused;`: another process has the store;
//! - `open CHANGES LAST..;`: it is open, having changed the disk so often, and serves these writes;
//! - `ack WRITER NUMBER SEQ;`: a write was acknowledged;
//! - `stop;`: a thread stands before the change of the disk that it was told, and stays there.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use lsm_base::fs::{FaultFs, StdFs};
use lsm_engine::{Db, DbBuilder, Durability, ErrorKind, Keyspace, Options, WriteOptions};

use super::oracle::{SIDE, batch, last_numbers};
use crate::harness::{changes_the_disk, from_env};
use crate::support::wait;

/// The directory to write to.
pub(super) const DIR: &str = "LSM_KILL_CHILD";
/// The change of the disk, counted from 0, at which to stop; none if it is not set.
pub(super) const STOP: &str = "LSM_KILL_STOP";

/// The store, so small that it is flushed and compacted all the time.
pub(super) fn builder(dir: &Path) -> DbBuilder {
    let options = Options {
        memtable_size: Some(16 << 10),
        max_log_bytes: Some(64 << 10),
        table_size: 32 << 10,
        ..Options::default()
    };
    Db::builder(dir).options(options)
}

/// Nothing, unless it runs in the child.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    // Behind what the test program has begun to say.
    println!();
    thread::spawn(die_with_the_parent);
    let fs = FaultFs::new(Arc::new(StdFs));
    fs.show_descriptors();
    let (stop, changes) = (from_env(STOP, u64::MAX), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&changes);
    fs.before_each(move |op| {
        if changes_the_disk(op) && seen.fetch_add(1, Ordering::Relaxed) == stop {
            println!("stop;");
            loop {
                thread::park();
            }
        }
    });
    let db = match builder(&dir).fs(Arc::new(fs)).open() {
        Ok(db) => db,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
            println!("refused;");
            return;
        }
    };
    let side = db.keyspace(SIDE).unwrap();
    let last = last_numbers(&db);
    let served = last.map(|number| number.to_string()).join(" ");
    println!("open {} {served};", changes.load(Ordering::Relaxed));
    thread::scope(|scope| {
        for (writer, last) in last.into_iter().enumerate() {
            let (db, side) = (&db, &side);
            scope.spawn(move || {
                for number in last + 1.. {
                    write(db, side, writer, number);
                }
            });
        }
    });
}

fn write(db: &Db, side: &Keyspace, writer: usize, number: u64) {
    let durability = match number % 8 {
        0 => Durability::Sync,
        _ => Durability::Buffered,
    };
    let options = WriteOptions::durability(durability);
    let batch = batch(writer, number, side);
    let seq = match number % 3 {
        0 => wait(db.write_async(batch, &options)).unwrap(),
        _ => db.write(batch, &options).unwrap(),
    };
    println!("ack {writer} {number} {};", seq.get());
}

/// The other end of the standard input is the parent's alone.
fn die_with_the_parent() {
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(1);
}
