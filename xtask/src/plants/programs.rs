//! The test programs with the mistakes in them, and a run of one of their tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::catalogue::{Program, Test};

/// Shorter runs of what takes its length from the environment: a mistake shows early.
const LENGTHS: &[(&str, &str)] =
    &[("LSM_STEPS", "600"), ("LSM_FAULT_STEPS", "90"), ("LSM_MODEL_OPS", "8000")];

/// What a property test finds is a mistake that was made on purpose: nobody is to keep it.
const KEEP_NOTHING: (&str, &str) = ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");

/// Where each test program is.
pub(super) struct Programs {
    paths: BTreeMap<Program, PathBuf>,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    Passed,
    Failed,
    /// It was ended after its time.
    Hung,
    /// It never began, and says nothing of any mistake.
    NotRun,
}

/// A run of a test.
pub(super) struct Run {
    pub(super) ended: Ended,
    pub(super) output: String,
}

impl Programs {
    /// Compiles what these tests need.
    pub(super) fn build(tests: &BTreeSet<Test>) -> Result<Programs, String> {
        let programs: BTreeSet<_> = tests.iter().map(|test| test.program).collect();
        let mut paths = BTreeMap::new();
        for program in programs {
            paths.insert(program, compile(program)?);
        }
        Ok(Programs { paths })
    }

    /// Runs one test, with a mistake live or none.
    pub(super) fn run(&self, test: Test, plant: Option<u16>, limit: Duration) -> Run {
        let mut command = Command::new(&self.paths[&test.program]);
        command.args([test.name, "--exact", "--nocapture"]).current_dir(folder(test.program));
        command.envs(LENGTHS.iter().copied()).envs([KEEP_NOTHING]).env_remove("LSM_PLANT");
        if let Some(number) = plant {
            command.env("LSM_PLANT", number.to_string());
        }
        command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
        match command.spawn() {
            Ok(child) => watch(child, limit),
            Err(error) => Run { ended: Ended::NotRun, output: error.to_string() },
        }
    }
}

fn package(program: Program) -> &'static str {
    match program {
        Program::Integration(package) | Program::Unit(package) | Program::Models(package) => {
            package
        }
    }
}

fn folder(program: Program) -> PathBuf {
    crate::workspace_root().join("crates").join(package(program))
}

/// Compiles a test program and returns its path.
fn compile(program: Program) -> Result<PathBuf, String> {
    let (target, flags, extra) = match program {
        Program::Integration(_) => {
            ("plants", "--cfg plants", &["--all-features", "--test", "it"][..])
        }
        Program::Unit(_) => ("plants", "--cfg plants", &["--all-features", "--lib"][..]),
        Program::Models(_) => {
            ("plants-loom", "--cfg plants --cfg loom", &["--release", "--lib"][..])
        }
    };
    let root = crate::workspace_root();
    let base = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(&root)
        .args(["test", "--no-run", "--locked", "-p", package(program)])
        .args(extra)
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", root.join(base).join(target))
        .env("CARGO_TERM_COLOR", "never")
        .output()
        .map_err(|error| format!("cargo could not be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{program:?} does not compile\n{said}"));
    }
    // Cargo names it from the root, where that is shorter; it runs in the folder of its package.
    let path = executable(&said).map(|path| root.join(path));
    path.ok_or_else(|| format!("cargo names no program of {program:?}\n{said}"))
}

/// The path in cargo's line `Executable tests/it/main.rs (path)`.
fn executable(said: &str) -> Option<PathBuf> {
    let line = said.lines().rev().find(|line| line.trim_start().starts_with("Executable "))?;
    let (_, path) = line.rsplit_once('(')?;
    Some(path.strip_suffix(')')?.into())
}

/// Waits for the end of a run, or makes it.
fn watch(mut child: Child, limit: Duration) -> Run {
    let mut stdout = child.stdout.take().expect("it is piped");
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        // What cannot be read is not told; the exit code is.
        let _ = stdout.read_to_end(&mut bytes);
        bytes
    });
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            Ok(status) => break status,
            Err(_) => break None,
        }
    };
    if status.is_none() {
        // It may have ended just now.
        let _ = child.kill();
        let _ = child.wait();
    }
    let output = String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned();
    // A name that no test has is no pass.
    let ended = match status {
        None => Ended::Hung,
        Some(status) if status.success() && output.contains("1 passed") => Ended::Passed,
        Some(_) => Ended::Failed,
    };
    Run { ended, output }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_where_cargo_says() {
        let said = "   Compiling a v0.1.0\n  Executable tests/it/main.rs (/t/debug/deps/it-0f)\n";
        assert_eq!(executable(said), Some(PathBuf::from("/t/debug/deps/it-0f")));
        assert_eq!(executable("    Finished\n"), None);
    }

    #[test]
    fn a_run_ends_as_its_process_does() {
        let shell = |script: &str, limit| {
            let mut command = Command::new("sh");
            let child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
            watch(child, limit).ended
        };
        let long = Duration::from_secs(60);
        assert_eq!(shell("echo 1 passed", long), Ended::Passed);
        assert_eq!(shell("echo 0 passed", long), Ended::Failed);
        assert_eq!(shell("echo 1 passed; exit 1", long), Ended::Failed);
        assert_eq!(shell("exec sleep 60", Duration::from_millis(1)), Ended::Hung);
    }
}
