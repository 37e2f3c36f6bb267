//! The socket of one connection, as hyper sees it.
//!
//! What passes through is watched for what hyper leaves to others:
//!
//! - the head of a request has to be whole a while after its first byte, and the first head a while
//!   after the connection was made;
//! - a peer that reads nothing of its answer for a while, or next to nothing for long, is let go by
//!   a reset, so that it learns of it whatever its window is;
//! - heads are scanned for what makes smuggling possible ([`HeadScanner`]).
//!
//! And it tells a body that has to fail when everything before it is on its way.
//!
//! How long a connection may idle between requests is hyper's own header timeout, which begins where
//! the last answer ended; how long a body may take is watched where bodies are read.
//!
//! A connection closes in two steps: the answer's end is sent, and what the peer still sends is read
//! for a moment and thrown away. Otherwise the system would reset the connection, and a peer that is
//! still sending a refused body would never see why.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::head::{Defect, HeadScanner};
use crate::serve::Timeouts;

/// What the socket and the requests on it tell one another.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    phase: AtomicU8,
    defect: AtomicU8,
    /// Whether a body waits until the socket has taken what came before it.
    awaits_flush: AtomicBool,
}

/// Nothing of the next request has arrived.
const IDLE: u8 = 0;
/// A part of a head has arrived.
const HEAD: u8 = 1;
/// A request is being served.
const SERVING: u8 = 2;

// Everything of a connection happens in one task, so that no access to these atomics needs to be
// ordered with another; they are atomic because the service and the socket share them.
impl ConnectionState {
    /// The head of a request is whole.
    pub(crate) fn begin_request(&self) {
        self.phase.store(SERVING, Ordering::Relaxed);
    }

    /// The answer was handed to the socket.
    pub(crate) fn end_request(&self) {
        self.phase.store(IDLE, Ordering::Relaxed);
    }

    /// Asks the socket to wake the connection's task when it has taken everything.
    pub(crate) fn await_flush(&self) {
        self.awaits_flush.store(true, Ordering::Relaxed);
    }

    /// Whether the socket has taken everything since it was asked.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.awaits_flush.load(Ordering::Relaxed)
    }

    /// What was wrong with a head of this connection.
    pub(crate) fn defect(&self) -> Option<Defect> {
        Defect::from_number(self.defect.load(Ordering::Relaxed))
    }
}

/// A socket with its watch.
#[derive(Debug)]
pub(crate) struct WatchedStream {
    stream: TcpStream,
    state: Arc<ConnectionState>,
    scanner: HeadScanner,
    timeouts: Timeouts,
    /// When the head that began to arrive must be whole.
    head_deadline: Deadline,
    /// How an answer goes that the peer does not take at once, and when it is given up.
    sending: Option<Sending>,
    write_deadline: Deadline,
    /// While closing: when to stop reading what nobody wants.
    linger_deadline: Deadline,
    has_sent_end: bool,
}

impl WatchedStream {
    /// How long is read and thrown away while closing.
    const LINGER: Duration = Duration::from_secs(1);

    /// Watches a connection that was just made.
    pub(crate) fn new(
        stream: TcpStream,
        state: Arc<ConnectionState>,
        timeouts: Timeouts,
    ) -> WatchedStream {
        state.phase.store(HEAD, Ordering::Relaxed);
        let mut head_deadline = Deadline::default();
        head_deadline.set(timeouts.head);
        WatchedStream {
            stream,
            state,
            scanner: HeadScanner::default(),
            timeouts,
            head_deadline,
            sending: None,
            write_deadline: Deadline::default(),
            linger_deadline: Deadline::default(),
            has_sent_end: false,
        }
    }

