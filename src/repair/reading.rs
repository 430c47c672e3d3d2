//! One worker's part of an epoch: records to the rows that the dataflow judges.
//!
//! Bytes stay where they were read; rows carry what judging takes. What is found about a record
//! here stays here too, until its epoch is complete.

use super::names::{Asked, LocalNames};
use super::recollection::FrameShare;
use super::renumber::TypeCount;
use super::spec::{Dataflow, FillType, Keep};
use super::wiring::{CopyUpdate, by_group};
use crate::event::{Decoder, DedupKey, Fault, Reason};
use crate::io::part::{Part, PartText, Record};
use crate::journal::columns::{Chunk, ChunkBuilder, EventRow, FAULT, HAS_VALID, LINE_BREAK, VALID};
use crate::operators::dedup::Copied;
use crate::operators::parcel::{Dealer, Spare};
use crate::operators::retained::Row;
use crate::operators::sightings::Sighting;
use crate::operators::{Position, Print};
use crate::time::{Epoch, EventTime};

/// Rows of one part, for each input of the dataflow.
#[derive(Debug)]
pub struct Rows {
    /// Every well-formed event, for the worker of its group of ids.
    pub sightings: Dealer<Sighting<u32>>,
    /// Every well-formed event under its dedup key, where [`Sighting`]s do not tell copies.
    pub copies: Vec<CopyUpdate>,
    /// Every well-formed event, in place of both, where there is a horizon.
    pub retained: Vec<Row>,
    /// Events by stream and type.
    pub types: Vec<TypeCount>,
    /// Event times by input, in order, where the watermark matters.
    pub times: Vec<(u32, Vec<i64>)>,
}

impl Rows {
    /// No rows, read by `reader`, one of `workers`.
    pub fn new(reader: u32, workers: u32, spare: Spare<Sighting<u32>>) -> Self {
        Rows {
            sightings: Dealer::new(reader, workers, spare),
            copies: Vec::new(),
            retained: Vec::new(),
            types: Vec::new(),
            times: Vec::new(),
        }
    }
}

/// What was found about one record, other than that it is plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is not a well-formed event.
    Fault(Fault),
    /// It is one, but its own bytes are not what is written.
    Rewrite {
        /// `valid` is to be added.
        add_valid: bool,
    },
}

/// Decodes the parts of one worker.
#[derive(Debug)]
pub struct Reading {
    decoder: Decoder,
    /// The streams met, by name.
    pub streams: LocalNames,
    /// The types met, by name.
    pub types: LocalNames,
    needs: Needs,
    max_record_bytes: usize,
    /// Whether there are other processes.
    clustered: bool,
    counts: Counts,
    /// See [`Pass::asked`]; empty between parts.
    asked: Vec<(u32, Asked, WellFormed<'static>)>,
    columns: ChunkBuilder,
}

/// What a dataflow needs to know of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Copies are told by a key of their own, or the last one is kept.
    pub copies: bool,
    /// Copies are told by a key of their own.
    pub keyed: bool,
    /// Missing ids take the most frequent type.
    pub types: bool,
    /// Missing ids take their lower neighbour's type.
    pub tags: bool,
    /// Missing ids wait for the watermark, or there is a horizon.
    pub times: bool,
    /// Events are forgotten.
    pub horizon: bool,
}

impl Needs {
    /// What `dataflow` needs.
    pub fn of(dataflow: &Dataflow) -> Self {
        let by_id_and_time = dataflow.event.key == DedupKey::IdAndTime;
        Needs {
            copies: !(by_id_and_time && dataflow.keep == Keep::First),
            keyed: !by_id_and_time,
            types: dataflow.gaps.r#type == FillType::MostFrequent,
            tags: dataflow.gaps.r#type == FillType::LowerNeighbour,
            times: dataflow.gaps.grace_us > 0 || dataflow.horizon.is_some(),
            horizon: dataflow.horizon.is_some(),
        }
    }

    /// Whether events carry the number of their type.
    fn tagged(self) -> bool {
        self.types || self.tags
    }
}

