//! `cargo xtask tidy`: what no compiler checks.
//!
//! Each rule is a function in a file of its own under `tidy/`; it reads the [`Tree`], which was
//! loaded once, and reports as `path:line: what, and what to do`. The same rules run as a test, so
//! `cargo test` holds them too.

mod arrows;
mod clock;
mod contract;
mod format_hash;
mod header;
mod leftovers;
mod length;
mod lints;
mod markdown;
mod modules;
mod mutants;
mod source;
mod std_fs;
mod text;
mod tree;
mod unsafety;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use source::RustFile;
use tree::Tree;

/// The flags of `cargo xtask tidy`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes the hashes of the format files into docs/on-disk-format.md, once the page is true
    #[arg(long)]
    bless_format: bool,
}

type Rule = fn(&Tree, &mut Findings);

const RULES: &[Rule] = &[
    arrows::check,
    unsafety::check,
    std_fs::check,
    clock::check,
    contract::check,
    format_hash::check,
    header::check,
    modules::check,
    lints::check,
    leftovers::check,
    length::check,
    mutants::check,
    markdown::check,
    text::check,
];

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> ExitCode {
    let root = crate::workspace_root();
    if args.bless_format
        && let Err(error) = format_hash::bless(&root)
    {
        eprintln!("tidy: {error}");
        return ExitCode::FAILURE;
    }
    if is_tidy(&root) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks the workspace in `root` and prints what is wrong with it.
pub(crate) fn is_tidy(root: &Path) -> bool {
    match check(root) {
        Ok(findings) if findings.list.is_empty() => true,
        Ok(findings) => {
            for finding in &findings.list {
                eprintln!("{finding}");
            }
            eprintln!("tidy: {} findings", findings.list.len());
            false
        }
        Err(error) => {
            eprintln!("tidy: the tree could not be read: {error}");
            false
        }
    }
}

fn check(root: &Path) -> std::io::Result<Findings> {
    let tree = Tree::load(root)?;
    let mut findings = Findings::default();
    for rule in RULES {
        rule(&tree, &mut findings);
    }
    findings.list.sort();
    Ok(findings)
}

/// What the rules found.
#[derive(Default)]
struct Findings {
    list: Vec<Finding>,
}

/// One breach of a rule.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Findings {
    /// Reports `what` at a line, counted from one, of the file at `path`.
    fn add(&mut self, path: &str, line: usize, what: impl fmt::Display) {
        self.list.push(Finding { path: path.to_string(), line, what: what.to_string() });
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `rule` says about a tree of these paths and texts.
    pub(super) fn findings_of(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
        let mut findings = Findings::default();
        rule(&Tree::of(files), &mut findings);
        findings.list.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn the_workspace_is_tidy() {
        let findings = check(&crate::workspace_root()).expect("the workspace is readable");
        let lines: Vec<_> = findings.list.iter().map(Finding::to_string).collect();
        assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
    }
}
