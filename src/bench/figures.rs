//! Medians and percentiles.

use serde::Serialize;

/// The least, the middle and the greatest of some figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The median; of an even number of figures, the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// That of `figures`; all 0 where there are none.
    pub(super) fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
            return Spread::default();
        };
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Spread {
            median,
            min: *min,
            max: *max,
        }
    }
}

/// How long most of some things took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// None took longer.
    pub max_ms: f64,
}

impl Percentiles {
    /// Those of `milliseconds`; none where there are none.
    pub(super) fn of(milliseconds: &[f64]) -> Option<Self> {
        let mut sorted = milliseconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let max_ms = *sorted.last()?;
        // The least figure that so many of a hundred do not exceed.
        let percentile = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
        Some(Percentiles {
            p50_ms: percentile(50),
            p99_ms: percentile(99),
            max_ms,
        })
    }
}

/// `noun` in the number that goes with `count`.
pub(super) fn count(noun: &str, count: usize) -> String {
    match count {
        1 => noun.to_owned(),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let check = |figures: &[f64], min, median, max| {
            assert_eq!(Spread::of(figures), Spread { median, min, max });
        };
        check(&[], 0.0, 0.0, 0.0);
        check(&[3.0], 3.0, 3.0, 3.0);
        check(&[3.0, 1.0], 1.0, 2.0, 3.0);
        check(&[9.0, 1.0, 2.0], 1.0, 2.0, 9.0);
    }

    #[test]
    fn percentiles_are_figures_that_were_measured() {
        let check = |figures: Vec<f64>, expected: Option<(f64, f64, f64)>| {
            let expected = expected.map(|(p50_ms, p99_ms, max_ms)| Percentiles {
                p50_ms,
                p99_ms,
                max_ms,
            });
            assert_eq!(Percentiles::of(&figures), expected);
        };
        let up_to = |n: u32| (1..=n).rev().map(f64::from).collect();
        check(vec![], None);
        check(vec![7.0], Some((7.0, 7.0, 7.0)));
        check(vec![2.0, 1.0], Some((1.0, 2.0, 2.0)));
        check(up_to(100), Some((50.0, 99.0, 100.0)));
        check(up_to(101), Some((51.0, 100.0, 101.0)));
        check(up_to(1000), Some((500.0, 990.0, 1000.0)));
    }
}