impl Reading {
    /// A reader of events as `dataflow` describes them.
    pub fn new(
        dataflow: &Dataflow,
        streams: LocalNames,
        types: LocalNames,
        clustered: bool,
    ) -> Self {
        Reading {
            decoder: Decoder::new(dataflow.event.clone()),
            streams,
            types,
            needs: Needs::of(dataflow),
            max_record_bytes: dataflow.event.max_record_bytes,
            clustered,
            counts: Counts::default(),
            asked: Vec::new(),
            columns: ChunkBuilder::default(),
        }
    }

    /// Begins `epoch`; all epochs before `under_way` are committed. Lets go of names that were not
    /// used for long: those of types, where no row keeps their numbers, and where streams are
    /// forgotten (`forgets`), theirs.
    pub fn begin(&mut self, epoch: Epoch, under_way: Epoch, forgets: bool) {
        if forgets {
            self.streams.begin(epoch, under_way);
        }
        if !self.needs.tagged() {
            self.types.begin(epoch, under_way);
        }
    }

    /// The names that rows have carried for the first time since the last call, with their numbers, and
    /// whether each is a type's.
    pub fn take_fresh(&mut self) -> impl Iterator<Item = (bool, u32, Box<str>)> + use<> {
        let carries_types = self.needs.tagged();
        let types = self.types.take_fresh().into_iter();
        let types = types.filter(move |_| carries_types);
        let streams = self.streams.take_fresh().into_iter();
        let streams = streams.map(|(number, name)| (false, number, name));
        streams.chain(types.map(|(number, name)| (true, number, name)))
    }

    /// Decodes `part`, which `reader` has read: appends to `rows`, and returns what was found of
    /// records that are not plain, by their place in the part.
    pub fn read(&mut self, part: &Part, reader: u32, rows: &mut Rows) -> Vec<(u32, Finding)> {
        self.pass(part, reader, rows, |pass, rows| {
            for at in 0..part.len() {
                pass.decode(at, rows);
            }
        })
    }

    /// As [`Reading::read`], of an epoch that consists of `frames`. Those whose columns are at hand
    /// are not decoded; what is decoded of the others is returned, too.
    pub fn read_frames(
        &mut self,
        part: &Part,
        reader: u32,
        rows: &mut Rows,
        frames: &[FrameShare],
    ) -> (Vec<(u32, Finding)>, Vec<Chunk>) {
        let mut decoded = Vec::new();
        let end = part.from + part.len();
        let findings = self.pass(part, reader, rows, |pass, rows| {
            for frame in frames {
                let from = frame.first.max(part.from);
                let to = (frame.first + frame.records).min(end);
                if from >= to {
                    continue;
                }
                let Some(columns) = &frame.columns else {
                    let first = (from - frame.first) as u64;
                    pass.begin_chunk(frame.epoch, first, to - from);
                    for at in from..to {
                        pass.decode(at - part.from, rows);
                    }
                    decoded.push(pass.end_chunk(rows));
                    continue;
                };
                for chunk in columns.of(frame.epoch) {
                    let first = frame.first + chunk.first() as usize;
                    let rows_of_part = from.max(first)..to.min(first + chunk.len());
                    pass.recollect(chunk, first, rows_of_part, rows);
                }
            }
        });
        (findings, decoded)
    }

    /// Reads the records of a part as `records` says, in their order.
    fn pass<'a>(
        &'a mut self,
        part: &'a Part,
        reader: u32,
        rows: &mut Rows,
        records: impl FnOnce(&mut Pass<'a>, &mut Rows),
    ) -> Vec<(u32, Finding)> {
        let mut pass = Pass {
            decoder: &mut self.decoder,
            streams: &mut self.streams,
            types: &mut self.types,
            max_record_bytes: self.max_record_bytes,
            asked: &mut self.asked,
            columns: &mut self.columns,
            gathers: false,
            text: None,
            text_end: 0,
            shelf: Shelf {
                part,
                reader,
                needs: self.needs,
                clustered: self.clustered,
                counts: &mut self.counts,
                stretches: Box::new(part.partitions()),
                stretch_end: 0,
                findings: Vec::new(),
            },
        };
        records(&mut pass, rows);
        pass.put_asked(rows);
        let Shelf {
            findings, counts, ..
        } = pass.shelf;
        counts.drain(&mut rows.types);
        findings
    }
}

