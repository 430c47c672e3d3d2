//! Rule 7, forgetting, as plain loops: everything that ever came is kept here, with marks on what
//! the engine may know no more, and each epoch is judged by looking through all of it.
//!
//! The one rule: what was forgotten is looked at only as the contract permits (the edges of a
//! forgotten range, what was published, the counts of types), never to judge a record.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    About, Answer, Event, Fill, Gap, Keep, Letter, Model, OnReset, Record, Stream, published,
};

mod cases;

/// What a whole run leaves behind.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// After each epoch.
    pub(crate) answers: Vec<Answer>,
    /// `clean.jsonl` at the end.
    pub(crate) clean: String,
    /// How many reconstructed events were withdrawn because the event itself came.
    pub(crate) filled_ids: u64,
    /// How often what is peculiar to forgetting took place: a test that never saw it proves nothing.
    pub(crate) happened: BTreeMap<&'static str, u64>,
}

/// An epoch: where its records end, and the watermark in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) end: usize,
    pub(crate) watermark: Option<i128>,
    /// The end of the input belongs to it.
    pub(crate) is_last: bool,
}

impl Model {
    /// What comes of epochs of `size` records.
    pub(crate) fn history(&self, size: usize) -> History {
        let all = self.records.len();
        let watermarks = self.watermarks(size).into_iter().enumerate();
        let cuts = watermarks.map(|(epoch, watermark)| {
            let end = all.min((epoch + 1).saturating_mul(size));
            Cut {
                end,
                watermark,
                is_last: end == all,
            }
        });
        self.history_of(&cuts.collect::<Vec<_>>())
    }

    /// What comes of these epochs.
    pub(crate) fn history_of(&self, cuts: &[Cut]) -> History {
        let mut run = Run {
            model: self,
            cuts,
            epoch: 0,
            sequences: Vec::new(),
            last_read: BTreeMap::new(),
            refused: Vec::new(),
            history: History::default(),
        };
        let mut from = 0;
        for (epoch, cut) in cuts.iter().enumerate() {
            run.epoch = epoch;
            run.forget();
            for index in from..cut.end {
                run.judge(index);
            }
            run.look_for_gaps();
            run.answer(from);
            from = cut.end;
        }
        run.end()
    }
}

/// An event and the epoch in which it was read.
#[derive(Clone, Copy)]
struct Reading<'a> {
    index: usize,
    epoch: usize,
    event: &'a Event,
}

/// The copies of one event.
struct Group<'a> {
    copies: Vec<Reading<'a>>,
    /// The epoch at whose start it was dropped.
    dropped: Option<usize>,
}

/// An incarnation of a stream.
struct Sequence<'a> {
    stream: Stream,
    groups: Vec<Group<'a>>,
    /// All of S, by id; what is in a forgotten range, too.
    ids: BTreeMap<i64, Vec<Reading<'a>>>,
    /// Forgotten ranges by their first and last id.
    ranges: Vec<(i64, i64)>,
    types: BTreeMap<&'a str, u64>,
    /// Gaps below this id are due.
    due: i64,
    /// Whether `sequence-too-sparse` stood after the epoch before.
    is_sparse: bool,
    open: Vec<Open>,
    /// Gaps that were forgotten, with what is published for them for good.
    finals: Vec<Final>,
    /// Forgotten as a whole; what it published stands.
    is_gone: bool,
}

/// A gap that stands.
#[derive(Clone)]
struct Open {
    gap: Gap,
    is_wide: bool,
    /// The guesses that are published.
    guesses: Vec<(i64, String)>,
}

/// A gap that was forgotten, and the epoch of it.
struct Final {
    epoch: usize,
    open: Open,
}

/// A retained id or a forgotten range, as it stands in the order of ids.
#[derive(Clone, Copy, PartialEq)]
struct Element {
    first: i64,
    last: i64,
    is_range: bool,
}

