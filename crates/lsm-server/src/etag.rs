//! Entity tags and preconditions.
//!
//! The tag of a key is the sequence of its last write in quotes: `"42"`. A precondition is judged
//! against the key's current sequence; weak tags (`W/"42"`) and tags that are no sequence are well
//! formed and match nothing.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};

use lsm_engine::{Condition, Seq};

use crate::wire::{Code, Problem};

/// The tag of a sequence, as a header's value.
#[must_use]
pub(crate) fn etag(seq: Seq) -> HeaderValue {
    HeaderValue::try_from(format!("\"{seq}\"")).expect("digits and quotes are a header's value")
}

/// What a request asks of the key before it is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// The tags of one precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: any sequence.
    Any,
    /// Those of the list that are sequences.
    These(Vec<Seq>),
}

impl Preconditions {
    /// How many tags one precondition may list.
    pub(crate) const MAX_TAGS: usize = 64;

    /// Reads `If-Match` and `If-None-Match`; a header that is repeated is one list.
    ///
    /// # Errors
    ///
    /// If a list is malformed or too long.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Preconditions, Problem> {
        Ok(Preconditions {
            if_match: read_tags(headers, &IF_MATCH)?,
            if_none_match: read_tags(headers, &IF_NONE_MATCH)?,
        })
    }

    /// Whether nothing is asked.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether `If-Match` holds for a key of this sequence; `None` is a key that does not exist.
    #[must_use]
    pub(crate) fn match_holds(&self, current: Option<Seq>) -> bool {
        self.if_match.as_ref().is_none_or(|tags| tags.contain(current))
    }

    /// Whether `If-None-Match` holds for a key of this sequence.
    #[must_use]
    pub(crate) fn none_match_holds(&self, current: Option<Seq>) -> bool {
        !self.if_none_match.as_ref().is_some_and(|tags| tags.contain(current))
    }

    /// The one condition that says all of this without knowing the key, where there is one.
    #[must_use]
    pub(crate) fn as_single(&self) -> Option<Condition> {
        match (&self.if_match, &self.if_none_match) {
            (Some(Tags::Any), None) => Some(Condition::Exists),
            (None, Some(Tags::Any)) => Some(Condition::Absent),
            (Some(Tags::These(tags)), None) => match tags[..] {
                [seq] => Some(Condition::Seq(seq)),
                _ => None,
            },
            (None, Some(Tags::These(tags))) => match tags[..] {
                [seq] => Some(Condition::NotSeq(seq)),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Tags {
    fn contain(&self, current: Option<Seq>) -> bool {
        match (self, current) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::These(tags), Some(seq)) => tags.contains(&seq),
        }
    }
}

fn read_tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let malformed = |why: &str| Problem::new(Code::BadRequest, format!("{name}: {why}"));
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let mut tags = Vec::new();
    let (mut element_count, mut tag_count) = (0, 0);
    let mut any = false;
    for line in lines {
        let mut rest = trim(line.as_bytes());
        loop {
            // What a list has of empty elements says nothing (RFC 9110, section 5.6.1).
            let after = if rest.is_empty() || rest.starts_with(b",") {
                rest
            } else if let Some(after) = rest.strip_prefix(b"*") {
                (any, tag_count) = (true, tag_count + 1);
                after
            } else {
                let (tag, after) = read_tag(rest).ok_or_else(|| {
                    malformed("must be * or a list of entity tags in double quotes")
                })?;
                tags.extend(tag);
                tag_count += 1;
                after
            };
            element_count += 1;
            if Preconditions::MAX_TAGS < element_count {
                return Err(malformed("lists too many tags"));
            }
            match trim(after) {
                [] => break,
                [b',', more @ ..] => rest = trim(more),
                _ => return Err(malformed("tags must be separated by commas")),
            }
        }
    }
    match any {
        _ if tag_count == 0 => Err(malformed("must be * or a list of entity tags")),
        true if tag_count == 1 => Ok(Some(Tags::Any)),
        true => Err(malformed("* stands alone or not at all")),
        false => Ok(Some(Tags::These(tags))),
    }
}

