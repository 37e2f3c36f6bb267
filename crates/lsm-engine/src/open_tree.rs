//! The tree of a version with its tables at hand, so that a read looks nothing up.
//!
//! Opening a tree opens no file: a table does that at its first use. A level that a new version
//! shares with the one before is shared here too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsm_base::{KeyspaceId, Kind, Result, Seq};
use lsm_compaction::{Compaction, State, TableMeta, Tree};
use lsm_sstable::{CursorMode, Resident, RunTable, SortedRun, Table, TableEntry};

use crate::filter_checks::FilterCounters;
use crate::source::Source;

/// Every keyspace's tree, with its tables.
#[derive(Debug)]
pub(crate) struct OpenVersion {
    pub(crate) state: Arc<State>,
    trees: BTreeMap<KeyspaceId, Arc<OpenTree>>,
}

impl OpenVersion {
    /// The tables of `state`, taken from `previous` where they are open already and made by `open`
    /// where they are not.
    pub(crate) fn new(
        state: Arc<State>,
        previous: Option<&OpenVersion>,
        open: impl Fn(&TableMeta) -> Arc<Table>,
    ) -> OpenVersion {
        let known = previous.map(OpenVersion::tables_by_number).unwrap_or_default();
        let find =
            |meta: &TableMeta| known.get(&meta.number).cloned().unwrap_or_else(|| open(meta));
        let mut trees = BTreeMap::new();
        for (keyspace, tree) in state.version.trees() {
            let before = previous.and_then(|version| version.trees.get(&keyspace));
            let tree = match before {
                Some(open) if Arc::ptr_eq(&open.tree, tree) => Arc::clone(open),
                _ => Arc::new(OpenTree::new(tree, before, &find)),
            };
            trees.insert(keyspace, tree);
        }
        OpenVersion { state, trees }
    }

    /// The tree of a keyspace; `None` if it was dropped.
    pub(crate) fn tree(&self, keyspace: KeyspaceId) -> Option<&OpenTree> {
        self.trees.get(&keyspace).map(Arc::as_ref)
    }

    /// Every table.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&Arc<TableMeta>, &Arc<Table>)> {
        self.trees.values().flat_map(|tree| tree.tables())
    }

    /// The tables that another version lacks, by number.
    pub(crate) fn tables_not_in(&self, other: &OpenVersion) -> Vec<(u64, Arc<Table>)> {
        let kept: BTreeSet<u64> = other.tables().map(|(meta, _)| meta.number).collect();
        self.tables()
            .filter(|(meta, _)| !kept.contains(&meta.number))
            .map(|(meta, table)| (meta.number, Arc::clone(table)))
            .collect()
    }

    fn tables_by_number(&self) -> BTreeMap<u64, Arc<Table>> {
        self.tables().map(|(meta, table)| (meta.number, Arc::clone(table))).collect()
    }
}

/// One keyspace's levels.
#[derive(Debug)]
pub(crate) struct OpenTree {
    tree: Arc<Tree>,
    levels: Vec<OpenLevel>,
    /// The runs of the levels below level 0 that hold tables.
    runs: Vec<Arc<SortedRun>>,
}

#[derive(Clone, Debug)]
struct OpenLevel {
    metas: Arc<[Arc<TableMeta>]>,
    /// The tables, in the order of `metas`.
    tables: Arc<[Arc<Table>]>,
    /// The same as a sorted run; level 0 is none.
    run: Arc<SortedRun>,
}

impl OpenTree {
    fn new(
        tree: &Arc<Tree>,
        before: Option<&Arc<OpenTree>>,
        find: &impl Fn(&TableMeta) -> Arc<Table>,
    ) -> OpenTree {
        let open_level = |(number, metas): (usize, &Arc<[Arc<TableMeta>]>)| {
            let same = before.map(|open| &open.levels[number]);
            if let Some(level) = same.filter(|level| Arc::ptr_eq(&level.metas, metas)) {
                return level.clone();
            }
            let tables: Arc<[_]> = metas.iter().map(|meta| find(meta)).collect();
            let run = match number {
                0 => Arc::default(),
                _ => sorted_run(metas.iter().zip(tables.iter())),
            };
            OpenLevel { metas: Arc::clone(metas), tables, run }
        };
        let levels: Vec<_> = tree.levels().iter().enumerate().map(open_level).collect();
        let runs = levels.iter().skip(1).filter(|level| !level.tables.is_empty());
        let runs = runs.map(|level| Arc::clone(&level.run)).collect();
        OpenTree { tree: Arc::clone(tree), levels, runs }
    }

