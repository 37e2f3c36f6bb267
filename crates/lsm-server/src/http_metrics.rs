//! What the HTTP side counts.
//!
//! Labels are route templates, known methods and statuses: nothing that a client chooses, so that no
//! client can make the number of series grow.

mod seconds;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};

use self::seconds::Seconds;
use crate::prometheus::Text;
use crate::route::Route;
use crate::wire::{Code, Problem};

const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OTHER"];
const STATUSES: [u16; 24] = [
    200, 202, 204, 304, 400, 401, 403, 404, 405, 408, 412, 413, 414, 415, 421, 429, 431, 500, 501,
    503, 504, 505, 507, 0,
];
/// Every route, and one for what has none.
const ROUTES: usize = Route::ALL.len() + 1;

/// What a request wants of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Mget,
    Scan,
    Put,
    Delete,
    Batch,
}

const OPERATIONS: [&str; 6] = ["get", "mget", "scan", "put", "delete", "batch"];

impl Operation {
    /// What a request wants, if it is one of these. A scan that is streamed has no end to measure.
    pub(crate) fn of(route: Route, method: &Method, is_streamed: bool) -> Option<Operation> {
        match route {
            Route::Get => Some(Operation::Get),
            Route::Put => Some(Operation::Put),
            Route::Delete => Some(Operation::Delete),
            Route::Value if method == Method::PUT => Some(Operation::Put),
            Route::Value if method == Method::DELETE => Some(Operation::Delete),
            Route::Value => Some(Operation::Get),
            Route::Mget => Some(Operation::Mget),
            Route::Batch => Some(Operation::Batch),
            Route::Scan if !is_streamed => Some(Operation::Scan),
            _ => None,
        }
    }
}

/// Why a connection or a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// All connections are taken.
    Connections,
    /// One address has all that it may have.
    ConnectionsPerIp,
    /// A head that could be read in two ways.
    Head,
    /// A host that is not served.
    Host,
    /// A web page of an origin that is not served.
    Origin,
    /// No valid token.
    Token,
    /// Too much waits or is in flight, or writes are stalled.
    Busy,
}

const REJECTIONS: [(Rejection, &str); 7] = [
    (Rejection::Connections, "connections"),
    (Rejection::ConnectionsPerIp, "connections_per_ip"),
    (Rejection::Head, "head"),
    (Rejection::Host, "host"),
    (Rejection::Origin, "origin"),
    (Rejection::Token, "token"),
    (Rejection::Busy, "busy"),
];

/// The counters.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    /// Per route, method and status.
    requests: Vec<AtomicU64>,
    seconds: Vec<Seconds>,
    operations: [Seconds; OPERATIONS.len()],
    connections: AtomicI64,
    rejected: [AtomicU64; REJECTIONS.len()],
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Connected<'m>(&'m AtomicI64);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Rejection {
    /// The reason that a problem is counted under; most problems are no rejections.
    pub(crate) fn of(problem: &Problem) -> Option<Rejection> {
        match problem.code {
            Code::MisdirectedHost => Some(Rejection::Host),
            Code::ForbiddenOrigin => Some(Rejection::Origin),
            Code::Unauthorized => Some(Rejection::Token),
            Code::Busy => Some(Rejection::Busy),
            _ => None,
        }
    }
}

impl Default for HttpMetrics {
    fn default() -> HttpMetrics {
        let requests = ROUTES * METHODS.len() * STATUSES.len();
        HttpMetrics {
            requests: (0..requests).map(|_| AtomicU64::new(0)).collect(),
            seconds: (0..ROUTES).map(|_| Seconds::default()).collect(),
            operations: Default::default(),
            connections: AtomicI64::new(0),
            rejected: Default::default(),
        }
    }
}

// Counters are independent of one another and of everything else: relaxed throughout.
impl HttpMetrics {
    /// Counts a request that was answered.
    pub(crate) fn request(
        &self,
        route: Option<Route>,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let route = route_index(route);
        let method = METHODS[..METHODS.len() - 1]
            .iter()
            .position(|known| *known == method.as_str())
            .unwrap_or(METHODS.len() - 1);
        let status = STATUSES
            .iter()
            .position(|known| *known == status.as_u16())
            .unwrap_or(STATUSES.len() - 1);
        self.requests[request_index(route, method, status)].fetch_add(1, Ordering::Relaxed);
        self.seconds[route].record(took);
    }

