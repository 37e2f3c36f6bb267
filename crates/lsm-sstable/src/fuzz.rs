//! Fuzz targets of this crate: what holds of any block, fences, filter and table. See
//! [`lsm_base::testing::corpus`].
//!
//! ```text
//! input of `block`    a stored block without its checksum
//! input of `fences`   length of the data u32, in units of 8 bytes | the region without its checksum
//! input of `filter`   the region without its checksum
//! input of `table`    flags u8: 1 checksums are made right, 2 read through a map | the file
//! ```

use std::sync::Arc;

use lsm_base::fs::MemFs;
use lsm_base::key::hash_user_key;
use lsm_base::{Cursor, Error, Fs, InternalKey, Result, Seq};

use crate::block::{self, Block, tag_of};
use crate::fences::Fences;
use crate::filter::Filter;
use crate::flaw::Flaw;
use crate::format::{
    CHECKSUM_LEN, DATA, Directory, FENCES, FOOTER_LEN, Footer, Section, reseal_region,
};
use crate::options::Compression;
use crate::{BlockCache, CursorMode, ReadMode, Table};

/// Every entry of a block that is admitted can be read, and a search ends.
pub fn block(bytes: &[u8]) {
    let _ = read_block(bytes);
}

fn read_block(content: &[u8]) -> Result<(), Flaw> {
    let layout = block::admit_stored(content)?;
    let mut decompressed = Vec::new();
    let bytes = match layout.codec() {
        Compression::None => content,
        Compression::Lz4 => {
            block::decompress(content, &layout, &mut decompressed)?;
            &decompressed
        }
    };
    assert!(bytes.len() <= 256 * content.len() + 64, "a claim that was believed");
    let block = Block::new(bytes, &layout);
    block.check()?;
    for index in 0..block.count() {
        let entry = block.entry(index).expect("an admitted block has all of its entries");
        let key = block.key(&entry);
        assert!(!key.user_key.is_empty());
        assert_eq!(block.value(&entry).len(), entry.end - entry.value_at);
        assert!(block.lower_bound(key.user_key, key.seq)? <= block.count());
        let tag = block.tags()[index];
        let found = block.find(key.user_key, tag, key.seq)?.expect("the entry itself would do");
        assert_eq!(block.key(&found).user_key, key.user_key);
    }
    Ok(())
}

/// Fences that are admitted send every key to the first block whose separator is not below it.
pub fn fences(bytes: &[u8]) {
    let Some((len, region)) = bytes.split_first_chunk::<4>() else { return };
    let data_len = 8 * u64::from(u32::from_le_bytes(*len));
    let Ok(fences) = Fences::new(region, data_len) else { return };
    assert!(fences.count() <= region.len());
    let separator = |index| [fences.common_prefix(), fences.suffix(index)].concat();
    let separators: Vec<_> = (0..fences.count()).map(separator).collect();
    assert!(separators.is_sorted());
    assert_eq!(fences.block(fences.count() - 1).end, data_len);
    let near = separators.iter().flat_map(|key| {
        let shorter = key[..key.len().saturating_sub(1)].to_vec();
        [key.clone(), [key, &[0][..]].concat(), shorter]
    });
    for key in near.chain([vec![], vec![0xff; 9]]) {
        let expected = separators.partition_point(|separator| *separator < key);
        match fences.search(&key) {
            None => assert_eq!(expected, separators.len(), "{key:?}"),
            Some(fence) => {
                assert_eq!(fence.index, expected, "{key:?}");
                assert_eq!(fence.is_exact, separators[expected] == key, "{key:?}");
            }
        }
    }
}

/// A filter that is admitted answers.
pub fn filter(bytes: &[u8]) {
    let Ok(filter) = Filter::new(bytes) else { return };
    assert_eq!(64 + 64 * filter.lines(), filter.len());
    for number in 0..64_u64 {
        let hash = hash_user_key(&number.to_le_bytes());
        let is_in = filter.may_contain(hash);
        assert!(is_in || filter.probes() != 0, "no probe denies a key");
    }
}

