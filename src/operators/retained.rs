//! Sequences under a horizon: copies, gaps, and what is forgotten.
//!
//! **Semantics.** Input: events, each an id of a stream at an event time, and for every epoch the
//! watermark in force. As [`sightings`](super::sightings) with [`gaps`](super::gaps) and
//! [`dedup`](super::dedup) together, but an epoch begins with forgetting. Gaps wider than
//! [`Rules::max_width`] split a sequence into runs; in each run the longest prefix of ids all of
//! whose events lie behind the horizon is forgotten, and becomes a *range*, which stands among the
//! ids like a single one. For this an event's time counts as at most [`Rules::max_ahead_us`] beyond
//! the watermark at its reading. An event whose id lies in a range is `Late` when its time is
//! behind the horizon, too, and else `OutOfSequence`, or opens a further sequence of its stream. A
//! stream that is silent for longer than [`Rules::stream_ttl_us`] is forgotten whole.
//!
//! Forgetting withdraws nothing: neither verdicts nor gaps are retracted, and `forgotten` names what
//! from now on nothing changes. Of copies that were said to be open, the last verdict is said again,
//! closed.
//!
//! **State.** About 64 bytes an event that is valid and the only one with its id, more for others;
//! and for every range and every sequence a little, however long it is.
//!
//! **Partitioning.** By stream: the order of a stream's records matters, where it starts over.
//!
//! [`Retained`] is the state without any dataflow; [`retained()`] runs it.

mod core;
mod groups;
mod held;
#[cfg(test)]
mod model;
mod ranges;
mod sequence;
mod snapshot;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::Verdict;
use super::dedup::Keep;
use super::gaps::Gap;
use super::per_epoch::{PerEpoch, epoch_of};
use super::sightings::Sighting;
use crate::time::Epoch;

pub use self::core::{Incarnate, Retained};
pub use self::snapshot::SequenceState;

/// What is forgotten, and what is said. Times and distances are in microseconds.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How far behind the watermark a stream may still change.
    pub horizon_us: i64,
    /// How far beyond the watermark at its reading an event's time may lie and still count in full.
    pub max_ahead_us: i64,
    /// How long the watermark may run ahead of a stream that is not heard of.
    pub stream_ttl_us: i64,
    /// The widest gap that does not split a sequence into runs.
    pub max_width: u64,
    /// Which copy takes the seat.
    pub keep: Keep,
    /// What an event is whose id is forgotten, and which is not late.
    pub on_reset: OnReset,
    /// Carry tags to [`Gap::below_tag`].
    pub tags: bool,
    /// Tell of every new id and time.
    pub witnesses: bool,
}

/// What becomes of an event whose id is forgotten, and which is not late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReset {
    /// It is `OutOfSequence`.
    #[default]
    DeadLetter,
    /// It is the first of a further sequence of its stream.
    NewSequence,
}

/// An event as it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The sighting of its id. The tag is counted under [`Said::types`], whatever the rules.
    pub seen: Sighting<u32>,
    /// What makes it a copy of another one; empty for the id and the time.
    pub key: Vec<u8>,
}

/// What one epoch gave rise to. Sequences are named by numbers: the first of a stream by that of the
/// stream.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// What became of copies. A record of this epoch that is kept for good has none.
    pub verdicts: Vec<Verdict>,
    /// How the number of events changes that are kept.
    pub kept: i64,
    /// Net changes of the collection of gaps by sequence; none by forgetting.
    pub gaps: Vec<((u32, Gap), isize)>,
    /// What is forgotten, by sequence.
    pub forgotten: Vec<Forgotten>,
    /// Every (sequence, id, time) that is new.
    pub witnesses: Vec<(u32, i64, i64)>,
    /// Events by sequence and tag, those counted that are late or out of sequence.
    pub types: Vec<(u32, u32, u64)>,
}

/// What nothing changes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Forgotten {
    /// A gap, which is not too wide.
    Gap {
        /// The sequence.
        sequence: u32,
        /// The nearest id above the gap.
        above: i64,
    },
    /// A sequence with all its gaps, of which no further word is said. Its number may come again,
    /// for a new stream.
    Sequence(u32),
}

