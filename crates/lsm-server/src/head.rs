//! A strict reading of request heads, before hyper reads them.
//!
//! Request smuggling lives on heads that two readers understand differently. hyper is strict, and
//! still lenient in places where another reader may not be: it takes a line that ends in a bare line
//! feed, two equal `Content-Length`s, a `Content-Length` beside a `Transfer-Encoding` (which it
//! then drops, so that nobody after it can see it), and it cuts a request target at a raw `#`.
//! This scanner looks at the same bytes as they arrive and says whether a head has any of these.
//! What it finds is answered with 400, and the connection closes.
//!
//! It follows the framing: after a head with `Content-Length` that many bytes are a body, and then
//! comes the next head. After a chunked request it stops, because such a request is the last one of
//! its connection. So it need not read chunks, and no disagreement about chunks can matter.

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Defect {
    /// A line ends without a carriage return, or has one elsewhere.
    BareLineEnd = 1,
    /// A header line is folded, has no colon, or a blank before it.
    HeaderLine,
    /// The length of the body is not said once and in digits.
    ContentLength,
    /// A transfer encoding other than one `chunked`.
    TransferEncoding,
    /// A raw `#` in the request target.
    Fragment,
}

impl Defect {
    /// The defect of this number, as [`Defect`] numbers them.
    pub(crate) const fn from_number(number: u8) -> Option<Defect> {
        match number {
            1 => Some(Defect::BareLineEnd),
            2 => Some(Defect::HeaderLine),
            3 => Some(Defect::ContentLength),
            4 => Some(Defect::TransferEncoding),
            5 => Some(Defect::Fragment),
            _ => None,
        }
    }

    /// One sentence for the answer.
    pub(crate) const fn detail(self) -> &'static str {
        match self {
            Defect::BareLineEnd => "every line of the header must end in CR LF",
            Defect::HeaderLine => "a header line must be name, colon, value, on one line",
            Defect::ContentLength => "Content-Length must stand once, alone and in digits",
            Defect::TransferEncoding => "the only Transfer-Encoding is chunked, once",
            Defect::Fragment => "a # in the request target must be written %23",
        }
    }
}

/// The scanner of one connection.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    state: State,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// Whether the request line of this head was read.
    has_request_line: bool,
    content_length: Option<u64>,
    is_chunked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Inside a head, or before the next one.
    #[default]
    Head,
    /// Inside a body of which so many bytes are still to come.
    Body(u64),
    /// Nothing more of this connection is looked at.
    Done,
}

impl HeadScanner {
    /// A line longer than this cannot be part of a head that hyper takes.
    const LONGEST_LINE: usize = 64 << 10;

