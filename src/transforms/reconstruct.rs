//! What is missing in sequences, inferred from what is there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::multiset::add;
use super::sequence_gaps::{SequenceGap, gaps_at};
use super::stepwise::{self, Intake, Output, Steps, stepwise};
use crate::pcollection::{Data, Element, Key, PCollection};
use crate::time::EventTime;
use crate::windowing::Window;
use crate::windowing::grouping::Now;

/// A value that came, or one that was inferred in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reconstructed<T> {
    /// It came.
    Observed(T),
    /// It is missing, and was inferred.
    Inferred(T),
}

impl<T> Reconstructed<T> {
    /// The value, wherever it is from.
    pub fn into_value(self) -> T {
        match self {
            Reconstructed::Observed(value) | Reconstructed::Inferred(value) => value,
        }
    }

    /// Whether it was inferred.
    pub fn is_inferred(&self) -> bool {
        matches!(self, Reconstructed::Inferred(_))
    }
}

impl<'scope, T: Data> PCollection<'scope, T> {
    /// The collection with a value for every number that is missing in its sequences. `place` gives
    /// the stream and the number of a value; `infer` makes the value for a missing number out of
    /// the elements on either side. When the number comes after all, what was inferred is taken
    /// back. The event time of what is inferred is halfway between the two.
    ///
    /// Gaps of more than `max_width` numbers are not filled; they come out beside it, and are taken
    /// back when they are split or filled below the limit.
    ///
    /// **State.** All elements, for ever.
    ///
    /// ```
    /// use amend::prelude::*;
    ///
    /// amend::run(&Options::default(), |p| {
    ///     let readings = p.create("readings", [(1, 10), (2, 20), (4, 60)]);
    ///     let (whole, too_wide) = readings.reconstruct(
    ///         "interpolate",
    ///         100,
    ///         |(number, _)| ("sensor".to_owned(), *number),
    ///         |number, before, after| (number, (before.value.1 + after.value.1) / 2),
    ///     );
    ///     use Reconstructed::{Inferred, Observed};
    ///     PAssert::that("whole", &whole).contains_in_any_order([
    ///         Observed((1, 10)),
    ///         Observed((2, 20)),
    ///         Inferred((3, 40)),
    ///         Observed((4, 60)),
    ///     ]);
    ///     PAssert::that("too wide", &too_wide).is_empty();
    /// })?;
    /// # Ok::<(), amend::Error>(())
    /// ```
    pub fn reconstruct<S: Key>(
        &self,
        name: &str,
        max_width: u64,
        place: impl Fn(&T) -> (S, i64) + Clone + 'static,
        infer: impl Fn(i64, &Element<T>, &Element<T>) -> T + 'static,
    ) -> (
        PCollection<'scope, Reconstructed<T>>,
        PCollection<'scope, SequenceGap<S>>,
    ) {
        let step = self.pipeline.step(name);
        self.refuse_unmerged(&step);
        let of_route = place.clone();
        let route = move |element: &Element<T>| stepwise::route(&of_route(&element.value).0);
        let filling = Filling {
            place,
            infer,
            max_width,
            streams: HashMap::default(),
        };
        let (whole, too_wide) = stepwise(&step, Intake::of(self), route, filling);
        let (mut whole, mut too_wide) = (self.with(whole), self.with(too_wide));
        whole.append_only = false;
        too_wide.append_only = false;
        (whole, too_wide)
    }
}

/// The elements of a stream by number; of several with one number the earliest stands for all.
type Sequence<T> = BTreeMap<i64, BTreeMap<(EventTime, Element<T>), isize>>;

struct Filling<T, S, F, G> {
    place: F,
    infer: G,
    max_width: u64,
    streams: HashMap<(S, Window), Sequence<T>, foldhash::fast::RandomState>,
}

type Filled<T, S> = Output<Element<Reconstructed<T>>, Element<SequenceGap<S>>>;

impl<T: Data, S: Key, F, G: Fn(i64, &Element<T>, &Element<T>) -> T> Filling<T, S, F, G> {
    /// Says what the gap between `low` and `high` means.
    fn say(
        infer: &G,
        max_width: u64,
        stream: &S,
        sequence: &Sequence<T>,
        (low, high): (i64, i64),
        diff: isize,
        output: &mut Filled<T, S>,
    ) {
        let first = |number: i64| {
            let elements = sequence.get(&number)?;
            elements.keys().next().map(|(_, element)| element)
        };
        let (Some(before), Some(after)) = (first(low), first(high)) else {
            return;
        };
        let gap = SequenceGap {
            stream: stream.clone(),
            from: low + 1,
            to: high - 1,
        };
        if gap.width() > max_width {
            output.aside.push((after.with_value(gap), diff));
            return;
        }
        for number in gap.from..=gap.to {
            let value = Reconstructed::Inferred(infer(number, before, after));
            let mut element = after.with_value(value);
            element.event_time = before.event_time.midpoint(after.event_time);
            output.main.push((element, diff));
        }
    }
}

impl<T, S, F, G> Steps<Element<T>, Element<Reconstructed<T>>, Element<SequenceGap<S>>>
    for Filling<T, S, F, G>
where
    T: Data,
    S: Key,
    F: Fn(&T) -> (S, i64),
    G: Fn(i64, &Element<T>, &Element<T>) -> T,
{
    fn elements(&mut self, changes: Vec<(Element<T>, isize)>, _: Now, output: &mut Filled<T, S>) {
        let mut by_stream = BTreeMap::<(S, Window), Vec<(i64, Element<T>, isize)>>::new();
        for (element, diff) in changes {
            let (stream, number) = (self.place)(&element.value);
            let of_stream = by_stream.entry((stream, element.window)).or_default();
            of_stream.push((number, element, diff));
        }
        for (place, changes) in by_stream {
            let sequence = self.streams.entry(place.clone()).or_default();
            let numbers: BTreeSet<i64> = changes.iter().map(|change| change.0).collect();
            let gaps = |sequence: &Sequence<T>| -> BTreeSet<(i64, i64)> {
                let at = numbers.iter().flat_map(|number| gaps_at(sequence, *number));
                at.collect()
            };
            let (infer, most) = (&self.infer, self.max_width);
            for gap in gaps(sequence) {
                Self::say(infer, most, &place.0, sequence, gap, -1, output);
            }
            for (number, element, diff) in changes {
                let elements = sequence.entry(number).or_default();
                add(elements, (element.event_time, element.clone()), diff);
                if elements.is_empty() {
                    sequence.remove(&number);
                }
                output
                    .main
                    .push((element.map(Reconstructed::Observed), diff));
            }
            for gap in gaps(sequence) {
                Self::say(infer, most, &place.0, sequence, gap, 1, output);
            }
            if sequence.is_empty() {
                self.streams.remove(&place);
            }
        }
        differential_dataflow::consolidation::consolidate(&mut output.main);
        differential_dataflow::consolidation::consolidate(&mut output.aside);
    }

    fn tick(&mut self, _: Now, _: &mut Filled<T, S>) {}
}
