//! Limits: S-10 (time), S-11 (heads), S-12 (bodies), S-13 (connections).

use std::time::{Duration, Instant};

use lsm_server::config::Size;
use lsm_server::serve::Timeouts;

use crate::client::Client;
use crate::harness::{Setup, TestServer};

/// Short enough to wait for, long enough to tell apart.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

fn with_timeouts(change: impl FnOnce(&mut Timeouts)) -> TestServer {
    let mut timeouts = Timeouts {
        head: LONG,
        idle: LONG,
        body: LONG,
        body_grace: LONG,
        write_stall: LONG,
        ..Timeouts::default()
    };
    change(&mut timeouts);
    TestServer::with(Setup { timeouts, ..Setup::default() })
}

/// That something took about as long as the short timeout.
fn assert_short(start: Instant) {
    let took = start.elapsed();
    assert!(SHORT * 9 / 10 < took && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn s10_a_connection_that_sends_nothing_is_closed() {
    let server = with_timeouts(|timeouts| timeouts.head = SHORT);
    let start = Instant::now();
    assert!(server.connect().is_closed());
    assert_short(start);
}

#[test]
fn s10_a_head_that_drips_is_closed() {
    let server = with_timeouts(|timeouts| timeouts.head = SHORT);
    let mut client = server.connect();
    // The first request shows that a later head has its own time.
    assert_eq!(server.request_on(&mut client, "GET", "/healthz", &[], b"").status, 200);
    let start = Instant::now();
    let head = server.head("GET", "/healthz") + "Drip: ";
    client.send(head);
    // Every byte is progress, and none of them gives the head more time.
    while !client.closes_within(Duration::from_millis(10)) {
        let _ = client.try_send("x");
        assert!(start.elapsed() < Duration::from_secs(5), "it may drip for ever");
    }
    assert_short(start);
}

#[test]
fn s10_an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = with_timeouts(|timeouts| timeouts.idle = SHORT);
    let mut client = server.connect();
    let begin = Instant::now();
    while begin.elapsed() < SHORT * 2 {
        assert_eq!(server.request_on(&mut client, "GET", "/healthz", &[], b"").status, 200);
    }
    let start = Instant::now();
    assert!(client.is_closed());
    assert_short(start);
}

#[test]
fn s10_a_body_that_does_not_come_is_given_up() {
    for whole in [true, false] {
        let server = with_timeouts(|timeouts| {
            // Once by the deadline of the whole, once by the slowest pace.
            if whole {
                timeouts.body = SHORT;
            } else {
                timeouts.body_grace = SHORT;
            }
        });
        let mut client = server.connect();
        let start = Instant::now();
        client.send(server.head("PUT", "/v1/kv/a") + "Content-Length: 100000\r\n\r\nabc");
        let reply = client.reply().unwrap();
        assert_eq!((reply.status, reply.closes()), (408, true));
        assert_short(start);
        assert_eq!(server.get("/v1/kv/a").status, 404);
    }
}

#[test]
fn s10_a_client_that_does_not_read_is_reset() {
    let server = with_timeouts(|timeouts| timeouts.write_stall = SHORT);
    let value = vec![b'v'; 8 << 20];
    server.put("large", &value);
    let mut client = server.connect();
    // More than all buffers between the two hold.
    let ask = server.head("GET", "/v1/kv/large") + "\r\n";
    client.send(ask.repeat(8));
    let rejected = Instant::now();
    loop {
        let metrics = server.get("/metrics");
        let open =
            metrics.text().lines().find(|line| line.starts_with("lsm_http_connections ")).unwrap();
        // The connection that asks is the only one left.
        if open == "lsm_http_connections 1" {
            break;
        }
        assert!(rejected.elapsed() < Duration::from_secs(10), "{open}");
        std::thread::yield_now();
    }
    // An end in order would stand behind all that the system still holds, which a client with a small
    // window gets a few bytes at a time.
    assert!(client.ends_in_reset());
}

#[test]
fn s11_heads_have_limits() {
    let server = TestServer::start();
    let status = |request: String| {
        let mut client = server.connect();
        client.send(request);
        client.reply().unwrap().status
    };
    let long = |len: usize| format!("/v1/kv/{}", "a".repeat(len - "/v1/kv/".len()));
    assert_eq!(server.get(&long(8192)).code(), "not_found");
    assert_eq!(server.get(&long(8193)).code(), "uri_too_long");
    assert_eq!(server.get(&long(8193)).status, 414);
    let lines =
        |count: usize| (0..count).map(|index| format!("H{index}: x\r\n")).collect::<String>();
    let head = server.head("GET", "/healthz");
    assert_eq!(status(format!("{head}{}\r\n", lines(63))), 200);
    assert_eq!(status(format!("{head}{}\r\n", lines(64))), 431);
    let wide = "w".repeat(100 << 10);
    assert_eq!(status(format!("{head}Wide: {wide}\r\n\r\n")), 431);
}

#[test]
fn s12_a_body_that_says_it_is_too_large_is_not_read() {
    let server = TestServer::with_settings(|settings| {
        settings.max_value_bytes = Some(Size(1000));
        settings.max_body_bytes = Some(Size(2000));
    });
    for (method, target, limit, code) in
        [("PUT", "/v1/kv/a", 1000, "value_too_large"), ("POST", "/put", 2000, "body_too_large")]
    {
        let json = "Content-Type: application/json\r\n";
        let mut client = server.connect();
        client.send(format!(
            "{}{json}Content-Length: {}\r\n\r\n",
            server.head(method, target),
            limit + 1
        ));
        // The answer comes although nothing of the body was sent.
        let reply = client.reply().unwrap();
        assert_eq!((reply.status, reply.code().as_str(), reply.closes()), (413, code, true));
    }
    assert_eq!(server.request("PUT", "/v1/kv/a", &[], &[b'x'; 1000]).status, 204);
}

#[test]
fn s12_a_chunked_body_is_counted_as_it_comes() {
    let server = TestServer::with_settings(|settings| settings.max_value_bytes = Some(Size(1000)));
    let mut client = server.connect();
    client.send(server.head("PUT", "/v1/kv/a") + "Transfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("200\r\n{}\r\n", "x".repeat(0x200));
    let mut sent = 0;
    while sent < 1000 && client.try_send(&chunk).is_ok() {
        sent += 1;
        if sent == 2 {
            break;
        }
    }
    let reply = client.reply().unwrap();
    assert_eq!(
        (reply.status, reply.code().as_str(), reply.closes()),
        (413, "value_too_large", true)
    );
    assert_eq!(server.get("/v1/kv/a").status, 404);
}

#[test]
fn s12_a_client_that_still_sends_sees_why_it_was_refused() {
    let server = TestServer::with_settings(|settings| settings.max_value_bytes = Some(Size(1000)));
    let body = vec![b'x'; 20 << 20];
    let mut client = server.connect();
    client
        .send(server.head("PUT", "/v1/kv/a") + &format!("Content-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    assert_eq!(client.reply().unwrap().code(), "value_too_large");
}

#[test]
fn s12_expect_continue_is_answered_before_the_body() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.send(
        server.head("PUT", "/v1/kv/") + "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
    );
    // The first answer is the refusal, and not the word to go on.
    let reply = client.next_head().unwrap();
    assert_eq!((reply.status, reply.closes()), (413, true));
    // Who may send its body is told so, and then answered.
    let mut client = server.connect();
    client
        .send(server.head("PUT", "/v1/kv/a") + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(client.next_head().unwrap().status, 100);
    client.send("x");
    assert_eq!(client.reply_to("PUT").unwrap().status, 204);
}

#[test]
fn s12_bodies_in_flight_share_a_bounded_memory() {
    let server = TestServer::start();
    // Thirty-two are more than twice what may be in flight: more than the buffers of all their
    // sockets can make up for.
    let mut clients = server.unfinished_uploads(32);
    let mut refused = 0;
    for client in &mut clients {
        let _ = client.try_end();
        let reply = client.reply().unwrap();
        match reply.status {
            503 => {
                assert_eq!(
                    (reply.code().as_str(), reply.header("retry-after")),
                    ("busy", Some("1"))
                );
                refused += 1;
            }
            status => assert_eq!(status, 400, "the body is cut off"),
        }
    }
    assert!(0 < refused);
    // What they held was given back.
    assert_eq!(server.request("PUT", "/v1/kv/more", &[], &[b'x'; 1 << 20]).status, 204);
}

#[test]
fn s13_connections_have_a_limit() {
    let server = TestServer::with_settings(|settings| settings.max_connections = Some(3));
    let mut held: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut held {
        assert_eq!(server.request_on(client, "GET", "/healthz", &[], b"").status, 200);
    }
    let mut fourth = server.connect();
    let reply = fourth.reply().unwrap();
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(fourth.is_closed());
    drop(held.pop());
    let start = Instant::now();
    while server.connect().try_send("").is_ok() {
        let mut client = server.connect();
        let _ = client.try_send(server.head("GET", "/healthz") + "\r\n");
        if client.reply().is_some_and(|reply| reply.status == 200) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "the place was not given back");
    }
}

#[test]
fn s12_answers_in_flight_share_a_bounded_memory() {
    let server =
        TestServer::with_settings(|settings| settings.memtable_size = Some(Size(128 << 20)));
    let value = vec![b'v'; 1 << 20];
    let keys: Vec<String> = (0..60)
        .map(|index| {
            server.put(&format!("{index}"), &value);
            format!("\"{index}\"")
        })
        .collect();
    let body = format!("{{\"keys\":[{}]}}", keys.join(","));
    let ask = |client: &mut Client| {
        let head = server.head("POST", "/v1/mget") + "Content-Type: application/json\r\n";
        client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        // Of the answer only the head is read: its 60 MiB stay with the server.
        client.reply_head().expect("the server answers").status
    };
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    let statuses: Vec<u16> = clients.iter_mut().map(ask).collect();
    assert_eq!(statuses, [200, 200, 200, 503, 503, 503, 503, 503]);
    drop(clients);
    let start = Instant::now();
    while ask(&mut server.connect()) != 200 {
        assert!(start.elapsed() < Duration::from_secs(10), "the memory was not given back");
    }
}

#[test]
fn s12_the_lines_of_many_scans_share_a_bounded_memory() {
    let server =
        TestServer::with_settings(|settings| settings.memtable_size = Some(Size(128 << 20)));
    let value = vec![b'v'; 15 << 20];
    for key in ["a", "b", "c", "d"] {
        server.put(key, &value);
    }
    let ask = |client: &mut Client| {
        client.send(server.head("GET", "/v1/kv") + "Accept: application/x-ndjson\r\n\r\n");
        client.reply_head().expect("the server answers");
    };
    // Each of twelve scans that nobody reads would hold two lines of 15 MiB, 360 MiB in all.
    let mut unread: Vec<_> = (0..12).map(|_| server.connect()).collect();
    unread.iter_mut().for_each(ask);
    let start = Instant::now();
    while server.get("/v1/kv/a").status != 503 {
        assert!(start.elapsed() < Duration::from_secs(10), "lines take nothing of the memory");
    }
    drop(unread);
    while server.get("/v1/kv/a").status != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "the memory was not given back");
    }
}

#[test]
fn s12_an_answer_larger_than_all_memory_is_not_called_busy() {
    let server =
        TestServer::with_settings(|settings| settings.memtable_size = Some(Size(128 << 20)));
    // Such a value comes from a time when the server took larger ones. Each of its bytes is six as
    // JSON: the answer would be 360 MiB.
    server.db().put("large", vec![1; 60 << 20]).unwrap();
    for target in ["/get/large", "/v1/kv"] {
        let reply = server.get(target);
        assert_eq!((reply.status, reply.code().as_str()), (413, "body_too_large"), "{target}");
        assert_eq!(reply.header("retry-after"), None);
    }
    assert_eq!(server.get("/v1/kv/large").body.len(), 60 << 20);
}

#[test]
fn s10_a_head_that_began_behind_another_request_has_its_own_time() {
    let server = with_timeouts(|timeouts| timeouts.head = SHORT);
    let mut client = server.connect();
    let start = Instant::now();
    // The beginning of the second head arrives with the first request, and nothing more.
    client.send(server.head("GET", "/healthz") + "\r\nGET /healthz HTTP/1.1\r\nHost:");
    assert_eq!(client.reply().unwrap().status, 200);
    assert!(client.is_closed());
    assert_short(start);
}