    /// Looks at the next bytes of the connection.
    ///
    /// # Errors
    ///
    /// If a head has a defect. Nothing is looked at after that.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Defect> {
        while !bytes.is_empty() {
            match self.state {
                State::Done => return Ok(()),
                State::Body(left) => {
                    let step = left.min(bytes.len() as u64);
                    bytes = &bytes[step as usize..];
                    self.state = if step == left { State::Head } else { State::Body(left - step) };
                }
                State::Head => bytes = self.feed_head(bytes)?,
            }
        }
        Ok(())
    }

    /// Whether a head has begun and its end has not been seen.
    pub(crate) fn is_inside_head(&self) -> bool {
        self.state == State::Head && (self.has_request_line || !self.line.is_empty())
    }

    /// Reads at most one line, and returns what follows it.
    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Defect> {
        let Some(len) = bytes.iter().position(|&byte| byte == b'\n') else {
            if Self::LONGEST_LINE < self.line.len() + bytes.len() {
                self.stop();
            } else {
                self.line.extend_from_slice(bytes);
            }
            return Ok(&[]);
        };
        let verdict = if self.line.is_empty() {
            self.read_line(&bytes[..len])
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&bytes[..len]);
            self.read_line(&line)
        };
        if verdict.is_err() {
            self.stop();
        }
        verdict.map(|()| &bytes[len + 1..])
    }

    /// Reads a line that has lost its line feed.
    fn read_line(&mut self, line: &[u8]) -> Result<(), Defect> {
        let line = line.strip_suffix(b"\r").ok_or(Defect::BareLineEnd)?;
        if line.contains(&b'\r') {
            return Err(Defect::BareLineEnd);
        }
        match (line, self.has_request_line) {
            // Empty lines before a request are allowed and passed over.
            ([], false) => Ok(()),
            ([], true) => {
                self.end_head();
                Ok(())
            }
            (line, false) => {
                self.has_request_line = true;
                if line.contains(&b'#') { Err(Defect::Fragment) } else { Ok(()) }
            }
            (line, true) => self.read_header(line),
        }
    }

    fn read_header(&mut self, line: &[u8]) -> Result<(), Defect> {
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Defect::HeaderLine)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(|&byte| byte <= b' ') {
            return Err(Defect::HeaderLine);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value)
                .ok()
                .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|value| value.parse().ok());
            if self.content_length.is_some() || self.is_chunked || length.is_none() {
                return Err(Defect::ContentLength);
            }
            self.content_length = length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_chunked = value.eq_ignore_ascii_case(b"chunked");
            if self.content_length.is_some() || self.is_chunked || !is_chunked {
                return Err(Defect::TransferEncoding);
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    fn end_head(&mut self) {
        self.state = match (self.is_chunked, self.content_length.take()) {
            (true, _) => State::Done,
            (false, None | Some(0)) => State::Head,
            (false, Some(len)) => State::Body(len),
        };
        self.has_request_line = false;
    }

    fn stop(&mut self) {
        self.state = State::Done;
        self.line = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(bytes: &[u8]) -> Result<(), Defect> {
        HeadScanner::default().feed(bytes)
    }

    const GOOD: &[&[u8]] = &[
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        b"PUT /a HTTP/1.1\r\ncontent-LENGTH:  5 \r\n\r\na\n#\n:GET /b HTTP/1.1\r\n\r\n",
        b"PUT /a HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        b"PUT /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1\n#\nwhatever: \n comes",
    ];

    const BAD: &[(&[u8], Defect)] = &[
        (b"GET /a HTTP/1.1\nHost: x\r\n\r\n", Defect::BareLineEnd),
        (b"GET /a HTTP/1.1\r\nHost: x\n\r\n", Defect::BareLineEnd),
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\n", Defect::BareLineEnd),
        (b"GET /a HTTP/1.1\r\nA: b\rC: d\r\n\r\n", Defect::BareLineEnd),
        (b"GET /a HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Defect::HeaderLine),
        (b"GET /a HTTP/1.1\r\nHost : x\r\n\r\n", Defect::HeaderLine),
        (b"GET /a HTTP/1.1\r\nHost\r\n\r\n", Defect::HeaderLine),
        (b"GET /a HTTP/1.1\r\n: x\r\n\r\n", Defect::HeaderLine),
        (b"GET /a#b HTTP/1.1\r\n\r\n", Defect::Fragment),
        (b"PUT /a HTTP/1.1\r\nContent-Length: +5\r\n\r\n", Defect::ContentLength),
        (b"PUT /a HTTP/1.1\r\nContent-Length: 5,5\r\n\r\n", Defect::ContentLength),
        (b"PUT /a HTTP/1.1\r\nContent-Length: \r\n\r\n", Defect::ContentLength),
        (
            b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            Defect::ContentLength,
        ),
        (
            b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            Defect::ContentLength,
        ),
        (
            b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            Defect::TransferEncoding,
        ),
        (b"PUT /a HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", Defect::TransferEncoding),
        (b"PUT /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Defect::TransferEncoding),
        (
            b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            Defect::TransferEncoding,
        ),
    ];

    #[test]
    fn sound_heads_pass_and_unsound_ones_are_named() {
        for good in GOOD {
            assert_eq!(scan(good), Ok(()), "{}", String::from_utf8_lossy(good));
        }
        for (bad, defect) in BAD {
            assert_eq!(scan(bad), Err(*defect), "{}", String::from_utf8_lossy(bad));
            // A defect is found wherever in the connection its head stands.
            for before in &GOOD[..4] {
                assert_eq!(scan(&[before, *bad].concat()), Err(*defect));
            }
            assert_eq!(Defect::from_number(*defect as u8), Some(*defect));
        }
        assert_eq!(Defect::from_number(0), None);
    }

    proptest! {
        #[test]
        fn where_reads_end_makes_no_difference(
            first in 0..GOOD.len(),
            second in 0..BAD.len(),
            cuts in proptest::collection::vec(1_usize..9, 1..60),
        ) {
            let bytes = [GOOD[first], BAD[second].0].concat();
            let mut scanner = HeadScanner::default();
            let mut pieces = Ok(());
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                pieces = pieces.and(scanner.feed(piece));
                rest = after;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(pieces, scan(&bytes));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = scan(&bytes);
        }
    }

    #[test]
    fn the_beginning_of_a_head_is_told_from_its_end() {
        for (bytes, is_inside) in [
            ("", false),
            ("\r\n", false),
            ("G", true),
            ("GET /a HTTP/1.1\r\n", true),
            ("GET /a HTTP/1.1\r\nA: b\r\n\r", true),
            ("GET /a HTTP/1.1\r\nA: b\r\n\r\n", false),
            ("GET /a HTTP/1.1\r\n\r\nGET", true),
            ("PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET", false),
            ("PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nGETG", true),
        ] {
            let mut scanner = HeadScanner::default();
            scanner.feed(bytes.as_bytes()).unwrap();
            assert_eq!(scanner.is_inside_head(), is_inside, "{bytes:?}");
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut scanner = HeadScanner::default();
        for _ in 0..100 {
            scanner.feed(&[b'a'; 1024]).unwrap();
        }
        assert_eq!((scanner.state, scanner.line.capacity()), (State::Done, 0));
    }
}
