//! `cargo xtask mutants`: small mistakes in the code that must not lose data, made by cargo-mutants
//! one after the other, each of which some test is to notice.
//!
//! 1. Each mutant meets the [`QUICK`] tests of its own crate.
//! 2. What survives meets [`MORE`] tests, those of the engine.
//! 3. What became of them goes into the [tally], where a person gives each survivor a reason, or
//!    writes the test that notices it: `--survivors` tests again those without a reason. `cargo xtask
//!    tidy` checks that one of them was done.

mod outcomes;
pub(crate) mod tally;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use self::outcomes::{Mutant, Outcomes};
use self::tally::{Survivor, Tally, WHOLE};

/// The code of the log, the tables, the MANIFEST, compaction, and the commit path: how the paths of
/// its files begin.
const CODE: &[&str] = &[
    "crates/lsm-wal/src/",
    "crates/lsm-sstable/src/",
    "crates/lsm-compaction/src/",
    "crates/lsm-engine/src/manifest",
    "crates/lsm-engine/src/version_set",
    "crates/lsm-engine/src/commit",
    "crates/lsm-engine/src/flush",
    "crates/lsm-engine/src/recovery",
];

/// What is there for tests.
const EXCLUDED: &[&str] = &[
    "**/tests.rs",
    "**/testing.rs",
    "**/fuzz.rs",
    "**/handover/model.rs",
    "**/publication/model.rs",
];

/// Mutants of code that people read what it writes: no data depends on that.
const HARMLESS: &str = "<impl (fmt::)?Debug for ";

/// The tests that every mutant meets: all, but of the engine the unit tests, and of its harnesses
/// those that end within seconds and that measure nothing, since a mutant is built while others are
/// tested.
const QUICK: &str = "(not package(lsm-engine) | kind(lib) | test(/^(basics|close|death|full_disk|\
    keyspaces|manifest|open|snapshots)::/)) - (package(lsm-engine) & \
    test(/^(fuzz::tests::the_corpus_of_operations|\
    death::what_an_open_serves_is_on_disk|full_disk::a_small_disk_takes_writes_with_default_options|\
    manifest::a_(failure|power_loss)_while_the_manifest_is_begun_anew_loses_nothing|\
    snapshots::a_drop_takes_its_place_among_the_writes_at_whatever_point_power_fails)$/))";

/// The tests that a survivor meets too: all but those that take minutes, and that measure.
const MORE: &str = "not (package(lsm-engine) & test(/^(allocations|faults|flips|golden|kill|\
    lost_sync|model|power_loss|repair|sweep)::/))";

/// A diff as cargo-mutants reads it, whatever git is configured to: with other prefixes it would find
/// none of our files in it, and not say so.
const DIFF: &[&str] =
    &["diff", "--no-ext-diff", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"];

/// Into how many shards all mutants are cut: each has some thirty, which take minutes.
const SHARDS: u32 = 100;

/// The flags of `cargo xtask mutants`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Tests this shard, of 0/N to N-1/N [default: the next one, if nothing else is asked for]
    #[arg(long, value_name = "K/N", value_parser = shard)]
    shard: Option<Shard>,
    /// Tests the mutants in lines that were changed since this commit
    #[arg(long, value_name = "COMMIT")]
    changed_since: Option<String>,
    /// Tests the mutants of this file; may be given more than once
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
    /// Tests again what survived and has no reason in the tally
    #[arg(long, conflicts_with_all = ["shard", "changed_since", "file"])]
    survivors: bool,
    /// Tests nothing, and takes the files of whose mutants a run that was ended early has tested all
    /// out of the `mutants.out` that it left. The checkout must be that of the run
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["shard", "changed_since", "file", "survivors"])]
    from: Option<PathBuf>,
}

/// A part of a list of mutants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shard {
    index: u32,
    count: u32,
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

fn shard(text: &str) -> Result<Shard, String> {
    let parse = || {
        let (index, count) = text.split_once('/')?;
        Some(Shard { index: index.parse().ok()?, count: count.parse().ok()? })
    };
    let is_sound = |shard: &Shard| shard.index < shard.count;
    parse().filter(is_sound).ok_or_else(|| "K/N, with K less than N".to_string())
}

