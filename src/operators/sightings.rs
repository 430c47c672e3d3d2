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
use super::index::{Bits, Group, Index, NOT_TOUCHED, first_id_of, group_of, slot_of};
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
    /// What became of copies that did not simply take the seat, and in which epoch.
    pub verdicts: StreamVec<'scope, Epoch, (Epoch, Verdict)>,
    /// The gaps within groups.
    pub gaps: VecCollection<'scope, Epoch, (S, Gap)>,
    /// The first and the last id of every group where they, or their times, change.
    pub edges: StreamVec<'scope, Epoch, Parcel<(S, Edge)>>,
    /// The number of events that came to have a valid copy in the seat, by epoch.
    pub kept: StreamVec<'scope, Epoch, (Epoch, i64)>,
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
                let stamped = said.verdicts.drain(..).map(|verdict| (epoch, verdict));
                verdicts.session(&caps[0]).give_iterator(stamped);
                gaps.session(&caps[1]).give_iterator(said.gaps.drain(..));
                for (stream, edge) in said.edges.drain(..) {
                    dealer.push(home(stream), (stream, edge));
                }
                edges.session(&caps[2]).give_iterator(dealer.parcels());
                if said.kept > 0 {
                    kept.session(&caps[3])
                        .give((epoch, std::mem::take(&mut said.kept)));
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
    kept: i64,
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

/// A group with sightings in the epoch at hand.
#[derive(Clone, Copy, Debug)]
struct Touched<S> {
    stream: S,
    group: i64,
    number: u32,
    /// How many sightings it has; then where the next of them is put, and at last where they end.
    place: u32,
}

/// The state of one worker: the index, and what does not fit it.
struct Arrangement<S: SequenceKey> {
    config: Config,
    index: Index<S>,
    /// All copies of every event whose seat is not valid, in the order of the input.
    invalid: HashMap<(S, i64, i64), Vec<InvalidCopy>>,
    /// The (time, tag) of ids that have a gap above or are the last of their group.
    tags: Tags<S>,
    dealt: Dealt<S>,
    /// Of the group at hand.
    at_hand: AtHand<S>,
}

/// The sightings of an epoch, dealt to their groups.
#[derive(Debug)]
struct Dealt<S> {
    /// Which of the groups each row belongs to.
    groups_of_rows: Vec<u32>,
    groups: Vec<Touched<S>>,
    /// The rows, group by group, and each group's in the order of the input.
    rows: Vec<Sighting<S>>,
}

/// What is known of the group at hand before this epoch, where it is not what is known of it now.
#[derive(Debug)]
struct AtHand<S> {
    /// The ids that were seen.
    before: Bits,
    /// The earliest and the latest time of ids that have come to be seen at further times.
    spans: Vec<(u8, (i64, i64))>,
    /// Sightings that are not valid, or whose event has no valid copy in the seat.
    doubtful: Vec<Sighting<S>>,
    gaps_before: Vec<Gap>,
    gaps_after: Vec<Gap>,
}

impl<S> Default for Dealt<S> {
    fn default() -> Self {
        Dealt {
            groups_of_rows: Vec::new(),
            groups: Vec::new(),
            rows: Vec::new(),
        }
    }
}

impl<S> Default for AtHand<S> {
    fn default() -> Self {
        AtHand {
            before: Bits::default(),
            spans: Vec::new(),
            doubtful: Vec::new(),
            gaps_before: Vec::new(),
            gaps_after: Vec::new(),
        }
    }
}

impl<S: SequenceKey> Dealt<S> {
    /// Deals the rows of `parcels` to their groups, which `index` then knows.
    fn deal(&mut self, index: &mut Index<S>, parcels: &[Parcel<Sighting<S>>]) {
        self.groups_of_rows.clear();
        self.groups.clear();
        // The groups of all rows are found before the first is looked into, so that the processor
        // waits for the memory of many at a time.
        for parcel in parcels {
            let numbers = parcel.rows.iter().map(|row| {
                let group = group_of(row.id);
                index.number(row.stream, group)
            });
            self.groups_of_rows.extend(numbers);
        }
        let rows = || parcels.iter().flat_map(|parcel| &parcel.rows);
        for (row, group_of_row) in rows().zip(&mut self.groups_of_rows) {
            let number = *group_of_row;
            let touched = index.touched(number);
            if *touched == NOT_TOUCHED {
                *touched = self.groups.len() as u32;
                self.groups.push(Touched {
                    stream: row.stream,
                    group: group_of(row.id),
                    number,
                    place: 0,
                });
            }
            *group_of_row = *touched;
            self.groups[*touched as usize].place += 1;
        }
        let mut next = 0;
        for group in &mut self.groups {
            let count = std::mem::replace(&mut group.place, next);
            next += count;
        }
        self.rows.clear();
        if let Some(any) = rows().next() {
            self.rows.resize(next as usize, *any);
        }
        for (row, group) in rows().zip(&self.groups_of_rows) {
            let place = &mut self.groups[*group as usize].place;
            self.rows[*place as usize] = *row;
            *place += 1;
        }
    }
}

/// Groups that are looked at together before they are changed.
const FETCHED_TOGETHER: usize = 16;

impl<S: SequenceKey> Arrangement<S> {
    fn new(config: Config) -> Self {
        Arrangement {
            config,
            index: Index::default(),
            invalid: HashMap::new(),
            tags: HashMap::new(),
            dealt: Dealt::default(),
            at_hand: AtHand::default(),
        }
    }

    /// Adds the sightings of one epoch, which comes after all epochs added before.
    fn apply(&mut self, epoch: Epoch, parcels: &mut [Parcel<Sighting<S>>], said: &mut Said<S>) {
        // In the order of the input.
        parcels.sort_unstable_by_key(|parcel| parcel.from);
        let mut dealt = std::mem::take(&mut self.dealt);
        dealt.deal(&mut self.index, parcels);
        let mut from = 0;
        for (at, touched) in dealt.groups.iter().enumerate() {
            if at % FETCHED_TOGETHER == 0 {
                let next = dealt.groups.iter().skip(at).take(FETCHED_TOGETHER);
                self.index.fetch(next.map(|touched| touched.number));
            }
            let to = touched.place as usize;
            self.apply_group(epoch, touched, &dealt.rows[from..to], said);
            from = to;
        }
        self.dealt = dealt;
    }

    /// Adds the sightings of one epoch in one group, in the order of the input.
    fn apply_group(
        &mut self,
        epoch: Epoch,
        touched: &Touched<S>,
        rows: &[Sighting<S>],
        said: &mut Said<S>,
    ) {
        *self.index.touched(touched.number) = NOT_TOUCHED;
        let group = self.index.group_mut(touched.number);
        self.at_hand.before = *group.ids();
        self.at_hand.spans.clear();
        for row in rows {
            let seat = group.print_at(slot_of(row.id), row.time);
            let seated = match seat {
                None if !self.config.verdicts => Some(Print::default()),
                Some(_) if !self.config.verdicts => None,
                None if row.print.is_valid() => {
                    said.kept += 1;
                    Some(row.print)
                }
                Some(seat) if seat.is_valid() => {
                    said.verdicts.push(Verdict {
                        position: position(epoch, row),
                        label: row.print.label_beside(seat),
                        open: false,
                        diff: 1,
                    });
                    None
                }
                // Either a later copy takes the seat, or this one has none yet.
                _ => {
                    self.at_hand.doubtful.push(*row);
                    None
                }
            };
            if let Some(print) = seated {
                self.at_hand.seat(group, row, print);
                if self.config.witnesses {
                    said.witnesses.push((row.stream, row.id, row.time));
                }
            }
        }
        if !self.at_hand.doubtful.is_empty() {
            self.judge_doubtful(epoch, touched.number, said);
        }
        let changed = self.index.group(touched.number).ids() != &self.at_hand.before;
        if changed || !self.at_hand.spans.is_empty() {
            self.say_gaps(epoch, touched, rows, said);
        }
    }

    /// Judges the sightings of a group that had to wait, event by event.
    #[cold]
    fn judge_doubtful(&mut self, epoch: Epoch, number: u32, said: &mut Said<S>) {
        let mut doubtful = std::mem::take(&mut self.at_hand.doubtful);
        doubtful.sort_unstable_by_key(|row| (row.id, row.time, row.reader, row.index));
        for copies in doubtful.chunk_by(|a, b| (a.id, a.time) == (b.id, b.time)) {
            let first = &copies[0];
            let slot = slot_of(first.id);
            let seat = self.index.group(number).print_at(slot, first.time);
            let seated = self.judge(epoch, copies, seat, said);
            let group = self.index.group_mut(number);
            match seat {
                None => {
                    self.at_hand.seat(group, first, seated);
                    if self.config.witnesses {
                        said.witnesses.push((first.stream, first.id, first.time));
                    }
                }
                Some(seat) if seat != seated => group.set_print(slot, first.time, seated),
                Some(_) => {}
            }
        }
        doubtful.clear();
        self.at_hand.doubtful = doubtful;
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
    fn say_gaps(
        &mut self,
        epoch: Epoch,
        touched: &Touched<S>,
        rows: &[Sighting<S>],
        said: &mut Said<S>,
    ) {
        let stream = touched.stream;
        let first_id = first_id_of(touched.group);
        let at_hand = &mut self.at_hand;
        let group = self.index.group(touched.number);
        let (before, after) = (at_hand.before, *group.ids());
        let spans = &at_hand.spans;
        let span_before = |slot| {
            let known = spans.iter().find(|(of, _)| *of == slot);
            known.map_or_else(|| group.time_span(slot), |(_, span)| *span)
        };
        let key = (stream, first_id);
        describe_gaps(
            key,
            &before,
            span_before,
            &self.tags,
            &mut at_hand.gaps_before,
        );
        let edge_tag = |tags: &Tags<S>, ids: &Bits| {
            let last = ids.last().map(|last| (stream, first_id + i64::from(last)));
            last.and_then(|last| tags.get(&last).copied())
        };
        let tag_before = edge_tag(&self.tags, &before);
        if self.config.tags {
            renew_tags(&mut self.tags, stream, first_id, rows, (&before, &after));
        }
        let span_after = |slot| group.time_span(slot);
        describe_gaps(key, &after, span_after, &self.tags, &mut at_hand.gaps_after);

        let is_retimed = |slot| spans.iter().any(|(of, _)| *of == slot);
        if let (Some(first), Some(last)) = (after.first(), after.last()) {
            let first_is_new = before.first() != Some(first) || is_retimed(first);
            let tag_after = edge_tag(&self.tags, &after);
            let last_is_new =
                before.last() != Some(last) || is_retimed(last) || tag_before != tag_after;
            if first_is_new || last_is_new {
                let id_at = |slot: u8| first_id + i64::from(slot);
                let edge = Edge {
                    first: first_is_new.then(|| (id_at(first), group.time_span(first).0)),
                    last: id_at(last),
                    last_time: group.time_span(last).1,
                    last_tag: tag_after.map_or(0, |(_, tag)| tag),
                };
                said.edges.push((stream, edge));
            }
        }
        // Both are in order, and nearly all of them stand in both.
        let (mut gone, mut come) = (&at_hand.gaps_before[..], &at_hand.gaps_after[..]);
        while let Some(gap) = gone.first().into_iter().chain(come.first()).min().copied() {
            let was = take_if(&mut gone, &gap);
            let is = take_if(&mut come, &gap);
            if was != is {
                let diff = if is { 1 } else { -1 };
                said.gaps.push(((stream, gap), epoch, diff));
            }
        }
    }
}

impl<S> AtHand<S> {
    /// Gives the seat of an event that was not seen before to a copy with this print.
    #[inline]
    fn seat(&mut self, group: &mut Group, row: &Sighting<S>, print: Print) {
        let slot = slot_of(row.id);
        if self.before.contains(slot) && !self.spans.iter().any(|(of, _)| *of == slot) {
            self.spans.push((slot, group.time_span(slot)));
        }
        group.insert(slot, row.time, print);
    }
}

/// The (time, tag) of ids.
type Tags<S> = HashMap<(S, i64), (i64, u32)>;

/// Puts the gaps between `ids` into `gaps`; `first_id` is the first of the group of `stream`.
#[inline]
fn describe_gaps<S: SequenceKey>(
    (stream, first_id): (S, i64),
    ids: &Bits,
    span: impl Fn(u8) -> (i64, i64),
    tags: &Tags<S>,
    gaps: &mut Vec<Gap>,
) {
    gaps.clear();
    ids.for_each_gap(|below, above| {
        let [below_id, above_id] = [below, above].map(|slot| first_id + i64::from(slot));
        gaps.push(Gap {
            below: below_id,
            above: above_id,
            below_time: span(below).1,
            above_time: span(above).0,
            below_tag: tags.get(&(stream, below_id)).map_or(0, |(_, tag)| *tag),
        });
    });
}

/// Keeps the tags of ids of a group that have a gap above or are its last, and of no others.
///
/// An id comes to be such a one only in the epoch in which it is first seen, because ids stay.
fn renew_tags<S: SequenceKey>(
    tags: &mut Tags<S>,
    stream: S,
    first_id: i64,
    rows: &[Sighting<S>],
    (before, after): (&Bits, &Bits),
) {
    let ends = |ids: &Bits| {
        let mut ends = Bits::default();
        ids.for_each_gap(|below, _| ends.insert(below));
        ids.last().into_iter().for_each(|last| ends.insert(last));
        ends
    };
    let (ends_before, ends_after) = (ends(before), ends(after));
    for row in rows {
        if !ends_after.contains(slot_of(row.id)) {
            continue;
        }
        let latest = (row.time, row.tag);
        let known = tags.entry((stream, row.id)).or_insert(latest);
        if row.time > known.0 {
            *known = latest;
        }
    }
    for slot in 0..=u8::MAX {
        if ends_before.contains(slot) && !ends_after.contains(slot) {
            tags.remove(&(stream, first_id + i64::from(slot)));
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
