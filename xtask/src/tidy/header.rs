//! Headers: every Rust file begins by saying what it is.

use super::{Findings, Tree};

/// Checks that every Rust file begins with `//!`.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for rust in &tree.rust {
        if !rust.text.starts_with("//! ") {
            let what = "no `//!` header; say what the file is, its invariant, its layout or steps";
            findings.add(&rust.path, 1, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    #[test]
    fn a_file_begins_with_its_header() {
        let path = "crates/lsm-wal/src/lib.rs";
        for text in ["", "// Log.\n", "use a;\n//! Log.\n", "//!\n"] {
            assert_eq!(findings_of(check, &[(path, text)]).len(), 1, "{text}");
        }
        assert_eq!(findings_of(check, &[(path, "//! Log.\n")]), [""; 0]);
    }
}
