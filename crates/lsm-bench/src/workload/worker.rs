//! A worker: one thread's share of a workload, and the workloads that only put, get or scan.

use std::time::Instant;

use crate::data::{DataSet, KEY_LEN, Random, advance_key, write_key};
use crate::measure::Recorder;
use crate::store::{Durability, Result, Store};

use super::{Done, Effort, Shared, Workload};

/// One thread's share of a workload.
pub(super) struct Worker<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) data: &'a DataSet,
    pub(super) effort: &'a Effort,
    pub(super) shared: &'a Shared,
    /// This thread does every `threads`-th position from `thread` on.
    thread: u64,
    pub(super) threads: u64,
    pub(super) random: Random,
    pub(super) key: [u8; KEY_LEN],
    pub(super) value: Vec<u8>,
    pub(super) recorder: Recorder,
    pub(super) bytes_put: u64,
}

impl<'a> Worker<'a> {
    /// The worker for a thread of so many.
    pub(super) fn new(
        store: &'a dyn Store,
        data: &'a DataSet,
        effort: &'a Effort,
        shared: &'a Shared,
        (thread, threads): (u64, u64),
        random: Random,
    ) -> Result<Worker<'a>> {
        let (key, value, recorder) = ([0; KEY_LEN], Vec::new(), Recorder::new()?);
        Ok(Worker {
            store,
            data,
            effort,
            shared,
            thread,
            threads,
            random,
            key,
            value,
            recorder,
            bytes_put: 0,
        })
    }

    /// Does its share.
    pub(super) fn run(mut self, workload: Workload) -> Result<Done> {
        let data = self.data;
        let positions = (self.thread..data.count()).step_by(self.threads as usize);
        let operations = match workload {
            Workload::FillSeq => self.puts(positions),
            Workload::FillRandom => self.puts(positions.map(|position| data.shuffled(position))),
            Workload::Overwrite => {
                let mut random = self.random.clone();
                self.puts(positions.map(|_| random.below(data.count())))
            }
            Workload::FillBatch => self.batches(positions),
            Workload::FillSync => self.synced_puts(),
            Workload::DeleteRandom => self.deletes(),
            Workload::ReadRandom | Workload::ReadWhileWriting => self.for_a_while(Worker::read),
            Workload::ReadMissing => self.for_a_while(Worker::read_missing),
            Workload::ReadSeq => self.scan_all(),
            Workload::SeekRandom => self.for_a_while(Worker::seek),
            Workload::YcsbA => self.for_a_while(Worker::ycsb_a),
            Workload::YcsbB => self.for_a_while(Worker::ycsb_b),
            Workload::YcsbC => self.for_a_while(Worker::read_popular),
            Workload::YcsbD => self.for_a_while(Worker::ycsb_d),
            Workload::YcsbE => self.for_a_while(Worker::ycsb_e),
            Workload::YcsbF => self.for_a_while(Worker::ycsb_f),
            Workload::Queue => self.for_a_while(Worker::queue),
        }?;
        let (latencies, bytes_put) = (self.recorder, self.bytes_put);
        Ok(Done { latencies, operations, bytes_put, writer_rate: None })
    }

    /// Does an operation again and again until the time is over.
    fn for_a_while(&mut self, mut operation: impl FnMut(&mut Self) -> Result<()>) -> Result<u64> {
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed().as_secs_f64() < self.effort.read_seconds {
            for _ in 0..100 {
                operation(self)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn puts(&mut self, numbers: impl Iterator<Item = u64>) -> Result<u64> {
        let mut count = 0;
        for number in numbers {
            self.put(number, Durability::Buffered)?;
            count += 1;
        }
        Ok(count)
    }

    /// Puts a key of the data set.
    pub(super) fn put(&mut self, number: u64, durability: Durability) -> Result<()> {
        write_key(number, &mut self.key);
        self.data.fill_value(number, &mut self.value);
        self.bytes_put += (KEY_LEN + self.value.len()) as u64;
        self.recorder.time(|| self.store.put(&self.key, &self.value, durability))
    }

    /// How many of so many operations are this thread's.
    fn share(&self, count: u64) -> u64 {
        (count + self.threads - 1 - self.thread) / self.threads
    }

    fn synced_puts(&mut self) -> Result<u64> {
        let count = self.share(self.effort.synced_writes);
        for _ in 0..count {
            let number = self.random.below(self.data.count());
            self.put(number, Durability::Sync)?;
        }
        Ok(count)
    }

    fn batches(&mut self, mut positions: impl Iterator<Item = u64>) -> Result<u64> {
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
                    self.bytes_put += (KEY_LEN + self.value.len()) as u64;
                    (self.key.to_vec(), self.value.clone())
                })
                .collect();
            if entries.is_empty() {
                return Ok(count);
            }
            self.recorder.time(|| self.store.put_batch(&entries, Durability::Buffered))?;
            count += entries.len() as u64;
        }
    }

    fn deletes(&mut self) -> Result<u64> {
        let count = self.share(self.data.count() / 2);
        for _ in 0..count {
            write_key(self.random.below(self.data.count()), &mut self.key);
            self.bytes_put += KEY_LEN as u64;
            self.recorder.time(|| self.store.delete(&self.key, Durability::Buffered))?;
        }
        Ok(count)
    }

    fn read(&mut self) -> Result<()> {
        let number = self.random.below(self.data.count());
        write_key(number, &mut self.key);
        self.get(number)
    }

    /// Gets the key that was written into `key`, which is there with the value of this number.
    pub(super) fn get(&mut self, number: u64) -> Result<()> {
        let mut is_right = false;
        let mut check = |value: &[u8]| is_right = self.data.is_value_of(number, value);
        let is_found = self.recorder.time(|| self.store.get(&self.key, &mut check))?;
        if is_found && is_right {
            return Ok(());
        }
        Err(format!("key {number}: found {is_found}, value right {is_right}").into())
    }

    fn read_missing(&mut self) -> Result<()> {
        let number = self.random.below(self.data.count());
        write_key(number, &mut self.key);
        // Between two keys that are there.
        self.key[KEY_LEN - 1] += 10;
        if self.recorder.time(|| self.store.get(&self.key, &mut |_| {}))? {
            return Err(format!("a key behind key {number}: found true").into());
        }
        Ok(())
    }

    fn scan_all(&mut self) -> Result<u64> {
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed().as_secs_f64() < self.effort.read_seconds {
            count += self.scan(0, u64::MAX)?;
        }
        Ok(count)
    }

    fn seek(&mut self) -> Result<()> {
        let number = self.random.below(self.data.count());
        self.scan(number, 11).map(|_entries| ())
    }

    /// Reads up to `limit` entries from a key on, of a store that holds all of them and no other.
    /// Returns how many there were.
    fn scan(&mut self, first: u64, limit: u64) -> Result<u64> {
        let mut expected = [0; KEY_LEN];
        write_key(first, &mut expected);
        let start = expected;
        let (mut number, mut is_right) = (first, true);
        let mut check = |key: &[u8], value: &[u8]| {
            is_right &= key == expected && self.data.is_value_of(number, value);
            advance_key(&mut expected);
            number += 1;
        };
        let count = self.recorder.time(|| self.store.scan(&start, limit, &mut check))?;
        let due = limit.min(self.data.count() - first);
        if !is_right || count != due || number - first != due {
            return Err(format!("scan from key {first}: {count} entries of {due}, or wrong").into());
        }
        Ok(count)
    }
}