    /// Counts an operation of the store that was asked for, whatever came of it.
    pub(crate) fn operation(&self, operation: Operation, took: Duration) {
        self.operations[operation as usize].record(took);
    }

    /// Counts what was turned away.
    pub(crate) fn rejected(&self, why: Rejection) {
        let index = REJECTIONS.iter().position(|(reason, _)| *reason == why);
        self.rejected[index.expect("the table has every reason")].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection until what this returns is dropped, also by a panic.
    pub(crate) fn connected(&self) -> Connected<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(&self.connections)
    }

    /// Prints every counter that is not zero.
    pub(crate) fn print(&self, text: &mut Text) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        text.family("lsm_http_requests_total", "counter", "Requests answered.");
        for (route, template) in templates().enumerate() {
            for (method, method_name) in METHODS.iter().enumerate() {
                for (status, number) in STATUSES.iter().enumerate() {
                    let count = load(&self.requests[request_index(route, method, status)]);
                    let status = if *number == 0 { "other".into() } else { number.to_string() };
                    let labels =
                        [("route", template), ("method", method_name), ("status", status.as_str())];
                    if count != 0 {
                        text.sample("lsm_http_requests_total", &labels, count as f64);
                    }
                }
            }
        }
        text.family("lsm_http_request_seconds", "histogram", "Time to the head of the answer.");
        for (seconds, template) in self.seconds.iter().zip(templates()) {
            seconds.print(text, "lsm_http_request_seconds", ("route", template));
        }
        let about = "Time of an operation of the store, waiting for it included.";
        text.family("lsm_operation_seconds", "histogram", about);
        for (seconds, operation) in self.operations.iter().zip(OPERATIONS) {
            seconds.print(text, "lsm_operation_seconds", ("op", operation));
        }
        text.family("lsm_http_connections", "gauge", "Open connections.");
        let connections = self.connections.load(Ordering::Relaxed);
        text.sample("lsm_http_connections", &[], connections as f64);
        text.family("lsm_http_rejected_total", "counter", "Connections and requests turned away.");
        for ((_, reason), count) in REJECTIONS.iter().zip(&self.rejected) {
            text.sample("lsm_http_rejected_total", &[("reason", reason)], load(count) as f64);
        }
    }
}

fn route_index(route: Option<Route>) -> usize {
    route
        .and_then(|route| Route::ALL.iter().position(|known| *known == route))
        .unwrap_or(ROUTES - 1)
}

fn request_index(route: usize, method: usize, status: usize) -> usize {
    (route * METHODS.len() + method) * STATUSES.len() + status
}

fn templates() -> impl Iterator<Item = &'static str> {
    Route::ALL.iter().map(|route| route.template()).chain(["none"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_printed_under_its_labels() {
        let metrics = HttpMetrics::default();
        let took = Duration::from_micros(300);
        metrics.request(Some(Route::Get), &Method::GET, StatusCode::OK, took);
        metrics.request(Some(Route::Get), &Method::GET, StatusCode::OK, took);
        metrics.request(None, &Method::PATCH, StatusCode::IM_A_TEAPOT, Duration::from_secs(9));
        metrics.rejected(Rejection::Host);
        let _held = metrics.connected();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _lost = metrics.connected();
            panic!("planned");
        }));
        assert!(panicked.is_err());
        let mut text = Text::default();
        metrics.print(&mut text);
        let text = text.finish();
        for line in [
            r#"lsm_http_requests_total{route="/get/{key}",method="GET",status="200"} 2"#,
            r#"lsm_http_requests_total{route="none",method="OTHER",status="other"} 1"#,
            r#"lsm_http_request_seconds_bucket{route="/get/{key}",le="0.00025"} 0"#,
            r#"lsm_http_request_seconds_bucket{route="/get/{key}",le="0.0005"} 2"#,
            r#"lsm_http_request_seconds_bucket{route="/get/{key}",le="5"} 2"#,
            r#"lsm_http_request_seconds_bucket{route="none",le="5"} 0"#,
            r#"lsm_http_request_seconds_bucket{route="none",le="+Inf"} 1"#,
            r#"lsm_http_request_seconds_count{route="/get/{key}"} 2"#,
            r#"lsm_http_request_seconds_sum{route="/get/{key}"} 0.0006"#,
            "lsm_http_connections 1",
            r#"lsm_http_rejected_total{reason="host"} 1"#,
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line} is not in\n{text}");
        }
    }
}
