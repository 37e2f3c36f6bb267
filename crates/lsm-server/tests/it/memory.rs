//! Resident memory under many uploads at once: S-12.
//!
//! The server is a process of its own, because its peak is what is looked at. By default there are
//! enough uploads to ask several times for what may be in flight; `UPLOADS=1000` is the number of the
//! security checklist, and takes about half a minute.
//!
//! The C library of most Linux systems stops returning large buffers after the first was freed, and
//! then holds holes between them. docs/rest-api.md names the variable that forbids it, which is set
//! here: what is measured is the server.

use std::sync::Barrier;

use crate::client::Client;
use crate::process::Process;

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

fn s12_many_at_once(method: &str, target: &str, body: &[u8]) {
    let uploads = std::env::var("UPLOADS").map_or(100, |count| count.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("data"), |command| {
        command.args(["--memory-budget", "64MiB", "--durability", "buffered"]);
        command.env("MALLOC_MMAP_THRESHOLD_", "131072");
    });
    let address = process.address();
    let begin = Barrier::new(uploads);
    let statuses: Vec<Option<u16>> = std::thread::scope(|scope| {
        let spawn = |index| {
            let begin = &begin;
            let work = move || {
                let head = format!(
                    "{method} {target} HTTP/1.1\r\nHost: {address}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let client = Client::connect(address);
                begin.wait();
                upload(client, &head.replace("INDEX", &format!("{index}")), body)
            };
            let builder = std::thread::Builder::new().stack_size(256 << 10);
            builder.spawn_scoped(scope, work).unwrap()
        };
        let threads: Vec<_> = (0..uploads).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|known| **known == Some(status)).count();
    assert!(0 < count(204) + count(200), "some are stored: {statuses:?}");
    assert!(0 < count(503), "and more were asked for than fit: {statuses:?}");
    let peak = peak_resident(&process);
    println!("{uploads} uploads, peak {} MiB: {} stored", peak >> 20, count(204) + count(200));
    assert!(peak < MOST_RESIDENT, "{} MiB were resident", peak >> 20);
}

#[test]
fn s12_many_large_values_at_once_take_a_bounded_memory() {
    s12_many_at_once("PUT", "/v1/kv/INDEX", &vec![b'v'; 16 << 20]);
}

#[test]
fn s12_many_large_documents_at_once_take_a_bounded_memory() {
    // Each byte of the value is written as six, so that the text cannot be borrowed.
    let value = "\\u0001".repeat((32 << 20) / 6 - 10);
    s12_many_at_once("POST", "/put", format!(r#"{{"key":"a","value":"{value}"}}"#).as_bytes());
}
