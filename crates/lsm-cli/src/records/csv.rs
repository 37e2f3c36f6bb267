//! Comma-separated values, by RFC 4180.
//!
//! ```text
//! key,value,encoding
//! apple,"red, or green",
//! /w==,AP8=,base64
//! ```
//!
//! The header is required. `encoding` is empty, or `base64` where key or value is not UTF-8; it
//! stands for both. A field with a comma, a quote or a line end is quoted, and a quote doubled.
//! Invariant: what is written here is read back as the same bytes.

use std::io::BufRead;

use lsm_server::wire::{ItemRef, from_base64, to_base64};

use super::LineReader;
use crate::source::Pair;

const HEADER: [&[u8]; 3] = [b"key", b"value", b"encoding"];

/// Writes records; the header first.
#[derive(Debug, Default)]
pub(crate) struct CsvWriter {
    has_header: bool,
}

impl CsvWriter {
    /// Appends the header, unless it is there.
    pub(crate) fn write_header(&mut self, out: &mut Vec<u8>) {
        if !self.has_header {
            out.extend_from_slice(b"key,value,encoding\r\n");
            self.has_header = true;
        }
    }

    /// Appends a record.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, item: ItemRef<'_>) {
        self.write_header(out);
        let value = item.value.unwrap_or_default();
        match (std::str::from_utf8(item.key), std::str::from_utf8(value)) {
            (Ok(key), Ok(value)) => {
                put_field(out, key);
                out.push(b',');
                put_field(out, value);
                out.extend_from_slice(b",\r\n");
            }
            _ => {
                let (key, value) = (to_base64(item.key), to_base64(value));
                out.extend_from_slice(format!("{key},{value},base64\r\n").as_bytes());
            }
        }
    }
}

