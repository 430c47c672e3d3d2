//! Where an epoch leaves: workers agree on the place of each one's lines, and write them.
//!
//! Every worker says how long its lines are, and every worker hears what all have said; so each
//! knows its offsets without asking. An epoch's lines in a file are the head, the parts of the
//! workers in order, and the tail. What is published only at the end of the input (see
//! [`Desk::for_each_kept`]) stands between them in the last epoch, in the order of the input.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::base::{BasePart, Bases};
use super::desk::Desk;
use super::fill::{Finals, Note};
use super::lines::{Pages, Sink};
use super::tally::Tally;
use super::wiring::Tick;
use crate::event::write::ReconstructedWriter;
use crate::io::output::Output;
use crate::io::shared_cutter::SharedCutter;
use crate::runtime::clock;
use crate::runtime::halt::Halt;
use crate::time::Epoch;
use crate::{Error, Result};

/// A stretch of an epoch's lines, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Section {
    /// Withdrawals.
    Head,
    /// The records that this worker read.
    Part(u32),
    /// What speaks of gaps.
    Tail,
}

/// What one section of an epoch comes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sizes {
    /// The section.
    pub section: Section,
    /// The length of its lines, by number of sink.
    pub sizes: [u64; 4],
    /// What was counted while writing it.
    pub tally: Tally,
    /// In the last epoch: lines of kept events that are published only now, by their epoch.
    pub closing: BTreeMap<Epoch, u64>,
}

/// What the operators of one worker share.
pub struct Office {
    /// This worker.
    pub worker: u32,
    /// All workers.
    pub workers: u32,
    /// Records at hand.
    pub desk: RefCell<Desk>,
    /// Lines that wait for their offsets.
    pub pages: RefCell<BTreeMap<(Epoch, Section), Pages>>,
    /// Pages that were written, whose memory the next ones take: fresh memory for every epoch costs
    /// more than what is done with it.
    pub spare_pages: RefCell<Vec<Pages>>,
    /// What is inferred at the end of the input, on the first worker, and how it is written.
    pub finals: RefCell<Vec<Finals>>,
    /// See `finals`.
    pub final_writer: ReconstructedWriter,
    /// The outputs, by number of sink.
    pub outputs: [Vec<Output>; 4],
    /// Whether kept events go to `clean.jsonl` as they come.
    pub streamed: bool,
    /// Whether there is a changelog.
    pub changelog: bool,
    /// Whether there is a journal to say in how far the outputs are.
    pub journaled: bool,
    /// Where buffers go back to.
    pub cutter: SharedCutter,
    /// How the run is stopped.
    pub halt: Halt,
    /// All that was counted, on the first worker.
    pub totals: RefCell<Tally>,
    /// Epochs that held records, on the first worker.
    pub epochs: Cell<u64>,
    /// Where the outputs end, by number of sink.
    pub lengths: Cell<[u64; 4]>,
    /// The watermark, where it matters.
    pub watermark: Cell<Option<i64>>,
    /// Where the outputs end when the run begins, by number of sink, and what was counted then.
    pub begun: Begun,
    /// What the outputs hold after an epoch, on the first worker, until it is known to be written
    /// by all.
    pub marks: RefCell<VecDeque<Mark>>,
    /// What this worker knows after an epoch, to be laid down when the epoch is written.
    pub bases: Rc<Bases>,
    /// What stands after the last epoch, where that is asked for; on the first worker.
    pub survey: Option<RefCell<Vec<Note>>>,
}

/// What an earlier run has left in the outputs.
#[derive(Clone, Debug, Default)]
pub struct Begun {
    /// Where the outputs end, by number of sink.
    pub lengths: [u64; 4],
    /// What was counted until then.
    pub mark: Option<Mark>,
    /// What was known after an epoch before that: the run begins with it.
    pub base: Option<Arc<Vec<BasePart>>>,
}

/// What the outputs hold after an epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Mark {
    /// The epoch.
    pub epoch: Epoch,
    /// The length of each output, by number of sink.
    pub lengths: [u64; 4],
    /// All that was counted.
    pub totals: Tally,
    /// Epochs that held records.
    pub epochs: u64,
    /// What tells the outputs from others of the same lengths, by number of sink; known once they
    /// are synced.
    pub tails: [u64; 4],
}

