//! Lines of all inputs, in their one order, cut into epochs.
//!
//! The inputs are one sequence of records: one file after the other, each from its start. An epoch
//! is a run of consecutive records. A record is a line without its LF or CRLF. Blank lines
//! (spaces, tabs, CR) are not records. A record longer than the limit is streamed past: its first
//! 64 KiB stay, with its length.

use std::sync::Arc;
use std::time::Duration;

use super::bell::Bell;
use super::gate::{Gate, Opening, Passage};
use super::input::{Fill, Input};
use super::keeper::{Cut, Keeper, Reached};
use super::part::{EpochBuffer, Segment, Span};
use crate::time::Epoch;
use crate::{Error, Result};

/// Bytes asked of an input at once.
const READ_BYTES: usize = 128 << 10;
/// Of a record that is too long, the bytes that are kept.
pub(super) const OVERSIZE_KEPT_BYTES: usize = 64 << 10;
/// Epochs of files are about this long, where the engine may choose.
const ADAPTED_EVENTS: usize = 16 << 10;
/// See [`ADAPTED_EVENTS`]: whichever comes first.
const ADAPTED_BYTES: usize = 4 << 20;

/// When an epoch closes.
#[derive(Clone, Copy, Debug, Default)]
pub struct EpochLimits {
    /// At exactly this many records; `None` lets the engine choose.
    pub events: Option<u64>,
    /// Where the engine chooses, at no more than this many.
    pub most_events: Option<u64>,
    /// At this age of its first record.
    pub age: Option<Duration>,
    /// The clock that tells the age.
    pub now: Option<fn() -> Duration>,
}

/// Opens the inputs one after the other; each call gives the next, or none at the end.
pub type NextInput = Box<dyn FnMut() -> Option<Result<Opened>> + Send>;

/// An input that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Its bytes, from `offset` on.
    pub input: Input,
    /// Its number.
    pub partition: u32,
    /// Where in its content the bytes begin, at the beginning of a line.
    pub offset: u64,
    /// The number of that line, from 1.
    pub line: u64,
    /// Whether more may be appended to it later.
    pub grows: bool,
}

/// What the inputs are kept in, and what that means for their ends.
pub struct Keeping {
    /// What keeps the epochs.
    pub keeper: Box<dyn Keeper>,
    /// The first epoch that is cut.
    pub next_epoch: Epoch,
    /// Whether a last line without its line end waits for it.
    pub waits_for_line_ends: bool,
}

/// An epoch that some workers have not taken yet.
pub(super) struct CutEpoch {
    pub(super) turn: u64,
    pub(super) epoch: Epoch,
    pub(super) last: bool,
    pub(super) silent: bool,
    pub(super) base: bool,
    pub(super) epochs: u64,
    pub(super) ended: Vec<u32>,
    /// When workers may take it.
    pub(super) opening: Option<Opening>,
    pub(super) buffer: Arc<EpochBuffer>,
    /// Workers of this process that have not taken their part.
    pub(super) to_take: usize,
}

/// Cuts the lines of inputs into epochs.
pub(super) struct Cutter {
    inputs: NextInput,
    open: Option<Open>,
    lines: Lines,
    limits: EpochLimits,
    max_record_bytes: usize,
    building: EpochBuffer,
    ended: Vec<u32>,
    first_record_at: Option<Duration>,
    keeping: Option<Keeping>,
    /// Whether the keeper may have epochs of an earlier run.
    recalling: bool,
    /// Whether those epochs are all there is: the inputs are not asked for more.
    pub(super) only_recalls: bool,
    /// What epochs go through, where they do not all go through.
    pub(super) gate: Option<Box<dyn Gate>>,
    /// How far the inputs were read that were read since the last epoch.
    reached: Vec<Reached>,
    /// Lines that wait for their ends.
    pub(super) waiting_lines: Vec<String>,
    pub(super) next_epoch: Epoch,
    /// The number of epochs that were cut or recalled.
    pub(super) turns: u64,
    /// Whether the inputs have ended.
    pub(super) over: bool,
    /// Why the next epoch cannot be cut.
    pub(super) failed: Option<Error>,
    /// What inputs ring when bytes came that nobody was there to take.
    pub(super) bell: Bell,
}

