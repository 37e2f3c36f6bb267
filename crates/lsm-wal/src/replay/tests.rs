//! Segments put together by hand: what no writer writes, and what only a crash leaves.

mod salvage;

use std::path::PathBuf;

use lsm_base::fs::MemFs;

use super::*;
use crate::format::{
    FILE_HEADER_LEN, FileHeader, FileKind, LINK_RECORD_LEN, Link, Place, RecordKind, encode_record,
    record_len,
};

const DIR: &str = "/";
const CAPACITY: u64 = 1024;
const OWNER: u128 = 0x0abc << 100;
const FROM: ReplayFrom = ReplayFrom {
    first_segment: 1,
    synced: Lsn::ZERO,
    highest_used: 0,
    names_all: false,
    clean_end: None,
    owner: OWNER,
};

/// The bytes of a segment, as far as they are written.
struct Draft {
    number: u64,
    bytes: Vec<u8>,
    last_seq: Seq,
}

impl Draft {
    /// A segment without any record.
    fn unused(number: u64) -> Draft {
        let header = FileHeader {
            kind: FileKind::Segment,
            number,
            epoch: epoch(number),
            capacity: CAPACITY,
            owner: OWNER,
        };
        Draft { number, bytes: header.encode().to_vec(), last_seq: Seq::ZERO }
    }

    /// A segment with this link.
    fn linked(number: u64, link: Link) -> Draft {
        let mut draft = Draft::unused(number);
        draft.put(RecordKind::Link, 0, Lsn::ZERO, &link.encode());
        Draft { last_seq: link.last_seq, ..draft }
    }

    fn first(number: u64) -> Draft {
        Draft::linked(number, Link::BEGIN)
    }

    fn after(previous: &Draft) -> Draft {
        Draft::linked(previous.number + 1, previous.link())
    }

    /// What the segment that follows should say of this one.
    fn link(&self) -> Link {
        let (segment, last_seq) = (self.number, self.last_seq);
        Link { segment, epoch: epoch(segment), length: self.bytes.len() as u64, last_seq }
    }

    fn put(&mut self, kind: RecordKind, seq: u64, synced: Lsn, payload: &[u8]) {
        let offset = self.bytes.len() as u64;
        let place = Place { number: self.number, epoch: epoch(self.number), offset };
        encode_record(&mut self.bytes, place, kind, Seq::new(seq), synced, payload);
    }

    fn data(mut self, seq: u64) -> Draft {
        self.put(RecordKind::Data, seq, Lsn::ZERO, b"payload");
        self.last_seq = Seq::new(seq);
        self
    }

    fn data_synced(mut self, seq: u64, synced: Lsn) -> Draft {
        self.put(RecordKind::Data, seq, synced, b"payload");
        self.last_seq = Seq::new(seq);
        self
    }

    fn end(mut self) -> Draft {
        self.put(RecordKind::End, 0, Lsn::ZERO, b"");
        self
    }

    /// Zeros one byte of the record that begins at `offset`.
    fn damaged_at(mut self, offset: u64) -> Draft {
        self.bytes[offset as usize] ^= 0xff;
        self
    }

    fn write(&self, fs: &MemFs) {
        let mut bytes = self.bytes.clone();
        bytes.resize(CAPACITY as usize, 0);
        fs.create(&path(self.number)).unwrap().write_all_at(&bytes, 0).unwrap();
    }
}

const fn epoch(number: u64) -> u64 {
    number * 1000
}

fn path(number: u64) -> PathBuf {
    FileName::Log(number).path(Path::new(DIR))
}

fn directory(drafts: &[&Draft]) -> MemFs {
    let fs = MemFs::new();
    drafts.iter().for_each(|draft| draft.write(&fs));
    fs
}

fn sequences(fs: &MemFs, from: ReplayFrom) -> Result<(Vec<u64>, ReplayReport)> {
    let mut found = Vec::new();
    let report = replay(fs, Path::new(DIR), from, &mut |record| {
        found.push(record.first_seq.get());
        Ok(())
    })?;
    Ok((found, report))
}

