//! Zipfian ranks: the most popular first, as YCSB draws them.
//!
//! The method is that of Gray and others, *Quickly Generating Billion-Record Synthetic Databases*
//! (1994), which YCSB uses: one random number makes one rank, whatever the count.

use crate::data::Random;

/// The skew of YCSB: of a million keys, the most popular tenth gets five sixths of all operations.
const THETA: f64 = 0.99;

/// Draws ranks below a count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zipf {
    count: f64,
    zeta: f64,
    zeta_of_two: f64,
    eta: f64,
}

impl Zipf {
    /// Ranks from 0 to `count`, which must not be 0.
    pub(crate) fn new(count: u64) -> Zipf {
        let (zeta, zeta_of_two, count) = (zeta(count), zeta(2), count as f64);
        let eta = (1.0 - (2.0 / count).powf(1.0 - THETA)) / (1.0 - zeta_of_two / zeta);
        Zipf { count, zeta, zeta_of_two, eta }
    }

    /// The next rank.
    pub(crate) fn next(&self, random: &mut Random) -> u64 {
        // 53 bits are what a float holds.
        let uniform = (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let place = uniform * self.zeta;
        if place < 1.0 {
            return 0;
        }
        if place < self.zeta_of_two {
            return 1;
        }
        let base = self.eta * uniform - self.eta + 1.0;
        let rank = self.count * base.powf(1.0 / (1.0 - THETA));
        (rank as u64).min(self.count as u64 - 1)
    }
}

/// The sum of `1 / i^THETA` for `i` from 1 to `count`. The first terms are added up, and the others
/// follow from their integral (Euler and Maclaurin), to more digits than matter here.
fn zeta(count: u64) -> f64 {
    const EXACT: u64 = 1_000;
    let term = |i: f64| i.powf(-THETA);
    let head: f64 = (1..=count.min(EXACT)).map(|i| term(i as f64)).sum();
    if count <= EXACT {
        return head;
    }
    let (from, to) = (EXACT as f64, count as f64);
    let integral = (to.powf(1.0 - THETA) - from.powf(1.0 - THETA)) / (1.0 - THETA);
    head + integral + (term(to) - term(from)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_many_terms_is_what_they_add_up_to() {
        for count in [1, 2, 1_000, 1_001, 100_000] {
            let sum: f64 = (1..=count).map(|i| (i as f64).powf(-THETA)).sum();
            assert!((zeta(count) - sum).abs() < 1e-6, "{count}: {} {sum}", zeta(count));
        }
    }

    #[test]
    fn ranks_are_drawn_as_often_as_their_share_says() {
        const DRAWS: u64 = 200_000;
        let (zipf, mut random) = (Zipf::new(10_000), Random::new(7));
        let mut counts = vec![0_u64; 10_000];
        (0..DRAWS).for_each(|_| counts[zipf.next(&mut random) as usize] += 1);
        // The method is exact for the first two, and near to it for sums of many.
        for ranks in [0..1, 1..2, 10..100, 100..1_000, 1_000..10_000] {
            let share: f64 = ranks.clone().map(|rank| ((rank + 1) as f64).powf(-THETA)).sum();
            let due = share / zeta(10_000) * DRAWS as f64;
            let drawn = counts[ranks.clone()].iter().sum::<u64>() as f64;
            assert!((drawn / due - 1.0).abs() < 0.1, "{ranks:?}: {drawn} of {due}");
        }
    }

    #[test]
    fn no_rank_is_beyond_the_count() {
        for count in [1, 2, 3, 5_000] {
            let (zipf, mut random) = (Zipf::new(count), Random::new(1));
            assert!((0..10_000).all(|_| zipf.next(&mut random) < count), "{count}");
        }
    }
}