impl std::fmt::Debug for Office {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Office")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl Office {
    /// Empty pages.
    pub fn pages(&self) -> Pages {
        self.spare_pages.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes pages back that were written, and gives the records back that were among them.
    fn give_back(&self, mut pages: Pages) {
        if let Some(part) = pages.clear() {
            self.cutter.give_back(part);
        }
        let mut spare = self.spare_pages.borrow_mut();
        if spare.len() < SPARE_PAGES {
            spare.push(pages);
        }
    }

    /// Lets lines wait for their offset, and says how long they are.
    pub fn submit(&self, epoch: Epoch, section: Section, pages: Pages, tally: Tally) -> Sizes {
        let sizes = pages.sizes();
        self.pages.borrow_mut().insert((epoch, section), pages);
        Sizes {
            section,
            sizes,
            tally,
            closing: BTreeMap::new(),
        }
    }

    /// Does what may fail, unless the run has failed before; a failure stops the run.
    pub fn attempt(&self, act: impl FnOnce() -> Result<()>) {
        if !self.halt.has_failed()
            && let Err(error) = act()
        {
            self.halt.fail(error);
        }
    }
}

/// Pages that are kept for the next epochs.
const SPARE_PAGES: usize = 4;
/// Marks are made when this many bytes were written,
const MARK_BYTES: u64 = 64 << 20;
/// or when this much time has passed.
const MARK_AGE: Duration = Duration::from_millis(100);
/// Lines that are written as they arise are written about this many bytes at a time.
const PAGE_BYTES: usize = 1 << 20;

/// The lines of one section on their way to their places.
#[derive(Debug)]
struct Unwritten {
    epoch: Epoch,
    pages: Pages,
    /// Where they begin, by number of sink.
    places: [u64; 4],
    /// How many of the outputs have them.
    outputs: usize,
    /// Whether another worker was found at the next output.
    waited: bool,
    /// Whether the pages are as large as those of the next epochs.
    reusable: bool,
}

impl Unwritten {
    /// Writes the lines to those outputs that do not have them. Returns false where another worker is
    /// at one of them; the next time it waits for that worker.
    fn write(&mut self, outputs: &[Vec<Output>; 4]) -> Result<bool> {
        let outputs = Sink::ALL
            .iter()
            .flat_map(|sink| outputs[*sink as usize].iter().map(|output| (*sink, output)));
        for (sink, output) in outputs.skip(self.outputs) {
            let (lines, place) = (self.pages.pieces(sink), self.places[sink as usize]);
            if self.waited {
                output.write_pieces_at(&lines, place)?;
            } else if !output.try_write_pieces_at(&lines, place)? {
                self.waited = true;
                return Ok(false);
            }
            self.waited = false;
            self.outputs += 1;
        }
        Ok(true)
    }
}

/// Writes the epochs of one worker.
#[derive(Debug)]
pub struct Committer {
    office: Rc<Office>,
    /// Where the next epoch's lines begin, by number of sink.
    ends: [u64; 4],
    /// Lines whose places are known.
    unwritten: VecDeque<Unwritten>,
    /// When the last mark was made, and how much was written then.
    marked: (Duration, u64),
    /// The last epoch, where it has no mark yet.
    unmarked: Option<Epoch>,
}

impl Committer {
    /// A committer for the lines of `office`, into outputs that hold what it says they do.
    pub fn new(office: Rc<Office>) -> Self {
        let ends = office.begun.lengths;
        Committer {
            office,
            ends,
            unwritten: VecDeque::new(),
            marked: (clock::since_start(), 0),
            unmarked: None,
        }
    }

    /// Finds the places of this worker's lines of `epoch`; `sizes` are those of all sections. They
    /// are written by [`write`](Self::write), but for what is spelled out only here.
    ///
    /// # Errors
    /// Where an output does not take the lines, or the counts do not agree.
    pub fn commit(&mut self, epoch: Epoch, sizes: &mut [Sizes], tick: Tick) -> Result<()> {
        let last = tick.last;
        sizes.sort_unstable_by_key(|sizes| sizes.section);
        let office = Rc::clone(&self.office);
        // The head, a part of each worker, the tail.
        if sizes.len() as u32 != office.workers + 2 {
            return Err(Error::internal(format!(
                "epoch {epoch} lacks the word of some workers"
            )));
        }
        // A run that goes on after this end begins with the epoch before it.
        if let Some(before) = self.unmarked.filter(|_| last) {
            self.mark(before, true);
        }
        for section in sizes.iter() {
            if section.section == Section::Tail && last {
                self.write_all()?;
                self.close(sizes)?;
            }
            let pages = office.pages.borrow_mut().remove(&(epoch, section.section));
            self.unwritten.extend(pages.map(|pages| Unwritten {
                epoch,
                pages,
                places: self.ends,
                outputs: 0,
                waited: false,
                reusable: matches!(section.section, Section::Part(_)),
            }));
            for (end, size) in self.ends.iter_mut().zip(section.sizes) {
                *end += size;
            }
        }
        if last {
            self.write_all()?;
            // What other workers write of earlier epochs may still be missing.
            self.write_finals()?;
        }
        office.lengths.set(self.ends);
        if office.worker == 0 {
            let mut totals = office.totals.borrow_mut();
            for section in sizes.iter() {
                totals.add(&section.tally);
            }
            totals.check(office.streamed, office.changelog, last)?;
            office.epochs.set(office.epochs.get() + tick.epochs);
            if let Some(mark) = office
                .begun
                .mark
                .as_ref()
                .filter(|mark| mark.epoch == epoch)
            {
                totals.recover(&mark.totals)?;
                office.epochs.set(mark.epochs);
            }
            drop(totals);
            if office.journaled && !tick.silent && !last {
                self.mark(epoch, tick.base);
            }
        }
        Ok(())
    }

