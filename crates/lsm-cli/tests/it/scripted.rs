//! Scans of a server that answers as no server of ours does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use crate::lsm::{Ran, bare, run};

/// Runs a command on a server whose one answer has this body.
fn answered(body: &str, arguments: &[&str]) -> Ran {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (connection, _) = listener.accept().unwrap();
            let mut head = BufReader::new(&connection).lines();
            while head.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let len = body.len();
            write!(&connection, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}").unwrap();
        });
        run(bare(arguments).args(["--url", &url]), b"")
    })
}

#[test]
fn a_scan_that_tells_of_more_items_than_it_has_is_not_whole() {
    let item = "{\"key\":\"a\",\"value\":\"b\",\"seq\":1}\n";
    let done = |count: u64| format!("{{\"done\":true,\"count\":{count},\"seq\":1}}\n");
    for command in [&["scan", "--count"][..], &["scan"], &["export", "--limit", "9"]] {
        let ran = answered(&format!("{item}{}", done(5)), command);
        ran.failed(1, &["5 items", "has 1", "some are missing"]);
        answered(item, command).failed(1, &["cut off"]);
        answered(&format!("{item}{}", done(1)), command).ok();
        // Of the rest nothing is known, and nothing was asked.
        answered(&format!("{item}{item}"), &["scan", "--limit", "2"]).ok();
    }
}
