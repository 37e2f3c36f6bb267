//! From the command line to the end of the process.
//!
//! 1. The configuration is read and checked.
//! 2. The socket is bound: a server that cannot be reached makes no directory. From here on
//!    `/healthz`, `/readyz` and `/version` answer.
//! 3. The directory of the store is made and checked, and the store is opened, which replays its log.
//! 4. One line on the standard output says that the server is ready, and where.
//! 5. SIGTERM or SIGINT drains, flushes, closes, and the process ends with 0. Another one ends it at
//!    once: like a crash, that loses nothing that was answered. The same one again within
//!    [`REPEAT`] is no other: some programs signal a process and then its group.

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser as _;
use lsm_engine::{Db, ErrorKind};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, Command, Config, ConfigError};
use crate::descriptors;
use crate::engine_options::options;
use crate::log;
use crate::serve::{Server, Timeouts};

/// Why the process ends, and with which number.
#[derive(Debug)]
struct Fatal {
    exit: u8,
    why: String,
}

/// Something failed.
const FAILED: u8 = 1;
/// The command line or the configuration is refused.
const REFUSED: u8 = 2;
/// Stored data is damaged.
const DAMAGED: u8 = 4;
/// Another process has the store.
const LOCKED: u8 = 5;
/// A signal ended the process before it had closed its store.
const INTERRUPTED: u8 = 130;

impl Fatal {
    fn failed(why: impl fmt::Display) -> Fatal {
        Fatal { exit: FAILED, why: why.to_string() }
    }
}

impl From<ConfigError> for Fatal {
    fn from(error: ConfigError) -> Fatal {
        Fatal { exit: REFUSED, why: error.0 }
    }
}

impl From<lsm_engine::Error> for Fatal {
    fn from(error: lsm_engine::Error) -> Fatal {
        let exit = match error.kind() {
            ErrorKind::InvalidArgument => REFUSED,
            ErrorKind::Corruption | ErrorKind::MissingFile => DAMAGED,
            ErrorKind::Locked => LOCKED,
            _ => FAILED,
        };
        Fatal { exit, why: error.to_string() }
    }
}

/// The program. Reads the command line and the environment, and serves until a signal comes.
#[must_use]
pub fn main() -> ExitCode {
    // Refused arguments end the process here, with 2.
    let command = Command::parse();
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            // If the standard error takes nothing, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "lsm-server: {}", fatal.why);
            ExitCode::from(fatal.exit)
        }
    }
}

fn run(command: &Command) -> Result<(), Fatal> {
    let token = match std::env::var("LSM_TOKEN") {
        Ok(token) => Some(token),
        Err(std::env::VarError::NotPresent) => None,
        Err(error) => return Err(ConfigError(format!("LSM_TOKEN: {error}")).into()),
    };
    let mut config = Config::load(command, token)?;
    if command.print_config {
        return print(&config.to_string());
    }
    log::init(config.log_format);
    log::keep_panics_private();
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if config::is_root() {
        tracing::warn!("the server runs as root and needs nothing of it");
    }
    config.max_connections = descriptors::connections(config.max_connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(Server::BLOCKING_THREADS)
        .build()
        .map_err(Fatal::failed)?;
    let outcome = runtime.block_on(serve(&config));
    // Nothing is left that is worth waiting for: a store that could be closed is closed.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: &Config) -> Result<(), Fatal> {
    let mut signals = Signals::listen().map_err(Fatal::failed)?;
    let server = Server::bind(config, Timeouts::default())
        .await
        .map_err(|error| Fatal::failed(format_args!("--listen {}: {error}", config.listen)))?;
    let data_dir = config::prepare_data_dir(&config.data_dir)?;
    let opening = open(config, data_dir.clone());
    let db = tokio::select! {
        opened = opening => opened?,
        () = server.accept() => unreachable!("accepting does not end"),
        _ = signals.next() => {
            return Err(Fatal { exit: INTERRUPTED, why: "stopped while recovering".into() });
        }
    };
    server.begin(db, &data_dir)?;
    let printed = print(&format!(
        "lsm-server {} listening on http://{} data={} durability={}\n",
        env!("CARGO_PKG_VERSION"),
        server.address(),
        data_dir.display(),
        config.durability.name(),
    ));
    // Its reader may be gone, or its disk full; the server is wanted all the same.
    if let Err(fatal) = printed {
        tracing::warn!("listening on http://{} but {}", server.address(), fatal.why);
    }
    let first = tokio::select! {
        () = server.accept() => unreachable!("accepting does not end"),
        first = signals.next() => first,
    };
    tracing::info!("closing; another signal ends the process at once");
    tokio::select! {
        closed = server.close() => closed.map_err(Fatal::from),
        () = signals.another(first) => Err(Fatal { exit: INTERRUPTED, why: "stopped while closing".into() }),
    }
}

/// Opens the store on a thread that may block.
async fn open(config: &Config, data_dir: PathBuf) -> Result<Db, Fatal> {
    let options = options(config)?;
    let opening = tokio::task::spawn_blocking(move || {
        Db::builder(data_dir).options(options).listener(log::engine_event).open()
    });
    let db = opening.await.map_err(Fatal::failed)??;
    log::recovery(db.recovery_report());
    Ok(db)
}

/// Writes to the standard output, at once.
fn print(text: &str) -> Result<(), Fatal> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        Fatal::failed(format_args!("cannot write to the standard output: {error}"))
    })
}

/// A signal of the same kind this soon after the first is that one once more.
const REPEAT: Duration = Duration::from_millis(500);

/// A signal that came.
#[derive(Clone, Copy, Debug)]
struct Received {
    kind: SignalKind,
    at: Instant,
}

impl Received {
    fn repeats(self, first: Received) -> bool {
        self.kind == first.kind && self.at.duration_since(first.at) < REPEAT
    }
}

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Received {
        let kind = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        };
        Received { kind, at: Instant::now() }
    }

    /// Waits for a signal that is not `first` once more.
    async fn another(&mut self, first: Received) {
        while self.next().await.repeats(first) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_signal_directly_behind_the_first_is_no_other() {
        let at = Instant::now();
        let first = Received { kind: SignalKind::terminate(), at };
        let again = |kind, after| Received { kind, at: at + after }.repeats(first);
        assert!(again(SignalKind::terminate(), Duration::ZERO));
        assert!(!again(SignalKind::terminate(), REPEAT));
        assert!(!again(SignalKind::interrupt(), Duration::ZERO));
    }
}
