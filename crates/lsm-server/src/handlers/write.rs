//! Writes: what each asks for, what must hold for it, and who waits for it.
//!
//! A request becomes a [`Planned`] write first: all that can be wrong with it is found there. A
//! small write under no condition is queued in place, and its task waits for the store; the others
//! go to the [pool](crate::pool), because a condition may have to be read from the disk.

use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{ETAG, HeaderName, HeaderValue};
use lsm_engine::{Condition, Db, Error, ErrorKind, Read as _, Seq, WriteBatch, WriteOptions};

use super::slowdown::Slowdown;
use super::{batch, legacy, ok_json, value, with_seq};
use crate::answer::{self, Answer};
use crate::body::RequestBody;
use crate::config::DurabilityLevel;
use crate::engine_options;
use crate::etag::{Preconditions, etag};
use crate::in_flight::Share;
use crate::pool::stalled;
use crate::route::Route;
use crate::service::Call;
use crate::status::problem_of;
use crate::target::Query;
use crate::wire::{Code, Problem};

/// How often a write with a list of tags is tried again when other writes come between.
const MOST_TRIES: u32 = 64;

/// A larger body is read on the pool: parsing it would keep the runtime's thread for too long.
const MAX_IN_PLACE: usize = 64 << 10;

const X_LSM_DURABILITY: HeaderName = HeaderName::from_static("x-lsm-durability");

/// A write that a request asks for, with nothing wrong in it.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) batch: WriteBatch,
    pub(super) terms: Terms,
    /// The key, where there is one: a problem names it.
    pub(super) key: Option<Vec<u8>>,
    pub(super) demand: Demand,
    pub(super) success: Success,
}

/// What must hold for a write to happen.
#[derive(Debug)]
pub(super) enum Demand {
    Nothing,
    One(Condition),
    /// The key exists; if not, it is not found.
    Existing,
    /// Lists of tags, for which the key is read first.
    Tags(Preconditions),
}

/// How success is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Success {
    /// 204, with the entity tag of what was stored.
    Stored,
    /// 204.
    Removed,
    /// JSON, with the entity tag of what was stored.
    OkStored,
    /// JSON.
    OkRemoved,
    /// JSON with the number of operations.
    OkBatch { count: usize },
}

/// Answers the routes that write.
pub(super) async fn answer(mut call: Call) -> Result<Answer, Problem> {
    let app = call.app.clone();
    let deadline = call.stall_deadline();
    let body_len = call.body.as_ref().map_or(0, RequestBody::len);
    if MAX_IN_PLACE < body_len {
        let (planned, share, db) = app.pool.run_reading(deadline, move || read(call)).await??;
        let commit = move || {
            let _held = share;
            planned.commit(&db)
        };
        return app.pool.run_write(deadline, commit).await?;
    }
    let planned = plan(&mut call)?;
    if !matches!(planned.demand, Demand::Nothing) {
        return app.pool.run_write(deadline, move || planned.commit(call.db()?)).await?;
    }
    let Planned { batch, terms, key, success, .. } = planned;
    let db = call.db()?;
    let slowdown = Slowdown::begin(db);
    let written = db.write_async(batch, &terms.options(None)).await;
    let seq = written.map_err(|error| named(&error, key.as_deref()))?;
    let mut answer = terms.sign(success.answer(seq), seq);
    slowdown.tell(&mut answer, db, terms.came);
    Ok(answer)
}

/// Reads a large body, and drops it before the write waits: the batch has its bytes now, and goes on
/// taking its share of the memory.
fn read(mut call: Call) -> Result<(Planned, Option<Share>, Db), Problem> {
    let planned = plan(&mut call)?;
    let db = call.db()?.clone();
    Ok((planned, call.body.take().map(|body| body.share), db))
}

fn plan(call: &mut Call) -> Result<Planned, Problem> {
    match call.route {
        Route::Put => legacy::put(call),
        Route::Delete => legacy::delete(call),
        Route::Batch => batch::batch(call),
        _ => value::write(call),
    }
}

impl Planned {
    /// Writes, and waits for it.
    fn commit(self, db: &Db) -> Result<Answer, Problem> {
        let (terms, success) = (self.terms, self.success);
        if terms.deadline <= Instant::now() {
            // It waited for a thread, and whoever asked was told to expect an answer by now.
            return Err(stalled());
        }
        let slowdown = Slowdown::begin(db);
        let seq = self.write(db)?;
        let mut answer = terms.sign(success.answer(seq), seq);
        slowdown.tell(&mut answer, db, terms.came);
        Ok(answer)
    }

    fn write(self, db: &Db) -> Result<Seq, Problem> {
        let Planned { batch, terms, key, demand, .. } = self;
        let key = key.as_deref();
        let must_exist = matches!(demand, Demand::Existing);
        let condition = match demand {
            Demand::Nothing => None,
            Demand::One(condition) => Some(condition),
            Demand::Existing => Some(Condition::Exists),
            Demand::Tags(preconditions) => {
                let key = key.expect("only a write of one key has entity tags");
                return write_tagged(db, &batch, &terms, key, &preconditions);
            }
        };
        db.write(batch, &terms.options(condition)).map_err(|error| match error.kind() {
            ErrorKind::Conflict if must_exist => not_found(key),
            _ => named(&error, key),
        })
    }
}