#[track_caller]
fn assert_corrupt(fs: &MemFs, from: ReplayFrom, number: u64, at: u64, detail: &str) {
    let mut delivered = 0;
    let result = replay(fs, Path::new(DIR), from, &mut |_| {
        delivered += 1;
        Ok(())
    });
    match result {
        Err(Error::Corruption { path: file, offset, detail: found }) => {
            assert_eq!((file, offset), (path(number), at), "{found}");
            assert!(found.contains(detail), "{found}");
        }
        other => panic!("no corruption: {other:?}"),
    }
    assert_eq!(delivered, 0, "nothing is delivered of a log that is refused");
}

const FIRST: u64 = FILE_HEADER_LEN;
const SECOND: u64 = FIRST + LINK_RECORD_LEN;
const THIRD: u64 = SECOND + record_len(7);
const FOURTH: u64 = THIRD + record_len(7);

#[test]
fn a_directory_without_segments_is_an_empty_log() {
    let (found, report) = sequences(&MemFs::new(), FROM).unwrap();
    assert!(found.is_empty());
    assert_eq!((report.end, report.next_segment), (Lsn::new(1, FIRST), 1));
    assert_eq!(report.reason, None);
}

#[test]
fn records_come_in_order_across_segments() {
    let one = Draft::first(1).data(1).data(3);
    let two = Draft::after(&one);
    let three = Draft::after(&two).data(4);
    let fs = directory(&[&three, &one, &two, &Draft::unused(4)]);
    let (found, report) = sequences(&fs, FROM).unwrap();
    assert_eq!(found, [1, 3, 4]);
    assert_eq!(report.end, Lsn::new(3, THIRD));
    assert_eq!((report.last_record_seq, report.next_segment), (Seq::new(4), 5));
    assert_eq!((report.records, report.bytes), (3, 21));
    assert_eq!((report.dropped_bytes, report.dropped_records, report.reason), (0, 0, None));
}

#[test]
fn segments_below_the_floor_are_not_looked_at() {
    let one = Draft::first(1).data(1);
    let two = Draft::after(&one).data(2);
    let fs = directory(&[&one.damaged_at(0), &two]);
    let (found, _) = sequences(&fs, ReplayFrom { first_segment: 2, ..FROM }).unwrap();
    assert_eq!(found, [2]);
}

#[test]
fn what_stands_behind_the_length_in_a_link_is_not_read() {
    let one = Draft::first(1).data(1);
    let two = Draft::after(&one).data(2);
    // An append that failed, and was decided not to have happened, left a whole record.
    let one = one.data(2).data(3);
    let fs = directory(&[&one, &two]);
    assert_eq!(sequences(&fs, FROM).unwrap().0, [1, 2]);
    assert_eq!(sequences(&directory(&[&one]), FROM).unwrap().0, [1, 2, 3]);
}

#[test]
fn a_torn_tail_is_dropped_with_all_behind_it() {
    let one = Draft::first(1).data(1).data(2);
    let two = Draft::after(&one).data(3);
    let one = one.damaged_at(THIRD + 40);
    let (found, report) = sequences(&directory(&[&one, &two]), FROM).unwrap();
    assert_eq!(found, [1]);
    assert_eq!(report.end, Lsn::new(1, THIRD));
    assert_eq!(report.dropped_records, 2);
    assert_eq!(report.dropped_bytes, record_len(7) + LINK_RECORD_LEN + record_len(7));
    assert_eq!(
        report.reason.unwrap(),
        format!("payload checksum mismatch in 000001.log at {THIRD}")
    );
}

