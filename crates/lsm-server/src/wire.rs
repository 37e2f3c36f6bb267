//! The JSON forms that travel between the server and those who talk to it.
//!
//! They stand here once, for the server and for the command line:
//!
//! - [`Item`] and [`ItemRef`]: one key with its value and its sequence;
//! - [`Line`]: one line of a newline-delimited scan;
//! - [`Problem`]: what went wrong, as `application/problem+json`;
//! - [`Tree`] and [`Stats`]: the shape of the store, and figures about it;
//! - [`json`]: the strict reader on which they are built.
//!
//! A key or a value is any string of bytes, and JSON has text only. Text is sent as text, so that
//! most data can be read by eye; other bytes are sent as base64 and say so:
//!
//! | bytes | key | value |
//! |---|---|---|
//! | UTF-8 | `"key":"a"` | `"value":"b"` |
//! | other | `"key_b64":"/w=="` | `"value":"/w==","encoding":"base64"` |
//!
//! Invariant: every string of bytes has exactly one printed form, and parsing that gives it back.
//! Parsing is strict: an unknown or repeated field, base64 with a missing pad or a stray bit, and a
//! document nested deeper than [`json::MAX_DEPTH`] are refused with the field's name.

pub mod json;

mod item;
mod line;
mod problem;
mod stats;
pub mod tree;

pub use item::{Item, ItemRef, KeyForm, item_from, key_from, put_key, value_from};
pub use line::Line;
pub use problem::{Code, Problem};
pub use stats::{Amplification, Disk, KeyspaceStats, Memory, Recovery, Stats};
pub use tree::Tree;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Why bytes are not the JSON that they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    /// [`Code::BadJson`] or [`Code::UnknownField`].
    pub code: Code,
    /// What is wrong, with the field's name; safe to send back to the sender.
    pub detail: String,
}

impl WireError {
    /// JSON that does not say what it should.
    pub fn bad(detail: impl Into<String>) -> WireError {
        WireError { code: Code::BadJson, detail: detail.into() }
    }

    /// A field that has no meaning where it stands.
    pub fn unknown_field(name: &str) -> WireError {
        let detail = format!("unknown field {}", Shown(name));
        WireError { code: Code::UnknownField, detail }
    }

    /// The same, for a field of the value that `place` names: `ops[3].key is missing`.
    #[must_use]
    pub fn inside(self, place: &str) -> WireError {
        let joint = if self.code == Code::UnknownField { ": " } else { "." };
        WireError { detail: format!("{place}{joint}{}", self.detail), ..self }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for WireError {}

/// Encodes bytes as strict base64: the standard alphabet, padded.
#[must_use]
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes strict base64; `None` if a pad is missing, a bit is stray, or a character is foreign.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Appends a JSON string with its quotes.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes every write, and a string every form");
}

/// Appends a number.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    use std::io::Write as _;
    write!(out, "{number}").expect("a vector takes every write");
}

/// A name that came from outside, quoted and shortened for a message.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 64;
        match self.0.char_indices().nth(LONGEST) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
        }
    }
}
