//! What is held while the store goes on: snapshots, cursors, keyspaces.

use lsm_engine::{ErrorKind, Options, Read};

use crate::support::{memory, open};

#[test]
fn a_cursor_that_meets_the_close_stands_on_nothing() {
    let db = open(&memory(), &Options::default());
    db.put("a", "1").unwrap();
    db.put("b", "2").unwrap();
    let mut cursor = db.cursor().unwrap();
    cursor.seek_to_first().unwrap();
    assert_eq!((cursor.key(), cursor.value()), (&b"a"[..], &b"1"[..]));
    db.close().unwrap();
    assert_eq!(cursor.next().unwrap_err().kind(), ErrorKind::Closed);
    assert!(!cursor.valid());
}
