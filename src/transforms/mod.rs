//! Beam's vocabulary: what can be done with collections.
//!
//! A transform is a method of [`PCollection`], or a value that implements [`PTransform`] and goes
//! through [`PCollection::apply`].
//!
//! - Element by element: [`par_do`], [`window_into`], [`flatten`], [`partition`].
//! - By key and window: [`group_by_key`], [`co_group_by_key`], [`combine`] with [`combiners`],
//!   [`distinct`], [`join`], [`reconcile`]. `group` is the operator below most of them;
//!   `multiset` counts values.
//! - With memory: [`stateful`], [`side_input`], [`deduplicate`], [`sequence_gaps`],
//!   [`reconstruct`], [`finalized`].
//! - At the ends: [`read`], [`mod@write`], [`dead`].

pub mod co_group_by_key;
pub mod combine;
pub mod combiners;
pub mod dead;
pub mod deduplicate;
pub mod distinct;
pub mod finalized;
pub mod flatten;
mod group;
pub mod group_by_key;
pub mod join;
pub(crate) mod multiset;
pub mod par_do;
pub mod partition;
pub mod read;
pub mod reconcile;
pub mod reconstruct;
pub mod sequence_gaps;
pub mod side_input;
pub mod stateful;
mod stepwise;
pub mod window_into;
pub mod write;

use crate::pcollection::{Data, PCollection};

/// A transform that is a value, so that it can be named, passed around and shared.
///
/// ```
/// use amend::prelude::*;
///
/// /// Counts words that are not too short.
/// struct LongWords(usize);
///
/// impl<'scope> PTransform<&PCollection<'scope, String>> for LongWords {
///     type Output = PCollection<'scope, (String, u64)>;
///
///     fn expand(self, lines: &PCollection<'scope, String>) -> Self::Output {
///         lines
///             .flat_map("words", |line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
///             .filter("long", move |word| word.len() >= self.0)
///             .count_per_element("count")
///     }
/// }
///
/// amend::run(&Options::default(), |p| {
///     let lines = p.create("lines", ["to be or not to be".to_owned(), "that is".to_owned()]);
///     let counts = lines.apply("long-words", LongWords(3));
///     let expected = [("not".to_owned(), 1), ("that".to_owned(), 1)];
///     PAssert::that("counts", &counts).contains_in_any_order(expected);
/// })?;
/// # Ok::<(), amend::Error>(())
/// ```
pub trait PTransform<Input> {
    /// What comes of it.
    type Output;

    /// Adds the steps of the transform to the pipeline.
    fn expand(self, input: Input) -> Self::Output;
}

impl<Input, Output, F: FnOnce(Input) -> Output> PTransform<Input> for F {
    type Output = Output;

    fn expand(self, input: Input) -> Output {
        self(input)
    }
}

impl<'scope, T: Data> PCollection<'scope, T> {
    /// Applies a transform; the names of its steps begin with `name`.
    pub fn apply<'a, X: PTransform<&'a Self>>(&'a self, name: &str, transform: X) -> X::Output {
        self.pipeline.within(name, || transform.expand(self))
    }
}
