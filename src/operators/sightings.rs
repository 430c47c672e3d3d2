//! Ids seen in sequences: which sightings are copies, and which runs of ids are unbroken.
//!
//! **Semantics.** Input: sightings, each an id of a sequence at an event time. Two sightings are
//! copies of one event when their sequence, id and time are equal. One copy takes the seat: the
//! first valid one in the order of the input, or the first where none is valid. The output
//! `verdicts` says of every other copy, and of a seat that is not valid, what became of it; of a
//! valid copy in the seat it says nothing, because that is nearly all of them. The output `runs` is
//! a collection of maximal runs of consecutive ids that were seen, within groups of 256 ids: two
//! runs that touch at a multiple of 256 are not joined.
//!
//! **State.** One [`Spine`] of [`blocks`](super::blocks), keyed by sequence and id, which holds
//! the times and fingerprints; and the copies of events none of whose copies is valid, because a
//! valid one would change what was said of them. About 17 bytes an event. Nothing is let go.
//!
//! **Partitioning.** By (sequence, id / 256), so that one busy sequence uses every worker.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use differential_dataflow::trace::implementations::spine_fueled::Spine;
use differential_dataflow::trace::{Span, Trace, TraceReader};
use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::blocks::{Blocks, BlocksBuilder, Finder, Found};
use super::grouping::Grouping;
use super::per_epoch::{PerEpoch, epoch_of};
use super::{Label, Position, Print, SequenceKey, Verdict};
use crate::time::Epoch;

/// Ids in a group: what is sent to one worker, and what a run does not cross.
const GROUP_BITS: u32 = 8;
/// Blocks in a group.
const GROUP_BLOCKS: usize = 1 << (GROUP_BITS - 6);

/// The group of `id`: what is routed to one worker.
pub fn group_of(id: i64) -> i64 {
    id >> GROUP_BITS
}

/// One id seen at one event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting<S> {
    /// The sequence.
    pub stream: S,
    /// A small value of the sighting's own, which [`Run::last_tag`] hands on.
    pub tag: u32,
    /// The id.
    pub id: i64,
    /// The event time, in microseconds.
    pub time: i64,
    /// What the copy looks like.
    pub print: Print,
    /// The worker that read it, and its place among what this worker read in the epoch.
    pub reader: u32,
    /// See `reader`.
    pub index: u32,
}

/// A maximal run of consecutive ids that were seen, within a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The first id.
    pub first: i64,
    /// The last id.
    pub last: i64,
    /// The earliest time at which the first id was seen.
    pub first_time: i64,
    /// The latest time at which the last id was seen.
    pub last_time: i64,
    /// The tag of the last id's sighting at `last_time`, the first in the input among equals.
    /// 0 unless [`Config::tags`].
    pub last_tag: u32,
}

/// What [`sightings`] is asked for beside the runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Judge copies by id and time.
    pub verdicts: bool,
    /// Carry tags to the runs.
    pub tags: bool,
    /// Send every new (id, time) to `witnesses`.
    pub witnesses: bool,
}

/// What [`sightings`] says.
pub struct Sighted<'scope, S: SequenceKey> {
    /// What became of copies that did not simply take the seat.
    pub verdicts: StreamVec<'scope, Epoch, Verdict>,
    /// The runs of ids.
    pub runs: VecCollection<'scope, Epoch, (S, Run)>,
    /// The number of events that came to have a valid copy in the seat.
    pub kept: StreamVec<'scope, Epoch, u64>,
    /// Every (sequence, id, time) when it is first seen.
    pub witnesses: StreamVec<'scope, Epoch, (S, i64, i64)>,
}

