//! The rules about the horizon in plain loops: every answer is computed from all that is retained.

use std::collections::{BTreeMap, BTreeSet};

use super::{Forgotten, OnReset, Row, Rules, Said};
use crate::operators::dedup::Keep;
use crate::operators::gaps::Gap;
use crate::operators::{Label, Position, Print, Verdict};
use crate::time::Epoch;

/// One record that is not late or out of sequence.
#[derive(Clone)]
struct Event {
    row: Row,
    position: Position,
    /// The watermark at its reading.
    read_at: Option<i64>,
    /// Whether its id is forgotten: it is held for its group.
    is_forgotten: bool,
}

/// An id that is retained, or a range.
#[derive(Clone)]
struct Element {
    first: i64,
    last: i64,
    first_time: i64,
    last_time: i64,
    last_tag: u32,
    is_range: bool,
}

#[derive(Default)]
struct Incarnation {
    number: u32,
    events: Vec<Event>,
    ranges: Vec<Element>,
}

#[derive(Default)]
struct Stream {
    heard: Option<i64>,
    incarnations: Vec<Incarnation>,
}

pub(super) struct Model {
    pub(super) rules: Rules,
    pub(super) incarnate: Box<dyn FnMut(u32) -> u32>,
    streams: BTreeMap<u32, Stream>,
    watermark: Option<i64>,
}

type Key = (i64, i64, Vec<u8>);

fn key_of(row: &Row) -> Key {
    if row.key.is_empty() {
        (row.seen.id, row.seen.time, Vec::new())
    } else {
        (0, 0, row.key.clone())
    }
}

impl Incarnation {
    fn retained(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| !event.is_forgotten)
    }

    fn elements(&self, rules: &Rules) -> Vec<Element> {
        let mut elements = self.ranges.clone();
        let ids: BTreeSet<i64> = self.retained().map(|event| event.row.seen.id).collect();
        for id in ids {
            let seen: Vec<_> = self
                .retained()
                .map(|event| event.row.seen)
                .filter(|seen| seen.id == id)
                .collect();
            let latest = seen.iter().map(|seen| seen.time).max().unwrap();
            let last = seen.iter().find(|seen| seen.time == latest).unwrap();
            elements.push(Element {
                first: id,
                last: id,
                first_time: seen.iter().map(|seen| seen.time).min().unwrap(),
                last_time: latest,
                last_tag: if rules.tags { last.tag } else { 0 },
                is_range: false,
            });
        }
        elements.sort_by_key(|element| element.first);
        elements
    }

    fn gaps(&self, rules: &Rules) -> BTreeSet<(u32, Gap)> {
        let elements = self.elements(rules);
        let pairs = elements.windows(2);
        let gaps = pairs
            .filter(|pair| width(&pair[0], &pair[1]) > 0)
            .map(|pair| {
                let gap = Gap {
                    below: pair[0].last,
                    above: pair[1].first,
                    below_time: pair[0].last_time,
                    above_time: pair[1].first_time,
                    below_tag: pair[0].last_tag,
                };
                (self.number, gap)
            });
        gaps.collect()
    }

    /// What is said of every copy.
    fn labels(&self, keep: Keep) -> BTreeMap<Position, (Label, bool)> {
        let mut groups: BTreeMap<Key, Vec<&Event>> = BTreeMap::new();
        for event in &self.events {
            groups.entry(key_of(&event.row)).or_default().push(event);
        }
        let mut labels = BTreeMap::new();
        for copies in groups.values() {
            let print = |event: &Event| -> Print { event.row.seen.print };
            let is_valid = |event: &&&Event| print(event).is_valid();
            let seat = match keep {
                Keep::First => copies.iter().find(is_valid).unwrap_or(&copies[0]),
                Keep::Last => {
                    let last = &copies[copies.len() - 1];
                    copies.iter().rev().find(is_valid).unwrap_or(last)
                }
            };
            let open = keep == Keep::Last || !print(seat).is_valid();
            for copy in copies {
                let label = if copy.position != seat.position {
                    print(copy).label_beside(print(seat))
                } else if print(seat).is_valid() {
                    Label::Kept
                } else {
                    Label::Invalid
                };
                labels.insert(copy.position, (label, open));
            }
        }
        labels
    }

    fn is_ripe(&self, id: i64, horizon: i64, rules: &Rules) -> bool {
        self.retained()
            .filter(|event| event.row.seen.id == id)
            .all(|event| {
                let limit = event.read_at.unwrap().saturating_add(rules.max_ahead_us);
                event.row.seen.time.min(limit) < horizon
            })
    }

    fn say_last(&self, keep: Keep, gone: impl Fn(&Position) -> bool, said: &mut Said) {
        for (position, (label, open)) in self.labels(keep) {
            if open && gone(&position) {
                said.verdicts.push(Verdict {
                    position,
                    label,
                    open: false,
                    diff: 1,
                });
            }
        }
    }

    fn forget(&mut self, horizon: i64, rules: &Rules, said: &mut Said) {
        let elements = self.elements(rules);
        let mut ranges: Vec<Element> = Vec::new();
        let mut at = 0;
        while at < elements.len() {
            let mut end = at + 1;
            while end < elements.len()
                && width(&elements[end - 1], &elements[end]) <= u128::from(rules.max_width)
            {
                end += 1;
            }
            let run = &elements[at..end];
            let ripe = run
                .iter()
                .take_while(|element| {
                    element.is_range || self.is_ripe(element.first, horizon, rules)
                })
                .count();
            for pair in run[..ripe].windows(2) {
                if width(&pair[0], &pair[1]) > 0 {
                    said.forgotten.push(Forgotten::Gap {
                        sequence: self.number,
                        above: pair[1].first,
                    });
                }
            }
            if ripe > 0 {
                ranges.push(Element {
                    first: run[0].first,
                    first_time: run[0].first_time,
                    is_range: true,
                    ..run[ripe - 1].clone()
                });
            }
            ranges.extend(run[ripe..].iter().filter(|e| e.is_range).cloned());
            at = end;
        }
        self.ranges = ranges;
        for event in &mut self.events {
            let id = event.row.seen.id;
            event.is_forgotten |= self
                .ranges
                .iter()
                .any(|range| range.first <= id && id <= range.last);
        }
        let live: BTreeSet<Key> = self.retained().map(|event| key_of(&event.row)).collect();
        let gone: BTreeSet<Position> = self
            .events
            .iter()
            .filter(|event| !live.contains(&key_of(&event.row)))
            .map(|event| event.position)
            .collect();
        self.say_last(rules.keep, |position| gone.contains(position), said);
        self.events
            .retain(|event| live.contains(&key_of(&event.row)));
    }
}

