//! Text: how lines end, and what must not leave the machine that it was written on.

use super::{Findings, Tree};

/// Top folders of a machine; a path into one of them is true on that machine only.
const MACHINE_FOLDERS: &[&str] = &["work", "root", "home"];

// In pieces, so that this file passes its own rule.
const REGISTRY_MARKS: &[&str] =
    &[concat!("crates", ".io"), concat!("sparse", "+http"), concat!("registry", "+http")];

/// Checks every line of every text.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for file in &tree.texts {
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            let last = file.text.lines().count();
            findings.add(&file.path, last, "the last line does not end; add a newline");
        }
        for (index, line) in file.text.split('\n').enumerate() {
            for what in check_line(line) {
                findings.add(&file.path, index + 1, what);
            }
        }
    }
}

fn check_line(line: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let body = line.trim_end_matches('\r');
    if body.len() != line.len() {
        findings.push("a carriage return at the end of the line; use LF alone".to_string());
    }
    if body.trim_end() != body {
        findings.push("white space at the end of the line; remove it".to_string());
    }
    for folder in MACHINE_FOLDERS {
        if names_absolute_path(line, &format!("/{folder}/")) {
            findings.push(format!("a path below /{folder} of one machine; name it relatively"));
        }
    }
    for mark in REGISTRY_MARKS.iter().filter(|mark| line.contains(**mark)) {
        findings.push(format!("`{mark}`; which registry is used is the machine's to decide"));
    }
    findings
}

/// Whether `folder` stands on the line as the beginning of a path.
fn names_absolute_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(place, _)| {
        let is_path = |c: char| c.is_alphanumeric() || "._-~/*}".contains(c);
        !line[..place].ends_with(is_path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    fn count(text: &str) -> usize {
        findings_of(check, &[("docs/a.md", text)]).len()
    }

    #[test]
    fn lines_end_plainly() {
        assert_eq!(count("# A\n\nb\n"), 0);
        assert_eq!(findings_of(check, &[("a.md", "# A\nb \n")]).len(), 1);
        assert_eq!(count("# A\nb\t\n"), 1);
        assert_eq!(count("# A\r\nb\n"), 1);
        assert_eq!(count("# A"), 1);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for folder in MACHINE_FOLDERS {
            assert_eq!(count(&format!("see /{folder}/x/y\n")), 1);
            assert_eq!(count(&format!("see `/{folder}/x`\n")), 1);
            assert_eq!(count(&format!("see ../{folder}/x, a/{folder}/b and /srv/{folder}/c\n")), 0);
        }
    }

    #[test]
    fn registries_are_found() {
        for mark in REGISTRY_MARKS {
            assert_eq!(count(&format!("index = \"{mark}\"\n")), 1);
        }
        assert_eq!(count("crates and registries\n"), 0);
    }
}
