//! `/v1/kv`: a range of keys, as a page or as lines.
//!
//! A page is one JSON document with a cursor for the next; every page reads what is there when it is
//! asked for, and the server keeps nothing in between. Lines are one snapshot, sent as it is read:
//! pieces are made on the pool, one ahead of the socket, and between two pieces neither a thread nor
//! a cursor is held, only the snapshot. A client that does not read loses that after a while.
//!
//! Between two keys there may be any number of deleted ones. Whoever looks for the next key pauses
//! now and then: a page may end so without having found one, and lines are broken off when the client
//! has gone or the store is closed. That a client has gone shows when something is sent to it, so that
//! an empty line is sent where no other is found for a while.

use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, StatusCode};
use lsm_engine::{DbCursor, Error, Read, Snapshot};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{names_in_accept, with_seq};
use crate::answer::{self, Answer, Payload, Piece};
use crate::app::App;
use crate::in_flight::{Growing, Share};
use crate::page_cursor::{Direction, ScanBounds};
use crate::serve::Timeouts;
use crate::service::Call;
use crate::status::problem_of;
use crate::target::Query;
use crate::wire::{Code, ItemRef, KeyForm, Line, Problem, put_number, put_string};

/// Items of a page, if the request does not say.
const DEFAULT_LIMIT: u64 = 100;
/// Items that a page may have at most.
const MAX_LIMIT: u64 = 10_000;
/// A page ends before it would be larger than this, in bytes, unless it is one item.
const PAGE_BYTES: usize = 16 << 20;
/// More than what follows the items of a page, in bytes: a cursor may hold a whole key as base64.
const LONGEST_TAIL: usize = 96 << 10;
/// A piece of lines ends before it would be larger than this, in bytes, unless it is one item.
const PIECE_BYTES: usize = 128 << 10;
/// More than the last line of a scan has, in bytes.
const LAST_LINE: usize = 128;
/// How many entries are passed over between two looks at the time.
const SKIPS_BETWEEN_LOOKS: u64 = 4096;
/// How long lines wait for their reader before the snapshot is given up.
const READER_TIME: Duration = Duration::from_secs(60);

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// What a scan was asked for.
#[derive(Clone, Debug)]
struct Wanted {
    bounds: ScanBounds,
    /// Where to resume, as it was sent.
    cursor: Option<String>,
    limit: Option<u64>,
    keys_only: bool,
    form: KeyForm,
}

impl Wanted {
    fn from_query(mut query: Query) -> Result<Wanted, Problem> {
        let directions = [("true", Direction::Down), ("false", Direction::Up)];
        let direction = query.choice("reverse", &directions)?.unwrap_or_default();
        let (prefix, start, end) = (query.take("prefix"), query.take("start"), query.take("end"));
        let bounds = match prefix {
            Some(_) if start.is_some() || end.is_some() => {
                let detail = "parameters prefix and start or end exclude each other";
                return Err(Problem::new(Code::BadRequest, detail));
            }
            Some(prefix) => ScanBounds::of_prefix(&prefix, direction),
            None => ScanBounds { start: start.unwrap_or_default(), end, direction },
        };
        let forms = [("utf8", KeyForm::Utf8), ("base64", KeyForm::Base64), ("hex", KeyForm::Hex)];
        let wanted = Wanted {
            bounds,
            cursor: query.take("cursor").map(|text| String::from_utf8_lossy(&text).into_owned()),
            limit: query.number("limit", 1..=MAX_LIMIT)?,
            keys_only: query.flag("keys_only")?,
            form: query.choice("key_enc", &forms)?.unwrap_or_default(),
        };
        query.finish()?;
        Ok(wanted)
    }

    /// The item on which a cursor stands.
    fn item<'a>(&self, cursor: &'a DbCursor) -> ItemRef<'a> {
        let value = (!self.keys_only).then(|| cursor.value());
        ItemRef { key: cursor.key(), value, seq: Some(cursor.entry_seq().get()) }
    }
}

/// Whether the client asks for lines.
pub(super) fn wants_lines(headers: &HeaderMap) -> bool {
    names_in_accept(headers, "application/x-ndjson")
}

