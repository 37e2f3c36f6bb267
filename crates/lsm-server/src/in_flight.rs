//! The memory that bodies and large answers share.
//!
//! Whoever holds bytes of a request or of an answer holds a [`Share`] of the same size, taken before
//! the bytes are there and given back when they are gone. Those of an answer are gone when the socket
//! has taken them: [`Growing::into_bytes`] ties the share to the bytes themselves, because hyper asks
//! for a body long before it can send it.
//!
//! Only who holds no share waits for one, so that nobody waits for himself.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::wire::{Code, ItemRef, KeyForm, Problem};

/// The memory, counted in bytes.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    free: Arc<Semaphore>,
    all: u32,
}

impl InFlight {
    /// So many bytes to share.
    pub(crate) fn new(bytes: u32) -> InFlight {
        InFlight { free: Arc::new(Semaphore::new(bytes as usize)), all: bytes }
    }

    /// A share of nothing, which can grow.
    pub(crate) fn share(&self) -> Share {
        Share { in_flight: self.clone(), permit: None }
    }

    /// Waits for a share of so many bytes.
    ///
    /// # Errors
    ///
    /// If there is not as much memory in all.
    pub(crate) async fn wait(&self, bytes: usize) -> Result<Share, Problem> {
        let permit = self.free.clone().acquire_many_owned(self.check(bytes)?).await;
        let permit = permit.expect("the semaphore is never closed");
        Ok(Share { in_flight: self.clone(), permit: Some(permit) })
    }

    /// Refuses what no waiting would make room for.
    fn check(&self, bytes: usize) -> Result<u32, Problem> {
        u32::try_from(bytes).ok().filter(|bytes| *bytes <= self.all).ok_or_else(|| {
            let detail = format!("it would be larger than the {} bytes that all share", self.all);
            Problem::new(Code::BodyTooLarge, detail)
        })
    }
}