/// Arranges `rows`, and says which are copies and which ids form runs.
///
/// `route` is a hash of the sequence and the group of ids; all workers must agree on it.
///
/// ```
/// use amend::operators::Print;
/// use amend::operators::sightings::{Config, Run, Sighting, sightings};
/// use timely::dataflow::operators::{Input, Inspect};
///
/// timely::execute_directly(|worker| {
///     let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
///     let out = seen.clone();
///     let mut input = worker.dataflow(|scope| {
///         let (input, rows) = scope.new_input::<Vec<_>>();
///         let config = Config { verdicts: true, ..Config::default() };
///         let sighted = sightings::<u32, _>(rows, config, |stream, group| {
///             u64::from(stream) ^ group as u64
///         });
///         sighted.runs.inner.inspect(move |((_, run), epoch, diff)| {
///             out.borrow_mut().push((run.first, run.last, *epoch, *diff));
///         });
///         input
///     });
///     let row = |id| Sighting {
///         stream: 1_u32,
///         tag: 0,
///         id,
///         time: 1000 * id,
///         print: Print::new(7, true),
///         reader: 0,
///         index: id as u32,
///     };
///     for id in [1, 2, 4] {
///         input.send(row(id));
///     }
///     input.advance_to(1);
///     input.send(row(3));
///     input.close();
///     while worker.has_dataflows() {
///         worker.step();
///     }
///     let mut seen = seen.borrow().clone();
///     seen.sort_by_key(|change| (change.2, change.3, change.0));
///     assert_eq!(seen, [(1, 2, 0, 1), (4, 4, 0, 1), (1, 2, 1, -1), (4, 4, 1, -1), (1, 4, 1, 1)]);
/// });
/// ```
pub fn sightings<'scope, S, H>(
    rows: StreamVec<'scope, Epoch, Sighting<S>>,
    config: Config,
    route: H,
) -> Sighted<'scope, S>
where
    S: SequenceKey,
    H: Fn(S, i64) -> u64 + 'static,
{
    let mut builder = OperatorBuilder::new("Sightings".to_owned(), rows.scope());
    let info = builder.operator_info();
    let exchange = Exchange::new(move |row: &Sighting<S>| route(row.stream, group_of(row.id)));
    let mut input = builder.new_input(rows, exchange);
    let (verdicts, verdicts_stream) = builder.new_output();
    let (runs, runs_stream) = builder.new_output();
    let (kept, kept_stream) = builder.new_output();
    let (witnesses, witnesses_stream) = builder.new_output();
    let mut verdicts = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(verdicts);
    let mut runs = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(runs);
    let mut kept = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(kept);
    let mut witnesses = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(witnesses);

    builder.build(move |_| {
        let mut waiting = PerEpoch::<Vec<Vec<Sighting<S>>>>::new(4);
        let mut arrangement = Arrangement::new(config, Spine::new(info, None, None));
        let mut said = Said::default();
        move |frontiers| {
            input.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).push(std::mem::take(data));
                }
            });
            let (mut verdicts, mut runs) = (verdicts.activate(), runs.activate());
            let (mut kept, mut witnesses) = (kept.activate(), witnesses.activate());
            while let Some((epoch, due)) = waiting.pop_passed(frontiers) {
                arrangement.apply(epoch, &due.data, &mut said);
                let caps = &due.capabilities;
                verdicts
                    .session(&caps[0])
                    .give_iterator(said.verdicts.drain(..));
                runs.session(&caps[1]).give_iterator(said.runs.drain(..));
                if said.kept > 0 {
                    kept.session(&caps[2]).give(std::mem::take(&mut said.kept));
                }
                witnesses
                    .session(&caps[3])
                    .give_iterator(said.witnesses.drain(..));
            }
        }
    });

    Sighted {
        verdicts: verdicts_stream,
        runs: runs_stream.as_collection(),
        kept: kept_stream,
        witnesses: witnesses_stream,
    }
}

/// What one epoch gave rise to.
#[derive(Debug)]
struct Said<S> {
    verdicts: Vec<Verdict>,
    runs: Vec<((S, Run), Epoch, isize)>,
    kept: u64,
    witnesses: Vec<(S, i64, i64)>,
}

impl<S> Default for Said<S> {
    fn default() -> Self {
        Said {
            verdicts: Vec::new(),
            runs: Vec::new(),
            kept: 0,
            witnesses: Vec::new(),
        }
    }
}

/// A copy of an event none of whose copies is valid.
#[derive(Clone, Copy, Debug)]
struct InvalidCopy {
    position: Position,
    print: Print,
}

