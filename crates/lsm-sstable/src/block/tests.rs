//! Blocks: round trips, searches and damage.

use proptest::collection::vec;
use proptest::prelude::*;

use super::layout::COMMON_PREFIX;
use super::*;
use crate::format::{DATA, open_region};
use crate::options::Compression;
use lsm_base::InternalKey;
use lsm_base::key::hash_user_key;

const ID: u64 = 42;
const OFFSET: u64 = 4096;

/// A block in memory, as a reader admits it.
struct Admitted {
    bytes: Vec<u8>,
    layout: Layout,
}

impl Admitted {
    fn block(&self) -> Block<'_> {
        Block::new(&self.bytes, &self.layout)
    }
}

fn stored(entries: &[(InternalKey, Vec<u8>)], compression: Compression) -> Vec<u8> {
    let mut builder = BlockBuilder::default();
    for (key, value) in entries {
        builder.push(key.as_ref(), hash_user_key(&key.user_key), value);
    }
    let mut out = b"what stands before".to_vec();
    builder.finish(&mut out, compression, ID, OFFSET);
    assert!(builder.is_empty());
    out.split_off(18)
}

fn admit(stored: &[u8]) -> Result<Admitted, Flaw> {
    let content = open_region(stored, ID, OFFSET, DATA)?;
    admit_content(content)
}

fn admit_content(content: &[u8]) -> Result<Admitted, Flaw> {
    let layout = admit_stored(content)?;
    let mut bytes = content.to_vec();
    if layout.codec() == Compression::Lz4 {
        decompress(content, &layout, &mut bytes)?;
    }
    let admitted = Admitted { bytes, layout };
    admitted.block().check()?;
    Ok(admitted)
}

fn entry(user_key: &[u8], seq: u64, kind: Kind, value: &[u8]) -> (InternalKey, Vec<u8>) {
    (InternalKeyRef::new(user_key, Seq::new(seq), kind).to_owned(), value.to_vec())
}

fn entries() -> impl Strategy<Value = Vec<(InternalKey, Vec<u8>)>> {
    let key = vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 1..6);
    let seq = prop_oneof![0_u64..4, 0_u64..70_000, 0..1_u64 << 56];
    let value = prop_oneof![0_usize..10, 200_usize..2000].prop_map(|len| vec![b'v'; len]);
    vec((key, seq, any::<bool>(), value), 1..40).prop_map(|entries| {
        let mut entries: Vec<_> = entries
            .into_iter()
            .map(|(key, seq, is_put, value)| {
                let kind = if is_put { Kind::Put } else { Kind::Delete };
                entry(&key, seq, kind, if is_put { &value } else { &[] })
            })
            .collect();
        entries.sort();
        entries.dedup_by(|a, b| a.0.user_key == b.0.user_key && a.0.seq == b.0.seq);
        entries
    })
}

