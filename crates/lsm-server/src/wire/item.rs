//! One key with its value: how it is printed and how it is read.
//!
//! The printed form is compact and its fields have one order: the key (`key`, `key_b64` or
//! `key_hex`), `value`, `encoding`, `seq`. Fields that an item does not have are left out.

use super::json::{Node, Object};
use super::{WireError, from_base64, put_number, put_string, to_base64};

/// An item that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Vec<u8>,
    /// The value, unless the item is of a listing of keys.
    pub value: Option<Vec<u8>>,
    /// The sequence of the key's last write, if the item tells it.
    pub seq: Option<u64>,
}

impl Item {
    /// Reads an item from its JSON.
    ///
    /// # Errors
    ///
    /// If the bytes are anything but one item.
    ///
    /// # Examples
    ///
    /// ```
    /// use lsm_server::wire::Item;
    /// let item = Item::parse(br#"{"key":"a","value":"/w==","encoding":"base64","seq":7}"#)?;
    /// assert_eq!(item, Item { key: b"a".into(), value: Some(vec![0xff]), seq: Some(7) });
    /// # Ok::<(), lsm_server::wire::WireError>(())
    /// ```
    pub fn parse(json: &[u8]) -> Result<Item, WireError> {
        item_from(Node::parse_object(json)?)
    }

    /// The item without its bytes.
    #[must_use]
    pub fn as_ref(&self) -> ItemRef<'_> {
        ItemRef { key: &self.key, value: self.value.as_deref(), seq: self.seq }
    }
}

/// An item to be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemRef<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value, if it is to be printed.
    pub value: Option<&'a [u8]>,
    /// The sequence of the key's last write, if it is to be printed.
    pub seq: Option<u64>,
}

impl ItemRef<'_> {
    /// Appends the item's JSON, without a line end.
    pub fn write(&self, out: &mut Vec<u8>, form: KeyForm) {
        out.push(b'{');
        put_key(out, self.key, form);
        if let Some(value) = self.value {
            out.extend_from_slice(b",\"value\":");
            match std::str::from_utf8(value) {
                Ok(text) => put_string(out, text),
                Err(_) => {
                    put_base64(out, value);
                    out.extend_from_slice(b",\"encoding\":\"base64\"");
                }
            }
        }
        if let Some(seq) = self.seq {
            out.extend_from_slice(b",\"seq\":");
            put_number(out, seq);
        }
        out.push(b'}');
    }

    /// How many bytes [`write`](ItemRef::write) appends.
    #[must_use]
    pub fn printed_len(&self, form: KeyForm) -> usize {
        let key = match (form, std::str::from_utf8(self.key)) {
            (KeyForm::Utf8, Ok(text)) => r#""key":"#.len() + string_len(text),
            (KeyForm::Utf8 | KeyForm::Base64, _) => {
                r#""key_b64":"#.len() + base64_len(self.key.len())
            }
            (KeyForm::Hex, _) => r#""key_hex":"""#.len() + 2 * self.key.len(),
        };
        let value = self.value.map_or(0, |value| {
            r#","value":"#.len()
                + match std::str::from_utf8(value) {
                    Ok(text) => string_len(text),
                    Err(_) => base64_len(value.len()) + r#","encoding":"base64""#.len(),
                }
        });
        let seq = self.seq.map_or(0, |seq| {
            r#","seq":"#.len() + seq.checked_ilog10().map_or(1, |log| log as usize + 1)
        });
        "{}".len() + key + value + seq
    }

    /// Whether [`write`](ItemRef::write) appends at most so many bytes. The item is measured only if
    /// it could be more.
    #[must_use]
    pub fn fits(&self, room: usize, form: KeyForm) -> bool {
        // A byte becomes six at most, and field names and numbers are fewer than 100.
        let most = 6 * (self.key.len() + self.value.map_or(0, <[u8]>::len)) + 100;
        most <= room || self.printed_len(form) <= room
    }
}

/// The length of a string's JSON, with its quotes.
fn string_len(text: &str) -> usize {
    let escaped = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum::<usize>() + 2
}

/// The length of so many bytes as base64, with its quotes.
const fn base64_len(len: usize) -> usize {
    len.div_ceil(3) * 4 + 2
}

/// How keys are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyForm {
    /// `key` where the key is UTF-8, else `key_b64`.
    #[default]
    Utf8,
    /// Always `key_b64`.
    Base64,
    /// Always `key_hex`, in lower case. Items of this form are for people and are not read back.
    Hex,
}

/// Appends the field that holds a key, and nothing around it.
pub fn put_key(out: &mut Vec<u8>, key: &[u8], form: KeyForm) {
    match (form, std::str::from_utf8(key)) {
        (KeyForm::Utf8, Ok(text)) => {
            out.extend_from_slice(b"\"key\":");
            put_string(out, text);
        }
        (KeyForm::Utf8 | KeyForm::Base64, _) => {
            out.extend_from_slice(b"\"key_b64\":");
            put_base64(out, key);
        }
        (KeyForm::Hex, _) => {
            out.extend_from_slice(b"\"key_hex\":\"");
            for byte in key {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend([digit(byte >> 4), digit(byte & 15)]);
            }
            out.push(b'"');
        }
    }
}

/// Takes the key out of an object: `key` or `key_b64`, and not both.
///
/// # Errors
///
/// If neither or both are there, or the base64 is not strict.
pub fn key_from(object: &mut Object<'_>) -> Result<Vec<u8>, WireError> {
    match (object.string("key")?, object.string("key_b64")?) {
        (Some(text), None) => Ok(text.into_owned().into_bytes()),
        (None, Some(text)) => from_base64(&text)
            .ok_or_else(|| WireError::bad("key_b64 must be standard base64 with padding")),
        (Some(_), Some(_)) => Err(WireError::bad("key and key_b64 exclude each other")),
        (None, None) => Err(WireError::bad("key is missing")),
    }
}

