//! Where numbers are missing in sequences.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::stepwise::{self, Intake, Output, Steps, stepwise};
use crate::pcollection::{Data, Element, Key, PCollection};
use crate::time::EventTime;
use crate::windowing::grouping::Now;
use crate::windowing::{PaneInfo, Window};

/// A maximal run of sequence numbers that are missing between two that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SequenceGap<S> {
    /// The sequence.
    pub stream: S,
    /// The first missing number.
    pub from: i64,
    /// The last missing number.
    pub to: i64,
}

impl<S> SequenceGap<S> {
    /// How many numbers are missing.
    pub fn width(&self) -> u64 {
        self.to.abs_diff(self.from).saturating_add(1)
    }
}

impl<'scope, T: Data> PCollection<'scope, T> {
    /// The gaps in the sequences of a collection, of which `place` gives the stream and the number
    /// of an element. A gap is taken back when it is filled or split; its event time is that of the
    /// element behind it.
    ///
    /// **State.** The numbers of every stream, for ever.
    ///
    /// ```
    /// use amend::prelude::*;
    ///
    /// amend::run(&Options::default(), |p| {
    ///     let trades = p.create("trades", [("btc".to_owned(), 1), ("btc".to_owned(), 4)]);
    ///     let gaps = trades.sequence_gaps("gaps", |trade| trade.clone());
    ///     let expected = SequenceGap { stream: "btc".to_owned(), from: 2, to: 3 };
    ///     PAssert::that("gaps", &gaps).contains_in_any_order([expected]);
    /// })?;
    /// # Ok::<(), amend::Error>(())
    /// ```
    pub fn sequence_gaps<S: Key>(
        &self,
        name: &str,
        place: impl Fn(&T) -> (S, i64) + Clone + 'static,
    ) -> PCollection<'scope, SequenceGap<S>> {
        let step = self.pipeline.step(name);
        self.refuse_unmerged(&step);
        let of_route = place.clone();
        let route = move |element: &Element<T>| stepwise::route(&of_route(&element.value).0);
        let numbers = Numbers {
            place,
            streams: HashMap::default(),
        };
        let (gaps, _) = stepwise::<_, _, ()>(&step, Intake::of(self), route, numbers);
        let mut output = self.with(gaps);
        output.append_only = false;
        output
    }
}

/// The numbers of a stream, each with the event times of its elements.
type Sequence = BTreeMap<i64, BTreeMap<EventTime, isize>>;

struct Numbers<S, F> {
    place: F,
    streams: HashMap<(S, Window), Sequence, foldhash::fast::RandomState>,
}

/// The neighbours of a number, and the number itself where it is there.
pub(super) fn around<V>(sequence: &BTreeMap<i64, V>, number: i64) -> [Option<i64>; 3] {
    let before = sequence.range(..number).next_back().map(|(at, _)| *at);
    let itself = sequence.contains_key(&number).then_some(number);
    let after = number.checked_add(1).and_then(|next| {
        let mut behind = sequence.range(next..);
        behind.next().map(|(at, _)| *at)
    });
    [before, itself, after]
}

/// The pairs of numbers next to `number` between which others are missing.
pub(super) fn gaps_at<V>(sequence: &BTreeMap<i64, V>, number: i64) -> Vec<(i64, i64)> {
    let there: Vec<i64> = around(sequence, number).into_iter().flatten().collect();
    let pairs = there.windows(2).map(|pair| (pair[0], pair[1]));
    // The difference of two numbers that are in order is never 0, and may not fit into an i64.
    pairs
        .filter(|(low, high)| high.abs_diff(*low) > 1)
        .collect()
}

impl<T, S: Key, F: Fn(&T) -> (S, i64)> Steps<Element<T>, Element<SequenceGap<S>>, ()>
    for Numbers<S, F>
{
    fn elements(
        &mut self,
        changes: Vec<(Element<T>, isize)>,
        _: Now,
        output: &mut Output<Element<SequenceGap<S>>, ()>,
    ) {
        let mut by_stream = BTreeMap::<(S, Window), Vec<(i64, EventTime, isize)>>::new();
        for (element, diff) in changes {
            let (stream, number) = (self.place)(&element.value);
            let of_stream = by_stream.entry((stream, element.window)).or_default();
            of_stream.push((number, element.event_time, diff));
        }
        for ((stream, window), changes) in by_stream {
            let place = (stream, window);
            let sequence = self.streams.entry(place.clone()).or_default();
            let numbers: BTreeSet<i64> = changes.iter().map(|change| change.0).collect();
            let mut say = |sequence: &Sequence, diff: isize| {
                let gaps: BTreeSet<_> = numbers
                    .iter()
                    .flat_map(|number| gaps_at(sequence, *number))
                    .collect();
                for (low, high) in gaps {
                    let behind = sequence.get(&high).and_then(|times| times.keys().next());
                    let gap = SequenceGap {
                        stream: place.0.clone(),
                        from: low + 1,
                        to: high - 1,
                    };
                    let element = Element {
                        value: gap,
                        event_time: behind.copied().unwrap_or(EventTime::MIN),
                        window,
                        pane: PaneInfo::NO_FIRING,
                    };
                    output.main.push((element, diff));
                }
            };
            say(sequence, -1);
            for (number, event_time, diff) in changes {
                let times = sequence.entry(number).or_default();
                super::multiset::add(times, event_time, diff);
                if times.is_empty() {
                    sequence.remove(&number);
                }
            }
            say(sequence, 1);
            if sequence.is_empty() {
                self.streams.remove(&place);
            }
        }
        differential_dataflow::consolidation::consolidate(&mut output.main);
    }

    fn tick(&mut self, _: Now, _: &mut Output<Element<SequenceGap<S>>, ()>) {}
}
