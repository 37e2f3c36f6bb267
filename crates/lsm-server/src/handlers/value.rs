//! `/v1/kv/{key}`: one key, its value as raw bytes, its sequence as an entity tag.

use bytes::Bytes;
use hyper::header::{ETAG, HeaderValue};
use hyper::{Method, StatusCode};
use lsm_engine::{Db, Entry, Error, Read as _, Resident, Seq, WriteBatch};

use super::write::{Demand, Planned, Success, Terms, precondition_failed};
use super::{LARGE_ANSWER, with_seq};
use crate::answer::{self, Answer};
use crate::etag::{Preconditions, etag};
use crate::route::Route;
use crate::service::Call;
use crate::status::problem_of;
use crate::wire::{Code, Problem};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Answers GET and HEAD.
pub(super) fn read(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let found = find(&mut call)?;
    if found.is_unchanged {
        return Ok(found.tags().put_on(answer::empty(StatusCode::NOT_MODIFIED)));
    }
    raw(&call, found)
}

/// Answers the value itself.
pub(super) fn raw(call: &Call, found: Found) -> Result<Answer, Problem> {
    let tags = found.tags();
    // A large value is sent from where it is.
    let value = call.held(Bytes::from_owner(found.entry.value))?;
    Ok(tags.put_on(answer::answer(StatusCode::OK, OCTETS, value)))
}

/// What PUT and DELETE ask for.
pub(super) fn write(call: &mut Call) -> Result<Planned, Problem> {
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

/// The headers that name a version and the view in which it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tags {
    version: Seq,
    view: Seq,
}

impl Found {
    pub(super) fn tags(&self) -> Tags {
        Tags { version: self.entry.seq, view: self.view }
    }
}

impl Tags {
    pub(super) fn put_on(self, mut answer: Answer) -> Answer {
        answer.headers_mut().insert(ETAG, etag(self.version));
        with_seq(answer, self.view)
    }
}

/// Reads the key of the path under the request's preconditions.
///
/// A key that does not exist is `not_found`, whatever the preconditions are.
pub(super) fn find(call: &mut Call) -> Result<Found, Problem> {
    let seen = match call.seen.take() {
        Some(seen) => seen,
        None => read_key(call)?,
    };
    let preconditions = Preconditions::from_headers(&call.headers)?;
    let Seen { key, entry, view } = seen;
    let Some(entry) = entry else {
        let problem = Problem::new(Code::NotFound, "there is no such key");
        return Err(problem.with_key(&key).with_view(view.get()));
    };
    if !preconditions.match_holds(Some(entry.seq)) {
        return Err(precondition_failed(&key, Some(entry.seq)).with_view(view.get()));
    }
    let is_unchanged = !preconditions.none_match_holds(Some(entry.seq));
    Ok(Found { key, entry, view, is_unchanged })
}

/// What a read saw: a key, what it has, and a sequence whose view has exactly this.
#[derive(Debug)]
pub(crate) struct Seen {
    key: Vec<u8>,
    entry: Option<Entry>,
    view: Seq,
}

/// Reads the key of the path if the engine can tell without the disk. Returns whether it did; what is
/// wrong with the request is found out by whoever answers it.
///
/// A read sees everything up to the sequence that was visible before it, and perhaps more. If it
/// finds the key, the view at the larger of that sequence and the key's own has the same version: the
/// key did not change in between. If it does not, the view is known only if nothing was written
/// meanwhile.
pub(super) fn find_resident(call: &mut Call) -> bool {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return false;
    }
    let (Ok(key), Ok(db)) = (call.path_key(), call.db()) else { return false };
    let before = db.seq();
    let Ok(Resident::Known(entry)) = db.try_get_resident(&key) else { return false };
    let view = match &entry {
        Some(entry) => before.max(entry.seq),
        None if db.seq() == before => before,
        None => return false,
    };
    // What is long to print is not printed on the runtime's thread.
    let is_long = entry.as_ref().is_some_and(|entry| LARGE_ANSWER < entry.value.len());
    call.seen = Some(Seen { key, entry, view });
    !(is_long && call.route == Route::Get)
}

/// Reads the key of the path from a snapshot, which knows its view.
fn read_key(call: &Call) -> Result<Seen, Problem> {
    let key = call.path_key()?;
    let read = |db: &Db| {
        let snapshot = db.snapshot()?;
        Ok((snapshot.get_entry(&key)?, snapshot.seq()))
    };
    let (entry, view) = read(call.db()?).map_err(|error: Error| problem_of(&error))?;
    Ok(Seen { key, entry, view })
}
