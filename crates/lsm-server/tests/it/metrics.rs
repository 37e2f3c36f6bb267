//! What Prometheus reads.

use std::time::{Duration, Instant};

use crate::harness::TestServer;

#[test]
fn the_page_has_its_families_once_and_counts() {
    let server = TestServer::start();
    server.put("a", b"x");
    server.get("/v1/kv/a");
    server.get("/v1/kv/a-key-that-must-not-become-a-label");
    server.request("GET", "/v1/kv", &[("Origin", "null")], b"");
    let reply = server.get("/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = reply.text();
    assert!(!page.contains("a-key"));
    for name in "lsm_build_info lsm_uptime_seconds lsm_sequence lsm_operations_total lsm_operation_seconds \
        lsm_wal_appended_bytes_total lsm_wal_syncs_total lsm_wal_sync_seconds lsm_write_group_size \
        lsm_memtable_bytes lsm_flushes_total lsm_flush_bytes_total lsm_compactions_total \
        lsm_compaction_read_bytes_total lsm_compaction_written_bytes_total lsm_level_files \
        lsm_level_bytes lsm_write_pressure lsm_write_stall_seconds_total lsm_cache_hits_total \
        lsm_cache_misses_total lsm_filter_checks_total lsm_memory_bytes lsm_memory_budget_bytes lsm_disk_bytes \
        lsm_snapshots lsm_corruptions_total lsm_no_space lsm_poisoned lsm_http_requests_total \
        lsm_http_request_seconds lsm_http_connections lsm_http_rejected_total"
        .split_whitespace()
    {
        let families =
            page.lines().filter(|line| line.starts_with(&format!("# TYPE {name} "))).count();
        assert_eq!(families, 1, "{name}");
        let samples = page.lines().filter(|line| line.starts_with(name)).count();
        assert!(0 < samples, "{name}");
    }
    for line in [
        "lsm_sequence 1",
        "lsm_operations_total{op=\"put\"} 1",
        "lsm_operation_seconds_count{op=\"put\"} 1",
        "lsm_operation_seconds_count{op=\"get\"} 2",
        "lsm_http_requests_total{route=\"/v1/kv/{key}\",method=\"PUT\",status=\"204\"} 1",
        "lsm_http_requests_total{route=\"/v1/kv/{key}\",method=\"GET\",status=\"404\"} 1",
        "lsm_http_rejected_total{reason=\"origin\"} 1",
        "lsm_no_space 0",
        "lsm_poisoned 0",
    ] {
        assert!(page.lines().any(|printed| printed == line), "{line} is not in\n{page}");
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn a_key_is_read_once() {
    let server = TestServer::start();
    let gets = || server.figure("lsm_operations_total{op=\"get\"}");
    server.put("a", b"x");
    for (target, status) in
        [("/v1/kv/absent", 404), ("/get/absent", 404), ("/v1/kv/a", 200), ("/get/a", 200)]
    {
        let before = gets();
        assert_eq!(server.get(target).status, status);
        assert_eq!(gets() - before, 1, "{target}");
    }
}

#[test]
fn every_refusal_is_counted_under_its_reason() {
    let server = TestServer::start();
    let rejected =
        |reason: &str| server.figure(&format!("lsm_http_rejected_total{{reason=\"{reason}\"}}"));
    assert_eq!(server.request("GET", "/v1/kv", &[("Origin", "null")], b"").status, 403);
    assert_eq!((rejected("origin"), rejected("host")), (1, 0));
    let mut client = server.connect();
    client.send("GET /v1/kv HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(client.reply().unwrap().status, 421);
    assert_eq!((rejected("origin"), rejected("host")), (1, 1));
    assert_eq!(server.post("/v1/admin/flush", "{}").status, 401);
    assert_eq!(rejected("token"), 1);
    // Bodies of which the last byte does not come, until no more of them fit.
    let unfinished = server.unfinished_uploads(20);
    let start = Instant::now();
    while rejected("busy") == 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "a refused body is not counted");
    }
    drop(unfinished);
}
