//! Tagged items: the parts of a MANIFEST record, and of a table's entry in it.
//!
//! ```text
//! items := item*
//! item  := tag (u16) flags (u16: bit 0 = required, the others zero) length (u32) payload
//! ```
//!
//! Invariant: a build that does not know a tag can tell by the item alone whether it may go on.
//! An unknown item that is required stops it; one that is not is kept as it is, and copied into
//! the next full snapshot, so that the build that wrote it finds it again.

use std::path::Path;

use lsm_base::coding::Reader;
use lsm_base::{Error, Result};

/// A part of a record that stands for itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// What the payload means.
    pub tag: u16,
    /// What a build must do that does not know the tag.
    pub need: Need,
    /// At most `u32::MAX` bytes.
    pub payload: Vec<u8>,
}

/// What a build must do with an item whose tag it does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Keep it and go on.
    Optional,
    /// Refuse the file.
    Required,
}

const REQUIRED: u16 = 1;
const HEADER_LEN: usize = 8;

/// Appends an item.
///
/// # Panics
/// If the payload needs more than 32 bits of length.
pub(crate) fn put_item(out: &mut Vec<u8>, tag: u16, need: Need, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("a payload is one metadata record");
    let flags = match need {
        Need::Optional => 0,
        Need::Required => REQUIRED,
    };
    out.reserve(HEADER_LEN + payload.len());
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(payload);
}

/// An item as it lies in its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemRef<'a> {
    pub(crate) tag: u16,
    pub(crate) need: Need,
    pub(crate) payload: &'a [u8],
    pub(crate) place: Place<'a>,
}

impl<'a> ItemRef<'a> {
    /// The item for safe-keeping, or the refusal that it demands. For tags that are not known.
    pub(crate) fn keep(&self) -> Result<Item> {
        match self.need {
            Need::Optional => {
                Ok(Item { tag: self.tag, need: self.need, payload: self.payload.to_vec() })
            }
            Need::Required => {
                Err(self.place.unsupported(format!("required item {} is unknown", self.tag)))
            }
        }
    }

    /// The place of the last `len` bytes of the payload.
    pub(crate) const fn place_of_tail(&self, len: usize) -> Place<'_> {
        let offset = self.place.offset + (HEADER_LEN + self.payload.len() - len) as u64;
        Place { path: self.place.path, offset }
    }

    /// The record of which the payload consists.
    pub(crate) fn decode<T: serde::Deserialize<'a>>(&self) -> Result<T> {
        lsm_base::codec::decode_record(self.payload).map_err(|detail| self.place.corrupt(detail))
    }
}

/// Where bytes come from, for the errors about them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    pub(crate) offset: u64,
}

impl Place<'_> {
    pub(crate) fn corrupt(self, detail: impl Into<String>) -> Error {
        Error::corruption(self.path, self.offset, detail)
    }

    pub(crate) fn unsupported(self, detail: impl Into<String>) -> Error {
        Error::unsupported(self.path, detail)
    }
}

/// The items in `bytes`, which begin at `place`; ends after the first error.
pub(crate) fn read_items<'a>(
    bytes: &'a [u8],
    place: Place<'a>,
) -> impl Iterator<Item = Result<ItemRef<'a>>> {
    let mut reader = Reader::new(bytes);
    let mut has_failed = false;
    std::iter::from_fn(move || {
        if has_failed || reader.is_empty() {
            return None;
        }
        let place = Place { offset: place.offset + reader.offset() as u64, ..place };
        let item = read_item(&mut reader, place);
        has_failed = item.is_err();
        Some(item)
    })
}

fn read_item<'a>(reader: &mut Reader<'a>, place: Place<'a>) -> Result<ItemRef<'a>> {
    let header = (reader.u16(), reader.u16(), reader.u32());
    let (Some(tag), Some(flags), Some(len)) = header else {
        return Err(place.corrupt("an item without a whole header"));
    };
    let need = match flags {
        0 => Need::Optional,
        REQUIRED => Need::Required,
        _ => return Err(place.unsupported(format!("flags {flags:#x} of item {tag}"))),
    };
    let payload = usize::try_from(len).ok().and_then(|len| reader.bytes(len));
    match payload {
        Some(payload) => Ok(ItemRef { tag, need, payload, place }),
        None => Err(place.corrupt(format!("item {tag} of {len} bytes ends behind its record"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Result<ItemRef<'_>>> {
        let place = Place { path: Path::new("MANIFEST-000001"), offset: 100 };
        read_items(bytes, place).collect()
    }

    #[test]
    fn items_come_back_with_their_places() {
        let mut bytes = Vec::new();
        put_item(&mut bytes, 7, Need::Required, b"abc");
        put_item(&mut bytes, 9, Need::Optional, b"");
        let items: Vec<_> = read(&bytes)
            .into_iter()
            .map(|item| item.unwrap())
            .map(|item| (item.tag, item.need, item.payload, item.place.offset))
            .collect();
        let expected =
            [(7, Need::Required, &b"abc"[..], 100), (9, Need::Optional, b"", 100 + 8 + 3)];
        assert_eq!(items, expected);
    }

    #[test]
    fn every_cut_is_corrupt_at_the_item_that_it_hits() {
        let mut bytes = Vec::new();
        put_item(&mut bytes, 7, Need::Required, b"abc");
        for len in 1..bytes.len() {
            let items = read(&bytes[..len]);
            assert_eq!(items.len(), 1);
            assert!(matches!(items[0], Err(Error::Corruption { offset: 100, .. })), "{len}");
        }
    }

    #[test]
    fn unknown_flags_are_a_newer_format() {
        let mut bytes = Vec::new();
        put_item(&mut bytes, 7, Need::Required, b"");
        bytes[2] |= 2;
        assert!(matches!(read(&bytes)[0], Err(Error::UnsupportedFormat { .. })));
    }
}
