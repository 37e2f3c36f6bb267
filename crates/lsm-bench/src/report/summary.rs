//! What several rounds say together: medians over them, and ratios within each.

use std::fmt;

use super::Outcome;

/// The rounds of a run.
pub(super) struct Summary<'a> {
    rounds: &'a [Vec<Outcome>],
    /// The labels of the engines, in the order of the first round.
    pub(super) engines: Vec<String>,
    /// The workloads, in the order in which every engine ran them; one may occur more than once.
    pub(super) workloads: Vec<&'a str>,
}

/// What the first engine does for each operation of another: the median over the rounds, and their
/// range. A machine is never the same twice, so only what one round says of both is compared.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Ratio {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl<'a> Summary<'a> {
    pub(super) fn of(rounds: &'a [Vec<Outcome>]) -> Summary<'a> {
        let mut engines = Vec::new();
        for label in rounds.iter().flatten().map(Outcome::label) {
            if !engines.contains(&label) {
                engines.push(label);
            }
        }
        let first = rounds.first().into_iter().flatten();
        let of_first = first.filter(|outcome| engines.first() == Some(&outcome.label()));
        let workloads = of_first.map(|outcome| outcome.workload.as_str()).collect();
        Summary { rounds, engines, workloads }
    }

    /// The median of a figure of an engine's workload at a position, if it has one.
    pub(super) fn median(
        &self,
        engine: &str,
        position: usize,
        figure: impl Fn(&Outcome) -> Option<f64>,
    ) -> Option<f64> {
        let outcomes = self.rounds.iter().filter_map(|round| find(round, engine, position));
        median(outcomes.filter_map(figure).collect())
    }

    /// The ratio of a rate of the first engine to that of another.
    pub(super) fn ratio(
        &self,
        other: &str,
        position: usize,
        rate: fn(&Outcome) -> f64,
    ) -> Option<Ratio> {
        let first = self.engines.first()?;
        let of_round = |round: &Vec<Outcome>| {
            let (ours, theirs) = (find(round, first, position)?, find(round, other, position)?);
            Some(rate(ours) / rate(theirs))
        };
        let ratios: Vec<f64> = self.rounds.iter().filter_map(of_round).collect();
        let low = ratios.iter().copied().fold(f64::MAX, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        Some(Ratio { median: median(ratios)?, low, high })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}-{:.2})", self.median, self.low, self.high)
    }
}

/// The outcome of an engine's workload at a position.
fn find<'a>(round: &'a [Outcome], engine: &str, position: usize) -> Option<&'a Outcome> {
    round.iter().filter(|outcome| outcome.label() == engine).nth(position)
}

/// The middle of the figures, or the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.get(figures.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*middle, figures[figures.len() / 2]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcome;
    use super::*;

    #[test]
    fn the_middle_of_even_and_odd_counts() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn an_engine_that_lacks_a_round_is_compared_in_the_others() {
        let rounds = [
            vec![outcome("lsm", 10.0), outcome("peer", 5.0)],
            vec![outcome("lsm", 100.0)],
            vec![outcome("peer", 10.0), outcome("lsm", 30.0)],
        ];
        let summary = Summary::of(&rounds);
        assert_eq!(
            (summary.engines.as_slice(), summary.workloads.len()),
            (&["lsm".to_owned(), "peer".into()][..], 1)
        );
        let ratio = summary.ratio("peer", 0, |outcome| outcome.ops_per_second);
        assert_eq!(ratio, Some(Ratio { median: 2.5, low: 2.0, high: 3.0 }));
        assert_eq!(summary.ratio("nobody", 0, |outcome| outcome.ops_per_second), None);
        let rate = summary.median("lsm", 0, |outcome| Some(outcome.ops_per_second));
        assert_eq!(rate, Some(30.0));
    }
}
