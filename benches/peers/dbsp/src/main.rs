//! The same job on `dbsp`, Feldera's engine: an incremental circuit that answers after each epoch.
//!
//! A thread decodes, the workers run the circuit, and the main thread takes in what each epoch
//! changed. Where there was a choice the engine was favoured: names are numbers and records are
//! offsets inside of the circuit, what it says is compared and counted outside, and the files are
//! written once, at the end.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use dbsp::circuit::CircuitConfig;
use dbsp::utils::Tup2;
use dbsp::{DBSPHandle, Runtime};
use job::EPOCH_EVENTS;
use job::outputs::{Judged, Stream};
use job::reader::Reader;

use crate::answer::Answer;
use crate::circuit::{Handles, Sighting};

mod answer;
mod circuit;

/// Repairs IN, JSON lines with the field `stream`, into the folder OUT.
#[derive(Debug, Parser)]
struct Arguments {
    input: PathBuf,
    out: PathBuf,
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// After the load, time so many late events, one by one, each until its gap is corrected.
    #[arg(long)]
    late: Option<usize>,
}

/// The decoded records of an epoch.
type Epoch = Vec<Tup2<circuit::Key, Tup2<Sighting, i64>>>;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let map = job::map(&arguments.input)?;
    let parts = job::reader::cut(&map, 1)?;
    let &[(text, offset)] = parts.as_slice() else {
        unreachable!("one part was asked for")
    };

    let mut config = CircuitConfig::with_workers(arguments.workers.max(1));
    config.allow_input_during_commit = false;
    let (mut engine, handles) = Runtime::init_circuit(config, circuit::build)?;
    let mut answer = Answer::default();
    let reader = std::thread::scope(|scope| {
        let (sender, epochs) = sync_channel(4);
        let decoder = scope.spawn(move || decode(Reader::new(text, offset), &sender));
        run(&mut engine, &handles, &mut answer, text, &epochs)?;
        anyhow::Ok(decoder.join().expect("the decoder does not panic"))
    })?;
    if let Some(events) = arguments.late {
        time_late_events(&mut engine, &handles, &mut answer, text, events)?;
    }

    let names = reader.streams.as_slice();
    let mut order: Vec<u32> = (0..names.len() as u32).collect();
    order.sort_unstable_by_key(|stream| names[*stream as usize].as_ref());
    let streams: Vec<Stream<'_>> = order
        .into_iter()
        .map(|stream| Stream {
            name: &names[stream as usize],
            kind: answer.kind(stream, &reader.kinds),
            gaps: answer.gaps_of(stream),
        })
        .collect();
    let labels = answer.labels(&reader.part);
    let file = arguments
        .input
        .file_name()
        .context("the input has no name")?;
    let judged = [Judged {
        part: &reader.part,
        labels,
    }];
    job::outputs::write(&arguments.out, &file.to_string_lossy(), &judged, &streams)?;
    // The system takes memory back faster than it is freed piece by piece.
    std::process::exit(0)
}

/// Sends epoch after epoch.
fn decode<'a>(mut reader: Reader<'a>, epochs: &SyncSender<Epoch>) -> Reader<'a> {
    loop {
        let mut epoch = Vec::with_capacity(EPOCH_EVENTS as usize);
        let mut records = 0;
        while records < EPOCH_EVENTS {
            let Some(row) = reader.next_row() else {
                break;
            };
            records += 1;
            if let Some(row) = row {
                let at = reader.part.starts[reader.part.starts.len() - 1];
                epoch.push(circuit::sighting(&row, at));
            }
        }
        // The circuit may have failed; then its error is what counts.
        if records == 0 || epochs.send(epoch).is_err() {
            return reader;
        }
    }
}

/// Runs the circuit over all epochs.
fn run(
    engine: &mut DBSPHandle,
    handles: &Handles,
    answer: &mut Answer,
    text: &[u8],
    epochs: &Receiver<Epoch>,
) -> Result<()> {
    for mut epoch in epochs {
        handles.sightings.append(&mut epoch);
        engine.transaction()?;
        answer.take_in(handles, text);
    }
    Ok(())
}

/// Feeds events that fill gaps, and prints how long the corrections took.
fn time_late_events(
    engine: &mut DBSPHandle,
    handles: &Handles,
    answer: &mut Answer,
    text: &[u8],
    events: usize,
) -> Result<()> {
    let late = answer.missing(events);
    ensure!(!late.is_empty(), "no gap is open");
    let mut micros = Vec::new();
    for (nth, row) in late.into_iter().enumerate() {
        // Behind the text, so that it is nobody's place; it is a copy of nothing.
        let at = u32::try_from(text.len() + nth).context("the input is too long")?;
        let mut epoch = vec![circuit::sighting(&row, at)];
        let begun = Instant::now();
        handles.sightings.append(&mut epoch);
        engine.transaction()?;
        let closed = answer.take_in(handles, text);
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
        ensure!(closed > 0, "a late event corrected nothing");
    }
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    eprintln!(
        "{} late events, one by one: p50 {:.0} us, p99 {:.0} us",
        micros.len(),
        at(0.5),
        at(0.99)
    );
    Ok(())
}
