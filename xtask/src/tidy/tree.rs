//! The files of the workspace, read once for all rules.
//!
//! Paths are relative to the root, with `/` on every system. Build output, version control and
//! what the root's `.gitignore` names as `/folder` are left out, so no rule needs git.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::RustFile;

/// Every file that rules look at.
pub(super) struct Tree {
    /// Files of a kind whose text is ours to keep in order, Rust sources among them.
    pub(super) texts: Vec<TextFile>,
    /// Rust sources.
    pub(super) rust: Vec<RustFile>,
    /// All files and folders, whatever they hold.
    pub(super) paths: BTreeSet<String>,
}

/// A text file.
pub(super) struct TextFile {
    pub(super) path: String,
    pub(super) text: String,
}

/// Endings of the files that rules read as text. Test data, golden files and licences are not ours
/// to format.
const TEXT_ENDINGS: &[&str] = &[
    ".rs",
    ".md",
    ".toml",
    ".yml",
    ".yaml",
    ".sh",
    ".html",
    ".css",
    ".js",
    ".ci/run",
    ".service",
    "docs/mutants.json",
];

/// Folders of text that a test reads or a tool wrote; Rust is ours there too.
const DATA_FOLDERS: &[&str] = &["testdata", "golden", "corpus"];

impl Tree {
    /// Reads the workspace in `root`.
    pub(super) fn load(root: &Path) -> io::Result<Tree> {
        let mut tree = Tree { texts: Vec::new(), rust: Vec::new(), paths: BTreeSet::new() };
        let ignored = match fs::read_to_string(root.join(".gitignore")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let ignored: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
        tree.walk(root, "", &ignored)?;
        Ok(tree)
    }

    /// A tree of these paths and texts.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree { texts: Vec::new(), rust: Vec::new(), paths: BTreeSet::new() };
        for (path, text) in files {
            for (slash, _) in path.match_indices('/') {
                tree.paths.insert(path[..slash].to_string());
            }
            tree.add_text((*path).to_string(), (*text).to_string());
        }
        tree
    }

    /// The text file at `path`.
    pub(super) fn text(&self, path: &str) -> Option<&TextFile> {
        self.texts.iter().find(|file| file.path == path)
    }

    /// Text files with this ending.
    pub(super) fn ending_with<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = &'a TextFile> {
        self.texts.iter().filter(move |file| file.path.ends_with(ending))
    }

    /// The names of the folders in `crates/`.
    pub(super) fn crates(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().filter_map(|path| {
            path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml").filter(|s| !s.contains('/'))
        })
    }

    fn walk(&mut self, folder: &Path, prefix: &str, ignored: &[&str]) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // A name that is not UTF-8 cannot be a path that any rule asks about.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            // Cargo builds beside a manifest; elsewhere a folder may be called so for its own reason.
            let is_output = name == "target" && folder.join("Cargo.toml").is_file();
            if name == ".git" || is_output || ignored.contains(&path.as_str()) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"), ignored)?;
                self.paths.insert(path);
            } else if kind.is_file() && is_text(&path) {
                let text = fs::read_to_string(entry.path())
                    .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
                self.add_text(path, text);
            } else {
                self.paths.insert(path);
            }
        }
        Ok(())
    }

    fn add_text(&mut self, path: String, text: String) {
        self.paths.insert(path.clone());
        if path.ends_with(".rs") {
            self.rust.push(RustFile::new(path.clone(), text.clone()));
        }
        self.texts.push(TextFile { path, text });
    }
}

fn is_text(path: &str) -> bool {
    let is_data = path.split('/').any(|folder| DATA_FOLDERS.contains(&folder));
    path.ends_with(".rs") || !is_data && TEXT_ENDINGS.iter().any(|ending| path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_tests_is_not_ours_to_format() {
        assert!(is_text("crates/lsm-wal/src/lib.rs"));
        assert!(is_text(".ci/run"));
        assert!(is_text("crates/lsm-wal/src/golden/corpus.rs"));
        assert!(!is_text("crates/lsm-compaction/tests/it/testdata/pick.md"));
        assert!(!is_text("Cargo.lock"));
        assert!(!is_text("LICENSE-MIT"));
    }

    #[test]
    fn only_what_cargo_builds_is_left_out() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        for (path, text) in [
            ("crates/a/Cargo.toml", ""),
            ("crates/a/target/debug/built.rs", "//! Built.\n"),
            ("crates/a/src/target/table.rs", "//! Ours.\n"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let tree = Tree::load(&root).expect("the tree is readable");
        fs::remove_dir_all(&root).expect("it was made here");
        let rust: Vec<_> = tree.rust.iter().map(|rust| rust.path.as_str()).collect();
        assert_eq!(rust, ["crates/a/src/target/table.rs"]);
    }

    #[test]
    fn the_workspace_loads_without_its_build_output() {
        let tree = Tree::load(&crate::workspace_root()).expect("the workspace is readable");
        assert!(tree.text("xtask/src/tidy/tree.rs").is_some());
        assert!(tree.paths.contains("crates/lsm-base/src"));
        assert!(tree.crates().any(|name| name == "lsm-base"));
        assert!(!tree.paths.iter().any(|path| path.starts_with("target")));
        assert!(!tree.paths.iter().any(|path| path.starts_with(".git/")));
    }
}
