//! Who may ask: S-2 (hosts), S-3 (origins), S-4 (content types), S-5 (headers of answers).

use crate::harness::TestServer;

#[test]
fn s2_only_one_of_our_own_hosts_is_answered() {
    let server = TestServer::start();
    let port = server.address.port();
    let ask = |target: &str, hosts: &[String]| {
        let mut client = server.connect();
        let lines: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        client.send(format!("GET {target} HTTP/1.1\r\n{lines}\r\n"));
        client.reply().unwrap().status
    };
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(ask("/healthz", &[format!("{host}:{port}")]), 200, "{host}");
        assert_eq!(ask(&format!("http://{host}:{port}/healthz"), &[format!("{host}:{port}")]), 200);
    }
    let ours = format!("localhost:{port}");
    for hosts in [
        vec![],
        vec!["localhost".into()],
        vec![format!("evil.example:{port}")],
        vec![format!("localhost:{}", port ^ 1)],
        vec![ours.clone(), ours.clone()],
        vec![ours.clone(), "evil.example".into()],
        vec![format!("localhost.evil.example:{port}")],
    ] {
        assert_eq!(ask("/healthz", &hosts), 421, "{hosts:?}");
    }
    assert_eq!(ask(&format!("http://evil.example:{port}/healthz"), &[ours]), 421);
}

#[test]
fn s2_a_wrong_host_is_refused_before_anything_else() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.send("PUT /no/such/route HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 3\r\n\r\nabc");
    let reply = client.reply().unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (421, "misdirected_host"));
    assert!(reply.closes());
}

#[test]
fn s3_pages_of_other_origins_are_refused_for_every_method() {
    let server = TestServer::start();
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"] {
        for foreign in [
            ("Origin", "null"),
            ("Origin", "http://evil.example"),
            ("Origin", "http://127.0.0.1:1"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            let headers = [foreign, ("Access-Control-Request-Method", "PUT")];
            let reply = server.request(method, "/v1/kv/a", &headers, b"");
            assert_eq!(reply.status, 403, "{method} {foreign:?}");
            for header in ["access-control-allow-origin", "access-control-allow-private-network"] {
                assert_eq!(reply.header(header), None);
            }
        }
    }
    assert_eq!(server.get("/v1/kv/a").code(), "not_found");
}

#[test]
fn s3_a_configured_origin_is_let_in_by_name() {
    let server = TestServer::with_settings(|settings| {
        settings.allow_origin = Some(vec!["https://ui.example".into()]);
    });
    let origin = ("Origin", "https://ui.example");
    let preflight = [origin, ("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Private-Network", "true")];
    let reply = server.request("OPTIONS", "/v1/kv/a", &preflight, b"");
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://ui.example"));
    assert_eq!(reply.header("access-control-allow-private-network"), None);
    let reply = server.request("PUT", "/v1/kv/a", &[origin, ("Sec-Fetch-Site", "cross-site")], b"x");
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("vary"), Some("Origin"));
    assert_eq!(server.request("GET", "/v1/kv/a", &[("Origin", "https://ui.example.evil")], b"").status, 403);
}

#[test]
fn s4_a_form_cannot_write() {
    let server = TestServer::start();
    for content_type in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"] {
        let headers = [("Content-Type", content_type)];
        let put = server.request("PUT", "/v1/kv/a", &headers, b"x");
        assert_eq!((put.status, put.code().as_str()), (415, "unsupported_media_type"));
        let post = server.request("POST", "/put", &headers, br#"{"key":"a","value":"x"}"#);
        assert_eq!(post.status, 415);
    }
    assert_eq!(server.request("POST", "/put", &[], br#"{"key":"a","value":"x"}"#).status, 415);
    for method in ["GET", "HEAD"] {
        assert_eq!(server.request(method, "/v1/kv/a", &[], b"").status, 404);
    }
}

#[test]
fn s5_a_stored_page_cannot_run() {
    let server = TestServer::start();
    let put = server.request("PUT", "/v1/kv/page", &[("Content-Type", "text/html")], b"<script>1</script>");
    assert_eq!(put.status, 204);
    for target in ["/v1/kv/page", "/get/page", "/v1/kv", "/v1/kv/absent", "/nowhere", "/healthz"] {
        let reply = server.get(target);
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{target}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; sandbox"));
        assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"));
        assert_ne!(reply.header("content-type"), Some("text/html"));
    }
    assert_eq!(server.get("/v1/kv/page").header("content-type"), Some("application/octet-stream"));
}
