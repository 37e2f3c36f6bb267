//! Every workload on two stores, and what is said about it.

use clap::ValueEnum;
use lsm_bench::lsm;
use lsm_bench::report::Outcome;
use lsm_bench::store::EngineFactory;
use lsm_bench::workload::Workload;

use crate::btree_map;
use crate::support::{KEYS, WORKLOADS, folder, plan, run};

fn run_all(engine: &EngineFactory) -> Vec<Outcome> {
    let dir = folder();
    let outcomes = run(engine, &plan(dir.path(), &WORKLOADS)).unwrap();
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "the stores are removed");
    outcomes
}

/// What holds for any store.
fn check(outcome: &Outcome, workload: Workload, engine: &str) {
    let name = workload.name();
    assert_eq!((outcome.workload.as_str(), outcome.engine.as_str()), (name, engine));
    assert_eq!((outcome.threads, outcome.keys, outcome.value_bytes), (2, KEYS, 100));
    // A map compresses nothing, though the plan asks for it.
    assert_eq!(outcome.compression, if engine == "lsm" { "lz4" } else { "none" });
    assert_eq!(outcome.durability, if name == "fillsync" { "sync" } else { "buffered" });
    let is_whole = workload.fills_store() || workload == Workload::Overwrite;
    let lasts = !is_whole && !matches!(workload, Workload::FillSync | Workload::DeleteRandom);
    match workload {
        _ if is_whole => assert_eq!(outcome.ops, KEYS),
        Workload::FillSync => assert_eq!(outcome.ops, 20),
        Workload::DeleteRandom => assert_eq!(outcome.ops, KEYS / 2),
        Workload::ReadSeq => assert_eq!(outcome.ops % KEYS, 0, "whole scans"),
        _ => assert_eq!(outcome.ops % 100, 0, "the clock is read every 100"),
    }
    assert!(0 < outcome.ops, "{name}");
    if lasts {
        assert!(0.05 <= outcome.seconds, "{name}: {} s", outcome.seconds);
    }
    // The writer takes up again what it was late by at most, which is a hundredth of a second.
    let most = 10_000.0 * (1.0 + 0.01 / outcome.seconds) + 1.0 / outcome.seconds;
    match outcome.writer_ops_per_second {
        Some(rate) => assert!(0.0 < rate && rate <= most, "{name}: {rate} of {most}"),
        None => assert_ne!(workload, Workload::ReadWhileWriting),
    }
    let rate = outcome.ops as f64 / outcome.seconds;
    assert!((outcome.ops_per_second - rate).abs() <= rate * 1e-9, "{name}");
    let quantiles = [
        outcome.p50_us,
        outcome.p90_us,
        outcome.p99_us,
        outcome.p999_us,
        outcome.p9999_us,
        outcome.max_us,
    ];
    assert!(0.0 < quantiles[0] && quantiles.is_sorted(), "{name}: {quantiles:?}");
    let bytes_put = match workload {
        _ if !workload.is_write() => Some(0),
        Workload::DeleteRandom => Some(16 * outcome.ops),
        // Puts, or a put and a delete.
        Workload::Queue => Some((16 + 100 + 16) * outcome.ops),
        _ if !lasts => Some((16 + 100) * outcome.ops),
        _ => None,
    };
    match bytes_put {
        Some(bytes) => assert_eq!(outcome.bytes_put, bytes, "{name}"),
        None => assert!(0 < outcome.bytes_put, "{name}"),
    }
    assert_eq!(outcome.bytes_written_per_byte_put.is_some(), workload.is_write(), "{name}");
    assert!(0.0 <= outcome.cpu_seconds && 0.0 <= outcome.idle_after_seconds, "{name}");
    assert!(1 << 20 < outcome.rss_anon_peak, "{name}: {} bytes", outcome.rss_anon_peak);
}

#[test]
fn every_workload_runs_on_this_store() {
    let outcomes = run_all(&lsm::FACTORY);
    assert_eq!(outcomes.len(), WORKLOADS.len());
    for (outcome, workload) in outcomes.iter().zip(WORKLOADS) {
        check(outcome, workload, "lsm");
        if workload.fills_store() {
            // Half of each value repeats the other, so even compressed there is more than that.
            let (written, on_disk) = (outcome.bytes_written, outcome.bytes_on_disk);
            assert!(KEYS * 50 < written, "{}: {written}", outcome.workload);
            assert!(KEYS * 50 < on_disk, "{}: {on_disk}", outcome.workload);
        }
        assert!(outcome.longest_stall_ms.is_some_and(|stall| 0.0 <= stall));
    }
}

#[test]
fn every_workload_runs_on_a_map() {
    let outcomes = run_all(&btree_map::FACTORY);
    assert_eq!(outcomes.len(), WORKLOADS.len());
    for (outcome, workload) in outcomes.iter().zip(WORKLOADS) {
        check(outcome, workload, "btree-map");
        assert_eq!((outcome.bytes_on_disk, outcome.longest_stall_ms), (0, None));
    }
}

#[test]
fn no_workload_is_left_out() {
    for workload in Workload::all() {
        assert!(WORKLOADS.contains(workload), "{}", workload.name());
        let value = workload.to_possible_value().unwrap();
        assert_eq!(value.get_name(), workload.name(), "results and command line agree");
    }
}