/// The state of one worker: the trace, and what does not fit it.
struct Arrangement<S: SequenceKey> {
    config: Config,
    grouping: Grouping<S>,
    trace: Spine<Rc<Blocks<S>>>,
    /// The upper bound of the trace.
    upper: Epoch,
    /// All copies of every event whose seat is not valid, in the order of the input.
    invalid: HashMap<(S, i64, i64), Vec<InvalidCopy>>,
    /// The (time, tag) of ids that are the last of a run.
    tags: HashMap<(S, i64), (i64, u32)>,
    old_runs: Vec<Range<u16>>,
    new_runs: Vec<Range<u16>>,
}

impl<S: SequenceKey> Arrangement<S> {
    fn new(config: Config, trace: Spine<Rc<Blocks<S>>>) -> Self {
        Arrangement {
            config,
            grouping: Grouping::default(),
            trace,
            upper: 0,
            invalid: HashMap::new(),
            tags: HashMap::new(),
            old_runs: Vec::new(),
            new_runs: Vec::new(),
        }
    }

    /// Adds the sightings of one epoch, which comes after all epochs added before.
    fn apply(&mut self, epoch: Epoch, containers: &[Vec<Sighting<S>>], said: &mut Said<S>) {
        let rows = self.grouping.sort(containers);
        let batches = self
            .trace
            .batches_through(AntichainRef::new(&[]))
            .expect("the trace can be cut at its end");
        let mut finder = Finder::new(batches);
        let mut found = Vec::new();
        let mut builder = BlocksBuilder::default();
        for group in rows.chunk_by(|a, b| a.stream == b.stream && group_of(a.id) == group_of(b.id))
        {
            let from = group_of(group[0].id) << (GROUP_BITS - 6);
            let to = from + (GROUP_BLOCKS as i64 - 1);
            finder.seek(group[0].stream, from, to, &mut found);
            self.apply_group(epoch, group, &finder, &found, &mut builder, said);
        }
        self.grouping.rows = rows;
        if let Some(batch) = builder.done() {
            let since = Antichain::from_elem(0);
            let (lower, upper) = (
                Antichain::from_elem(self.upper),
                Antichain::from_elem(epoch + 1),
            );
            let description = differential_dataflow::trace::Description::new(lower, upper, since);
            self.trace
                .insert(Span::new(description, Some(Rc::new(batch))));
            self.upper = epoch + 1;
            // Nobody reads the past: let the spine merge all that it holds.
            self.trace
                .set_logical_compaction(AntichainRef::new(&[epoch + 1]));
            self.trace
                .set_physical_compaction(AntichainRef::new(&[epoch + 1]));
        }
    }

    /// Adds the sightings of one epoch in one group, sorted by id, time and position.
    fn apply_group(
        &mut self,
        epoch: Epoch,
        group: &[Sighting<S>],
        finder: &Finder<S>,
        found: &[Found],
        builder: &mut BlocksBuilder<S>,
        said: &mut Said<S>,
    ) {
        let stream = group[0].stream;
        let base = group_of(group[0].id) << GROUP_BITS;
        let mut old = Bits::default();
        for &place in found {
            let (block, mask) = finder.block(place);
            old.0[(block & (GROUP_BLOCKS as i64 - 1)) as usize] |= mask;
        }
        let mut new = old;
        let mut touched = Bits::default();
        for copies in group.chunk_by(|a, b| a.id == b.id && a.time == b.time) {
            let (id, time) = (copies[0].id, copies[0].time);
            let slot = (id - base) as u16;
            let seat = if old.contains(slot) {
                finder.print_of(found, id, time)
            } else {
                None
            };
            let seat = seat.map(Print::from_bits);
            let seated = if self.config.verdicts {
                self.judge(epoch, copies, seat, said)
            } else {
                seat.unwrap_or_default()
            };
            if seat != Some(seated) {
                builder.push(stream, id, time, seated.to_bits());
            }
            if seat.is_none() {
                new.insert(slot);
                touched.insert(slot);
                if self.config.witnesses {
                    said.witnesses.push((stream, id, time));
                }
            }
        }
        if touched.any() {
            self.renew_runs(epoch, group, finder, found, (old, new, touched), said);
        }
    }

