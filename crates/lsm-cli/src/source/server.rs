//! A server: the same questions over HTTP.

use std::thread;
use std::time::Duration;

use lsm_server::wire::json::{Node, Object};
use lsm_server::wire::{Item, ItemRef, KeyForm, Line, Problem, Stats, Tree, put_key, to_base64};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde::Deserialize;
use ureq::http::StatusCode;

use super::requests::{Payload, Requests, cut_off, is_absence};
use super::{Direction, Found, Pair, PutCondition, Range, Source, Unfinished, Verified, Wanted};
use crate::exit::{Failure, Outcome};
use crate::progress::Progress;
use crate::records::LineReader;

/// Longest key that is sent in a path, in bytes. A longer one, percent-encoded, may be more than
/// a server takes as a path, and goes into a body.
const LONGEST_PATH_KEY: usize = 1024;
/// A pair of more bytes than this goes alone, as a put: JSON text could make it six times as long.
const LARGEST_JSON_PAIR: usize = 4 << 20;
/// Longest value that is taken from a server, in bytes.
const MAX_VALUE_LEN: u64 = 256 << 20;
/// Longest JSON document that is taken from a server, in bytes.
const MAX_JSON_LEN: u64 = 64 << 20;
/// How often a job is asked how it goes, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// A server.
pub(crate) struct Server {
    requests: Requests,
}

impl Server {
    pub(super) fn new(url: &str, token: Option<String>) -> Outcome<Server> {
        Ok(Server { requests: Requests::new(url, token)? })
    }

    fn get_json(&self, path: &str) -> Outcome<Vec<u8>> {
        self.requests.send("GET", path, &[], Payload::Nothing)?.accepted()?.read(MAX_JSON_LEN)
    }

    fn post_json(&self, path: &str, json: &[u8]) -> Outcome<Vec<u8>> {
        self.requests.send("POST", path, &[], Payload::Json(json))?.accepted()?.read(MAX_JSON_LEN)
    }

    fn write_json(&self, path: &str, json: &[u8]) -> Outcome {
        self.post_json(&durable(path), json).map(drop)
    }

