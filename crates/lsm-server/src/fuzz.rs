//! Fuzz targets of this crate: what holds of any head, path, query and JSON. See
//! `lsm_base::testing::corpus`.

use hyper::Method;

use crate::head::HeadScanner;
use crate::page_cursor::{Direction, ScanBounds};
use crate::route::Route;
use crate::target::{Query, percent_decode};
use crate::wire::json::{Node, read_list};
use crate::wire::{Item, KeyForm, Line, Problem, WireError};

/// A head is judged alike wherever reads end. The first byte says where the first one does.
pub fn head(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let whole = HeadScanner::default().feed(bytes);
    let (first, rest) = bytes.split_at(bytes.len().min(usize::from(cut)));
    let mut scanner = HeadScanner::default();
    assert_eq!(scanner.feed(first).and_then(|()| scanner.feed(rest)), whole);
    let mut scanner = HeadScanner::default();
    let mut bytes = bytes.chunks(1);
    assert_eq!(bytes.try_for_each(|byte| scanner.feed(byte)), whole);
}

/// A path has one route, and its key survives being encoded again.
pub fn path(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    let Some((route, rest)) = Route::find(raw) else { return };
    assert!(raw.ends_with(rest));
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        let _ = (route.knows(&method), route.body(&method));
    }
    let Ok(key) = percent_decode(rest) else { return };
    assert!(key.len() <= rest.len());
    let encoded: String = key.iter().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(percent_decode(&encoded).expect("it is well encoded"), key);
}

/// A query's parameters are taken once; a page's cursor leaves a part of its scan.
pub fn query(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    let Ok(mut query) = Query::parse(Some(raw)) else { return };
    let (start, end) = (query.take("start"), query.take("end"));
    let direction = match query.flag("reverse") {
        Ok(true) => Direction::Down,
        _ => Direction::Up,
    };
    let bounds = match query.take("prefix") {
        Some(prefix) => {
            let bounds = ScanBounds::of_prefix(&prefix, direction);
            let is_above = bounds.end.as_ref().is_none_or(|end| prefix < *end);
            assert!(bounds.start == prefix && is_above);
            bounds
        }
        None => ScanBounds { start: start.unwrap_or_default(), end, direction },
    };
    if let Some(cursor) = query.take("cursor").and_then(|cursor| String::from_utf8(cursor).ok())
        && let Some(left) = bounds.resume(&cursor)
    {
        assert_eq!(left.direction, bounds.direction);
    }
    let own = bounds.cursor_between(b"a", b"b");
    assert!(bounds.resume(&own).is_some(), "a scan knows its own cursor");
    if let Ok(Some(limit)) = query.number("limit", 1..=10_000) {
        assert!((1..=10_000).contains(&limit));
    }
    assert_eq!(query.take("start"), None);
    let _ = query.finish();
}

/// JSON that is read as a form is printed and read as the same one; no form takes what the reader
/// below it refuses.
pub fn json(bytes: &[u8]) {
    let node = Node::parse(bytes);
    let item = Item::parse(bytes);
    if let Ok(item) = &item {
        for form in [KeyForm::Utf8, KeyForm::Base64] {
            let mut printed = Vec::new();
            item.as_ref().write(&mut printed, form);
            assert_eq!(printed.len(), item.as_ref().printed_len(form));
            assert_eq!(Item::parse(&printed).as_ref(), Ok(item));
        }
    }
    let line = Line::parse(bytes);
    let mut printed = Vec::new();
    match &line {
        Ok(Line::Done { count, seq }) => Line::write_done(&mut printed, *count, *seq),
        Ok(Line::Failed(problem)) => Line::write_failed(&mut printed, problem),
        Ok(Line::Item(found)) => assert_eq!(Ok(found), item.as_ref()),
        Err(_) => {}
    }
    if !printed.is_empty() {
        assert_eq!(Line::parse(&printed), line);
    }
    let problem = Problem::parse(bytes);
    if let Ok(problem) = &problem {
        let mut printed = Vec::new();
        problem.write(&mut printed);
        assert_eq!(Problem::parse(&printed).as_ref(), Ok(problem));
    }
    assert!(node.is_ok() || item.is_err() && line.is_err() && problem.is_err());
    let mut count = 0;
    let list = read_list::<WireError>(bytes, "ops", |index, _| {
        assert_eq!(index, count, "elements come in order");
        count += 1;
        Ok(())
    });
    // The list of a document is not held against the document's own limit.
    assert!(list.is_ok() || node.is_err() || !matches!(node, Ok(Node::Object(_))) || has_ops(node));
}

/// Whether a document has a field `ops`, which may be no list.
fn has_ops(node: Result<Node<'_>, WireError>) -> bool {
    node.and_then(|node| node.into_object("document"))
        .is_ok_and(|mut object| object.take("ops").is_some())
}

#[cfg(test)]
mod tests {
    use lsm_base::testing::corpus;

    use super::*;

    fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_corpus_of_heads() {
        let texts = [
            "\u{5}GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
            "\u{10}PUT /a HTTP/1.1\r\ncontent-LENGTH:  5 \r\n\r\na\n#\n:GET /b HTTP/1.1\r\n\r\n",
            "\u{20}PUT /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1\n#\nwhatever: \n comes",
            "\u{7}GET /a HTTP/1.1\r\nA: b\r\n c\r\nContent-Length: 5,5\r\n\r\n",
        ];
        corpus::replay("head", &seeds(&texts), corpus::RUNS, head);
    }

    #[test]
    fn the_corpus_of_paths() {
        let mut texts: Vec<_> = Route::ALL.map(Route::template).to_vec();
        texts.extend(["/v1/kv/a%2Fb//..%00%ff", "/get/%e4%bd%a0", "/v1/kv/%zz", "/v1/jobs/7"]);
        corpus::replay("path", &seeds(&texts), corpus::RUNS, path);
    }

    #[test]
    fn the_corpus_of_queries() {
        let cursor = ScanBounds::of_prefix(b"p", Direction::Up).cursor_between(b"pa", b"pb");
        let resumed = format!("prefix=p&cursor={cursor}&limit=7");
        let texts = [
            "limit=7&reverse=true&prefix=a%26b%3Dc&x=",
            "start=a&end=b&keys_only=true&key_enc=hex",
            "a=1&%61=2",
            "prefix=%ff%ff&limit=10001",
            &resumed,
        ];
        corpus::replay("query", &seeds(&texts), corpus::RUNS, query);
    }

    #[test]
    fn the_corpus_of_json() {
        let texts = [
            r#"{"key":"a\n\u0000","value":"b","seq":7}"#,
            r#"{"key_b64":"/w==","value":"/g==","encoding":"base64"}"#,
            r#"{"done":true,"count":3,"seq":9}"#,
            r#"{"error":{"type":"about:blank","title":"t","status":500,"code":"corruption","detail":"d"}}"#,
            r#"{"type":"about:blank","title":"t","status":500,"code":"corruption","detail":"d"}"#,
            r#"{"ops":[{"op":"put","key":"a","value":"b"},{"op":"delete","key":"c"}],"durability":"sync"}"#,
            r#"[[[[[[1.5,-2,null,true]]]]]]"#,
            r#"{"ops":7}"#,
        ];
        corpus::replay("json", &seeds(&texts), corpus::RUNS, json);
    }
}