/// A table is walked both ways to an end, or an error names a place in it; one that verifies has
/// each of its entries for gets too.
pub fn table(bytes: &[u8]) {
    let Some((flags, rest)) = bytes.split_first() else { return };
    let mut file = rest.to_vec();
    if flags & 1 != 0 {
        let _ = repair(&mut file);
    }
    let mode = if flags & 2 == 0 { ReadMode::Pread } else { ReadMode::Map };
    if let Err(error) = read_table(&file, mode) {
        match error {
            Error::Corruption { offset, .. } => assert!(offset <= file.len() as u64, "{error}"),
            Error::UnsupportedFormat { .. } => {}
            _ => panic!("{error}"),
        }
    }
}

fn read_table(bytes: &[u8], mode: ReadMode) -> Result<()> {
    let fs = Arc::new(MemFs::new());
    let path = std::path::Path::new("/000007.sst");
    fs.create(path)?.write_all_at(bytes, 0)?;
    let table = Table::open_standalone(fs, path, mode, BlockCache::new(1 << 20))?;
    let verified = table.verify();
    let walked = walk(&table, bytes.len());
    // Each fails where the other does not: a walk looks at less than all, a get at less than that.
    let inspected = table.inspect();
    let Ok(report) = verified else {
        walked?;
        inspected?;
        return verified.map(drop);
    };
    let entries = walked.expect("a table that verifies can be walked");
    inspected.expect("a table that verifies can be inspected");
    assert_eq!(report.entries, entries.len() as u64);
    for (key, value) in &entries {
        let found = table.get(&key.user_key, hash_user_key(&key.user_key), key.seq);
        let found = found?.expect("an entry of a table that verifies");
        assert_eq!((found.seq, found.kind, &*found.value), (key.seq, key.kind, &value[..]));
    }
    Ok(())
}

/// The entries of a table, which are the same backwards.
fn walk(table: &Arc<Table>, file_len: usize) -> Result<Vec<(InternalKey, Vec<u8>)>> {
    // LZ4 makes at most 255 bytes of one, and an entry has more than one.
    let most = 256 * file_len;
    let mut cursor = table.cursor(CursorMode::Read);
    let mut entries = Vec::new();
    cursor.seek_to_first()?;
    while cursor.valid() {
        assert!(entries.len() < most, "a walk without end");
        entries.push((cursor.key().to_owned(), cursor.value().to_vec()));
        cursor.next()?;
    }
    cursor.seek_to_last()?;
    for (key, value) in entries.iter().rev() {
        assert_eq!((cursor.key(), cursor.value()), (key.as_ref(), &value[..]));
        cursor.prev()?;
    }
    assert!(!cursor.valid(), "more backwards than forwards");
    for (key, _) in entries.iter().take(8) {
        cursor.seek(&key.user_key, key.seq)?;
        cursor.seek_before(&key.user_key, Seq::MAX)?;
        let _ = table.get(&key.user_key, hash_user_key(&key.user_key), key.seq)?;
        let _ = tag_of(hash_user_key(&key.user_key));
    }
    Ok(entries)
}

/// Makes the length in the footer and every checksum right, as far as the regions can be found.
fn repair(bytes: &mut [u8]) -> Option<()> {
    let file_len = bytes.len() as u64;
    let footer_at = bytes.len().checked_sub(FOOTER_LEN)?;
    let word = |bytes: &[u8], at: usize| Some(u64::from_le_bytes(*bytes[at..].first_chunk()?));
    let (directory_offset, id) = (word(bytes, footer_at)?, word(bytes, footer_at + 16)?);
    let directory_len = (footer_at as u64).checked_sub(directory_offset)?;
    let footer = Footer { directory_offset, directory_len, id, file_len };
    bytes[footer_at..].copy_from_slice(&footer.encode());
    let directory_at = directory_offset as usize;
    let sealed = bytes.get_mut(directory_at..footer_at)?;
    Directory::reseal(sealed, id, directory_offset);
    let sections = Directory::decode(sealed, id, directory_offset).ok()?.sections;
    for section in sections.iter().filter(|section| section.kind != DATA) {
        let region = bytes.get_mut(section.offset as usize..section.end() as usize)?;
        reseal_region(region, id, section.offset, section.kind);
    }
    let find = |kind| sections.iter().find(|section| section.kind == kind).copied();
    repair_blocks(bytes, id, find(DATA)?, find(FENCES)?)
}

