//! What went wrong, as RFC 9457 has it: `application/problem+json`.
//!
//! `{"type":"urn:lsm:error:not_found","title":"no such key or job","status":404,"detail":"..",
//! "instance":"/get/a","code":"not_found"}`, and where they help `retry_after_ms`, `key_b64` and
//! `current_seq`. The code is what programs act upon; title and detail are for people.

use super::json::{Node, Object};
use super::{WireError, from_base64, put_number, put_string, to_base64};

/// A refusal or a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem it is.
    pub code: Code,
    /// The HTTP status: the code's own, or a closer one.
    pub status: u16,
    /// One sentence about this occurrence, without paths of the server's machine.
    pub detail: String,
    /// The path that was asked for, as it was sent.
    pub instance: Option<Box<str>>,
    /// When another try may succeed, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// The key that the problem is about.
    pub key: Option<Box<[u8]>>,
    /// What a failed precondition found: the key's sequence, or that there is no such key.
    pub current_seq: Option<Option<u64>>,
    /// The sequence of the view in which it was found. The server sends it as a header, `X-Lsm-Seq`,
    /// and not in the JSON.
    pub view: Option<u64>,
}

impl Problem {
    /// A problem with the status of its code.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem {
            code,
            status: code.status(),
            detail: detail.into(),
            instance: None,
            retry_after_ms: None,
            key: None,
            current_seq: None,
            view: None,
        }
    }

    /// The same problem under another status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Problem {
        Problem { status, ..self }
    }

    /// The same problem, which may be gone after so many milliseconds.
    #[must_use]
    pub fn with_retry_after_ms(self, retry_after_ms: u64) -> Problem {
        Problem { retry_after_ms: Some(retry_after_ms), ..self }
    }

    /// The same problem, and the key that it is about.
    #[must_use]
    pub fn with_key(self, key: &[u8]) -> Problem {
        Problem { key: Some(key.into()), ..self }
    }

    /// The same problem, and what a precondition found.
    #[must_use]
    pub fn with_current_seq(self, current: Option<u64>) -> Problem {
        Problem { current_seq: Some(current), ..self }
    }

    /// The same problem, and the sequence of the view in which it was found.
    #[must_use]
    pub fn with_view(self, view: u64) -> Problem {
        Problem { view: Some(view), ..self }
    }

    /// Reads a problem from its JSON.
    ///
    /// # Errors
    ///
    /// If the bytes are no problem, or of a code that this release does not know.
    pub fn parse(json: &[u8]) -> Result<Problem, WireError> {
        Problem::from_object(Node::parse_object(json)?)
    }

    /// Reads a problem from the object that it is. Fields that this release does not know are
    /// passed over, because RFC 9457 lets a later server add some.
    ///
    /// # Errors
    ///
    /// As [`Problem::parse`].
    pub fn from_object(mut object: Object<'_>) -> Result<Problem, WireError> {
        let missing = |name: &str| WireError::bad(format!("{name} is missing"));
        let name = object.string("code")?.ok_or_else(|| missing("code"))?;
        let code = Code::from_name(&name)
            .ok_or_else(|| WireError::bad("code is none that this release knows"))?;
        let status = object.uint("status")?.ok_or_else(|| missing("status"))?;
        let key = match object.string("key_b64")? {
            None => None,
            Some(text) => {
                Some(from_base64(&text).ok_or_else(|| WireError::bad("key_b64 must be base64"))?)
            }
        };
        let current_seq = match object.take("current_seq") {
            None => None,
            Some(Node::Null) => Some(None),
            Some(Node::Uint(seq)) => Some(Some(seq)),
            Some(_) => return Err(WireError::bad("current_seq must be a number or null")),
        };
        Ok(Problem {
            code,
            status: u16::try_from(status).map_err(|_| WireError::bad("status is no status"))?,
            detail: object.string("detail")?.ok_or_else(|| missing("detail"))?.into_owned(),
            instance: object.string("instance")?.map(|path| path.into_owned().into()),
            retry_after_ms: object.uint("retry_after_ms")?,
            key: key.map(Vec::into_boxed_slice),
            current_seq,
            view: None,
        })
    }

    /// Appends the problem's JSON, without a line end.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"urn:lsm:error:");
        out.extend_from_slice(self.code.name().as_bytes());
        out.extend_from_slice(b"\",\"title\":");
        put_string(out, self.code.title());
        out.extend_from_slice(b",\"status\":");
        put_number(out, u64::from(self.status));
        out.extend_from_slice(b",\"detail\":");
        put_string(out, &self.detail);
        if let Some(instance) = &self.instance {
            out.extend_from_slice(b",\"instance\":");
            put_string(out, instance);
        }
        out.extend_from_slice(b",\"code\":");
        put_string(out, self.code.name());
        if let Some(retry_after_ms) = self.retry_after_ms {
            out.extend_from_slice(b",\"retry_after_ms\":");
            put_number(out, retry_after_ms);
        }
        if let Some(key) = &self.key {
            out.extend_from_slice(b",\"key_b64\":");
            put_string(out, &to_base64(key));
        }
        match self.current_seq {
            None => {}
            Some(None) => out.extend_from_slice(b",\"current_seq\":null"),
            Some(Some(seq)) => {
                out.extend_from_slice(b",\"current_seq\":");
                put_number(out, seq);
            }
        }
        out.push(b'}');
    }
}

