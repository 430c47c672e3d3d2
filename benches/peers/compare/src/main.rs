//! Runs amend and its peers on the same input, in turn, checks that they agree, and prints what
//! each of them took.
//!
//! In every round each runs once, one after the other, so that a machine that drifts drifts for
//! all; a ratio is always of one round.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use amend::testing::workload::Profile;
use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};

use crate::agreement::{Standing, expect_same_files};
use crate::child::Sample;

mod agreement;
mod child;

/// Compares amend with its peers.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, default_value_t = 4_000_000)]
    events: u64,
    #[arg(long, value_enum, default_value_t = Profile::Linq)]
    profile: Profile,
    /// JSON lines to run on in place of a generated profile.
    #[arg(long)]
    input: Option<PathBuf>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The binary of amend.
    #[arg(long)]
    amend: PathBuf,
    /// Run only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Who>,
    /// Run the slow ones in every round, and not in the first one only.
    #[arg(long)]
    all_rounds: bool,
    /// Below which folder to make the scratch folder.
    #[arg(long, default_value = ".")]
    scratch: PathBuf,
}

/// Who does the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Who {
    /// Decoding alone, by the decoder of `batch`.
    Decode1,
    Decode2,
    Batch1,
    Batch2,
    /// Feldera's engine, a parser and a worker.
    Dbsp,
    Plain,
    /// amend with two workers.
    Amend,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Decode1 => "decode only, 1 thread",
            Who::Decode2 => "decode only, 2 threads",
            Who::Batch1 => "batch, 1 thread",
            Who::Batch2 => "batch, 2 threads",
            Who::Dbsp => "dbsp, parser and 1 worker",
            Who::Plain => "plain.py",
            Who::Amend => "amend, 2 workers",
        }
    }

    fn writes_files(self) -> bool {
        !matches!(self, Who::Decode1 | Who::Decode2)
    }

    fn runs_once(self) -> bool {
        self == Who::Plain
    }
}

const DATAFLOW: &str = "\
name = \"peers\"
[source]
kind = \"jsonl\"
path = \"in.jsonl\"
[event]
stream = \"stream\"
[sink.clean]
kind = \"jsonl\"
[sink.gaps]
kind = \"jsonl\"
";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let programs = Programs::find(&arguments.amend)?;
    let scratch = tempfile::tempdir_in(&arguments.scratch)?;
    let folder = scratch.path();
    std::fs::write(folder.join("flow.toml"), DATAFLOW)?;
    let events = make_input(&arguments, &folder.join("in.jsonl"))?;

    let who: Vec<Who> = Who::value_variants()
        .iter()
        .copied()
        .filter(|who| arguments.only.is_empty() || arguments.only.contains(who))
        .filter(|who| *who != Who::Dbsp || programs.dbsp.is_file())
        .collect();
    let mut samples = BTreeMap::<Who, Vec<Sample>>::new();
    for round in 0..arguments.rounds {
        let takes_part = |who: &&Who| round == 0 || arguments.all_rounds || !who.runs_once();
        for &who in who.iter().filter(takes_part) {
            let out = folder.join(format!("{who:?}"));
            // What the round before left is not this run's to clear away.
            if out.exists() {
                std::fs::remove_dir_all(&out)?;
            }
            let sample = child::run(&mut programs.command(who, folder, &out))
                .with_context(|| format!("{} failed", who.name()))?;
            eprintln!("round {round}: {} took {:.2} s", who.name(), sample.seconds);
            samples.entry(who).or_default().push(sample);
        }
        // What was written once is written the same again, or this finds it.
        check_agreement(folder, &who).with_context(|| format!("in round {round}"))?;
    }
    print(&samples, events);
    Ok(())
}

/// Writes the input and counts its events.
fn make_input(arguments: &Arguments, path: &Path) -> Result<u64> {
    if let Some(input) = &arguments.input {
        std::fs::copy(input, path)?;
        return Ok(std::fs::read(path)?
            .iter()
            .filter(|byte| **byte == b'\n')
            .count() as u64);
    }
    let mut out = BufWriter::new(File::create(path)?);
    arguments
        .profile
        .workload(arguments.events)
        .write(&mut out)?;
    out.flush()?;
    // Writing back goes on behind the first round otherwise.
    out.get_ref().sync_all()?;
    Ok(arguments.events)
}

/// Where the programs lie.
struct Programs {
    amend: PathBuf,
    batch: PathBuf,
    dbsp: PathBuf,
    plain: PathBuf,
}

