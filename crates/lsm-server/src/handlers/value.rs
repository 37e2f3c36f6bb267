//! `/v1/kv/{key}`: one key, its value as raw bytes, its sequence as an entity tag.

use bytes::Bytes;
use hyper::header::{ETAG, HeaderValue};
use hyper::{Method, StatusCode};
use lsm_engine::{Db, Entry, Error, Read as _, Resident, Seq, WriteBatch};

use super::with_seq;
use super::write::{Demand, Planned, Success, Terms, precondition_failed};
use crate::answer::{self, Answer};
use crate::etag::{Preconditions, etag};
use crate::service::Call;
use crate::status::problem_of;
use crate::wire::{Code, Problem};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Answers GET and HEAD.
pub(super) fn read(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let found = find(&mut call)?;
    if found.is_unchanged {
        return Ok(found.tagged(answer::empty(StatusCode::NOT_MODIFIED)));
    }
    // A large value is sent from where the table has it.
    let value = call.held(Bytes::from_owner(found.entry.value.clone()))?;
    Ok(found.tagged(answer::answer(StatusCode::OK, OCTETS, value)))
}

/// What PUT and DELETE ask for.
pub(super) fn write(call: &Call) -> Result<Planned, Problem> {
    let key = call.path_key()?;
    let mut query = call.query.clone();
    let terms = Terms::of(call, &mut query)?;
    query.finish()?;
    let demand = Demand::of_tags(Preconditions::from_headers(&call.headers)?);
    let body = call.body_bytes();
    let mut batch = WriteBatch::with_capacity(key.len() + body.len() + 16);
    let success = if call.method == Method::PUT {
        batch.put(&key, &body);
        Success::Stored
    } else {
        batch.delete(&key);
        Success::Removed
    };
    Ok(Planned { batch, terms, key: Some(key), demand, success })
}

/// A key that exists.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: Vec<u8>,
    pub(super) entry: Entry,
    /// The sequence of the view in which it was found.
    view: Seq,
    /// Whether the client has this version already.
    pub(super) is_unchanged: bool,
}

impl Found {
    /// Adds the headers that name the version.
    pub(super) fn tagged(&self, mut answer: Answer) -> Answer {
        answer.headers_mut().insert(ETAG, etag(self.entry.seq));
        with_seq(answer, self.view)
    }
}

/// Reads the key of the path under the request's preconditions.
///
/// A key that does not exist is `not_found`, whatever the preconditions are.
pub(super) fn find(call: &mut Call) -> Result<Found, Problem> {
    let key = call.path_key()?;
    let preconditions = Preconditions::from_headers(&call.headers)?;
    let (entry, view) = match call.resident.take() {
        Some((entry, view)) => (Some(entry), view),
        None => read_key(call.db()?, &key).map_err(|error| problem_of(&error))?,
    };
    let Some(entry) = entry else {
        return Err(Problem::new(Code::NotFound, "there is no such key").with_key(&key));
    };
    if !preconditions.match_holds(Some(entry.seq)) {
        return Err(precondition_failed(&key, Some(entry.seq)));
    }
    let is_unchanged = !preconditions.none_match_holds(Some(entry.seq));
    Ok(Found { key, entry, view, is_unchanged })
}

/// Reads the key of the path if the engine finds it without the disk. Returns whether it did; what
/// is wrong with the request is found out by whoever answers it.
pub(super) fn find_resident(call: &mut Call) -> bool {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return false;
    }
    let (Ok(key), Ok(db)) = (call.path_key(), call.db()) else { return false };
    let before = db.seq();
    let Ok(Resident::Known(Some(entry))) = db.try_get_resident(&key) else { return false };
    let view = before.max(entry.seq);
    call.resident = Some((entry, view));
    true
}

/// Reads a key, and a sequence whose view has exactly this answer.
///
/// A read sees everything up to the sequence that was visible before it, and perhaps more. If it
/// finds the key, the view at the larger of that sequence and the key's own has the same version: the
/// key did not change in between. If it does not, only a snapshot can tell.
fn read_key(db: &Db, key: &[u8]) -> Result<(Option<Entry>, Seq), Error> {
    let before = db.seq();
    if let Some(entry) = db.get_entry(key)? {
        let view = before.max(entry.seq);
        return Ok((Some(entry), view));
    }
    let snapshot = db.snapshot()?;
    Ok((snapshot.get_entry(key)?, snapshot.seq()))
}
