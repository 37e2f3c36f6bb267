//! A description of a table file for people and tools.
//!
//! It goes on where [`Table::verify`] stops: a damaged block is reported in its place, and the
//! ones behind it are described all the same.

use std::fmt;

use lsm_base::{Error, Result};

use crate::block::Layout;
use crate::format::{FORMAT_VERSION, Section, section_name};
use crate::options::Compression;
use crate::properties::TableProperties;
use crate::table::Table;
use crate::table::opened::OpenTable;

/// What a table file consists of. `Display` writes it as a page of text.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The version of the format.
    pub format_version: u32,
    /// The random id of the table.
    pub id: u64,
    /// The length of the file in bytes.
    pub len: u64,
    /// The sections in the order of the file, unknown ones included.
    pub sections: Vec<SectionInfo>,
    /// The properties.
    pub properties: TableProperties,
    /// The filter, if there is one.
    pub filter: Option<FilterInfo>,
    /// The prefix that all separators share.
    pub common_prefix: Vec<u8>,
    /// The data blocks and their fences.
    pub blocks: Vec<BlockInfo>,
}

/// A section of a table file.
#[derive(Clone, Debug)]
pub struct SectionInfo {
    /// The number of its type.
    pub kind: u16,
    /// What that type is called.
    pub name: &'static str,
    /// Whether a reader that does not know the type must refuse the table.
    pub is_required: bool,
    /// Where it begins.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// The filter of a table.
#[derive(Clone, Copy, Debug)]
pub struct FilterInfo {
    /// How many 64-byte lines it has.
    pub lines: usize,
    /// How many bits each key sets.
    pub probes: u8,
}

/// A data block and its fence.
#[derive(Clone, Debug)]
pub struct BlockInfo {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length in the file.
    pub len: usize,
    /// Its separator: at or above its last user key, and below the next block's first.
    pub separator: Vec<u8>,
    /// What its header says, or why it cannot be read.
    pub detail: Result<BlockDetail, Error>,
}

/// What the header of a block says.
#[derive(Clone, Copy, Debug)]
pub struct BlockDetail {
    /// How many entries it has.
    pub entries: usize,
    /// How its payload is compressed.
    pub codec: Compression,
    /// The length of the payload before compression.
    pub payload_len: usize,
    /// The length of the payload in the file.
    pub stored_len: usize,
}

impl Table {
    /// Describes the file; reads and checks every block.
    ///
    /// # Errors
    /// Those of the first use. A block that cannot be read is part of the description.
    pub fn inspect(&self) -> Result<Inspection> {
        let opened = self.opened()?;
        let mut bytes = Vec::new();
        let blocks = (0..opened.fences.count())
            .map(|index| inspect_block(opened, index, &mut bytes))
            .collect();
        Ok(Inspection {
            format_version: FORMAT_VERSION,
            id: opened.id,
            len: opened.len,
            sections: opened.directory.sections.iter().map(inspect_section).collect(),
            properties: opened.properties.clone(),
            filter: opened
                .filter
                .as_ref()
                .map(|filter| FilterInfo { lines: filter.lines(), probes: filter.probes() }),
            common_prefix: opened.fences.common_prefix().to_vec(),
            blocks,
        })
    }
}

fn inspect_section(section: &Section) -> SectionInfo {
    SectionInfo {
        kind: section.kind,
        name: section_name(section.kind),
        is_required: section.is_required(),
        offset: section.offset,
        len: section.len,
    }
}

fn inspect_block(opened: &OpenTable, index: usize, bytes: &mut Vec<u8>) -> BlockInfo {
    let place = opened.place(index);
    let describe = |layout: Layout| BlockDetail {
        entries: layout.count(),
        codec: layout.codec(),
        payload_len: layout.payload_len(),
        stored_len: layout.stored_len(),
    };
    BlockInfo {
        offset: place.offset,
        len: place.len,
        separator: [opened.fences.common_prefix(), opened.fences.suffix(index)].concat(),
        detail: opened.read_block(index, bytes).map(describe),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {:016x}, format {}, {} bytes", self.id, self.format_version, self.len)?;
        writeln!(f, "\nsections")?;
        for section in &self.sections {
            let need = if section.is_required { "required" } else { "optional" };
            let SectionInfo { kind, name, offset, len, .. } = section;
            writeln!(f, "  {offset:>12} {len:>12}  {need}  {name} ({kind})")?;
        }
        write_properties(f, &self.properties)?;
        if let Some(FilterInfo { lines, probes }) = self.filter {
            writeln!(f, "\nfilter\n  {lines} lines of 64 bytes, {probes} probes")?;
        }
        writeln!(f, "\nblocks (common prefix \"{}\")", self.common_prefix.escape_ascii())?;
        for block in &self.blocks {
            write!(f, "  {:>12} {:>8}  ", block.offset, block.len)?;
            match &block.detail {
                Ok(detail) => {
                    let BlockDetail { entries, codec, payload_len, stored_len } = detail;
                    write!(f, "{entries:>6} entries  {codec} {payload_len} -> {stored_len}")?;
                }
                Err(error) => write!(f, "{error}")?,
            }
            writeln!(f, "  up to \"{}\"", block.separator.escape_ascii())?;
        }
        Ok(())
    }
}

fn write_properties(f: &mut fmt::Formatter<'_>, properties: &TableProperties) -> fmt::Result {
    let p = properties;
    writeln!(f, "\nproperties")?;
    writeln!(f, "  keyspace     {} \"{}\"", p.keyspace.0, p.keyspace_name)?;
    writeln!(f, "  entries      {}, of them {} tombstones", p.entries, p.tombstones)?;
    writeln!(f, "  raw bytes    {} of keys, {} of values", p.raw_key_bytes, p.raw_value_bytes)?;
    writeln!(f, "  sequences    {} to {}", p.min_seq, p.max_seq)?;
    writeln!(f, "  smallest     {:?}", p.smallest)?;
    writeln!(f, "  largest      {:?}", p.largest)?;
    let options = &p.options;
    writeln!(
        f,
        "  built with   block size {}, compression {}, {} filter bits for each key",
        options.block_size, options.compression, options.bloom_bits_per_key
    )
}
