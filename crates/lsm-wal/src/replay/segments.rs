//! What the segments say by themselves: their headers, links, records, and what stands behind
//! damage. Nothing is concluded here.

use std::collections::BTreeMap;
use std::path::Path;

use lsm_base::{Error, FileName, Fs, Result, Seq};

use super::{ReplayFrom, ReplayRecord};
use crate::format::{FILE_HEADER_LEN, FileHeader, FileKind, Link, OWNER_OFFSET, RecordKind};
use crate::lsn::Lsn;
use crate::scan::{Found, RawRecord, RecordFile};

/// Every segment from the floor on.
pub(super) struct Survey {
    pub(super) floor: u64,
    pub(super) segments: BTreeMap<u64, Surveyed>,
    pub(super) next_segment: u64,
}

/// What was read of one segment before any judgement.
pub(super) struct Surveyed {
    pub(super) header: FileHeader,
    /// Its first record, where that is whole.
    pub(super) link: Option<Link>,
}

/// What was found going from record to record.
#[derive(Clone, Default)]
pub(super) struct Walk {
    /// Where the last whole record ends, or the first one would begin.
    pub(super) end: u64,
    /// Data records, and the bytes of their payloads.
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// The first sequence of the last data record, or what the link says of the ones before.
    pub(super) last_seq: Seq,
    /// The same, of this walk's records alone.
    pub(super) last_record_seq: Seq,
    /// The furthest `synced_lsn` in a header.
    pub(super) synced: Lsn,
    /// Whether the last record is the end trailer.
    pub(super) is_closed: bool,
    /// Why there is no record at `end`; `None` if the walk was not to go further.
    pub(super) stop: Option<&'static str>,
}

/// What stands behind the end of a walk; nothing where nobody looked.
#[derive(Clone, Default)]
pub(super) struct Beyond {
    /// Whether any record header is there.
    pub(super) has_header: bool,
    /// How many headers of data records there are.
    pub(super) records: u64,
    /// The furthest `synced_lsn` in a header.
    pub(super) synced: Lsn,
    /// The end of the last byte that is not zero, or where the search began.
    pub(super) content_end: u64,
}

impl Survey {
    /// Reads the header and the first record of every segment from the floor on.
    pub(super) fn take(fs: &dyn Fs, dir: &Path, from: &ReplayFrom) -> Result<Survey> {
        let listed = list(fs, dir, from.first_segment)?;
        let highest_present = listed.last().map_or(0, |segment| segment.number);
        let numbers: Vec<u64> = may_have_records(&listed, from).collect();
        let is_needed = |segment: &&Listed| numbers.binary_search(&segment.number).is_ok();
        if let Some(other) = listed.iter().filter(is_needed).find(|segment| !segment.is_file) {
            return Err(Error::not_a_file(&FileName::Log(other.number).path(dir)));
        }
        check_present(dir, &numbers, highest_known(from, highest_present), from.first_segment)?;
        let mut segments = BTreeMap::new();
        for number in numbers {
            let mut file = open(fs, dir, number, from.owner)?;
            let link = read_link(&mut file)?;
            segments.insert(number, Surveyed { header: *file.header(), link });
        }
        let known = [highest_present, from.highest_used, from.first_segment.saturating_sub(1)];
        let next_segment = known.into_iter().fold(0, u64::max).saturating_add(1);
        Ok(Survey { floor: from.first_segment, segments, next_segment })
    }

    /// Where the segment `number` ends, if the link of the next one is there to say so.
    pub(super) fn bound(&self, number: u64) -> Option<u64> {
        let link = self.segments.get(&(number + 1))?.link?;
        (link.segment == number).then_some(link.length)
    }
}

/// What has the name of a segment.
pub(super) struct Listed {
    pub(super) number: u64,
    is_file: bool,
    /// Whether it is a file, and has room for a header: else it is no segment, nor what a crash left
    /// of one, since what has that name was whole before it got it.
    is_segment: bool,
}

/// Whatever has the name of a segment from `floor` on, in ascending order.
pub(super) fn list(fs: &dyn Fs, dir: &Path, floor: u64) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for entry in fs.list(dir)? {
        if let Some(FileName::Log(number)) = FileName::parse(&entry.name)
            && floor <= number
        {
            let is_file = entry.is_file;
            let is_segment = is_file && FILE_HEADER_LEN <= entry.len;
            listed.push(Listed { number, is_file, is_segment });
        }
    }
    listed.sort_unstable_by_key(|segment| segment.number);
    Ok(listed)
}

/// The numbers of those that may hold records, or should. That leaves out what nobody knows to have
/// been used, if whoever used it would have said so before, and what is no segment besides: somebody
/// has put it there.
pub(super) fn may_have_records<'a>(
    listed: &'a [Listed],
    from: &ReplayFrom,
) -> impl Iterator<Item = u64> + 'a {
    let highest_named = if from.names_all { highest_known(from, 0) } else { u64::MAX };
    let counts = move |segment: &&Listed| segment.is_segment || segment.number <= highest_named;
    listed.iter().filter(counts).map(|segment| segment.number)
}

