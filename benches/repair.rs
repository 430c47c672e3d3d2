//! A whole repair, in this process.
//!
//! Answers: what a small input takes from file to files and from memory to memory, with one worker
//! and with two, starting and ending the workers included. `end_to_end` measures the binary on a
//! large input, where that no longer counts. Without `--bench` (as under `cargo test --benches`)
//! everything runs once on a small input.

mod events;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use amend::repair::{Dataflow, RunOptions, Step, run, run_steps};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use events::{records, workload};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = repair
}
criterion_main!(benches);

const EPOCHS: usize = 10;

fn repair(c: &mut Criterion) {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let events = if measured { 100_000 } else { 2_000 };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    let mut group = c.benchmark_group("repair");
    group.throughput(Throughput::Elements(events));
    for streams in [64, events] {
        let dataflow = write_input(folder.path(), events, streams);
        for workers in [1, 2] {
            let id =
                |name| BenchmarkId::new(name, format!("{streams} streams, workers: {workers}"));
            let options = RunOptions {
                out: folder.path().join("out"),
                workers,
                cluster: None,
                epoch_events: Some(events / EPOCHS as u64),
                epoch_ms: None,
                progress: false,
                journal: None,
                notice: None,
            };
            group.bench_function(id("files"), |b| {
                b.iter(|| {
                    let report = run(&dataflow, &options).expect("the run succeeds");
                    assert_eq!(report.read, events, "not all was read");
                    report
                });
            });
            let steps: Vec<Step> = records(workload(events, streams))
                .chunks(events as usize / EPOCHS)
                .map(|records| Step {
                    records: records.to_vec(),
                    watermark: None,
                })
                .collect();
            group.bench_function(id("memory, with a changelog"), |b| {
                b.iter_batched(
                    || steps.clone(),
                    |steps| run_steps(&dataflow, steps, workers).expect("the run succeeds"),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

/// Writes a dataflow and its input into `folder`.
fn write_input(folder: &Path, events: u64, streams: u64) -> Dataflow {
    let text = "[source]\npath = \"in.jsonl\"\nkind = \"jsonl\"\n[event]\nstream = \"stream\"\n";
    let file = folder.join("flow.toml");
    fs::write(&file, text).expect("the dataflow is written");
    let lines = File::create(folder.join("in.jsonl")).expect("the input is created");
    let written = workload(events, streams).write(BufWriter::new(lines));
    written.expect("the input is written");
    Dataflow::from_file(&file, &[]).expect("the dataflow is right")
}
