//! Journals: records that are synced one by one, such as the edits of a MANIFEST.
//!
//! A journal has the framing of the log. It grows by appending, and a record is appended only when
//! the one before it is on disk. From that its reader can tell a torn tail from damage: a record
//! header behind a record proves that the record had been synced.
//!
//! Invariant: after an append or a sync that failed, nothing is written to that journal again.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lsm_base::plant::{self, Plant};
use lsm_base::{Error, File, Fs, Result, Seq};

use crate::format::{
    FILE_HEADER_LEN, FileHeader, FileKind, MAX_FILE_LEN, MAX_PAYLOAD_LEN, Place, RECORD_HEADER_LEN,
    RecordKind, encode_record, record_len,
};
use crate::scan::{Found, RecordFile};

/// A journal that is open for appending.
pub struct JournalWriter {
    file: Arc<dyn File>,
    /// Where the next record begins.
    place: Place,
    buffer: Vec<u8>,
    /// What ended the journal.
    failed: Option<Error>,
}

impl JournalWriter {
    /// Begins a journal. Its number is also in its name, `epoch` is a fresh random number, and
    /// `owner` whatever number says whom the journal belongs to.
    ///
    /// The first [`append`](JournalWriter::append) syncs the file. The name is the caller's to
    /// make durable: sync the directory before anything refers to it.
    ///
    /// # Errors
    /// [`Error::Io`] if there is a file at `path`, or the header cannot be written; a file that
    /// was created stays then.
    pub fn create(
        fs: &dyn Fs,
        path: &Path,
        number: u64,
        epoch: u64,
        owner: u128,
    ) -> Result<JournalWriter> {
        let file = fs.create(path)?;
        let header = FileHeader { kind: FileKind::Journal, number, epoch, capacity: 0, owner };
        file.write_all_at(&header.encode(), 0)?;
        let place = Place { number, epoch, offset: FILE_HEADER_LEN };
        Ok(JournalWriter { file, place, buffer: Vec::new(), failed: None })
    }

    /// Appends one record and syncs the file: when this returns, the record survives a power loss.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the payload, or the journal with it, would be too long:
    /// nothing was written. [`Error::Io`] if writing or syncing fails, whatever the cause: whether
    /// the record is in the journal shows at the next open, and every later append gets a clone of
    /// the error.
    pub fn append(&mut self, payload: &[u8]) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let len = record_len(payload.len() as u64);
        if MAX_PAYLOAD_LEN < payload.len() as u64 || MAX_FILE_LEN < self.place.offset + len {
            let detail = format!("a journal record of {} bytes", payload.len());
            return Err(Error::invalid(detail));
        }
        self.buffer.clear();
        let synced = self.place.lsn();
        encode_record(&mut self.buffer, self.place, RecordKind::Edit, Seq::ZERO, synced, payload);
        let written = self.file.write_all_at(&self.buffer, self.place.offset);
        let sync_data = || plant::again(Plant::ManifestSyncTriedAgain, || self.file.sync_data());
        let sync = || plant::unless(Plant::ManifestNotSynced, sync_data);
        if let Err(error) = written.and_then(|()| sync()) {
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.place = self.place.plus(len);
        Ok(())
    }

    /// The length of the journal in bytes, without what a failed append left.
    #[expect(clippy::len_without_is_empty, reason = "a journal is never without its header")]
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.place.offset
    }

    /// Whether an append failed, so that the journal takes no more.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.failed.is_some()
    }
}

impl fmt::Debug for JournalWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalWriter")
            .field("file", &self.file)
            .field("len", &self.len())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// What was found in a journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalReport {
    /// The number in its header.
    pub number: u64,
    /// Whom it belongs to, as its header says. Whether that is right is for the caller to judge.
    pub owner: u128,
    /// How many records were delivered; at least one.
    pub records: u64,
    /// Where the last of them ends.
    pub end: u64,
    /// How many bytes follow it: of a record whose append was cut short.
    pub dropped_bytes: u64,
    /// Why they were dropped; `None` if there are none.
    pub reason: Option<String>,
}

/// Delivers the payload of every record in a journal, and the offset in the file at which it begins.
///
/// A record at the end that is not whole is what a crash left of an append that nobody was told
/// the success of: it is dropped, and reported. The file is only read, and must not be appended to.
///
/// # Errors
/// [`Error::Corruption`] if the file header or the first record is damaged, or a record that
/// another one follows, or more bytes than an append can have left; the records before it were delivered then. [`Error::UnsupportedFormat`] if
/// the journal is of a newer format, [`Error::Io`] if reading fails, and whatever `deliver`
/// answers.
pub fn read_journal(
    fs: &dyn Fs,
    path: &Path,
    deliver: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<JournalReport> {
    let mut file = RecordFile::open_kind(fs, path, FileKind::Journal)?;
    let (mut records, mut end) = (0, FILE_HEADER_LEN);
    let damage = loop {
        match file.record_at(end)? {
            Found::Damage(why) => break why,
            Found::Record(record) if record.header.kind == RecordKind::Edit => {
                deliver(end + RECORD_HEADER_LEN as u64, record.payload)?;
                records += 1;
                end = record.end;
            }
            Found::Record(_) => {
                return Err(file.corruption(end, "a log record in a journal"));
            }
        }
    };
    if records == 0 {
        return Err(file.corruption(end, format!("the first record is damaged: {damage}")));
    }
    let rest = file.len() - end;
    if record_len(MAX_PAYLOAD_LEN) < rest {
        let detail = format!("{damage}, and more bytes follow than one record has: {rest}");
        return Err(file.corruption(end, detail));
    }
    if let Some((next, _)) = file.next_header(end + 1, file.len())? {
        let detail = format!("{damage}, but a record follows at {next}");
        return Err(file.corruption(end, detail));
    }
    let reason = (rest != 0).then(|| format!("{damage} at {end}"));
    let FileHeader { number, owner, .. } = *file.header();
    Ok(JournalReport { number, owner, records, end, dropped_bytes: rest, reason })
}

#[cfg(test)]
mod tests;
