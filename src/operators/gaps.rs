//! Runs of ids → the gaps between them.
//!
//! **Semantics.** Input: a collection of runs of ids that were seen, disjoint within a sequence
//! (see [`sightings`](super::sightings)). Output: a collection of the gaps, each the maximal run
//! of missing ids between two that were seen, with the times of its neighbours. At every epoch the
//! output is the set of gaps of the input at that epoch; only differences travel.
//!
//! **State.** One entry a run, in a tree. A gap costs the same however wide it is.
//!
//! **Partitioning.** By sequence.

use std::collections::BTreeMap;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::SequenceKey;
use super::per_epoch::PerEpoch;
use super::sightings::Run;
use crate::time::Epoch;

/// A maximal run of missing ids between two ids that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gap {
    /// The nearest id below that was seen.
    pub below: i64,
    /// The nearest id above that was seen.
    pub above: i64,
    /// The latest time of the id below.
    pub below_time: i64,
    /// The earliest time of the id above.
    pub above_time: i64,
    /// The tag of the id below, as [`Run::last_tag`].
    pub below_tag: u32,
}

impl Gap {
    /// The first missing id.
    pub fn from(&self) -> i64 {
        self.below + 1
    }

    /// The last missing id.
    pub fn to(&self) -> i64 {
        self.above - 1
    }

    /// The number of missing ids; at most 2^64 - 2.
    pub fn width(&self) -> u64 {
        self.above.wrapping_sub(self.below) as u64 - 1
    }
}

type Runs<S> = BTreeMap<(S, i64), Run>;

/// The gaps between `runs`; `route` is a hash of the sequence.
///
/// ```
/// use amend::operators::gaps::gaps;
/// use amend::operators::sightings::Run;
/// use differential_dataflow::input::Input;
///
/// timely::execute_directly(|worker| {
///     let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
///     let out = seen.clone();
///     let mut input = worker.dataflow(|scope| {
///         let (input, runs) = scope.new_collection();
///         gaps::<u32, _>(runs, |stream| stream.into())
///             .inspect(move |((_, gap), _, diff)| out.borrow_mut().push((gap.from(), gap.to(), *diff)));
///         input
///     });
///     let run = |first, last| Run { first, last, first_time: 0, last_time: 0, last_tag: 0 };
///     input.insert((1, run(1, 3)));
///     input.insert((1, run(9, 9)));
///     input.advance_to(1);
///     input.insert((1, run(5, 5)));
///     input.close();
///     while worker.has_dataflows() {
///         worker.step();
///     }
///     assert_eq!(*seen.borrow(), [(4, 8, 1), (4, 4, 1), (4, 8, -1), (6, 8, 1)]);
/// });
/// ```
pub fn gaps<'scope, S, H>(
    runs: VecCollection<'scope, Epoch, (S, Run)>,
    route: H,
) -> VecCollection<'scope, Epoch, (S, Gap)>
where
    S: SequenceKey,
    H: Fn(S) -> u64 + 'static,
{
    let mut builder = OperatorBuilder::new("Gaps".to_owned(), runs.inner.scope());
    let exchange = Exchange::new(move |update: &((S, Run), Epoch, isize)| route(update.0.0));
    let mut input = builder.new_input(runs.inner, exchange);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    builder.build(move |_| {
        let mut waiting = PerEpoch::<Vec<((S, Run), isize)>>::new(1);
        let mut runs = Runs::<S>::new();
        let mut changes = Vec::new();
        move |frontiers| {
            input.for_each(|capability, data| {
                for (run, epoch, diff) in data.drain(..) {
                    waiting.at(epoch, &capability).push((run, diff));
                }
            });
            let mut output = output.activate();
            while let Some((epoch, mut due)) = waiting.pop_passed(frontiers) {
                renew(&mut runs, &mut due.data, &mut changes);
                output.session(&due.capabilities[0]).give_iterator(
                    changes
                        .drain(..)
                        .map(|(gap, diff): ((S, Gap), isize)| (gap, epoch, diff)),
                );
            }
        }
    });
    stream.as_collection()
}

/// Applies `updates` to `runs`, and puts what changes about the gaps into `changes`.
///
/// A gap changes only beside a run that changes, so the gaps that follow those runs and their
/// predecessors are taken before and after.
fn renew<S: SequenceKey>(
    runs: &mut Runs<S>,
    updates: &mut Vec<((S, Run), isize)>,
    changes: &mut Vec<((S, Gap), isize)>,
) {
    changes.clear();
    consolidate(updates);
    let mut edges: Vec<(S, i64)> = updates
        .iter()
        .map(|((s, run), _)| (*s, run.first))
        .collect();
    edges.dedup();
    take_gaps(runs, &edges, -1, changes);
    for ((stream, run), diff) in updates.iter() {
        if *diff < 0 {
            runs.remove(&(*stream, run.first));
        }
    }
    for ((stream, run), diff) in updates.iter() {
        if *diff > 0 {
            runs.insert((*stream, run.first), *run);
        }
    }
    take_gaps(runs, &edges, 1, changes);
    consolidate(changes);
}

/// Appends the gaps that follow the runs at `edges`, and those that follow their predecessors,
/// each once.
fn take_gaps<S: SequenceKey>(
    runs: &Runs<S>,
    edges: &[(S, i64)],
    diff: isize,
    changes: &mut Vec<((S, Gap), isize)>,
) {
    let mut taken: Option<(S, i64)> = None;
    for edge in edges {
        let before = runs
            .range(..*edge)
            .next_back()
            .filter(|((stream, _), _)| *stream == edge.0);
        let at = runs.get_key_value(edge);
        for (key, run) in [before, at].into_iter().flatten() {
            if taken.is_some_and(|taken| *key <= taken) {
                continue;
            }
            taken = Some(*key);
            let next = runs
                .range((std::ops::Bound::Excluded(*key), std::ops::Bound::Unbounded))
                .next();
            if let Some(((stream, above), next)) = next
                && *stream == key.0
                && run.last + 1 < *above
            {
                let gap = Gap {
                    below: run.last,
                    above: *above,
                    below_time: run.last_time,
                    above_time: next.first_time,
                    below_tag: run.last_tag,
                };
                changes.push(((key.0, gap), diff));
            }
        }
    }
}
