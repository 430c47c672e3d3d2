//! The operators one by one, on one core and with all else made beforehand.
//!
//! Answers: what copies, gaps, reconstruction and windows cost an event, with 64 busy streams and
//! with so many that each is sparse. What is compared with each other is best taken from one run.
//! Without `--bench` (as under `cargo test --benches`) everything runs once on a small input.

mod events;
mod rows;

use std::hint::black_box;
use std::time::Duration;

use amend::operators::Position;
use amend::operators::dedup::{Copied, Keep, dedup};
use amend::operators::gaps::gaps;
use amend::operators::parcel::Spare;
use amend::operators::sightings::{Config, Sighting, sightings};
use amend::prelude::*;
use amend::repair::wiring::CopyUpdate;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use differential_dataflow::AsCollection;
use events::workload;
use rows::{Fed, Rows};
use timely::dataflow::operators::Probe;

/// Epochs that a stream is cut into: enough for the state of one to matter to the next.
const EPOCHS: usize = 10;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = bench_dedup, bench_gaps, bench_reconstruct, bench_windowing
}
criterion_main!(benches);

/// Copies by id and time, as sightings tell them, and copies under any key.
fn bench_dedup(c: &mut Criterion) {
    let mut group = c.benchmark_group("dedup");
    for size in Size::both() {
        let rows = size.rows(&mut group);
        let sighted = || {
            Fed::new(|rows| {
                let config = Config {
                    verdicts: true,
                    ..Config::default()
                };
                let sighted = sightings(rows, config, u64::from, Spare::default());
                sighted.verdicts.probe().0
            })
        };
        feed_through(
            &mut group,
            size.id("by id and time"),
            &rows.parcels(),
            sighted,
        );
        let copies = copies(&rows);
        for (name, keep) in [
            ("other key, first", Keep::First),
            ("other key, last", Keep::Last),
        ] {
            let judged = || Fed::new(move |copies| dedup(copies.as_collection(), keep).probe().0);
            feed_through(&mut group, size.id(name), &copies, judged);
        }
    }
    group.finish();
}

/// Gaps behind sightings that judge copies too, as in a run: what it takes more than `dedup` is theirs.
fn bench_gaps(c: &mut Criterion) {
    let mut group = c.benchmark_group("gaps");
    for size in Size::both() {
        let rows = size.rows(&mut group);
        let behind = || {
            Fed::new(|rows| {
                let config = Config {
                    verdicts: true,
                    ..Config::default()
                };
                let sighted = sightings(rows, config, u64::from, Spare::default());
                gaps(sighted.gaps, sighted.edges, u64::from).probe().0
            })
        };
        feed_through(
            &mut group,
            size.id("with sightings"),
            &rows.parcels(),
            behind,
        );
    }
    group.finish();
}

/// The rules about gaps of a dataflow file, and the transform of a pipeline.
fn bench_reconstruct(c: &mut Criterion) {
    let mut group = c.benchmark_group("reconstruct");
    for size in Size::both() {
        let rows = size.rows(&mut group);
        let told = rows.gaps();
        group.bench_function(size.id("rules"), |b| {
            b.iter_batched(
                || (rows.filler(), told.clone(), Vec::new()),
                |(mut filler, told, mut notes)| {
                    for epoch in told {
                        filler.apply(epoch, &mut notes);
                    }
                    (filler, notes)
                },
                BatchSize::PerIteration,
            );
        });
        let places = size.source(&rows, |row| (row.stream, row.id));
        group.bench_function(size.id("transform"), |b| {
            b.iter(|| {
                let places = places.clone();
                pipeline(size.epoch_events(), move |p| {
                    let (whole, _) = p.read("places", places.clone()).reconstruct(
                        "whole",
                        1_000_000,
                        |place| *place,
                        |id, before, _| (before.value.0, id),
                    );
                    whole.inspect("count", |element, diff| {
                        black_box((element, diff));
                    });
                });
            });
        });
    }
    group.finish();
}

/// Events by stream and minute, counted in a pipeline.
fn bench_windowing(c: &mut Criterion) {
    let mut group = c.benchmark_group("windowing");
    for size in Size::both() {
        let rows = size.rows(&mut group);
        let ones = size.source(&rows, |row| (row.stream, 1));
        group.bench_function(size.id("keyed sum"), |b| {
            b.iter(|| {
                let ones = ones.clone();
                pipeline(size.epoch_events(), move |p| {
                    p.read("ones", ones.clone())
                        .window_into("per-minute", FixedWindows::of(minutes(1)))
                        .sum_per_key("sums")
                        .inspect("count", |pane, diff| {
                            black_box((pane, diff));
                        });
                });
            });
        });
    }
    group.finish();
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    events: u64,
    streams: u64,
}

impl Size {
    /// Few busy streams, and so many that few of them have a second event in an epoch.
    fn both() -> [Self; 2] {
        let measured = std::env::args().any(|argument| argument == "--bench");
        let (events, sparse) = match measured {
            true => (100_000, 100_000),
            false => (2_000, 2_000),
        };
        [64, sparse].map(|streams| Size { events, streams })
    }

    fn id(self, name: &str) -> BenchmarkId {
        BenchmarkId::new(name, format!("{} streams", self.streams))
    }

    fn epoch_events(self) -> usize {
        self.events as usize / EPOCHS
    }

    /// The rows of the workload; the group counts their events from here on.
    fn rows(self, group: &mut BenchmarkGroup<'_, WallTime>) -> Rows {
        group.throughput(Throughput::Elements(self.events));
        Rows::new(workload(self.events, self.streams), self.epoch_events())
    }

    /// What `each` makes of the rows, as the source of a pipeline that lets events be late.
    fn source<T: Clone>(self, rows: &Rows, each: impl Fn(&Sighting<u32>) -> T) -> Memory<T> {
        let rows = rows.epochs.iter().flatten();
        let elements = rows.map(|row| (each(row), EventTime(row.time)));
        Memory::new(elements).watermark(WatermarkPolicy {
            disorder: minutes(5),
            ..WatermarkPolicy::default()
        })
    }
}

/// The copies of the events under keys of their own, as a dataflow file makes them.
fn copies(rows: &Rows) -> Vec<Vec<CopyUpdate>> {
    let epochs = rows.epochs.iter().enumerate();
    let of_epoch = |(epoch, rows): (usize, &Vec<Sighting<u32>>)| {
        let epoch = epoch as Epoch;
        let rows = rows.iter().map(|row| {
            let position = Position {
                epoch,
                reader: row.reader,
                index: row.index,
            };
            let print = row.print;
            let key = (row.stream, row.id.to_string().into_bytes());
            ((key, Copied { position, print }), epoch, 1)
        });
        rows.collect()
    };
    epochs.map(of_epoch).collect()
}

/// Measures how long a new dataflow takes for all `epochs`.
fn feed_through<R: Clone + 'static>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    epochs: &[Vec<R>],
    new: impl Fn() -> Fed<R>,
) {
    group.bench_function(id, |b| {
        b.iter_batched(
            || (new(), epochs.to_vec()),
            |(mut fed, epochs)| {
                fed.feed_all(epochs);
                // Taking it down is not measured.
                fed
            },
            BatchSize::PerIteration,
        );
    });
}

/// Runs a pipeline with one worker.
fn pipeline(epoch_events: usize, build: impl Fn(&Pipeline<'_>) + Send + Sync + 'static) {
    let options = Options::default().workers(1).epoch_events(epoch_events);
    amend::run(&options, build).expect("the pipeline runs");
}
