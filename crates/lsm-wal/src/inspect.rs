//! A look at the records of one file, for tools: whole, damaged, or found behind damage.

use std::path::Path;

use lsm_base::{Fs, Result, Seq};

use crate::format::{
    FILE_HEADER_LEN, FileHeader, FileKind, MAX_PAYLOAD_LEN, RECORD_HEADER_LEN, RecordHeader,
    RecordKind, record_len,
};
use crate::lsn::Lsn;
use crate::scan::{Found, RecordFile};

/// The records of one segment or journal, from the first to the end of the file.
///
/// Unlike [`replay`](crate::replay()) it judges nothing and stops at nothing: behind damage it goes
/// on at the next place that has a record header.
pub struct Inspector {
    file: RecordFile,
    next: u64,
    is_done: bool,
}

/// A stretch of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// A record, or at least the header of one.
    Record(RecordInfo),
    /// Bytes that are no record.
    Gap {
        /// Where they begin.
        offset: u64,
        /// How many there are.
        len: u64,
        /// How many of them, up to the last that is not zero, hold anything; 0 for unused space. All
        /// of them, unread, at the end of a journal where no record can be as long.
        content_len: u64,
        /// Why no record begins there.
        detail: &'static str,
    },
}

/// What a record header says, and whether its payload is whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordInfo {
    /// Where the record begins.
    pub offset: u64,
    /// What it is for.
    pub kind: RecordKind,
    /// The sequence that it was appended with; [`Seq::ZERO`] in all but data records.
    pub first_seq: Seq,
    /// Bytes of its payload.
    pub payload_len: u64,
    /// Bytes that it takes in the file.
    pub record_len: u64,
    /// How far the log was synced when it was written.
    pub synced: Lsn,
    /// The payload; `None` if it fails its checksum.
    pub payload: Option<Vec<u8>>,
}

impl Inspector {
    /// Opens a segment or a journal.
    ///
    /// # Errors
    /// [`Error::Corruption`](lsm_base::Error::Corruption) or
    /// [`Error::UnsupportedFormat`](lsm_base::Error::UnsupportedFormat) if its header cannot be
    /// used, since without the epoch no record can be told from noise.
    pub fn open(fs: &dyn Fs, path: &Path) -> Result<Inspector> {
        let file = RecordFile::open(fs, path)?;
        Ok(Inspector { file, next: FILE_HEADER_LEN, is_done: false })
    }

    /// The header of the file.
    #[must_use]
    pub const fn header(&self) -> &FileHeader {
        self.file.header()
    }

    /// The length of the file in bytes.
    #[must_use]
    pub const fn file_len(&self) -> u64 {
        self.file.len()
    }

    fn find(&mut self) -> Result<Option<Finding>> {
        let (offset, file_len) = (self.next, self.file.len());
        if file_len <= offset {
            return Ok(None);
        }
        let (detail, next_from) = match self.file.record_at(offset)? {
            Found::Record(record) => {
                self.next = record.end;
                let info = RecordInfo::new(offset, record.header, Some(record.payload.to_vec()));
                return Ok(Some(Finding::Record(info)));
            }
            Found::Damage(detail) => (detail, offset),
        };
        let search_end = self.search_end(offset);
        let next = self.file.next_header(next_from, search_end)?;
        if let Some((place, header)) = next
            && place == offset
        {
            // Its length stands, so that what is wrong is its payload alone. The search goes on
            // right behind the header all the same: a record may have been written over it.
            let behind = self.file.next_header(offset + 1, offset + header.record_len())?;
            self.next = behind.map_or(offset + header.record_len(), |(place, _)| place);
            return Ok(Some(Finding::Record(RecordInfo::new(offset, header, None))));
        }
        self.next = next.map_or(file_len, |(place, _)| place);
        let content_end = match next {
            // The header that follows is not zero, so nothing needs to be looked for.
            Some((place, _)) => place,
            None if search_end < file_len => file_len,
            None => self.file.content_end(offset)?,
        };
        let (len, content_len) = (self.next - offset, content_end - offset);
        Ok(Some(Finding::Gap { offset, len, content_len, detail }))
    }
}

impl Inspector {
    /// How far behind damage a record is looked for. In a journal a record stands behind a whole one, or
    /// behind one that is damaged: a gap of more than the longest is no place for others, and a file that
    /// was made long by mistake is not read for hours.
    fn search_end(&self, offset: u64) -> u64 {
        let file_len = self.file.len();
        match self.file.header().kind {
            FileKind::Segment => file_len,
            FileKind::Journal => file_len.min(offset + record_len(MAX_PAYLOAD_LEN)),
        }
    }
}

impl Iterator for Inspector {
    type Item = Result<Finding>;

    fn next(&mut self) -> Option<Result<Finding>> {
        if self.is_done {
            return None;
        }
        let finding = self.find().transpose();
        self.is_done = !matches!(finding, Some(Ok(_)));
        finding
    }
}

impl RecordInfo {
    /// Where its payload begins.
    #[must_use]
    pub const fn payload_offset(&self) -> u64 {
        self.offset + RECORD_HEADER_LEN as u64
    }

    fn new(offset: u64, header: RecordHeader, payload: Option<Vec<u8>>) -> RecordInfo {
        RecordInfo {
            offset,
            kind: header.kind,
            first_seq: header.first_seq,
            payload_len: u64::from(header.payload_len),
            record_len: header.record_len(),
            synced: header.synced,
            payload,
        }
    }
}
