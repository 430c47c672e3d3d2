//! The streams of one worker under a horizon, without any dataflow.
//!
//! The rule: an epoch first forgets, by the watermark in force, and then judges its records, in the
//! order of the input. What comes next to be forgotten is looked up in two heaps, of the heads of
//! runs by when they are ripe and of streams by when they were last heard of; both may hold what is
//! out of date, which is set right when it comes up. So no epoch looks at streams that it does not
//! change, but for the first that has a watermark: it dates what was read before.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;

use differential_dataflow::consolidation::consolidate;

use super::sequence::{Sequence, Turn};
use super::snapshot::SequenceState;
use super::{Forgotten, OnReset, Row, Rules, Said};
use crate::operators::dedup::Copied;
use crate::operators::{Label, Position};
use crate::time::Epoch;

/// Gives the number of a further sequence of a stream.
pub type Incarnate = Box<dyn FnMut(u32) -> u32>;

/// What is retained of the streams of one worker.
pub struct Retained {
    rules: Rules,
    incarnate: Incarnate,
    streams: HashMap<u32, Stream, foldhash::fast::RandomState>,
    /// The watermark in force.
    watermark: Option<i64>,
    /// Heads of runs: when they are ripe, their streams, sequences and ids.
    ripening: BinaryHeap<Reverse<(i64, u32, u32, i64)>>,
    /// Streams: the watermark in force when they were heard of.
    silence: BinaryHeap<Reverse<(i64, u32)>>,
    /// Streams of which a sequence may have come to hold no id.
    emptied: Vec<u32>,
    events: usize,
    /// Groups to be settled: the places of their sequences, and their numbers.
    unsettled: Vec<(usize, u32)>,
    /// The sequence and the tag of every record.
    types: Vec<(u32, u32)>,
}

/// A stream.
#[derive(Debug, Default)]
struct Stream {
    /// The watermark in force when its last record was read.
    heard: Option<i64>,
    /// Its incarnations, the oldest first; never empty once a record was read.
    sequences: Vec<Sequence>,
}

