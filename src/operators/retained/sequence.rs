//! One incarnation of a stream: its retained ids and its forgotten ranges, in one order.
//!
//! The rule: between two neighbouring elements, ids or ranges, lies at most one gap, and what is
//! said about gaps follows from the neighbours alone; so a record costs two look-ups beside its own.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::groups::{Added, Copies, Groups};
use super::held::{Held, Many, Seat, Span};
use super::ranges::{Range, Ranges};
use super::{Forgotten, Row, Rules, Said};
use crate::operators::Position;
use crate::operators::dedup::{Copied, Keep};
use crate::operators::gaps::Gap;
use crate::time::Epoch;

/// One incarnation of a stream.
#[derive(Debug)]
pub(super) struct Sequence {
    /// Its number.
    pub(super) number: u32,
    pub(super) ids: BTreeMap<i64, Held>,
    pub(super) ranges: Ranges,
    pub(super) groups: Groups,
    /// The number of ids and times that are retained.
    pub(super) events: usize,
}

/// What holds while the records of an epoch are judged.
pub(super) struct Turn<'a> {
    pub(super) rules: &'a Rules,
    pub(super) epoch: Epoch,
    /// What an event's time counts as at most.
    pub(super) limit: i64,
    pub(super) said: &'a mut Said,
    /// The sequence's place among those of its stream.
    pub(super) place: usize,
    /// Groups to be settled once the epoch's records are all there, with the places of their
    /// sequences.
    pub(super) unsettled: &'a mut Vec<(usize, u32)>,
}

/// The end of an element, beside a gap.
#[derive(Clone, Copy)]
struct Edge {
    id: i64,
    span: Span,
    /// Whether it is an id, not a range.
    is_retained: bool,
}

impl Sequence {
    pub(super) fn new(number: u32) -> Self {
        Sequence {
            number,
            ids: BTreeMap::new(),
            ranges: Ranges::default(),
            groups: Groups::default(),
            events: 0,
        }
    }

    /// Whether `id` lies between the lowest and the highest retained id.
    pub(super) fn spans(&self, id: i64) -> bool {
        let lowest = self.ids.first_key_value().map(|(id, _)| *id);
        let highest = self.ids.last_key_value().map(|(id, _)| *id);
        lowest.is_some_and(|lowest| lowest <= id) && highest.is_some_and(|highest| id <= highest)
    }

    /// Takes in a record whose id is not forgotten. Returns when its id is ripe, if it begins what
    /// is retained of a run.
    pub(super) fn receive(&mut self, row: &Row, turn: &mut Turn<'_>) -> Option<i64> {
        let id = row.seen.id;
        let is_highest = self
            .ids
            .last_key_value()
            .is_none_or(|(highest, _)| id > *highest);
        if is_highest {
            return self.insert(row, turn);
        }
        let Some(held) = self.ids.get_mut(&id) else {
            return self.insert(row, turn);
        };
        let copy = copy_of(row, turn.epoch);
        if let Held::Plain { time, print, .. } = held
            && row.key.is_empty()
            && *time == row.seen.time
        {
            let label = copy.print.label_beside(*print);
            turn.said.say(copy, label, false, 1);
            return None;
        }
        let before = held.span();
        let mut many = held.take_many();
        self.events += see(self.number, &mut self.groups, &mut many, row, turn);
        *held = Held::from_many(many);
        let after = held.span();
        if before != after {
            self.renew_gaps(id, Some(before), after, turn.said);
        }
        None
    }

    /// Takes in the first record with its id.
    fn insert(&mut self, row: &Row, turn: &mut Turn<'_>) -> Option<i64> {
        let (id, time) = (row.seen.id, row.seen.time);
        let mut many = Many::default();
        // The common case: one valid event that needs no group.
        let plain = turn.rules.keep == Keep::First
            && row.key.is_empty()
            && row.seen.print.is_valid()
            && time <= turn.limit;
        let mut held = if plain {
            self.events += 1;
            turn.said.kept += 1;
            if turn.rules.witnesses {
                turn.said.witnesses.push((self.number, id, time));
            }
            Held::Plain {
                time,
                print: row.seen.print,
                tag: turn.rules.tag_of(row),
                queued: false,
            }
        } else {
            self.events += see(self.number, &mut self.groups, &mut many, row, turn);
            Held::from_many(Box::new(many))
        };
        self.renew_gaps(id, None, held.span(), turn.said);
        let is_head = self.is_head(id, turn.rules.max_width);
        *held.queued_mut() = is_head;
        let ripe = held.ripe();
        self.ids.insert(id, held);
        is_head.then_some(ripe)
    }

