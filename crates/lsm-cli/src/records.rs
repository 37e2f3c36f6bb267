//! Records as they are imported and exported: NDJSON, and CSV.
//!
//! NDJSON has the server's items, one a line. An import takes what a server gives, `seq` and the
//! last line included, and checks that line; so the answer to a scan can be imported as it is. A mark
//! of the byte order before the first line, as spreadsheets write it, is no part of that line.

mod csv;

use std::io::{self, BufRead};

use lsm_engine::base::batch::{MAX_VALUE_LEN, check_key};
use lsm_engine::base::key::MAX_KEY_LEN;
use lsm_server::wire::{ItemRef, Line};

use self::csv::CsvReader;
pub(crate) use self::csv::CsvWriter;
use crate::args::RecordFormat;
use crate::exit::{Failure, Outcome};
use crate::source::Pair;

/// Longest line of an import, and longest record of several lines, in bytes: a value and a key of
/// full length in the longest form that an export has for bytes, and room for the names around them.
///
/// JSON takes six bytes for a control character (`\u0001`). CSV takes two for a quote, and base64 four
/// for three.
const MAX_RECORD_LEN: usize = 6 * (MAX_VALUE_LEN + MAX_KEY_LEN) + 256;

/// What some programs write before the first byte of text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the pairs of an import.
pub(crate) struct PairReader<R> {
    records: Records<R>,
    count: u64,
    is_done: bool,
}

enum Records<R> {
    Ndjson(LineReader<R>),
    Csv(CsvReader<R>),
}

impl<R: BufRead> PairReader<R> {
    pub(crate) fn new(reader: R, format: RecordFormat) -> PairReader<R> {
        PairReader::of(LineReader::new(reader), format)
    }

    fn of(lines: LineReader<R>, format: RecordFormat) -> PairReader<R> {
        let records = match format {
            RecordFormat::Ndjson => Records::Ndjson(lines),
            RecordFormat::Csv => Records::Csv(CsvReader::new(lines)),
        };
        PairReader { records, count: 0, is_done: false }
    }

    /// The next pair; `None` at a good end. A failure says on which line.
    pub(crate) fn next_pair(&mut self) -> Outcome<Option<Pair>> {
        if self.is_done {
            return Ok(None);
        }
        let pair = match &mut self.records {
            Records::Ndjson(lines) => next_item(lines, self.count),
            Records::Csv(records) => records.next_pair(),
        };
        // An input that cannot be read, or is empty and must not be, fails on its first line.
        let line = self.line().max(1);
        let pair = pair.and_then(|pair| pair.map(check).transpose());
        let pair = pair.map_err(|detail| Failure::error(format!("line {line}: {detail}")))?;
        self.count += u64::from(pair.is_some());
        self.is_done = pair.is_none();
        Ok(pair)
    }

    /// How many bytes were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.lines().bytes
    }

    fn line(&self) -> u64 {
        self.lines().count
    }

    fn lines(&self) -> &LineReader<R> {
        match &self.records {
            Records::Ndjson(lines) => lines,
            Records::Csv(records) => records.lines(),
        }
    }
}

/// The message of a parser that saw one line and calls it the first of its document.
fn in_line(detail: String) -> String {
    match detail.rsplit_once(" at line 1 column ") {
        Some((what, column)) if column.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{what} at column {column}")
        }
        _ => detail,
    }
}

/// The pair, if a store can have it: one that it cannot have would spoil its whole batch.
fn check(pair: Pair) -> Result<Pair, String> {
    check_key(&pair.key).map_err(|error| error.to_string())?;
    match pair.value.len() {
        0..=MAX_VALUE_LEN => Ok(pair),
        len => Err(format!("a value of {len} bytes; at most {MAX_VALUE_LEN}")),
    }
}

/// The next item, which is the one behind `count` others.
fn next_item(lines: &mut LineReader<impl BufRead>, count: u64) -> Result<Option<Pair>, String> {
    let Some(line) = lines.next_line().map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    match Line::parse(line).map_err(|error| in_line(error.detail))? {
        Line::Item(item) => {
            let value = item.value.ok_or("value is missing")?;
            Ok(Some(Pair { key: item.key, value }))
        }
        Line::Done { count: told, .. } if told != count => {
            Err(format!("the input tells of {told} items and has {count}: some are missing"))
        }
        Line::Done { .. } => match lines.next_line().map_err(|error| error.to_string())? {
            None => Ok(None),
            Some(_) => Err("something stands behind the line that ends the input".into()),
        },
        Line::Failed(problem) => {
            let (code, detail) = (problem.code.name(), problem.detail);
            Err(format!("whoever wrote the input failed there with {code}: {detail}"))
        }
    }
}

