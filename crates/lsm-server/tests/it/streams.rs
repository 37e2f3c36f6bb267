//! The binary's standard error and output where nothing can be written to them: the disk of the log
//! may be full, or the reader of a pipe gone. Neither is a reason to end, or to end otherwise.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::client::{Client, Reply};
use crate::process::{Process, command};

/// Streams that take nothing: a pipe whose reader is gone, and a full device.
fn unwritable() -> [Stdio; 2] {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    [writer.into(), File::options().write(true).open("/dev/full").unwrap().into()]
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    for log in unwritable() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut command = command();
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&data).stderr(log);
        let mut process = Process::with_log(command);
        assert_eq!(process.ask("PUT", "/v1/kv/a", "x").unwrap().status, 204);
        // The beginning of a job is a line of the log, and so is the end of the process.
        let token = std::fs::read_to_string(data.join("ADMIN_TOKEN")).unwrap();
        let ask = |method: &str, target: &str| -> Reply {
            let mut client = Client::connect(process.address());
            client.send(format!(
                "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
                 Content-Type: application/json\r\nContent-Length: 0\r\n\r\n",
                process.address(),
                token.trim_end()
            ));
            client.reply_to(method).expect("the server lives")
        };
        let begun = ask("POST", "/v1/admin/flush");
        assert_eq!(begun.status, 202);
        let start = Instant::now();
        while ask("GET", begun.header("location").unwrap()).json()["state"] != "done" {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        process.end();
    }
}

#[test]
fn a_refusal_that_cannot_be_told_has_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
    let refused = [["--listen", "nonsense"], ["--data-dir", shared.to_str().unwrap()]];
    for arguments in refused {
        for log in unwritable() {
            let status = command().args(arguments).stderr(log).status().unwrap();
            assert_eq!(status.code(), Some(2), "{arguments:?}: {status}");
        }
    }
}

#[test]
fn a_line_that_nobody_can_read_does_not_keep_the_server_from_serving() {
    for out in unwritable() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command();
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path().join("data"));
        command.stdout(out);
        let mut process = Process::without_output(command);
        assert_eq!(process.ask("PUT", "/v1/kv/a", "x").unwrap().status, 204);
        process.end();
    }
    // A command whose only purpose is to print has failed.
    for out in unwritable() {
        let mut child = command().arg("--print-config").stdout(out).spawn().unwrap();
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{error}");
        assert!(error.contains("cannot write to the standard output"), "{error}");
    }
}
