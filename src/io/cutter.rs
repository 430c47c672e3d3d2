//! Lines of all inputs, in their one order, cut into epochs and dealt to workers.
//!
//! The inputs are one sequence of records: one file after the other, each from its start. An epoch
//! is a run of consecutive records; it is split into as many parts as there are workers, in order,
//! so that every worker decodes a share of every file. Whichever worker first asks for an epoch
//! cuts it, on behalf of all in its process; what is then left to do is done by each for its part.
//! Every process cuts the same epochs from the same files.
//!
//! A record is a line without its LF or CRLF. Blank lines (spaces, tabs, CR) are not records. A
//! record longer than the limit is streamed past: its first 64 KiB stay, with its length.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::input::{Fill, Input};
use crate::time::Epoch;
use crate::{Error, Result};

/// Bytes asked of an input at once.
const READ_BYTES: usize = 128 << 10;
/// Of a record that is too long, the bytes that are kept.
const OVERSIZE_KEPT_BYTES: usize = 64 << 10;
/// Epochs of files are about this long, where the engine may choose.
const ADAPTED_EVENTS: usize = 16 << 10;
/// See [`ADAPTED_EVENTS`]: whichever comes first.
const ADAPTED_BYTES: usize = 4 << 20;
/// Buffers kept for the next epochs.
const POOLED: usize = 8;

/// When an epoch closes.
#[derive(Clone, Copy, Debug, Default)]
pub struct EpochLimits {
    /// At exactly this many records; `None` lets the engine choose.
    pub events: Option<u64>,
    /// At this age of its first record.
    pub age: Option<Duration>,
    /// The clock that tells the age.
    pub now: Option<fn() -> Duration>,
}

/// Opens the inputs one after the other; each call gives the next, or none at the end.
pub type NextInput = Box<dyn FnMut() -> Option<Result<Input>> + Send>;

/// The bytes of one epoch, and where its records lie in them.
#[derive(Debug, Default)]
pub struct EpochBuffer {
    bytes: Vec<u8>,
    records: Vec<Span>,
    segments: Vec<Segment>,
    /// (record, full length) of records that were too long.
    oversize: Vec<(usize, u64)>,
}

/// Where a record lies in its buffer.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    length: usize,
}

/// A stretch of records that follow each other line by line in one input.
#[derive(Clone, Copy, Debug)]
struct Segment {
    first_record: usize,
    partition: u32,
    /// Where in the buffer the first record begins, where in the input, and on which line.
    start: usize,
    offset: u64,
    line: u64,
}

/// Where a record stands in its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Records in the whole epoch.
    pub epoch_records: usize,
    /// Inputs, by number, that ended within this epoch.
    pub ended: Vec<u32>,
    buffer: Arc<EpochBuffer>,
    from: usize,
    to: usize,
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

    /// The longest stretch of records from `from` on, at most to `to`, that lie in the buffer as
    /// lines that end with a single LF; its bytes with the last LF, and the record after it.
    ///
    /// It is empty where even the first record does not.
    pub fn lines(&self, from: usize, to: usize) -> (&[u8], usize) {
        let records = &self.buffer.records[self.from + from..self.from + to];
        let bytes = &self.buffer.bytes;
        let Some(first) = records.first() else {
            return (&[], from);
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
            return (&[], from);
        }
        let last = records[count - 1];
        (
            &bytes[first.start..last.start + last.length + 1],
            from + count,
        )
    }
}

/// What came of asking for a part.
#[derive(Debug)]
pub enum Poll {
    /// The part, which may hold no records.
    Part(Part),
    /// Records may come later.
    Pending,
    /// There are no more epochs.
    End,
}

/// Cuts the inputs for all workers of a process.
#[derive(Clone)]
pub struct SharedCutter {
    /// Held while an epoch is cut.
    cutter: Arc<Mutex<Cutter>>,
    /// Held only to take something: nobody waits here for an input.
    shelf: Arc<Mutex<Shelf>>,
    /// The workers of this process, and of all processes.
    local_workers: usize,
    all_workers: usize,
}