#[test]
fn zeros_at_the_end_are_unused_space_unless_something_says_that_it_was_synced() {
    let whole = Draft::first(1).data(1);
    let end = Lsn::new(1, whole.bytes.len() as u64);
    let fs = directory(&[&Draft::first(1)]);
    // Whatever stood there, nothing of it is left to tell of.
    let (found, report) = sequences(&fs, FROM).unwrap();
    assert_eq!((found, report.end.offset), (vec![], SECOND));
    assert_eq!((report.dropped_records, report.dropped_bytes, report.reason), (0, 0, None));
    assert_corrupt(&fs, ReplayFrom { synced: end, ..FROM }, 1, SECOND, "the log was synced up to");
}

#[test]
fn damage_before_what_a_later_header_calls_synced_is_corruption() {
    let one = Draft::first(1).data(1).data(2);
    let end = Lsn::new(1, one.bytes.len() as u64);
    let behind = Draft::first(1).data(1).data(2).data_synced(3, end);
    for at in [SECOND, THIRD] {
        for byte in [0, 40] {
            let fs = directory(&[&one.clone_damaged(&behind, at + byte)]);
            assert_corrupt(&fs, FROM, 1, at, "synced up to 1:");
        }
    }
    // The last record itself is not covered by what it says.
    let (found, _) = sequences(&directory(&[&behind.damaged_at(end.offset)]), FROM).unwrap();
    assert_eq!(found, [1, 2]);
}

impl Draft {
    fn clone_damaged(&self, other: &Draft, offset: u64) -> Draft {
        let draft =
            Draft { number: self.number, bytes: other.bytes.clone(), last_seq: other.last_seq };
        draft.damaged_at(offset)
    }
}

#[test]
fn a_header_in_a_later_segment_testifies_too() {
    let one = Draft::first(1).data(1).data(2);
    let synced = Lsn::new(1, one.bytes.len() as u64);
    let two = Draft::after(&one).data_synced(3, synced);
    assert_corrupt(&directory(&[&one.damaged_at(THIRD), &two]), FROM, 1, THIRD, "synced up to");
}

#[test]
fn the_length_in_a_header_behind_damage_hides_no_other_header() {
    let one = Draft::first(1).data(1);
    let mut two = Draft::first(1).data(1).data(2);
    // The payload of this record holds a header of a record that could have been written there.
    let offset = two.bytes.len() as u64 + 32;
    let place = Place { number: 1, epoch: epoch(1), offset };
    let synced = Lsn::new(1, offset);
    let mut payload = Vec::new();
    encode_record(&mut payload, place, RecordKind::Data, Seq::new(3), synced, b"");
    two.put(RecordKind::Data, 3, Lsn::ZERO, &payload);
    let end = one.bytes.len() as u64;
    assert_corrupt(&directory(&[&two.damaged_at(end)]), FROM, 1, end, "synced up to");
}

#[test]
fn what_the_manifest_calls_synced_must_be_there() {
    let one = Draft::first(1).data(1);
    let from = ReplayFrom { synced: Lsn::new(1, THIRD), ..FROM };
    assert_eq!(sequences(&directory(&[&one]), from).unwrap().0, [1]);
    let from = ReplayFrom { synced: Lsn::new(1, THIRD + 48), ..FROM };
    assert_corrupt(&directory(&[&one]), from, 1, THIRD, "synced up to");
    // That a segment was begun says nothing about its content.
    let from = ReplayFrom { synced: Lsn::new(2, FIRST), ..FROM };
    assert_eq!(sequences(&directory(&[&one]), from).unwrap().0, [1]);
}

#[test]
fn what_is_gone_is_named_where_the_promise_is_broken() {
    let one = Draft::first(1).data(1).data(2);
    let two = Draft::after(&one).data(3).damaged_at(FIRST + 33);
    let one = Draft::first(1).data(1);
    // The second segment is damaged too, but what was promised is of the first.
    let from = ReplayFrom { synced: Lsn::new(1, FOURTH), ..FROM };
    assert_corrupt(&directory(&[&one, &two]), from, 1, THIRD, "no record header");
}

