//! An HTTP client that knows the documented routes and nothing of the server's code.

use serde_json::{Value, json};
use ureq::Agent;

use crate::data::{Batch, Op};
use crate::oracle;
use crate::process::PATIENCE;

/// What a write promises when it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Durability {
    Sync,
    Buffered,
}

/// Connections to one server.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
}

/// The server went away before it answered.
#[derive(Debug)]
pub(crate) struct Gone;

impl Client {
    pub(crate) fn new(url: &str) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build();
        Client { agent: config.new_agent(), url: url.into() }
    }

    /// Writes a batch. Returns when it is acknowledged.
    ///
    /// # Panics
    /// If the server refuses it.
    pub(crate) fn batch(&self, batch: &Batch, durability: Durability) -> Result<(), Gone> {
        let ops: Vec<Value> = batch.iter().map(operation).collect();
        let name = match durability {
            Durability::Sync => "sync",
            Durability::Buffered => "buffered",
        };
        let answer = self.post(&format!("/v1/batch?durability={name}"), &json!({ "ops": ops }))?;
        assert_eq!(answer["ok"], true, "{answer}");
        assert_eq!(answer["count"], batch.len(), "{answer}");
        Ok(())
    }

    /// The items of these keys, without their sequences; null for those that are not there.
    pub(crate) fn mget<'a>(&self, keys: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Value> {
        let key = |key: &'a Vec<u8>| match std::str::from_utf8(key) {
            Ok(text) => json!(text),
            Err(_) => oracle::key_field(key),
        };
        let keys: Vec<Value> = keys.map(key).collect();
        let answer = self.post("/v1/mget", &json!({ "keys": keys })).expect("the server answers");
        let items = answer.as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        items.into_iter().map(without_seq).collect()
    }

    /// The value of a key, by the door for bytes.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let answer = self.agent.get(format!("{}/v1/kv/{}", self.url, percent(key))).call();
        let mut answer = answer.expect("the server answers");
        let body = answer.body_mut().read_to_vec().expect("the server answers");
        match answer.status().as_u16() {
            200 => Some(body),
            404 => None,
            status => panic!("{status}: {}", body.escape_ascii()),
        }
    }

    /// Deletes a key, by the door for bytes.
    pub(crate) fn delete(&self, key: &[u8]) {
        let answer = self.agent.delete(format!("{}/v1/kv/{}", self.url, percent(key))).call();
        assert_eq!(answer.expect("the server answers").status(), 204);
    }

    /// Every item whose key begins with `prefix`, without the sequences, by pages of `limit`.
    pub(crate) fn pages(&self, prefix: &[u8], limit: usize) -> Vec<Value> {
        let mut items = Vec::new();
        let first = format!("{}/v1/kv?prefix={}&limit={limit}", self.url, percent(prefix));
        let mut url = first.clone();
        loop {
            let mut answer = self.agent.get(&url).call().expect("the server answers");
            let body = answer.body_mut().read_to_vec().expect("the server answers");
            let page: Value = serde_json::from_slice(&body).expect("a page is JSON");
            let found = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
            assert!(found.len() <= limit);
            items.extend(found.iter().cloned().map(without_seq));
            match page["next"].as_str() {
                Some(next) => url = format!("{first}&cursor={next}"),
                None => break,
            }
        }
        items
    }

    /// Posts JSON. Returns the answer's JSON.
    fn post(&self, path: &str, json: &Value) -> Result<Value, Gone> {
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request.header("content-type", "application/json");
        let mut answer = request.send(json.to_string()).map_err(|_| Gone)?;
        let body =
            answer.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|_| Gone)?;
        assert_eq!(answer.status(), 200, "{}", body.escape_ascii());
        Ok(serde_json::from_slice(&body).expect("an answer is JSON"))
    }
}

/// An operation of a batch, as documented.
fn operation(op: &Op) -> Value {
    let mut json = match &op.value {
        Some(value) => oracle::item(&op.key, value),
        None => oracle::key_field(&op.key),
    };
    json["op"] = json!(if op.value.is_some() { "put" } else { "delete" });
    json
}

fn without_seq(mut item: Value) -> Value {
    if let Some(fields) = item.as_object_mut() {
        assert!(fields.remove("seq").is_some_and(|seq| seq.is_u64()), "an item without a sequence");
    }
    item
}

fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}
