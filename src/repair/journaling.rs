//! What a run keeps in its journal while it goes on: epochs as they are cut, and how far the
//! outputs are.
//!
//! The journal is ground state and the outputs follow from it, so what the outputs hold beyond the
//! last mark is cut off at a restart and written again, the same to the byte. [`resume`](super::resume)
//! decides where a run goes on; [`recall`](super::recall) brings back what was kept.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::base::BasePart;
use super::caching::Caching;
use super::commit::Mark;
use super::outputs::tails_of;
use super::recall::Recall;
use super::recollection::{FrameShare, Recollection};
use super::report::{Recovery, group_digits};
use super::spec::Dataflow;
use crate::io::bell::Bell;
use crate::io::keeper::{Cut, Keeper, Recalled};
use crate::io::output::Output;
use crate::io::part::EpochBuffer;
use crate::journal::columns::Chunk;
use crate::journal::{
    BasePart as BaseEntry, Checkpoint, Entry, Frame, FrameParts, Journal, Position, SharedBytes,
    Stretch,
};
use crate::runtime::clock::{self, Moment};
use crate::time::Epoch;
use crate::{Error, Result};

/// The journal of a run, shared by its workers.
#[derive(Debug)]
pub struct Journaling {
    journal: Arc<Journal>,
    /// The epoch in which the input ended, where it held no records.
    bare_end: Arc<AtomicU64>,
    marker: Mutex<Option<Marker>>,
    /// Why no more marks can be laid, where that is so.
    unmarked: Arc<Mutex<Option<Error>>>,
    /// How far behind the watermark history is kept that recovery does not need.
    retain_us: Option<i64>,
    /// The bases that were laid, with their watermarks.
    laid: Mutex<Vec<(Epoch, i64)>>,
    laid_bytes: Arc<LaidBytes>,
    /// Parts of bases that wait for those of other workers.
    bases: Mutex<Vec<(Epoch, u32, Vec<u8>)>>,
    /// What came of the epochs of earlier runs, where there were some.
    recovering: Mutex<Option<Recovering>>,
    /// What is kept of decoded records, where there is a place for it.
    columns: Option<Columns>,
}

/// What earlier runs have decoded, and what this one keeps of what it decodes.
#[derive(Debug)]
pub struct Columns {
    /// What is at hand of recalled epochs.
    pub recollection: Arc<Recollection>,
    /// What makes caches.
    pub caching: Caching,
}

/// A recovery that is under way or over.
#[derive(Debug)]
pub struct Recovering {
    /// The last epoch that comes out of the journal.
    pub through: Epoch,
    /// When it began.
    pub begun: Moment,
    /// What it comes to; no time while it is under way.
    pub recovery: Recovery,
    /// The journal's name.
    pub from: String,
    /// Who is told when it is over.
    pub notice: Option<fn(&str)>,
}

impl Recovering {
    fn end(&mut self) {
        let Recovery {
            records, epochs, ..
        } = self.recovery;
        self.recovery.elapsed_s = self.begun.elapsed().as_secs_f64();
        if let Some(notice) = self.notice {
            notice(&format!(
                "recovered {} records of {} epochs from {} in {:.3} s",
                group_digits(records.into()),
                group_digits(epochs.into()),
                self.from,
                self.recovery.elapsed_s
            ));
        }
    }
}

/// How many bytes bases took, so that bases are not what makes bases due.
#[derive(Debug, Default)]
struct LaidBytes {
    all: AtomicU64,
    last: AtomicU64,
}

/// A base is due when this many times its length came after the one before: it costs less than what
/// it stands for.
const BASE_SHARE: u64 = 4;

/// No epoch.
const NONE: u64 = u64::MAX;

/// What is laid down, in its order: a base only behind a mark that is as late.
#[derive(Debug)]
enum Laid {
    Mark(Box<Mark>),
    Base(Vec<BaseEntry>),
}

/// The thread that lays down marks: it waits for the disk, so that no worker has to.
#[derive(Debug)]
struct Marker {
    marks: Sender<Laid>,
    thread: JoinHandle<()>,
}

