//! The few operations of a failed run that are enough to fail.
//!
//! Each operation is a function of the seed and its number, so any of them can be left out: whole
//! halves first, then quarters, down to single ones, for as long as the rest still fails.

use std::time::{Duration, Instant};

/// A part of `ops` that `fails` too, none of whose operations can be left out if time allows.
pub(crate) fn shrink(
    mut ops: Vec<u64>,
    limit: Duration,
    mut fails: impl FnMut(&[u64]) -> bool,
) -> Vec<u64> {
    let started = Instant::now();
    let mut chunk = ops.len().div_ceil(2);
    while 0 < chunk {
        let mut start = 0;
        while start < ops.len() {
            if limit < started.elapsed() {
                return ops;
            }
            let end = (start + chunk).min(ops.len());
            let rest = [&ops[..start], &ops[end..]].concat();
            if fails(&rest) {
                ops = rest;
            } else {
                start = end;
            }
        }
        chunk /= 2;
    }
    ops
}

#[test]
fn what_is_left_is_what_fails() {
    let fails = |ops: &[u64]| {
        let first = ops.iter().position(|op| *op == 700);
        first.is_some_and(|first| ops[first..].contains(&903) && 2 < ops.len())
    };
    let left = shrink((0..1_000).collect(), Duration::MAX, fails);
    assert_eq!(left.len(), 3);
    assert!(left.contains(&700) && left.contains(&903));
}