    /// Says what becomes of `copies`, all of one event and in the order of the input, beside the
    /// print of the seat so far; returns that of the seat from now on.
    fn judge(
        &mut self,
        epoch: Epoch,
        copies: &[Sighting<S>],
        seat: Option<Print>,
        said: &mut Said<S>,
    ) -> Print {
        let position = |row: &Sighting<S>| Position {
            epoch,
            reader: row.reader,
            index: row.index,
        };
        // The common cases: a first sighting that is valid, a copy of one.
        if let (None, [only]) = (seat, copies)
            && only.print.is_valid()
        {
            said.kept += 1;
            return only.print;
        }
        if let Some(seat) = seat.filter(|seat| seat.is_valid()) {
            for copy in copies {
                let label = copy.print.label_beside(seat);
                said.verdicts.push(Verdict {
                    position: position(copy),
                    label,
                    open: false,
                    diff: 1,
                });
            }
            return seat;
        }
        // No valid copy came before.
        let event = (copies[0].stream, copies[0].id, copies[0].time);
        let earlier = self.invalid.remove(&event).unwrap_or_default();
        if let Some(winner) = copies.iter().position(|copy| copy.print.is_valid()) {
            let seat = copies[winner].print;
            said.kept += 1;
            for (place, copy) in earlier.iter().enumerate() {
                let before = label_among_invalid(&earlier, place);
                let position = copy.position;
                said.verdicts.push(Verdict {
                    position,
                    label: before,
                    open: true,
                    diff: -1,
                });
                let label = copy.print.label_beside(seat);
                said.verdicts.push(Verdict {
                    position,
                    label,
                    open: false,
                    diff: 1,
                });
            }
            for (place, copy) in copies.iter().enumerate() {
                if place != winner {
                    let label = copy.print.label_beside(seat);
                    let position = position(copy);
                    said.verdicts.push(Verdict {
                        position,
                        label,
                        open: false,
                        diff: 1,
                    });
                }
            }
            return seat;
        }
        let known = earlier.len();
        let mut all = earlier;
        all.extend(copies.iter().map(|copy| InvalidCopy {
            position: position(copy),
            print: copy.print,
        }));
        for place in known..all.len() {
            let label = label_among_invalid(&all, place);
            let position = all[place].position;
            said.verdicts.push(Verdict {
                position,
                label,
                open: true,
                diff: 1,
            });
        }
        let seat = all[0].print;
        self.invalid.insert(event, all);
        seat
    }

    /// Says how the runs of a group change from the ids `old` to the ids `new`, where the ids
    /// `touched` were seen at a new time.
    fn renew_runs(
        &mut self,
        epoch: Epoch,
        group: &[Sighting<S>],
        finder: &Finder<S>,
        found: &[Found],
        (old, new, touched): (Bits, Bits, Bits),
        said: &mut Said<S>,
    ) {
        let stream = group[0].stream;
        let base = group_of(group[0].id) << GROUP_BITS;
        let (mut old_runs, mut new_runs) = (
            std::mem::take(&mut self.old_runs),
            std::mem::take(&mut self.new_runs),
        );
        old.runs(&mut old_runs);
        new.runs(&mut new_runs);
        let unchanged = |runs: &[Range<u16>], run: &Range<u16>| {
            !touched.contains(run.start)
                && !touched.contains(run.end - 1)
                && runs
                    .binary_search_by_key(&run.start, |other| other.start)
                    .is_ok_and(|at| runs[at] == *run)
        };
        let id_at = |slot: u16| base + i64::from(slot);
        for run in old_runs.iter().filter(|run| !unchanged(&new_runs, run)) {
            let (first, last) = (id_at(run.start), id_at(run.end - 1));
            let first_span = finder
                .time_span(found, first)
                .expect("an old run's id was seen");
            let last_span = finder
                .time_span(found, last)
                .expect("an old run's id was seen");
            let last_tag = self.tags.get(&(stream, last)).map_or(0, |(_, tag)| *tag);
            let run = Run {
                first,
                last,
                first_time: first_span.0,
                last_time: last_span.1,
                last_tag,
            };
            said.runs.push(((stream, run), epoch, -1));
        }
        if self.config.tags {
            for run in &old_runs {
                let last = run.end - 1;
                if !new_runs.iter().any(|run| run.end - 1 == last) {
                    self.tags.remove(&(stream, id_at(last)));
                }
            }
        }
        for run in new_runs.iter().filter(|run| !unchanged(&old_runs, run)) {
            let (first, last) = (id_at(run.start), id_at(run.end - 1));
            let span = |id: i64| {
                let known = finder.time_span(found, id);
                let rows = rows_of(group, id);
                let fresh = rows
                    .first()
                    .map(|row| (row.time, rows[rows.len() - 1].time));
                match (known, fresh) {
                    (Some(a), Some(b)) => (a.0.min(b.0), a.1.max(b.1)),
                    (a, b) => a.or(b).expect("a new run's id was seen"),
                }
            };
            let (first_time, last_time) = (span(first).0, span(last).1);
            let last_tag = if self.config.tags {
                self.renew_tag(stream, last, group)
            } else {
                0
            };
            let run = Run {
                first,
                last,
                first_time,
                last_time,
                last_tag,
            };
            said.runs.push(((stream, run), epoch, 1));
        }
        self.old_runs = old_runs;
        self.new_runs = new_runs;
    }

