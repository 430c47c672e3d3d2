//! The journal's price and its use: what keeping it costs, and how soon history is back.
//!
//! Answers: how much slower a run is that keeps a journal; how long a run that goes on takes to
//! recover one; how fast a journal is replayed; and how fast columns come back into memory beside
//! decoding: each with the column caches and without. Rounds are interleaved, and ratios are those
//! of one round, so that a machine that drifts drifts for both sides. Without `--bench` (as under
//! `cargo test --benches`) it runs once on a small input, to show that it works.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use amend::event::Decoder;
use amend::journal::columns::Loaded;
use amend::journal::{self, Folder, Identity, Recovered, Storage, cache_name, read_frames};
use amend::repair::{
    Dataflow, History, JournalOptions, ReplayOptions, Report, RunOptions, replay, run,
};
use amend::testing::workload::Workload;

const BINARY: &str = env!("CARGO_BIN_EXE_amend");
const WORKERS: usize = 2;

/// How much is measured.
struct Size {
    /// Events of the runs with and without a journal.
    events: u64,
    /// Events of the journal that is recovered and replayed.
    history: u64,
    rounds: usize,
    /// How long a segment is: short enough that some are closed.
    segment: &'static str,
    /// Records in an epoch of the history; a small input would be one epoch, in the open segment.
    epoch_events: Option<u64>,
}

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::var("AMEND_EVENTS").ok();
    let asked: Option<u64> = asked.and_then(|events| events.parse().ok());
    let size = match measured {
        true => Size {
            events: asked.unwrap_or(4_000_000),
            history: asked.map_or(10_000_000, |events| events / 2 * 5),
            rounds: 5,
            segment: "64MiB",
            epoch_events: None,
        },
        false => Size {
            events: 2_000,
            history: 5_000,
            rounds: 1,
            segment: "64KiB",
            epoch_events: Some(250),
        },
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    println!("seed 1, {cores} cores, {} rounds", size.rounds);
    // Under target/, because a folder in memory would know no disk.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    keeping(&folder.path().join("keeping"), &size);
    history(&folder.path().join("history"), &size);
}

/// Runs with a journal beside runs without one.
fn keeping(folder: &Path, size: &Size) {
    write_input(folder, size.events, size.segment);
    println!("\nkeeping a journal, {} events, file to files", size.events);
    head("M events/s", "with/without");
    for workers in [1, 2] {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..size.rounds {
            // Who goes first changes, for the first may leave the disk busy.
            for turn in [round % 2, (round + 1) % 2] {
                let seconds = run_binary(folder, workers, turn == 1);
                rates[turn].push(size.events as f64 / seconds / 1e6);
            }
        }
        let [without, with] = rates;
        row(&format!("no journal, {workers} workers"), &without, None);
        row(
            &format!("journal, {workers} workers"),
            &with,
            Some(&without),
        );
    }
    fs::remove_dir_all(folder).expect("the scratch folder can be removed");
}

/// Runs the binary, with a new journal or none, and returns how long it took.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn run_binary(folder: &Path, workers: usize, journaled: bool) -> f64 {
    for left in ["journal", "out"] {
        // The first time there is none.
        let _ = fs::remove_dir_all(folder.join(left));
    }
    let mut command = Command::new(BINARY);
    command.args(["run", "flow.toml", "--out", "out", "--quiet"]);
    command.args(["-w", &workers.to_string()]);
    if journaled {
        command.args(["--journal", "journal"]);
    }
    command.current_dir(folder).stdout(Stdio::null());
    let begun = Instant::now();
    let status = command.status().expect("the binary starts");
    let seconds = begun.elapsed().as_secs_f64();
    assert!(status.success(), "the run failed: {status}");
    seconds
}

/// Recovers and replays one journal, with its column caches and without.
fn history(folder: &Path, size: &Size) {
    write_input(folder, size.history, size.segment);
    let kept = Kept::make(folder, size.epoch_events);
    println!(
        "\na journal of {} events, {} workers, caches of {} segments of {}",
        size.history,
        WORKERS,
        kept.caches.len(),
        kept.recovered.segments.len(),
    );
    let mut figures: [[Vec<f64>; 2]; 4] = Default::default();
    let rate = |seconds: f64| size.history as f64 / seconds / 1e6;
    for round in 0..size.rounds {
        for turn in [round % 2, (round + 1) % 2] {
            let cached = turn == 1;
            let (recovered, whole) = kept.with_caches(cached, || kept.go_on());
            figures[0][turn].push(recovered);
            figures[1][turn].push(whole);
            let seconds = kept.with_caches(cached, || kept.replay());
            figures[2][turn].push(rate(seconds));
            let (records, seconds) = match cached {
                true => kept.with_caches(true, || kept.load()),
                false => kept.decode(),
            };
            figures[3][turn].push(records as f64 / seconds / 1e6);
        }
    }
    let [recovery, whole, replayed, memory] = &figures;
    head("seconds", "without/with");
    row("recovery, from JSON", &recovery[0], None);
    row("recovery, from columns", &recovery[1], None);
    ratio(&recovery[0], &recovery[1]);
    row("whole run that goes on, from JSON", &whole[0], None);
    row("whole run that goes on, from columns", &whole[1], None);
    ratio(&whole[0], &whole[1]);
    head("M events/s", "with/without");
    row("replay, from JSON", &replayed[0], None);
    row("replay, from columns", &replayed[1], Some(&replayed[0]));
    row("decode all frames, 1 thread", &memory[0], None);
    row("load all columns, 1 thread", &memory[1], Some(&memory[0]));
}

