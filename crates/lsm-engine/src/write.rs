//! Writes: what is checked and paid before a batch queues.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use lsm_base::{KeyspaceId, Seq, WriteBatch};
use lsm_memtable::Memtable;

use crate::commit::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::handle::Caller;
use crate::inner::Inner;
use crate::options::WriteOptions;

/// A write on its way: the sequence of its last operation, once it is done.
///
/// It is on its way whether or not it is polled; dropping this cancels nothing. It may be polled
/// by any executor, and does not keep the database open: a write that the close comes before
/// answers `Closed`. Its waker is called by a thread of the database that does nothing but call
/// wakers, one after the other, and under no lock: it may write, and wait for that. One that blocks
/// keeps other wakers waiting, but no write, nor the close; a panic of one ends there. The close
/// does not wait until all have been called.
#[derive(Debug)]
#[must_use = "whether the write succeeded shows when this is awaited"]
pub struct WriteFuture(State);

#[derive(Debug)]
enum State {
    Queued(Arc<Request>),
    Known(Result<Seq>),
    Taken,
}

impl WriteFuture {
    fn known(result: Result<Seq>) -> WriteFuture {
        WriteFuture(State::Known(result))
    }
}

impl Future for WriteFuture {
    type Output = Result<Seq>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Seq>> {
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Known(result) => Poll::Ready(result),
            State::Queued(request) => {
                let outcome = request.poll(context);
                if outcome.is_pending() {
                    self.0 = State::Queued(request);
                }
                outcome
            }
            State::Taken => panic!("a write was polled after its outcome was taken"),
        }
    }
}

/// The most memory that a batch may take, in bytes: each operation takes more than its own bytes.
const MAX_BATCH_MEMORY: usize = 4 << 30;

/// Whether a batch is one that the log, and memory, can take.
fn check_batch(batch: &WriteBatch) -> Result<()> {
    batch.check()?;
    check_memory(batch.count() as usize, batch.as_bytes().len())
}

fn check_memory(ops: usize, bytes: usize) -> Result<()> {
    let needed = ops.saturating_mul(Memtable::insert_bound(0, 0)).saturating_add(bytes);
    if MAX_BATCH_MEMORY < needed {
        let detail = format!("a batch of {ops} operations takes {needed} bytes of memory");
        return Err(Error::invalid(format!("{detail}; at most {MAX_BATCH_MEMORY}")));
    }
    Ok(())
}

/// Until when a write that comes now may wait; `None` is as long as it takes.
fn deadline(options: &WriteOptions, now: Instant) -> Option<Instant> {
    now.checked_add(options.stall_timeout?)
}

impl Caller<'_> {
    /// Stores `value` under `key`. Returns the sequence of the write.
    pub(crate) fn put(
        &self,
        keyspace: KeyspaceId,
        key: &[u8],
        value: &[u8],
        options: &WriteOptions,
    ) -> Result<Seq> {
        let mut batch = WriteBatch::new();
        batch.put_in(keyspace, key, value);
        self.write(batch, options)
    }

    /// Removes `key`. Returns the sequence of the write.
    pub(crate) fn delete(
        &self,
        keyspace: KeyspaceId,
        key: &[u8],
        options: &WriteOptions,
    ) -> Result<Seq> {
        let mut batch = WriteBatch::new();
        batch.delete_in(keyspace, key);
        self.write(batch, options)
    }

    /// Writes all operations of a batch, or none. Returns the sequence of the last.
    pub(crate) fn write(&self, batch: WriteBatch, options: &WriteOptions) -> Result<Seq> {
        check_batch(&batch)?;
        self.begin_change()?;
        self.admit_batch(&batch)?;
        if options.condition.is_some() && batch.count() != 1 {
            return Err(Error::invalid("a condition needs a batch of exactly one operation"));
        }
        if batch.is_empty() {
            return Ok(self.visible());
        }
        let deadline = deadline(options, Instant::now());
        self.pay(batch.as_bytes().len() as u64, deadline)?;
        let durability = options.durability.unwrap_or(self.options.durability);
        self.commit().write(self, batch, durability, options, deadline)
    }

    /// Queues all operations of a batch, or none.
    pub(crate) fn write_async(&self, batch: WriteBatch, options: &WriteOptions) -> WriteFuture {
        if options.condition.is_some() {
            let detail = "a condition may have to read the disk: an asynchronous write takes none";
            return WriteFuture::known(Err(Error::invalid(detail)));
        }
        if self.options.background_threads == 0 {
            return WriteFuture::known(self.write(batch, options));
        }
        self.queue_write(batch, options).unwrap_or_else(|error| WriteFuture::known(Err(error)))
    }

    /// Makes what was acknowledged durable.
    pub(crate) fn sync(&self) -> Result<()> {
        match self.begin_change() {
            // What was acknowledged is in the log already, and the length of that is allocated.
            Err(error) if error.kind() == ErrorKind::NoSpace => {}
            begun => begun?,
        }
        self.commit().sync(self)
    }
}

impl Inner {
    fn queue_write(
        self: &Arc<Self>,
        batch: WriteBatch,
        options: &WriteOptions,
    ) -> Result<WriteFuture> {
        check_batch(&batch)?;
        let _call = self.begin_call()?;
        self.admit_batch(&batch)?;
        if batch.is_empty() {
            return Ok(WriteFuture::known(Ok(self.visible())));
        }
        self.start_attendants()?;
        let now = Instant::now();
        let deadline = deadline(options, now);
        let bytes = batch.as_bytes().len() as u64;
        let rate = self.permitted_rate();
        let ticket = self.admission.reserve(now, bytes, deadline, rate);
        let ticket = ticket.map_err(|_| Error::busy())?;
        let durability = options.durability.unwrap_or(self.options.durability);
        let request = self.commit().write_async(self, batch, durability, deadline, ticket);
        Ok(WriteFuture(State::Queued(request)))
    }

