//! Records of metadata: MANIFEST items and table properties.
//!
//! This module is the only place that knows bincode. What it encodes was framed, versioned and
//! checksummed by its owner; user bytes and hot paths have hand-written layouts instead. Decoding
//! has a size limit and must use every byte.

use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// The record of exactly these bytes.
///
/// # Errors
/// What is wrong with the bytes; the caller knows their file and offset.
pub fn decode_record<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (record, used) =
        bincode::serde::decode_from_slice(bytes, CONFIG).map_err(|error| error.to_string())?;
    if used != bytes.len() {
        return Err(format!("{} bytes behind the record", bytes.len() - used));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Sample {
        number: u64,
        bytes: Vec<u8>,
        name: Option<String>,
    }

    #[test]
    fn records_round_trip_and_leave_nothing_over() {
        let sample = Sample { number: 7, bytes: vec![1, 2], name: Some("n".into()) };
        let mut bytes = encode_record(&sample);
        assert_eq!(decode_record::<Sample>(&bytes), Ok(sample));
        bytes.push(0);
        assert!(decode_record::<Sample>(&bytes).is_err());
        assert!(decode_record::<Sample>(&bytes[..4]).is_err());
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut bytes = encode_record(&u64::MAX);
        bytes.push(1);
        assert!(decode_record::<Vec<u8>>(&bytes).is_err());
    }
}
