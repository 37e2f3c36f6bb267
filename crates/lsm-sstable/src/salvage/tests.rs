//! Damage to every byte of a table, and what is left of it: nothing wrong, and all else told.

use std::collections::BTreeMap;
use std::path::Path;

use lsm_base::fs::MemFs;
use lsm_base::{KeyspaceId, Kind, Seq};

use super::*;
use crate::builder::TableBuilder;
use crate::options::TableOptions;

const PATH: &str = "000001.sst";
const KEYS: u32 = 60;

/// User key and value of each entry.
type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn value(key: u32) -> Vec<u8> {
    format!("the value of {key}, ").repeat(3).into_bytes()
}

/// A table, what is known of it, and where its data ends.
fn table(compression: Compression) -> (Vec<u8>, TableIdentity, usize) {
    let fs = MemFs::new();
    let options = TableOptions { block_size: 256, compression, ..TableOptions::default() };
    let file = fs.create(Path::new(PATH)).unwrap();
    let mut builder = TableBuilder::new(Arc::clone(&file), 7, (KeyspaceId(3), "users"), options);
    for key in 0..KEYS {
        let name = key.to_be_bytes();
        builder.add(InternalKeyRef::new(&name, Seq::new(9), Kind::Put), &value(key)).unwrap();
    }
    let summary = builder.finish().unwrap();
    let identity = TableIdentity { id: 7, len: summary.len, entries: summary.entries };
    let mut bytes = vec![0; summary.len as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let footer = read_footer(&*file, Path::new(PATH), summary.len).unwrap();
    let directory = read_directory(&*file, Path::new(PATH), &footer).unwrap();
    (bytes, identity, directory.require(DATA).unwrap().end() as usize)
}

/// What is left of these bytes.
fn salvage(bytes: &[u8], identity: Option<TableIdentity>) -> Result<(Entries, Vec<LostBlocks>)> {
    let fs = MemFs::new();
    fs.create(Path::new(PATH)).unwrap().write_all_at(bytes, 0).unwrap();
    let mut salvage = Salvage::open(&fs, Path::new(PATH), identity)?;
    let (mut entries, mut lost) = (Entries::new(), Vec::new());
    loop {
        match salvage.step()? {
            SalvageStep::Entry => {
                let last = entries.last_key_value().map(|(key, _)| &key[..]);
                assert!(last < Some(salvage.key().user_key), "{:?} comes late", salvage.key());
                entries.insert(salvage.key().user_key.into(), salvage.value().into());
            }
            SalvageStep::Lost(blocks) => lost.push(blocks),
            SalvageStep::End => return Ok((entries, lost)),
        }
    }
}

/// Nothing is there that was not written, and what is gone lies in what is told.
fn assert_told(entries: &Entries, lost: &[LostBlocks], context: &str) {
    for key in 0..KEYS {
        let name = key.to_be_bytes();
        match entries.get(&name[..]) {
            Some(found) => assert_eq!(*found, value(key), "{context}"),
            None => {
                let is_told = lost.iter().any(|lost| {
                    lost.first.as_deref().is_none_or(|first| *first <= name[..])
                        && lost.last.as_deref().is_none_or(|last| name[..] <= *last)
                });
                assert!(is_told, "{context}: {key} is gone, and {lost:?}");
            }
        }
    }
    assert!(entries.len() <= KEYS as usize, "{context}");
}

#[test]
fn a_whole_table_loses_nothing() {
    for compression in [Compression::None, Compression::Lz4] {
        let (bytes, identity, _) = table(compression);
        for identity in [None, Some(identity)] {
            let (entries, lost) = salvage(&bytes, identity).unwrap();
            assert_told(&entries, &[], "whole");
            assert!(lost.is_empty(), "{lost:?}");
        }
    }
}

#[test]
fn every_flipped_byte_costs_its_own_block_at_most() {
    for compression in [Compression::None, Compression::Lz4] {
        let (bytes, identity, data_end) = table(compression);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let context = format!("{compression}, byte {at}");
            let (entries, lost) = salvage(&bytes, Some(identity)).unwrap();
            assert_told(&entries, &lost, &context);
            let lost_keys = KEYS as usize - entries.len();
            assert_eq!(lost.len(), usize::from(at < data_end), "{context}: {lost:?}");
            assert!(lost_keys <= if at < data_end { 12 } else { 0 }, "{context}: {lost_keys}");
        }
    }
}

#[test]
fn without_an_identity_only_the_footer_cannot_be_done_without() {
    let (bytes, _, data_end) = table(Compression::Lz4);
    for at in data_end..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        match salvage(&bytes, None) {
            Ok((entries, lost)) => {
                assert_eq!(entries.len(), KEYS as usize, "byte {at}");
                assert!(lost.len() <= 1, "byte {at}: {lost:?}");
            }
            Err(error) => {
                assert!(matches!(error, Error::Corruption { .. }), "byte {at}: {error}");
                assert!(bytes.len() - FOOTER_LEN <= at, "byte {at}: {error}");
            }
        }
    }
}

#[test]
fn a_table_that_is_cut_anywhere_gives_the_blocks_before() {
    let (bytes, identity, data_end) = table(Compression::None);
    for len in 0..bytes.len() {
        let (entries, lost) = salvage(&bytes[..len], Some(identity)).unwrap();
        assert_told(&entries, &lost, &format!("cut at {len}"));
        assert_eq!(lost.is_empty(), data_end <= len, "cut at {len}: {lost:?}");
    }
}

