//! Writes that find no room: how long each waits, and who else waits with it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lsm_engine::base::fs::{FaultFs, MemFs, Op, OpKind};
use lsm_engine::base::{FileName, Fs};
use lsm_engine::{Db, Durability, ErrorKind, Read, WriteBatch, WriteOptions};
use parking_lot::{Condvar, Mutex};

use crate::support::{bounded, open, tiny, wait};

/// A gate before the creation of tables.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        self.opened.wait_while(&mut self.is_closed.lock(), |is_closed| *is_closed);
    }

    fn set(&self, is_closed: bool) {
        *self.is_closed.lock() = is_closed;
        self.opened.notify_all();
    }
}

/// A store whose flushes wait at the gate.
fn open_behind(gate: &Arc<Gate>) -> Db {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let own = Arc::clone(gate);
    fs.before_each(move |op: &Op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_) | FileName::TableTemp(_)));
        if op.kind == OpKind::Create && is_table {
            own.pass();
        }
    });
    open(&(Arc::new(fs) as Arc<dyn Fs>), &tiny())
}

fn options(stall_timeout: Option<Duration>) -> WriteOptions {
    WriteOptions { stall_timeout, ..WriteOptions::durability(Durability::Buffered) }
}

/// Writes until there is no room. Returns how many writes there was room for.
fn fill(db: &Db) -> usize {
    let short = options(Some(Duration::from_millis(25)));
    for count in 0.. {
        if let Err(error) = db.put_with(format!("{count:06}"), [7; 900], &short) {
            assert_eq!(error.kind(), ErrorKind::Busy);
            return count;
        }
    }
    unreachable!("the gate is closed")
}

/// A store without room, whose gate is closed, and how many entries it has.
fn full() -> (Arc<Gate>, Db, usize) {
    let gate = Arc::new(Gate::default());
    let db = open_behind(&gate);
    gate.set(true);
    let filled = fill(&db);
    (gate, db, filled)
}

#[test]
fn each_write_waits_as_long_as_it_is_ready_to() {
    bounded(|| {
        let (gate, db, filled) = full();
        thread::scope(|scope| {
            let patient = scope.spawn(|| db.put_with("patient", [7; 900], &options(None)).unwrap());
            let mut batch = WriteBatch::new();
            batch.put("task", [7; 900]);
            let task = db.write_async(batch, &options(None));
            // Sooner or later these stand behind the patient ones.
            for _ in 0..100 {
                let short = options(Some(Duration::from_millis(1)));
                let busy = db.put_with("x", [7; 900], &short);
                assert_eq!(busy.unwrap_err().kind(), ErrorKind::Busy);
            }
            gate.set(false);
            patient.join().unwrap();
            wait(task).unwrap();
        });
        assert!(!db.contains("x").unwrap(), "a write that answered Busy happened");
        assert_eq!(db.prefix("").count(), filled + 2);
        assert!(db.metrics().stall_nanos.count() != 0);
    });
}

#[test]
fn reads_and_syncs_go_on_while_writes_wait() {
    bounded(|| {
        let (gate, db, filled) = full();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| db.put_with("waits", [7; 900], &options(None)).unwrap());
            db.sync().unwrap();
            assert_eq!(db.prefix("0").count(), filled);
            gate.set(false);
            waiting.join().unwrap();
        });
    });
}
