//! `/put`, `/get/{key}` and `/delete/{key}`: the simple door, JSON in and out.

use hyper::StatusCode;
use lsm_engine::{Condition, Seq, WriteBatch};

use super::value::{self, find};
use super::write::{Demand, Planned, Success, Terms, check_value};
use super::{check_key, json_object, names_in_accept};
use crate::answer::{self, Answer};
use crate::etag::Preconditions;
use crate::service::Call;
use crate::wire::{Code, ItemRef, KeyForm, Problem, key_from, value_from};

/// What a put asks for.
pub(super) fn put(call: &mut Call) -> Result<Planned, Problem> {
    let mut query = call.query.clone();
    let terms = Terms::of(call, &mut query)?;
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
    check_value(call, &value)?;
    let demand = match (if_seq, if_absent) {
        (None, false) => Demand::Nothing,
        (None, true) => Demand::One(Condition::Absent),
        (Some(seq), false) => Demand::One(Condition::Seq(sequence(seq)?)),
        (Some(_), true) => {
            return Err(Problem::new(Code::BadJson, "if_seq and if_absent exclude each other"));
        }
    };
    let mut batch = WriteBatch::with_capacity(key.len() + value.len() + 16);
    batch.put(&key, &value);
    Ok(Planned { batch, terms, key: Some(key), demand, success: Success::OkStored })
}

/// Reads one key.
pub(super) fn get(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let found = find(&mut call)?;
    if found.is_unchanged {
        return Ok(found.tags().put_on(answer::empty(StatusCode::NOT_MODIFIED)));
    }
    if names_in_accept(&call.headers, "application/octet-stream")
        && !names_in_accept(&call.headers, "application/json")
    {
        return value::raw(&call, found);
    }
    let (value, seq) = (&found.entry.value[..], found.entry.seq.get());
    let mut body = call.growing(0);
    body.put_item(ItemRef { key: &found.key, value: Some(value), seq: Some(seq) }, KeyForm::Utf8)?;
    Ok(found.tags().put_on(answer::json(StatusCode::OK, body.into_bytes())))
}

/// What a delete asks for: the key's removal, whether it exists or not.
pub(super) fn delete(call: &Call) -> Result<Planned, Problem> {
    let key = call.path_key()?;
    let mut query = call.query.clone();
    let terms = Terms::of(call, &mut query)?;
    let must_exist = query.flag("must_exist")?;
    query.finish()?;
    let preconditions = Preconditions::from_headers(&call.headers)?;
    if must_exist && !preconditions.is_empty() {
        let detail = "must_exist and entity tags exclude each other";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let demand = if must_exist { Demand::Existing } else { Demand::of_tags(preconditions) };
    let mut batch = WriteBatch::new();
    batch.delete(&key);
    Ok(Planned { batch, terms, key: Some(key), demand, success: Success::OkRemoved })
}

fn sequence(number: u64) -> Result<Seq, Problem> {
    Seq::try_new(number)
        .ok_or_else(|| Problem::new(Code::BadJson, "if_seq is larger than every sequence"))
}