/// The answer that a block must give, by a search of all entries.
fn find_linearly<'a>(
    entries: &'a [(InternalKey, Vec<u8>)],
    user_key: &[u8],
    seq: Seq,
) -> Option<&'a (InternalKey, Vec<u8>)> {
    entries.iter().find(|(key, _)| &*key.user_key == user_key && key.seq <= seq)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_round_trip(entries in entries(), is_lz4: bool) {
        let compression = if is_lz4 { Compression::Lz4 } else { Compression::None };
        let stored = stored(&entries, compression);
        prop_assert_eq!(stored.len() % BLOCK_ALIGN, 0);
        let admitted = admit(&stored).unwrap();
        let block = admitted.block();
        prop_assert_eq!(block.count(), entries.len());
        for (index, (key, value)) in entries.iter().enumerate() {
            let entry = block.entry(index).unwrap();
            prop_assert_eq!(block.key(&entry), key.as_ref());
            prop_assert_eq!(block.value(&entry), &value[..]);
        }
        prop_assert!(block.entry(entries.len()).is_none());
    }

    #[test]
    fn searches_agree_with_a_linear_one(entries in entries(), other in vec(any::<u8>(), 1..3)) {
        let admitted = admit(&stored(&entries, Compression::None)).unwrap();
        let block = admitted.block();
        let keys = entries.iter().map(|(key, _)| &key.user_key[..]).chain([&other[..]]);
        for user_key in keys {
            let tag = tag_of(hash_user_key(user_key));
            for seq in entries.iter().flat_map(|(key, _)| [key.seq, Seq::new(key.seq.get() / 2)]) {
                let found = block.find(user_key, tag, seq).unwrap();
                let expected = find_linearly(&entries, user_key, seq);
                prop_assert_eq!(
                    found.map(|entry| (block.key(&entry).to_owned(), block.value(&entry).to_vec())),
                    expected.cloned()
                );
                let bound = entries.partition_point(|(key, _)| {
                    key.as_ref().cmp_point(user_key, seq).is_lt()
                });
                prop_assert_eq!(block.lower_bound(user_key, seq).unwrap(), bound);
            }
        }
    }

    #[test]
    fn what_is_admitted_can_be_read(content in vec(any::<u8>(), 0..200), count in 0_u32..20) {
        // Bytes that a checksum let through, by a fault of whoever wrote them.
        let mut content = content;
        if 24 <= content.len() {
            content[0..4].copy_from_slice(&count.to_le_bytes());
            content[4] &= 5;
            content[5] &= 1;
            content[6] = 0;
        }
        read_everything(&content);
    }

    #[test]
    fn a_damaged_block_that_is_admitted_can_be_read(
        entries in entries(),
        is_lz4: bool,
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let compression = if is_lz4 { Compression::Lz4 } else { Compression::None };
        let stored = stored(&entries, compression);
        let mut content = without_checksum(&stored).unwrap().to_vec();
        for (at, byte) in flips {
            let at = at.index(content.len());
            content[at] = byte;
        }
        read_everything(&content);
    }

    #[test]
    fn tags_match_where_they_stand(tags in vec(0_u8..4, 0..50), wanted in 0_u8..4) {
        let found: Vec<usize> = TagMatches::new(&tags, wanted).collect();
        let expected: Vec<usize> = (0..tags.len()).filter(|&i| tags[i] == wanted).collect();
        prop_assert_eq!(found, expected);
    }
}

/// Goes through every reader of a block; none may panic, whatever the bytes are.
fn read_everything(content: &[u8]) {
    let Ok(admitted) = admit_content(content) else { return };
    let block = admitted.block();
    for index in 0..block.count() {
        let entry = block.entry(index).expect("every entry of an admitted block can be read");
        let key = block.key(&entry);
        assert!(!key.user_key.is_empty());
        block.find(key.user_key, block.tags()[index], key.seq).unwrap();
        block.lower_bound(key.user_key, key.seq).unwrap();
        assert_eq!(block.value(&entry).len(), entry.end - entry.value_at);
    }
}

#[test]
fn every_bit_of_a_block_is_covered() {
    let entries = [entry(b"a", 5, Kind::Put, b"one"), entry(b"b", 3, Kind::Delete, b"")];
    let good = stored(&entries, Compression::None);
    for bit in 0..8 * good.len() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(admit(&bytes), Err(Flaw::Corrupt { .. })), "bit {bit}");
    }
    assert!(open_region(&good, ID, OFFSET + 8, DATA).is_err(), "another place");
    assert!(open_region(&good, ID + 1, OFFSET, DATA).is_err(), "another table");
}

#[test]
fn what_a_later_release_writes_is_unsupported() {
    let entries = [entry(b"a", 5, Kind::Delete, b""), entry(b"b", 3, Kind::Put, b"")];
    let good = without_checksum(&stored(&entries, Compression::None)).unwrap().to_vec();
    let layout = admit_stored(&good).unwrap();
    let with = |at: usize, byte: u8| {
        let mut content = good.clone();
        content[at] = byte;
        admit_content(&content).map(|_| ())
    };
    let flags = good[4];
    for (at, byte) in [
        (4, flags | COMMON_PREFIX),
        (4, flags | 0x80),
        (5, 2),
        (6, 1),
        (layout.kinds_at, 3),
        (layout.kinds_at, Kind::LAST_RESERVED_CODE),
    ] {
        assert!(matches!(with(at, byte), Err(Flaw::Unsupported(_))), "{byte} at {at}");
    }
    for (at, byte) in [(layout.kinds_at, 0), (layout.kinds_at, 9), (7, 3), (8, 200), (12, 200)] {
        assert!(matches!(with(at, byte), Err(Flaw::Corrupt { .. })), "{byte} at {at}");
    }
}

