//! The body of a request: read whole, within limits.
//!
//! Three limits hold at once: how large this body may be, how long it may take (a deadline, and
//! after a moment of grace a slowest pace), and how much all bodies and large answers that the
//! server holds may take together ([`in_flight`](crate::in_flight)).

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::in_flight::{Growing, InFlight, Share};
use crate::serve::Timeouts;
use crate::wire::{Code, Problem};

/// A body that was read.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// The memory that they take, or what is made of them.
    pub(crate) share: Share,
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
    let most = body.size_hint().upper().map_or(limit.bytes, |upper| upper.min(limit.bytes));
    let mut whole = Parts::new(in_flight.share(), most as usize);
    loop {
        let deadline = start + timeouts.body_of(limit).min(timeouts.body_pace(whole.len()));
        let frame = timeout_at(deadline, next_frame(&mut body)).await.map_err(|_| {
            Problem::new(Code::BadRequest, "the body arrived too slowly").with_status(408)
        })?;
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|_| Problem::new(Code::BadRequest, "the body is cut off or badly framed"))?;
        // Trailers say nothing that this server asks for.
        let Ok(data) = frame.into_data() else { continue };
        if limit.bytes < (whole.len() + data.len()) as u64 {
            return Err(limit.exceeded());
        }
        whole.push(data)?;
    }
    Ok(whole.into_body())
}

async fn next_frame(body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

impl Timeouts {
    /// The size up to which a body has the time of one; what may be larger has more in proportion.
    const USUAL_BODY: u64 = 32 << 20;

    /// How long a body may take that may be as large as this.
    fn body_of(&self, limit: BodyLimit) -> Duration {
        // The configuration keeps limits below 2^32 times this.
        self.body * limit.bytes.div_ceil(Self::USUAL_BODY).max(1) as u32
    }

    /// How long a body of which so many bytes have arrived may take until the next ones.
    fn body_pace(&self, received: usize) -> Duration {
        let paid = Duration::from_millis(received as u64 * 1000 / Timeouts::SLOWEST);
        self.body_grace.saturating_add(paid)
    }
}

/// The pieces of a body. One piece stays as it is; more are copied into one.
#[derive(Debug)]
struct Parts {
    first: Bytes,
    all: Growing,
}

impl Parts {
    /// For a body of about so many bytes.
    fn new(share: Share, most: usize) -> Parts {
        Parts { first: Bytes::new(), all: Growing::new(share, 0, most) }
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, data: Bytes) -> Result<(), Problem> {
        if self.len() == 0 {
            self.all.share_mut().cover(data.len())?;
            self.first = data;
            return Ok(());
        }
        let first = std::mem::take(&mut self.first);
        self.all.put(&first)?;
        self.all.put(&data)
    }

    fn into_body(self) -> RequestBody {
        let (all, share) = self.all.into_parts();
        if all.is_empty() {
            RequestBody { bytes: self.first, share }
        } else {
            RequestBody { bytes: all.into(), share }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one_body_and_take_their_share() {
        for pieces in [&[][..], &["ab"], &["ab", "c"], &["", "ab", "", "cd"]] {
            let mut parts = Parts::new(InFlight::new(100).share(), 10);
            for piece in pieces {
                parts.push(Bytes::from_static(piece.as_bytes())).unwrap();
            }
            assert_eq!(parts.len(), pieces.concat().len());
            let body = parts.into_body();
            assert_eq!(body.bytes, pieces.concat());
            assert_eq!(body.share.bytes(), pieces.concat().len(), "{pieces:?}");
        }
    }

    #[test]
    fn a_larger_limit_gives_more_time() {
        let seconds = |bytes| {
            Timeouts::default().body_of(BodyLimit { bytes, code: Code::BodyTooLarge }).as_secs()
        };
        assert_eq!([1, 16 << 20, 32 << 20].map(seconds), [30; 3]);
        assert_eq!([33 << 20, 512 << 20].map(seconds), [60, 480]);
    }

    #[test]
    fn a_piece_without_a_share_is_refused() {
        let in_flight = InFlight::new(6);
        let mut other = in_flight.share();
        other.cover(2).unwrap();
        let mut parts = Parts::new(in_flight.share(), 10);
        parts.push(Bytes::from_static(b"ab")).unwrap();
        assert_eq!(parts.push(Bytes::from_static(b"cde")).unwrap_err().code, Code::Busy);
    }
}
