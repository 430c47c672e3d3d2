//! Epochs of earlier runs, brought back from the journal in their order.
//!
//! Epochs whose answer the outputs hold already are silent. Where nothing depends on how epochs
//! were cut, several of them are recalled as one, which is faster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::recollection::{FrameShare, Recollection};
use crate::Result;
use crate::io::keeper::{Cut, Keeper, Recalled};
use crate::io::part::{EpochBuffer, Segment, Span};
use crate::journal::{Frame, FrameAt, Storage, append_frame};
use crate::time::Epoch;

/// Silent epochs are recalled together up to this many records.
const TOGETHER_RECORDS: usize = 32 << 10;
/// See [`TOGETHER_RECORDS`]: whichever comes first.
const TOGETHER_BYTES: usize = 8 << 20;

/// What is recalled, and how.
#[derive(Clone, Debug, Default)]
pub struct RecallRules {
    /// Epochs up to this one are silent.
    pub silent_through: Option<Epoch>,
    /// Whether silent epochs may be recalled together.
    pub together: bool,
    /// The epoch in which the input ended, where the journal alone decides that.
    pub end: Option<Epoch>,
    /// Epochs without records in which changed rules were taken up.
    pub amended: Vec<Epoch>,
}

/// Gives the epochs of a journal.
#[derive(Debug)]
pub struct Recall {
    storage: Arc<dyn Storage>,
    index: Vec<FrameAt>,
    next: usize,
    rules: RecallRules,
    /// Bytes that were recalled, for who draws the progress.
    read_bytes: Arc<AtomicU64>,
    /// Whether an end without records is still to be given.
    bare_end: Option<Epoch>,
    /// Who is told of which frames an epoch consists.
    recollection: Option<Arc<Recollection>>,
}

impl Recall {
    /// Gives the epochs of `index`, whose frames lie in `storage`.
    pub fn new(
        storage: Arc<dyn Storage>,
        index: Vec<FrameAt>,
        rules: RecallRules,
        read_bytes: Arc<AtomicU64>,
    ) -> Self {
        let bare_end = rules
            .end
            .filter(|end| index.last().is_none_or(|last| last.epoch < *end));
        Recall {
            storage,
            index,
            next: 0,
            rules,
            read_bytes,
            bare_end,
            recollection: None,
        }
    }

    /// Also finds what is known of the records without decoding them.
    pub fn recollecting(mut self, recollection: Option<Arc<Recollection>>) -> Self {
        self.recollection = recollection;
        self
    }

    /// The next epoch, or several as one; their records are put into `buffer`, which is empty.
    ///
    /// # Errors
    /// `Corrupt` where a frame is damaged, `Unavailable` where it cannot be read.
    pub fn next(&mut self, buffer: &mut EpochBuffer) -> Result<Option<Recalled>> {
        let mut recalled: Option<Recalled> = None;
        let mut shares = Vec::new();
        if let Some(epoch) = self.take_amended() {
            if let Some(recollection) = &self.recollection {
                recollection.tell(epoch, Vec::new());
            }
            return Ok(Some(Recalled {
                epoch,
                silent: self.is_silent(epoch),
                more: self.next < self.index.len(),
                ..Recalled::default()
            }));
        }
        while let Some(at) = self.index.get(self.next) {
            // Rules change between two epochs, and not within one.
            if recalled.is_some() && self.amended_first().is_some_and(|epoch| epoch < at.epoch) {
                break;
            }
            let silent = self.is_silent(at.epoch);
            if let Some(before) = &recalled {
                let room = buffer.records.len() + at.records as usize <= TOGETHER_RECORDS
                    && buffer.bytes.len() + at.bytes as usize <= TOGETHER_BYTES;
                if !(self.rules.together && before.silent && silent && room) {
                    break;
                }
            }
            let frame = append_frame(&*self.storage, at, &mut buffer.bytes)?;
            self.read_bytes.fetch_add(at.bytes, Ordering::Relaxed);
            self.next += 1;
            let recalled = recalled.get_or_insert_default();
            recalled.epoch = frame.epoch;
            recalled.epochs += 1;
            recalled.silent = silent;
            recalled.ended.extend_from_slice(&frame.ended);
            if let Some(recollection) = &self.recollection {
                shares.push(FrameShare {
                    epoch: frame.epoch,
                    first: buffer.records.len(),
                    records: frame.records.len(),
                    columns: recollection.columns(at),
                });
            }
            append(buffer, &frame);
        }
        let over = self.next == self.index.len();
        match &mut recalled {
            Some(recalled) => {
                recalled.more = !over || self.bare_end.is_some() || !self.rules.amended.is_empty();
                recalled.last = over && self.rules.end == Some(recalled.epoch);
            }
            None => {
                // An end that was an epoch of its own.
                recalled = self.bare_end.take().map(|epoch| Recalled {
                    epoch,
                    last: true,
                    silent: self.is_silent(epoch),
                    ..Recalled::default()
                });
            }
        }
        if let Some(recollection) = &self.recollection {
            match &recalled {
                Some(recalled) => recollection.tell(recalled.epoch, shares),
                None => recollection.close(),
            }
        }
        Ok(recalled)
    }

    /// The next epoch in which rules changed.
    fn amended_first(&self) -> Option<Epoch> {
        self.rules.amended.first().copied()
    }

    /// Takes the next epoch in which rules changed, if no frame comes before it.
    fn take_amended(&mut self) -> Option<Epoch> {
        let epoch = self.amended_first()?;
        let next = self.index.get(self.next);
        next.is_none_or(|at| epoch < at.epoch)
            .then(|| self.rules.amended.remove(0))
    }

    fn is_silent(&self, epoch: Epoch) -> bool {
        let silent_through = self.rules.silent_through;
        silent_through.is_some_and(|through| epoch <= through)
    }
}

/// Gives the epochs of a journal, and keeps none.
pub struct Kept(pub Recall);

impl Keeper for Kept {
    fn recall(&mut self, buffer: &mut EpochBuffer) -> Result<Option<Recalled>> {
        self.0.next(buffer)
    }

    fn keep(&mut self, _: &Cut<'_>) -> Result<bool> {
        Ok(false)
    }
}

/// Appends the records of `frame`, whose bytes are there already.
fn append(buffer: &mut EpochBuffer, frame: &Frame) {
    let first = buffer.records.len();
    buffer.records.extend(frame.records.iter().map(|span| Span {
        start: span.start,
        length: span.length,
    }));
    buffer
        .segments
        .extend(frame.stretches.iter().map(|stretch| Segment {
            first_record: first + stretch.first_record,
            partition: stretch.partition,
            start: stretch.start,
            offset: stretch.offset,
            line: stretch.line,
        }));
    let oversize = frame.oversize.iter();
    buffer
        .oversize
        .extend(oversize.map(|(record, length)| (first + record, *length)));
}
