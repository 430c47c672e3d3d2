//! Between processes: rows that name streams and types by the numbers of the process that read
//! them, to the numbers of the process that judges them.
//!
//! A worker tells all others each name when it first meets it, in the epoch in which it does; so
//! whoever has all rows of an epoch has all names in them. In a single process there is one
//! numbering and nothing to do.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::names::Names;
use crate::operators::per_epoch::{PerEpoch, epoch_of};
use crate::operators::sightings::Sighting;
use crate::time::Epoch;

/// A name that a worker has met for the first time, on its way to another worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fresh {
    /// The worker that is told.
    pub to: u32,
    /// The process whose number it is.
    pub process: u32,
    /// Whether it names a type; otherwise a stream.
    pub is_type: bool,
    /// The number.
    pub number: u32,
    /// The name.
    pub name: String,
}

/// Events of one stream and type that a worker has read in an epoch.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TypeCount {
    /// The stream.
    pub stream: u32,
    /// The type.
    pub r#type: u32,
    /// How many.
    pub count: u64,
    /// The worker that read them.
    pub reader: u32,
}

/// What is named by number.
pub trait Numbered: ExchangeData {
    /// The worker that read it.
    fn reader(&self) -> u32;
    /// Renumbers its stream and its type.
    fn renumber(&mut self, stream: impl Fn(u32) -> u32, tag: impl Fn(u32) -> u32);
}

impl Numbered for Sighting<u32> {
    fn reader(&self) -> u32 {
        self.reader
    }

    fn renumber(&mut self, stream: impl Fn(u32) -> u32, tag: impl Fn(u32) -> u32) {
        self.stream = stream(self.stream);
        self.tag = tag(self.tag);
    }
}

impl Numbered for TypeCount {
    fn reader(&self) -> u32 {
        self.reader
    }

    fn renumber(&mut self, stream: impl Fn(u32) -> u32, tag: impl Fn(u32) -> u32) {
        self.stream = stream(self.stream);
        self.r#type = tag(self.r#type);
    }
}

/// Sends `rows` by `route`, and gives them the numbers of this process, whose worker this is.
pub fn renumber<'scope, D: Numbered>(
    rows: StreamVec<'scope, Epoch, D>,
    names: StreamVec<'scope, Epoch, Fresh>,
    route: impl Fn(&D) -> u64 + 'static,
    (worker, workers_per_process): (u32, u32),
    (streams, types): (Names, Names),
) -> StreamVec<'scope, Epoch, D> {
    let own = worker / workers_per_process;
    let mut builder = OperatorBuilder::new("Renumber".to_owned(), rows.scope());
    let mut rows = builder.new_input(rows, Exchange::new(route));
    let mut names = builder.new_input(names, Exchange::new(|fresh: &Fresh| fresh.to.into()));
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(output);
    builder.build(move |_| {
        let mut waiting = PerEpoch::<Vec<D>>::new(1);
        // (process, is_type, number there) → number here.
        let mut numbers: HashMap<(u32, bool, u32), u32> = HashMap::new();
        move |frontiers| {
            names.for_each(|_, data| {
                for fresh in data.drain(..).filter(|fresh| fresh.process != own) {
                    let table = if fresh.is_type { &types } else { &streams };
                    let key = (fresh.process, fresh.is_type, fresh.number);
                    numbers.insert(key, table.number(&fresh.name));
                }
            });
            rows.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).append(data);
                }
            });
            let mut output = output.activate();
            while let Some((_, mut due)) = waiting.pop_passed(frontiers) {
                for row in &mut due.data {
                    let process = row.reader() / workers_per_process;
                    if process != own {
                        let here = |is_type, number| {
                            numbers.get(&(process, is_type, number)).copied().unwrap_or(number)
                        };
                        row.renumber(|stream| here(false, stream), |tag| here(true, tag));
                    }
                }
                output.session(&due.capabilities[0]).give_iterator(due.data.into_iter());
            }
        }
    });
    stream
}