/// What lies ready for the workers of a process.
#[derive(Default)]
struct Shelf {
    cut: VecDeque<CutEpoch>,
    /// Buffers to be used again.
    pool: Vec<EpochBuffer>,
    stop: bool,
}

impl std::fmt::Debug for SharedCutter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedCutter").finish_non_exhaustive()
    }
}

impl SharedCutter {
    /// Cuts what `inputs` opens, for `local_workers` of `all_workers`.
    pub fn new(
        inputs: NextInput,
        limits: EpochLimits,
        max_record_bytes: usize,
        (local_workers, all_workers): (usize, usize),
    ) -> Self {
        let cutter = Cutter {
            inputs,
            open: None,
            partitions: 0,
            lines: Lines::default(),
            limits,
            max_record_bytes,
            building: EpochBuffer::default(),
            ended: Vec::new(),
            first_record_at: None,
            next_epoch: 0,
            over: false,
            failed: None,
        };
        SharedCutter {
            cutter: Arc::new(Mutex::new(cutter)),
            shelf: Arc::default(),
            local_workers,
            all_workers,
        }
    }

    /// Hands out `epochs`, which are not read from anywhere: an epoch of records each. After them
    /// the input stops, but does not end.
    pub fn scripted(epochs: Vec<Vec<Vec<u8>>>, max_record_bytes: usize, workers: usize) -> Self {
        let limits = EpochLimits::default();
        let shared = Self::new(
            Box::new(|| None),
            limits,
            max_record_bytes,
            (workers, workers),
        );
        let mut cutter = lock(&shared.cutter);
        let mut shelf = lock(&shared.shelf);
        let (mut line, mut offset) = (1, 0);
        for records in epochs {
            let mut buffer = EpochBuffer::default();
            for record in records.iter().filter(|record| !is_blank(record)) {
                let start = buffer.bytes.len();
                let first_record = buffer.records.len();
                if record.len() > max_record_bytes {
                    buffer.oversize.push((first_record, record.len() as u64));
                }
                let kept = &record[..record.len().min(max_record_bytes)];
                buffer.bytes.extend_from_slice(kept);
                buffer.bytes.push(b'\n');
                buffer.records.push(Span {
                    start,
                    length: kept.len(),
                });
                let partition = 0;
                buffer.segments.push(Segment {
                    first_record,
                    partition,
                    start,
                    offset,
                    line,
                });
                offset += record.len() as u64 + 1;
                line += 1;
            }
            shelf.cut.push_back(CutEpoch {
                epoch: cutter.next_epoch,
                last: false,
                ended: Vec::new(),
                buffer: Arc::new(buffer),
                to_take: workers,
            });
            cutter.next_epoch += 1;
        }
        cutter.over = true;
        drop((cutter, shelf));
        shared
    }

    /// The part of `worker` in `epoch`. Every worker asks for every epoch, in order. A worker that
    /// is `idle`, with no epoch under way, takes what has come; otherwise more may gather, so that
    /// epochs grow with the load.
    ///
    /// # Errors
    /// Where an input cannot be opened or read.
    pub fn take(&self, worker: usize, epoch: Epoch, idle: bool) -> Result<Poll> {
        if let Some(part) = self.take_cut(worker, epoch) {
            // Whoever has time cuts ahead, so that nobody needs to wait for the next epoch.
            if let Ok(mut cutter) = self.cutter.try_lock()
                && cutter.next_epoch == epoch + 1
            {
                self.cut(&mut cutter, false);
            }
            return Ok(Poll::Part(part));
        }
        let mut cutter = lock(&self.cutter);
        // Another worker may have cut it while this one waited.
        while cutter.next_epoch <= epoch {
            if let Some(error) = cutter.failed.take() {
                return Err(error);
            }
            if cutter.over || lock(&self.shelf).stop {
                return Ok(Poll::End);
            }
            if !self.cut(&mut cutter, idle) && cutter.failed.is_none() {
                return Ok(Poll::Pending);
            }
        }
        drop(cutter);
        self.take_cut(worker, epoch).map(Poll::Part).ok_or_else(|| {
            Error::internal(format!("epoch {epoch} was taken by all workers already"))
        })
    }

