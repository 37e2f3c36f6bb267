//! What a repair tells: what it kept, and every range in which something may be lost.

use std::fmt;
use std::path::{Path, PathBuf};

use lsm_base::plant::{self, Plant};
use lsm_base::{Error, KeyspaceId, Seq};

use super::keyspaces::Keyspaces;
use super::source::Unreadable;

/// What a repair read and kept, and what is lost.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// Tables that were read.
    pub tables_read: u64,
    /// Tables of which something is damaged or missing, whether it cost anything or not.
    pub tables_damaged: u64,
    /// Tables that belong to nobody any more, and were left out.
    pub tables_skipped: u64,
    /// Log records that were read.
    pub log_records: u64,
    /// Bytes of log that are lost, as far as they can be counted.
    pub log_bytes_lost: u64,
    /// Bytes at the end of an unclean log that did not survive its end, which is no loss: see
    /// [`RecoveryReport::dropped_bytes`](crate::RecoveryReport::dropped_bytes).
    pub log_bytes_dropped: u64,
    /// Bytes at the end of the MANIFEST that are no whole edit, as a crash leaves them, which is no
    /// loss: see [`RecoveryReport::manifest_dropped_bytes`](crate::RecoveryReport::manifest_dropped_bytes).
    pub manifest_bytes_dropped: u64,
    /// Keys that the repaired store has.
    pub entries: u64,
    /// Keyspaces whose name nothing told, by the names that they were given.
    pub guessed_names: Vec<String>,
    /// Damage of CURRENT, MANIFEST or a table's frame, and what could not be read, whether it cost
    /// anything or not.
    pub damage: Vec<String>,
    /// Every range in which something may be lost.
    pub lost: Vec<LostRange>,
}

impl RepairReport {
    /// Whether nothing is lost.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.lost.is_empty()
    }

    /// Whether a lost range has this key. Of every other key the repaired store has what was written
    /// last.
    #[must_use]
    pub fn covers(&self, keyspace: &str, key: &[u8]) -> bool {
        self.lost.iter().any(|lost| lost.covers(keyspace, key))
    }
}

/// A range in which writes may be lost. A key in it may have an older value than its last, or one
/// although it was deleted, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LostRange {
    /// The file.
    pub file: PathBuf,
    /// Where in it the damage begins.
    pub offset: u64,
    /// How many bytes are lost; 0 if that is not known.
    pub len: u64,
    /// The keyspace; `None` is every one.
    pub keyspace: Option<String>,
    /// No key in the range is smaller; `None` if that is not known.
    pub first_key: Option<Vec<u8>>,
    /// No key in the range is larger; `None` if that is not known.
    pub last_key: Option<Vec<u8>>,
    /// What is lost was written after this sequence, if that is known.
    pub after_seq: Option<Seq>,
    /// What is lost was written before this sequence, if that is known.
    pub before_seq: Option<Seq>,
    /// What is wrong.
    pub detail: String,
}

impl LostRange {
    /// Whether the range has this key.
    #[must_use]
    pub fn covers(&self, keyspace: &str, key: &[u8]) -> bool {
        self.keyspace.as_deref().is_none_or(|name| name == keyspace)
            && self.first_key.as_deref().is_none_or(|first| first <= key)
            && self.last_key.as_deref().is_none_or(|last| key <= last)
    }
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.file.display(), self.offset)?;
        if self.len != 0 {
            write!(f, ", {} bytes", self.len)?;
        }
        write!(f, ": {}; lost may be ", self.detail)?;
        match &self.keyspace {
            Some(name) => write!(f, "keys of {name}")?,
            None => write!(f, "any key")?,
        }
        if let Some(first) = &self.first_key {
            write!(f, " from \"{}\"", first.escape_ascii())?;
        }
        if let Some(last) = &self.last_key {
            write!(f, " to \"{}\"", last.escape_ascii())?;
        }
        if let Some(after) = self.after_seq {
            write!(f, ", written after {after}")?;
        }
        if let Some(before) = self.before_seq {
            write!(f, ", written before {before}")?;
        }
        Ok(())
    }
}

/// The report while it is made: keyspaces go by their ids.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) report: RepairReport,
    /// Of each lost range the keyspace.
    keyspaces: Vec<Option<KeyspaceId>>,
    /// The last sequence that was seen.
    pub(super) last_seq: Seq,
}

impl Ledger {
    /// Notes a range. `keyspace` stands for its name, which may not be known yet.
    pub(super) fn lose(&mut self, keyspace: Option<KeyspaceId>, range: LostRange) {
        if plant::is_live(Plant::RepairLossUntold) {
            return;
        }
        self.keyspaces.push(keyspace);
        self.report.lost.push(range);
    }

    /// Notes damage that need not have cost anything.
    pub(super) fn note_damage(&mut self, error: &Error) {
        self.report.damage.push(error.to_string());
    }

    /// Forgets what was noted of the tables: they are looked at again.
    pub(super) fn begin_anew(&mut self) {
        *self = Ledger::default();
    }

    /// The report, now that the names are known.
    pub(super) fn report(mut self, keyspaces: &Keyspaces, unreadable: &Unreadable) -> RepairReport {
        for (range, keyspace) in self.report.lost.iter_mut().zip(self.keyspaces) {
            range.keyspace = keyspace.and_then(|id| keyspaces.name(id)).map(str::to_owned);
            // What it was taken for says less.
            if let Some(why) = unreadable.why(&range.file, range.offset, range.len) {
                range.detail = why;
            }
        }
        self.report.damage.extend(unreadable.lines());
        self.report.guessed_names = keyspaces.guessed().to_vec();
        self.report
    }
}

/// A range about which nothing is known but the file.
pub(super) fn everything(file: &Path, offset: u64, detail: impl Into<String>) -> LostRange {
    LostRange {
        file: file.to_owned(),
        offset,
        len: 0,
        keyspace: None,
        first_key: None,
        last_key: None,
        after_seq: None,
        before_seq: None,
        detail: detail.into(),
    }
}

/// A range that an error of a file stands for.
pub(super) fn of_error(path: &Path, error: &Error) -> LostRange {
    match error {
        Error::Corruption { path, offset, detail } => everything(path, *offset, detail.clone()),
        Error::MissingFile(path) => everything(path, 0, "the file is missing"),
        error => everything(path, 0, error.to_string()),
    }
}