impl Model {
    pub(super) fn new(rules: Rules, incarnate: Box<dyn FnMut(u32) -> u32>) -> Self {
        Model {
            rules,
            incarnate,
            streams: BTreeMap::new(),
            watermark: None,
        }
    }

    pub(super) fn retained_events(&self) -> usize {
        let incarnations = self.streams.values().flat_map(|s| &s.incarnations);
        let events = incarnations.flat_map(|incarnation| {
            let seen = incarnation.retained().map(|event| event.row.seen);
            seen.map(|seen| (incarnation.number, seen.id, seen.time))
        });
        events.collect::<BTreeSet<_>>().len()
    }

    pub(super) fn forget(&mut self, watermark: i64, said: &mut Said) {
        self.watermark = Some(watermark);
        let rules = &self.rules;
        for stream in self.streams.values_mut() {
            stream.heard.get_or_insert(watermark);
            for event in stream.incarnations.iter_mut().flat_map(|i| &mut i.events) {
                event.read_at.get_or_insert(watermark);
            }
        }
        self.streams.retain(|_, stream| {
            let silence = watermark.saturating_sub(stream.heard.unwrap());
            if silence <= rules.stream_ttl_us {
                return true;
            }
            for incarnation in &stream.incarnations {
                incarnation.say_last(rules.keep, |_| true, said);
                said.forgotten.push(Forgotten::Sequence(incarnation.number));
            }
            false
        });
        let horizon = watermark.saturating_sub(rules.horizon_us);
        for stream in self.streams.values_mut() {
            for incarnation in &mut stream.incarnations {
                incarnation.forget(horizon, rules, said);
            }
            let newest = stream.incarnations.last().unwrap().number;
            stream.incarnations.retain(|incarnation| {
                let stays = incarnation.number == newest || incarnation.retained().next().is_some();
                if !stays {
                    said.forgotten.push(Forgotten::Sequence(incarnation.number));
                }
                stays
            });
        }
    }

