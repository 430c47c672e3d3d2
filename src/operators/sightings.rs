//! Ids seen in sequences: which sightings are copies, and where ids are missing.
//!
//! **Semantics.** Input: sightings, each an id of a sequence at an event time. Two sightings are
//! copies of one event when their sequence, id and time are equal. One copy takes the seat: the
//! first valid one in the order of the input, or the first where none is valid. The output
//! `verdicts` says of every other copy, and of a seat that is not valid, what became of it; of a
//! valid copy in the seat it says nothing, because that is nearly all of them. Ids lie in groups of
//! 256. The output `gaps` is the collection of gaps between two ids of one group; `edges` says of
//! every group whose first or last id changes which they are now. [`gaps`](super::gaps::gaps) has
//! from both all gaps there are.
//!
//! **State.** An [`index`](super::index) of the times and fingerprints; and the copies of events none
//! of whose copies is valid, because a valid one would change what was said of them. About 13 bytes
//! an event in a dense sequence. Nothing is let go.
//!
//! **Partitioning.** By (sequence, id / 256), so that one busy sequence uses every worker.

use std::collections::HashMap;

use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::gaps::{Edge, Gap};
use super::index::{Bits, Index, NOT_TOUCHED, first_id_of, group_of, slot_of};
use super::parcel::{Dealer, Parcel, Spare, by_addressee};
use super::per_epoch::{PerEpoch, epoch_of};
use super::{Label, Position, Print, SequenceKey, Verdict};
use crate::time::Epoch;

/// One id seen at one event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting<S> {
    /// The sequence.
    pub stream: S,
    /// A small value of the sighting's own, which [`Gap::below_tag`] hands on.
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

/// What [`sightings`] is asked for beside the gaps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Judge copies by id and time.
    pub verdicts: bool,
    /// Carry tags to the gaps; else they are 0.
    pub tags: bool,
    /// Send every new (id, time) to `witnesses`.
    pub witnesses: bool,
}

/// What [`sightings`] says.
pub struct Sighted<'scope, S: SequenceKey> {
    /// What became of copies that did not simply take the seat.
    pub verdicts: StreamVec<'scope, Epoch, Verdict>,
    /// The gaps within groups.
    pub gaps: VecCollection<'scope, Epoch, (S, Gap)>,
    /// The first and the last id of every group where they, or their times, change.
    pub edges: StreamVec<'scope, Epoch, Parcel<(S, Edge)>>,
    /// The number of events that came to have a valid copy in the seat.
    pub kept: StreamVec<'scope, Epoch, u64>,
    /// Every (sequence, id, time) when it is first seen.
    pub witnesses: StreamVec<'scope, Epoch, (S, i64, i64)>,
}

