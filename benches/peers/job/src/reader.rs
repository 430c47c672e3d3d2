//! Records out of mapped lines, in their order.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::{Result, ensure};
use foldhash::fast::RandomState;

use crate::decode::{Fault, decode};
use crate::time::Clock;

/// A run of whole lines of the input, and what was found where. Records count from 0 in each part.
#[derive(Debug)]
pub struct Part<'a> {
    pub text: &'a [u8],
    /// Where it begins in the file.
    pub offset: u64,
    /// Where each record begins in `text`.
    pub starts: Vec<u32>,
    /// Blank lines: where they lie, and how many records are before them.
    pub blanks: Vec<(std::ops::Range<u32>, u32)>,
    /// Records that cannot be copied as they are, but must be written anew if they are kept.
    pub rewrites: Vec<(u32, Rewrite)>,
    pub faults: Vec<(u32, Fault)>,
}

impl<'a> Part<'a> {
    /// The record's line, with its end.
    pub fn line(&self, record: u32) -> &'a [u8] {
        line_at(self.text, self.starts[record as usize] as usize)
    }

    /// The record's bytes.
    pub fn record(&self, record: u32) -> &'a [u8] {
        without_end(self.line(record))
    }
}

/// The bytes of the record that begins at `start`.
pub fn record_at(text: &[u8], start: usize) -> &[u8] {
    without_end(line_at(text, start))
}

fn line_at(text: &[u8], start: usize) -> &[u8] {
    let rest = &text[start..];
    memchr::memchr(b'\n', rest).map_or(rest, |end| &rest[..=end])
}

/// What a kept record needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rewrite {
    pub adds_valid: bool,
}

/// A well-formed record by the numbers of its names.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub id: i64,
    pub time: i64,
    pub stream: u32,
    pub kind: u32,
    pub is_valid: bool,
}

/// Names, numbered as they come.
#[derive(Debug, Default)]
pub struct Names<'a> {
    numbers: HashMap<Cow<'a, str>, u32, RandomState>,
    names: Vec<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    #[inline]
    pub fn number(&mut self, name: Cow<'a, str>) -> u32 {
        if let Some(number) = self.numbers.get(name.as_ref()) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("fewer names than records");
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    /// The names, by their numbers.
    pub fn as_slice(&self) -> &[Cow<'a, str>] {
        &self.names
    }
}

/// Reads a part.
#[derive(Debug)]
pub struct Reader<'a> {
    pub part: Part<'a>,
    pub streams: Names<'a>,
    pub kinds: Names<'a>,
    clock: Clock,
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a [u8], offset: u64) -> Self {
        Reader {
            part: Part {
                text,
                offset,
                starts: Vec::new(),
                blanks: Vec::new(),
                rewrites: Vec::new(),
                faults: Vec::new(),
            },
            streams: Names::default(),
            kinds: Names::default(),
            clock: Clock::default(),
            at: 0,
        }
    }

    /// The next record; `Some(None)` where it is not well formed, and the part says why.
    #[inline]
    pub fn next_row(&mut self) -> Option<Option<Row>> {
        loop {
            let rest = &self.part.text[self.at..];
            if rest.is_empty() {
                return None;
            }
            let start = self.at;
            let end = memchr::memchr(b'\n', rest);
            let line = end.map_or(rest, |end| &rest[..=end]);
            self.at += line.len();
            let record = without_end(line);
            if is_blank(record) {
                self.part
                    .blanks
                    .push((start as u32..self.at as u32, self.part.starts.len() as u32));
                continue;
            }
            let number = self.part.starts.len() as u32;
            self.part.starts.push(start as u32);
            let event = match decode(record, &mut self.clock) {
                Ok(event) => event,
                Err(fault) => {
                    self.part.faults.push((number, fault));
                    return Some(None);
                }
            };
            let adds_valid = event.valid.is_none();
            let is_plain =
                line.len() == record.len() + 1 && memchr::memchr(b'\r', record).is_none();
            if adds_valid || !is_plain {
                self.part.rewrites.push((number, Rewrite { adds_valid }));
            }
            return Some(Some(Row {
                id: event.id,
                time: event.time,
                stream: self.streams.number(event.stream),
                kind: self.kinds.number(event.kind),
                is_valid: event.valid != Some(false),
            }));
        }
    }
}

/// Cuts `text`, a whole file, into about equal runs of whole lines with their offsets.
///
/// # Errors
/// Where a part is too long for the numbers that count it.
pub fn cut(text: &[u8], parts: usize) -> Result<Vec<(&[u8], u64)>> {
    let text_start = if text.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    let mut cuts = vec![text_start];
    for part in 1..parts {
        let about = text_start + (text.len() - text_start) / parts * part;
        let end = memchr::memchr(b'\n', &text[about..]).map_or(text.len(), |at| about + at + 1);
        cuts.push(end);
    }
    cuts.push(text.len());
    let parts: Vec<(&[u8], u64)> = cuts
        .windows(2)
        .map(|ends| (&text[ends[0]..ends[1]], ends[0] as u64))
        .collect();
    let longest = parts.iter().map(|(part, _)| part.len()).max();
    ensure!(
        longest.is_none_or(|length| u32::try_from(length).is_ok()),
        "parts of over 4 GiB"
    );
    Ok(parts)
}

fn without_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(rest) => rest.strip_suffix(b"\r").unwrap_or(rest),
        None => line,
    }
}

#[inline]
fn is_blank(record: &[u8]) -> bool {
    record
        .iter()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}
