//! The bytes of segments and journals.
//!
//! Both are a file header and records behind it. All integers are little-endian.
//!
//! ```text
//! file header (80 bytes)
//!      0  magic              8   "lsm-wal\0" (segment) or "lsm-jrn\0" (journal)
//!      8  format version     4   0
//!     12  transform id       4   0: stored as it is; others are reserved for encryption
//!     16  number             8   of the segment or the MANIFEST, as in the file's name
//!     24  epoch              8   random, of this file's life
//!     32  capacity           8   the file's length (segment), 0 (journal)
//!     40  owner             16   the caller's number for whom the file belongs to
//!     56  key id             8   0: none; of the transform
//!     64  required features  4   a reader that does not know a bit must refuse the file
//!     68  optional features  4   a reader may ignore a bit that it does not know
//!     72  checksum           8   of the 72 bytes before
//!
//! record (40 bytes and the padded payload; begins at a multiple of 8)
//!      0  header checksum    4   of the 28 bytes that follow
//!      4  payload length     4   without padding
//!      8  first sequence     8   0 in all but data records
//!     16  synced segment     8   how far the log was synced when this was written,
//!     24  synced offset      4   never beyond this record's own place
//!     28  kind               1   1 data, 2 link, 3 end, 4 edit (journals only)
//!     29  reserved           3   0
//!     32  payload            n
//!         padding          0-7   zeros, so that the checksum and the next record are aligned
//!         payload checksum   8   of payload and padding
//!
//! payload of a link (32 bytes): the first record of every segment
//!      0  segment            8   the predecessor; 0 where the log begins
//!      8  epoch              8   the predecessor's
//!     16  length             8   where the predecessor ends
//!     24  last sequence      8   the first sequence of the last data record before
//! ```
//!
//! Every checksum is seeded with the epoch, the offset of what it covers and the region's type, so
//! that bytes of another life, another place or another file never pass. The alignment of 8 is
//! what lets a reader look for headers behind damage: it tries every eighth byte, and a payload
//! whose length it cannot trust hides none. A header is believed only if all of its fields make
//! sense, which leaves chance much less than the checksum's 32 bits.
//!
//! Invariant: [`RecordHeader::decode`] is the one judge of what counts as a record header.

use std::path::Path;

use lsm_base::batch::MAX_BATCH_LEN;
use lsm_base::checksum::{checksum32, checksum64, region_seed};
use lsm_base::coding::Reader;
use lsm_base::plant::{self, Plant};
use lsm_base::{Error, Result, Seq};

use crate::lsn::Lsn;

/// Bytes of a file header; the first record begins here.
pub const FILE_HEADER_LEN: u64 = 80;

/// Bytes of a record beside its padded payload: the header and the payload's checksum.
pub const RECORD_OVERHEAD: u64 = 40;

/// Longest payload of one record: the longest batch, and room for an envelope around it.
pub const MAX_PAYLOAD_LEN: u64 = MAX_BATCH_LEN as u64 + (64 << 10);

/// Longest file: offsets fit 32 bits, and are multiples of 8.
pub const MAX_FILE_LEN: u64 = (u32::MAX - 7) as u64;

pub(crate) const RECORD_HEADER_LEN: usize = 32;
pub(crate) const ALIGNMENT: u64 = 8;
pub(crate) const LINK_RECORD_LEN: u64 = record_len(Link::LEN as u64);
pub(crate) const END_RECORD_LEN: u64 = record_len(0);

const FORMAT_VERSION: u32 = 0;
const SEGMENT_MAGIC: [u8; 8] = *b"lsm-wal\0";
const JOURNAL_MAGIC: [u8; 8] = *b"lsm-jrn\0";

/// Where a file header says whom the file belongs to.
pub(crate) const OWNER_OFFSET: u64 = 40;

const REGION_FILE_HEADER: u8 = 1;
const REGION_RECORD_HEADER: u8 = 2;
const REGION_PAYLOAD: u8 = 3;

