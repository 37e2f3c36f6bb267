//! Writers at both doors of one store: over HTTP, and by the library in the server's process.
//!
//! All of them read, and write on a condition; no update is lost, and the sequences tell in which
//! order they happened.

use std::sync::Barrier;
use std::thread;

use lsm_engine::{Condition, Db, Durability, ErrorKind, Read as _, Seq, WriteOptions};

use crate::client::Client;
use crate::harness::TestServer;

/// How many writers there are at each door.
const WRITERS: usize = 3;

/// What the writers do with a key, whichever door they stand at. A write that finds its condition
/// broken answers `None`, else the sequence that it got.
trait Door {
    fn get(&mut self, key: &str) -> Option<(u64, Seq)>;
    fn put(&mut self, key: &str, number: u64, condition: Condition) -> Option<Seq>;
    fn delete_existing(&mut self, key: &str) -> Option<Seq>;
}

struct Library {
    db: Db,
    durability: Durability,
}

impl Library {
    fn options(&self, condition: Condition) -> WriteOptions {
        WriteOptions { condition: Some(condition), ..WriteOptions::durability(self.durability) }
    }
}

impl Door for Library {
    fn get(&mut self, key: &str) -> Option<(u64, Seq)> {
        let entry = self.db.get_entry(key).unwrap()?;
        Some((parse(&entry.value), entry.seq))
    }

    fn put(&mut self, key: &str, number: u64, condition: Condition) -> Option<Seq> {
        unless_conflict(self.db.put_with(key, number.to_string(), &self.options(condition)))
    }

    fn delete_existing(&mut self, key: &str) -> Option<Seq> {
        unless_conflict(self.db.delete_with(key, &self.options(Condition::Exists)))
    }
}

fn unless_conflict(outcome: lsm_engine::Result<Seq>) -> Option<Seq> {
    match outcome {
        Ok(seq) => Some(seq),
        Err(error) if error.kind() == ErrorKind::Conflict => None,
        Err(error) => panic!("{error}"),
    }
}

struct Http<'a> {
    server: &'a TestServer,
    client: Client,
    durability: &'static str,
}

impl Http<'_> {
    fn write(&mut self, method: &str, key: &str, tags: (&str, &str), body: &str) -> Option<Seq> {
        let target = format!("/v1/kv/{key}?durability={}", self.durability);
        let body = body.as_bytes();
        let reply = self.server.request_on(&mut self.client, method, &target, &[tags], body);
        match reply.status {
            204 => Some(Seq::new(reply.header("x-lsm-seq").unwrap().parse().unwrap())),
            412 => None,
            _ => panic!("{reply:?}"),
        }
    }
}

impl Door for Http<'_> {
    fn get(&mut self, key: &str) -> Option<(u64, Seq)> {
        let target = format!("/v1/kv/{key}");
        let reply = self.server.request_on(&mut self.client, "GET", &target, &[], b"");
        let tag = match reply.status {
            200 => reply.header("etag").unwrap().trim_matches('"').parse().unwrap(),
            _ => return None,
        };
        Some((parse(&reply.body), Seq::new(tag)))
    }

    fn put(&mut self, key: &str, number: u64, condition: Condition) -> Option<Seq> {
        let tag = match condition {
            Condition::Seq(seq) => format!("\"{}\"", seq.get()),
            _ => "*".to_owned(),
        };
        let name = if condition == Condition::Absent { "If-None-Match" } else { "If-Match" };
        self.write("PUT", key, (name, &tag), &number.to_string())
    }

    fn delete_existing(&mut self, key: &str) -> Option<Seq> {
        self.write("DELETE", key, ("If-Match", "*"), "")
    }
}

fn parse(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

/// Lets writers of both doors and of both durabilities do the same at once. Returns what each did.
fn race<R: Send>(server: &TestServer, work: impl Fn(usize, &mut dyn Door) -> R + Sync) -> Vec<R> {
    let (start, work) = (Barrier::new(2 * WRITERS), &work);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2 * WRITERS)
            .map(|writer| {
                let start = &start;
                scope.spawn(move || {
                    let is_sync = writer.is_multiple_of(3);
                    let mut door: Box<dyn Door> = if writer < WRITERS {
                        let durability =
                            if is_sync { Durability::Sync } else { Durability::Buffered };
                        Box::new(Library { db: server.db().clone(), durability })
                    } else {
                        let durability = if is_sync { "sync" } else { "buffered" };
                        Box::new(Http { server, client: server.connect(), durability })
                    };
                    start.wait();
                    work(writer, &mut *door)
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    })
}

#[test]
fn no_increment_is_lost_between_library_and_http() {
    const INCREMENTS: u64 = 50;
    let server = TestServer::start();
    let increments = race(&server, |_, door| {
        let increment = |_| loop {
            let (number, condition) = match door.get("counter") {
                Some((number, seq)) => (number + 1, Condition::Seq(seq)),
                None => (1, Condition::Absent),
            };
            if let Some(seq) = door.put("counter", number, condition) {
                return (seq, number);
            }
        };
        (0..INCREMENTS).map(increment).collect::<Vec<_>>()
    });
    let mut increments = increments.concat();
    increments.sort();
    let numbers: Vec<u64> = increments.iter().map(|&(_, number)| number).collect();
    let all = INCREMENTS * 2 * WRITERS as u64;
    assert_eq!(numbers, (1..=all).collect::<Vec<_>>(), "in the order of their sequences");
    let (last, _) = increments[increments.len() - 1];
    let entry = server.db().get_entry("counter").unwrap().unwrap();
    assert_eq!((parse(&entry.value), entry.seq), (all, last));
    assert_eq!(server.get("/v1/kv/counter").body, all.to_string().as_bytes());
    assert_eq!(last, Seq::new(all), "a broken condition takes no sequence");
}

#[test]
fn a_key_is_created_once_and_deleted_once() {
    const KEYS: usize = 60;
    let server = TestServer::start();
    let keys = || (0..KEYS).map(|n| format!("key-{n}"));
    let created = race(&server, |writer, door| {
        let create = |key: String| door.put(&key, writer as u64, Condition::Absent).is_some();
        keys().map(create).collect::<Vec<_>>()
    });
    for (n, key) in keys().enumerate() {
        let winners: Vec<usize> = (0..2 * WRITERS).filter(|&writer| created[writer][n]).collect();
        let value = server.get(&format!("/v1/kv/{key}")).body;
        assert_eq!(winners, [parse(&value) as usize], "{key}");
    }
    let deleted = race(&server, |_, door| {
        keys().map(|key| usize::from(door.delete_existing(&key).is_some())).collect::<Vec<_>>()
    });
    for (n, key) in keys().enumerate() {
        assert_eq!(deleted.iter().map(|deleted| deleted[n]).sum::<usize>(), 1, "{key}");
        assert!(!server.db().contains(&key).unwrap());
    }
}
