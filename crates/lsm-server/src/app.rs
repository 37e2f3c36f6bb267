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

/// Bodies and large answers that the server holds at once, in bytes: this much, or what the largest
/// value as JSON and the largest body take, so that neither waits for memory that there never is.
/// With 64 KiB that hyper may buffer of each of 1,024 connections it is 256 MiB.
const IN_FLIGHT_BYTES: u64 = 192 << 20;

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
            in_flight: InFlight::new(in_flight_bytes(config)),
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

fn in_flight_bytes(config: &Config) -> u32 {
    // Each byte of a value is six as JSON at most, and as many of a key, of which there may be 64 KiB.
    let largest_item = 6 * (config.max_value_bytes + (64 << 10)) + (4 << 10);
    let bytes = IN_FLIGHT_BYTES.max(largest_item + config.max_body_bytes);
    u32::try_from(bytes).expect("the configuration has limits for both")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, Size};

    #[test]
    fn the_largest_value_and_the_largest_body_always_have_room() {
        let bytes = |value: u64, body: u64| {
            let settings = Settings {
                max_value_bytes: Some(Size(value)),
                max_body_bytes: Some(Size(body)),
                ..Settings::default()
            };
            u64::from(in_flight_bytes(&Config::resolve(settings, None).unwrap()))
        };
        assert_eq!(bytes(16 << 20, 32 << 20), 192 << 20);
        assert_eq!(bytes(1, 1), 192 << 20);
        assert!(6 * (200 << 20) + (300 << 20) <= bytes(200 << 20, 300 << 20));
        assert!(6 * (256 << 20) + (512 << 20) <= bytes(256 << 20, 512 << 20));
    }
}
