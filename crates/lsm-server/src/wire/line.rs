//! One line of a newline-delimited scan.
//!
//! A scan is any number of items, a line each, and then one line that ends it. A scan whose last
//! line is neither [`Line::Done`] nor [`Line::Failed`] was cut off on the way.

use super::json::Node;
use super::{Item, Problem, WireError, item_from, put_number};

/// A line, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// One key, in ascending order of keys unless the scan was asked to go back.
    Item(Item),
    /// The end of a whole scan: `{"done":true,"count":n,"seq":s}`.
    Done {
        /// How many items came before.
        count: u64,
        /// The sequence of the view that was scanned; absent where the items came from a file.
        seq: Option<u64>,
    },
    /// The end of a scan that failed: `{"error":{..}}`.
    Failed(Problem),
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// If it is none of the three.
    pub fn parse(json: &[u8]) -> Result<Line, WireError> {
        let mut object = Node::parse_object(json)?;
        if let Some(error) = object.take("error") {
            object.finish()?;
            return Problem::from_object(error.into_object("error")?).map(Line::Failed);
        }
        let Some(done) = object.boolean("done")? else {
            return item_from(object).map(Line::Item);
        };
        if !done {
            return Err(WireError::bad("done must be true where it stands"));
        }
        let count = object.uint("count")?.ok_or_else(|| WireError::bad("count is missing"))?;
        let seq = object.uint("seq")?;
        object.finish()?;
        Ok(Line::Done { count, seq })
    }

    /// Appends the last line of a whole scan, with its line end.
    pub fn write_done(out: &mut Vec<u8>, count: u64, seq: Option<u64>) {
        out.extend_from_slice(b"{\"done\":true,\"count\":");
        put_number(out, count);
        if let Some(seq) = seq {
            out.extend_from_slice(b",\"seq\":");
            put_number(out, seq);
        }
        out.extend_from_slice(b"}\n");
    }

    /// Appends the last line of a scan that failed, with its line end.
    pub fn write_failed(out: &mut Vec<u8>, problem: &Problem) {
        out.extend_from_slice(b"{\"error\":");
        problem.write(out);
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::*;

    #[test]
    fn the_end_of_a_scan_is_told_from_an_item() {
        let mut out = Vec::new();
        Line::write_done(&mut out, 3, Some(9));
        assert_eq!(out, b"{\"done\":true,\"count\":3,\"seq\":9}\n");
        assert_eq!(Line::parse(&out).unwrap(), Line::Done { count: 3, seq: Some(9) });

        let item = Line::parse(br#"{"key":"done","value":"true"}"#).unwrap();
        assert!(matches!(item, Line::Item(item) if item.key == b"done"));
        for bad in
            [r#"{"done":false,"count":1}"#, r#"{"done":true}"#, r#"{"done":true,"count":1,"x":1}"#]
        {
            assert!(Line::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_failure_carries_its_problem() {
        let problem = Problem::new(Code::Corruption, "the store is damaged");
        let mut out = Vec::new();
        Line::write_failed(&mut out, &problem);
        assert_eq!(Line::parse(&out).unwrap(), Line::Failed(problem));
        assert!(Line::parse(br#"{"error":{},"key":"a"}"#).is_err());
    }
}
