//! What CURRENT and the MANIFESTs still say of the store.
//!
//! A MANIFEST is *believed* if it can be read to its end, CURRENT names it or, without CURRENT, no
//! newer one is there, and nothing in the directory contradicts it. Then it says which tables count
//! and which keyspaces live. If not, each of its edits that is whole is taken for itself: ids and
//! numbers are never used again, so what one edit says of a table or keyspace that it names stays
//! true but for what later edits delete.
//!
//! Invariant: without a MANIFEST that is believed, a deleted key may come back from a table or a log
//! segment that was obsolete; so a range is told then that has every key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::file_name::FILE_NUMBER_END;
use lsm_base::{Error, FileName, Fs, KeyspaceId, Result, Seq};
use lsm_compaction::edit::LogFloor;
use lsm_compaction::{State, TableMeta, VersionEdit};
use lsm_wal::{Finding, Inspector, ReplayFrom};

use super::last_of;
use super::report::{Ledger, everything, of_error};
use super::source::Unreadable;
use super::tables::Found;
use crate::manifest;
use crate::recovery::lsn;

/// What is known without a look at tables and log.
#[derive(Default)]
pub(super) struct Evidence {
    state: Option<State>,
    /// What stands behind the last edit of that MANIFEST, in bytes.
    dropped_bytes: Option<u64>,
    /// Why the MANIFEST is not believed, and where.
    doubt: Option<(PathBuf, String)>,
    /// What is wrong with CURRENT and the MANIFEST.
    damage: Vec<Error>,
    /// Every keyspace that an edit created, and those that one dropped.
    pub(super) names: BTreeMap<KeyspaceId, String>,
    pub(super) dropped: BTreeSet<KeyspaceId>,
    /// Every table that an edit added, and those that one deleted for good.
    pub(super) tables: BTreeMap<u64, Arc<TableMeta>>,
    pub(super) dead: BTreeSet<u64>,
    /// Tables from here on were begun after the MANIFEST was.
    first_new_table: u64,
    log_floor: LogFloor,
    owner: u128,
    /// Whose the log is: the store's, if any segment is.
    log_owner: Option<u128>,
    pub(super) next_keyspace_id: u32,
    pub(super) first_seq: Seq,
    pub(super) last_seq: Seq,
}

impl Evidence {
    /// Reads CURRENT and every MANIFEST.
    pub(super) fn gather(
        fs: &Arc<dyn Fs>,
        unreadable: &Unreadable,
        dir: &Path,
        files: &BTreeSet<FileName>,
    ) -> Result<Evidence> {
        let mut evidence = Evidence::default();
        let numbers = files.iter().rev().filter_map(|file| match file {
            FileName::Manifest(number) => Some(*number),
            _ => None,
        });
        let current = evidence.tolerate(manifest::read_current(&**fs, dir))?;
        let Some(chosen) = current.or(numbers.clone().next()) else {
            evidence.doubt = Some((dir.to_owned(), "there is no MANIFEST".into()));
            return Ok(evidence.begin_with(segments_owner(fs, dir, files, None)?));
        };
        let path = FileName::Manifest(chosen).path(dir);
        let read = manifest::read(fs, dir, chosen).and_then(|(state, journal)| {
            // What looks like an edit that was cut short may be one that cannot be read.
            unreadable.check(&path)?;
            match state.log_floor.first_segment < FILE_NUMBER_END {
                true => Ok((state, journal.dropped_bytes)),
                false => Err(Error::corruption(&path, 0, "the log begins at no segment")),
            }
        });
        (evidence.state, evidence.dropped_bytes) = evidence.tolerate(read)?.unzip();
        let owner = evidence.state.as_ref().map(|state| state.header.db_id);
        let of_log = segments_owner(fs, dir, files, owner)?;
        evidence.log_owner = of_log;
        if evidence.state.is_none() {
            evidence.doubt = Some((path, "it cannot be read to its end".into()));
        }
        let mut evidence = evidence.begin_with(owner.or(of_log));
        for number in [chosen].into_iter().chain(numbers.filter(|number| *number != chosen)) {
            evidence.read_edits(fs, dir, number)?;
        }
        Ok(evidence)
    }

