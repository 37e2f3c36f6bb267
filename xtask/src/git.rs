//! What git knows of the workspace.

use std::path::Path;
use std::process::Command;

/// The commit that is checked out; `-dirty` stands behind it if files were changed since.
pub(crate) fn commit(root: &Path) -> Result<String, String> {
    let is_clean = output(root, &["status", "--porcelain"])?.is_empty();
    let head = output(root, &["rev-parse", "HEAD"])?;
    Ok(head.trim().to_string() + if is_clean { "" } else { "-dirty" })
}

/// What git prints.
pub(crate) fn output(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").current_dir(root).args(arguments).output();
    let output = output.map_err(|error| format!("git could not be started: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("git {}: {}", arguments.join(" "), why.trim()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_refuses_is_told() {
        let why = output(Path::new("/"), &["rev-parse", "--no-such-flag"]).unwrap_err();
        assert!(why.starts_with("git rev-parse --no-such-flag: "), "{why}");
    }
}
