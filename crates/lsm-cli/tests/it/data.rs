//! `get`, `put`, `del` and `scan` on a directory.

use crate::lsm::Lsm;

#[test]
fn a_value_comes_back_byte_for_byte() {
    let lsm = Lsm::new();
    assert_eq!(lsm.ok(&["put", "apple", "red"]), "");
    assert_eq!(lsm.ok(&["get", "apple"]), "red");
    lsm.ok(&["put", "apple", ""]);
    assert_eq!(lsm.ok(&["get", "apple"]), "");
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(lsm.run_with(&["put", "bytes", "-x"], &bytes).code, Some(0));
    assert_eq!(lsm.run(&["get", "bytes"]).stdout, bytes);
    let file = lsm.file("value", &bytes);
    lsm.ok(&["put".as_ref(), "again".as_ref(), "--file".as_ref(), file.as_os_str()]);
    assert_eq!(lsm.run(&["get", "again"]).stdout, bytes);
}

#[test]
fn every_form_of_a_key_names_the_same_bytes() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "hex:00ff", "b64:AP8="]);
    for key in ["hex:00FF", "b64:AP8=", r#"b"\x00\xff""#] {
        assert_eq!(lsm.run(&["get", key]).stdout, [0, 0xff], "{key}");
    }
    lsm.ok(&["put", r#"b"hex:00""#, "text"]);
    assert_eq!(lsm.ok(&["get", r#"b"hex:00""#]), "text");
    assert_eq!(lsm.ok(&["scan", "--keys-only", "-o", "text"]), "b\"\\x00\\xff\"\nb\"hex:00\"\n");
}

#[test]
fn each_output_has_its_form() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "a", r#"b"1\n""#]);
    lsm.ok(&["put", "hex:ff", "hex:00"]);
    assert_eq!(lsm.ok(&["get", "a", "-o", "raw"]), "1\n");
    assert_eq!(lsm.ok(&["get", "a", "-o", "text"]), "b\"1\\n\"\n");
    assert_eq!(lsm.ok(&["get", "a", "-o", "hex"]), "310a\n");
    assert_eq!(
        lsm.ok(&["get", "a", "-o", "json"]),
        "{\"key\":\"a\",\"value\":\"1\\n\",\"seq\":1}\n"
    );
    assert_eq!(lsm.run(&["scan"]).stdout, b"a\t1\n\n\xff\t\x00\n");
    assert_eq!(lsm.ok(&["scan", "-o", "text"]), "a\tb\"1\\n\"\nb\"\\xff\"\tb\"\\x00\"\n");
    assert_eq!(lsm.ok(&["scan", "-o", "hex"]), "61\t310a\nff\t00\n");
    assert_eq!(
        lsm.ok(&["scan", "-o", "json", "--start", "b"]),
        "{\"key_b64\":\"/w==\",\"value\":\"\\u0000\"}\n"
    );
}

#[test]
fn a_scan_gives_what_was_asked_for() {
    let lsm = Lsm::new();
    for key in ["a", "b1", "b2", "b3", "c"] {
        lsm.ok(&["put", key, "v"]);
    }
    let keys = |arguments: &[&str]| {
        let arguments = [&["scan", "--keys-only"], arguments].concat();
        lsm.ok(&arguments).lines().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&[]), "a b1 b2 b3 c");
    assert_eq!(keys(&["--prefix", "b"]), "b1 b2 b3");
    assert_eq!(keys(&["--start", "b2", "--end", "c"]), "b2 b3");
    assert_eq!(keys(&["--reverse", "--limit", "2"]), "c b3");
    assert_eq!(keys(&["--prefix", "b", "--reverse", "--limit", "1"]), "b3");
    assert_eq!(keys(&["--limit", "0"]), "");
    assert_eq!(keys(&["--start", "c", "--end", "a"]), "");
    assert_eq!(lsm.ok(&["scan", "--count", "--prefix", "b"]), "3\n");
}

#[test]
fn what_is_not_there_is_not_found() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "a", "1"]);
    lsm.run(&["get", "b"]).failed(3, &["no key b"]);
    lsm.run(&["del", "b", "--must-exist"]).failed(3, &["no key b"]);
    lsm.ok(&["del", "b"]);
    lsm.ok(&["del", "a", "--must-exist"]);
    lsm.run(&["get", "a"]).failed(3, &[]);
}

#[test]
fn several_keys_are_removed_at_once() {
    let lsm = Lsm::new();
    for key in ["a", "b", "c"] {
        lsm.ok(&["put", key, "v"]);
    }
    lsm.ok(&["del", "a", "c", "d"]);
    assert_eq!(lsm.ok(&["scan", "--keys-only"]), "b\n");
    lsm.run(&["del", "a", "b", "--must-exist"]).failed(2, &["one key"]);
    // An empty key breaks the batch before anything of it happens.
    lsm.run(&["del", "b", ""]).failed(2, &["empty key"]);
    assert_eq!(lsm.ok(&["get", "b"]), "v");
}

#[test]
fn conditions_are_kept() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "a", "1", "--if-absent"]);
    lsm.run(&["put", "a", "2", "--if-absent"]).failed(1, &["last written at 1"]);
    lsm.ok(&["put", "a", "2", "--if-seq", "1"]);
    lsm.run(&["put", "a", "3", "--if-seq", "1"]).failed(1, &["last written at 2"]);
    lsm.run(&["put", "a", "3", "--if-seq", "18446744073709551615"]).failed(2, &["--if-seq"]);
    assert_eq!(lsm.ok(&["get", "a"]), "2");
}

#[test]
fn keyspaces_are_apart() {
    let lsm = Lsm::new();
    lsm.ok(&["put", "a", "1"]);
    lsm.ok(&["put", "a", "2", "--keyspace", "users"]);
    assert_eq!(lsm.ok(&["get", "a"]), "1");
    assert_eq!(lsm.ok(&["get", "a", "--keyspace", "users"]), "2");
    lsm.ok(&["del", "a", "--keyspace", "users"]);
    assert_eq!(lsm.ok(&["scan", "--keyspace", "users", "--count"]), "0\n");
    // Only a command that stores something creates one.
    for verb in [&["get", "a"][..], &["del", "a"], &["scan"], &["export"]] {
        let arguments = [verb, &["--keyspace", "typo"]].concat();
        lsm.run(&arguments).failed(1, &["typo", "there are: default, users"]);
    }
    for verb in [&["stats"][..], &["verify"], &["flush"], &["compact"], &["inspect", "wal", "f"]] {
        let arguments = [verb, &["--keyspace", "users"]].concat();
        lsm.run(&arguments).failed(2, &["--keyspace"]);
    }
    assert!(lsm.ok(&["levels", "--keyspace", "users"]).starts_with("keyspace users\n"));
    lsm.run(&["levels", "--keyspace", "typo"]).failed(1, &["typo"]);
}