/// Answers one page.
pub(super) fn page(mut call: Call) -> Result<Answer, Problem> {
    let wanted = Wanted::from_query(std::mem::take(&mut call.query))?;
    let left = match &wanted.cursor {
        None => wanted.bounds.clone(),
        Some(cursor) => wanted.bounds.resume(cursor).ok_or_else(|| {
            Problem::new(Code::BadRequest, "parameter cursor is not one of this scan")
        })?,
    };
    let failed = |error: Error| problem_of(&error);
    let deadline = Instant::now() + call.app.timeouts.page;
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT);
    let mut cursor = open(call.db()?, &left).map_err(failed)?;
    let mut out = call.growing(PAGE_BYTES);
    out.put(b"{\"items\":[")?;
    let mut count = 0;
    let mut last = Vec::new();
    while search(&mut cursor, deadline).map_err(failed)? == Search::Found {
        let item = wanted.item(&cursor);
        let room = PAGE_BYTES.saturating_sub(out.len() + LONGEST_TAIL);
        let is_full = limit <= count || !item.fits(room, wanted.form) || deadline <= Instant::now();
        // The first item always goes out, so that every page gets on.
        if count != 0 && is_full {
            break;
        }
        if count != 0 {
            out.put(b",")?;
        }
        out.put_item(item, wanted.form)?;
        last.clear();
        last.extend_from_slice(cursor.key());
        count += 1;
        step(&mut cursor, left.direction).map_err(failed)?;
    }
    let mut tail = b"],\"next\":".to_vec();
    let end = match cursor.paused() {
        Some(pause) => Some((pause.passed, pause.ahead)),
        None => cursor.valid().then(|| (&last[..], cursor.key())),
    };
    match end {
        Some((before, behind)) => {
            let (lower, upper) = match left.direction {
                Direction::Up => (before, behind),
                Direction::Down => (behind, before),
            };
            put_string(&mut tail, &wanted.bounds.cursor_between(lower, upper));
        }
        None => tail.extend_from_slice(b"null"),
    }
    tail.extend_from_slice(format!(",\"done\":{},\"seq\":", end.is_none()).as_bytes());
    put_number(&mut tail, cursor.seq().get());
    tail.push(b'}');
    out.put(&tail)?;
    Ok(with_seq(answer::json(StatusCode::OK, out.into_bytes()), cursor.seq()))
}

/// Begins to answer lines.
pub(super) fn lines(mut call: Call) -> Result<Answer, Problem> {
    let wanted = Wanted::from_query(std::mem::take(&mut call.query))?;
    if wanted.cursor.is_some() {
        let detail = "parameter cursor is for pages; lines are one snapshot";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let snapshot = call.db()?.snapshot().map_err(|error| problem_of(&error))?;
    let seq = snapshot.seq();
    let (pieces, receiver) = mpsc::channel(1);
    let (left, sent) = (wanted.bounds.clone(), Instant::now());
    let scan = LineScan { left, wanted, snapshot, count: 0, sent, timeouts: call.app.timeouts };
    tokio::spawn(send_lines(scan, call.app, pieces));
    let mut answer = Answer::new(Payload::stream(receiver));
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, LINES);
    Ok(with_seq(answer, seq))
}

/// Makes pieces for as long as somebody reads them. Whatever goes wrong, the last piece is not sent
/// then, and the body ends uncleanly behind the line that says why.
async fn send_lines(mut scan: LineScan, app: Arc<App>, pieces: mpsc::Sender<Piece>) {
    let mut needed = PIECE_BYTES;
    loop {
        let Ok(Ok(place)) = timeout(READER_TIME, pieces.reserve()).await else { return };
        let Ok(share) = timeout(READER_TIME, app.in_flight.wait(needed)).await else { return };
        let share = match share {
            Ok(share) => share,
            Err(problem) => return place.send(failure(&problem)),
        };
        let made = app.pool.run(move || {
            let made = scan.make_piece(share);
            (scan, made)
        });
        match made.await {
            Ok((rest, Ok(Made::Piece(bytes)))) => {
                (scan, needed) = (rest, PIECE_BYTES);
                place.send(Piece::More(bytes));
            }
            Ok((rest, Ok(Made::Needs(bytes)))) => (scan, needed) = (rest, bytes),
            Ok((_, Ok(Made::Last(bytes)))) => return place.send(Piece::Last(bytes)),
            Ok((_, Err(problem))) | Err(problem) => return place.send(failure(&problem)),
        }
    }
}

/// The line that says why no others follow.
fn failure(problem: &Problem) -> Piece {
    let mut line = Vec::new();
    Line::write_failed(&mut line, problem);
    Piece::More(line.into())
}

