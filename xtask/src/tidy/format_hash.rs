//! The format hash: what is on disk does not change without its page.
//!
//! `docs/on-disk-format.md` ends with a fenced block `format-hash`, a line for each source file
//! that owns bytes on disk:
//!
//! ```text
//! crates/lsm-base/src/key.rs 0123456789abcdef
//! ```
//!
//! The hash is FNV-1a 64 over the file without its tests. Who changes such a file reads the page,
//! brings it up to date, and blesses the new hashes.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use super::markdown::fenced_block;
use super::source::RustFile;
use super::{Findings, Tree};

const PAGE: &str = "docs/on-disk-format.md";
const BLOCK: &str = "format-hash";

/// Beginnings of the paths whose files own bytes on disk. Each must match a file: what is renamed is
/// renamed here too, and does not fall out of the page by the blessing.
const FORMAT_FILES: &[&str] = &[
    "crates/lsm-base/src/batch.rs",
    "crates/lsm-base/src/checksum.rs",
    "crates/lsm-base/src/codec.rs",
    "crates/lsm-base/src/coding.rs",
    "crates/lsm-base/src/file_name.rs",
    "crates/lsm-base/src/key.rs",
    "crates/lsm-wal/src/format",
    "crates/lsm-sstable/src/block.rs",
    "crates/lsm-sstable/src/block/builder.rs",
    "crates/lsm-sstable/src/block/layout.rs",
    "crates/lsm-sstable/src/block/tags.rs",
    "crates/lsm-sstable/src/builder.rs",
    "crates/lsm-sstable/src/fences.rs",
    "crates/lsm-sstable/src/filter.rs",
    "crates/lsm-sstable/src/format",
    "crates/lsm-sstable/src/properties.rs",
    "crates/lsm-compaction/src/edit",
    "crates/lsm-compaction/src/item.rs",
    "crates/lsm-engine/src/manifest.rs",
];

const LIST: &str = "xtask/src/tidy/format_hash.rs";

/// Checks that each name on the list is a file, and that the block holds the hash of each.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    check_list(tree, findings);
    check_page(tree, findings);
}

fn check_list(tree: &Tree, findings: &mut Findings) {
    for start in FORMAT_FILES {
        if !tree.rust.iter().any(|rust| !rust.is_test_file() && rust.path.starts_with(start)) {
            findings.add(LIST, 1, format!("`{start}` is no file any more; name what it became"));
        }
    }
}

fn check_page(tree: &Tree, findings: &mut Findings) {
    let Some(page) = tree.text(PAGE) else {
        return findings.add(PAGE, 1, "the page is missing; it describes every byte on disk");
    };
    let Some(block) = fenced_block(&page.text, BLOCK) else {
        return findings.add(PAGE, 1, format!("no fenced block `{BLOCK}` at the end of the page"));
    };
    let hashed = hashes(tree);
    for (path, hash) in &hashed {
        let line = format!("{path} {hash:016x}");
        if !block.lines.contains(&line.as_str()) {
            let what = format!(
                "changed without {PAGE}; bring the page up to date, then \
                 `cargo xtask tidy --bless-format`"
            );
            findings.add(path, 1, what);
        }
    }
    for (index, line) in block.lines.iter().enumerate() {
        let path = line.split(' ').next().unwrap_or_default();
        if !hashed.iter().any(|(known, _)| *known == path) {
            let what = format!("`{path}` owns no bytes on disk; `cargo xtask tidy --bless-format`");
            findings.add(PAGE, block.first_line + index, what);
        }
    }
}

/// Rewrites the block of the page in `root`.
pub(super) fn bless(root: &Path) -> io::Result<()> {
    let tree = Tree::load(root)?;
    let page = tree.text(PAGE).map_or("", |page| &page.text);
    let blessed = blessed_page(page, &tree)
        .ok_or_else(|| io::Error::other(format!("{PAGE} has no fenced block `{BLOCK}`")))?;
    fs::write(root.join(PAGE), blessed)
}

fn blessed_page(page: &str, tree: &Tree) -> Option<String> {
    let block = fenced_block(page, BLOCK)?;
    let lines: Vec<_> = page.lines().collect();
    let before = &lines[..block.first_line - 1];
    let after = &lines[block.first_line - 1 + block.lines.len()..];
    let mut blessed = String::new();
    for line in before {
        writeln!(blessed, "{line}").expect("a string takes what is written to it");
    }
    for (path, hash) in hashes(tree) {
        writeln!(blessed, "{path} {hash:016x}").expect("a string takes what is written to it");
    }
    for line in after {
        writeln!(blessed, "{line}").expect("a string takes what is written to it");
    }
    Some(blessed)
}

