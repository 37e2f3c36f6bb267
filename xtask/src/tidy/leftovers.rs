//! Leftovers: code that is not finished, tests that do not run or that wait for time to pass.

use super::{Findings, Tree};

const MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

// In pieces, so that this file passes its own rule wherever it is quoted.
const MARKERS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Checks Rust sources for unfinished code and every other text for markers of it.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for rust in &tree.rust {
        for name in MACROS {
            for place in rust.words(name) {
                if rust.code[place + name.len()..].starts_with('!') {
                    let what = format!("`{name}!`; finish it, or leave the feature out whole");
                    findings.add(&rust.path, rust.line(place), what);
                }
            }
        }
        for (place, _) in rust.code.match_indices("#[ignore") {
            let what = "an ignored test; make it run, or remove it";
            findings.add(&rust.path, rust.line(place), what);
        }
        for place in rust.words("sleep").filter(|place| rust.is_test(*place)) {
            let what = "a test that sleeps; wait for the event itself";
            findings.add(&rust.path, rust.line(place), what);
        }
        check_markers(&rust.path, &rust.comments, findings);
    }
    for file in tree.texts.iter().filter(|file| !file.path.ends_with(".rs")) {
        check_markers(&file.path, &file.text, findings);
    }
}

fn check_markers(path: &str, text: &str, findings: &mut Findings) {
    for (index, line) in text.lines().enumerate() {
        for marker in MARKERS {
            if super::source::words(line, marker).next().is_some() {
                let what = format!("`{marker}`; do it, or open an issue");
                findings.add(path, index + 1, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    fn count(path: &str, text: &str) -> usize {
        findings_of(check, &[(path, text)]).len()
    }

    #[test]
    fn unfinished_code_is_found() {
        let path = "crates/lsm-wal/src/log.rs";
        assert_eq!(count(path, "fn f() { todo!() }\n"), 1);
        assert_eq!(count(path, "fn f() { unimplemented!(\"later\") }\n"), 1);
        assert_eq!(count(path, "dbg!(a);\n"), 1);
        assert_eq!(count(path, "let todo = 1; // todo!\n"), 0);
    }

    #[test]
    fn tests_that_do_not_run_or_sleep_are_found() {
        let path = "crates/lsm-wal/tests/it/main.rs";
        assert_eq!(count(path, "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n"), 1);
        assert_eq!(count(path, "thread::sleep(SECOND);\n"), 1);
        assert_eq!(count(path, "use std::thread::sleep;\n"), 1);
        let path = "crates/lsm-server/src/drain.rs";
        assert_eq!(count(path, "tokio::time::sleep(limit).await;\n"), 0);
        assert_eq!(count(path, "#[cfg(test)]\nmod tests { fn f() { sleep(1) } }\n"), 1);
    }

    #[test]
    fn markers_are_found_in_comments_and_pages() {
        for marker in MARKERS {
            assert_eq!(count("src/a.rs", &format!("// {marker}: later\n")), 1);
            assert_eq!(count("src/a.rs", &format!("let a = \"{marker}\";\n")), 0);
            assert_eq!(count("docs/a.md", &format!("# A\n\n{marker} more\n")), 1);
            assert_eq!(count("docs/a.md", &format!("# A\n\nMANIFEST-{marker}000\n")), 0);
        }
    }
}