impl Journaling {
    /// Keeps epochs in `journal`, whose outputs are `outputs`, those that are files in `folder`.
    pub fn new(
        journal: Arc<Journal>,
        outputs: Vec<Output>,
        folder: PathBuf,
        recovering: Option<Recovering>,
    ) -> Self {
        let (marks, received) = channel();
        let unmarked: Arc<Mutex<Option<Error>>> = Arc::default();
        let for_thread = (Arc::clone(&journal), Arc::clone(&unmarked));
        let thread = std::thread::spawn(move || {
            let (journal, unmarked) = for_thread;
            if let Err(error) = lay_marks(&journal, &outputs, &folder, &received) {
                *unmarked.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            // The outputs first: with the journal goes what keeps other runs away from them.
            drop(outputs);
            drop(journal);
        });
        Journaling {
            journal,
            bare_end: Arc::new(AtomicU64::new(NONE)),
            marker: Mutex::new(Some(Marker { marks, thread })),
            unmarked,
            retain_us: None,
            laid: Mutex::default(),
            laid_bytes: Arc::default(),
            bases: Mutex::default(),
            recovering: Mutex::new(recovering),
            columns: None,
        }
    }

    /// Also keeps what is decoded.
    pub fn with_columns(mut self, columns: Option<Columns>) -> Self {
        self.columns = columns;
        self
    }

    /// The frames of which `epoch` consists, an epoch of `records`, for each worker once; none where
    /// no columns are kept.
    pub fn frames(&self, epoch: Epoch, records: usize) -> Option<Arc<[FrameShare]>> {
        let columns = self.columns.as_ref()?;
        let recalled = columns.recollection.take(epoch);
        Some(recalled.unwrap_or_else(|| {
            // It is cut in this run: a frame of its own.
            Arc::new([FrameShare {
                epoch,
                first: 0,
                records,
                columns: None,
            }])
        }))
    }

    /// Keeps what a worker has decoded of `frames`.
    pub fn keep_columns(&self, chunks: Vec<Chunk>, frames: &[FrameShare]) {
        let Some(columns) = &self.columns else {
            return;
        };
        // Both are in order.
        let mut frames = frames.iter();
        let chunks = chunks.into_iter().filter_map(|chunk| {
            let frame = frames.find(|frame| frame.epoch == chunk.epoch())?;
            Some((chunk, frame.records))
        });
        columns
            .caching
            .add(chunks.collect(), self.journal.segment());
    }

    /// Lets go of history that lies behind the watermark by more than this.
    pub fn retaining(mut self, retain_us: Option<i64>) -> Self {
        self.retain_us = retain_us;
        self
    }

    /// What the cutter hands epochs to; `recall` gives those of earlier runs.
    pub fn keeper(&self, recall: Recall, dataflow: &Dataflow) -> Box<dyn Keeper> {
        let columns = self.columns.as_ref();
        let recollection = columns.map(|columns| Arc::clone(&columns.recollection));
        Box::new(JournalKeeper {
            journal: Arc::clone(&self.journal),
            bare_end: Arc::clone(&self.bare_end),
            recall: recall.recollecting(recollection),
            based_at: self.journal.appended_bytes(),
            laid_bytes: Arc::clone(&self.laid_bytes),
            bases: dataflow
                .horizon
                .as_ref()
                .map(|_| dataflow.journal.segment_bytes),
        })
    }

    /// Rings `bell` whenever more epochs exist, and when the journal fails.
    pub fn ring_on_sync(&self, bell: &Bell) {
        let bell = bell.clone();
        self.journal.on_sync(Box::new(move || bell.ring()));
    }

    /// Whether `epoch` is in the journal for good.
    pub fn exists(&self, epoch: Epoch) -> bool {
        let synced = self.journal.synced_before();
        // An end without records claims nothing that a crash could undo.
        epoch < synced || epoch == synced && self.bare_end.load(Ordering::Acquire) == epoch
    }

    /// What went wrong with the journal or its marks, if something did; the latter is said once.
    pub fn failure(&self) -> Option<Error> {
        let unmarked = || {
            let mut unmarked = self.unmarked.lock();
            unmarked.as_mut().ok().and_then(|error| error.take())
        };
        self.journal.failure().or_else(unmarked)
    }

    /// Lays down how far the outputs are, soon.
    pub fn mark(&self, mark: Mark) {
        let marker = self.marker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(marker) = &*marker {
            // A thread that has ended leaves the journal with an older mark, which is as right.
            let _ = marker.marks.send(Laid::Mark(Box::new(mark)));
        }
    }

    /// Keeps one worker's part of what is known after `epoch`; complete when all are there.
    pub fn lay_base(&self, epoch: Epoch, worker: u32, workers: u32, part: &BasePart) {
        if let Some(watermark) = part.watermark() {
            let mut laid = self.laid.lock().unwrap_or_else(PoisonError::into_inner);
            laid.push((epoch, watermark));
        }
        // A recovery can do without a base.
        let Ok(bytes) = postcard::to_stdvec(part) else {
            return;
        };
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        bases.push((epoch, worker, bytes));
        if bases.iter().filter(|(of, _, _)| *of == epoch).count() < workers as usize {
            return;
        }
        let (mut parts, rest): (Vec<_>, Vec<_>) =
            bases.drain(..).partition(|(of, _, _)| *of == epoch);
        *bases = rest;
        parts.sort_unstable_by_key(|(_, worker, _)| *worker);
        let bytes: u64 = parts.iter().map(|(_, _, bytes)| bytes.len() as u64).sum();
        self.laid_bytes.all.fetch_add(bytes, Ordering::Relaxed);
        self.laid_bytes.last.store(bytes, Ordering::Relaxed);
        let parts = parts.into_iter().map(|(epoch, part, bytes)| BaseEntry {
            epoch,
            part,
            parts: workers,
            bytes,
        });
        let marker = self.marker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(marker) = &*marker {
            // Without this base a recovery begins at an older one.
            let _ = marker.marks.send(Laid::Base(parts.collect()));
        }
        drop(marker);
        self.drop_history();
    }

    /// Lets the journal drop what lies before the newest base that is old enough.
    fn drop_history(&self) {
        let Some(retain_us) = self.retain_us else {
            return;
        };
        let mut laid = self.laid.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(&(_, newest)) = laid.last() else {
            return;
        };
        let line = newest.saturating_sub(retain_us);
        if let Some(at) = laid.iter().rposition(|(_, watermark)| *watermark <= line) {
            self.journal.drop_before(laid[at].0);
            laid.drain(..at);
        }
    }

    /// Takes note that all workers have written everything up to `epoch`.
    pub fn acknowledge(&self, epoch: Epoch) {
        let mut recovering = self
            .recovering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(recovering) = &mut *recovering
            && recovering.recovery.elapsed_s == 0.0
            && epoch >= recovering.through
        {
            recovering.end();
        }
    }

    /// What came out of the journal of an earlier run.
    pub fn recovery(&self) -> Option<Recovery> {
        let recovering = self
            .recovering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        recovering
            .as_ref()
            .map(|recovering| recovering.recovery.clone())
    }

    /// Waits until everything that was kept is there for good.
    ///
    /// # Errors
    /// Where the journal fails.
    pub fn finish(&self) -> Result<()> {
        let marker = self
            .marker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Marker { marks, thread }) = marker {
            drop(marks);
            thread
                .join()
                .map_err(|_| Error::internal("the thread that lays down marks has failed"))?;
        }
        if let Some(error) = self.failure() {
            return Err(error);
        }
        self.journal.flush()?;
        if let Some(columns) = &self.columns {
            columns.caching.finish(self.journal.segment());
        }
        Ok(())
    }
}

