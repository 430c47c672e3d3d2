//! The columns of records that follow each other in one epoch, and how they are filled and read.
//!
//! One rule: every record has a row, in the order of reading. A record that could not be decoded has
//! one with [`FAULT`] and zeros, so that the row of a record is found by counting.

use crate::time::EventTime;

/// The record is not a well-formed event; [`Chunk::fault`] says why.
pub const FAULT: u8 = 1;
/// The event says whether it is valid.
pub const HAS_VALID: u8 = 2;
/// The event is valid; absent means so too.
pub const VALID: u8 = 4;
/// The record contains a line break.
pub const LINE_BREAK: u8 = 8;

/// What was decoded of one well-formed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRow<'a> {
    /// The sequence id.
    pub id: i64,
    /// When it happened.
    pub time: EventTime,
    /// The fingerprint of the record's bytes.
    pub print: u64,
    /// The number of its stream, in any numbering.
    pub stream: u32,
    /// The number of its type, in any numbering.
    pub r#type: u32,
    /// Some of [`HAS_VALID`], [`VALID`] and [`LINE_BREAK`].
    pub flags: u8,
    /// The dedup key; empty where events are keyed by id and time.
    pub key: &'a [u8],
}

/// Why a record is not a well-formed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faulty<'a> {
    /// The code of the reason.
    pub reason: u8,
    /// What was found.
    pub detail: &'a str,
}

/// What was decoded of records that follow each other in one epoch.
///
/// Rows are numbered from 0. Streams and types are numbers in dictionaries of the chunk's own.
/// Texts and keys lie one after the other in one column, with where each ends in another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    pub(super) epoch: u64,
    pub(super) first: u64,
    pub(super) ids: Vec<i64>,
    pub(super) times: Vec<i64>,
    pub(super) prints: Vec<u64>,
    /// Empty where all keys are.
    pub(super) key_ends: Vec<u64>,
    pub(super) fault_rows: Vec<u64>,
    pub(super) detail_ends: Vec<u64>,
    pub(super) stream_ends: Vec<u64>,
    pub(super) type_ends: Vec<u64>,
    pub(super) streams: Vec<u32>,
    pub(super) types: Vec<u32>,
    pub(super) flags: Vec<u8>,
    pub(super) reasons: Vec<u8>,
    pub(super) keys: Vec<u8>,
    pub(super) details: Vec<u8>,
    pub(super) stream_names: Vec<u8>,
    pub(super) type_names: Vec<u8>,
}

/// # Panics
/// What asks for a row panics where the chunk has no such row, as a slice does.
impl Chunk {
    /// The epoch of the records.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number in the epoch of the record in row 0.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The sequence id; 0 for a fault.
    pub fn id(&self, row: usize) -> i64 {
        self.ids[row]
    }

    /// When it happened; 0 for a fault.
    pub fn time(&self, row: usize) -> EventTime {
        EventTime(self.times[row])
    }

    /// The fingerprint of the record's bytes; 0 for a fault.
    pub fn print(&self, row: usize) -> u64 {
        self.prints[row]
    }

    /// The number of the stream among [`Chunk::stream_names`]; 0 for a fault.
    pub fn stream_number(&self, row: usize) -> u32 {
        self.streams[row]
    }

    /// The number of the type among [`Chunk::type_names`]; 0 for a fault.
    pub fn type_number(&self, row: usize) -> u32 {
        self.types[row]
    }

    /// The stream's name; empty for a fault.
    pub fn stream(&self, row: usize) -> &str {
        self.named(row, &self.stream_names, &self.stream_ends, &self.streams)
    }