impl Programs {
    fn find(amend: &Path) -> Result<Self> {
        let own = std::env::current_exe()?;
        let folder = own.parent().context("this program lies in a folder")?;
        let batch = folder.join("batch");
        if !batch.is_file() {
            bail!(
                "{} is not there: run `cargo build --release` first",
                batch.display()
            );
        }
        let amend = amend.canonicalize();
        Ok(Programs {
            amend: amend.with_context(|| "could not find the binary of amend")?,
            batch,
            dbsp: folder.join("dbsp-peer"),
            plain: Path::new(env!("CARGO_MANIFEST_DIR")).join("../plain.py"),
        })
    }

    fn command(&self, who: Who, folder: &Path, out: &Path) -> std::process::Command {
        let (program, arguments): (&Path, &[&str]) = match who {
            Who::Decode1 => (
                &self.batch,
                &["--decode-only", "--threads", "1", "in.jsonl"],
            ),
            Who::Decode2 => (
                &self.batch,
                &["--decode-only", "--threads", "2", "in.jsonl"],
            ),
            Who::Batch1 => (&self.batch, &["--threads", "1", "in.jsonl"]),
            Who::Batch2 => (&self.batch, &["--threads", "2", "in.jsonl"]),
            Who::Dbsp => (&self.dbsp, &["--workers", "1", "in.jsonl"]),
            Who::Plain => (Path::new("python3"), &[]),
            Who::Amend => (
                &self.amend,
                &[
                    "run",
                    "flow.toml",
                    "--quiet",
                    "-w",
                    "2",
                    "--epoch-events",
                    "10000",
                    "--out",
                ],
            ),
        };
        let mut command = std::process::Command::new(program);
        command.current_dir(folder);
        if who == Who::Plain {
            command.arg(&self.plain).arg("in.jsonl");
        }
        command.args(arguments);
        if who.writes_files() {
            command.arg(out);
        }
        command
    }
}

/// Compares all outputs in `folder`; each must say what the first one says.
fn check_agreement(folder: &Path, who: &[Who]) -> Result<()> {
    let mut writers = who.iter().filter(|who| who.writes_files());
    let Some(first) = writers.next() else {
        return Ok(());
    };
    let out = |who: &Who| folder.join(format!("{who:?}"));
    let expected = Standing::read(&out(first))?;
    for other in writers {
        let pair = format!("{} and {}", first.name(), other.name());
        let file = "clean.jsonl";
        expect_same_files(&out(first).join(file), &out(other).join(file))
            .with_context(|| format!("{pair} differ in {file}"))?;
        let found = Standing::read(&out(other))?;
        expected
            .expect_same(&found)
            .with_context(|| format!("{pair} differ"))?;
    }
    Ok(())
}

fn print(samples: &BTreeMap<Who, Vec<Sample>>, events: u64) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "",
        "M events/s: min",
        "median",
        "max",
        "CPU s",
        "anonymous MiB",
        "amend/this in one round: min, median, max",
    ]);
    let amend = samples.get(&Who::Amend);
    for (who, samples) in samples {
        let rates = sorted(
            samples
                .iter()
                .map(|sample| events as f64 / sample.seconds / 1e6),
        );
        let median = |figure: fn(&Sample) -> f64| middle(&sorted(samples.iter().map(figure)));
        let ratios = amend.filter(|_| *who != Who::Amend).map(|amend| {
            // Those that ran once ran in the first round.
            let rounds = samples.iter().zip(amend);
            let ratios = sorted(rounds.map(|(this, amend)| this.seconds / amend.seconds));
            let [min, median, max] = spread(&ratios).map(ratio);
            format!("{min}, {median}, {max}")
        });
        let [min, middle, max] = spread(&rates).map(|rate| format!("{rate:.2}"));
        table.add_row([
            who.name().to_owned(),
            min,
            middle,
            max,
            format!("{:.2}", median(|sample| sample.cpu_seconds)),
            format!("{:.0}", median(|sample| sample.anonymous_mib)),
            ratios.unwrap_or_default(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}

fn ratio(ratio: f64) -> String {
    if ratio < 10.0 {
        format!("{ratio:.2}")
    } else {
        format!("{ratio:.0}")
    }
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn middle(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

fn spread(sorted: &[f64]) -> [f64; 3] {
    [sorted[0], middle(sorted), sorted[sorted.len() - 1]]
}
