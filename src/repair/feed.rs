//! The worker loop: poll, append, sync, advance, step, commit, acknowledge.
//!
//! An epoch is read and judged at once, but its tick, without which nothing of it leaves, is given
//! only when the journal says that the epoch exists. So the disk is never waited for, and nothing
//! is published that a crash could undo.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use timely::worker::Worker;

use super::commit::Office;
use super::journaling::Journaling;
use super::reading::{Finding, Reading, Rows};
use super::recollection::Recollection;
use super::renumber::Fresh;
use super::wiring::{Inputs, Survey, Tick, Times};
use crate::io::part::Part;
use crate::io::shared_cutter::Poll;
use crate::time::Epoch;

/// Epochs that may be under way at once, however small.
const MOST_IN_FLIGHT: usize = 256;
/// Epochs that may be under way at once, however large.
const LEAST_IN_FLIGHT: usize = 3;
/// Between those, records that may be under way.
const RECORDS_IN_FLIGHT: usize = 64 << 10;
/// The same with a journal: those that wait for the disk are not to keep the workers waiting, and the
/// thread that writes them gets its turn only beside theirs.
const JOURNALED_IN_FLIGHT: usize = 128 << 10;
/// How long a worker with nothing to do waits before it looks again, where no bell rings: nobody
/// rings for a signal, or when the time of a replayed epoch has come.
const IDLE: Duration = Duration::from_millis(1);

/// What one worker puts into the dataflow.
pub(super) struct Feeder<'a> {
    pub(super) index: usize,
    pub(super) peers: u32,
    /// Whether there are other processes.
    pub(super) clustered: bool,
    pub(super) inputs: Inputs,
    pub(super) reading: Reading,
    /// The rows of the part at hand.
    pub(super) rows: Rows,
    pub(super) office: Rc<Office>,
    /// The watermark that is set at each turn, where a script sets some.
    pub(super) steps: &'a [Option<i64>],
    /// Where epochs are kept, if they are.
    pub(super) journaling: Option<&'a Journaling>,
    /// What is known of recalled epochs where nothing is kept.
    pub(super) recollection: Option<&'a Recollection>,
    /// Whether streams are forgotten, and with them their names.
    pub(super) forgets: bool,
    /// Whether it is asked at the end of the input what stands; then it is no end.
    pub(super) survey: Option<Survey>,
    /// Called in every round with nothing to wait for.
    pub(super) each_round: &'a dyn Fn(),
}

/// The epochs of one worker that are not committed yet.
#[derive(Default)]
struct UnderWay {
    /// Those whose answer may not leave yet.
    unticked: VecDeque<(Epoch, Tick)>,
    /// All of them, with their records.
    uncommitted: VecDeque<(Epoch, usize)>,
    records: usize,
}

impl UnderWay {
    fn is_full(&self, most_records: usize) -> bool {
        let epochs = self.uncommitted.len();
        epochs >= MOST_IN_FLIGHT || epochs >= LEAST_IN_FLIGHT && self.records >= most_records
    }
}

