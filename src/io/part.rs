//! The records of an epoch, and one worker's share of them.
//!
//! Bytes lie in one buffer, which all parts of the epoch share, with the journal, and which is used again when the
//! last of them is done. Where a record stands in its input follows from its place in the buffer,
//! stretch by stretch.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Epoch;

/// The bytes of one epoch, and where its records lie in them.
#[derive(Debug, Default)]
pub struct EpochBuffer {
    /// The bytes; those between records have no meaning.
    pub bytes: Vec<u8>,
    /// Where the records lie, in their order.
    pub records: Vec<Span>,
    /// Where the records come from, stretch by stretch.
    pub segments: Vec<Segment>,
    /// (record, full length) of records that were too long.
    pub oversize: Vec<(usize, u64)>,
}

impl EpochBuffer {
    /// Lets go of the records that `keep` does not want; the others still stand where they stood.
    pub fn retain(&mut self, mut keep: impl FnMut(Record<'_>) -> bool) {
        let old = std::mem::take(&mut self.records);
        let old_segments = std::mem::take(&mut self.segments);
        let old_oversize = std::mem::take(&mut self.oversize);
        let mut segments = old_segments.iter().peekable();
        let mut oversize = old_oversize.iter().peekable();
        let mut segment: Option<&Segment> = None;
        // Whether the next record cannot lie in the segment of the one before.
        let mut broken = true;
        for (index, span) in old.iter().enumerate() {
            while let Some(next) = segments.next_if(|next| next.first_record <= index) {
                segment = Some(next);
                broken = true;
            }
            let full = oversize.next_if(|(at, _)| *at == index);
            let full = full.map(|(_, length)| *length);
            let record = Record {
                bytes: &self.bytes[span.start..span.start + span.length],
                oversize: full,
            };
            if !keep(record) {
                broken = true;
                continue;
            }
            let first_record = self.records.len();
            if let Some(segment) = segment.filter(|_| broken) {
                self.segments.push(Segment {
                    first_record,
                    partition: segment.partition,
                    start: span.start,
                    offset: segment.offset + (span.start - segment.start) as u64,
                    line: segment.line + (index - segment.first_record) as u64,
                });
                broken = false;
            }
            self.oversize
                .extend(full.map(|length| (first_record, length)));
            self.records.push(*span);
        }
    }

    /// Forgets everything but the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.segments.clear();
        self.oversize.clear();
    }
}

impl AsRef<[u8]> for EpochBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Where a record lies in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: usize,
    /// Its length.
    pub length: usize,
}

/// A stretch of records that follow each other line by line in one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The first record of the stretch.
    pub first_record: usize,
    /// The input.
    pub partition: u32,
    /// Where in the buffer the first record begins,
    pub start: usize,
    /// where in the input,
    pub offset: u64,
    /// and on which line.
    pub line: u64,
}

/// Where a record stands in its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The input, numbered in their order.
    pub partition: u32,
    /// The byte in the decompressed content at which the record begins.
    pub offset: u64,
    /// The line, from 1.
    pub line: u64,
}

/// A record of a part.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its bytes, or the first 64 KiB of them.
    pub bytes: &'a [u8],
    /// Its length, where it is too long.
    pub oversize: Option<u64>,
}

/// One worker's share of an epoch.
#[derive(Clone, Debug)]
pub struct Part {
    /// The epoch.
    pub epoch: Epoch,
    /// The worker whose part it is.
    pub worker: usize,
    /// Whether the input ends with this epoch.
    pub last: bool,
    /// Whether the outputs hold what follows from this epoch already.
    pub silent: bool,
    /// Whether what is known after this epoch is to be laid down.
    pub base: bool,
    /// The epochs that it is, where several were recalled as one.
    pub epochs: u64,
    /// Records in the whole epoch.
    pub epoch_records: usize,
    /// Inputs, by number, that ended within this epoch.
    pub ended: Vec<u32>,
    pub(super) buffer: Arc<EpochBuffer>,
    /// The first record of the part among those of the epoch.
    pub from: usize,
    pub(super) to: usize,
}