/// A part of the memory, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    in_flight: InFlight,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// How many bytes it covers.
    pub(crate) fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Grows until it covers so many bytes.
    ///
    /// # Errors
    ///
    /// `busy` if the others leave too little, `body_too_large` if there is not as much in all.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = self.in_flight.check(bytes)?.saturating_sub(self.bytes() as u32);
        if more == 0 {
            return Ok(());
        }
        let free = self.in_flight.free.clone();
        let taken = free.try_acquire_many_owned(more).map_err(|_| {
            Problem::new(Code::Busy, "too much data is in flight; try again")
                .with_retry_after_ms(1000)
        })?;
        match &mut self.permit {
            None => self.permit = Some(taken),
            Some(permit) => permit.merge(taken),
        }
        Ok(())
    }

    /// Gives back what it covers beyond so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes().saturating_sub(bytes);
        if let Some(permit) = &mut self.permit {
            drop(permit.split(surplus));
        }
    }

    /// Ties itself to the bytes that it covers, for as long as any part of them is held.
    pub(crate) fn hold(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

struct Held<B> {
    bytes: B,
    _share: Share,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Held<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// Bytes that grow, and the share that covers the room that they take.
#[derive(Debug)]
pub(crate) struct Growing {
    bytes: Vec<u8>,
    share: Share,
    /// Room that needs no share.
    uncounted: usize,
    /// Room that is seldom too small.
    usual_most: usize,
}

impl Growing {
    /// No bytes yet, and as much room as the share covers. Room of at most `uncounted` bytes takes
    /// nothing of the memory; beyond `usual_most` no more is taken than is needed at once.
    pub(crate) fn new(share: Share, uncounted: usize, usual_most: usize) -> Growing {
        Growing { bytes: Vec::with_capacity(share.bytes()), share, uncounted, usual_most }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, with room for so many more.
    ///
    /// # Errors
    ///
    /// `busy` if there is none.
    pub(crate) fn room(&mut self, more: usize) -> Result<&mut Vec<u8>, Problem> {
        let needed = self.bytes.len() + more;
        if self.bytes.capacity() < needed {
            // Twice the room, so that a long answer is not copied for each of its parts.
            let mut capacity = needed.max((self.bytes.capacity() * 2).min(self.usual_most));
            if self.uncounted < capacity && self.share.cover(capacity).is_err() {
                capacity = needed;
                self.share.cover(capacity)?;
            }
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(&mut self.bytes)
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// `busy` if there is no room.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.room(bytes.len())?.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends an item.
    ///
    /// # Errors
    ///
    /// `busy` if there is no room.
    pub(crate) fn put_item(&mut self, item: ItemRef<'_>, form: KeyForm) -> Result<(), Problem> {
        // Only where the room may be too small is the item measured.
        let spare = self.bytes.capacity() - self.bytes.len();
        let len = if item.fits(spare, form) { 0 } else { item.printed_len(form) };
        item.write(self.room(len)?, form);
        Ok(())
    }

    /// The bytes and their share.
    pub(crate) fn into_parts(mut self) -> (Vec<u8>, Share) {
        if self.uncounted < self.bytes.capacity() {
            self.bytes.shrink_to_fit();
            self.share.shrink_to(self.bytes.capacity());
        }
        (self.bytes, self.share)
    }

    /// The bytes, with the share tied to them.
    pub(crate) fn into_bytes(self) -> Bytes {
        let (bytes, share) = self.into_parts();
        if share.bytes() == 0 { bytes.into() } else { share.hold(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_what_it_holds_is_dropped() {
        let in_flight = InFlight::new(100);
        let mut held = in_flight.share();
        held.cover(60).unwrap();
        held.cover(10).unwrap();
        assert_eq!(held.bytes(), 60);
        let busy = in_flight.share().cover(60).unwrap_err();
        assert_eq!((busy.code, busy.retry_after_ms), (Code::Busy, Some(1000)));
        for too_much in [101, usize::MAX] {
            let refused = in_flight.share().cover(too_much).unwrap_err();
            assert_eq!((refused.code, refused.retry_after_ms), (Code::BodyTooLarge, None));
            assert!(in_flight.check(too_much).is_err());
        }
        held.shrink_to(50);
        let mut other = in_flight.share();
        other.cover(50).unwrap();
        drop(held);
        other.cover(100).unwrap();
    }

    #[test]
    fn bytes_keep_their_share_until_their_last_part_is_dropped() {
        let in_flight = InFlight::new(1000);
        let mut growing = Growing::new(in_flight.share(), 10, 2000);
        growing.put(b"0123456789").unwrap();
        assert_eq!(in_flight.free.available_permits(), 1000);
        growing.put(&[b'x'; 500]).unwrap();
        // There is no room for twice as much, and there is for what is needed.
        growing.put(b"end").unwrap();
        growing.put(&[b'x'; 500]).unwrap_err();
        let bytes = growing.into_bytes();
        assert_eq!((bytes.len(), in_flight.free.available_permits()), (513, 487));
        let part = bytes.slice(512..);
        drop(bytes);
        assert_eq!(in_flight.free.available_permits(), 487);
        drop(part);
        assert_eq!(in_flight.free.available_permits(), 1000);
    }

    #[tokio::test]
    async fn a_share_can_be_waited_for() {
        let in_flight = InFlight::new(100);
        let held = in_flight.wait(100).await.unwrap();
        assert_eq!(held.bytes(), 100);
        let waiting = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.wait(40).await.unwrap().bytes() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        assert_eq!(waiting.await.unwrap(), 40);
    }

    #[test]
    fn an_item_takes_the_room_that_it_needs() {
        let in_flight = InFlight::new(100);
        let mut growing = Growing::new(in_flight.share(), 0, 1000);
        let item = |value| ItemRef { key: b"a", value: Some(value), seq: None };
        growing.put_item(item(&[b'v'; 20]), KeyForm::Utf8).unwrap();
        assert_eq!(growing.share.bytes(), growing.bytes.capacity());
        // Sixteen bytes that are six each when they are printed.
        growing.put_item(item(&[1; 16]), KeyForm::Utf8).unwrap_err();
    }
}