impl<'a> Sequence<'a> {
    fn new(stream: &Stream) -> Sequence<'a> {
        Sequence {
            stream: stream.clone(),
            groups: Vec::new(),
            ids: BTreeMap::new(),
            ranges: Vec::new(),
            types: BTreeMap::new(),
            due: i64::MIN,
            is_sparse: false,
            open: Vec::new(),
            finals: Vec::new(),
            is_gone: false,
        }
    }

    fn is_forgotten(&self, id: i64) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&id))
    }

    /// The lowest and the highest retained id.
    fn retained(&self) -> Option<(i64, i64)> {
        let ids = self.ids.keys().copied();
        let retained: Vec<i64> = ids.filter(|id| !self.is_forgotten(*id)).collect();
        Some((*retained.first()?, *retained.last()?))
    }

    /// Adds an event that is neither late nor out of sequence.
    fn take(&mut self, reading: Reading<'a>) {
        let key = &reading.event.key;
        let mut groups = self.groups.iter_mut();
        let known = groups.find(|group| {
            group.dropped.is_none() && group.copies.iter().any(|copy| copy.event.key == *key)
        });
        match known {
            Some(group) => group.copies.push(reading),
            None => self.groups.push(Group {
                copies: vec![reading],
                dropped: None,
            }),
        }
        self.ids.entry(reading.event.id).or_default().push(reading);
        self.count(reading.event);
    }

    fn count(&mut self, event: &'a Event) {
        *self.types.entry(&event.kind).or_default() += 1;
    }

    fn elements(&self) -> Vec<Element> {
        let ids = self.ids.keys().filter(|id| !self.is_forgotten(**id));
        let ids = ids.map(|&id| (id, id, false));
        let ranges = self.ranges.iter().map(|&(first, last)| (first, last, true));
        let mut all: Vec<_> = ids.chain(ranges).collect();
        all.sort_unstable();
        let element = |(first, last, is_range)| Element {
            first,
            last,
            is_range,
        };
        all.into_iter().map(element).collect()
    }

    fn earliest(&self, id: i64) -> i64 {
        let times = self.ids[&id].iter().map(|reading| reading.event.time);
        times.min().expect("an id of S has an event")
    }

    fn latest(&self, id: i64) -> i64 {
        let times = self.ids[&id].iter().map(|reading| reading.event.time);
        times.max().expect("an id of S has an event")
    }
}

/// Whether ids are missing between two neighbours.
fn has_gap(a: Element, b: Element) -> bool {
    i128::from(b.first) - i128::from(a.last) > 1
}

struct Run<'a> {
    model: &'a Model,
    cuts: &'a [Cut],
    epoch: usize,
    /// Every incarnation of every stream, by birth.
    sequences: Vec<Sequence<'a>>,
    /// The epoch of each known stream's last record.
    last_read: BTreeMap<Stream, usize>,
    /// Records that are late or out of sequence.
    refused: Vec<(usize, &'static str)>,
    history: History,
}

impl<'a> Run<'a> {
    fn happened(&mut self, what: &'static str) {
        *self.history.happened.entry(what).or_default() += 1;
    }

    fn watermark(&self) -> Option<i128> {
        self.cuts[self.epoch].watermark
    }

    /// Times before this one lie behind the horizon.
    fn horizon(&self) -> Option<i128> {
        let horizon = i128::from(self.model.config.horizon_ms?) * 1000;
        Some(self.watermark()? - horizon)
    }

    /// The watermark in force when something was read in `epoch`, or the first one after it.
    fn watermark_at(&self, epoch: usize) -> Option<i128> {
        let since = &self.cuts[epoch..=self.epoch];
        since.iter().find_map(|cut| cut.watermark)
    }

    /// Whether the horizon has passed all events of a retained id.
    fn is_ripe(&self, sequence: &Sequence<'_>, id: i64) -> bool {
        let Some(horizon) = self.horizon() else {
            return false;
        };
        let max_ahead = i128::from(self.model.config.max_ahead_ms) * 1000;
        sequence.ids[&id].iter().all(|reading| {
            let read_at = self.watermark_at(reading.epoch);
            let read_at = read_at.expect("it is known now");
            i128::from(reading.event.time).min(read_at + max_ahead) < horizon
        })
    }

