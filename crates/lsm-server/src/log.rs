//! The log: lines on the standard error, escaped, and never a flood.
//!
//! A line that cannot be written is lost, and nothing else: the disk of the log may be full, or the
//! reader of a pipe gone, and the store is wanted all the same.
//!
//! Nothing that a client stored or sent as a secret is ever logged. What else came from outside (a
//! path, an address) is printed through [`Escaped`].

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lsm_engine::{Event, RecoveryReport};
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// Begins to log. A process does this once; a second call changes nothing.
pub(crate) fn init(format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        // The default tells of a line that could not be written by a macro that panics if it cannot
        // write either; the hook would log that panic, and a panic in the hook aborts.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(false);
    // A test in the same process may have begun before.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Logs where a panic was and not what it said, because its message may hold what a client stored.
pub(crate) fn keep_panics_private() {
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(place) => tracing::error!("panicked at {place}"),
        None => tracing::error!("panicked"),
    }));
}

/// Logs a failure, at most a few times a second.
pub(crate) fn failure(error: &dyn fmt::Display) {
    static LIMIT: Mutex<Limit> = Mutex::new(Limit::new());
    let passed = LIMIT.lock().expect("no holder of this lock panics").pass(Instant::now());
    if let Some(left_out) = passed {
        let error = Escaped(error.to_string().as_bytes()).to_string();
        tracing::error!(left_out, "{error}");
    }
}

/// Logs what the engine tells of its background work. Flushes and compactions are counted in the
/// metrics; a line is written for what somebody may have to act upon.
pub(crate) fn engine_event(event: &Event) {
    match event {
        Event::BackgroundError { work, error } => {
            failure(&format_args!("background work ({work}) failed: {error}"));
        }
        Event::LowSpace { free, reserve } => {
            tracing::warn!(free, reserve, "the disk is nearly full: puts are refused");
        }
        Event::Resumed => tracing::info!("there is space on the disk again: writes go on"),
        _ => {}
    }
}

/// Logs what the open of the store found, if it had not been closed.
pub(crate) fn recovery(report: &RecoveryReport) {
    if report.manifest_dropped_bytes != 0 {
        tracing::warn!(
            bytes = report.manifest_dropped_bytes,
            "the end of the MANIFEST was dropped"
        );
    }
    if report.is_new || report.was_closed {
        return;
    }
    let millis = report.duration.as_millis();
    tracing::info!(
        records = report.replayed_records,
        bytes = report.replayed_bytes,
        dropped_bytes = report.dropped_bytes,
        orphans_removed = report.orphans_removed,
        millis,
        "the store had not been closed; its log was replayed"
    );
    if let Some(reason) = &report.drop_reason {
        tracing::warn!("the end of the log was dropped: {}", Escaped(reason.as_bytes()));
    }
}

/// Bytes from outside: printable ASCII as it is, every other byte as `\xNN`, at most 256 of them.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 256;
        for &byte in self.0.iter().take(LONGEST) {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                b' '..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        if LONGEST < self.0.len() { f.write_str("...") } else { Ok(()) }
    }
}

/// Lets so many lines of a second pass, and counts the rest.
struct Limit {
    second: Option<Instant>,
    passed: u32,
    left_out: u64,
}

impl Limit {
    const PER_SECOND: u32 = 10;

    const fn new() -> Limit {
        Limit { second: None, passed: 0, left_out: 0 }
    }

    /// Whether a line passes now; if so, how many did not since the last one that did.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.second.is_none_or(|second| Duration::from_secs(1) <= now.duration_since(second)) {
            self.second = Some(now);
            self.passed = 0;
        }
        if self.passed == Limit::PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_breaks_a_line_or_a_terminal() {
        let hostile = "a\r\nb\x1b[2J\u{202e}\\".as_bytes();
        assert_eq!(Escaped(hostile).to_string(), r"a\x0d\x0ab\x1b[2J\xe2\x80\xae\\");
        let long = Escaped(&[b'a'; 300]).to_string();
        assert_eq!(long.len(), 259);
        assert!(long.ends_with("..."));
    }

    #[test]
    fn a_flood_is_counted_and_not_printed() {
        let mut limit = Limit::new();
        let start = Instant::now();
        let passed = (0..25).filter(|_| limit.pass(start).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(limit.pass(start + Duration::from_secs(1)), Some(15));
    }
}
