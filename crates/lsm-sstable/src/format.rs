//! The frame of a table file: footer, section directory, region types.
//!
//! ```text
//! data blocks | filter | fences | properties | section directory | footer
//!
//! footer, the last 64 bytes of every version of the format:
//!    0  offset of the directory   u64
//!    8  length of the directory   u64
//!   16  table id                  u64   random; in the seed of every checksum of the file
//!   24  length of the file        u64
//!   32  reserved                        12 zero bytes
//!   44  format version            u32
//!   48  checksum of bytes 0..48   u64
//!   56  magic                           "LSMTABLE"
//!
//! directory: count u32 | zero u32 | count x section | checksum u64
//! section:   type u16 | flags u16 | zero u32 | offset u64 | length u64
//! ```
//!
//! Integers are little-endian. Every region ends with a checksum of what stands before it in the
//! region, seeded with table id, offset and type ([`region_checksum`]); only the data section has
//! none, since each of its blocks is a region. Sections ascend and do not overlap; what lies
//! between them to align them is zero.
//!
//! Invariant: a reader uses no byte of a region before its checksum was found right. A section of
//! unknown type that is flagged required, and any flag it does not know, make the file
//! [`UnsupportedFormat`](lsm_base::Error::UnsupportedFormat); an unknown optional one is skipped.
//! Types 16 to 21 are reserved: range tombstones, prefix filter, partitioned fences, partitioned
//! filter, compression dictionary, block properties.

use lsm_base::checksum::{checksum64, region_seed};
use lsm_base::coding::Reader;

use crate::flaw::Flaw;

/// The version that is written, and the newest that is read.
pub(crate) const FORMAT_VERSION: u32 = 0;
pub(crate) const MAGIC: [u8; 8] = *b"LSMTABLE";
pub(crate) const FOOTER_LEN: usize = 64;
pub(crate) const CHECKSUM_LEN: usize = 8;
const FOOTER_CHECKSUM_AT: usize = 48;
const SECTION_LEN: usize = 24;

/// Region types: the low byte of a section's type, and two for what the directory cannot list.
pub(crate) const DATA: u16 = 1;
pub(crate) const FILTER: u16 = 2;
pub(crate) const FENCES: u16 = 3;
pub(crate) const PROPERTIES: u16 = 4;
const DIRECTORY: u16 = 0xfe;
const FOOTER: u16 = 0xff;

/// The name of a section type, for people.
pub(crate) fn section_name(kind: u16) -> &'static str {
    match kind {
        DATA => "data",
        FILTER => "filter",
        FENCES => "fences",
        PROPERTIES => "properties",
        16 => "range tombstones (reserved)",
        17 => "prefix filter (reserved)",
        18 => "partitioned fences (reserved)",
        19 => "partitioned filter (reserved)",
        20 => "compression dictionary (reserved)",
        21 => "block properties (reserved)",
        _ => "unknown",
    }
}

/// The checksum of the content of a region.
pub(crate) fn region_checksum(id: u64, offset: u64, region: u16, content: &[u8]) -> u64 {
    checksum64(region_seed(id, offset, region as u8), content)
}

