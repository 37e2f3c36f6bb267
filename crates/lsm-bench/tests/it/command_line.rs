//! The binary: engines in turn, lines of JSON, a table, and refusals.

use std::path::Path;
use std::process::{Command, Output};

use lsm_bench::header::Header;
use lsm_bench::report::Outcome;

use crate::support::folder;

fn lsm_bench(dir: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lsm-bench"));
    command.args(["--keys", "2000", "--read-seconds", "0.02", "--memtable-bytes", "65536"]);
    command.args(line.split(' ')).arg("--dir").arg(dir).output().unwrap()
}

/// The header, and the lines behind it.
fn parts(output: &Output) -> (Header, Vec<&str>) {
    let mut lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    (serde_json::from_str(lines.next().unwrap()).unwrap(), lines.collect())
}

#[test]
fn each_round_gives_a_line_for_each_workload_and_the_last_line_is_a_table() {
    let dir = folder();
    let output = lsm_bench(dir.path(), "--rounds 2 --workloads fillrandom,readrandom");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (header, lines) = parts(&output);
    assert_eq!((header.run.rounds, header.run.options.keys), (2, 2_000));
    assert_eq!(header.run.options.workloads, ["fillrandom", "readrandom"]);
    assert_eq!(header.run.engines[0].name, "lsm");
    let outcomes: Vec<Outcome> =
        lines[..4].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = outcomes.iter().map(|outcome| outcome.workload.as_str()).collect();
    assert_eq!(names, ["fillrandom", "readrandom", "fillrandom", "readrandom"]);
    assert!(lines[4].starts_with("| workload"), "{lines:?}");
    assert_eq!(lines[4..].len(), 4, "a header, a rule and a row for each workload: {lines:?}");
}

#[test]
fn a_tuned_run_has_a_second_turn_in_each_round() {
    let dir = folder();
    let output = lsm_bench(dir.path(), "--json --tuned --rounds 2 --workloads fillseq");
    let (header, lines) = parts(&output);
    assert!(header.run.tuned);
    let outcomes = lines.into_iter().map(|line| serde_json::from_str(line).unwrap());
    let tunings: Vec<_> = outcomes.map(|outcome: Outcome| outcome.tuning).collect();
    assert_eq!(tunings, ["equal", "own", "own", "equal"]);
}

#[test]
fn a_report_holds_what_was_printed() {
    let (dir, folder_of_report) = (folder(), folder());
    let report = folder_of_report.path().join("new");
    let line = format!("--json --workloads fillseq,readrandom --report {}", report.display());
    let output = lsm_bench(dir.path(), &line);
    assert_eq!(std::fs::read(report.join("results.jsonl")).unwrap(), output.stdout);
    let page = std::fs::read_to_string(report.join("report.html")).unwrap();
    assert!(page.contains("<svg ") && page.contains("readrandom"), "{page}");

    // Refused before anything runs.
    std::fs::write(folder_of_report.path().join("file"), "").unwrap();
    let line = format!("--report {}/file --workloads fillseq", folder_of_report.path().display());
    let output = lsm_bench(dir.path(), &line);
    assert!(!output.status.success() && output.stdout.is_empty());
}

#[test]
fn a_comparison_of_few_rounds_is_warned_of() {
    let dir = folder();
    for (line, rounds) in [("", 4), ("--rounds 2 ", 2), ("--rounds 3 ", 3)] {
        let output = lsm_bench(dir.path(), &format!("{line}--tuned --workloads fillseq"));
        assert_eq!(parts(&output).0.run.rounds, rounds);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors.contains("warning: a comparison wants"), rounds == 2, "{errors}");
    }
}

#[test]
fn what_does_not_divide_is_done_all_the_same() {
    let dir = folder();
    for (workload, ops) in [("fillsync", 3), ("fillseq", 2_000), ("deleterandom", 1_000)] {
        let line = format!("--json --synced-writes 3 --threads 7 --workloads {workload}");
        let output = lsm_bench(dir.path(), &line);
        let outcome: Outcome = serde_json::from_str(parts(&output).1[0]).unwrap();
        assert_eq!((outcome.threads, outcome.ops), (7, ops), "{workload}");
    }
}

#[test]
fn json_alone_is_json_alone() {
    let dir = folder();
    let output = lsm_bench(dir.path(), "--json --engines lsm --uncompressed --workloads fillseq");
    let (header, lines) = parts(&output);
    assert!(!header.run.options.compressed);
    assert_eq!((header.run.rounds, lines.len()), (1, 1), "one engine has one turn by default");
    let outcome: Outcome = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((outcome.keys, outcome.compression.as_str()), (2000, "none"));
}

#[test]
fn what_cannot_be_run_is_refused() {
    let dir = folder();
    for (line, reason) in [
        ("--engines nobody", "no engine \"nobody\"; there are lsm"),
        ("--workloads readrandom", "readrandom wants every key"),
        ("--workloads readmost", "invalid value 'readmost'"),
        ("--engines lsm,lsm", "named twice"),
        ("--rounds 0 --workloads fillseq", "invalid value '0'"),
        ("--threads 0 --workloads fillseq", "threads must be one or more"),
        ("--value-bytes 0 --workloads fillseq", "value bytes must be one or more"),
        ("--synced-writes 0 --workloads fillsync", "synced writes must be one or more"),
        ("--threads 1991 --workloads fillseq,queue", "a queue wants 2001 keys or more"),
        ("--write-rate 0 --workloads fillseq,readwhilewriting", "the write rate must be one"),
    ] {
        let output = lsm_bench(dir.path(), line);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && errors.contains(reason), "{line}: {errors}");
        assert_eq!(output.stdout, b"", "{line}");
    }
}

#[test]
fn lines_that_cannot_be_written_end_the_run() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let dir = folder();
    let arguments = ["--keys", "2000", "--workloads", "fillseq", "--dir"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_lsm-bench"));
    let output = command.args(arguments).arg(dir.path()).stdout(full()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("error: No space left"), "{errors}");

    // Where nobody reads what goes on, it goes on.
    let mut command = Command::new(env!("CARGO_BIN_EXE_lsm-bench"));
    let output = command.args(arguments).arg(dir.path()).stderr(full()).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("| workload"));
}
