//! One value out of all the values of a key and window.

use std::collections::BTreeMap;

use super::dead::keep_refused;
use super::group::group;
use super::multiset::add;
use crate::pcollection::{Data, Key, PCollection};
use crate::windowing::grouping::Fold;

/// Makes one value out of many, in whatever order and in whatever parts they come.
///
/// ```
/// use amend::prelude::*;
///
/// /// The distance between the least and the greatest.
/// #[derive(Clone)]
/// struct Spread;
///
/// impl CombineFn for Spread {
///     type Input = i64;
///     type Accumulator = Option<(i64, i64)>;
///     type Output = i64;
///
///     fn create(&self) -> Self::Accumulator {
///         None
///     }
///
///     fn add(&self, acc: &mut Self::Accumulator, value: &i64) {
///         self.merge(acc, Some((*value, *value)));
///     }
///
///     fn merge(&self, acc: &mut Self::Accumulator, other: Self::Accumulator) {
///         *acc = match (*acc, other) {
///             (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
///             (a, b) => a.or(b),
///         };
///     }
///
///     fn extract(&self, acc: &Self::Accumulator) -> i64 {
///         acc.map_or(0, |(least, greatest)| greatest - least)
///     }
/// }
///
/// amend::run(&Options::default(), |p| {
///     let numbers = p.create("numbers", [('a', 3), ('a', 10), ('b', 7)]);
///     let spreads = numbers.combine_per_key("spreads", Spread);
///     PAssert::that("s", &spreads).contains_in_any_order([('a', 7), ('b', 0)]);
/// })?;
/// # Ok::<(), amend::Error>(())
/// ```
pub trait CombineFn: 'static {
    /// What comes in.
    type Input: Data;
    /// What is held.
    type Accumulator: Clone + 'static;
    /// What goes out.
    type Output: Data;

    /// Whether [`CombineFn::remove`] is there, so that the values need not be kept for the case
    /// that one is taken back.
    const RETRACTABLE: bool = false;

    /// What holds nothing.
    fn create(&self) -> Self::Accumulator;

    /// Takes a value in.
    fn add(&self, accumulator: &mut Self::Accumulator, value: &Self::Input);

    /// Takes in what another accumulator holds. The order must not matter.
    fn merge(&self, accumulator: &mut Self::Accumulator, other: Self::Accumulator);

    /// What is let through.
    fn extract(&self, accumulator: &Self::Accumulator) -> Self::Output;

    /// Whether there is nothing to let through. A pane of a window that discards may be empty.
    fn is_empty(&self, accumulator: &Self::Accumulator) -> bool {
        let _ = accumulator;
        false
    }

    /// Takes a value out that was taken in; see [`CombineFn::RETRACTABLE`].
    fn remove(&self, accumulator: &mut Self::Accumulator, value: &Self::Input) {
        let _ = (accumulator, value);
    }

    /// Holds these values, which are in order, each as often as is said beside it. This is done
    /// where one was taken back and [`CombineFn::remove`] is not there.
    fn rebuild(&self, values: &BTreeMap<Self::Input, isize>) -> Self::Accumulator {
        let mut accumulator = self.create();
        for (value, times) in values {
            for _ in 0..*times {
                self.add(&mut accumulator, value);
            }
        }
        accumulator
    }
}

impl<'scope, K: Key, V: Data> PCollection<'scope, (K, V)> {
    /// Combines the values of every key and window.
    pub fn combine_per_key<C: CombineFn<Input = V>>(
        &self,
        name: &str,
        combine: C,
    ) -> PCollection<'scope, (K, C::Output)> {
        let step = self.pipeline.step(name);
        let keep_values = !self.append_only && !C::RETRACTABLE;
        let fold = Combining {
            combine,
            keep_values,
        };
        let (combined, refused) = group(&step, self, fold);
        keep_refused(&self.pipeline, &step, refused);
        combined
    }
}

impl<'scope, T: Data> PCollection<'scope, T> {
    /// Combines all values of every window. A window without elements gives nothing.
    pub fn combine_globally<C: CombineFn<Input = T>>(
        &self,
        name: &str,
        combine: C,
    ) -> PCollection<'scope, C::Output> {
        self.pipeline.within(name, || {
            self.with_keys("key", |_| ())
                .combine_per_key("combine", combine)
                .values("value")
        })
    }
}

/// Holds an accumulator, and the values where they may be needed again.
struct Combining<C> {
    combine: C,
    keep_values: bool,
}

struct Combined<C: CombineFn> {
    accumulator: C::Accumulator,
    values: BTreeMap<C::Input, isize>,
    /// Whether the accumulator still holds what was taken back.
    stale: bool,
}

impl<C: CombineFn> Clone for Combined<C> {
    fn clone(&self) -> Self {
        Combined {
            accumulator: self.accumulator.clone(),
            values: self.values.clone(),
            stale: self.stale,
        }
    }
}

impl<C: CombineFn> Fold for Combining<C> {
    type Value = C::Input;
    type Content = Combined<C>;
    type Output = C::Output;

    fn start(&self) -> Combined<C> {
        Combined {
            accumulator: self.combine.create(),
            values: BTreeMap::new(),
            stale: false,
        }
    }

    #[inline]
    fn add(&self, content: &mut Combined<C>, value: C::Input, diff: isize) {
        if diff > 0 {
            for _ in 0..diff {
                self.combine.add(&mut content.accumulator, &value);
            }
        } else if C::RETRACTABLE {
            for _ in 0..-diff {
                self.combine.remove(&mut content.accumulator, &value);
            }
        } else {
            content.stale = true;
        }
        if self.keep_values {
            add(&mut content.values, value, diff);
        }
    }

    fn absorb(&self, content: &mut Combined<C>, other: Combined<C>) {
        self.combine
            .merge(&mut content.accumulator, other.accumulator);
        content.stale |= other.stale;
        for (value, times) in other.values {
            add(&mut content.values, value, times);
        }
    }

    fn output(&self, content: &mut Combined<C>) -> Option<C::Output> {
        if content.stale {
            content.accumulator = self.combine.rebuild(&content.values);
            content.stale = false;
        }
        let held = &content.accumulator;
        (!self.combine.is_empty(held)).then(|| self.combine.extract(held))
    }
}