struct Open {
    partition: u32,
    input: Input,
    grows: bool,
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
    pub(super) fn new(
        inputs: NextInput,
        limits: EpochLimits,
        max_record_bytes: usize,
        keeping: Option<Keeping>,
    ) -> Self {
        Cutter {
            inputs,
            open: None,
            lines: Lines::default(),
            limits,
            max_record_bytes,
            building: EpochBuffer::default(),
            ended: Vec::new(),
            first_record_at: None,
            next_epoch: keeping.as_ref().map_or(0, |keeping| keeping.next_epoch),
            recalling: keeping.is_some(),
            only_recalls: false,
            gate: None,
            keeping,
            reached: Vec::new(),
            waiting_lines: Vec::new(),
            turns: 0,
            over: false,
            failed: None,
            bell: Bell::default(),
        }
    }

    /// The next epoch, if it is complete and goes through: those that were kept first, then what the
    /// inputs have.
    pub(super) fn next(
        &mut self,
        idle: bool,
        spare: impl FnOnce() -> EpochBuffer,
        to_take: usize,
    ) -> Result<Option<CutEpoch>> {
        let cut = if self.recalling {
            let mut buffer = spare();
            match self.recall(&mut buffer, to_take)? {
                Some(recalled) => Some(CutEpoch {
                    buffer: Arc::new(buffer),
                    ..recalled
                }),
                None if self.only_recalls => {
                    self.over = true;
                    None
                }
                None => self.cut_epoch(idle, || buffer, to_take)?,
            }
        } else {
            self.cut_epoch(idle, spare, to_take)?
        };
        let cut = cut.and_then(|cut| self.let_through(cut));
        self.turns += u64::from(cut.is_some());
        Ok(cut)
    }

    /// What the gate leaves of an epoch.
    fn let_through(&mut self, mut cut: CutEpoch) -> Option<CutEpoch> {
        // No worker shares the buffer yet, and nobody keeps what goes through a gate.
        let (Some(gate), Some(buffer)) = (&mut self.gate, Arc::get_mut(&mut cut.buffer)) else {
            return Some(cut);
        };
        match gate.pass(cut.epoch, buffer) {
            Passage::Open { silent, opening } => {
                if buffer.records.is_empty() {
                    cut.epochs = 0;
                }
                cut.silent |= silent;
                // What is published because the input ends is not published in silence.
                cut.last &= !cut.silent;
                cut.opening = opening;
                Some(cut)
            }
            Passage::Closed => {
                self.over = true;
                None
            }
        }
    }

    /// The next epoch that was kept; its buffer is still `buffer`.
    fn recall(&mut self, buffer: &mut EpochBuffer, to_take: usize) -> Result<Option<CutEpoch>> {
        let Some(keeping) = &mut self.keeping else {
            return Ok(None);
        };
        let Some(recalled) = keeping.keeper.recall(buffer)? else {
            self.recalling = false;
            return Ok(None);
        };
        let mut last = recalled.last;
        if !(recalled.more || recalled.silent || last || self.only_recalls) {
            // It may be the last of all, as it was when it was cut.
            last = self.fill(1, usize::MAX)? == Filled::End && self.building.records.is_empty();
            if last && let Some(keeping) = &mut self.keeping {
                keeping.keeper.keep(&Cut {
                    epoch: recalled.epoch,
                    buffer: &Arc::default(),
                    ended: &[],
                    reached: &[],
                    last,
                })?;
            }
        }
        self.over = last;
        Ok(Some(CutEpoch {
            turn: self.turns,
            epoch: recalled.epoch,
            last,
            silent: recalled.silent,
            base: false,
            epochs: recalled.epochs,
            ended: recalled.ended,
            opening: None,
            buffer: Arc::default(),
            to_take,
        }))
    }