#[test]
fn a_segment_may_be_full_to_its_last_byte() {
    let mut one = (1..=17).fold(Draft::first(1), Draft::data);
    one.put(RecordKind::Data, 18, Lsn::ZERO, &[7; 16]);
    one.last_seq = Seq::new(18);
    assert_eq!(one.bytes.len() as u64, CAPACITY);
    let two = Draft::after(&one).data(19);
    let (found, report) = sequences(&directory(&[&one, &two]), FROM).unwrap();
    assert!(found.into_iter().eq(1..=19));
    assert_eq!(report.reason, None);
    let alone = sequences(&directory(&[&one]), FROM).unwrap();
    assert_eq!((alone.1.end, alone.1.reason), (Lsn::new(1, CAPACITY), None));
}

#[test]
fn synced_records_of_a_wiped_segment_are_missed() {
    let one = Draft::first(1).data(1);
    let from = ReplayFrom { synced: Lsn::new(2, SECOND), ..FROM };
    assert_corrupt(&directory(&[&one, &Draft::unused(2)]), from, 2, FIRST, "synced up to 2:");
}

#[test]
fn a_damaged_link_before_a_header_is_damage_at_its_place() {
    let one = Draft::first(1).data(1);
    let two = Draft::after(&one).data(2).damaged_at(FIRST + 33);
    let (found, report) = sequences(&directory(&[&one, &two]), FROM).unwrap();
    assert_eq!(found, [1]);
    assert_eq!(report.end, Lsn::new(1, THIRD));
    assert_eq!(report.dropped_records, 1);
    assert_eq!(
        report.reason.unwrap(),
        format!("payload checksum mismatch in 000002.log at {FIRST}")
    );
    let two = Draft::after(&one).data_synced(2, Lsn::new(2, SECOND)).damaged_at(FIRST + 33);
    assert_corrupt(&directory(&[&one, &two]), FROM, 2, FIRST, "payload checksum");
}

#[test]
fn a_segment_without_a_header_is_unused_and_what_it_holds_is_counted() {
    let one = Draft::first(1).data(1);
    let mut two = Draft::unused(2);
    two.bytes.extend_from_slice(b"torn");
    let (found, report) = sequences(&directory(&[&one, &two]), FROM).unwrap();
    assert_eq!((found, report.dropped_bytes), (vec![1], 4));
    assert_eq!(report.reason.unwrap(), format!("no record header in 000002.log at {FIRST}"));
}

#[test]
fn whole_records_that_contradict_each_other_are_corruption_wherever_they_stand() {
    let descending = Draft::first(1).data(2).data(2);
    assert_corrupt(&directory(&[&descending]), FROM, 1, THIRD, "ascend");

    let mut headless = Draft::unused(1);
    headless.put(RecordKind::Data, 1, Lsn::ZERO, b"payload");
    assert_corrupt(&directory(&[&headless]), FROM, 1, FIRST, "no link");

    // It is no link either if it could be read as one.
    let mut disguised = Draft::unused(1);
    disguised.put(RecordKind::Data, 1, Lsn::ZERO, &Link::BEGIN.encode());
    assert_corrupt(&directory(&[&disguised]), FROM, 1, FIRST, "no link");

    let mut relinked = Draft::first(1);
    relinked.put(RecordKind::Link, 0, Lsn::ZERO, &Link::BEGIN.encode());
    assert_corrupt(&directory(&[&relinked]), FROM, 1, SECOND, "does not belong");

    let mut edit = Draft::first(1);
    edit.put(RecordKind::Edit, 0, Lsn::ZERO, b"");
    assert_corrupt(&directory(&[&edit]), FROM, 1, SECOND, "does not belong");

    let reopened = Draft::first(1).end().data(1);
    assert_corrupt(&directory(&[&reopened]), FROM, 1, SECOND + 40, "behind the end");
}