/// The shard whose turn it is.
fn next_shard(tally: &Tally) -> Shard {
    let last = tally.last_shard.as_deref().and_then(|text| shard(text).ok());
    // Of a cut into other shards nothing follows for this one.
    let last = last.filter(|last| last.count == SHARDS);
    Shard { index: last.map_or(0, |last| (last.index + 1) % SHARDS), count: SHARDS }
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> ExitCode {
    match test(args, &crate::workspace_root()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mutants: {why}");
            ExitCode::from(2)
        }
    }
}

fn test(args: &Args, root: &Path) -> Result<(), String> {
    for tool in ["mutants", "nextest"] {
        let version = cargo(root).args([tool, "--version"]).output();
        if !version.is_ok_and(|output| output.status.success()) {
            return Err(format!(
                "cargo-{tool} is not installed: `cargo install cargo-{tool} --locked`"
            ));
        }
    }
    let mut tally = Tally::read(root)?;
    if let Some(from) = &args.from {
        let outcomes = Outcomes::read(from)?;
        let outcomes = outcomes.of_whole_files(&list(root, outcomes.files())?);
        return add(&mut tally, &outcomes, WHOLE, root);
    }
    let folder = folder(root)?;
    if args.survivors {
        return test_survivors(&mut tally, &folder, root);
    }
    let selection = Selection::of(args, &tally, root, &folder)?;
    let outcomes = outcomes(selection.command(root), &folder, root)?;
    if let Some(turn) = selection.turn {
        tally.last_shard = Some(turn.to_string());
    }
    add(&mut tally, &outcomes, &selection.part, root)
}

/// All mutants of these files.
fn list(root: &Path, files: BTreeSet<&str>) -> Result<BTreeSet<Mutant>, String> {
    let mut command = command(root);
    command.args(["--list", "--json"]);
    exclude(&mut command);
    for file in files {
        command.args(["--file", file]);
    }
    let output =
        command.output().map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo-mutants lists nothing: {}", output.status));
    }
    outcomes::mutants(&String::from_utf8_lossy(&output.stdout))
}

/// Adds what became of the mutants of these files to the tally.
fn add(tally: &mut Tally, outcomes: &Outcomes, part: &str, root: &Path) -> Result<(), String> {
    let entries = outcomes.entries(&crate::git::commit(root)?, part)?;
    if entries.is_empty() {
        println!("no mutants there");
    }
    for entry in entries {
        println!("{entry}");
        tally.add(entry);
    }
    tally.write(root)
}

/// Tests again what has no reason in the tally.
fn test_survivors(tally: &mut Tally, folder: &Path, root: &Path) -> Result<(), String> {
    if tally.without_reason().next().is_none() {
        println!("all survivors have a reason");
        return Ok(());
    }
    let outcomes = run_tool(command_for_survivors(root, tally), folder, MORE)?;
    tally.judge_again(&outcomes.by_name()?);
    for (file, Survivor { line, mutant, .. }) in tally.without_reason() {
        println!("survived again, or stands elsewhere by now: {file}:{line}: {mutant}");
    }
    tally.write(root)
}

/// Where cargo-mutants writes.
fn folder(root: &Path) -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let folder = root.join(target).join("mutants");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// What becomes of the mutants of a command, of which those that survive meet all tests of the engine.
fn outcomes(command: Command, folder: &Path, root: &Path) -> Result<Outcomes, String> {
    let mut outcomes = run_tool(quick(command), folder, QUICK)?;
    let survivors: Vec<_> = outcomes.survivors().cloned().collect();
    if !survivors.is_empty() {
        // What is known so far is worth keeping, whatever becomes of this.
        match run_tool(command_again(root, &survivors), &folder.join("again"), MORE) {
            Ok(again) => outcomes.judge_again(&again),
            Err(why) => eprintln!("mutants: the survivors did not meet the engine: {why}"),
        }
    }
    Ok(outcomes)
}

/// Runs cargo-mutants, and reads what became of its mutants.
fn run_tool(mut command: Command, folder: &Path, tests: &str) -> Result<Outcomes, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let output = folder.join("mutants.out");
    match fs::remove_dir_all(&output) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(error));
        }
        _ => {}
    }
    let status =
        command.arg("--output").arg(folder).args(["--", "--fail-fast", "-E", tests]).status();
    let status = status.map_err(|error| format!("cargo could not be started: {error}"))?;
    match status.code() {
        // All were caught, some survived, or some tests did not end.
        Some(0 | 2 | 3) => Outcomes::read(&output),
        Some(4) => Err("the tests fail without a mutant".into()),
        _ => Err(format!("cargo-mutants ended with {status}")),
    }
}

