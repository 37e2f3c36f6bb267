//! Wakers are code of callers: they may write, wait, panic and close, and none of that keeps
//! anybody else from an answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use lsm_engine::base::fs::{Fault, FaultFs, Op};
use lsm_engine::base::{FileName, Fs};
use lsm_engine::{Db, Durability, ErrorKind, Health, Read, Seq, WriteBatch, WriteFuture};
use lsm_engine::{Options, WriteOptions};
use parking_lot::{Condvar, Mutex};

use crate::support::{bounded, memory, open};

/// How many writes wait at a time.
const WRITES: usize = 60;

/// A store whose log is not synced before the gate opens, so that synced writes wait till then.
struct Gated {
    disk: Arc<dyn Fs>,
    fs: FaultFs,
    db: Db,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        self.opened.wait_while(&mut self.is_open.lock(), |is_open| !*is_open);
    }
}

fn is_log_sync(op: &Op) -> bool {
    // A segment was made under its temporary name, which its handle keeps.
    op.kind.is_sync() && matches!(op.file_name(), Some(FileName::Log(_) | FileName::LogTemp(_)))
}

fn gated() -> Gated {
    let disk = memory();
    let fs = FaultFs::new(Arc::clone(&disk));
    let db = open(&(Arc::new(fs.clone()) as Arc<dyn Fs>), &Options::default());
    db.wait_idle().unwrap();
    let gate = Arc::new(Gate::default());
    let closed = Arc::clone(&gate);
    fs.before_each(move |op| {
        if is_log_sync(op) {
            closed.pass();
        }
    });
    Gated { disk, fs, db, gate }
}

/// A waker that does something.
struct Does<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Does<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn waker(wakes: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Does(wakes)))
}

fn batch(key: impl AsRef<[u8]>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(key, "v");
    batch
}

fn queue(db: &Db, key: usize) -> WriteFuture {
    db.write_async(batch(key.to_be_bytes()), &WriteOptions::durability(Durability::Sync))
}

fn poll(write: &mut WriteFuture, waker: &Waker) -> Poll<lsm_engine::Result<Seq>> {
    Pin::new(write).poll(&mut Context::from_waker(waker))
}

/// A write that waits for the disk, and its waker.
struct Waiting {
    write: WriteFuture,
    waker: Waker,
}

impl Waiting {
    /// The outcome, which is there soon, whether or not the waker says so.
    fn outcome(mut self) -> lsm_engine::Result<Seq> {
        loop {
            match poll(&mut self.write, &self.waker) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::yield_now(),
            }
        }
    }
}

/// Writes that wait for the disk, each with a waker that is made from its number.
fn waiting(db: &Db, wakes: impl Fn(usize) -> Waker) -> Vec<Waiting> {
    let wait = |key| {
        let (mut write, waker) = (queue(db, key), wakes(key));
        assert!(poll(&mut write, &waker).is_pending());
        Waiting { write, waker }
    };
    (0..WRITES).map(wait).collect()
}

fn outcome(write: WriteFuture) -> lsm_engine::Result<Seq> {
    Waiting { write, waker: Waker::noop().clone() }.outcome()
}

/// Waits until the wakers of all writes have been called.
fn until_all_are_called(called: &AtomicUsize) {
    while called.load(Ordering::SeqCst) < WRITES {
        thread::yield_now();
    }
}

/// Wakers of which every third panics, and how many have been called.
fn panicking() -> (impl Fn(usize) -> Waker, Arc<AtomicUsize>) {
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    let wakes = move |key: usize| {
        let count = Arc::clone(&count);
        waker(move || {
            count.fetch_add(1, Ordering::SeqCst);
            assert!(!key.is_multiple_of(3), "planned");
        })
    };
    (wakes, called)
}

