//! Records of metadata: MANIFEST items and table properties.
//!
//! This module is the only place that knows bincode. What it encodes was framed, versioned and
//! checksummed by its owner; user bytes and hot paths have hand-written layouts instead. Decoding
//! has a size limit, must use every byte, and lends text and bytes from the record: `&str` and `&[u8]`
//! take no memory, whatever length is claimed, where `String` would be given it before it is read.

use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian};
use serde::{Deserialize, Serialize};

/// The most that a decoded record may claim, in bytes.
pub const MAX_RECORD_LEN: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_RECORD_LEN>> =
    config::standard().with_fixed_int_encoding().with_limit::<MAX_RECORD_LEN>();

/// The bytes of a record.
///
/// # Panics
/// If the record is larger than [`MAX_RECORD_LEN`], or has a type that bincode cannot express;
/// our records have neither.
#[must_use]
pub fn encode_record<T: Serialize>(record: &T) -> Vec<u8> {
    let bytes = bincode::serde::encode_to_vec(record, CONFIG).expect("our records are plain data");
    assert!(bytes.len() <= MAX_RECORD_LEN, "a metadata record of {} bytes", bytes.len());
    bytes
}

/// The record of exactly these bytes, its text and byte strings borrowed from them.
///
/// # Errors
/// What is wrong with the bytes; the caller knows their file and offset.
pub fn decode_record<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let (record, used) = bincode::serde::borrow_decode_from_slice(bytes, CONFIG)
        .map_err(|error| error.to_string())?;
    if used != bytes.len() {
        return Err(format!("{} bytes behind the record", bytes.len() - used));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Sample<'a> {
        number: u64,
        bytes: &'a [u8],
        #[serde(borrow)]
        name: Option<&'a str>,
    }

    #[test]
    fn records_round_trip_and_leave_nothing_over() {
        let sample = Sample { number: 7, bytes: &[1, 2], name: Some("n") };
        let mut bytes = encode_record(&sample);
        assert_eq!(decode_record::<Sample<'_>>(&bytes), Ok(sample));
        assert!(decode_record::<Sample<'_>>(&bytes[..4]).is_err());
        bytes.push(0);
        assert!(decode_record::<Sample<'_>>(&bytes).is_err());
    }

    #[test]
    fn what_is_decoded_lies_in_the_record() {
        let bytes = encode_record(&Sample { number: 7, bytes: &[1; 90], name: Some("name") });
        let sample: Sample<'_> = decode_record(&bytes).unwrap();
        let range = bytes.as_ptr_range();
        assert!(range.contains(&sample.bytes.as_ptr()));
        assert!(range.contains(&sample.name.unwrap().as_ptr()));
    }

    #[test]
    fn a_claimed_length_that_is_not_there_is_refused() {
        // One byte too many, what an owned string would be given at once, and what none may be.
        for len in [4, 60 << 20, u64::MAX] {
            let mut bytes = encode_record(&len);
            bytes.extend_from_slice(b"abc");
            assert!(decode_record::<&str>(&bytes).is_err());
            assert!(decode_record::<&[u8]>(&bytes).is_err());
        }
    }

    #[test]
    fn borrowed_and_owned_records_have_the_same_bytes() {
        let owned = (vec![1_u8, 2], Some(String::from("n")), 9_u64);
        assert_eq!(encode_record(&owned), encode_record(&(&[1_u8, 2][..], Some("n"), 9_u64)));
    }
}