    /// Writes all lines whose places are known, whoever else is writing: what comes now is not to wait
    /// in memory behind them.
    fn write_all(&mut self) -> Result<()> {
        while self.write()?.is_some() {}
        Ok(())
    }

    /// Writes lines whose places are known, until another worker is found writing to the same file:
    /// there may be better to do than to wait for it, and only who comes back waits. Returns the
    /// first epoch with lines that are still to be written.
    ///
    /// # Errors
    /// Where an output does not take the lines.
    pub fn write(&mut self) -> Result<Option<Epoch>> {
        while let Some(first) = self.unwritten.front_mut() {
            if !first.write(&self.office.outputs)? {
                return Ok(Some(first.epoch));
            }
            if let Some(written) = self.unwritten.pop_front().filter(|first| first.reusable) {
                self.office.give_back(written.pages);
            }
        }
        Ok(None)
    }

    /// Notes what the outputs hold after `epoch`, if it is time.
    fn mark(&mut self, epoch: Epoch, now: bool) {
        let written: u64 = self.ends.iter().sum();
        let since = clock::since_start().saturating_sub(self.marked.0);
        if !now && since < MARK_AGE && written - self.marked.1 < MARK_BYTES {
            self.unmarked = Some(epoch);
            return;
        }
        self.unmarked = None;
        self.marked = (clock::since_start(), written);
        let office = &self.office;
        let mark = Mark {
            epoch,
            lengths: self.ends,
            totals: office.totals.borrow().clone(),
            epochs: office.epochs.get(),
            tails: [0; 4],
        };
        office.bases.lay_mark(&mark);
        office.marks.borrow_mut().push_back(mark);
    }

    /// Writes what is inferred at the end of the input. Nothing follows it, so nobody needs to
    /// know its length, and it is spelled out only as fast as it is written.
    fn write_finals(&mut self) -> Result<()> {
        let clean = Sink::Clean as usize;
        let office = Rc::clone(&self.office);
        let mut page = Vec::new();
        let mut written = 0;
        for finals in office.finals.take() {
            let Finals {
                stream,
                gaps,
                r#type,
            } = &finals;
            for &(from, to, time) in gaps {
                for id in from..=to {
                    office
                        .final_writer
                        .write(stream, id, r#type, time, &mut page);
                    page.push(b'\n');
                    written += 1;
                    if page.len() >= PAGE_BYTES {
                        self.append(clean, &mut page)?;
                    }
                }
            }
        }
        office.totals.borrow_mut().clean_reconstructed += written;
        self.append(clean, &mut page)
    }

    /// Writes and clears `page` at the end of a sink.
    fn append(&mut self, sink: usize, page: &mut Vec<u8>) -> Result<()> {
        for output in &self.office.outputs[sink] {
            output.write_at(page, self.ends[sink])?;
        }
        self.ends[sink] += page.len() as u64;
        page.clear();
        Ok(())
    }

    /// Writes the kept events that are published only now, at their places among those of all
    /// workers.
    fn close(&mut self, sizes: &[Sizes]) -> Result<()> {
        let mut lengths: BTreeMap<(Epoch, Section), u64> = BTreeMap::new();
        for section in sizes {
            for (epoch, length) in &section.closing {
                lengths.insert((*epoch, section.section), *length);
            }
        }
        let mine = Section::Part(self.office.worker);
        let clean = Sink::Clean as usize;
        let mut places = BTreeMap::new();
        for ((epoch, section), length) in lengths {
            if section == mine {
                places.insert(epoch, self.ends[clean]);
            }
            self.ends[clean] += length;
        }
        if places.is_empty() {
            return Ok(());
        }
        let outputs = &self.office.outputs[clean];
        let mut page = Vec::new();
        let mut current = None;
        let write = |epoch: Option<Epoch>, page: &mut Vec<u8>| -> Result<()> {
            if let Some(place) = epoch.and_then(|epoch| places.get(&epoch)) {
                for output in outputs {
                    output.write_at(page, *place)?;
                }
            }
            page.clear();
            Ok(())
        };
        self.office.desk.borrow().for_each_kept(|epoch, line| {
            if current != Some(epoch) {
                write(current, &mut page)?;
                current = Some(epoch);
            }
            page.extend_from_slice(line);
            Ok(())
        })?;
        write(current, &mut page)
    }
}
