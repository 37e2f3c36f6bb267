//! The request target: raw path and query.
//!
//! A path is cut at its raw slashes first, and only then is each part decoded, once, byte by byte.
//! So `%2F` is a byte of a key and never a separator; `..`, `%00`, `+` and `;` are bytes like any
//! other; nothing is merged, folded or redirected. What is not a `%` with two digits is refused.

use crate::wire::{Code, Problem, Shown};

/// Decodes percent-encoded bytes once.
///
/// # Errors
///
/// If a `%` is not followed by two hexadecimal digits.
pub(crate) fn percent_decode(raw: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = after.split_first_chunk::<2>().and_then(|(&[high, low], after)| {
            rest = after;
            Some(digit(high)? << 4 | digit(low)?)
        });
        bytes.push(digits.ok_or_else(|| {
            let rule = "a % must be followed by two hexadecimal digits; the sign itself is %25";
            Problem::new(Code::BadRequest, rule)
        })?);
    }
    Ok(bytes)
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).map(|digit| digit as u8)
}

/// The parameters of a query that were not taken yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    parameters: Vec<(String, Vec<u8>)>,
}

impl Query {
    /// How many parameters a query may have.
    pub(crate) const MAX_PARAMETERS: usize = 32;

    /// Cuts and decodes a raw query.
    ///
    /// # Errors
    ///
    /// If a parameter stands twice, has no `=`, or is not well encoded.
    pub(crate) fn parse(raw: Option<&str>) -> Result<Query, Problem> {
        let mut query = Query::default();
        for part in raw.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                bad(format!("parameter {} needs a value: name=value", Shown(part)))
            })?;
            let name = String::from_utf8(percent_decode(name)?)
                .map_err(|_| bad("the name of a parameter must be UTF-8"))?;
            if query.parameters.iter().any(|(known, _)| *known == name) {
                return Err(bad(format!("repeated parameter {}", Shown(&name))));
            }
            if query.parameters.len() == Query::MAX_PARAMETERS {
                return Err(bad("too many parameters"));
            }
            query.parameters.push((name, percent_decode(value)?));
        }
        Ok(query)
    }

    /// Takes a parameter's bytes out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let index = self.parameters.iter().position(|(known, _)| known == name)?;
        Some(self.parameters.swap_remove(index).1)
    }

    /// Takes a parameter out that must be one of some words.
    ///
    /// # Errors
    ///
    /// If it is none of them; the message lists them.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let chosen = choices.iter().find(|(word, _)| word.as_bytes() == value);
        chosen.map(|&(_, choice)| Some(choice)).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|&(word, _)| word).collect();
            bad(format!("parameter {name} must be {}", words.join(" or ")))
        })
    }

    /// Takes a parameter out that must be `true` or `false`; it is false where it does not stand.
    ///
    /// # Errors
    ///
    /// If it is another word.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        Ok(self.choice(name, &[("true", true), ("false", false)])?.unwrap_or(false))
    }

    /// Takes a whole number out.
    ///
    /// # Errors
    ///
    /// If it is not written in decimal digits alone, or outside of the range.
    pub(crate) fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        // `parse` alone would also take a leading plus sign.
        let number = Some(&value)
            .filter(|value| value.iter().all(u8::is_ascii_digit))
            .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
            .filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            bad(format!("parameter {name} must be from {} to {}", range.start(), range.end()))
        })
    }

    /// Ends the reading of this query.
    ///
    /// # Errors
    ///
    /// If a parameter was not taken; the message names it.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.parameters.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Problem::new(Code::UnknownField, format!("unknown parameter {}", Shown(name))))
            }
        }
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_key_survives_encoding(key: Vec<u8>) {
            let encoded = percent_encode(&key, NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(percent_decode(&encoded).unwrap(), key);
        }

        #[test]
        fn arbitrary_queries_never_panic(raw: String) {
            let _ = Query::parse(Some(&raw));
        }
    }

    #[test]
    fn bytes_with_a_meaning_elsewhere_have_none_here() {
        for (raw, key) in [
            ("a%2Fb", &b"a/b"[..]),
            ("a/b", b"a/b"),
            ("a//b/", b"a//b/"),
            ("..", b".."),
            ("%2e%2e/x", b"../x"),
            ("%252F", b"%2F"),
            ("a+b", b"a+b"),
            ("a;b=c", b"a;b=c"),
            ("%00%ff", b"\0\xff"),
        ] {
            assert_eq!(percent_decode(raw).unwrap(), key, "{raw}");
        }
    }

    #[test]
    fn a_percent_sign_needs_two_digits() {
        for raw in ["%", "%4", "%zz", "a%", "%4g", "%+1", "%%41", "% 1", "%é"] {
            assert_eq!(percent_decode(raw).unwrap_err().code, Code::BadRequest, "{raw}");
        }
    }

    #[test]
    fn parameters_are_taken_once_and_strangers_are_named() {
        let mut query = Query::parse(Some("limit=7&reverse=true&prefix=a%26b%3Dc&x=")).unwrap();
        assert_eq!(query.number("limit", 1..=10).unwrap(), Some(7));
        assert!(query.flag("reverse").unwrap());
        assert!(!query.flag("keys_only").unwrap());
        assert_eq!(query.take("prefix").unwrap(), b"a&b=c");
        let problem = query.finish().unwrap_err();
        assert_eq!(
            (problem.code, problem.detail.as_str()),
            (Code::UnknownField, "unknown parameter \"x\"")
        );

        let repeated = Query::parse(Some("a=1&%61=2")).unwrap_err();
        assert!(repeated.detail.contains("repeated parameter \"a\""));
        assert!(Query::parse(Some("flag")).unwrap_err().detail.contains("flag"));
        assert!(Query::parse(Some("a=%f")).is_err());
        Query::parse(None).unwrap().finish().unwrap();
        Query::parse(Some("")).unwrap().finish().unwrap();
    }

    #[test]
    fn numbers_are_digits_inside_their_range() {
        for value in ["0", "11", "-1", "+1", "1.0", "1e3", "", " 1", "99999999999999999999", "0x1"]
        {
            let raw = format!("limit={}", percent_encode(value.as_bytes(), NON_ALPHANUMERIC));
            let mut query = Query::parse(Some(&raw)).unwrap();
            assert!(query.number("limit", 1..=10).is_err(), "{value}");
        }
    }
}
