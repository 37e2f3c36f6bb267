//! Where the steps run: folders, and what is installed.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The character tables of Debian's package unicode-data, on which the end-to-end test runs.
const UNICODE_DATA: &str = "/usr/share/unicode/UnicodeData.txt";

/// Where the steps run.
pub(super) struct Machine {
    pub(super) root: PathBuf,
    /// Where cargo writes.
    pub(super) target: PathBuf,
    /// Where the character tables are.
    pub(super) unicode_data: PathBuf,
    /// Whether nobody watches: plain lines then.
    pub(super) is_ci: bool,
}

impl Machine {
    /// This machine, as its environment describes it.
    pub(super) fn of_environment(root: PathBuf) -> Machine {
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true" || value == "1");
        Machine { target: root.join(target), root, unicode_data: UNICODE_DATA.into(), is_ci }
    }

    pub(super) fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(&self.root);
        if self.is_ci {
            command.env("CARGO_TERM_COLOR", "never");
        }
        command
    }

    pub(super) fn has_tool(&self, name: &str) -> bool {
        let output = self.cargo().args([name, "--version"]).output();
        output.is_ok_and(|output| output.status.success())
    }

    pub(super) fn has_unicode_data(&self) -> bool {
        self.unicode_data.is_file()
    }

    /// Whether a test may mount a disk of its own where nobody else sees it: as root, or as one who
    /// is root in there alone.
    pub(super) fn may_mount(&self) -> bool {
        ["-m", "-rm"].iter().any(|flags| {
            let mount = ["sh", "-c", "mount -t tmpfs -o size=64k none \"$0\""];
            let output = Command::new("unshare").arg(flags).args(mount).arg(&self.root).output();
            output.is_ok_and(|output| output.status.success())
        })
    }

    pub(super) fn has_asan(&self) -> bool {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
        let target = ["--target", "x86_64-unknown-linux-gnu"];
        let output = Command::new(rustc).args(["--print", "target-libdir"]).args(target).output();
        let Ok(output) = output else { return false };
        let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let Ok(entries) = fs::read_dir(folder) else { return false };
        cfg!(all(target_os = "linux", target_arch = "x86_64"))
            && entries.flatten().any(|e| e.file_name().to_string_lossy().ends_with("_rt.asan.a"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_looked_for_where_the_test_looks() {
        let test = "crates/lsm-cli/tests/end_to_end/data.rs";
        let test = fs::read_to_string(crate::workspace_root().join(test)).expect("it is there");
        assert!(test.contains(&format!("\"{UNICODE_DATA}\"")));
    }
}