    fn is_wide(&self, a: Element, b: Element) -> bool {
        let width = i128::from(b.first) - i128::from(a.last) - 1;
        width > i128::from(self.model.config.max_width)
    }

    /// The incarnations of a stream that take records, the newest last.
    fn living(&self, stream: &Stream) -> Vec<usize> {
        let all = self.sequences.iter().enumerate();
        all.filter(|(_, sequence)| sequence.stream == *stream && !sequence.is_gone)
            .map(|(nth, _)| nth)
            .collect()
    }

    /// What is forgotten at the start of an epoch.
    fn forget(&mut self) {
        let Some(watermark) = self.watermark() else {
            return;
        };
        let config = &self.model.config;
        let horizon = config.horizon_ms.unwrap_or(i64::MAX);
        let ttl = config
            .stream_ttl_ms
            .map_or(10 * i128::from(horizon), i128::from)
            * 1000;
        for (stream, last_read) in self.last_read.clone() {
            let since = self.watermark_at(last_read).expect("it is known now");
            if watermark - since > ttl {
                for nth in self.living(&stream) {
                    self.forget_whole(nth);
                }
                self.last_read.remove(&stream);
                self.happened("stream forgotten");
            }
        }
        for nth in 0..self.sequences.len() {
            if !self.sequences[nth].is_gone {
                self.forget_prefixes(nth);
            }
        }
        for stream in self.last_read.keys().cloned().collect::<Vec<_>>() {
            let living = self.living(&stream);
            let older = &living[..living.len() - 1];
            for &nth in older {
                if self.sequences[nth].retained().is_none() {
                    self.forget_whole(nth);
                    self.happened("incarnation dropped");
                }
            }
        }
    }

    /// Forgets an incarnation: all its gaps and all its groups.
    fn forget_whole(&mut self, nth: usize) {
        let elements = self.sequences[nth].elements();
        for two in elements.windows(2) {
            self.forget_gap(nth, two[0], two[1]);
        }
        let epoch = self.epoch;
        let sequence = &mut self.sequences[nth];
        for group in &mut sequence.groups {
            group.dropped.get_or_insert(epoch);
        }
        sequence.open.clear();
        sequence.is_sparse = false;
        sequence.is_gone = true;
    }

    /// Forgets the ripe beginning of each run.
    fn forget_prefixes(&mut self, nth: usize) {
        let elements = self.sequences[nth].elements();
        let mut runs: Vec<Vec<Element>> = Vec::new();
        for element in elements {
            match runs.last_mut() {
                Some(run) if !self.is_wide(run[run.len() - 1], element) => run.push(element),
                _ => runs.push(vec![element]),
            }
        }
        if runs.len() > 1 {
            self.happened("several runs");
        }
        let was_sparse = self.sequences[nth].is_sparse;
        let mut has_forgotten = false;
        for run in runs {
            let is_ripe = |element: &&Element| {
                element.is_range || self.is_ripe(&self.sequences[nth], element.first)
            };
            let prefix: Vec<Element> = run.iter().take_while(is_ripe).copied().collect();
            if run[prefix.len()..].iter().any(|element| is_ripe(&element)) {
                self.happened("ripe behind what is not");
            }
            if prefix.iter().all(|element| element.is_range) {
                continue;
            }
            if prefix.iter().skip(1).any(|element| element.is_range) {
                self.happened("island joined");
            }
            has_forgotten = true;
            for two in prefix.windows(2) {
                self.forget_gap(nth, two[0], two[1]);
            }
            let sequence = &mut self.sequences[nth];
            let range = (prefix[0].first, prefix[prefix.len() - 1].last);
            sequence
                .ranges
                .retain(|(first, _)| *first < range.0 || *first > range.1);
            sequence.ranges.push(range);
            self.happened("range");
        }
        if has_forgotten && was_sparse {
            self.happened("forgotten where too sparse");
        }
        self.drop_groups(nth);
    }

