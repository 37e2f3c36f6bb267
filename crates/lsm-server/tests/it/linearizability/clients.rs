//! Clients that ask for the same few keys at once, by every door, and write down what they are told.
//!
//! A key of the history is a key of the store, but for the last: that is two keys, which are
//! written by batches alone, read together, and always equal.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_base::testing::SplitMix64;
use serde_json::{Value, json};

use super::history::History;
use super::register::{Answer, Ask, Demand};
use super::server::Server;
use crate::client::{Client as Connection, Reply};

/// How many keys a history has, the pair among them.
pub(super) const KEYS: usize = 4;

/// The key that is a pair.
const PAIR: usize = KEYS - 1;

/// What all clients of a history share.
pub(super) struct Setting<'a> {
    pub(super) server: &'a Server<'a>,
    /// What its keys begin with.
    pub(super) name: &'a str,
    pub(super) history: &'a Mutex<History>,
    /// Operations that were begun.
    pub(super) begun: AtomicU64,
    /// The one before which the server is killed, and how many recoveries are cut short then.
    pub(super) kill_at: u64,
    pub(super) cut_short: u64,
    /// The one before which the server is stopped for a while.
    pub(super) pause_at: Option<u64>,
}

/// A client.
pub(super) struct Client<'a> {
    setting: &'a Setting<'a>,
    random: SplitMix64,
    life: u64,
    address: SocketAddr,
    connection: Connection,
    /// The last version of each key that it was told.
    versions: [u64; KEYS],
}

