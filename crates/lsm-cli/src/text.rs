//! Bytes as text and back: keys and values as arguments and on a terminal.
//!
//! ```text
//! plain text      itself
//! hex:00ff        hexadecimal digits, two for each byte
//! b64:AP8=        base64, standard alphabet, padded
//! b"\x00\xff"     escapes: \xNN \n \r \t \0 \\ \" \'
//! ```
//!
//! Invariant: what [`print()`] gives, [`parse`] reads back as the same bytes, and it has neither
//! control characters nor line ends. So text that begins like one of the forms is printed escaped, and
//! so is text that begins with `-`, which would be read as an option.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use clap::builder::{OsStringValueParser, TypedValueParser};
use lsm_server::wire::from_base64;

/// A key or a value that came as an argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    /// Reads an argument for clap.
    pub(crate) fn parser() -> impl TypedValueParser<Value = Bytes> {
        OsStringValueParser::new().try_map(|argument: OsString| parse(argument.into_vec()))
    }
}

/// The bytes that an argument stands for; the error says what is wrong with it.
pub(crate) fn parse(argument: Vec<u8>) -> Result<Bytes, String> {
    if let Some(digits) = argument.strip_prefix(b"hex:") {
        return parse_hex(digits).map(Bytes);
    }
    if let Some(base64) = argument.strip_prefix(b"b64:") {
        let text = std::str::from_utf8(base64).ok();
        return text
            .and_then(from_base64)
            .map(Bytes)
            .ok_or_else(|| "behind b64: must stand standard base64 with padding".into());
    }
    match argument.strip_prefix(b"b\"") {
        Some(escaped) => parse_escaped(escaped).map(Bytes),
        None => Ok(Bytes(argument)),
    }
}

/// The bytes as text that can be an argument: themselves where that is readable.
pub(crate) fn print(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if is_plain(text) => text.to_owned(),
        _ => format!("b\"{}\"", bytes.escape_ascii()),
    }
}

/// The bytes as hexadecimal digits, in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A count and its noun: `1 table`, `3 tables`.
pub(crate) fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Whether text can stand for itself: nothing in it moves a cursor, hides, or looks like a form or an
/// option.
fn is_plain(text: &str) -> bool {
    if ["hex:", "b64:", "b\"", "-"].iter().any(|form| text.starts_with(form)) {
        return false;
    }
    // `escape_debug` knows what cannot be seen; quotes and backslashes it escapes for another
    // reason.
    text.escape_debug().filter(|char| *char == '\\').count()
        == text.chars().filter(|char| matches!(char, '"' | '\'')).count()
            + 2 * text.chars().filter(|char| *char == '\\').count()
}