    /// Cuts the next epoch, if it is complete; an error waits for who needs that epoch.
    fn cut(&self, cutter: &mut Cutter, idle: bool) -> bool {
        if cutter.over || cutter.failed.is_some() || lock(&self.shelf).stop {
            return false;
        }
        let spare = || lock(&self.shelf).pool.pop().unwrap_or_default();
        match cutter.cut_epoch(idle, spare, self.local_workers) {
            Ok(Some(cut)) => {
                lock(&self.shelf).cut.push_back(cut);
                true
            }
            Ok(None) => false,
            Err(error) => {
                cutter.failed = Some(error);
                false
            }
        }
    }

    fn take_cut(&self, worker: usize, epoch: Epoch) -> Option<Part> {
        let mut shelf = lock(&self.shelf);
        let at = shelf.cut.iter().position(|cut| cut.epoch == epoch)?;
        let cut = &mut shelf.cut[at];
        let records = cut.buffer.records.len();
        let part = Part {
            epoch,
            worker,
            last: cut.last,
            epoch_records: records,
            ended: cut.ended.clone(),
            buffer: Arc::clone(&cut.buffer),
            from: records * worker / self.all_workers,
            to: records * (worker + 1) / self.all_workers,
        };
        cut.to_take -= 1;
        if cut.to_take == 0 {
            shelf.cut.remove(at);
        }
        Some(part)
    }

    /// Gives a part back when its bytes are no longer needed.
    pub fn give_back(&self, part: Part) {
        // The last to let go has the buffer.
        if let Some(mut buffer) = Arc::into_inner(part.buffer) {
            buffer.bytes.clear();
            buffer.records.clear();
            buffer.segments.clear();
            buffer.oversize.clear();
            let mut shelf = lock(&self.shelf);
            if shelf.pool.len() < POOLED {
                shelf.pool.push(buffer);
            }
        }
    }

    /// Ends the input here: what was not cut yet is not read.
    pub fn stop(&self) {
        lock(&self.shelf).stop = true;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An epoch that some workers have not taken yet.
struct CutEpoch {
    epoch: Epoch,
    last: bool,
    ended: Vec<u32>,
    buffer: Arc<EpochBuffer>,
    to_take: usize,
}

struct Cutter {
    inputs: NextInput,
    open: Option<Open>,
    partitions: u32,
    lines: Lines,
    limits: EpochLimits,
    max_record_bytes: usize,
    building: EpochBuffer,
    ended: Vec<u32>,
    first_record_at: Option<Duration>,
    next_epoch: Epoch,
    /// Whether the inputs have ended.
    over: bool,
    /// Why the next epoch cannot be cut.
    failed: Option<Error>,
}

struct Open {
    partition: u32,
    input: Input,
    exhausted: bool,
}

/// Where the scan for line ends stands.
#[derive(Debug, Default)]
struct Lines {
    /// Where the current line begins in the buffer, and in the input, and its number.
    start: usize,
    offset: u64,
    number: u64,
    /// Up to here the buffer holds no line end of the current line.
    scanned: usize,
    /// Whether the next record cannot lie in the segment of the one before.
    broken: bool,
    /// Whether the input's first bytes were looked at.
    begun: bool,
    long: Option<LongLine>,
}

/// A line that is longer than a record may be: its beginning lies in the buffer.
#[derive(Debug)]
struct LongLine {
    length: u64,
    blank: bool,
    ends_with_cr: bool,
}

/// How far [`Cutter::fill`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    Enough,
    Pending,
    End,
}

impl Cutter {
    /// Cuts the next epoch, if it is complete.
    fn cut_epoch(
        &mut self,
        idle: bool,
        spare: impl FnOnce() -> EpochBuffer,
        to_take: usize,
    ) -> Result<Option<CutEpoch>> {
        let exact = self
            .limits
            .events
            .map(|events| usize::try_from(events).unwrap_or(usize::MAX));
        let target = exact.unwrap_or(ADAPTED_EVENTS);
        let target_bytes = if exact.is_some() {
            usize::MAX
        } else {
            ADAPTED_BYTES
        };
        let filled = self.fill(target, target_bytes)?;
        let some = !self.building.records.is_empty();
        match filled {
            Filled::Pending => {
                let eager = idle && exact.is_none() && self.limits.age.is_none();
                if !(some && (eager || self.is_old())) {
                    return Ok(None);
                }
            }
            Filled::Enough | Filled::End => {}
        }
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        let buffer = self.split_building(spare());
        self.first_record_at = None;
        // An input that ends exactly here shows it now, if it is one that can be looked ahead in.
        let ahead = if filled == Filled::End {
            filled
        } else {
            self.fill(1, usize::MAX)?
        };
        let ended = std::mem::take(&mut self.ended);
        let last = ahead == Filled::End && self.building.records.is_empty();
        self.over = last;
        Ok(Some(CutEpoch {
            epoch,
            last,
            ended,
            buffer: Arc::new(buffer),
            to_take,
        }))
    }

