//! A strict reader of small JSON documents.
//!
//! A document becomes a tree of [`Node`]s that borrow from the input wherever a string has no
//! escapes. Four things are stricter than JSON asks: an object must not repeat a field, may have at
//! most [`MAX_FIELDS`], nesting ends at [`MAX_DEPTH`], and a document has at most [`MAX_NODES`]
//! values, so that no small document becomes a large tree.
//!
//! An [`Object`] is read by taking its fields one after the other; [`Object::finish`] then refuses
//! what nobody took. So a field that a route does not know can never be ignored in silence.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{Shown, WireError};

/// How deep arrays and objects may be nested.
pub const MAX_DEPTH: u32 = 32;

/// How many fields an object may have.
pub const MAX_FIELDS: usize = 32;

/// How many values a document may hold: a batch of 100,000 operations with every field fits.
pub const MAX_NODES: usize = 1_000_000;

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number from 0 to 2^64 - 1.
    Uint(u64),
    /// Any other number; no field takes one.
    Number,
    /// A string.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Node<'a>>),
    /// An object.
    Object(Object<'a>),
}

impl<'a> Node<'a> {
    /// Reads the one document that `bytes` are.
    ///
    /// # Errors
    ///
    /// If they are not JSON, break a limit of this module, or go on after the document.
    pub fn parse(bytes: &'a [u8]) -> Result<Node<'a>, WireError> {
        let budget = Cell::new(MAX_NODES);
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        NodeSeed { depth: 0, budget: &budget }
            .deserialize(&mut deserializer)
            .and_then(|node| deserializer.end().map(|()| node))
            .map_err(|error| WireError::bad(error.to_string()))
    }

    /// Reads a document that must be an object.
    ///
    /// # Errors
    ///
    /// As [`Node::parse`], and if it is another value.
    pub fn parse_object(bytes: &'a [u8]) -> Result<Object<'a>, WireError> {
        Node::parse(bytes)?.into_object("the document")
    }

    /// The object that this value is.
    ///
    /// # Errors
    ///
    /// If it is another value; the message calls it `name`.
    pub fn into_object(self, name: &str) -> Result<Object<'a>, WireError> {
        match self {
            Node::Object(object) => Ok(object),
            other => Err(other.mismatch(name, "an object")),
        }
    }

    fn mismatch(&self, name: &str, wanted: &str) -> WireError {
        let found = match self {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Uint(_) | Node::Number => "a number",
            Node::String(_) => "a string",
            Node::Array(_) => "an array",
            Node::Object(_) => "an object",
        };
        WireError::bad(format!("{name} must be {wanted}, not {found}"))
    }
}

/// The fields of an object that were not taken yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a> {
    fields: Vec<(Cow<'a, str>, Node<'a>)>,
}

impl<'a> Object<'a> {
    /// Takes a field out, whatever it holds.
    pub fn take(&mut self, name: &str) -> Option<Node<'a>> {
        let index = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.swap_remove(index).1)
    }

    /// Takes a string out, if the field is there.
    ///
    /// # Errors
    ///
    /// If the field holds another value.
    pub fn string(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(Node::String(text)) => Ok(Some(text)),
            Some(other) => Err(other.mismatch(name, "a string")),
        }
    }

    /// Takes a whole number out, if the field is there.
    ///
    /// # Errors
    ///
    /// If the field holds another value.
    pub fn uint(&mut self, name: &str) -> Result<Option<u64>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(Node::Uint(number)) => Ok(Some(number)),
            Some(other) => Err(other.mismatch(name, "a whole number from 0 to 2^64 - 1")),
        }
    }

    /// Takes a boolean out, if the field is there.
    ///
    /// # Errors
    ///
    /// If the field holds another value.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(Node::Bool(truth)) => Ok(Some(truth)),
            Some(other) => Err(other.mismatch(name, "true or false")),
        }
    }

    /// Takes an array out, if the field is there.
    ///
    /// # Errors
    ///
    /// If the field holds another value.
    pub fn array(&mut self, name: &str) -> Result<Option<Vec<Node<'a>>>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(Node::Array(nodes)) => Ok(Some(nodes)),
            Some(other) => Err(other.mismatch(name, "an array")),
        }
    }

    /// Ends the reading of this object.
    ///
    /// # Errors
    ///
    /// If a field was not taken; the message names it.
    pub fn finish(self) -> Result<(), WireError> {
        match self.fields.first() {
            None => Ok(()),
            Some((name, _)) => Err(WireError::unknown_field(name)),
        }
    }
}