    /// Drops the groups all of whose ids are forgotten.
    fn drop_groups(&mut self, nth: usize) {
        let mut outlives = false;
        let epoch = self.epoch;
        let sequence = &self.sequences[nth];
        let is_over = |group: &Group<'_>| {
            let mut copies = group.copies.iter();
            copies.all(|copy| sequence.is_forgotten(copy.event.id))
        };
        let over: Vec<bool> = sequence.groups.iter().map(is_over).collect();
        for (group, is_over) in sequence.groups.iter().zip(&over) {
            let mut copies = group.copies.iter();
            outlives |= !is_over && copies.any(|copy| sequence.is_forgotten(copy.event.id));
        }
        for (group, is_over) in self.sequences[nth].groups.iter_mut().zip(over) {
            if is_over {
                group.dropped.get_or_insert(epoch);
            }
        }
        if outlives {
            self.happened("group outlives an id");
        }
    }

    /// Forgets the gap between two neighbours: what stands for it becomes final, and what was not
    /// due yet is due now. The guesses of a stream that was too sparse are never published.
    fn forget_gap(&mut self, nth: usize, a: Element, b: Element) {
        if !has_gap(a, b) {
            return;
        }
        let sequence = &self.sequences[nth];
        let is_wide = self.is_wide(a, b);
        let mut open = self.open(sequence, a, b);
        let is_known = sequence.open.iter().any(|known| known.gap == open.gap);
        if !is_wide && !sequence.is_sparse && self.model.config.reconstruct {
            open.guesses = self.guesses(sequence, a, b);
        }
        let what = match (is_known, open.guesses.is_empty()) {
            (false, _) => "gap opened when forgotten",
            (true, false) => "guesses made final",
            (true, true) => "gap forgotten without guesses",
        };
        let epoch = self.epoch;
        let sequence = &mut self.sequences[nth];
        sequence.open.retain(|known| known.gap != open.gap);
        sequence.finals.push(Final { epoch, open });
        self.happened(what);
    }

    fn open(&self, sequence: &Sequence<'_>, a: Element, b: Element) -> Open {
        Open {
            gap: Gap {
                stream: self.model.stream_json(&sequence.stream),
                from: a.last + 1,
                to: b.first - 1,
            },
            is_wide: self.is_wide(a, b),
            guesses: Vec::new(),
        }
    }

    /// The events that are inferred between two neighbours.
    fn guesses(&self, sequence: &Sequence<'_>, a: Element, b: Element) -> Vec<(i64, String)> {
        let latest = sequence.latest(a.last);
        let middle = (i128::from(latest) + i128::from(sequence.earliest(b.first))).div_euclid(2);
        let middle = i64::try_from(middle).expect("between two");
        let kind = match &self.model.config.fill {
            Fill::Fixed(kind) => kind.clone(),
            Fill::MostFrequent => {
                let most = sequence.types.values().max().expect("a stream has events");
                let mut types = sequence.types.iter();
                let first = types.find(|(_, count)| *count == most);
                first.expect("the most is one of them").0.to_string()
            }
            Fill::LowerNeighbour => {
                let mut there = sequence.ids[&a.last].iter();
                let first = there.find(|reading| reading.event.time == latest);
                first.expect("the latest is one").event.kind.clone()
            }
        };
        let guess = |id: i64| {
            let text = self
                .model
                .reconstructed(&sequence.stream, id, &kind, middle);
            (id, text)
        };
        (a.last + 1..b.first).map(guess).collect()
    }

    /// Judges one record.
    fn judge(&mut self, index: usize) {
        let Ok(event) = &self.model.verdicts[index] else {
            return;
        };
        let epoch = self.epoch;
        self.last_read.insert(event.stream.clone(), epoch);
        let reading = Reading {
            index,
            epoch,
            event,
        };
        let mut living = self.living(&event.stream);
        if living.is_empty() {
            self.sequences.push(Sequence::new(&event.stream));
            living.push(self.sequences.len() - 1);
        }
        let (newest, older) = living.split_last().expect("one is there");
        let mut homes = older.iter().filter(|nth| {
            let retained = self.sequences[**nth].retained();
            retained.is_some_and(|(low, high)| (low..=high).contains(&event.id))
        });
        let home = *homes.next().unwrap_or(newest);
        if !self.sequences[home].is_forgotten(event.id) {
            if home != *newest {
                self.happened("record of an older incarnation");
            }
            self.sequences[home].take(reading);
            return;
        }
        let is_late = self.horizon().is_some_and(|at| i128::from(event.time) < at);
        let reason = match self.model.config.on_reset {
            _ if home != *newest => {
                self.happened("island of an older incarnation");
                "late"
            }
            _ if is_late => "late",
            OnReset::DeadLetter => "out-of-sequence",
            OnReset::NewSequence => {
                let mut sequence = Sequence::new(&event.stream);
                sequence.take(reading);
                self.sequences.push(sequence);
                self.happened("new incarnation");
                return;
            }
        };
        self.refused.push((index, reason));
        self.sequences[home].count(event);
        self.happened(reason);
    }

    /// Rules 3 to 6 for what is retained.
    fn look_for_gaps(&mut self) {
        let config = &self.model.config;
        let cut = self.cuts[self.epoch];
        let grace = i128::from(config.grace_ms) * 1000;
        for nth in 0..self.sequences.len() {
            let sequence = &self.sequences[nth];
            if sequence.is_gone {
                continue;
            }
            // S holds the ids of forgotten ranges, too. Where the input ends or no grace is given
            // everything is due.
            let passed = |id: &i64| match cut.watermark {
                _ if cut.is_last || grace == 0 => true,
                None => false,
                Some(watermark) => i128::from(sequence.earliest(*id)) <= watermark - grace,
            };
            let ids = sequence.ids.keys().copied();
            let due = ids.filter(passed).max().unwrap_or(i64::MIN);
            let due = due.max(sequence.due);
            let elements = sequence.elements();
            let mut found = Vec::new();
            for two in elements.windows(2) {
                if has_gap(two[0], two[1]) && two[1].first <= due {
                    found.push((two[0], two[1], self.open(sequence, two[0], two[1])));
                }
            }
            let narrow = found.iter().filter(|(_, _, open)| !open.is_wide);
            let missing: u128 = narrow.map(|(_, _, open)| open.gap.width()).sum();
            let is_sparse = missing > u128::from(config.max_missing);
            if config.reconstruct && !is_sparse {
                for (a, b, open) in &mut found {
                    if !open.is_wide {
                        open.guesses = self.guesses(sequence, *a, *b);
                    }
                }
            }
            let before = sequence.open.iter().flat_map(|open| &open.guesses);
            let filled = before
                .filter(|(id, _)| sequence.ids.contains_key(id))
                .count();
            self.history.filled_ids += filled as u64;
            let sequence = &mut self.sequences[nth];
            (sequence.due, sequence.is_sparse) = (due, is_sparse);
            sequence.open = found.into_iter().map(|(_, _, open)| open).collect();
        }
    }

    /// What stands after the epoch, whose records begin at `from`; and what it adds to
    /// `clean.jsonl`.
    fn answer(&mut self, from: usize) {
        let end = self.cuts[self.epoch].end;
        let mut answer = Answer::default();
        let letter = |answer: &mut Answer, reason: &str, index: usize| {
            self.model.letter(answer, reason, index);
        };
        for (index, verdict) in self.model.verdicts[..end].iter().enumerate() {
            if let Err(reason) = verdict {
                letter(&mut answer, reason, index);
            }
        }
        for (index, reason) in &self.refused {
            letter(&mut answer, reason, *index);
        }
        let mut kept: BTreeMap<usize, String> = BTreeMap::new();
        let mut final_kept: BTreeSet<usize> = BTreeSet::new();
        let mut final_guesses = Vec::new();
        for sequence in &self.sequences {
            for group in &sequence.groups {
                let seat = self.seat(group, &mut answer);
                if seat.event.valid != Some(false) {
                    let Record { bytes, .. } = &self.model.records[seat.index];
                    let text = published(&self.model.config, bytes, seat.event);
                    kept.insert(seat.index, text);
                    if group.dropped == Some(self.epoch) {
                        final_kept.insert(seat.index);
                    }
                }
            }
            let finals = sequence.finals.iter().map(|gone| &gone.open);
            for open in finals.chain(&sequence.open) {
                if open.is_wide {
                    answer.add_letter(Letter {
                        reason: "gap-too-wide".into(),
                        about: About::Gap(open.gap.clone()),
                    });
                }
                answer.add_gap(open.gap.clone());
                for (id, text) in &open.guesses {
                    let at = (sequence.stream.clone(), *id);
                    answer.reconstructed.push((at, text.clone()));
                }
            }
            for gone in sequence
                .finals
                .iter()
                .filter(|gone| gone.epoch == self.epoch)
            {
                for (id, text) in &gone.open.guesses {
                    final_guesses.push(((sequence.stream.clone(), *id), text.clone()));
                }
            }
            if sequence.is_sparse {
                answer.add_letter(Letter {
                    reason: "sequence-too-sparse".into(),
                    about: About::Stream(self.model.stream_json(&sequence.stream)),
                });
            }
        }
        // By stream and id; two incarnations may lack the same id: by text then.
        answer.reconstructed.sort();
        final_guesses.sort();
        let mut write = |text: &String| {
            self.history.clean.push_str(text);
            self.history.clean.push('\n');
        };
        let is_due = |index: &usize| match self.model.config.keep {
            Keep::First => *index >= from,
            Keep::Last => final_kept.contains(index),
        };
        let due = kept.iter().filter(|(index, _)| is_due(index));
        due.for_each(|(_, text)| write(text));
        final_guesses.iter().for_each(|(_, text)| write(text));
        answer.kept = kept.into_values().collect();
        self.history.answers.push(answer);
    }

    /// Rules 1 and 2 for one group: the copy in the seat; the others have their letters.
    fn seat(&self, group: &Group<'a>, answer: &mut Answer) -> Reading<'a> {
        let copies = &group.copies;
        let mut valid = copies.iter().filter(|copy| copy.event.valid != Some(false));
        let seat = match self.model.config.keep {
            Keep::First => valid.next().or(copies.first()),
            Keep::Last => valid.next_back().or(copies.last()),
        };
        let seat = *seat.expect("a group has a member");
        let bytes = |copy: &Reading<'_>| &self.model.records[copy.index].bytes;
        if seat.event.valid == Some(false) {
            self.model.letter(answer, "invalid", seat.index);
        }
        for copy in copies.iter().filter(|copy| copy.index != seat.index) {
            let is_same = bytes(copy) == bytes(&seat);
            let reason = if is_same { "duplicate" } else { "conflict" };
            self.model.letter(answer, reason, copy.index);
        }
        seat
    }

    /// Adds what is written only because the input ended.
    fn end(mut self) -> History {
        let mut kept = BTreeMap::new();
        let mut guesses = Vec::new();
        for sequence in &self.sequences {
            for group in sequence.groups.iter().filter(|g| g.dropped.is_none()) {
                let seat = self.seat(group, &mut Answer::default());
                if seat.event.valid != Some(false) && self.model.config.keep == Keep::Last {
                    let Record { bytes, .. } = &self.model.records[seat.index];
                    let text = published(&self.model.config, bytes, seat.event);
                    kept.insert(seat.index, text);
                }
            }
            for (id, text) in sequence.open.iter().flat_map(|open| &open.guesses) {
                guesses.push(((&sequence.stream, *id), text));
            }
        }
        guesses.sort();
        let mut rest = String::new();
        for text in kept
            .values()
            .chain(guesses.into_iter().map(|(_, text)| text))
        {
            rest.push_str(text);
            rest.push('\n');
        }
        self.history.clean.push_str(&rest);
        self.history
    }
}
