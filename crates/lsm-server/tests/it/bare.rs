//! The bare server of the benchmarks answers what the server does, or its figures would say nothing.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::client::{Client, Reply};
use crate::harness::TestServer;

#[expect(dead_code, reason = "its `main` is for those who start it")]
#[path = "../../examples/bare.rs"]
mod example;

/// Starts the bare server; it ends with the process.
fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            example::serve(tokio::net::TcpListener::from_std(listener).unwrap()).await
        })
    });
    address
}

/// An answer as far as two servers can agree on it: what counts writes, or tells the time, has its
/// name alone.
fn outline(mut reply: Reply) -> (u16, Vec<(String, String)>, usize) {
    for (name, value) in &mut reply.headers {
        name.make_ascii_lowercase();
        if ["date", "etag", "x-lsm-seq"].contains(&name.as_str()) {
            value.clear();
        }
    }
    reply.headers.sort();
    (reply.status, reply.headers, reply.body.len())
}

#[test]
fn it_answers_as_the_server_does() {
    let server = TestServer::start();
    let address = start();
    let put = server.head("PUT", "/v1/kv/a") + "Content-Length: 100\r\n\r\n" + &"v".repeat(100);
    let get = server.head("GET", "/v1/kv/a") + "\r\n";
    let (mut real, mut bare) = (server.connect(), Client::connect(address));
    for request in [&put, &get] {
        let answers = [&mut real, &mut bare].map(|client| {
            client.send(request);
            outline(client.reply().unwrap())
        });
        assert_eq!(answers[0], answers[1], "{request}");
    }
}
