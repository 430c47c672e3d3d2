//! Between processes: one numbering of streams and types that all of them share.
//!
//! In one process all workers number names in one table. Between processes every worker announces
//! each name when it first meets it, to all workers and in the epoch in which it does. When an
//! epoch's announcements are complete, every worker gives the next numbers to the names that are
//! new, in the order of their bytes: so all come to the same numbers, and rows that wait for this
//! can then be sent anywhere.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::names::Names;
use super::wiring::by_group;
use crate::operators::parcel::{Dealer, Parcel, Spare};
use crate::operators::per_epoch::{PerEpoch, epoch_of};
use crate::operators::sightings::Sighting;
use crate::time::Epoch;

/// A name that a worker has met for the first time, on its way to another worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fresh {
    /// The worker that met it.
    pub from: u32,
    /// The worker that is told.
    pub to: u32,
    /// Whether it names a type; otherwise a stream.
    pub is_type: bool,
    /// Its number where it was met.
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
}

/// Rows and counts of one worker.
type Read<'scope> = (
    StreamVec<'scope, Epoch, Parcel<Sighting<u32>>>,
    StreamVec<'scope, Epoch, TypeCount>,
);

/// What arrived for an epoch.
#[derive(Default)]
struct Waiting {
    rows: Vec<Parcel<Sighting<u32>>>,
    types: Vec<TypeCount>,
    fresh: Vec<Fresh>,
}

/// Gives the rows and counts that `worker`, one of `workers`, has read the numbers that all processes
/// share, which are kept in `streams` and `types`; only then it is known who is to have the rows.
pub fn renumber<'scope>(
    (rows, counts): Read<'scope>,
    fresh: StreamVec<'scope, Epoch, Fresh>,
    (worker, workers): (u32, u32),
    (streams, types): (Names, Names),
) -> Read<'scope> {
    let mut builder = OperatorBuilder::new("Renumber".to_owned(), rows.scope());
    let mut rows = builder.new_input(rows, Pipeline);
    let mut counts = builder.new_input(counts, Pipeline);
    let mut fresh = builder.new_input(fresh, Exchange::new(|fresh: &Fresh| fresh.to.into()));
    let (row_output, row_stream) = builder.new_output();
    let (count_output, count_stream) = builder.new_output();
    let mut row_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(row_output);
    let mut count_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(count_output);
    builder.build(move |_| {
        let mut waiting = PerEpoch::<Waiting>::new(2);
        let mut stream_numbers = Numbers::new(streams, false);
        let mut type_numbers = Numbers::new(types, true);
        let mut dealer = Dealer::new(worker, workers, Spare::default());
        move |frontiers| {
            rows.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).rows.append(data);
                }
            });
            counts.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).types.append(data);
                }
            });
            fresh.for_each(|capability, data| {
                if let Some(epoch) = epoch_of(&capability) {
                    waiting.at(epoch, &capability).fresh.append(data);
                }
            });
            let (mut rows, mut counts) = (row_output.activate(), count_output.activate());
            while let Some((_, due)) = waiting.pop_passed(frontiers) {
                let Waiting {
                    rows: these,
                    types: mut those,
                    fresh,
                } = due.data;
                stream_numbers.learn(worker, &fresh);
                type_numbers.learn(worker, &fresh);
                for mut row in these.into_iter().flat_map(|parcel| parcel.rows) {
                    row.stream = stream_numbers.shared(row.stream);
                    row.tag = type_numbers.shared(row.tag);
                    dealer.push(by_group(row.stream, row.id), row);
                }
                for count in &mut those {
                    count.stream = stream_numbers.shared(count.stream);
                    count.r#type = type_numbers.shared(count.r#type);
                }
                rows.session(&due.capabilities[0])
                    .give_iterator(dealer.parcels());
                counts
                    .session(&due.capabilities[1])
                    .give_iterator(those.into_iter());
            }
        }
    });
    (row_stream, count_stream)
}

/// The numbers of one kind of names.
struct Numbers {
    names: Names,
    is_type: bool,
    /// The shared number, by the number that this worker uses.
    shared: Vec<u32>,
}

impl Numbers {
    fn new(names: Names, is_type: bool) -> Self {
        Numbers {
            names,
            is_type,
            shared: Vec::new(),
        }
    }

    /// Numbers the names that were first met in an epoch.
    fn learn(&mut self, worker: u32, fresh: &[Fresh]) {
        let here = || fresh.iter().filter(|fresh| fresh.is_type == self.is_type);
        let names: BTreeSet<&str> = here().map(|fresh| fresh.name.as_str()).collect();
        for name in names {
            self.names.number(name);
        }
        for own in here().filter(|fresh| fresh.from == worker) {
            let at = own.number as usize;
            if self.shared.len() <= at {
                self.shared.resize(at + 1, 0);
            }
            self.shared[at] = self.names.number(&own.name);
        }
    }

    /// The shared number for what this worker calls `number`.
    ///
    /// A tag that is not in use is 0 and names nothing.
    fn shared(&self, number: u32) -> u32 {
        self.shared
            .get(number as usize)
            .copied()
            .unwrap_or_default()
    }
}