    /// Refuses a batch that the disk has no space for. Then the keeper looks whether it has by now.
    fn admit_batch(&self, batch: &WriteBatch) -> Result<()> {
        self.check_takes(batch).inspect_err(|_| self.background.changed())
    }

    /// Waits for as long as the pressure of background work asks of a write of this size.
    fn pay(&self, bytes: u64, deadline: Option<Instant>) -> Result<()> {
        if self.options.background_threads == 0 {
            // Nobody works meanwhile, so waiting would bring nothing.
            return Ok(());
        }
        let rate = || self.permitted_rate();
        let took = self.admission.admit(bytes, deadline, rate).map_err(|_| Error::busy())?;
        if !took.is_zero() {
            self.note_stall(took);
            if self.permitted_rate().is_none() {
                // For a worker, which tells it. As long as there is pressure, they come by
                // themselves.
                self.background.changed();
            }
        }
        Ok(())
    }

    /// Notes that a write was held back on account of background work.
    pub(crate) fn note_stall(&self, took: Duration) {
        self.metrics.stall_nanos.record(took.as_nanos() as u64);
        self.note(Event::Stalled { took });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Db, Durability};
    use lsm_base::Fs;
    use lsm_base::fs::MemFs;
    use std::panic::{self, AssertUnwindSafe};
    use std::sync::mpsc;
    use std::task::Waker;
    use std::thread;

    #[test]
    fn what_pressure_held_back_goes_when_it_has_passed() {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let db = Db::builder("data").fs(fs).open().unwrap();
        db.wait_idle().unwrap();
        let inner = db.inner();
        let put = |key: u32, len: usize| {
            let mut batch = WriteBatch::new();
            batch.put(key.to_be_bytes(), vec![7; len]);
            db.write_async(batch, &WriteOptions::durability(Durability::Buffered))
        };
        let wait = |mut write: WriteFuture| {
            let mut context = Context::from_waker(Waker::noop());
            while Pin::new(&mut write).poll(&mut context).is_pending() {
                thread::yield_now();
            }
        };
        inner.set_tree_pressure(1.0);
        // It is due after some 160 ms, and comes without that anything changes.
        wait(put(0, 1 << 20));
        // Now background work is very slow, and each write costs the most that one may: 0.6 s.
        for _ in 0..200 {
            inner.pressure.drained(1 << 16, Duration::from_secs(1_000));
        }
        inner.set_tree_pressure(1.0);
        let mut writes: Vec<_> = (1..40).map(|key| put(key, 1 << 20)).collect();
        assert_eq!(db.seq().get(), 1, "the others wait");
        let passed = Instant::now();
        inner.set_tree_pressure(0.0);
        while let Some(write) = writes.pop() {
            wait(write);
        }
        let took = passed.elapsed();
        assert!(took < Duration::from_secs(12), "{took:?}: the last is due after 24 s");
        assert_eq!(db.seq().get(), 40);
    }

    #[test]
    fn how_long_an_asynchronous_write_was_held_back_is_told_without_another_call() {
        let (heard, told) = mpsc::sync_channel(1);
        let listener = move |event: &Event| {
            if matches!(event, Event::Stalled { .. }) {
                let _ = heard.try_send(());
            }
        };
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let db = Db::builder("data").fs(fs).listener(listener).open().unwrap();
        db.wait_idle().unwrap();
        db.inner().set_tree_pressure(1.0);
        let mut batch = WriteBatch::new();
        batch.put("key", vec![7; 1 << 20]);
        let write = db.write_async(batch, &WriteOptions::durability(Durability::Buffered));
        told.recv_timeout(Duration::from_secs(60)).expect("it is told");
        drop(write);
    }

    #[test]
    fn a_listener_that_panics_at_the_close_leaves_no_write_without_its_answer() {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let panics = |event: &Event| assert!(!matches!(event, Event::Stalled { .. }), "planned");
        let db = Db::builder("data").fs(fs).listener(panics).open().unwrap();
        db.wait_idle().unwrap();
        let inner = db.inner();
        for _ in 0..200 {
            inner.pressure.drained(1 << 16, Duration::from_secs(1_000));
        }
        inner.set_tree_pressure(1.0);
        let mut writes: Vec<_> = (0..10_u8)
            .map(|key| {
                let mut batch = WriteBatch::new();
                batch.put([key], vec![7; 1 << 20]);
                db.write_async(batch, &WriteOptions::durability(Durability::Buffered))
            })
            .collect();
        // The first is held back for 0.2 s, and the close comes before.
        let closed = panic::catch_unwind(AssertUnwindSafe(|| db.close()));
        assert!(!matches!(closed, Ok(Ok(()))), "the listener is told of them");
        let mut context = Context::from_waker(Waker::noop());
        for write in &mut writes {
            assert!(Pin::new(write).poll(&mut context).is_ready());
        }
    }

    #[test]
    fn a_batch_is_bounded_by_the_memory_that_it_takes() {
        // As large as a batch may be, of values of some length, and of nothing but keys.
        check_memory(1_000_000, 512 << 20).unwrap();
        let error = check_memory((512 << 20) / 4, 512 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(check_memory(usize::MAX, usize::MAX).is_err());
    }
}