/// What [`retained()`] says; see [`Said`].
pub struct Streams<'scope> {
    /// What became of copies, and in which epoch.
    pub verdicts: StreamVec<'scope, Epoch, (Epoch, Verdict)>,
    /// How the number of events changes that are kept, by epoch.
    pub kept: StreamVec<'scope, Epoch, (Epoch, i64)>,
    /// Net changes of the gaps.
    pub gaps: StreamVec<'scope, Epoch, ((u32, Gap), Epoch, isize)>,
    /// What was forgotten at the start of which epoch.
    pub forgotten: StreamVec<'scope, Epoch, (Epoch, Forgotten)>,
    /// Every (sequence, id, time) that is new.
    pub witnesses: StreamVec<'scope, Epoch, (u32, i64, i64)>,
    /// Events by sequence and tag.
    pub types: StreamVec<'scope, Epoch, (u32, u32, u64)>,
}

/// Is told of every epoch that was applied, with the state after it.
pub type OnApplied = Box<dyn FnMut(Epoch, &Retained)>;

/// What arrived for an epoch.
#[derive(Default)]
struct Arrived {
    ticked: bool,
    rows: Vec<Row>,
    watermark: Option<i64>,
}

/// Runs `core` over `rows`, which go to the workers that `route` gives for their streams.
///
/// `watermarks` holds for every worker, by its number, what is in force in the epoch of the message;
/// `ticks` marks epochs, as a rule each on every worker. An epoch is applied when all inputs have
/// passed it, and `on_applied` is called right then; an epoch without a tick and a record never
/// came. What lies behind the horizon is forgotten as soon as the watermark of the first epoch to
/// come is there, so that memory comes back while nothing arrives. `on_applied` is given the state
/// and must not borrow `core` itself.
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
///
/// use amend::operators::dedup::Keep;
/// use amend::operators::retained::{OnReset, Retained, Row, Rules, retained};
/// use amend::operators::sightings::Sighting;
/// use amend::operators::{Label, Print};
/// use timely::dataflow::operators::{Input, Inspect};
///
/// timely::execute_directly(|worker| {
///     let seen = Rc::new(RefCell::new(Vec::new()));
///     let out = seen.clone();
///     let rules = Rules {
///         horizon_us: 10,
///         max_ahead_us: 1000,
///         stream_ttl_us: 100,
///         max_width: 5,
///         keep: Keep::First,
///         on_reset: OnReset::DeadLetter,
///         tags: false,
///         witnesses: false,
///     };
///     let core = Rc::new(RefCell::new(Retained::new(rules, Box::new(|stream| stream + 1000))));
///     let (mut rows, mut watermarks, mut ticks) = worker.dataflow(|scope| {
///         let (row_input, rows) = scope.new_input::<Vec<_>>();
///         let (watermark_input, watermarks) = scope.new_input::<Vec<_>>();
///         let (tick_input, ticks) = scope.new_input::<Vec<()>>();
///         let on_applied = Box::new(|_, _: &Retained| {});
///         retained(rows, watermarks, ticks, |stream| stream.into(), core, on_applied)
///             .verdicts
///             .inspect(move |(epoch, verdict)| out.borrow_mut().push((*epoch, verdict.label)));
///         (row_input, watermark_input, tick_input)
///     });
///     let row = |id, time| Row {
///         seen: Sighting {
///             stream: 1,
///             tag: 0,
///             id,
///             time,
///             print: Print::new(7, true),
///             reader: 0,
///             index: id as u32,
///         },
///         key: Vec::new(),
///     };
///     for id in [1, 2, 4] {
///         rows.send(row(id, 100 + id));
///     }
///     ticks.send(());
///     rows.advance_to(1);
///     watermarks.advance_to(1);
///     ticks.advance_to(1);
///     watermarks.send((0, 114)); // The horizon is 104: the ids 1 and 2 are forgotten.
///     rows.send(row(2, 102));
///     rows.send(row(1, 114));
///     rows.send(row(4, 104));
///     ticks.send(());
///     (rows.close(), watermarks.close(), ticks.close());
///     while worker.has_dataflows() {
///         worker.step();
///     }
///     let expected = [(1, Label::OutOfSequence), (1, Label::Late), (1, Label::Duplicate)];
///     assert_eq!(*seen.borrow(), expected);
/// });
/// ```
pub fn retained<'scope, T: Clone + 'static>(
    rows: StreamVec<'scope, Epoch, Row>,
    watermarks: StreamVec<'scope, Epoch, (u64, i64)>,
    ticks: StreamVec<'scope, Epoch, T>,
    route: impl Fn(u32) -> u64 + 'static,
    core: Rc<RefCell<Retained>>,
    mut on_applied: OnApplied,
) -> Streams<'scope> {
    let mut builder = OperatorBuilder::new("Retained".to_owned(), ticks.scope());
    let by_stream = Exchange::new(move |row: &Row| route(row.seen.stream));
    let mut rows = builder.new_input(rows, by_stream);
    let mut watermarks = builder.new_input(watermarks, Exchange::new(|told: &(u64, i64)| told.0));
    let mut ticks = builder.new_input(ticks, Pipeline);
    let (verdicts, verdict_stream) = builder.new_output();
    let (kept, kept_stream) = builder.new_output();
    let (gaps, gap_stream) = builder.new_output();
    let (forgotten, forgotten_stream) = builder.new_output();
    let (witnesses, witness_stream) = builder.new_output();
    let (types, type_stream) = builder.new_output();
    let mut verdicts = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(verdicts);
    let mut kept = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(kept);
    let mut gaps = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(gaps);
    let mut forgotten = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(forgotten);
    let mut witnesses = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(witnesses);
    let mut types = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(types);
    builder.build(move |_| {
        let mut waiting = PerEpoch::<Arrived>::new(6);
        let mut said = Said::default();
        move |frontiers| {
            rows.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).rows.append(data);
                }
            });
            watermarks.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    let known = &mut waiting.at(epoch, &capability).watermark;
                    let told = data.iter().map(|(_, watermark)| *watermark);
                    *known = told.max().max(*known);
                }
            });
            ticks.for_each(|capability, _| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).ticked = true;
                }
            });
            let (mut verdicts, mut kept) = (verdicts.activate(), kept.activate());
            let (mut gaps, mut forgotten) = (gaps.activate(), forgotten.activate());
            let (mut witnesses, mut types) = (witnesses.activate(), types.activate());
            let mut core = core.borrow_mut();
            let mut say = |epoch: Epoch, capabilities: &[_], said: &mut Said| {
                let stamped = said.verdicts.drain(..).map(|verdict| (epoch, verdict));
                verdicts.session(&capabilities[0]).give_iterator(stamped);
                let change = std::mem::take(&mut said.kept);
                if change != 0 {
                    kept.session(&capabilities[1]).give((epoch, change));
                }
                let stamped = said.gaps.drain(..).map(|(gap, diff)| (gap, epoch, diff));
                gaps.session(&capabilities[2]).give_iterator(stamped);
                let stamped = said.forgotten.drain(..).map(|what| (epoch, what));
                forgotten.session(&capabilities[3]).give_iterator(stamped);
                let new = said.witnesses.drain(..);
                witnesses.session(&capabilities[4]).give_iterator(new);
                types
                    .session(&capabilities[5])
                    .give_iterator(said.types.drain(..));
            };
            while let Some((epoch, mut due)) = waiting.pop_passed(frontiers) {
                let arrived = &mut due.data;
                if !arrived.ticked && arrived.rows.is_empty() {
                    continue;
                }
                if let Some(watermark) = arrived.watermark.max(core.watermark()) {
                    core.forget(watermark, &mut said);
                }
                core.apply(epoch, &mut arrived.rows, &mut said);
                say(epoch, &due.capabilities, &mut said);
                on_applied(epoch, &core);
            }
            // The first watermark of all is not taken before it is sure.
            if let Some((epoch, due)) = waiting.first()
                && due.data.watermark > core.watermark()
                && core.watermark().is_some()
                && let Some(watermark) = due.data.watermark
                && frontiers.iter().all(|frontier| !frontier.less_than(&epoch))
            {
                core.forget(watermark, &mut said);
                say(epoch, &due.capabilities, &mut said);
            }
        }
    });
    Streams {
        verdicts: verdict_stream,
        kept: kept_stream,
        gaps: gap_stream,
        forgotten: forgotten_stream,
        witnesses: witness_stream,
        types: type_stream,
    }
}
