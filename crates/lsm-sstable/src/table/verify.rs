//! Reads and checks every byte of a table.
//!
//! What a checksum cannot say is checked too: that entries ascend within and across blocks, that
//! tags, filter, fences and properties agree with them, and that nothing but zeros stands between
//! the sections. So a fault of the builder shows as well as one of the disk.

use std::sync::Arc;

use lsm_base::key::hash_user_key;
use lsm_base::{Error, InternalKey, InternalKeyRef, Kind, Result, Seq};

use super::TableSource;
use super::opened::{OpenTable, RegionReader};
use crate::block::{self, Block, tag_of};
use crate::cache::BlockCache;
use crate::flaw::Flaw;
use crate::format::{DATA, PROPERTIES};
use crate::options::{Compression, ReadMode};
use crate::properties::TableProperties;

/// What [`Table::verify`](super::Table::verify) read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// The length of the file in bytes; each was read.
    pub bytes: u64,
    /// How many data blocks it has.
    pub blocks: u64,
    /// How many entries they hold.
    pub entries: u64,
    /// What the table says of itself, and its entries bear out.
    pub properties: TableProperties,
}

/// How many bytes are read between two reports of how far the verification is.
const REPORT_INTERVAL: u64 = 256 << 10;

pub(super) fn verify(
    source: &TableSource,
    cache: &Arc<BlockCache>,
    note_read: &mut dyn FnMut(u64),
) -> Result<VerifyReport> {
    // A table of its own, so that the frame is read again too.
    let opened = OpenTable::open(source, ReadMode::Pread, cache)?;
    check_sections(&opened)?;
    let mut totals = Totals::default();
    let (mut stored, mut decompressed) = (Vec::new(), Vec::new());
    let (mut read, mut noted) = (0, 0);
    for index in 0..opened.fences.count() {
        let flaw = |flaw| opened.flaw(index, flaw);
        let layout = opened.read_block(index, &mut stored)?;
        let content = block::without_checksum(&stored).unwrap_or_default();
        let bytes = match layout.codec() {
            Compression::None => content,
            Compression::Lz4 => {
                block::decompress(content, &layout, &mut decompressed).map_err(flaw)?;
                &decompressed
            }
        };
        let block = Block::new(bytes, &layout);
        block.check().and_then(|()| totals.add_block(&opened, index, &block)).map_err(flaw)?;
        read += stored.len() as u64;
        if noted + REPORT_INTERVAL <= read {
            noted = read;
            note_read(read);
        }
    }
    totals.check_properties(&opened)?;
    Ok(VerifyReport {
        bytes: opened.len,
        blocks: opened.fences.count() as u64,
        entries: totals.entries,
        properties: opened.properties,
    })
}

/// Checks the sections that were not read when the table was opened, and the gaps between all.
fn check_sections(opened: &OpenTable) -> Result<()> {
    let path = opened.file.path();
    let reader = RegionReader { file: &*opened.file, path, id: opened.id, map: None };
    let mut end = 0;
    for &section in &opened.directory.sections {
        check_gap(opened, end, section.offset)?;
        end = section.end();
        if section.kind != DATA {
            reader.read(section)?;
        }
    }
    check_gap(opened, end, opened.footer.directory_offset)
}

/// Checks that nothing but the zeros of an alignment stands between two sections.
fn check_gap(opened: &OpenTable, start: u64, end: u64) -> Result<()> {
    let mut gap = [0; 64];
    let corrupt = || Error::corruption(opened.file.path(), start, "bytes outside of every section");
    let len = (end - start) as usize;
    let gap = gap.get_mut(..len).ok_or_else(corrupt)?;
    opened.file.read_exact_at(gap, start)?;
    if gap.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(corrupt()) }
}

/// What was counted of the entries.
#[derive(Default)]
struct Totals {
    entries: u64,
    tombstones: u64,
    key_bytes: u64,
    value_bytes: u64,
    seqs: Option<(Seq, Seq)>,
    first: Option<InternalKey>,
    last: Option<InternalKey>,
}

impl Totals {
    fn add_block(
        &mut self,
        opened: &OpenTable,
        index: usize,
        block: &Block<'_>,
    ) -> Result<(), Flaw> {
        let tags = block.tags();
        for position in 0..block.count() {
            let entry = block.entry(position).ok_or_else(block::changed)?;
            let key = block.key(&entry);
            if self.last.as_ref().is_some_and(|last| key <= last.as_ref()) {
                return Err(Flaw::corrupt(entry.key_at, format!("{key:?} out of order")));
            }
            let hash = hash_user_key(key.user_key);
            if tags.get(position) != Some(&tag_of(hash)) {
                return Err(Flaw::corrupt(entry.key_at, format!("the tag of {key:?} is wrong")));
            }
            if opened.filter.as_ref().is_some_and(|filter| !filter.may_contain(hash)) {
                return Err(Flaw::corrupt(entry.key_at, format!("the filter denies {key:?}")));
            }
            if !is_fenced(opened, index, key) {
                return Err(Flaw::corrupt(entry.key_at, format!("{key:?} beyond its fence")));
            }
            self.add(key, block.value(&entry));
        }
        Ok(())
    }