/// The reading of one part.
struct Pass<'a> {
    decoder: &'a mut Decoder,
    streams: &'a mut LocalNames,
    types: &'a mut LocalNames,
    max_record_bytes: usize,
    /// Events whose streams were asked for and have no numbers yet.
    asked: &'a mut Vec<(u32, Asked, WellFormed<'static>)>,
    columns: &'a mut ChunkBuilder,
    /// Whether what is decoded goes into `columns`, too.
    gathers: bool,
    /// The records around the one at hand that were found to be UTF-8, if they are.
    text: Option<PartText<'a>>,
    /// Up to which record that was looked at.
    text_end: usize,
    shelf: Shelf<'a>,
}

/// Records of which it is found out together whether they are UTF-8: about as many as are then
/// still near at hand.
const TEXTS_TOGETHER: usize = 128;

/// Events whose streams are looked up together.
const ASKED_TOGETHER: usize = 32;

impl<'a> Pass<'a> {
    /// The record at `at`, if it and those around it are UTF-8.
    #[inline]
    fn text(&mut self, at: usize) -> Option<&'a str> {
        if at >= self.text_end {
            let part = self.shelf.part;
            self.text_end = part.len().min(at + TEXTS_TOGETHER);
            self.text = part.text(at, self.text_end);
        }
        self.text.and_then(|text| text.record(at))
    }

    /// Puts the events where they belong whose streams have no numbers yet.
    fn put_asked(&mut self, rows: &mut Rows) {
        for (_, asked, event) in self.asked.iter_mut() {
            event.stream = self.streams.answer(*asked);
        }
        if self.gathers {
            let events = self.asked.iter().map(|(_, _, event)| event.row());
            self.columns.push_events(events);
        }
        for (at, _, event) in self.asked.drain(..) {
            self.shelf.put(at as usize, &event, rows);
        }
    }

    /// Gathers the columns of the next `records`, too, of which the first is the record number `first`
    /// of `epoch`.
    fn begin_chunk(&mut self, epoch: Epoch, first: u64, records: usize) {
        self.columns.begin(epoch, first, records);
        self.gathers = true;
    }

    /// What was gathered.
    fn end_chunk(&mut self, rows: &mut Rows) -> Chunk {
        self.put_asked(rows);
        self.gathers = false;
        let (streams, types) = (&self.streams, &self.types);
        self.columns
            .finish(|number| streams.name(number), |number| types.name(number))
    }

    /// Decodes the record at `at`.
    fn decode(&mut self, at: usize, rows: &mut Rows) {
        let Record { bytes, oversize } = self.shelf.part.record(at);
        let event = match oversize {
            Some(length) => Err(Fault {
                reason: Reason::Oversize,
                detail: format!("{length} bytes, more than {}", self.max_record_bytes),
            }),
            None => match self.text(at) {
                Some(text) => self.decoder.decode_text(text),
                None => self.decoder.decode(bytes),
            },
        };
        let event = match event {
            Ok(event) => event,
            Err(fault) => {
                self.put_asked(rows);
                if self.gathers {
                    self.columns.push_fault(fault.reason as u8, &fault.detail);
                }
                self.shelf.find(at, Finding::Fault(fault));
                return;
            }
        };
        let is_valid = event.valid.unwrap_or(true);
        let print = Print::new(xxhash_rust::xxh3::xxh3_64(bytes), is_valid);
        let r#type = match self.shelf.needs.tagged() || self.gathers {
            true => self.types.number(event.r#type),
            false => 0,
        };
        let (id, time) = (event.id, event.time);
        let add_valid = event.valid.is_none();
        let has_line_break = event.has_line_break;
        if !self.shelf.needs.keyed && !self.shelf.clustered {
            let asked = self.streams.ask(event.stream);
            let well_formed = WellFormed {
                id,
                time,
                print,
                stream: 0,
                r#type,
                stream_name: "",
                key: &[],
                add_valid,
                has_line_break,
            };
            self.asked.push((at as u32, asked, well_formed));
            if self.asked.len() == ASKED_TOGETHER {
                self.put_asked(rows);
            }
            return;
        }
        let well_formed = WellFormed {
            id,
            time,
            print,
            stream: self.streams.number(event.stream),
            r#type,
            stream_name: event.stream,
            key: event.key,
            add_valid,
            has_line_break,
        };
        if self.gathers {
            self.columns.push_events(std::iter::once(well_formed.row()));
        }
        self.shelf.put(at, &well_formed, rows);
    }

    /// Takes the records from `chunk` whose places in the epoch are `places`; its own first is
    /// `first`.
    fn recollect(
        &mut self,
        chunk: &Chunk,
        first: usize,
        places: std::ops::Range<usize>,
        rows: &mut Rows,
    ) {
        self.put_asked(rows);
        // Names become numbers once for each chunk, and only those that occur.
        let mut streams = vec![None; chunk.stream_names().len()];
        let mut types = vec![None; chunk.type_names().len()];
        let tagged = self.shelf.needs.tagged();
        for place in places {
            let (row, at) = (place - first, place - self.shelf.part.from);
            let flags = chunk.flags(row);
            if flags & FAULT != 0 {
                let fault = chunk.fault(row);
                let reason = fault.and_then(|fault| Reason::ALL.get(usize::from(fault.reason)));
                match fault.zip(reason) {
                    Some((fault, reason)) => self.shelf.find(
                        at,
                        Finding::Fault(Fault {
                            reason: *reason,
                            detail: fault.detail.to_owned(),
                        }),
                    ),
                    // The record itself knows better; those after it come after it.
                    None => {
                        self.decode(at, rows);
                        self.put_asked(rows);
                    }
                }
                continue;
            }
            let number = &mut streams[chunk.stream_number(row) as usize];
            let stream = *number.get_or_insert_with(|| self.streams.number(chunk.stream(row)));
            let mut r#type = 0;
            if tagged {
                let number = &mut types[chunk.type_number(row) as usize];
                r#type = *number.get_or_insert_with(|| self.types.number(chunk.r#type(row)));
            }
            let well_formed = WellFormed {
                id: chunk.id(row),
                time: chunk.time(row),
                print: Print::from_bits(chunk.print(row)),
                stream,
                r#type,
                stream_name: chunk.stream(row),
                key: chunk.key(row),
                add_valid: flags & HAS_VALID == 0,
                has_line_break: flags & LINE_BREAK != 0,
            };
            self.shelf.put(at, &well_formed, rows);
        }
    }
}

