//! The same verbs on a server, which runs in this process.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;

use lsm_engine::{Db, Read as _};
use lsm_server::config::{Config, DurabilityLevel, Settings};
use lsm_server::serve::{Server, Timeouts};
use lsm_server::wire::Tree;
use tokio::sync::oneshot;

use crate::lsm::{Lsm, Ran, bare, damage, items, run, start};

/// A server, closed when it is dropped.
pub(crate) struct TestServer {
    address: SocketAddr,
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    pub(crate) fn start(token: Option<&str>) -> TestServer {
        TestServer::start_with(Settings::default(), token)
    }

    fn start_with(settings: Settings, token: Option<&str>) -> TestServer {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let settings = Settings { listen: Some("127.0.0.1:0".into()), ..settings };
        let config = Config::resolve(settings, token.map(str::to_owned)).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(async {
                let server = Server::bind(&config, Timeouts::default()).await.unwrap();
                server.begin(Db::open(&data).unwrap(), &data).unwrap();
                bound.send(server.address()).unwrap();
                tokio::select! {
                    () = server.accept() => {}
                    _ = stopped => {}
                }
                server.close().await.unwrap();
            });
        });
        let address = address.recv().unwrap();
        TestServer { address, dir, stop: Some(stop), thread: Some(thread) }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, b"")
    }

    fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        run(&mut self.command(arguments), stdin)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(arguments);
        command.arg("--url").arg(format!("http://{}", self.address));
        command
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl TestServer {
    /// Ends the server, and leaves its directory.
    fn stop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        assert!(ended || std::thread::panicking());
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn keys_and_values_come_and_go() {
    let server = TestServer::start(None);
    server.ok(&["put", "a/b c", "red"]);
    assert_eq!(server.ok(&["get", "a/b c"]), "red");
    server.ok(&["put", "hex:00ff2e", "hex:ff"]);
    assert_eq!(server.run(&["get", "hex:00ff2e"]).stdout, b"\xff");
    let item = "{\"key\":\"a/b c\",\"value\":\"red\",\"seq\":1}\n";
    assert_eq!(server.ok(&["get", "a/b c", "-o", "json"]), item);
    server.run(&["get", "nothing"]).failed(3, &["no key nothing"]);
    server.ok(&["del", "a/b c", "nothing"]);
    server.run(&["get", "a/b c"]).failed(3, &[]);
    server.run(&["del", "a/b c", "--must-exist"]).failed(3, &[]);
    server.ok(&["del", "hex:00ff2e", "--must-exist"]);
}

/// What no store could take is refused with the same words by both kinds, and before anything happens.
#[test]
fn an_argument_that_no_store_takes_is_refused_beforehand() {
    let lsm = Lsm::new();
    let server = TestServer::start(None);
    let long = "k".repeat(65_536);
    let seq = (1_u64 << 56).to_string();
    let keyspace = &["--keyspace", "no spaces"];
    let in_keyspace = |verb: &[&'static str]| [verb, keyspace].concat();
    for (arguments, words) in [
        (vec!["get", ""], "an empty key"),
        (vec!["get", &long], "65536 bytes"),
        (vec!["put", "", "1"], "an empty key"),
        (vec!["put", &long, "1"], "65536 bytes"),
        (vec!["put", "a", "1", "--if-seq", &seq], "--if-seq"),
        (vec!["del", "a", ""], "an empty key"),
        (vec!["del", &long, "--must-exist"], "65536 bytes"),
        (in_keyspace(&["get", "a"]), "keyspace name"),
        (in_keyspace(&["put", "a", "1"]), "keyspace name"),
        (in_keyspace(&["levels"]), "keyspace name"),
        (in_keyspace(&["export"]), "keyspace name"),
    ] {
        let of_directory = lsm.run(&arguments);
        of_directory.failed(2, &[words]);
        assert!(!lsm.db().exists(), "{words}");
        assert_eq!(server.run(&arguments).stderr, of_directory.stderr);
        server.run(&arguments).failed(2, &[words]);
    }
    assert_eq!(server.ok(&["scan"]), "");
}

#[test]
fn keys_too_long_for_a_path_go_another_way() {
    let server = TestServer::start(None);
    let key = "k".repeat(60_000);
    server.run(&["get", &key]).failed(3, &[]);
    server.ok(&["put", &key, "long"]);
    assert_eq!(server.ok(&["get", &key]), "long");
    server.run(&["put", &key, "2", "--if-absent"]).failed(1, &["precondition_failed", "at 1"]);
    server.ok(&["put", &key, "2", "--if-seq", "1"]);
    server.run(&["put", &key, "3", "--if-seq", "1"]).failed(1, &["last written at 2"]);
    assert_eq!(server.ok(&["get", &key]), "2");
    server.ok(&["del", &key]);
    server.run(&["get", &key]).failed(3, &[]);
    server.ok(&["put", &key, "4", "--if-absent"]);
    server.run(&["del", &key, "--must-exist"]).failed(1, &["uri_too_long"]);
    // As JSON each of these bytes is six, which would be more than a body may have.
    let large = vec![1; 6 << 20];
    server.run_with(&["put", &key, "-x"], &large).ok();
    let item = serde_json::json!({ "key": key, "value": "\u{1}".repeat(6 << 20) });
    server.run_with(&["import"], item.to_string().as_bytes()).ok();
}

#[test]
fn conditions_are_kept() {
    let server = TestServer::start(None);
    server.ok(&["put", "a", "1", "--if-absent"]);
    server.run(&["put", "a", "2", "--if-absent"]).failed(1, &["precondition_failed", "1"]);
    server.ok(&["put", "a", "2", "--if-seq", "1"]);
    server.run(&["put", "a", "3", "--if-seq", "1"]).failed(1, &["last written at 2"]);
    assert_eq!(server.ok(&["get", "a"]), "2");
}

#[test]
fn a_scan_gives_what_was_asked_for() {
    let server = TestServer::start(None);
    server.run_with(&["import"], items(11_000).as_bytes()).ok();
    assert_eq!(server.ok(&["scan", "--count"]), "11000\n");
    assert_eq!(server.ok(&["scan", "--count", "--limit", "10500"]), "10500\n");
    let keys =
        server.ok(&["scan", "--keys-only", "--prefix", "key-01", "--reverse", "--limit", "2"]);
    assert_eq!(keys, "key-010999\nkey-010998\n");
    let keys = server.ok(&["scan", "--keys-only", "--start", "key-000003", "--end", "key-000005"]);
    assert_eq!(keys, "key-000003\nkey-000004\n");
}

#[test]
fn a_store_moves_between_servers_and_directories() {
    let (server, lsm) = (TestServer::start(None), Lsm::new());
    let odd = "{\"key_b64\":\"/w==\",\"value\":\"/v8=\",\"encoding\":\"base64\"}\n";
    let lines = items(2_500) + odd;
    server.run_with(&["import"], lines.as_bytes()).ok();
    let exported = server.ok(&["export"]);
    assert_eq!(exported, lines);
    lsm.run_with(&["import"], exported.as_bytes()).ok();
    assert_eq!(lsm.ok(&["export"]), lines);
    // A value that is long as JSON.
    let large = vec![0xfe; 5 << 20];
    server.run_with(&["put", "large", "-x"], &large).ok();
    lsm.run_with(&["import"], server.ok(&["export"]).as_bytes()).ok();
    assert_eq!(lsm.run(&["get", "large"]).stdout, large);
    server.run_with(&["import"], lsm.ok(&["export"]).as_bytes()).ok();
}

#[test]
fn an_import_takes_what_a_put_takes() {
    let (server, lsm) = (TestServer::start(None), Lsm::new());
    // As JSON each of these bytes is six, so that the value goes alone and raw, or not at all.
    let large = vec![1; 6 << 20];
    for (key, value) in [("a", &b"1"[..]), ("b", &large), ("c", b"3")] {
        lsm.run_with(&["put", key, "-x"], value).ok();
    }
    server.run_with(&["import"], lsm.ok(&["export"]).as_bytes()).ok();
    assert_eq!(server.ok(&["scan", "--keys-only"]), "a\nb\nc\n");
    assert!(server.run(&["get", "b"]).stdout == large);
}

#[test]
fn an_import_that_ends_early_says_how_much_is_stored() {
    let mut server = TestServer::start(None);
    let lines = items(1_200) + "{\"key\":\"x\"}\n" + "{\"key\":\"y\",\"value\":\"\"}\n";
    server
        .run_with(&["import"], lines.as_bytes())
        .failed(1, &["stdin, line 1201: value is missing", "; the first 1200 items are stored"]);
    assert_eq!(server.ok(&["scan", "--count"]), "1200\n");
    // What the server refuses, it refuses with its whole batch.
    let large = format!("{{\"key\":\"z\",\"value\":\"{}\"}}\n", "v".repeat(17 << 20));
    let lines = items(500) + &large;
    server
        .run_with(&["import"], lines.as_bytes())
        .failed(1, &["value_too_large", "; the first 500 items are stored"]);

    let mut child = start(&mut server.command(&["import"]));
    let mut stdin = child.stdin.take().unwrap();
    // Far more than a pipe and the program's buffer hold: when all of it is written, most of it was
    // read. Then the server goes away, and the import is given the rest.
    stdin.write_all(items(40_000).as_bytes()).unwrap();
    server.stop();
    let _ = stdin.write_all(items(40_000).as_bytes());
    drop(stdin);
    let ended = Ran::from(child.wait_with_output().unwrap());
    ended.failed(1, &["the first ", " items are stored"]);
    let told = ended.stderr.split(' ').find_map(|word| word.parse::<usize>().ok()).unwrap();
    // The batch whose answer was lost, if there was one, is there or not.
    let most = if ended.stderr.contains("; at least ") { told + 1_000 } else { told };
    let found = Db::open(server.data()).unwrap().prefix("").count();
    assert!(1_000 < told && (told..=most).contains(&found), "{found}: {}", ended.stderr);
}

#[test]
fn an_import_that_gets_no_answer_does_not_know_what_is_stored() {
    for (answer, words) in [
        ("", "no answer"),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502 Bad Gateway; is this"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"]}") {
                let mut bytes = [0; 1024];
                let len = connection.read(&mut bytes).unwrap();
                request.extend_from_slice(&bytes[..len]);
            }
            connection.write_all(answer.as_bytes()).unwrap();
        });
        let mut import = bare(&["import", "--url", &url]);
        run(&mut import, items(3).as_bytes())
            .failed(1, &[words, "lsm-server", "; perhaps nothing is stored"]);
        server.join().unwrap();
        // Here there is nobody any more who could have stored anything.
        run(&mut import, items(3).as_bytes()).failed(1, &["no answer", "; nothing is stored"]);
    }
}

