//! The frame of every operator with memory: elements of an epoch first, then the watermark and the
//! clock that the epoch ends with.
//!
//! An epoch is applied when the frontier has passed it. Its elements are judged by the watermark that
//! was in force when they came: that of the epoch before.

use std::hash::{BuildHasher, Hash};

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{ProbeHandle, StreamVec};

use crate::operators::per_epoch::{PerEpoch, epoch_of};
use crate::pcollection::{Data, Element, PCollection, Tick};
use crate::time::Epoch;
use crate::windowing::grouping::Now;

/// What an operator does in an epoch.
pub(super) trait Steps<I, O, R> {
    /// Takes the changes of an epoch.
    fn elements(&mut self, changes: Vec<(I, isize)>, now: Now, output: &mut Output<O, R>);

    /// Takes the watermark and the clock that the epoch ends with, which may be those that it began
    /// with.
    fn tick(&mut self, now: Now, output: &mut Output<O, R>);
}

/// Changes of what an operator says.
#[derive(Debug)]
pub(super) struct Output<O, R> {
    /// Its result.
    pub(super) main: Vec<(O, isize)>,
    /// What it sets aside.
    pub(super) aside: Vec<(R, isize)>,
}

/// How an operator takes its input.
pub(super) struct Intake<'scope, I: Data> {
    pub(super) changes: VecCollection<'scope, Epoch, I, isize>,
    pub(super) ticks: StreamVec<'scope, Epoch, Tick>,
    /// Whether nothing is ever taken back, so that an epoch holds no two changes of one element
    /// that cancel.
    pub(super) append_only: bool,
    /// Watches the output.
    pub(super) probe: ProbeHandle<Epoch>,
}

impl<'scope, T: Data> Intake<'scope, Element<T>> {
    /// The changes of `input`.
    pub(super) fn of(input: &PCollection<'scope, T>) -> Self {
        Intake {
            changes: input.inner.clone(),
            ticks: input.ticks.clone(),
            append_only: input.append_only,
            probe: input.pipeline.plan.probe.clone(),
        }
    }
}

/// What arrived for an epoch.
struct Pending<I> {
    changes: Vec<(I, isize)>,
    tick: Option<Tick>,
}

impl<I> Default for Pending<I> {
    fn default() -> Self {
        Pending {
            changes: Vec::new(),
            tick: None,
        }
    }
}

/// Runs `steps` as an operator; elements go to the worker that `route` says.
pub(super) fn stepwise<'scope, I: Data, O: Data, R: Data>(
    step: &str,
    intake: Intake<'scope, I>,
    route: impl Fn(&I) -> u64 + 'static,
    mut steps: impl Steps<I, O, R> + 'static,
) -> (
    VecCollection<'scope, Epoch, O, isize>,
    VecCollection<'scope, Epoch, R, isize>,
) {
    let Intake {
        changes,
        ticks,
        append_only,
        probe,
    } = intake;
    let mut builder = OperatorBuilder::new(step.to_owned(), ticks.scope());
    let exchange = pact::Exchange::new(move |(element, _, _): &(I, Epoch, isize)| route(element));
    let mut changes = builder.new_input(changes.inner, exchange);
    let mut ticks = builder.new_input(ticks, pact::Pipeline);
    let (main, main_stream) = builder.new_output();
    let (aside, aside_stream) = builder.new_output();
    let mut main = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(main);
    let mut aside = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(aside);
    builder.build(move |_| {
        let mut waiting = PerEpoch::<Pending<I>>::new(2);
        let mut now = Now::default();
        let mut output = Output {
            main: Vec::new(),
            aside: Vec::new(),
        };
        move |frontiers| {
            changes.for_each(|capability, data| {
                let mut updates = data.drain(..).peekable();
                while let Some((element, epoch, diff)) = updates.next() {
                    let at = waiting.at(epoch, &capability);
                    at.changes.push((element, diff));
                    // A message nearly always holds updates of one epoch.
                    while let Some((element, _, diff)) = updates.next_if(|next| next.1 == epoch) {
                        at.changes.push((element, diff));
                    }
                }
            });
            ticks.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).tick = data.pop();
                }
            });
            let (mut main, mut aside) = (main.activate(), aside.activate());
            while let Some((epoch, due)) = waiting.pop_passed(frontiers) {
                let Pending { mut changes, tick } = due.data;
                let mut is_due = false;
                if !append_only {
                    consolidate(&mut changes);
                }
                if !changes.is_empty() {
                    let clock = tick.map_or(now.clock, |tick| tick.clock);
                    steps.elements(changes, Now { clock, ..now }, &mut output);
                    is_due = true;
                }
                if let Some(tick) = tick
                    && tick.now() != now
                {
                    now = tick.now();
                    is_due = true;
                }
                if is_due {
                    steps.tick(now, &mut output);
                }
                let said = output.main.drain(..);
                main.session(&due.capabilities[0])
                    .give_iterator(said.map(|(element, diff)| (element, epoch, diff)));
                let said = output.aside.drain(..);
                aside
                    .session(&due.capabilities[1])
                    .give_iterator(said.map(|(element, diff)| (element, epoch, diff)));
            }
        }
    });
    let main_stream = main_stream.probe_with(&probe);
    (main_stream.as_collection(), aside_stream.as_collection())
}

/// Where a key's elements go: the same on every worker.
#[inline]
pub(super) fn route<K: Hash>(key: &K) -> u64 {
    // Workers must agree, so the seed is fixed. The maps of a worker have seeds of their own, or
    // their buckets would fill unevenly.
    foldhash::fast::FixedState::with_seed(0x5eed).hash_one(key)
}
