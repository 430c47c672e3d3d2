//! The dataflow: which operator feeds which.
//!
//! ```text
//! rows ──────► sightings ─ edges ► gaps ─► fill ─ notes ─► ledger ─┐
//! copies ────► dedup ─┐ └ verdicts ──────┐  ▲ ▲                    ├─ sizes ─► commit
//! types ─────────────────────────────────┼──┘ │                    │
//! times ─────► watermark ────────────────┼────┘   ┌─ slips ► ledger│
//!                     └─ verdicts ───────┴─► desk ┴────────────────┘
//! ```
//!
//! Rows go to the worker of their group of ids, gaps to that of their stream, verdicts back to the
//! worker that read the record, and what runs across workers to the first. Every operator waits
//! until the frontier has passed an epoch before it says anything of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Input, Probe};
use timely::dataflow::{InputHandleVec, Scope, StreamVec};
use timely::progress::Antichain;

use super::commit::{Committer, Office, Section, Sizes};
use super::desk::{Slip, Written};
use super::fill::{EpochOfGaps, Filler, Note, Wanted};
use super::ledger;
use super::names::Names;
use super::reading::Needs;
use super::renumber::{Fresh, TypeCount, renumber};
use super::spec::{Dataflow, Keep};
use crate::operators::dedup::{Copied, dedup};
use crate::operators::gaps::{Gap, gaps};
use crate::operators::index::group_of;
use crate::operators::parcel::{Parcel, Spare};
use crate::operators::per_epoch::{PerEpoch, epoch_of};
use crate::operators::retained::{Forgotten, Retained, Row, retained};
use crate::operators::sightings::{Config, Sighting, sightings};
use crate::operators::watermark::Bounds;
use crate::operators::{Label, Verdict};
use crate::time::Epoch;

/// When it is asked what stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Survey {
    /// Before the epoch, of which nothing is applied.
    Before,
    /// After it.
    After,
}

/// What every worker says to itself once an epoch.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Tick {
    /// Whether the input ends with this epoch.
    pub last: bool,
    /// Whether the outputs hold what follows from this epoch already.
    pub silent: bool,
    /// Whether what is known after this epoch is to be laid down.
    pub base: bool,
    /// The epochs with records that this one stands for.
    pub epochs: u64,
    /// Whether it is asked what stands.
    pub survey: Option<Survey>,
    /// Sets the watermark from this epoch on.
    pub watermark: Option<i64>,
}

/// The event times of one part, by input, and the inputs that end in its epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// The worker that read them.
    pub reader: u32,
    /// (input, times), in order.
    pub times: Vec<(u32, Vec<i64>)>,
    /// Inputs that end within the epoch.
    pub ended: Vec<u32>,
}

/// A copy under its dedup key.
pub type CopyUpdate = (((u32, Vec<u8>), Copied), Epoch, isize);

/// What the worker loop feeds, and how it sees progress.
pub struct Inputs {
    /// Once an epoch.
    pub ticks: InputHandleVec<Epoch, Tick>,
    /// Every well-formed event, where there is no horizon.
    pub rows: Feed<Parcel<Sighting<u32>>>,
    /// Every well-formed event under its dedup key, where they are needed.
    pub copies: Feed<CopyUpdate>,
    /// Every well-formed event, where there is a horizon.
    pub retained: Feed<Row>,
    /// Events by stream and type, where they are needed.
    pub types: Feed<TypeCount>,
    /// Event times, where they are needed.
    pub times: Feed<Times>,
    /// Names that this worker has met, for other processes.
    pub names: Feed<Fresh>,
    /// Passes an epoch when it is committed.
    pub done: ProbeHandle<Epoch>,
}

/// An input of the dataflow, where its rules need it: what moves with every epoch costs something
/// in every epoch, even if nothing comes.
pub struct Feed<D: Clone + 'static>(Option<InputHandleVec<Epoch, D>>);

