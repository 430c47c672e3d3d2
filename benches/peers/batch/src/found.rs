//! What was found in the parts of the input, and what is known of all of it together.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use job::reader::{Names, Part, Reader};

/// A part of the input, decoded. Its streams and types have numbers of its own.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) part: Part<'a>,
    /// One for each record, in their order.
    pub(crate) rows: Vec<Row>,
    streams: Names<'a>,
    kinds: Names<'a>,
    /// By stream, how many events are of which type.
    counts: Vec<Vec<(u32, u32)>>,
}

/// A record, as small as can be: all of them lie in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) time: i64,
    /// [`Row::FAULTY`] where the record is not well formed.
    pub(crate) stream: u32,
    pub(crate) is_valid: bool,
}

impl Row {
    pub(crate) const FAULTY: u32 = u32::MAX;
}

impl<'a> Found<'a> {
    pub(crate) fn read(text: &'a [u8], offset: u64) -> Self {
        let mut reader = Reader::new(text, offset);
        let mut rows = Vec::new();
        let mut counts = Vec::<Vec<(u32, u32)>>::new();
        while let Some(row) = reader.next_row() {
            let Some(row) = row else {
                rows.push(Row {
                    id: 0,
                    time: 0,
                    stream: Row::FAULTY,
                    is_valid: false,
                });
                continue;
            };
            rows.push(Row {
                id: row.id,
                time: row.time,
                stream: row.stream,
                is_valid: row.is_valid,
            });
            if counts.len() <= row.stream as usize {
                counts.push(Vec::new());
            }
            add(&mut counts[row.stream as usize], row.kind, 1);
        }
        let Reader {
            part,
            streams,
            kinds,
            ..
        } = reader;
        Found {
            part,
            rows,
            streams,
            kinds,
            counts,
        }
    }
}

/// Streams have few types, so that a list is the fastest map.
#[inline]
fn add(counts: &mut Vec<(u32, u32)>, kind: u32, more: u32) {
    match counts.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, count)) => *count += more,
        None => counts.push((kind, more)),
    }
}

/// What is known of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream<'a> {
    pub(crate) name: &'a str,
    /// Its most frequent type; of several the first in byte order.
    pub(crate) kind: &'a str,
    pub(crate) events: u32,
}

/// All streams, in the order of their names.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) streams: Vec<Stream<'a>>,
    /// By part and by the part's number of a stream, where it is among all.
    pub(crate) places: Vec<Vec<u32>>,
}

impl<'a> Known<'a> {
    pub(crate) fn merge(found: &'a [Found<'_>]) -> Self {
        let (mut streams, mut kinds) = (Union::default(), Union::default());
        let mut counts = Vec::<Vec<(u32, u32)>>::new();
        let mut numbers = Vec::new();
        for part in found {
            let kind_numbers: Vec<u32> = part
                .kinds
                .as_slice()
                .iter()
                .map(|kind| kinds.number(kind))
                .collect();
            let mut of_part = Vec::new();
            for (name, more) in part.streams.as_slice().iter().zip(&part.counts) {
                let number = streams.number(name);
                of_part.push(number);
                if counts.len() <= number as usize {
                    counts.push(Vec::new());
                }
                for (kind, count) in more {
                    add(
                        &mut counts[number as usize],
                        kind_numbers[*kind as usize],
                        *count,
                    );
                }
            }
            numbers.push(of_part);
        }
        let (kinds, names) = (kinds.names, streams.names);
        let mut sorted: Vec<u32> = (0..names.len() as u32).collect();
        sorted.sort_unstable_by_key(|number| names[*number as usize]);
        let mut place = vec![0; names.len()];
        let mut streams = Vec::new();
        for (at, number) in sorted.into_iter().enumerate() {
            place[number as usize] = at as u32;
            let counts = &counts[number as usize];
            let most = counts.iter().map(|(_, count)| *count).max();
            let frequent = counts.iter().filter(|(_, count)| Some(*count) == most);
            let kind = frequent.map(|(kind, _)| kinds[*kind as usize]).min();
            streams.push(Stream {
                name: names[number as usize],
                kind: kind.expect("a stream has an event"),
                events: counts.iter().map(|(_, count)| *count).sum(),
            });
        }
        let places = numbers.iter().map(|numbers| {
            numbers
                .iter()
                .map(|number| place[*number as usize])
                .collect()
        });
        Known {
            streams,
            places: places.collect(),
        }
    }
}

/// The names of all parts, numbered anew.
#[derive(Default)]
struct Union<'a> {
    numbers: HashMap<&'a str, u32, RandomState>,
    names: Vec<&'a str>,
}

impl<'a> Union<'a> {
    fn number(&mut self, name: &'a str) -> u32 {
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() as u32 - 1
        })
    }
}

/// Neighbouring streams that have about an equal share of the events.
pub(crate) fn shares(known: &Known<'_>, shares: usize) -> Vec<Range<u32>> {
    let events: u64 = known
        .streams
        .iter()
        .map(|stream| u64::from(stream.events))
        .sum();
    let mut out = Vec::new();
    let (mut begun, mut before) = (0, 0);
    for (at, stream) in known.streams.iter().enumerate() {
        before += u64::from(stream.events);
        let wanted = events * (out.len() as u64 + 1) / shares as u64;
        if before >= wanted && out.len() + 1 < shares {
            out.push(begun..at as u32 + 1);
            begun = at as u32 + 1;
        }
    }
    out.push(begun..known.streams.len() as u32);
    out
}
