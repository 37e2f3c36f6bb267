//! One layer of settings: the flags with the environment, or the file.
//!
//! The same structure is read by clap and by serde, so that a flag, its variable and its line in
//! the file cannot drift apart.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Deserialize;

use super::units::{Size, Span};

/// A REST server before an LSM key-value store.
///
/// Every flag can also be given in the environment (LSM_ and the flag in upper case, - as _) or in
/// the TOML file of --config (- as _). Flags win over the environment, the environment over the file.
/// A token is never given on the command line: use --token-file or LSM_TOKEN.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "lsm-server", version)]
pub struct Command {
    /// TOML file with settings
    #[arg(long, env = "LSM_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the configuration that results, and exit
    #[arg(long)]
    pub print_config: bool,
    /// What the flags and the environment say.
    #[command(flatten)]
    pub settings: Settings,
}

macro_rules! settings {
    ($(#[$meta:meta] $(#[$more:meta])* $name:ident: $type:ty,)*) => {
        /// What one place says about the configuration.
        #[derive(Clone, Debug, Default, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $(#[$meta] $(#[$more])* pub $name: Option<$type>,)*
        }

        impl Settings {
            /// These settings, and the others where these say nothing.
            #[must_use]
            pub fn over(self, under: Settings) -> Settings {
                Settings { $($name: self.$name.or(under.$name),)* }
            }
        }
    };
}

settings! {
    /// Address and port to listen on; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, env = "LSM_LISTEN", value_name = "ADDRESS")]
    listen: String,
    /// Directory of the store [default: ./data]
    #[arg(long, env = "LSM_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// What an answer to a write promises unless the request says otherwise [default: sync]
    #[arg(long, env = "LSM_DURABILITY")]
    durability: DurabilityLevel,
    /// Bytes of one memtable arena [default: 64MiB, or an eighth of the memory budget if less]
    #[arg(long, env = "LSM_MEMTABLE_SIZE", value_name = "SIZE")]
    memtable_size: Size,
    /// Bits of filter per key on the last level, 0 for none [default: 10]
    #[arg(long, env = "LSM_BLOOM_BITS_PER_KEY", value_name = "BITS")]
    bloom_bits_per_key: u32,
    /// How often background work looks for what no trigger announced [default: 10s]
    #[arg(long, env = "LSM_COMPACTION_INTERVAL", value_name = "DURATION")]
    compaction_interval: Span,
    /// Bytes of memory for the engine, at least two memtables [default: derived from the machine's
    /// memory]
    #[arg(long, env = "LSM_MEMORY_BUDGET", value_name = "SIZE")]
    memory_budget: Size,
    /// File whose one line is the token that requests must carry
    #[arg(long, env = "LSM_TOKEN_FILE", value_name = "FILE")]
    token_file: PathBuf,
    /// Largest value [default: 16MiB]
    #[arg(long, env = "LSM_MAX_VALUE_BYTES", value_name = "SIZE")]
    max_value_bytes: Size,
    /// Largest JSON body [default: 32MiB]
    #[arg(long, env = "LSM_MAX_BODY_BYTES", value_name = "SIZE")]
    max_body_bytes: Size,
    /// How many connections are served at once [default: 1024]
    #[arg(long, env = "LSM_MAX_CONNECTIONS", value_name = "COUNT")]
    max_connections: u32,
    /// How many of them one remote address may have [default: 128]
    #[arg(long, env = "LSM_MAX_CONNECTIONS_PER_IP", value_name = "COUNT")]
    max_connections_per_ip: u32,
    /// How long a write waits for the engine's backlog [default: 5s]
    #[arg(long, env = "LSM_WRITE_STALL_TIMEOUT", value_name = "DURATION")]
    write_stall_timeout: Span,
    /// How long a shutdown waits for requests that were begun [default: 10s]
    #[arg(long, env = "LSM_DRAIN_TIMEOUT", value_name = "DURATION")]
    drain_timeout: Span,
    /// Further name under which the server is reached, name or name:port (repeatable)
    #[arg(long, env = "LSM_ALLOW_HOST", value_name = "HOST", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// Origin of a web page that may send requests (repeatable)
    #[arg(long, env = "LSM_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,
    /// Serve beyond the loopback interface without a token
    #[arg(
        long, env = "LSM_INSECURE_NO_AUTH", value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    insecure_no_auth: bool,
    /// Serve beyond the loopback interface without encryption
    #[arg(
        long, env = "LSM_INSECURE_NO_TLS", value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    insecure_no_tls: bool,
    /// How log lines look [default: text]
    #[arg(long, env = "LSM_LOG_FORMAT")]
    log_format: LogFormat,
}

/// What an answer to a write promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityLevel {
    /// The write is on disk
    #[default]
    Sync,
    /// The write survives the process, not a loss of power
    Buffered,
}

impl DurabilityLevel {
    /// The word that flags, parameters and headers use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DurabilityLevel::Sync => "sync",
            DurabilityLevel::Buffered => "buffered",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

impl LogFormat {
    /// The word that the flag uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}
