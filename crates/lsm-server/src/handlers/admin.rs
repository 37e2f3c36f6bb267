//! `/v1/admin/*` and `/v1/jobs/{id}`: work that outlives its request.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};
use lsm_engine::{Db, Error, Progress};
use serde_json::json;

use super::json_object;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::jobs::{Asked, JobKind, Turn};
use crate::log::Escaped;
use crate::route::Route;
use crate::service::Call;
use crate::status::problem_of;
use crate::wire::{Code, Problem};

/// Begins a job, or has it wait for the one of its kind that runs.
pub(super) fn begin(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    let body = call.body_bytes();
    if !body.is_empty() {
        json_object(&body)?.finish()?;
    }
    let kind = match call.route {
        Route::Flush => JobKind::Flush,
        Route::Compact => JobKind::Compact,
        _ => JobKind::Verify,
    };
    let (app, db) = (call.app.clone(), call.db()?.clone());
    let Asked { id, turn } = app.jobs.ask(kind);
    if let Some(turn) = turn {
        tokio::spawn(run_in_turn(app, db, kind, turn));
    }
    let mut answer =
        answer::json(StatusCode::ACCEPTED, format!("{{\"job\":\"{id}\"}}").into_bytes());
    let location = HeaderValue::try_from(format!("/v1/jobs/{id}"));
    let location = location.expect("a path of digits is a header's value");
    answer.headers_mut().insert(LOCATION, location);
    Ok(answer)
}

/// Runs a job, and then each that waited for the one before.
async fn run_in_turn(app: Arc<App>, db: Db, kind: JobKind, first: Turn) {
    let mut next = Some(first);
    while let Some(Turn { id, progress }) = next {
        tracing::info!(job = id, "{} begins", kind.name());
        let db = db.clone();
        let outcome = app.pool.run(move || run(kind, &db, &progress)).await;
        let outcome = outcome.and_then(|ended| ended.map_err(|error| problem_of(&error)));
        next = app.jobs.end(id, outcome);
    }
}

/// Tells how a job goes.
pub(super) fn job(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    // A job has one number: `parse` alone would also take a sign and leading zeros.
    let id = call.rest.parse().ok().filter(|id: &u64| id.to_string() == call.rest);
    let printed = id.and_then(|id| call.app.jobs.print(id));
    let body = printed.ok_or_else(|| Problem::new(Code::NotFound, "there is no such job"))?;
    Ok(answer::json(StatusCode::OK, body))
}

/// Does the work; the report is a JSON value.
fn run(kind: JobKind, db: &Db, progress: &Progress) -> Result<String, Error> {
    match kind {
        JobKind::Flush => {
            let before = db.metrics().flush_bytes;
            db.flush_with(progress)?;
            let bytes = db.metrics().flush_bytes.saturating_sub(before);
            Ok(json!({ "bytes_written": bytes }).to_string())
        }
        JobKind::Compact => {
            let before = db.metrics();
            db.compact_with::<&[u8]>(.., progress)?;
            let after = db.metrics();
            let read = after.compaction_read_bytes.saturating_sub(before.compaction_read_bytes);
            let written =
                after.compaction_written_bytes.saturating_sub(before.compaction_written_bytes);
            Ok(json!({ "bytes_read": read, "bytes_written": written }).to_string())
        }
        JobKind::Verify => {
            let report = db.verify_with(progress)?;
            for damage in &report.damage {
                // Paths are for the log; who asks over the network learns how much is damaged.
                tracing::error!("verify: {}", Escaped(damage.to_string().as_bytes()));
            }
            let report = json!({
                "is_clean": report.is_clean(),
                "tables": report.tables,
                "table_bytes": report.table_bytes,
                "entries": report.entries,
                "log_records": report.log_records,
                "damaged_files": report.damage.len(),
            });
            Ok(report.to_string())
        }
    }
}