    /// The state of the MANIFEST, if that is believed.
    pub(super) fn believed(&self) -> Option<&State> {
        self.state.as_ref().filter(|_| self.doubt.is_none())
    }

    /// Looks whether what is there contradicts the MANIFEST: then it is believed no longer, and
    /// `false`. What an edit deletes goes when the edit is synced, so where something is missing while
    /// there is a table that nothing mentions, the MANIFEST has lost its last edit.
    pub(super) fn settle(&mut self, found: &Found, files: &BTreeSet<FileName>, dir: &Path) -> bool {
        let Some(state) = self.believed() else { return true };
        if !found.has_one_that_is_named()
            && let Some(why) = self.contradiction(found)
        {
            let (damage, doubt) = (std::mem::take(&mut self.damage), (dir.to_owned(), why.into()));
            *self = Evidence { doubt: Some(doubt), damage, ..Evidence::default() }
                .begin_with(self.log_owner);
            return false;
        }
        let LogFloor { first_segment, highest_segment, .. } = state.log_floor;
        let numbers = files.iter().filter_map(|file| match file {
            FileName::Log(number) if first_segment <= *number => Some(*number),
            _ => None,
        });
        // A segment is made ready only when the one before it is in use.
        let newest = numbers.clone().next_back().unwrap_or(0);
        let last = highest_segment.max(newest.saturating_sub(1));
        let there = numbers.take_while(|number| *number <= last).count() as u64;
        let is_log_short = there < last.saturating_add(1).saturating_sub(first_segment);
        let is_short = found.is_missing_some() || is_log_short;
        let is_new = |file: &FileName| match file {
            FileName::Table(number) => {
                self.first_new_table <= *number && !self.tables.contains_key(number)
            }
            _ => false,
        };
        if is_short && files.iter().any(is_new) {
            let why = "it ends before tables that are there, and what it names is gone";
            self.doubt = Some((dir.to_owned(), why.into()));
        }
        self.doubt.is_none()
    }