#[test]
fn one_that_writes_and_waits_for_the_disk_is_not_in_its_own_way() {
    bounded(|| {
        let Gated { db, gate, .. } = gated();
        let (done, ends) = mpsc::channel();
        let writes = waiting(&db, |key| {
            let (db, done) = (db.clone(), done.clone());
            waker(move || {
                let queued = queue(&db, WRITES + key);
                db.put((2 * WRITES + key).to_be_bytes(), "v").unwrap();
                done.send(outcome(queued)).unwrap();
            })
        });
        gate.open();
        // Others write meanwhile, both ways.
        for key in 0..WRITES {
            db.put((3 * WRITES + key).to_be_bytes(), "v").unwrap();
            outcome(queue(&db, 4 * WRITES + key)).unwrap();
        }
        writes.into_iter().for_each(|write| assert!(write.outcome().is_ok()));
        ends.iter().take(WRITES).for_each(|outcome| assert!(outcome.is_ok()));
        assert_eq!(db.prefix("").count(), 5 * WRITES);
        db.close().unwrap();
    });
}

#[test]
fn one_that_blocks_keeps_no_write_waiting() {
    bounded(|| {
        let Gated { db, gate, .. } = gated();
        let (blocked, released) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
        let writes = waiting(&db, |_| {
            let (blocked, released) = (Arc::clone(&blocked), Arc::clone(&released));
            waker(move || {
                blocked.pass();
                released.fetch_add(1, Ordering::SeqCst);
            })
        });
        gate.open();
        writes.into_iter().for_each(|write| assert!(write.outcome().is_ok()));
        for key in 0..WRITES {
            db.put((WRITES + key).to_be_bytes(), "v").unwrap();
            outcome(queue(&db, 2 * WRITES + key)).unwrap();
        }
        db.flush().unwrap();
        db.close().unwrap();
        assert_eq!(released.load(Ordering::SeqCst), 0);
        blocked.open();
        until_all_are_called(&released);
    });
}

#[test]
fn one_that_panics_is_nobody_elses_concern() {
    bounded(|| {
        let Gated { db, gate, disk, .. } = gated();
        let (wakes, called) = panicking();
        let writes = waiting(&db, wakes);
        // A thread that syncs for all of them, or waits for whoever does.
        let other = db.clone();
        let putting = thread::spawn(move || other.put("own", "v"));
        gate.open();
        putting.join().unwrap().unwrap();
        writes.into_iter().for_each(|write| assert!(write.outcome().is_ok()));
        assert_eq!(db.health(), Health::Running);
        db.put("later", "v").unwrap();
        db.close().unwrap();
        until_all_are_called(&called);
        assert_eq!(open(&disk, &Options::default()).prefix("").count(), WRITES + 2);
    });
}

#[test]
fn one_that_panics_when_the_log_failed_is_nobody_elses_concern() {
    bounded(|| {
        let Gated { db, gate, fs, .. } = gated();
        // Whatever is synced from here on fails, when the gate lets it.
        fs.set_plan(|op| is_log_sync(op).then_some(Fault::Eio));
        let (wakes, called) = panicking();
        let writes = waiting(&db, wakes);
        let other = db.clone();
        let putting = thread::spawn(move || other.put("own", "v"));
        gate.open();
        let failure = putting.join().unwrap().unwrap_err().kind();
        assert!(matches!(failure, ErrorKind::Io | ErrorKind::Poisoned), "{failure:?}");
        for write in writes {
            assert!(write.outcome().unwrap_err().is_undecided());
        }
        let Health::Poisoned(cause) = db.health() else { panic!("the log failed") };
        assert!(!cause.contains("panicked"), "{cause}");
        assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Poisoned);
        until_all_are_called(&called);
    });
}

#[test]
fn one_that_closes_the_store_finds_it_closed() {
    bounded(|| {
        let Gated { db, gate, disk, .. } = gated();
        let (done, closed) = mpsc::channel();
        let writes = waiting(&db, |_| {
            let (db, done) = (db.clone(), done.clone());
            waker(move || done.send(db.clone().close()).unwrap())
        });
        gate.open();
        closed.iter().take(WRITES).for_each(Result::unwrap);
        writes.into_iter().for_each(|write| assert!(write.outcome().is_ok()));
        assert_eq!(db.get("k").unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(open(&disk, &Options::default()).prefix("").count(), WRITES);
    });
}