/// Events by stream and type, counted for a while before they are told: one count for each value of
/// a hash, and what is counted there is told when something else comes.
#[derive(Debug)]
struct Counts {
    counts: Vec<TypeCount>,
    begun: Vec<u16>,
}

const COUNTS_BITS: u32 = 10;

impl Default for Counts {
    fn default() -> Self {
        let none = TypeCount {
            stream: 0,
            r#type: 0,
            count: 0,
        };
        Counts {
            counts: vec![none; 1 << COUNTS_BITS],
            begun: Vec::new(),
        }
    }
}

impl Counts {
    #[inline]
    fn add(&mut self, stream: u32, r#type: u32, told: &mut Vec<TypeCount>) {
        let key = u64::from(stream) << 32 | u64::from(r#type);
        let slot = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - COUNTS_BITS);
        let here = &mut self.counts[slot as usize];
        if here.count == 0 {
            self.begun.push(slot as u16);
        } else if (here.stream, here.r#type) == (stream, r#type) {
            here.count += 1;
            return;
        } else {
            told.push(*here);
        }
        *here = TypeCount {
            stream,
            r#type,
            count: 1,
        };
    }

    /// Tells all that was counted.
    fn drain(&mut self, told: &mut Vec<TypeCount>) {
        for slot in self.begun.drain(..) {
            let here = &mut self.counts[usize::from(slot)];
            told.push(*here);
            here.count = 0;
        }
    }
}