fn repair_blocks(bytes: &mut [u8], id: u64, data: Section, fences: Section) -> Option<()> {
    let region = bytes.get(fences.offset as usize..fences.end() as usize)?;
    let region = region[..region.len().checked_sub(CHECKSUM_LEN)?].to_vec();
    let fences = Fences::new(region, data.len).ok()?;
    for index in 0..fences.count() {
        let (start, end) = (fences.block(index).start, fences.block(index).end);
        let offset = data.offset + start;
        let sealed = bytes.get_mut(offset as usize..(data.offset + end) as usize)?;
        reseal_region(sealed, id, offset, DATA);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use lsm_base::testing::corpus;
    use lsm_base::{InternalKeyRef, KeyspaceId, Kind};

    use super::*;
    use crate::fences::FencesBuilder;
    use crate::filter::FilterBuilder;
    use crate::{TableBuilder, TableOptions};

    /// The file of a table with blocks of both codecs.
    fn file(compression: Compression) -> Vec<u8> {
        let fs = MemFs::new();
        let path = std::path::Path::new("/000007.sst");
        let options = TableOptions { block_size: 128, compression, ..TableOptions::default() };
        let space = (KeyspaceId(3), "users");
        let mut builder = TableBuilder::new(fs.create(path).unwrap(), 0x5eed, space, options);
        for number in 0..12_u64 {
            let key = format!("key{number:02}");
            let newer = InternalKeyRef::new(key.as_bytes(), Seq::new(100 + number), Kind::Put);
            let value =
                [b'v'; 30].map(|byte| if number % 4 == 1 { byte ^ number as u8 } else { byte });
            builder.add(newer, &value).unwrap();
            if number % 3 == 0 {
                let older = InternalKeyRef::new(key.as_bytes(), Seq::new(number), Kind::Delete);
                builder.add(older, b"").unwrap();
            }
        }
        builder.finish().unwrap();
        let file = fs.open(path).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn table_input(flags: u8, compression: Compression) -> Vec<u8> {
        [&[flags], &file(compression)[..]].concat()
    }

    /// The blocks of a table without their checksums.
    fn blocks(compression: Compression) -> Vec<Vec<u8>> {
        let bytes = file(compression);
        let fs = Arc::new(MemFs::new());
        let path = std::path::Path::new("/000007.sst");
        fs.create(path).unwrap().write_all_at(&bytes, 0).unwrap();
        let cache = BlockCache::new(0);
        let table = Table::open_standalone(fs, path, ReadMode::Pread, cache).unwrap();
        let opened = table.opened().unwrap();
        let block = |index| {
            let mut bytes = Vec::new();
            opened.read_block(index, &mut bytes).unwrap();
            block::without_checksum(&bytes).unwrap().to_vec()
        };
        (0..2).map(block).collect()
    }

    #[test]
    fn the_corpus_of_blocks() {
        let seeds = [Compression::None, Compression::Lz4].map(blocks).concat();
        corpus::replay("block", &seeds, corpus::RUNS, block);
    }

    #[test]
    fn the_corpus_of_fences() {
        let seed = |separators: &[&[u8]], common: usize| {
            let mut builder = FencesBuilder::default();
            for (index, separator) in separators.iter().enumerate() {
                builder.add(separator, 16 * index as u64);
            }
            let mut bytes = (2 * separators.len() as u32).to_le_bytes().to_vec();
            builder.finish(&separators[0][..common], 16 * separators.len() as u64, &mut bytes);
            bytes
        };
        let long: Vec<Vec<u8>> = (0..40).map(|i| format!("common/{i:03}").into_bytes()).collect();
        let long: Vec<&[u8]> = long.iter().map(Vec::as_slice).collect();
        let ties: [&[u8]; 4] = [b"prefix88a", b"prefix88b", b"prefix88b", b"prefix88bb"];
        corpus::replay(
            "fences",
            &[seed(&long, 7), seed(&ties, 0), seed(&[b"a"], 0)],
            corpus::RUNS,
            fences,
        );
    }

    #[test]
    fn the_corpus_of_filters() {
        let seed = |bits, count| {
            let mut builder = FilterBuilder::new(bits);
            (0..count).for_each(|key: u64| builder.add(hash_user_key(&key.to_le_bytes())));
            let mut bytes = Vec::new();
            builder.finish(&mut bytes);
            bytes
        };
        corpus::replay("filter", &[seed(10, 20), seed(1, 1), seed(32, 40)], corpus::RUNS, filter);
    }

    #[test]
    fn the_corpus_of_tables() {
        let (none, lz4) = (Compression::None, Compression::Lz4);
        let seeds = [(0, lz4), (1, lz4), (1, none), (3, lz4), (3, none)];
        let mut seeds = seeds.map(|(flags, compression)| table_input(flags, compression)).to_vec();
        seeds.push([&[1], &dense_file()[..]].concat());
        corpus::replay("table", &seeds, corpus::RUNS, table);
    }

    /// A table of one block, which is much longer than its file once it is decompressed.
    fn dense_file() -> Vec<u8> {
        let fs = MemFs::new();
        let path = std::path::Path::new("/000007.sst");
        let options = TableOptions { block_size: 64 << 10, ..TableOptions::default() };
        let space = (KeyspaceId(3), "users");
        let mut builder = TableBuilder::new(fs.create(path).unwrap(), 0x5eed, space, options);
        for (number, kind) in (0..4).zip([Kind::Put, Kind::Delete, Kind::Put, Kind::Put]) {
            let value = if kind == Kind::Put { &[b'v'; 9000][..] } else { b"" };
            builder.add(InternalKeyRef::new(&[number], Seq::new(7), kind), value).unwrap();
        }
        builder.finish().unwrap();
        let file = fs.open(path).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_flaw_of_a_compressed_block_is_placed_within_the_file() {
        let built = dense_file();
        assert!(built.len() < 2000, "{} bytes", built.len());
        let mut flaws = 0;
        for at in 0..200 {
            for bit in 0..8 {
                let mut bytes = built.clone();
                bytes[at] ^= 1 << bit;
                repair(&mut bytes).unwrap();
                for mode in [ReadMode::Pread, ReadMode::Map] {
                    let Err(Error::Corruption { offset, detail, .. }) = read_table(&bytes, mode)
                    else {
                        continue;
                    };
                    assert!(offset <= built.len() as u64, "{offset}: {detail}");
                    flaws += 1;
                }
            }
        }
        assert!(500 < flaws, "{flaws}");
    }

    #[test]
    fn a_repaired_table_is_the_one_that_was_built() {
        for compression in [Compression::None, Compression::Lz4] {
            let built = file(compression);
            read_table(&built, ReadMode::Map).unwrap();
            let mut repaired = built.clone();
            repair(&mut repaired).unwrap();
            assert_eq!(repaired, built);
            // A key of the first block, and then its checksum.
            repaired[60] ^= 1;
            assert!(read_table(&repaired, ReadMode::Map).is_err());
            let before = repaired.clone();
            repair(&mut repaired).unwrap();
            assert_ne!(repaired, before);
        }
    }
}