/// These mutants against the tests of the engine, and perhaps some others of their files:
/// cargo-mutants holds not every kind of mutant against the expressions.
fn command_again(root: &Path, mutants: &[Mutant]) -> Command {
    let mut command = command(root);
    command.arg("--test-package=lsm-engine");
    let expressions = mutants.iter().map(|mutant| (&*mutant.file, escaped(&mutant.name)));
    choose(&mut command, expressions);
    command
}

/// The mutants that the tally has no reason for. It does not know their columns.
fn command_for_survivors(root: &Path, tally: &Tally) -> Command {
    let mut command = command(root);
    let expressions = tally.without_reason().map(|(file, survivor)| {
        let Survivor { line, mutant, .. } = survivor;
        (file, format!(r"{}:{line}:\d+: {}", escaped(file), escaped(mutant)))
    });
    choose(&mut command, expressions);
    command
}

/// Lets a command test the mutants of these files whose names match these expressions.
fn choose<'a>(command: &mut Command, expressions: impl Iterator<Item = (&'a str, String)>) {
    let mut files = BTreeSet::new();
    for (file, expression) in expressions {
        if files.insert(file) {
            command.args(["--file", file]);
        }
        command.arg(format!("--re=^{expression}$"));
    }
}

/// A regular expression that matches this text alone.
fn escaped(text: &str) -> String {
    let mut expression = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            expression.push('\\');
        }
        expression.push(c);
    }
    expression
}

/// cargo-mutants, with what all runs have in common.
fn command(root: &Path) -> Command {
    let mut command = cargo(root);
    command.args(["mutants", "--all-features", "--cap-lints=true", "--cargo-arg=--locked"]);
    command.args(["--test-tool=nextest", "--exclude-re", HARMLESS]);
    // The target folder is that of a tree without mutants.
    command.env_remove("CARGO_TARGET_DIR");
    // Nobody reads a backtrace of theirs, and they are compiled by the thousand.
    for profile in ["DEV", "TEST"] {
        command.env(format!("CARGO_PROFILE_{profile}_DEBUG"), "false");
    }
    command
}

/// The same without optimisation, which takes longer than the quick tests do.
fn quick(mut command: Command) -> Command {
    for profile in ["DEV", "TEST"] {
        command.env(format!("CARGO_PROFILE_{profile}_OPT_LEVEL"), "0");
    }
    command
}

fn exclude(command: &mut Command) {
    for file in EXCLUDED {
        command.args(["--exclude", file]);
    }
}

fn cargo(root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root);
    command
}

/// Which mutants are tested.
struct Selection {
    /// What the tally calls them.
    part: String,
    files: Vec<String>,
    diff: Option<PathBuf>,
    shard: Option<Shard>,
    /// The shard, if it was its turn.
    turn: Option<Shard>,
}

impl Selection {
    fn of(args: &Args, tally: &Tally, root: &Path, folder: &Path) -> Result<Selection, String> {
        let is_ours = |file: &&String| CODE.iter().any(|start| file.starts_with(start));
        if let Some(other) = args.file.iter().find(|file| !is_ours(file)) {
            return Err(format!("{other}: not among {}", CODE.join(", ")));
        }
        let has_choice =
            args.shard.is_some() || args.changed_since.is_some() || !args.file.is_empty();
        let turn = (!has_choice).then(|| next_shard(tally));
        let shard = args.shard.or(turn);
        let mut parts = Vec::new();
        let mut diff = None;
        if let Some(since) = &args.changed_since {
            let path = folder.join("changed.diff");
            let text = crate::git::output(root, &[DIFF, &[since]].concat())?;
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            parts.push(format!("changed since {since}"));
            diff = Some(path);
        }
        parts.extend(shard.map(|shard| shard.to_string()));
        // A shard of one file is another part of it than a shard of all.
        if shard.is_some() && !args.file.is_empty() {
            parts.push(format!("of {}", args.file.join(", ")));
        }
        let part = if parts.is_empty() { WHOLE.to_string() } else { parts.join(" ") };
        Ok(Selection { part, files: args.file.clone(), diff, shard, turn })
    }

