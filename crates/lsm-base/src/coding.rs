//! Fixed and variable-length integers, and a reader over bytes that may be wrong.
//!
//! Everything on disk is little-endian. A varint is LEB128: seven bits a byte, lowest first, the
//! high bit set on all but the last byte; encodings longer than necessary are refused, so that
//! equal values have equal bytes.

/// Longest varint of a `u64`, in bytes.
pub const MAX_VARINT_LEN: usize = 10;

/// Appends `value` as a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while 0x80 <= value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a varint length and the bytes.
pub fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// How many bytes [`put_varint`] appends for `value`.
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A position in bytes that came from outside.
///
/// Every method answers `None` instead of reading past the end, and then leaves the position
/// where it was: [`Reader::offset`] is where the trouble is.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, offset: 0 }
    }

    /// How many bytes were read.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The bytes that were not read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.offset..]
    }

    /// Whether every byte was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.offset == self.bytes.len()
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let slice = self.rest().get(..len)?;
        self.offset += len;
        Some(slice)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.rest().first_chunk::<N>()?;
        self.offset += N;
        Some(array)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next varint; `None` also if it is longer than it has to be or exceeds 64 bits.
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest().iter().take(MAX_VARINT_LEN).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if index == MAX_VARINT_LEN - 1 && 1 < bits {
                return None;
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                if byte == 0 && index != 0 {
                    return None;
                }
                self.offset += index + 1;
                return Some(value);
            }
        }
        None
    }

    /// The next varint, if it fits 32 bits.
    pub fn varint_u32(&mut self) -> Option<u32> {
        let start = self.offset;
        let value = self.varint().and_then(|value| u32::try_from(value).ok());
        if value.is_none() {
            self.offset = start;
        }
        value
    }

    /// The next varint as a length, and that many bytes.
    pub fn slice(&mut self) -> Option<&'a [u8]> {
        let start = self.offset;
        let slice =
            self.varint().and_then(|len| usize::try_from(len).ok()).and_then(|len| self.bytes(len));
        if slice.is_none() {
            self.offset = start;
        }
        slice
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_round_trip(value: u64, tail: Vec<u8>) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_len(value));
            bytes.extend_from_slice(&tail);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Some(value));
            prop_assert_eq!(reader.rest(), &tail[..]);
        }

        #[test]
        fn arbitrary_bytes_have_at_most_one_reading(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            match reader.varint() {
                Some(value) => {
                    let mut again = Vec::new();
                    put_varint(&mut again, value);
                    prop_assert_eq!(&bytes[..reader.offset()], &again[..]);
                }
                None => prop_assert_eq!(reader.offset(), 0),
            }
        }
    }

    #[test]
    fn overlong_and_oversized_varints_are_refused() {
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), None);
        assert_eq!(Reader::new(&[0xff; 10]).varint(), None);
        assert_eq!(Reader::new(&[0x80; 11]).varint(), None);
        assert_eq!(Reader::new(&[]).varint(), None);
        let mut wide = Vec::new();
        put_varint(&mut wide, u64::from(u32::MAX) + 1);
        assert_eq!(Reader::new(&wide).varint_u32(), None);
    }

    #[test]
    fn a_reader_stays_where_it_could_not_read() {
        let mut reader = Reader::new(&[3, b'a', b'b']);
        assert_eq!(reader.slice(), None);
        assert_eq!(reader.offset(), 0);
        assert_eq!(reader.u16(), Some(u16::from_le_bytes([3, b'a'])));
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.u8(), Some(b'b'));
        assert!(reader.is_empty());
    }
}
