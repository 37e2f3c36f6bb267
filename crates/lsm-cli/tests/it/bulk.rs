//! `import` and `export`.

use crate::lsm::{Lsm, items};

/// Keys and values of every kind, in key order.
fn odd_items() -> String {
    [
        r#"{"key":"\u0000","value":""}"#,
        r#"{"key":"a,\"b\"\r\n","value":"x\ty"}"#,
        r#"{"key":"ключ","value":"значение"}"#,
        r#"{"key_b64":"/w==","value":"/v8=","encoding":"base64"}"#,
        r#"{"key_b64":"//8=","value":"text"}"#,
    ]
    .map(|line| format!("{line}\n"))
    .concat()
}

#[test]
fn what_is_exported_can_be_imported() {
    let (one, two, three) = (Lsm::new(), Lsm::new(), Lsm::new());
    let lines = odd_items();
    one.run_with(&["import"], lines.as_bytes()).ok();
    assert_eq!(one.ok(&["export"]), lines);
    two.run_with(&["import", "-"], &one.run(&["export", "--done-line"]).stdout).ok();
    assert_eq!(two.ok(&["export"]), lines);
    let csv = one.ok(&["export", "--format", "csv"]);
    assert!(csv.starts_with("key,value,encoding\r\n"), "{csv}");
    let file = three.file("items.csv", csv.as_bytes());
    three.ok(&["import".as_ref(), file.as_os_str()]);
    assert_eq!(three.ok(&["export"]), lines);
}

#[test]
fn many_items_come_in_many_batches_and_go_out_in_order() {
    let lsm = Lsm::new();
    let lines = items(5_500);
    let file = lsm.file("items.ndjson", lines.as_bytes());
    lsm.ok(&["import".as_ref(), file.as_os_str()]);
    assert_eq!(lsm.ok(&["export"]), lines);
    assert_eq!(lsm.ok(&["export", "--start", "key-005499"]).lines().count(), 1);
    let stats = lsm.ok(&["stats", "--json"]);
    assert!(stats.starts_with("{\"seq\":5500,"), "{stats}");
}

#[test]
fn nothing_at_all_is_an_import_and_an_export() {
    let lsm = Lsm::new();
    lsm.run_with(&["import"], b"").ok();
    assert_eq!(lsm.ok(&["export"]), "");
    assert_eq!(lsm.ok(&["export", "--done-line"]), "{\"done\":true,\"count\":0}\n");
    assert_eq!(lsm.ok(&["export", "--format", "csv"]), "key,value,encoding\r\n");
}

#[test]
fn a_bad_line_is_named_and_what_came_before_is_stored() {
    let lsm = Lsm::new();
    let lines = items(1_200) + "{\"key\":\"x\"}\n" + "{\"key\":\"y\",\"value\":\"\"}\n";
    lsm.run_with(&["import"], lines.as_bytes())
        .failed(1, &["stdin, line 1201: value is missing", "; the first 1200 items are stored"]);
    assert_eq!(lsm.ok(&["scan", "--count"]), "1200\n");
}

#[test]
fn an_input_that_was_cut_is_noticed() {
    let lsm = Lsm::new();
    let lines = items(3) + "{\"done\":true,\"count\":4,\"seq\":9}\n";
    lsm.run_with(&["import"], lines.as_bytes()).failed(1, &["line 4", "some are missing"]);
    let csv = b"key,value,encoding\na,\"b";
    lsm.run_with(&["import", "--format", "csv"], csv).failed(1, &["line 2", "not closed"]);
}

#[test]
fn a_file_that_cannot_be_read_begins_no_database() {
    let lsm = Lsm::new();
    lsm.run(&["import", "no/such/file"]).failed(1, &["cannot open no/such/file"]);
    lsm.run(&["import", "/"]).failed(1, &["is a directory"]);
    assert!(!lsm.db().exists());
}