#[test]
fn a_walk_takes_nothing_before_a_link() {
    for kind in [RecordKind::Data, RecordKind::End] {
        let mut headless = Draft::unused(1);
        headless.put(kind, 1, Lsn::ZERO, b"");
        let mut file = segments::open(&directory(&[&headless]), Path::new(DIR), 1, OWNER).unwrap();
        let result = segments::walk(&mut file, None, &mut |_| panic!("a record before the link"));
        let why = result.map(|walk| walk.end).unwrap_err().to_string();
        assert!(why.ends_with("a record of this kind does not belong here"), "{why}");
    }
}

#[test]
fn a_link_is_crossed_only_on_a_match() {
    let one = Draft::first(1).data(1);
    let good = one.link();
    assert_eq!(sequences(&directory(&[&one, &Draft::linked(2, good)]), FROM).unwrap().0, [1]);
    let links = [
        (Link { epoch: good.epoch + 1, ..good }, "another life"),
        (Link { length: good.length - 8, ..good }, "no end of a record"),
        (Link { length: CAPACITY + 8, ..good }, "beyond its predecessor"),
        (Link { length: 0, ..good }, "no link"),
        (Link { length: FIRST, ..good }, "no link"),
        (Link { last_seq: Seq::new(2), ..good }, "last sequence"),
        (Link { segment: 7, ..good }, "no link"),
        (Link::BEGIN, "no predecessor"),
    ];
    for (link, detail) in links {
        let two = Draft::linked(2, link).data(9);
        assert_corrupt(&directory(&[&one, &two]), FROM, 2, FIRST, detail);
    }
}

#[test]
fn every_segment_from_the_floor_to_the_highest_used_must_exist() {
    let one = Draft::first(1).data(1);
    let two = Draft::after(&one).data(2);
    let three = Draft::after(&two).data(3);
    let unused = Draft::unused(4);
    let missing = |fs: &MemFs, from, number| match sequences(fs, from) {
        Err(Error::MissingFile(file)) => assert_eq!(file, path(number)),
        other => panic!("no missing file: {other:?}"),
    };
    missing(&directory(&[&two, &three]), FROM, 1);
    missing(&directory(&[&one, &three]), FROM, 2);
    // A segment is prepared only when the one before it is in use.
    missing(&directory(&[&one, &two, &unused]), FROM, 3);
    // Unless it is known which were in use.
    let from = ReplayFrom { highest_used: 2, names_all: true, ..FROM };
    let (found, report) = sequences(&directory(&[&one, &two, &unused]), from).unwrap();
    assert_eq!((found, report.next_segment, report.reason), (vec![1, 2], 5, None));
    missing(&directory(&[&one, &unused]), from, 2);
    missing(&directory(&[&one]), ReplayFrom { highest_used: 2, ..FROM }, 2);
    missing(&directory(&[&one]), ReplayFrom { synced: Lsn::new(2, SECOND), ..FROM }, 2);
    missing(&directory(&[&one]), ReplayFrom { clean_end: Some(Lsn::new(2, SECOND)), ..FROM }, 2);
    missing(&directory(&[&one]), ReplayFrom { clean_end: Some(Lsn::new(2, FIRST)), ..FROM }, 2);
    missing(&MemFs::new(), ReplayFrom { highest_used: u64::MAX, ..FROM }, 1);
    // Nor does an end before every record spare the segment, unless it is the log's beginning.
    for clean_end in [Lsn::new(0, SECOND), Lsn::new(1, 0)].map(Some) {
        missing(&directory(&[]), ReplayFrom { clean_end, ..FROM }, 1);
    }
}