impl Feeder<'_> {
    /// Feeds the dataflow until the input ends, or the run is stopped. Returns whether it ended.
    pub(super) fn run(&mut self, worker: &mut Worker) -> bool {
        let mut under_way = UnderWay::default();
        let mut turn = 0;
        let mut ended = false;
        let most_records = match self.journaling {
            Some(_) => JOURNALED_IN_FLIGHT,
            None => RECORDS_IN_FLIGHT,
        };
        let office = Rc::clone(&self.office);
        let ear = office.cutter.bell().listen();
        while !office.halt.has_failed() {
            if office.halt.was_asked() {
                office.cutter.stop();
            }
            (self.each_round)();
            self.let_leave(&mut under_way);
            self.acknowledge(&mut under_way);
            if under_way.is_full(most_records) {
                worker.step_or_park(Some(IDLE));
                continue;
            }
            let idle = under_way.uncommitted.is_empty();
            ear.set_idle(idle);
            match office.cutter.take(self.index, turn, idle) {
                Err(error) => office.halt.fail(error),
                Ok(Poll::End) => break,
                Ok(Poll::Pending) => {
                    worker.step_or_park(Some(IDLE));
                }
                Ok(Poll::Part(part)) => {
                    ended = part.last;
                    let watermark = self.steps.get(turn as usize).copied().flatten();
                    turn += 1;
                    let tick = Tick {
                        last: part.last && self.survey.is_none(),
                        silent: part.silent,
                        base: part.base,
                        epochs: part.epochs,
                        survey: self.survey.filter(|_| part.last),
                        watermark,
                    };
                    under_way.unticked.push_back((part.epoch, tick));
                    under_way
                        .uncommitted
                        .push_back((part.epoch, part.epoch_records));
                    under_way.records += part.epoch_records;
                    let first = under_way.uncommitted[0].0;
                    self.feed(part, first);
                    if ended {
                        break;
                    }
                    worker.step();
                }
            }
        }
        while !under_way.uncommitted.is_empty() && !office.halt.has_failed() {
            (self.each_round)();
            self.let_leave(&mut under_way);
            worker.step_or_park(Some(IDLE));
            self.acknowledge(&mut under_way);
        }
        ended
    }

    /// Gives the ticks of the epochs that exist.
    fn let_leave(&mut self, under_way: &mut UnderWay) {
        if let Some(error) = self.journaling.and_then(Journaling::failure) {
            self.office.halt.fail(error);
            return;
        }
        let exists = |epoch| {
            self.journaling
                .is_none_or(|journaling| journaling.exists(epoch))
        };
        while let Some((epoch, tick)) = under_way.unticked.pop_front_if(|(epoch, _)| exists(*epoch))
        {
            self.inputs.tick(epoch, tick);
        }
    }

    /// Lets go of epochs that all workers have written, and lays down how far that is.
    fn acknowledge(&mut self, under_way: &mut UnderWay) {
        // After a failure nothing is certain to be written.
        if self.office.halt.has_failed() {
            return;
        }
        let mut through = None;
        while let Some((epoch, records)) = under_way
            .uncommitted
            .pop_front_if(|(epoch, _)| !self.inputs.done.less_equal(epoch))
        {
            under_way.records -= records;
            through = Some(epoch);
        }
        let Some(journaling) = self.journaling else {
            return;
        };
        if let Some(epoch) = through.filter(|_| self.index == 0) {
            journaling.acknowledge(epoch);
        }
        let mut marks = self.office.marks.borrow_mut();
        while let Some(mark) = marks.pop_front_if(|mark| !self.inputs.done.less_equal(&mark.epoch))
        {
            journaling.mark(mark);
        }
        drop(marks);
        let is_written = |epoch| !self.inputs.done.less_equal(&epoch);
        while let Some((epoch, part)) = self.office.bases.pop(is_written) {
            journaling.lay_base(epoch, self.index as u32, self.peers, &part);
        }
    }

    /// Decodes a part, where an earlier run has not done so, and keeps what it decoded.
    fn read(&mut self, part: &Part, reader: u32) -> Vec<(u32, Finding)> {
        let rows = &mut self.rows;
        if let Some(journaling) = self.journaling
            && let Some(frames) = journaling.frames(part.epoch, part.epoch_records)
        {
            let (findings, decoded) = self.reading.read_frames(part, reader, rows, &frames);
            journaling.keep_columns(decoded, &frames);
            return findings;
        }
        let frames = self.recollection.and_then(|known| known.take(part.epoch));
        // Columns that nobody keeps are not worth gathering.
        match frames.filter(|frames| frames.iter().any(|frame| frame.columns.is_some())) {
            Some(frames) => self.reading.read_frames(part, reader, rows, &frames).0,
            None => self.reading.read(part, reader, rows),
        }
    }

    /// Decodes a part, and feeds its rows.
    fn feed(&mut self, part: Part, under_way: Epoch) {
        let epoch = part.epoch;
        let reader = self.index as u32;
        // Epochs that were recalled together are one, with the number of the last.
        self.inputs.advance_to(epoch);
        self.reading.begin(epoch, under_way, self.forgets);
        if part.base {
            self.office.bases.ask(epoch);
        }
        let findings = self.read(&part, reader);
        let (inputs, rows) = (&mut self.inputs, &mut self.rows);
        for (is_type, number, name) in self.reading.take_fresh() {
            if self.clustered {
                let name = name.into_string();
                let fresh = Fresh {
                    from: reader,
                    to: 0,
                    is_type,
                    number,
                    name,
                };
                let told = (0..self.peers).map(|to| Fresh {
                    to,
                    ..fresh.clone()
                });
                told.for_each(|fresh| inputs.names.send(fresh));
            }
        }
        for parcel in rows.sightings.parcels() {
            inputs.rows.send(parcel);
        }
        inputs.copies.send_batch(&mut rows.copies);
        inputs.retained.send_batch(&mut rows.retained);
        inputs.types.send_batch(&mut rows.types);
        if !rows.times.is_empty() || !part.ended.is_empty() {
            let ended = if part.worker == 0 {
                part.ended.clone()
            } else {
                Vec::new()
            };
            inputs.times.send(Times {
                reader,
                times: std::mem::take(&mut rows.times),
                ended,
            });
        }
        self.office.desk.borrow_mut().lay_down(part, findings);
        inputs.advance_to(epoch + 1);
    }
}