/// Arranges `rows`, and says which are copies and where ids are missing.
///
/// The rows of a group, a sequence's ids that share [`group_of`], must all come to one worker; and
/// those that one worker has read in an epoch in one parcel, in the order in which it read them.
/// `home` is a hash of the sequence, which says where its edges go. Vectors go back to `spare`.
///
/// ```
/// use amend::operators::Print;
/// use amend::operators::gaps::gaps;
/// use amend::operators::parcel::{Dealer, Spare};
/// use amend::operators::sightings::{Config, Sighting, sightings};
/// use timely::dataflow::operators::Input;
///
/// timely::execute_directly(|worker| {
///     let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
///     let out = seen.clone();
///     let mut input = worker.dataflow(|scope| {
///         let (input, rows) = scope.new_input::<Vec<_>>();
///         let sighted = sightings::<u32, _>(rows, Config::default(), u64::from, Spare::default());
///         gaps(sighted.gaps, sighted.edges, u64::from).inspect(move |((_, gap), epoch, diff)| {
///             out.borrow_mut().push((gap.from(), gap.to(), *epoch, *diff));
///         });
///         input
///     });
///     let mut dealer = Dealer::new(0, 1, Spare::default());
///     for (epoch, ids) in [vec![1, 2, 9], vec![4]].into_iter().enumerate() {
///         for (index, id) in ids.into_iter().enumerate() {
///             let row = Sighting {
///                 stream: 1_u32,
///                 tag: 0,
///                 id,
///                 time: 1000 * id,
///                 print: Print::new(7, true),
///                 reader: 0,
///                 index: index as u32,
///             };
///             dealer.push(0, row);
///         }
///         dealer.parcels().for_each(|parcel| input.send(parcel));
///         input.advance_to(epoch as u64 + 1);
///     }
///     input.close();
///     while worker.has_dataflows() {
///         worker.step();
///     }
///     let mut seen = seen.borrow().clone();
///     seen.sort_by_key(|change| (change.2, change.3, change.0));
///     assert_eq!(seen, [(3, 8, 0, 1), (3, 8, 1, -1), (3, 3, 1, 1), (5, 8, 1, 1)]);
/// });
/// ```
pub fn sightings<'scope, S, H>(
    rows: StreamVec<'scope, Epoch, Parcel<Sighting<S>>>,
    config: Config,
    home: H,
    spare: Spare<Sighting<S>>,
) -> Sighted<'scope, S>
where
    S: SequenceKey,
    H: Fn(S) -> u64 + 'static,
{
    let scope = rows.scope();
    let (worker, workers) = (scope.index() as u32, scope.peers() as u32);
    let mut builder = OperatorBuilder::new("Sightings".to_owned(), scope);
    let mut input = builder.new_input(rows, by_addressee());
    let (verdicts, verdicts_stream) = builder.new_output();
    let (gaps, gaps_stream) = builder.new_output();
    let (edges, edges_stream) = builder.new_output();
    let (kept, kept_stream) = builder.new_output();
    let (witnesses, witnesses_stream) = builder.new_output();
    let mut verdicts = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(verdicts);
    let mut gaps = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(gaps);
    let mut edges = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(edges);
    let mut kept = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(kept);
    let mut witnesses = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(witnesses);

    builder.build(move |_| {
        let mut waiting = PerEpoch::<Vec<Parcel<Sighting<S>>>>::new(5);
        let mut arrangement = Arrangement::new(config);
        let mut dealer = Dealer::new(worker, workers, Spare::default());
        let mut said = Said::default();
        move |frontiers| {
            input.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).append(data);
                }
            });
            let (mut verdicts, mut gaps) = (verdicts.activate(), gaps.activate());
            let (mut edges, mut kept) = (edges.activate(), kept.activate());
            let mut witnesses = witnesses.activate();
            while let Some((epoch, mut due)) = waiting.pop_passed(frontiers) {
                arrangement.apply(epoch, &mut due.data, &mut said);
                for parcel in due.data.drain(..) {
                    spare.give_back(parcel.rows);
                }
                let caps = &due.capabilities;
                verdicts
                    .session(&caps[0])
                    .give_iterator(said.verdicts.drain(..));
                gaps.session(&caps[1]).give_iterator(said.gaps.drain(..));
                for (stream, edge) in said.edges.drain(..) {
                    dealer.push(home(stream), (stream, edge));
                }
                edges.session(&caps[2]).give_iterator(dealer.parcels());
                if said.kept > 0 {
                    kept.session(&caps[3]).give(std::mem::take(&mut said.kept));
                }
                witnesses
                    .session(&caps[4])
                    .give_iterator(said.witnesses.drain(..));
            }
        }
    });

    Sighted {
        verdicts: verdicts_stream,
        gaps: gaps_stream.as_collection(),
        edges: edges_stream,
        kept: kept_stream,
        witnesses: witnesses_stream,
    }
}

/// What one epoch gave rise to.
#[derive(Debug)]
struct Said<S> {
    verdicts: Vec<Verdict>,
    gaps: Vec<((S, Gap), Epoch, isize)>,
    edges: Vec<(S, Edge)>,
    kept: u64,
    witnesses: Vec<(S, i64, i64)>,
}

