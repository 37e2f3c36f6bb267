//! The cargo commands of the steps.

use std::process::{Command, Stdio};

use super::machine::Machine;

/// A cargo command.
pub(super) struct Cargo {
    arguments: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
    target_folder: Option<&'static str>,
    /// Whether a run that finds no test is a failure.
    pub(super) must_find_tests: bool,
    /// What is less than it should be about this run.
    shortfalls: Vec<&'static str>,
}

impl Cargo {
    pub(super) fn variable(mut self, name: &'static str, value: &'static str) -> Cargo {
        self.variables.push((name, value));
        self
    }

    /// Compiles into a folder of its own: these flags would throw everything else out. As such a
    /// step picks out tests, it also has to find some.
    pub(super) fn in_folder(mut self, name: &'static str) -> Cargo {
        self.target_folder = Some(name);
        self.must_find_tests = true;
        self
    }

    /// Notes that this run holds less than it should.
    pub(super) fn falling_short(mut self, why: &'static str) -> Cargo {
        self.shortfalls.push(why);
        self
    }

    /// What is less than it should be about this run, if anything is.
    pub(super) fn shortfall(&self) -> Option<String> {
        (!self.shortfalls.is_empty()).then(|| self.shortfalls.join("; "))
    }

    /// The command as a person would type it.
    pub(super) fn line(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.variables {
            line.push_str(&format!("{name}='{value}' "));
        }
        if let Some(name) = self.target_folder {
            line.push_str(&format!("CARGO_TARGET_DIR=target/{name} "));
        }
        line + "cargo " + &self.arguments.join(" ")
    }

    /// The command, ready to run.
    pub(super) fn command(&self, machine: &Machine) -> Command {
        let mut command = machine.cargo();
        command.args(&self.arguments).envs(self.variables.iter().copied());
        if let Some(name) = self.target_folder {
            command.env("CARGO_TARGET_DIR", machine.target.join(name));
        }
        command
    }

    /// Whether each of its test programs has a test to run; they must have been compiled.
    pub(super) fn finds_tests(&self, machine: &Machine) -> bool {
        let output = self.command(machine).args(["--", "--list"]).stderr(Stdio::null()).output();
        output.is_ok_and(|output| are_populated(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// Whether each program in this listing counts a test, and there is at least one program.
fn are_populated(listing: &str) -> bool {
    let mut counts = listing.lines().filter(|line| line.contains(" benchmark")).peekable();
    counts.peek().is_some() && counts.all(|line| !line.starts_with("0 tests"))
}

/// The cargo command with these arguments, which stand between spaces.
pub(super) fn cargo(arguments: &str) -> Cargo {
    Cargo {
        arguments: arguments.split(' ').map(str::to_string).collect(),
        variables: Vec::new(),
        target_folder: None,
        must_find_tests: false,
        shortfalls: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_its_own_mean_a_folder_of_its_own() {
        let command = cargo("test").variable("RUSTFLAGS", "--cfg loom").in_folder("loom");
        assert_eq!(
            command.line(),
            "RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom cargo test"
        );
        assert!(command.must_find_tests);
    }

    #[test]
    fn everything_that_falls_short_is_told() {
        assert_eq!(cargo("test").shortfall(), None);
        let command = cargo("test").falling_short("no time limits").falling_short("an extract");
        assert_eq!(command.shortfall().as_deref(), Some("no time limits; an extract"));
    }

    #[test]
    fn an_empty_test_program_is_noticed() {
        let full = "a: test\nb: test\n\n2 tests, 0 benchmarks\n";
        let empty = "\n0 tests, 0 benchmarks\n";
        assert!(are_populated(full));
        assert!(are_populated("a: test\n\n1 test, 0 benchmarks\n"));
        assert!(!are_populated(empty));
        assert!(!are_populated(&format!("{full}{empty}")));
        assert!(!are_populated(""));
    }
}
