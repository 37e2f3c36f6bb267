//! A client that sends exactly the bytes that it is given, and reads answers strictly.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than every timeout of the tests: whoever waits this long has hung.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to the end that was announced.
    pub(crate) is_whole: bool,
}

impl Reply {
    /// The one header of this name, if there is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands twice: {:?}", self.headers);
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem, checked for its form.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        let code = problem["code"].as_str().expect("a problem has a code").to_owned();
        assert_eq!(problem["type"], format!("urn:lsm:error:{code}"));
        assert_eq!(problem["status"], self.status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        code
    }

    /// The sentence of a problem.
    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().expect("a problem has a detail").to_owned()
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// Bytes that were read and not yet used.
    ahead: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).expect("the server listens"))
    }

    /// A connection, if somebody accepts it and does not turn it away at once.
    pub(crate) fn connect_if(address: SocketAddr) -> Option<Client> {
        TcpStream::connect(address).ok().map(Client::over)
    }

    fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, ahead: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what is sent");
    }

    /// Sends as far as the server takes it.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&mut self) {
        self.try_end().expect("the server has not gone away");
    }

    /// The same, to a server that may have gone away.
    pub(crate) fn try_end(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Reads one answer; `None` if the server closes before one begins.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        self.reply_to("GET")
    }

    /// Reads one answer to a request of this method.
    pub(crate) fn reply_to(&mut self, method: &str) -> Option<Reply> {
        let mut reply = self.reply_head()?;
        if method != "HEAD" && !matches!(reply.status, 204 | 304) {
            self.body(&mut reply);
        }
        Some(reply)
    }

    /// Reads the head of one answer, and nothing of its body.
    pub(crate) fn reply_head(&mut self) -> Option<Reply> {
        loop {
            let reply = self.next_head()?;
            if reply.status != 100 {
                return Some(reply);
            }
        }
    }

    /// Reads the next head, also one that only says that the body may come.
    pub(crate) fn next_head(&mut self) -> Option<Reply> {
        let head = self.head()?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .or(status_line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("no status line: {status_line}"));
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a header has a colon");
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Some(Reply { status, headers, body: Vec::new(), is_whole: true })
    }

    /// Reads everything until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.ahead)
    }

    /// Whether the server has closed, or closes before it sends anything.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.ahead.is_empty() && !self.more()
    }

    /// Reads everything until the connection ends, and says whether that was by a reset.
    pub(crate) fn ends_in_reset(&mut self) -> bool {
        let mut space = [0; 64 << 10];
        loop {
            match self.read(&mut space) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Whether the server closes before so much time has passed.
    pub(crate) fn closes_within(&mut self, patience: Duration) -> bool {
        self.stream.set_read_timeout(Some(patience)).unwrap();
        let outcome = self.read(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match outcome {
            Ok(len) => {
                assert_eq!(len, 0, "the server sends something");
                true
            }
            Err(error) => {
                !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
            }
        }
    }

    fn head(&mut self) -> Option<String> {
        loop {
            if let Some(len) = self.ahead.windows(4).position(|end| end == b"\r\n\r\n") {
                let head: Vec<u8> = self.ahead.drain(..len + 4).collect();
                return Some(String::from_utf8(head[..len].to_vec()).expect("a head is text"));
            }
            if !self.more() {
                assert!(self.ahead.is_empty(), "cut off in a head");
                return None;
            }
        }
    }

    fn body(&mut self, reply: &mut Reply) {
        if reply.header("transfer-encoding") == Some("chunked") {
            return self.chunks(reply);
        }
        let len = reply.header("content-length").map_or(0, |len| len.parse().unwrap());
        while self.ahead.len() < len && self.more() {}
        reply.is_whole = len <= self.ahead.len();
        reply.body = self.ahead.drain(..len.min(self.ahead.len())).collect();
    }

    fn chunks(&mut self, reply: &mut Reply) {
        loop {
            let Some(line) = self.line() else { return reply.is_whole = false };
            let len = usize::from_str_radix(&line, 16).expect("a chunk has a length");
            while self.ahead.len() < len + 2 {
                if !self.more() {
                    return reply.is_whole = false;
                }
            }
            reply.body.extend(self.ahead.drain(..len));
            assert_eq!(self.ahead.drain(..2).collect::<Vec<_>>(), b"\r\n");
            if len == 0 {
                return;
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(len) = self.ahead.windows(2).position(|end| end == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..len + 2).collect();
                return Some(String::from_utf8(line[..len].to_vec()).unwrap());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads what comes first. A signal may interrupt a read that has a time limit.
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Reads some bytes; `false` if there are no more to come.
    fn more(&mut self) -> bool {
        let mut space = [0; 64 << 10];
        match self.read(&mut space) {
            Ok(0) => false,
            Ok(len) => {
                self.ahead.extend_from_slice(&space[..len]);
                true
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                panic!("the server neither answered nor closed within {PATIENCE:?}")
            }
            // A reset is a close of the rougher kind.
            Err(_) => false,
        }
    }
}