fn put_field(out: &mut Vec<u8>, field: &str) {
    if !field.contains(['"', ',', '\r', '\n']) {
        out.extend_from_slice(field.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(field.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

/// Reads records.
pub(super) struct CsvReader<R> {
    lines: LineReader<R>,
    has_header: bool,
}

impl<R: BufRead> CsvReader<R> {
    pub(super) fn new(lines: LineReader<R>) -> CsvReader<R> {
        CsvReader { lines, has_header: false }
    }

    pub(super) const fn lines(&self) -> &LineReader<R> {
        &self.lines
    }

    /// The next pair; `None` at the end. The error says what is wrong with the record.
    pub(super) fn next_pair(&mut self) -> Result<Option<Pair>, String> {
        if !self.has_header {
            let header = self.next_record()?.ok_or("the header key,value,encoding is missing")?;
            if header != HEADER {
                return Err("the header must be key,value,encoding".into());
            }
            self.has_header = true;
        }
        let Some(fields) = self.next_record()? else { return Ok(None) };
        let [key, value, encoding] = <[Vec<u8>; 3]>::try_from(fields)
            .map_err(|fields| format!("{} fields instead of 3", fields.len()))?;
        match &encoding[..] {
            b"" => Ok(Some(Pair { key, value })),
            b"base64" => {
                let decode = |field: &[u8], name: &str| {
                    let text = std::str::from_utf8(field).ok();
                    text.and_then(from_base64).ok_or_else(|| format!("{name} is not base64"))
                };
                Ok(Some(Pair { key: decode(&key, "key")?, value: decode(&value, "value")? }))
            }
            _ => Err("encoding must be empty or base64".into()),
        }
    }

    /// The fields of the next record that is not empty.
    fn next_record(&mut self) -> Result<Option<Vec<Vec<u8>>>, String> {
        let failed = |error: std::io::Error| error.to_string();
        let (mut parser, mut record_len) = (Parser::default(), 0);
        loop {
            let Some(len) = self.lines.read_line(record_len).map_err(failed)? else {
                return match parser.place {
                    Place::Quoted => Err("a quote is not closed".into()),
                    _ => Ok(None),
                };
            };
            if len == 0 && parser.place != Place::Quoted {
                continue;
            }
            let (line, end) = self.lines.line.split_at(len);
            parser.line(line)?;
            if parser.place != Place::Quoted {
                return Ok(Some(parser.finish()));
            }
            // The line end belongs to the field.
            parser.field.extend_from_slice(end);
            record_len += line.len() + end.len();
        }
    }
}

/// The fields of a record, while it is read.
#[derive(Default)]
struct Parser {
    fields: Vec<Vec<u8>>,
    field: Vec<u8>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Place {
    #[default]
    BeforeField,
    Plain,
    Quoted,
    /// Behind a quote that ends the field, unless another follows.
    BehindQuote,
}

impl Parser {
    /// Takes a line, or what belongs to this record of it: all of it.
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        for &byte in line {
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::BehindQuote,
                (Place::BehindQuote, b'"') | (Place::Quoted, _) => {
                    self.field.push(byte);
                    Place::Quoted
                }
                (_, b',') => {
                    self.end_field()?;
                    Place::BeforeField
                }
                (Place::BeforeField, b'"') => Place::Quoted,
                (Place::Plain, b'"') => {
                    return Err("a quote inside a field that is not quoted".into());
                }
                (Place::BehindQuote, _) => {
                    return Err("something stands behind a closing quote".into());
                }
                (Place::BeforeField | Place::Plain, _) => {
                    self.field.push(byte);
                    Place::Plain
                }
            };
        }
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), String> {
        // Behind this comma another field begins.
        if self.fields.len() + 1 == HEADER.len() {
            return Err("more than 3 fields".into());
        }
        self.fields.push(std::mem::take(&mut self.field));
        Ok(())
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.fields.push(self.field);
        self.fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> Result<Vec<Pair>, String> {
        let mut reader = CsvReader::new(LineReader::new(text));
        std::iter::from_fn(|| reader.next_pair().transpose()).take(1000).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn pairs_survive_the_round_trip(
            pairs in proptest::collection::vec(
                (
                    prop_oneof!["[a,\"\r\n]{1,6}".prop_map(String::into_bytes), any::<Vec<u8>>()],
                    prop_oneof!["[b,\"\r\n]{0,6}".prop_map(String::into_bytes), any::<Vec<u8>>()],
                ),
                0..6,
            ),
        ) {
            let mut out = Vec::new();
            let mut writer = CsvWriter::default();
            writer.write_header(&mut out);
            for (key, value) in &pairs {
                writer.write(&mut out, ItemRef { key, value: Some(value), seq: None });
            }
            let pairs: Vec<Pair> =
                pairs.into_iter().map(|(key, value)| Pair { key, value }).collect();
            prop_assert_eq!(read(&out).unwrap(), pairs);
        }

        #[test]
        fn no_input_panics(text: Vec<u8>) {
            let _ = read(&[b"key,value,encoding\n", &text[..]].concat());
        }
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let mut out = Vec::new();
        let mut writer = CsvWriter::default();
        for (key, value) in [(&b"a"[..], &b"x, \"y\"\r\n"[..]), (b"\xff", b"")] {
            writer.write(&mut out, ItemRef { key, value: Some(value), seq: Some(1) });
        }
        let text = "key,value,encoding\r\na,\"x, \"\"y\"\"\r\n\",\r\n/w==,,base64\r\n";
        assert_eq!(out, text.as_bytes());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (text, reason) in [
            ("", "header"),
            ("a,b\n", "header must be"),
            ("key,value,encoding\na,b\n", "2 fields"),
            ("key,value,encoding\na,b,,\n", "more than 3"),
            ("key,value,encoding\na,\"b,\n", "not closed"),
            ("key,value,encoding\na,\"b\"c,\n", "behind a closing quote"),
            ("key,value,encoding\na,b\"c,\n", "inside a field"),
            ("key,value,encoding\na,b,hex\n", "encoding must be"),
            ("key,value,encoding\na,b,base64\n", "key is not base64"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
