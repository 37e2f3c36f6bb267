//! The body of a request: read whole, within limits.
//!
//! Three limits hold at once: how large this body may be, how long it may take (a deadline, and
//! after a moment of grace a slowest pace), and how much all bodies and large answers that the
//! server holds may take together. What a body takes of the last is given back when whatever was
//! made of it is dropped.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::serve::Timeouts;
use crate::wire::{Code, Problem};

/// The memory that bodies and large answers share, counted in bytes.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    free: Arc<Semaphore>,
}

impl InFlight {
    /// So many bytes to share.
    pub(crate) fn new(bytes: u32) -> InFlight {
        InFlight { free: Arc::new(Semaphore::new(bytes as usize)) }
    }

    /// Takes bytes, or says that the server is busy.
    pub(crate) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.free.clone().try_acquire_many_owned(bytes).ok())
            .ok_or_else(|| {
                Problem::new(Code::Busy, "too much data is in flight; try again")
                    .with_retry_after_ms(1000)
            })
    }
}

/// A body that was read.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

/// How large a body may be, and what it is called when it is larger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit {
    /// Bytes.
    pub(crate) bytes: u64,
    /// [`Code::ValueTooLarge`] or [`Code::BodyTooLarge`].
    pub(crate) code: Code,
}

impl BodyLimit {
    fn exceeded(self) -> Problem {
        Problem::new(self.code, format!("the limit is {} bytes", self.bytes))
    }
}

/// Reads a body whole.
///
/// A body that says beforehand that it is too large is refused without a byte of it being read.
///
/// # Errors
///
/// If a limit is met, or the body is cut off or badly framed.
pub(crate) async fn read_body(
    mut body: Incoming,
    limit: BodyLimit,
    timeouts: &Timeouts,
    in_flight: &InFlight,
) -> Result<RequestBody, Problem> {
    if limit.bytes < body.size_hint().lower() {
        return Err(limit.exceeded());
    }
    let start = Instant::now();
    let mut whole = Parts::default();
    let mut permit: Option<OwnedSemaphorePermit> = None;
    loop {
        let deadline = start + timeouts.body.min(timeouts.body_pace(whole.len));
        let frame = timeout_at(deadline, next_frame(&mut body)).await.map_err(|_| {
            Problem::new(Code::BadRequest, "the body arrived too slowly").with_status(408)
        })?;
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|_| Problem::new(Code::BadRequest, "the body is cut off or badly framed"))?;
        // Trailers say nothing that this server asks for.
        let Ok(data) = frame.into_data() else { continue };
        if limit.bytes < (whole.len + data.len()) as u64 {
            return Err(limit.exceeded());
        }
        let taken = in_flight.take(data.len())?;
        match &mut permit {
            None => permit = Some(taken),
            Some(permit) => permit.merge(taken),
        }
        whole.push(data);
    }
    Ok(RequestBody { bytes: whole.into_bytes(), _permit: permit })
}

async fn next_frame(body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

impl Timeouts {
    /// How long a body of which so many bytes have arrived may take until the next ones.
    fn body_pace(&self, received: usize) -> Duration {
        let paid = Duration::from_millis(received as u64 * 1000 / Timeouts::SLOWEST_BODY);
        self.body_grace.saturating_add(paid)
    }
}

/// The pieces of a body. One piece stays as it is; more are copied into one.
#[derive(Debug, Default)]
struct Parts {
    first: Bytes,
    all: Vec<u8>,
    len: usize,
}

impl Parts {
    fn push(&mut self, data: Bytes) {
        if self.len == 0 {
            self.first = data;
            self.len = self.first.len();
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&data);
        self.len = self.all.len();
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_a_body_is_dropped() {
        let in_flight = InFlight::new(100);
        let held = in_flight.take(60).unwrap();
        let busy = in_flight.take(60).unwrap_err();
        assert_eq!((busy.code, busy.retry_after_ms), (Code::Busy, Some(1000)));
        drop(held);
        assert!(in_flight.take(100).is_ok());
        assert!(in_flight.take(usize::MAX).is_err());
    }

    #[test]
    fn pieces_become_one_body() {
        for pieces in [&[][..], &["ab"], &["ab", "c"], &["", "ab", "", "cd"]] {
            let mut parts = Parts::default();
            for piece in pieces {
                parts.push(Bytes::from_static(piece.as_bytes()));
            }
            assert_eq!(parts.len, pieces.concat().len());
            assert_eq!(parts.into_bytes(), pieces.concat());
        }
    }
}
