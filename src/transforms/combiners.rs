//! The combinations that everybody needs.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use foldhash::quality::FixedState;
use hyperloglogplus::{HyperLogLog, HyperLogLogPlus};
use ordered_float::OrderedFloat;

use super::combine::CombineFn;
use super::multiset::{add, copies};
use crate::pcollection::{Data, Key, PCollection};

/// How many values there are.
#[derive(Clone, Copy, Debug)]
pub struct Count<T>(PhantomData<T>);

/// The sum. It does not depend on the order: integers are added without overflow and held at the
/// ends of their type, floating-point numbers are added in the order of their values.
#[derive(Clone, Copy, Debug)]
pub struct Sum<T>(PhantomData<T>);

/// The arithmetic mean; of integers it is exact until the last division.
#[derive(Clone, Copy, Debug)]
pub struct Mean<T>(PhantomData<T>);

/// The least value.
#[derive(Clone, Copy, Debug)]
pub struct Min<T>(PhantomData<T>);

/// The greatest value.
#[derive(Clone, Copy, Debug)]
pub struct Max<T>(PhantomData<T>);

/// The greatest values, greatest first.
#[derive(Clone, Copy, Debug)]
pub struct Top<T> {
    number: usize,
    values: PhantomData<T>,
}

/// About how many different values there are (HyperLogLog++, within about 0.8 % of the truth in two
/// cases of three).
#[derive(Clone, Copy, Debug)]
pub struct ApproximateCountDistinct<T>(PhantomData<T>);

macro_rules! default_and_new {
    ($($name:ident),*) => {$(
        impl<T> Default for $name<T> {
            fn default() -> Self {
                $name(PhantomData)
            }
        }
    )*};
}
default_and_new!(Count, Sum, Mean, Min, Max, ApproximateCountDistinct);

impl<T> Top<T> {
    /// The `number` greatest values.
    pub fn of(number: usize) -> Self {
        Top {
            number,
            values: PhantomData,
        }
    }
}

impl<T: Data> CombineFn for Count<T> {
    type Input = T;
    type Accumulator = u64;
    type Output = u64;
    const RETRACTABLE: bool = true;

    fn create(&self) -> u64 {
        0
    }

    #[inline]
    fn add(&self, count: &mut u64, _: &T) {
        *count = count.wrapping_add(1);
    }

    fn merge(&self, count: &mut u64, other: u64) {
        *count = count.wrapping_add(other);
    }

    fn extract(&self, count: &u64) -> u64 {
        *count
    }

    fn remove(&self, count: &mut u64, _: &T) {
        // Within an epoch a value may be taken out before it is put in.
        *count = count.wrapping_sub(1);
    }
}

/// What can be summed up.
pub trait Summand: Data {
    /// What holds a sum so that nothing of it is lost.
    type Exact: Default + Clone + 'static;

    /// Adds `self` to `sum`, `times` times.
    fn add_to(&self, sum: &mut Self::Exact, times: isize);

    /// Adds another sum.
    fn merge(sum: &mut Self::Exact, other: Self::Exact);

    /// The sum as a value.
    fn total(sum: &Self::Exact) -> Self;

    /// The sum divided by how many values are in it.
    fn mean(sum: &Self::Exact, count: u64) -> f64;
}

macro_rules! integer_summands {
    ($($int:ty),*) => {$(
        impl Summand for $int {
            type Exact = i128;

            #[inline]
            fn add_to(&self, sum: &mut i128, times: isize) {
                *sum = sum.wrapping_add(i128::from(*self).wrapping_mul(times as i128));
            }

            fn merge(sum: &mut i128, other: i128) {
                *sum = sum.wrapping_add(other);
            }

            fn total(sum: &i128) -> Self {
                let ends = i128::from(<$int>::MIN)..=i128::from(<$int>::MAX);
                (*sum).clamp(*ends.start(), *ends.end()) as $int
            }

            fn mean(sum: &i128, count: u64) -> f64 {
                *sum as f64 / count as f64
            }
        }
    )*};
}
integer_summands!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Summand for OrderedFloat<f64> {
    /// Every value with how often it is there: what comes and goes leaves no trace.
    type Exact = BTreeMap<OrderedFloat<f64>, isize>;

    fn add_to(&self, sum: &mut Self::Exact, times: isize) {
        // The two zeros are equal, so that which of them is held would depend on which comes first.
        let value = if self.0 == 0.0 {
            OrderedFloat(0.0)
        } else {
            *self
        };
        add(sum, value, times);
    }

    fn merge(sum: &mut Self::Exact, other: Self::Exact) {
        for (value, times) in other {
            add(sum, value, times);
        }
    }

    fn total(sum: &Self::Exact) -> Self {
        let terms = sum.iter().map(|(value, times)| value.0 * *times as f64);
        OrderedFloat(terms.sum())
    }

    fn mean(sum: &Self::Exact, count: u64) -> f64 {
        Self::total(sum).0 / count as f64
    }
}

