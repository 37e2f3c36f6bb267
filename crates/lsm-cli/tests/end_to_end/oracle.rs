//! The oracle: a sorted map of what was acknowledged, and its own NDJSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::data::{Batch, Op};

/// What the store must hold.
#[derive(Default)]
pub(crate) struct Oracle {
    items: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What became of a batch that was not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Whole,
    Absent,
}

impl Oracle {
    /// Takes over a batch that was acknowledged.
    pub(crate) fn apply(&mut self, batch: &Batch) {
        for Op { key, value } in batch {
            match value {
                Some(value) => self.items.insert(key.clone(), value.clone()),
                None => self.items.remove(key),
            };
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        self.items.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.items.iter()
    }

    /// The items whose keys begin with `prefix`.
    pub(crate) fn prefix<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)> {
        self.iter().filter(move |(key, _)| key.starts_with(prefix))
    }

    /// Prefixes of two and of three bytes, of keys that are bytes and of keys that are text.
    pub(crate) fn some_prefixes(&self) -> Vec<Vec<u8>> {
        let key = |tenth: usize| self.items.keys().nth(self.len() * tenth / 10).expect("not empty");
        let prefixes =
            [(1, 3), (2, 2), (5, 2), (9, 3)].map(|(tenth, len)| key(tenth)[..len].to_vec());
        assert_eq!(prefixes.iter().filter(|prefix| prefix[0] == 0).count(), 2);
        prefixes.into()
    }

    /// Says what became of a batch, from the items that the store has now for the keys of its
    /// operations, in their order. A batch that is there whole is taken over.
    ///
    /// # Panics
    /// If the batch is neither whole nor absent.
    pub(crate) fn settle(&mut self, batch: &Batch, found: &[Value]) -> Fate {
        assert_eq!(batch.len(), found.len());
        let new = batch.iter().map(|op| (&op.key, op.value.as_ref()));
        let old = batch.iter().map(|op| (&op.key, self.get(&op.key)));
        let is_whole = new.map(item_or_null).eq(found.iter().cloned());
        let is_absent = old.map(item_or_null).eq(found.iter().cloned());
        assert!(is_whole != is_absent, "a batch is torn: whole {is_whole}, absent {is_absent}");
        if is_absent {
            return Fate::Absent;
        }
        self.apply(batch);
        Fate::Whole
    }

    /// All items, one a line, as an export has them.
    pub(crate) fn ndjson(&self) -> Vec<u8> {
        ndjson(self.iter())
    }
}

/// These items, one a line.
pub(crate) fn ndjson<'a>(items: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> Vec<u8> {
    items.flat_map(|(key, value)| format!("{}\n", item(key, value)).into_bytes()).collect()
}

/// An item as documented: `key` or `key_b64`, `value`, and `encoding` if that is base64.
pub(crate) fn item(key: &[u8], value: &[u8]) -> Value {
    let mut item = key_field(key);
    match std::str::from_utf8(value) {
        Ok(text) => item["value"] = json!(text),
        Err(_) => {
            item["value"] = json!(base64(value));
            item["encoding"] = json!("base64");
        }
    }
    item
}

/// The item of a key that may have no value.
pub(crate) fn item_or_null((key, value): (&Vec<u8>, Option<&Vec<u8>>)) -> Value {
    value.map_or(Value::Null, |value| item(key, value))
}

/// An object with the field that names a key.
pub(crate) fn key_field(key: &[u8]) -> Value {
    match std::str::from_utf8(key) {
        Ok(text) => json!({ "key": text }),
        Err(_) => json!({ "key_b64": base64(key) }),
    }
}

/// Base64 by RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[test]
fn base64_is_that_of_the_standard() {
    for (bytes, text) in
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
    {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
    assert_eq!(base64(b"\xff\xef\xbe"), "/+++");
}

#[test]
fn a_torn_batch_is_noticed() {
    let op = |key: &str, value: &str| Op { key: key.into(), value: Some(value.into()) };
    let batch = vec![op("a", "new"), op("b", "new")];
    let found = |a: &str, b: &str| [item(b"a", a.as_bytes()), item(b"b", b.as_bytes())];
    let old = || {
        let mut oracle = Oracle::default();
        oracle.apply(&vec![op("a", "old"), op("b", "old")]);
        oracle
    };
    assert_eq!(old().settle(&batch, &found("old", "old")), Fate::Absent);
    let mut oracle = old();
    assert_eq!(oracle.settle(&batch, &found("new", "new")), Fate::Whole);
    assert_eq!(
        oracle.ndjson(),
        b"{\"key\":\"a\",\"value\":\"new\"}\n{\"key\":\"b\",\"value\":\"new\"}\n"
    );
    for (a, b) in [("new", "old"), ("old", "new"), ("old", "other")] {
        assert!(std::panic::catch_unwind(|| old().settle(&batch, &found(a, b))).is_err());
    }
}