    /// Takes the epoch that was built, and moves the bytes behind its last record to `next`.
    fn split_building(&mut self, mut next: EpochBuffer) -> EpochBuffer {
        let from = self.lines.start;
        next.bytes.extend_from_slice(&self.building.bytes[from..]);
        self.building.bytes.truncate(from);
        self.lines.start = 0;
        self.lines.scanned -= from;
        self.lines.broken = true;
        std::mem::replace(&mut self.building, next)
    }

    fn is_old(&self) -> bool {
        let EpochLimits {
            age: Some(age),
            now: Some(now),
            ..
        } = self.limits
        else {
            return false;
        };
        self.first_record_at
            .is_some_and(|since| now().saturating_sub(since) >= age)
    }

    /// Reads until `target` records, or about `target_bytes` bytes, are there.
    fn fill(&mut self, target: usize, target_bytes: usize) -> Result<Filled> {
        loop {
            self.scan(target);
            if self.building.records.len() >= target || self.lines.start >= target_bytes {
                return Ok(Filled::Enough);
            }
            if self.is_old() {
                return Ok(Filled::Pending);
            }
            if self.open.is_none() {
                match (self.inputs)() {
                    None => return Ok(Filled::End),
                    Some(input) => {
                        let input = input?;
                        let partition = self.partitions;
                        self.partitions += 1;
                        self.open = Some(Open {
                            partition,
                            input,
                            exhausted: false,
                        });
                        let start = self.building.bytes.len();
                        self.lines = Lines {
                            start,
                            scanned: start,
                            number: 1,
                            broken: true,
                            ..Lines::default()
                        };
                    }
                }
            }
            let Some(open) = &mut self.open else { continue };
            if open.exhausted {
                self.ended.push(open.partition);
                self.open = None;
                continue;
            }
            match open.input.fill(&mut self.building.bytes, READ_BYTES)? {
                Fill::Bytes(_) => {}
                Fill::Pending => return Ok(Filled::Pending),
                Fill::End => {
                    open.exhausted = true;
                    self.end_input();
                }
            }
        }
    }

    /// Finds line ends in what was read, until there are `target` records.
    fn scan(&mut self, target: usize) {
        let Some(open) = &self.open else { return };
        if !self.lines.begun {
            const BOM: &[u8] = b"\xEF\xBB\xBF";
            let head = &self.building.bytes[self.lines.start..];
            if head.len() < BOM.len() && BOM.starts_with(head) && !open.exhausted {
                return;
            }
            if head.starts_with(BOM) {
                self.lines.start += BOM.len();
                self.lines.scanned = self.lines.start;
                self.lines.offset = BOM.len() as u64;
            }
            self.lines.begun = true;
        }
        while self.building.records.len() < target {
            let unscanned = &self.building.bytes[self.lines.scanned..];
            match memchr::memchr(b'\n', unscanned) {
                Some(at) => self.end_line(self.lines.scanned + at),
                None => {
                    self.lines.scanned = self.building.bytes.len();
                    self.note_long_line();
                    return;
                }
            }
        }
    }

