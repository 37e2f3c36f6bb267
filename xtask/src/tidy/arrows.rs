//! Which crate may depend on which: an arrow goes down, never sideways, never up.
//!
//! The list stands here as a constant and in `docs/architecture.md` as a fenced block; both must be
//! the same, and every `Cargo.toml` must keep to it. The page's code map must name every crate, and
//! what it names must exist.

use toml::{Table, Value};

use super::markdown::fenced_block;
use super::tree::TextFile;
use super::{Findings, Tree};

/// The complete list. The left crate may depend on the right one.
const ARROWS: &[(&str, &str)] = &[
    ("lsm-memtable", "lsm-base"),
    ("lsm-wal", "lsm-base"),
    ("lsm-sstable", "lsm-base"),
    ("lsm-compaction", "lsm-base"),
    ("lsm-compaction", "lsm-sstable"),
    ("lsm-engine", "lsm-base"),
    ("lsm-engine", "lsm-memtable"),
    ("lsm-engine", "lsm-wal"),
    ("lsm-engine", "lsm-sstable"),
    ("lsm-engine", "lsm-compaction"),
    ("lsm-server", "lsm-engine"),
    ("lsm-bench", "lsm-engine"),
    ("lsm-cli", "lsm-engine"),
    ("lsm-cli", "lsm-server"),
    ("lsm-cli", "lsm-wal"),
    ("lsm-cli", "lsm-sstable"),
    ("lsm-cli", "lsm-compaction"),
];

const PAGE: &str = "docs/architecture.md";

/// Checks the manifests, the list on the page and the page's code map.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let shared =
        tree.text("Cargo.toml").map_or_else(Table::new, |root| check_shared(root, findings));
    for manifest in tree.ending_with("/Cargo.toml") {
        check_manifest(&Package::of(&manifest.path), manifest, &shared, findings);
    }
    match tree.text(PAGE) {
        Some(page) => {
            check_list(page, findings);
            check_map(page, tree, findings);
        }
        None => findings.add(PAGE, 1, "the page is missing; it draws the crates and their arrows"),
    }
}

/// A package, as far as arrows go.
struct Package<'a> {
    /// The crate whose arrows it has.
    owner: &'a str,
    /// Whether it is a package inside that crate, which may depend on it.
    is_nested: bool,
}

/// The owner of the fuzz targets: they call every crate, and no crate knows them.
const FUZZ: &str = "the fuzzer";

impl Package<'_> {
    fn of(manifest: &str) -> Package<'_> {
        match manifest.split('/').collect::<Vec<_>>()[..] {
            ["crates", owner, "Cargo.toml"] => Package { owner, is_nested: false },
            ["crates", owner, ..] => Package { owner, is_nested: true },
            // The benchmark beside its peers.
            ["xtask", "peers", ..] => Package { owner: "lsm-bench", is_nested: true },
            ["xtask", "fuzz", ..] => Package { owner: FUZZ, is_nested: true },
            _ => Package { owner: "xtask", is_nested: false },
        }
    }
}

/// Checks the dependencies that the packages of the workspace share, and returns them.
fn check_shared(root: &TextFile, findings: &mut Findings) -> Table {
    let table = match root.text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            findings.add(&root.path, 1, error.message());
            return Table::new();
        }
    };
    let shared = table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let shared = shared.and_then(Value::as_table).cloned().unwrap_or_default();
    for (key, _) in shared.iter().filter(|(key, value)| is_ours(key, value) && has_testing(value)) {
        let what = format!("`testing` of {key} for everybody; leave it to [dev-dependencies]");
        findings.add(&root.path, line_of(&root.text, key), what);
    }
    shared
}

fn check_manifest(package: &Package, manifest: &TextFile, shared: &Table, findings: &mut Findings) {
    let table = match manifest.text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => return findings.add(&manifest.path, 1, error.message()),
    };
    let targets = table.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    for table in targets.chain([&table]) {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let Some(entries) = table.get(section).and_then(Value::as_table) else { continue };
            for (key, value) in entries {
                let is_shared = value.get("workspace").and_then(Value::as_bool) == Some(true);
                let named = if is_shared { shared.get(key).unwrap_or(value) } else { value };
                let to = package_name(key, named);
                if let Err(what) = check_dependency(package, to, section, value) {
                    findings.add(&manifest.path, line_of(&manifest.text, key), what);
                }
            }
        }
    }
}

