//! Bad input, at both doors: what the library answers and what HTTP does, of one and the same store.
//!
//! A row is a case that both can meet, or that comes in a request alone. Each answer says what kind of
//! mistake it was and what to do. After each row the store has what was in it before and nothing else,
//! and takes the next write. What a directory can have wrong is in [`crate::bad_directories`], the many
//! forms of wrong documents and targets in [`crate::bad_requests`].

use lsm_engine::{Db, ErrorKind, Read as _, Result, WriteBatch, WriteOptions};
use lsm_server::config::Size;

use crate::harness::TestServer;

/// A case, and the answers to it.
struct Row {
    name: &'static str,
    library: Option<Library>,
    request: fn() -> Request,
    status: u16,
    code: &'static str,
    /// What the problem's detail must say.
    detail: &'static str,
}

/// A call of the library, and its answer.
struct Library {
    call: fn(&Db) -> Result<()>,
    kind: ErrorKind,
    message: &'static str,
}

/// Method, target and body.
type Request = (&'static str, String, Vec<u8>);

/// What this server takes as a value and as a body, in bytes. The library takes more.
const MAX_VALUE: usize = 100;
const MAX_BODY: usize = 8 << 20;
const LONG_KEY: usize = 65_536;

const fn refused(call: fn(&Db) -> Result<()>, message: &'static str) -> Option<Library> {
    Some(Library { call, kind: ErrorKind::InvalidArgument, message })
}

fn post(target: &str, json: impl Into<Vec<u8>>) -> Request {
    ("POST", target.into(), json.into())
}

fn write_with_an_empty_key(db: &Db) -> Result<()> {
    let mut batch = WriteBatch::new();
    batch.put("good", "v");
    batch.put("", "v");
    db.write(batch, &WriteOptions::default()).map(drop)
}

fn write_a_large_batch(db: &Db) -> Result<()> {
    let value = vec![0; 256 << 20];
    let mut batch = WriteBatch::new();
    batch.put("a", &value);
    batch.put("b", &value);
    db.write(batch, &WriteOptions::default()).map(drop)
}

const ROWS: [Row; 16] = [
    Row {
        name: "empty key",
        library: refused(
            |db| db.put("", "v").map(drop),
            "an empty key; keys have 1 to 65535 bytes",
        ),
        request: || post("/put", r#"{"key":"","value":"v"}"#),
        status: 400,
        code: "empty_key",
        detail: "the key is empty; keys have 1 to 65535 bytes",
    },
    Row {
        name: "empty key of a delete",
        library: refused(|db| db.delete("").map(drop), "an empty key; keys have 1 to 65535 bytes"),
        request: || ("DELETE", "/v1/kv/".into(), vec![]),
        status: 400,
        code: "empty_key",
        detail: "the key is empty; keys have 1 to 65535 bytes",
    },
    Row {
        name: "empty key in a batch",
        library: refused(write_with_an_empty_key, "an empty key; keys have 1 to 65535 bytes"),
        request: || {
            let ops = r#"{"op":"put","key":"good","value":"v"},{"op":"put","key":"","value":"v"}"#;
            post("/v1/batch", format!(r#"{{"ops":[{ops}]}}"#))
        },
        status: 400,
        code: "empty_key",
        detail: "ops[1].key",
    },
    Row {
        name: "long key",
        library: refused(
            |db| db.put(vec![b'k'; LONG_KEY], "v").map(drop),
            "a key of 65536 bytes; keys have 1 to 65535 bytes",
        ),
        request: || post("/put", format!(r#"{{"key":"{}","value":"v"}}"#, "k".repeat(LONG_KEY))),
        status: 413,
        code: "key_too_large",
        detail: "the limit is 65535 bytes",
    },
    Row {
        name: "large value",
        library: refused(
            |db| db.put("k", vec![0; (256 << 20) + 1]).map(drop),
            "a value of 268435457 bytes; at most 268435456",
        ),
        request: || ("PUT", "/v1/kv/k".into(), vec![b'v'; MAX_VALUE + 1]),
        status: 413,
        code: "value_too_large",
        detail: "the limit is 100 bytes (--max-value-bytes)",
    },
    Row {
        name: "large value as JSON",
        library: None,
        request: || {
            post("/put", format!(r#"{{"key":"k","value":"{}"}}"#, "v".repeat(MAX_VALUE + 1)))
        },
        status: 413,
        code: "value_too_large",
        detail: "the limit is 100 bytes (--max-value-bytes)",
    },
    Row {
        name: "large batch",
        library: refused(write_a_large_batch, "a batch of more than 536870912 bytes"),
        request: || {
            let ops = vec![r#"{"op":"delete","key":"kept"}"#; 100_001].join(",");
            post("/v1/batch", format!(r#"{{"ops":[{ops}]}}"#))
        },
        status: 413,
        code: "batch_too_large",
        detail: "the limit is 100000 operations; send several batches",
    },
    Row {
        name: "large body",
        library: None,
        request: || post("/put", vec![b'x'; MAX_BODY + 1]),
        status: 413,
        code: "body_too_large",
        detail: "the limit is 8388608 bytes (--max-body-bytes)",
    },
    Row {
        name: "malformed JSON",
        library: None,
        request: || post("/put", r#"{"key":"kept","value":"other"#),
        status: 400,
        code: "bad_json",
        detail: "EOF while parsing a string at line 1 column 28",
    },
    Row {
        name: "unknown field",
        library: None,
        request: || post("/put", r#"{"key":"kept","value":"other","colour":"red"}"#),
        status: 400,
        code: "unknown_field",
        detail: "unknown field \"colour\"",
    },
    Row {
        name: "repeated field",
        library: None,
        request: || post("/put", r#"{"key":"k","value":"other","key":"kept"}"#),
        status: 400,
        code: "bad_json",
        detail: "repeated field \"key\"",
    },
    Row {
        name: "bad percent-encoding of a key",
        library: None,
        request: || ("DELETE", "/v1/kv/kept%4".into(), vec![]),
        status: 400,
        code: "bad_request",
        detail: "a % must be followed by two hexadecimal digits; the sign itself is %25",
    },
    Row {
        name: "bad percent-encoding of a parameter",
        library: None,
        request: || ("GET", "/v1/kv?prefix=%zz".into(), vec![]),
        status: 400,
        code: "bad_request",
        detail: "a % must be followed by two hexadecimal digits; the sign itself is %25",
    },
    Row {
        name: "unknown parameter",
        library: None,
        request: || ("PUT", "/v1/kv/kept?ttl=60s".into(), b"other".into()),
        status: 400,
        code: "unknown_field",
        detail: "\"ttl\"",
    },
    Row {
        name: "unknown route",
        library: None,
        request: || post("/v2/put", r#"{"key":"kept","value":"other"}"#),
        status: 404,
        code: "unknown_route",
        detail: "docs/rest-api.md",
    },
    Row {
        name: "method that a route does not know",
        library: None,
        request: || ("PATCH", "/v1/kv/kept".into(), b"other".into()),
        status: 405,
        code: "method_not_allowed",
        detail: "/v1/kv/{key} takes GET, HEAD, PUT, DELETE",
    },
];

#[test]
fn bad_input_is_refused_at_both_doors_and_costs_nothing() {
    let server = TestServer::with_settings(|settings| {
        settings.max_value_bytes = Some(Size(MAX_VALUE as u64));
        settings.max_body_bytes = Some(Size(MAX_BODY as u64));
    });
    server.put("kept", b"value");
    for (index, row) in ROWS.iter().enumerate() {
        let name = row.name;
        if let Some(Library { call, kind, message }) = &row.library {
            let error = call(server.db()).expect_err(name);
            assert_eq!((error.kind(), error.to_string().as_str()), (*kind, *message), "{name}");
        }
        let (method, target, body) = (row.request)();
        let json = [("Content-Type", "application/json")];
        let headers = if method == "POST" { &json[..] } else { &[] };
        let reply = server.request(method, &target, headers, &body);
        assert_eq!((reply.status, reply.code().as_str()), (row.status, row.code), "{name}");
        assert!(reply.detail().contains(row.detail), "{name}: {}", reply.detail());
        check_still_there(&server, name, index as u64 + 1);
    }
}

/// The store has what it had, and no write was made but those of this test, of which there were so
/// many; it takes another.
fn check_still_there(server: &TestServer, name: &str, writes: u64) {
    let items = server.get("/v1/kv").json();
    assert_eq!(items["items"][0]["key"], "kept", "{name}");
    assert_eq!(items["items"][0]["value"], "value", "{name}");
    assert_eq!((&items["seq"], &items["items"][1]), (&writes.into(), &().into()), "{name}");
    assert_eq!(server.db().get("kept").unwrap().unwrap(), b"value", "{name}");
    assert_eq!(server.get("/readyz").status, 200, "{name}");
    server.put("kept", b"value");
}