impl Drop for Journaling {
    fn drop(&mut self) {
        let marker = self.marker.get_mut();
        if let Some(marker) = marker.unwrap_or_else(PoisonError::into_inner).take() {
            drop(marker.marks);
            // Whoever wants to know how it went calls `finish`.
            let _ = marker.thread.join();
        }
    }
}

/// Syncs the outputs, and then says in the journal how long they are.
///
/// # Errors
/// Where an output cannot be synced: no later mark may stand for what is lost, even if a later sync
/// succeeds.
fn lay_marks(
    journal: &Journal,
    outputs: &[Output],
    folder: &Path,
    marks: &Receiver<Laid>,
) -> Result<()> {
    let mut next = None;
    while let Some(laid) = next.take().or_else(|| marks.recv().ok()) {
        let mut mark = match laid {
            Laid::Mark(mark) => mark,
            Laid::Base(parts) => {
                for part in parts {
                    journal.append(Entry::Base(part));
                }
                continue;
            }
        };
        // Of several marks only the latest counts.
        while let Ok(later) = marks.try_recv() {
            match later {
                Laid::Mark(later) => mark = later,
                base => {
                    next = Some(base);
                    break;
                }
            }
        }
        outputs.iter().try_for_each(Output::sync)?;
        mark.tails = tails_of(folder, mark.lengths);
        journal.append(Entry::Checkpoint(checkpoint_of(&mark)?));
    }
    Ok(())
}

