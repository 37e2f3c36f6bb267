//! `/v1/stats`: figures about the store, as JSON.

use hyper::StatusCode;
use lsm_engine::Seq;

use super::health::readiness;
use super::with_seq;
use crate::answer::{self, Answer};
use crate::service::Call;
use crate::wire::{Problem, Stats};

/// Answers the figures.
pub(super) fn answer(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let app = &call.app;
    let (durability, state) = (app.durability.name(), readiness(app));
    let stats = Stats::of(call.db()?, durability, state, app.started.elapsed());
    let body = serde_json::to_vec(&stats).expect("plain data without maps has a JSON form");
    Ok(with_seq(answer::json(StatusCode::OK, call.held(body.into())?), Seq::new(stats.seq)))
}
