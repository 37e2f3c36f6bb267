//! Modules: a file that no module declares compiles nowhere, and its tests are green for ever.

use std::collections::BTreeSet;

use super::source::RustFile;
use super::{Findings, Tree};

/// Checks that every Rust file is compiled, and that `tests` below `src` are compiled for tests only:
/// other rules leave them alone.
pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let pointed_at: BTreeSet<_> = tree.rust.iter().flat_map(pointed_at).collect();
    for rust in &tree.rust {
        let Some(inside) = inside_package(tree, &rust.path) else { continue };
        if is_root(inside) {
            continue;
        }
        let name = module_name(&rust.path);
        let declarations: Vec<_> = parents(tree, &rust.path)
            .flat_map(|parent| declarations(parent, name).map(move |place| (parent, place)))
            .collect();
        if declarations.is_empty() && !pointed_at.contains(&rust.path) {
            let what = format!("no `mod {name};` above it: it compiles nowhere; declare it");
            findings.add(&rust.path, 1, what);
        }
        for (parent, place) in declarations {
            if name == "tests" && inside.starts_with("src/") && !parent.is_test(place) {
                let what = "`mod tests` without `#[cfg(test)]`; it would be in the product";
                findings.add(&parent.path, parent.line(place), what);
            }
        }
    }
}

/// The path inside the innermost package; `None` outside of all.
fn inside_package<'a>(tree: &Tree, path: &'a str) -> Option<&'a str> {
    let mut slashes: Vec<_> = path.match_indices('/').map(|(place, _)| place).collect();
    slashes.reverse();
    let is_package = |end: &usize| tree.paths.contains(&format!("{}/Cargo.toml", &path[..*end]));
    slashes.into_iter().find(is_package).map(|end| &path[end + 1..])
}

/// Whether cargo begins to compile at this file of a package. Folders other than these are compiled
/// only where a manifest names their files.
fn is_root(inside: &str) -> bool {
    match inside.split('/').collect::<Vec<_>>()[..] {
        ["src", "lib.rs" | "main.rs"] | ["src", "bin", _] | ["src", "bin", _, "main.rs"] => true,
        ["tests" | "examples" | "benches", _] => true,
        ["tests" | "examples" | "benches", _, "main.rs"] => true,
        ["src" | "tests" | "examples" | "benches", ..] => false,
        _ => true,
    }
}

fn module_name(path: &str) -> &str {
    let path = path.strip_suffix("/mod.rs").or(path.strip_suffix(".rs")).unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

/// The files in which a module may be declared: that of its folder, or a root in its folder.
fn parents<'a>(tree: &'a Tree, path: &str) -> impl Iterator<Item = &'a RustFile> {
    let path = path.strip_suffix("/mod.rs").unwrap_or(path);
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_string();
    tree.rust.iter().filter(move |rust| {
        let is_beside = rust.path.rsplit_once('/').is_some_and(|(beside, name)| {
            beside == folder && matches!(name, "lib.rs" | "main.rs" | "mod.rs")
        });
        is_beside || rust.path.strip_suffix(".rs") == Some(&folder)
    })
}

/// The places where a file declares a module that has a file of its own.
fn declarations<'a>(rust: &'a RustFile, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    rust.words("mod").filter(move |place| {
        let after = rust.code[place + "mod".len()..].trim_start();
        after.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(';'))
    })
}

/// The files that a file names by `#[path = "..."]`.
fn pointed_at(rust: &RustFile) -> impl Iterator<Item = String> {
    const OPEN: &str = "#[path = \"";
    rust.text.match_indices(OPEN).filter_map(|(place, _)| {
        // In a comment or a string it points nowhere.
        let target = rust.text[place + OPEN.len()..].split('"').next()?;
        rust.code[place..].starts_with('#').then(|| resolved(&rust.path, target))
    })
}

/// A path that stands in a file, from the root of the workspace.
fn resolved(file: &str, target: &str) -> String {
    let mut names: Vec<&str> = file.split('/').collect();
    names.pop();
    for name in target.split('/') {
        match name {
            ".." => drop(names.pop()),
            "." => {}
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings_of;

    const MANIFEST: (&str, &str) = ("crates/a/Cargo.toml", "");

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        findings_of(check, &[&[MANIFEST], files].concat())
    }

    #[test]
    fn a_file_that_nobody_declares_is_found() {
        let main = ("crates/a/tests/it/main.rs", "mod bulk; // mod care;\n");
        let found =
            findings(&[main, ("crates/a/tests/it/bulk.rs", ""), ("crates/a/tests/it/care.rs", "")]);
        assert_eq!(
            found,
            [
                "crates/a/tests/it/care.rs:1: no `mod care;` above it: it compiles nowhere; declare it"
            ]
        );
        let inline = ("crates/a/src/lib.rs", "mod deep { mod far; }\n");
        assert_eq!(findings(&[inline, ("crates/a/src/deep.rs", "")]).len(), 1);
        assert_eq!(
            findings(&[("crates/a/src/lib.rs", "mod a;\n"), ("crates/a/src/b/a.rs", "")]).len(),
            1
        );
    }

    #[test]
    fn what_is_declared_is_silent() {
        let files = [
            ("crates/a/src/lib.rs", "pub mod key;\nmod old;\n#[cfg(test)]\nmod tests;\n"),
            ("crates/a/src/key.rs", "pub(crate) mod range;\n"),
            ("crates/a/src/key/range.rs", ""),
            ("crates/a/src/old/mod.rs", ""),
            ("crates/a/src/tests.rs", "mod long;\n"),
            ("crates/a/src/tests/long.rs", ""),
            ("crates/a/src/bin/tool.rs", ""),
            ("crates/a/tests/it/main.rs", "#[path = \"../../src/key/model.rs\"]\nmod memory;\n"),
            ("crates/a/src/key/model.rs", ""),
            ("crates/a/tests/alone.rs", ""),
            ("crates/a/examples/map/main.rs", "mod store;\n"),
            ("crates/a/examples/map/store.rs", ""),
            ("crates/a/build.rs", ""),
            ("tools/no_package.rs", ""),
        ];
        assert_eq!(findings(&files), [""; 0]);
    }

    #[test]
    fn tests_in_a_product_are_found() {
        let found = findings(&[
            ("crates/a/src/lib.rs", "mod key;\n\nmod tests;\n"),
            ("crates/a/src/key.rs", "#[cfg(any(test, unix))]\nmod tests;\n"),
            ("crates/a/src/key/tests.rs", ""),
            ("crates/a/src/tests.rs", ""),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("crates/a/src/key.rs:2: `mod tests` without"), "{found:?}");
        assert!(found[1].starts_with("crates/a/src/lib.rs:3: `mod tests` without"), "{found:?}");
    }
}
