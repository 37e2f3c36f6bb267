//! What is done with a store, and that it answers right.
//!
//! Each thread of a workload takes its share of the keys, times every operation by itself, and
//! checks what it reads: that a key is there or is not, length and first bytes of its value, and of
//! a scan that no key is missing or out of place. A store that is fast by being wrong gets an
//! error instead of a figure.

use std::time::Instant;

use clap::ValueEnum;

use crate::data::{DataSet, KEY_LEN, Random, advance_key, write_key};
use crate::measure::Recorder;
use crate::store::{Durability, Result, Store};

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
}

/// How much is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How many threads do it.
    pub threads: u32,
    /// Reads go on for so many seconds.
    pub read_seconds: f64,
    /// Synced writes.
    pub synced_writes: u64,
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
        }
    }

    /// Whether it leaves every key of the data set in a store that was empty.
    #[must_use]
    pub fn fills_store(self) -> bool {
        matches!(self, Workload::FillSeq | Workload::FillRandom | Workload::FillBatch)
    }

    /// Whether it wants every key of the data set to be there: it then knows what it must read.
    #[must_use]
    pub fn needs_full_store(self) -> bool {
        !self.is_write()
    }

    /// Whether it begins with an empty store.
    #[must_use]
    pub fn needs_empty_store(self) -> bool {
        self.fills_store() || self == Workload::FillSync
    }

    /// Whether it writes.
    #[must_use]
    pub fn is_write(self) -> bool {
        self.needs_empty_store() || matches!(self, Workload::Overwrite | Workload::DeleteRandom)
    }

    /// How durable its writes are.
    #[must_use]
    pub fn durability(self) -> Durability {
        if self == Workload::FillSync { Durability::Sync } else { Durability::Buffered }
    }

    /// Does the workload. Returns the latencies, and how many operations were done: for scans,
    /// entries. `repetition` tells how often a run has done it before.
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
    ) -> Result<(Recorder, u64)> {
        let threads = u64::from(effort.threads);
        let parts = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|thread| {
                    let random = self.random(repetition, thread);
                    let (key, value) = ([0; KEY_LEN], Vec::new());
                    let worker =
                        Worker { store, data, effort, thread, threads, random, key, value };
                    scope.spawn(move || worker.run(self))
                })
                .collect();
            handles.into_iter().map(|handle| handle.join()).collect::<Vec<_>>()
        });
        let mut recorder = Recorder::new()?;
        let mut operations = 0;
        for part in parts {
            let (latencies, count) = part.map_err(|_| "a thread of the workload panicked")??;
            recorder.merge(&latencies)?;
            operations += count;
        }
        Ok((recorder, operations))
    }

    fn random(self, repetition: u64, thread: u64) -> Random {
        Random::new(301 + thread + ((self as u64) << 32) + (repetition << 40))
    }
}

/// One thread's share of a workload.
struct Worker<'a> {
    store: &'a dyn Store,
    data: &'a DataSet,
    effort: &'a Effort,
    /// This thread does every `threads`-th position from `thread` on.
    thread: u64,
    threads: u64,
    random: Random,
    key: [u8; KEY_LEN],
    value: Vec<u8>,
}

