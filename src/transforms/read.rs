//! Sources to collections: elements, and the watermark that follows from them.

use std::rc::Rc;

use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::{Input, Map};
use timely::dataflow::operators::{Concatenate, Exchange};
use timely::dataflow::{InputHandle, StreamVec};

use crate::Result;
use crate::io::dead_letter::DeadLetter;
use crate::io::memory::Memory;
use crate::io::source::{Batch, Reader, Reading, Source, WatermarkPolicy};
use crate::operators::per_epoch::{PerEpoch, epoch_of};
use crate::operators::ticks::{Progress, Ticker};
use crate::operators::watermark::Bounds;
use crate::pcollection::{Data, Element, PCollection, Tick};
use crate::pipeline::{Feed, Pipeline};
use crate::time::{Epoch, EventTime, micros};
use crate::windowing::Strategy;

impl<'scope> Pipeline<'scope> {
    /// Reads `source`. Records that cannot be decoded are dead letters of this step.
    pub fn read<S: Source<Item: Data>>(
        &self,
        name: &str,
        source: S,
    ) -> PCollection<'scope, S::Item> {
        let step = self.step(name);
        let scope = self.scope;
        let (elements, element_stream) = scope.new_input();
        let (dead, dead_stream) = scope.new_input();
        let (progress, progress_stream) = scope.new_input();
        let reader = match source.open(&self.place(&step)) {
            Ok(reader) => reader,
            Err(error) => {
                self.fail(error);
                Box::new(Nothing)
            }
        };
        self.plan.feeds.borrow_mut().push(Box::new(SourceFeed {
            reader,
            worker: self.worker() as u32,
            is_live: source.is_live(),
            read: 0,
            elements,
            dead,
            progress,
        }));
        let dead: StreamVec<'scope, Epoch, (DeadLetter, Epoch, isize)> = dead_stream;
        self.plan.dead.borrow_mut().push(dead.as_collection());
        let ticks = ticks(
            progress_stream,
            &step,
            source.watermark(),
            source.partitions(),
        );
        self.plan.ticks.borrow_mut().push(ticks.clone());
        PCollection {
            inner: element_stream.as_collection(),
            ticks,
            strategy: Rc::new(global()),
            append_only: true,
            piles_up: false,
            pipeline: self.clone(),
        }
    }

    /// These elements, without event times.
    pub fn create<T: Data + Sync>(
        &self,
        name: &str,
        elements: impl IntoIterator<Item = T>,
    ) -> PCollection<'scope, T> {
        let stamped = elements.into_iter().map(|value| (value, EventTime::MIN));
        self.read(name, Memory::new(stamped))
    }

    /// These elements, with their event times.
    pub fn create_timestamped<T: Data + Sync>(
        &self,
        name: &str,
        elements: impl IntoIterator<Item = (T, EventTime)>,
    ) -> PCollection<'scope, T> {
        self.read(name, Memory::new(elements))
    }
}

/// How a collection is windowed that nobody windowed.
pub(crate) fn global() -> Strategy {
    Strategy {
        windows: "GlobalWindows".to_owned(),
        ..Strategy::default()
    }
}

/// Stands in for a source that could not be opened, in a pipeline that is not run.
struct Nothing;

impl<T> Reader<T> for Nothing {
    fn read(&mut self, _: Epoch, _: EventTime, _: &mut Batch<T>) -> Result<Reading> {
        Ok(Reading::Ended)
    }
}

type Update<D> = (D, Epoch, isize);

/// A source at work on one worker.
struct SourceFeed<T: Data> {
    reader: Box<dyn Reader<T>>,
    worker: u32,
    is_live: bool,
    /// Epochs that the source was asked for.
    read: Epoch,
    elements: InputHandle<Epoch, CapacityContainerBuilder<Vec<Update<Element<T>>>>>,
    dead: InputHandle<Epoch, CapacityContainerBuilder<Vec<Update<DeadLetter>>>>,
    progress: InputHandle<Epoch, CapacityContainerBuilder<Vec<Progress>>>,
}

impl<T: Data> Feed for SourceFeed<T> {
    fn is_live(&self) -> bool {
        self.is_live
    }

