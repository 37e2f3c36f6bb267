//! A server in this process, with its own directory, on a port of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lsm_base::fs::FaultFs;
use lsm_engine::{Db, Options};
use lsm_server::config::{Config, Settings, Size, Span};
use lsm_server::serve::{Server, Timeouts};
use tokio::sync::oneshot;

use crate::client::{Client, Reply};

/// The token of servers that have one.
pub(crate) const TOKEN: &str = "token-of-the-tests";

/// How a server differs from the usual one.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    pub(crate) timeouts: Timeouts,
    pub(crate) has_token: bool,
    /// Whether the store is opened, or the server stays in recovery.
    pub(crate) is_open: bool,
    pub(crate) faults: Option<Arc<FaultFs>>,
}

impl Default for Setup {
    fn default() -> Setup {
        let settings = Settings {
            listen: Some("127.0.0.1:0".into()),
            memtable_size: Some(Size(1 << 20)),
            drain_timeout: Some(Span(Duration::from_secs(2))),
            ..Settings::default()
        };
        Setup {
            settings,
            timeouts: Timeouts::default(),
            has_token: false,
            is_open: true,
            faults: None,
        }
    }
}

/// A running server; stopped and closed when it is dropped.
#[derive(Debug)]
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// The store behind it, unless it stays in recovery.
    db: Option<Db>,
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    pub(crate) fn start() -> TestServer {
        TestServer::with(Setup::default())
    }

    pub(crate) fn with_settings(change: impl FnOnce(&mut Settings)) -> TestServer {
        let mut setup = Setup::default();
        change(&mut setup.settings);
        TestServer::with(setup)
    }

    pub(crate) fn with(setup: Setup) -> TestServer {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let (stop, stopped) = oneshot::channel();
        let (bound, bound_to) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .max_blocking_threads(Server::BLOCKING_THREADS)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(setup, data, bound, stopped));
        });
        let (address, db) = bound_to.recv().expect("the server is bound");
        TestServer { address, db, dir, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// The store, as the rest of the server's process would use it.
    pub(crate) fn db(&self) -> &Db {
        self.db.as_ref().expect("the store is open")
    }

    /// The directory of the store.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The token of the admin routes of a server that has no other.
    pub(crate) fn admin_token(&self) -> String {
        std::fs::read_to_string(self.data_dir().join("ADMIN_TOKEN")).unwrap().trim_end().to_owned()
    }

    /// A request head with our host, without the empty line.
    pub(crate) fn head(&self, method: &str, target: &str) -> String {
        format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address)
    }

    /// One request on a connection of its own. A body gets its length.
    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut client = self.connect();
        self.request_on(&mut client, method, target, headers, body)
    }

    /// One request on an open connection.
    pub(crate) fn request_on(
        &self,
        client: &mut Client,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut bytes = self.head(method, target);
        for (name, value) in headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        bytes.push_str("\r\n");
        client.send([bytes.as_bytes(), body].concat());
        client.reply_to(method).expect("the server answers")
    }

    /// Begins so many uploads of 16 MiB, of which the last byte does not come. Who is refused on the
    /// way need not have sent everything.
    pub(crate) fn unfinished_uploads(&self, count: u32) -> Vec<Client> {
        let most = vec![b'x'; (16 << 20) - 1];
        let begin = |index| {
            let mut client = self.connect();
            let head = self.head("PUT", &format!("/v1/kv/{index}"));
            client.send(format!("{head}Content-Length: {}\r\n\r\n", most.len() + 1));
            let _ = client.try_send(&most);
            client
        };
        (0..count).map(begin).collect()
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.request("GET", target, &[], b"")
    }

    /// The number that the figures have for a name, with its labels if it has any.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        let number = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        metrics.text().lines().find_map(number).unwrap_or_else(|| panic!("no figure {name}"))
    }

    /// Stores a value by the raw door.
    pub(crate) fn put(&self, key: &str, value: &[u8]) -> Reply {
        let reply = self.request("PUT", &format!("/v1/kv/{key}"), &[], value);
        assert_eq!(reply.status, 204, "{reply:?}");
        reply
    }

    /// A POST of JSON.
    pub(crate) fn post(&self, target: &str, json: &str) -> Reply {
        self.request("POST", target, &[("Content-Type", "application/json")], json.as_bytes())
    }

    /// Tells the server to stop.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops the server and waits until it has closed its store.
    pub(crate) fn stop(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server closes its store");
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

async fn serve(
    setup: Setup,
    data: PathBuf,
    bound: std::sync::mpsc::Sender<(SocketAddr, Option<Db>)>,
    stopped: oneshot::Receiver<()>,
) {
    let token = setup.has_token.then(|| TOKEN.to_owned());
    let config = Config::resolve(setup.settings, token).unwrap();
    let server = Server::bind(&config, setup.timeouts).await.unwrap();
    let is_poisoned_on_purpose = setup.faults.is_some();
    let db = setup.is_open.then(|| open(&config, &data, setup.faults));
    if let Some(db) = &db {
        server.begin(db.clone(), &data).unwrap();
    }
    bound.send((server.address(), db)).unwrap();
    tokio::select! {
        () = server.accept() => {}
        _ = stopped => {}
    }
    let closed = server.close().await;
    assert!(closed.is_ok() || is_poisoned_on_purpose, "{closed:?}");
}

fn open(config: &Config, data: &Path, faults: Option<Arc<FaultFs>>) -> Db {
    lsm_server::config::prepare_data_dir(data).unwrap();
    let memtable_size = config.memtable_size.map(|bytes| bytes as usize);
    let options = Options {
        memtable_size,
        // Two memtables are the least that the engine takes.
        memory_budget: Some(memtable_size.map_or(64 << 20, |bytes| (2 * bytes).max(64 << 20))),
        ..Options::default()
    };
    let builder = Db::builder(data).options(options);
    match faults {
        None => builder.open().unwrap(),
        Some(faults) => builder.fs(faults).open().unwrap(),
    }
}
