//! Asynchronous writes that nobody waits for at once: several are in flight, some are polled, some
//! dropped, and what became of the others is asked much later, or when the store is closed already.
//!
//! One thread's asynchronous writes are committed in the order of its calls, and nobody else writes
//! meanwhile, so their sequences are foretold.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use lsm_engine::{Durability, ErrorKind, Result, Seq, WriteFuture, WriteOptions};

use super::driver::{Commit, Driver, Write};
use crate::support::wait;

/// A write that was queued, and what it must come to.
pub(super) struct InFlight {
    future: WriteFuture,
    last: Seq,
    options: WriteOptions,
    ops: Vec<Write>,
}

impl InFlight {
    /// The outcome, if it is there; it can be asked for once.
    fn poll(&mut self) -> Option<Result<Seq>> {
        match Pin::new(&mut self.future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

/// A write that went well, as everybody knows but who waits for this.
pub(crate) struct Late {
    future: WriteFuture,
    last: Seq,
}

/// How many outcomes nobody has asked for yet, at most.
const MAX_LATE: usize = 12;

impl Driver {
    /// Queues a few writes, and waits for none. They are what the store is to commit next.
    pub(super) fn launch(&mut self) -> Vec<InFlight> {
        // Comes behind what took a sequence and was no write, as the drop of a keyspace.
        let options = WriteOptions::durability(Durability::Buffered);
        let (batch, ops) = self.batch(1);
        let mut last = self.db().write(batch, &options).unwrap();
        self.committed(last, 1, &options, ops);
        let count = 1 + self.input.below(5);
        self.figures.in_flight += count as u64;
        let mut writes = Vec::new();
        for _ in 0..count {
            let ops = 1 + self.input.below(6);
            let ((batch, ops), options) = (self.batch(ops), self.write_options());
            last = last.plus(ops.len() as u64);
            let future = self.db().write_async(batch, &options);
            writes.push(InFlight { future, last, options, ops });
        }
        writes
    }

    /// Half of the time some writes are in flight.
    pub(super) fn launch_or_not(&mut self) -> Vec<InFlight> {
        if self.input.once_in(2) { self.launch() } else { Vec::new() }
    }

    /// Queues writes, looks at some, lets go of others, and waits for the last alone.
    pub(super) fn write_late(&mut self) {
        let writes = self.launch();
        self.land(writes);
    }

    /// Waits for the last of these, behind which all are committed. What became of the others is
    /// asked now, or much later, or never.
    pub(super) fn land(&mut self, mut writes: Vec<InFlight>) {
        let Some(InFlight { future, last, options, ops }) = writes.pop() else { return };
        let mut pending = Vec::new();
        for mut write in writes {
            let fate = self.input.below(4);
            let answer = if fate == 0 { write.poll() } else { None };
            if let Some(result) = &answer {
                assert_eq!(result.as_ref().ok(), Some(&write.last), "{result:?}");
            }
            let InFlight { future, last, options, ops } = write;
            // Of every fourth nobody wants to know.
            let is_wanted = answer.is_none() && fate != 1;
            pending.push((is_wanted.then_some(future), last, options, ops));
        }
        assert_eq!(wait(future).unwrap(), last);
        for (future, last, options, ops) in pending {
            self.landed(last, &options, ops);
            self.late.extend(future.map(|future| Late { future, last }));
        }
        self.landed(last, &options, ops);
        assert_eq!(self.db().seq(), last);
        while MAX_LATE < self.late.len() {
            self.ask_late();
        }
    }

    /// Asks what became of a write that was committed long ago, maybe by a store that is closed.
    pub(super) fn ask_late(&mut self) {
        if self.late.is_empty() {
            return self.found_nothing();
        }
        let index = self.input.below(self.late.len());
        let Late { future, last } = self.late.swap_remove(index);
        assert_eq!(wait(future).unwrap(), last);
        self.figures.late += 1;
    }

    /// Tells apart what became of writes that were in flight at the close: all of them up to one
    /// went well, and those behind it were refused. Returns these.
    pub(super) fn land_closed(&mut self, writes: Vec<InFlight>) -> Vec<Commit> {
        let mut refused = Vec::new();
        for mut write in writes {
            match write.poll().expect("the close answers what is in flight") {
                Ok(seq) => {
                    assert_eq!(seq, write.last);
                    assert!(refused.is_empty(), "{seq} went well behind one that was refused");
                    self.landed(write.last, &write.options, write.ops);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                    refused.push(Commit { last: write.last, ops: write.ops });
                }
            }
        }
        refused
    }

    /// Notes writes that are in flight when the process ends, each as if it were committed. Returns
    /// the sequence up to which it is known that they are.
    pub(super) fn note_in_flight(&mut self, writes: Vec<InFlight>) -> Seq {
        let mut acknowledged = self.seq;
        for mut write in writes {
            let answer = write.poll().map(Result::unwrap);
            let InFlight { last, options, ops, .. } = write;
            if let Some(seq) = answer {
                assert_eq!(seq, last);
                acknowledged = last;
                self.landed(last, &options, ops);
            } else {
                self.landed(last, &WriteOptions::default(), ops);
            }
        }
        acknowledged
    }

    fn landed(&mut self, last: Seq, options: &WriteOptions, ops: Vec<Write>) {
        self.noted(last, ops.len() as u64, options, ops);
    }
}