impl<D: Clone + 'static> Feed<D> {
    /// An input of `scope`, and what comes from it; if it is not `needed`, nothing does.
    fn new<'scope>(
        scope: Scope<'scope, Epoch>,
        needed: bool,
    ) -> (Self, StreamVec<'scope, Epoch, D>) {
        if !needed {
            return (Feed(None), empty(scope));
        }
        let (input, stream) = scope.new_input();
        (Feed(Some(input)), stream)
    }

    /// Sends one datum, if anybody wants it.
    pub fn send(&mut self, datum: D) {
        if let Some(input) = &mut self.0 {
            input.send(datum);
        }
    }

    /// Sends all of `data`, if anybody wants them, and clears it.
    pub fn send_batch(&mut self, data: &mut Vec<D>) {
        match &mut self.0 {
            Some(input) => input.send_batch(data),
            None => data.clear(),
        }
    }

    fn advance_to(&mut self, epoch: Epoch) {
        if let Some(input) = &mut self.0 {
            input.advance_to(epoch);
        }
    }
}

impl Inputs {
    /// Tells that everything before `epoch` was fed, but for ticks.
    pub fn advance_to(&mut self, epoch: Epoch) {
        self.rows.advance_to(epoch);
        self.copies.advance_to(epoch);
        self.retained.advance_to(epoch);
        self.types.advance_to(epoch);
        self.times.advance_to(epoch);
        self.names.advance_to(epoch);
    }

    /// Says that `epoch` exists, which lets its answer leave.
    pub fn tick(&mut self, epoch: Epoch, tick: Tick) {
        self.ticks.advance_to(epoch);
        self.ticks.send(tick);
        self.ticks.advance_to(epoch + 1);
    }
}

/// What the dataflow is built from.
#[derive(Debug)]
pub struct Plan {
    /// The dataflow file.
    pub dataflow: Dataflow,
    /// How the ledger writes.
    pub ledger: ledger::Style,
    /// The names of streams and types, by the numbers that the operators use.
    pub streams: Names,
    /// See `streams`.
    pub types: Names,
    /// Whether there are several processes.
    pub clustered: bool,
    /// Whether ticks may set the watermark.
    pub scripted: bool,
}

/// Builds the dataflow of one worker.
///
/// The vectors that rows came in go back to `spare`.
pub fn build(
    scope: Scope<'_, Epoch>,
    plan: &Plan,
    office: &Rc<Office>,
    spare: Spare<Sighting<u32>>,
) -> Inputs {
    let dataflow = &plan.dataflow;
    let needs = Needs::of(dataflow);
    let (tick_input, ticks) = scope.new_input::<Vec<Tick>>();
    let (row_input, rows) = Feed::new(scope, !needs.horizon);
    let (copy_input, copies) = Feed::new(scope, needs.copies && !needs.horizon);
    let (retained_input, events) = Feed::new(scope, needs.horizon);
    let (type_input, types) = Feed::new(scope, needs.types && !needs.horizon);
    let (time_input, times) = Feed::new(scope, needs.times);
    let (name_input, names) = Feed::new(scope, plan.clustered);

    let (rows, types) = if plan.clustered {
        let tables = (plan.streams.clone(), plan.types.clone());
        renumber(
            (rows, types),
            names,
            (office.worker, office.workers),
            tables,
        )
    } else {
        (rows, types)
    };

    let mut told = empty(scope);
    if needs.times {
        told = watermarks(times, dataflow, office);
    }
    if plan.scripted {
        // What a script sets counts as the rest.
        told = told.concat(set_watermarks(ticks.clone(), office.worker));
    }
    let found = match &dataflow.horizon {
        None => find(rows, spare, copies, types, dataflow, needs),
        Some(_) => find_retained(events, told.clone(), ticks.clone(), plan, office),
    };
    let wanted = Wanted {
        guesses: office.changelog || office.survey.is_some(),
        gaps: dataflow.sinks.gaps.is_some() || office.survey.is_some(),
    };
    let names = (plan.streams.clone(), plan.types.clone());
    let format = dataflow.event.timestamp_format;
    let mut filler = Filler::new(dataflow.gaps.clone(), format, wanted, names);
    office.bases.restore_filler(&mut filler);
    let Findings {
        verdicts,
        kept,
        about_gaps,
    } = found;
    let notes = fill(filler, office, ticks.clone(), about_gaps, told);

    let (slips, desk_sizes) = desk(ticks.clone(), verdicts, office);
    let ledger_sizes = keep_ledger(&plan.ledger, ticks.clone(), slips, notes, kept, office);
    let done = commit(desk_sizes, ledger_sizes, ticks, office);
    let (done, _) = done.probe();

    Inputs {
        ticks: tick_input,
        rows: row_input,
        copies: copy_input,
        retained: retained_input,
        types: type_input,
        times: time_input,
        names: name_input,
        done,
    }
}

