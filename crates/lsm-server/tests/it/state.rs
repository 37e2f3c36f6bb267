//! The server in other states than "ready": S-23 (clients that go away), S-24 (poison), recovery.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use lsm_base::FileName;
use lsm_base::fs::{Fault, FaultFs, Op, OpKind, Space, StdFs};

use lsm_server::config::Span;
use lsm_server::serve::Timeouts;

use crate::harness::{Setup, TestServer};

#[test]
fn while_the_store_is_recovered_only_three_routes_answer() {
    let server = TestServer::with(Setup { is_open: false, ..Setup::default() });
    assert_eq!(server.get("/healthz").text(), r#"{"status":"ok"}"#);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.text()), (503, r#"{"status":"recovering"}"#));
    let version = server.get("/version").json();
    assert_eq!(version["name"], "lsm-server");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["format"].is_number() && version.get("commit").is_some());
    for (method, target) in [
        ("GET", "/v1/kv/a"),
        ("PUT", "/v1/kv/a"),
        ("GET", "/v1/kv"),
        ("GET", "/metrics"),
        ("GET", "/v1/stats"),
    ] {
        let reply = server.request(method, target, &[], b"");
        assert_eq!((reply.status, reply.code().as_str()), (503, "starting"), "{target}");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}

#[test]
fn a_ready_server_says_so() {
    let server = TestServer::start();
    assert_eq!(server.get("/healthz").text(), r#"{"status":"ok"}"#);
    assert_eq!(server.get("/readyz").text(), r#"{"status":"ready"}"#);
    let head = server.request("HEAD", "/readyz", &[], b"");
    assert_eq!(head.status, 200);
}

/// Whether an operation makes the log durable. The file of a segment is known by the name under
/// which it was made; making it ends with a sync of another kind.
fn is_sync_of_log(op: &Op) -> bool {
    op.kind == OpKind::SyncData
        && matches!(op.file_name(), Some(FileName::Log(_) | FileName::LogTemp(_)))
}

#[test]
fn s24_a_poisoned_store_is_still_read() {
    let faults = Arc::new(FaultFs::new(Arc::new(StdFs)));
    let server = TestServer::with(Setup { faults: Some(faults.clone()), ..Setup::default() });
    server.put("a", b"x");
    faults.set_plan(|op| is_sync_of_log(op).then_some(Fault::Eio));
    let failed = server.request("PUT", "/v1/kv/a", &[], b"y");
    assert_eq!((failed.status, failed.code().as_str()), (500, "io"), "{failed:?}");
    faults.clear_plan();
    for (method, target) in [("PUT", "/v1/kv/a"), ("DELETE", "/v1/kv/a"), ("DELETE", "/delete/a")] {
        let refused = server.request(method, target, &[], b"");
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "poisoned"),
            "{method} {target}"
        );
    }
    for target in ["/healthz", "/readyz"] {
        let reply = server.get(target);
        assert_eq!((reply.status, reply.text()), (503, r#"{"status":"poisoned"}"#));
    }
    // What was acknowledged is there, what was not is not.
    assert_eq!(server.get("/v1/kv/a").body, b"x");
    assert_eq!(server.get("/v1/kv").json()["items"][0]["value"], "x");
    assert_eq!(server.figure("lsm_poisoned"), 1);
}

#[test]
fn a_nearly_full_disk_refuses_puts_and_takes_deletes() {
    let faults = Arc::new(FaultFs::new(Arc::new(StdFs)));
    let server = TestServer::with(Setup { faults: Some(faults.clone()), ..Setup::default() });
    server.put("a", b"x");
    // With each change the store looks.
    let look = || server.db().flush().and_then(|()| server.db().wait_idle()).unwrap();
    faults.pretend_space(Some(Space { free: 1 << 20, total: 1 << 40 }));
    look();
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.text()), (503, r#"{"status":"low_space"}"#));
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.figure("lsm_no_space"), 1);
    let refused = server.request("PUT", "/v1/kv/b", &[], b"y");
    assert_eq!((refused.status, refused.code().as_str()), (507, "no_space"));
    assert_eq!(server.get("/v1/kv/a").body, b"x");
    assert_eq!(server.request("DELETE", "/v1/kv/a", &[], b"").status, 204);
    faults.pretend_space(None);
    look();
    assert_eq!(server.get("/readyz").text(), r#"{"status":"ready"}"#);
    server.put("b", b"y");
    assert_eq!(server.figure("lsm_no_space"), 0);
}

#[test]
fn s23_a_client_that_goes_away_neither_tears_nor_cancels_a_write() {
    let server = TestServer::start();
    let value = vec![b'v'; 100_000];
    let whole = [
        (server.head("PUT", "/v1/kv/a") + &format!("Content-Length: {}\r\n\r\n", value.len()))
            .into_bytes(),
        value.clone(),
    ]
    .concat();
    // Cut anywhere, the request is not executed.
    for len in [10, 60, 1000, whole.len() / 2, whole.len() - 1] {
        let mut client = server.connect();
        client.send(&whole[..len]);
        client.end();
        client.rest();
        assert_eq!(server.get("/v1/kv/a").status, 404, "{len} bytes");
    }
    // Sent whole, it is, although nobody waits for the answer.
    let mut client = server.connect();
    client.send(&whole);
    drop(client);
    let start = Instant::now();
    loop {
        let reply = server.get("/v1/kv/a");
        if reply.status == 200 {
            assert!(reply.body == value);
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn s25_a_draining_server_finishes_what_was_begun() {
    let mut server = TestServer::start();
    let mut begun = server.connect();
    begun
        .send(server.head("PUT", "/v1/kv/a") + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    // It was begun: a connection of which nothing was read yet may be closed.
    assert_eq!(begun.next_head().unwrap().status, 100);
    let mut idle = server.connect();
    assert_eq!(server.request_on(&mut idle, "GET", "/healthz", &[], b"").status, 200);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Once idle connections are closed, the server drains.
            assert!(idle.is_closed());
            begun.send("x");
            let reply = begun.reply_to("PUT").unwrap();
            assert_eq!((reply.status, reply.closes()), (204, true));
        });
        server.stop();
    });
}

#[test]
fn s23_a_commit_that_has_begun_is_not_cancelled() {
    let faults = Arc::new(FaultFs::new(Arc::new(StdFs)));
    let server = TestServer::with(Setup { faults: Some(faults.clone()), ..Setup::default() });
    let (reached, at_sync) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    faults.before_each(move |op| {
        if is_sync_of_log(op) {
            // Whoever is released by the end of the test goes on as well.
            let _ = reached.send(());
            let _ = gate.lock().unwrap().recv();
        }
    });
    let mut client = server.connect();
    client.send(server.head("PUT", "/v1/kv/a") + "Content-Length: 1\r\n\r\nx");
    at_sync.recv_timeout(Duration::from_secs(10)).unwrap();
    drop(client);
    drop(release);
    let start = Instant::now();
    while server.get("/v1/kv/a").status != 200 {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn s17_a_scan_that_nobody_reads_lets_its_snapshot_go() {
    let timeouts = Timeouts { write_stall: Duration::from_millis(300), ..Timeouts::default() };
    let server = TestServer::with(Setup { timeouts, ..Setup::default() });
    for index in 0..30 {
        server.put(&format!("{index:02}"), &vec![b'v'; 1 << 20]);
    }
    let mut client = server.connect();
    client.send(server.head("GET", "/v1/kv") + "Accept: application/x-ndjson\r\n\r\n");
    let wait_for = |line: &str| {
        let start = Instant::now();
        while !server.get("/metrics").text().lines().any(|printed| printed == line) {
            assert!(start.elapsed() < Duration::from_secs(10), "{line}");
        }
    };
    wait_for("lsm_snapshots 1");
    wait_for("lsm_snapshots 0");
    let reply = client.reply().unwrap();
    assert!(!reply.is_whole, "the end of the scan must be missing");
}

#[test]
fn writes_that_stall_leave_the_reads_and_the_figures_alone() {
    const STALL: Duration = Duration::from_secs(2);
    let faults = Arc::new(FaultFs::new(Arc::new(StdFs)));
    let mut setup = Setup { faults: Some(faults.clone()), ..Setup::default() };
    setup.settings.write_stall_timeout = Some(Span(STALL));
    let mut server = TestServer::with(setup);
    server.put("flushed", b"x");
    server.db().flush().unwrap();
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    faults.before_each(move |op| {
        if op.kind == OpKind::Create && matches!(op.file_name(), Some(FileName::Table(_))) {
            let _ = gate.lock().unwrap().recv();
        }
    });
    let value = vec![b'v'; 100 << 10];
    let slowed = AtomicUsize::new(0);
    let refused = std::thread::scope(|scope| {
        let write = |index| {
            let (server, value, slowed) = (&server, &value, &slowed);
            scope.spawn(move || {
                // Half of the writes are under a condition, and all are too large to be queued.
                let absent = ("If-None-Match", "*");
                let headers = if index % 2 == 0 { &[absent][..] } else { &[] };
                let start = Instant::now();
                let reply = server.request("PUT", &format!("/v1/kv/{index}"), headers, value);
                assert!(matches!(reply.status, 204 | 503), "{reply:?}");
                if let Some(timing) = reply.header("server-timing") {
                    assert!(timing.starts_with("store;dur="), "{timing}");
                    slowed.fetch_add(1, Ordering::Relaxed);
                }
                assert!(start.elapsed() < STALL + Duration::from_secs(1), "{:?}", start.elapsed());
                reply.status
            })
        };
        let writes: Vec<_> = (0..160).map(write).collect();
        // More than half of the writes stand and wait, and the others wait behind them.
        let start = Instant::now();
        while start.elapsed() < STALL {
            let asked = Instant::now();
            assert_eq!(server.get("/v1/kv/flushed").body, b"x");
            assert_eq!(server.get("/v1/kv/absent").status, 404);
            assert_eq!(server.get("/metrics").status, 200);
            assert_eq!(server.get("/v1/stats").status, 200);
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        }
        let statuses = writes.into_iter().map(|write| write.join().unwrap());
        statuses.filter(|status| *status == 503).count() as u64
    });
    assert_ne!(refused, 0, "no write stalled");
    assert_ne!(slowed.into_inner(), 0, "no answer tells of the pressure");
    assert_eq!(server.figure("lsm_http_rejected_total{reason=\"busy\"}"), refused);
    drop(release);
    server.stop();
}

#[test]
fn s24_a_handler_that_panics_is_answered_and_the_server_lives() {
    let faults = Arc::new(FaultFs::new(Arc::new(StdFs)));
    let server = TestServer::with(Setup { faults: Some(faults.clone()), ..Setup::default() });
    server.put("flushed", b"x");
    server.db().flush().unwrap();
    faults.before_each(|op| {
        let is_table = matches!(op.file_name(), Some(FileName::Table(_)));
        assert!(!(is_table && op.kind == OpKind::Read), "planned");
    });
    let mut client = server.connect();
    for _ in 0..2 {
        let reply = server.request_on(&mut client, "GET", "/v1/kv/flushed", &[], b"");
        assert_eq!((reply.status, reply.code().as_str()), (500, "internal"));
        assert!(!reply.text().contains("planned"));
    }
    faults.before_each(|_| {});
    let reply = server.request_on(&mut client, "GET", "/v1/kv/flushed", &[], b"");
    assert_eq!((reply.status, &reply.body[..]), (200, &b"x"[..]));
}