/// A mark as the journal has it.
pub(super) fn checkpoint_of(mark: &Mark) -> Result<Checkpoint> {
    let totals = postcard::to_stdvec(mark)
        .map_err(|error| Error::internal("could not encode the totals").with_source(error))?;
    Ok(Checkpoint {
        epoch: mark.epoch,
        lengths: mark.lengths,
        totals,
    })
}

/// Keeps the epochs of a run, after it has given those of earlier ones.
struct JournalKeeper {
    journal: Arc<Journal>,
    bare_end: Arc<AtomicU64>,
    recall: Recall,
    /// The length of the journal when the last base was asked for.
    based_at: u64,
    /// See [`LaidBytes`].
    laid_bytes: Arc<LaidBytes>,
    /// Whether bases are laid: after how many bytes at the least.
    bases: Option<u64>,
}

impl Keeper for JournalKeeper {
    fn recall(&mut self, buffer: &mut EpochBuffer) -> Result<Option<Recalled>> {
        self.recall.next(buffer)
    }

    fn keep(&mut self, cut: &Cut<'_>) -> Result<bool> {
        let buffer = cut.buffer;
        if !buffer.records.is_empty() {
            let stretches: Vec<Stretch> = buffer.segments.iter().map(stretch_of).collect();
            let positions: Vec<Position> = cut.reached.iter().map(position_of).collect();
            let mut records = buffer.records.iter().map(|span| (span.start, span.length));
            let frame = Frame::encode(FrameParts {
                epoch: cut.epoch,
                clock_us: clock::utc_us(),
                bytes: SharedBytes::new(Arc::clone(buffer)),
                records: &mut records,
                stretches: &stretches,
                oversize: &buffer.oversize,
                ended: cut.ended,
                positions: &positions,
            });
            self.journal.append(Entry::Frame(frame));
        } else if cut.last {
            self.bare_end.store(cut.epoch, Ordering::Release);
        }
        if cut.last {
            self.journal.append(Entry::End { epoch: cut.epoch });
        }
        let Some(at_least) = self.bases else {
            return Ok(false);
        };
        let all_bases = self.laid_bytes.all.load(Ordering::Relaxed);
        let appended = self.journal.appended_bytes().saturating_sub(all_bases);
        let last_base = self.laid_bytes.last.load(Ordering::Relaxed);
        let enough = at_least.max(BASE_SHARE * last_base);
        let due = !cut.last && appended.saturating_sub(self.based_at) >= enough;
        if due {
            self.based_at = appended;
        }
        Ok(due)
    }
}

fn stretch_of(segment: &crate::io::part::Segment) -> Stretch {
    Stretch {
        first_record: segment.first_record,
        partition: segment.partition,
        start: segment.start,
        offset: segment.offset,
        line: segment.line,
    }
}

fn position_of(reached: &crate::io::keeper::Reached) -> Position {
    Position {
        partition: reached.partition,
        offset: reached.offset,
        line: reached.line,
        last_offset: reached.last_offset,
        last_length: reached.last_length,
        last_hash: reached.last_hash,
    }
}
