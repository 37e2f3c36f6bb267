//! Pages: one title each, links that lead somewhere, and examples that read as they are shown.

use super::tree::TextFile;
use super::{Findings, Tree};

/// A fenced block of a page.
pub(super) struct Block<'a> {
    /// The line of its first line of content, counted from one.
    pub(super) first_line: usize,
    /// Its content.
    pub(super) lines: Vec<&'a str>,
}

/// The fenced block that a page opens with three backticks and `name`.
pub(super) fn fenced_block<'a>(text: &'a str, name: &str) -> Option<Block<'a>> {
    let opening = format!("```{name}");
    let index = text.lines().position(|line| line.trim_end() == opening)?;
    let lines = text.lines().skip(index + 1).take_while(|line| !line.starts_with("```")).collect();
    Some(Block { first_line: index + 2, lines })
}

/// Checks every page.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for page in tree.ending_with(".md") {
        check_title(page, findings);
        for line in hidden_lines(&page.text) {
            let what = "a hidden line in an example shows on a forge; write a whole program";
            findings.add(&page.path, line, what);
        }
        for (line, target) in prose(&page.text).flat_map(links) {
            if !resolves(&page.path, target, tree) {
                findings.add(&page.path, line, format!("the link `{target}` leads nowhere"));
            }
        }
    }
}

fn check_title(page: &TextFile, findings: &mut Findings) {
    let titles: Vec<_> = prose(&page.text).filter(|(_, text)| text.starts_with("# ")).collect();
    match titles[..] {
        [(1, _)] => {}
        [] => findings.add(&page.path, 1, "no `# Title`; begin the page with one"),
        [(line, _)] => findings.add(&page.path, line, "the `# Title` is not the first line"),
        [_, (line, _), ..] => findings.add(&page.path, line, "a second `# Title`; use `##`"),
    }
}

/// The lines of Rust examples that rustdoc would leave out, counted from one. Nobody else does.
fn hidden_lines(text: &str) -> impl Iterator<Item = usize> {
    let mut language = None;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if let Some(opening) = line.trim_start().strip_prefix("```") {
            language = match language {
                None => Some(opening),
                Some(_) => None,
            };
            return None;
        }
        let is_rust = language.is_some_and(|language| language.starts_with("rust"));
        let is_hidden = line.trim() == "#" || line.trim_start().starts_with("# ");
        (is_rust && is_hidden).then_some(index + 1)
    })
}

/// The lines outside of fenced blocks, counted from one.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            return None;
        }
        (!is_fenced).then_some((index + 1, line))
    })
}

/// The targets of the links on a line: `[text](target)` and `[label]: target`.
fn links((number, line): (usize, &str)) -> impl Iterator<Item = (usize, &str)> {
    let inline = line.match_indices("](").filter_map(move |(start, opening)| {
        // Between backticks it is code, not a link.
        if line[..start].matches('`').count() % 2 == 1 && line[start..].contains('`') {
            return None;
        }
        let rest = &line[start + opening.len()..];
        rest.find(')').map(|end| &rest[..end])
    });
    let reference = line.starts_with('[').then(|| line.split_once("]: ")).flatten();
    inline.chain(reference.map(|(_, target)| target.trim())).map(move |target| (number, target))
}

fn resolves(page: &str, target: &str, tree: &Tree) -> bool {
    let target = target.split([' ', '#']).next().unwrap_or(target).trim_matches(['<', '>']);
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let mut path: Vec<_> = page.split('/').collect();
    path.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if path.pop().is_none() => return false,
            ".." => {}
            name => path.push(name),
        }
    }
    path.is_empty() || tree.paths.contains(&path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    fn page_findings(text: &str) -> Vec<String> {
        findings_of(check, &[("docs/a.md", text), ("docs/b.md", "# B\n"), ("x/src/lib.rs", "")])
    }

    #[test]
    fn a_page_has_one_title() {
        assert_eq!(page_findings("# A\n\n## Part\n\n```sh\n# comment\n```\n"), [""; 0]);
        assert_eq!(page_findings("# A\n\n# B\n"), ["docs/a.md:3: a second `# Title`; use `##`"]);
        assert_eq!(page_findings("A\n").len(), 1);
        assert_eq!(page_findings("\n# A\n").len(), 1);
    }

    #[test]
    fn an_example_hides_nothing() {
        let page = |lines: &str| page_findings(&format!("# A\n\n```rust,no_run\n{lines}\n```\n"));
        assert_eq!(page("#[test]\nfn a() {}\n```\n\n```sh\n# comment"), [""; 0]);
        for hidden in ["# use a::b;", "    # Ok(())", "#"] {
            assert_eq!(page(hidden).len(), 1, "{hidden}");
        }
    }

    #[test]
    fn links_lead_somewhere() {
        let good = "[b](b.md) [b](./b.md#part) [c](../x/src/lib.rs) [root](..) [here](#part)\n\
                    [web](https://example.org/x) `[code](gone.md)`\n[ref]: b.md \"title\"\n";
        assert_eq!(page_findings(&format!("# A\n\n{good}")), [""; 0]);
        for bad in ["[a](gone.md)", "![a](../b.md)", "[a](../../b.md)", "[ref]: gone.md"] {
            assert_eq!(page_findings(&format!("# A\n\n{bad}\n")).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_fenced_block_is_found_by_name() {
        let block = fenced_block("# A\n\n```text\nx\n```\n\n```arrows\na -> b\n```\n", "arrows");
        let block = block.expect("the block is there");
        assert_eq!((block.first_line, block.lines), (8, vec!["a -> b"]));
        assert!(fenced_block("# A\n", "arrows").is_none());
    }
}
