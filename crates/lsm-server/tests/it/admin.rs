//! Jobs, and the figures for people and tools.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use lsm_base::FileName;
use lsm_base::fs::{FaultFs, Op, OpKind, StdFs};

use crate::harness::{Setup, TestServer};

/// Begins a job and waits until it is done.
fn run_job(server: &TestServer, bearer: &str, kind: &str) -> serde_json::Value {
    let id = begin_job(server, bearer, kind);
    wait_for_job(server, bearer, kind, &id)
}

/// Asks for a job. Returns its number.
fn begin_job(server: &TestServer, bearer: &str, kind: &str) -> String {
    let headers = [("Content-Type", "application/json"), ("Authorization", bearer)];
    let begun = server.request("POST", &format!("/v1/admin/{kind}"), &headers, b"{}");
    assert_eq!(begun.status, 202, "{begun:?}");
    let id = begun.json()["job"].as_str().unwrap().to_owned();
    assert_eq!(begun.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    id
}

/// How a job goes.
fn job(server: &TestServer, bearer: &str, id: &str) -> serde_json::Value {
    server.request("GET", &format!("/v1/jobs/{id}"), &[("Authorization", bearer)], b"").json()
}

/// Waits until a job is done.
fn wait_for_job(server: &TestServer, bearer: &str, kind: &str, id: &str) -> serde_json::Value {
    let start = Instant::now();
    loop {
        let job = job(server, bearer, id);
        assert_eq!((job["job"].as_str(), job["kind"].as_str()), (Some(id), Some(kind)));
        if job["state"] != "waiting" && job["state"] != "running" {
            assert_eq!((&job["state"], &job["error"]), (&"done".into(), &().into()), "{job}");
            return job;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{job}");
    }
}

#[test]
fn jobs_run_and_report() {
    let server = TestServer::start();
    for index in 0..100 {
        server.put(&format!("{index:03}"), b"value");
    }
    let bearer = format!("Bearer {}", server.admin_token());
    let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
    for kind in ["flush", "compact", "verify"] {
        let ended = run_job(&server, &bearer, kind);
        if kind == "flush" {
            let bytes = ended["report"]["bytes_written"].as_u64();
            assert!(bytes.is_some_and(|bytes| 0 < bytes), "{ended}");
        }
        if kind == "verify" {
            assert_eq!(ended["report"]["is_clean"], true);
            assert!(ended["report"]["tables"].as_u64().is_some_and(|tables| 0 < tables));
            assert_eq!(ended["report"]["entries"], 100);
        }
    }
    assert_eq!(server.request("GET", "/v1/jobs/99", &headers[1..], b"").code(), "not_found");
    assert_eq!(server.request("GET", "/v1/jobs/x", &headers[1..], b"").code(), "not_found");
    let refused = server.request("POST", "/v1/admin/flush", &headers, br#"{"force":true}"#);
    assert_eq!(refused.code(), "unknown_field");

    let stats = server.get("/v1/stats").json();
    assert_eq!((stats["seq"].as_u64(), stats["state"].as_str()), (Some(100), Some("ready")));
    assert_eq!(stats["durability"], "sync");
    assert_eq!(stats["keyspaces"][0]["name"], "default");
    assert_eq!(stats["keyspaces"][0]["entries_estimate"], 100);
    for (object, fields) in [
        ("memory", &["budget", "memtables", "block_cache", "pinned"][..]),
        ("disk", &["wal", "tables", "manifest"]),
        ("amplification", &["write", "space"]),
        (
            "recovery",
            &[
                "replayed_records",
                "replayed_bytes",
                "dropped_bytes",
                "orphans_removed",
                "duration_ms",
            ],
        ),
    ] {
        for field in fields {
            assert!(stats[object][field].is_number(), "{object}.{field}: {stats}");
        }
    }
    server.put("000", b"in memory");
    let tree = server.get("/v1/tree").json();
    let levels = tree["keyspaces"][0]["levels"].as_array().unwrap();
    let tables: Vec<_> =
        levels.iter().flat_map(|level| level["tables"].as_array().unwrap()).collect();
    assert_eq!(tables.len(), 1, "{tree}");
    assert_eq!(tables[0]["entries"], 100);
    assert_eq!(
        (&tables[0]["smallest_b64"], &tables[0]["largest_b64"]),
        (&"MDAw".into(), &"MDk5".into())
    );
    assert_eq!(tree["keyspaces"][0]["memtables"][0]["state"], "active");
}

/// Each job is held up at an operation of the disk before which it has done a part of its work.
#[test]
fn a_job_tells_how_far_it_is_while_it_runs() {
    let faults = FaultFs::new(Arc::new(StdFs));
    let server =
        TestServer::with(Setup { faults: Some(Arc::new(faults.clone())), ..Setup::default() });
    for index in 0..4_u32 {
        // Values that no codec makes shorter.
        let mut value = vec![0; 200_000];
        let mut random = index + 1;
        value.fill_with(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        });
        server.put(&format!("{index}"), &value);
    }
    let bearer = format!("Bearer {}", server.admin_token());
    for kind in ["flush", "compact", "verify"] {
        let (at_gate, arrived) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        faults.before_each(move |op: &Op| {
            let is_due = match op.file_name() {
                // Its entries were read from memory, or from another table.
                Some(FileName::Table(_)) => op.kind.is_sync(),
                // It is read by the verification alone, behind the tables.
                Some(FileName::Manifest(_)) => op.kind == OpKind::Read,
                _ => false,
            };
            if is_due {
                let _ = at_gate.send(());
                let _ = gate.lock().unwrap().recv();
            }
        });
        let id = begin_job(&server, &bearer, kind);
        arrived.recv().unwrap();
        let running = job(&server, &bearer, &id);
        assert_eq!(running["state"], "running", "{running}");
        let progress = running["progress"].as_f64().unwrap();
        assert!(0.0 < progress && progress < 1.0, "{running}");
        drop(open);
        faults.clear_hooks();
        let ended = wait_for_job(&server, &bearer, kind, &id);
        assert_eq!(ended["progress"], 1, "{ended}");
    }
}

#[test]
fn a_job_covers_what_was_written_before_it_was_asked_for() {
    let faults = FaultFs::new(Arc::new(StdFs));
    let server =
        TestServer::with(Setup { faults: Some(Arc::new(faults.clone())), ..Setup::default() });
    let bearer = format!("Bearer {}", server.admin_token());
    let (at_gate, arrived) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    faults.before_each(move |op: &Op| {
        if op.kind == OpKind::Create && matches!(op.file_name(), Some(FileName::Table(_))) {
            let _ = at_gate.send(());
            let _ = gate.lock().unwrap().recv();
        }
    });
    server.put("early", b"x");
    let first = begin_job(&server, &bearer, "flush");
    arrived.recv().unwrap();
    // The first has begun, and what is written now is none of its business.
    server.put("late", b"x");
    let second = begin_job(&server, &bearer, "flush");
    assert_ne!(second, first);
    let waiting = job(&server, &bearer, &second);
    assert_eq!((&waiting["state"], &waiting["progress"]), (&"waiting".into(), &0.into()));
    // The second has not begun, and covers this too.
    server.put("latest", b"x");
    assert_eq!(begin_job(&server, &bearer, "flush"), second);
    assert_ne!(begin_job(&server, &bearer, "verify"), second);
    drop(open);
    wait_for_job(&server, &bearer, "flush", &first);
    wait_for_job(&server, &bearer, "flush", &second);
    let tree = server.get("/v1/tree").json();
    let tables = tree["keyspaces"][0]["levels"].as_array().unwrap().iter();
    let tables = tables.flat_map(|level| level["tables"].as_array().unwrap());
    let entries: u64 = tables.map(|table| table["entries"].as_u64().unwrap()).sum();
    assert_eq!(entries, 3, "{tree}");
    assert_ne!(begin_job(&server, &bearer, "flush"), second);
}

#[test]
fn a_job_has_one_number() {
    let server = TestServer::start();
    let bearer = format!("Bearer {}", server.admin_token());
    let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
    let begun = server.request("POST", "/v1/admin/flush", &headers, b"{}").json();
    let id = begun["job"].as_str().unwrap().to_owned();
    let ask = |id: &str| server.request("GET", &format!("/v1/jobs/{id}"), &headers[1..], b"");
    assert_eq!(ask(&id).status, 200);
    for stranger in [format!("+{id}"), format!("0{id}"), format!("{id}/"), String::new()] {
        let reply = ask(&stranger);
        assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"), "{stranger:?}");
        // One title stands for all problems of a code.
        let problem = reply.json();
        assert_eq!(problem["title"], "no such key or job");
        assert_eq!(problem["detail"], "there is no such job");
    }
}