/// Bytes that a record with a payload of this length takes in the file.
#[must_use]
pub const fn record_len(payload_len: u64) -> u64 {
    RECORD_OVERHEAD + payload_len.next_multiple_of(ALIGNMENT)
}

/// Which of the two kinds a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A segment of the log: allocated in full before its first record.
    Segment,
    /// A journal, such as the MANIFEST: grows record by record.
    Journal,
}

/// What stands at the beginning of a segment or a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileHeader {
    /// Segment or journal.
    pub kind: FileKind,
    /// The number that is also in the file's name.
    pub number: u64,
    /// A random number that seeds every checksum of the file.
    pub epoch: u64,
    /// The length of the file in bytes; 0 for a journal, which grows.
    pub capacity: u64,
    /// Whom the file belongs to: whatever number the caller handed in.
    pub owner: u128,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; FILE_HEADER_LEN as usize] {
        let mut bytes = Vec::with_capacity(FILE_HEADER_LEN as usize);
        bytes.extend_from_slice(match self.kind {
            FileKind::Segment => &SEGMENT_MAGIC,
            FileKind::Journal => &JOURNAL_MAGIC,
        });
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]); // transform
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.capacity.to_le_bytes());
        bytes.extend_from_slice(&self.owner.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]); // key id
        bytes.extend_from_slice(&[0; 8]); // features
        let checksum = checksum64(region_seed(self.epoch, 0, REGION_FILE_HEADER), &bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.try_into().expect("the fields above are 80 bytes")
    }

    /// Reads a header; `path` is for the error alone.
    ///
    /// The checksum is judged before the version, so that a flipped bit in the version is damage
    /// and not a newer format. It stays where it is in every version to come.
    pub(crate) fn decode(bytes: &[u8; FILE_HEADER_LEN as usize], path: &Path) -> Result<Self> {
        let corrupt = |detail: &str| Error::corruption(path, 0, detail);
        let mut reader = Reader::new(bytes);
        let mut fields = || {
            Some(Fields {
                magic: reader.u64()?.to_le_bytes(),
                version: reader.u32()?,
                transform: reader.u32()?,
                number: reader.u64()?,
                epoch: reader.u64()?,
                capacity: reader.u64()?,
                owner: u128::from_le_bytes(*reader.bytes(16)?.first_chunk()?),
                key_id: reader.u64()?,
                required: reader.u32()?,
                optional: reader.u32()?,
                checksum: reader.u64()?,
            })
        };
        let fields = fields().expect("a header has 80 bytes");
        let kind = match fields.magic {
            SEGMENT_MAGIC => FileKind::Segment,
            JOURNAL_MAGIC => FileKind::Journal,
            _ => return Err(corrupt("neither a log segment nor a journal")),
        };
        let seed = region_seed(fields.epoch, 0, REGION_FILE_HEADER);
        if checksum64(seed, &bytes[..FILE_HEADER_LEN as usize - 8]) != fields.checksum {
            return Err(corrupt("file header checksum mismatch"));
        }
        fields.check_supported(path)?;
        let Fields { number, epoch, capacity, owner, .. } = fields;
        Ok(FileHeader { kind, number, epoch, capacity, owner })
    }
}

/// The fields of a file header as they were read.
struct Fields {
    magic: [u8; 8],
    version: u32,
    transform: u32,
    number: u64,
    epoch: u64,
    capacity: u64,
    owner: u128,
    key_id: u64,
    required: u32,
    #[expect(dead_code, reason = "a reader may ignore optional features; none is known yet")]
    optional: u32,
    checksum: u64,
}

impl Fields {
    fn check_supported(&self, path: &Path) -> Result<()> {
        if self.version != FORMAT_VERSION {
            let detail = format!("version {}; this release reads {FORMAT_VERSION}", self.version);
            return Err(Error::unsupported(path, detail));
        }
        if self.transform != 0 || self.key_id != 0 {
            let detail = format!("transform {} with key {}", self.transform, self.key_id);
            return Err(Error::unsupported(path, detail));
        }
        if self.required != 0 {
            let detail = format!("required features {:#x}", self.required);
            return Err(Error::unsupported(path, detail));
        }
        Ok(())
    }
}

