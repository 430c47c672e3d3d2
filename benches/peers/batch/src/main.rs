//! The whole job at once: read everything, decide everything, write everything.
//!
//! What can be had without an engine, by a program that knows only this job, has all of its input
//! in advance, and gives no answer before the end. Records are decoded where they lie in the file,
//! then judged stream by stream. With `--decode-only` they are only decoded: the yardstick.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use job::outputs::{Judged, Stream};
use job::reader::{Reader, cut};

use crate::found::{Found, Known, shares};
use crate::judge::judge;

mod found;
mod judge;

/// Repairs IN, JSON lines with the field `stream`, into the folder OUT.
#[derive(Debug, Parser)]
struct Arguments {
    input: PathBuf,
    #[arg(required_unless_present = "decode_only")]
    out: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Only decode, and print how many records are well formed.
    #[arg(long)]
    decode_only: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let threads = arguments.threads.max(1);
    let map = job::map(&arguments.input)?;
    let texts = cut(&map, threads)?;
    let Some(out) = arguments.out.filter(|_| !arguments.decode_only) else {
        let decoded = on_threads(texts, |(text, offset)| {
            let mut reader = Reader::new(text, offset);
            std::iter::from_fn(|| reader.next_row())
                .filter(Option::is_some)
                .count()
        });
        println!("{}", decoded.iter().sum::<usize>());
        return Ok(());
    };

    let found = on_threads(texts, |(text, offset)| Found::read(text, offset));
    let known = Known::merge(&found);
    let shares = shares(&known, threads);
    let verdicts = on_threads(shares, |share| judge(&found, &known, share));

    let mut labels = vec![Vec::new(); found.len()];
    let mut streams = Vec::new();
    for verdict in verdicts {
        for (part, record, label) in verdict.labels {
            labels[part as usize].push((record, label));
        }
        streams.extend(verdict.gaps.into_iter().map(|(stream, gaps)| {
            let stream = &known.streams[stream as usize];
            Stream {
                name: stream.name,
                kind: stream.kind,
                gaps,
            }
        }));
    }
    let parts = found.iter().zip(labels);
    let judged: Vec<Judged<'_, '_>> = parts
        .map(|(found, labels)| Judged {
            part: &found.part,
            labels,
        })
        .collect();
    let file = arguments
        .input
        .file_name()
        .context("the input has no name")?;
    job::outputs::write(&out, &file.to_string_lossy(), &judged, &streams)?;
    // The system takes memory back faster than it is freed piece by piece.
    std::process::exit(0)
}

/// Does `job` for each item, on a thread of its own where there are several.
fn on_threads<I: Send, O: Send>(items: Vec<I>, job: impl Fn(I) -> O + Sync) -> Vec<O> {
    if items.len() == 1 {
        return items.into_iter().map(job).collect();
    }
    std::thread::scope(|scope| {
        let job = &job;
        let threads: Vec<_> = items
            .into_iter()
            .map(|item| scope.spawn(move || job(item)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, O>| {
            thread.join().expect("a thread here does not panic")
        };
        threads.into_iter().map(join).collect()
    })
}