/// Appends the checksum of what `out` holds from `start` on, a region that will stand at `offset`.
pub(crate) fn seal_region(out: &mut Vec<u8>, start: usize, id: u64, offset: u64, region: u16) {
    let checksum = region_checksum(id, offset, region, &out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Makes the checksum of a sealed region right; nothing is done to one that is too short for it.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn reseal_region(bytes: &mut [u8], id: u64, offset: u64, region: u16) {
    if let Some((content, checksum)) = bytes.split_last_chunk_mut::<CHECKSUM_LEN>() {
        *checksum = region_checksum(id, offset, region, content).to_le_bytes();
    }
}

/// The content of a sealed region, if its checksum is right.
pub(crate) fn open_region(bytes: &[u8], id: u64, offset: u64, region: u16) -> Result<&[u8], Flaw> {
    let Some((content, stored)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
        return Err(Flaw::corrupt(0, "a region shorter than its checksum"));
    };
    if u64::from_le_bytes(*stored) != region_checksum(id, offset, region, content) {
        let name = match region {
            DATA => "block",
            DIRECTORY => "section directory",
            kind => section_name(kind),
        };
        return Err(Flaw::corrupt(0, format!("{name} checksum mismatch")));
    }
    Ok(content)
}

/// The footer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Footer {
    pub(crate) directory_offset: u64,
    pub(crate) directory_len: u64,
    pub(crate) id: u64,
    pub(crate) file_len: u64,
}

impl Footer {
    pub(crate) fn encode(&self) -> [u8; FOOTER_LEN] {
        let mut out = [0; FOOTER_LEN];
        out[0..8].copy_from_slice(&self.directory_offset.to_le_bytes());
        out[8..16].copy_from_slice(&self.directory_len.to_le_bytes());
        out[16..24].copy_from_slice(&self.id.to_le_bytes());
        out[24..32].copy_from_slice(&self.file_len.to_le_bytes());
        out[44..48].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let checksum = self.checksum(&out);
        out[48..56].copy_from_slice(&checksum.to_le_bytes());
        out[56..64].copy_from_slice(&MAGIC);
        out
    }

    /// The footer of a file of `file_len` bytes.
    pub(crate) fn decode(bytes: &[u8; FOOTER_LEN], file_len: u64) -> Result<Footer, Flaw> {
        let mut reader = Reader::new(bytes);
        let mut number = || reader.u64().expect("a footer is eight numbers long");
        let footer = Footer {
            directory_offset: number(),
            directory_len: number(),
            id: number(),
            file_len: number(),
        };
        let [_, version_word, checksum, magic] = [number(), number(), number(), number()];
        if magic != u64::from_le_bytes(MAGIC) {
            return Err(Flaw::corrupt(56, "no table: wrong magic number"));
        }
        if checksum != footer.checksum(bytes) {
            return Err(Flaw::corrupt(0, "footer checksum mismatch"));
        }
        let version = (version_word >> 32) as u32;
        if FORMAT_VERSION < version {
            let detail = format!("format version {version}; this release reads {FORMAT_VERSION}");
            return Err(Flaw::unsupported(detail));
        }
        if bytes[32..44] != [0; 12] {
            return Err(Flaw::unsupported("a footer with fields of a later release"));
        }
        if footer.file_len != file_len {
            let detail = format!("{file_len} bytes long; its footer says {}", footer.file_len);
            return Err(Flaw::corrupt(24, detail));
        }
        let directory_end = footer.directory_offset.checked_add(footer.directory_len);
        if directory_end != file_len.checked_sub(FOOTER_LEN as u64) {
            return Err(Flaw::corrupt(0, "the section directory does not end at the footer"));
        }
        Ok(footer)
    }

    fn checksum(&self, bytes: &[u8; FOOTER_LEN]) -> u64 {
        let offset = self.file_len.wrapping_sub(FOOTER_LEN as u64);
        region_checksum(self.id, offset, FOOTER, &bytes[..FOOTER_CHECKSUM_AT])
    }
}

/// An entry of the section directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Section {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Section {
    /// The flag of a section without which the table cannot be read.
    pub(crate) const REQUIRED: u16 = 1;

    /// The first byte behind the section.
    pub(crate) const fn end(&self) -> u64 {
        self.offset + self.len
    }

    pub(crate) const fn is_required(&self) -> bool {
        self.flags & Self::REQUIRED != 0
    }
}

/// The sections of a table, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Directory {
    pub(crate) sections: Vec<Section>,
}

impl Directory {
    /// The sealed bytes of a directory that stands at `offset`.
    pub(crate) fn encode(&self, id: u64, offset: u64) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&(self.sections.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for section in &self.sections {
            out.extend_from_slice(&section.kind.to_le_bytes());
            out.extend_from_slice(&section.flags.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&section.offset.to_le_bytes());
            out.extend_from_slice(&section.len.to_le_bytes());
        }
        seal_region(&mut out, 0, id, offset, DIRECTORY);
        out
    }

    /// The directory that stands at `offset` in these sealed bytes.
    pub(crate) fn decode(bytes: &[u8], id: u64, offset: u64) -> Result<Directory, Flaw> {
        let content = open_region(bytes, id, offset, DIRECTORY)?;
        let mut reader = Reader::new(content);
        let short = || Flaw::corrupt(0, "a section directory of the wrong length");
        let count = reader.u32().ok_or_else(short)? as usize;
        if content.len() != 8 + count * SECTION_LEN || reader.u32() != Some(0) {
            return Err(short());
        }
        let mut sections = Vec::with_capacity(count);
        let mut end = 0;
        while !reader.is_empty() {
            let at = reader.offset();
            let section = read_section(&mut reader).ok_or_else(short)?;
            let section_end = section.offset.checked_add(section.len);
            if section.offset < end || section_end.is_none_or(|end| offset < end) {
                return Err(Flaw::corrupt(at, "a section outside its place"));
            }
            check_known(&section)?;
            end = section.end();
            sections.push(section);
        }
        Ok(Directory { sections })
    }

    /// Makes the checksum of a sealed directory right.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn reseal(bytes: &mut [u8], id: u64, offset: u64) {
        reseal_region(bytes, id, offset, DIRECTORY);
    }

    /// The one section of this type, if there is one.
    pub(crate) fn find(&self, kind: u16) -> Result<Option<Section>, Flaw> {
        let mut found = self.sections.iter().filter(|section| section.kind == kind);
        match (found.next(), found.next()) {
            (_, Some(_)) => {
                Err(Flaw::corrupt(0, format!("two sections of type {}", section_name(kind))))
            }
            (first, None) => Ok(first.copied()),
        }
    }

    /// The one section of this type.
    pub(crate) fn require(&self, kind: u16) -> Result<Section, Flaw> {
        self.find(kind)?
            .ok_or_else(|| Flaw::corrupt(0, format!("no section of type {}", section_name(kind))))
    }
}