/// What is found of copies and gaps.
struct Findings<'scope> {
    verdicts: StreamVec<'scope, Epoch, Given>,
    kept: StreamVec<'scope, Epoch, (Epoch, i64)>,
    about_gaps: AboutGaps<'scope>,
}

/// What [`fill`] hears of sequences.
struct AboutGaps<'scope> {
    /// Whether all of it is on the workers of its sequences; otherwise only gaps are.
    at_home: bool,
    gaps: StreamVec<'scope, Epoch, ((u32, Gap), Epoch, isize)>,
    types: StreamVec<'scope, Epoch, TypeCount>,
    witnesses: StreamVec<'scope, Epoch, (u32, i64, i64)>,
    forgotten: StreamVec<'scope, Epoch, (Epoch, Forgotten)>,
}

/// Judges events of which none is ever forgotten.
fn find<'scope>(
    rows: StreamVec<'scope, Epoch, Parcel<Sighting<u32>>>,
    spare: Spare<Sighting<u32>>,
    copies: StreamVec<'scope, Epoch, CopyUpdate>,
    types: StreamVec<'scope, Epoch, TypeCount>,
    dataflow: &Dataflow,
    needs: Needs,
) -> Findings<'scope> {
    let config = Config {
        verdicts: !needs.copies,
        tags: needs.tags,
        witnesses: needs.times,
    };
    let scope = rows.scope();
    let sighted = sightings(rows, config, by_stream, spare);
    let (verdicts, kept) = if needs.copies {
        judge_copies(copies, dataflow.keep)
    } else {
        (sighted.verdicts, sighted.kept)
    };
    Findings {
        verdicts,
        kept,
        about_gaps: AboutGaps {
            at_home: false,
            gaps: gaps(sighted.gaps, sighted.edges, by_stream).inner,
            types,
            witnesses: match needs.times {
                true => sighted.witnesses,
                false => empty(scope),
            },
            forgotten: empty(scope),
        },
    }
}

/// Judges events that are forgotten when they lie behind the horizon.
fn find_retained<'scope>(
    events: StreamVec<'scope, Epoch, Row>,
    told: StreamVec<'scope, Epoch, (u64, i64)>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    plan: &Plan,
    office: &Rc<Office>,
) -> Findings<'scope> {
    let core = Rc::new(RefCell::new(office.bases.retained(&plan.dataflow)));
    let for_bases = Rc::clone(office);
    let on_applied =
        move |epoch, retained: &Retained| for_bases.bases.lay_retained(epoch, retained);
    let streams = retained(events, told, ticks, by_stream, core, Box::new(on_applied));
    let types = streams.types.map(|(stream, r#type, count)| TypeCount {
        stream,
        r#type,
        count,
    });
    Findings {
        verdicts: streams.verdicts,
        kept: streams.kept,
        about_gaps: AboutGaps {
            at_home: true,
            gaps: streams.gaps,
            types,
            witnesses: streams.witnesses,
            forgotten: streams.forgotten,
        },
    }
}

