//! The contract: each of its lines names the tests that hold it, and these exist.
//!
//! ```text
//! ## The contract
//!
//! - A promise.
//!   - `power_loss::a_test_of_the_engine`
//!   - `lsm-wal::crash::a_test_of_another_crate`
//! ```
//!
//! A name is that by which the test is run, in the engine unless a crate stands before it; a `*` at
//! its end means all tests that begin so. What the page says is not there yet, no test can hold.

use std::collections::BTreeSet;

use super::source::RustFile;
use super::tree::TextFile;
use super::{Findings, Tree};

const PAGE: &str = "docs/durability.md";

/// The sections whose bullets are promises.
const SECTIONS: [&str; 2] = ["## The contract", "## The medium"];

/// The group of bullets that promise nothing.
const NOT_THERE: &str = "**Not there yet**";

/// The crate whose tests need no crate before their names.
const DEFAULT_CRATE: &str = "lsm-engine";

/// Checks the page's promises, and the names of tests below them.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let Some(page) = tree.text(PAGE) else {
        return findings.add(PAGE, 1, "the page is missing; it has the contract");
    };
    let tests: BTreeSet<_> = tree.rust.iter().flat_map(tests_of).collect();
    for section in SECTIONS {
        let promises = promises(page, section);
        if promises.is_empty() {
            findings.add(PAGE, 1, format!("no promise below `{section}`"));
        }
        for promise in promises {
            check_promise(&promise, &tests, findings);
        }
    }
}

/// A bullet, and the bullets below it.
struct Promise<'a> {
    /// Counted from one.
    line: usize,
    /// Each with its line.
    below: Vec<(usize, &'a str)>,
}

/// The promises of a section.
fn promises<'a>(page: &'a TextFile, section: &str) -> Vec<Promise<'a>> {
    let lines = page.text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let inside = lines.skip_while(|(_, line)| *line != section).skip(1);
    let mut promises: Vec<Promise<'a>> = Vec::new();
    let mut is_there = true;
    for (number, line) in inside.take_while(|(_, line)| !line.starts_with("## ")) {
        if line.starts_with("**") {
            is_there = line != NOT_THERE;
        } else if !is_there {
            continue;
        } else if line.starts_with("- ") {
            promises.push(Promise { line: number, below: Vec::new() });
        } else if let Some(name) = line.strip_prefix("  - ")
            && let Some(promise) = promises.last_mut()
        {
            promise.below.push((number, name));
        }
    }
    promises
}

fn check_promise(promise: &Promise<'_>, tests: &BTreeSet<String>, findings: &mut Findings) {
    if promise.below.is_empty() {
        let what = "no test holds this; name one in a bullet below it: `  - `module::test``";
        findings.add(PAGE, promise.line, what);
    }
    for (line, bullet) in &promise.below {
        match bullet.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
            Some(name) if is_test(name, tests) => {}
            Some(name) => findings.add(PAGE, *line, format!("`{name}` is no test; correct it")),
            None => findings.add(PAGE, *line, "not the name of one test, between backticks"),
        }
    }
}

fn is_test(name: &str, tests: &BTreeSet<String>) -> bool {
    let of_engine = format!("{DEFAULT_CRATE}::{name}");
    [name, &of_engine].into_iter().any(|name| match name.strip_suffix('*') {
        Some(begin) => tests.range(begin.to_owned()..).next().is_some_and(|t| t.starts_with(begin)),
        None => tests.contains(name),
    })
}

/// The tests of a file: crate, modules and function.
fn tests_of(rust: &RustFile) -> impl Iterator<Item = String> {
    let modules = module_path(&rust.path);
    rust.functions().filter_map(move |(name, range)| {
        let mut path = modules.clone().filter(|_| rust.is_test_function(range.start))?;
        let around = rust.inline_modules().filter(|(_, module)| module.contains(&range.start));
        path.extend(around.map(|(module, _)| module));
        path.push(name);
        Some(path.join("::"))
    })
}