    fn note_read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Err(defect) = self.scanner.feed(bytes) {
            self.state.defect.store(defect as u8, Ordering::Relaxed);
        }
        if self.state.phase.load(Ordering::Relaxed) == IDLE {
            self.begin_head();
        }
    }

    fn begin_head(&mut self) {
        self.state.phase.store(HEAD, Ordering::Relaxed);
        self.head_deadline.set(self.timeouts.head);
    }

    /// Gives a write up that made no progress for too long, or too little for very long.
    fn watch_write(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match progress {
            Poll::Ready(outcome) => {
                if let (Some(sending), Ok(len)) = (&mut self.sending, &outcome) {
                    sending.note(*len, Instant::now());
                }
                return Poll::Ready(outcome);
            }
            Poll::Pending => {}
        }
        let sending = *self.sending.get_or_insert_with(|| Sending::new(Instant::now()));
        self.write_deadline.set_at(sending.deadline(self.timeouts.write_stall));
        ready!(self.write_deadline.poll(cx));
        // The system would keep what the peer has not read, for minutes and up to megabytes, and send
        // it at a pace at which the peer might see neither data nor an end. Failing to say so leaves
        // it at that.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads until the peer is done or has had its moment.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.linger_deadline.is_set() {
            self.linger_deadline.set(Self::LINGER.min(self.timeouts.head));
        }
        let mut space = [0; 16 << 10];
        loop {
            if self.linger_deadline.poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                self.note_read(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let phase = self.state.phase.load(Ordering::Relaxed);
                if phase == IDLE && self.scanner.is_inside_head() {
                    // Its first bytes came together with the request before it.
                    self.begin_head();
                } else if phase != HEAD {
                    return Poll::Pending;
                }
                ready!(self.head_deadline.poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_write(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch_write(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // hyper flushes the socket when nothing is left in its own buffer.
        self.sending = None;
        if self.state.awaits_flush.swap(false, Ordering::Relaxed) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_sent_end {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.has_sent_end = true;
        }
        ready!(self.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}

/// How far an answer has come since its peer first did not take it at once.
#[derive(Clone, Copy, Debug)]
struct Sending {
    since: Instant,
    last_progress: Instant,
    sent: u64,
}

impl Sending {
    fn new(now: Instant) -> Sending {
        Sending { since: now, last_progress: now, sent: 0 }
    }

    fn note(&mut self, len: usize, now: Instant) {
        self.sent += len as u64;
        self.last_progress = now;
    }

    /// When it is given up unless the peer takes more: after a stall, or when it fell behind the
    /// slowest pace by as much.
    fn deadline(&self, stall: Duration) -> Instant {
        let paid = Duration::from_millis(self.sent * 1000 / Timeouts::SLOWEST);
        (self.last_progress + stall).min(self.since + stall + paid)
    }
}

/// A point in time at which something is given up. The timer behind it is made when it is first
/// waited for, because nearly every deadline is met before that.
#[derive(Debug, Default)]
struct Deadline {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    fn set(&mut self, after: Duration) {
        self.set_at(Instant::now() + after);
    }

    fn set_at(&mut self, at: Instant) {
        self.at = Some(at);
    }

    fn is_set(&self) -> bool {
        self.at.is_some()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    /// After how many seconds an answer is given up whose peer takes so many bytes every so often.
    fn given_up_after(len: usize, every: u64) -> Option<u64> {
        let start = Instant::now();
        let mut sending = Sending::new(start);
        for seconds in (every..100_000).step_by(every as usize) {
            let now = start + Duration::from_secs(seconds);
            let deadline = sending.deadline(STALL);
            if deadline <= now {
                return Some((deadline - start).as_secs());
            }
            sending.note(len, now);
        }
        None
    }

    #[test]
    fn an_answer_has_a_slowest_pace() {
        assert_eq!(given_up_after(1, 29), Some(30));
        assert_eq!(given_up_after(1000, 29), Some(30));
        assert_eq!(given_up_after(20 << 10, 29), Some(50));
        assert_eq!(given_up_after(512, 1), Some(59));
        assert_eq!(given_up_after(1024, 1), None);
        assert_eq!(given_up_after(1 << 20, 29), None);
        assert_eq!(given_up_after(1 << 30, 31), Some(30));
    }
}
