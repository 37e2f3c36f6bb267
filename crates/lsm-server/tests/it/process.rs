//! The binary: configuration (S-1, S-7, S-26), the line it prints, signals (S-25).

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lsm_base::FileName;

use crate::client::Client;

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lsm-server"));
    // A mistake that is made on purpose is made by this process.
    let is_setting = |name: &str| name.starts_with("LSM_") && name != "LSM_PLANT";
    for (name, _) in std::env::vars().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end. A server that starts is ended by force: it was not meant to.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut child = command().args(arguments).envs(environment.iter().copied()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (mut out, mut error) = (String::new(), String::new());
    stdout.read_line(&mut out).unwrap();
    if out.contains(" listening on ") {
        child.kill().unwrap();
    }
    stdout.read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    (child.wait().unwrap().code().unwrap_or(-1), out, error)
}

/// A server process; killed if a test leaves it behind.
pub(crate) struct Process {
    child: Child,
    line: String,
    address: SocketAddr,
}

impl Process {
    pub(crate) fn start(data: &Path, change: impl FnOnce(&mut Command)) -> Process {
        let mut command = command();
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        change(&mut command);
        Process::of(command)
    }

    fn of(mut command: Command) -> Process {
        command.stderr(Stdio::null());
        Process::with_log(command)
    }

    /// A process whose log goes where the command says.
    pub(crate) fn with_log(mut command: Command) -> Process {
        let mut child = command.spawn().unwrap();
        let (line, address) = announced(child.stdout.as_mut().unwrap());
        Process { child, line, address }
    }

    /// A process that cannot write to its standard output: its log has the address.
    pub(crate) fn without_output(mut command: Command) -> Process {
        let mut child = command.spawn().unwrap();
        let (line, address) = announced(child.stderr.as_mut().unwrap());
        Process { child, line, address }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a signal by the shell's own `kill`: a small machine may have no program of this name.
    fn signal(&self, name: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"kill -s "$0" "$1""#, name, &self.child.id().to_string()]);
        assert!(shell.status().unwrap().success());
    }

    fn wait(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    pub(crate) fn end(&mut self) {
        self.signal("TERM");
        assert_eq!(self.wait(), 0);
    }

    /// Ends the process, and returns what it has logged.
    pub(crate) fn into_log(mut self) -> String {
        self.end();
        let mut log = String::new();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut log).unwrap();
        log
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        target: &str,
        body: &str,
    ) -> Option<crate::client::Reply> {
        let mut client = Client::connect(self.address);
        client
            .try_send(format!(
                "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
                self.address,
                body.len()
            ))
            .ok()?;
        client.reply_to(method)
    }
}

/// The first line of a stream that has the address of a server, and the address.
fn announced(stream: impl Read) -> (String, SocketAddr) {
    let mut stream = BufReader::new(stream);
    let mut said = String::new();
    loop {
        let begin = said.len();
        assert_ne!(stream.read_line(&mut said).unwrap(), 0, "no address in {said:?}");
        let line = &said[begin..];
        let rest = line.split_once("http://").map(|(_, rest)| rest);
        if let Some(address) = rest.and_then(|rest| rest.split(' ').next()?.parse().ok()) {
            return (line.to_owned(), address);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn s1_s7_refused_configurations_end_with_2_and_name_the_flag() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let short = dir.path().join("short");
    std::fs::write(&short, "short\n").unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "colour = \"red\"\n").unwrap();
    let (short, config) = (short.to_str().unwrap(), config.to_str().unwrap());
    let long = ("LSM_TOKEN", "0123456789abcdef");
    for (arguments, environment, named) in [
        (&["--listen", "0.0.0.0:0"][..], &[][..], "--insecure-no-auth"),
        (&["--listen", "[::]:0"], &[], "--insecure-no-auth"),
        (&["--listen", "localhost:0"], &[], "--insecure-no-auth"),
        (&["--listen", "0.0.0.0:0"], &[long], "--insecure-no-tls"),
        (&["--listen", "nonsense"], &[], "--listen"),
        (&["--token-file", short], &[], "at least 16"),
        (&["--token-file", "/nonexistent"], &[], "--token-file"),
        (&[], &[("LSM_TOKEN", "")], "LSM_TOKEN"),
        (&["--token", "0123456789abcdef"], &[], "--token"),
        (&["--config", config], &[], "colour"),
        (&["--memtable-size", "64MB"], &[], "--memtable-size"),
        (&["--no-such-flag"], &[], "--no-such-flag"),
        (&[], &[("LSM_DURABILITY", "never")], "never"),
    ] {
        let arguments = [&["--data-dir", data], arguments].concat();
        let (code, out, error) = run(&arguments, environment);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {error}");
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
    assert!(!Path::new(data).exists(), "a refused configuration makes nothing");
}

#[test]
fn a_port_that_is_taken_makes_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, out, error) =
        run(&["--listen", &address, "--data-dir", data.to_str().unwrap()], &[]);
    assert_eq!((code, out.as_str()), (1, ""), "{error}");
    assert!(error.contains(&format!("--listen {address}")), "{error}");
    assert!(!data.exists());
}

#[test]
fn settings_come_from_flags_before_the_environment_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "max_connections = 1\nmax_value_bytes = 1\nmax_body_bytes = 1\n")
        .unwrap();
    let (code, out, _) = run(
        &["--print-config", "--config", config.to_str().unwrap(), "--max-connections", "3"],
        &[
            ("LSM_MAX_CONNECTIONS", "2"),
            ("LSM_MAX_VALUE_BYTES", "2KiB"),
            ("LSM_TOKEN", "0123456789abcdef"),
            ("LSM_INSECURE_NO_TLS", "true"),
        ],
    );
    assert_eq!(code, 0);
    for line in [
        "max_connections = 3",
        "max_value_bytes = \"2KiB\"",
        "max_body_bytes = \"1\"",
        "drain_timeout = \"10s\"",
        "insecure_no_tls = true",
    ] {
        assert!(out.lines().any(|printed| printed == line), "{line} is not in\n{out}");
    }
    assert!(!out.contains("0123456789abcdef"));
}

