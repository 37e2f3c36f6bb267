//! Resident memory under many uploads at once: S-12.
//!
//! The server is a process of its own, because its peak is what is looked at, and it is started as
//! anyone would start it. By default there are enough uploads to ask several times for what may be
//! in flight; `UPLOADS=1000` is the number of the security checklist, and takes about half a minute.
//! They come in waves, because an allocator that keeps what was freed keeps more after each.

use std::sync::Barrier;

use crate::client::Client;
use crate::process::Process;

/// How often all uploads come.
const WAVES: usize = 3;

/// What the security checklist allows the server.
const MOST_RESIDENT: usize = 512 << 20;

/// The most bytes that were resident at once.
fn peak_resident(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

/// Sends one request of this body, and returns the status; `None` if the server would not listen.
fn upload(mut client: Client, head: &str, body: &[u8]) -> Option<u16> {
    client.try_send(head).ok()?;
    // Who is refused on the way need not be able to send everything.
    let _ = client.try_send(body);
    client.reply().map(|reply| reply.status)
}

/// One wave of uploads; their statuses.
fn wave(process: &Process, uploads: usize, head: &str, body: &[u8]) -> Vec<Option<u16>> {
    let begin = Barrier::new(uploads);
    std::thread::scope(|scope| {
        let spawn = |index| {
            let begin = &begin;
            let work = move || {
                let client = Client::connect(process.address());
                begin.wait();
                upload(client, &head.replace("INDEX", &format!("{index}")), body)
            };
            let builder = std::thread::Builder::new().stack_size(256 << 10);
            builder.spawn_scoped(scope, work).unwrap()
        };
        let threads: Vec<_> = (0..uploads).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn s12_many_at_once(request: &str, body: &[u8]) {
    let uploads = std::env::var("UPLOADS").map_or(100, |count| count.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("data"), |command| {
        command.args(["--memory-budget", "64MiB", "--durability", "buffered"]);
    });
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        process.address(),
        body.len()
    );
    for _ in 0..WAVES {
        let statuses = wave(&process, uploads, &head, body);
        let count = |status| statuses.iter().filter(|known| **known == Some(status)).count();
        let stored = count(204) + count(200);
        assert!(0 < stored, "some are stored: {statuses:?}");
        assert!(0 < count(503), "and more were asked for than fit: {statuses:?}");
        println!("{uploads} uploads, {stored} stored, peak {} MiB", peak_resident(&process) >> 20);
    }
    let peak = peak_resident(&process);
    assert!(peak < MOST_RESIDENT, "{} MiB were resident", peak >> 20);
}

#[test]
fn s12_many_large_values_at_once_take_a_bounded_memory() {
    s12_many_at_once("PUT /v1/kv/INDEX", &vec![b'v'; 16 << 20]);
}

#[test]
fn s12_many_large_documents_at_once_take_a_bounded_memory() {
    // Each byte of the value is written as six, so that the text cannot be borrowed.
    let value = "\\u0001".repeat((32 << 20) / 6 - 10);
    s12_many_at_once("POST /put", format!(r#"{{"key":"a","value":"{value}"}}"#).as_bytes());
}
