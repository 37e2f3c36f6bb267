//! What is read, and what is refused in which words.

use super::*;

fn refusal(document: &str) -> String {
    Node::parse(document.as_bytes()).unwrap_err().detail
}

#[test]
fn repeated_fields_are_refused_by_name_at_every_level() {
    assert!(refusal(r#"{"key":1,"key":1}"#).contains(r#"repeated field "key""#));
    assert!(refusal(r#"[{"a":{"b":1,"c":2,"b":3}}]"#).contains(r#"repeated field "b""#));
    // An escape does not make another name.
    assert!(refusal(r#"{"a":1,"\u0061":2}"#).contains(r#"repeated field "a""#));
}

#[test]
fn nesting_ends_at_the_limit() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Node::parse(nested(MAX_DEPTH as usize).as_bytes()).is_ok());
    assert!(refusal(&nested(MAX_DEPTH as usize + 1)).contains("nested deeper than 32"));
    assert!(refusal(&"[".repeat(1_000_000)).contains("nested deeper than 32"));
}

/// Reads the list `ops`, of which `2` is refused; returns its length and the other fields.
fn list(document: &str) -> Result<(usize, Option<Object<'_>>), WireError> {
    let mut len = 0;
    let object = read_list(document.as_bytes(), "ops", |index, node| {
        assert_eq!(index, len);
        len += 1;
        if node == Node::Uint(2) { Err(WireError::bad("no twos")) } else { Ok(()) }
    })?;
    Ok((len, object))
}

#[test]
fn a_list_is_read_by_its_elements_and_as_strictly_as_a_tree() {
    let (len, object) = list(r#"{"a":1,"ops":[1,{"x":[]},"y"],"b":true}"#).unwrap();
    assert_eq!(len, 3);
    let mut object = object.unwrap();
    assert_eq!((object.uint("a"), object.boolean("b")), (Ok(Some(1)), Ok(Some(true))));
    object.finish().unwrap();
    assert_eq!(list(r#"{"a":1}"#).unwrap(), (0, None));
    let long = format!(r#"{{"ops":[{}0]}}"#, "0,".repeat(100_000));
    assert_eq!(list(&long).unwrap().0, 100_001);
    let deep =
        |levels: usize| format!(r#"{{"ops":[{}{}]}}"#, "[".repeat(levels), "]".repeat(levels));
    list(&deep(MAX_DEPTH as usize - 2)).unwrap();
    for (document, named) in [
        (deep(MAX_DEPTH as usize - 1).as_str(), "nested deeper than 32"),
        (r#"{"ops":[1,2,3]}"#, "no twos"),
        (r#"{"ops":[],"a":1,"ops":[]}"#, "repeated field \"ops\""),
        (r#"{"a":1,"ops":[],"a":2}"#, "repeated field \"a\""),
        (r#"{"ops":[1}"#, "line 1"),
        (r#"{"ops":[]}x"#, "trailing"),
        (r#"{"ops":{}}"#, "ops must be an array"),
        (r#"{"ops":7}"#, "ops must be an array"),
        ("[1]", "an object"),
        ("", "EOF"),
    ] {
        let detail = list(document).unwrap_err().detail;
        assert!(detail.contains(named), "{document}: {detail}");
    }
    let wide = format!(r#"{{"ops":[[{}0]]}}"#, "0,".repeat(MAX_NODES));
    assert!(list(&wide).unwrap_err().detail.contains("more than 512 values"));
}

#[test]
fn a_document_cannot_hold_more_values_than_the_limit() {
    let many = format!("[{}0]", "0,".repeat(MAX_NODES));
    assert!(refusal(&many).contains("more than 512 values"));
    let wide: Vec<String> = (0..=MAX_FIELDS).map(|index| format!(r#""f{index}":0"#)).collect();
    assert!(refusal(&format!("{{{}}}", wide.join(","))).contains("more than 32 fields"));
}

#[test]
fn what_is_not_one_document_is_refused() {
    for bad in ["", " ", "{", "{}{}", "[1,]", "{'a':1}", "\"\\ud800\"", "nul", "01", "{\"a\"}"] {
        assert!(Node::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(Node::parse(b"\"\xff\"").is_err());
}

#[test]
fn an_object_tells_what_nobody_took_and_what_is_of_another_type() {
    let mut object = Node::parse_object(br#"{"a":"x","n":7,"t":true,"odd":1}"#).unwrap();
    assert_eq!(object.string("a").unwrap().as_deref(), Some("x"));
    assert_eq!(object.uint("n").unwrap(), Some(7));
    assert_eq!(object.boolean("t").unwrap(), Some(true));
    assert_eq!(object.uint("absent").unwrap(), None);
    assert_eq!(object.clone().finish().unwrap_err().detail, r#"unknown field "odd""#);
    assert!(object.string("odd").unwrap_err().detail.contains("odd must be a string"));
    for number in ["-1", "1.5", "18446744073709551616", "1e3"] {
        let document = format!(r#"{{"n":{number}}}"#);
        assert!(Node::parse_object(document.as_bytes()).unwrap().uint("n").is_err());
    }
}