    /// Says how the gaps beside an id change, of which `before` was known and `after` is.
    fn renew_gaps(&self, id: i64, before: Option<Span>, after: Span, said: &mut Said) {
        let edge = |span| Edge {
            id,
            span,
            is_retained: true,
        };
        let (below, above) = (self.below(id), self.above(id));
        let mut change = |below: Option<Edge>, above: Option<Edge>, diff| {
            if let (Some(below), Some(above)) = (below, above)
                && width_between(below.id, above.id) > 0
            {
                said.gaps
                    .push(((self.number, gap_between(below, above)), diff));
            }
        };
        match before {
            None => change(below, above, -1),
            Some(before) => {
                change(below, Some(edge(before)), -1);
                change(Some(edge(before)), above, -1);
            }
        }
        change(below, Some(edge(after)), 1);
        change(Some(edge(after)), above, 1);
    }

    /// The end of the nearest element below `id`.
    fn below(&self, id: i64) -> Option<Edge> {
        let retained = self.ids.range(..id).next_back();
        let range = self.ranges.below(id);
        match (retained, range) {
            (Some((below, _)), Some(range)) if range.last > *below => Some(end_of(range)),
            (Some((below, held)), _) => Some(Edge {
                id: *below,
                span: held.span(),
                is_retained: true,
            }),
            (None, range) => range.map(end_of),
        }
    }

    /// The beginning of the nearest element above `id`.
    fn above(&self, id: i64) -> Option<Edge> {
        let retained = self.ids.range((Excluded(id), Unbounded)).next();
        let range = self.ranges.above(id);
        match (retained, range) {
            (Some((above, _)), Some(range)) if range.first < *above => Some(start_of(range)),
            (Some((above, held)), _) => Some(Edge {
                id: *above,
                span: held.span(),
                is_retained: true,
            }),
            (None, range) => range.map(start_of),
        }
    }

    /// Whether no retained id lies below `id` in its run.
    pub(super) fn is_head(&self, id: i64, max_width: u64) -> bool {
        let mut at = id;
        while let Some(below) = self.below(at) {
            if width_between(below.id, at) > max_width {
                return true;
            }
            if below.is_retained {
                return false;
            }
            match self.ranges.below(at) {
                Some(range) => at = range.first,
                None => return true,
            }
        }
        true
    }

    /// The first retained ids of all runs, and when they are ripe: those that wait from now on.
    pub(super) fn queue_heads(&mut self, max_width: u64) -> Vec<(i64, i64)> {
        let ids = self.ids.iter();
        let heads: Vec<_> = ids
            .filter(|(id, _)| self.is_head(**id, max_width))
            .map(|(id, held)| (held.ripe(), *id))
            .collect();
        let mut waiting = heads.iter().map(|(_, id)| *id).peekable();
        for (id, held) in &mut self.ids {
            *held.queued_mut() = waiting.next_if_eq(id).is_some();
        }
        heads
    }

    /// Forgets the ripe prefix of a run, given the first id that is retained of it. Returns the
    /// id that then is the first, and when it is ripe, if it does not wait to be looked at already.
    pub(super) fn forget_run(
        &mut self,
        head: i64,
        horizon: i64,
        rules: &Rules,
        said: &mut Said,
    ) -> Option<(i64, i64)> {
        // Ranges at the beginning of the run are part of its prefix.
        let mut next = (head, true);
        while let Some(range) = self.ranges.below(next.0) {
            if width_between(range.last, next.0) > rules.max_width {
                break;
            }
            next = (range.first, false);
        }
        let mut prefix: Option<Range> = None;
        let mut in_the_way = None;
        loop {
            let (id, is_retained) = next;
            let element = if is_retained {
                self.take_ripe(id, horizon, rules.keep, said)
            } else {
                self.ranges.take(id)
            };
            let Some(element) = element else {
                in_the_way = self.ids.get_mut(&id);
                break;
            };
            if let Some(prefix) = &prefix
                && width_between(prefix.last, element.first) > 0
            {
                said.forgotten.push(Forgotten::Gap {
                    sequence: self.number,
                    above: element.first,
                });
            }
            let last = element.last;
            prefix = Some(prefix.map_or(element, |prefix| prefix.extended_by(&element)));
            match self.above(last) {
                Some(above) if width_between(last, above.id) <= rules.max_width => {
                    next = (above.id, above.is_retained);
                }
                _ => break,
            }
        }
        if let Some(prefix) = prefix {
            self.ranges.insert(prefix);
        }
        in_the_way.and_then(|held| {
            let was_queued = std::mem::replace(held.queued_mut(), true);
            (!was_queued).then(|| (next.0, held.ripe()))
        })
    }

    /// Takes out a retained id, if it is ripe.
    fn take_ripe(&mut self, id: i64, horizon: i64, keep: Keep, said: &mut Said) -> Option<Range> {
        let held = self.ids.get_mut(&id).filter(|held| held.ripe() < horizon)?;
        self.events -= held.events();
        held.for_each_group(|group| self.groups.release(*group, keep, said));
        let span = held.span();
        self.ids.remove(&id);
        Some(Range {
            first: id,
            last: id,
            first_time: span.earliest,
            last_time: span.latest,
            last_tag: span.tag,
        })
    }