/// What a record is for. The codes are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RecordKind {
    /// What the caller appended to the log.
    Data = 1,
    /// The first record of a segment: which segment it follows, and where that one ends.
    Link = 2,
    /// The last record of a log that was closed.
    End = 3,
    /// What the caller appended to a journal.
    Edit = 4,
}

impl RecordKind {
    const fn from_code(code: u8) -> Option<RecordKind> {
        match code {
            1 => Some(RecordKind::Data),
            2 => Some(RecordKind::Link),
            3 => Some(RecordKind::End),
            4 => Some(RecordKind::Edit),
            _ => None,
        }
    }
}

/// Where a record stands: what its checksums are seeded with, and what bounds its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
}

impl Place {
    /// The same file, `len` bytes further.
    pub(crate) const fn plus(self, len: u64) -> Place {
        Place { offset: self.offset + len, ..self }
    }

    pub(crate) const fn lsn(self) -> Lsn {
        Lsn::new(self.number, self.offset)
    }
}

/// The fields of a record that do not depend on where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordHeader {
    pub(crate) kind: RecordKind,
    pub(crate) first_seq: Seq,
    pub(crate) payload_len: u32,
    pub(crate) synced: Lsn,
}

impl RecordHeader {
    /// Reads the header that may stand at `place` in a file of `file_len` bytes.
    ///
    /// # Errors
    /// Why there is none. The cheap tests come first: a search behind damage calls this for every
    /// eighth byte.
    pub(crate) fn decode(
        bytes: &[u8; RECORD_HEADER_LEN],
        place: Place,
        file_len: u64,
    ) -> Result<RecordHeader, &'static str> {
        let kind = RecordKind::from_code(bytes[28]).ok_or("no record header")?;
        if bytes[29..] != [0; 3] {
            return Err("no record header");
        }
        let mut reader = Reader::new(bytes);
        let mut fields = || {
            let (checksum, len, seq) = (reader.u32()?, reader.u32()?, reader.u64()?);
            Some((checksum, len, seq, Lsn::new(reader.u64()?, u64::from(reader.u32()?))))
        };
        let (checksum, payload_len, seq, synced) = fields().expect("a header has 32 bytes");
        let seed = region_seed(place.epoch, place.offset, REGION_RECORD_HEADER);
        let is_trusted = plant::is_live(Plant::LengthTrusted);
        if !is_trusted && (place.lsn() < synced || checksum32(seed, &bytes[4..]) != checksum) {
            return Err("record header checksum mismatch");
        }
        let end = place.offset + record_len(u64::from(payload_len));
        if !is_trusted && (MAX_PAYLOAD_LEN < u64::from(payload_len) || file_len < end) {
            return Err("the record ends beyond the file");
        }
        let first_seq = Seq::try_new(seq).ok_or("no record header")?;
        Ok(RecordHeader { kind, first_seq, payload_len, synced })
    }

    /// Bytes of the whole record in the file.
    pub(crate) const fn record_len(&self) -> u64 {
        record_len(self.payload_len as u64)
    }
}

/// Appends the bytes of a record that will stand at `place`; its payload length is `payload`'s.
///
/// Requires: `payload` is at most [`MAX_PAYLOAD_LEN`] long and `place.offset` a multiple of 8.
pub(crate) fn encode_record(
    out: &mut Vec<u8>,
    place: Place,
    kind: RecordKind,
    first_seq: Seq,
    synced: Lsn,
    payload: &[u8],
) {
    debug_assert!(place.offset.is_multiple_of(ALIGNMENT));
    debug_assert!(synced <= place.lsn());
    let payload_len = u32::try_from(payload.len()).expect("the caller checked the length");
    let synced_offset = u32::try_from(synced.offset).expect("files are below 4 GiB");
    let start = out.len();
    out.resize(start + record_len(payload.len() as u64) as usize, 0);
    let (header, body) = out[start..].split_at_mut(RECORD_HEADER_LEN);
    header[4..8].copy_from_slice(&payload_len.to_le_bytes());
    header[8..16].copy_from_slice(&first_seq.get().to_le_bytes());
    header[16..24].copy_from_slice(&synced.segment.to_le_bytes());
    header[24..28].copy_from_slice(&synced_offset.to_le_bytes());
    header[28] = kind as u8;
    let seed = region_seed(place.epoch, place.offset, REGION_RECORD_HEADER);
    let checksum = checksum32(seed, &header[4..]);
    header[..4].copy_from_slice(&checksum.to_le_bytes());

    let (padded, sum) = body.split_last_chunk_mut::<8>().expect("a body ends with a checksum");
    padded[..payload.len()].copy_from_slice(payload);
    *sum = payload_checksum(place, padded).to_le_bytes();
}