/// Answers one request a connection, each with the next of these documents.
fn scripted(documents: &'static [&str]) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for document in documents {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut bytes = [0; 1024];
                let len = connection.read(&mut bytes).unwrap();
                assert_ne!(len, 0, "a request ends early");
                request.extend_from_slice(&bytes[..len]);
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let len = document.len();
            write!(connection, "{head}\r\nContent-Length: {len}\r\n\r\n{document}").unwrap();
        }
    });
    (url, server)
}

#[test]
fn a_job_that_waits_for_another_is_waited_for() {
    let (url, server) = scripted(&[
        r#"{"job":"2"}"#,
        r#"{"job":"2","kind":"flush","state":"waiting","progress":0,"report":null,"error":null}"#,
        r#"{"job":"2","kind":"flush","state":"running","progress":0.5,"report":null,"error":null}"#,
        r#"{"job":"2","kind":"flush","state":"done","progress":1,"report":{},"error":null}"#,
    ]);
    run(&mut bare(&["flush", "--url", &url]), b"").ok();
    server.join().unwrap();
}

#[test]
fn what_was_written_is_on_disk_whatever_the_server_promises_by_itself() {
    let settings = Settings { durability: Some(DurabilityLevel::Buffered), ..Settings::default() };
    let server = TestServer::start_with(settings, None);
    // Every write that a server is asked for has its own sync: nobody else writes.
    let syncs = || {
        let url = format!("{}/metrics", server.url());
        let page = ureq::get(url).call().unwrap().into_body().read_to_string().unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix("lsm_wal_syncs_total "));
        line.unwrap().parse::<f64>().unwrap() as u64
    };
    let long = "k".repeat(3_000);
    let writes: [&[&str]; 6] = [
        &["put", "a", "1"],
        &["put", "a", "2", "--if-seq", "1"],
        &["put", &long, "1"],
        &["put", "b", "1", "--if-absent"],
        &["del", "a", &long],
        &["del", "b", "--must-exist"],
    ];
    for (index, arguments) in writes.into_iter().enumerate() {
        server.ok(arguments);
        assert_eq!(syncs(), index as u64 + 1, "{arguments:?}");
    }
    let before = syncs();
    server.run_with(&["import"], items(2_500).as_bytes()).ok();
    assert_eq!(syncs(), before + 3);
    let large = format!("{{\"key\":\"large\",\"value\":\"{}\"}}\n", "x".repeat(5 << 20));
    server.run_with(&["import"], large.as_bytes()).ok();
    assert_eq!(syncs(), before + 4);
}