#[test]
fn s25_sigterm_closes_the_store_and_ends_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for round in 0..2 {
        let mut process = Process::start(&data, |_| {});
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "lsm-server {version} listening on http://{} data={} durability=sync\n",
            process.address,
            std::fs::canonicalize(&data).unwrap().display()
        );
        assert_eq!(process.line, expected);
        if round == 0 {
            assert_eq!(process.ask("PUT", "/v1/kv/a", "x").unwrap().status, 204);
        } else {
            assert_eq!(process.ask("GET", "/v1/kv/a", "").unwrap().body, b"x");
            let stats = process.ask("GET", "/v1/stats", "").unwrap().json();
            assert_eq!(stats["recovery"]["replayed_records"], 0, "it was closed");
        }
        process.signal("TERM");
        assert_eq!(process.wait(), 0);
        let mut more = String::new();
        process.child.stdout.as_mut().unwrap().read_to_string(&mut more).unwrap();
        assert_eq!(more, "", "one line and no more");
    }
}

#[test]
fn s25_a_second_signal_ends_the_process_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(&dir.path().join("data"), |command| {
        command.args(["--drain-timeout", "1h"]);
    });
    // A request that was begun keeps the server draining.
    let mut client = Client::connect(process.address);
    client.send(format!(
        "PUT /v1/kv/a HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\n\r\nx",
        process.address
    ));
    assert_eq!(process.ask("PUT", "/v1/kv/b", "x").unwrap().status, 204);
    process.signal("TERM");
    // As it comes from a program that signals a process and its group.
    process.signal("TERM");
    let start = Instant::now();
    while Client::connect_if(process.address).is_some() {
        assert!(start.elapsed() < Duration::from_secs(10), "it still accepts");
    }
    process.signal("INT");
    assert_eq!(process.wait(), 130);
    assert!(start.elapsed() < Duration::from_secs(10));
    let process = Process::start(&dir.path().join("data"), |_| {});
    assert_eq!(process.ask("GET", "/v1/kv/b", "").unwrap().body, b"x");
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let process = Process::start(&data, |_| {});
    for index in 0..20 {
        let reply = process.ask("PUT", &format!("/v1/kv/{index}"), "x").unwrap();
        assert_eq!(reply.status, 204);
    }
    drop(process);
    let process = Process::start(&data, |_| {});
    for index in 0..20 {
        assert_eq!(process.ask("GET", &format!("/v1/kv/{index}"), "").unwrap().body, b"x");
    }
    // An unclean end costs sequences, and never gives one out twice.
    let tag = process.ask("PUT", "/v1/kv/new", "x").unwrap().header("etag").unwrap().to_owned();
    assert!(tag.trim_matches('"').parse::<u64>().unwrap() > 20);
}