/// A well-formed event, from wherever it is known.
#[derive(Debug)]
struct WellFormed<'a> {
    id: i64,
    time: EventTime,
    print: Print,
    stream: u32,
    /// The number of the type, where it is needed.
    r#type: u32,
    stream_name: &'a str,
    key: &'a [u8],
    add_valid: bool,
    has_line_break: bool,
}

impl WellFormed<'_> {
    /// As a row of columns.
    #[inline]
    fn row(&self) -> EventRow<'_> {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        EventRow {
            id: self.id,
            time: self.time,
            print: self.print.to_bits(),
            stream: self.stream,
            r#type: self.r#type,
            flags: flag(!self.add_valid, HAS_VALID)
                | flag(self.print.is_valid(), VALID)
                | flag(self.has_line_break, LINE_BREAK),
            key: self.key,
        }
    }
}

/// Where the records of one part are put once they are known.
struct Shelf<'a> {
    part: &'a Part,
    reader: u32,
    needs: Needs,
    /// Whether there are other processes.
    clustered: bool,
    counts: &'a mut Counts,
    /// The stretches of records of one input that were not begun.
    stretches: Box<dyn Iterator<Item = (u32, usize)> + 'a>,
    /// The record after the stretch that was begun.
    stretch_end: usize,
    findings: Vec<(u32, Finding)>,
}

impl Shelf<'_> {
    fn find(&mut self, at: usize, finding: Finding) {
        self.findings.push((at as u32, finding));
    }

    /// Appends the event at `at` to the `rows` that the dataflow needs.
    #[inline]
    fn put(&mut self, at: usize, event: &WellFormed<'_>, rows: &mut Rows) {
        let &WellFormed {
            id,
            time: EventTime(time),
            print,
            stream,
            r#type,
            stream_name,
            key,
            add_valid,
            has_line_break,
        } = event;
        let (needs, reader, index) = (self.needs, self.reader, at as u32);
        if add_valid || has_line_break {
            self.find(at, Finding::Rewrite { add_valid });
        }
        let tag = if needs.tagged() { r#type } else { 0 };
        if needs.types && !needs.horizon {
            self.counts.add(stream, tag, &mut rows.types);
        }
        if needs.copies && !needs.horizon {
            let epoch = self.part.epoch;
            let position = Position {
                epoch,
                reader,
                index,
            };
            let mut full_key = Vec::new();
            if self.clustered {
                // Another process numbers streams otherwise: the key names it.
                full_key.extend_from_slice(&(stream_name.len() as u64).to_le_bytes());
                full_key.extend_from_slice(stream_name.as_bytes());
            }
            if key.is_empty() {
                full_key.extend_from_slice(&id.to_le_bytes());
                full_key.extend_from_slice(&time.to_le_bytes());
            } else {
                full_key.extend_from_slice(key);
            }
            let number = if self.clustered { 0 } else { stream };
            let copied = Copied { position, print };
            rows.copies.push((((number, full_key), copied), epoch, 1));
        }
        if needs.times {
            while self.stretch_end <= at {
                let Some((partition, end)) = self.stretches.next() else {
                    break;
                };
                self.stretch_end = end;
                rows.times.push((partition, Vec::new()));
            }
            if let Some((_, times)) = rows.times.last_mut() {
                times.push(time);
            }
        }
        let seen = Sighting {
            stream,
            tag,
            id,
            time,
            print,
            reader,
            index,
        };
        if needs.horizon {
            let key = key.to_vec();
            rows.retained.push(Row { seen, key });
        } else {
            rows.sightings.push(by_group(stream, id), seen);
        }
    }
}

#[cfg(test)]
mod tests;