/// What a scan has made of its share of the memory.
enum Made {
    /// Some lines.
    Piece(Bytes),
    /// The last lines.
    Last(Bytes),
    /// Nothing yet. It goes on with a share of so many bytes.
    Needs(usize),
}

/// A scan between two pieces.
#[derive(Debug)]
struct LineScan {
    wanted: Wanted,
    left: ScanBounds,
    snapshot: Snapshot,
    count: u64,
    /// When the last piece was made.
    sent: Instant,
    timeouts: Timeouts,
}

impl LineScan {
    fn make_piece(&mut self, share: Share) -> Result<Made, Problem> {
        let failed = |error: Error| problem_of(&error);
        let deadline = Instant::now() + self.timeouts.piece;
        // The last line of a scan always fits behind the others.
        let room = share.bytes() - LAST_LINE;
        let mut out = Growing::new(share, 0, 0);
        let mut cursor = open(&self.snapshot, &self.left).map_err(failed)?;
        while self.wanted.limit.is_none_or(|limit| self.count < limit) {
            match search(&mut cursor, deadline).map_err(failed)? {
                Search::Found => {}
                Search::Late => {
                    self.resume_at(cursor.paused().expect("a late search has paused").ahead);
                    return self.end_piece(out);
                }
                Search::Over => break,
            }
            let item = self.wanted.item(&cursor);
            let is_full = !item.fits(room.saturating_sub(out.len() + 1), self.wanted.form);
            if out.len() == 0 && is_full {
                return Ok(Made::Needs(item.printed_len(self.wanted.form) + 1 + LAST_LINE));
            }
            if out.len() != 0 && (is_full || deadline <= Instant::now()) {
                self.resume_at(cursor.key());
                return self.end_piece(out);
            }
            out.put_item(item, self.wanted.form)?;
            out.put(b"\n")?;
            self.count += 1;
            step(&mut cursor, self.left.direction).map_err(failed)?;
        }
        let mut done = Vec::new();
        Line::write_done(&mut done, self.count, Some(self.snapshot.seq().get()));
        out.put(&done)?;
        Ok(Made::Last(out.into_bytes()))
    }

    /// Leaves this key, and what comes behind it, to the next piece.
    fn resume_at(&mut self, key: &[u8]) {
        match self.left.direction {
            Direction::Up => self.left.start = key.to_vec(),
            // The bound is exclusive, and the smallest key above this one keeps it inside.
            Direction::Down => self.left.end = Some([key, b"\0"].concat()),
        }
    }

    /// The lines that were made, or if there is none and the client has heard nothing for a while, an
    /// empty one.
    fn end_piece(&mut self, mut out: Growing) -> Result<Made, Problem> {
        if out.len() == 0 {
            if self.sent.elapsed() < self.timeouts.silence {
                return Ok(Made::Needs(PIECE_BYTES));
            }
            out.put(b"\n")?;
        }
        self.sent = Instant::now();
        Ok(Made::Piece(out.into_bytes()))
    }
}

/// What became of the search for the next key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Search {
    /// The cursor stands on it.
    Found,
    /// It took too long, and the cursor has paused.
    Late,
    /// There is none.
    Over,
}

/// Lets the last motion of a cursor come to its end, if that is before the deadline.
fn search(cursor: &mut DbCursor, deadline: Instant) -> Result<Search, Error> {
    while cursor.paused().is_some() {
        if deadline <= Instant::now() {
            return Ok(Search::Late);
        }
        cursor.resume()?;
    }
    Ok(if cursor.valid() { Search::Found } else { Search::Over })
}

/// A cursor on its way to the first key of a scan.
fn open(view: &impl Read, bounds: &ScanBounds) -> Result<DbCursor, Error> {
    let end = bounds.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut cursor = view.cursor_in::<&[u8]>((Bound::Included(&bounds.start[..]), end))?;
    cursor.set_skip_limit(SKIPS_BETWEEN_LOOKS);
    match bounds.direction {
        Direction::Up => cursor.seek_to_first()?,
        Direction::Down => cursor.seek_to_last()?,
    }
    Ok(cursor)
}

fn step(cursor: &mut DbCursor, direction: Direction) -> Result<(), Error> {
    match direction {
        Direction::Up => cursor.next(),
        Direction::Down => cursor.prev(),
    }
}