#[test]
fn the_store_is_looked_after_with_the_token_of_the_directory() {
    let server = TestServer::start(None);
    server.run_with(&["import"], items(1_000).as_bytes()).ok();
    server.run(&["flush"]).failed(1, &["unauthorized", "--token-file", "ADMIN_TOKEN"]);
    let token = server.data().join("ADMIN_TOKEN");
    let token = token.to_str().unwrap();
    server.ok(&["flush", "--token-file", token]);
    server.ok(&["compact", "--token-file", token]);
    server.run(&["compact", "--start", "a", "--token-file", token]).failed(2, &["everything"]);
    let report = server.ok(&["verify", "--token-file", token]);
    assert!(report.starts_with("clean: 1 table with 1000 entries"), "{report}");
    assert!(server.ok(&["levels"]).contains("L6"));
    assert!(server.ok(&["stats", "--json"]).contains("\"seq\":1000,"));
    let tree: Tree = serde_json::from_str(&server.ok(&["levels", "--json"])).unwrap();
    let mut tables = tree.keyspaces[0].levels.iter().flat_map(|level| &level.tables);
    let name = format!("{:06}.sst", tables.next().unwrap().id);
    damage(&server.data().join(name), 100);
    let ran = server.run(&["verify", "--token-file", token]);
    ran.failed(4, &["1 file is damaged", "the server's log"]);
}

