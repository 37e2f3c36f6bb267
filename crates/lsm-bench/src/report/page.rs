//! The page of a run: what was run and where, tables, and charts, in one file that needs no other.

use std::fmt::Write;

use crate::header::Run;
use crate::store::Result;

use super::Outcome;
use super::chart::{self, Bar, Line};
use super::summary::Summary;

/// What there is a column and a row of charts for.
struct Figure {
    name: &'static str,
    of: fn(&Outcome) -> Option<f64>,
}

const MIB: f64 = (1 << 20) as f64;

const FIGURES: [Figure; 10] = [
    Figure { name: "operations a second", of: |outcome| Some(outcome.ops_per_second) },
    Figure {
        name: "operations a second, to idle",
        of: |outcome| Some(outcome.ops_per_second_to_idle()),
    },
    Figure { name: "seconds to idle", of: |outcome| Some(outcome.idle_after_seconds) },
    Figure { name: "bytes written for each put", of: |outcome| outcome.bytes_written_per_byte_put },
    Figure { name: "MiB on disk", of: |outcome| Some(outcome.bytes_on_disk as f64 / MIB) },
    Figure { name: "MiB of memory, peak", of: |outcome| Some(outcome.rss_anon_peak as f64 / MIB) },
    Figure {
        name: "MiB of mapped files, peak",
        of: |outcome| Some(outcome.rss_file_peak as f64 / MIB),
    },
    Figure {
        name: "µs of processor an operation",
        of: |outcome| Some(outcome.cpu_seconds * 1e6 / outcome.ops as f64),
    },
    Figure { name: "puts a second beside readers", of: |outcome| outcome.writer_ops_per_second },
    Figure { name: "longest wait for the engine, ms", of: |outcome| outcome.longest_stall_ms },
];

/// The latencies of an outcome, under their names.
const QUANTILES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];

fn quantiles(outcome: &Outcome) -> [f64; 6] {
    [
        outcome.p50_us,
        outcome.p90_us,
        outcome.p99_us,
        outcome.p999_us,
        outcome.p9999_us,
        outcome.max_us,
    ]
}

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:1320px;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;margin:1em 0;font-size:14px}\
th,td{border:1px solid #ccc;padding:.2em .6em;text-align:right}\
th:first-child,td:first-child{text-align:left}\
.charts{display:flex;flex-wrap:wrap}.wide{overflow-x:auto}";

/// The results of a run as a page of HTML.
///
/// # Errors
/// If a chart cannot be drawn.
pub fn page(run: &Run, rounds: &[Vec<Outcome>]) -> Result<String> {
    let summary = Summary::of(rounds);
    let mut page = String::new();
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>lsm-bench</title><style>{STYLE}</style></head><body>\n<h1>lsm-bench</h1>\n"
    )?;
    write_facts(&mut page, run)?;
    write_ratios(&mut page, &summary)?;
    write_medians(&mut page, &summary)?;
    write_charts(&mut page, &summary)?;
    page.push_str("</body></html>\n");
    Ok(page)
}

/// What was run, and where.
fn write_facts(page: &mut String, run: &Run) -> Result<()> {
    let (machine, options) = (&run.machine, &run.options);
    let engines = run.engines.iter().map(|engine| format!("{} {}", engine.name, engine.version));
    let tunings = if run.tuned { ", each also in its own tuning (own)" } else { "" };
    let facts = [
        ("engines", engines.collect::<Vec<_>>().join(", ") + tunings),
        ("commit", run.commit.clone().unwrap_or_else(|| "not known".into())),
        ("processor", machine.processor.clone().unwrap_or_else(|| "not known".into())),
        ("cores", machine.cores.to_string()),
        ("memory", format!("{:.1} GiB", machine.memory_bytes as f64 / MIB / 1024.0)),
        ("kernel", machine.kernel.clone()),
        ("file system", machine.file_system.clone()),
        ("began", date(run.unix_seconds)),
        ("rounds", run.rounds.to_string()),
    ];
    page.push_str("<h2>What was run</h2>\n<table>\n");
    for (name, value) in facts {
        writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value))?;
    }
    // The names of the command line, so that the run can be repeated.
    if let serde_json::Value::Object(options) = serde_json::to_value(options)? {
        for (name, value) in options {
            let value = escape(&value.to_string());
            writeln!(page, "<tr><th>{}</th><td>{value}</td></tr>", name.replace('_', " "))?;
        }
    }
    page.push_str("</table>\n");
    Ok(())
}

