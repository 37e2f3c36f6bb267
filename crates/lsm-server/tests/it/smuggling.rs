//! Requests that two readers could understand differently: S-15, and S-16 (encodings).

use lsm_server::config::Size;

use crate::harness::TestServer;

/// A request that must never be executed: it stands where a reader that was fooled would find it.
const HIDDEN: &str = "PUT /v1/kv/hidden HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\n\r\nx";

fn assert_refused(server: &TestServer, request: &str) {
    let host = server.address.to_string();
    let bytes = format!("{request}{HIDDEN}").replace("HOST", &host);
    let mut client = server.connect();
    client.send(bytes);
    client.end();
    let reply = client.reply().unwrap_or_else(|| panic!("no answer to {request:?}"));
    assert_eq!(reply.status, 400, "{request:?}: {reply:?}");
    let rest = client.rest();
    assert!(rest.is_empty(), "{request:?}: {}", String::from_utf8_lossy(&rest));
    assert_eq!(server.get("/v1/kv/hidden").status, 404, "{request:?}");
}

#[test]
fn s15_ambiguous_heads_are_refused_and_the_connection_closes() {
    let server = TestServer::start();
    let start = "PUT /v1/kv/a HTTP/1.1\r\nHost: HOST\r\n";
    for lines in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "Content-Length: +1\r\n\r\nx",
        "Content-Length: 1,1\r\n\r\nx",
        "Content-Length: -1\r\n\r\nx",
        "Content-Length: 0x1\r\n\r\nx",
        "Content-Length: 99999999999999999999\r\n\r\nx",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length : 1\r\n\r\nx",
        "Folded: a\r\n b\r\nContent-Length: 1\r\n\r\nx",
        "Content-Length: 1\n\r\nx",
        "Content-Length: 1\r\n\nx",
        "Bare: a\rContent-Length: 1\r\n\r\nx",
        "No colon\r\nContent-Length: 1\r\n\r\nx",
        "Nul: a\0b\r\nContent-Length: 1\r\n\r\nx",
    ] {
        assert_refused(&server, &format!("{start}{lines}"));
    }
    assert_refused(&server, "PUT /v1/kv/a HTTP/1.1\nHost: HOST\r\nContent-Length: 1\r\n\r\nx");
    assert_refused(&server, "PUT /v1/kv/a#b HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\n\r\nx");
    assert_refused(&server, "PUT /v1/kv/a HTTP/1.1 HTTP/1.1\r\nHost: HOST\r\n\r\n");
    assert_refused(
        &server,
        "PUT /v1/kv/a HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert_eq!(server.get("/v1/kv/a").status, 404);
}

#[test]
fn s15_bad_chunks_are_refused() {
    let server = TestServer::start();
    let start = "PUT /v1/kv/a HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in [
        "FFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "zz\r\nx\r\n0\r\n\r\n",
        "1\r\nxx\r\n0\r\n\r\n",
    ] {
        assert_refused(&server, &format!("{start}{chunks}"));
    }
}

#[test]
fn s15_a_chunked_request_is_the_last_of_its_connection() {
    let server = TestServer::start();
    let mut client = server.connect();
    let chunked = server.head("PUT", "/v1/kv/a")
        + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    let hidden = HIDDEN.replace("HOST", &server.address.to_string());
    client.send(chunked + &hidden);
    client.end();
    let reply = client.reply().unwrap();
    assert_eq!((reply.status, reply.closes()), (204, true));
    assert!(client.rest().is_empty());
    assert_eq!(server.get("/v1/kv/a").body, b"abc");
    assert_eq!(server.get("/v1/kv/hidden").status, 404);
}

#[test]
fn s15_an_unread_body_is_never_the_next_request() {
    let server = TestServer::start();
    let hidden = HIDDEN.replace("HOST", &server.address.to_string());
    for (method, target, status, closes) in [
        ("PUT", "/no/such/route", 404, true),
        ("PATCH", "/v1/kv/a", 405, true),
        ("GET", "/healthz", 400, true),
        ("PUT", "/v1/kv/", 400, true),
    ] {
        let mut client = server.connect();
        let head = server.head(method, target);
        client.send(format!("{head}Content-Length: {}\r\n\r\n{hidden}", hidden.len()));
        client.end();
        let reply = client.reply().unwrap();
        assert_eq!((reply.status, reply.closes()), (status, closes), "{method} {target}");
        assert!(client.rest().is_empty(), "{method} {target}");
        assert_eq!(server.get("/v1/kv/hidden").status, 404, "{method} {target}");
    }
}