fn parse_hex(digits: &[u8]) -> Result<Vec<u8>, String> {
    if !digits.len().is_multiple_of(2) {
        return Err("behind hex: must stand an even number of digits".into());
    }
    digits
        .chunks_exact(2)
        .map(|pair| hex_byte(pair[0], pair[1]))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| "behind hex: must stand hexadecimal digits".into())
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// What stands behind `b"`.
fn parse_escaped(escaped: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    loop {
        rest = match rest {
            [b'"'] => return Ok(bytes),
            [b'"', ..] => {
                return Err("something stands behind the closing quote of b\"...\"".into());
            }
            [] => return Err("b\" has no closing quote".into()),
            [b'\\', b'x', high, low, rest @ ..] => {
                let byte = hex_byte(*high, *low);
                bytes.push(byte.ok_or("\\x needs two hexadecimal digits")?);
                rest
            }
            [b'\\', escape, rest @ ..] => {
                bytes.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0' => 0,
                    b'\\' | b'"' | b'\'' => *escape,
                    b'x' => return Err("\\x needs two hexadecimal digits".into()),
                    _ => {
                        return Err("b\"...\" knows \\xNN \\n \\r \\t \\0 \\\\ \\\" and \\'".into());
                    }
                });
                rest
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser as _;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Vec<u8>, String> {
        parse(text.as_bytes().to_vec()).map(|bytes| bytes.0)
    }

    /// What the command line makes of a text that stands where a key may stand.
    fn argument(text: &str) -> Result<Vec<u8>, clap::Error> {
        let args = Args::try_parse_from(["lsm", "get", text])?;
        let Command::Get(get) = args.command else { panic!("{:?}", args.command) };
        Ok(get.key.0)
    }

    proptest! {
        #[test]
        fn bytes_survive_the_round_trip(bytes: Vec<u8>) {
            let text = print(&bytes);
            prop_assert!(!text.chars().any(char::is_control), "{text:?}");
            prop_assert_eq!(parsed(&text).unwrap(), &bytes[..]);
            prop_assert_eq!(parsed(&format!("hex:{}", hex(&bytes))).unwrap(), &bytes[..]);
            let base64 = lsm_server::wire::to_base64(&bytes);
            prop_assert_eq!(parsed(&format!("b64:{base64}")).unwrap(), bytes);
        }

        #[test]
        fn text_survives_the_round_trip_through_the_arguments(
            text in r#"(hex:|b64:|b"|-|--|-5|)\PC{0,20}["'\\\n]?\PC{0,5}"#
        ) {
            let printed = print(text.as_bytes());
            prop_assert_eq!(argument(&printed).unwrap(), text.into_bytes());
        }

        #[test]
        fn no_argument_panics(argument: Vec<u8>, form in "(hex:|b64:|b\")") {
            let _ = parse([form.as_bytes(), &argument].concat());
        }
    }

    #[test]
    fn each_form_is_read() {
        assert_eq!(parsed("plain text").unwrap(), b"plain text");
        assert_eq!(parsed("").unwrap(), b"");
        assert_eq!(parsed("hex:00fF").unwrap(), [0, 0xff]);
        assert_eq!(parsed("hex:").unwrap(), b"");
        assert_eq!(parsed("b64:AP8=").unwrap(), [0, 0xff]);
        assert_eq!(parsed(r#"b"\x00\xff a\n\"""#).unwrap(), b"\x00\xff a\n\"");
        assert_eq!(parsed(r#"b"hex:00""#).unwrap(), b"hex:00");
        assert_eq!(parsed("behind").unwrap(), b"behind");
    }

    #[test]
    fn what_is_no_form_is_refused_with_the_reason() {
        for (argument, reason) in [
            ("hex:0", "even number"),
            ("hex:0g", "hexadecimal digits"),
            ("hex:+1", "hexadecimal digits"),
            ("b64:AP8", "padding"),
            ("b64:AP9=", "padding"),
            ("b\"a", "no closing quote"),
            ("b\"a\\\"", "no closing quote"),
            ("b\"a\"b", "behind the closing quote"),
            ("b\"\\x1\"", "two hexadecimal digits"),
            ("b\"\\xz1\"", "two hexadecimal digits"),
            ("b\"\\q\"", "knows"),
        ] {
            let error = parsed(argument).unwrap_err();
            assert!(error.contains(reason), "{argument}: {error}");
        }
    }

    #[test]
    fn readable_text_stands_for_itself_and_the_rest_is_escaped() {
        for plain in ["a b", "ключ", "it's \"quoted\" \\ so", "🗝", "नमस्ते"] {
            assert_eq!(print(plain.as_bytes()), plain);
        }
        assert_eq!(print(b"a\tb"), r#"b"a\tb""#);
        assert_eq!(print(b"\x1b[31m"), r#"b"\x1b[31m""#);
        assert_eq!(print(b"hex:00"), r#"b"hex:00""#);
        assert_eq!(print(b"--foo"), r#"b"--foo""#);
        assert_eq!(print(b"\xff"), r#"b"\xff""#);
        // A mark that turns the direction of writing can make one key look like another.
        assert_eq!(print("\u{202e}abc".as_bytes()), r#"b"\xe2\x80\xaeabc""#);
    }
}