    /// What says that the MANIFEST is another store's. That none of its tables is there must be known:
    /// one that is there speaks for it, whatever other files were put beside it.
    fn contradiction(&self, found: &Found) -> Option<&'static str> {
        match self.log_owner {
            Some(owner) if owner == self.owner => None,
            Some(_) => Some("it belongs to another store than the log"),
            None if found.has_only_others() => Some("it belongs to another store than the tables"),
            None => None,
        }
    }

    /// Tells what is wrong.
    pub(super) fn tell(&self, ledger: &mut Ledger) {
        self.damage.iter().for_each(|error| ledger.note_damage(error));
        let Some((path, why)) = &self.doubt else {
            ledger.report.manifest_bytes_dropped = self.dropped_bytes.unwrap_or(0);
            return;
        };
        let damage = self.damage.last().map(|error| of_error(path, error));
        let range = damage.unwrap_or_else(|| everything(path, 0, ""));
        let detail = match range.detail.is_empty() {
            true => format!("the MANIFEST is not believed: {why}"),
            false => format!("the MANIFEST is not believed: {why}: {}", range.detail),
        };
        ledger.lose(None, super::LostRange { detail, ..range });
    }

    /// Where the log is to be read from.
    pub(super) fn replay_from(&self, files: &BTreeSet<FileName>) -> ReplayFrom {
        let lowest = files.iter().find_map(|file| match file {
            FileName::Log(number) => Some(*number),
            _ => None,
        });
        let believed = self.believed();
        // A MANIFEST that CURRENT does not name yet has a higher floor, and tables in place of the log.
        let floor = believed.map_or(self.log_floor, |state| state.log_floor);
        ReplayFrom {
            first_segment: match floor.first_segment {
                // A floor that an older edit tells holds: it only rises.
                0 => lowest.unwrap_or(1),
                first => first,
            },
            synced: lsn(floor.synced),
            highest_used: floor.highest_segment,
            names_all: believed.is_some(),
            clean_end: believed.and_then(|state| state.clean_close).map(lsn),
            owner: self.owner,
        }
    }

    fn begin_with(mut self, owner: Option<u128>) -> Evidence {
        self.owner = owner.unwrap_or(0);
        self
    }

    /// Takes each edit of a MANIFEST that is whole.
    fn read_edits(&mut self, fs: &Arc<dyn Fs>, dir: &Path, number: u64) -> Result<()> {
        let path = FileName::Manifest(number).path(dir);
        let inspector = match Inspector::open(&**fs, &path) {
            Ok(inspector) if inspector.header().owner == self.owner || self.owner == 0 => inspector,
            Err(error) if !is_damage(&error) => return Err(error),
            _ => return Ok(()),
        };
        let mut dead = BTreeSet::new();
        for finding in inspector {
            let Finding::Record(record) = finding? else { continue };
            let Some(payload) = &record.payload else { continue };
            match VersionEdit::decode(payload, &path, record.payload_offset()) {
                Ok(edit) => self.take(&edit, &mut dead),
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error),
            }
        }
        // What one MANIFEST moved, a newer one may have deleted.
        self.dead.append(&mut dead);
        Ok(())
    }

    fn take(&mut self, edit: &VersionEdit, dead: &mut BTreeSet<u64>) {
        if let (0, Some(next)) = (self.first_new_table, edit.next_file_number) {
            self.first_new_table = next;
        }
        for created in &edit.created_keyspaces {
            self.names.entry(created.id).or_insert_with(|| created.name.clone());
            self.next_keyspace_id = self.next_keyspace_id.max(created.id.0.saturating_add(1));
        }
        self.dropped.extend(edit.dropped_keyspaces.iter().map(|dropped| dropped.id));
        dead.extend(edit.deleted_tables.iter().map(|deleted| deleted.number));
        for added in &edit.added_tables {
            // A table that moves is deleted and added by one edit.
            dead.remove(&added.table.number);
            self.tables.insert(added.table.number, Arc::clone(&added.table));
        }
        if let Some(LogFloor { first_segment, synced, highest_segment }) = edit.log_floor {
            let floor = &mut self.log_floor;
            floor.first_segment = floor.first_segment.max(first_segment);
            floor.synced = floor.synced.max(synced);
            floor.highest_segment = floor.highest_segment.max(highest_segment);
        }
        self.next_keyspace_id = self.next_keyspace_id.max(edit.next_keyspace_id.unwrap_or(0));
        self.first_seq = self.first_seq.max(edit.first_seq.unwrap_or_default());
        let added = edit.added_tables.iter().map(|added| added.table.max_seq);
        let dropped = edit.dropped_keyspaces.iter().map(|dropped| dropped.seq);
        self.last_seq = last_of(added.chain(dropped).chain(edit.last_seq).chain([self.last_seq]));
    }

    /// What was read, or nothing if it is damaged or gone.
    fn tolerate<T>(&mut self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_damage(&error) => {
                self.damage.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether an error says that bytes are damaged, or a file gone: what a repair is for.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Corruption { .. }) || error.is_not_found()
}

/// Whose the log is: `wanted` if any segment is, else that of the newest segment; `None` if there is
/// none that can be read.
fn segments_owner(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    files: &BTreeSet<FileName>,
    wanted: Option<u128>,
) -> Result<Option<u128>> {
    let mut newest = None;
    for file in files.iter().rev().filter(|file| matches!(file, FileName::Log(_))) {
        let owner = match Inspector::open(&**fs, &file.path(dir)) {
            Ok(inspector) => inspector.header().owner,
            Err(error) if is_damage(&error) => continue,
            Err(error) => return Err(error),
        };
        newest = newest.or(Some(owner));
        if wanted.is_none_or(|wanted| wanted == owner) {
            return Ok(Some(owner));
        }
    }
    Ok(newest)
}
