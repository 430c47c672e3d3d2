//! One cutter for all workers of a process, and the epochs that they have not taken yet.
//!
//! Whichever worker first needs an epoch cuts it, on behalf of all; whoever takes a part and finds
//! the cutter free cuts the next epoch ahead, so that nobody needs to wait. Every process cuts the
//! same epochs from the same files, and each of its workers takes its own part.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::bell::Bell;
use super::cutter::{
    CutEpoch, Cutter, EpochLimits, Keeping, NextInput, OVERSIZE_KEPT_BYTES, is_blank,
};
use super::gate::Gate;
use super::keeper::Keeper;
use super::lock;
use super::part::{EpochBuffer, Part, Segment, Span};
use crate::{Error, Result};

/// Buffers kept for the next epochs.
const POOLED: usize = 16;

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
    /// Rung for workers that wait, when there may be something for them to take.
    bell: Bell,
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
    /// Cuts what `inputs` opens, for `local_workers` of `all_workers`; what is kept of an earlier
    /// run comes first.
    pub fn new(
        inputs: NextInput,
        limits: EpochLimits,
        max_record_bytes: usize,
        (local_workers, all_workers): (usize, usize),
        keeping: Option<Keeping>,
    ) -> Self {
        let cutter = Cutter::new(inputs, limits, max_record_bytes, keeping);
        SharedCutter {
            bell: cutter.bell.clone(),
            cutter: Arc::new(Mutex::new(cutter)),
            shelf: Arc::default(),
            local_workers,
            all_workers,
        }
    }

    /// Gives the epochs that `keeper` recalls, and nothing else. Whether the input ends with the last
    /// of them is for the keeper to say.
    pub fn recalled(keeper: Box<dyn Keeper>, max_record_bytes: usize, workers: usize) -> Self {
        let keeping = Keeping {
            keeper,
            next_epoch: 0,
            waits_for_line_ends: false,
        };
        let shared = Self::new(
            Box::new(|| None),
            EpochLimits::default(),
            max_record_bytes,
            (workers, workers),
            Some(keeping),
        );
        lock(&shared.cutter).only_recalls = true;
        shared
    }

    /// Lets epochs through `gate`, from the next one on.
    pub fn with_gate(self, gate: Box<dyn Gate>) -> Self {
        lock(&self.cutter).gate = Some(gate);
        self
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
            None,
        );
        let mut cutter = lock(&shared.cutter);
        let mut shelf = lock(&shared.shelf);
        let (mut line, mut offset) = (1, 0);
        for records in epochs {
            let mut buffer = EpochBuffer::default();
            for text in records.iter().filter(|text| !is_blank(text)) {
                // A record is what stands before the end of a line.
                let record = text.strip_suffix(b"\n").unwrap_or(text);
                let record = record.strip_suffix(b"\r").unwrap_or(record);
                let mut kept_bytes = record.len();
                let start = buffer.bytes.len();
                let first_record = buffer.records.len();
                if record.len() > max_record_bytes {
                    kept_bytes = kept_bytes.min(OVERSIZE_KEPT_BYTES);
                    buffer.oversize.push((first_record, record.len() as u64));
                }
                let kept = &record[..kept_bytes];
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
                offset += text.len() as u64 + 1;
                line += 1;
            }
            shelf.cut.push_back(CutEpoch {
                turn: cutter.turns,
                epoch: cutter.next_epoch,
                last: false,
                silent: false,
                base: false,
                epochs: u64::from(!buffer.records.is_empty()),
                ended: Vec::new(),
                opening: None,
                buffer: Arc::new(buffer),
                to_take: workers,
            });
            cutter.next_epoch += 1;
            cutter.turns += 1;
        }
        cutter.over = true;
        drop((cutter, shelf));
        shared
    }

    /// Rings for workers when there may be something to take.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// The part of `worker` in the epoch whose `turn` it is, counted from 0. Every worker asks for
    /// every turn, in order. A worker that is `idle`, with no epoch under way, takes what has come;
    /// otherwise more may gather, so that epochs grow with the load.
    ///
    /// # Errors
    /// Where an input cannot be opened or read.
    pub fn take(&self, worker: usize, turn: u64, idle: bool) -> Result<Poll> {
        if let Some(poll) = self.take_cut(worker, turn) {
            // Whoever has time cuts ahead, so that nobody needs to wait for the next epoch.
            if matches!(poll, Poll::Part(_))
                && let Ok(mut cutter) = self.cutter.try_lock()
                && cutter.turns == turn + 1
            {
                self.cut(&mut cutter, false);
            }
            return Ok(poll);
        }
        let mut cutter = lock(&self.cutter);
        // Another worker may have cut it while this one waited.
        while cutter.turns <= turn {
            if let Some(error) = cutter.failed.take() {
                cutter.over = true;
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
        self.take_cut(worker, turn)
            .ok_or_else(|| Error::internal(format!("turn {turn} was taken by all workers already")))
    }

    /// Cuts the next epoch, if it is complete; an error waits for who needs that epoch.
    fn cut(&self, cutter: &mut Cutter, idle: bool) -> bool {
        if cutter.over || cutter.failed.is_some() || lock(&self.shelf).stop {
            return false;
        }
        let spare = || lock(&self.shelf).pool.pop().unwrap_or_default();
        match cutter.next(idle, spare, self.local_workers) {
            Ok(Some(cut)) => {
                lock(&self.shelf).cut.push_back(cut);
                self.bell.ring();
                true
            }
            Ok(None) => false,
            Err(error) => {
                cutter.failed = Some(error);
                false
            }
        }
    }

    /// The part of `worker` in an epoch that was cut, unless its time is still to come.
    fn take_cut(&self, worker: usize, turn: u64) -> Option<Poll> {
        let mut shelf = lock(&self.shelf);
        let at = shelf.cut.iter().position(|cut| cut.turn == turn)?;
        // Who stops waits for nothing, and other workers may have their parts already.
        let waits = !shelf.stop;
        let cut = &mut shelf.cut[at];
        if waits && cut.opening.is_some_and(|opening| opening.is_ahead()) {
            return Some(Poll::Pending);
        }
        let records = cut.buffer.records.len();
        let part = Part {
            epoch: cut.epoch,
            worker,
            last: cut.last,
            silent: cut.silent,
            base: cut.base,
            epochs: cut.epochs,
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
        Some(Poll::Part(part))
    }

    /// Gives a part back when its bytes are no longer needed.
    pub fn give_back(&self, part: Part) {
        // The last to let go has the buffer.
        if let Some(mut buffer) = Arc::into_inner(part.buffer) {
            buffer.clear();
            let mut shelf = lock(&self.shelf);
            if shelf.pool.len() < POOLED {
                shelf.pool.push(buffer);
            }
        }
    }

    /// The lines, as `input:line`, that wait for their ends.
    pub fn waiting_lines(&self) -> Vec<String> {
        lock(&self.cutter).waiting_lines.clone()
    }

    /// Ends the input here: what was not cut yet is not read.
    pub fn stop(&self) {
        lock(&self.shelf).stop = true;
    }
}
