//! Reading records from a file that may be damaged anywhere.
//!
//! [`RecordFile`] answers two questions about any place of a segment or journal: is there a whole
//! record here, and where is the next record header at or behind it? Nothing is concluded; what
//! the answers mean is for [`replay`](crate::replay()) and [`read_journal`](crate::read_journal()).
//!
//! Invariant: memory stays below the file's length and one chunk. A payload is read only after its
//! header has vouched for its length, and a length ends inside the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_base::{Error, File, FileName, Fs, Result};

use crate::format::{
    ALIGNMENT, FILE_HEADER_LEN, FileHeader, FileKind, MAX_FILE_LEN, Place, RECORD_HEADER_LEN,
    RecordHeader, body_is_whole,
};

/// How much is read at once.
const CHUNK_LEN: u64 = 256 << 10;

/// Where the reading of a file ends: behind the longest that there can be, so that one which is longer
/// does not pass for whole.
const READ_END: u64 = MAX_FILE_LEN + 1;

/// A segment or journal, open for reading.
pub(crate) struct RecordFile {
    header: FileHeader,
    path: PathBuf,
    window: Window,
}

/// What stands at a place.
pub(crate) enum Found<'a> {
    /// A record whose header and payload are as they were written.
    Record(RawRecord<'a>),
    /// Something else; why it is no record.
    Damage(&'static str),
}

/// A whole record.
pub(crate) struct RawRecord<'a> {
    pub(crate) header: RecordHeader,
    pub(crate) payload: &'a [u8],
    /// Where the next record would begin.
    pub(crate) end: u64,
}

impl RecordFile {
    /// Opens a file of either kind and checks its header against its name and length.
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> Result<RecordFile> {
        let file = fs.open(path)?;
        // No record stands beyond, whatever else may.
        let len = file.len()?.min(READ_END);
        let mut window = Window { file, len, start: 0, bytes: Vec::new() };
        if len < FILE_HEADER_LEN {
            return Err(Error::corruption(path, len, "the file ends within its header"));
        }
        let header = window.slice(0, FILE_HEADER_LEN)?;
        let header = header.try_into().expect("a slice of that length was asked for");
        let header = FileHeader::decode(header, path)?;
        check_name(path, &header)?;
        check_len(path, &header, len)?;
        Ok(RecordFile { header, path: path.to_owned(), window })
    }

    /// Opens a file that must be of this kind.
    pub(crate) fn open_kind(fs: &dyn Fs, path: &Path, kind: FileKind) -> Result<RecordFile> {
        let file = RecordFile::open(fs, path)?;
        if file.header.kind == kind {
            Ok(file)
        } else {
            Err(file.corruption(0, format!("a {:?}, not a {kind:?}", file.header.kind)))
        }
    }

    pub(crate) const fn header(&self) -> &FileHeader {
        &self.header
    }

    pub(crate) const fn len(&self) -> u64 {
        self.window.len
    }

    pub(crate) fn corruption(&self, offset: u64, detail: impl Into<String>) -> Error {
        Error::corruption(&self.path, offset, detail)
    }

    /// The record at `offset`, a multiple of 8.
    pub(crate) fn record_at(&mut self, offset: u64) -> Result<Found<'_>> {
        if self.len() < offset + RECORD_HEADER_LEN as u64 {
            return Ok(Found::Damage("the file ends before a record header"));
        }
        let place = self.place(offset);
        let file_len = self.len();
        let bytes = self.window.slice(offset, RECORD_HEADER_LEN as u64)?;
        let bytes = bytes.first_chunk().expect("a slice of that length was asked for");
        let header = match RecordHeader::decode(bytes, place, file_len) {
            Ok(header) => header,
            Err(why) => return Ok(Found::Damage(why)),
        };
        let record = self.window.slice(offset, header.record_len())?;
        let body = &record[RECORD_HEADER_LEN..];
        if !body_is_whole(place, body) {
            return Ok(Found::Damage("payload checksum mismatch"));
        }
        let payload = &body[..header.payload_len as usize];
        Ok(Found::Record(RawRecord { header, payload, end: offset + header.record_len() }))
    }

    /// The first record header in `from..to`, whatever its payload is like.
    pub(crate) fn next_header(
        &mut self,
        from: u64,
        to: u64,
    ) -> Result<Option<(u64, RecordHeader)>> {
        let file_len = self.len();
        let to = to.min(file_len.saturating_sub(RECORD_HEADER_LEN as u64 - 1));
        let mut offset = from.next_multiple_of(ALIGNMENT);
        while offset < to {
            let place = self.place(offset);
            let bytes = self.window.rest(offset, RECORD_HEADER_LEN as u64)?;
            let mut skipped = 0;
            while let Some(bytes) = bytes.get(skipped..).and_then(<[u8]>::first_chunk) {
                let place = place.plus(skipped as u64);
                if to <= place.offset {
                    return Ok(None);
                }
                if let Ok(header) = RecordHeader::decode(bytes, place, file_len) {
                    return Ok(Some((place.offset, header)));
                }
                skipped += ALIGNMENT as usize;
            }
            offset += skipped as u64;
        }
        Ok(None)
    }

    /// The end of the last byte at or behind `from` that is not zero; `from` if there is none.
    pub(crate) fn content_end(&mut self, from: u64) -> Result<u64> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut end = self.len();
        while from < end {
            let start = end.saturating_sub(CHUNK_LEN).max(from);
            let mut block_end = end;
            for block in self.window.slice(start, end - start)?.rchunks(ZEROS.len()) {
                if *block != ZEROS[..block.len()] {
                    let index = block.iter().rposition(|&byte| byte != 0);
                    let zeros = block.len() - 1 - index.expect("a byte of the block is not zero");
                    return Ok(block_end - zeros as u64);
                }
                block_end -= block.len() as u64;
            }
            end = start;
        }
        Ok(from)
    }

    const fn place(&self, offset: u64) -> Place {
        Place { number: self.header.number, epoch: self.header.epoch, offset }
    }
}