/// Writes one key if it has, or has not, one of the tags at the moment of the write.
///
/// The key is read first, and the write then holds on to what was read: if another write comes
/// between, the lists are judged again.
fn write_tagged(
    db: &Db,
    batch: &WriteBatch,
    terms: &Terms,
    key: &[u8],
    preconditions: &Preconditions,
) -> Result<Seq, Problem> {
    let failed = |error: &Error| problem_of(error).with_key(key);
    for _ in 0..MOST_TRIES {
        let entry = db.get_entry(key).map_err(|error| failed(&error))?;
        let current = entry.map(|entry| entry.seq);
        if !preconditions.match_holds(current) || !preconditions.none_match_holds(current) {
            return Err(precondition_failed(key, current));
        }
        let condition = current.map_or(Condition::Absent, Condition::Seq);
        match db.write(batch.clone(), &terms.options(Some(condition))) {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            outcome => return outcome.map_err(|error| failed(&error)),
        }
    }
    let detail = "other writes of this key keep coming between";
    Err(Problem::new(Code::Busy, detail).with_retry_after_ms(1000))
}

impl Demand {
    /// What entity tags ask for.
    pub(super) fn of_tags(preconditions: Preconditions) -> Demand {
        match preconditions.as_single() {
            _ if preconditions.is_empty() => Demand::Nothing,
            Some(condition) => Demand::One(condition),
            None => Demand::Tags(preconditions),
        }
    }
}

impl Success {
    fn answer(self, seq: Seq) -> Answer {
        let mut answer = match self {
            Success::Stored | Success::Removed => answer::empty(StatusCode::NO_CONTENT),
            Success::OkStored | Success::OkRemoved => ok_json(seq, ""),
            Success::OkBatch { count } => ok_json(seq, &format!(",\"count\":{count}")),
        };
        if matches!(self, Success::Stored | Success::OkStored) {
            answer.headers_mut().insert(ETAG, etag(seq));
        }
        answer
    }
}

/// The problem of an error of the store, with the key that it is about.
fn named(error: &Error, key: Option<&[u8]>) -> Problem {
    let problem = problem_of(error);
    match key {
        Some(key) => problem.with_key(key),
        None => problem,
    }
}

fn not_found(key: Option<&[u8]>) -> Problem {
    let problem = Problem::new(Code::NotFound, "there is no such key");
    match key {
        Some(key) => problem.with_key(key),
        None => problem,
    }
}

/// How a write is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    durability: DurabilityLevel,
    /// When the request came.
    came: Instant,
    /// Until when the write may wait for a thread and for the store.
    deadline: Instant,
}

impl Terms {
    /// The terms of a request; takes `durability` out of its query.
    pub(super) fn of(call: &Call, query: &mut Query) -> Result<Terms, Problem> {
        let levels =
            [DurabilityLevel::Sync, DurabilityLevel::Buffered].map(|level| (level.name(), level));
        let durability = query.choice("durability", &levels)?.unwrap_or(call.app.durability);
        Ok(Terms { durability, came: call.came, deadline: call.stall_deadline() })
    }

    /// The engine's options under a condition, at the moment of the write.
    pub(super) fn options(&self, condition: Option<Condition>) -> WriteOptions {
        WriteOptions {
            durability: Some(engine_options::durability(self.durability)),
            stall_timeout: Some(self.deadline.saturating_duration_since(Instant::now())),
            condition,
        }
    }

    /// Says in the answer what was written when, and what it survives.
    fn sign(&self, answer: Answer, seq: Seq) -> Answer {
        let mut answer = with_seq(answer, seq);
        let level = HeaderValue::from_static(self.durability.name());
        answer.headers_mut().insert(X_LSM_DURABILITY, level);
        answer
    }
}

impl Call {
    /// Until when a write of this request may wait.
    fn stall_deadline(&self) -> Instant {
        self.came + self.app.write_stall_timeout
    }
}

/// The answer to a precondition that does not hold.
pub(super) fn precondition_failed(key: &[u8], current: Option<Seq>) -> Problem {
    let detail = match current {
        Some(seq) => format!("the key's sequence is {seq}"),
        None => "the key does not exist".to_owned(),
    };
    Problem::new(Code::PreconditionFailed, detail)
        .with_key(key)
        .with_current_seq(current.map(Seq::get))
}

/// Checks that a value is not larger than this server takes.
pub(super) fn check_value(call: &Call, value: &[u8]) -> Result<(), Problem> {
    let limit = call.app.max_value_bytes;
    if limit < value.len() as u64 {
        let detail = format!("the limit is {limit} bytes (--max-value-bytes)");
        return Err(Problem::new(Code::ValueTooLarge, detail));
    }
    Ok(())
}