    /// The mutants against the tests of their own crates.
    fn command(&self, root: &Path) -> Command {
        let mut command = command(root);
        for start in CODE.iter().filter(|_| self.files.is_empty()) {
            command.args(["--file", &format!("{start}*"), "--file", &format!("{start}*/**")]);
        }
        for file in &self.files {
            command.args(["--file", file]);
        }
        exclude(&mut command);
        if let Some(diff) = &self.diff {
            command.arg("--in-diff").arg(diff);
        }
        if let Some(shard) = self.shard {
            // Whole files rather than a few lines of each.
            command.args(["--shard", &shard.to_string(), "--sharding=slice"]);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_take_turns() {
        let next = |last: Option<&str>| {
            let tally = Tally { last_shard: last.map(str::to_string), ..Tally::default() };
            next_shard(&tally).to_string()
        };
        assert_eq!(next(None), "0/100");
        assert_eq!(next(Some("0/100")), "1/100");
        assert_eq!(next(Some("99/100")), "0/100");
        assert_eq!(next(Some("7/9")), "0/100");
    }

    #[test]
    fn a_shard_is_one_of_so_many() {
        assert_eq!(shard("3/4"), Ok(Shard { index: 3, count: 4 }));
        for text in ["4/4", "0/0", "-1/4", "3", "3/", "a/b"] {
            assert!(shard(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_expression_matches_its_text_alone() {
        let name = "a/b.rs:7:33: replace <impl A for [B]>::c -> Option<()> with *d + 1";
        let expected = r"a/b\.rs:7:33: replace <impl A for \[B\]>::c -> Option<\(\)> with \*d \+ 1";
        assert_eq!(escaped(name), expected);
    }

    #[test]
    fn all_code_and_every_harness_is_there() {
        let root = crate::workspace_root();
        for start in CODE {
            let path = root.join(start);
            assert!(path.is_dir() || path.with_extension("rs").is_file(), "{start}");
        }
        let engine = root.join("crates/lsm-engine");
        let harness = |name: &str| engine.join("tests/it").join(name).with_extension("rs");
        for tests in [QUICK, MORE] {
            let (_, names) = tests.split_once("test(/^(").unwrap();
            for name in names.split_once(')').unwrap().0.split('|') {
                assert!(harness(name).is_file(), "{name}");
            }
        }
        // Those that take half a minute without optimisation, which are not among the quick ones.
        let (_, slow) = QUICK.rsplit_once("test(/^(").unwrap();
        for name in slow.strip_suffix(")$/))").unwrap().split('|') {
            let name = name.replace("(failure", "failure").replace("power_loss)", "power_loss");
            let Some((file, test)) = name.rsplit_once("::") else { continue };
            let file = match file.strip_suffix("::tests") {
                Some(file) => engine.join("src").join(file).with_extension("rs"),
                None => harness(file),
            };
            let text = fs::read_to_string(&file).unwrap_or_default();
            assert!(text.contains(&format!("fn {test}")), "{name} in {}", file.display());
        }
    }

    #[test]
    fn what_is_asked_for_is_what_the_tally_calls_it() {
        let scratch = crate::scratch::Scratch::new("mutants-selection");
        let part = |shard: Option<Shard>, file: &[&str]| {
            let file = file.iter().map(|file| (*file).to_string()).collect();
            let args = Args { shard, changed_since: None, file, survivors: false, from: None };
            Selection::of(&args, &Tally::default(), scratch.path(), scratch.path())
        };
        let half = Some(Shard { index: 1, count: 2 });
        let scan = "crates/lsm-wal/src/scan.rs";
        let selection = part(None, &[scan]).unwrap();
        assert_eq!((&*selection.part, selection.turn), (WHOLE, None));
        assert_eq!(part(half, &[]).unwrap().part, "1/2");
        assert_eq!(part(half, &[scan]).unwrap().part, format!("1/2 of {scan}"));
        let turn = part(None, &[]).unwrap();
        assert_eq!((&*turn.part, turn.turn), ("0/100", turn.shard));
        assert!(part(None, &["crates/lsm-cli/src/text.rs"]).is_err());
    }
}