    pub(super) fn apply(&mut self, epoch: Epoch, rows: &[Row], said: &mut Said) {
        let horizon = self
            .watermark
            .map_or(i64::MIN, |w| w.saturating_sub(self.rules.horizon_us));
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| (row.seen.reader, row.seen.index));
        let (mut gaps, mut labels) = (BTreeSet::new(), BTreeMap::new());
        for incarnation in self.streams.values().flat_map(|s| &s.incarnations) {
            gaps.append(&mut incarnation.gaps(&self.rules));
            labels.append(&mut incarnation.labels(self.rules.keep));
        }
        let mut types: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for row in rows {
            let (id, time) = (row.seen.id, row.seen.time);
            let stream = self.streams.entry(row.seen.stream).or_default();
            stream.heard = self.watermark;
            if stream.incarnations.is_empty() {
                stream.incarnations.push(Incarnation {
                    number: row.seen.stream,
                    ..Incarnation::default()
                });
            }
            let newest = stream.incarnations.len() - 1;
            let mut chosen = newest;
            for older in (0..newest).rev() {
                let ids = || {
                    stream.incarnations[older]
                        .retained()
                        .map(|event| event.row.seen.id)
                };
                if ids().min().is_some_and(|lowest| lowest <= id)
                    && ids().max().is_some_and(|highest| id <= highest)
                {
                    chosen = older;
                }
            }
            let position = Position {
                epoch,
                reader: row.seen.reader,
                index: row.seen.index,
            };
            let mut refused = None;
            let ranges = &stream.incarnations[chosen].ranges;
            if ranges
                .iter()
                .any(|range| range.first <= id && id <= range.last)
            {
                if chosen != newest || time < horizon {
                    refused = Some(Label::Late);
                } else if self.rules.on_reset == OnReset::DeadLetter {
                    refused = Some(Label::OutOfSequence);
                } else {
                    stream.incarnations.push(Incarnation {
                        number: (self.incarnate)(row.seen.stream),
                        ..Incarnation::default()
                    });
                    chosen = newest + 1;
                }
            }
            let incarnation = &mut stream.incarnations[chosen];
            *types.entry((incarnation.number, row.seen.tag)).or_default() += 1;
            if let Some(label) = refused {
                said.verdicts.push(Verdict {
                    position,
                    label,
                    open: false,
                    diff: 1,
                });
                continue;
            }
            let is_new = incarnation
                .retained()
                .all(|event| (event.row.seen.id, event.row.seen.time) != (id, time));
            if is_new && self.rules.witnesses {
                said.witnesses.push((incarnation.number, id, time));
            }
            incarnation.events.push(Event {
                row,
                position,
                read_at: self.watermark,
                is_forgotten: false,
            });
        }
        let (mut gaps_now, mut labels_now) = (BTreeSet::new(), BTreeMap::new());
        for incarnation in self.streams.values().flat_map(|s| &s.incarnations) {
            gaps_now.append(&mut incarnation.gaps(&self.rules));
            labels_now.append(&mut incarnation.labels(self.rules.keep));
        }
        said.gaps
            .extend(gaps.difference(&gaps_now).map(|gap| (*gap, -1)));
        said.gaps
            .extend(gaps_now.difference(&gaps).map(|gap| (*gap, 1)));
        let kept = |labels: &BTreeMap<Position, (Label, bool)>| {
            let kept = labels.values().filter(|(label, _)| *label == Label::Kept);
            kept.count() as i64
        };
        said.kept += kept(&labels_now) - kept(&labels);
        for (position, now) in labels_now {
            let before = labels.get(&position);
            if before == Some(&now) || before.is_none() && now == (Label::Kept, false) {
                continue;
            }
            let verdict = |(label, open): (Label, bool), diff| Verdict {
                position,
                label,
                open,
                diff,
            };
            said.verdicts
                .extend(before.map(|before| verdict(*before, -1)));
            said.verdicts.push(verdict(now, 1));
        }
        said.types
            .extend(types.into_iter().map(|((s, tag), count)| (s, tag, count)));
    }
}

/// The number of ids between two elements.
fn width(below: &Element, above: &Element) -> u128 {
    (i128::from(above.first) - i128::from(below.last) - 1) as u128
}