    /// Gives memory back where most of it is unused.
    pub(super) fn shrink(&mut self) {
        if let Some(numbers) = self.groups.shrink() {
            for held in self.ids.values_mut() {
                held.for_each_group(|group| *group = numbers[*group as usize]);
            }
        }
    }
}

impl Rules {
    fn tag_of(&self, row: &Row) -> u32 {
        if self.tags { row.seen.tag } else { 0 }
    }
}

impl Default for Many {
    fn default() -> Self {
        Many {
            times: BTreeMap::new(),
            keyed: Vec::new(),
            tag: 0,
            ripe: i64::MIN,
            queued: false,
        }
    }
}

fn copy_of(row: &Row, epoch: Epoch) -> Copied {
    Copied {
        position: Position {
            epoch,
            reader: row.seen.reader,
            index: row.seen.index,
        },
        print: row.seen.print,
    }
}

/// Adds a record to what is retained of its id; returns 1 where its time is new, else 0.
fn see(
    sequence: u32,
    groups: &mut Groups,
    many: &mut Many,
    row: &Row,
    turn: &mut Turn<'_>,
) -> usize {
    let (id, time) = (row.seen.id, row.seen.time);
    let copy = copy_of(row, turn.epoch);
    many.ripe = many.ripe.max(time.min(turn.limit));
    if many
        .times
        .last_key_value()
        .is_none_or(|(latest, _)| time > *latest)
    {
        many.tag = turn.rules.tag_of(row);
    }
    let known = many.times.get(&time).copied();
    if known.is_none() && turn.rules.witnesses {
        turn.said.witnesses.push((sequence, id, time));
    }
    let seat = known.unwrap_or(Seat::Empty);
    let seat = if row.key.is_empty() {
        sit(groups, seat, copy, turn)
    } else {
        join(groups, &mut many.keyed, &row.key, copy, turn);
        seat
    };
    many.times.insert(time, seat);
    usize::from(known.is_none())
}

/// Judges a copy by its id and time; returns who sits there then.
fn sit(groups: &mut Groups, seat: Seat, copy: Copied, turn: &mut Turn<'_>) -> Seat {
    match seat {
        Seat::Empty => match first_copies(copy, turn) {
            Copies::Closed(print) => Seat::Closed(print),
            open => {
                let group = groups.insert(None, open);
                turn.unsettled.push((turn.place, group));
                Seat::Group(group)
            }
        },
        Seat::Closed(print) => {
            let label = copy.print.label_beside(print);
            turn.said.say(copy, label, false, 1);
            seat
        }
        Seat::Group(group) => match groups.add(group, copy, turn.rules.keep, turn.said) {
            Added::Closed => {
                groups.remove(group);
                Seat::Closed(copy.print)
            }
            Added::Judged => seat,
            Added::Unsettled => {
                turn.unsettled.push((turn.place, group));
                seat
            }
        },
    }
}

/// Judges a copy by its key, and lets its id refer to the group.
fn join(groups: &mut Groups, keyed: &mut Vec<u32>, key: &[u8], copy: Copied, turn: &mut Turn<'_>) {
    let Some(group) = groups.find(key) else {
        let copies = first_copies(copy, turn);
        let is_open = matches!(copies, Copies::Open(_));
        let group = groups.insert(Some(key), copies);
        if is_open {
            turn.unsettled.push((turn.place, group));
        }
        let at = keyed.partition_point(|known| *known < group);
        keyed.insert(at, group);
        return;
    };
    if groups.add(group, copy, turn.rules.keep, turn.said) == Added::Unsettled {
        turn.unsettled.push((turn.place, group));
    }
    if let Err(at) = keyed.binary_search(&group) {
        keyed.insert(at, group);
        groups.refer(group);
    }
}

/// A group of one copy.
fn first_copies(copy: Copied, turn: &mut Turn<'_>) -> Copies {
    if turn.rules.keep == Keep::First && copy.print.is_valid() {
        turn.said.kept += 1;
        Copies::Closed(copy.print)
    } else {
        Copies::Open(vec![copy])
    }
}

fn start_of(range: &Range) -> Edge {
    Edge {
        id: range.first,
        span: Span {
            earliest: range.first_time,
            latest: range.first_time,
            tag: 0,
        },
        is_retained: false,
    }
}

fn end_of(range: &Range) -> Edge {
    Edge {
        id: range.last,
        span: Span {
            earliest: range.last_time,
            latest: range.last_time,
            tag: range.last_tag,
        },
        is_retained: false,
    }
}

fn gap_between(below: Edge, above: Edge) -> Gap {
    Gap {
        below: below.id,
        above: above.id,
        below_time: below.span.latest,
        above_time: above.span.earliest,
        below_tag: below.span.tag,
    }
}

/// The number of ids between two, of which the first is the lower one.
fn width_between(below: i64, above: i64) -> u64 {
    (above.wrapping_sub(below) as u64).saturating_sub(1)
}
