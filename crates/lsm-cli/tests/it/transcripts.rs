//! What the pages show of the command line, and the example: run as they stand.
//!
//! Of a page each block marked `console` is a part of one session: a line that begins with `$ ` is a
//! command of the shell, and the lines behind it are all that it may print, on stdout and stderr.

use std::path::Path;
use std::process::{Command, Output};

use ureq::Agent;
use ureq::http::Request;

use crate::lsm::bare;
use crate::server::TestServer;

/// Ends what a command prints. No command here prints it.
const MARK: char = '\x1e';

/// Ends the words of a call, which [`MARK`] ends each.
const END_OF_CALL: char = '\x1d';

/// A command of a transcript, and what stands behind it.
#[derive(Debug)]
struct Step {
    command: String,
    output: String,
}

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The steps of all `console` blocks.
fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in markdown.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => is_inside = line == "```console",
            _ if !is_inside => {}
            Some(command) => steps.push(Step { command: command.into(), output: String::new() }),
            None => {
                let step = steps.last_mut().expect("a transcript begins with a command");
                step.output += line;
                step.output.push('\n');
            }
        }
    }
    steps
}

/// What stands below a heading of a page.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    section.split_once("\n## ").unwrap().0
}

/// A shell in this folder, which finds the program and nothing of our environment.
fn shell(folder: &Path) -> Command {
    let program = bare::<&str>(&[]);
    let mut path = vec![Path::new(program.get_program()).parent().unwrap().to_owned()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let mut shell = Command::new("sh");
    for (name, _) in program.get_envs() {
        shell.env_remove(name);
    }
    shell.env("PATH", std::env::join_paths(path).unwrap()).current_dir(folder);
    shell
}

/// Runs the steps in one shell; each must print the lines that stand behind it. The folder is called
/// `/path/to` there.
#[track_caller]
fn check(steps: &[Step], folder: &Path) {
    assert!(!steps.is_empty(), "the page shows nothing");
    let mut script = String::from("exec 2>&1\n");
    for step in steps {
        script += &format!("{}\nprintf '\\036'\n", step.command);
    }
    let Output { stdout, .. } = shell(folder).args(["-c", &script]).output().unwrap();
    let whole = folder.canonicalize().unwrap();
    let printed = String::from_utf8(stdout).unwrap().replace(whole.to_str().unwrap(), "/path/to");
    let printed: Vec<_> = printed.split_terminator(MARK).collect();
    for (step, printed) in steps.iter().zip(&printed) {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(printed), lines(&step.output), "$ {}", step.command);
    }
    assert_eq!(printed.len(), steps.len());
}

/// The blocks marked `sh` of a page.
fn scripts(markdown: &str) -> impl Iterator<Item = &str> {
    let blocks = markdown.split("\n```sh\n").skip(1);
    blocks.map(|block| block.split_once("\n```").expect("a block ends").0)
}

/// The words of each call of `curl` in a script, as a shell hands them over. `cargo` does nothing.
fn calls_of_curl(script: &str, folder: &Path) -> Vec<Vec<String>> {
    let print = r#"curl() { printf '%s\036' "$@"; printf '\035'; }"#;
    let script = format!("set -e\ncargo() {{ :; }}\n{print}\n{script}");
    let Output { status, stdout, .. } = shell(folder).args(["-c", &script]).output().unwrap();
    assert!(status.success(), "{script}");
    let stdout = String::from_utf8(stdout).unwrap();
    let words = |call: &str| call.split_terminator(MARK).map(str::to_owned).collect();
    stdout.split_terminator(END_OF_CALL).map(words).collect()
}

/// What `curl` prints; of its options those that the pages have. A machine that tests may not have it.
fn curl(words: &[String], folder: &Path) -> String {
    let (mut request, mut body) = (Request::builder(), None);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value stands behind its option");
        match word {
            "-s" => {}
            "-X" => request = request.method(value()),
            "-d" => body = Some(value().as_bytes().to_vec()),
            "-T" => {
                request = request.method("PUT");
                body = Some(std::fs::read(folder.join(value())).unwrap());
            }
            "-H" => {
                let (name, value) = value().split_once(": ").unwrap();
                request = request.header(name, value);
            }
            address => request = request.uri(format!("http://{address}")),
        }
    }
    let agent = Agent::new_with_config(Agent::config_builder().proxy(None).build());
    let answer = match body {
        Some(body) => agent.run(request.body(body).unwrap()),
        None => agent.run(request.body(()).unwrap()),
    };
    answer.unwrap().body_mut().read_to_string().unwrap()
}

#[test]
fn the_first_page_shows_what_the_server_answers() {
    let server = TestServer::start(None);
    let url = server.url();
    let address = url.strip_prefix("http://").unwrap();
    let page = page("../../README.md").replace("localhost:8080", address);
    let mut calls = steps(section(&page, "Thirty seconds"));
    calls.retain(|step| step.command.starts_with("curl "));
    assert_eq!(calls.len(), 3);
    for Step { command, output } in calls {
        let data = server.data();
        let folder = data.parent().unwrap();
        let calls = calls_of_curl(&command, folder);
        assert_eq!(curl(&calls[0], folder), output.trim_end(), "$ {command}");
    }
}

#[test]
fn what_the_pages_of_the_server_ask_is_answered() {
    for path in ["../lsm-server/README.md", "../../docs/rest-api.md"] {
        let server = TestServer::start(None);
        // The server's directory is `data` here, as it is there.
        let data = server.data();
        let folder = data.parent().unwrap();
        std::fs::write(folder.join("photo.jpg"), [0xff; 3]).unwrap();
        let url = server.url();
        let address = url.strip_prefix("http://").unwrap();
        let page = page(path).replace("localhost:8080", address);
        let calls: Vec<_> = scripts(&page).flat_map(|it| calls_of_curl(it, folder)).collect();
        assert_eq!(calls.len(), page.matches("\ncurl ").count(), "{path}: {calls:?}");
        for call in &calls {
            // Any status but those of success is an error of the client.
            curl(call, folder);
        }
        assert!(3 < calls.len(), "{path}: {calls:?}");
    }
}

#[test]
fn the_page_of_the_program_shows_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    check(&steps(&page("README.md")), folder.path());
}

#[test]
fn the_first_page_shows_what_it_prints_beside_the_server_that_it_has_started() {
    let server = TestServer::start(None);
    let page = page("../../README.md").replace("http://127.0.0.1:8080", &server.url());
    // The server's directory is `data` here, as it is there.
    check(&steps(section(&page, "On the command line")), server.data().parent().unwrap());
    assert_eq!(server.ok(&["get", "apple"]), "red");
}

#[test]
fn the_example_runs() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/copy.sh");
    let mut shell = shell(folder.path());
    let Output { status, stdout, stderr } =
        shell.env("TMPDIR", folder.path()).arg(example).output().unwrap();
    assert_eq!((status.code(), String::from_utf8(stderr).unwrap().as_str()), (Some(0), ""));
    assert_eq!(
        String::from_utf8(stdout).unwrap(),
        "plum: no such key\nlock: ours\nlock: taken\ncopied: 4 items\nseveral\nlines"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