/// Opens a segment, which must belong to `owner`: one of another log fits in every other way.
pub(super) fn open(fs: &dyn Fs, dir: &Path, number: u64, owner: u128) -> Result<RecordFile> {
    let file = RecordFile::open_kind(fs, &FileName::Log(number).path(dir), FileKind::Segment)?;
    match file.header().owner {
        found if found == owner => Ok(file),
        found => {
            let detail = format!("the segment belongs to {found:032x}, not to {owner:032x}");
            Err(file.corruption(OWNER_OFFSET, detail))
        }
    }
}

/// Goes from record to record until `bound`, or to the first damage, and hands over the data.
///
/// # Errors
/// [`Error::Corruption`] where whole records contradict each other, which no crash can cause.
pub(super) fn walk(
    file: &mut RecordFile,
    bound: Option<u64>,
    deliver: &mut dyn FnMut(ReplayRecord<'_>) -> Result<()>,
) -> Result<Walk> {
    let number = file.header().number;
    let mut walk = Walk { end: FILE_HEADER_LEN, ..Walk::default() };
    while bound.is_none_or(|bound| walk.end < bound) {
        let offset = walk.end;
        let contradiction = match file.record_at(offset)? {
            Found::Record(record) => walk.take(Lsn::new(number, offset), &record, deliver)?,
            Found::Damage(why) => {
                walk.stop = Some(why);
                return Ok(walk);
            }
        };
        if let Some(detail) = contradiction {
            return Err(file.corruption(offset, detail));
        }
    }
    Ok(walk)
}

/// Looks at everything from `from` to the end of the file.
pub(super) fn search_beyond(file: &mut RecordFile, from: u64) -> Result<Beyond> {
    let mut beyond = Beyond { content_end: file.content_end(from)?, ..Beyond::default() };
    let mut offset = from;
    while let Some((place, header)) = file.next_header(offset, beyond.content_end)? {
        beyond.has_header = true;
        beyond.records += u64::from(header.kind == RecordKind::Data);
        beyond.synced = beyond.synced.max(header.synced);
        // One header does not hide the next: its payload is not trusted.
        offset = place + 1;
    }
    Ok(beyond)
}

impl Walk {
    /// Goes over one whole record; returns what the records before it contradict, if anything.
    fn take(
        &mut self,
        lsn: Lsn,
        record: &RawRecord<'_>,
        deliver: &mut dyn FnMut(ReplayRecord<'_>) -> Result<()>,
    ) -> Result<Option<&'static str>> {
        let RawRecord { header, payload, end } = *record;
        let is_first = lsn.offset == FILE_HEADER_LEN;
        match header.kind {
            _ if self.is_closed => return Ok(Some("a record behind the end trailer")),
            RecordKind::Link if is_first => {
                self.last_seq = Link::decode(payload).map_or(Seq::ZERO, |link| link.last_seq);
            }
            RecordKind::Data if !is_first => {
                let first_seq = header.first_seq;
                if first_seq <= self.last_seq {
                    return Ok(Some("sequences do not ascend"));
                }
                deliver(ReplayRecord { lsn, first_seq, payload })?;
                self.records += 1;
                self.bytes += payload.len() as u64;
                self.last_seq = first_seq;
                self.last_record_seq = first_seq;
            }
            RecordKind::End if !is_first => self.is_closed = true,
            _ => return Ok(Some("a record of this kind does not belong here")),
        }
        self.synced = self.synced.max(header.synced);
        self.end = end;
        Ok(None)
    }

    /// Counts what `next`, the walk through the following segment, delivered.
    pub(super) fn add(&mut self, next: &Walk) {
        self.records += next.records;
        self.bytes += next.bytes;
        self.last_record_seq = self.last_record_seq.max(next.last_record_seq);
    }
}

/// The highest number that must exist whatever the segments themselves say.
pub(super) fn highest_known(from: &ReplayFrom, highest_present: u64) -> u64 {
    let claimed = [Some(from.synced), from.clean_end].into_iter().flatten();
    let claimed = claimed.filter(|lsn| FILE_HEADER_LEN < lsn.offset).map(|lsn| lsn.segment).max();
    // A segment is prepared only when the one before it is in use. But an open may have found one that
    // a failed sync has left in the cache alone, and have gone on behind it.
    let told = if from.names_all { 0 } else { highest_present.saturating_sub(1) };
    from.highest_used.max(claimed.unwrap_or(0)).max(told)
}

fn check_present(dir: &Path, numbers: &[u64], highest: u64, floor: u64) -> Result<()> {
    let mut present = numbers.iter().copied();
    let mut expected = floor;
    while expected <= highest {
        if present.next() != Some(expected) {
            return Err(Error::MissingFile(FileName::Log(expected).path(dir)));
        }
        expected += 1;
    }
    Ok(())
}

pub(super) fn read_link(file: &mut RecordFile) -> Result<Option<Link>> {
    let number = file.header().number;
    let is_link_payload = |link: &Link| {
        let begins = *link == Link::BEGIN;
        begins || (number.checked_sub(1) == Some(link.segment) && FILE_HEADER_LEN < link.length)
    };
    let link = match file.record_at(FILE_HEADER_LEN)? {
        Found::Damage(_) => return Ok(None),
        Found::Record(record) if record.header.kind == RecordKind::Link => {
            Link::decode(record.payload).filter(is_link_payload)
        }
        Found::Record(_) => None,
    };
    match link {
        Some(link) => Ok(Some(link)),
        None => Err(file.corruption(FILE_HEADER_LEN, "the first record is no link")),
    }
}