    /// Runs a job to its end. Returns its report.
    fn run_job(&self, kind: &str, progress: &Progress) -> Outcome<Vec<u8>> {
        let begun = self.post_json(&format!("/v1/admin/{kind}"), b"")?;
        let id = Node::parse_object(&begun)?.string("job")?.map(std::borrow::Cow::into_owned);
        let id = id.ok_or_else(|| strange("a job without a number"))?;
        let path = format!("/v1/jobs/{}", encode(id.as_bytes()));
        let mut pause = FIRST_PAUSE;
        loop {
            let json = self.get_json(&path)?;
            let mut job = Node::parse_object(&json)?;
            match job.string("state")?.as_deref() {
                // Another runs, which began before this was asked for.
                Some("waiting") => {}
                Some("running") => {
                    if let Some(part) = part_done(&json) {
                        progress.set_part(part);
                    }
                }
                Some("done") => return Ok(json),
                _ => {
                    let error =
                        job.take("error").ok_or_else(|| strange("a job without a state"))?;
                    let problem = Problem::from_object(error.into_object("error")?)?;
                    return Err(Failure::of_job(kind, problem));
                }
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Reads and checks every byte.
    pub(super) fn verify(&self, progress: &Progress) -> Outcome<Verified> {
        let json = self.run_job("verify", progress)?;
        let mut job = Node::parse_object(&json)?;
        let report = job.take("report").ok_or_else(|| strange("a job without a report"))?;
        let mut report = report.into_object("report")?;
        let count = |report: &mut Object<'_>, name: &str| {
            report.uint(name)?.ok_or_else(|| strange(&format!("a report without {name}")))
        };
        Ok(Verified {
            is_clean: report.boolean("is_clean")?.unwrap_or(false),
            tables: count(&mut report, "tables")?,
            table_bytes: count(&mut report, "table_bytes")?,
            entries: count(&mut report, "entries")?,
            log_records: count(&mut report, "log_records")?,
            damaged_files: count(&mut report, "damaged_files")?,
            damage: Vec::new(),
            tables_only: false,
        })
    }

    fn get_long(&self, key: &[u8]) -> Outcome<Option<Found>> {
        let mut json = b"{\"keys\":[{".to_vec();
        put_key(&mut json, key, KeyForm::Base64);
        json.extend_from_slice(b"}]}");
        let answer = self.post_json("/v1/mget", &json)?;
        match Node::parse(&answer)? {
            Node::Array(items) => match items.into_iter().next() {
                Some(Node::Null) => Ok(None),
                Some(Node::Object(item)) => found(lsm_server::wire::item_from(item)?).map(Some),
                _ => Err(strange("no item")),
            },
            _ => Err(strange("no list of items")),
        }
    }
}

impl Source for Server {
    fn get(&self, key: &[u8]) -> Outcome<Option<Found>> {
        if LONGEST_PATH_KEY < key.len() {
            return self.get_long(key);
        }
        let answer = self.requests.send("GET", &key_path(key), &[], Payload::Nothing)?;
        if answer.status == StatusCode::NOT_FOUND {
            let problem = answer.into_problem()?;
            return if is_absence(&problem) { Ok(None) } else { Err(problem.into()) };
        }
        let answer = answer.accepted()?;
        let tag = answer.header("etag").map(|tag| tag.trim_matches('"'));
        let seq = tag.and_then(|tag| tag.parse().ok()).ok_or_else(|| strange("no ETag"))?;
        Ok(Some(Found { value: answer.read(MAX_VALUE_LEN)?, seq }))
    }

    fn put(&self, key: &[u8], value: &[u8], condition: PutCondition) -> Outcome {
        if LONGEST_PATH_KEY < key.len() {
            return self.write_json("/put", &put_json(key, value, condition));
        }
        let tag = match condition {
            PutCondition::Seq(seq) => format!("\"{}\"", seq.get()),
            _ => "*".into(),
        };
        let headers = match condition {
            PutCondition::Always => vec![],
            PutCondition::Absent => vec![("if-none-match", &tag[..])],
            PutCondition::Seq(_) => vec![("if-match", &tag[..])],
        };
        let payload = Payload::Bytes(value);
        let path = durable(&key_path(key));
        self.requests.send("PUT", &path, &headers, payload)?.accepted().map(drop)
    }

    fn delete(&self, keys: &[Vec<u8>]) -> Outcome {
        let ops = keys.iter().map(|key| Op { key, value: None });
        self.write_json("/v1/batch", &batch_json(ops))
    }

    fn delete_existing(&self, key: &[u8]) -> Outcome<bool> {
        let headers = [("if-match", "*")];
        let path = durable(&key_path(key));
        let answer = self.requests.send("DELETE", &path, &headers, Payload::Nothing)?;
        if answer.status == StatusCode::PRECONDITION_FAILED {
            let problem = answer.into_problem()?;
            return if is_absence(&problem) { Ok(false) } else { Err(problem.into()) };
        }
        answer.accepted().map(|_| true)
    }

    fn write(&self, batch: &[Pair]) -> Outcome {
        if let [pair] = batch
            && LARGEST_JSON_PAIR < pair.len()
        {
            return self.put(&pair.key, &pair.value, PutCondition::Always);
        }
        let ops = batch.iter().map(|pair| Op { key: &pair.key, value: Some(&pair.value) });
        self.write_json("/v1/batch", &batch_json(ops))
    }

    fn scan(
        &self,
        range: &Range,
        what: Wanted,
        each: &mut dyn FnMut(ItemRef<'_>) -> Outcome,
    ) -> Outcome {
        let most = range.limit.unwrap_or(u64::MAX);
        if most == 0 {
            return Ok(());
        }
        let mut count = 0;
        let headers = [("accept", "application/x-ndjson")];
        let path = scan_path(range, what);
        let answer = self.requests.send("GET", &path, &headers, Payload::Nothing)?.accepted()?;
        let mut lines = LineReader::new(answer.into_reader());
        while let Some(line) = lines.next_line().map_err(|error| cut_off(&error))? {
            match Line::parse(line)? {
                Line::Item(item) => {
                    each(item.as_ref())?;
                    count += 1;
                    if count == most {
                        return Ok(());
                    }
                }
                Line::Done { count: told, .. } if told != count => {
                    let message = format!("the answer tells of {told} items and has {count}");
                    return Err(Failure::error(message + ": some are missing"));
                }
                Line::Done { .. } => return Ok(()),
                Line::Failed(problem) => return Err(problem.into()),
            }
        }
        Err(Failure::error("the server's answer was cut off before its last line"))
    }

    fn stats(&self) -> Outcome<Stats> {
        let json = self.get_json("/v1/stats")?;
        serde_json::from_slice(&json).map_err(|error| strange(&error.to_string()))
    }

    fn tree(&self) -> Outcome<Tree> {
        let json = self.get_json("/v1/tree")?;
        serde_json::from_slice(&json).map_err(|error| strange(&error.to_string()))
    }

    fn flush(&self, progress: &Progress) -> Outcome {
        self.run_job("flush", progress).map(drop)
    }

    fn compact(&self, start: Option<&[u8]>, end: Option<&[u8]>, progress: &Progress) -> Outcome {
        if start.is_some() || end.is_some() {
            let message = "a server compacts everything; leave --start and --end out, or use --db";
            return Err(Failure::usage(message));
        }
        self.run_job("compact", progress).map(drop)
    }

    fn close(self: Box<Self>) -> Result<(), Unfinished> {
        Ok(())
    }
}

/// A put whose key is too long for a path. The value is base64, which never takes more than four
/// bytes for three: whatever a server takes as bytes, it takes so too.
fn put_json(key: &[u8], value: &[u8], condition: PutCondition) -> Vec<u8> {
    let mut json = b"{".to_vec();
    put_key(&mut json, key, KeyForm::Base64);
    let value = to_base64(value);
    json.extend_from_slice(format!(",\"value\":\"{value}\",\"encoding\":\"base64\"").as_bytes());
    match condition {
        PutCondition::Always => {}
        PutCondition::Absent => json.extend_from_slice(b",\"if_absent\":true"),
        PutCondition::Seq(seq) => {
            json.extend_from_slice(format!(",\"if_seq\":{}", seq.get()).as_bytes());
        }
    }
    json.push(b'}');
    json
}

/// An operation of a batch; without a value it is a deletion.
struct Op<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

fn batch_json<'a>(ops: impl Iterator<Item = Op<'a>>) -> Vec<u8> {
    let mut json = b"{\"ops\":[".to_vec();
    for (index, op) in ops.enumerate() {
        if index != 0 {
            json.push(b',');
        }
        let name = if op.value.is_some() { "put" } else { "delete" };
        json.extend_from_slice(format!("{{\"op\":\"{name}\",").as_bytes());
        // The item's form without the brace that opens it.
        let begin = json.len();
        ItemRef { key: op.key, value: op.value, seq: None }.write(&mut json, KeyForm::Utf8);
        json.remove(begin);
    }
    json.extend_from_slice(b"]}");
    json
}

/// What part of a job is done; a server that does not know sends none.
fn part_done(json: &[u8]) -> Option<f64> {
    #[derive(Deserialize)]
    struct Job {
        progress: Option<f64>,
    }
    serde_json::from_slice::<Job>(json).ok()?.progress
}

fn found(item: Item) -> Outcome<Found> {
    match (item.value, item.seq) {
        (Some(value), Some(seq)) => Ok(Found { value, seq }),
        _ => Err(strange("an item without value or seq")),
    }
}

fn strange(what: &str) -> Failure {
    Failure::error(format!(
        "the server's answer is not understood ({what}); is this an lsm-server?"
    ))
}

fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, NON_ALPHANUMERIC).to_string()
}

