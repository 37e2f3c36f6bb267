//! Answers: their bodies, and the headers that every one of them carries.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use crate::connection::ConnectionState;
use crate::wire::{Code, Problem};

/// An answer.
pub(crate) type Answer = Response<Payload>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
pub(crate) const X_LSM_SEQ: HeaderName = HeaderName::from_static("x-lsm-seq");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// An answer with a body of one piece.
pub(crate) fn answer(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(Payload::whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// An answer that is JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, JSON, body.into())
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Payload::whole(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// The answer that tells of a problem. No byte that the client sent reaches a header.
pub(crate) fn problem(problem: &Problem) -> Answer {
    let mut body = Vec::new();
    problem.write(&mut body);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = answer(status, PROBLEM, body.into());
    let headers = answer.headers_mut();
    if let Some(retry_after_ms) = problem.retry_after_ms {
        headers.insert(RETRY_AFTER, retry_after_ms.div_ceil(1000).max(1).into());
    }
    if let Some(view) = problem.view {
        headers.insert(X_LSM_SEQ, view.into());
    }
    if problem.code == Code::Unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// The answer to a method that a route does not know.
pub(crate) fn method_not_allowed(refusal: &Problem, allowed: &'static str) -> Answer {
    let mut answer = problem(refusal);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Adds what keeps a browser from running, guessing at, or keeping what is stored here.
pub(crate) fn secure(answer: &mut Answer) {
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
        .insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(CORP, HeaderValue::from_static("same-origin"));
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Payload {
    content: Content,
    /// Told when hyper has taken the body.
    request: Option<RequestEnd>,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    /// Pieces as they are made. If the sender goes away before the last, the body ends uncleanly.
    Stream(mpsc::Receiver<Piece>),
    /// The last was never made. The body fails once the socket has taken the pieces before it,
    /// because hyper drops what it has not written when a body fails.
    Failing,
    /// Nothing is left.
    Over,
}

/// A piece of a body that is made while it is sent.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Others follow.
    More(Bytes),
    /// It is the last.
    Last(Bytes),
}

/// A body that cannot be continued. The peer sees that its end is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer could not be continued")
    }
}

impl std::error::Error for Broken {}

#[derive(Debug)]
struct RequestEnd(Arc<ConnectionState>);

impl Drop for RequestEnd {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

impl Payload {
    /// A body of one piece.
    pub(crate) fn whole(bytes: Bytes) -> Payload {
        Payload { content: Content::Whole(bytes), request: None }
    }

    /// A body that is made while it is sent.
    pub(crate) fn stream(pieces: mpsc::Receiver<Piece>) -> Payload {
        Payload { content: Content::Stream(pieces), request: None }
    }

    /// Tells the connection when hyper has taken the body, or it was given up.
    pub(crate) fn tell(&mut self, connection: Arc<ConnectionState>) {
        self.request = Some(RequestEnd(connection));
    }

    /// How long the body is, if that is known.
    fn len(&self) -> Option<usize> {
        match &self.content {
            Content::Whole(bytes) => Some(bytes.len()),
            Content::Stream(_) | Content::Failing => None,
            Content::Over => Some(0),
        }
    }
}

impl Payload {
    /// Fails once the socket has taken every piece. The socket wakes the task then.
    fn poll_failure(&mut self) -> Poll<Broken> {
        let Some(RequestEnd(connection)) = &self.request else { return Poll::Ready(Broken) };
        if !matches!(self.content, Content::Failing) {
            connection.await_flush();
            self.content = Content::Failing;
        }
        if connection.is_flushed() { Poll::Ready(Broken) } else { Poll::Pending }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let piece = match &mut self.content {
            Content::Over => return Poll::Ready(None),
            Content::Whole(bytes) => Some(Piece::Last(std::mem::take(bytes))),
            Content::Stream(pieces) => ready!(pieces.poll_recv(cx)),
            Content::Failing => None,
        };
        let bytes = match piece {
            Some(Piece::More(bytes)) => bytes,
            Some(Piece::Last(bytes)) => {
                self.content = Content::Over;
                bytes
            }
            None => return self.poll_failure().map(|failure| Some(Err(failure))),
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.len() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        match self.len() {
            Some(len) => SizeHint::with_exact(len as u64),
            None => SizeHint::default(),
        }
    }
}
