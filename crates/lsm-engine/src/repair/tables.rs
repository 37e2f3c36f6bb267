//! The tables that count, and where they are.
//!
//! A MANIFEST that is believed names them, by number and id: a table that lies under the number of
//! another is found by its id. Without one every table file counts that no edit has deleted, and says
//! itself which keyspace it is of.
//!
//! Invariant: a table that counts is found, or a range is told that has all of its keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::plant::{self, Plant};
use lsm_base::{Error, FileName, Fs, KeyspaceId, Result, Seq};
use lsm_compaction::TableMeta;
use lsm_sstable::{LostBlocks, Salvage, TableIdentity};

use super::evidence::{Evidence, is_damage};
use super::report::{Ledger, LostRange, of_error};

/// The first and the last user key of a table.
type Bounds = (Box<[u8]>, Box<[u8]>);

/// A table that is to be read.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) identity: Option<TableIdentity>,
    pub(super) keyspace: KeyspaceId,
    name: Option<String>,
    pub(super) len: u64,
    /// Its first and last user key, if they are known.
    pub(super) bounds: Option<Bounds>,
    /// Whether it was counted among the damaged ones.
    pub(super) is_damaged: bool,
    /// Whether the repair wrote it, so that damage in it is no loss but a failure.
    pub(super) is_spilled: bool,
}

/// The tables that count.
#[derive(Default)]
pub(super) struct Found {
    tables: Vec<Candidate>,
    missing: usize,
    /// Whether there are tables, and several that the MANIFEST names, and none is both.
    has_only_others: bool,
}

impl Found {
    /// The bytes of their files.
    pub(super) fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.len).sum()
    }

    /// Whether one that the MANIFEST names is gone.
    pub(super) const fn is_missing_some(&self) -> bool {
        self.missing != 0
    }

    /// Whether a table is there that the MANIFEST names.
    pub(super) const fn has_one_that_is_named(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Whether the MANIFEST speaks of other tables than those that are there. Of one that it names
    /// this says nothing: that may be lost, and another store's in its place.
    pub(super) const fn has_only_others(&self) -> bool {
        self.has_only_others
    }

    /// The keyspaces that they are of.
    pub(super) fn keyspaces(&self) -> impl Iterator<Item = KeyspaceId> {
        self.tables.iter().map(|table| table.keyspace)
    }

    /// What they say that their keyspaces are called.
    pub(super) fn names(&self) -> impl Iterator<Item = (KeyspaceId, &str)> {
        self.tables.iter().filter_map(|table| Some((table.keyspace, table.name.as_deref()?)))
    }

    /// Takes out those of a keyspace.
    pub(super) fn take(&mut self, keyspace: KeyspaceId) -> Vec<Candidate> {
        self.tables.extract_if(.., |table| table.keyspace == keyspace).collect()
    }

    /// How many are left.
    pub(super) const fn len(&self) -> usize {
        self.tables.len()
    }
}

impl Candidate {
    /// A table that a MANIFEST describes, in this file.
    pub(super) fn of_meta(meta: &TableMeta, path: PathBuf) -> Candidate {
        Candidate {
            path,
            identity: Some(identity(meta)),
            keyspace: meta.keyspace,
            name: None,
            len: meta.len,
            bounds: Some((meta.smallest.user_key.clone(), meta.largest.user_key.clone())),
            is_damaged: false,
            is_spilled: false,
        }
    }

    /// A table that the repair wrote.
    pub(super) fn of_spilled(meta: &TableMeta, path: PathBuf) -> Candidate {
        Candidate { is_spilled: true, ..Candidate::of_meta(meta, path) }
    }

    /// The range of all of it, when it cannot be opened any more.
    pub(super) fn lost_whole(&self, error: Error) -> LostRange {
        self.lost(LostBlocks { offset: 0, len: self.len, first: None, last: None, error })
    }

    /// The range of a stretch of it that is lost.
    pub(super) fn lost(&self, blocks: LostBlocks) -> LostRange {
        let (smallest, largest) = self.bounds.clone().unzip();
        LostRange {
            len: blocks.len,
            offset: blocks.offset,
            first_key: blocks.first.or(smallest).map(Vec::from),
            last_key: blocks.last.or(largest).map(Vec::from),
            ..of_error(&self.path, &blocks.error)
        }
    }
}

/// Finds the tables that count.
pub(super) fn find(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    files: &BTreeSet<FileName>,
    evidence: &Evidence,
    ledger: &mut Ledger,
) -> Result<Found> {
    let mut search = Search { fs, dir, files, ids: None, found: Found::default(), ledger };
    let believed = evidence.believed().filter(|_| !plant::is_live(Plant::RepairReadsObsolete));
    match believed {
        Some(state) => {
            for meta in state.version.tables() {
                search.find_named(meta)?;
            }
            search.compare();
        }
        None => search.find_all(evidence)?,
    }
    let Search { found, .. } = search;
    let there = files.iter().filter(|file| matches!(file, FileName::Table(_))).count();
    ledger.report.tables_skipped = (there as u64).saturating_sub(found.len() as u64);
    Ok(found)
}

struct Search<'a> {
    fs: &'a Arc<dyn Fs>,
    dir: &'a Path,
    files: &'a BTreeSet<FileName>,
    /// Which file has which table, once that was looked up.
    ids: Option<BTreeMap<u64, PathBuf>>,
    found: Found,
    ledger: &'a mut Ledger,
}

