//! The server's configuration: where it comes from and what is refused.
//!
//! A setting is looked up in four places, and the first that has it wins: the flag, the environment
//! (`LSM_` and the flag in upper case), the TOML file that `--config` names (the flag with `_`), the
//! default. [`Settings`] is one such layer; [`Config`] is what they come to, checked.
//!
//! Invariant: a `Config` that exists is safe to serve. Beyond the loopback interface that takes a
//! token and, until the server speaks TLS, a word that plain text is meant; each has a flag that
//! overrides it by name.

mod files;
mod settings;
mod units;

pub(crate) use files::is_root;
pub use files::{Token, admin_token, prepare_data_dir};
pub use settings::{Command, DurabilityLevel, LogFormat, Settings};
pub use units::{Size, Span};

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::wire;

/// Why a configuration is refused, in one sentence that names the flag. The process ends with 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The largest value that the library takes; a server may allow less.
const LARGEST_VALUE: u64 = 256 << 20;
/// The largest batch that the library takes, and so the largest body worth reading.
const LARGEST_BODY: u64 = 512 << 20;

/// Every setting of the server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address and port on which to listen; port 0 takes any that is free.
    pub listen: String,
    /// The directory of the store.
    pub data_dir: PathBuf,
    /// What an answer to a write promises unless the request says otherwise.
    pub durability: DurabilityLevel,
    /// Bytes of one memtable arena; `None` is 64 MiB, or an eighth of the memory budget if that is
    /// less.
    pub memtable_size: Option<u64>,
    /// Bits of filter per key on the last level; 0 is none.
    pub bloom_bits_per_key: u32,
    /// How often background work looks for what no trigger announced.
    pub compaction_interval: Duration,
    /// Bytes of memory for the engine; `None` lets it derive them from the machine.
    pub memory_budget: Option<u64>,
    /// The token that every data route asks for.
    pub token: Option<Token>,
    /// Where the token came from, for `--print-config`.
    token_source: Option<String>,
    /// Whether other users of the machine may read the file that the token came from.
    is_token_shared: bool,
    /// The largest value, in bytes.
    pub max_value_bytes: u64,
    /// The largest JSON body, in bytes.
    pub max_body_bytes: u64,
    /// How many connections are served at once.
    pub max_connections: u32,
    /// How many of them one remote address may have; the loopback addresses are exempt.
    pub max_connections_per_ip: u32,
    /// How long a write waits for the engine's backlog before the answer is `busy`.
    pub write_stall_timeout: Duration,
    /// How long a shutdown waits for requests that were begun.
    pub drain_timeout: Duration,
    /// Further names, with or without a port, under which the server is reached.
    pub allow_host: Vec<String>,
    /// Origins of web pages that may send requests.
    pub allow_origin: Vec<String>,
    /// Serve data beyond the loopback interface without a token.
    pub insecure_no_auth: bool,
    /// Serve data beyond the loopback interface without encryption.
    pub insecure_no_tls: bool,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Config {
    /// Reads the file and the token that the settings name, fills in defaults, and checks.
    ///
    /// `token` is the value of `LSM_TOKEN`.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or understood, or a rule is broken.
    pub fn load(command: &Command, token: Option<String>) -> Result<Config, ConfigError> {
        let settings = match &command.config {
            None => command.settings.clone(),
            Some(path) => command.settings.clone().over(files::read_settings(path)?),
        };
        Config::resolve(settings, token)
    }

    /// Fills in defaults and checks.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn resolve(settings: Settings, token: Option<String>) -> Result<Config, ConfigError> {
        let (token, token_source, is_token_shared) = match (&settings.token_file, token) {
            (Some(path), _) => {
                let files::TokenFile { token, is_shared } = files::read_token(path)?;
                (Some(token), Some(format!("file {}", path.display())), is_shared)
            }
            (None, Some(text)) => {
                let token = Token::new(&text, "LSM_TOKEN")?;
                (Some(token), Some("environment LSM_TOKEN".to_owned()), false)
            }
            (None, None) => (None, None, false),
        };
        let size = |size: Option<Size>, default| size.map_or(default, |size| size.0);
        let span = |span: Option<Span>, default| span.map_or(default, |span| span.0);
        let config = Config {
            listen: settings.listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned()),
            data_dir: settings.data_dir.unwrap_or_else(|| "./data".into()),
            durability: settings.durability.unwrap_or_default(),
            memtable_size: settings.memtable_size.map(|size| size.0),
            bloom_bits_per_key: settings.bloom_bits_per_key.unwrap_or(10),
            compaction_interval: span(settings.compaction_interval, Duration::from_secs(10)),
            memory_budget: settings.memory_budget.map(|size| size.0),
            token,
            token_source,
            is_token_shared,
            max_value_bytes: size(settings.max_value_bytes, 16 << 20),
            max_body_bytes: size(settings.max_body_bytes, 32 << 20),
            max_connections: settings.max_connections.unwrap_or(1024),
            max_connections_per_ip: settings.max_connections_per_ip.unwrap_or(128),
            write_stall_timeout: span(settings.write_stall_timeout, Duration::from_secs(5)),
            drain_timeout: span(settings.drain_timeout, Duration::from_secs(10)),
            allow_host: settings.allow_host.unwrap_or_default(),
            allow_origin: settings.allow_origin.unwrap_or_default(),
            insecure_no_auth: settings.insecure_no_auth.unwrap_or(false),
            insecure_no_tls: settings.insecure_no_tls.unwrap_or(false),
            log_format: settings.log_format.unwrap_or_default(),
        };
        config.check_limits()?;
        config.check_names()?;
        config.check_exposure()?;
        Ok(config)
    }

    /// Whether only this machine can reach the address. A host name counts as reachable from
    /// elsewhere, because what it resolves to is not ours to decide.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.listen.rsplit_once(':').map_or("", |(host, _)| host);
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// What is less safe than it might be, for the log.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if !self.is_loopback() && self.token.is_none() {
            warnings.push("--insecure-no-auth: whoever reaches the port may read and write");
        }
        if !self.is_loopback() {
            warnings.push("--insecure-no-tls: tokens and data cross the network in plain text");
        }
        if self.is_token_shared {
            warnings.push("--token-file: other users of this machine may read it; chmod 600 it");
        }
        warnings
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let within = |flag: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(ConfigError(format!("--{flag} must be from {least} to {most}, not {value}")))
        };
        within("max-value-bytes", self.max_value_bytes, 1, LARGEST_VALUE)?;
        within("max-body-bytes", self.max_body_bytes, 1, LARGEST_BODY)?;
        within("max-connections", self.max_connections.into(), 1, 1 << 20)?;
        within("max-connections-per-ip", self.max_connections_per_ip.into(), 1, 1 << 20)?;
        within("bloom-bits-per-key", self.bloom_bits_per_key.into(), 0, 32)?;
        self.memtable_size.map_or(Ok(()), |bytes| within("memtable-size", bytes, 64 << 10, 4 << 30))
    }

    fn check_names(&self) -> Result<(), ConfigError> {
        let port = self
            .listen
            .rsplit_once(':')
            .and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
        if port.is_none() {
            let given = &self.listen;
            return Err(ConfigError(format!("--listen must be address:port, not {given:?}")));
        }
        for host in &self.allow_host {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
            // Without brackets the last group of an IPv6 address reads as a port.
            let is_bare_ipv6 = host.parse::<Ipv6Addr>().is_ok();
            if host.is_empty() || is_bare_ipv6 || !host.bytes().all(plain) {
                return Err(ConfigError(format!(
                    "--allow-host must be a name or [IPv6 address], with or without a port, not \
                     {host:?}"
                )));
            }
        }
        for origin in &self.allow_origin {
            let name = origin.strip_prefix("https://").or(origin.strip_prefix("http://"));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
            if !name.is_some_and(|name| !name.is_empty() && name.bytes().all(plain)) {
                return Err(ConfigError(format!(
                    "--allow-origin must be scheme://host[:port], not {origin:?}"
                )));
            }
        }
        Ok(())
    }

    fn check_exposure(&self) -> Result<(), ConfigError> {
        if self.is_loopback() {
            return Ok(());
        }
        let listen = &self.listen;
        if self.token.is_none() && !self.insecure_no_auth {
            return Err(ConfigError(format!(
                "--listen {listen} can be reached from other machines: give a token by \
                 --token-file or LSM_TOKEN, or say --insecure-no-auth"
            )));
        }
        if !self.insecure_no_tls {
            return Err(ConfigError(format!(
                "--listen {listen} can be reached from other machines, and this release does not \
                 speak TLS: put a proxy that does before a loopback address, or say \
                 --insecure-no-tls"
            )));
        }
        Ok(())
    }
}

