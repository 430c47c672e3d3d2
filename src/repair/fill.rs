//! The rules about gaps: which are due, which are too wide, what stands in for missing ids.
//!
//! A [`Filler`] holds the streams of one worker. Each epoch it is told what changed about gaps,
//! types and time, and answers with [`Note`]s: net changes of what is published, reported and set
//! aside. It speaks of intervals of ids and never of single ones, so that its work does not grow
//! with the width of gaps; whoever writes lines spells the ids out.
//!
//! All missing ids of a gap share one event time, because they share their neighbours; so a gap
//! that is enumerated is one interval with a time and a type.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names::Names;
use super::renumber::TypeCount;
use super::spec::{FillType, GapsSpec};
use super::wiring::Survey;
use crate::event::{Reason, TimestampFormat};
use crate::operators::gaps::Gap;
use crate::operators::retained::Forgotten;
use crate::time::EventTime;

/// A change of what is said about the gaps of one stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Note {
    /// Reconstructed events are published (diff 1) or withdrawn (-1): the changelog's part.
    Guess(Guess, i8),
    /// A dead letter about gaps is written or withdrawn.
    Letter {
        /// `GapTooWide` or `SequenceTooSparse`.
        reason: Reason,
        /// The stream's name.
        stream: String,
        /// The first missing id; of no meaning for `SequenceTooSparse`.
        from: i64,
        /// The last missing id; likewise.
        to: i64,
        /// 1 or -1.
        diff: i8,
    },
    /// Gaps open and close.
    Gaps {
        /// The stream's name.
        stream: String,
        /// Which of them, in the order of their ids.
        changes: Vec<GapChange>,
    },
    /// Reconstructed events that stand and are forgotten, so that they are final.
    Settled(Guess),
    /// Reconstructed events of one type that stand at the end of the input.
    Final(Finals),
    /// Something that stands, where that was asked.
    Stands(Box<Note>),
    /// How the totals change.
    Tally(Tally),
}

/// A gap opens or closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GapChange {
    /// The first missing id.
    pub from: i64,
    /// The last missing id.
    pub to: i64,
    /// 1 or -1.
    pub diff: i8,
}

impl Note {
    /// A letter about a stream that misses too many ids.
    fn too_sparse(stream: &str, diff: i8) -> Self {
        Note::Letter {
            reason: Reason::SequenceTooSparse,
            stream: stream.to_owned(),
            from: 0,
            to: 0,
            diff,
        }
    }

    /// The stream that the note is about, if it is about one.
    pub fn stream(&self) -> Option<&str> {
        match self {
            Note::Guess(guess, _) | Note::Settled(guess) => Some(&guess.stream),
            Note::Final(finals) => Some(&finals.stream),
            Note::Letter { stream, .. } | Note::Gaps { stream, .. } => Some(stream),
            Note::Stands(note) => note.stream(),
            Note::Tally(_) => None,
        }
    }

    /// The order of notes where names of streams are single texts.
    pub fn by_stream(&self, other: &Self) -> Ordering {
        let streams = self.stream().cmp(&other.stream());
        streams.then_with(|| self.cmp(other))
    }

    /// The note that takes this one back.
    pub fn withdrawn(mut self) -> Self {
        match &mut self {
            Note::Guess(_, diff) | Note::Letter { diff, .. } => *diff = -*diff,
            Note::Gaps { changes, .. } => {
                for change in changes {
                    change.diff = -change.diff;
                }
            }
            Note::Settled(_) | Note::Final(_) | Note::Stands(_) | Note::Tally(_) => {}
        }
        self
    }
}

/// Reconstructed events of consecutive missing ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Guess {
    /// The stream's name.
    pub stream: String,
    /// The first id.
    pub from: i64,
    /// The last id.
    pub to: i64,
    /// Their event time.
    pub time: EventTime,
    /// Their type.
    pub r#type: String,
}

impl Guess {
    /// The number of events.
    pub fn count(&self) -> u64 {
        width(self.from, self.to)
    }
}

/// Reconstructed events of one stream and type, of consecutive gaps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finals {
    /// The stream's name.
    pub stream: String,
    /// The first and the last id of each gap, and the event time of all ids that it misses; in the
    /// order of ids.
    pub gaps: Vec<(i64, i64, EventTime)>,
    /// Their type.
    pub r#type: String,
}

/// Changes of totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tally {
    /// Reconstructed events that are published.
    pub reconstructed: i64,
    /// Reconstructed events that were withdrawn or replaced.
    pub retracted: u64,
    /// Those of them whose id came.
    pub filled: u64,
    /// Open gaps.
    pub open: i64,
    /// Ids that open gaps miss.
    pub missing: i128,
}

