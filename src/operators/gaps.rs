//! Edges of groups of ids → the gaps between them.
//!
//! **Semantics.** Input: of every group of ids the first and the last that was seen, whenever they
//! change, and a collection of the gaps within groups (see [`sightings`](super::sightings)). Output:
//! the collection of all gaps, each the maximal run of missing ids between two that were seen, with
//! the times of its neighbours. At every epoch the output is the set of gaps of the input at that
//! epoch; only differences travel.
//!
//! **State.** The edges of every group, the uppermost of each sequence at hand, the others in a tree.
//! A gap costs the same however wide it is.
//!
//! **Partitioning.** By sequence.

use std::collections::{BTreeMap, HashMap};

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::SequenceKey;
use super::index::group_of;
use super::parcel::{Parcel, by_addressee};
use super::per_epoch::{PerEpoch, epoch_of};
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
    /// The tag of the id below, as [`Edge::last_tag`].
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

/// How the first and the last id of a group that were seen have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The first id, and the earliest time at which it was seen; none where both are as before.
    pub first: Option<(i64, i64)>,
    /// The last id.
    pub last: i64,
    /// The latest time at which it was seen.
    pub last_time: i64,
    /// The tag of the last id's sighting at `last_time`, the first in the input among equals.
    pub last_tag: u32,
}

/// The first and the last id of a group that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    first: i64,
    first_time: i64,
    last: i64,
    last_time: i64,
    last_tag: u32,
}

impl Extent {
    fn group(&self) -> i64 {
        group_of(self.last)
    }

    /// What it is once `edge` is known; of a group of which nothing is known yet, `edge` has both ends.
    fn renewed(before: Option<&Extent>, edge: &Edge) -> Extent {
        let known = || before.map(|before| (before.first, before.first_time));
        let (first, first_time) = edge.first.or_else(known).unwrap_or_default();
        Extent {
            first,
            first_time,
            last: edge.last,
            last_time: edge.last_time,
            last_tag: edge.last_tag,
        }
    }

    /// The gap between this group and one above, if there is one.
    fn gap_to(&self, above: &Extent) -> Option<Gap> {
        (self.last + 1 < above.first).then_some(Gap {
            below: self.last,
            above: above.first,
            below_time: self.last_time,
            above_time: above.first_time,
            below_tag: self.last_tag,
        })
    }
}