/// The configuration as a TOML file that gives the same again, without the token.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A JSON string is a TOML string.
        let text = |text: &str| {
            let mut quoted = Vec::new();
            wire::put_string(&mut quoted, text);
            String::from_utf8(quoted).expect("a string in quotes is a string")
        };
        let list =
            |items: &[String]| items.iter().map(|item| text(item)).collect::<Vec<_>>().join(", ");
        writeln!(f, "listen = {}", text(&self.listen))?;
        writeln!(f, "data_dir = {}", text(&self.data_dir.to_string_lossy()))?;
        writeln!(f, "durability = {}", text(self.durability.name()))?;
        match self.memtable_size {
            Some(bytes) => writeln!(f, "memtable_size = {}", text(&Size(bytes).to_string()))?,
            None => writeln!(f, "# memtable_size is 64MiB, or an eighth of a smaller budget")?,
        }
        writeln!(f, "bloom_bits_per_key = {}", self.bloom_bits_per_key)?;
        writeln!(f, "compaction_interval = {}", text(&Span(self.compaction_interval).to_string()))?;
        match self.memory_budget {
            Some(bytes) => writeln!(f, "memory_budget = {}", text(&Size(bytes).to_string()))?,
            None => writeln!(f, "# memory_budget is derived from the machine's memory")?,
        }
        match &self.token_source {
            Some(source) => writeln!(f, "# a token is set: {}", source.escape_debug())?,
            None => writeln!(f, "# no token is set")?,
        }
        writeln!(f, "max_value_bytes = {}", text(&Size(self.max_value_bytes).to_string()))?;
        writeln!(f, "max_body_bytes = {}", text(&Size(self.max_body_bytes).to_string()))?;
        writeln!(f, "max_connections = {}", self.max_connections)?;
        writeln!(f, "max_connections_per_ip = {}", self.max_connections_per_ip)?;
        writeln!(f, "write_stall_timeout = {}", text(&Span(self.write_stall_timeout).to_string()))?;
        writeln!(f, "drain_timeout = {}", text(&Span(self.drain_timeout).to_string()))?;
        writeln!(f, "allow_host = [{}]", list(&self.allow_host))?;
        writeln!(f, "allow_origin = [{}]", list(&self.allow_origin))?;
        writeln!(f, "insecure_no_auth = {}", self.insecure_no_auth)?;
        writeln!(f, "insecure_no_tls = {}", self.insecure_no_tls)?;
        writeln!(f, "log_format = {}", text(self.log_format.name()))
    }
}

#[cfg(test)]
mod tests;