#[test]
fn a_log_that_was_retired_is_empty() {
    let from = ReplayFrom { clean_end: Some(Lsn::new(1, FIRST)), ..FROM };
    let empty = |fs: &MemFs| match sequences(fs, from) {
        Ok((found, report)) => found.is_empty() && report.end == Lsn::new(1, FIRST),
        Err(_) => false,
    };
    assert!(empty(&directory(&[])));
    // What an open made that did not come to its end.
    assert!(empty(&directory(&[&Draft::unused(1)])));
    // Nobody can have written to it.
    let one = Draft::first(1).data(1);
    let two = Draft::after(&one).data(2);
    assert!(!empty(&directory(&[&one])));
    assert!(!empty(&directory(&[&two])));
    assert!(!empty(&directory(&[&Draft::first(1).data(1).end()])));
}

#[test]
fn a_closed_log_ends_where_it_was_said_to() {
    let one = Draft::first(1).data(1);
    let two = Draft::after(&one).end();
    let end = Lsn::new(2, two.bytes.len() as u64);
    let from = ReplayFrom { clean_end: Some(end), ..FROM };
    let (found, report) = sequences(&directory(&[&one, &two, &Draft::unused(3)]), from).unwrap();
    assert_eq!((found, report.end, report.reason), (vec![1], end, None));
    // A trailer alone does not make an end.
    let early = Draft::after(&one).end();
    let from = ReplayFrom { clean_end: Some(Lsn::new(2, end.offset + 8)), ..FROM };
    assert_corrupt(&directory(&[&one, &early]), from, 2, end.offset, "was closed at");
    // Nor does the place.
    let unclosed = Draft::after(&one).data(2);
    let from = ReplayFrom { clean_end: Some(Lsn::new(2, THIRD)), ..FROM };
    assert_corrupt(&directory(&[&one, &unclosed]), from, 2, THIRD, "was closed at");
    // And nothing may follow.
    let from = ReplayFrom { clean_end: Some(end), ..FROM };
    let three = Draft::after(&two).data(2);
    let result = sequences(&directory(&[&one, &two, &three]), from);
    assert!(matches!(result, Err(Error::Corruption { .. })), "{result:?}");
}

#[test]
fn a_trailer_whose_place_nobody_recorded_ends_the_log_all_the_same() {
    let one = Draft::first(1).data(1).end();
    let (found, report) = sequences(&directory(&[&one]), FROM).unwrap();
    assert_eq!((found, report.reason), (vec![1], None));
}

#[test]
fn a_newer_format_anywhere_is_unsupported() {
    let one = Draft::first(1).data(1);
    let mut two = Draft::unused(2);
    two.bytes[8] = 1;
    let sealed = lsm_base::checksum::checksum64(
        lsm_base::checksum::region_seed(epoch(2), 0, 1),
        &two.bytes[..72],
    );
    two.bytes[72..80].copy_from_slice(&sealed.to_le_bytes());
    let result = sequences(&directory(&[&one, &two]), FROM);
    assert!(matches!(result, Err(Error::UnsupportedFormat { .. })), "{result:?}");
}

#[test]
fn a_floor_that_no_segment_can_have_is_refused() {
    let from = ReplayFrom { first_segment: u64::MAX, ..FROM };
    assert!(matches!(sequences(&MemFs::new(), from), Err(Error::InvalidArgument(_))));
}

fn checked(fs: &MemFs, first_segment: u64, upto: Lsn) -> Result<(u64, Vec<Lsn>)> {
    let mut places = Vec::new();
    let note_read = &mut |place| places.push(place);
    let records = check(fs, Path::new(DIR), OWNER, first_segment, upto, note_read)?;
    Ok((records, places))
}

#[test]
fn a_check_reads_every_record_up_to_a_place() {
    let one = Draft::first(1).data(1).data(3);
    let two = Draft::after(&one).data(4);
    let fs = directory(&[&one, &two, &Draft::unused(3)]);
    let places = [Lsn::new(1, SECOND), Lsn::new(1, THIRD), Lsn::new(2, SECOND)];
    assert_eq!(checked(&fs, 1, Lsn::new(2, THIRD)).unwrap(), (3, places.to_vec()));
    assert_eq!(checked(&fs, 2, Lsn::new(2, THIRD)).unwrap(), (1, places[2..].to_vec()));
    assert_eq!(checked(&fs, 1, Lsn::new(1, THIRD)).unwrap(), (1, places[..1].to_vec()));
    // Nothing was synced of the first one yet.
    assert_eq!(checked(&fs, 3, Lsn::new(2, THIRD)).unwrap(), (0, vec![]));
    let full = Draft { bytes: vec![0; CAPACITY as usize], ..Draft::unused(4) };
    assert!(checked(&directory(&[&full]), 4, Lsn::new(4, FIRST)).is_err());
}