fn read_section(reader: &mut Reader<'_>) -> Option<Section> {
    let (kind, flags) = (reader.u16()?, reader.u16()?);
    let _zero = reader.u32()?;
    Some(Section { kind, flags, offset: reader.u64()?, len: reader.u64()? })
}

fn check_known(section: &Section) -> Result<(), Flaw> {
    if section.flags & !Section::REQUIRED != 0 {
        let detail = format!("a section of type {} has flags {:#x}", section.kind, section.flags);
        return Err(Flaw::unsupported(detail));
    }
    let is_known = matches!(section.kind, DATA | FILTER | FENCES | PROPERTIES);
    if section.is_required() && !is_known {
        let name = section_name(section.kind);
        let detail = format!("a required section of type {} ({name})", section.kind);
        return Err(Flaw::unsupported(detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        Footer { directory_offset: 1000, directory_len: 136, id: 77, file_len: 1200 }
    }

    #[test]
    fn a_footer_round_trips_and_holds_every_bit() {
        let bytes = footer().encode();
        assert_eq!(Footer::decode(&bytes, 1200), Ok(footer()));
        for bit in 0..8 * FOOTER_LEN {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flaw = Footer::decode(&flipped, 1200).unwrap_err();
            assert!(matches!(flaw, Flaw::Corrupt { .. }), "bit {bit}: {flaw:?}");
        }
        assert!(Footer::decode(&bytes, 1201).is_err());
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let reseal = |bytes: &mut [u8; FOOTER_LEN]| {
            let checksum = footer().checksum(bytes);
            bytes[48..56].copy_from_slice(&checksum.to_le_bytes());
        };
        for at in [44, 40] {
            let mut bytes = footer().encode();
            bytes[at] = 1;
            reseal(&mut bytes);
            let flaw = Footer::decode(&bytes, 1200).unwrap_err();
            assert!(matches!(flaw, Flaw::Unsupported(_)), "byte {at}: {flaw:?}");
        }
    }

    #[test]
    fn a_directory_refuses_what_it_must_not_skip() {
        let section = |kind, flags, offset| Section { kind, flags, offset, len: 10 };
        let decode = |sections: Vec<Section>| {
            Directory::decode(&Directory { sections }.encode(7, 500), 7, 500)
        };
        let optional = vec![section(DATA, 1, 0), section(999, 0, 10)];
        assert_eq!(decode(optional.clone()).unwrap().sections, optional);
        for unsupported in [section(999, 1, 0), section(16, 1, 0), section(FILTER, 2, 0)] {
            assert!(matches!(decode(vec![unsupported]), Err(Flaw::Unsupported(_))));
        }
        for corrupt in [
            vec![section(DATA, 1, 491)],
            vec![section(DATA, 1, u64::MAX)],
            vec![section(DATA, 1, 0), section(FILTER, 0, 9)],
        ] {
            assert!(matches!(decode(corrupt), Err(Flaw::Corrupt { .. })));
        }
        let twice = decode(vec![section(DATA, 1, 0), section(DATA, 1, 10)]).unwrap();
        assert!(twice.find(DATA).is_err() && twice.require(FENCES).is_err());
    }

    #[test]
    fn a_directory_is_as_long_as_its_count_says_and_ends_with_the_data() {
        let section = Section { kind: DATA, flags: 1, offset: 490, len: 10 };
        let good = Directory { sections: vec![section] }.encode(7, 500);
        assert_eq!(Directory::decode(&good, 7, 500).unwrap().sections, [section]);
        let decode_err = |bytes: &[u8]| Directory::decode(bytes, 7, 500).unwrap_err();
        // The count, and the word of zeros behind it.
        for at in [0, 4] {
            let mut bytes = good.clone();
            bytes[at] += 1;
            let Flaw::Corrupt { detail: unsealed, .. } = decode_err(&bytes) else { panic!() };
            Directory::reseal(&mut bytes, 7, 500);
            let Flaw::Corrupt { detail, .. } = decode_err(&bytes) else { panic!("byte {at}") };
            assert_ne!(detail, unsealed, "byte {at} is told by the checksum alone");
        }
    }

    #[test]
    fn every_section_type_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            (DATA..=PROPERTIES).chain(16..=21).map(section_name).collect();
        assert_eq!(names.len(), 10);
        assert!(!names.contains(section_name(22)));
        for kind in 16..=21 {
            assert!(section_name(kind).ends_with("(reserved)"), "type {kind}");
        }
    }
}