impl Worker<'_> {
    fn run(mut self, workload: Workload) -> Result<(Recorder, u64)> {
        let mut recorder = Recorder::new()?;
        let positions = (self.thread..self.data.count()).step_by(self.threads as usize);
        let operations = match workload {
            Workload::FillSeq => self.puts(&mut recorder, positions),
            Workload::FillRandom => {
                let data = self.data;
                self.puts(&mut recorder, positions.map(|position| data.shuffled(position)))
            }
            Workload::Overwrite => {
                let (mut random, count) = (self.random.clone(), self.data.count());
                self.puts(&mut recorder, positions.map(|_| random.below(count)))
            }
            Workload::FillBatch => self.batches(&mut recorder, positions),
            Workload::FillSync => self.synced_puts(&mut recorder),
            Workload::DeleteRandom => self.deletes(&mut recorder),
            Workload::ReadRandom => self.reads(&mut recorder, true),
            Workload::ReadMissing => self.reads(&mut recorder, false),
            Workload::ReadSeq => self.scan_all(&mut recorder),
            Workload::SeekRandom => self.seeks(&mut recorder),
        }?;
        Ok((recorder, operations))
    }

    fn puts(&mut self, recorder: &mut Recorder, numbers: impl Iterator<Item = u64>) -> Result<u64> {
        let mut count = 0;
        for number in numbers {
            write_key(number, &mut self.key);
            self.data.fill_value(number, &mut self.value);
            recorder.time(|| self.store.put(&self.key, &self.value, Durability::Buffered))?;
            count += 1;
        }
        Ok(count)
    }

    /// How many of so many operations are this thread's.
    fn share(&self, count: u64) -> u64 {
        (count + self.threads - 1 - self.thread) / self.threads
    }

    fn synced_puts(&mut self, recorder: &mut Recorder) -> Result<u64> {
        let count = self.share(self.effort.synced_writes);
        for _ in 0..count {
            let number = self.random.below(self.data.count());
            write_key(number, &mut self.key);
            self.data.fill_value(number, &mut self.value);
            recorder.time(|| self.store.put(&self.key, &self.value, Durability::Sync))?;
        }
        Ok(count)
    }

    fn batches(
        &mut self,
        recorder: &mut Recorder,
        mut positions: impl Iterator<Item = u64>,
    ) -> Result<u64> {
        const BATCH: usize = 100;
        let mut count = 0;
        loop {
            let entries: Vec<_> = positions
                .by_ref()
                .take(BATCH)
                .map(|position| {
                    let number = self.data.shuffled(position);
                    write_key(number, &mut self.key);
                    self.data.fill_value(number, &mut self.value);
                    (self.key.to_vec(), self.value.clone())
                })
                .collect();
            if entries.is_empty() {
                return Ok(count);
            }
            recorder.time(|| self.store.put_batch(&entries, Durability::Buffered))?;
            count += entries.len() as u64;
        }
    }

    fn deletes(&mut self, recorder: &mut Recorder) -> Result<u64> {
        let count = self.share(self.data.count() / 2);
        for _ in 0..count {
            write_key(self.random.below(self.data.count()), &mut self.key);
            recorder.time(|| self.store.delete(&self.key, Durability::Buffered))?;
        }
        Ok(count)
    }

    fn reads(&mut self, recorder: &mut Recorder, is_hit: bool) -> Result<u64> {
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed().as_secs_f64() < self.effort.read_seconds {
            for _ in 0..100 {
                let number = self.random.below(self.data.count());
                write_key(number, &mut self.key);
                if !is_hit {
                    // Between two keys that are there.
                    self.key[KEY_LEN - 1] += 10;
                }
                let mut is_right = !is_hit;
                let mut check = |value: &[u8]| is_right = self.data.is_value_of(number, value);
                let found = recorder.time(|| self.store.get(&self.key, &mut check))?;
                if found != is_hit || !is_right {
                    return Err(
                        format!("key {number}: found {found}, value right {is_right}").into()
                    );
                }
                count += 1;
            }
        }
        Ok(count)
    }

    fn scan_all(&mut self, recorder: &mut Recorder) -> Result<u64> {
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed().as_secs_f64() < self.effort.read_seconds {
            count += recorder.time(|| self.scan(0, u64::MAX))?;
        }
        Ok(count)
    }

    fn seeks(&mut self, recorder: &mut Recorder) -> Result<u64> {
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed().as_secs_f64() < self.effort.read_seconds {
            for _ in 0..100 {
                let number = self.random.below(self.data.count());
                recorder.time(|| self.scan(number, 11))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Reads up to `limit` entries from a key on, of a store that holds all of them. Returns how
    /// many there were.
    fn scan(&self, first: u64, limit: u64) -> Result<u64> {
        let mut expected = [0; KEY_LEN];
        write_key(first, &mut expected);
        let start = expected;
        let (mut number, mut is_right) = (first, true);
        let count = self.store.scan(&start, limit, &mut |key, value| {
            is_right &= key == expected && self.data.is_value_of(number, value);
            advance_key(&mut expected);
            number += 1;
        })?;
        let due = limit.min(self.data.count() - first);
        if !is_right || count != due || number - first != due {
            return Err(format!("scan from key {first}: {count} entries of {due}, or wrong").into());
        }
        Ok(count)
    }
}