    fn feed(&mut self, epoch: Epoch, now: EventTime) -> Result<Reading> {
        let mut batch = Batch::default();
        let reading = self.reader.read(self.read, now, &mut batch)?;
        if reading == Reading::Pending && !self.is_live {
            return Ok(reading);
        }
        self.read += 1;
        let mut times: Vec<(u32, Vec<i64>)> = Vec::new();
        let mut updates = Vec::with_capacity(batch.records.len());
        for record in batch.records {
            // An element without an event time says nothing about the watermark.
            if record.event_time != EventTime::MIN && !batch.is_scripted {
                match times.last_mut() {
                    Some((partition, times)) if *partition == record.partition => {
                        times.push(record.event_time.0);
                    }
                    _ => times.push((record.partition, vec![record.event_time.0])),
                }
            }
            let element = Element::new(record.value, record.event_time);
            updates.push((element, epoch, 1));
        }
        self.elements.send_batch(&mut updates);
        for letter in batch.dead {
            self.dead.send((letter, epoch, 1));
        }
        let clock = batch.clock.or(self.is_live.then_some(now));
        self.progress.send(Progress {
            reader: self.worker,
            times,
            ended: batch.ended,
            finished: reading == Reading::Ended,
            watermark: batch.watermark.map(|time| time.0),
            clock: clock.map(|time| time.0),
        });
        Ok(reading)
    }

    fn advance_to(&mut self, epoch: Epoch) {
        self.elements.advance_to(epoch);
        self.dead.advance_to(epoch);
        self.progress.advance_to(epoch);
    }
}

/// The ticks of a source, to every worker.
fn ticks<'scope>(
    progress: StreamVec<'scope, Epoch, Progress>,
    step: &str,
    policy: WatermarkPolicy,
    partitions: Vec<u32>,
) -> StreamVec<'scope, Epoch, Tick> {
    let bounds = Bounds {
        disorder: micros(policy.disorder),
        max_ahead: micros(policy.max_ahead),
    };
    let scope = progress.scope();
    let workers = scope.peers();
    let mut builder = OperatorBuilder::new(format!("{step}/watermark"), scope);
    let mut input = builder.new_input(progress, pact::Exchange::new(|_: &Progress| 0));
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    builder.build(move |_| {
        let idle_after = policy.idle_after.map(micros);
        let mut ticker = Ticker::new(bounds, idle_after, partitions, workers);
        let mut waiting = PerEpoch::<Vec<Progress>>::new(1);
        move |frontiers| {
            input.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).append(data);
                }
            });
            let mut output = output.activate();
            while let Some((_, due)) = waiting.pop_passed(frontiers) {
                let (watermark, clock) = ticker.epoch(due.data);
                let told = (0..workers as u64).map(|worker| Tick {
                    worker,
                    watermark: EventTime(watermark),
                    clock: EventTime(clock),
                });
                output.session(&due.capabilities[0]).give_iterator(told);
            }
        }
    });
    stream.exchange(|tick: &Tick| tick.worker)
}

/// The ticks of what is put together from several collections.
pub(crate) fn merge_ticks<'scope>(
    step: &str,
    all: Vec<StreamVec<'scope, Epoch, Tick>>,
) -> Option<StreamVec<'scope, Epoch, Tick>> {
    let sources = all.len();
    if sources < 2 {
        return all.into_iter().next();
    }
    let scope = all[0].scope();
    let numbered = all
        .into_iter()
        .enumerate()
        .map(|(source, ticks)| ticks.map(move |tick| (source, tick)));
    let together = scope.concatenate(numbered.collect::<Vec<_>>());
    let mut builder = OperatorBuilder::new(format!("{step}/ticks"), scope);
    let mut input = builder.new_input(together, pact::Pipeline);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    let worker = scope.index() as u64;
    builder.build(move |_| {
        let start = Tick {
            worker,
            watermark: EventTime::MIN,
            clock: EventTime::MIN,
        };
        let mut last = vec![start; sources];
        let mut waiting = PerEpoch::<Vec<(usize, Tick)>>::new(1);
        move |frontiers| {
            input.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).append(data);
                }
            });
            let mut output = output.activate();
            while let Some((_, due)) = waiting.pop_passed(frontiers) {
                for (source, tick) in due.data {
                    last[source] = tick;
                }
                // A source that has ended stands at the end of time, and so holds nothing back.
                let watermark = last.iter().map(|tick| tick.watermark).min();
                let clock = last.iter().map(|tick| tick.clock).min();
                let tick = Tick {
                    worker,
                    watermark: watermark.unwrap_or(EventTime::MIN),
                    clock: clock.unwrap_or(EventTime::MIN),
                };
                output.session(&due.capabilities[0]).give(tick);
            }
        }
    });
    Some(stream)
}