#[test]
fn s15_a_pipelined_request_after_an_error_is_not_executed() {
    let server = TestServer::start();
    let mut client = server.connect();
    let good = server.head("PUT", "/v1/kv/first") + "Content-Length: 1\r\n\r\n1";
    let bad = server.head("PUT", "/v1/kv/bad") + "Content-Length: x\r\n\r\n";
    let last = server.head("PUT", "/v1/kv/last") + "Content-Length: 1\r\n\r\n1";
    client.send(&good);
    assert_eq!(client.reply().unwrap().status, 204);
    client.send(bad + &last);
    client.end();
    assert_eq!(client.reply().unwrap().status, 400);
    assert!(client.rest().is_empty());
    assert_eq!(server.get("/v1/kv/last").status, 404);
}

/// The heads are in order and the bodies whole, so that the next request would be found.
#[test]
fn s15_what_follows_a_request_that_was_not_understood_is_not_executed() {
    let server = TestServer::with_settings(|settings| settings.max_value_bytes = Some(Size(100)));
    let hidden = HIDDEN.replace("HOST", &server.address.to_string());
    let json = "Content-Type: application/json\r\n";
    for (method, target, header, body, status) in [
        ("POST", "/put", json, "{x}".to_owned(), 400),
        ("POST", "/put", json, r#"{"key":"a","value":"b","ttl":1}"#.into(), 400),
        ("POST", "/put", json, r#"{"key":"","value":"b"}"#.into(), 400),
        ("POST", "/put", json, format!(r#"{{"key":"a","value":"{}"}}"#, "x".repeat(200)), 413),
        ("POST", "/put", "Content-Type: text/plain\r\n", "{}".into(), 415),
        ("POST", "/v1/batch", json, r#"{"ops":[]}"#.into(), 400),
        ("PUT", "/v1/kv/a", "If-Match: x\r\n", "b".into(), 400),
        ("GET", "/v1/kv?limit=x", "", String::new(), 400),
        ("GET", "/v1/kv/%zz", "", String::new(), 400),
    ] {
        let mut client = server.connect();
        let head = server.head(method, target);
        client.send(format!("{head}{header}Content-Length: {}\r\n\r\n{body}{hidden}", body.len()));
        client.end();
        let reply = client.reply().unwrap();
        assert_eq!((reply.status, reply.closes()), (status, true), "{method} {target} {body}");
        assert!(client.rest().is_empty(), "{method} {target} {body}");
        assert_eq!(server.get("/v1/kv/hidden").status, 404, "{method} {target} {body}");
    }
}

#[test]
fn what_follows_another_refusal_is_executed() {
    let server = TestServer::start();
    let mut client = server.connect();
    let json = "Content-Type: application/json\r\n";
    let put = |value: &str| format!(r#"{{"key":"a","value":"{value}","if_absent":true}}"#);
    for (method, target, header, body, status) in [
        ("GET", "/get/a", "", String::new(), 404),
        ("POST", "/put", json, put("1"), 200),
        ("POST", "/put", json, put("2"), 412),
        ("GET", "/no/such/route", "", String::new(), 404),
        ("GET", "/put", "", String::new(), 405),
        ("GET", "/get/a", "", String::new(), 200),
    ] {
        let head = server.head(method, target);
        client.send(format!("{head}{header}Content-Length: {}\r\n\r\n{body}", body.len()));
        let reply = client.reply().unwrap();
        assert_eq!((reply.status, reply.closes()), (status, false), "{method} {target}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start();
    let mut client = server.connect();
    let mut bytes = String::new();
    for index in 0..20 {
        bytes += &server.head("PUT", &format!("/v1/kv/{index}"));
        bytes += &format!("Content-Length: 2\r\n\r\n{index:02}");
        bytes += &server.head("GET", &format!("/v1/kv/{index}"));
        bytes += "\r\n";
    }
    client.send(bytes);
    for index in 0..20 {
        assert_eq!(client.reply().unwrap().status, 204);
        assert_eq!(client.reply().unwrap().text(), format!("{index:02}"));
    }
}

#[test]
fn s16_encoded_bodies_are_refused() {
    let server = TestServer::start();
    for encoding in ["gzip", "identity", "br"] {
        let reply = server.request("PUT", "/v1/kv/a", &[("Content-Encoding", encoding)], b"x");
        assert_eq!((reply.status, reply.code().as_str()), (415, "unsupported_media_type"));
    }
}
