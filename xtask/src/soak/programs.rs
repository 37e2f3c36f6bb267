//! The test programs of a soak, compiled once at its start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::harness::{Harness, Program, Target};

/// Where each test program is.
pub(super) type Programs = BTreeMap<Program, PathBuf>;

/// Compiles the programs of these harnesses.
pub(super) fn build(harnesses: &[&Harness], root: &Path) -> Result<Programs, String> {
    let wanted: BTreeSet<Program> = harnesses.iter().map(|harness| harness.program).collect();
    let output = command(&wanted, root).output();
    let output = output.map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not compile".into());
    }
    let found = programs(&String::from_utf8_lossy(&output.stdout));
    let find = |program: Program| {
        let path = found
            .iter()
            .find(|(name, target, _)| *name == program.package && *target == program.target);
        let (_, _, path) = path.ok_or_else(|| format!("cargo names no program of {program:?}"))?;
        Ok((program, path.clone()))
    };
    wanted.into_iter().map(find).collect()
}

fn command(wanted: &BTreeSet<Program>, root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["test", "--no-run", "--locked", "--all-features"]);
    let packages: BTreeSet<_> = wanted.iter().map(|program| program.package).collect();
    for package in packages {
        command.args(["-p", package]);
    }
    let targets: BTreeSet<_> = wanted.iter().map(|program| program.target).collect();
    for target in targets {
        command.args(target.flags());
    }
    // Its progress and its errors are for whoever waits.
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    command
}

/// What cargo says of something that it has compiled, as far as it matters here.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: ArtifactTarget,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    kind: Vec<String>,
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// The test programs that cargo's messages name: package, target and path.
fn programs(messages: &str) -> Vec<(String, Target, PathBuf)> {
    // Messages of other kinds lack some of the fields.
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let program = |artifact: Artifact| {
        let kind = artifact.target.kind.first()?;
        let target =
            [Target::Unit, Target::Integration].into_iter().find(|target| target.kind() == kind)?;
        let is_wanted = target == Target::Unit || artifact.target.name == "it";
        // A package has the name of its folder.
        let package = artifact.manifest_path.parent()?.file_name()?.to_str()?.to_string();
        let path = artifact.executable.filter(|_| artifact.profile.test && is_wanted)?;
        Some((package, target, path))
    };
    artifacts.filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_where_cargo_says() {
        let messages = r#"{"reason":"build-script-executed","package_id":"a"}
{"reason":"compiler-artifact","manifest_path":"/w/lsm-wal/Cargo.toml","target":{"kind":["lib"],"name":"lsm_wal"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/w/lsm-wal/Cargo.toml","target":{"kind":["lib"],"name":"lsm_wal"},"profile":{"test":true},"executable":"/t/lsm_wal-0f"}
{"reason":"compiler-artifact","manifest_path":"/w/lsm-wal/Cargo.toml","target":{"kind":["test"],"name":"it"},"profile":{"test":true},"executable":"/t/it-0f"}
{"reason":"compiler-artifact","manifest_path":"/w/lsm-wal/Cargo.toml","target":{"kind":["test"],"name":"other"},"profile":{"test":true},"executable":"/t/other-0f"}
{"reason":"compiler-artifact","manifest_path":"/w/lsm-wal/Cargo.toml","target":{"kind":["bin"],"name":"wal"},"profile":{"test":false},"executable":"/t/wal"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(
            programs(messages),
            [
                ("lsm-wal".into(), Target::Unit, "/t/lsm_wal-0f".into()),
                ("lsm-wal".into(), Target::Integration, "/t/it-0f".into()),
            ]
        );
    }
}