/// The watermarks that ticks set.
fn set_watermarks(
    ticks: StreamVec<'_, Epoch, Tick>,
    worker: u32,
) -> StreamVec<'_, Epoch, (u64, i64)> {
    ticks.flat_map(move |tick| tick.watermark.map(|time| (u64::from(worker), time)))
}

/// The worker of a stream: all operators that keep something by stream agree on it.
pub(super) fn is_home(stream: u32, worker: u32, workers: u32) -> bool {
    by_stream(stream) % u64::from(workers) == u64::from(worker)
}

/// A hash of a stream, which tells its worker.
fn by_stream(stream: u32) -> u64 {
    mix(u64::from(stream))
}

/// A hash of the group of an id of a stream, which tells the worker of the group.
#[inline]
pub(super) fn by_group(stream: u32, id: i64) -> u64 {
    mix(u64::from(stream) ^ mix(group_of(id) as u64))
}

/// Spreads hashes whose low bits are alike.
#[inline]
fn mix(hash: u64) -> u64 {
    (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

/// A verdict, and the epoch in which it is given.
type Given = (Epoch, Verdict);

/// Judges copies under keys of their own, and counts those that are kept.
fn judge_copies<'scope>(
    copies: StreamVec<'scope, Epoch, CopyUpdate>,
    keep: Keep,
) -> (
    StreamVec<'scope, Epoch, Given>,
    StreamVec<'scope, Epoch, (Epoch, i64)>,
) {
    let judged = dedup(copies.as_collection(), keep).inner;
    let kept = judged.clone().flat_map(|((_, label, _), epoch, diff)| {
        (label == Label::Kept).then_some((epoch, diff as i64))
    });
    let verdicts = judged.flat_map(|((position, label, open), epoch, diff)| {
        // A record that is kept for good in its own epoch needs no word.
        let plain = label == Label::Kept && !open && position.epoch == epoch;
        let verdict = Verdict {
            position,
            label,
            open,
            diff: diff as i8,
        };
        (!plain).then_some((epoch, verdict))
    });
    (verdicts, kept)
}

/// The watermark of every epoch, to every worker.
fn watermarks<'scope>(
    times: StreamVec<'scope, Epoch, Times>,
    dataflow: &Dataflow,
    office: &Rc<Office>,
) -> StreamVec<'scope, Epoch, (u64, i64)> {
    let bounds = Bounds {
        disorder: dataflow.watermark.disorder_us,
        max_ahead: dataflow.watermark.max_ahead_us,
    };
    let scope = times.scope();
    let workers = scope.peers() as u64;
    let mut builder = OperatorBuilder::new("Watermark".to_owned(), scope);
    let mut input = builder.new_input(times, Exchange::new(|_: &Times| 0));
    // What is known after an epoch holds for the next one.
    let (output, stream) = builder.new_output_connection([(0, Antichain::from_elem(1))]);
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    let office = Rc::clone(office);
    builder.build(move |_| {
        let mut watermark = office.bases.watermark(bounds);
        let mut waiting: std::collections::BTreeMap<Epoch, (_, Vec<Times>)> =
            std::collections::BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    let next = || (capability.delayed(&(epoch + 1), 0), Vec::new());
                    waiting.entry(epoch).or_insert_with(next).1.append(data);
                }
            });
            let mut output = output.activate();
            while let Some(first) = waiting.first_entry() {
                if frontiers[0].less_equal(first.key()) {
                    break;
                }
                let (epoch, (capability, mut parts)) = first.remove_entry();
                // A base that holds what is known before this epoch has no later word to wait for.
                office.bases.lay_watermark(..epoch, &watermark);
                parts.sort_by_key(|part| part.reader);
                for (partition, times) in parts.iter().flat_map(|part| &part.times) {
                    for time in times {
                        watermark.observe(*partition, *time);
                    }
                }
                for partition in parts.iter().flat_map(|part| &part.ended) {
                    watermark.end_partition(*partition);
                }
                watermark.end_epoch();
                office.bases.lay_watermark(..=epoch, &watermark);
                if let Some(time) = watermark.get() {
                    let told = (0..workers).map(|worker| (worker, time));
                    output.session(&capability).give_iterator(told);
                }
            }
        }
    });
    stream
}

