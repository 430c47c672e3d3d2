//! What a run with a horizon keeps: as much after fifty million events as after twenty.
//!
//! Answers: how much memory lives and how long the journal is, early and late in a stream with all
//! that a horizon is there for: producers that start over, ids and clocks that are far off, streams
//! that come and go. The stream is made as it is read, through a pipe, and the allocator counts
//! what lives. At full size it fails where either has grown by more than a tenth.
//! `cargo bench --bench horizon -- 5000000` scales it down; without `--bench` (as under
//! `cargo test --benches`) it runs on a small input, to show that it works.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use amend::journal::Folder;
use amend::repair::{Dataflow, JournalOptions, RunOptions, run};
use amend::testing::workload::Workload;
use peak_alloc::PeakAlloc;

/// From this many events on the bench judges what it measures.
const FULL: u64 = 50_000_000;
/// Lines of the table; at full size one for each million events.
const LINES: u64 = 50;
/// Samples for each of them: what lives goes up and down with every epoch and every base.
const SAMPLES: u64 = 40;
const WORKERS: usize = 2;
/// A record stamped in the year 9999 holds what comes before it in its stream for `max_ahead` and the
/// horizon: with a day of it, how many streams are held would be chance more than anything else.
const DATAFLOW: &str = "[source]\npath = \"in.pipe\"\nkind = \"jsonl\"\n\
    [event]\nstream = \"stream\"\n\
    [dedup]\nhorizon = \"1h\"\n\
    [watermark]\nmax_ahead = \"1h\"\n\
    [gaps]\non_reset = \"new-sequence\"\n\
    [journal]\nretain = \"2h\"\nsegment = \"16MiB\"\n";

/// Counts what lives.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let events: u64 = asked.unwrap_or(if measured { FULL } else { 5_000 });
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    let folder = folder.path();
    let pipe = folder.join("in.pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "no pipe was made"
    );
    fs::write(folder.join("flow.toml"), DATAFLOW).expect("the dataflow is written");

    let journal = folder.join("journal");
    let sampler = Sampler {
        every: (events / (LINES * SAMPLES)).max(1),
        journal: journal.clone(),
        lines: 0,
        samples: Vec::with_capacity((LINES * SAMPLES) as usize + 1),
        pipe: None,
    };
    // A run that fails ends the process, though the other end of the pipe still waits.
    let writer = std::thread::spawn(move || feed(sampler, &pipe, events));
    let dataflow = Dataflow::from_file(&folder.join("flow.toml"), &[]);
    let dataflow = dataflow.expect("the dataflow is right");
    let options = RunOptions {
        out: folder.join("out"),
        workers: WORKERS,
        cluster: None,
        epoch_events: None,
        epoch_ms: None,
        progress: false,
        journal: Some(JournalOptions {
            storage: Arc::new(Folder::new(&journal)),
            name: "journal".to_owned(),
            is_final: true,
            stdin_from_start: false,
        }),
        notice: None,
    };
    let report = run(&dataflow, &options).expect("the run succeeds");
    let samples = writer.join().expect("the events are written");
    assert_eq!(report.read, events, "not all was read");
    tell(&samples, events, report.events_per_s());
}

/// Writes the events into the pipe, and returns what was measured meanwhile.
fn feed(mut sampler: Sampler, pipe: &Path, events: u64) -> Vec<Sample> {
    // Waits for the reader.
    let pipe = File::options()
        .write(true)
        .open(pipe)
        .expect("the pipe can be opened");
    sampler.pipe = Some(BufWriter::with_capacity(64 << 10, pipe));
    let written = Workload::unbounded(events).write(&mut sampler);
    written.expect("the pipe takes the events");
    sampler.samples
}

/// What there was after some events.
#[derive(Clone, Copy)]
struct Sample {
    events: u64,
    live_bytes: usize,
    journal_bytes: u64,
}

/// Passes lines on and measures as they go by. The run is at most a few pipes' worth behind.
struct Sampler {
    every: u64,
    journal: PathBuf,
    lines: u64,
    samples: Vec<Sample>,
    pipe: Option<BufWriter<File>>,
}

impl Write for Sampler {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(pipe) = &mut self.pipe else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        // All of it, so that no line is counted twice.
        pipe.write_all(bytes)?;
        for _ in bytes.iter().filter(|byte| **byte == b'\n') {
            self.lines += 1;
            if self.lines.is_multiple_of(self.every) {
                self.samples.push(Sample {
                    events: self.lines,
                    live_bytes: ALLOCATOR.current_usage(),
                    journal_bytes: folder_bytes(&self.journal),
                });
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// How long all files in `folder` are. One that goes away meanwhile counts as nothing.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let lengths = entries.flatten().flat_map(|entry| entry.metadata());
    lengths.map(|metadata| metadata.len()).sum()
}

/// Prints what was measured, and judges it where there is enough of it.
fn tell(samples: &[Sample], events: u64, rate: f64) {
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    println!(
        "{events} events, seed 1, {WORKERS} workers, {:.2} M events/s",
        rate / 1e6
    );
    let median = |after: u64, through: u64, figure: &dyn Fn(&Sample) -> f64| {
        let within = |sample: &&Sample| sample.events > after && sample.events <= through;
        let mut figures: Vec<f64> = samples.iter().filter(within).map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    };
    type Figure<'a> = (&'a str, &'a dyn Fn(&Sample) -> f64);
    let figures: [Figure<'_>; 2] = [
        ("live MiB, median", &|sample| mib(sample.live_bytes as f64)),
        ("journal MiB, median", &|sample| {
            mib(sample.journal_bytes as f64)
        }),
    ];
    println!("\n| up to M events | live MiB | journal MiB |\n|---|---|---|");
    for line in 0..LINES {
        let (from, to) = (events / LINES * line, events / LINES * (line + 1));
        let [live, journal] = figures.map(|(_, figure)| median(from, to, figure));
        println!("| {:.3} | {live:.1} | {journal:.1} |", to as f64 / 1e6);
    }
    // The second fifth, and the last: ten million events each at full size.
    println!("\n| | second fifth | last fifth | ratio |\n|---|---|---|---|");
    let mut grown = Vec::new();
    for (name, figure) in figures {
        let early = median(events / 5, events / 5 * 2, figure);
        let late = median(events / 5 * 4, events, figure);
        let ratio = late / early;
        println!("| {name} | {early:.1} | {late:.1} | {ratio:.3} |");
        if ratio > 1.1 {
            grown.push(name);
        }
    }
    assert!(
        events < FULL || grown.is_empty(),
        "has grown by more than a tenth: {grown:?}"
    );
}