#[test]
fn a_server_with_a_token_wants_it() {
    const TOKEN: &str = "a-token-for-tests-only";
    let server = TestServer::start(Some(TOKEN));
    let lsm = Lsm::new();
    server.run(&["get", "a"]).failed(1, &["unauthorized", "--token-file"]);
    let file = lsm.file("token", format!("{TOKEN}\n").as_bytes());
    server.ok(&["put", "a", "1", "--token-file", file.to_str().unwrap()]);
    let mut command = bare(&["get", "a", "--url"]);
    command.arg(format!("http://{}/", server.address)).env("LSM_TOKEN", TOKEN);
    assert_eq!(run(&mut command, b"").ok(), "1");
    let empty = lsm.file("empty", b"\n");
    server.run(&["get", "a", "--token-file", empty.to_str().unwrap()]).failed(2, &["no token"]);
    server.run(&["get", "a", "--token-file", "no-such"]).failed(1, &["cannot open no-such"]);
}

#[test]
fn what_a_server_cannot_do_is_refused() {
    let server = TestServer::start(None);
    server.run(&["get", "a", "--keyspace", "users"]).failed(2, &["keyspaces"]);
    server.run(&["get", "a", "--keyspace", "default"]).failed(3, &[]);
    for (url, words) in [
        ("https://127.0.0.1", "TLS"),
        ("127.0.0.1:8080", "http://"),
        ("http://", "host:port"),
        ("http://h/path", "host:port"),
    ] {
        run(&mut bare(&["get", "a", "--url", url]), b"").failed(2, &[words]);
    }
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    run(&mut bare(&["get", "a", "--url", &url]), b"").failed(1, &["no answer", "lsm-server"]);
}