/// What arrived for an epoch of [`fill`].
#[derive(Default)]
struct FillEpoch {
    ticked: bool,
    epoch: EpochOfGaps,
}

/// Applies the rules about gaps.
fn fill<'scope>(
    mut filler: Filler,
    office: &Rc<Office>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    about_gaps: AboutGaps<'scope>,
    watermarks: StreamVec<'scope, Epoch, (u64, i64)>,
) -> StreamVec<'scope, Epoch, Note> {
    let here = u64::from(office.worker);
    let home = move |stream| match about_gaps.at_home {
        true => here,
        false => by_stream(stream),
    };
    let mut builder = OperatorBuilder::new("Fill".to_owned(), ticks.scope());
    let mut ticks = builder.new_input(ticks, Pipeline);
    let mut gaps = builder.new_input(about_gaps.gaps, Pipeline);
    let by_home = Exchange::new(move |count: &TypeCount| home(count.stream));
    let mut types = builder.new_input(about_gaps.types, by_home);
    let by_home = Exchange::new(move |seen: &(u32, i64, i64)| home(seen.0));
    let mut witnesses = builder.new_input(about_gaps.witnesses, by_home);
    let mut forgotten = builder.new_input(about_gaps.forgotten, Pipeline);
    let mut watermarks = builder.new_input(watermarks, Exchange::new(|told: &(u64, i64)| told.0));
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    let office = Rc::clone(office);
    builder.build(move |_| {
        let mut waiting = PerEpoch::<FillEpoch>::new(1);
        let mut notes = Vec::new();
        move |frontiers| {
            ticks.for_each(|capability, data| {
                for tick in data.drain(..) {
                    if let Some(epoch) = epoch_of(&capability) {
                        let at = waiting.at(epoch, &capability);
                        at.ticked = true;
                        at.epoch.last = tick.last;
                        at.epoch.survey = tick.survey;
                    }
                }
            });
            gaps.for_each(|capability, data| {
                for changes in data.chunk_by(|a, b| a.1 == b.1) {
                    let at = waiting.at(changes[0].1, &capability);
                    let changes = changes.iter().map(|&(gap, _, diff)| (gap, diff));
                    at.epoch.gaps.extend(changes);
                }
            });
            types.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).epoch.types.append(data);
                }
            });
            witnesses.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).epoch.witnesses.append(data);
                }
            });
            watermarks.for_each(|capability, data| {
                for (_, time) in data.drain(..) {
                    if let Some(epoch) = epoch_of(&capability) {
                        let at = &mut waiting.at(epoch, &capability).epoch.watermark;
                        *at = (*at).max(Some(time));
                    }
                }
            });
            forgotten.for_each(|capability, data| {
                for (epoch, forgotten) in data.drain(..) {
                    waiting
                        .at(epoch, &capability)
                        .epoch
                        .forgotten
                        .push(forgotten);
                }
            });
            let mut output = output.activate();
            while let Some((epoch, due)) = waiting.pop_passed(frontiers) {
                // The watermark is told for the next epoch, which may never come.
                if !due.data.ticked {
                    continue;
                }
                filler.apply(due.data.epoch, &mut notes);
                // So that the ledger, which is one for all workers, has the less to do.
                notes.sort_unstable_by(Note::by_stream);
                office.bases.lay_filler(epoch, &filler);
                office.watermark.set(filler.watermark());
                output
                    .session(&due.capabilities[0])
                    .give_iterator(notes.drain(..));
            }
        }
    });
    stream
}

/// What arrived for an epoch of [`desk`].
#[derive(Default)]
struct DeskEpoch {
    tick: Option<Tick>,
    verdicts: Vec<Verdict>,
}