impl Part {
    /// The number of records.
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// The record at `index`, from 0.
    pub fn record(&self, index: usize) -> Record<'_> {
        let index = self.from + index;
        let span = self.buffer.records[index];
        let oversize = &self.buffer.oversize;
        let oversize = if oversize.is_empty() {
            None
        } else {
            oversize
                .binary_search_by_key(&index, |entry| entry.0)
                .ok()
                .map(|at| oversize[at].1)
        };
        Record {
            bytes: &self.buffer.bytes[span.start..span.start + span.length],
            oversize,
        }
    }

    /// The records `from..to` as text, if they and what lies between them are UTF-8.
    pub fn text(&self, from: usize, to: usize) -> Option<PartText<'_>> {
        let records = &self.buffer.records[self.from + from..self.from + to];
        let (first, last) = (records.first()?, records.last()?);
        let bytes = self
            .buffer
            .bytes
            .get(first.start..last.start + last.length)?;
        let text = simdutf8::basic::from_utf8(bytes).ok()?;
        Some(PartText {
            text,
            start: first.start,
            records,
            first: from,
        })
    }

    /// Where the record at `index` stands in its input.
    pub fn place(&self, index: usize) -> Place {
        let index = self.from + index;
        let after = self
            .buffer
            .segments
            .partition_point(|segment| segment.first_record <= index);
        let segment = self.buffer.segments[after - 1];
        let record = self.buffer.records[index];
        Place {
            partition: segment.partition,
            offset: segment.offset + (record.start - segment.start) as u64,
            line: segment.line + (index - segment.first_record) as u64,
        }
    }

    /// The stretches of records of one input: its number and the record after the last.
    pub fn partitions(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        let segments = &self.buffer.segments;
        (0..segments.len()).filter_map(move |at| {
            let end = segments
                .get(at + 1)
                .map_or(usize::MAX, |next| next.first_record);
            let end = end.min(self.to);
            (end > self.from && segments[at].first_record < self.to)
                .then(|| (segments[at].partition, end - self.from))
        })
    }

    /// The bytes at `place`, see [`lines`](Self::lines).
    pub fn bytes(&self, place: Range<usize>) -> &[u8] {
        &self.buffer.bytes[place]
    }

    /// The longest stretch of records from `from` on, at most to `to`, that lie in the buffer as
    /// lines that end with a single LF; the place of its bytes with the last LF, and the record after
    /// it.
    ///
    /// It is empty where even the first record does not.
    pub fn lines(&self, from: usize, to: usize) -> (Range<usize>, usize) {
        let records = &self.buffer.records[self.from + from..self.from + to];
        let bytes = &self.buffer.bytes;
        let Some(first) = records.first() else {
            return (0..0, from);
        };
        let mut count = 0;
        for (at, span) in records.iter().enumerate() {
            let end = span.start + span.length;
            let follows = records.get(at + 1).is_none_or(|next| next.start == end + 1);
            if bytes.get(end) != Some(&b'\n') {
                break;
            }
            count += 1;
            if !follows {
                break;
            }
        }
        if count == 0 {
            return (0..0, from);
        }
        let last = records[count - 1];
        (first.start..last.start + last.length + 1, from + count)
    }
}

/// Records that are UTF-8, see [`Part::text`].
#[derive(Clone, Copy, Debug)]
pub struct PartText<'a> {
    text: &'a str,
    /// Where the text begins in the buffer.
    start: usize,
    records: &'a [Span],
    /// The first record among the part's.
    first: usize,
}

impl<'a> PartText<'a> {
    /// The record at `index` of the part, if it is among these.
    #[inline]
    pub fn record(&self, index: usize) -> Option<&'a str> {
        let span = self.records.get(index.checked_sub(self.first)?)?;
        let start = span.start.checked_sub(self.start)?;
        self.text.get(start..start + span.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of two inputs, each with where it stands and its full length.
    fn buffer() -> EpochBuffer {
        let bytes = b"a\nbb\nc\nd\ne\nf\n".to_vec();
        let mut start = 0;
        let spans = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let records = spans.map(|line| {
            let span = Span {
                start,
                length: line.len(),
            };
            start += line.len() + 1;
            span
        });
        let segment = |first_record, partition, start, offset, line| Segment {
            first_record,
            partition,
            start,
            offset,
            line,
        };
        EpochBuffer {
            records: records.collect(),
            segments: vec![segment(0, 0, 0, 100, 7), segment(3, 1, 7, 0, 1)],
            oversize: vec![(1, 9), (4, 8)],
            bytes,
        }
    }

    /// All records of `buffer` after the first `from`.
    fn part_of(buffer: EpochBuffer, from: usize) -> Part {
        let to = buffer.records.len();
        Part {
            epoch: 0,
            worker: 0,
            last: false,
            silent: false,
            base: false,
            epochs: 1,
            epoch_records: to,
            ended: Vec::new(),
            buffer: Arc::new(buffer),
            from,
            to,
        }
    }

    fn described(buffer: EpochBuffer) -> Vec<(String, Place, Option<u64>)> {
        let part = part_of(buffer, 0);
        let describe = |at| {
            let record = part.record(at);
            let text = String::from_utf8_lossy(record.bytes).into_owned();
            (text, part.place(at), record.oversize)
        };
        (0..part.len()).map(describe).collect()
    }

    #[test]
    fn records_are_text_where_all_of_them_are() {
        let mut buffer = buffer();
        let undamaged = EpochBuffer {
            bytes: buffer.bytes.clone(),
            records: buffer.records.clone(),
            ..EpochBuffer::default()
        };
        let whole = part_of(undamaged, 1);
        let text = whole.text(1, 4).unwrap();
        let records: Vec<_> = (0..5).map(|index| text.record(index)).collect();
        assert_eq!(records, [None, Some("c"), Some("d"), Some("e"), None]);
        assert!(whole.text(2, 2).is_none());

        // The record "e" of all is the fourth of the part.
        buffer.bytes[9] = 0xff;
        let damaged = part_of(buffer, 1);
        assert!(damaged.text(1, 4).is_none());
        let before = damaged.text(0, 3).unwrap();
        assert_eq!(
            (before.record(0), before.record(2)),
            (Some("bb"), Some("d"))
        );
    }

    #[test]
    fn what_is_retained_stays_where_it_stood() {
        let all = described(buffer());
        for wanted in 0..1 << all.len() {
            let mut buffer = buffer();
            let mut index = 0;
            buffer.retain(|_| {
                index += 1;
                wanted >> (index - 1) & 1 == 1
            });
            let expected = all.iter().enumerate();
            let expected: Vec<_> = expected
                .filter(|(at, _)| wanted >> at & 1 == 1)
                .map(|(_, record)| record.clone())
                .collect();
            assert_eq!(described(buffer), expected, "{wanted:b}");
        }
    }
}
