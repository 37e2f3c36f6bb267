//! What each route does.
//!
//! Calls of the engine may block, on a disk or behind other writers, so every route that makes one
//! runs on the [pool](crate::pool); only what waits for nothing is answered in place. That is most
//! reads of one key, also of a key that does not exist: the engine is asked first whether it can
//! answer without the disk. And it is most writes: the engine queues them, and the task waits for the
//! outcome.

mod admin;
mod batch;
mod health;
mod legacy;
mod metrics;
mod scan;
mod slowdown;
mod stats;
mod tree;
mod value;
mod write;

pub(crate) use value::Seen;

use std::time::Instant;

use bytes::Bytes;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode};
use lsm_engine::{Db, Seq};

use crate::answer::{Answer, X_LSM_SEQ};
use crate::body::RequestBody;
use crate::http_metrics::Operation;
use crate::in_flight::Growing;
use crate::route::Route;
use crate::service::Call;
use crate::target::percent_decode;
use crate::wire::json::{Node, Object};
use crate::wire::{Code, Problem, WireError};

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 65_535;
/// An answer above this takes its share of the memory that all large bodies have together.
const LARGE_ANSWER: usize = 64 << 10;

/// Answers a request that has passed every check, and measures what it wants of the store.
pub(crate) async fn handle(call: Call) -> Result<Answer, Problem> {
    let app = call.app.clone();
    let is_streamed = scan::wants_lines(&call.headers);
    let operation = Operation::of(call.route, &call.method, is_streamed);
    let started = Instant::now();
    let outcome = answer(call).await;
    if let Some(operation) = operation {
        app.metrics.operation(operation, started.elapsed());
    }
    outcome
}

async fn answer(mut call: Call) -> Result<Answer, Problem> {
    let app = call.app.clone();
    let is_resident =
        matches!(call.route, Route::Value | Route::Get) && value::find_resident(&mut call);
    Ok(match call.route {
        Route::Healthz | Route::Readyz | Route::Version => health::answer(call)?,
        Route::Job => admin::job(call)?,
        Route::Flush | Route::Compact | Route::Verify => admin::begin(call)?,
        Route::Scan if scan::wants_lines(&call.headers) => scan::lines(call)?,
        Route::Value | Route::Get if is_resident => blocking(call)?,
        Route::Put | Route::Delete | Route::Batch => write::answer(call).await?,
        Route::Value if call.method == Method::PUT || call.method == Method::DELETE => {
            write::answer(call).await?
        }
        _ => app.pool.run(move || blocking(call)).await??,
    })
}

/// The routes that read, and wait for what they read.
fn blocking(call: Call) -> Result<Answer, Problem> {
    match call.route {
        Route::Get => legacy::get(call),
        Route::Value => value::read(call),
        Route::Scan => scan::page(call),
        Route::Mget => batch::mget(call),
        Route::Stats => stats::answer(call),
        Route::Tree => tree::answer(call),
        Route::Metrics => metrics::answer(call),
        Route::Put
        | Route::Delete
        | Route::Batch
        | Route::Flush
        | Route::Compact
        | Route::Verify
        | Route::Job
        | Route::Healthz
        | Route::Readyz
        | Route::Version => unreachable!("these routes are answered elsewhere"),
    }
}

impl Call {
    /// The store. A route that needs one is not reached before it is open.
    fn db(&self) -> Result<&Db, Problem> {
        self.app.db().ok_or_else(|| Problem::new(Code::Starting, "the store is being recovered"))
    }

    /// The key that is the rest of the path.
    fn path_key(&self) -> Result<Vec<u8>, Problem> {
        let key = percent_decode(&self.rest)?;
        check_key(&key)?;
        Ok(key)
    }

    /// An answer that grows, of about so many bytes at most.
    fn growing(&self, usual_most: usize) -> Growing {
        Growing::new(self.app.in_flight.share(), LARGE_ANSWER, usual_most)
    }

    /// Bytes that were made already, with their share of the memory if they are many.
    fn held(&self, bytes: Bytes) -> Result<Bytes, Problem> {
        if bytes.len() <= LARGE_ANSWER {
            return Ok(bytes);
        }
        let mut share = self.app.in_flight.share();
        share.cover(bytes.len())?;
        Ok(share.hold(bytes))
    }

    /// The bytes of the body.
    fn body_bytes(&mut self) -> Bytes {
        self.body.as_mut().map(RequestBody::bytes).unwrap_or_default()
    }
}

/// Checks that a key has a length that keys may have.
fn check_key(key: &[u8]) -> Result<(), Problem> {
    if key.is_empty() {
        let detail = format!("the key is empty; keys have 1 to {MAX_KEY_BYTES} bytes");
        return Err(Problem::new(Code::EmptyKey, detail));
    }
    if MAX_KEY_BYTES < key.len() {
        let detail = format!("the limit is {MAX_KEY_BYTES} bytes");
        return Err(Problem::new(Code::KeyTooLarge, detail));
    }
    Ok(())
}

/// Whether `Accept` names a content type; ranges like `*/*` name none.
fn names_in_accept(headers: &HeaderMap, content_type: &str) -> bool {
    let lists = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|kind| {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(content_type)
    })
}

/// Reads a body that must be a JSON object.
fn json_object(body: &[u8]) -> Result<Object<'_>, Problem> {
    Ok(Node::parse_object(body)?)
}

/// Adds the sequence that a read saw, or that a write was given.
fn with_seq(mut answer: Answer, seq: Seq) -> Answer {
    answer.headers_mut().insert(X_LSM_SEQ, HeaderValue::from(seq.get()));
    answer
}

/// `{"ok":true,"seq":s}`, with more fields if there are any.
fn ok_json(seq: Seq, more: &str) -> Answer {
    let body = format!("{{\"ok\":true,\"seq\":{seq}{more}}}");
    crate::answer::json(StatusCode::OK, body.into_bytes())
}

impl From<WireError> for Problem {
    fn from(error: WireError) -> Problem {
        Problem::new(error.code, error.detail)
    }
}