/// Writes what workers have read: lines about earlier records, and how long the others are.
fn desk<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    verdicts: StreamVec<'scope, Epoch, Given>,
    office: &Rc<Office>,
) -> (
    StreamVec<'scope, Epoch, Slip>,
    StreamVec<'scope, Epoch, (u64, Sizes)>,
) {
    let mut builder = OperatorBuilder::new("Desk".to_owned(), ticks.scope());
    let mut ticks = builder.new_input(ticks, Pipeline);
    let to_reader = Exchange::new(|given: &Given| u64::from(given.1.position.reader));
    let mut verdicts = builder.new_input(verdicts, to_reader);
    let (slips, slip_stream) = builder.new_output();
    let (sizes, size_stream) = builder.new_output();
    let mut slips = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(slips);
    let mut sizes = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(sizes);
    let office = Rc::clone(office);
    builder.build(move |_| {
        let mut waiting = PerEpoch::<DeskEpoch>::new(2);
        move |frontiers| {
            ticks.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).tick = data.pop();
                }
            });
            verdicts.for_each(|capability, data| {
                for given in data.chunk_by(|a, b| a.0 == b.0) {
                    let at = waiting.at(given[0].0, &capability);
                    at.verdicts
                        .extend(given.iter().map(|&(_, verdict)| verdict));
                }
            });
            let (mut slips, mut sizes) = (slips.activate(), sizes.activate());
            while let Some((epoch, mut due)) = waiting.pop_passed(frontiers) {
                // A worker that has stopped reading has no part in later epochs.
                let Some(tick) = due.data.tick else { continue };
                let mut written = Written {
                    pages: office.pages(),
                    ..Written::default()
                };
                let mut closing = std::collections::BTreeMap::new();
                office.attempt(|| {
                    let mut desk = office.desk.borrow_mut();
                    desk.write(epoch, &mut due.data.verdicts, &mut written)?;
                    if tick.last && !office.streamed {
                        closing = desk.closing_lengths()?;
                        written.tally.clean_kept += desk.kept_in_attic();
                    }
                    Ok(())
                });
                office.attempt(|| office.bases.lay_desk(epoch, &office.desk.borrow()));
                let section = Section::Part(office.worker);
                let mut size = office.submit(epoch, section, written.pages, written.tally);
                size.closing = closing;
                slips
                    .session(&due.capabilities[0])
                    .give_iterator(written.slips.into_iter());
                let told = (0..u64::from(office.workers)).map(|worker| (worker, size.clone()));
                sizes.session(&due.capabilities[1]).give_iterator(told);
            }
        }
    });
    (slip_stream, size_stream)
}

/// What arrived for an epoch of [`keep_ledger`].
#[derive(Default)]
struct LedgerEpoch {
    tick: Option<Tick>,
    slips: Vec<Slip>,
    notes: Vec<Note>,
    kept: i64,
}

