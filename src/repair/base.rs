//! What is known after an epoch, written down so that a recovery can begin there.
//!
//! Only a dataflow with a horizon has bases: what it knows is bounded, and what it has forgotten no
//! longer follows from what the journal may still hold. Every operator lays down its part when it has
//! applied the epoch. A worker takes out of all parts what is at home with it, so the number of
//! workers may change.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeBounds;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::commit::Mark;
use super::desk::{Desk, DeskBase};
use super::fill::{Filler, FillerBase};
use super::names::Names;
use super::reading::Needs;
use super::spec::Dataflow;
use super::wiring::is_home;
use crate::operators::retained::{Retained, Rules, SequenceState};
use crate::operators::watermark::{Bounds, Watermark};
use crate::time::Epoch;

/// One worker's part of a base.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BasePart {
    /// How far the outputs were; on the first worker.
    pub mark: Option<Mark>,
    /// The clocks of the inputs; on the first worker.
    watermark: Option<Watermark>,
    retained: Option<RetainedBase>,
    filler: Option<FillerBase>,
    desk: Option<DeskBase>,
}

/// The sequences of one worker, and what their numbers name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct RetainedBase {
    sequences: Vec<SequenceState>,
    watermark: Option<i64>,
    streams: BTreeMap<u32, String>,
    types: BTreeMap<u32, String>,
}

impl BasePart {
    /// Whether every operator has laid down its part.
    fn is_whole(&self, is_first: bool) -> bool {
        let all = self.retained.is_some() && self.filler.is_some() && self.desk.is_some();
        all && (!is_first || self.mark.is_some() && self.watermark.is_some())
    }

    /// The watermark after the epoch, on the first worker.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark.as_ref().and_then(Watermark::get)
    }
}

/// The bases of one worker: those that it lays, and the one that it begins with.
#[derive(Debug)]
pub struct Bases {
    worker: u32,
    workers: u32,
    streams: Names,
    types: Names,
    /// Epochs after which a base is laid, and what was laid of it.
    laid: RefCell<BTreeMap<Epoch, BasePart>>,
    begun: Option<Arc<Vec<BasePart>>>,
    /// The numbers of the sequences that are at home here, by those that they had.
    numbers: RefCell<HashMap<u32, u32>>,
}

impl Bases {
    /// The bases of `worker`, which begins with `begun`.
    pub fn new(
        (worker, workers): (u32, u32),
        (streams, types): (Names, Names),
        begun: Option<Arc<Vec<BasePart>>>,
    ) -> Self {
        Bases {
            worker,
            workers,
            streams,
            types,
            laid: RefCell::default(),
            begun,
            numbers: RefCell::default(),
        }
    }

    /// Asks for a base after `epoch`.
    pub fn ask(&self, epoch: Epoch) {
        self.laid.borrow_mut().entry(epoch).or_default();
    }

    /// The first base that is whole, if it is asked for after an epoch that `is_written`.
    pub fn pop(&self, is_written: impl FnOnce(Epoch) -> bool) -> Option<(Epoch, BasePart)> {
        let mut laid = self.laid.borrow_mut();
        let first = laid.first_entry()?;
        let ready = first.get().is_whole(self.worker == 0) && is_written(*first.key());
        ready.then(|| first.remove_entry())
    }

    fn lay(&self, epoch: Epoch, lay: impl FnOnce(&mut BasePart)) {
        if let Some(part) = self.laid.borrow_mut().get_mut(&epoch) {
            lay(part);
        }
    }

    /// Lays down how far the outputs are after the epoch of `mark`.
    pub fn lay_mark(&self, mark: &Mark) {
        self.lay(mark.epoch, |part| part.mark = Some(mark.clone()));
    }

    /// Lays down the clocks of the inputs after those of `epochs` that lack them.
    pub fn lay_watermark(&self, epochs: impl RangeBounds<Epoch>, watermark: &Watermark) {
        for (_, part) in self.laid.borrow_mut().range_mut(epochs) {
            part.watermark.get_or_insert_with(|| watermark.clone());
        }
    }

    /// Lays down the sequences after `epoch`.
    pub fn lay_retained(&self, epoch: Epoch, retained: &Retained) {
        self.lay(epoch, |part| {
            let mut base = RetainedBase {
                sequences: retained.snapshot(),
                watermark: retained.watermark(),
                ..RetainedBase::default()
            };
            let RetainedBase {
                sequences,
                streams,
                types,
                ..
            } = &mut base;
            for sequence in sequences {
                sequence.map_numbers(
                    |number| {
                        let name = || self.streams.name(number).to_string();
                        streams.entry(number).or_insert_with(name);
                        number
                    },
                    |tag| {
                        let name = || self.types.name(tag).to_string();
                        types.entry(tag).or_insert_with(name);
                        tag
                    },
                );
            }
            part.retained = Some(base);
        });
    }

