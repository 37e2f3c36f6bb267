//! What is done with a store, and that it answers right.
//!
//! - `worker`: one thread's share of it, and the workloads that only put, get or scan;
//! - `beside`: readers beside a writer;
//! - `ycsb`: mixes of reads and writes with popular keys;
//! - `queue`: keys that come at one end and go at the other.
//!
//! Each thread times every operation by itself, and checks what it reads: that a key is there or is
//! not, length and first bytes of its value, and of a scan that no key is missing or out of place.
//! Whoever else writes meanwhile, a value belongs to its key. A store that is fast by being wrong
//! gets an error instead of a figure.

mod beside;
mod inserts;
mod pacer;
mod queue;
mod worker;
mod ycsb;

use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;

use crate::data::{DataSet, Random};
use crate::measure::Recorder;
use crate::store::{Durability, Error, Result, Store};
use crate::zipf::Zipf;

use inserts::Inserts;
pub(crate) use queue::SCANNED;
use worker::Worker;

/// A workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Workload {
    /// Every key once, in order.
    FillSeq,
    /// Every key once, in random order.
    FillRandom,
    /// As many puts of random keys as there are keys.
    Overwrite,
    /// Every key once, in random order, 100 in a batch.
    FillBatch,
    /// Puts of random keys, each on disk before the next.
    FillSync,
    /// Deletes of random keys, half as many as there are keys.
    DeleteRandom,
    /// Gets of random keys that are there.
    ReadRandom,
    /// Gets of random keys that are not there.
    ReadMissing,
    /// All entries in order.
    ReadSeq,
    /// Seeks to random keys, and the ten entries from there.
    SeekRandom,
    /// Gets of random keys that are there, beside one paced writer of random keys.
    ReadWhileWriting,
    /// YCSB A: gets and puts of popular keys, as many of each.
    YcsbA,
    /// YCSB B: gets of popular keys, and a put for every 19 of them.
    YcsbB,
    /// YCSB C: gets of popular keys.
    YcsbC,
    /// YCSB D: gets of the latest keys, and a new key for every 19 of them.
    YcsbD,
    /// YCSB E: scans of up to 100 entries from popular keys, and a new key for every 19 of them.
    YcsbE,
    /// YCSB F: gets of popular keys, of which every second ends with a put of what follows from it.
    YcsbF,
    /// A put at the tail, a delete at the head, and a scan of ten entries from there.
    Queue,
}

/// How much is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How many threads do it.
    pub threads: u32,
    /// Reads, and mixes of reads and writes, go on for so many seconds.
    pub read_seconds: f64,
    /// Synced writes.
    pub synced_writes: u64,
    /// Puts a second of the writer beside readers.
    pub write_rate: u64,
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// Latencies of the operations.
    pub latencies: Recorder,
    /// How many there were; entries, for scans of all.
    pub operations: u64,
    /// Bytes of the keys and values that were put, and of the keys that were deleted.
    pub bytes_put: u64,
    /// Puts a second that the writer beside readers reached.
    pub writer_rate: Option<f64>,
}

/// What the threads of a workload share.
struct Shared {
    zipf: Zipf,
    /// Keys that come after those of the data set.
    inserts: Inserts,
    /// Whether the readers are done, and the writer beside them is to end; or a thread has failed, and
    /// whoever waits for it is not to.
    is_over: AtomicBool,
}

/// One thread's part: where it does not come to a good end, the others are told.
struct Part<'a> {
    shared: &'a Shared,
    is_done: bool,
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.is_over.store(true, Ordering::Relaxed);
        }
    }
}