/// Prints the records of an export.
pub(crate) enum RecordWriter {
    Ndjson,
    Csv(CsvWriter),
}

impl RecordWriter {
    pub(crate) fn new(format: RecordFormat) -> RecordWriter {
        match format {
            RecordFormat::Ndjson => RecordWriter::Ndjson,
            RecordFormat::Csv => RecordWriter::Csv(CsvWriter::default()),
        }
    }

    /// Appends a record, with what has to stand before it.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, item: ItemRef<'_>) {
        match self {
            RecordWriter::Ndjson => {
                ItemRef { seq: None, ..item }.write(out, lsm_server::wire::KeyForm::Utf8);
                out.push(b'\n');
            }
            RecordWriter::Csv(writer) => writer.write(out, item),
        }
    }
}

/// Reads lines of a bounded length, and counts.
pub(crate) struct LineReader<R> {
    reader: R,
    line: Vec<u8>,
    /// Longest line, and longest record of several lines, in bytes.
    longest: usize,
    count: u64,
    bytes: u64,
}

impl<R: BufRead> LineReader<R> {
    pub(crate) fn new(reader: R) -> LineReader<R> {
        LineReader::with_longest(reader, MAX_RECORD_LEN)
    }

    fn with_longest(reader: R, longest: usize) -> LineReader<R> {
        LineReader { reader, line: Vec::new(), longest, count: 0, bytes: 0 }
    }

