//! What the routes for one and for many keys do.

use crate::harness::TestServer;

fn seq(reply: &crate::client::Reply) -> u64 {
    reply.header("x-lsm-seq").unwrap().parse().unwrap()
}

#[test]
fn the_simple_door_takes_and_gives_json() {
    let server = TestServer::start();
    let put = server.post("/put", r#"{"key":"a","value":"b"}"#);
    assert_eq!((put.status, put.text()), (200, r#"{"ok":true,"seq":1}"#));
    assert_eq!(put.header("etag"), Some("\"1\""));
    assert_eq!(put.header("x-lsm-durability"), Some("sync"));
    assert_eq!(put.header("content-type"), Some("application/json"));
    let get = server.get("/get/a");
    assert_eq!((get.status, get.text()), (200, r#"{"key":"a","value":"b","seq":1}"#));
    assert_eq!((get.header("etag"), seq(&get)), (Some("\"1\""), 1));
    let delete = server.request("DELETE", "/delete/a", &[], b"");
    assert_eq!((delete.status, delete.text()), (200, r#"{"ok":true,"seq":2}"#));
    let gone = server.get("/get/a");
    assert_eq!((gone.status, gone.code().as_str()), (404, "not_found"));
    assert_eq!(gone.json()["key_b64"], "YQ==");
    assert_eq!(gone.json()["instance"], "/get/a");
    let again = server.request("DELETE", "/delete/a", &[], b"");
    assert_eq!((again.status, again.text()), (200, r#"{"ok":true,"seq":3}"#));
    let must = server.request("DELETE", "/delete/a?must_exist=true", &[], b"");
    assert_eq!((must.status, must.code().as_str()), (404, "not_found"));
}

#[test]
fn bytes_that_are_no_text_go_through_the_simple_door() {
    let server = TestServer::start();
    let put = server.post("/put", r#"{"key_b64":"/w==","value":"AP8=","encoding":"base64"}"#);
    assert_eq!(put.status, 200);
    let get = server.get("/get/%ff");
    assert_eq!(get.text(), r#"{"key_b64":"/w==","value":"AP8=","encoding":"base64","seq":1}"#);
    assert_eq!(server.get("/v1/kv/%ff").body, b"\0\xff");
}

#[test]
fn conditions_of_the_simple_door() {
    let server = TestServer::start();
    let put = |extra: &str| server.post("/put", &format!(r#"{{"key":"a","value":"b"{extra}}}"#));
    let refused = put(r#","if_seq":7"#);
    assert_eq!((refused.status, refused.code().as_str()), (412, "precondition_failed"));
    assert!(refused.json()["current_seq"].is_null() && refused.json().get("current_seq").is_some());
    assert_eq!(put(r#","if_absent":true"#).status, 200);
    assert_eq!(put(r#","if_absent":true"#).json()["current_seq"], 1);
    assert_eq!(put(r#","if_seq":1"#).text(), r#"{"ok":true,"seq":2}"#);
    assert_eq!(put(r#","if_seq":1"#).json()["current_seq"], 2);
    assert_eq!(put(r#","if_absent":false"#).status, 200);
    assert_eq!(put(r#","if_absent":true,"if_seq":1"#).code(), "bad_json");
    assert_eq!(put(r#","ttl_ms":5"#).code(), "unknown_field");
    let tags = [("Content-Type", "application/json"), ("If-Match", "\"3\"")];
    let refused = server.request("POST", "/put", &tags, br#"{"key":"a","value":"b"}"#);
    assert_eq!(refused.code(), "bad_request");
}

#[test]
fn the_raw_door_takes_and_gives_bytes() {
    let server = TestServer::start();
    let put = server.put("a", b"\0\xffbytes");
    assert_eq!((put.header("etag"), seq(&put), put.body.len()), (Some("\"1\""), 1, 0));
    assert_eq!(put.header("x-lsm-durability"), Some("sync"));
    let get = server.get("/v1/kv/a");
    assert_eq!((get.status, get.body.as_slice()), (200, &b"\0\xffbytes"[..]));
    assert_eq!((get.header("etag"), get.header("content-length")), (Some("\"1\""), Some("7")));
    let head = server.request("HEAD", "/v1/kv/a", &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("7")));
    assert_eq!(head.header("etag"), Some("\"1\""));
    server.put("empty", b"");
    let empty = server.get("/v1/kv/empty");
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
    let delete = server.request("DELETE", "/v1/kv/a", &[], b"");
    assert_eq!((delete.status, seq(&delete), delete.header("etag")), (204, 3, None));
    assert_eq!(server.request("DELETE", "/v1/kv/a", &[], b"").status, 204);
    assert_eq!(server.get("/v1/kv/a").status, 404);
    assert_eq!(server.request("HEAD", "/v1/kv/a", &[], b"").status, 404);
}

#[test]
fn large_values_go_through_whole() {
    let server = TestServer::start();
    let value: Vec<u8> = (0..5_000_000_u32).map(|index| (index % 251) as u8).collect();
    server.put("large", &value);
    assert!(server.get("/v1/kv/large").body == value);
}

#[test]
fn entity_tags_on_reads() {
    let server = TestServer::start();
    server.put("a", b"x");
    for door in ["/v1/kv/a", "/get/a"] {
        let get = |name: &str, value: &str| server.request("GET", door, &[(name, value)], b"");
        for same in ["\"1\"", "\"7\", \"1\"", "*"] {
            let reply = get("If-None-Match", same);
            assert_eq!((reply.status, reply.header("etag")), (304, Some("\"1\"")), "{same}");
        }
        for other in ["\"2\"", "W/\"1\"", "\"01\""] {
            assert_eq!(get("If-None-Match", other).status, 200, "{other}");
        }
        assert_eq!(get("If-Match", "\"1\"").status, 200);
        assert_eq!(get("If-Match", "\"2\"").json()["current_seq"], 1);
        for bad in ["1", "\"1", "*, \"1\""] {
            assert_eq!(get("If-None-Match", bad).code(), "bad_request", "{bad}");
        }
    }
    assert_eq!(server.request("GET", "/v1/kv/none", &[("If-None-Match", "*")], b"").status, 404);
}

#[test]
fn entity_tags_on_writes() {
    let server = TestServer::start();
    let put = |name: &str, value: &str| server.request("PUT", "/v1/kv/a", &[(name, value)], b"x");
    assert_eq!(put("If-Match", "*").status, 412);
    assert_eq!(put("If-Match", "\"1\"").status, 412);
    assert_eq!(put("If-Match", "\"1\", \"2\"").status, 412);
    assert_eq!(put("If-None-Match", "*").header("etag"), Some("\"1\""));
    assert_eq!(put("If-None-Match", "*").json()["current_seq"], 1);
    assert_eq!(put("If-None-Match", "\"1\"").status, 412);
    assert_eq!(put("If-None-Match", "\"5\", \"1\"").status, 412);
    assert_eq!(put("If-None-Match", "\"5\", \"6\"").header("etag"), Some("\"2\""));
    assert_eq!(put("If-Match", "\"7\", \"2\"").header("etag"), Some("\"3\""));
    assert_eq!(put("If-Match", "W/\"3\"").status, 412);
    assert_eq!(put("If-None-Match", "W/\"3\"").header("etag"), Some("\"4\""));
    assert_eq!(put("If-Match", "*").header("etag"), Some("\"5\""));
    assert_eq!(put("If-Match", "5").code(), "bad_request");
    for door in ["/v1/kv/a", "/delete/a"] {
        let refused = server.request("DELETE", door, &[("If-Match", "\"4\"")], b"");
        assert_eq!((refused.status, refused.json()["current_seq"].as_u64()), (412, Some(5)));
    }
    assert_eq!(server.request("DELETE", "/v1/kv/a", &[("If-Match", "\"5\"")], b"").status, 204);
    // A condition that failed used no sequence.
    assert_eq!(server.put("a", b"x").header("etag"), Some("\"7\""));
}

#[test]
fn one_of_many_racing_creations_wins() {
    let server = TestServer::start();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|index: u8| {
                let server = &server;
                scope.spawn(move || {
                    // A list is judged by reading first, a star by the engine.
                    let condition = if index.is_multiple_of(2) {
                        ("If-None-Match", "*")
                    } else {
                        ("If-None-Match", "\"1\", \"2\"")
                    };
                    server.request("PUT", "/v1/kv/a", &[condition], &[index]).status
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    // The first creation has the sequence 1, which neither form lets another one replace.
    let winners = statuses.iter().filter(|&&status| status == 204).count();
    assert_eq!(winners, 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 204 | 412)));
}

#[test]
fn s23_the_answer_names_the_durability() {
    let server = TestServer::start();
    let put = |query: &str| server.request("PUT", &format!("/v1/kv/a{query}"), &[], b"x");
    assert_eq!(put("").header("x-lsm-durability"), Some("sync"));
    assert_eq!(put("?durability=buffered").header("x-lsm-durability"), Some("buffered"));
    assert_eq!(put("?durability=sync").header("x-lsm-durability"), Some("sync"));
    assert_eq!(put("?durability=fsync").code(), "bad_request");
    for (method, target, body) in [
        ("DELETE", "/v1/kv/a?durability=buffered", ""),
        ("DELETE", "/delete/a?durability=buffered", ""),
        ("POST", "/put?durability=buffered", r#"{"key":"a","value":"b"}"#),
        ("POST", "/v1/batch?durability=buffered", r#"{"ops":[{"op":"delete","key":"a"}]}"#),
    ] {
        let reply = server.request(
            method,
            target,
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        );
        assert_eq!(reply.header("x-lsm-durability"), Some("buffered"), "{method} {target}");
    }
}

#[test]
fn a_batch_is_written_whole_and_the_later_wins() {
    let server = TestServer::start();
    let reply = server.post(
        "/v1/batch",
        r#"{"ops":[{"op":"put","key":"a","value":"1"},{"op":"put","key":"b","value":"/w==","encoding":"base64"},
            {"op":"put","key":"a","value":"2"},{"op":"delete","key_b64":"Yw=="}]}"#,
    );
    assert_eq!((reply.status, reply.text()), (200, r#"{"ok":true,"seq":4,"count":4}"#));
    assert_eq!(seq(&reply), 4);
    assert_eq!(server.get("/get/a").text(), r#"{"key":"a","value":"2","seq":3}"#);
    assert_eq!(server.get("/v1/kv/b").body, b"\xff");
    let refused = server.post(
        "/v1/batch",
        r#"{"ops":[{"op":"put","key":"c","value":"1"},{"op":"put","key":"","value":"1"}]}"#,
    );
    assert_eq!((refused.status, refused.code().as_str()), (400, "empty_key"));
    assert_eq!(server.get("/get/c").status, 404);
}

#[test]
fn many_keys_come_in_their_order() {
    let server = TestServer::start();
    server.put("a", b"1");
    server.put("%ff", b"2");
    let reply = server.post("/v1/mget", r#"{"keys":["none","a",{"key_b64":"/w=="},{"key":"a"}]}"#);
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.text(),
        r#"[null,{"key":"a","value":"1","seq":1},{"key_b64":"/w==","value":"2","seq":2},{"key":"a","value":"1","seq":1}]"#
    );
    assert_eq!(seq(&reply), 2);
    assert_eq!(server.post("/v1/mget", r#"{"keys":[]}"#).text(), "[]");
}

#[test]
fn an_answer_of_many_keys_has_a_limit() {
    let server = TestServer::start();
    server.put("a", &vec![b'v'; 1 << 20]);
    let keys = vec![r#""a""#; 65].join(",");
    let reply = server.post("/v1/mget", &format!(r#"{{"keys":[{keys}]}}"#));
    assert_eq!((reply.status, reply.code().as_str()), (413, "body_too_large"));
}

#[test]
fn data_outlives_the_server() {
    let dir = tempfile::tempdir().unwrap();
    // The engine itself is tested elsewhere: this holds that the server closes what it opened.
    let mut server = TestServer::start();
    server.put("a", b"x");
    let data = server.data_dir();
    server.stop();
    let copy = dir.path().join("data");
    std::fs::rename(data, &copy).unwrap();
    let db = lsm_engine::Db::open(&copy).unwrap();
    assert_eq!(lsm_engine::Read::get(&db, "a").unwrap().unwrap(), b"x");
    assert!(db.recovery_report().was_closed);
}

#[test]
fn a_read_that_finds_nothing_says_what_it_saw() {
    let server = TestServer::start();
    server.put("a", b"x");
    server.put("b", b"x");
    for (target, headers, status) in [
        ("/v1/kv/absent", &[][..], 404),
        ("/get/absent", &[], 404),
        ("/v1/kv/a", &[("If-Match", "\"9\"")], 412),
        ("/get/a", &[("If-Match", "\"9\"")], 412),
        ("/v1/kv/a", &[("If-None-Match", "*")], 304),
    ] {
        let reply = server.request("GET", target, headers, b"");
        assert_eq!((reply.status, reply.header("x-lsm-seq")), (status, Some("2")), "{target}");
    }
}

#[test]
fn the_simple_door_gives_bytes_to_those_who_ask_for_them() {
    let server = TestServer::start();
    server.put("a", b"\xff\0x");
    let get = |accept| server.request("GET", "/get/a", &[("Accept", accept)], b"");
    for accept in ["application/octet-stream", "text/html, Application/Octet-Stream;q=0.9"] {
        let reply = get(accept);
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"), "{accept}");
        assert_eq!((&reply.body[..], reply.header("etag")), (&b"\xff\0x"[..], Some("\"1\"")));
    }
    for accept in ["*/*", "application/json, application/octet-stream", "application/json"] {
        assert_eq!(get(accept).json()["encoding"], "base64", "{accept}");
    }
}
