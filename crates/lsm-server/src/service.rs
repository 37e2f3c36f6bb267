//! One request from its head to its answer.
//!
//! The order of the steps is the security of the server: what was read in two ways is refused, then
//! hosts, origins and tokens are judged, and only then is a path looked at, and last a body read.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Instant;

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, CONTENT_ENCODING,
    CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};

use crate::answer::{self, Answer};
use crate::app::{App, Phase};
use crate::body::{BodyLimit, RequestBody, read_body};
use crate::connection::ConnectionState;
use crate::guard::Scope;
use crate::handlers::{self, Seen};
use crate::http_metrics::Rejection;
use crate::route::{BodyKind, Route};
use crate::target::Query;
use crate::wire::{Code, Problem};

/// The longest request target, in bytes.
pub(crate) const MAX_TARGET: usize = 8 << 10;
/// How much of a target a problem repeats.
const MAX_INSTANCE: usize = 256;

/// A request that has passed every check, with its body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) route: Route,
    pub(crate) method: Method,
    /// The raw rest of the path.
    pub(crate) rest: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<RequestBody>,
    /// When all of it had come.
    pub(crate) came: Instant,
    /// What a read that needs no disk has seen already.
    pub(crate) seen: Option<Seen>,
}

/// What is known of a request while it is served, for the answer and the metrics.
#[derive(Debug, Default)]
struct Progress {
    route: Option<Route>,
    is_body_read: bool,
    allowed_origin: Option<HeaderValue>,
}

/// Answers one request, as hyper calls a service: a problem is an answer as well.
///
/// hyper moves the future of this once for every request, so that its size is a cost.
pub(crate) async fn serve(
    app: Arc<App>,
    peer: IpAddr,
    connection: Arc<ConnectionState>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let started = Instant::now();
    connection.begin_request();
    let (head, body) = request.into_parts();
    let method = head.method.clone();
    let has_body = !body.is_end_stream();
    // A chunked request is the last of its connection: see the module `head`.
    let is_chunked = head.headers.contains_key(TRANSFER_ENCODING);
    // Keeping it copies nothing; only a problem needs the text.
    let target = head.uri.clone();
    let mut progress = Progress::default();
    let defect = connection.defect();

    let outcome = match defect {
        Some(defect) => {
            app.metrics.rejected(Rejection::Head);
            Err(Problem::new(Code::BadRequest, defect.detail()))
        }
        None => catch(pin!(steps(&app, peer, head, body, &mut progress))).await,
    };
    let mut answer = outcome.unwrap_or_else(|mut problem| {
        if let Some(why) = Rejection::of(&problem) {
            app.metrics.rejected(why);
        }
        let path: String = target.path().chars().take(MAX_INSTANCE).collect();
        problem.instance = Some(path.into());
        match (problem.code, progress.route) {
            (Code::MethodNotAllowed, Some(route)) => {
                answer::method_not_allowed(&problem, route.methods())
            }
            _ => answer::problem(&problem),
        }
    });

    answer::secure(&mut answer);
    let unread = has_body && !progress.is_body_read;
    let is_last = defect.is_some() || unread || is_chunked || is_misunderstood(answer.status());
    if is_last || app.phase() == Phase::Draining {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(origin) = progress.allowed_origin {
        share(&mut answer, origin);
    }
    answer.body_mut().tell(connection);
    app.metrics.request(progress.route, &method, answer.status(), started.elapsed());
    Ok(answer)
}

/// The steps in their order; the first that refuses ends them.
async fn steps(
    app: &Arc<App>,
    peer: IpAddr,
    head: Parts,
    body: Incoming,
    progress: &mut Progress,
) -> Result<Answer, Problem> {
    let target_len = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if MAX_TARGET < target_len {
        let detail = format!("the limit is {MAX_TARGET} bytes");
        return Err(Problem::new(Code::UriTooLong, detail));
    }
    app.guard.check_host(&head)?;
    progress.allowed_origin = app.guard.check_origin(&head.headers)?;
    if progress.allowed_origin.is_some() && is_preflight(&head) {
        return Ok(answer::empty(StatusCode::NO_CONTENT));
    }
    let path = head.uri.path();
    app.guard.check_token(&head.headers, peer, Scope::of(path))?;

    let (route, rest) = Route::find(path)
        .ok_or_else(|| Problem::new(Code::UnknownRoute, "see docs/rest-api.md"))?;
    progress.route = Some(route);
    if !route.knows(&head.method) {
        let detail = format!("{} takes {}", route.template(), route.methods());
        return Err(Problem::new(Code::MethodNotAllowed, detail));
    }
    check_phase(app.phase(), route)?;
    let kind = route.body(&head.method);
    check_content(&head.headers, kind)?;
    let query = Query::parse(head.uri.query())?;
    let rest = rest.to_owned();
    let body = match kind {
        BodyKind::Nothing if body.is_end_stream() => None,
        BodyKind::Nothing => {
            return Err(Problem::new(Code::BadRequest, "this route takes no body"));
        }
        BodyKind::Json => Some(BodyLimit { bytes: app.max_body_bytes, code: Code::BodyTooLarge }),
        BodyKind::Raw => Some(BodyLimit { bytes: app.max_value_bytes, code: Code::ValueTooLarge }),
    }
    .map(|limit| read_body(body, limit, &app.timeouts, &app.in_flight));
    let body = match body {
        None => None,
        Some(reading) => Some(reading.await?),
    };
    progress.is_body_read = true;
    let (method, headers) = (head.method, head.headers);
    let came = Instant::now();
    let call =
        Call { app: app.clone(), route, method, rest, query, headers, body, came, seen: None };
    handlers::handle(call).await
}

fn check_phase(phase: Phase, route: Route) -> Result<(), Problem> {
    match phase {
        _ if route.answers_always() => Ok(()),
        Phase::Serving => Ok(()),
        Phase::Recovering => {
            Err(Problem::new(Code::Starting, "the store is being recovered")
                .with_retry_after_ms(1000))
        }
        Phase::Draining => {
            Err(Problem::new(Code::Draining, "try another connection").with_retry_after_ms(1000))
        }
    }
}

/// Checks what the body is said to be. A form of a web page can send three types without asking;
/// none of them is taken, so that no page can write by a form.
fn check_content(headers: &HeaderMap, kind: BodyKind) -> Result<(), Problem> {
    let refuse = |why: &str| Err(Problem::new(Code::UnsupportedMediaType, why));
    if headers.contains_key(CONTENT_ENCODING) {
        return refuse("bodies are taken as they are, without a Content-Encoding");
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (types.next(), types.next());
    if second.is_some() {
        return refuse("Content-Type stands more than once");
    }
    let essence = first.map(|value| {
        let bytes = value.as_bytes();
        let end = bytes.iter().position(|&byte| byte == b';').unwrap_or(bytes.len());
        bytes[..end].trim_ascii().to_ascii_lowercase()
    });
    match (kind, essence.as_deref()) {
        (BodyKind::Json, Some(b"application/json")) => Ok(()),
        (BodyKind::Json, _) => refuse("the body must be application/json"),
        (BodyKind::Raw, Some(b"application/x-www-form-urlencoded" | b"text/plain")) => {
            refuse("a value is not sent as a form or as text/plain")
        }
        (BodyKind::Raw, Some(essence)) if essence.starts_with(b"multipart/") => {
            refuse("a value is not sent as a form")
        }
        (BodyKind::Raw | BodyKind::Nothing, _) => Ok(()),
    }
}

/// Whether a browser asks beforehand what a page of an allowed origin may send.
fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether the answer says that the request is not one that this server takes. Then its sender and the
/// server do not agree on what was sent, so that what follows on the connection is not looked at.
fn is_misunderstood(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::URI_TOO_LONG
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    )
}

/// Lets a page of a configured origin read the answer.
fn share(answer: &mut Answer, origin: HeaderValue) {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Accept, Authorization, Content-Type, If-Match, If-None-Match"),
    );
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("ETag, Location, Retry-After, X-Lsm-Seq, X-Lsm-Durability"),
    );
    // The default keeps pages of other origins out; this origin was let in by name.
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
}

