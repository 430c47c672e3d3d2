//! A frame: what was read in one epoch, and the bytes that it has in the journal.
//!
//! Decoding checks every number against what is there: a frame that decodes can be used without
//! further checks, and one that does not was never written by us.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::bytes::{Bytes, put_varint};
use crate::Epoch;

/// Bytes that the journal shares with whoever read them: they are written from where they are.
#[derive(Clone)]
pub struct SharedBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl SharedBytes {
    /// The bytes of `holder`, which stays until they are written.
    pub fn new(holder: Arc<impl AsRef<[u8]> + Send + Sync + 'static>) -> Self {
        SharedBytes(holder)
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        SharedBytes::new(Arc::new(bytes))
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl PartialEq for SharedBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedBytes {}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// What was read in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The epoch.
    pub epoch: Epoch,
    /// The time of day when the epoch was closed, in microseconds since 1970-01-01T00:00:00Z.
    pub clock_us: i64,
    /// The bytes that were read.
    pub bytes: Vec<u8>,
    /// Where the records lie in `bytes`: in order, and none inside another.
    pub records: Vec<Span>,
    /// Where runs of records come from, by `first_record`.
    pub stretches: Vec<Stretch>,
    /// Records that were too long to keep, of which `bytes` has the beginning: the record, and its
    /// real length.
    pub oversize: Vec<(usize, u64)>,
    /// Partitions that ended in this epoch.
    pub ended: Vec<u32>,
    /// Where reading goes on, for each partition that was read in this epoch.
    pub positions: Vec<Position>,
}

/// Where a record lies in the bytes of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The number of bytes.
    pub length: usize,
}

/// A run of records of one partition, one after the other in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first record of the run, counted from 0 in the frame.
    pub first_record: usize,
    /// The number of the partition.
    pub partition: u32,
    /// Where the run begins in the bytes of the frame.
    pub start: usize,
    /// Where it begins in the partition, in bytes.
    pub offset: u64,
    /// The number of its first line in the partition.
    pub line: u64,
}

/// Where reading goes on in a partition after an epoch, and what its last record was; all of it is
/// opaque to the journal but for the partition's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The number of the partition.
    pub partition: u32,
    /// The byte at which reading goes on.
    pub offset: u64,
    /// The number of the line there.
    pub line: u64,
    /// Where the last record began.
    pub last_offset: u64,
    /// How long it was.
    pub last_length: u64,
    /// A hash of it, by which a resumed run knows that the partition is still the same.
    pub last_hash: u64,
}

/// What [`Frame::encode`] takes, borrowed from whoever read it, but for the bytes, which are shared.
pub struct FrameParts<'a> {
    /// As [`Frame::epoch`].
    pub epoch: Epoch,
    /// As [`Frame::clock_us`].
    pub clock_us: i64,
    /// As [`Frame::bytes`].
    pub bytes: SharedBytes,
    /// As [`Frame::records`]: start and length of each.
    pub records: &'a mut dyn ExactSizeIterator<Item = (usize, usize)>,
    /// As [`Frame::stretches`].
    pub stretches: &'a [Stretch],
    /// As [`Frame::oversize`].
    pub oversize: &'a [(usize, u64)],
    /// As [`Frame::ended`].
    pub ended: &'a [u32],
    /// As [`Frame::positions`].
    pub positions: &'a [Position],
}

/// A frame as it is written, with what the journal itself keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    pub(super) epoch: Epoch,
    /// The payload: what comes before the bytes that were read,
    pub(super) head: Vec<u8>,
    /// and these.
    pub(super) bytes: SharedBytes,
    pub(super) records: u64,
    pub(super) ended: Vec<u32>,
    pub(super) positions: Vec<Position>,
}

impl EncodedFrame {
    /// The epoch of the frame.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The length of the payload.
    pub fn payload_bytes(&self) -> u64 {
        (self.head.len() + self.bytes.len()) as u64
    }
}

impl Frame {
    /// The frame of `parts`, as it is written.
    ///
    /// # Panics
    /// Where a record begins before the end of the one before it, or ends after the bytes.
    pub fn encode(parts: FrameParts<'_>) -> EncodedFrame {
        let records = parts.records.len();
        // A record takes two bytes for its gap and its length, four where it is long.
        let mut out = Vec::with_capacity(4 * records + 256);
        out.extend_from_slice(&parts.clock_us.to_le_bytes());
        put_varint(&mut out, parts.bytes.len() as u64);
        put_varint(&mut out, records as u64);
        let mut end = 0;
        for (start, length) in parts.records {
            assert!(start >= end, "a record at {start} before the end {end}");
            put_varint(&mut out, (start - end) as u64);
            put_varint(&mut out, length as u64);
            end = start + length;
        }
        let bytes = parts.bytes.len();
        assert!(end <= bytes, "a record up to {end} in {bytes} bytes");
        put_varint(&mut out, parts.stretches.len() as u64);
        for stretch in parts.stretches {
            put_varint(&mut out, stretch.first_record as u64);
            put_varint(&mut out, u64::from(stretch.partition));
            put_varint(&mut out, stretch.start as u64);
            put_varint(&mut out, stretch.offset);
            put_varint(&mut out, stretch.line);
        }
        put_varint(&mut out, parts.oversize.len() as u64);
        for &(record, length) in parts.oversize {
            put_varint(&mut out, record as u64);
            put_varint(&mut out, length);
        }
        put_varint(&mut out, parts.ended.len() as u64);
        for &partition in parts.ended {
            put_varint(&mut out, u64::from(partition));
        }
        put_varint(&mut out, parts.positions.len() as u64);
        for position in parts.positions {
            put_position(&mut out, position);
        }
        EncodedFrame {
            epoch: parts.epoch,
            head: out,
            bytes: parts.bytes,
            records: records as u64,
            ended: parts.ended.to_vec(),
            positions: parts.positions.to_vec(),
        }
    }

