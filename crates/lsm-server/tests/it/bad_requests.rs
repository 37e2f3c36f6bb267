//! The many forms of what can be wrong with a request, and what it is told: the table of S-20 and
//! S-22. The cases themselves, beside the library's answers to them, are in [`crate::bad_input`].

use lsm_server::config::Size;

use crate::harness::TestServer;

/// Method, target, body, status, code, what the detail must name.
type Row<'a> = (&'a str, &'a str, String, u16, &'a str, &'a str);

fn server() -> TestServer {
    TestServer::with_settings(|settings| {
        settings.max_value_bytes = Some(Size(100));
        settings.max_body_bytes = Some(Size(8 << 20));
    })
}

fn check(rows: &[Row<'_>]) {
    let server = server();
    server.put("kept", b"value");
    for (method, target, body, status, code, named) in rows {
        let headers =
            if *method == "POST" { &[("Content-Type", "application/json")][..] } else { &[] };
        let reply = server.request(method, target, headers, body.as_bytes());
        let shown = &body[..body.len().min(80)];
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (*status, *code),
            "{method} {target} {shown}"
        );
        let detail = reply.detail();
        assert!(detail.contains(named), "{method} {target} {shown}: {detail}");
        for secret in ["/tmp", ".rs", "panicked", env!("CARGO_PKG_VERSION")] {
            assert!(!reply.text().contains(secret), "{detail}");
        }
        // Whatever was sent, nothing was written, what was there still is, and the server is well.
        let kept = server.get("/v1/kv/kept");
        assert_eq!((kept.body.as_slice(), kept.header("x-lsm-seq")), (&b"value"[..], Some("1")));
        assert_eq!(server.get("/readyz").status, 200, "{method} {target} {shown}");
    }
}

fn put(
    body: impl Into<String>,
    status: u16,
    code: &'static str,
    named: &'static str,
) -> Row<'static> {
    ("POST", "/put", body.into(), status, code, named)
}