/// Turns a panic on the way into a problem, so that the connection can still be answered.
///
/// The work comes pinned because an `async fn` keeps what it is given beside what it makes of it.
async fn catch<W: Future<Output = Result<Answer, Problem>>>(
    mut work: Pin<&mut W>,
) -> Result<Answer, Problem> {
    std::future::poll_fn(|cx| {
        let step = std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        step.unwrap_or_else(|_| {
            tracing::error!("a request panicked");
            let detail = "the request could not be finished";
            std::task::Poll::Ready(Err(Problem::new(Code::Internal, detail)))
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_answer() {
        let failed = catch(pin!(async { panic!("planned") })).await;
        assert_eq!(failed.unwrap_err().code, Code::Internal);
        let fine = catch(pin!(async { Ok(answer::empty(StatusCode::OK)) })).await;
        assert_eq!(fine.unwrap().status(), StatusCode::OK);
    }

    /// The size of what a function of four arguments returns.
    fn returned_size<A, B, C, D, R>(_: impl Fn(A, B, C, D) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn the_future_of_a_request_is_small() {
        let size = returned_size(serve);
        assert!(size <= 6 << 10, "{size} bytes are moved for every request");
    }

    #[test]
    fn a_form_of_a_web_page_cannot_write() {
        let check = |kind, content_type: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(content_type) = content_type {
                headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
            }
            check_content(&headers, kind).is_ok()
        };
        for content_type in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "Text/Plain;charset=utf-8",
        ] {
            assert!(!check(BodyKind::Json, Some(content_type)));
            assert!(!check(BodyKind::Raw, Some(content_type)));
        }
        assert!(check(BodyKind::Json, Some("Application/JSON; charset=utf-8")));
        assert!(!check(BodyKind::Json, None));
        assert!(!check(BodyKind::Json, Some("application/jsonx")));
        assert!(check(BodyKind::Raw, None));
        assert!(check(BodyKind::Raw, Some("image/png")));
    }
}