/// Builds one node, `depth` levels down.
#[derive(Clone, Copy)]
struct NodeSeed<'b> {
    depth: u32,
    budget: &'b Cell<usize>,
}

impl NodeSeed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(NodeSeed { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        let Some(left) = self.budget.get().checked_sub(1) else {
            return Err(D::Error::custom(format_args!("more than {MAX_NODES} values")));
        };
        self.budget.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
        Ok(Node::Uint(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node<'de>, E> {
        Ok(Node::Number)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node<'de>, A::Error> {
        let seed = self.deeper()?;
        let mut nodes = Vec::new();
        while let Some(node) = sequence.next_element_seed(seed)? {
            nodes.push(node);
        }
        Ok(Node::Array(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let seed = self.deeper()?;
        let mut fields: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        while let Some(name) = map.next_key_seed(NameSeed)? {
            if fields.len() == MAX_FIELDS {
                return Err(A::Error::custom(format_args!("more than {MAX_FIELDS} fields")));
            }
            if fields.iter().any(|(field, _)| *field == name) {
                return Err(A::Error::custom(format_args!("repeated field {}", Shown(&name))));
            }
            fields.push((name, map.next_value_seed(seed)?));
        }
        Ok(Node::Object(Object { fields }))
    }
}

/// Reads a field's name without copying it; `Cow` by itself always copies.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(document: &str) -> String {
        Node::parse(document.as_bytes()).unwrap_err().detail
    }

    #[test]
    fn repeated_fields_are_refused_by_name_at_every_level() {
        assert!(refusal(r#"{"key":1,"key":1}"#).contains(r#"repeated field "key""#));
        assert!(refusal(r#"[{"a":{"b":1,"c":2,"b":3}}]"#).contains(r#"repeated field "b""#));
        // An escape does not make another name.
        assert!(refusal(r#"{"a":1,"\u0061":2}"#).contains(r#"repeated field "a""#));
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Node::parse(nested(MAX_DEPTH as usize).as_bytes()).is_ok());
        assert!(refusal(&nested(MAX_DEPTH as usize + 1)).contains("nested deeper than 32"));
        assert!(refusal(&"[".repeat(1_000_000)).contains("nested deeper than 32"));
    }

    #[test]
    fn a_document_cannot_hold_more_values_than_the_limit() {
        let many = format!("[{}0]", "0,".repeat(MAX_NODES));
        assert!(refusal(&many).contains("more than 1000000 values"));
        let wide: Vec<String> = (0..=MAX_FIELDS).map(|index| format!(r#""f{index}":0"#)).collect();
        assert!(refusal(&format!("{{{}}}", wide.join(","))).contains("more than 32 fields"));
    }

    #[test]
    fn what_is_not_one_document_is_refused() {
        for bad in ["", " ", "{", "{}{}", "[1,]", "{'a':1}", "\"\\ud800\"", "nul", "01", "{\"a\"}"]
        {
            assert!(Node::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Node::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn an_object_tells_what_nobody_took_and_what_is_of_another_type() {
        let mut object = Node::parse_object(br#"{"a":"x","n":7,"t":true,"odd":1}"#).unwrap();
        assert_eq!(object.string("a").unwrap().as_deref(), Some("x"));
        assert_eq!(object.uint("n").unwrap(), Some(7));
        assert_eq!(object.boolean("t").unwrap(), Some(true));
        assert_eq!(object.uint("absent").unwrap(), None);
        assert_eq!(object.clone().finish().unwrap_err().detail, r#"unknown field "odd""#);
        assert!(object.string("odd").unwrap_err().detail.contains("odd must be a string"));
        for number in ["-1", "1.5", "18446744073709551616", "1e3"] {
            let document = format!(r#"{{"n":{number}}}"#);
            assert!(Node::parse_object(document.as_bytes()).unwrap().uint("n").is_err());
        }
    }
}