    fn add(&mut self, key: InternalKeyRef<'_>, value: &[u8]) {
        self.entries += 1;
        self.tombstones += u64::from(key.kind == Kind::Delete);
        self.key_bytes += key.user_key.len() as u64;
        self.value_bytes += value.len() as u64;
        let (min, max) = self.seqs.unwrap_or((key.seq, key.seq));
        self.seqs = Some((min.min(key.seq), max.max(key.seq)));
        if self.first.is_none() {
            self.first = Some(key.to_owned());
        }
        self.last = Some(key.to_owned());
    }

    fn check_properties(&self, opened: &OpenTable) -> Result<()> {
        let said = &opened.properties;
        let agrees = self.entries == said.entries
            && self.tombstones == said.tombstones
            && self.key_bytes == said.raw_key_bytes
            && self.value_bytes == said.raw_value_bytes
            && self.seqs == Some((said.min_seq, said.max_seq))
            && self.first.as_ref() == Some(&said.smallest)
            && self.last.as_ref() == Some(&said.largest);
        if agrees {
            return Ok(());
        }
        let section = opened.directory.require(PROPERTIES);
        let offset = section.map_or(0, |section| section.offset);
        let detail = "the properties do not describe the entries";
        Err(Error::corruption(opened.file.path(), offset, detail))
    }
}

/// Whether a search for the key would come to this block.
fn is_fenced(opened: &OpenTable, index: usize, key: InternalKeyRef<'_>) -> bool {
    let Some(mut fence) = opened.fences.search(key.user_key) else { return false };
    while fence.index < index && fence.is_exact {
        fence = opened.fences.following(fence.index, key.user_key);
    }
    fence.index == index
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lsm_base::fs::MemFs;
    use lsm_base::{Fs, KeyspaceId};

    use super::*;
    use crate::builder::TableBuilder;
    use crate::options::TableOptions;

    /// A table of 100 entries of 10 KiB each, a few of them tombstones, each in a block of its own.
    fn source() -> TableSource {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let path = Path::new("000007.sst").to_owned();
        let options = TableOptions { compression: Compression::None, ..TableOptions::default() };
        let file = fs.create(&path).unwrap();
        let mut builder = TableBuilder::new(file, 9, (KeyspaceId::DEFAULT, "default"), options);
        for index in 0..100_u8 {
            let kind = if index % 30 == 29 { Kind::Delete } else { Kind::Put };
            let value = if kind == Kind::Put { vec![index; 10 << 10] } else { Vec::new() };
            let key = InternalKeyRef::new(std::slice::from_ref(&index), Seq::new(5), kind);
            builder.add(key, &value).unwrap();
        }
        let summary = builder.finish().unwrap();
        TableSource { fs, path, number: 7, id: summary.id, len: summary.len }
    }

    #[test]
    fn progress_is_told_every_quarter_of_a_mebibyte() {
        let mut told = Vec::new();
        verify(&source(), &BlockCache::new(0), &mut |read| told.push(read)).unwrap();
        assert_eq!(told.len(), 3, "{told:?}");
        for (read, before) in told.iter().zip([0].iter().chain(&told)) {
            assert!((256 << 10..280 << 10).contains(&(read - before)), "{told:?}");
        }
    }

    #[test]
    fn each_property_is_held_against_the_entries() {
        let open = || OpenTable::open(&source(), ReadMode::Pread, &BlockCache::new(0)).unwrap();
        let mut totals = Totals::default();
        let opened = open();
        for index in 0..opened.fences.count() {
            let mut stored = Vec::new();
            let layout = opened.read_block(index, &mut stored).unwrap();
            totals.add_block(&opened, index, &Block::new(&stored, &layout)).unwrap();
        }
        totals.check_properties(&opened).unwrap();
        let wrong: [fn(&mut TableProperties); 8] = [
            |said| said.entries += 1,
            |said| said.tombstones += 1,
            |said| said.raw_key_bytes += 1,
            |said| said.raw_value_bytes += 1,
            |said| said.min_seq = Seq::new(4),
            |said| said.max_seq = Seq::new(6),
            |said| said.smallest.seq = Seq::new(6),
            |said| said.largest.seq = Seq::new(4),
        ];
        for (index, change) in wrong.iter().enumerate() {
            let mut opened = open();
            change(&mut opened.properties);
            let error = totals.check_properties(&opened).unwrap_err();
            let section = opened.directory.require(PROPERTIES).unwrap();
            let is_there = |offset| offset == section.offset;
            assert!(
                matches!(error, Error::Corruption { offset, .. } if is_there(offset)),
                "property {index}: {error}"
            );
        }
    }

    #[test]
    fn a_key_in_another_block_than_its_own_is_noticed() {
        let opened = OpenTable::open(&source(), ReadMode::Pread, &BlockCache::new(0)).unwrap();
        let key = |index: &'static [u8; 1]| InternalKeyRef::new(index, Seq::new(5), Kind::Put);
        assert!(is_fenced(&opened, 0, key(&[0])));
        assert!(!is_fenced(&opened, 0, key(&[50])) && !is_fenced(&opened, 50, key(&[0])));
        assert!(!is_fenced(&opened, 0, key(&[200])), "above all");
    }
}