    /// The current line ends at `end`, where a LF stands.
    fn end_line(&mut self, end: usize) {
        self.push_line(end);
        let length = self
            .lines
            .long
            .take()
            .map_or((end - self.lines.start) as u64, |l| l.length);
        self.lines.offset += length + 1;
        self.lines.number += 1;
        self.lines.start = end + 1;
        self.lines.scanned = end + 1;
    }

    /// The input ends: what stands behind its last LF is a line too.
    fn end_input(&mut self) {
        // A scan that waited for more of a byte order mark goes on without it.
        self.scan(usize::MAX);
        let end = self.building.bytes.len();
        if end > self.lines.start || self.lines.long.is_some() {
            self.push_line(end);
            self.lines.long = None;
            self.lines.start = end;
            self.lines.scanned = end;
        }
    }

    /// Makes the line up to `end` a record, unless it is blank.
    fn push_line(&mut self, end: usize) {
        let Some(open) = &self.open else { return };
        let lines = &mut self.lines;
        let building = &mut self.building;
        let mut length = end - lines.start;
        let mut oversize = None;
        if let Some(long) = &mut lines.long {
            // The rest of the line was not counted yet.
            let rest = &building.bytes[lines.start + OVERSIZE_KEPT_BYTES..end];
            long.take(rest);
            if long.blank {
                lines.broken = true;
                return;
            }
            oversize = Some(long.length - u64::from(long.ends_with_cr));
            length = OVERSIZE_KEPT_BYTES;
        } else {
            let line = &building.bytes[lines.start..end];
            if line.last() == Some(&b'\r') {
                length -= 1;
            }
            if is_blank(line) {
                lines.broken = true;
                return;
            }
        }
        if oversize.is_none() && length > self.max_record_bytes {
            oversize = Some(length as u64);
            length = length.min(OVERSIZE_KEPT_BYTES);
        }
        if lines.broken {
            building.segments.push(Segment {
                first_record: building.records.len(),
                partition: open.partition,
                start: lines.start,
                offset: lines.offset,
                line: lines.number,
            });
            lines.broken = false;
        }
        if let Some(full) = oversize {
            building.oversize.push((building.records.len(), full));
            // Bytes were left out, so offsets no longer follow from places in the buffer.
            lines.broken = true;
        }
        if building.records.is_empty() && self.limits.age.is_some() {
            self.first_record_at = self.limits.now.map(|now| now());
        }
        building.records.push(Span {
            start: lines.start,
            length,
        });
    }

    /// Lets go of the bytes of a line that is too long to be a record, beyond those that are kept.
    fn note_long_line(&mut self) {
        let lines = &mut self.lines;
        let bytes = &mut self.building.bytes;
        let held = bytes.len() - lines.start;
        // One more byte may be the CR of a CRLF.
        let most = self.max_record_bytes.max(OVERSIZE_KEPT_BYTES) + 1;
        if lines.long.is_none() {
            if held <= most {
                return;
            }
            let mut long = LongLine {
                length: 0,
                blank: true,
                ends_with_cr: false,
            };
            long.take(&bytes[lines.start..lines.start + OVERSIZE_KEPT_BYTES]);
            lines.long = Some(long);
        }
        if let Some(long) = &mut lines.long {
            long.take(&bytes[lines.start + OVERSIZE_KEPT_BYTES..]);
        }
        bytes.truncate(lines.start + OVERSIZE_KEPT_BYTES);
        lines.scanned = bytes.len();
    }
}

impl LongLine {
    /// Counts more bytes of the line.
    fn take(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.length += bytes.len() as u64;
            self.ends_with_cr = *last == b'\r';
            self.blank = self.blank && is_blank(bytes);
        }
    }
}

/// Whether a line holds nothing but spaces, tabs and CRs.
fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}
