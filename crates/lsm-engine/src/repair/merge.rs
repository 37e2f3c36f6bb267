//! Everything that was found of a keyspace as one sorted stream, and of each key the newest version.
//!
//! Tables with disjoint keys make a *chain*, of which one is open at a time. The chains meet in a
//! heap. The same entry may come twice, from a table and from the one that it was merged into, or from
//! the log: the merge of the engine, which counts its entries, would refuse that.
//!
//! Invariant: what is written ascends, and each new table was read back whole before it counts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use lsm_base::plant::{self, Plant};
use lsm_base::{Error, InternalKey, Kind, Result};
use lsm_compaction::{LEVELS, OutputWriter, TableMeta};
use lsm_sstable::{BlockCache, ReadMode, Salvage, SalvageStep, Table};

use super::Job;
use super::evidence::is_damage;
use super::keyspaces::Keyspaces;
use super::log::Spilled;
use super::report::Ledger;
use super::tables::{Candidate, Found};

/// Merges all that was found into tables of the target.
pub(super) fn merge(
    job: &Job<'_>,
    keyspaces: &Keyspaces,
    mut found: Found,
    spilled: &Spilled,
    ledger: &mut Ledger,
) -> Result<Vec<Arc<TableMeta>>> {
    let mut tables = Vec::new();
    let mut progress = Passed { job, done: job.progress.done_bytes() };
    for (id, name) in keyspaces.iter() {
        let mut candidates = found.take(id);
        candidates.extend(spilled.of(id).map(|meta| {
            let path = lsm_base::FileName::Table(meta.number).path(job.factory.dir);
            Candidate::of_spilled(meta, path)
        }));
        let chains = chain(candidates);
        let written = job.factory.write((id, name), LEVELS - 1, |writer| {
            Merge { job, chains, heap: BinaryHeap::new(), ledger, progress: &mut progress }
                .run(writer)
        })?;
        tables.extend(written);
    }
    // What is left is of keyspaces that were dropped.
    ledger.report.tables_skipped += found.len() as u64;
    for table in &tables {
        let source = table.source(job.factory.fs, job.factory.dir);
        Table::new(source, ReadMode::Pread, BlockCache::new(0)).verify()?;
    }
    Ok(tables)
}

/// How far the reading is.
struct Passed<'a> {
    job: &'a Job<'a>,
    done: u64,
}

/// Tables with disjoint keys, in their order.
struct Chain {
    tables: VecDeque<Candidate>,
    open: Option<(Candidate, Salvage)>,
}

/// As few chains as hold all of the tables. One whose bounds are not known stands alone.
fn chain(mut tables: Vec<Candidate>) -> Vec<Chain> {
    let alone = tables.extract_if(.., |table| table.bounds.is_none());
    let mut chains: Vec<_> = alone.map(|table| VecDeque::from([table])).collect();
    let first = chains.len();
    tables.sort_by(|a, b| a.bounds.cmp(&b.bounds));
    for table in tables {
        let smallest = table.bounds.as_ref().map(|(smallest, _)| smallest);
        let fits = |chain: &&mut VecDeque<Candidate>| {
            let last = chain.back().and_then(|last| last.bounds.as_ref());
            last.map(|(_, largest)| largest) < smallest
        };
        match chains[first..].iter_mut().find(fits) {
            Some(chain) => chain.push_back(table),
            None => chains.push(VecDeque::from([table])),
        }
    }
    chains.into_iter().map(|tables| Chain { tables, open: None }).collect()
}

struct Merge<'a, 'b> {
    job: &'a Job<'a>,
    chains: Vec<Chain>,
    /// The next entry of each chain that has one.
    heap: BinaryHeap<Reverse<(InternalKey, usize)>>,
    ledger: &'b mut Ledger,
    progress: &'b mut Passed<'a>,
}

impl Merge<'_, '_> {
    fn run(mut self, writer: &mut OutputWriter<'_>) -> Result<()> {
        for index in 0..self.chains.len() {
            self.advance(index)?;
        }
        let mut last: Option<Box<[u8]>> = None;
        while let Some(Reverse((key, index))) = self.heap.pop() {
            if last.as_ref().is_some_and(|last| key.user_key < *last) {
                let path = self.chains[index].path(self.job);
                return Err(Error::corruption(&path, 0, format!("{key:?} out of order")));
            }
            if key.kind == Kind::Delete && plant::is_live(Plant::RepairForgetsTombstone) {
                self.advance(index)?;
                continue;
            }
            let is_newest = last.as_ref() != Some(&key.user_key);
            if is_newest && key.kind == Kind::Put {
                writer.add(key.as_ref(), self.chains[index].value())?;
                self.ledger.report.entries += 1;
            }
            last = Some(key.user_key);
            self.advance(index)?;
        }
        Ok(())
    }

    /// Brings the next entry of a chain into the heap.
    fn advance(&mut self, index: usize) -> Result<()> {
        let chain = &mut self.chains[index];
        loop {
            let Some((table, salvage)) = &mut chain.open else {
                let Some(table) = chain.tables.pop_front() else { return Ok(()) };
                let fs = if table.is_spilled { self.job.factory.fs } else { self.job.fs };
                match Salvage::open(&**fs, &table.path, table.identity) {
                    Ok(salvage) => chain.open = Some((table, salvage)),
                    // When it was looked for it could be opened yet.
                    Err(error) if !table.is_spilled && is_damage(&error) => {
                        self.ledger.report.tables_damaged += u64::from(!table.is_damaged);
                        self.ledger.lose(Some(table.keyspace), table.lost_whole(error));
                    }
                    Err(error) => return Err(error),
                }
                continue;
            };
            match salvage.step()? {
                SalvageStep::Entry => {
                    self.progress.job.progress.reach(self.progress.done + salvage.position());
                    self.heap.push(Reverse((salvage.key().to_owned(), index)));
                    return Ok(());
                }
                SalvageStep::Lost(blocks) if table.is_spilled => return Err(blocks.error),
                SalvageStep::Lost(blocks) => {
                    if !std::mem::replace(&mut table.is_damaged, true) {
                        self.ledger.report.tables_damaged += 1;
                    }
                    self.ledger.lose(Some(table.keyspace), table.lost(blocks));
                }
                SalvageStep::End => {
                    self.progress.done += table.len;
                    chain.open = None;
                }
            }
        }
    }
}

impl Chain {
    /// The value of the entry that went into the heap last.
    fn value(&self) -> &[u8] {
        self.open.as_ref().map_or(&[], |(_, salvage)| salvage.value())
    }

    fn path(&self, job: &Job<'_>) -> std::path::PathBuf {
        self.open.as_ref().map_or(job.source, |(table, _)| &table.path).to_owned()
    }
}
