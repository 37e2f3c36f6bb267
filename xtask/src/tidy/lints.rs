//! Lint exceptions: each says why the lint is wrong at its place.

use super::{Findings, Tree};

const OPENINGS: &[&str] = &["#[allow(", "#![allow(", "#[expect(", "#![expect("];

/// Checks that every lint exception has a `reason`, also behind a `cfg_attr`.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for rust in &tree.rust {
        let plain = OPENINGS.iter().flat_map(|opening| rust.code.match_indices(opening));
        let conditional = rust.code.match_indices("cfg_attr(").filter(|(place, _)| {
            let attribute = attribute_at(&rust.code[*place..]);
            attribute.contains(" allow(") || attribute.contains(" expect(")
        });
        for (place, _) in plain.chain(conditional) {
            let attribute = attribute_at(&rust.code[place..]);
            if super::source::words(attribute, "reason").next().is_none() {
                let what = "a lint exception without a reason; add `reason = \"…\"`";
                findings.add(&rust.path, rust.line(place), what);
            }
        }
    }
}

fn attribute_at(code: &str) -> &str {
    &code[..code.find(")]").unwrap_or(code.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    fn count(text: &str) -> usize {
        findings_of(check, &[("crates/lsm-wal/src/lib.rs", text)]).len()
    }

    #[test]
    fn exceptions_without_a_reason_are_found() {
        assert_eq!(count("#[allow(dead_code)]\nfn f() {}\n"), 1);
        assert_eq!(count("#![expect(clippy::todo)]\n"), 1);
        assert_eq!(count("#[cfg_attr(loom, allow(dead_code))]\nfn f() {}\n"), 1);
        assert_eq!(count("#[allow(dead_code)] // reason = below\nfn f() {}\n"), 1);
    }

    #[test]
    fn exceptions_with_a_reason_are_silent() {
        assert_eq!(count("#[expect(dead_code, reason = \"read by name\")]\nfn f() {}\n"), 0);
        assert_eq!(count("#[expect(\n    dead_code,\n    reason = \"a\"\n)]\nfn f() {}\n"), 0);
        assert_eq!(count("#[cfg_attr(loom, allow(dead_code, reason = \"b\"))]\nfn f() {}\n"), 0);
        assert_eq!(count("#![forbid(unsafe_code)]\n// #[allow(dead_code)]\n"), 0);
    }
}