impl fmt::Debug for Retained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retained")
            .field("rules", &self.rules)
            .field("watermark", &self.watermark)
            .field("streams", &self.streams.len())
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl Retained {
    /// Nothing, under `rules`. A stream's first sequence has the number of the stream; `incarnate`
    /// numbers its further ones, and must give numbers that no stream and no sequence has.
    pub fn new(rules: Rules, incarnate: Incarnate) -> Self {
        Retained {
            rules,
            incarnate,
            streams: HashMap::default(),
            watermark: None,
            ripening: BinaryHeap::new(),
            silence: BinaryHeap::new(),
            emptied: Vec::new(),
            events: 0,
            unsettled: Vec::new(),
            types: Vec::new(),
        }
    }

    /// The watermark in force, where it is known.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The number of ids and times that are retained.
    pub fn retained_events(&self) -> usize {
        self.events
    }

    /// The number of heads and streams that wait to be looked at.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.ripening.len() + self.silence.len()
    }

    /// Begins an epoch in which this watermark is in force: forgets what lies behind the horizon,
    /// and streams that are silent. Doing so again in an epoch, with a later watermark, is the same
    /// as doing it once with the later one, save where the first watermark of all is concerned.
    pub fn forget(&mut self, watermark: i64, said: &mut Said) {
        let is_first = self.watermark.is_none();
        let watermark = self.watermark.map_or(watermark, |old| old.max(watermark));
        self.watermark = Some(watermark);
        if is_first {
            self.date(watermark);
        }
        let (forgotten, verdicts) = (said.forgotten.len(), said.verdicts.len());
        self.forget_silent(watermark, said);
        self.forget_ripe(watermark, said);
        self.drop_emptied(said);
        said.forgotten[forgotten..].sort_unstable();
        said.verdicts[verdicts..].sort_unstable();
        self.shrink();
    }

    /// Dates what was read while no watermark was known.
    fn date(&mut self, watermark: i64) {
        let limit = watermark.saturating_add(self.rules.max_ahead_us);
        for stream in self.streams.values_mut() {
            stream.heard.get_or_insert(watermark);
            let sequences = stream.sequences.iter_mut();
            for held in sequences.flat_map(|sequence| sequence.ids.values_mut()) {
                held.limit_ripe(limit);
            }
        }
        self.requeue();
    }

    /// Looks up anew what is to be looked at next.
    fn requeue(&mut self) {
        self.ripening.clear();
        self.silence.clear();
        for (number, stream) in &mut self.streams {
            if let Some(heard) = stream.heard {
                self.silence.push(Reverse((heard, *number)));
            }
            for sequence in &mut stream.sequences {
                for (ripe, id) in sequence.queue_heads(self.rules.max_width) {
                    let head = (ripe, *number, sequence.number, id);
                    self.ripening.push(Reverse(head));
                }
            }
        }
    }

    fn forget_silent(&mut self, watermark: i64, said: &mut Said) {
        while let Some(&Reverse((heard, number))) = self.silence.peek() {
            if watermark.saturating_sub(heard) <= self.rules.stream_ttl_us {
                break;
            }
            self.silence.pop();
            let Some(stream) = self.streams.get(&number) else {
                continue;
            };
            let last_heard = stream.heard.unwrap_or(watermark);
            if last_heard > heard {
                self.silence.push(Reverse((last_heard, number)));
                continue;
            }
            for sequence in &stream.sequences {
                self.events -= sequence.events;
                sequence.groups.say_last(self.rules.keep, said);
                said.forgotten.push(Forgotten::Sequence(sequence.number));
            }
            self.streams.remove(&number);
        }
    }

    fn forget_ripe(&mut self, watermark: i64, said: &mut Said) {
        let horizon = watermark.saturating_sub(self.rules.horizon_us);
        while let Some(&Reverse((ripe, number, sequence_number, id))) = self.ripening.peek() {
            if ripe >= horizon {
                break;
            }
            self.ripening.pop();
            let Some(sequence) = self.streams.get_mut(&number).and_then(|stream| {
                let mut sequences = stream.sequences.iter_mut();
                sequences.find(|sequence| sequence.number == sequence_number)
            }) else {
                continue;
            };
            let Some(held) = sequence.ids.get_mut(&id) else {
                continue;
            };
            *held.queued_mut() = false;
            if !sequence.is_head(id, self.rules.max_width) {
                continue;
            }
            let events = sequence.events;
            let head = sequence.forget_run(id, horizon, &self.rules, said);
            self.events -= events - sequence.events;
            if let Some((id, ripe)) = head {
                self.ripening
                    .push(Reverse((ripe, number, sequence_number, id)));
            }
            if sequence.ids.is_empty() {
                self.emptied.push(number);
            }
            sequence.shrink();
        }
    }

    /// Drops older sequences of which no id is retained.
    fn drop_emptied(&mut self, said: &mut Said) {
        for number in self.emptied.drain(..) {
            let Some(stream) = self.streams.get_mut(&number) else {
                continue;
            };
            let newest = stream.sequences.last().map(|newest| newest.number);
            stream.sequences.retain(|sequence| {
                let stays = Some(sequence.number) == newest || !sequence.ids.is_empty();
                if !stays {
                    said.forgotten.push(Forgotten::Sequence(sequence.number));
                }
                stays
            });
        }
    }

    /// Gives memory back where most of it is unused.
    fn shrink(&mut self) {
        if self.streams.capacity() > 64 + 4 * self.streams.len() {
            self.streams.shrink_to(2 * self.streams.len());
        }
        if self.ripening.capacity() > 64 + 4 * self.ripening.len() {
            self.ripening.shrink_to(2 * self.ripening.len());
        }
        if self.silence.capacity() > 64 + 4 * self.silence.len() {
            self.silence.shrink_to(2 * self.silence.len());
        }
    }

    /// Judges the records of an epoch, which comes after all that were applied.
    pub fn apply(&mut self, epoch: Epoch, rows: &mut [Row], said: &mut Said) {
        rows.sort_by_key(|row| (row.seen.stream, row.seen.reader, row.seen.index));
        for rows in rows.chunk_by(|a, b| a.seen.stream == b.seen.stream) {
            self.apply_stream(epoch, rows, said);
        }
        consolidate(&mut said.gaps);
    }

    fn apply_stream(&mut self, epoch: Epoch, rows: &[Row], said: &mut Said) {
        let number = rows[0].seen.stream;
        let watermark = self.watermark;
        let limit = watermark.map_or(i64::MAX, |w| w.saturating_add(self.rules.max_ahead_us));
        let horizon = watermark.map_or(i64::MIN, |w| w.saturating_sub(self.rules.horizon_us));
        let stream = self.streams.entry(number).or_default();
        if stream.sequences.is_empty() {
            stream.sequences.push(Sequence::new(number));
            if let Some(watermark) = watermark {
                self.silence.push(Reverse((watermark, number)));
            }
        }
        stream.heard = watermark;
        for row in rows {
            let id = row.seen.id;
            let newest = stream.sequences.len() - 1;
            let older = &stream.sequences[..newest];
            let mut chosen = older
                .iter()
                .position(|sequence| sequence.spans(id))
                .unwrap_or(newest);
            let mut refused = None;
            if stream.sequences[chosen].ranges.contain(id) {
                if row.seen.time < horizon || chosen < newest {
                    refused = Some(Label::Late);
                } else if self.rules.on_reset == OnReset::DeadLetter {
                    refused = Some(Label::OutOfSequence);
                } else {
                    if stream.sequences[newest].ids.is_empty() {
                        self.emptied.push(number);
                    }
                    let next = (self.incarnate)(number);
                    stream.sequences.push(Sequence::new(next));
                    chosen = newest + 1;
                }
            }
            let sequence = &mut stream.sequences[chosen];
            self.types.push((sequence.number, row.seen.tag));
            if let Some(label) = refused {
                let copy = Copied {
                    position: Position {
                        epoch,
                        reader: row.seen.reader,
                        index: row.seen.index,
                    },
                    print: row.seen.print,
                };
                said.say(copy, label, false, 1);
                continue;
            }
            let events = sequence.events;
            let mut turn = Turn {
                rules: &self.rules,
                epoch,
                limit,
                said,
                place: chosen,
                unsettled: &mut self.unsettled,
            };
            if let Some(ripe) = sequence.receive(row, &mut turn) {
                self.ripening
                    .push(Reverse((ripe, number, sequence.number, id)));
            }
            self.events += sequence.events - events;
        }
        self.unsettled.sort_unstable();
        self.unsettled.dedup();
        for (place, group) in self.unsettled.drain(..) {
            let groups = &mut stream.sequences[place].groups;
            groups.settle(group, self.rules.keep, epoch, said);
        }
        self.types.sort_unstable();
        for types in self.types.chunk_by(|a, b| a == b) {
            said.types
                .push((types[0].0, types[0].1, types.len() as u64));
        }
        self.types.clear();
    }

    /// What is retained, by stream and the oldest sequence first.
    pub fn snapshot(&self) -> Vec<SequenceState> {
        let mut numbers: Vec<&u32> = self.streams.keys().collect();
        numbers.sort_unstable();
        let tagged = self.rules.tags;
        let states = numbers.into_iter().flat_map(|number| {
            let stream = &self.streams[number];
            let sequences = stream.sequences.iter().enumerate();
            sequences.map(move |(order, sequence)| {
                SequenceState::of(*number, order, stream.heard, tagged, sequence)
            })
        });
        states.collect()
    }

    /// Takes up what was retained when `watermark` was in force, in place of nothing.
    pub fn restore(&mut self, mut states: Vec<SequenceState>, watermark: Option<i64>) {
        states.sort_by_key(|state| (state.stream(), state.order));
        for state in states {
            let (number, heard) = (state.stream(), state.heard);
            let sequence = state.into_sequence();
            self.events += sequence.events;
            if sequence.ids.is_empty() {
                self.emptied.push(number);
            }
            let stream = self.streams.entry(number).or_default();
            stream.heard = stream.heard.max(heard);
            stream.sequences.push(sequence);
        }
        self.watermark = watermark;
        // What comes up next is not written down. No event counts as later than it did before.
        match watermark {
            Some(watermark) => self.date(watermark),
            None => self.requeue(),
        }
    }
}
