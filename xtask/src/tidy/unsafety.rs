//! Unsafe code: in named files only, argued at every place, forbidden everywhere else.

use super::source::RustFile;
use super::{Findings, Tree};

/// The files that may hold unsafe code, and folders that end in `/`.
const UNSAFE_FILES: &[&str] = &[
    "crates/lsm-base/src/fs/write_map.rs",
    "crates/lsm-memtable/src/arena.rs",
    "crates/lsm-memtable/src/arena/",
    "crates/lsm-sstable/src/map.rs",
    // One call of the C library, which is a setting of its allocator: the library stays without.
    "crates/lsm-server/src/main.rs",
    // A peer of the benchmark that maps its files: its library wants promises about them.
    "xtask/peers/src/lmdb.rs",
    // Test programs whose allocator counts: the trait of allocators is unsafe to implement.
    "crates/lsm-engine/tests/it/allocator.rs",
    "crates/lsm-server/tests/allocations.rs",
    "crates/lsm-sstable/tests/allocations.rs",
];

/// The roots of crates with such files, and folders; every other root forbids unsafe code.
const UNSAFE_ROOTS: &[&str] = &[
    "crates/lsm-base/",
    "crates/lsm-memtable/",
    "crates/lsm-sstable/",
    "crates/lsm-server/src/main.rs",
    "xtask/peers/src/main.rs",
];

const FORBID: &str = "#![forbid(unsafe_code)]";

/// Checks where unsafe code stands, that it is argued, and that the other crates forbid it.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for rust in &tree.rust {
        check_file(rust, findings);
        if is_root(&rust.path)
            && !UNSAFE_ROOTS.iter().any(|name| rust.path.starts_with(name))
            && !rust.code.contains(FORBID)
        {
            findings.add(&rust.path, 1, format!("add `{FORBID}` below the header"));
        }
    }
}

fn is_root(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs") || path.contains("/src/bin/")
}

fn check_file(rust: &RustFile, findings: &mut Findings) {
    let is_allowed = UNSAFE_FILES.iter().any(|name| match name.strip_suffix('/') {
        Some(_) => rust.path.starts_with(name),
        None => rust.path == *name,
    });
    for place in rust.words("unsafe") {
        let line = rust.line(place);
        if !is_allowed {
            let what = "unsafe code; move it to a file named in xtask/src/tidy/unsafety.rs";
            findings.add(&rust.path, line, what);
        } else if !is_argued(rust, line) {
            let what = "unsafe without `// SAFETY:` above it; say why the contract holds";
            findings.add(&rust.path, line, what);
        }
    }
}

/// Whether the comment above the statement on `line`, or on it, argues its safety.
fn is_argued(rust: &RustFile, line: usize) -> bool {
    let code: Vec<_> = rust.code.lines().take(line).collect();
    let comments: Vec<_> = rust.comments.lines().take(line).collect();
    let argues = |line: &str| line.contains("SAFETY:") || line.contains("# Safety");
    if argues(comments[line - 1]) {
        return true;
    }
    for index in (0..line - 1).rev() {
        let code = code[index].trim();
        let is_attribute = code.starts_with("#[");
        // A statement may have begun on an earlier line; its comment stands above that one.
        let is_same_statement = !code.is_empty() && !code.ends_with([';', '{', '}', ',']);
        if argues(comments[index]) && code.is_empty() {
            return true;
        }
        let is_comment = code.is_empty() && !comments[index].trim().is_empty();
        if !(is_attribute || is_same_statement || is_comment) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    const ARENA: &str = "crates/lsm-memtable/src/arena.rs";

    fn count(path: &str, text: &str) -> usize {
        findings_of(check, &[(path, text)]).len()
    }

    #[test]
    fn unsafe_code_outside_the_named_files_is_found() {
        let text = "// SAFETY: no.\nunsafe { f() }\n";
        assert_eq!(count(ARENA, text), 0);
        assert_eq!(count("crates/lsm-memtable/src/arena/memory.rs", text), 0);
        assert_eq!(count("crates/lsm-memtable/src/arenas.rs", text), 1);
        assert_eq!(count("crates/lsm-wal/tests/it/main.rs", text), 1);
    }

    #[test]
    fn words_about_unsafe_code_are_silent() {
        let text = "//! unsafe\n#![deny(unsafe_op_in_unsafe_fn)]\nlet a = \"unsafe { }\";\n";
        assert_eq!(count("crates/lsm-wal/src/log.rs", text), 0);
    }

    #[test]
    fn every_place_is_argued() {
        for text in [
            "unsafe { f() }\n",
            "// SAFETY: one.\nunsafe impl Send for A {}\nunsafe impl Sync for A {}\n",
            "// SAFETY: of another.\n\nunsafe { f() }\n",
            "// Nothing of note.\nunsafe fn f() {}\n",
            "// SAFETY: g.\ng();\nunsafe { f() }\n",
        ] {
            assert_eq!(count(ARENA, text), 1, "{text}");
        }
        for text in [
            "// SAFETY: two\n// lines.\n#[inline]\nlet a =\n    unsafe { f() };\n",
            "/// # Safety\n/// The caller promises.\npub unsafe fn f() {}\n",
            "let a = unsafe { f() }; // SAFETY: here.\n",
        ] {
            assert_eq!(count(ARENA, text), 0, "{text}");
        }
    }

    #[test]
    fn the_other_crates_forbid_unsafe_code() {
        let found = findings_of(check, &[("crates/lsm-wal/src/lib.rs", "//! Log.\n")]);
        assert_eq!(
            found,
            ["crates/lsm-wal/src/lib.rs:1: add `#![forbid(unsafe_code)]` below the header"]
        );
        assert_eq!(count("crates/lsm-cli/src/main.rs", "// #![forbid(unsafe_code)]\n"), 1);
        assert_eq!(count("crates/lsm-wal/src/lib.rs", "#![forbid(unsafe_code)]\n"), 0);
        assert_eq!(count("crates/lsm-memtable/src/lib.rs", "//! Tree.\n"), 0);
        assert_eq!(count("crates/lsm-server/src/main.rs", "//! Binary.\n"), 0);
        assert_eq!(count("crates/lsm-server/src/lib.rs", "//! Server.\n"), 1);
    }
}