impl<T: Summand> CombineFn for Sum<T> {
    type Input = T;
    type Accumulator = T::Exact;
    type Output = T;
    const RETRACTABLE: bool = true;

    fn create(&self) -> T::Exact {
        T::Exact::default()
    }

    #[inline]
    fn add(&self, sum: &mut T::Exact, value: &T) {
        value.add_to(sum, 1);
    }

    fn merge(&self, sum: &mut T::Exact, other: T::Exact) {
        T::merge(sum, other);
    }

    fn extract(&self, sum: &T::Exact) -> T {
        T::total(sum)
    }

    fn remove(&self, sum: &mut T::Exact, value: &T) {
        value.add_to(sum, -1);
    }
}

impl<T: Summand> CombineFn for Mean<T> {
    type Input = T;
    type Accumulator = (T::Exact, u64);
    type Output = OrderedFloat<f64>;
    const RETRACTABLE: bool = true;

    fn create(&self) -> Self::Accumulator {
        (T::Exact::default(), 0)
    }

    fn add(&self, (sum, count): &mut Self::Accumulator, value: &T) {
        value.add_to(sum, 1);
        *count = count.wrapping_add(1);
    }

    fn merge(&self, (sum, count): &mut Self::Accumulator, other: Self::Accumulator) {
        T::merge(sum, other.0);
        *count = count.wrapping_add(other.1);
    }

    fn extract(&self, (sum, count): &Self::Accumulator) -> OrderedFloat<f64> {
        OrderedFloat(if *count == 0 {
            0.0
        } else {
            T::mean(sum, *count)
        })
    }

    fn remove(&self, (sum, count): &mut Self::Accumulator, value: &T) {
        value.add_to(sum, -1);
        *count = count.wrapping_sub(1);
    }
}

macro_rules! extremes {
    ($($name:ident $better:ident $first:ident),*) => {$(
        impl<T: Data> CombineFn for $name<T> {
            type Input = T;
            type Accumulator = Option<T>;
            type Output = T;

            fn create(&self) -> Option<T> {
                None
            }

            fn add(&self, held: &mut Option<T>, value: &T) {
                if held.as_ref().is_none_or(|held| value.cmp(held).$better()) {
                    *held = Some(value.clone());
                }
            }

            fn merge(&self, held: &mut Option<T>, other: Option<T>) {
                if let Some(value) = other {
                    self.add(held, &value);
                }
            }

            fn extract(&self, held: &Option<T>) -> T {
                held.clone().expect("nobody asks for the extreme of nothing")
            }

            fn is_empty(&self, held: &Option<T>) -> bool {
                held.is_none()
            }

            fn rebuild(&self, values: &BTreeMap<T, isize>) -> Option<T> {
                values.keys().$first().cloned()
            }
        }
    )*};
}
extremes!(Min is_lt min, Max is_gt max);

impl<T: Data> CombineFn for Top<T> {
    type Input = T;
    /// Greatest first.
    type Accumulator = Vec<T>;
    type Output = Vec<T>;

    fn create(&self) -> Vec<T> {
        Vec::new()
    }

    fn add(&self, top: &mut Vec<T>, value: &T) {
        let at = top.partition_point(|held| held >= value);
        if at < self.number {
            top.insert(at, value.clone());
            top.truncate(self.number);
        }
    }

    fn merge(&self, top: &mut Vec<T>, other: Vec<T>) {
        other.iter().for_each(|value| self.add(top, value));
    }

    fn extract(&self, top: &Vec<T>) -> Vec<T> {
        top.clone()
    }

