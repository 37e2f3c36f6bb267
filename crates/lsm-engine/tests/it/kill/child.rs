//! The process that is killed: it opens the store, writes for ever, and says what was acknowledged.
//!
//! It is this test program again, asked by variables in its environment. Each line on its standard
//! output ends in a semicolon, so that a line that was cut short is known:
//!
//! - `refused;`: another process has the store;
//! - `open CHANGES STEPS LAST..;`: it is open, having changed the disk so often, and serves so many
//!   steps of the keyspaces that come and go, and these writes;
//! - `ack WRITER NUMBER SEQ;`: a write was acknowledged;
//! - `step NUMBER;`: a step of those keyspaces was acknowledged;
//! - `copying PROCESS NUMBER;`, `copied PROCESS NUMBER;`: a checkpoint begins, and has come to its end;
//! - `full;`: a write found no space;
//! - `stop;`: a thread stands before the change of the disk that it was told, and stays there.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lsm_base::fs::{FaultFs, StdFs};
use lsm_engine::{
    Db, DbBuilder, Durability, ErrorKind, Event, EventListener, Keyspace, Options, Result, Seq,
    WriteOptions,
};
use parking_lot::{Condvar, Mutex};

use super::oracle::{SIDE, batch, last_numbers};
use super::spaces;
use crate::harness::{changes_the_disk, from_env};
use crate::support::wait;

/// The directory to write to.
pub(super) const DIR: &str = "LSM_KILL_CHILD";
/// The change of the disk, counted from 0, at which to stop; none if it is not set.
pub(super) const STOP: &str = "LSM_KILL_STOP";
/// Whether the disk becomes full: then writes that find no space are tried again, and keyspaces and
/// copies are left alone, of which nobody could say whether they are there.
pub(super) const FULL: &str = "LSM_KILL_FULL";

/// How often a store on a small disk looks whether there is space.
const PAUSE: Duration = Duration::from_millis(5);

/// The store, so small that it is flushed and compacted all the time.
pub(super) fn builder(dir: &Path) -> DbBuilder {
    Db::builder(dir).options(options())
}

fn options() -> Options {
    Options {
        memtable_size: Some(16 << 10),
        max_log_bytes: Some(64 << 10),
        table_size: 32 << 10,
        ..Options::default()
    }
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
    let is_small = std::env::var_os(FULL).is_some();
    let resumed = Arc::new(Resumed::default());
    let mut builder = builder(&dir).fs(Arc::new(fs)).listener(resumed.listener());
    if is_small {
        builder = builder.options(Options { compaction_interval: PAUSE, ..options() });
    }
    let db = match builder.open() {
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
    let steps = spaces::done(&db);
    println!("open {} {steps} {served};", changes.load(Ordering::Relaxed));
    thread::scope(|scope| {
        if !is_small {
            scope.spawn(|| come_and_go(&db, &dir, steps));
        }
        for (writer, last) in last.into_iter().enumerate() {
            let (db, side, resumed) = (&db, &side, &*resumed);
            scope.spawn(move || {
                for number in last + 1.. {
                    write(db, side, resumed, writer, number);
                }
            });
        }
    });
}

/// Makes, fills and drops keyspaces, and a copy of the store now and then.
fn come_and_go(db: &Db, dir: &Path, steps: u64) {
    let process = std::process::id();
    for number in steps + 1.. {
        spaces::take(db, number);
        println!("step {number};");
        if number % 8 == 3 {
            println!("copying {process} {number};");
            db.checkpoint(copy_dir(dir, process.into(), number)).unwrap();
            println!("copied {process} {number};");
        }
    }
}

/// Where a process makes a copy.
pub(super) fn copy_dir(dir: &Path, process: u64, number: u64) -> PathBuf {
    dir.with_file_name(format!("copy-{process}-{number}"))
}

fn write(db: &Db, side: &Keyspace, resumed: &Resumed, writer: usize, number: u64) {
    let durability = match number % 8 {
        0 => Durability::Sync,
        _ => Durability::Buffered,
    };
    let options = WriteOptions::durability(durability);
    let once = || {
        let batch = batch(writer, number, side);
        match number % 3 {
            0 => wait(db.write_async(batch, &options)),
            _ => db.write(batch, &options),
        }
    };
    let seq = resumed.until_there_is_space(once);
    println!("ack {writer} {number} {};", seq.get());
}

/// How often the store has said that there is space again.
#[derive(Default)]
struct Resumed {
    times: Mutex<u64>,
    changed: Condvar,
}

impl Resumed {
    fn listener(self: &Arc<Self>) -> impl EventListener + use<> {
        let resumed = Arc::clone(self);
        move |event: &Event| {
            if matches!(event, Event::Resumed) {
                *resumed.times.lock() += 1;
                resumed.changed.notify_all();
            }
        }
    }

    /// Writes, again and again while the disk is full. A write that finds no space leaves nothing.
    fn until_there_is_space(&self, write: impl Fn() -> Result<Seq>) -> Seq {
        loop {
            let before = *self.times.lock();
            match write() {
                Ok(seq) => return seq,
                // `Io` where the append had begun: the next segment decides against it.
                Err(error) => {
                    let is_full = matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::Io);
                    assert!(is_full && std::env::var_os(FULL).is_some(), "{error}");
                    println!("full;");
                }
            }
            self.changed.wait_while(&mut self.times.lock(), |times| *times == before);
        }
    }
}

/// The other end of the standard input is the parent's alone.
fn die_with_the_parent() {
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(1);
}