    /// The tag of `id`, the last of a run, after the sightings of `group`.
    fn renew_tag(&mut self, stream: S, id: i64, group: &[Sighting<S>]) -> u32 {
        let rows = rows_of(group, id);
        let latest = rows.last().map(|last| {
            let first = rows.partition_point(|row| row.time < last.time);
            (last.time, rows[first].tag)
        });
        let known = self.tags.get(&(stream, id)).copied();
        let (time, tag) = match (known, latest) {
            (Some(known), Some(latest)) if latest.0 > known.0 => latest,
            (Some(known), _) => known,
            (None, latest) => latest.expect("an id that becomes the last of a run is new"),
        };
        self.tags.insert((stream, id), (time, tag));
        tag
    }
}

/// What is said of the copy at `place` among copies none of which is valid.
fn label_among_invalid(copies: &[InvalidCopy], place: usize) -> Label {
    if place == 0 {
        Label::Invalid
    } else {
        copies[place].print.label_beside(copies[0].print)
    }
}

/// The sightings of `id` in a group that is sorted by id.
fn rows_of<S>(group: &[Sighting<S>], id: i64) -> &[Sighting<S>] {
    let start = group.partition_point(|row| row.id < id);
    let length = group[start..].partition_point(|row| row.id == id);
    &group[start..start + length]
}

/// A set of the ids of one group, by their distance from its first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bits([u64; GROUP_BLOCKS]);

impl Bits {
    fn contains(self, slot: u16) -> bool {
        self.0[usize::from(slot >> 6)] & (1 << (slot & 63)) != 0
    }

    fn insert(&mut self, slot: u16) {
        self.0[usize::from(slot >> 6)] |= 1 << (slot & 63);
    }

    fn any(self) -> bool {
        self.0 != [0; GROUP_BLOCKS]
    }

    /// The maximal runs of members, ascending.
    fn runs(self, runs: &mut Vec<Range<u16>>) {
        runs.clear();
        for (word, &bits) in self.0.iter().enumerate() {
            let base = (word * 64) as u16;
            let mut at = 0;
            while at < 64 {
                let rest = bits >> at;
                if rest == 0 {
                    break;
                }
                let start = at + rest.trailing_zeros() as u16;
                let length = (bits >> start).trailing_ones() as u16;
                let run = base + start..base + start + length;
                match runs.last_mut() {
                    Some(last) if last.end == run.start => last.end = run.end,
                    _ => runs.push(run),
                }
                at = start + length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::workload::Random;

    #[test]
    fn runs_cover_exactly_the_members() {
        let mut random = Random::new(3);
        for round in 0..200 {
            let mut bits = Bits::default();
            for word in &mut bits.0 {
                let state = random.draw();
                *word = match round % 4 {
                    0 => state,
                    1 => state | state << 1 | state << 7,
                    2 => u64::MAX,
                    _ => state & (state >> 9) & (state >> 21),
                };
            }
            let mut runs = Vec::new();
            bits.runs(&mut runs);
            let covered: BTreeSet<u16> = runs.iter().cloned().flatten().collect();
            let members: BTreeSet<u16> = (0..256).filter(|slot| bits.contains(*slot)).collect();
            assert_eq!(covered, members);
            assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
