//! The whole job as a user runs it: the binary, from file to files.
//!
//! Answers: how many events a second with one worker and with two, beside decoding alone; how much
//! memory; and what ids at the ends of their range cost. Runs are interleaved, so that a machine
//! that drifts drifts for all. Without `--bench` (as under `cargo test --benches`) it runs once on
//! a small input, to show that it works.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use amend::event::{Decoder, EventSpec, FieldPath};
use amend::testing::workload::Workload;

const BINARY: &str = env!("CARGO_BIN_EXE_amend");
const DATAFLOW: &str =
    "[source]\npath = \"in.jsonl\"\nkind = \"jsonl\"\n[event]\nstream = \"stream\"\n";

/// What one run took.
#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    peak_kib: u64,
}

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let events = std::env::var("AMEND_EVENTS")
        .ok()
        .and_then(|events| events.parse().ok());
    let events = events.unwrap_or(if measured { 4_000_000 } else { 2_000 });
    let rounds = if measured { 5 } else { 1 };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let folder = tempfile::tempdir().expect("a scratch folder");
    let lines = write_input(&folder.path().join("linq"), Workload::linq(events), &[]);
    println!(
        "{events} events, {} bytes, seed 1, {cores} cores, {rounds} rounds",
        lines.len()
    );

    let mut figures: Vec<(&str, Vec<Sample>)> = [
        "decode, 1 thread",
        "decode, 2 threads",
        "amend, 1 worker",
        "amend, 2 workers",
    ]
    .map(|name| (name, Vec::new()))
    .into();
    for _ in 0..rounds {
        figures[0].1.push(decode_alone(&lines, 1));
        figures[1].1.push(decode_alone(&lines, 2));
        figures[2].1.push(run(&folder.path().join("linq"), 1));
        figures[3].1.push(run(&folder.path().join("linq"), 2));
    }
    drop(lines);
    println!(
        "\n{:<20} {:>8} {:>8} {:>8}  M events/s   {:>6}",
        "", "min", "median", "max", "MiB"
    );
    for (name, samples) in &figures {
        let rate = |seconds: f64| events as f64 / seconds / 1e6;
        let (least, median, most) = spread(samples, |sample| sample.seconds);
        let memory = spread(samples, |sample| sample.peak_kib as f64 / 1024.0).1;
        let (min, median, max) = (rate(most), rate(median), rate(least));
        println!(
            "{name:<20} {min:>8.2} {median:>8.2} {max:>8.2}  {:>12} {memory:>6.0}",
            ""
        );
    }

    // Gaps as wide as can be, beside the same input without them.
    let few = events / 4;
    let event = |id: i64| {
        format!(
            "{{\"event_id\":{id},\"stream\":\"tenant-0000\",\"type\":\"CRM_Sync\",\
             \"timestamp\":\"2025-02-09T12:00:00\",\"valid\":true}}\n"
        )
    };
    let extremes = [i64::MIN, i64::MAX, 1_000_000_000_000].map(event);
    write_input(&folder.path().join("plain"), Workload::linq(few), &[]);
    write_input(
        &folder.path().join("extreme"),
        Workload::linq(few),
        &extremes,
    );
    let (mut plain, mut extreme) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain.push(run(&folder.path().join("plain"), 2));
        extreme.push(run(&folder.path().join("extreme"), 2));
    }
    let seconds = |samples: &[Sample]| spread(samples, |sample| sample.seconds).1;
    let memory = |samples: &[Sample]| spread(samples, |sample| sample.peak_kib as f64).1;
    println!(
        "\nids at both ends of i64 and a gap of 10^12 among {few} events: \
         {:.2} times the time, {:.2} times the memory",
        seconds(&extreme) / seconds(&plain),
        memory(&extreme) / memory(&plain),
    );
}

/// Writes a dataflow and its input into `folder`: the workload, with `more` lines in its midst.
fn write_input(folder: &Path, workload: Workload, more: &[String]) -> Vec<u8> {
    let mut lines = Vec::new();
    workload.write(&mut lines).expect("memory takes the lines");
    let middle = lines.len() / 2;
    let at = lines[middle..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |at| middle + at + 1);
    lines.splice(at..at, more.concat().into_bytes());
    std::fs::create_dir_all(folder).expect("a folder for the input");
    std::fs::write(folder.join("flow.toml"), DATAFLOW).expect("the dataflow is written");
    let file = std::fs::File::create(folder.join("in.jsonl")).expect("the input is created");
    BufWriter::new(file)
        .write_all(&lines)
        .expect("the input is written");
    lines
}

/// Runs the binary on the dataflow in `folder`.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn run(folder: &Path, workers: usize) -> Sample {
    let begun = Instant::now();
    let mut child = Command::new(BINARY)
        .args([
            "run",
            "flow.toml",
            "--out",
            "out",
            "--quiet",
            "-w",
            &workers.to_string(),
        ])
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut peak_kib = 0;
    let status = loop {
        // The peak is gone with the process, so it is read while the process lives.
        peak_kib = peak_of(child.id()).unwrap_or(peak_kib);
        if let Some(status) = child.try_wait().expect("the binary can be waited for") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success(), "the run failed: {status}");
    Sample {
        seconds: begun.elapsed().as_secs_f64(),
        peak_kib,
    }
}

fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Decodes every line and does nothing with it.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn decode_alone(lines: &[u8], threads: usize) -> Sample {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let mut rest = lines;
        for thread in (1..=threads).rev() {
            let share = rest.len() / thread;
            let end = rest[share..]
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            let (mine, others) = rest.split_at((share + end).min(rest.len()));
            rest = others;
            scope.spawn(move || {
                let mut decoder = Decoder::new(event_spec());
                let mut decoded = 0_u64;
                for line in mine.split(|byte| *byte == b'\n') {
                    decoded += u64::from(decoder.decode(line).is_ok());
                }
                assert!(decoded > 0, "nothing was decoded");
            });
        }
    });
    Sample {
        seconds: begun.elapsed().as_secs_f64(),
        peak_kib: 0,
    }
}

fn event_spec() -> EventSpec {
    EventSpec {
        stream: vec![FieldPath::Name("stream".to_owned())],
        ..EventSpec::default()
    }
}

/// The least, the median and the greatest of a figure.
fn spread(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = samples.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    (
        figures[0],
        figures[figures.len() / 2],
        figures[figures.len() - 1],
    )
}
