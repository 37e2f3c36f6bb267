//! The socket that listens: accepting, limits, and the end.
//!
//! A server is bound before its store is open, so that whoever watches it can already ask how far it
//! is. Its end has four steps: no connection is accepted, those that are open finish the request that
//! they have begun, work that is still running is waited for, and the store is closed.

mod limits;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lsm_engine::Db;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{oneshot, watch};

use crate::app::{App, Phase};
use crate::config::{Config, ConfigError};
use crate::connection::{ConnectionState, WatchedStream};
use crate::guard::Guard;
use crate::pool::Pool;
use crate::service;
use limits::{Connections, Place};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From a connection, or the first byte of a later head, to the whole head.
    pub head: Duration,
    /// Between two requests of a connection.
    pub idle: Duration,
    /// A whole body, for each 32 MiB that it may have.
    pub body: Duration,
    /// How long a body may be slower than one KiB a second.
    pub body_grace: Duration,
    /// An answer of which the peer reads nothing, or less than one KiB a second for as long.
    pub write_stall: Duration,
    /// A page of a range, unless its first key is found later.
    pub page: Duration,
    /// A piece of the lines of a range, which is made in one go.
    pub piece: Duration,
    /// Between two signs of life of a range whose next line is not found.
    pub silence: Duration,
}

impl Timeouts {
    /// The slowest pace of a body and of an answer, in bytes a second.
    pub(crate) const SLOWEST: u64 = 1024;
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(30),
            body_grace: Duration::from_secs(5),
            write_stall: Duration::from_secs(30),
            page: Duration::from_secs(10),
            piece: Duration::from_millis(100),
            silence: Duration::from_secs(1),
        }
    }
}

/// How many header lines a request may have.
const MAX_HEADERS: usize = 64;
/// How much hyper buffers of a connection, and the longest head, in bytes.
const MAX_BUFFER: usize = 64 << 10;

/// A server that is bound.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    connections: Connections,
    drain_timeout: Duration,
    drain: watch::Sender<bool>,
}

impl Server {
    /// How many blocking threads the runtime should have on which the server runs.
    pub const BLOCKING_THREADS: usize = Pool::THREADS;

    /// Binds the address of the configuration.
    ///
    /// # Errors
    ///
    /// If the system refuses it.
    pub async fn bind(config: &Config, timeouts: Timeouts) -> io::Result<Server> {
        let listener = listen(&config.listen).await?;
        let address = listener.local_addr()?;
        let guard =
            Guard::new(address, &config.allow_host, &config.allow_origin, config.token.clone());
        Ok(Server {
            app: Arc::new(App::new(config, guard, timeouts)),
            listener,
            address,
            connections: Connections::new(config.max_connections, config.max_connections_per_ip),
            drain_timeout: config.drain_timeout,
            drain: watch::Sender::new(false),
        })
    }

    /// The address that was bound, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to serve the store that was opened in this directory.
    ///
    /// # Errors
    ///
    /// If there is no token for the admin routes, and none can be made.
    pub fn begin(&self, db: Db, data_dir: &Path) -> Result<(), ConfigError> {
        self.app.begin(db, data_dir)
    }

    /// Accepts connections for ever.
    pub async fn accept(&self) {
        let mut backoff = Backoff::default();
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    backoff = Backoff::default();
                    self.admit(stream, peer);
                }
                // The peer may be gone already, or there is no file descriptor left; neither is a
                // reason to end, and the second needs a moment.
                Err(error) => {
                    let pause = backoff.next();
                    crate::log::failure(&format_args!("cannot accept a connection: {error}"));
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Ends the requests that were begun, and then the store.
    ///
    /// # Errors
    ///
    /// If the store cannot be flushed or closed; what was answered is safe all the same.
    pub async fn close(self) -> Result<(), lsm_engine::Error> {
        self.app.set_phase(Phase::Draining);
        drop(self.listener);
        self.drain.send_replace(true);
        let drained = async {
            self.connections.idle().await;
            self.app.pool.idle().await;
        };
        if tokio::time::timeout(self.drain_timeout, drained).await.is_err() {
            tracing::warn!("some requests did not end within --drain-timeout");
        }
        let Some(db) = self.app.db().cloned() else { return Ok(()) };
        // A thread of its own: those of the pool may all stand behind what did not end.
        let (closed, when_closed) = oneshot::channel();
        let closing = std::thread::spawn(move || {
            let outcome = db.close();
            let _ = closed.send(());
            outcome
        });
        let _ = when_closed.await;
        closing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Serves a connection, or turns it away.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        match self.connections.take(peer.ip()) {
            Ok(place) => {
                let connection =
                    serve_connection(self.app.clone(), stream, peer, self.drain.subscribe(), place);
                tokio::spawn(connection);
            }
            Err(why) => {
                self.app.metrics.rejected(why);
                turn_away(&stream);
            }
        }
    }
}

/// Serves the requests of one connection until it ends.
async fn serve_connection(
    app: Arc<App>,
    stream: TcpStream,
    peer: SocketAddr,
    mut drain: watch::Receiver<bool>,
    _place: Place,
) {
    // Answers are small and wanted at once. A socket that refuses is as good as closed.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let _counted = app.metrics.connected();
    let state = Arc::new(ConnectionState::default());
    let timeouts = app.timeouts;
    let io = TokioIo::new(WatchedStream::new(stream, state.clone(), timeouts));
    let service =
        service_fn(|request| service::serve(app.clone(), peer.ip(), state.clone(), request));
    let connection = http1::Builder::new()
        // Without a timer hyper drops its timeouts in silence.
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.idle)
        // A client may say that it will send nothing more, and still want its answer.
        .half_close(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_BUFFER)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    // The guard that the wait gives back must not be held.
    let draining = async {
        let _ = drain.wait_for(|draining| *draining).await;
    };
    // How a connection ends is the peer's business: neither end is worth a line of the log.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = draining => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.as_mut().await;
        }
    }
}

/// Tells a peer that there is no place for it, if its socket takes that at once.
fn turn_away(stream: &TcpStream) {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
        Content-Length: 0\r\nConnection: close\r\n\r\n";
    // The socket is new and its buffer empty; a peer for which even this fails learns by the close.
    let _ = stream.try_write(BUSY);
}

/// How long to wait before the next try to accept: 5 ms, doubled with each failure up to 500 ms.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(5) * 2_u32.pow(self.failures.min(7));
        self.failures += 1;
        pause.min(Duration::from_millis(500))
    }
}

/// Connections that may wait to be accepted. What comes beyond is dropped by the system, and the
/// client tries again a second later.
const BACKLOG: u32 = 1024;

/// Listens on the first of the addresses of `host` that can be had.
async fn listen(host: &str) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the host has no address");
    for address in lookup_host(host).await? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that was just ended leaves connections behind that keep the port for a while.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_metrics::Rejection;

    #[test]
    fn a_shortage_of_descriptors_is_waited_out_for_less_than_a_second() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..10).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 500, 500, 500]);
    }

    #[test]
    fn rejections_of_connections_are_told_apart() {
        let connections = Connections::new(3, 1);
        let far = "192.0.2.1".parse().unwrap();
        let place = connections.take(far).unwrap();
        assert_eq!(connections.take(far).unwrap_err(), Rejection::ConnectionsPerIp);
        let near = "127.0.0.1".parse().unwrap();
        let _two = (connections.take(near).unwrap(), connections.take(near).unwrap());
        assert_eq!(connections.take(near).unwrap_err(), Rejection::Connections);
        drop(place);
        assert!(connections.take(far).is_ok());
    }
}