/// The crate of a file and its module there; `None` where no tests are.
fn module_path(path: &str) -> Option<Vec<&str>> {
    let path = path.strip_prefix("crates/").unwrap_or(path).strip_suffix(".rs")?;
    let mut names: Vec<_> = path.split('/').collect();
    match names[1..] {
        ["src", ..] => drop(names.drain(1..2)),
        // Each file or folder there is a program.
        ["tests", _, ..] => drop(names.drain(1..3)),
        _ => return None,
    }
    names.pop_if(|name| matches!(*name, "lib" | "main"));
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    /// The rest of a page.
    const BEHIND: &str = "## The medium\n\n- A disk.\n  - `lsm-base::fs::mem::tests::disk`\n\n\
                          ## Damage\n\n- No promise.\n";

    /// What is said of a page with these lines in its contract.
    fn findings(lines: &str) -> Vec<String> {
        let page = format!("# A\n\n## The contract\n\n{lines}\n{BEHIND}");
        findings_of(
            check,
            &[
                (PAGE, &page),
                ("crates/lsm-engine/tests/it/kill.rs", "#[test]\nfn dies() {}\nfn helper() {}\n"),
                ("crates/lsm-engine/tests/it/copy/cut.rs", "#[test]\nfn part_1() {}\n"),
                (
                    "crates/lsm-engine/src/gate.rs",
                    "fn shut() {}\nmod tests {\n#[test]\n#[cfg(unix)]\nfn shuts() {}\n}\n",
                ),
                ("crates/lsm-base/src/fs/mem/tests.rs", "// #[test]\n#[test]\nfn disk() {}\n"),
                ("crates/lsm-wal/tests/it/main.rs", "mod crash;\n#[test]\nfn whole() {}\n"),
            ],
        )
    }

    #[test]
    fn a_page_whose_promises_are_held_is_silent() {
        let page = "One sentence.\n\n**Writes**\n\n- First,\n  in two lines.\n  - `kill::dies`\n\
                    - Second.\n  - `copy::cut::part_1`\n  - `lsm-engine::gate::tests::shuts`\n\
                    - Third.\n  - `copy::cut::part_*`\n  - `lsm-wal::whole`\n\
                    \n**Not there yet**\n\n- Fourth.\n  - Later.\n\n**Copies**\n\n\
                    - Fifth.\n  - `gate::tests::shuts`\n";
        assert_eq!(findings(page), [""; 0]);
    }

    #[test]
    fn a_promise_without_a_test_is_found() {
        let found = findings("- First.\n- Second.\n  - `kill::dies`\n- Third: `kill::dies`.\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("docs/durability.md:5: no test holds this"), "{found:?}");
        assert!(found[1].starts_with("docs/durability.md:8: no test holds this"), "{found:?}");
        let found = findings("Nothing.\n");
        assert_eq!(found, ["docs/durability.md:1: no promise below `## The contract`"]);
    }

    #[test]
    fn a_name_of_no_test_is_found() {
        for name in [
            "kill::lives",
            // A function, and a test elsewhere.
            "kill::helper",
            "dies",
            "open::dies",
            "lsm-wal::kill::dies",
            "copy::part_1",
            "gate::shuts",
            "copy::cut::part",
            "copy::cut::whole_*",
            "lsm-base::fs::mem::disk",
        ] {
            let found = findings(&format!("- First.\n  - `{name}`\n"));
            assert_eq!(found, [format!("docs/durability.md:6: `{name}` is no test; correct it")]);
        }
    }

    #[test]
    fn what_stands_below_a_promise_is_one_name() {
        for bullet in ["kill::dies", "`kill::dies`, `copy::cut::part_1`", "by `kill::dies`"] {
            let found = findings(&format!("- First.\n  - {bullet}\n"));
            assert_eq!(found.len(), 1, "{bullet}: {found:?}");
        }
    }
}