    /// This frame, as it is written.
    ///
    /// # Panics
    /// As [`Frame::encode`].
    pub fn to_encoded(&self) -> EncodedFrame {
        Frame::encode(FrameParts {
            epoch: self.epoch,
            clock_us: self.clock_us,
            bytes: self.bytes.clone().into(),
            records: &mut self.records.iter().map(|span| (span.start, span.length)),
            stretches: &self.stretches,
            oversize: &self.oversize,
            ended: &self.ended,
            positions: &self.positions,
        })
    }

    /// The frame that a payload holds; `None` where its numbers are impossible.
    pub fn decode(epoch: Epoch, payload: &[u8]) -> Option<Frame> {
        let (mut frame, bytes) = Frame::decode_around(epoch, payload)?;
        frame.bytes = payload[bytes..].to_vec();
        Some(frame)
    }

    /// The frame that a payload holds without its bytes, and where in the payload these begin.
    pub(super) fn decode_around(epoch: Epoch, payload: &[u8]) -> Option<(Frame, usize)> {
        let mut rest = Bytes(payload);
        let (summary, records) = Summary::read(&mut rest, true)?;
        let frame = Frame {
            epoch,
            clock_us: summary.clock_us,
            bytes: Vec::new(),
            records,
            stretches: summary.stretches,
            oversize: summary.oversize,
            ended: summary.ended,
            positions: summary.positions,
        };
        Some((frame, payload.len() - rest.0.len()))
    }
}

/// A frame less its records and bytes: what recovery looks at.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) clock_us: i64,
    pub(super) bytes: usize,
    pub(super) records: usize,
    pub(super) stretches: Vec<Stretch>,
    pub(super) oversize: Vec<(usize, u64)>,
    pub(super) ended: Vec<u32>,
    pub(super) positions: Vec<Position>,
}

impl Summary {
    /// What a payload says of itself, all of it checked; `None` where its numbers are impossible.
    pub(super) fn decode(payload: &[u8]) -> Option<Summary> {
        let (summary, _) = Summary::read(&mut Bytes(payload), false)?;
        Some(summary)
    }

    /// Reads up to the bytes of the frame, and its records where `keep` says so.
    fn read(rest: &mut Bytes<'_>, keep: bool) -> Option<(Summary, Vec<Span>)> {
        let clock_us = rest.i64()?;
        let bytes = rest.varint_usize()?;
        let records = rest.count(2)?;
        let mut spans = Vec::with_capacity(if keep { records } else { 0 });
        let mut end = 0_usize;
        for _ in 0..records {
            let start = end.checked_add(rest.varint_usize()?)?;
            let length = rest.varint_usize()?;
            end = start.checked_add(length)?;
            if keep {
                spans.push(Span { start, length });
            }
        }
        if end > bytes {
            return None;
        }
        let count = rest.count(5)?;
        let mut stretches = Vec::with_capacity(count);
        let mut least = 0;
        for _ in 0..count {
            let stretch = Stretch {
                first_record: rest.varint_usize()?,
                partition: rest.varint_u32()?,
                start: rest.varint_usize()?,
                offset: rest.varint()?,
                line: rest.varint()?,
            };
            if !(least..=records).contains(&stretch.first_record) || stretch.start > bytes {
                return None;
            }
            least = stretch.first_record;
            stretches.push(stretch);
        }
        let count = rest.count(2)?;
        let mut oversize = Vec::with_capacity(count);
        for _ in 0..count {
            let record = rest.varint_usize()?;
            if record >= records {
                return None;
            }
            oversize.push((record, rest.varint()?));
        }
        let count = rest.count(1)?;
        let ended = (0..count)
            .map(|_| rest.varint_u32())
            .collect::<Option<_>>()?;
        let count = rest.count(13)?;
        let positions = (0..count)
            .map(|_| take_position(rest))
            .collect::<Option<_>>()?;
        if rest.0.len() != bytes {
            return None;
        }
        let summary = Summary {
            clock_us,
            bytes,
            records,
            stretches,
            oversize,
            ended,
            positions,
        };
        Some((summary, spans))
    }
}

pub(super) fn put_position(out: &mut Vec<u8>, position: &Position) {
    put_varint(out, u64::from(position.partition));
    put_varint(out, position.offset);
    put_varint(out, position.line);
    put_varint(out, position.last_offset);
    put_varint(out, position.last_length);
    out.extend_from_slice(&position.last_hash.to_le_bytes());
}

pub(super) fn take_position(rest: &mut Bytes<'_>) -> Option<Position> {
    Some(Position {
        partition: rest.varint_u32()?,
        offset: rest.varint()?,
        line: rest.varint()?,
        last_offset: rest.varint()?,
        last_length: rest.varint()?,
        last_hash: rest.u64()?,
    })
}
