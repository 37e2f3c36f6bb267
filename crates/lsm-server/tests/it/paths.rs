//! Keys in paths: S-18.

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::TestServer;

#[test]
fn s18_every_key_goes_through_the_path_and_back() {
    let server = TestServer::start();
    let mut client = server.connect();
    let client = std::cell::RefCell::new(&mut client);
    let keys = proptest::collection::vec(any::<u8>(), 1..40);
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&keys, |key| {
        let mut client = client.borrow_mut();
        let target = format!("/v1/kv/{}", percent_encode(&key, NON_ALPHANUMERIC));
        let put = server.request_on(&mut client, "PUT", &target, &[("Prefer", "x")], &key);
        prop_assert_eq!(put.status, 204);
        let get = server.request_on(&mut client, "GET", &target, &[], b"");
        prop_assert_eq!(&get.body, &key);
        let item = server.request_on(&mut client, "GET", &target.replace("/v1/kv", "/get"), &[], b"");
        let item = lsm_server::wire::Item::parse(&item.body).unwrap();
        prop_assert_eq!((item.key, item.value), (key.clone(), Some(key)));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn s18_nothing_is_merged_folded_or_decoded_twice() {
    let server = TestServer::start();
    let forms: &[(&str, &[&str])] = &[
        ("a/b", &["a/b", "a%2Fb", "a%2fb"]),
        ("a//b", &["a//b", "a%2F/b"]),
        ("..", &["..", "%2e%2e", "%2E."]),
        ("../x", &["../x", "%2e%2e/x"]),
        ("a/../b", &["a/../b"]),
        ("%2F", &["%252F"]),
        ("a+b", &["a+b", "a%2Bb"]),
        ("a b", &["a%20b"]),
        ("a;v=1", &["a;v=1"]),
        ("a/", &["a/"]),
        ("/", &["/", "%2F"]),
        (".", &["."]),
        ("a?b#c", &["a%3Fb%23c"]),
        ("*", &["*"]),
    ];
    for (key, targets) in forms {
        for target in *targets {
            let put = server.request("PUT", &format!("/v1/kv/{target}"), &[], target.as_bytes());
            assert_eq!(put.status, 204, "{target}");
            for other in *targets {
                let get = server.get(&format!("/get/{other}"));
                assert_eq!(get.json()["key"], *key, "{target} {other}");
                assert_eq!(get.json()["value"], *target);
            }
        }
    }
    let keys: Vec<_> = server.get("/v1/kv?keys_only=true").json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["key"].as_str().unwrap().to_owned())
        .collect();
    let mut expected: Vec<_> = forms.iter().map(|(key, _)| (*key).to_owned()).collect();
    expected.sort();
    assert_eq!(keys, expected);
}

#[test]
fn s18_a_bad_percent_sign_is_refused() {
    let server = TestServer::start();
    for key in ["%", "a%", "%4", "%zz", "%4g", "%%41", "%u0041"] {
        for door in ["/get", "/v1/kv"] {
            let reply = server.get(&format!("{door}/{key}"));
            assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{door}/{key}");
        }
    }
    assert_eq!(server.get("/v1/kv?prefix=%f").status, 400);
}

#[test]
fn s18_raw_bytes_beyond_ascii_are_bytes_of_the_key() {
    let server = TestServer::start();
    server.put("%C3%A4", b"umlaut");
    let mut client = server.connect();
    client.send(server.head("GET", "/get/\u{e4}") + "\r\n");
    assert_eq!(client.reply().unwrap().json()["value"], "umlaut");
}

#[test]
fn an_empty_key_is_refused() {
    let server = TestServer::start();
    for (method, target) in [
        ("GET", "/get/"),
        ("DELETE", "/delete/"),
        ("GET", "/v1/kv/"),
        ("PUT", "/v1/kv/"),
        ("DELETE", "/v1/kv/"),
    ] {
        let reply = server.request(method, target, &[], b"");
        assert_eq!((reply.status, reply.code().as_str()), (400, "empty_key"), "{method} {target}");
    }
}