macro_rules! codes {
    ($($variant:ident $name:literal $status:literal $title:literal,)*) => {
        /// The kinds of problems. Names are stable: programs compare them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $name, "`, status ", $status, ": ", $title, ".")] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// The name that is sent.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),* }
            }

            /// The status that this kind has unless a closer one is known.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status),* }
            }

            /// What this kind of problem is, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title),* }
            }

            /// The code of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Code> {
                Code::ALL.iter().copied().find(|code| code.name() == name)
            }
        }
    };
}

// `headers_too_large` is reserved: the parser refuses such a head with a status and no body, before
// there is a request that could be answered with a problem.
codes! {
    BadRequest "bad_request" 400 "the request cannot be understood",
    BadJson "bad_json" 400 "the body is not the JSON that was expected",
    UnknownField "unknown_field" 400 "a field or parameter has no meaning here",
    EmptyKey "empty_key" 400 "a key has at least one byte",
    KeyTooLarge "key_too_large" 413 "the key is too large",
    ValueTooLarge "value_too_large" 413 "the value is too large",
    BatchTooLarge "batch_too_large" 413 "the batch is too large",
    BodyTooLarge "body_too_large" 413 "the body is too large",
    NotFound "not_found" 404 "no such key or job",
    UnknownRoute "unknown_route" 404 "no such route",
    MethodNotAllowed "method_not_allowed" 405 "the route does not know this method",
    PreconditionFailed "precondition_failed" 412 "a precondition does not hold",
    UnsupportedMediaType "unsupported_media_type" 415 "the body is of another type",
    Unauthorized "unauthorized" 401 "a valid token is needed",
    ForbiddenOrigin "forbidden_origin" 403 "requests from this origin are not served",
    MisdirectedHost "misdirected_host" 421 "this server does not answer for that host",
    UriTooLong "uri_too_long" 414 "the request target is too long",
    HeadersTooLarge "headers_too_large" 431 "the header is too large",
    Busy "busy" 503 "the server is busy",
    Starting "starting" 503 "the server is recovering",
    Draining "draining" 503 "the server is shutting down",
    Poisoned "poisoned" 503 "the store takes no more writes",
    NoSpace "no_space" 507 "the disk is full",
    Corruption "corruption" 500 "stored data is damaged",
    Io "io" 500 "the operating system refused an operation",
    Internal "internal" 500 "the server failed",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_form_is_fixed() {
        let mut problem = Problem::new(Code::PreconditionFailed, "the key's sequence is 41")
            .with_key(b"a")
            .with_current_seq(Some(41));
        problem.instance = Some("/v1/kv/a".into());
        let mut out = Vec::new();
        problem.write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"type":"urn:lsm:error:precondition_failed","title":"a precondition does not hold","#
                .to_owned()
                + r#""status":412,"detail":"the key's sequence is 41","instance":"/v1/kv/a","#
                + r#""code":"precondition_failed","key_b64":"YQ==","current_seq":41}"#
        );
    }

    #[test]
    fn every_code_survives_the_round_trip() {
        for &code in Code::ALL {
            assert_eq!(Code::from_name(code.name()), Some(code));
            let problem =
                Problem::new(code, "detail").with_retry_after_ms(5).with_current_seq(None);
            let mut out = Vec::new();
            problem.write(&mut out);
            assert_eq!(Problem::parse(&out).unwrap(), problem);
        }
    }

    #[test]
    fn a_later_servers_fields_are_passed_over_and_its_codes_are_not() {
        let later = br#"{"status":404,"detail":"d","code":"not_found","trace":"x"}"#;
        assert_eq!(Problem::parse(later).unwrap(), Problem::new(Code::NotFound, "d"));
        assert!(Problem::parse(br#"{"status":404,"detail":"d","code":"other"}"#).is_err());
        assert!(Problem::parse(br#"{"status":70000,"detail":"d","code":"io"}"#).is_err());
    }
}
