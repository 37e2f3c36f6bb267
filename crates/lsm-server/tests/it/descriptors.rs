//! Descriptors, which connections and the files of the store share: S-13.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsm_base::fs::{Fault, FaultFs, StdFs};

use crate::client::Client;
use crate::harness::{Setup, TestServer};
use crate::process::Process;

/// A server that a shell starts after it has run this.
fn start_after(script: &str, data: &Path) -> Process {
    let mut command = Command::new("sh");
    let script =
        format!("{script}; exec \"$0\" --listen 127.0.0.1:0 --data-dir \"$1\" \"$2\" \"$3\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_lsm-server")]).arg(data);
    // Small memtables, so that the log often begins a file.
    command.args(["--memtable-size", "64KiB"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Process::with_log(command)
}

/// The status of a request on an open connection.
fn status(process: &Process, client: &mut Client, request: &str, body: &str) -> u16 {
    client.send(format!(
        "{request} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
        process.address(),
        body.len()
    ));
    client.reply().expect("the server answers").status
}

#[test]
fn s13_idle_connections_leave_descriptors_to_the_store() {
    let dir = tempfile::tempdir().unwrap();
    // The hard limit too, so that it cannot be raised.
    let process = start_after("ulimit -n 128", &dir.path().join("data"));
    let mut client = Client::connect(process.address());
    assert_eq!(status(&process, &mut client, "GET /healthz", ""), 200);
    let mut held: Vec<Client> = (0..200).map(|_| Client::connect(process.address())).collect();
    // The last is turned away, so that every one before it has a place or was turned away too.
    assert_eq!(held.last_mut().unwrap().reply().map(|reply| reply.status), Some(503));
    let value = "v".repeat(16 << 10);
    for index in 0..40 {
        let put = format!("PUT /v1/kv/{index}");
        assert_eq!(status(&process, &mut client, &put, &value), 204, "{index}");
    }
    drop((client, held));
    let log = process.into_log();
    assert!(log.contains("--max-connections 1024"), "{log}");
}

#[test]
fn s13_a_limit_that_can_be_raised_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let process = start_after("ulimit -S -n 64", &dir.path().join("data"));
    let mut held: Vec<Client> = (0..100).map(|_| Client::connect(process.address())).collect();
    for client in &mut held {
        assert_eq!(status(&process, client, "GET /healthz", ""), 200);
    }
    drop(held);
    process.into_log();
}

#[test]
fn s13_a_shortage_of_descriptors_passes() {
    let dir = tempfile::tempdir().unwrap();
    // What the shell leaves open the server does not count, so that there are fewer than it thinks.
    let taken: String =
        (3..10).map(|descriptor| format!("exec {descriptor}</dev/null; ")).collect();
    let process = start_after(&(taken + "ulimit -n 32"), &dir.path().join("data"));
    // More connections than there are descriptors: some wait in the listener's queue.
    let held: Vec<Client> = (0..60).map(|_| Client::connect(process.address())).collect();
    drop(held);
    let start = Instant::now();
    assert_eq!(process.ask("PUT", "/v1/kv/a", "x").map(|reply| reply.status), Some(204));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let log = process.into_log();
    assert!(log.contains("cannot accept a connection"), "there was no shortage: {log}");
}

#[test]
fn s13_what_a_shortage_refuses_may_be_tried_again() {
    let faults = Arc::new(FaultFs::new(Arc::new(StdFs)));
    let server = TestServer::with(Setup { faults: Some(faults.clone()), ..Setup::default() });
    server.put("flushed", b"x");
    server.db().flush().unwrap();
    let is_busy = |method: &str, target: &str, body: &[u8]| {
        let reply = server.request(method, target, &[], body);
        let has_hint = reply.header("retry-after") == Some("1");
        reply.status == 503 && reply.code() == "busy" && has_hint
    };
    faults.set_plan(|_| Some(Fault::Emfile));
    assert!(is_busy("GET", "/v1/kv/flushed", b""), "the table is not open");
    let value = vec![b'v'; 256 << 10];
    let refused = (0..40).find(|index| is_busy("PUT", &format!("/v1/kv/{index}"), &value));
    let refused = refused.expect("the log has no file that is long enough");
    faults.clear_plan();
    // What was refused was not written, and everything else was.
    for index in 0..refused {
        assert_eq!(server.get(&format!("/v1/kv/{index}")).body.len(), value.len(), "{index}");
    }
    assert_eq!(server.get(&format!("/v1/kv/{refused}")).status, 404);
    assert_eq!(server.get("/v1/kv/flushed").body, b"x");
    server.put("later", &value);
}