fn batch(
    ops: impl Into<String>,
    status: u16,
    code: &'static str,
    named: &'static str,
) -> Row<'static> {
    ("POST", "/v1/batch", format!(r#"{{"ops":{}}}"#, ops.into()), status, code, named)
}

#[test]
fn bad_documents() {
    let deep = |levels: usize| format!(r#"{{"key":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    check(&[
        put("", 400, "bad_json", "EOF"),
        put("[]", 400, "bad_json", "an object"),
        put("null", 400, "bad_json", "an object"),
        put(r#"{"key":"a","value":"b"} {}"#, 400, "bad_json", "trailing"),
        put(r#"{"key":"a","value":"b",}"#, 400, "bad_json", ""),
        put(r#"{"value":"b"}"#, 400, "bad_json", "key is missing"),
        put(r#"{"key":"a"}"#, 400, "bad_json", "value is missing"),
        put(r#"{"key":1,"value":"b"}"#, 400, "bad_json", "key must be a string"),
        put(r#"{"key":"a","value":null}"#, 400, "bad_json", "value must be a string"),
        put(r#"{"key":"a","value":"b","if_seq":-1}"#, 400, "bad_json", "if_seq"),
        put(r#"{"key":"a","value":"b","if_seq":72057594037927936}"#, 400, "bad_json", "if_seq"),
        put(r#"{"key":"a","value":"b","if_absent":1}"#, 400, "bad_json", "if_absent"),
        put(r#"{"key":"a","value":"b","encoding":"hex"}"#, 400, "bad_json", "encoding"),
        put(r#"{"key":"a","value":"b=","encoding":"base64"}"#, 400, "bad_json", "value"),
        put(r#"{"key_b64":"_w==","value":"b"}"#, 400, "bad_json", "key_b64"),
        put(r#"{"key":"a","key_b64":"YQ==","value":"b"}"#, 400, "bad_json", "key_b64"),
        put(r#"{"key":"a","value":"b","value":"c"}"#, 400, "bad_json", "repeated field \"value\""),
        put(r#"{"key":"a","\u006bey":"x","value":"c"}"#, 400, "bad_json", "repeated field \"key\""),
        put(r#"{"key":"a","value":"b","ttl_ms":1}"#, 400, "unknown_field", "ttl_ms"),
        put(r#"{"key":"a","value":"b","Key":"c"}"#, 400, "unknown_field", "Key"),
        put(deep(31), 400, "bad_json", "key must be a string"),
        put(deep(32), 400, "bad_json", "nested deeper"),
        put(deep(1_000_000), 400, "bad_json", "nested deeper"),
        put(format!("[{}0]", "0,".repeat(1_000_000)), 400, "bad_json", "more than"),
        put("\u{feff}{}", 400, "bad_json", ""),
    ]);
}

#[test]
fn bad_batches() {
    let long_key = "k".repeat(65_536);
    let long_value = "v".repeat(101);
    check(&[
        ("POST", "/v1/batch", "{}".into(), 400, "bad_json", "ops is missing"),
        ("POST", "/v1/batch", r#"{"ops":[],"x":1}"#.into(), 400, "unknown_field", "x"),
        batch("[]", 400, "bad_json", "at least one"),
        batch("{}", 400, "bad_json", "ops must be an array"),
        batch("[1]", 400, "bad_json", "ops[0] must be an object"),
        batch(
            r#"[{"op":"delete","key":"a"},{"op":"put","key":"a"}]"#,
            400,
            "bad_json",
            "ops[1].value",
        ),
        batch(r#"[{"op":"put","value":"a"}]"#, 400, "bad_json", "ops[0].key"),
        batch(r#"[{"key":"a","value":"a"}]"#, 400, "bad_json", "ops[0].op"),
        batch(r#"[{"op":"merge","key":"a"}]"#, 400, "bad_json", "ops[0].op"),
        batch(
            r#"[{"op":"delete","key":"a","value":"b"}]"#,
            400,
            "unknown_field",
            "ops[0]: unknown field \"value\"",
        ),
        batch(r#"[{"op":"put","key":"a","value":"b","if_seq":1}]"#, 400, "unknown_field", "if_seq"),
        batch(r#"[{"op":"delete","key":""}]"#, 400, "empty_key", "ops[0].key"),
        batch(
            format!(r#"[{{"op":"delete","key":"{long_key}"}}]"#),
            413,
            "key_too_large",
            "ops[0].key",
        ),
        batch(
            format!(r#"[{{"op":"put","key":"a","value":"{long_value}"}}]"#),
            413,
            "value_too_large",
            "ops[0].value",
        ),
    ]);
}

#[test]
fn bad_lists_of_keys() {
    let many = vec![r#""a""#; 10_001].join(",");
    let mget = |keys: &str| -> (&str, &str, String) {
        ("POST", "/v1/mget", format!(r#"{{"keys":{keys}}}"#))
    };
    let row = |keys: &str, status, code, named| {
        let (method, target, body) = mget(keys);
        (method, target, body, status, code, named)
    };
    check(&[
        ("POST", "/v1/mget", "{}".into(), 400, "bad_json", "keys is missing"),
        row("\"a\"", 400, "bad_json", "keys must be an array"),
        row("[1]", 400, "bad_json", "keys[0]"),
        row(r#"["a",{"key":"a","value":"b"}]"#, 400, "unknown_field", "keys[1]"),
        row(r#"["a",{}]"#, 400, "bad_json", "keys[1].key"),
        row(r#"[""]"#, 400, "empty_key", "keys[0]"),
        row(&format!("[\"{}\"]", "k".repeat(65_536)), 413, "key_too_large", "keys[0]"),
        row(&format!("[{many}]"), 413, "batch_too_large", "10000"),
    ]);
}

#[test]
fn unknown_routes_methods_and_parameters() {
    let none = String::new;
    check(&[
        ("GET", "/", none(), 404, "unknown_route", ""),
        ("GET", "/get", none(), 404, "unknown_route", ""),
        ("POST", "/put/", none(), 404, "unknown_route", ""),
        ("GET", "/put", none(), 405, "method_not_allowed", "POST"),
        ("PUT", "/get/a", none(), 405, "method_not_allowed", "GET, HEAD"),
        ("OPTIONS", "/v1/kv/a", none(), 405, "method_not_allowed", "PUT"),
        ("BREW", "/v1/kv", none(), 405, "method_not_allowed", "GET"),
        ("GET", "/get/a?x=1", none(), 400, "unknown_field", "x"),
        ("GET", "/v1/kv/a?durability=sync", none(), 400, "unknown_field", "durability"),
        ("DELETE", "/v1/kv/a?must_exist=true", none(), 400, "unknown_field", "must_exist"),
        ("DELETE", "/delete/a?must_exist=maybe", none(), 400, "bad_request", "must_exist"),
        ("GET", "/get/a?%zz=1", none(), 400, "bad_request", "%25"),
        (
            "PUT",
            "/v1/kv/a?durability=sync&durability=sync",
            none(),
            400,
            "bad_request",
            "durability",
        ),
        ("GET", "/healthz?verbose=1", none(), 400, "unknown_field", "verbose"),
        ("GET", "/v1/kv/a", "body".into(), 400, "bad_request", "no body"),
        ("DELETE", "/v1/kv/a", "body".into(), 400, "bad_request", "no body"),
    ]);
    let reply = server().request("PATCH", "/v1/kv/a", &[], b"");
    assert_eq!(reply.header("allow"), Some("GET, HEAD, PUT, DELETE"));
}

#[test]
fn nothing_that_a_client_sends_reaches_a_header_of_the_answer() {
    let server = server();
    for target in ["/v1/kv/marker%0d%0aInjected:%20x", "/marker", "/get/marker?marker=1"] {
        let reply =
            server.request("GET", target, &[("X-Marker", "marker"), ("Accept", "marker/x")], b"");
        for (name, value) in &reply.headers {
            assert!(!value.contains("marker") && name != "injected", "{name}: {value}");
        }
    }
}

#[test]
fn a_condition_that_a_route_does_not_take_is_refused() {
    let server = server();
    let bodies = [
        ("/put", r#"{"key":"a","value":"b"}"#),
        ("/v1/batch", r#"{"ops":[{"op":"delete","key":"a"}]}"#),
    ];
    for (route, body) in bodies {
        for header in [("If-Match", "\"1\""), ("If-None-Match", "*")] {
            let headers = [("Content-Type", "application/json"), header];
            let reply = server.request("POST", route, &headers, body.as_bytes());
            assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{route}");
            assert!(reply.detail().contains("If-None-Match"), "{route}");
        }
    }
    assert_eq!(server.get("/v1/kv").json()["seq"], 0);
}