/// A journal, and its caches beside it.
struct Kept {
    folder: PathBuf,
    dataflow: Dataflow,
    storage: Arc<dyn Storage>,
    recovered: Recovered,
    /// The caches, by the numbers of their segments.
    caches: Vec<u64>,
}

impl Kept {
    /// Runs the dataflow in `folder` for the first time. In this process, because a cache is taken
    /// only by the executable that made it.
    fn make(folder: &Path, epoch_events: Option<u64>) -> Self {
        let dataflow = Dataflow::from_file(&folder.join("flow.toml"), &[]);
        let dataflow = dataflow.expect("the dataflow is right");
        let storage: Arc<dyn Storage> = Arc::new(Folder::new(folder.join("journal")));
        run_once(folder, &dataflow, &storage, epoch_events);
        let identity = Identity {
            name: dataflow.name.clone(),
            fixed: dataflow.fixed_text(),
            created_us: 0,
        };
        let recovered = journal::read(&*storage, &identity).expect("there is a journal");
        let closed = recovered
            .segments
            .split_last()
            .map_or(&[][..], |(_, it)| it);
        let missing = |number: &u64| !folder.join("journal").join(cache_name(*number)).exists();
        // A first segment may end before its first frame: there is nothing to cache of it.
        let closed = closed.iter().filter(|segment| segment.records > 0);
        let caches: Vec<u64> = closed.map(|segment| segment.number).collect();
        if caches.iter().any(missing) {
            // A busy disk puts some off to the next run.
            run_once(folder, &dataflow, &storage, epoch_events);
        }
        let lost: Vec<_> = caches.iter().filter(|number| missing(number)).collect();
        assert!(lost.is_empty(), "closed segments without caches: {lost:?}");
        assert!(!caches.is_empty(), "no segment was closed");
        fs::create_dir_all(folder.join("caches")).expect("a folder for the caches");
        let kept = Kept {
            folder: folder.to_owned(),
            dataflow,
            storage,
            recovered,
            caches,
        };
        kept.move_caches("journal", "caches");
        kept
    }

    fn move_caches(&self, from: &str, to: &str) {
        for number in &self.caches {
            let name = cache_name(*number);
            fs::rename(
                self.folder.join(from).join(&name),
                self.folder.join(to).join(&name),
            )
            .expect("a cache can be moved");
        }
    }

    /// Measures with the caches in their place, or with none; either way they are put back.
    fn with_caches<T>(&self, cached: bool, measured: impl FnOnce() -> T) -> T {
        if cached {
            self.move_caches("caches", "journal");
            let answer = measured();
            self.move_caches("journal", "caches");
            return answer;
        }
        let answer = measured();
        // Those that were made meanwhile would be found next time.
        for number in &self.caches {
            let _ = fs::remove_file(self.folder.join("journal").join(cache_name(*number)));
        }
        answer
    }

    /// Goes on with nothing new; how long recovery took, and all of it.
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    fn go_on(&self) -> (f64, f64) {
        let begun = Instant::now();
        let report = run_once(&self.folder, &self.dataflow, &self.storage, None);
        let whole = begun.elapsed().as_secs_f64();
        let recovered = report.recovered.expect("there was a journal");
        let records: u64 = self.recovered.frames.iter().map(|at| at.records).sum();
        assert_eq!(recovered.records, records, "not all was recovered");
        (recovered.elapsed_s, whole)
    }

    /// Replays the journal into a folder of its own.
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    fn replay(&self) -> f64 {
        let out = self.folder.join("replayed");
        let _ = fs::remove_dir_all(&out);
        let options = ReplayOptions {
            history: History::Journal(Arc::clone(&self.storage)),
            out,
            workers: WORKERS,
            from: None,
            to: None,
            speed: None,
            progress: false,
            notice: None,
        };
        let begun = Instant::now();
        let report = replay(&self.dataflow, &options).expect("the replay succeeds");
        let seconds = begun.elapsed().as_secs_f64();
        let records: u64 = self.recovered.frames.iter().map(|at| at.records).sum();
        assert_eq!(report.read, records, "not all was replayed");
        seconds
    }

