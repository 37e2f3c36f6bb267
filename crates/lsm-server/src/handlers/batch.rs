//! `/v1/batch` and `/v1/mget`: many writes that become visible together, many keys of one view.

use hyper::StatusCode;
use lsm_engine::{Read as _, WriteBatch};

use super::write::{Demand, Planned, Success, Terms, check_value};
use super::{check_key, with_seq};
use crate::answer::{self, Answer};
use crate::etag::Preconditions;
use crate::service::Call;
use crate::status::problem_of;
use crate::wire::json::{Node, Object, read_list};
use crate::wire::{Code, ItemRef, KeyForm, Problem, WireError, key_from, value_from};

/// Operations of one batch.
const MAX_OPERATIONS: usize = 100_000;
/// Keys of one request.
const MAX_KEYS: usize = 10_000;
/// The largest answer to `/v1/mget`, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// What a batch asks for: all of its operations or none.
pub(super) fn batch(call: &mut Call) -> Result<Planned, Problem> {
    let mut query = call.query.clone();
    let terms = Terms::of(call, &mut query)?;
    query.finish()?;
    if !Preconditions::from_headers(&call.headers)?.is_empty() {
        let detail = "a batch takes no If-Match and no If-None-Match";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let body = call.body_bytes();
    let mut batch = WriteBatch::with_capacity(body.len());
    let mut count = 0;
    let object = read_list(&body, "ops", |index, operation| {
        if index == MAX_OPERATIONS {
            let detail = format!("the limit is {MAX_OPERATIONS} operations; send several batches");
            return Err(Problem::new(Code::BatchTooLarge, detail));
        }
        count += 1;
        add(call, &mut batch, index, operation)
    })?;
    object.ok_or_else(|| WireError::bad("ops is missing"))?.finish()?;
    if count == 0 {
        return Err(WireError::bad("ops must have at least one operation").into());
    }
    let success = Success::OkBatch { count };
    Ok(Planned { batch, terms, key: None, demand: Demand::Nothing, success })
}

/// Adds one operation; what is wrong with it is named by its place: `ops[3].key`.
fn add(call: &Call, batch: &mut WriteBatch, index: usize, node: Node<'_>) -> Result<(), Problem> {
    let place = format!("ops[{index}]");
    let operation =
        read_operation(node.into_object(&place)?).map_err(|error| error.inside(&place))?;
    let (key, value) = match &operation {
        Operation::Put(key, value) => (key, Some(value)),
        Operation::Delete(key) => (key, None),
    };
    let named = |field: &str, problem: Problem| Problem {
        detail: format!("{place}.{field}: {}", problem.detail),
        ..problem
    };
    check_key(key).map_err(|problem| named("key", problem))?;
    match value {
        None => batch.delete(key),
        Some(value) => {
            check_value(call, value).map_err(|problem| named("value", problem))?;
            batch.put(key, value);
        }
    }
    Ok(())
}

enum Operation {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

fn read_operation(mut object: Object<'_>) -> Result<Operation, WireError> {
    let word = object.string("op")?.ok_or_else(|| WireError::bad("op is missing"))?;
    let key = key_from(&mut object)?;
    let operation = match &*word {
        "put" => {
            let value = value_from(&mut object)?;
            Operation::Put(key, value.ok_or_else(|| WireError::bad("value is missing"))?)
        }
        "delete" => Operation::Delete(key),
        _ => return Err(WireError::bad("op must be put or delete")),
    };
    object.finish()?;
    Ok(operation)
}

/// Reads many keys as of one moment.
pub(super) fn mget(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let body = call.body_bytes();
    let mut keys = Vec::new();
    let object = read_list(&body, "keys", |index, node| {
        if index == MAX_KEYS {
            return Err(Problem::new(Code::BatchTooLarge, format!("the limit is {MAX_KEYS} keys")));
        }
        keys.push(read_key(index, node)?);
        Ok(())
    })?;
    object.ok_or_else(|| WireError::bad("keys is missing"))?.finish()?;
    let snapshot = call.db()?.snapshot().map_err(|error| problem_of(&error))?;
    let mut out = call.growing(MAX_ANSWER);
    out.put(b"[")?;
    for (index, key) in keys.iter().enumerate() {
        if index != 0 {
            out.put(b",")?;
        }
        match snapshot.get_entry(key).map_err(|error| problem_of(&error))? {
            None => out.put(b"null")?,
            Some(entry) => {
                let (value, seq) = (&entry.value[..], entry.seq.get());
                let item = ItemRef { key, value: Some(value), seq: Some(seq) };
                if !item.fits(MAX_ANSWER.saturating_sub(out.len()), KeyForm::Utf8) {
                    let detail = format!("the answer would be larger than {MAX_ANSWER} bytes");
                    return Err(Problem::new(Code::BodyTooLarge, detail));
                }
                out.put_item(item, KeyForm::Utf8)?;
            }
        }
    }
    out.put(b"]")?;
    Ok(with_seq(answer::json(StatusCode::OK, out.into_bytes()), snapshot.seq()))
}

/// A key of the list: text, or an object with `key` or `key_b64`.
fn read_key(index: usize, node: Node<'_>) -> Result<Vec<u8>, Problem> {
    let place = format!("keys[{index}]");
    let key = match node {
        Node::String(text) => text.into_owned().into_bytes(),
        Node::Object(mut object) => key_from(&mut object)
            .and_then(|key| object.finish().map(|()| key))
            .map_err(|error| error.inside(&place))?,
        _ => return Err(WireError::bad(format!("{place} must be a string or an object")).into()),
    };
    check_key(&key)
        .map_err(|problem| Problem { detail: format!("{place}: {}", problem.detail), ..problem })?;
    Ok(key)
}