#[test]
fn two_damages_in_the_data_and_the_fences_are_told() {
    let (bytes, identity, data_end) = table(Compression::None);
    for at in (0..data_end).step_by(5) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let last = bytes.len() - 1;
        // Without the footer nothing says where the blocks are.
        bytes[last] ^= 1;
        let (entries, lost) = salvage(&bytes, Some(identity)).unwrap();
        assert_told(&entries, &lost, &format!("byte {at}"));
        assert!(!lost.is_empty(), "byte {at}");
    }
}

#[test]
fn another_table_in_its_place_is_refused() {
    let (bytes, identity, _) = table(Compression::None);
    let other = TableIdentity { id: 8, ..identity };
    assert!(matches!(salvage(&bytes, Some(other)), Err(Error::Corruption { .. })));
}

#[test]
fn a_file_of_another_length_is_the_table_that_its_footer_says() {
    let (bytes, identity, _) = table(Compression::None);
    let is_refused = |bytes: &[u8], identity| {
        matches!(salvage(bytes, Some(identity)), Err(Error::Corruption { .. }))
    };
    for recorded in [identity.len - 8, identity.len + 8] {
        let other = TableIdentity { id: 8, len: recorded, ..identity };
        assert!(is_refused(&bytes, other), "recorded with {recorded} bytes");
        let (entries, lost) = salvage(&bytes, Some(TableIdentity { id: 7, ..other })).unwrap();
        assert_eq!((entries.len(), lost.len()), (KEYS as usize, 0), "with {recorded} bytes");
    }
    // What follows a whole table says nothing of it, not even with a footer of its own.
    let footer = crate::format::Footer {
        directory_offset: 0,
        directory_len: 0,
        id: 8,
        file_len: identity.len + FOOTER_LEN as u64,
    };
    let longer = [&bytes[..], &footer.encode()].concat();
    let (entries, lost) = salvage(&longer, Some(identity)).unwrap();
    assert_eq!((entries.len(), lost.len()), (KEYS as usize, 0));
}

#[test]
fn what_is_told_reaches_no_further_than_the_blocks_beside() {
    let (bytes, identity, data_end) = table(Compression::None);
    for has_fences in [true, false] {
        let mut bytes = bytes.clone();
        bytes[data_end / 2] ^= 1;
        *bytes.last_mut().unwrap() ^= u8::from(!has_fences);
        let (entries, lost) = salvage(&bytes, Some(identity)).unwrap();
        // Without a footer, what follows the data is told as well.
        let [lost, ..] = &lost[..] else { panic!("{has_fences}") };
        let missing: Vec<_> =
            (0..KEYS).filter(|key| !entries.contains_key(&key.to_be_bytes()[..])).collect();
        let (first, last) = (missing[0], missing[missing.len() - 1]);
        let key = |bound: &Option<Box<[u8]>>| {
            let mut key = [0; 4];
            let bound = bound.as_deref().expect("there are blocks on both sides");
            key[..bound.len()].copy_from_slice(bound);
            u32::from_be_bytes(key)
        };
        let per_block = last - first + 1;
        let told = key(&lost.first)..=key(&lost.last);
        assert!((first - 1..=first).contains(told.start()), "{told:?} of {missing:?}");
        assert!((last..=last + per_block).contains(told.end()), "{told:?} of {missing:?}");
    }
}

#[test]
fn a_salvage_says_what_it_reads_and_how_far_it_is() {
    let (bytes, identity, data_end) = table(Compression::None);
    let open = |bytes: &[u8], identity| {
        let fs = MemFs::new();
        fs.create(Path::new(PATH)).unwrap().write_all_at(bytes, 0).unwrap();
        Salvage::open(&fs, Path::new(PATH), identity)
    };
    let mut salvage = open(&bytes, Some(identity)).unwrap();
    assert_eq!((salvage.id(), salvage.file_len()), (7, bytes.len() as u64));
    assert_eq!(salvage.properties().unwrap().entries, u64::from(KEYS));
    assert!(salvage.frame_damage().is_none());
    let mut positions = vec![salvage.position()];
    while matches!(salvage.step().unwrap(), SalvageStep::Entry) {
        positions.push(salvage.position());
    }
    assert!(positions.is_sorted() && positions[0] == 0);
    assert_eq!(*positions.last().unwrap(), data_end as u64);
    let middle = positions[KEYS as usize / 2] as usize;
    assert!((data_end / 3..data_end).contains(&middle), "{middle} of {data_end}");

    // The footer, of a file of the right length; and a file that is too short for one.
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (bytes, expected) in [(&flipped[..], "magic"), (&bytes[..data_end], "are recorded")] {
        let salvage = open(bytes, Some(identity)).unwrap();
        assert_eq!((salvage.id(), salvage.properties()), (7, None));
        let damage = salvage.frame_damage().unwrap().to_string();
        assert!(damage.contains(expected), "{damage}");
    }
    // A longer file is read by the footer at its recorded end.
    let longer = [&bytes[..], &[0; 100]].concat();
    assert!(open(&longer, Some(identity)).unwrap().frame_damage().is_none());

    let other = TableIdentity { id: 8, ..identity };
    match open(&bytes, Some(other)).unwrap_err() {
        Error::Corruption { offset, .. } => assert_eq!(offset, bytes.len() as u64 - 48),
        error => panic!("{error}"),
    }
}