impl Workload {
    /// All of them.
    #[must_use]
    pub fn all() -> &'static [Workload] {
        Workload::value_variants()
    }

    /// The name on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Workload::FillSeq => "fillseq",
            Workload::FillRandom => "fillrandom",
            Workload::Overwrite => "overwrite",
            Workload::FillBatch => "fillbatch",
            Workload::FillSync => "fillsync",
            Workload::DeleteRandom => "deleterandom",
            Workload::ReadRandom => "readrandom",
            Workload::ReadMissing => "readmissing",
            Workload::ReadSeq => "readseq",
            Workload::SeekRandom => "seekrandom",
            Workload::ReadWhileWriting => "readwhilewriting",
            Workload::YcsbA => "ycsba",
            Workload::YcsbB => "ycsbb",
            Workload::YcsbC => "ycsbc",
            Workload::YcsbD => "ycsbd",
            Workload::YcsbE => "ycsbe",
            Workload::YcsbF => "ycsbf",
            Workload::Queue => "queue",
        }
    }

    /// Whether it leaves every key of the data set in a store that was empty.
    #[must_use]
    pub fn fills_store(self) -> bool {
        matches!(self, Workload::FillSeq | Workload::FillRandom | Workload::FillBatch)
    }

    /// Whether it wants every key of the data set to be there and no other: it then knows what it
    /// must read.
    #[must_use]
    pub fn needs_full_store(self) -> bool {
        !self.needs_empty_store() && !matches!(self, Workload::Overwrite | Workload::DeleteRandom)
    }

    /// Whether a store has the keys of the data set after it, and no other, that had them before.
    #[must_use]
    pub fn keeps_keys(self) -> bool {
        use Workload::{DeleteRandom, FillSync, Queue, YcsbD, YcsbE};
        !matches!(self, DeleteRandom | FillSync | Queue | YcsbD | YcsbE)
    }

    /// Whether it begins with an empty store.
    #[must_use]
    pub fn needs_empty_store(self) -> bool {
        self.fills_store() || self == Workload::FillSync
    }

    /// Whether it writes.
    #[must_use]
    pub fn is_write(self) -> bool {
        use Workload::{ReadMissing, ReadRandom, ReadSeq, SeekRandom, YcsbC};
        !matches!(self, ReadRandom | ReadMissing | ReadSeq | SeekRandom | YcsbC)
    }

    /// How durable its writes are.
    #[must_use]
    pub fn durability(self) -> Durability {
        if self == Workload::FillSync { Durability::Sync } else { Durability::Buffered }
    }

    /// Does the workload. `repetition` tells how often a run has done it before.
    ///
    /// Random keys follow from the workload, the repetition and the thread, so that none asks for
    /// what another has just brought into a cache.
    ///
    /// # Errors
    /// What the store reports, or that a value read was not the one written.
    pub fn run(
        self,
        store: &dyn Store,
        data: &DataSet,
        effort: &Effort,
        repetition: u64,
    ) -> Result<Done> {
        let shared = Shared {
            zipf: Zipf::new(data.count()),
            inserts: Inserts::new(data.count()),
            is_over: AtomicBool::new(false),
        };
        let threads = u64::from(effort.threads);
        let worker = |thread| {
            let random = self.random(repetition, thread);
            Worker::new(store, data, effort, &shared, (thread, threads), random)
        };
        let share = |thread| {
            let mut part = Part { shared: &shared, is_done: false };
            let done = worker(thread)?.run(self)?;
            part.is_done = true;
            Ok::<_, Error>(done)
        };
        let (parts, writer) = std::thread::scope(|scope| {
            let handles: Vec<_> =
                (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
            let writer = (self == Workload::ReadWhileWriting)
                .then(|| scope.spawn(move || worker(threads)?.write_paced()));
            let parts: Vec<_> = handles.into_iter().map(|handle| handle.join()).collect();
            // Relaxed: nothing else is told by it.
            shared.is_over.store(true, Ordering::Relaxed);
            (parts, writer.map(|handle| handle.join()))
        });
        let mut done = Done::nothing()?;
        for part in parts {
            done.add(&part.map_err(|_| "a thread of the workload panicked")??)?;
        }
        if let Some(writer) = writer {
            let (bytes_put, rate) = writer.map_err(|_| "the writer panicked")??;
            done.bytes_put += bytes_put;
            done.writer_rate = Some(rate);
        }
        Ok(done)
    }

    fn random(self, repetition: u64, thread: u64) -> Random {
        Random::new(301 + thread + ((self as u64) << 32) + (repetition << 40))
    }
}

impl Done {
    fn nothing() -> Result<Done> {
        let latencies = Recorder::new()?;
        Ok(Done { latencies, operations: 0, bytes_put: 0, writer_rate: None })
    }

    /// Adds what another thread did.
    fn add(&mut self, other: &Done) -> Result<()> {
        self.operations += other.operations;
        self.bytes_put += other.bytes_put;
        self.latencies.merge(&other.latencies)
    }
}