/// The path of a write whose answer means that it is on disk, whatever the server promises by itself.
fn durable(path: &str) -> String {
    format!("{path}?durability=sync")
}

fn key_path(key: &[u8]) -> String {
    format!("/v1/kv/{}", encode(key))
}

fn scan_path(range: &Range, what: Wanted) -> String {
    /// The most that a server's parameter takes; a larger limit ends the reading instead.
    const MAX_LIMIT: u64 = 10_000;
    let mut parameters = Vec::new();
    if !range.start.is_empty() {
        parameters.push(format!("start={}", encode(&range.start)));
    }
    if let Some(end) = &range.end {
        parameters.push(format!("end={}", encode(end)));
    }
    if let Some(limit) = range.limit.filter(|limit| (1..=MAX_LIMIT).contains(limit)) {
        parameters.push(format!("limit={limit}"));
    }
    if range.direction == Direction::Down {
        parameters.push("reverse=true".into());
    }
    if what == Wanted::Keys {
        parameters.push("keys_only=true".into());
    }
    match parameters.is_empty() {
        true => "/v1/kv".into(),
        false => format!("/v1/kv?{}", parameters.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use lsm_engine::Seq;

    use super::*;

    #[test]
    fn every_byte_of_a_key_survives_a_path() {
        assert_eq!(key_path(b"a/b?c%."), "/v1/kv/a%2Fb%3Fc%25%2E");
        assert_eq!(key_path(b"\x00\xff"), "/v1/kv/%00%FF");
    }

    #[test]
    fn a_batch_has_the_form_of_the_server() {
        let ops = [Op { key: b"a", value: Some(b"1") }, Op { key: b"\xff", value: None }];
        assert_eq!(
            String::from_utf8(batch_json(ops.into_iter())).unwrap(),
            r#"{"ops":[{"op":"put","key":"a","value":"1"},{"op":"delete","key_b64":"/w=="}]}"#
        );
    }

    #[test]
    fn a_job_says_what_part_of_it_is_done() {
        let job = |progress| format!("{{\"job\":\"7\",\"progress\":{progress},\"report\":null}}");
        for (progress, part) in [("0", Some(0.0)), ("0.4375", Some(0.4375)), ("null", None)] {
            assert_eq!(part_done(job(progress).as_bytes()), part);
        }
    }

    #[test]
    fn a_put_of_a_long_key_says_its_condition() {
        let json = |condition| String::from_utf8(put_json(b"k", b"\xff", condition)).unwrap();
        let put = r#"{"key_b64":"aw==","value":"/w==","encoding":"base64""#;
        assert_eq!(json(PutCondition::Always), format!("{put}}}"));
        assert_eq!(json(PutCondition::Absent), format!("{put},\"if_absent\":true}}"));
        assert_eq!(json(PutCondition::Seq(Seq::new(7))), format!("{put},\"if_seq\":7}}"));
    }

    #[test]
    fn a_scan_asks_for_no_more_than_it_needs() {
        assert_eq!(scan_path(&Range::default(), Wanted::KeysAndValues), "/v1/kv");
        let range = Range {
            start: b"a b".into(),
            end: Some(b"\xff".into()),
            limit: Some(7),
            direction: Direction::Down,
        };
        assert_eq!(
            scan_path(&range, Wanted::Keys),
            "/v1/kv?start=a%20b&end=%FF&limit=7&reverse=true&keys_only=true"
        );
        let range = Range { limit: Some(10_001), ..Range::default() };
        assert_eq!(scan_path(&range, Wanted::KeysAndValues), "/v1/kv");
    }
}