    /// The event's type; empty for a fault.
    pub fn r#type(&self, row: usize) -> &str {
        self.named(row, &self.type_names, &self.type_ends, &self.types)
    }

    /// [`FAULT`], [`HAS_VALID`], [`VALID`] and [`LINE_BREAK`].
    pub fn flags(&self, row: usize) -> u8 {
        self.flags[row]
    }

    /// The dedup key; empty where events are keyed by id and time, and for a fault.
    pub fn key(&self, row: usize) -> &[u8] {
        part(&self.keys, &self.key_ends, row)
    }

    /// What is wrong with the record, where it is not a well-formed event.
    pub fn fault(&self, row: usize) -> Option<Faulty<'_>> {
        if self.flags[row] & FAULT == 0 {
            return None;
        }
        let nth = self.fault_rows.binary_search(&(row as u64)).ok()?;
        Some(Faulty {
            reason: *self.reasons.get(nth)?,
            detail: text(part(&self.details, &self.detail_ends, nth)),
        })
    }

    /// The names of the streams, by number.
    pub fn stream_names(&self) -> impl ExactSizeIterator<Item = &str> {
        let name = |nth| text(part(&self.stream_names, &self.stream_ends, nth));
        (0..self.stream_ends.len()).map(name)
    }

    /// The names of the types, by number.
    pub fn type_names(&self) -> impl ExactSizeIterator<Item = &str> {
        let name = |nth| text(part(&self.type_names, &self.type_ends, nth));
        (0..self.type_ends.len()).map(name)
    }

    fn named<'a>(&'a self, row: usize, names: &'a [u8], ends: &[u64], numbers: &[u32]) -> &'a str {
        match self.flags[row] & FAULT {
            0 => text(part(names, ends, numbers[row] as usize)),
            _ => "",
        }
    }

    /// Whether the columns fit together, as those that a builder made do.
    pub(super) fn is_consistent(&self) -> bool {
        let rows = self.len();
        let faults = self.fault_rows.len();
        let is_row = |row: &u64| usize::try_from(*row).is_ok_and(|row| row < rows);
        let is_fault = |row: &u64| self.flags[*row as usize] & FAULT != 0;
        let flagged = self.flags.iter().filter(|flags| **flags & FAULT != 0);
        [self.times.len(), self.prints.len(), self.flags.len()] == [rows; 3]
            && [self.streams.len(), self.types.len()] == [rows; 2]
            && [self.reasons.len(), self.detail_ends.len()] == [faults; 2]
            && self.fault_rows.is_sorted_by(|a, b| a < b)
            && self.fault_rows.iter().all(is_row)
            && self.fault_rows.iter().all(is_fault)
            && flagged.count() == faults
            && (self.key_ends.is_empty() || self.key_ends.len() == rows)
            && are_ends(&self.key_ends, &self.keys)
            && are_texts(&self.detail_ends, &self.details)
            && are_texts(&self.stream_ends, &self.stream_names)
            && are_texts(&self.type_ends, &self.type_names)
            && self.are_numbers(&self.streams, &self.stream_ends)
            && self.are_numbers(&self.types, &self.type_ends)
    }

    /// Whether the number of each event is one of a name.
    fn are_numbers(&self, numbers: &[u32], ends: &[u64]) -> bool {
        let mut rows = numbers.iter().zip(&self.flags);
        rows.all(|(number, flags)| flags & FAULT != 0 || (*number as usize) < ends.len())
    }
}

/// The part number `nth` of a column of parts; empty where there is none.
fn part<'a>(parts: &'a [u8], ends: &[u64], nth: usize) -> &'a [u8] {
    let end = |nth: usize| ends.get(nth).map(|end| *end as usize);
    let start = nth.checked_sub(1).map_or(Some(0), end);
    let range = start.zip(end(nth)).map(|(start, end)| start..end);
    range.and_then(|range| parts.get(range)).unwrap_or_default()
}

/// What was a text when it was written.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Whether these are the ends of parts that together are `parts`.
fn are_ends(ends: &[u64], parts: &[u8]) -> bool {
    ends.is_sorted() && ends.last().copied().unwrap_or(0) == parts.len() as u64
}

fn are_texts(ends: &[u64], texts: &[u8]) -> bool {
    are_ends(ends, texts)
        && std::str::from_utf8(texts)
            .is_ok_and(|texts| ends.iter().all(|end| texts.is_char_boundary(*end as usize)))
}

/// Fills [`Chunk`]s row by row, one after the other.
#[derive(Clone, Debug, Default)]
pub struct ChunkBuilder {
    chunk: Chunk,
    streams: Dictionary,
    types: Dictionary,
}

impl ChunkBuilder {
    /// Begins a chunk of `epoch` whose first row is the record number `first` of the epoch, with room
    /// for `rows`.
    pub fn begin(&mut self, epoch: u64, first: u64, rows: usize) {
        self.streams.clear();
        self.types.clear();
        self.chunk = Chunk {
            epoch,
            first,
            ids: Vec::with_capacity(rows),
            times: Vec::with_capacity(rows),
            prints: Vec::with_capacity(rows),
            streams: Vec::with_capacity(rows),
            types: Vec::with_capacity(rows),
            flags: Vec::with_capacity(rows),
            ..Chunk::default()
        };
    }