/// The first engine beside each of the others.
fn write_ratios(page: &mut String, summary: &Summary<'_>) -> Result<()> {
    let Some((first, others)) = summary.engines.split_first() else { return Ok(()) };
    if others.is_empty() {
        return Ok(());
    }
    let first = escape(first);
    write!(
        page,
        "<h2>Operations of {first} for each of another</h2>\n\
         <p>The median of the ratios within a round, and their range. <i>To idle</i> counts the time \
         until background work is done.</p>\n<div class=\"wide\"><table>\n<tr><th>workload</th>"
    )?;
    for other in others {
        let other = escape(other);
        write!(page, "<th>{first} / {other}</th><th>to idle</th>")?;
    }
    page.push_str("</tr>\n");
    for (position, workload) in summary.workloads.iter().enumerate() {
        write!(page, "<tr><td>{}</td>", escape(workload))?;
        for other in others {
            for rate in
                [|outcome: &Outcome| outcome.ops_per_second, Outcome::ops_per_second_to_idle]
            {
                let ratio = summary.ratio(other, position, rate);
                let ratio = ratio.map(|ratio| ratio.to_string()).unwrap_or_default();
                write!(page, "<td>{ratio}</td>")?;
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
    Ok(())
}

/// All figures, as medians over the rounds.
fn write_medians(page: &mut String, summary: &Summary<'_>) -> Result<()> {
    page.push_str(
        "<h2>Medians over the rounds</h2>\n<p>Latencies are in microseconds.</p>\n\
         <div class=\"wide\"><table>\n<tr><th>workload</th><th>engine</th>",
    );
    for name in FIGURES.iter().map(|figure| figure.name).chain(QUANTILES) {
        write!(page, "<th>{name}</th>")?;
    }
    page.push_str("</tr>\n");
    for (position, workload) in summary.workloads.iter().enumerate() {
        for engine in &summary.engines {
            write!(page, "<tr><td>{}</td><td>{}</td>", escape(workload), escape(engine))?;
            for figure in &FIGURES {
                let median = summary.median(engine, position, figure.of);
                write!(page, "<td>{}</td>", median.map(chart::short).unwrap_or_default())?;
            }
            for latency in latencies(summary, engine, position).unwrap_or_default() {
                write!(page, "<td>{}</td>", chart::short(latency))?;
            }
            page.push_str("</tr>\n");
        }
    }
    page.push_str("</table></div>\n");
    Ok(())
}

/// The medians of the latencies of an engine's workload, if it ran.
fn latencies(summary: &Summary<'_>, engine: &str, position: usize) -> Option<Vec<f64>> {
    let quantile = |index: usize| {
        summary.median(engine, position, move |outcome| Some(quantiles(outcome)[index]))
    };
    (0..QUANTILES.len()).map(quantile).collect()
}

/// A chart for each workload and figure, and for its latencies.
fn write_charts(page: &mut String, summary: &Summary<'_>) -> Result<()> {
    for figure in &FIGURES {
        let mut charts = String::new();
        for (position, workload) in summary.workloads.iter().enumerate() {
            let bars: Vec<Bar> = (summary.engines.iter().enumerate())
                .filter_map(|(color, engine)| {
                    let value = summary.median(engine, position, figure.of)?;
                    Some(Bar { label: engine.clone(), value, color })
                })
                .collect();
            // Reads write nothing, and leave nothing to be done.
            if bars.iter().any(|bar| 0.0 < bar.value) {
                charts += &chart::bars(workload, &bars)?;
            }
        }
        if !charts.is_empty() {
            write!(page, "<h2>{}</h2>\n<div class=\"charts\">\n{charts}</div>\n", figure.name)?;
        }
    }
    page.push_str("<h2>Latency of one call, µs</h2>\n<div class=\"charts\">\n");
    for (position, workload) in summary.workloads.iter().enumerate() {
        let lines: Vec<Line> = (summary.engines.iter().enumerate())
            .filter_map(|(color, engine)| {
                let values = latencies(summary, engine, position)?;
                Some(Line { label: engine.clone(), values, color })
            })
            .collect();
        page.push_str(&chart::lines(workload, &QUANTILES, &lines)?);
    }
    page.push_str("</div>\n");
    Ok(())
}

/// A moment as date and time of the day, in UTC.
fn date(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Years are counted from March on, so that a leap day is the last of its year; 400 years have
    // 146,097 days (Hinnant, *chrono-compatible low-level date algorithms*).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = 400 * era + year + next;
    let (hour, minute) = (seconds / 3_600, seconds / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::outcome;
    use super::*;
    use crate::header::Options;
    use crate::machine::Machine;

    fn run() -> Run {
        let machine = Machine::this(Path::new("/proc")).unwrap();
        Run {
            unix_seconds: 1_700_000_000,
            commit: Some("abc-dirty".into()),
            machine: Machine { processor: Some("A & B <fast>".into()), ..machine },
            engines: vec![crate::header::Engine { name: "lsm".into(), version: "0.1.0".into() }],
            rounds: 2,
            tuned: false,
            options: Options {
                workloads: vec!["fillrandom".into()],
                keys: 10,
                value_bytes: 100,
                threads: 1,
                read_seconds: 1.0,
                synced_writes: 1,
                write_rate: 1,
                memtable_bytes: 1,
                cache_bytes: 1,
                bloom_bits: 10,
                compressed: true,
            },
        }
    }

    #[test]
    fn a_page_stands_by_itself() {
        let rounds = [
            vec![outcome("lsm", 100.0), outcome("peer", 50.0)],
            vec![outcome("lsm", 30.0), outcome("peer", 20.0)],
        ];
        let page = page(&run(), &rounds).unwrap();
        for text in
            ["abc-dirty", "2023-11-14", "A &amp; B &lt;fast&gt;", "lsm 0.1.0", "1.75 (1.50-2.00)"]
        {
            assert!(page.contains(text), "{text}: {page}");
        }
        // Eight figures that are not 0 or missing, and the latencies.
        assert_eq!(page.matches("<svg ").count(), 9, "{page}");
        for other in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(other), "{other}: {page}");
        }
    }

    #[test]
    fn moments_have_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13 UTC"),
            (1_735_689_599, "2024-12-31 23:59 UTC"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }

    #[test]
    fn an_engine_alone_is_compared_with_nobody() {
        let page = page(&run(), &[vec![outcome("lsm", 100.0)]]).unwrap();
        assert!(!page.contains("for each of another"), "{page}");
        assert!(page.contains("<td>100</td>"), "{page}");
    }
}
