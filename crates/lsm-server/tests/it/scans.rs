//! Ranges of keys, as pages and as lines; S-17.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use lsm_base::FileName;
use lsm_base::fs::{Fault, FaultFs, Op, OpKind, StdFs};
use lsm_engine::{Durability, Health, WriteBatch, WriteOptions};
use lsm_server::config::{Size, Span};
use lsm_server::serve::Timeouts;
use lsm_server::wire::Line;

use crate::client::{Client, Reply};
use crate::harness::{Setup, TestServer};

fn filled(count: usize) -> TestServer {
    let server = TestServer::start();
    let ops: Vec<String> = (0..count)
        .map(|index| format!(r#"{{"op":"put","key":"k{index:05}","value":"v{index}"}}"#))
        .collect();
    let reply = server.post("/v1/batch", &format!(r#"{{"ops":[{}]}}"#, ops.join(",")));
    assert_eq!(reply.status, 200, "{reply:?}");
    server
}

fn keys(page: &Reply) -> Vec<String> {
    let page = page.json();
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect()
}

/// Follows cursors to the end.
fn walk(server: &TestServer, query: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/kv?{query}{cursor}"));
        assert_eq!(page.status, 200, "{page:?}");
        all.extend(keys(&page));
        let page = page.json();
        assert_eq!(page["done"], page["next"].is_null());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn pages_cover_every_key_once_in_both_directions() {
    let server = filled(57);
    let all: Vec<String> = (0..57).map(|index| format!("k{index:05}")).collect();
    let reversed: Vec<String> = all.iter().rev().cloned().collect();
    for limit in [1, 7, 56, 57, 58] {
        assert_eq!(walk(&server, &format!("limit={limit}")), all);
        assert_eq!(walk(&server, &format!("limit={limit}&reverse=true")), reversed);
        assert_eq!(walk(&server, &format!("limit={limit}&start=k00010&end=k00020")), all[10..20]);
        assert_eq!(walk(&server, &format!("limit={limit}&prefix=k0002")), all[20..30]);
        let part = walk(&server, &format!("limit={limit}&prefix=k0002&reverse=true"));
        assert_eq!(part, reversed[27..37]);
    }
    assert_eq!(keys(&server.get("/v1/kv")), all);
    assert!(walk(&server, "start=x").is_empty());
    assert!(walk(&server, "start=b&end=a").is_empty());
}

#[test]
fn a_page_says_what_it_saw() {
    let server = filled(3);
    let page = server.get("/v1/kv?limit=2");
    let json = page.json();
    assert_eq!(page.header("x-lsm-seq"), Some("3"));
    assert_eq!(json["seq"], 3);
    let text = page.text();
    assert!(text.starts_with(r#"{"items":[{"key":"k00000","value":"v0","seq":1},{"#), "{text}");
    assert!(text.ends_with(r#","done":false,"seq":3}"#), "{text}");
    let empty = server.get("/v1/kv?prefix=x").json();
    assert_eq!(empty, serde_json::json!({ "items": [], "next": null, "done": true, "seq": 3 }));
    let keys_only = server.get("/v1/kv?limit=1&keys_only=true").json();
    assert_eq!(keys_only["items"][0], serde_json::json!({ "key": "k00000", "seq": 1 }));
}

#[test]
fn each_page_reads_what_is_there_when_it_is_asked_for() {
    let server = filled(10);
    let first = server.get("/v1/kv?limit=5").json();
    server.put("k00007", b"changed");
    server.request("DELETE", "/v1/kv/k00008", &[], b"");
    let next = first["next"].as_str().unwrap();
    let second = server.get(&format!("/v1/kv?limit=5&cursor={next}"));
    assert_eq!(keys(&second), ["k00005", "k00006", "k00007", "k00009"]);
    assert_eq!(second.json()["items"][2]["value"], "changed");
}

#[test]
fn keys_are_printed_as_asked() {
    let server = TestServer::start();
    server.put("%00%ff", b"x");
    let item = |query: &str| server.get(&format!("/v1/kv{query}")).json()["items"][0].clone();
    assert_eq!(item("")["key_b64"], "AP8=");
    assert_eq!(item("?key_enc=utf8")["key_b64"], "AP8=");
    assert_eq!(item("?key_enc=base64")["key_b64"], "AP8=");
    assert_eq!(item("?key_enc=hex")["key_hex"], "00ff");
    assert_eq!(item("?prefix=%00%ff")["value"], "x");
    assert_eq!(item("?start=%00%ff&end=%01")["value"], "x");
}

#[test]
fn s17_parameters_are_refused_by_name() {
    let server = filled(3);
    let cursor = server.get("/v1/kv?limit=1").json()["next"].as_str().unwrap().to_owned();
    for (query, code, named) in [
        ("limit=0", "bad_request", "limit"),
        ("limit=10001", "bad_request", "limit"),
        ("limit=-1", "bad_request", "limit"),
        ("limit=+1", "bad_request", "limit"),
        ("limit=ten", "bad_request", "limit"),
        ("limit=99999999999999999999999", "bad_request", "limit"),
        ("limit=", "bad_request", "limit"),
        ("limit", "bad_request", "limit"),
        ("limit=1&limit=2", "bad_request", "limit"),
        ("count=5", "unknown_field", "count"),
        ("reverse=1", "bad_request", "reverse"),
        ("keys_only=yes", "bad_request", "keys_only"),
        ("key_enc=base32", "bad_request", "key_enc"),
        ("prefix=a&start=b", "bad_request", "prefix"),
        ("prefix=a&end=b", "bad_request", "prefix"),
        ("cursor=xyz", "bad_request", "cursor"),
        ("cursor=%ff", "bad_request", "cursor"),
        (&format!("reverse=true&cursor={cursor}"), "bad_request", "cursor"),
        (&format!("prefix=k&cursor={cursor}"), "bad_request", "cursor"),
        (&format!("cursor={cursor}A"), "bad_request", "cursor"),
    ] {
        let reply = server.get(&format!("/v1/kv?{query}"));
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{query}");
        assert!(reply.detail().contains(named), "{query}: {}", reply.detail());
    }
}

#[test]
fn s17_a_page_ends_before_it_is_too_large() {
    let server =
        TestServer::with_settings(|settings| settings.memtable_size = Some(Size(64 << 20)));
    let value = vec![b'v'; 6 << 20];
    for key in ["a", "b", "c", "d"] {
        server.put(key, &value);
    }
    let page = server.get("/v1/kv");
    assert_eq!(keys(&page), ["a", "b"]);
    assert_eq!(walk(&server, "limit=10"), ["a", "b", "c", "d"]);
}

fn lines(server: &TestServer, query: &str) -> (Vec<String>, Reply) {
    let reply = server.request(
        "GET",
        &format!("/v1/kv{query}"),
        &[("Accept", "application/x-ndjson")],
        b"",
    );
    let lines = reply.text().lines().map(str::to_owned).collect();
    (lines, reply)
}

#[test]
fn lines_are_one_snapshot_with_a_visible_end() {
    let server = filled(5000);
    let (all, reply) = lines(&server, "");
    assert!(reply.is_whole);
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(reply.header("x-lsm-seq"), Some("5000"));
    assert_eq!(all.len(), 5001);
    assert_eq!(all[0], r#"{"key":"k00000","value":"v0","seq":1}"#);
    assert_eq!(all[5000], r#"{"done":true,"count":5000,"seq":5000}"#);
    for line in &all[..5000] {
        assert!(matches!(Line::parse(line.as_bytes()).unwrap(), Line::Item(_)));
    }
    let (mut down, _) = lines(&server, "?reverse=true");
    down[..5000].reverse();
    assert_eq!(down, all);
    assert_eq!(
        lines(&server, "?limit=2&keys_only=true").0,
        [
            r#"{"key":"k00000","seq":1}"#,
            r#"{"key":"k00001","seq":2}"#,
            r#"{"done":true,"count":2,"seq":5000}"#,
        ]
    );
    assert_eq!(lines(&server, "?prefix=x").0, [r#"{"done":true,"count":0,"seq":5000}"#]);
    let (_, refused) = lines(&server, "?cursor=x");
    assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"));
}

#[test]
fn lines_of_large_values_come_in_many_pieces() {
    let server = TestServer::start();
    let value = vec![b'\n'; 100 << 10];
    for index in 0..20 {
        server.put(&format!("{index:02}"), &value);
    }
    for query in ["", "?reverse=true"] {
        let (lines, reply) = lines(&server, query);
        assert!(reply.is_whole);
        let mut keys: Vec<String> = lines[..20]
            .iter()
            .map(|line| match Line::parse(line.as_bytes()).unwrap() {
                Line::Item(item) => {
                    assert_eq!(item.value.as_deref(), Some(&value[..]));
                    String::from_utf8(item.key).unwrap()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lines.len(), 21);
        if query.is_empty() {
            keys.reverse();
        }
        assert!(keys.is_sorted_by(|a, b| b < a));
    }
}

/// A server whose store has flushed forty values of 100 KiB, and the faults behind it.
fn flushed_behind_faults() -> (TestServer, Arc<FaultFs>) {
    let faults = Arc::new(FaultFs::new(Arc::new(StdFs)));
    let server = TestServer::with(Setup { faults: Some(faults.clone()), ..Setup::default() });
    for index in 0..40 {
        server.put(&format!("{index:02}"), &[b'v'; 100 << 10]);
    }
    server.db().flush().unwrap();
    (server, faults)
}

/// Makes every read of a table fail after so many that succeed.
fn fail_reads_after(faults: &FaultFs, count: usize) {
    let mut left = count;
    faults.set_plan(move |op| {
        if op.kind != OpKind::Read || !matches!(op.file_name(), Some(FileName::Table(_))) {
            return None;
        }
        left = left.saturating_sub(1);
        (left == 0).then_some(Fault::Eio)
    });
}

#[test]
fn a_scan_that_fails_says_so_and_ends_uncleanly() {
    for is_slow in [false, true] {
        let (server, faults) = flushed_behind_faults();
        fail_reads_after(&faults, 20);
        let mut client = server.connect();
        client.send(server.head("GET", "/v1/kv") + "Accept: application/x-ndjson\r\n\r\n");
        if is_slow {
            // The failure comes while the socket is full and nobody reads.
            let start = Instant::now();
            while faults.injected() == 0 {
                assert!(start.elapsed() < Duration::from_secs(10), "no read failed");
            }
        }
        let reply = client.reply().unwrap();
        assert!(!reply.is_whole, "the end of the body must be missing");
        let lines: Vec<&str> = reply.text().lines().collect();
        let (last, items) = lines.split_last().unwrap();
        assert!(!items.is_empty(), "the failure comes on the way");
        for item in items {
            assert!(matches!(Line::parse(item.as_bytes()).unwrap(), Line::Item(_)));
        }
        match Line::parse(last.as_bytes()).unwrap() {
            Line::Failed(problem) => assert_eq!(problem.code.name(), "io"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn s17_a_page_is_measured_as_it_is_sent() {
    let server =
        TestServer::with_settings(|settings| settings.memtable_size = Some(Size(64 << 20)));
    server.put("a", b"x");
    // As JSON each of these bytes is six.
    server.put("b", &vec![1; 4 << 20]);
    for value in [&b"x"[..], &vec![0xff; 14 << 20]] {
        server.put("c", value);
        let page = server.get("/v1/kv");
        assert_eq!(keys(&page), ["a"]);
        assert_eq!(walk(&server, "limit=10"), ["a", "b", "c"]);
    }
    // Base64 is a third longer than the bytes.
    let page = server.get("/v1/kv?start=c");
    assert_eq!(keys(&page), ["c"]);
    server.put("d", b"x");
    assert_eq!(keys(&server.get("/v1/kv?start=c")), ["c"]);
}

/// How many keys are deleted between two that are there.
const DELETED: u32 = 100_000;

/// A server whose store has two keys, and what is left of a great many between them.
fn with_deleted(setup: Setup) -> (TestServer, lsm_engine::Snapshot) {
    let server = TestServer::with(setup);
    let db = server.db();
    let options = WriteOptions::durability(Durability::Buffered);
    db.put_with("a", "1", &options).unwrap();
    db.put_with("z", "1", &options).unwrap();
    // For this reader's sake tombstones go into tables too.
    let reader = db.snapshot().unwrap();
    let mut batch = WriteBatch::new();
    (0..DELETED).for_each(|index| batch.delete(format!("k{index:06}")));
    db.write(batch, &options).unwrap();
    db.flush().unwrap();
    (server, reader)
}

/// Every look at the time finds that it is over.
fn impatient() -> Timeouts {
    let none = Duration::ZERO;
    Timeouts { page: none, piece: none, silence: none, ..Timeouts::default() }
}

#[test]
fn s17_a_page_ends_in_time_also_where_it_has_found_nothing() {
    let (server, _reader) = with_deleted(Setup { timeouts: impatient(), ..Setup::default() });
    for direction in ["", "&reverse=true"] {
        let (mut found, mut empty, mut cursor) = (Vec::new(), 0, String::new());
        loop {
            let page = server.get(&format!("/v1/kv?limit=10{direction}{cursor}"));
            assert_eq!(page.status, 200, "{page:?}");
            found.extend(keys(&page));
            empty += u32::from(keys(&page).is_empty());
            let page = page.json();
            assert_eq!(page["done"], page["next"].is_null());
            let Some(next) = page["next"].as_str() else { break };
            // It names no more of the keys than it needs.
            assert!(next.len() < 32, "{next}");
            cursor = format!("&cursor={next}");
        }
        found.sort();
        assert_eq!(found, ["a", "z"]);
        assert!((20..=30).contains(&empty), "{empty}");
    }
    // Who has the time finds both at once.
    let (server, _reader) = with_deleted(Setup::default());
    assert_eq!(keys(&server.get("/v1/kv")), ["a", "z"]);
}

#[test]
fn lines_that_are_long_in_coming_are_announced_by_empty_ones() {
    let (server, _reader) = with_deleted(Setup { timeouts: impatient(), ..Setup::default() });
    for (direction, first) in [("", "a"), ("?reverse=true", "z")] {
        let (lines, reply) = lines(&server, direction);
        assert!(reply.is_whole);
        let items: Vec<&String> = lines.iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(items.len(), 3);
        assert!(items[0].contains(&format!(r#""key":"{first}""#)), "{items:?}");
        assert!(items[2].starts_with(r#"{"done":true,"count":2,"#), "{items:?}");
        assert!(20 <= lines.len() - items.len(), "{}", lines.len());
    }
    let (server, _reader) = with_deleted(Setup::default());
    assert_eq!(lines(&server, "").0.len(), 3, "nobody had to wait");
}

/// Begins a scan by lines behind the first key, and calls `interrupt` when it reads its first block. Returns what the
/// client sees of it, and how many blocks were read from then on.
fn interrupted(
    setup: Setup,
    interrupt: impl FnOnce(&mut TestServer, Client) -> Option<Client>,
) -> (Option<Reply>, usize) {
    let faults = FaultFs::new(Arc::new(StdFs));
    let (mut server, _reader) =
        with_deleted(Setup { faults: Some(Arc::new(faults.clone())), ..setup });
    let (at_gate, arrived) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let (gate, reads) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&reads);
    faults.before_each(move |op: &Op| {
        if op.kind == OpKind::Read && matches!(op.file_name(), Some(FileName::Table(_))) {
            counter.fetch_add(1, Ordering::Relaxed);
            let _ = at_gate.send(());
            let _ = gate.lock().unwrap().recv();
        }
    });
    let mut client = server.connect();
    client.send(server.head("GET", "/v1/kv?start=b") + "Accept: application/x-ndjson\r\n\r\n");
    arrived.recv().unwrap();
    let db = server.db().clone();
    let client = interrupt(&mut server, client);
    drop(open);
    let reply = client.and_then(|mut client| client.reply());
    // The scan holds its snapshot to its end; the other one is ours.
    let start = Instant::now();
    while db.health() == Health::Running && db.metrics().snapshots != 1 {
        assert!(start.elapsed() < Duration::from_secs(60), "the scan goes on");
        std::thread::yield_now();
    }
    server.stop();
    (reply, reads.load(Ordering::Relaxed))
}

#[test]
fn lines_that_nobody_waits_for_are_given_up() {
    let setup = || Setup { timeouts: impatient(), ..Setup::default() };
    let (reply, all) = interrupted(setup(), |_, client| Some(client));
    assert!(reply.unwrap().is_whole);
    let (_, some) = interrupted(setup(), |_, client| {
        drop(client);
        None
    });
    assert!(some < all / 2, "{some} of {all}");
}

#[test]
fn lines_end_with_the_store() {
    let mut setup = Setup { timeouts: impatient(), ..Setup::default() };
    setup.settings.drain_timeout = Some(Span(Duration::from_millis(1)));
    let (reply, some) = interrupted(setup, |server, client| {
        let db = server.db().clone();
        server.begin_stop();
        while db.health() == Health::Running {
            std::thread::yield_now();
        }
        Some(client)
    });
    assert!(reply.is_none_or(|reply| !reply.is_whole));
    assert!(some < 100, "{some} blocks were read of a store that is closed");
}