    /// The next line that is not empty, without its line end.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        while let Some(len) = self.read_line(0)? {
            if len != 0 {
                return Ok(Some(&self.line[..len]));
            }
        }
        Ok(None)
    }

    /// Reads a line; returns its length without the line end. So many bytes of the same record stand
    /// before it.
    fn read_line(&mut self, before: usize) -> io::Result<Option<usize>> {
        self.line.clear();
        let left = self.longest.saturating_sub(before);
        let limited = &mut io::Read::take(&mut self.reader, left as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.count += 1;
        self.bytes += read as u64;
        if left < read {
            let detail = format!("a record of more than {} bytes", self.longest);
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        if self.count == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line).len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: RecordFormat) -> Outcome<Vec<Pair>> {
        let mut reader = PairReader::new(text.as_bytes(), format);
        let mut pairs = Vec::new();
        while let Some(pair) = reader.next_pair()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }

    fn refusal(text: &str, format: RecordFormat) -> String {
        match read(text, format) {
            Err(Failure::Said { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The length of a record with a key of so many of these bytes, and a value of so many.
    fn written_len(format: RecordFormat, byte: u8, key_len: usize, value_len: usize) -> usize {
        let (key, value) = (vec![byte; key_len], vec![byte; value_len]);
        let mut out = Vec::new();
        let mut writer = RecordWriter::new(format);
        writer.write(&mut out, ItemRef { key: &key, value: Some(&value), seq: None });
        out.len()
    }

    #[test]
    fn what_is_exported_is_not_too_long_for_an_import() {
        for byte in [1, b'"', b'\n', b'\\', b'a', 0x7f, 0xff] {
            for format in [RecordFormat::Ndjson, RecordFormat::Csv] {
                // Every form has a length for three bytes, and something around it.
                let empty = written_len(format, byte, 0, 0);
                let key = written_len(format, byte, 30, 0) - empty;
                let value = written_len(format, byte, 30, 30) - key - empty;
                let longest = key * MAX_KEY_LEN.div_ceil(30) + value * MAX_VALUE_LEN.div_ceil(30);
                assert!(longest + empty <= MAX_RECORD_LEN, "{byte} as {format:?}: {longest}");
            }
        }
    }

    #[test]
    fn a_record_that_is_too_long_is_refused_wherever_its_lines_end() {
        /// The length of the value, from an input whose records have at most 40 bytes.
        fn read(text: &str, format: RecordFormat) -> Result<usize, String> {
            let lines = LineReader::with_longest(text.as_bytes(), 40);
            match PairReader::of(lines, format).next_pair() {
                Ok(pair) => Ok(pair.unwrap().value.len()),
                Err(Failure::Said { message, .. }) => Err(message),
                Err(other) => panic!("{other:?}"),
            }
        }
        let json = |value_len: usize| {
            let value = "v".repeat(value_len);
            read(&format!("{{\"key\":\"k\",\"value\":\"{value}\"}}"), RecordFormat::Ndjson)
        };
        let csv =
            |record: String| read(&format!("key,value,encoding\n{record}"), RecordFormat::Csv);
        let (key, value) = ("k".repeat(10), "v".repeat(21));
        assert_eq!(json(18), Ok(18));
        assert_eq!(csv(format!("\"a\n{key}\",\"{value}\n\",")), Ok(22));
        for refused in [
            json(19),
            csv(format!("\"a\n{key}\",\"v{value}\n\",")),
            csv(format!("\"{}", "\n".repeat(100))),
            csv(format!("{key}{key},\"{value}\nv")),
        ] {
            let message = refused.unwrap_err();
            assert!(message.contains("a record of more than 40 bytes"), "{message}");
        }
    }

    #[test]
    fn what_a_server_sends_is_read() {
        let text = concat!(
            "{\"key\":\"a\",\"value\":\"1\",\"seq\":7}\n\r\n",
            "{\"key_b64\":\"/w==\",\"value\":\"/w==\",\"encoding\":\"base64\"}\r\n",
            "{\"done\":true,\"count\":2,\"seq\":9}\n",
        );
        let pair = |key: &[u8], value: &[u8]| Pair { key: key.into(), value: value.into() };
        let pairs = read(text, RecordFormat::Ndjson).unwrap();
        assert_eq!(pairs, [pair(b"a", b"1"), pair(b"\xff", b"\xff")]);
        // A file need not have the last line, nor a line end.
        assert_eq!(read(r#"{"key":"a","value":"1"}"#, RecordFormat::Ndjson).unwrap().len(), 1);
        assert_eq!(read("", RecordFormat::Ndjson).unwrap(), []);
    }

    #[test]
    fn a_mark_of_the_byte_order_before_the_first_line_is_no_part_of_it() {
        let pair = Pair { key: b"a".to_vec(), value: b"1".to_vec() };
        let item = "{\"key\":\"a\",\"value\":\"1\"}\n";
        let csv = "key,value,encoding\na,1,\n";
        for (text, format) in [(item, RecordFormat::Ndjson), (csv, RecordFormat::Csv)] {
            let marked = read(&format!("\u{feff}{text}"), format).unwrap();
            assert_eq!(marked, std::slice::from_ref(&pair), "{format:?}");
            // Anywhere else it is text like any other.
            assert!(read(&format!("\u{feff}\u{feff}{text}"), format).is_err(), "{format:?}");
        }
        let item = format!("{item}\u{feff}{item}");
        assert!(refusal(&item, RecordFormat::Ndjson).starts_with("line 2: "));
        let csv = format!("{csv}\u{feff}a,2,\n");
        let pairs = read(&csv, RecordFormat::Csv).unwrap();
        assert_eq!(pairs[1].key, "\u{feff}a".as_bytes());
        assert_eq!(read("\u{feff}", RecordFormat::Ndjson).unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let item = "{\"key\":\"a\",\"value\":\"1\"}\n";
        for (text, line, reason) in [
            (format!("{item}\n{{\"key\":\"b\"}}"), 3, "value is missing"),
            (format!("{item}nonsense"), 2, "line 2: expected ident at column 2"),
            (
                "{\"key\":\"a\",\"value\":\"\",\" at line 1 column 1x\":1}".into(),
                1,
                "field \" at line 1 column 1x\"",
            ),
            (format!("{item}{{\"done\":true,\"count\":2}}"), 2, "some are missing"),
            (format!("{{\"done\":true,\"count\":0}}\n{item}"), 2, "stands behind"),
            (format!("{item}{{\"key\":\"\",\"value\":\"\"}}"), 2, "an empty key"),
            (
                item.replace("\"a\"", &format!("\"{}\"", "k".repeat(MAX_KEY_LEN + 1))),
                1,
                "a key of 65536 bytes",
            ),
        ] {
            let message = refusal(&text, RecordFormat::Ndjson);
            assert!(message.starts_with(&format!("line {line}: ")), "{message}");
            assert!(message.contains(reason), "{message}");
        }
        assert!(refusal("", RecordFormat::Csv).starts_with("line 1: the header "));
        let csv = "key,value,encoding\na,1,\n,2,\n";
        assert!(refusal(csv, RecordFormat::Csv).starts_with("line 3: an empty key"));
        let problem = lsm_server::wire::Problem::new(lsm_server::wire::Code::Io, "no luck");
        let mut text = Vec::new();
        Line::write_failed(&mut text, &problem);
        let message = refusal(std::str::from_utf8(&text).unwrap(), RecordFormat::Ndjson);
        assert!(message.contains("no luck"), "{message}");
    }
}