impl<'a> Client<'a> {
    pub(super) fn new(setting: &'a Setting<'a>, seed: u64) -> Client<'a> {
        let (life, address) = setting.server.life_after(0);
        let random = SplitMix64::new(seed);
        let connection = Connection::connect(address);
        Client { setting, random, life, address, connection, versions: [0; KEYS] }
    }

    /// So many operations. The client that comes to the kill carries it out, and so the pause.
    pub(super) fn work(&mut self, operations: u64) {
        for _ in 0..operations {
            let begun = self.setting.begun.fetch_add(1, Ordering::Relaxed);
            if self.setting.pause_at == Some(begun) {
                self.setting.server.pause();
            }
            if begun == self.setting.kill_at {
                self.setting.server.kill();
                self.setting.server.restart(self.setting.cut_short);
            }
            let key = self.random.below(KEYS as u64) as usize;
            match self.random.below(8) {
                0..3 => self.get(key),
                _ if key == PAIR => self.put_pair(),
                3..6 => self.put(key),
                6 => self.delete(key),
                _ => self.batch(key),
            }
        }
    }

    pub(super) fn get(&mut self, key: usize) {
        let operation = self.call(key, Ask::Get);
        let answer = if key == PAIR { self.get_pair() } else { self.get_one(key) };
        self.answer(operation, key, answer);
    }

    fn get_one(&mut self, key: usize) -> Answer {
        let target = format!("/v1/kv/{}", self.name(key));
        let Some(reply) = self.ask("GET", &target, &[], "") else { return Answer::Lost };
        match reply.status {
            200 => Answer::Found {
                value: reply.text().parse().unwrap(),
                version: tag(&reply),
                as_of: seq(&reply),
            },
            404 => Answer::Missing { as_of: seq(&reply) },
            _ => panic!("{reply:?}"),
        }
    }

    fn get_pair(&mut self) -> Answer {
        let body = json!({ "keys": self.pair() }).to_string();
        let Some(reply) = self.post("/v1/mget", &body) else { return Answer::Lost };
        assert_eq!(reply.status, 200, "{reply:?}");
        let items = reply.json();
        if items[0].is_null() && items[1].is_null() {
            return Answer::Missing { as_of: seq(&reply) };
        }
        assert_eq!(items[0]["value"], items[1]["value"], "a batch was torn: {items}");
        let version = items[1]["seq"].as_u64().unwrap();
        assert_eq!(items[0]["seq"], version - 1, "a batch was torn: {items}");
        let value = items[1]["value"].as_str().unwrap().parse().unwrap();
        Answer::Found { value, version, as_of: seq(&reply) }
    }

    fn put(&mut self, key: usize) {
        let demand = self.demand(key);
        let value = self.value();
        let operation = self.call(key, Ask::Put(value, demand));
        let name = self.name(key);
        let by_json = self.random.below(3) == 0;
        let reply = match (by_json, demand) {
            (true, Demand::Nothing | Demand::Absent | Demand::Version(_)) => {
                let mut item = json!({ "key": name, "value": value.to_string() });
                match demand {
                    Demand::Absent => item["if_absent"] = true.into(),
                    Demand::Version(version) => item["if_seq"] = version.into(),
                    _ => {}
                }
                let target = format!("/put{}", self.durability());
                self.post(&target, &item.to_string())
            }
            _ => {
                let target = format!("/v1/kv/{name}{}", self.durability());
                self.ask("PUT", &target, &headers(demand), &value.to_string())
            }
        };
        self.answer(operation, key, written(reply));
    }

    fn delete(&mut self, key: usize) {
        let demand = self.demand(key);
        let operation = self.call(key, Ask::Delete(demand));
        let target = format!("/v1/kv/{}{}", self.name(key), self.durability());
        let reply = self.ask("DELETE", &target, &headers(demand), "");
        self.answer(operation, key, written(reply));
    }

    /// A put of one key and a delete or put of another.
    fn batch(&mut self, key: usize) {
        let other = (key + 1) % PAIR;
        let (value, other_value) = (self.value(), self.value());
        let (other_ask, other_op) = match self.random.below(3) {
            0 => (Ask::Delete(Demand::Nothing), json!({ "op": "delete" })),
            _ => {
                let op = json!({ "op": "put", "value": other_value.to_string() });
                (Ask::Put(other_value, Demand::Nothing), op)
            }
        };
        let mut ops = [json!({ "op": "put", "value": value.to_string() }), other_op];
        ops[0]["key"] = self.name(key).into();
        ops[1]["key"] = self.name(other).into();
        let operations = {
            let mut history = self.setting.history.lock().unwrap();
            [(key, Ask::Put(value, Demand::Nothing)), (other, other_ask)]
                .map(|(key, ask)| history.call(key, ask))
        };
        let last = written(self.post_batch(&ops));
        let first = match last {
            Answer::Written { seq } => Answer::Written { seq: seq - 1 },
            answer => answer,
        };
        self.answer(operations[0], key, first);
        self.answer(operations[1], other, last);
    }

    fn put_pair(&mut self) {
        let value = self.value();
        let operation = self.call(PAIR, Ask::Put(value, Demand::Nothing));
        let value = value.to_string();
        let ops = self.pair().map(|key| json!({ "op": "put", "key": key, "value": value }));
        let reply = self.post_batch(&ops);
        self.answer(operation, PAIR, written(reply));
    }

    fn post_batch(&mut self, ops: &[Value]) -> Option<Reply> {
        let target = format!("/v1/batch{}", self.durability());
        self.post(&target, &json!({ "ops": ops }).to_string())
    }

    fn call(&self, key: usize, ask: Ask) -> usize {
        self.setting.history.lock().unwrap().call(key, ask)
    }

    fn answer(&mut self, operation: usize, key: usize, answer: Answer) {
        self.setting.history.lock().unwrap().answer(operation, answer);
        match answer {
            Answer::Found { version, .. } | Answer::Refused { version: Some(version) } => {
                self.versions[key] = version;
            }
            Answer::Written { seq } => self.versions[key] = seq,
            Answer::Missing { .. } | Answer::Refused { version: None } | Answer::Lost => {}
        }
    }

    fn name(&self, key: usize) -> String {
        format!("{}/{key}", self.setting.name)
    }

    fn pair(&self) -> [String; 2] {
        ["first", "second"].map(|half| format!("{}/{half}", self.setting.name))
    }

    /// A value that no other write of this history has.
    fn value(&mut self) -> u64 {
        self.random.next_u64()
    }

    fn demand(&mut self, key: usize) -> Demand {
        let version = self.versions[key];
        match self.random.below(8) {
            0..3 => Demand::Nothing,
            3 => Demand::Absent,
            4 => Demand::Exists,
            5 => Demand::OtherThan(version),
            _ => Demand::Version(version),
        }
    }

    fn durability(&mut self) -> &'static str {
        match self.random.below(4) {
            0 => "?durability=sync",
            _ => "?durability=buffered",
        }
    }

    fn post(&mut self, target: &str, body: &str) -> Option<Reply> {
        self.ask("POST", target, &[("Content-Type", "application/json".into())], body)
    }

    /// A request; `None` if its answer is lost. Then the next goes to the server's next life.
    fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Option<Reply> {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let sent = self.connection.try_send(text);
        let reply = sent.ok().and_then(|()| self.connection.reply_to(method));
        let reply = reply.filter(|reply| reply.is_whole);
        if reply.is_none() {
            (self.life, self.address) = self.setting.server.life_after(self.life);
            self.connection = Connection::connect(self.address);
        }
        reply
    }
}

fn headers(demand: Demand) -> Vec<(&'static str, String)> {
    match demand {
        Demand::Nothing => vec![],
        Demand::Absent => vec![("If-None-Match", "*".into())],
        Demand::Exists => vec![("If-Match", "*".into())],
        Demand::Version(version) => vec![("If-Match", format!("\"{version}\""))],
        Demand::OtherThan(version) => vec![("If-None-Match", format!("\"{version}\""))],
    }
}

/// The answer to a write.
fn written(reply: Option<Reply>) -> Answer {
    let Some(reply) = reply else { return Answer::Lost };
    match reply.status {
        200 | 204 => Answer::Written { seq: seq(&reply) },
        412 => Answer::Refused { version: reply.json()["current_seq"].as_u64() },
        _ => panic!("{reply:?}"),
    }
}

fn seq(reply: &Reply) -> u64 {
    reply.header("x-lsm-seq").expect("every answer of data has one").parse().unwrap()
}

fn tag(reply: &Reply) -> u64 {
    reply.header("etag").expect("a key has a tag").trim_matches('"').parse().unwrap()
}
