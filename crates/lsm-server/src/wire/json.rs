//! A strict reader of small JSON documents, and of long lists of them.
//!
//! A document becomes a tree of [`Node`]s that borrow from the input wherever a string has no
//! escapes. Four things are stricter than JSON asks: an object must not repeat a field, may have at
//! most [`MAX_FIELDS`], nesting ends at [`MAX_DEPTH`], and a document has at most [`MAX_NODES`]
//! values. A value can take a hundred times its text, so that few of them are let become a tree:
//! a document that is a long list is read by [`read_list`], an element at a time.
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

/// How many values a document, or an element of a list, may hold.
pub const MAX_NODES: usize = 512;

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
            Node::Uint(_) => "a number",
            Node::Number => "a number of another kind",
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

    /// Checks that a field may be added.
    fn check_new<E: serde::de::Error>(&self, name: &str) -> Result<(), E> {
        if self.fields.len() == MAX_FIELDS {
            return Err(E::custom(format_args!("more than {MAX_FIELDS} fields")));
        }
        if self.fields.iter().any(|(field, _)| field == name) {
            return Err(repeated(name));
        }
        Ok(())
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

/// Reads an object of which one field is a list, and hands every element of that list to `take` with
/// its index, as soon as it is read. Returns the other fields, or `None` if the list is missing.
///
/// The list may be as long as `take` lets it be; each element has at most [`MAX_NODES`] values, and
/// so have the other fields together.
///
/// # Errors
///
/// If the document is refused as by [`Node::parse`], or the field is no list; and the first error of
/// `take`.
pub fn read_list<'a, E: From<WireError>>(
    bytes: &'a [u8],
    name: &str,
    take: impl FnMut(usize, Node<'a>) -> Result<(), E>,
) -> Result<Option<Object<'a>>, E> {
    let budget = Cell::new(MAX_NODES);
    let mut list = ListState { name, take, is_found: false, is_array: false, refusal: None };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = deserializer
        .deserialize_any(DocumentVisitor { budget: &budget, list: &mut list })
        .and_then(|object| deserializer.end().map(|()| object));
    match (list.refusal, read) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(_)) if list.is_found && !list.is_array => {
            Err(WireError::bad(format!("{name} must be an array")).into())
        }
        (None, Err(error)) => Err(WireError::bad(error.to_string()).into()),
        (None, Ok(object)) => Ok(list.is_found.then_some(object)),
    }
}

/// What is known of the list while its document is read.
struct ListState<'n, T, E> {
    name: &'n str,
    take: T,
    is_found: bool,
    /// Whether what was found is a list.
    is_array: bool,
    /// Why an element was refused: a deserializer's error cannot carry it.
    refusal: Option<E>,
}

/// Reads the object around a list.
struct DocumentVisitor<'b, 'n, T, E> {
    budget: &'b Cell<usize>,
    list: &'b mut ListState<'n, T, E>,
}

impl<'de, T, E> Visitor<'de> for DocumentVisitor<'_, '_, T, E>
where
    T: FnMut(usize, Node<'de>) -> Result<(), E>,
{
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let seed = NodeSeed { depth: 1, budget: self.budget };
        let mut object = Object::default();
        while let Some(name) = map.next_key_seed(NameSeed)? {
            object.check_new(&name)?;
            if name == self.list.name {
                if self.list.is_found {
                    return Err(repeated(&name));
                }
                self.list.is_found = true;
                map.next_value_seed(ListSeed { list: &mut *self.list })?;
            } else {
                object.fields.push((name, map.next_value_seed(seed)?));
            }
        }
        Ok(object)
    }
}

/// Reads the list itself.
struct ListSeed<'b, 'n, T, E> {
    list: &'b mut ListState<'n, T, E>,
}

impl<'de, T, E> DeserializeSeed<'de> for ListSeed<'_, '_, T, E>
where
    T: FnMut(usize, Node<'de>) -> Result<(), E>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, E> Visitor<'de> for ListSeed<'_, '_, T, E>
where
    T: FnMut(usize, Node<'de>) -> Result<(), E>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        self.list.is_array = true;
        for index in 0.. {
            let budget = Cell::new(MAX_NODES);
            let seed = NodeSeed { depth: 2, budget: &budget };
            let Some(node) = sequence.next_element_seed(seed)? else { break };
            (self.list.take)(index, node).map_err(|refusal| {
                self.list.refusal = Some(refusal);
                A::Error::custom("refused")
            })?;
        }
        Ok(())
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
        let mut object = Object::default();
        while let Some(name) = map.next_key_seed(NameSeed)? {
            object.check_new(&name)?;
            object.fields.push((name, map.next_value_seed(seed)?));
        }
        Ok(Node::Object(object))
    }
}

fn repeated<E: serde::de::Error>(name: &str) -> E {
    E::custom(format_args!("repeated field {}", Shown(name)))
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
mod tests;
