//! The bytes of headers and records: round trips, limits, and what is refused.

use super::*;
use proptest::prelude::*;

const PLACE: Place = Place { number: 7, epoch: 0x1234_5678_9abc_def0, offset: 4096 };
const FILE_LEN: u64 = 1 << 16;

fn encoded(place: Place, seq: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_record(&mut out, place, RecordKind::Data, Seq::new(seq), Lsn::new(6, 72), payload);
    out
}

fn decode(record: &[u8], place: Place) -> Result<RecordHeader, &'static str> {
    RecordHeader::decode(record.first_chunk().unwrap(), place, FILE_LEN)
}

fn is_whole(record: &[u8], place: Place) -> bool {
    decode(record, place).is_ok_and(|header| {
        header.record_len() == record.len() as u64
            && body_is_whole(place, &record[RECORD_HEADER_LEN..])
    })
}

#[test]
fn no_flipped_bit_of_a_record_passes() {
    for payload in [&b""[..], b"x", b"12345678", b"a payload with padding"] {
        let record = encoded(PLACE, 9, payload);
        assert!(is_whole(&record, PLACE));
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_whole(&flipped, PLACE), "bit {bit}");
        }
    }
}

#[test]
fn a_record_is_of_its_epoch_and_its_place() {
    let record = encoded(PLACE, 9, b"payload");
    assert!(!is_whole(&record, Place { epoch: PLACE.epoch + 1, ..PLACE }));
    assert!(!is_whole(&record, PLACE.plus(8)));
    // The seed of the payload's checksum alone would do: the header vouches for no payload.
    let other = encoded(PLACE.plus(8), 9, b"payload");
    assert!(!body_is_whole(PLACE, &other[RECORD_HEADER_LEN..]));
}

#[test]
fn a_header_that_claims_the_impossible_does_not_count() {
    let record = encoded(PLACE, 9, b"payload");
    // Synced beyond its own place.
    assert!(decode(&record, Place { number: 5, ..PLACE }).is_err());
    // A length that ends behind the file, by one byte.
    let end = PLACE.offset + record.len() as u64;
    let header = record.first_chunk().unwrap();
    assert!(RecordHeader::decode(header, PLACE, end).is_ok());
    assert_eq!(
        RecordHeader::decode(header, PLACE, end - 1),
        Err("the record ends beyond the file")
    );
}

#[test]
fn a_payload_has_its_longest_length_and_no_more() {
    let place = Place { offset: 80, ..PLACE };
    let decode = |payload_len: u64| {
        let mut record = encoded(place, 9, b"");
        record[4..8].copy_from_slice(&(payload_len as u32).to_le_bytes());
        let seed = region_seed(place.epoch, place.offset, REGION_RECORD_HEADER);
        let checksum = checksum32(seed, &record[4..RECORD_HEADER_LEN]);
        record[..4].copy_from_slice(&checksum.to_le_bytes());
        RecordHeader::decode(record.first_chunk().unwrap(), place, MAX_FILE_LEN)
    };
    assert_eq!(decode(MAX_PAYLOAD_LEN).unwrap().record_len(), record_len(MAX_PAYLOAD_LEN));
    assert_eq!(decode(MAX_PAYLOAD_LEN + 1), Err("the record ends beyond the file"));
}

#[test]
fn zeros_are_no_record() {
    assert_eq!(decode(&[0; 64], PLACE), Err("no record header"));
}

proptest! {
    #[test]
    fn records_round_trip(seq in 0..=Seq::MAX.get(), payload: Vec<u8>, eighth in 8_u64..1 << 12) {
        let place = Place { offset: eighth * 8, ..PLACE };
        let record = encoded(place, seq, &payload);
        prop_assert_eq!(record.len() as u64, record_len(payload.len() as u64));
        prop_assert!(is_whole(&record, place));
        let header = decode(&record, place).unwrap();
        prop_assert_eq!(header.first_seq, Seq::new(seq));
        prop_assert_eq!(header.synced, Lsn::new(6, 72));
        prop_assert_eq!(&record[RECORD_HEADER_LEN..][..header.payload_len as usize], &payload[..]);
    }

    #[test]
    fn arbitrary_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 32..200)) {
        prop_assert!(decode(&bytes, PLACE).is_err());
    }

    #[test]
    fn links_round_trip(segment: u64, epoch: u64, length: u64, seq in 0..=Seq::MAX.get()) {
        let link = Link { segment, epoch, length, last_seq: Seq::new(seq) };
        prop_assert_eq!(Link::decode(&link.encode()), Some(link));
        prop_assert_eq!(Link::decode(&link.encode()[1..]), None);
        prop_assert_eq!(Link::decode(&[&link.encode()[..], &[0]].concat()), None);
    }
}

const HEADER: FileHeader =
    FileHeader { kind: FileKind::Segment, number: 7, epoch: 99, capacity: 1 << 20, owner: 5 << 90 };

/// The header with other bytes at `offset`, and the checksum that belongs to them.
fn resealed(offset: usize, bytes: &[u8]) -> [u8; FILE_HEADER_LEN as usize] {
    let mut header = HEADER.encode();
    header[offset..offset + bytes.len()].copy_from_slice(bytes);
    let checksum = checksum64(region_seed(HEADER.epoch, 0, REGION_FILE_HEADER), &header[..72]);
    header[72..].copy_from_slice(&checksum.to_le_bytes());
    header
}

#[test]
fn no_flipped_bit_of_a_file_header_passes() {
    let path = Path::new("000007.log");
    assert_eq!(FileHeader::decode(&HEADER.encode(), path).unwrap(), HEADER);
    for bit in 0..FILE_HEADER_LEN as usize * 8 {
        let mut flipped = HEADER.encode();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = FileHeader::decode(&flipped, path).unwrap_err();
        assert!(matches!(error, Error::Corruption { .. }), "bit {bit}: {error}");
    }
}

#[test]
fn what_a_newer_release_wrote_is_unsupported_and_not_corrupt() {
    let path = Path::new("000007.log");
    for (offset, name) in
        [(8, "version"), (12, "transform"), (56, "key id"), (64, "required features")]
    {
        let error = FileHeader::decode(&resealed(offset, &[1]), path).unwrap_err();
        assert!(matches!(error, Error::UnsupportedFormat { .. }), "{name}: {error}");
    }
    assert_eq!(FileHeader::decode(&resealed(68, &[1]), path).unwrap(), HEADER, "optional features");
}

#[test]
fn the_longest_payload_fits_the_longest_file() {
    assert!(FILE_HEADER_LEN + record_len(MAX_PAYLOAD_LEN) < MAX_FILE_LEN);
    // The longest batch in its envelope.
    assert!(MAX_BATCH_LEN as u64 + 1024 <= MAX_PAYLOAD_LEN);
    assert!(u32::try_from(MAX_PAYLOAD_LEN).is_ok());
    assert_eq!(MAX_FILE_LEN % ALIGNMENT, 0);
    assert_eq!((END_RECORD_LEN, LINK_RECORD_LEN), (40, 72));
}