#[test]
fn a_tombstone_with_a_value_is_not_admitted() {
    for compression in [Compression::None, Compression::Lz4] {
        let value = [b'x'; 200];
        let entries = [entry(b"a", 7, Kind::Put, &value), entry(b"b", 5, Kind::Delete, &value)];
        assert!(matches!(admit(&stored(&entries, compression)), Err(Flaw::Corrupt { .. })));
    }
}

#[test]
fn a_compressed_payload_cannot_claim_more_than_it_can_hold() {
    let value = vec![b'x'; 3000];
    let stored = stored(&[entry(b"a", 5, Kind::Put, &value)], Compression::Lz4);
    let mut content = without_checksum(&stored).unwrap().to_vec();
    assert!(content.len() < 200 && admit_content(&content).is_ok());
    content[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(admit_content(&content), Err(Flaw::Corrupt { .. })));
    content[8..12].copy_from_slice(&2000_u32.to_le_bytes());
    assert!(matches!(admit_content(&content), Err(Flaw::Corrupt { .. })));
}

#[test]
fn a_large_entry_gets_wide_offsets() {
    let value: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect();
    let long_key = vec![7; MAX_KEY_LEN];
    let entries =
        [entry(b"\x01", 9, Kind::Put, &value), entry(&long_key, 1 << 40, Kind::Put, b"v")];
    for compression in [Compression::None, Compression::Lz4] {
        let admitted = admit(&stored(&entries, compression)).unwrap();
        assert!(admitted.layout.has_wide_offsets);
        let found = admitted.block().find(&long_key, tag_of(hash_user_key(&long_key)), Seq::MAX);
        assert_eq!(found.unwrap().unwrap().seq, Seq::new(1 << 40));
    }
}

#[test]
fn columns_are_as_narrow_as_they_can_be() {
    for (seqs, width) in [
        ([5, 5], 0),
        ([260, 5], 1),
        ([261, 5], 2),
        ([65_540, 5], 2),
        ([65_541, 5], 4),
        ([1 << 32, 0], 8),
    ] {
        let entries = [entry(b"a", seqs[0], Kind::Put, b""), entry(b"b", seqs[1], Kind::Put, b"")];
        let admitted = admit(&stored(&entries, Compression::None)).unwrap();
        assert_eq!(admitted.layout.seq_width, width, "{seqs:?}");
        assert!(!admitted.layout.has_kinds);
    }
}

#[test]
fn compression_that_saves_too_little_is_not_kept() {
    let noise: Vec<u8> = (0..3000_u32).map(|i| hash_user_key(&i.to_le_bytes()) as u8).collect();
    let admitted = admit(&stored(&[entry(b"a", 1, Kind::Put, &noise)], Compression::Lz4)).unwrap();
    assert_eq!(admitted.layout.codec(), Compression::None);
    let admitted = admit(&stored(&[entry(b"a", 1, Kind::Put, &[0; 3000])], Compression::Lz4));
    assert_eq!(admitted.unwrap().layout.codec(), Compression::Lz4);
}

#[test]
fn the_length_of_a_key_takes_as_many_bytes_as_it_needs() {
    for len in [1, 2, 127, 128, 129, 255, 256, MAX_KEY_LEN - 1, MAX_KEY_LEN] {
        let key = vec![b'k'; len];
        let admitted = admit(&stored(&[entry(&key, 5, Kind::Put, b"v")], Compression::None));
        let admitted = admitted.unwrap();
        let entry = admitted.block().entry(0).unwrap();
        assert_eq!(admitted.block().key(&entry).user_key, key);
        assert_eq!(admitted.block().value(&entry), b"v");
    }
    let mut content = raw(&[entry(b"a", 5, Kind::Put, b"v")]);
    let at = admit_stored(&content).unwrap().entries_at;
    content[at] = 0;
    assert!(matches!(admit_content(&content), Err(Flaw::Corrupt { .. })), "a key of no bytes");
}

