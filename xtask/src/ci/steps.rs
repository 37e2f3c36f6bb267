//! The steps of `cargo xtask ci`: what runs, in which order, and what each needs.
//!
//! A step is a line of the table: to change one, change its command. The cheap ones come first, so
//! that a broken tree is known to be broken soon. Steps share one target folder as long as they
//! compile alike; the models and the sanitizer have flags of their own and so folders of their own.

use super::command::{Cargo, cargo};
use super::machine::Machine;

/// One step.
pub(super) struct Step {
    /// What `--only` calls it.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) about: &'static str,
    /// What to do on this machine.
    pub(super) plan: fn(&Machine) -> Plan,
}

/// What a step does on this machine.
pub(super) enum Plan {
    /// The rules of `tidy`, in this process.
    Tidy,
    /// The planted mistakes, each in a process of its own.
    Plants,
    /// The instructions of the hot paths, counted by another process.
    Instructions,
    /// A cargo command.
    Cargo(Cargo),
    /// Nothing, because this machine lacks what it needs: the summary says so loudly.
    CannotRun(&'static str),
}

/// Crates whose concurrency is checked by loom models. One that has none any more is a failure.
const LOOM_CRATES: &[&str] = &["lsm-engine", "lsm-memtable"];

/// The steps, in order.
pub(super) const STEPS: &[Step] = &[
    Step { name: "fmt", about: "formatting", plan: |_| cargo("fmt --all --check").into() },
    Step { name: "tidy", about: "rules of our own", plan: |_| Plan::Tidy },
    Step { name: "deny", about: "bans, licences and sources of dependencies", plan: deny },
    Step {
        name: "clippy",
        about: "lints of all targets with all features",
        plan: |_| {
            cargo("clippy --workspace --all-targets --all-features --locked -- -D warnings").into()
        },
    },
    Step {
        name: "clippy-product",
        about: "lints of what ships, without the test file systems",
        plan: |_| cargo("clippy --workspace --locked -- -D warnings").into(),
    },
    Step {
        name: "clippy-wire",
        about: "lints of the server's wire forms alone, as the command line uses them",
        plan: |_| {
            cargo("clippy -p lsm-server --no-default-features --lib --locked -- -D warnings").into()
        },
    },
    Step { name: "test", about: "unit and integration tests", plan: tests },
    Step {
        name: "doctest",
        about: "examples in the documentation",
        plan: |_| cargo("test --workspace --all-features --doc --locked --no-fail-fast").into(),
    },
    Step {
        name: "doc",
        about: "documentation without a warning",
        plan: |_| {
            cargo("doc --workspace --all-features --no-deps --locked")
                .variable("RUSTDOCFLAGS", "-D warnings")
                .into()
        },
    },
    Step {
        // In the profile of the tests, since for it everything below them is compiled already.
        name: "examples",
        about: "examples and benchmarks compile",
        plan: |_| {
            let targets = "--examples --benches --profile test";
            cargo(&format!("build --workspace --all-features {targets} --locked")).into()
        },
    },
    Step {
        name: "loom",
        about: "interleavings of small models, up to two or three preemptions",
        plan: loom,
    },
    Step {
        name: "plants",
        about: "mistakes that are made on purpose, each noticed by the test that is to notice it",
        plan: |_| Plan::Plants,
    },
    Step {
        name: "instructions",
        about: "how many instructions the hot paths take",
        plan: |_| match crate::instructions::has_valgrind() {
            true => Plan::Instructions,
            false => Plan::CannotRun("valgrind is not installed"),
        },
    },
    Step { name: "asan", about: "unit tests of unsafe code under AddressSanitizer", plan: asan },
];

fn deny(machine: &Machine) -> Plan {
    if machine.has_tool("deny") {
        cargo("deny --locked check bans licenses sources").into()
    } else {
        Plan::CannotRun("cargo-deny is not installed")
    }
}

fn tests(machine: &Machine) -> Plan {
    let nextest = "nextest run --workspace --all-features --locked";
    let tests =
        match (machine.has_tool("nextest"), machine.is_ci) {
            (true, true) => cargo(&format!("{nextest} --profile ci")),
            (true, false) => cargo(nextest),
            (false, _) => cargo(
                "test --workspace --all-features --lib --bins --tests --locked --no-fail-fast",
            )
            .falling_short("cargo-nextest is not installed: ran `cargo test`, without time limits"),
        };
    let tests = match machine.has_unicode_data() {
        true => tests,
        false => tests
            .falling_short("unicode-data is not installed: the end-to-end test ran on an extract"),
    };
    match machine.may_mount() {
        true => tests.into(),
        false => {
            tests.falling_short("no mount namespace: nothing was killed on a full disk").into()
        }
    }
}

fn loom(_: &Machine) -> Plan {
    let packages = LOOM_CRATES.join(" -p ");
    cargo(&format!("test -p {packages} --release --lib --locked --no-fail-fast loom"))
        .variable("RUSTFLAGS", "--cfg loom")
        .in_folder("loom")
        .into()
}

fn asan(machine: &Machine) -> Plan {
    if !machine.has_asan() {
        return Plan::CannotRun("this toolchain has no AddressSanitizer for x86-64 Linux");
    }
    // The sanitizer is no stable option. The variable lets the stable compiler take it; what ships
    // is never built so.
    let target = "x86_64-unknown-linux-gnu";
    cargo(&format!(
        "test -p lsm-base -p lsm-memtable -p lsm-sstable --lib --target {target} --locked --no-fail-fast"
    ))
    .variable("RUSTC_BOOTSTRAP", "1")
    .variable("RUSTFLAGS", "-Zsanitizer=address")
    .in_folder("asan")
    .into()
}

impl From<Cargo> for Plan {
    fn from(cargo: Cargo) -> Plan {
        Plan::Cargo(cargo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_keeps_to_the_lock_file() {
        let machine = Machine::of_environment(crate::workspace_root());
        for step in STEPS {
            if let Plan::Cargo(cargo) = (step.plan)(&machine) {
                let line = cargo.line();
                assert!(line.contains("--locked") || step.name == "fmt", "{line}");
                assert!(!line.contains("  "), "{line}");
            }
        }
    }

    #[test]
    fn tests_on_an_extract_fall_short() {
        let mut machine = Machine::of_environment(crate::workspace_root());
        machine.unicode_data = machine.root.join("no-such-file");
        let Plan::Cargo(cargo) = tests(&machine) else { panic!("tests are a cargo command") };
        assert!(cargo.shortfall().is_some_and(|why| why.contains("ran on an extract")));
    }

    #[test]
    fn a_step_that_picks_out_tests_always_runs_and_must_find_some() {
        let mut machine = Machine::of_environment(crate::workspace_root());
        // Where there is no source, there are no models: cargo says so, and not silence.
        machine.root = machine.root.join("no-such-folder");
        let Plan::Cargo(loom) = loom(&machine) else { panic!("models are a cargo command") };
        assert!(loom.must_find_tests, "{}", loom.line());
    }

    #[test]
    fn a_test_that_fails_hides_no_other() {
        let machine = Machine::of_environment(crate::workspace_root());
        for step in STEPS {
            let Plan::Cargo(cargo) = (step.plan)(&machine) else { continue };
            let line = cargo.line();
            // Nextest goes on by our own configuration of it.
            assert!(!line.contains("cargo test ") || line.contains("--no-fail-fast"), "{line}");
        }
        let nextest = std::fs::read_to_string(machine.root.join(".config/nextest.toml"));
        assert!(nextest.is_ok_and(|text| text.contains("fail-fast = false")));
    }

    #[test]
    fn what_runs_two_at_a_time_is_there() {
        let root = crate::workspace_root();
        let text = std::fs::read_to_string(root.join(".config/nextest.toml")).unwrap();
        let (before, _) = text.split_once("test-group = \"harnesses\"").expect("a group");
        let filter = before.lines().last().unwrap();
        let (_, names) = filter.split_once("test(/^(").expect("modules");
        let (names, _) = names.split_once(')').unwrap();
        for name in names.split('|') {
            let is_in =
                |package: &str| root.join(format!("crates/{package}/tests/it/{name}.rs")).is_file();
            assert!(["lsm-engine", "lsm-server"].into_iter().any(is_in), "{name}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }
}