    /// The newest version of a key that a reader at `seq` sees, given to `take`.
    pub(crate) fn get_with<R>(
        &self,
        user_key: &[u8],
        hash: u64,
        seq: Seq,
        filters: &FilterCounters,
        mut take: impl FnMut(Seq, Kind, &[u8]) -> R,
    ) -> Result<Option<R>> {
        let mut checks = filters.begin();
        self.ask(user_key, |table| {
            let probe = table.probe(hash)?;
            checks.note(probe.is_some());
            let Some(probe) = probe else { return Ok(None) };
            let found = probe.get_with(user_key, seq, &mut take)?;
            checks.note_found(found.is_some());
            Ok(found)
        })
    }

    /// The newest version of a key that a reader at `seq` sees.
    pub(crate) fn get(
        &self,
        user_key: &[u8],
        hash: u64,
        seq: Seq,
        filters: &FilterCounters,
    ) -> Result<Option<TableEntry>> {
        let mut checks = filters.begin();
        self.ask(user_key, |table| {
            let probe = table.probe(hash)?;
            checks.note(probe.is_some());
            let Some(probe) = probe else { return Ok(None) };
            let found = probe.get(user_key, seq)?;
            checks.note_found(found.is_some());
            Ok(found)
        })
    }

    /// Like [`get`](Self::get), as far as that is possible without reading the disk.
    pub(crate) fn get_resident(
        &self,
        user_key: &[u8],
        hash: u64,
        seq: Seq,
        filters: &FilterCounters,
    ) -> Result<Resident<Option<TableEntry>>> {
        let mut checks = filters.begin();
        let answer = self.ask(user_key, |table| {
            let Resident::Known(probe) = table.probe_resident(hash) else {
                return Ok(Some(Resident::WouldTouchDisk));
            };
            checks.note(probe.is_some());
            let Some(probe) = probe else { return Ok(None) };
            let answer = probe.get_resident(user_key, seq)?;
            Ok((answer != Resident::Known(None)).then_some(answer))
        })?;
        let answer = answer.unwrap_or(Resident::Known(None));
        match &answer {
            // It is asked again by whoever may read the disk.
            Resident::WouldTouchDisk => checks.forget(),
            Resident::Known(found) => checks.note_found(found.is_some()),
        }
        Ok(answer)
    }

    /// Every table.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&Arc<TableMeta>, &Arc<Table>)> {
        self.levels.iter().flat_map(|level| level.metas.iter().zip(level.tables.iter()))
    }

    /// A cursor for each table of level 0 and for each level below that holds tables.
    pub(crate) fn sources(&self, mode: CursorMode) -> Vec<Source> {
        let overlapping = self.levels[0].tables.iter();
        let tables = overlapping.map(|table| Source::Table(table.cursor(mode)));
        tables.chain(self.runs.iter().map(|run| Source::Run(run.cursor(mode)))).collect()
    }

    /// Cursors for the inputs of a compaction of this tree.
    pub(crate) fn compaction_sources(&self, compaction: &Compaction) -> Vec<Source> {
        let mode = CursorMode::Compaction;
        let open = |level: usize, meta: &Arc<TableMeta>| {
            let level = &self.levels[level];
            let index = level.metas.iter().position(|other| other.number == meta.number);
            &level.tables[index.expect("the compaction was picked from this tree")]
        };
        let run = |level: usize, metas: &[Arc<TableMeta>]| {
            let tables = metas.iter().map(|meta| (meta, open(level, meta)));
            Source::Run(sorted_run(tables).cursor(mode))
        };
        let Compaction { level, output_level, inputs, overlapped, .. } = compaction;
        let mut sources = match level {
            0 => inputs.iter().map(|meta| Source::Table(open(0, meta).cursor(mode))).collect(),
            _ => vec![run(*level, inputs)],
        };
        if !overlapped.is_empty() {
            sources.push(run(*output_level, overlapped));
        }
        sources
    }

    /// Asks the tables that may hold a key, newest data first: those of level 0, then at most one of
    /// each level below. The first answer is the one.
    #[inline]
    fn ask<R>(
        &self,
        user_key: &[u8],
        mut ask: impl FnMut(&Table) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        let OpenLevel { metas, tables, .. } = &self.levels[0];
        for (meta, table) in metas.iter().zip(tables.iter()) {
            if meta.covers(user_key)
                && let Some(answer) = ask(table)?
            {
                return Ok(Some(answer));
            }
        }
        for run in &self.runs {
            if let Some(table) = run.find(user_key)
                && let Some(answer) = ask(table)?
            {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}

fn sorted_run<'a>(
    tables: impl Iterator<Item = (&'a Arc<TableMeta>, &'a Arc<Table>)>,
) -> Arc<SortedRun> {
    let run = tables.map(|(meta, table)| RunTable {
        table: Arc::clone(table),
        smallest: meta.smallest.user_key.clone(),
        largest: meta.largest.user_key.clone(),
    });
    SortedRun::new(run.collect())
}