/// What a dependency is called where it comes from.
fn package_name<'a>(key: &'a str, value: &'a Value) -> &'a str {
    value.get("package").and_then(Value::as_str).unwrap_or(key)
}

fn is_ours(key: &str, value: &Value) -> bool {
    package_name(key, value).starts_with("lsm-")
}

fn has_testing(value: &Value) -> bool {
    let features = value.get("features").and_then(Value::as_array);
    features.is_some_and(|list| list.iter().any(|feature| feature.as_str() == Some("testing")))
}

fn check_dependency(
    package: &Package,
    to: &str,
    section: &str,
    value: &Value,
) -> Result<(), String> {
    if !to.starts_with("lsm-") {
        return Ok(());
    }
    let is_dev = section == "dev-dependencies";
    if has_testing(value) && !is_dev && !package.is_nested {
        return Err(format!("{to} with `testing` in [{section}]; move it to [dev-dependencies]"));
    }
    let from = package.owner;
    let is_drawn = from == FUZZ || ARROWS.contains(&(from, to)) || package.is_nested && from == to;
    let is_test_seam = (is_dev || package.is_nested) && to == "lsm-base" && has_testing(value);
    if is_drawn || is_test_seam {
        return Ok(());
    }
    Err(format!(
        "{from} must not depend on {to}; arrows go down, and a new one needs a decision record, \
         a line in {PAGE} and one in xtask/src/tidy/arrows.rs"
    ))
}

/// The line on which a manifest names a dependency.
fn line_of(manifest: &str, key: &str) -> usize {
    let is_entry = |line: &str| {
        let rest = line.trim_start().trim_start_matches('"').strip_prefix(key);
        rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=', '"']))
    };
    1 + manifest.lines().position(is_entry).unwrap_or(0)
}

fn check_list(page: &TextFile, findings: &mut Findings) {
    let Some(block) = fenced_block(&page.text, "arrows") else {
        return findings.add(
            &page.path,
            1,
            "no fenced block `arrows`; list what may depend on what",
        );
    };
    let mut drawn = Vec::new();
    for (index, line) in block.lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let arrow = line.split_once(" -> ").map(|(from, to)| (from.trim(), to.trim()));
        match arrow.filter(|arrow| ARROWS.contains(arrow)) {
            Some(arrow) => drawn.push(arrow),
            None => findings.add(
                &page.path,
                block.first_line + index,
                format!("`{line}` is no arrow of xtask/src/tidy/arrows.rs; both lists must agree"),
            ),
        }
    }
    for arrow @ (from, to) in ARROWS {
        if !drawn.contains(arrow) {
            let what = format!("the arrow `{from} -> {to}` is missing from the block `arrows`");
            findings.add(&page.path, block.first_line, what);
        }
    }
}

fn check_map(page: &TextFile, tree: &Tree, findings: &mut Findings) {
    for name in tree.crates() {
        let folder = format!("crates/{name}");
        if !named_paths(&page.text).any(|(_, path)| path == folder) {
            findings.add(&page.path, 1, format!("the code map does not name `{folder}`; add it"));
        }
    }
    for (line, path) in named_paths(&page.text) {
        if !tree.paths.contains(path) {
            findings.add(&page.path, line, format!("`{path}` does not exist; correct the map"));
        }
    }
}

/// The paths below `crates/` that a page names, with their lines.
fn named_paths(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        line.match_indices("crates/").filter_map(move |(start, _)| {
            let rest = &line[start..];
            let is_inside = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
            let end = rest.find(|c| !is_inside(c)).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches(['.', '/', '-']);
            (path != "crates").then_some((index + 1, path))
        })
    })
}

#[cfg(test)]
mod tests;