/// What happened in one epoch, as far as one worker's streams go.
#[derive(Clone, Debug, Default)]
pub struct EpochOfGaps {
    /// Changes of gaps.
    pub gaps: Vec<((u32, Gap), isize)>,
    /// Events seen, by stream and type.
    pub types: Vec<TypeCount>,
    /// Ids seen for the first time at a time: (stream, id, time). Only needed with a grace.
    pub witnesses: Vec<(u32, i64, i64)>,
    /// The watermark, where it is known.
    pub watermark: Option<i64>,
    /// Whether the input ends with this epoch.
    pub last: bool,
    /// What was forgotten before the epoch's events were seen.
    pub forgotten: Vec<Forgotten>,
    /// Whether it is asked what stands.
    pub survey: Option<Survey>,
}

/// Which notes are wanted; tallies always are.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// `Guess` notes.
    pub guesses: bool,
    /// `Gaps` notes.
    pub gaps: bool,
}

/// The rules, and the gaps of one worker's streams.
#[derive(Debug)]
pub struct Filler {
    rules: GapsSpec,
    format: TimestampFormat,
    wanted: Wanted,
    /// The names of streams, and those of types.
    names: (Names, Names),
    type_names: TypeNames,
    fixed_type: Option<u32>,
    streams: HashMap<u32, Stream, foldhash::fast::RandomState>,
    /// All gaps, due or not, by stream and the id above.
    gaps: BTreeMap<(u32, i64), Gap>,
    /// (time, stream, id) of ids whose time the watermark has not passed by the grace.
    waiting: BinaryHeap<Reverse<(i64, u32, i64)>>,
    watermark: Option<i64>,
}

/// What is known of one stream.
#[derive(Debug)]
struct Stream {
    types: TypeCounts,
    /// Gaps are due when the id above is not greater; `i64::MIN` when none is.
    due: i64,
    /// Ids missed by due gaps that are not too wide.
    narrow: u128,
    sparse: bool,
}

/// What the most frequent type was, by stream.
type TypesBefore = HashMap<u32, Option<u32>, foldhash::fast::RandomState>;

impl Stream {
    /// A stream of which nothing is known; its number is held.
    fn new(number: u32, names: &Names, rules: &GapsSpec) -> Self {
        names.hold(number);
        Stream {
            types: TypeCounts::default(),
            due: if waits(rules) { i64::MIN } else { i64::MAX },
            narrow: 0,
            sparse: false,
        }
    }
}

/// Whether missing ids must wait for the watermark.
fn waits(rules: &GapsSpec) -> bool {
    rules.grace_us > 0
}

/// Events by type.
#[derive(Debug, Default)]
struct TypeCounts {
    counts: Vec<(u32, u64)>,
    /// Where each type stands in `counts`, once there are many.
    #[expect(
        clippy::box_collection,
        reason = "most streams have none, and no room for it"
    )]
    index: Option<Box<HashMap<u32, u32, foldhash::fast::RandomState>>>,
    /// Where the most frequent type stands, if there is one.
    most: u32,
}

/// The names of types that rows carry, which stay as they are, without asking all workers for them each time.
#[derive(Debug)]
struct TypeNames {
    names: Names,
    known: Vec<Option<Arc<str>>>,
}

impl TypeNames {
    fn new(names: Names) -> Self {
        let known = Vec::new();
        TypeNames { names, known }
    }

    /// Whether the first comes before the second in the order of bytes.
    fn is_less(&mut self, first: u32, second: u32) -> bool {
        for number in [first, second] {
            let at = number as usize;
            if at >= self.known.len() {
                self.known.resize(at + 1, None);
            }
            self.known[at].get_or_insert_with(|| self.names.name(number));
        }
        self.known[first as usize] < self.known[second as usize]
    }
}

/// Streams that are looked at together before they are changed.
const FETCHED_TOGETHER: usize = 16;
/// Up to this many types are looked for one by one.
const FEW_TYPES: usize = 12;

/// Consecutive missing ids that are reconstructed alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    from: i64,
    to: i64,
    time: EventTime,
    r#type: u32,
}

/// What a [`Filler`] knows, by the numbers that its streams had.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FillerBase {
    streams: Vec<(u32, StreamBase)>,
    watermark: Option<i64>,
}

