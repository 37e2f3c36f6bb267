//! What all writes have in common: durability, preconditions, and how long they may wait.

use hyper::header::{HeaderName, HeaderValue};
use lsm_engine::{Condition, Error, ErrorKind, Read as _, Seq, WriteOptions};

use super::with_seq;
use crate::answer::Answer;
use crate::config::DurabilityLevel;
use crate::engine_options;
use crate::etag::Preconditions;
use crate::service::Call;
use crate::status::problem_of;
use crate::target::Query;
use crate::wire::{Code, Problem};

/// How often a write with a list of tags is tried again when other writes come between.
const MOST_TRIES: u32 = 64;

const X_LSM_DURABILITY: HeaderName = HeaderName::from_static("x-lsm-durability");

/// How a write is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    durability: DurabilityLevel,
    options: WriteOptions,
}

impl Terms {
    /// The terms of a request; takes `durability` out of its query.
    pub(super) fn of(call: &Call, query: &mut Query) -> Result<Terms, Problem> {
        let levels =
            [DurabilityLevel::Sync, DurabilityLevel::Buffered].map(|level| (level.name(), level));
        let durability = query.choice("durability", &levels)?.unwrap_or(call.app.durability);
        let options = WriteOptions {
            durability: Some(engine_options::durability(durability)),
            stall_timeout: Some(call.app.write_stall_timeout),
            ..WriteOptions::default()
        };
        Ok(Terms { durability, options })
    }

    /// The engine's options under a condition.
    pub(super) fn options(&self, condition: Option<Condition>) -> WriteOptions {
        WriteOptions { condition, ..self.options }
    }

    /// Says in the answer what was written when, and what it survives.
    pub(super) fn sign(&self, answer: Answer, seq: Seq) -> Answer {
        let mut answer = with_seq(answer, seq);
        let level = HeaderValue::from_static(self.durability.name());
        answer.headers_mut().insert(X_LSM_DURABILITY, level);
        answer
    }
}

/// Writes one key if the preconditions hold at the moment of the write.
///
/// One tag is judged by the engine. For a list the key is read first, and the write then holds on to
/// what was read: if another write comes between, the list is judged again.
pub(super) fn write_if(
    call: &Call,
    key: &[u8],
    preconditions: &Preconditions,
    write: impl Fn(Option<Condition>) -> Result<Seq, Error>,
) -> Result<Seq, Problem> {
    let failed = |error: &Error| problem_of(error).with_key(key);
    if preconditions.is_empty() {
        return write(None).map_err(|error| failed(&error));
    }
    if let Some(condition) = preconditions.as_single() {
        return write(Some(condition)).map_err(|error| failed(&error));
    }
    for _ in 0..MOST_TRIES {
        let entry = call.db()?.get_entry(key).map_err(|error| failed(&error))?;
        let current = entry.map(|entry| entry.seq);
        if !preconditions.match_holds(current) || !preconditions.none_match_holds(current) {
            return Err(precondition_failed(key, current));
        }
        match write(Some(current.map_or(Condition::Absent, Condition::Seq))) {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            outcome => return outcome.map_err(|error| failed(&error)),
        }
    }
    let detail = "other writes of this key keep coming between";
    Err(Problem::new(Code::Busy, detail).with_retry_after_ms(1000))
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
        return Err(Problem::new(Code::ValueTooLarge, format!("the limit is {limit} bytes")));
    }
    Ok(())
}
