//! What all requests share.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use lsm_engine::Db;

use crate::config::{Config, ConfigError, DurabilityLevel, admin_token};
use crate::guard::Guard;
use crate::http_metrics::HttpMetrics;
use crate::in_flight::InFlight;
use crate::jobs::Jobs;
use crate::pool::Pool;
use crate::serve::Timeouts;

/// Bodies and large answers that the server holds at once.
const IN_FLIGHT_BYTES: u32 = 256 << 20;

/// The server behind the sockets.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) guard: Guard,
    pub(crate) pool: Pool,
    pub(crate) in_flight: InFlight,
    pub(crate) metrics: HttpMetrics,
    pub(crate) jobs: Jobs,
    pub(crate) timeouts: Timeouts,
    pub(crate) max_value_bytes: u64,
    pub(crate) max_body_bytes: u64,
    pub(crate) durability: DurabilityLevel,
    pub(crate) write_stall_timeout: Duration,
    pub(crate) started: Instant,
    needs_admin_token: bool,
    phase: AtomicU8,
    db: OnceLock<Db>,
}

/// Where the server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The store is being opened.
    Recovering,
    /// Requests are served.
    Serving,
    /// Requests that were begun are finished, and no other begins.
    Draining,
}

impl App {
    /// The server before its store is open.
    pub(crate) fn new(config: &Config, guard: Guard, timeouts: Timeouts) -> App {
        App {
            guard,
            // Every connection may have one request that waits, and those of clients that went away
            // may still be running.
            pool: Pool::new(config.max_connections.saturating_mul(2)),
            in_flight: InFlight::new(IN_FLIGHT_BYTES),
            metrics: HttpMetrics::default(),
            jobs: Jobs::default(),
            timeouts,
            max_value_bytes: config.max_value_bytes,
            max_body_bytes: config.max_body_bytes,
            durability: config.durability,
            write_stall_timeout: config.write_stall_timeout,
            started: Instant::now(),
            needs_admin_token: config.token.is_none(),
            phase: AtomicU8::new(Phase::Recovering as u8),
            db: OnceLock::new(),
        }
    }

    /// Begins to serve a store that was opened in this directory.
    pub(crate) fn begin(&self, db: Db, data_dir: &Path) -> Result<(), ConfigError> {
        if self.needs_admin_token {
            self.guard.set_admin_token(admin_token(data_dir)?);
        }
        let is_first = self.db.set(db).is_ok();
        assert!(is_first, "a server serves one store");
        self.set_phase(Phase::Serving);
        Ok(())
    }

    /// The store, once it is open.
    pub(crate) fn db(&self) -> Option<&Db> {
        self.db.get()
    }

    /// Where the server is in its life.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Recovering,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// Moves on.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }
}