    /// Brings the columns of all caches into memory and looks at every row; how many and how long.
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    fn load(&self) -> (u64, f64) {
        let begun = Instant::now();
        let mut rows = 0;
        let mut seen = 0_u64;
        for segment in &self.recovered.segments {
            if !self.caches.contains(&segment.number) {
                continue;
            }
            let path = self.folder.join("journal").join(cache_name(segment.number));
            let loaded = Loaded::open(&path, segment.fingerprint).expect("a cache can be read");
            let loaded = loaded.expect("the cache fits");
            for chunk in loaded.chunks() {
                for row in 0..chunk.len() {
                    seen ^= chunk.print(row) ^ chunk.id(row) as u64 ^ chunk.time(row).0 as u64;
                    seen ^= u64::from(chunk.stream_number(row) ^ chunk.type_number(row));
                }
                rows += chunk.len() as u64;
            }
        }
        black_box(seen);
        (rows, begun.elapsed().as_secs_f64())
    }

    /// Reads all frames that have caches and decodes their records; how many and how long.
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    fn decode(&self) -> (u64, f64) {
        let is_cached = |segment: &u64| self.caches.contains(segment);
        let frames = self.recovered.frames.iter().copied();
        let frames: Vec<_> = frames.filter(|at| is_cached(&at.segment)).collect();
        let begun = Instant::now();
        let mut decoder = Decoder::new(self.dataflow.event.clone());
        let (mut records, mut events) = (0, 0_u64);
        for frame in read_frames(&*self.storage, &frames) {
            let frame = frame.expect("the frame can be read");
            for span in &frame.records {
                let record = &frame.bytes[span.start..span.start + span.length];
                events += u64::from(decoder.decode(record).is_ok());
                records += 1;
            }
        }
        assert_eq!(events, records, "not all was decoded");
        (records, begun.elapsed().as_secs_f64())
    }
}

/// Runs the dataflow with its journal, from where that ends.
fn run_once(
    folder: &Path,
    dataflow: &Dataflow,
    storage: &Arc<dyn Storage>,
    epoch_events: Option<u64>,
) -> Report {
    let options = RunOptions {
        out: folder.join("out"),
        workers: WORKERS,
        cluster: None,
        epoch_events,
        // As on the command line where nothing is said.
        epoch_ms: None,
        progress: false,
        journal: Some(JournalOptions {
            storage: Arc::clone(storage),
            name: "journal".to_owned(),
            is_final: false,
            stdin_from_start: false,
        }),
        notice: None,
    };
    run(dataflow, &options).expect("the run succeeds")
}

/// Writes a dataflow and its input into `folder`.
fn write_input(folder: &Path, events: u64, segment: &str) {
    let text = format!(
        "[source]\npath = \"in.jsonl\"\nkind = \"jsonl\"\n[event]\nstream = \"stream\"\n\
         [journal]\nsegment = \"{segment}\"\n"
    );
    fs::create_dir_all(folder).expect("a folder for the input");
    fs::write(folder.join("flow.toml"), text).expect("the dataflow is written");
    let file = File::create(folder.join("in.jsonl")).expect("the input is created");
    let lines = BufWriter::with_capacity(1 << 20, file);
    Workload::linq(events)
        .write(lines)
        .expect("the input is written");
}

fn head(unit: &str, ratio: &str) {
    println!("\n| {unit} | min | median | max | {ratio} of one round: min, median, max |");
    println!("|---|---|---|---|---|");
}

/// A line of a table: the figures, and their ratios to those of the same rounds.
fn row(name: &str, figures: &[f64], base: Option<&[f64]>) {
    let (min, median, max) = spread(figures.to_vec());
    let ratios = base.map_or_else(String::new, |base| ratios(figures, base));
    println!("| {name} | {min:.2} | {median:.2} | {max:.2} | {ratios} |");
}

/// A line with the ratios alone.
fn ratio(figures: &[f64], base: &[f64]) {
    println!("| | | | | {} |", ratios(figures, base));
}

fn ratios(figures: &[f64], base: &[f64]) -> String {
    let ratios = figures.iter().zip(base).map(|(figure, base)| figure / base);
    let (min, median, max) = spread(ratios.collect());
    format!("{min:.2}, {median:.2}, {max:.2}")
}

/// The least, the median and the greatest.
fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (
        figures[0],
        figures[figures.len() / 2],
        figures[figures.len() - 1],
    )
}