#[test]
fn a_check_names_what_is_not_as_it_was_written() {
    let one = Draft::first(1).data(1).data(3);
    let two = Draft::after(&one).data(4);
    let three = Draft::after(&two);
    let whole = [&one, &two, &three];
    let corruption = |drafts: &[&Draft], upto: Lsn| match checked(&directory(drafts), 1, upto) {
        Err(Error::Corruption { path, offset, detail }) => (path, offset, detail),
        other => panic!("no corruption: {other:?}"),
    };
    let end = Lsn::new(2, THIRD);
    for (upto, at, why) in [
        (THIRD + 8, FOURTH, "a record ends elsewhere"),
        (CAPACITY, FOURTH, "no record header"),
        (CAPACITY + 8, CAPACITY, "the log goes on to 1032"),
    ] {
        let (file, offset, detail) = corruption(&whole, Lsn::new(1, upto));
        assert_eq!((file, offset), (path(1), at), "{detail}");
        assert!(detail.starts_with(why), "{detail}");
    }
    for link in [Link::BEGIN, Link { segment: 0, length: 200, ..one.link() }] {
        let unlinked = Draft::linked(2, link).data(4);
        let (file, offset, detail) = corruption(&[&one, &unlinked], end);
        assert_eq!((file, offset), (path(2), FIRST), "{detail}");
    }
    let damaged = Draft::after(&one).data(4).damaged_at(FIRST + 40);
    assert_eq!(corruption(&[&one, &damaged], end).0, path(2));
    // A header behind the place, and one behind that.
    for number in [3, 4] {
        let damaged = Draft::unused(number).damaged_at(20);
        let drafts = [&one, &two, &Draft::unused(3), &damaged];
        let drafts =
            if number == 3 { [drafts[0], drafts[1], drafts[3]].to_vec() } else { drafts.to_vec() };
        assert_eq!(corruption(&drafts, end).0, path(number));
    }
    for (missing, drafts) in [(1, [&two, &three]), (2, [&one, &three])] {
        let result = checked(&directory(&drafts), 1, end);
        let is_missing = |file: &PathBuf| *file == path(missing);
        assert!(matches!(&result, Err(Error::MissingFile(file)) if is_missing(file)), "{result:?}");
    }
}

/// What nobody has used and is too short for a segment was put there by somebody else.
#[test]
fn what_was_never_a_segment_is_passed_over_where_each_is_named_before_its_use() {
    let fs = directory(&[&Draft::first(1).data(5)]);
    let stray = fs.create(&path(77)).unwrap();
    fs.create_dir(&path(78)).unwrap();
    let named = ReplayFrom { highest_used: 1, names_all: true, ..FROM };
    for len in [0, 1, FILE_HEADER_LEN - 1] {
        stray.allocate(len).unwrap();
        let (found, report) = sequences(&fs, named).unwrap();
        assert_eq!((found, report.next_segment), (vec![5], 79), "{len}");
        // One that is named is damaged, and without names nobody knows.
        let used = ReplayFrom { highest_used: 77, ..named };
        assert!(matches!(sequences(&fs, used), Err(Error::MissingFile(_))), "{len}");
        assert!(sequences(&fs, FROM).is_err(), "{len}");
    }
    stray.allocate(FILE_HEADER_LEN).unwrap();
    assert_corrupt(&fs, named, 77, 0, "neither a log segment nor a journal");
}