/// All gaps: those `within` groups, and those between groups whose `edges` these are; `route` is a
/// hash of the sequence, which has also told where the edges go.
///
/// ```
/// use amend::operators::gaps::{Edge, gaps};
/// use amend::operators::parcel::Parcel;
/// use differential_dataflow::input::Input as _;
/// use timely::dataflow::operators::Input as _;
///
/// timely::execute_directly(|worker| {
///     let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
///     let out = seen.clone();
///     let (mut within, mut edges) = worker.dataflow(|scope| {
///         let (within, gaps_within) = scope.new_collection();
///         let (edges, edge_stream) = scope.new_input::<Vec<_>>();
///         gaps::<u32, _>(gaps_within, edge_stream, u64::from)
///             .inspect(move |((_, gap), _, diff)| out.borrow_mut().push((gap.from(), gap.to(), *diff)));
///         (within, edges)
///     });
///     within.close();
///     let edge = |first, last| Edge { first: Some((first, 0)), last, last_time: 0, last_tag: 0 };
///     edges.send(Parcel { from: 0, to: 0, rows: vec![(1, edge(1, 3)), (1, edge(900, 901))] });
///     edges.advance_to(1);
///     edges.send(Parcel { from: 0, to: 0, rows: vec![(1, edge(300, 300))] });
///     edges.close();
///     while worker.has_dataflows() {
///         worker.step();
///     }
///     assert_eq!(*seen.borrow(), [(4, 899, 1), (4, 299, 1), (4, 899, -1), (301, 899, 1)]);
/// });
/// ```
pub fn gaps<'scope, S, H>(
    within: VecCollection<'scope, Epoch, (S, Gap)>,
    edges: StreamVec<'scope, Epoch, Parcel<(S, Edge)>>,
    route: H,
) -> VecCollection<'scope, Epoch, (S, Gap)>
where
    S: SequenceKey,
    H: Fn(S) -> u64 + 'static,
{
    let mut builder = OperatorBuilder::new("Gaps".to_owned(), edges.scope());
    let exchange = Exchange::new(move |update: &((S, Gap), Epoch, isize)| route(update.0.0));
    let mut within = builder.new_input(within.inner, exchange);
    let mut edges = builder.new_input(edges, by_addressee());
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    builder.build(move |_| {
        let mut waiting = PerEpoch::<Changes<S>>::new(1);
        let mut known = Edges::default();
        move |frontiers| {
            within.for_each(|capability, data| {
                for changes in data.chunk_by(|a, b| a.1 == b.1) {
                    let at = waiting.at(changes[0].1, &capability);
                    let changes = changes.iter().map(|&(gap, _, diff)| (gap, diff));
                    at.within.extend(changes);
                }
            });
            edges.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).edges.append(data);
                }
            });
            let mut output = output.activate();
            while let Some((epoch, due)) = waiting.pop_passed(frontiers) {
                let mut changes = due.data.within;
                for rows in due.data.edges.iter().map(|parcel| &parcel.rows) {
                    for rows in rows.chunks(FETCHED_TOGETHER) {
                        known.fetch(rows);
                        for (stream, edge) in rows {
                            known.renew(*stream, edge, &mut changes);
                        }
                    }
                }
                consolidate(&mut changes);
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

/// What arrived for an epoch.
struct Changes<S> {
    within: Vec<((S, Gap), isize)>,
    edges: Vec<Parcel<(S, Edge)>>,
}

impl<S> Default for Changes<S> {
    fn default() -> Self {
        Changes {
            within: Vec::new(),
            edges: Vec::new(),
        }
    }
}

/// The edges of all groups.
struct Edges<S> {
    /// Those of each sequence's uppermost group, which is the one that grows.
    tops: HashMap<S, Extent, foldhash::fast::RandomState>,
    /// Those of the groups below, by sequence and group.
    others: BTreeMap<(S, i64), Extent>,
}

impl<S> Default for Edges<S> {
    fn default() -> Self {
        Edges {
            tops: HashMap::default(),
            others: BTreeMap::new(),
        }
    }
}

/// Edges that are looked at together before they are changed.
const FETCHED_TOGETHER: usize = 16;

impl<S: SequenceKey> Edges<S> {
    /// Looks at what is about to be changed, so that the processor waits for the memory of all of it at
    /// once.
    fn fetch(&self, rows: &[(S, Edge)]) {
        let tops = rows.iter().filter_map(|(stream, _)| self.tops.get(stream));
        std::hint::black_box(tops.map(|top| top.last).fold(0, i64::wrapping_add));
    }

    /// Takes note of a group's edges, and appends how the gaps beside the group change.
    fn renew(&mut self, stream: S, edge: &Edge, changes: &mut Vec<((S, Gap), isize)>) {
        let Some(top) = self.tops.get_mut(&stream) else {
            self.tops.insert(stream, Extent::renewed(None, edge));
            return;
        };
        let group = group_of(edge.last);
        let is_top = group == top.group();
        if is_top && edge.first.is_none() {
            *top = Extent::renewed(Some(top), edge);
            return;
        }
        let mut change = |below: Option<&Extent>, above: Option<&Extent>, diff| {
            let gap = below
                .zip(above)
                .and_then(|(below, above)| below.gap_to(above));
            changes.extend(gap.map(|gap| ((stream, gap), diff)));
        };
        if group > top.group() {
            let after = Extent::renewed(None, edge);
            change(Some(top), Some(&after), 1);
            let below = std::mem::replace(top, after);
            self.others.insert((stream, below.group()), below);
            return;
        }
        let others = &mut self.others;
        let below = others.range(..(stream, group)).next_back();
        let below = below.filter(|((of, _), _)| *of == stream);
        let below = below.map(|(_, extent)| *extent);
        let (before, after, above);
        if is_top {
            after = Extent::renewed(Some(top), edge);
            before = Some(std::mem::replace(top, after));
            above = None;
        } else {
            after = Extent::renewed(others.get(&(stream, group)), edge);
            before = others.insert((stream, group), after);
            let next = others.range((stream, group + 1)..).next();
            let next = next.filter(|((of, _), _)| *of == stream);
            above = Some(next.map_or(*top, |(_, extent)| *extent));
        }
        match &before {
            None => change(below.as_ref(), above.as_ref(), -1),
            Some(before) => {
                change(below.as_ref(), Some(before), -1);
                change(Some(before), above.as_ref(), -1);
            }
        }
        change(below.as_ref(), Some(&after), 1);
        change(Some(&after), above.as_ref(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::workload::Random;

    #[test]
    fn oracle_changes_add_up_to_the_gaps_there_are() {
        let mut random = Random::new(9);
        for _ in 0..100 {
            let mut known = Edges::default();
            let mut plain = BTreeMap::<(u8, i64), Extent>::new();
            let mut said = Vec::new();
            for _ in 0..random.below(60) {
                let stream = random.below(2) as u8;
                let group = random.below(8) as i64 - 4;
                let before = plain.get(&(stream, group));
                let first = 256 * group + random.below(4) as i64;
                let first = (first, random.below(2) as i64);
                let stays = before.is_some() && random.chance(0.5);
                let edge = Edge {
                    first: (!stays).then_some(first),
                    last: 256 * group + [3, 9, 255][random.below(3) as usize],
                    last_time: random.below(2) as i64,
                    last_tag: random.below(2) as u32,
                };
                known.renew(stream, &edge, &mut said);
                plain.insert((stream, group), Extent::renewed(before, &edge));
                consolidate(&mut said);
                let edges: Vec<_> = plain.iter().collect();
                let pairs = edges.windows(2).filter(|pair| pair[0].0.0 == pair[1].0.0);
                let mut expected: Vec<_> = pairs
                    .filter_map(|pair| Some(((pair[0].0.0, pair[0].1.gap_to(pair[1].1)?), 1)))
                    .collect();
                expected.sort_unstable();
                assert_eq!(said, expected);
            }
        }
    }
}