/// Makes number, owner and checksum of a file header right, and the capacity of a segment. Gives the
/// epoch; `None` if there is no whole header.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn seal_file_header(bytes: &mut [u8], number: u64, capacity: u64) -> Option<u64> {
    let header = bytes.first_chunk_mut::<{ FILE_HEADER_LEN as usize }>()?;
    header[16..24].copy_from_slice(&number.to_le_bytes());
    header[32..40].copy_from_slice(&capacity.to_le_bytes());
    header[40..56].fill(0);
    let epoch = Reader::new(&header[24..32]).u64()?;
    let (content, checksum) = header.split_last_chunk_mut::<8>()?;
    *checksum = checksum64(region_seed(epoch, 0, REGION_FILE_HEADER), content).to_le_bytes();
    Some(epoch)
}

/// Makes the checksums of the record at `offset` right. Gives its end; `None` if it goes beyond the
/// file.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn seal_record(bytes: &mut [u8], epoch: u64, offset: u64) -> Option<u64> {
    let rest = bytes.get_mut(offset as usize..)?;
    let len = record_len(u64::from(Reader::new(rest.get(4..)?).u32()?));
    let record = rest.get_mut(..usize::try_from(len).ok()?)?;
    let place = Place { number: 0, epoch, offset };
    let (header, body) = record.split_at_mut_checked(RECORD_HEADER_LEN)?;
    let sum = checksum32(region_seed(epoch, offset, REGION_RECORD_HEADER), &header[4..]);
    header[..4].copy_from_slice(&sum.to_le_bytes());
    let (padded, checksum) = body.split_last_chunk_mut::<8>()?;
    *checksum = payload_checksum(place, padded).to_le_bytes();
    Some(offset + len)
}

/// Whether `body`, all of a record behind its header, carries the right checksum for its place.
pub(crate) fn body_is_whole(place: Place, body: &[u8]) -> bool {
    let Some((padded, checksum)) = body.split_last_chunk::<8>() else { return false };
    payload_checksum(place, padded) == u64::from_le_bytes(*checksum)
}

fn payload_checksum(place: Place, padded: &[u8]) -> u64 {
    let offset = place.offset + RECORD_HEADER_LEN as u64;
    checksum64(region_seed(place.epoch, offset, REGION_PAYLOAD), padded)
}

/// Which segment another one follows, and where that one ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    /// The predecessor's number; 0 where the log begins.
    pub(crate) segment: u64,
    pub(crate) epoch: u64,
    pub(crate) length: u64,
    pub(crate) last_seq: Seq,
}

impl Link {
    const LEN: usize = 32;

    /// The link of a log's very first segment.
    pub(crate) const BEGIN: Link = Link { segment: 0, epoch: 0, length: 0, last_seq: Seq::ZERO };

    pub(crate) fn encode(&self) -> [u8; Link::LEN] {
        let mut bytes = [0; Link::LEN];
        bytes[..8].copy_from_slice(&self.segment.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..].copy_from_slice(&self.last_seq.get().to_le_bytes());
        bytes
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Link> {
        let mut reader = Reader::new(payload);
        let link = Link {
            segment: reader.u64()?,
            epoch: reader.u64()?,
            length: reader.u64()?,
            last_seq: Seq::try_new(reader.u64()?)?,
        };
        reader.is_empty().then_some(link)
    }
}

#[cfg(test)]
mod tests;