/// Takes the value out of an object, with the `encoding` that says how to read it.
///
/// # Errors
///
/// If an `encoding` stands alone or is not `base64`, or the base64 is not strict.
pub fn value_from(object: &mut Object<'_>) -> Result<Option<Vec<u8>>, WireError> {
    match (object.string("value")?, object.string("encoding")?.as_deref()) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_owned().into_bytes())),
        (Some(text), Some("base64")) => from_base64(&text)
            .map(Some)
            .ok_or_else(|| WireError::bad("value must be standard base64 with padding")),
        (Some(_), Some(_)) => Err(WireError::bad("encoding must be base64")),
        (None, Some(_)) => Err(WireError::bad("encoding needs a value")),
    }
}

/// Reads an item out of an object, which must have no other field.
///
/// # Errors
///
/// If a field is missing, unknown or of another type.
pub fn item_from(mut object: Object<'_>) -> Result<Item, WireError> {
    let key = key_from(&mut object)?;
    let value = value_from(&mut object)?;
    let seq = object.uint("seq")?;
    object.finish()?;
    Ok(Item { key, value, seq })
}

fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(to_base64(bytes).as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn printed(item: ItemRef<'_>, form: KeyForm) -> String {
        let mut out = Vec::new();
        item.write(&mut out, form);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn every_item_survives_the_round_trip(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
            seq: Option<u64>,
        ) {
            let item = Item { key, value, seq };
            for form in [KeyForm::Utf8, KeyForm::Base64] {
                let json = printed(item.as_ref(), form);
                prop_assert_eq!(&Item::parse(json.as_bytes()).unwrap(), &item);
            }
        }

        #[test]
        fn text_survives_the_round_trip(key: String, value: String) {
            let item = Item { key: key.into(), value: Some(value.into()), seq: None };
            let json = printed(item.as_ref(), KeyForm::Utf8);
            prop_assert!(!json.contains("key_b64") && !json.contains('\n'));
            prop_assert_eq!(Item::parse(json.as_bytes()).unwrap(), item);
        }

        #[test]
        fn an_item_is_as_long_as_it_says(
            key in prop_oneof![any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>()],
            value in proptest::option::of(
                prop_oneof!["[\\x00-\\x7f]*".prop_map(String::into_bytes), any::<Vec<u8>>()]
            ),
            seq: Option<u64>,
            room in 0_usize..400,
        ) {
            let item = ItemRef { key: &key, value: value.as_deref(), seq };
            for form in [KeyForm::Utf8, KeyForm::Base64, KeyForm::Hex] {
                let len = printed(item, form).len();
                prop_assert_eq!(item.printed_len(form), len);
                prop_assert_eq!(item.fits(room, form), len <= room);
            }
            let few = ItemRef { seq: seq.map(|seq| seq % 12), ..item };
            prop_assert_eq!(few.printed_len(KeyForm::Utf8), printed(few, KeyForm::Utf8).len());
        }

        #[test]
        fn what_is_read_from_arbitrary_bytes_never_panics(json: Vec<u8>) {
            let _ = Item::parse(&json);
        }
    }

    #[test]
    fn the_printed_form_is_compact_and_in_one_order() {
        let item = ItemRef { key: b"a\"\n", value: Some(b"b"), seq: Some(7) };
        assert_eq!(printed(item, KeyForm::Utf8), r#"{"key":"a\"\n","value":"b","seq":7}"#);
        let item = ItemRef { key: b"\xff", value: Some(b"\xfe"), seq: None };
        assert_eq!(
            printed(item, KeyForm::Utf8),
            r#"{"key_b64":"/w==","value":"/g==","encoding":"base64"}"#
        );
        let item = ItemRef { key: b"\x0aA", value: None, seq: None };
        assert_eq!(printed(item, KeyForm::Hex), r#"{"key_hex":"0a41"}"#);
        assert_eq!(printed(item, KeyForm::Base64), r#"{"key_b64":"CkE="}"#);
    }

    #[test]
    fn what_is_not_an_item_is_refused_with_the_field_named() {
        for (json, named) in [
            (r#"{"value":"b"}"#, "key is missing"),
            (r#"{"key":"a","key_b64":"YQ=="}"#, "key and key_b64"),
            (r#"{"key":1}"#, "key must be a string"),
            (r#"{"key_b64":"YQ"}"#, "key_b64"),
            (r#"{"key_b64":"YR=="}"#, "key_b64"),
            (r#"{"key_b64":"Y Q=="}"#, "key_b64"),
            (r#"{"key_b64":"_w=="}"#, "key_b64"),
            (r#"{"key":"a","value":"b","encoding":"hex"}"#, "encoding"),
            (r#"{"key":"a","encoding":"base64"}"#, "encoding"),
            (r#"{"key":"a","value":"YQ","encoding":"base64"}"#, "value"),
            (r#"{"key":"a","value":"b","ttl_ms":5}"#, "ttl_ms"),
            (r#"{"key":"a","key":"b"}"#, "key"),
            (r#"{"key":"a","seq":-1}"#, "seq"),
            (r#"["a"]"#, "an object"),
        ] {
            let error = Item::parse(json.as_bytes()).unwrap_err();
            assert!(error.detail.contains(named), "{json}: {error}");
        }
    }
}