#[test]
fn an_entry_of_a_later_release_is_told_from_one_that_cannot_be_read() {
    let mut content = raw(&[entry(b"a", 5, Kind::Delete, b""), entry(b"b", 3, Kind::Put, b"")]);
    let at = admit_stored(&content).unwrap().kinds_at;
    content[at + 1] = Kind::LAST_RESERVED_CODE;
    assert!(matches!(admit_content(&content), Err(Flaw::Unsupported(_))));
    // Without kinds, what stands in their place is the first entry, here with too long a key.
    let mut content = raw(&[entry(b"a", 5, Kind::Put, b"")]);
    let at = admit_stored(&content).unwrap().kinds_at;
    content[at] = Kind::LAST_RESERVED_CODE;
    assert!(matches!(admit_content(&content), Err(Flaw::Corrupt { .. })));
}

#[test]
fn a_compressed_payload_is_as_long_as_its_header_says() {
    let value = vec![b'x'; 3000];
    let stored = stored(&[entry(b"a", 5, Kind::Put, &value)], Compression::Lz4);
    let content = without_checksum(&stored).unwrap();
    let layout = admit_stored(content).unwrap();
    let with_len = |len: usize| {
        let mut content = content.to_vec();
        content[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        match admit_content(&content) {
            Ok(_) => String::new(),
            Err(Flaw::Corrupt { detail, .. }) => detail.into(),
            Err(other) => panic!("{other:?}"),
        }
    };
    let (too_much, another) = ("larger than its compressed form", "of another length");
    let most = 255 * layout.stored_len() + 64;
    assert_eq!(with_len(layout.payload_len()), "");
    for (len, expected) in
        [(layout.payload_len() + 1, another), (most, another), (most + 1, too_much)]
    {
        assert!(with_len(len).contains(expected), "{len}: {}", with_len(len));
    }
}

/// The content of a block that is not compressed.
fn raw(entries: &[(InternalKey, Vec<u8>)]) -> Vec<u8> {
    without_checksum(&stored(entries, Compression::None)).unwrap().to_vec()
}

#[test]
fn each_rule_of_the_frame_is_checked_by_itself() {
    let good = raw(&[entry(b"a", 300, Kind::Put, b"value"), entry(b"b", 3, Kind::Delete, b"")]);
    let layout = admit_stored(&good).unwrap();
    let of = |payload_len: u32, stored_len: u32| {
        let mut content = good.clone();
        content[8..12].copy_from_slice(&payload_len.to_le_bytes());
        content[12..16].copy_from_slice(&stored_len.to_le_bytes());
        content
    };
    let len = layout.payload_len as u32;
    let mut empty = good.clone();
    empty[0] = 0;
    let mut width = good.clone();
    width[7] = 3;
    let mut padded = good.clone();
    padded.extend_from_slice(&[0; 8]);
    assert_eq!(admit_stored(&padded).unwrap(), layout);
    padded.extend_from_slice(&[1]);
    let columns = (layout.entries_at - layout.payload_at) as u32;
    let mut short = of(columns - 1, columns - 1);
    short[layout.payload_at + columns as usize - 1..].fill(0);
    let mut none = of(columns, columns);
    none[layout.payload_at + columns as usize..].fill(0);
    assert!(admit_stored(&none).is_ok(), "what has no room for entries is for the check of these");
    for (rule, content, expected) in [
        ("a count", empty, "without entries"),
        ("a width", width, "of 3 bytes"),
        ("one length if it is raw", of(len - 1, len), "two lengths"),
        ("what fits", of(len + 50, len + 50), "does not fill"),
        ("zeros behind it", padded, "does not fill"),
        ("room for the columns", short, "shorter than its columns"),
    ] {
        match admit_stored(&content) {
            Err(Flaw::Corrupt { detail, .. }) => {
                assert!(detail.contains(expected), "{rule}: {detail}");
            }
            other => panic!("{rule}: {other:?}"),
        }
    }
}
