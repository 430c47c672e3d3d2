//! The journal's own work, without a run around it.
//!
//! Answers: how fast epochs are appended and synced, on the disk and in memory; how fast a journal is
//! checked as every start does it; how fast its records come back, from frames and from columns.
//! Without `--bench` (as under `cargo test --benches`) everything runs once on a small input.

mod events;

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amend::event::{Decoder, EventSpec, FieldPath};
use amend::journal::columns::{self, Chunk, ChunkBuilder, EventRow, Loaded, VALID};
use amend::journal::{
    self, EncodedFrame, Entry, Folder, Frame, FrameParts, Identity, Journal, Lock, Options,
    Partition, SharedBytes, Storage, Stretch, read_frames,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use events::{records, workload};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

/// Epochs in the journal.
const EPOCHS: usize = 10;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = append, read
}
criterion_main!(benches);

/// All epochs at once, so that the journal syncs what has come meanwhile together; and an epoch at a
/// time, each synced before the next.
fn append(c: &mut Criterion) {
    let input = Input::new();
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(input.events));
    for (name, each) in [("at once", false), ("a sync for each epoch", true)] {
        for (at, place) in [
            ("disk", on_disk as fn() -> Place),
            ("memory", in_memory as fn() -> Place),
        ] {
            group.bench_function(format!("{name}, {at}"), |b| {
                b.iter_batched(
                    || {
                        let place = place();
                        let opened = Journal::open(
                            Arc::clone(&place.storage),
                            &identity(),
                            Options::default(),
                        );
                        (place, opened.expect("a journal can be made").0)
                    },
                    |(place, journal)| {
                        input.append_to(&journal, each);
                        // Closing and removing it is not measured.
                        (journal, place)
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

/// What a start does with a journal, on the disk but in the memory of the system.
fn read(c: &mut Criterion) {
    let input = Input::new();
    let place = on_disk();
    let opened = Journal::open(Arc::clone(&place.storage), &identity(), Options::default());
    let (journal, _) = opened.expect("a journal can be made");
    input.append_to(&journal, false);
    journal.finish().expect("the journal is written");
    let cache = place.path().join("columns");
    columns::write(&cache, 0, &input.chunks()).expect("the columns are written");

    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Elements(input.events));
    let recover = || journal::read(&*place.storage, &identity()).expect("the journal is whole");
    group.bench_function("recover", |b| b.iter(recover));
    let recovered = recover();
    group.bench_function("frames", |b| {
        b.iter(|| {
            let frames = read_frames(&*place.storage, &recovered.frames);
            frames.fold(0, |records, frame| {
                records + frame.expect("a frame can be read").records.len()
            })
        });
    });
    let mut decoder = Decoder::new(event_spec());
    group.bench_function("frames, decoded", |b| {
        b.iter(|| {
            let mut seen = 0;
            for frame in read_frames(&*place.storage, &recovered.frames) {
                let frame = frame.expect("a frame can be read");
                for span in &frame.records {
                    let record = &frame.bytes[span.start..span.start + span.length];
                    let event = decoder.decode(record);
                    seen ^= event.map_or(0, |event| event.id ^ event.time.0);
                }
            }
            seen
        });
    });
    group.bench_function("columns", |b| b.iter(|| see_columns(&cache)));
    group.finish();
}

/// Brings the columns into memory and looks at every row.
fn see_columns(path: &Path) -> i64 {
    let loaded = Loaded::open(path, 0).expect("the columns can be read");
    let loaded = loaded.expect("the columns fit");
    let mut seen = 0;
    for chunk in loaded.chunks() {
        for row in 0..chunk.len() {
            seen ^= chunk.id(row) ^ chunk.time(row).0 ^ chunk.print(row) as i64;
            black_box((chunk.stream_number(row), chunk.type_number(row)));
        }
    }
    seen
}

/// Where a journal is.
struct Place {
    storage: Arc<dyn Storage>,
    folder: Option<TempDir>,
}

impl Place {
    fn path(&self) -> &Path {
        self.folder.as_ref().expect("it is on the disk").path()
    }
}

/// Under target/, because a folder in memory would know no disk.
fn on_disk() -> Place {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    Place {
        storage: Arc::new(Folder::new(folder.path().join("journal"))),
        folder: Some(folder),
    }
}

/// What an append costs but for the disk.
fn in_memory() -> Place {
    Place {
        storage: Arc::new(Memory::default()),
        folder: None,
    }
}

/// Files of which nothing is ever durable. `Faulty` would copy them at every sync, to know what a
/// power cut leaves.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Memory {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let files = self.files();
        let files = files
            .iter()
            .map(|(name, bytes)| (name.clone(), bytes.len() as u64));
        Ok(files.collect())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let files = self.files();
        let bytes = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let mut from = bytes.get(offset as usize..).unwrap_or_default();
        from.read_exact(buffer)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.files()
            .entry(name.to_owned())
            .or_default()
            .extend_from_slice(bytes);
        Ok(())
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut files = self.files();
        let bytes = files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        bytes.truncate(length as usize);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name);
        Ok(())
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> amend::Result<Lock> {
        Ok(Lock::new(()))
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

fn event_spec() -> EventSpec {
    EventSpec {
        stream: vec![FieldPath::Name("stream".to_owned())],
        ..EventSpec::default()
    }
}

fn identity() -> Identity {
    Identity {
        name: "bench".to_owned(),
        fixed: String::new(),
        created_us: 0,
    }
}

/// Events in [`EPOCHS`] epochs.
struct Input {
    events: u64,
    epochs: Vec<Part>,
}

/// What is read in one epoch: lines, and where the records in them begin and how long they are.
struct Part {
    bytes: Arc<Vec<u8>>,
    records: Vec<(usize, usize)>,
}

impl Input {
    fn new() -> Self {
        let measured = std::env::args().any(|argument| argument == "--bench");
        let events = if measured { 100_000 } else { 2_000 };
        let records = records(workload(events, 64));
        let epochs = records.chunks(records.len() / EPOCHS);
        Input {
            events,
            epochs: epochs.map(Part::new).collect(),
        }
    }

    /// Appends every epoch as one frame, and returns once all are durable.
    fn append_to(&self, journal: &Journal, sync_each: bool) {
        journal.append(Entry::Partition(Partition {
            number: 0,
            label: "in.jsonl".to_owned(),
            identity: "in.jsonl".to_owned(),
        }));
        for (epoch, part) in (0..).zip(&self.epochs) {
            journal.append(Entry::Frame(part.encode(epoch)));
            if sync_each {
                journal.flush().expect("the disk takes it");
            }
        }
        journal.flush().expect("the disk takes it");
    }

    /// The columns of all events, a chunk for each epoch.
    fn chunks(&self) -> Vec<Chunk> {
        let mut decoder = Decoder::new(event_spec());
        let mut builder = ChunkBuilder::default();
        let (mut streams, mut types) = (Numbers::default(), Numbers::default());
        let epochs = (0..).zip(&self.epochs);
        let chunks = epochs.map(|(epoch, part)| {
            builder.begin(epoch, 0, part.records.len());
            for (start, length) in &part.records {
                let record = &part.bytes[*start..start + length];
                let event = decoder.decode(record).expect("a workload is well-formed");
                builder.push_event(&EventRow {
                    id: event.id,
                    time: event.time,
                    print: xxh3_64(record),
                    stream: streams.of(event.stream),
                    r#type: types.of(event.r#type),
                    flags: VALID,
                    key: &[],
                });
            }
            let name = |numbers: &Numbers, number| numbers.names[number as usize].clone();
            builder.finish(|at| name(&streams, at), |at| name(&types, at))
        });
        chunks.collect()
    }
}

/// Names in the order in which they came.
#[derive(Default)]
struct Numbers {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Numbers {
    fn of(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }
}

impl Part {
    fn new(records: &[Vec<u8>]) -> Self {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for record in records {
            places.push((bytes.len(), record.len()));
            bytes.extend_from_slice(record);
            bytes.push(b'\n');
        }
        Part {
            bytes: Arc::new(bytes),
            records: places,
        }
    }

    fn encode(&self, epoch: u64) -> EncodedFrame {
        Frame::encode(FrameParts {
            epoch,
            clock_us: 0,
            bytes: SharedBytes::new(Arc::clone(&self.bytes)),
            records: &mut self.records.iter().copied(),
            stretches: &[Stretch {
                first_record: 0,
                partition: 0,
                start: 0,
                offset: 0,
                line: 1,
            }],
            oversize: &[],
            ended: &[],
            positions: &[],
        })
    }
}
