//! Rows of a workload, and a dataflow of one worker that is fed with them an epoch at a time.
//!
//! One rule: whatever is not measured happens while these are made.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use amend::Epoch;
use amend::event::{Decoder, EventSpec, FieldPath};
use amend::operators::Print;
use amend::operators::gaps::{Gap, gaps};
use amend::operators::parcel::{Parcel, Spare};
use amend::operators::sightings::{Config, Sighting, sightings};
use amend::repair::Dataflow;
use amend::repair::fill::{EpochOfGaps, Filler, Wanted};
use amend::repair::names::Names;
use amend::repair::renumber::TypeCount;
use amend::testing::workload::Workload;
use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::dataflow::operators::Input;
use timely::dataflow::{InputHandleVec, ProbeHandle, StreamVec};
use timely::worker::Worker;
use xxhash_rust::xxh3::xxh3_64;

use crate::events::records;

/// Where the fields of a workload's events are.
pub(crate) fn event_spec() -> EventSpec {
    EventSpec {
        stream: vec![FieldPath::Name("stream".to_owned())],
        ..EventSpec::default()
    }
}

/// The events of a workload as the operators see them.
pub(crate) struct Rows {
    /// Sightings by epoch.
    pub(crate) epochs: Vec<Vec<Sighting<u32>>>,
    /// Events by stream and type, by epoch.
    types: Vec<Vec<TypeCount>>,
    /// The names of streams, and those of types.
    names: (Names, Names),
}

impl Rows {
    /// The events of `workload` in epochs of `epoch_events`.
    pub(crate) fn new(workload: Workload, epoch_events: usize) -> Self {
        let mut decoder = Decoder::new(event_spec());
        let mut rows = Rows {
            epochs: Vec::new(),
            types: Vec::new(),
            names: Default::default(),
        };
        for epoch in records(workload).chunks(epoch_events) {
            let mut counts = BTreeMap::<(u32, u32), u64>::new();
            let mut sightings = Vec::with_capacity(epoch.len());
            for (index, record) in epoch.iter().enumerate() {
                let event = decoder.decode(record).expect("a workload is well-formed");
                let stream = rows.names.0.number(event.stream);
                let r#type = rows.names.1.number(event.r#type);
                *counts.entry((stream, r#type)).or_default() += 1;
                sightings.push(Sighting {
                    stream,
                    tag: 0,
                    id: event.id,
                    time: event.time.0,
                    print: Print::new(xxh3_64(record), event.valid.unwrap_or(true)),
                    reader: 0,
                    index: index as u32,
                });
            }
            rows.epochs.push(sightings);
            let counts = counts
                .into_iter()
                .map(|((stream, r#type), count)| TypeCount {
                    stream,
                    r#type,
                    count,
                });
            rows.types.push(counts.collect());
        }
        rows
    }

    /// The sightings as they travel to the one worker, by epoch.
    pub(crate) fn parcels(&self) -> Vec<Vec<Parcel<Sighting<u32>>>> {
        let parcel = |rows: &Vec<Sighting<u32>>| Parcel {
            from: 0,
            to: 0,
            rows: rows.clone(),
        };
        let epochs = self.epochs.iter();
        epochs.map(|rows| vec![parcel(rows)]).collect()
    }

    /// What the gap operator says, and the events by type, by epoch: what a [`Filler`] is told.
    pub(crate) fn gaps(&self) -> Vec<EpochOfGaps> {
        let said = Rc::new(RefCell::new(Vec::<Vec<((u32, Gap), isize)>>::new()));
        said.borrow_mut().resize(self.epochs.len(), Vec::new());
        let out = Rc::clone(&said);
        let mut fed = Fed::new(move |rows| {
            let sighted = sightings(rows, Config::default(), u64::from, Spare::default());
            let gaps = gaps(sighted.gaps, sighted.edges, u64::from);
            let gaps = gaps.inspect(move |(gap, epoch, diff)| {
                out.borrow_mut()[*epoch as usize].push((*gap, *diff));
            });
            gaps.probe().0
        });
        fed.feed_all(self.parcels());
        let told = said.take().into_iter().zip(&self.types);
        told.map(|(gaps, types)| EpochOfGaps {
            gaps,
            types: types.clone(),
            ..EpochOfGaps::default()
        })
        .collect()
    }

    /// A filler that knows the names, under the rules that hold where none are given.
    pub(crate) fn filler(&self) -> Filler {
        let dataflow = "[source]\nkind = \"stdin\"";
        let dataflow = Dataflow::from_text(dataflow, "bench.toml".as_ref(), &[]);
        let dataflow = dataflow.expect("the dataflow is right");
        let wanted = Wanted {
            guesses: true,
            gaps: true,
        };
        let format = dataflow.event.timestamp_format;
        Filler::new(dataflow.gaps, format, wanted, self.names.clone())
    }
}

/// A dataflow of one worker, on the thread that feeds it.
pub(crate) struct Fed<R: Clone + 'static> {
    input: InputHandleVec<Epoch, R>,
    probe: ProbeHandle<Epoch>,
    worker: Worker,
}

impl<R: Clone + 'static> Fed<R> {
    /// A dataflow that `build` makes behind its input.
    pub(crate) fn new(
        build: impl for<'scope> FnOnce(StreamVec<'scope, Epoch, R>) -> ProbeHandle<Epoch>,
    ) -> Self {
        let thread = Allocator::Thread(Thread::default());
        let mut worker = Worker::new(WorkerConfig::default(), thread, None);
        let (input, probe) = worker.dataflow(|scope| {
            let (input, rows) = scope.new_input::<Vec<R>>();
            (input, build(rows))
        });
        Fed {
            input,
            probe,
            worker,
        }
    }

    /// Feeds one epoch, and returns once the dataflow is done with it.
    pub(crate) fn feed(&mut self, mut rows: Vec<R>) {
        self.input.send_batch(&mut rows);
        self.input.advance_to(self.input.time() + 1);
        let (probe, now) = (&self.probe, self.input.time());
        self.worker.step_while(|| probe.less_than(now));
    }

    /// Feeds epoch after epoch.
    pub(crate) fn feed_all(&mut self, epochs: Vec<Vec<R>>) {
        for rows in epochs {
            self.feed(rows);
        }
    }
}
