//! `/v1/tree`: memtables, levels, tables and running compactions, as JSON.

use hyper::StatusCode;
use lsm_engine::Seq;

use super::with_seq;
use crate::answer::{self, Answer};
use crate::service::Call;
use crate::wire::{Problem, Tree};

/// Answers the shape of the tree.
pub(super) fn answer(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let tree = Tree::of(call.db()?);
    let body = serde_json::to_vec(&tree).expect("plain data without maps has a JSON form");
    Ok(with_seq(answer::json(StatusCode::OK, call.held(body.into())?), Seq::new(tree.seq)))
}