    fn rebuild(&self, values: &BTreeMap<T, isize>) -> Vec<T> {
        let greatest_first = values.iter().rev();
        let all = greatest_first.flat_map(|(value, times)| copies(value, *times));
        all.take(self.number).cloned().collect()
    }
}

impl<T: Data + Hash> CombineFn for ApproximateCountDistinct<T> {
    type Input = T;
    type Accumulator = HyperLogLogPlus<T, FixedState>;
    type Output = u64;

    fn create(&self) -> Self::Accumulator {
        // Workers and replays must come to the same number, so the seed is fixed; 14 bits are
        // within what the sketch takes.
        HyperLogLogPlus::new(14, FixedState::with_seed(1)).expect("14 bits are allowed")
    }

    fn add(&self, sketch: &mut Self::Accumulator, value: &T) {
        sketch.insert(value);
    }

    fn merge(&self, sketch: &mut Self::Accumulator, other: Self::Accumulator) {
        sketch.merge(&other).expect("all sketches have 14 bits");
    }

    fn extract(&self, sketch: &Self::Accumulator) -> u64 {
        sketch.clone().count().round() as u64
    }
}

impl<'scope, K: Key, V: Data> PCollection<'scope, (K, V)> {
    /// How many values every key and window has.
    pub fn count_per_key(&self, name: &str) -> PCollection<'scope, (K, u64)> {
        self.combine_per_key(name, Count::default())
    }

    /// The sum of the values of every key and window; see [`Sum`].
    pub fn sum_per_key(&self, name: &str) -> PCollection<'scope, (K, V)>
    where
        V: Summand,
    {
        self.combine_per_key(name, Sum::default())
    }

    /// The mean of the values of every key and window; see [`Mean`].
    pub fn mean_per_key(&self, name: &str) -> PCollection<'scope, (K, OrderedFloat<f64>)>
    where
        V: Summand,
    {
        self.combine_per_key(name, Mean::default())
    }

    /// The least value of every key and window.
    pub fn min_per_key(&self, name: &str) -> PCollection<'scope, (K, V)> {
        self.combine_per_key(name, Min::default())
    }

    /// The greatest value of every key and window.
    pub fn max_per_key(&self, name: &str) -> PCollection<'scope, (K, V)> {
        self.combine_per_key(name, Max::default())
    }

    /// The `number` greatest values of every key and window, greatest first.
    pub fn top_per_key(&self, name: &str, number: usize) -> PCollection<'scope, (K, Vec<V>)> {
        self.combine_per_key(name, Top::of(number))
    }

    /// About how many different values every key and window has.
    pub fn approximate_count_distinct_per_key(&self, name: &str) -> PCollection<'scope, (K, u64)>
    where
        V: Hash,
    {
        self.combine_per_key(name, ApproximateCountDistinct::default())
    }
}

impl<'scope, T: Data> PCollection<'scope, T> {
    /// How many elements every window has.
    pub fn count_globally(&self, name: &str) -> PCollection<'scope, u64> {
        self.combine_globally(name, Count::default())
    }

    /// The sum of the elements of every window; see [`Sum`].
    pub fn sum_globally(&self, name: &str) -> PCollection<'scope, T>
    where
        T: Summand,
    {
        self.combine_globally(name, Sum::default())
    }

    /// The mean of the elements of every window; see [`Mean`].
    pub fn mean_globally(&self, name: &str) -> PCollection<'scope, OrderedFloat<f64>>
    where
        T: Summand,
    {
        self.combine_globally(name, Mean::default())
    }

    /// The least element of every window.
    pub fn min_globally(&self, name: &str) -> PCollection<'scope, T> {
        self.combine_globally(name, Min::default())
    }

    /// The greatest element of every window.
    pub fn max_globally(&self, name: &str) -> PCollection<'scope, T> {
        self.combine_globally(name, Max::default())
    }

    /// How often every value is there, in every window.
    pub fn count_per_element(&self, name: &str) -> PCollection<'scope, (T, u64)>
    where
        T: Hash,
    {
        self.pipeline.within(name, || {
            self.map("key", |value| (value, ())).count_per_key("count")
        })
    }

    /// The `number` greatest elements of every window, greatest first.
    pub fn top_globally(&self, name: &str, number: usize) -> PCollection<'scope, Vec<T>> {
        self.combine_globally(name, Top::of(number))
    }
}