/// What is known of one stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct StreamBase {
    types: Vec<(String, u64)>,
    due: i64,
    narrow: u128,
    sparse: bool,
    /// With the name of the type below, where it matters.
    gaps: Vec<(Gap, String)>,
    waiting: Vec<(i64, i64)>,
}

impl Filler {
    /// A filler with no streams; `names` are those of streams and of types.
    pub fn new(
        rules: GapsSpec,
        format: TimestampFormat,
        wanted: Wanted,
        names: (Names, Names),
    ) -> Self {
        let fixed_type = match &rules.r#type {
            // Held, because readers may let go of a name that they do not meet.
            FillType::Fixed(name) => Some(names.1.number_held(name)),
            FillType::MostFrequent | FillType::LowerNeighbour => None,
        };
        Filler {
            rules,
            format,
            wanted,
            type_names: TypeNames::new(names.1.clone()),
            names,
            fixed_type,
            streams: HashMap::default(),
            gaps: BTreeMap::new(),
            waiting: BinaryHeap::new(),
            watermark: None,
        }
    }

    /// Takes note of a watermark that is in force from the next epoch on.
    pub fn know_watermark(&mut self, watermark: Option<i64>) {
        self.watermark = self.watermark.max(watermark);
    }

    /// The watermark of the latest epoch.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Applies one epoch, which comes after all that were applied; appends what changes.
    pub fn apply(&mut self, mut epoch: EpochOfGaps, notes: &mut Vec<Note>) {
        if let Some(survey) = epoch.survey.take() {
            if survey == Survey::After {
                self.apply(epoch, notes);
            }
            let mut standing = Vec::new();
            self.note_standing(&mut standing);
            let standing = standing.into_iter();
            notes.extend(standing.map(|note| Note::Stands(Box::new(note))));
            return;
        }
        self.watermark = self.watermark.max(epoch.watermark);
        let mut settled = Tally::default();
        epoch.forgotten.sort_unstable();
        for forgotten in &epoch.forgotten {
            self.settle(*forgotten, notes, &mut settled);
        }
        let gone = epoch
            .forgotten
            .iter()
            .filter_map(|forgotten| match forgotten {
                Forgotten::Sequence(sequence) => Some(*sequence),
                Forgotten::Gap { .. } => None,
            });
        let gone: BTreeSet<u32> = gone.collect();
        if !gone.is_empty() {
            // Its number may name another sequence from now on.
            self.waiting
                .retain(|Reverse((_, stream, _))| !gone.contains(stream));
        }
        let mut due: HashMap<u32, i64, foldhash::fast::RandomState> = HashMap::default();
        if waits(&self.rules) {
            self.pass_watermark(&epoch.witnesses, &mut due);
        }
        epoch.gaps.sort_unstable();
        let types_before = self.count_types(&epoch.types);
        let mut touched: Vec<u32> = epoch.gaps.iter().map(|((stream, _), _)| *stream).collect();
        touched.extend(types_before.keys());
        touched.extend(due.keys());
        touched.extend(
            epoch
                .forgotten
                .iter()
                .filter_map(|forgotten| match forgotten {
                    Forgotten::Gap { sequence, .. } if !gone.contains(sequence) => Some(*sequence),
                    Forgotten::Gap { .. } | Forgotten::Sequence(_) => None,
                }),
        );
        if epoch.last && waits(&self.rules) {
            touched.extend(self.gaps.keys().map(|(stream, _)| *stream));
        }
        touched.sort_unstable();
        touched.dedup();

        let mut tally = settled;
        let mut gaps = &epoch.gaps[..];
        for stream in touched {
            let gaps_here = take_while(&mut gaps, |((of, _), _)| *of == stream);
            let type_before = types_before.get(&stream).copied();
            let due = if epoch.last {
                Some(i64::MAX)
            } else {
                due.get(&stream).copied()
            };
            self.apply_stream(stream, gaps_here, type_before, due, notes, &mut tally);
        }
        if tally != Tally::default() {
            notes.push(Note::Tally(tally));
        }
        if epoch.last {
            self.finish(notes);
        }
    }

    /// Counts events by their types, and returns what the most frequent type was before of streams in
    /// which it changes at times. Most streams have events and nothing else in an epoch, so this is all
    /// that is done for them.
    fn count_types(&mut self, types: &[TypeCount]) -> TypesBefore {
        let mut types_before = TypesBefore::default();
        for (at, seen) in types.iter().enumerate() {
            if at % FETCHED_TOGETHER == 0 {
                self.fetch(&types[at..types.len().min(at + FETCHED_TOGETHER)]);
            }
            let stream = self.streams.entry(seen.stream);
            let stream =
                stream.or_insert_with(|| Stream::new(seen.stream, &self.names.0, &self.rules));
            let before = stream.types.most_frequent();
            stream
                .types
                .add(seen.r#type, seen.count, &mut self.type_names);
            if stream.types.most_frequent() != before {
                types_before.entry(seen.stream).or_insert(before);
            }
        }
        types_before
    }

    /// Looks at streams that are about to be changed, so that the processor waits for the memory of all
    /// of them at once.
    fn fetch(&self, types: &[TypeCount]) {
        let streams = types
            .iter()
            .filter_map(|seen| self.streams.get(&seen.stream));
        let counts = streams.filter_map(|stream| stream.types.counts.first());
        std::hint::black_box(counts.map(|(_, count)| *count).fold(0, u64::wrapping_add));
    }

    /// Moves ids that the watermark has passed by the grace from `waiting` to `due`: of each
    /// stream the highest.
    fn pass_watermark(
        &mut self,
        witnesses: &[(u32, i64, i64)],
        due: &mut HashMap<u32, i64, foldhash::fast::RandomState>,
    ) {
        self.waiting.extend(
            witnesses
                .iter()
                .filter(|(stream, id, _)| self.streams.get(stream).is_none_or(|s| *id > s.due))
                .map(|&(stream, id, time)| Reverse((time, stream, id))),
        );
        let Some(watermark) = self.watermark else {
            return;
        };
        let passed = watermark.saturating_sub(self.rules.grace_us);
        while let Some(&Reverse((time, stream, id))) = self.waiting.peek() {
            if time > passed {
                break;
            }
            self.waiting.pop();
            due.entry(stream)
                .and_modify(|highest| *highest = id.max(*highest))
                .or_insert(id);
        }
    }

    fn apply_stream(
        &mut self,
        number: u32,
        gaps: &[((u32, Gap), isize)],
        type_before: Option<Option<u32>>,
        due: Option<i64>,
        notes: &mut Vec<Note>,
        tally: &mut Tally,
    ) {
        let stream = self.streams.entry(number);
        let stream = stream.or_insert_with(|| Stream::new(number, &self.names.0, &self.rules));
        let type_after = self.fixed_type.or(stream.types.most_frequent());
        let type_before = type_before.map_or(type_after, |before| self.fixed_type.or(before));
        let due_before = stream.due;
        let due_after = due_before.max(due.unwrap_or(i64::MIN));
        stream.due = due_after;

        // What was due before and is no longer so, and what is due now and was not.
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for ((_, gap), diff) in gaps {
            if *diff < 0 {
                self.gaps.remove(&(number, gap.above));
                if gap.above <= due_before {
                    gone.push(*gap);
                }
            }
        }
        for ((_, gap), diff) in gaps {
            if *diff > 0 {
                self.gaps.insert((number, gap.above), *gap);
                if gap.above <= due_before {
                    come.push(*gap);
                }
            }
        }
        if due_after > due_before {
            let newly = self
                .gaps
                .range((number, due_before + 1)..=(number, due_after));
            come.extend(newly.map(|(_, gap)| *gap));
        }
        gone.sort_unstable();
        come.sort_unstable();

        let max_width = self.rules.max_width;
        let is_narrow = |gap: &&Gap| gap.width() <= max_width;
        let missed = |gaps: &[Gap]| -> u128 {
            gaps.iter()
                .filter(is_narrow)
                .map(|gap| u128::from(gap.width()))
                .sum()
        };
        let sparse_before = stream.sparse;
        let narrow_before = stream.narrow;
        stream.narrow = stream.narrow + missed(&come) - missed(&gone);
        let narrow_after = stream.narrow;
        stream.sparse = stream.narrow > u128::from(self.rules.max_missing);
        let sparse_after = stream.sparse;

        let shown_before = self.rules.reconstruct && !sparse_before;
        let shown_after = self.rules.reconstruct && !sparse_after;
        let same_rules = shown_before == shown_after
            && (type_before == type_after || self.rules.r#type != FillType::MostFrequent);
        if gone.is_empty() && come.is_empty() && sparse_before == sparse_after {
            let mut stand = self.gaps.range((number, i64::MIN)..=(number, due_after));
            if same_rules || stand.next().is_none() {
                return;
            }
        }

        let name = self.names.0.name(number);
        self.note_gaps(&name, &gone, &come, notes, tally);
        if sparse_before != sparse_after {
            let diff = if sparse_after { 1 } else { -1 };
            notes.push(Note::too_sparse(&name, diff));
        }
        if shown_before {
            tally.filled += missing_only_in(&gone, &come, max_width);
        }

        if !same_rules && !self.wanted.guesses {
            // All of it changes, and nobody asks for more than how much that is.
            let before = if shown_before { narrow_before } else { 0 };
            let after = if shown_after { narrow_after } else { 0 };
            tally.reconstructed += after as i64 - before as i64;
            tally.retracted += before as u64;
            return;
        }

        // Intervals that are published alike before and after need not be looked at, unless the
        // rules for the whole stream have changed.
        let (mut all_gone, mut all_come) = (gone, come);
        if !same_rules {
            let now: Vec<Gap> = self
                .gaps
                .range((number, i64::MIN)..=(number, due_after))
                .map(|(_, gap)| *gap)
                .collect();
            let newly: BTreeSet<Gap> = all_come.iter().copied().collect();
            all_gone.extend(now.iter().filter(|gap| !newly.contains(gap)));
            all_gone.sort_unstable();
            all_come = now;
        }
        let intervals = |gaps: &[Gap], shown: bool, r#type: Option<u32>| -> Vec<Interval> {
            if !shown {
                return Vec::new();
            }
            gaps.iter()
                .filter(is_narrow)
                .map(|gap| self.interval(gap, r#type))
                .collect()
        };
        let before = intervals(&all_gone, shown_before, type_before);
        let after = intervals(&all_come, shown_after, type_after);
        for (interval, diff) in difference(&before, &after) {
            let count = width(interval.from, interval.to);
            tally.reconstructed += i64::from(diff) * count as i64;
            if diff < 0 {
                tally.retracted += count;
            }
            if self.wanted.guesses {
                notes.push(Note::Guess(self.guess(&name, interval), diff));
            }
        }
    }

    /// Lets go of what was forgotten. What was inferred for it is final; a gap that was not due is
    /// due at the latest now.
    fn settle(&mut self, forgotten: Forgotten, notes: &mut Vec<Note>, tally: &mut Tally) {
        match forgotten {
            Forgotten::Gap { sequence, above } => {
                if let Some(gap) = self.gaps.remove(&(sequence, above)) {
                    self.settle_gap(sequence, &gap, notes, tally);
                }
            }
            Forgotten::Sequence(sequence) => {
                let gaps: Vec<Gap> = self
                    .gaps
                    .extract_if((sequence, i64::MIN)..=(sequence, i64::MAX), |_, _| true)
                    .map(|(_, gap)| gap)
                    .collect();
                for gap in gaps {
                    self.settle_gap(sequence, &gap, notes, tally);
                }
                if let Some(stream) = self.streams.remove(&sequence) {
                    if stream.sparse {
                        // It has no gaps any more.
                        notes.push(Note::too_sparse(&self.names.0.name(sequence), -1));
                    }
                    self.names.0.release(sequence);
                    if self.streams.len() < self.streams.capacity() / 4 {
                        self.streams.shrink_to_fit();
                        self.waiting.shrink_to_fit();
                    }
                }
            }
        }
    }

    fn settle_gap(&mut self, sequence: u32, gap: &Gap, notes: &mut Vec<Note>, tally: &mut Tally) {
        let Some(stream) = self.streams.get_mut(&sequence) else {
            return;
        };
        let was_due = gap.above <= stream.due;
        let is_narrow = gap.width() <= self.rules.max_width;
        if was_due && is_narrow {
            stream.narrow -= u128::from(gap.width());
        }
        let shown = self.rules.reconstruct && !stream.sparse && is_narrow;
        let r#type = self.fixed_type.or(stream.types.most_frequent());
        let name = self.names.0.name(sequence);
        if !was_due {
            self.note_gaps(&name, &[], &[*gap], notes, tally);
        }
        if !shown {
            return;
        }
        let interval = self.interval(gap, r#type);
        let guess = self.guess(&name, interval);
        if !was_due {
            tally.reconstructed += guess.count() as i64;
            if self.wanted.guesses {
                notes.push(Note::Guess(guess.clone(), 1));
            }
        }
        notes.push(Note::Settled(guess));
    }

    /// Notes all that stands, as if it were new.
    fn note_standing(&self, notes: &mut Vec<Note>) {
        let mut tally = Tally::default();
        for (&(number, _), gap) in &self.gaps {
            let Some(stream) = self.streams.get(&number) else {
                continue;
            };
            if gap.above > stream.due {
                continue;
            }
            let name = self.names.0.name(number);
            self.note_gaps(&name, &[], &[*gap], notes, &mut tally);
            let shown = self.rules.reconstruct && !stream.sparse;
            if shown && gap.width() <= self.rules.max_width {
                let r#type = self.fixed_type.or(stream.types.most_frequent());
                let interval = self.interval(gap, r#type);
                notes.push(Note::Guess(self.guess(&name, interval), 1));
            }
        }
        for (&number, stream) in &self.streams {
            if stream.sparse {
                notes.push(Note::too_sparse(&self.names.0.name(number), 1));
            }
        }
    }

    /// What is known, to go on from in another run.
    pub fn snapshot(&self) -> FillerBase {
        let types = |stream: &Stream| {
            let counts = stream.types.counts.iter();
            counts
                .map(|(r#type, count)| (self.names.1.name(*r#type).to_string(), *count))
                .collect()
        };
        let mut streams: BTreeMap<u32, StreamBase> = self
            .streams
            .iter()
            .map(|(&number, stream)| {
                let base = StreamBase {
                    types: types(stream),
                    due: stream.due,
                    narrow: stream.narrow,
                    sparse: stream.sparse,
                    ..StreamBase::default()
                };
                (number, base)
            })
            .collect();
        for (&(number, _), gap) in &self.gaps {
            if let Some(base) = streams.get_mut(&number) {
                let tag = match self.rules.r#type {
                    FillType::LowerNeighbour => self.names.1.name(gap.below_tag).to_string(),
                    FillType::MostFrequent | FillType::Fixed(_) => String::new(),
                };
                base.gaps.push((*gap, tag));
            }
        }
        for Reverse((time, number, id)) in &self.waiting {
            if let Some(base) = streams.get_mut(number) {
                base.waiting.push((*time, *id));
            }
        }
        FillerBase {
            streams: streams.into_iter().collect(),
            watermark: self.watermark,
        }
    }

    /// Takes up what was known; `number` gives the numbers of the streams that this worker has,
    /// for those that they had.
    pub fn restore(&mut self, base: FillerBase, number: impl Fn(u32) -> Option<u32>) {
        self.watermark = self.watermark.max(base.watermark);
        for (before, base) in base.streams {
            let Some(now) = number(before) else { continue };
            self.names.0.hold(now);
            let mut types = TypeCounts::default();
            for (name, count) in base.types {
                types.add(self.names.1.number(&name), count, &mut self.type_names);
            }
            let stream = Stream {
                types,
                due: base.due,
                narrow: base.narrow,
                sparse: base.sparse,
            };
            self.streams.insert(now, stream);
            for (mut gap, tag) in base.gaps {
                if self.rules.r#type == FillType::LowerNeighbour {
                    gap.below_tag = self.names.1.number(&tag);
                }
                self.gaps.insert((now, gap.above), gap);
            }
            let waiting = base.waiting.into_iter();
            self.waiting
                .extend(waiting.map(|(time, id)| Reverse((time, now, id))));
        }
    }

    /// Notes which gaps opened and closed, and which of them are too wide.
    fn note_gaps(
        &self,
        stream: &str,
        gone: &[Gap],
        come: &[Gap],
        notes: &mut Vec<Note>,
        tally: &mut Tally,
    ) {
        let changes = changes(gone, come);
        for &GapChange { from, to, diff } in &changes {
            tally.open += i64::from(diff);
            tally.missing += i128::from(diff) * i128::from(width(from, to));
            if width(from, to) > self.rules.max_width {
                let (reason, stream) = (Reason::GapTooWide, stream.to_owned());
                notes.push(Note::Letter {
                    reason,
                    stream,
                    from,
                    to,
                    diff,
                });
            }
        }
        if self.wanted.gaps && !changes.is_empty() {
            let stream = stream.to_owned();
            notes.push(Note::Gaps { stream, changes });
        }
    }

    /// Notes everything that is reconstructed at the end of the input.
    fn finish(&self, notes: &mut Vec<Note>) {
        // Of which stream and type the last note is.
        let mut last = None;
        for (&(number, _), gap) in &self.gaps {
            let Some(stream) = self.streams.get(&number) else {
                continue;
            };
            let shown = self.rules.reconstruct && !stream.sparse;
            if !shown || gap.width() > self.rules.max_width {
                continue;
            }
            let r#type = self.fixed_type.or(stream.types.most_frequent());
            let interval = self.interval(gap, r#type);
            let gap = (interval.from, interval.to, interval.time);
            match notes.last_mut() {
                Some(Note::Final(finals)) if last == Some((number, interval.r#type)) => {
                    finals.gaps.push(gap);
                }
                _ => notes.push(Note::Final(Finals {
                    stream: self.names.0.name(number).to_string(),
                    gaps: vec![gap],
                    r#type: self.names.1.name(interval.r#type).to_string(),
                })),
            }
            last = Some((number, interval.r#type));
        }
    }

    /// How the missing ids of `gap` are reconstructed in a stream with this type for them.
    fn interval(&self, gap: &Gap, r#type: Option<u32>) -> Interval {
        let time = EventTime(gap.below_time).midpoint(EventTime(gap.above_time));
        let r#type = match self.rules.r#type {
            FillType::LowerNeighbour => gap.below_tag,
            FillType::MostFrequent | FillType::Fixed(_) => r#type.unwrap_or_default(),
        };
        Interval {
            from: gap.from(),
            to: gap.to(),
            time: self.format.round_down(time),
            r#type,
        }
    }

    fn guess(&self, stream: &str, interval: Interval) -> Guess {
        Guess {
            stream: stream.to_owned(),
            from: interval.from,
            to: interval.to,
            time: interval.time,
            r#type: self.names.1.name(interval.r#type).to_string(),
        }
    }
}

impl TypeCounts {
    fn most_frequent(&self) -> Option<u32> {
        self.counts.get(self.most as usize).map(|(most, _)| *most)
    }

    /// Counts are only ever raised, so the most frequent type is the one so far or the one raised.
    fn add(&mut self, r#type: u32, count: u64, names: &mut TypeNames) {
        let at = self.place(r#type);
        self.counts[at].1 += count;
        let most = self.most as usize;
        if at == most {
            return;
        }
        let ahead = self.counts[at].1.cmp(&self.counts[most].1);
        let wins = ahead.is_gt() || ahead.is_eq() && names.is_less(r#type, self.counts[most].0);
        if wins {
            self.most = at as u32;
        }
    }

    /// Where a type stands in `counts`; at their end, where it did not.
    fn place(&mut self, r#type: u32) -> usize {
        let end = self.counts.len();
        let known = if end <= FEW_TYPES {
            self.counts.iter().position(|(known, _)| *known == r#type)
        } else {
            let counts = self.counts.iter().zip(0..);
            let index = self.index.get_or_insert_with(|| {
                Box::new(counts.map(|((known, _), at)| (*known, at)).collect())
            });
            index.get(&r#type).map(|at| *at as usize)
        };
        known.unwrap_or_else(|| {
            self.counts.push((r#type, 0));
            if let Some(index) = &mut self.index {
                index.insert(r#type, end as u32);
            }
            end
        })
    }
}

/// The number of ids from `from` to `to`, both included.
fn width(from: i64, to: i64) -> u64 {
    (to.wrapping_sub(from) as u64).saturating_add(1)
}

/// Splits off the front of `rest` as long as `belongs` holds.
fn take_while<'a, T>(rest: &mut &'a [T], belongs: impl Fn(&T) -> bool) -> &'a [T] {
    let (front, back) = rest.split_at(rest.partition_point(belongs));
    *rest = back;
    front
}

/// The gaps of `gone` that close and those of `come` that open, both of which are sorted, in the
/// order of their ids: not those whose ids are missing in both.
fn changes(gone: &[Gap], come: &[Gap]) -> Vec<GapChange> {
    let ids = |gap: &Gap| (gap.from(), gap.to());
    let (mut gone, mut come) = (
        gone.iter().map(ids).peekable(),
        come.iter().map(ids).peekable(),
    );
    let mut changes = Vec::new();
    loop {
        let ((from, to), diff) = match (gone.peek(), come.peek()) {
            (Some(closes), Some(opens)) if closes == opens => {
                gone.next();
                come.next();
                continue;
            }
            (Some(&closes), opens) if opens.is_none_or(|opens| closes < *opens) => {
                gone.next();
                (closes, -1)
            }
            (_, Some(&opens)) => {
                come.next();
                (opens, 1)
            }
            (_, None) => return changes,
        };
        changes.push(GapChange { from, to, diff });
    }
}

/// How many ids of the gaps in `before` that are not too wide are missed by no gap in `after`.
fn missing_only_in(before: &[Gap], after: &[Gap], max_width: u64) -> u64 {
    let mut only = 0;
    for gap in before.iter().filter(|gap| gap.width() <= max_width) {
        let start = after.partition_point(|other| other.to() < gap.from());
        let still: u64 = after[start..]
            .iter()
            .take_while(|other| other.from() <= gap.to())
            .map(|other| width(other.from().max(gap.from()), other.to().min(gap.to())))
            .sum();
        only += gap.width() - still;
    }
    only
}

/// What must be withdrawn (-1) and published (1) to get from `before` to `after`, both sorted and
/// without overlaps; ids that are alike in both are left out.
fn difference(before: &[Interval], after: &[Interval]) -> Vec<(Interval, i8)> {
    let mut changes = Vec::new();
    subtract(before, after, -1, &mut changes);
    subtract(after, before, 1, &mut changes);
    changes
}

/// Appends the pieces of `intervals` that are not alike in `others`.
fn subtract(
    intervals: &[Interval],
    others: &[Interval],
    diff: i8,
    pieces: &mut Vec<(Interval, i8)>,
) {
    let mut rest = others;
    for interval in intervals {
        rest = &rest[rest.partition_point(|other| other.to < interval.from)..];
        let mut from = Some(interval.from);
        for other in rest.iter().take_while(|other| other.from <= interval.to) {
            if (other.time, other.r#type) != (interval.time, interval.r#type) {
                continue;
            }
            let start = from.unwrap_or(i64::MAX);
            if start < other.from {
                pieces.push((
                    Interval {
                        from: start,
                        to: other.from - 1,
                        ..*interval
                    },
                    diff,
                ));
            }
            // An interval ends below the id above its gap, so the next id exists.
            from = (other.to < interval.to).then(|| other.to + 1);
            if from.is_none() {
                break;
            }
        }
        if let Some(from) = from {
            pieces.push((Interval { from, ..*interval }, diff));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(from: i64, to: i64, time: i64) -> Interval {
        Interval {
            from,
            to,
            time: EventTime(time),
            r#type: 0,
        }
    }

    #[track_caller]
    fn check(before: &[Interval], after: &[Interval]) {
        let ids = |intervals: &[Interval]| -> BTreeSet<(i64, EventTime)> {
            intervals
                .iter()
                .flat_map(|i| (i.from..=i.to).map(|id| (id, i.time)))
                .collect()
        };
        let (old, new) = (ids(before), ids(after));
        let mut expected: Vec<_> = old.difference(&new).map(|row| (*row, -1)).collect();
        expected.extend(new.difference(&old).map(|row| (*row, 1)));
        let mut found: Vec<_> = difference(before, after)
            .iter()
            .flat_map(|(i, diff)| (i.from..=i.to).map(|id| ((id, i.time), *diff)))
            .collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn oracle_changes_are_those_of_sets() {
        let mut random = crate::testing::workload::Random::new(5);
        for _ in 0..500 {
            // Gaps between some of the same few ids, so that many are alike but for their times.
            let mut gaps = || -> Vec<Gap> {
                let seen = (0..12).filter(|_| random.chance(0.6)).collect::<Vec<i64>>();
                let ends = seen.iter().zip(seen.iter().skip(1));
                let ends = ends.filter(|(below, above)| *above - *below > 1);
                let gaps = ends.map(|(&below, &above)| Gap {
                    below,
                    above,
                    below_time: random.below(2) as i64,
                    above_time: 0,
                    below_tag: 0,
                });
                gaps.collect()
            };
            let (gone, come) = (gaps(), gaps());
            let ids = |gaps: &[Gap]| -> BTreeSet<(i64, i64)> {
                gaps.iter().map(|gap| (gap.from(), gap.to())).collect()
            };
            let (old, new) = (ids(&gone), ids(&come));
            let closed = old.difference(&new).map(|ids| (*ids, -1));
            let mut expected: Vec<_> = closed.collect();
            expected.extend(new.difference(&old).map(|ids| (*ids, 1)));
            expected.sort_unstable();
            let found: Vec<_> = changes(&gone, &come)
                .iter()
                .map(|change| ((change.from, change.to), change.diff))
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn difference_names_exactly_the_ids_that_change() {
        check(&[], &[]);
        check(&[interval(1, 5, 0)], &[]);
        check(
            &[interval(1, 5, 0)],
            &[interval(1, 2, 0), interval(4, 5, 0)],
        );
        check(
            &[interval(1, 5, 0)],
            &[interval(1, 2, 7), interval(4, 5, 0)],
        );
        check(
            &[interval(1, 5, 0), interval(8, 9, 1)],
            &[interval(3, 3, 0), interval(8, 9, 2)],
        );
        check(
            &[interval(2, 3, 0), interval(5, 9, 0)],
            &[interval(1, 12, 0)],
        );
    }
}
