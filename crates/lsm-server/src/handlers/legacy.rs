//! `/put`, `/get/{key}` and `/delete/{key}`: the simple door, JSON in and out.

use hyper::StatusCode;
use hyper::header::ETAG;
use lsm_engine::{Condition, ErrorKind, Seq};

use super::value::find;
use super::write::{Terms, check_value, write_if};
use super::{check_key, json_object, ok_json};
use crate::answer::{self, Answer};
use crate::etag::{Preconditions, etag};
use crate::service::Call;
use crate::status::problem_of;
use crate::wire::{Code, ItemRef, KeyForm, Problem, key_from, value_from};

/// Stores one key.
pub(super) fn put(mut call: Call) -> Result<Answer, Problem> {
    let mut query = std::mem::take(&mut call.query);
    let terms = Terms::of(&call, &mut query)?;
    query.finish()?;
    if !Preconditions::from_headers(&call.headers)?.is_empty() {
        let detail = "this route takes if_seq and if_absent instead of If-Match and If-None-Match";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let body = call.body_bytes();
    let mut object = json_object(&body)?;
    let key = key_from(&mut object)?;
    let value =
        value_from(&mut object)?.ok_or_else(|| Problem::new(Code::BadJson, "value is missing"))?;
    let if_seq = object.uint("if_seq")?;
    let if_absent = object.boolean("if_absent")?.unwrap_or(false);
    object.finish()?;
    check_key(&key)?;
    check_value(&call, &value)?;
    let condition = match (if_seq, if_absent) {
        (None, false) => None,
        (None, true) => Some(Condition::Absent),
        (Some(seq), false) => Some(Condition::Seq(sequence(seq)?)),
        (Some(_), true) => {
            return Err(Problem::new(Code::BadJson, "if_seq and if_absent exclude each other"));
        }
    };
    let seq = call
        .db()?
        .put_with(&key, &value, &terms.options(condition))
        .map_err(|error| problem_of(&error).with_key(&key))?;
    let mut answer = ok_json(seq, "");
    answer.headers_mut().insert(ETAG, etag(seq));
    Ok(terms.sign(answer, seq))
}

/// Reads one key.
pub(super) fn get(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let found = find(&mut call)?;
    if found.is_unchanged {
        return Ok(found.tagged(answer::empty(StatusCode::NOT_MODIFIED)));
    }
    let mut body = Vec::new();
    let (value, seq) = (&found.entry.value[..], found.entry.seq.get());
    ItemRef { key: &found.key, value: Some(value), seq: Some(seq) }.write(&mut body, KeyForm::Utf8);
    Ok(found.tagged(answer::json(StatusCode::OK, body)))
}

/// Removes one key, whether it exists or not.
pub(super) fn delete(mut call: Call) -> Result<Answer, Problem> {
    let key = call.path_key()?;
    let mut query = std::mem::take(&mut call.query);
    let terms = Terms::of(&call, &mut query)?;
    let must_exist = query.flag("must_exist")?;
    query.finish()?;
    let preconditions = Preconditions::from_headers(&call.headers)?;
    if must_exist && !preconditions.is_empty() {
        let detail = "must_exist and entity tags exclude each other";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let db = call.db()?;
    let seq = if must_exist {
        db.delete_with(&key, &terms.options(Some(Condition::Exists))).map_err(|error| {
            match error.kind() {
                ErrorKind::Conflict => Problem::new(Code::NotFound, "there is no such key"),
                _ => problem_of(&error),
            }
            .with_key(&key)
        })?
    } else {
        write_if(&call, &key, &preconditions, |condition| {
            db.delete_with(&key, &terms.options(condition))
        })?
    };
    Ok(terms.sign(ok_json(seq, ""), seq))
}

fn sequence(number: u64) -> Result<Seq, Problem> {
    Seq::try_new(number)
        .ok_or_else(|| Problem::new(Code::BadJson, "if_seq is larger than every sequence"))
}