/// The part of a file that was read last.
struct Window {
    file: Arc<dyn File>,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Exactly `len` bytes from `offset`. Requires: they are within the file.
    fn slice(&mut self, offset: u64, len: u64) -> Result<&[u8]> {
        Ok(&self.rest(offset, len)?[..len as usize])
    }

    /// All bytes in memory from `offset` on, at least `len`. Requires: those are within the file.
    fn rest(&mut self, offset: u64, len: u64) -> Result<&[u8]> {
        let in_memory = self.start..=self.start + self.bytes.len() as u64;
        if !in_memory.contains(&offset) || !in_memory.contains(&(offset + len)) {
            self.fill(offset, len.max(CHUNK_LEN).min(self.len - offset))?;
        }
        Ok(&self.bytes[(offset - self.start) as usize..])
    }

    fn fill(&mut self, offset: u64, len: u64) -> Result<()> {
        // Emptied first: a read that fails must leave nothing that looks like the file.
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(len as usize);
        bytes.reserve_exact(len as usize - bytes.len());
        bytes.resize(len as usize, 0);
        self.file.read_exact_at(&mut bytes, offset)?;
        self.start = offset;
        self.bytes = bytes;
        Ok(())
    }
}

/// A file that is named like another segment or MANIFEST was put there by mistake.
fn check_name(path: &Path, header: &FileHeader) -> Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(FileName::parse);
    let expected = match (name, header.kind) {
        (Some(FileName::Log(number) | FileName::LogTemp(number)), FileKind::Segment)
        | (Some(FileName::Manifest(number) | FileName::ManifestTemp(number)), FileKind::Journal) => {
            number
        }
        // Tools read copies under any name.
        _ => return Ok(()),
    };
    if header.number == expected {
        return Ok(());
    }
    Err(Error::corruption(path, 16, format!("the file says that its number is {}", header.number)))
}

fn check_len(path: &Path, header: &FileHeader, len: u64) -> Result<()> {
    match header.kind {
        FileKind::Segment if header.capacity != len => {
            let detail = format!("{len} bytes instead of {}", header.capacity);
            Err(Error::corruption(path, len.min(header.capacity), detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use lsm_base::fs::MemFs;

    use super::*;
    use crate::JournalWriter;
    use crate::format::record_len;

    /// A journal with these records and so many zeros behind them, and where each record begins.
    fn journal(payloads: &[&[u8]], zeros: usize) -> (RecordFile, Vec<u64>) {
        let fs = MemFs::new();
        let path = Path::new("MANIFEST-000001");
        let mut writer = JournalWriter::create(&fs, path, 1, 0x5eed, 7).unwrap();
        let len = || fs.open(path).unwrap().len().unwrap();
        let mut begins = Vec::new();
        for payload in payloads {
            begins.push(len());
            writer.append(payload).unwrap();
        }
        drop(writer);
        let end = len();
        fs.open_writable(path).unwrap().write_all_at(&vec![0; zeros], end).unwrap();
        (RecordFile::open(&fs, path).unwrap(), begins)
    }

    #[test]
    fn a_file_may_end_with_its_header() {
        let (mut file, _) = journal(&[], 0);
        assert_eq!(file.len(), FILE_HEADER_LEN);
        assert!(matches!(file.record_at(FILE_HEADER_LEN).unwrap(), Found::Damage(_)));
        assert_eq!(file.content_end(FILE_HEADER_LEN).unwrap(), FILE_HEADER_LEN);
    }

    #[test]
    fn a_record_without_payload_may_be_the_last_bytes_of_a_file() {
        let (mut file, begins) = journal(&[b"first", b""], 0);
        let (last, len) = (begins[1], file.len());
        assert_eq!(last + record_len(0), len);
        let Found::Record(record) = file.record_at(last).unwrap() else { panic!("no record") };
        assert_eq!((record.payload, record.end), (&b""[..], len));
        let (found, _) = file.next_header(begins[0] + 1, len).unwrap().expect("a header");
        assert_eq!(found, last);
    }

    #[test]
    fn the_content_ends_before_any_number_of_zeros() {
        for zeros in [0, 1, 4095, 4096, 4097, 3 * 4096, CHUNK_LEN as usize, 2 * CHUNK_LEN as usize]
        {
            let (mut file, begins) = journal(&[&[1; 13]], zeros);
            // The last byte of a record is one of its checksum.
            let end = begins[0] + record_len(13);
            assert_eq!(file.content_end(FILE_HEADER_LEN).unwrap(), end, "{zeros} zeros");
        }
    }
}