/// Reads one tag; `Some(None)` inside is a tag that no key can have.
fn read_tag(bytes: &[u8]) -> Option<(Option<Seq>, &[u8])> {
    let (weak, quoted) = match bytes.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let opaque = quoted.strip_prefix(b"\"")?;
    let len = opaque.iter().position(|&byte| byte == b'"')?;
    // Of what a header may hold, a tag holds all but blanks and quotes.
    if opaque[..len].iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return None;
    }
    let seq = std::str::from_utf8(&opaque[..len]).ok().filter(|_| !weak).and_then(sequence);
    Some((seq, &opaque[len + 1..]))
}

/// The sequence whose tag this is. `042` and `+42` are other tags than `42`, and what is larger than
/// every sequence is the tag of none.
fn sequence(text: &str) -> Option<Seq> {
    let seq = Seq::try_new(text.parse().ok()?)?;
    (seq.to_string() == text).then_some(seq)
}

fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<Preconditions, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Preconditions::from_headers(&headers)
    }

    #[test]
    fn lists_and_stars_are_read() {
        assert!(read(&[]).unwrap().is_empty());
        for (value, seqs) in [
            ("\"42\"", &[42][..]),
            ("\"1\", \"2\" ,\"3\"", &[1, 2, 3]),
            ("\"1\", ,\"2\"", &[1, 2]),
            (",\"1\",", &[1]),
            ("W/\"42\"", &[]),
            ("\"042\", \"+42\", \"abc\", \"\", \"18446744073709551615\"", &[]),
        ] {
            let read = read(&[("if-match", value)]).unwrap();
            assert_eq!(
                read.if_match,
                Some(Tags::These(seqs.iter().copied().map(Seq::new).collect())),
                "{value}"
            );
        }
        let two_lines = read(&[("if-match", "\"1\""), ("if-match", "\"2\"")]).unwrap();
        assert_eq!(two_lines.if_match, Some(Tags::These(vec![Seq::new(1), Seq::new(2)])));
        assert_eq!(read(&[("if-none-match", " * ")]).unwrap().if_none_match, Some(Tags::Any));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for value in
            ["", "42", "\"42", "*, *", "*, \"1\"", "\"1\" \"2\"", ",", ", ,", "w/\"1\"", "\"a b\""]
        {
            let problem = read(&[("if-match", value)]).unwrap_err();
            assert_eq!(problem.code, Code::BadRequest, "{value}");
        }
        let many = vec!["\"1\""; Preconditions::MAX_TAGS + 1].join(",");
        assert!(read(&[("if-none-match", &many)]).is_err());
        let empty = ",".repeat(Preconditions::MAX_TAGS) + "\"1\"";
        assert!(read(&[("if-match", &empty)]).is_err());
    }

    #[test]
    fn preconditions_hold_as_the_table_says() {
        let holds = |name, value, current| {
            let read = read(&[(name, value)]).unwrap();
            read.match_holds(current) && read.none_match_holds(current)
        };
        for (name, value, when_absent, when_1, when_2) in [
            ("if-match", "*", false, true, true),
            ("if-match", "\"1\"", false, true, false),
            ("if-match", "\"1\",\"2\"", false, true, true),
            ("if-match", "W/\"1\"", false, false, false),
            ("if-none-match", "*", true, false, false),
            ("if-none-match", "\"1\"", true, false, true),
            ("if-none-match", "W/\"1\"", true, true, true),
        ] {
            let answers = [None, Some(1), Some(2)].map(|seq| holds(name, value, seq.map(Seq::new)));
            assert_eq!(answers, [when_absent, when_1, when_2], "{name}: {value}");
        }
    }

    #[test]
    fn the_simple_forms_need_no_reading_before() {
        let single = |name, value| read(&[(name, value)]).unwrap().as_single();
        assert_eq!(single("if-match", "*"), Some(Condition::Exists));
        assert_eq!(single("if-match", "\"7\""), Some(Condition::Seq(Seq::new(7))));
        assert_eq!(single("if-none-match", "*"), Some(Condition::Absent));
        assert_eq!(single("if-none-match", "\"7\""), Some(Condition::NotSeq(Seq::new(7))));
        assert_eq!(single("if-match", "\"7\",\"8\""), None);
        assert_eq!(single("if-match", "W/\"7\""), None);
    }
}
