//! `/healthz`, `/readyz` and `/version`: answered from the first moment to the last.

use hyper::StatusCode;
use lsm_engine::Health;

use crate::answer::{self, Answer};
use crate::app::{App, Phase};
use crate::route::Route;
use crate::service::Call;
use crate::wire::{Problem, put_string};

/// Answers one of the three.
pub(super) fn answer(mut call: Call) -> Result<Answer, Problem> {
    std::mem::take(&mut call.query).finish()?;
    Ok(match call.route {
        Route::Healthz => healthz(&call.app),
        Route::Readyz => readyz(&call.app),
        _ => version(),
    })
}

/// Whether the process should be left alive: only a restart helps a poisoned store.
fn healthz(app: &App) -> Answer {
    match app.db().map(lsm_engine::Db::health) {
        Some(Health::Poisoned(_)) => status(StatusCode::SERVICE_UNAVAILABLE, "poisoned"),
        _ => status(StatusCode::OK, "ok"),
    }
}

/// Whether requests should be sent here.
fn readyz(app: &App) -> Answer {
    match readiness(app) {
        "ready" => status(StatusCode::OK, "ready"),
        word => status(StatusCode::SERVICE_UNAVAILABLE, word),
    }
}

/// The state of the server in one word.
pub(super) fn readiness(app: &App) -> &'static str {
    match (app.phase(), app.db().map(lsm_engine::Db::health)) {
        (Phase::Recovering, _) | (_, None) => "recovering",
        (_, Some(Health::Poisoned(_))) => "poisoned",
        (Phase::Draining, _) | (_, Some(Health::Closed)) => "draining",
        (_, Some(Health::NoSpace)) => "no_space",
        (_, Some(Health::LowSpace)) => "low_space",
        (Phase::Serving, Some(_)) => "ready",
    }
}

fn status(status: StatusCode, word: &str) -> Answer {
    answer::json(status, format!("{{\"status\":\"{word}\"}}").into_bytes())
}

fn version() -> Answer {
    let mut body = b"{\"name\":\"lsm-server\",\"version\":".to_vec();
    put_string(&mut body, env!("CARGO_PKG_VERSION"));
    body.extend_from_slice(b",\"format\":");
    crate::wire::put_number(&mut body, u64::from(lsm_engine::FORMAT_VERSION));
    body.extend_from_slice(b",\"commit\":");
    match option_env!("LSM_COMMIT") {
        Some(commit) => put_string(&mut body, commit),
        None => body.extend_from_slice(b"null"),
    }
    body.push(b'}');
    answer::json(StatusCode::OK, body)
}
