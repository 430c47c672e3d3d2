//! `amend run`: runs a dataflow until its source ends, and prints the report.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::dataflow_file::DataflowFile;
use crate::repair::spec::SinkKind;
use crate::repair::{self, Cluster, Dataflow, Report, RunOptions};
use crate::{Error, ErrorKind, Result};

/// The port of process 0 where no hostfile names one; process `i` listens `i` ports above.
const FIRST_PORT: u16 = 2101;
const MAX_PROCESSES: u64 = 1024;

/// Run a dataflow until its source ends
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: DataflowFile,

    /// Where file sinks write [default: out/<name of the dataflow>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Worker threads of this process [default: the cores]
    #[arg(short, long, value_name = "N", value_parser = super::parse_workers)]
    workers: Option<usize>,

    /// Close an epoch after this many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epoch_events: Option<u64>,

    /// Close an epoch after this many milliseconds; 0 turns the clock off
    #[arg(long, value_name = "N")]
    epoch_ms: Option<u64>,

    /// This is all the input there will be
    #[arg(long = "final")]
    is_final: bool,

    /// Print no report and no progress
    #[arg(long)]
    quiet: bool,

    /// The number of processes that run this dataflow together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_PROCESSES))]
    processes: Option<u64>,

    /// The number of this process, from 0
    #[arg(long, value_name = "I", requires = "processes")]
    process: Option<u64>,

    /// A file with the host:port of each process, a line each [default: localhost, from port 2101]
    #[arg(long, value_name = "FILE", requires = "processes")]
    hostfile: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let cluster = cluster(args)?;
    let dataflow = args.file.read()?;
    let options = RunOptions {
        out: args
            .out
            .clone()
            .unwrap_or_else(|| Path::new("out").join(&dataflow.name)),
        workers: args.workers.unwrap_or_else(super::default_workers),
        // Process 0 speaks for all.
        progress: !args.quiet && cluster.as_ref().is_none_or(|cluster| cluster.process == 0),
        cluster,
        epoch_events: args.epoch_events,
        epoch_ms: args.epoch_ms,
    };
    let report = repair::run(&dataflow, &options)?;
    if options.progress {
        print_report(&dataflow, &report)?;
    }
    judge(&dataflow, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the report where it does not mix with a sink's lines.
fn print_report(dataflow: &Dataflow, report: &Report) -> Result<()> {
    let sinks = &dataflow.sinks;
    let sinks = [
        Some(sinks.clean),
        sinks.changes,
        Some(sinks.dead),
        sinks.gaps,
    ];
    let text = report.to_string();
    if sinks
        .iter()
        .flatten()
        .any(|sink| sink.kind == SinkKind::Stdout)
    {
        // A report that cannot be shown does not undo the run.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        Ok(())
    } else {
        super::print(&text)
    }
}

/// Whether the run did what it should.
fn judge(dataflow: &Dataflow, report: &Report) -> Result<()> {
    if report.stopped {
        return Err(Error::unavailable(format!(
            "the run was stopped after {} records, before its input ended",
            report.read
        ))
        .with_hint("what was read is written; run it again to read all of it"));
    }
    let Some(limit) = dataflow.dead_share else {
        return Ok(());
    };
    let dead = report.dead_records();
    let share = if report.read == 0 {
        0.0
    } else {
        dead as f64 / report.read as f64
    };
    if share > limit {
        return Err(Error::new(
            ErrorKind::TooManyDead,
            format!(
                "{dead} of {} records are dead letters, {:.2} %, \
                 where limits.dead_share = {limit} allows {:.2} %",
                report.read,
                share * 100.0,
                limit * 100.0
            ),
        )
        .with_hint("dead.jsonl says what is wrong with each; the results were written"));
    }
    Ok(())
}

/// The processes that `--processes`, `--process` and `--hostfile` describe; `None` for one.
fn cluster(args: &Args) -> Result<Option<Cluster>> {
    let Some(processes) = args.processes else {
        return Ok(None);
    };
    let process = args.process.unwrap_or(0);
    if process >= processes {
        return Err(Error::usage(format!(
            "--process {process} is not one of {processes} processes"
        ))
        .with_hint(format!("--process counts from 0 to {}", processes - 1)));
    }
    let addresses = match &args.hostfile {
        Some(path) => addresses(path, processes as usize)?,
        None => (0..processes as u16)
            .map(|process| format!("localhost:{}", FIRST_PORT + process))
            .collect(),
    };
    Ok((processes > 1).then_some(Cluster {
        process: process as usize,
        addresses,
    }))
}

/// The first `processes` lines of a hostfile.
fn addresses(path: &Path, processes: usize) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(|err| {
        Error::usage(format!("could not read the hostfile {path:?}"))
            .with_source(err)
            .with_hint("it has the host:port of each process, a line each")
    })?;
    let mut addresses = Vec::new();
    for (at, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let address = line.trim();
        let port = address
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(Error::usage(format!(
                "{}:{}:1: {address:?} is not host:port",
                path.display(),
                at + 1
            ))
            .with_hint("such as localhost:2101"));
        }
        addresses.push(address.to_owned());
    }
    if addresses.len() < processes {
        return Err(Error::usage(format!(
            "the hostfile {path:?} has {} addresses, and --processes {processes} needs {processes}",
            addresses.len()
        ))
        .with_hint("a host:port for each process, a line each"));
    }
    addresses.truncate(processes);
    Ok(addresses)
}
