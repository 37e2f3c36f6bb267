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
use memmap2::MmapMut;
use tokio::time::{Instant, timeout_at};

use crate::in_flight::{InFlight, Share};
use crate::serve::Timeouts;
use crate::wire::{Code, Problem};

/// A body that was read, or is being read.
///
/// What comes after the first read goes into pages of its own, which the system takes back when the
/// body is dropped. A thousand bodies that grow side by side in an allocator's heap leave it holding
/// several times of what they take.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// As much as came with the first read; most bodies end there.
    first: Bytes,
    /// All of a longer body, and room for what is still to come.
    pages: Option<MmapMut>,
    len: usize,
    /// How long it may become.
    most: usize,
    /// The memory that it takes, or what is made of it.
    pub(crate) share: Share,
}

/// The part of some pages that was written.
struct Written {
    pages: MmapMut,
    len: usize,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.pages[..self.len]
    }
}

impl RequestBody {
    /// No bytes yet, and not more than `most` to come.
    fn new(share: Share, most: usize) -> RequestBody {
        RequestBody { first: Bytes::new(), pages: None, len: 0, most, share }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn push(&mut self, data: &Bytes) -> Result<(), Problem> {
        self.share.cover(self.len + data.len())?;
        if self.len == 0 {
            self.first = data.clone();
        } else {
            if self.pages.is_none() {
                let mut pages = map(self.most)?;
                pages[..self.len].copy_from_slice(&std::mem::take(&mut self.first));
                self.pages = Some(pages);
            }
            let pages = self.pages.as_mut().expect("they were made if there were none");
            pages[self.len..self.len + data.len()].copy_from_slice(data);
        }
        self.len += data.len();
        Ok(())
    }

    /// The bytes.
    pub(crate) fn bytes(&mut self) -> Bytes {
        if let Some(pages) = self.pages.take() {
            self.first = Bytes::from_owner(Written { pages, len: self.len });
        }
        self.first.clone()
    }
}

/// Pages that take memory as they are written.
fn map(len: usize) -> Result<MmapMut, Problem> {
    let failed = |error| {
        crate::log::failure(&format_args!("no memory for a body: {error}"));
        Problem::new(Code::Busy, "there is no memory for the body").with_retry_after_ms(1000)
    };
    let pages = MmapMut::map_anon(len).map_err(failed)?;
    // A large page would be taken whole for its first byte. Where the system knows none, it refuses.
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::NoHugePage);
    Ok(pages)
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
        let flag = match self.code {
            Code::ValueTooLarge => "--max-value-bytes",
            _ => "--max-body-bytes",
        };
        Problem::new(self.code, format!("the limit is {} bytes ({flag})", self.bytes))
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
    let mut whole = RequestBody::new(in_flight.share(), most as usize);
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
        whole.push(&data)?;
    }
    Ok(whole)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one_body_and_take_their_share() {
        for lens in [&[][..], &[2], &[2, 1], &[0, 2, 0, 2], &[4096, 1, 99_000], &[1, 200_000]] {
            let most = lens.iter().sum();
            let mut body = RequestBody::new(InFlight::new(1 << 20).share(), most);
            let mut whole = Vec::new();
            for (index, &len) in lens.iter().enumerate() {
                let data = vec![index as u8; len];
                whole.extend_from_slice(&data);
                body.push(&data.into()).unwrap();
                assert_eq!((body.len(), body.share.bytes()), (whole.len(), whole.len()));
            }
            assert!(body.bytes() == whole && body.bytes() == whole, "{lens:?}");
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
        let mut body = RequestBody::new(in_flight.share(), 10);
        body.push(&Bytes::from_static(b"ab")).unwrap();
        assert_eq!(body.push(&Bytes::from_static(b"cde")).unwrap_err().code, Code::Busy);
    }
}