#[test]
fn a_second_server_on_the_same_store_ends_with_5() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _process = Process::start(&data, |_| {});
    let (code, out, error) =
        run(&["--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()], &[]);
    assert_eq!((code, out.as_str()), (5, ""), "{error}");
}

#[test]
fn a_port_that_is_taken_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let (code, _, error) = run(&["--listen", &listen, "--data-dir", data.to_str().unwrap()], &[]);
    assert_eq!(code, 1);
    assert!(error.contains("--listen"), "{error}");
}

#[test]
fn s26_the_directory_is_private_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut process = Process::start(&data, |_| {});
    assert_eq!(process.ask("PUT", "/v1/kv/a", "x").unwrap().status, 204);
    process.signal("TERM");
    assert_eq!(process.wait(), 0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    for shared in [0o770, 0o707] {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(shared)).unwrap();
        let (code, _, error) =
            run(&["--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()], &[]);
        assert_eq!(code, 2);
        assert!(error.contains("--data-dir"), "{error}");
    }
}

#[test]
fn s21_the_log_is_escaped_and_says_nothing_of_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut command = command();
    command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--data-dir"]).arg(&data);
    let process = Process::with_log(command);
    assert_eq!(process.ask("PUT", "/v1/kv/secretkey", "secretvalue").unwrap().status, 204);
    let log = process.into_log();
    assert!(!log.contains("secret"), "{log}");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(
        lines.iter().any(|line| line["message"].as_str().unwrap().contains("closing")),
        "{log}"
    );
}

#[test]
fn s26_who_runs_it_as_root_is_warned() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command();
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path().join("data"));
    let log = Process::with_log(command).into_log();
    let is_root = dir.path().metadata().unwrap().uid() == 0;
    assert_eq!(log.contains("WARN the server runs as root"), is_root, "{log}");
}

#[test]
fn s6_an_admin_token_that_a_crash_left_empty_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
    let path = data.join("ADMIN_TOKEN");
    std::fs::write(&path, "").unwrap();
    let token = || std::fs::read_to_string(&path).unwrap();
    drop(Process::start(&data, |_| {}));
    let made = token();
    let digits = made.strip_suffix('\n').unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // Another start finds it.
    drop(Process::start(&data, |_| {}));
    assert_eq!(token(), made);
    // What a crash left of the making of one is not taken for one.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(data.join("ADMIN_TOKEN.tmp"), "0123").unwrap();
    drop(Process::start(&data, |_| {}));
    assert_eq!(token().len(), 65);
    assert_ne!(token(), made);
    assert!(!data.join("ADMIN_TOKEN.tmp").exists());
}

#[test]
fn s6_an_admin_token_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    drop(Process::start(&data, |_| {}));
    let path = data.join("ADMIN_TOKEN");
    let set_mode = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o644);
    let start = ["--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    let (code, out, error) = run(&start, &[]);
    assert_eq!((code, out.as_str()), (2, ""), "{error}");
    assert!(error.contains("ADMIN_TOKEN") && error.contains("chmod 600"), "{error}");
    set_mode(0o600);
    drop(Process::start(&data, |_| {}));
    // A server with a token of its own does not look at it.
    set_mode(0o644);
    drop(Process::start(&data, |command| {
        command.env("LSM_TOKEN", "0123456789abcdef");
    }));
}

#[test]
fn s21_what_a_failed_request_logs_is_escaped() {
    let dir = tempfile::tempdir().unwrap();
    // Errors of the store name its files, and so the directory.
    let data = dir.path().join("da\u{1b}[31m\u{202e}ta");
    let mut process = Process::start(&data, |_| {});
    assert_eq!(process.ask("PUT", "/v1/kv/secretkey", "secretvalue").unwrap().status, 204);
    process.end();
    let tables: Vec<_> = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            matches!(FileName::parse(name), Some(FileName::Table(_)))
        })
        .collect();
    assert!(!tables.is_empty(), "the close flushed the key");
    for table in &tables {
        let damaged: Vec<u8> = std::fs::read(table).unwrap().iter().map(|byte| !byte).collect();
        std::fs::write(table, damaged).unwrap();
    }
    let mut command = command();
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
    let process = Process::with_log(command);
    let failed = process.ask("GET", "/v1/kv/secretkey", "").unwrap();
    assert_eq!((failed.status, failed.code().as_str()), (500, "corruption"));
    assert!(!failed.text().contains("[31m"), "a client learns no path: {failed:?}");
    let log = process.into_log();
    let line = log.lines().find(|line| line.contains("a request failed")).expect("it is logged");
    assert!(line.contains("\\x1b[31m\\xe2\\x80\\xaeta"), "{line:?}");
    assert!(!log.contains("secret"), "{log:?}");
    assert!(log.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{log:?}");
}
