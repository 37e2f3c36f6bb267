//! Where code ends and comments and literals begin.

use super::*;

fn file(text: &str) -> RustFile {
    RustFile::new("crates/lsm-x/src/lib.rs".into(), text.into())
}

#[test]
fn comments_and_literals_are_no_code() {
    let rust = file("let a = \"unsafe\"; // why\nlet b = 1; /* x /* y */ z */ let c = 2;\n");
    assert_eq!(rust.code, "let a =         ;       \nlet b = 1;                   let c = 2;\n");
    assert_eq!(rust.comments.trim(), "// why\n           /* x /* y */ z */");
    assert_eq!(rust.words("unsafe").count(), 0);
}

#[test]
fn quotes_and_raw_strings_end_where_rust_ends_them() {
    assert_eq!(file(r##"f(r#"a " b"#, x)"##).code.replace(' ', ""), "f(,x)");
    assert_eq!(file(r#"f(b"\"unsafe", br"\", c"x")"#).code.replace(' ', ""), "f(b,,c)");
    assert_eq!(file(r"f('\'', '\u{1f}', '/', 'é', x)").code.replace(' ', ""), "f(,,,,x)");
    assert_eq!(file("fn f<'a>(x: &'a str, y: &'_ str) {}").words("str").count(), 2);
    assert_eq!(file("let r#type = 1; // é\nunsafe").words("unsafe").count(), 1);
    assert_eq!(file("var\"unsafe\" x").code.replace(' ', ""), "varx");
}

#[test]
fn an_unclosed_literal_or_comment_runs_to_the_end() {
    for text in ["\"abc", "/* abc", "r#\"abc\"", "'\\", "// abc"] {
        assert_eq!(file(text).code.trim(), "", "{text}");
    }
}

#[test]
fn words_are_whole() {
    let rust = file("unsafe_code unsafe{ not_unsafe std::fs std::fsync");
    assert_eq!(rust.words("unsafe").collect::<Vec<_>>(), [12]);
    assert_eq!(rust.words("std::fs").count(), 1);
}

#[test]
fn test_items_end_with_their_brace() {
    let rust = file("a();\n#[cfg(test)]\nmod tests {\n    fn f() { b(); }\n}\nfn c() {}\n");
    assert!(rust.is_test(rust.code.find("b()").unwrap()));
    assert!(!rust.is_test(rust.code.find("a()").unwrap()));
    assert!(!rust.is_test(rust.code.find("c()").unwrap()));
    assert_eq!(rust.text_without_tests(), "a();\n\nfn c() {}\n");
}

#[test]
fn a_test_module_of_its_own_file_hides_nothing_behind_it() {
    let rust = file("#[cfg(all(test, not(loom)))]\nmod tests;\nfn c() {}\n");
    assert_eq!(rust.text_without_tests(), "\nfn c() {}\n");
    let rust = file("#[cfg(not(test))]\nfn c() {}\n#[cfg(feature = \"test\")]\nfn d() {}\n");
    assert_eq!(rust.text_without_tests(), rust.text);
}

#[test]
fn only_conditions_that_imply_tests_make_test_items() {
    let is_test = |condition: &str| {
        let rust = file(&format!("#[cfg({condition})]\nfn c() {{}}\n"));
        rust.is_test(rust.code.find("c()").unwrap())
    };
    for condition in ["test", " test ", "all(unix, test)", "all(not(loom), any(test, test), )"] {
        assert!(is_test(condition), "{condition}");
    }
    for condition in
        ["any(test, unix)", "any(test, feature = \"testing\")", "not(test)", "all(any(test, unix))"]
    {
        assert!(!is_test(condition), "{condition}");
    }
    assert!(!is_test("all(not(test), unix)") && !is_test("contest") && !is_test("all()"));
}

#[test]
fn functions_are_measured_from_name_to_brace() {
    let text = "trait T { fn a(x: [u8; 4]); fn b() { } }\nfn c(f: fn(u8) -> u8) {\n    {}\n}\n";
    let rust = file(text);
    let found: Vec<_> =
        rust.functions().map(|(name, range)| (name, rust.text[range].lines().count())).collect();
    assert_eq!(found, [("b", 1), ("c", 3)]);
}

#[test]
fn tests_examples_and_benches_are_test_files() {
    let is_test_file = |path: &str| RustFile::new(path.into(), String::new()).is_test_file();
    for path in [
        "crates/x/tests/it/main.rs",
        "crates/x/src/key/tests.rs",
        "crates/x/src/key/tests/long.rs",
        "crates/x/fuzz/src/main.rs",
        "x/examples/a.rs",
    ] {
        assert!(is_test_file(path), "{path}");
    }
    for path in [
        "crates/x/src/contests.rs",
        "crates/x/src/fuzz/table.rs",
        "crates/x/src/examples/mod.rs",
        "crates/x/src/benches/a.rs",
    ] {
        assert!(!is_test_file(path), "{path}");
    }
}
