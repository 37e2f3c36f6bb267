//! `cargo xtask instructions`: how many instructions the hot paths take, against stored bounds.
//!
//! Unlike a rate, the count is the same on a busy machine and on an idle one. Each path is gone by
//! `hot-paths` of `lsm-bench` under callgrind, once not at all and once [`COUNT`] times; what is
//! between the two is the path's. That says nothing of memory and disk: a path may take fewer
//! instructions and be slower.
//!
//! The bounds stand in `xtask/instructions.json`, as `--bless` found them. A path that takes
//! [`TOLERANCE`] more fails; so does one that takes as much less, because nobody would notice then
//! what makes up for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where the bounds are, from the root of the workspace.
const BOUNDS: &str = "xtask/instructions.json";

/// The paths: operations, but for `next` and `compaction` entries.
const PATHS: [&str; 8] =
    ["put", "get", "get-lz4", "get-decompress", "get-missing", "next", "seek", "compaction"];

/// How often a path is gone.
const COUNT: u64 = 20_000;

/// What a bound may be missed by: the C library and the kernel's answers have a share in each count.
const TOLERANCE: f64 = 0.05;

/// Lets the C library take the same paths on every processor.
const TUNABLES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512F,-AVX512VL,-AVX512BW,-EVEX,-ERMS,-FSRM",
);

/// The flags of `cargo xtask instructions`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stores what is measured as the new bounds
    #[arg(long)]
    bless: bool,
}

/// Instructions for each unit of each path.
type Counts = BTreeMap<String, f64>;

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> ExitCode {
    match check(args.bless, &crate::workspace_root()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("instructions: {why}");
            ExitCode::from(2)
        }
    }
}

/// Whether the tool is there.
pub(crate) fn has_valgrind() -> bool {
    let output = Command::new("valgrind").arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

/// Measures all paths. Returns whether they keep to their bounds.
pub(crate) fn check(bless: bool, root: &Path) -> Result<bool, String> {
    if !has_valgrind() {
        return Err("valgrind is not installed".into());
    }
    let program = build(root)?;
    let counts = measure(&program)?;
    let file = root.join(BOUNDS);
    if bless {
        let text = serde_json::to_string_pretty(&counts).expect("a map of numbers");
        fs::write(&file, text + "\n").map_err(|error| format!("{BOUNDS}: {error}"))?;
    }
    let text = fs::read_to_string(&file).map_err(|error| format!("{BOUNDS}: {error}"))?;
    let bounds = serde_json::from_str(&text).map_err(|error| format!("{BOUNDS}: {error}"))?;
    let (table, is_kept) = judge(&counts, &bounds);
    print!("{table}");
    Ok(is_kept)
}

/// Compiles the program; returns where it is.
fn build(root: &Path) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--profile", "count", "--locked", "-p", "lsm-bench", "--bin", "hot-paths"])
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("cargo build ended with {status}")),
        Err(error) => return Err(format!("cargo could not be started: {error}")),
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(root.join(target).join("count/hot-paths"))
}

fn measure(program: &Path) -> Result<Counts, String> {
    let parent = program.parent().expect("the program is in a folder").join("hot-paths.stores");
    let mut counts = Counts::new();
    for path in PATHS {
        let (before, _) = count(program, path, 0, &parent)?;
        let (after, units) = count(program, path, COUNT, &parent)?;
        let of_path = after.checked_sub(before).filter(|_| units != 0);
        let of_path = of_path.ok_or_else(|| format!("{path}: nothing was done"))?;
        let of_unit = of_path as f64 / units as f64;
        // A tenth of an instruction is more than anybody needs.
        counts.insert(path.to_string(), (10.0 * of_unit).round() / 10.0);
    }
    Ok(counts)
}

/// The instructions of one run, and the units that it did.
fn count(program: &Path, path: &str, count: u64, parent: &Path) -> Result<(u64, u64), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", parent.display());
    if parent.exists() {
        fs::remove_dir_all(parent).map_err(failed)?;
    }
    fs::create_dir_all(parent).map_err(failed)?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([path, &count.to_string()])
        .arg(parent.join("db"))
        .env(TUNABLES.0, TUNABLES.1)
        .output()
        .map_err(|error| format!("valgrind could not be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{path} ended with {}: {said}", output.status));
    }
    let units = String::from_utf8_lossy(&output.stdout);
    let units = units.trim().parse().map_err(|_| format!("{path} printed {units:?}"))?;
    let instructions = collected(&said).ok_or_else(|| format!("{path}: no count in {said:?}"))?;
    fs::remove_dir_all(parent).map_err(failed)?;
    Ok((instructions, units))
}

/// The count in what callgrind says at its end: `==1== Collected : 123`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected : "))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A table of what was found, and whether all of it keeps to the bounds.
fn judge(counts: &Counts, bounds: &Counts) -> (String, bool) {
    let mut table =
        format!("{:<12} {:>12} {:>9} {:>7}\n", "path", "instructions", "bound", "ratio");
    let mut is_kept = counts.len() == bounds.len();
    for (path, count) in counts {
        let Some(bound) = bounds.get(path) else {
            table += &format!("{path:<12} {count:>12.1}   no bound; --bless stores one\n");
            is_kept = false;
            continue;
        };
        let ratio = count / bound;
        let verdict = match ratio {
            _ if ratio > 1.0 + TOLERANCE => "  MORE",
            _ if ratio < 1.0 - TOLERANCE => "  LESS: store it with --bless",
            _ => "",
        };
        is_kept &= verdict.is_empty();
        table += &format!("{path:<12} {count:>12.1} {bound:>9.1} {ratio:>7.3}{verdict}\n");
    }
    (table, is_kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, f64)]) -> Counts {
        pairs.iter().map(|(path, count)| ((*path).to_string(), *count)).collect()
    }

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 652460957\n==7== \n";
        assert_eq!(collected(said), Some(652_460_957));
        assert_eq!(collected("==7== Command: x\n"), None);
    }

    #[test]
    fn a_path_that_takes_more_or_less_is_told() {
        let bounds = counts(&[("get", 1_000.0), ("put", 5_000.0)]);
        assert!(judge(&counts(&[("get", 1_049.0), ("put", 4_800.0)]), &bounds).1);
        let (table, is_kept) = judge(&counts(&[("get", 1_051.0), ("put", 4_700.0)]), &bounds);
        assert!(
            !is_kept && table.contains("1.051  MORE") && table.contains("0.940  LESS"),
            "{table}"
        );
        // A path without a bound, and a bound without a path.
        assert!(!judge(&counts(&[("get", 1_000.0), ("seek", 1.0)]), &bounds).1);
        assert!(!judge(&counts(&[("get", 1_000.0)]), &bounds).1);
    }

    #[test]
    fn every_path_has_its_bound() {
        let text = fs::read_to_string(crate::workspace_root().join(BOUNDS)).expect("it is there");
        let bounds: Counts = serde_json::from_str(&text).expect("it is a map of numbers");
        let mut paths = PATHS.map(str::to_string);
        paths.sort();
        assert!(bounds.into_keys().eq(paths));
    }
}