    /// Adds the row of a well-formed event.
    pub fn push_event(&mut self, event: &EventRow<'_>) {
        self.push_events(std::iter::once(*event));
    }

    /// Adds the rows of well-formed events, column by column.
    #[inline]
    pub fn push_events<'a>(&mut self, events: impl ExactSizeIterator<Item = EventRow<'a>> + Clone) {
        let chunk = &mut self.chunk;
        let has_keys = !chunk.key_ends.is_empty();
        if has_keys || events.clone().any(|event| !event.key.is_empty()) {
            chunk.key_ends.resize(chunk.ids.len(), 0);
            for event in events.clone() {
                chunk.keys.extend_from_slice(event.key);
                chunk.key_ends.push(chunk.keys.len() as u64);
            }
        }
        let (streams, types) = (&mut self.streams, &mut self.types);
        chunk.ids.extend(events.clone().map(|event| event.id));
        chunk.times.extend(events.clone().map(|event| event.time.0));
        chunk.prints.extend(events.clone().map(|event| event.print));
        let numbers = events.clone().map(|event| streams.place(event.stream));
        chunk.streams.extend(numbers);
        let numbers = events.clone().map(|event| types.place(event.r#type));
        chunk.types.extend(numbers);
        chunk.flags.extend(events.map(|event| event.flags & !FAULT));
    }

    /// Adds the row of a record that is not a well-formed event.
    pub fn push_fault(&mut self, reason: u8, detail: &str) {
        let chunk = &mut self.chunk;
        chunk.fault_rows.push(chunk.ids.len() as u64);
        chunk.reasons.push(reason);
        chunk.details.extend_from_slice(detail.as_bytes());
        chunk.detail_ends.push(chunk.details.len() as u64);
        chunk.ids.push(0);
        chunk.times.push(0);
        chunk.prints.push(0);
        chunk.streams.push(0);
        chunk.types.push(0);
        chunk.flags.push(FAULT);
        // Once any row has had a key, each has its end.
        if !chunk.key_ends.is_empty() {
            chunk.key_ends.push(chunk.keys.len() as u64);
        }
    }

    /// The number of rows so far.
    pub fn len(&self) -> usize {
        self.chunk.len()
    }

    /// Whether there is no row so far.
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }

    /// The chunk with all rows that were added since it was begun; the names of the streams and types
    /// are those of their numbers.
    pub fn finish<N: AsRef<str>>(
        &mut self,
        stream: impl FnMut(u32) -> N,
        r#type: impl FnMut(u32) -> N,
    ) -> Chunk {
        let mut chunk = std::mem::take(&mut self.chunk);
        (chunk.stream_names, chunk.stream_ends) = self.streams.names(stream);
        (chunk.type_names, chunk.type_ends) = self.types.names(r#type);
        chunk
    }
}

/// The names of a chunk, by their numbers elsewhere.
#[derive(Clone, Debug, Default)]
struct Dictionary {
    /// One more than where a number is in the dictionary; 0 for those that are not there.
    places: Vec<u32>,
    /// The numbers in the dictionary, in the order in which they came.
    numbers: Vec<u32>,
}

impl Dictionary {
    /// Where `number` is in the dictionary: at its end, where it is new.
    #[inline]
    fn place(&mut self, number: u32) -> u32 {
        match self.places.get(number as usize) {
            Some(place) if *place > 0 => place - 1,
            _ => self.add(number),
        }
    }

    #[cold]
    fn add(&mut self, number: u32) -> u32 {
        let place = u32::try_from(self.numbers.len())
            .expect("an epoch holds fewer than 2^32 records, so fewer names");
        let at = number as usize;
        if at >= self.places.len() {
            self.places.resize(at + 1, 0);
        }
        self.places[at] = place + 1;
        self.numbers.push(number);
        place
    }

    /// All names one after the other, and where each ends.
    fn names<N: AsRef<str>>(&self, mut name: impl FnMut(u32) -> N) -> (Vec<u8>, Vec<u64>) {
        let (mut names, mut ends) = (Vec::new(), Vec::with_capacity(self.numbers.len()));
        for &number in &self.numbers {
            names.extend_from_slice(name(number).as_ref().as_bytes());
            ends.push(names.len() as u64);
        }
        (names, ends)
    }

    fn clear(&mut self) {
        for number in self.numbers.drain(..) {
            self.places[number as usize] = 0;
        }
    }
}