/// Writes what runs across workers, on the first of them, and says how long it is.
fn keep_ledger<'scope>(
    style: &ledger::Style,
    ticks: StreamVec<'scope, Epoch, Tick>,
    slips: StreamVec<'scope, Epoch, Slip>,
    notes: StreamVec<'scope, Epoch, Note>,
    kept: StreamVec<'scope, Epoch, (Epoch, i64)>,
    office: &Rc<Office>,
) -> StreamVec<'scope, Epoch, (u64, Sizes)> {
    let mut builder = OperatorBuilder::new("Ledger".to_owned(), ticks.scope());
    let mut ticks = builder.new_input(ticks, Pipeline);
    let mut slips = builder.new_input(slips, Exchange::new(|_: &Slip| 0));
    let mut notes = builder.new_input(notes, Exchange::new(|_: &Note| 0));
    let mut kept = builder.new_input(kept, Exchange::new(|_: &(Epoch, i64)| 0));
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    let (office, style) = (Rc::clone(office), style.clone());
    builder.build(move |_| {
        let mut waiting = PerEpoch::<LedgerEpoch>::new(1);
        move |frontiers| {
            ticks.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).tick = data.pop();
                }
            });
            slips.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).slips.append(data);
                }
            });
            notes.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).notes.append(data);
                }
            });
            kept.for_each(|capability, data| {
                for (epoch, count) in data.drain(..) {
                    waiting.at(epoch, &capability).kept += count;
                }
            });
            let mut output = output.activate();
            while let Some((epoch, due)) = waiting.pop_passed(frontiers) {
                let LedgerEpoch {
                    mut slips,
                    notes,
                    kept,
                    tick: Some(tick),
                } = due.data
                else {
                    continue;
                };
                if office.worker != 0 {
                    continue;
                }
                let mut entry = ledger::write_entry(&style, epoch, &mut slips, notes);
                entry.tally.seats = kept;
                if let Some(survey) = &office.survey {
                    survey.borrow_mut().append(&mut entry.standing);
                }
                if tick.silent {
                    (entry.head, entry.tail) = Default::default();
                } else if tick.last {
                    office.finals.borrow_mut().append(&mut entry.finals);
                }
                let head = office.submit(epoch, Section::Head, entry.head, entry.tally);
                let tail = office.submit(epoch, Section::Tail, entry.tail, Default::default());
                let told = (0..u64::from(office.workers))
                    .flat_map(|worker| [(worker, head.clone()), (worker, tail.clone())]);
                output.session(&due.capabilities[0]).give_iterator(told);
            }
        }
    });
    stream
}

/// What arrived for an epoch of [`commit`].
#[derive(Default)]
struct CommitEpoch {
    tick: Tick,
    sizes: Vec<Sizes>,
}

/// Writes the lines of every epoch to their places.
fn commit<'scope>(
    desk_sizes: StreamVec<'scope, Epoch, (u64, Sizes)>,
    ledger_sizes: StreamVec<'scope, Epoch, (u64, Sizes)>,
    ticks: StreamVec<'scope, Epoch, Tick>,
    office: &Rc<Office>,
) -> StreamVec<'scope, Epoch, ()> {
    let scope = ticks.scope();
    let mut builder = OperatorBuilder::new("Commit".to_owned(), scope);
    let to_all = || Exchange::new(|told: &(u64, Sizes)| told.0);
    let mut sizes = [desk_sizes, ledger_sizes].map(|sizes| builder.new_input(sizes, to_all()));
    let mut ticks = builder.new_input(ticks, Pipeline);
    let (_, stream) = builder.new_output::<Vec<()>>();
    let office = Rc::clone(office);
    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |_| {
        let mut waiting = PerEpoch::<CommitEpoch>::new(1);
        let mut committer = Committer::new(Rc::clone(&office));
        // What keeps the epochs from being done whose lines are not written.
        let mut unwritten = VecDeque::new();
        move |frontiers| {
            for sizes in &mut sizes {
                sizes.for_each(|capability, data| {
                    if let Some(epoch) = epoch_of(&capability) {
                        let sizes = data.drain(..).map(|(_, sizes)| sizes);
                        waiting.at(epoch, &capability).sizes.extend(sizes);
                    }
                });
            }
            ticks.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability)
                    && let Some(tick) = data.pop()
                {
                    waiting.at(epoch, &capability).tick = tick;
                }
            });
            while let Some((epoch, mut due)) = waiting.pop_passed(frontiers) {
                office.attempt(|| {
                    let CommitEpoch { tick, sizes } = &mut due.data;
                    committer.commit(epoch, sizes, *tick)
                });
                unwritten.push_back((epoch, due.capabilities));
            }
            let mut first = None;
            office.attempt(|| {
                first = committer.write()?;
                Ok(())
            });
            if office.halt.has_failed() {
                // What was not written is never done.
                return;
            }
            let is_written = |epoch| first.is_none_or(|first| epoch < first);
            while unwritten
                .pop_front_if(|(epoch, _)| is_written(*epoch))
                .is_some()
            {}
            if first.is_some() {
                activator.activate();
            }
        }
    });
    stream
}
