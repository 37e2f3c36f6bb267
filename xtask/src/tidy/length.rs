//! Lengths: a ratchet that keeps functions to a screen and files to one noun.
//!
//! Files that are longer for a good reason are named with the length they may have. The number only
//! goes down: a file that shrank must lower its number or leave the list.

use super::{Findings, Tree};

/// Longest function in lines, from `fn` to the closing brace.
const MAX_FUNCTION_LINES: usize = 80;

/// Longest file in lines.
const MAX_FILE_LINES: usize = 600;

/// Longer files, each with the lines that it may have.
const LONG_FILES: &[(&str, usize)] = &[];

/// How far a listed file may shrink before its number must follow.
const SLACK_LINES: usize = 50;

/// Checks every Rust file.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    check_with(tree, LONG_FILES, findings);
}

fn check_with(tree: &Tree, long_files: &[(&str, usize)], findings: &mut Findings) {
    for rust in &tree.rust {
        for (name, range) in rust.functions() {
            let lines = rust.code[range.clone()].lines().count();
            if MAX_FUNCTION_LINES < lines {
                let what = format!(
                    "`{name}` has {lines} lines, of at most {MAX_FUNCTION_LINES}; split it"
                );
                findings.add(&rust.path, rust.line(range.start), what);
            }
        }
        let lines = rust.text.lines().count();
        let listed = long_files.iter().find(|(path, _)| *path == rust.path);
        let max = listed.map_or(MAX_FILE_LINES, |(_, max)| *max);
        if max < lines {
            let what = format!("{lines} lines, of at most {max}; give the second noun a file");
            findings.add(&rust.path, 1, what);
        } else if listed.is_some() && lines + SLACK_LINES < max {
            let what =
                format!("{lines} lines, listed with {max}; lower it in xtask/src/tidy/length.rs");
            findings.add(&rust.path, 1, what);
        }
    }
    for (path, _) in long_files.iter().filter(|(path, _)| !tree.paths.contains(*path)) {
        findings.add(
            "xtask/src/tidy/length.rs",
            1,
            format!("`{path}` is gone; take it off the list"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    const PATH: &str = "crates/lsm-wal/src/log.rs";

    #[test]
    fn long_functions_are_found() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "    a();\n".repeat(lines - 2));
        assert_eq!(findings_of(check, &[(PATH, &function(MAX_FUNCTION_LINES))]), [""; 0]);
        assert_eq!(
            findings_of(check, &[(PATH, &function(MAX_FUNCTION_LINES + 1))]),
            ["crates/lsm-wal/src/log.rs:1: `f` has 81 lines, of at most 80; split it"]
        );
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(findings_of(check, &[(PATH, &"//! A\n".repeat(MAX_FILE_LINES))]), [""; 0]);
        assert_eq!(findings_of(check, &[(PATH, &"//! A\n".repeat(MAX_FILE_LINES + 1))]).len(), 1);
    }

    #[test]
    fn a_listed_length_only_goes_down() {
        let count = |lines: usize, list: &[(&str, usize)]| {
            let mut findings = Findings::default();
            check_with(&Tree::of(&[(PATH, &"//! A\n".repeat(lines))]), list, &mut findings);
            findings.list.len()
        };
        assert_eq!(count(900, &[(PATH, 900)]), 0);
        assert_eq!(count(901, &[(PATH, 900)]), 1);
        assert_eq!(count(800, &[(PATH, 900)]), 1);
        assert_eq!(count(1, &[("crates/gone.rs", 900)]), 1);
    }
}