    /// Cuts the next epoch, if it is complete.
    fn cut_epoch(
        &mut self,
        idle: bool,
        spare: impl FnOnce() -> EpochBuffer,
        to_take: usize,
    ) -> Result<Option<CutEpoch>> {
        let count = |events| usize::try_from(events).unwrap_or(usize::MAX);
        let exact = self.limits.events.map(count);
        let adapted = self.limits.most_events.map_or(ADAPTED_EVENTS, count);
        let target = exact.unwrap_or(adapted);
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
        self.note_reached();
        let buffer = Arc::new(self.split_building(spare()));
        self.first_record_at = None;
        let reached = std::mem::take(&mut self.reached);
        // An input that ends exactly here shows it now, if it is one that can be looked ahead in.
        let ahead = if filled == Filled::End {
            filled
        } else {
            // What goes wrong there is the next epoch's matter.
            self.fill(1, usize::MAX).unwrap_or_else(|error| {
                self.failed = Some(error);
                Filled::Pending
            })
        };
        let ended = std::mem::take(&mut self.ended);
        let last = ahead == Filled::End && self.building.records.is_empty();
        self.over = last;
        let mut base = false;
        if let Some(keeping) = &mut self.keeping {
            // The end of the last input is that of all inputs, which more may follow later.
            let followed = ended.len() - usize::from(last && !ended.is_empty());
            base = keeping.keeper.keep(&Cut {
                epoch,
                buffer: &buffer,
                ended: &ended[..followed],
                reached: &reached,
                last,
            })?;
        }
        Ok(Some(CutEpoch {
            turn: self.turns,
            epoch,
            last,
            silent: false,
            base,
            epochs: u64::from(!buffer.records.is_empty()),
            ended,
            opening: None,
            buffer,
            to_take,
        }))
    }

    /// Notes how far the open input was read, as far as whole records go.
    fn note_reached(&mut self) {
        let Some(open) = &self.open else { return };
        if self.keeping.is_none() {
            return;
        }
        let building = &self.building;
        let (Some(segment), Some(span)) = (building.segments.last(), building.records.last())
        else {
            return;
        };
        // Where no record came, what is known of the one before stays; blank lines are read again.
        if segment.partition != open.partition {
            return;
        }
        let mut reached = Reached {
            partition: open.partition,
            offset: self.lines.offset,
            line: self.lines.number,
            ..Reached::default()
        };
        let is_whole = building
            .oversize
            .last()
            .is_none_or(|(at, _)| at + 1 < building.records.len());
        if is_whole {
            let bytes = &building.bytes[span.start..span.start + span.length];
            reached.last_offset = segment.offset + (span.start - segment.start) as u64;
            reached.last_length = span.length as u64;
            reached.last_hash = xxhash_rust::xxh3::xxh3_64(bytes);
        }
        self.reached.push(reached);
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
            self.let_go_of_blank_lines();
            if self.open.is_none() {
                match (self.inputs)() {
                    None => return Ok(Filled::End),
                    Some(opened) => {
                        let opened = opened?;
                        opened.input.rings(&self.bell);
                        self.open = Some(Open {
                            partition: opened.partition,
                            input: opened.input,
                            grows: opened.grows,
                            exhausted: false,
                        });
                        let start = self.building.bytes.len();
                        self.lines = Lines {
                            start,
                            scanned: start,
                            offset: opened.offset,
                            number: opened.line,
                            broken: true,
                            begun: opened.offset > 0,
                            ..Lines::default()
                        };
                    }
                }
            }
            let Some(open) = &mut self.open else { continue };
            if open.exhausted {
                let partition = open.partition;
                self.note_reached();
                self.ended.push(partition);
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

    /// Lets go of the bytes between the last record and the current line, where they are many.
    fn let_go_of_blank_lines(&mut self) {
        let building = &mut self.building;
        // The byte behind a record stays: it tells how its line ends.
        let from = building
            .records
            .last()
            .map_or(0, |span| span.start + span.length + 1);
        let blank = self.lines.start.saturating_sub(from);
        if blank > READ_BYTES {
            building.bytes.drain(from..self.lines.start);
            self.lines.start -= blank;
            self.lines.scanned -= blank;
            self.lines.broken = true;
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
        if end == self.lines.start && self.lines.long.is_none() {
            return;
        }
        let grows = self.open.as_ref().is_some_and(|open| open.grows);
        let keeping = self.keeping.as_ref();
        if !(grows && keeping.is_some_and(|keeping| keeping.waits_for_line_ends)) {
            let begun = self.lines.start;
            self.push_line(end);
            let length = (end - begun) as u64;
            self.lines.offset += self.lines.long.as_ref().map_or(length, |long| long.length);
            self.lines.number += 1;
        } else if let Some(open) = &self.open {
            let line = self.lines.number;
            self.waiting_lines
                .push(format!("{}:{line}", open.input.label()));
        }
        self.lines.long = None;
        self.lines.broken = true;
        self.lines.start = end;
        self.lines.scanned = end;
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
pub(super) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}