impl<S> Default for Said<S> {
    fn default() -> Self {
        Said {
            verdicts: Vec::new(),
            gaps: Vec::new(),
            edges: Vec::new(),
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

/// A group that the epoch at hand touches.
#[derive(Clone, Copy, Debug)]
struct Touched<S> {
    stream: S,
    group: i64,
    number: u32,
    /// The ids that were seen before.
    before: Bits,
    /// Whether ids that were seen before were seen at further times.
    retimed: bool,
}

/// The state of one worker: the index, and what does not fit it.
struct Arrangement<S: SequenceKey> {
    config: Config,
    index: Index<S>,
    /// All copies of every event whose seat is not valid, in the order of the input.
    invalid: HashMap<(S, i64, i64), Vec<InvalidCopy>>,
    /// The (time, tag) of ids that have a gap above or are the last of their group.
    tags: HashMap<(S, i64), (i64, u32)>,
    epoch: OfEpoch<S>,
}

/// What is known of the epoch at hand only.
struct OfEpoch<S> {
    /// The groups of the rows of one parcel.
    numbers: Vec<u32>,
    touched: Vec<Touched<S>>,
    /// Sightings that are not valid, or whose event has no valid copy in the seat.
    doubtful: Vec<Sighting<S>>,
    /// The earliest and the latest time before this epoch of ids that were seen at further times,
    /// by the number of the group.
    spans: HashMap<(u32, u8), (i64, i64), foldhash::fast::RandomState>,
    /// The latest (time, tag) of every id, the first in the input among equals; where tags matter.
    tags: HashMap<(S, i64), (i64, u32)>,
    gaps_before: Vec<Gap>,
    gaps_after: Vec<Gap>,
}

impl<S> Default for OfEpoch<S> {
    fn default() -> Self {
        OfEpoch {
            numbers: Vec::new(),
            touched: Vec::new(),
            doubtful: Vec::new(),
            spans: HashMap::default(),
            tags: HashMap::new(),
            gaps_before: Vec::new(),
            gaps_after: Vec::new(),
        }
    }
}

impl<S: SequenceKey> Arrangement<S> {
    fn new(config: Config) -> Self {
        Arrangement {
            config,
            index: Index::default(),
            invalid: HashMap::new(),
            tags: HashMap::new(),
            epoch: OfEpoch::default(),
        }
    }

    /// Adds the sightings of one epoch, which comes after all epochs added before.
    fn apply(&mut self, epoch: Epoch, parcels: &mut [Parcel<Sighting<S>>], said: &mut Said<S>) {
        // In the order of the input.
        parcels.sort_unstable_by_key(|parcel| parcel.from);
        let mut numbers = std::mem::take(&mut self.epoch.numbers);
        for parcel in parcels.iter() {
            // All groups are found before the first is looked into: so the processor waits for the
            // memory of many at a time.
            numbers.clear();
            let groups = parcel.rows.iter().map(|row| {
                let group = group_of(row.id);
                self.index.number(row.stream, group)
            });
            numbers.extend(groups);
            for (row, number) in parcel.rows.iter().zip(&numbers) {
                self.sight(epoch, row, *number, said);
            }
        }
        self.epoch.numbers = numbers;
        if !self.epoch.doubtful.is_empty() {
            self.judge_doubtful(epoch, said);
        }
        let touched = std::mem::take(&mut self.epoch.touched);
        for touched in &touched {
            self.say_gaps(epoch, touched, said);
            self.index.group_mut(touched.number).touched = NOT_TOUCHED;
        }
        self.epoch.touched = touched;
        self.epoch.touched.clear();
        self.epoch.spans.clear();
        self.epoch.tags.clear();
    }

    /// Takes note of a sighting, unless what it says of its event must wait until all copies of the
    /// epoch are known.
    #[inline]
    fn sight(&mut self, epoch: Epoch, row: &Sighting<S>, number: u32, said: &mut Said<S>) {
        let slot = slot_of(row.id);
        let group = self.index.group_mut(number);
        if group.touched == NOT_TOUCHED {
            group.touched = self.epoch.touched.len() as u32;
            self.epoch.touched.push(Touched {
                stream: row.stream,
                group: group_of(row.id),
                number,
                before: *group.ids(),
                retimed: false,
            });
        }
        if self.config.tags {
            let latest = (row.time, row.tag);
            let known = self.epoch.tags.entry((row.stream, row.id));
            let known = known.or_insert(latest);
            if row.time > known.0 {
                *known = latest;
            }
        }
        let seat = group.print_at(slot, row.time);
        if !self.config.verdicts {
            if seat.is_none() {
                self.seat(row, number, Print::default(), said);
            }
            return;
        }
        match seat {
            None if row.print.is_valid() => {
                said.kept += 1;
                self.seat(row, number, row.print, said);
            }
            Some(seat) if seat.is_valid() => said.verdicts.push(Verdict {
                position: position(epoch, row),
                label: row.print.label_beside(seat),
                open: false,
                diff: 1,
            }),
            // Either a later copy takes the seat, or this one has none yet.
            _ => self.epoch.doubtful.push(*row),
        }
    }

    /// Gives the seat of an event that was not seen before to a copy with this print.
    #[inline]
    fn seat(&mut self, row: &Sighting<S>, number: u32, print: Print, said: &mut Said<S>) {
        let slot = slot_of(row.id);
        let group = self.index.group_mut(number);
        if group.ids().contains(slot) {
            let touched = &mut self.epoch.touched[group.touched as usize];
            if touched.before.contains(slot) {
                touched.retimed = true;
                let spans = self.epoch.spans.entry((number, slot));
                spans.or_insert_with(|| group.time_span(slot));
            }
        }
        group.insert(slot, row.time, print);
        if self.config.witnesses {
            said.witnesses.push((row.stream, row.id, row.time));
        }
    }

    /// Judges the sightings that had to wait, event by event.
    #[cold]
    fn judge_doubtful(&mut self, epoch: Epoch, said: &mut Said<S>) {
        let mut doubtful = std::mem::take(&mut self.epoch.doubtful);
        let event = |row: &Sighting<S>| (row.stream, row.id, row.time);
        doubtful.sort_unstable_by_key(|row| (event(row), row.reader, row.index));
        for copies in doubtful.chunk_by(|a, b| event(a) == event(b)) {
            let first = &copies[0];
            let slot = slot_of(first.id);
            let number = self.index.number(first.stream, group_of(first.id));
            let seat = self.index.group(number).print_at(slot, first.time);
            let seated = self.judge(epoch, copies, seat, said);
            match seat {
                None => self.seat(first, number, seated, said),
                Some(seat) if seat != seated => {
                    let group = self.index.group_mut(number);
                    group.set_print(slot, first.time, seated);
                }
                Some(_) => {}
            }
        }
        doubtful.clear();
        self.epoch.doubtful = doubtful;
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
        let position = |row: &Sighting<S>| position(epoch, row);
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

    /// Says how the gaps and the edges of a group have changed.
    fn say_gaps(&mut self, epoch: Epoch, touched: &Touched<S>, said: &mut Said<S>) {
        let (stream, number) = (touched.stream, touched.number);
        let (before, after) = (touched.before, *self.index.group(number).ids());
        if before == after && !touched.retimed {
            return;
        }
        let mut gaps_before = std::mem::take(&mut self.epoch.gaps_before);
        let mut gaps_after = std::mem::take(&mut self.epoch.gaps_after);
        gaps_before.clear();
        gaps_after.clear();
        let first_id = first_id_of(touched.group);
        let id_at = |slot: u8| first_id + i64::from(slot);
        let tag_before = |slot| {
            let known = self.tags.get(&(stream, id_at(slot)));
            known.map_or(0, |(_, tag)| *tag)
        };
        let span_before = |slot| self.span_before(touched, slot);
        before.for_each_gap(|below, above| {
            gaps_before.push(Gap {
                below: id_at(below),
                above: id_at(above),
                below_time: span_before(below).1,
                above_time: span_before(above).0,
                below_tag: tag_before(below),
            });
        });
        let edges = before.first().zip(before.last());
        let edge_before = edges.map(|(first, last)| Edge {
            group: touched.group,
            first: id_at(first),
            first_time: span_before(first).0,
            last: id_at(last),
            last_time: span_before(last).1,
            last_tag: tag_before(last),
        });
        if self.config.tags {
            self.renew_tags(stream, first_id, &before, &after);
        }
        let tag_after = |slot| {
            let known = self.tags.get(&(stream, id_at(slot)));
            known.map_or(0, |(_, tag)| *tag)
        };
        let group = self.index.group(number);
        after.for_each_gap(|below, above| {
            gaps_after.push(Gap {
                below: id_at(below),
                above: id_at(above),
                below_time: group.time_span(below).1,
                above_time: group.time_span(above).0,
                below_tag: tag_after(below),
            });
        });
        let edges = after.first().zip(after.last());
        let edge_after = edges.map(|(first, last)| Edge {
            group: touched.group,
            first: id_at(first),
            first_time: group.time_span(first).0,
            last: id_at(last),
            last_time: group.time_span(last).1,
            last_tag: tag_after(last),
        });
        if let Some(edge) = edge_after.filter(|_| edge_before != edge_after) {
            said.edges.push((stream, edge));
        }
        // Both are in order, and nearly all of them stand in both.
        let (mut gone, mut come) = (&gaps_before[..], &gaps_after[..]);
        while let Some(gap) = gone.first().into_iter().chain(come.first()).min().copied() {
            let was = take_if(&mut gone, &gap);
            let is = take_if(&mut come, &gap);
            if was != is {
                let diff = if is { 1 } else { -1 };
                said.gaps.push(((stream, gap), epoch, diff));
            }
        }
        self.epoch.gaps_before = gaps_before;
        self.epoch.gaps_after = gaps_after;
    }

    /// The earliest and the latest time of an id that was seen before the epoch at hand, then.
    fn span_before(&self, touched: &Touched<S>, slot: u8) -> (i64, i64) {
        let retimed = touched
            .retimed
            .then(|| self.epoch.spans.get(&(touched.number, slot)).copied());
        let group = self.index.group(touched.number);
        retimed.flatten().unwrap_or_else(|| group.time_span(slot))
    }

    /// Keeps the tags of ids that have a gap above or are the last of their group, and of no others.
    fn renew_tags(&mut self, stream: S, first_id: i64, before: &Bits, after: &Bits) {
        let ends = |ids: &Bits| {
            let mut ends: Vec<u8> = Vec::new();
            ids.for_each_gap(|below, _| ends.push(below));
            ends.extend(ids.last());
            ends
        };
        let (ends_before, ends_after) = (ends(before), ends(after));
        for slot in ends_before.iter().filter(|slot| !ends_after.contains(slot)) {
            self.tags.remove(&(stream, first_id + i64::from(*slot)));
        }
        for slot in ends_after {
            let key = (stream, first_id + i64::from(slot));
            if let Some(latest) = self.epoch.tags.get(&key) {
                let known = self.tags.entry(key).or_insert(*latest);
                if latest.0 > known.0 {
                    *known = *latest;
                }
            }
        }
    }
}

/// The position of a sighting of `epoch`.
fn position<S>(epoch: Epoch, row: &Sighting<S>) -> Position {
    Position {
        epoch,
        reader: row.reader,
        index: row.index,
    }
}

/// Takes the first of `gaps`, if it is this one.
fn take_if(gaps: &mut &[Gap], gap: &Gap) -> bool {
    let is_first = gaps.first() == Some(gap);
    if is_first {
        *gaps = &gaps[1..];
    }
    is_first
}

/// What is said of the copy at `place` among copies none of which is valid.
fn label_among_invalid(copies: &[InvalidCopy], place: usize) -> Label {
    if place == 0 {
        Label::Invalid
    } else {
        copies[place].print.label_beside(copies[0].print)
    }
}
