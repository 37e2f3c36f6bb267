//! Requests to a server, and what is wrong with an answer.

use std::io::{BufReader, ErrorKind, Read};
use std::time::Duration;

use lsm_server::wire::{Code, Problem};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, Timeout};

use crate::exit::{Failure, Outcome};

/// How long a server may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long a server may be silent before it answers, and between two parts of an answer.
const SILENT_TIME: Duration = Duration::from_secs(120);
/// Longest description of a problem, in bytes.
const MAX_PROBLEM_LEN: u64 = 1 << 20;

/// A server, and how to speak to it.
pub(super) struct Requests {
    agent: Agent,
    /// Without a slash at its end.
    base: String,
    authorization: Option<String>,
}

/// An answer that is no refusal, or one that the caller understands.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    response: Response<Body>,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload<'a> {
    Nothing,
    Bytes(&'a [u8]),
    Json(&'a [u8]),
}

impl Requests {
    pub(super) fn new(url: &str, token: Option<String>) -> Outcome<Requests> {
        let Some(host) = url.strip_prefix("http://") else {
            let hint = "it must begin with http:// (TLS is not built in: use a tunnel)";
            return Err(Failure::usage(format!("--url {url:?}: {hint}")));
        };
        let host = host.trim_end_matches('/');
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            return Err(Failure::usage(format!("--url {url:?}: it must be http://host:port")));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_per_read(Some(SILENT_TIME))
            .timeout_per_write(Some(SILENT_TIME))
            .user_agent(concat!("lsm/", env!("CARGO_PKG_VERSION")))
            .build();
        let authorization = token.map(|token| format!("Bearer {token}"));
        Ok(Requests { agent: config.new_agent(), base: format!("http://{host}"), authorization })
    }

    /// Sends a request. `path` begins with a slash and is encoded.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        payload: Payload<'_>,
    ) -> Outcome<Answer> {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let malformed = |error| Failure::usage(format!("{}: {error}", self.base));
        let sent = match payload {
            Payload::Nothing => self.agent.run(request.body(()).map_err(malformed)?),
            Payload::Bytes(bytes) => self.agent.run(request.body(bytes).map_err(malformed)?),
            Payload::Json(bytes) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(bytes).map_err(malformed)?)
            }
        };
        let response = sent.map_err(|error| self.unreachable(&error))?;
        Ok(Answer { status: response.status(), response })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let hint = "is lsm-server running there?";
        let failure = Failure::error(format!("no answer from {}: {error}; {hint}", self.base));
        failure.undecided_if(!is_unsent(error))
    }
}

impl Answer {
    /// The answer, unless it is a refusal.
    pub(super) fn accepted(self) -> Outcome<Answer> {
        if self.status.is_success() { Ok(self) } else { Err(self.into_failure()) }
    }

    /// The problem that the answer is, if it is one.
    pub(super) fn into_problem(self) -> Outcome<Problem> {
        let status = self.status;
        let body = self.read(MAX_PROBLEM_LEN)?;
        Problem::parse(&body).map_err(|_| {
            let failure = Failure::error(format!("the answer is {status}; is this an lsm-server?"));
            // Somebody in between may have asked the server and not waited for it.
            failure.undecided_if(status.is_server_error())
        })
    }

    fn into_failure(self) -> Failure {
        match self.into_problem() {
            Ok(problem) => problem.into(),
            Err(failure) => failure,
        }
    }

    /// A header, if it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The whole body, of at most so many bytes.
    pub(super) fn read(self, longest: u64) -> Outcome<Vec<u8>> {
        let mut body = Vec::new();
        let reader = self.into_reader();
        reader.take(longest + 1).read_to_end(&mut body).map_err(|error| cut_off(&error))?;
        if longest < body.len() as u64 {
            return Err(Failure::error(format!("the answer has more than {longest} bytes")));
        }
        Ok(body)
    }

    /// The body, as it comes.
    pub(super) fn into_reader(self) -> impl std::io::BufRead {
        BufReader::new(self.response.into_body().into_with_config().limit(u64::MAX).reader())
    }
}

/// The failure of an answer that ends too early.
pub(super) fn cut_off(error: &std::io::Error) -> Failure {
    Failure::error(format!("the server's answer was cut off: {error}")).undecided_if(true)
}

/// Whether nothing was sent, since there was no connection.
fn is_unsent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(timeout) => matches!(timeout, Timeout::Resolve | Timeout::Connect),
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// Whether a problem says that there is nothing under the key.
pub(super) fn is_absence(problem: &Problem) -> bool {
    problem.code == Code::NotFound || problem.current_seq == Some(None)
}