impl Search<'_> {
    fn find_named(&mut self, meta: &TableMeta) -> Result<()> {
        self.ledger.last_seq = self.ledger.last_seq.max(meta.max_seq);
        let path = FileName::Table(meta.number).path(self.dir);
        let error = match self.open(&path, Some(identity(meta)))? {
            Ok(salvage) => {
                self.add(Candidate::of_meta(meta, path), &salvage);
                return Ok(());
            }
            Err(error) => error,
        };
        if let Some(other) = self.path_of(meta.id)?
            && let Ok(salvage) = self.open(&other, Some(identity(meta)))?
        {
            self.add(Candidate::of_meta(meta, other), &salvage);
            return Ok(());
        }
        self.lose(meta, &error);
        Ok(())
    }

    fn compare(&mut self) {
        let has_tables = self.ids.as_ref().is_some_and(|ids| !ids.is_empty());
        let found = &mut self.found;
        found.has_only_others = found.tables.is_empty() && 1 < found.missing && has_tables;
    }

    fn find_all(&mut self, evidence: &Evidence) -> Result<()> {
        let mut ids = BTreeSet::new();
        for file in self.files {
            let FileName::Table(number) = *file else { continue };
            if evidence.dead.contains(&number) {
                continue;
            }
            let path = file.path(self.dir);
            let mut meta = None;
            let mut opened = self.open(&path, None)?;
            if let Ok(salvage) = &opened {
                let is_it = |meta: &&Arc<TableMeta>| meta.id == salvage.id();
                meta = evidence.tables.values().find(is_it);
            } else if let Some(told) = evidence.tables.get(&number) {
                // What the file no longer says, an edit may.
                meta = Some(told);
                opened = self.open(&path, Some(identity(told)))?;
            }
            let is_told = meta.is_some();
            match opened {
                Ok(salvage) => {
                    let Some(candidate) = candidate_of(path.clone(), meta, &salvage) else {
                        self.lose_unknown(&path, salvage.frame_damage());
                        continue;
                    };
                    let max_seq = salvage.properties().map_or(Seq::ZERO, |known| known.max_seq);
                    self.ledger.last_seq = self.ledger.last_seq.max(max_seq);
                    ids.insert(salvage.id());
                    self.add(candidate, &salvage);
                }
                Err(_) if is_told => {}
                Err(error) => self.lose_unknown(&path, Some(&error)),
            }
        }
        let is_gone = |meta: &&Arc<TableMeta>| {
            !evidence.dead.contains(&meta.number)
                && !evidence.dropped.contains(&meta.keyspace)
                && !ids.contains(&meta.id)
        };
        for meta in evidence.tables.values().filter(is_gone) {
            let path = FileName::Table(meta.number).path(self.dir);
            self.lose(meta, &Error::MissingFile(path));
        }
        Ok(())
    }

    fn add(&mut self, mut candidate: Candidate, salvage: &Salvage) {
        self.ledger.report.tables_read += 1;
        if let Some(error) = salvage.frame_damage() {
            self.ledger.note_damage(error);
            self.ledger.report.tables_damaged += 1;
            candidate.is_damaged = true;
        }
        self.found.tables.push(candidate);
    }

    /// Notes that a table is lost of which the MANIFEST tells.
    fn lose(&mut self, meta: &TableMeta, error: &Error) {
        self.found.missing += 1;
        self.ledger.report.tables_damaged += 1;
        let path = FileName::Table(meta.number).path(self.dir);
        let (first, last) = meta.bounds();
        let range = LostRange {
            len: meta.len,
            first_key: Some(first.into()),
            last_key: Some(last.into()),
            ..of_error(&path, error)
        };
        self.ledger.lose(Some(meta.keyspace), range);
    }

    /// Notes that a table is lost of which nothing is known.
    fn lose_unknown(&mut self, path: &Path, error: Option<&Error>) {
        self.ledger.report.tables_damaged += 1;
        let unknown = Error::corruption(path, 0, "nothing says which keyspace it is of");
        self.ledger.lose(None, of_error(path, error.unwrap_or(&unknown)));
    }

    /// Opens what is left of a table; an error inside is damage.
    fn open(
        &self,
        path: &Path,
        identity: Option<TableIdentity>,
    ) -> Result<std::result::Result<Salvage, Error>> {
        match Salvage::open(&**self.fs, path, identity) {
            Err(error) if !is_damage(&error) => Err(error),
            opened => Ok(opened),
        }
    }

    /// The file of the table with this id.
    fn path_of(&mut self, id: u64) -> Result<Option<PathBuf>> {
        if self.ids.is_none() {
            let mut ids = BTreeMap::new();
            for file in self.files.iter().filter(|file| matches!(file, FileName::Table(_))) {
                let path = file.path(self.dir);
                if let Ok(salvage) = self.open(&path, None)? {
                    ids.insert(salvage.id(), path);
                }
            }
            self.ids = Some(ids);
        }
        Ok(self.ids.as_ref().and_then(|ids| ids.get(&id)).cloned())
    }
}

fn identity(meta: &TableMeta) -> TableIdentity {
    TableIdentity { id: meta.id, len: meta.len, entries: meta.entries }
}

/// A table that is known by an edit or by what it says itself.
fn candidate_of(
    path: PathBuf,
    meta: Option<&Arc<TableMeta>>,
    salvage: &Salvage,
) -> Option<Candidate> {
    let properties = salvage.properties();
    let name = properties.map(|known| known.keyspace_name.clone());
    if let Some(meta) = meta {
        return Some(Candidate { name, ..Candidate::of_meta(meta, path) });
    }
    let known = properties?;
    Some(Candidate {
        path,
        identity: None,
        keyspace: known.keyspace,
        name,
        len: salvage.file_len(),
        bounds: Some((known.smallest.user_key.clone(), known.largest.user_key.clone())),
        is_damaged: false,
        is_spilled: false,
    })
}
