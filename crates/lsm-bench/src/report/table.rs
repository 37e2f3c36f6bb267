//! The table that ends a run: medians, and the ratios within a round.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::Outcome;
use super::summary::Summary;

/// The results of several rounds as a table: the median rates of each engine, to the last operation
/// and to idleness, and what the first engine does for each operation of the others, as the median
/// of the ratios within a round.
#[must_use]
pub fn table(rounds: &[Vec<Outcome>]) -> Table {
    let summary = Summary::of(rounds);
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let mut header = vec!["workload".to_owned()];
    for engine in &summary.engines {
        header.push(format!("{engine} ops/s"));
        header.extend(["to idle", "p99 µs", "max ms", "idle s"].map(str::to_owned));
    }
    for other in summary.engines.iter().skip(1) {
        header.push(format!("{} / {other}", summary.engines[0]));
        header.push("to idle".into());
    }
    table.set_header(header);
    for (position, workload) in summary.workloads.iter().enumerate() {
        let mut row = vec![Cell::new(workload)];
        let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for engine in &summary.engines {
            let of = |figure: fn(&Outcome) -> f64| {
                let figure = |outcome: &Outcome| Some(figure(outcome));
                summary.median(engine, position, figure).unwrap_or(0.0)
            };
            row.push(number(format!("{:.0}", of(|outcome| outcome.ops_per_second))));
            row.push(number(format!("{:.0}", of(Outcome::ops_per_second_to_idle))));
            row.push(number(format!("{:.1}", of(|outcome| outcome.p99_us))));
            row.push(number(format!("{:.1}", of(|outcome| outcome.max_us / 1e3))));
            row.push(number(format!("{:.2}", of(|outcome| outcome.idle_after_seconds))));
        }
        for other in summary.engines.iter().skip(1) {
            for rate in
                [|outcome: &Outcome| outcome.ops_per_second, Outcome::ops_per_second_to_idle]
            {
                let ratio = summary.ratio(other, position, rate);
                row.push(number(ratio.map(|ratio| ratio.to_string()).unwrap_or_default()));
            }
        }
        table.add_row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcome;
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rounds = [
            vec![outcome("lsm", 100.0), outcome("peer", 50.0)],
            vec![outcome("lsm", 10.0), outcome("peer", 20.0)],
            vec![outcome("lsm", 30.0), outcome("peer", 20.0)],
        ];
        let text = table(&rounds).to_string();
        assert!(text.contains("1.50 (0.50-2.00)"), "{text}");
        assert!(text.contains("lsm / peer"), "{text}");
    }

    #[test]
    fn an_engine_in_its_own_tuning_is_another_one() {
        let own = Outcome { tuning: "own".into(), ..outcome("peer", 25.0) };
        let rounds = [vec![outcome("lsm", 100.0), outcome("peer", 50.0), own]];
        let text = table(&rounds).to_string();
        assert!(text.contains("lsm / peer (own)"), "{text}");
        assert!(text.contains("2.00 (2.00-2.00)") && text.contains("4.00 (4.00-4.00)"), "{text}");
    }

    #[test]
    fn what_is_put_off_is_paid_for() {
        // Twice as fast to the last operation, and then idle after three times as long.
        let ours = Outcome { idle_after_seconds: 2.5, ..outcome("lsm", 20.0) };
        let theirs = Outcome { idle_after_seconds: 0.0, ..outcome("peer", 10.0) };
        assert!((ours.ops_per_second_to_idle() - 10.0 / 3.0).abs() < 1e-9);
        let text = table(&[vec![ours, theirs]]).to_string();
        let row: Vec<_> = text.lines().nth(2).unwrap().split('|').map(str::trim).collect();
        assert_eq!(row[2..4], ["20", "3"]);
        assert_eq!(row[7..9], ["10", "10"]);
        assert_eq!(row[12..14], ["2.00 (2.00-2.00)", "0.33 (0.33-0.33)"]);
    }

    #[test]
    fn a_workload_that_occurs_twice_has_two_rows() {
        let named =
            |workload: &str, rate| Outcome { workload: workload.into(), ..outcome("lsm", rate) };
        let round = vec![
            named("fillrandom", 1.0),
            named("readrandom", 20.0),
            named("overwrite", 3.0),
            named("readrandom", 40.0),
        ];
        let text = table(&[round]).to_string();
        let rows: Vec<_> = text.lines().skip(2).map(|row| row.split_whitespace()).collect();
        let cells: Vec<_> = rows.into_iter().map(|mut row| (row.nth(1), row.nth(1))).collect();
        assert_eq!(
            cells,
            [
                (Some("fillrandom"), Some("1")),
                (Some("readrandom"), Some("20")),
                (Some("overwrite"), Some("3")),
                (Some("readrandom"), Some("40")),
            ]
        );
    }
}
