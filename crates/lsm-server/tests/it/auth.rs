//! Tokens: S-6 (admin), S-7 (bearer), S-8 (before routing and body, and slow to guess).

use std::collections::BTreeSet;

use crate::harness::{Setup, TOKEN, TestServer};

fn guarded() -> TestServer {
    TestServer::with(Setup { has_token: true, ..Setup::default() })
}

/// What leads nowhere, some of it past a prefix that is open.
const STRAY: &[&str] = &["/", "/no/such/route", "/healthz/", "//healthz", "/%68ealthz"];

/// The routes that are open to everybody.
const OPEN: &[&str] = &["/healthz", "/readyz"];

/// The routes of the documents, which are all that there are: `route.rs` has a test of that.
fn routes() -> BTreeSet<String> {
    let page = include_str!("../../../../docs/rest-api.md");
    let code = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let paths = code.filter_map(|code| code.split([' ', '?']).find(|word| word.starts_with('/')));
    paths.map(|path| path.replace("{key}", "a").replace("{id}", "1")).collect()
}

#[test]
fn s8_every_route_and_method_needs_the_token() {
    let routes = routes();
    assert!(OPEN.iter().all(|open| routes.contains(*open)) && 17 <= routes.len(), "{routes:?}");
    let targets = routes.iter().map(String::as_str).chain(STRAY.iter().copied());
    for target in targets.filter(|target| !OPEN.contains(target)) {
        // A server of its own for each, because too many failures in one second are another answer.
        let server = guarded();
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
            let reply = server.request(method, target, &[], b"");
            assert_eq!(reply.status, 401, "{method} {target}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    let server = guarded();
    for target in OPEN {
        assert_eq!(server.get(target).status, 200);
    }
}

#[test]
fn s8_the_body_of_a_stranger_is_not_read() {
    let server = guarded();
    let mut client = server.connect();
    client.send(server.head("PUT", "/v1/kv/a") + "Content-Length: 10000000\r\n\r\n");
    let reply = client.reply().unwrap();
    assert_eq!((reply.status, reply.closes()), (401, true));
    client.end();
    assert!(client.is_closed());
}

#[test]
fn s7_the_token_counts_in_one_header_only() {
    let server = guarded();
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(server.request("GET", "/v1/kv", &[("Authorization", &bearer)], b"").status, 200);
    let cookie = format!("token={TOKEN}");
    let query = format!("/v1/kv?token={TOKEN}");
    let basic = format!("Basic {TOKEN}");
    for (target, headers) in [
        (query.as_str(), &[][..]),
        ("/v1/kv", &[("Cookie", cookie.as_str())]),
        ("/v1/kv", &[("Authorization", TOKEN)]),
        ("/v1/kv", &[("Authorization", basic.as_str())]),
        ("/v1/kv", &[("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())]),
        ("/v1/kv", &[("Authorization", "Bearer ")]),
        ("/v1/kv", &[("X-Token", TOKEN)]),
    ] {
        assert_eq!(server.request("GET", target, headers, b"").status, 401, "{target} {headers:?}");
    }
}

#[test]
fn s8_guessing_is_slowed_down() {
    let server = guarded();
    let wrong = [("Authorization", "Bearer 0000000000000000")];
    let statuses: Vec<u16> =
        (0..60).map(|_| server.request("GET", "/v1/kv", &wrong, b"").status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)));
    // A probe is not slowed down with it.
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn s6_admin_needs_the_token_even_here() {
    let server = TestServer::start();
    let json = [("Content-Type", "application/json")];
    for target in ["/v1/admin/flush", "/v1/admin/compact", "/v1/admin/verify"] {
        assert_eq!(server.request("POST", target, &json, b"{}").status, 401, "{target}");
    }
    assert_eq!(server.get("/v1/jobs/1").status, 401);
    assert_eq!(server.get("/v1/kv").status, 200);
    let bearer = format!("Bearer {}", server.admin_token());
    let headers = [json[0], ("Authorization", bearer.as_str())];
    assert_eq!(server.request("POST", "/v1/admin/flush", &headers, b"{}").status, 202);
}

#[test]
fn s22_a_404_tells_a_stranger_nothing() {
    let bearer = format!("Bearer {TOKEN}");
    let with = guarded().request("GET", "/v1/kv/absent", &[("Authorization", &bearer)], b"");
    let without = TestServer::start().get("/v1/kv/absent");
    assert_eq!((with.status, without.status), (404, 404));
    assert_eq!(with.body, without.body);
    let names = |reply: &crate::client::Reply| {
        reply.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&with), names(&without));
}

#[test]
fn s8_the_right_token_is_never_shut_out_by_wrong_ones() {
    let server = guarded();
    let bearer = format!("Bearer {TOKEN}");
    // All clients of this test, like all clients behind one proxy, come from one address.
    for _ in 0..30 {
        assert!(matches!(server.get("/v1/kv").status, 401 | 429));
        let right = server.request("GET", "/v1/kv", &[("Authorization", &bearer)], b"");
        assert_eq!(right.status, 200);
    }
}