/// The format files and their hashes, in the order of their paths.
fn hashes(tree: &Tree) -> Vec<(&str, u64)> {
    let owns_format = |rust: &&RustFile| {
        !rust.is_test_file() && FORMAT_FILES.iter().any(|start| rust.path.starts_with(start))
    };
    let mut hashes: Vec<_> = tree
        .rust
        .iter()
        .filter(owns_format)
        .map(|rust| (rust.path.as_str(), fnv1a(rust.text_without_tests().as_bytes())))
        .collect();
    hashes.sort_unstable();
    hashes
}

/// The hash of Fowler, Noll and Vo in its 64-bit form 1a.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    const KEY: &str = "crates/lsm-base/src/key.rs";
    const EMPTY_PAGE: &str = "# Format\n\n```format-hash\n```\n";

    fn blessed(files: &[(&str, &str)]) -> String {
        blessed_page(EMPTY_PAGE, &Tree::of(files)).expect("the page has the block")
    }

    #[test]
    fn fnv1a_agrees_with_its_published_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_change_without_the_page_is_found() {
        let page = blessed(&[(KEY, "const A: u8 = 1;\n")]);
        let same = [(KEY, "const A: u8 = 1;\n"), (PAGE, page.as_str())];
        assert_eq!(findings_of(check_page, &same), [""; 0]);
        let changed = [(KEY, "const A: u8 = 2;\n"), (PAGE, page.as_str())];
        assert!(
            findings_of(check_page, &changed)[0]
                .starts_with("crates/lsm-base/src/key.rs:1: changed")
        );
    }

    #[test]
    fn a_name_without_a_file_is_found() {
        let files: Vec<_> = FORMAT_FILES
            .iter()
            .map(
                |start| {
                    if start.ends_with(".rs") { (*start).into() } else { format!("{start}.rs") }
                },
            )
            .collect();
        let with = |files: &[String]| {
            let files: Vec<_> = files.iter().map(|path| (path.as_str(), "")).collect();
            findings_of(check_list, &files)
        };
        assert_eq!(with(&files), [""; 0]);
        let key = files.iter().position(|path| path == KEY).expect("it is on the list");
        let mut renamed = files.clone();
        renamed[key] = "crates/lsm-base/src/keys.rs".into();
        assert!(with(&renamed)[0].contains("`crates/lsm-base/src/key.rs` is no file any more"));
        // Tests alone own no bytes.
        renamed[key] = "crates/lsm-base/src/key.rs/tests.rs".into();
        assert_eq!(with(&renamed).len(), 1);
    }

    #[test]
    fn a_change_of_tests_is_silent() {
        let page = blessed(&[(KEY, "fn f() {}\n#[cfg(test)]\nmod tests {}\n")]);
        let files = [
            (KEY, "fn f() {}\n#[cfg(test)]\nmod tests { fn g() {} }\n"),
            ("crates/lsm-wal/src/format/tests.rs", "fn h() {}\n"),
            (PAGE, page.as_str()),
        ];
        assert_eq!(findings_of(check_page, &files), [""; 0]);
    }

    #[test]
    fn files_that_come_and_go_are_found() {
        let page = blessed(&[(KEY, "")]);
        let come = [(KEY, ""), ("crates/lsm-wal/src/format.rs", ""), (PAGE, page.as_str())];
        assert!(findings_of(check_page, &come)[0].starts_with("crates/lsm-wal/src/format.rs:1:"));
        assert!(findings_of(check_page, &[(PAGE, page.as_str())])[0].starts_with(PAGE));
        assert_eq!(findings_of(check_page, &[(PAGE, "# Format\n")]).len(), 1);
        assert_eq!(findings_of(check_page, &[(KEY, "")]).len(), 1);
    }

    #[test]
    fn blessing_keeps_the_rest_of_the_page() {
        let tree = Tree::of(&[(KEY, "")]);
        let page = "# Format\n\n```format-hash\nold 1\nolder 2\n```\n\nEnd.\n";
        let again = blessed_page(page, &tree).expect("the page has the block");
        assert_eq!(
            again,
            "# Format\n\n```format-hash\ncrates/lsm-base/src/key.rs cbf29ce484222325\n```\n\nEnd.\n"
        );
        assert_eq!(blessed_page(&again, &tree), Some(again));
    }
}