    /// Lays down the gaps after `epoch`.
    pub fn lay_filler(&self, epoch: Epoch, filler: &Filler) {
        self.lay(epoch, |part| part.filler = Some(filler.snapshot()));
    }

    /// Lays down the records that lie on the desk after `epoch`.
    ///
    /// # Errors
    /// Where they cannot be read back.
    pub fn lay_desk(&self, epoch: Epoch, desk: &Desk) -> crate::Result<()> {
        if let Some(part) = self.laid.borrow_mut().get_mut(&epoch) {
            part.desk = Some(desk.snapshot()?);
        }
        Ok(())
    }

    fn begun(&self) -> &[BasePart] {
        self.begun.as_ref().map_or(&[], |parts| parts)
    }

    /// The sequences that are at home here, to begin with.
    pub fn retained(self: &Rc<Self>, dataflow: &Dataflow) -> Retained {
        let needs = Needs::of(dataflow);
        let horizon = dataflow.horizon.as_ref();
        let rules = Rules {
            horizon_us: horizon.map_or(i64::MAX, |horizon| horizon.horizon_us),
            max_ahead_us: dataflow.watermark.max_ahead_us,
            stream_ttl_us: horizon.map_or(i64::MAX, |horizon| horizon.stream_ttl_us),
            max_width: dataflow.gaps.max_width,
            keep: dataflow.keep,
            on_reset: horizon.map(|horizon| horizon.on_reset).unwrap_or_default(),
            tags: needs.tags,
            witnesses: dataflow.gaps.grace_us > 0,
        };
        let streams = self.streams.clone();
        let mut retained = Retained::new(rules, Box::new(move |stream| streams.further(stream)));
        let mut here = Vec::new();
        // The clocks speak only when they next hear of a record, and this holds before that.
        let mut watermark = self.begun().iter().find_map(BasePart::watermark);
        for base in self
            .begun()
            .iter()
            .filter_map(|part| part.retained.as_ref())
        {
            watermark = watermark.max(base.watermark);
            let name = |number: &u32| base.streams.get(number).map_or("", String::as_str);
            for sequence in &base.sequences {
                let stream = self.streams.number(name(&sequence.stream()));
                if !is_home(stream, self.worker, self.workers) {
                    continue;
                }
                let mut numbers = self.numbers.borrow_mut();
                let is_first = sequence.stream() == sequence.sequence();
                let number =
                    *numbers
                        .entry(sequence.sequence())
                        .or_insert_with(|| match is_first {
                            true => stream,
                            false => self.streams.further(stream),
                        });
                let mut sequence = sequence.clone();
                let (old_stream, old_tags) = (sequence.stream(), &base.types);
                sequence.map_numbers(
                    |old| if old == old_stream { stream } else { number },
                    |tag| {
                        self.types
                            .number(old_tags.get(&tag).map_or("", String::as_str))
                    },
                );
                here.push(sequence);
            }
        }
        if self.begun.is_some() {
            retained.restore(here, watermark);
        }
        retained
    }

    /// Lets `filler` begin with the gaps that are at home here; after [`Bases::retained`].
    pub fn restore_filler(&self, filler: &mut Filler) {
        let numbers = self.numbers.borrow();
        filler.know_watermark(self.begun().iter().find_map(BasePart::watermark));
        for base in self.begun().iter().filter_map(|part| part.filler.as_ref()) {
            filler.restore(base.clone(), |number| numbers.get(&number).copied());
        }
    }

    /// The clocks of the inputs, to begin with.
    pub fn watermark(&self, bounds: Bounds) -> Watermark {
        let mut known = self
            .begun()
            .iter()
            .filter_map(|part| part.watermark.as_ref());
        match known.next() {
            Some(watermark) => watermark.clone(),
            None => Watermark::new(bounds),
        }
    }

    /// Lets `desk` begin with the records that were read by who is this worker now.
    ///
    /// # Errors
    /// Where the attic does not take them.
    pub fn restore_desk(&self, desk: &mut Desk) -> crate::Result<()> {
        for base in self.begun().iter().filter_map(|part| part.desk.as_ref()) {
            desk.restore(base, |reader| reader % self.workers == self.worker)?;
        }
        Ok(())
    }

    /// How far the outputs were at the base that is begun with.
    pub fn mark(&self) -> Option<&Mark> {
        self.begun().iter().find_map(|part| part.mark.as_ref())
    }
}
