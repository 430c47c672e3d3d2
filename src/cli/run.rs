//! `amend run`: runs a dataflow until its source ends, and prints the report.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::dataflow_file::DataflowFile;
use super::engine_flags::EngineFlags;
use crate::journal::Folder;
use crate::repair::spec::Keep;
use crate::repair::{self, Cluster, Dataflow, JournalOptions, Report, RunOptions};
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

    #[command(flatten)]
    engine: EngineFlags,

    /// Keep a journal in this folder, and go on from the one that is there
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,

    /// This is all the input there will be: a last line without its line end is a record too
    #[arg(long = "final")]
    is_final: bool,

    /// Standard input begins where it began the first time: skip what the journal has of it
    #[arg(long, requires = "journal")]
    stdin_from_start: bool,

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
        workers: args.engine.workers(),
        // Process 0 speaks for all.
        progress: !args.quiet && cluster.as_ref().is_none_or(|cluster| cluster.process == 0),
        cluster,
        epoch_events: args.engine.epoch_events,
        epoch_ms: args.engine.epoch_ms,
        journal: args
            .journal
            .as_deref()
            .map(|path| journal(path, args))
            .transpose()?,
        notice: (!args.quiet).then_some(super::notice as fn(&str)),
    };
    let report = repair::run(&dataflow, &options)?;
    if options.progress {
        print_report(&dataflow, &report, &options.out)?;
    }
    judge(&dataflow, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// The journal in the folder at `path`.
fn journal(path: &Path, args: &Args) -> Result<JournalOptions> {
    Ok(JournalOptions {
        storage: Arc::new(Folder::new(path)),
        name: path.display().to_string(),
        is_final: args.is_final,
        stdin_from_start: args.stdin_from_start,
    })
}

/// Prints the report, and where the files are.
pub(super) fn print_report(dataflow: &Dataflow, report: &Report, out: &Path) -> Result<()> {
    print_beside_sinks(dataflow, &format!("{report}written to {}\n", out.display()))
}

/// Prints `text` where it does not mix with a sink's lines.
pub(super) fn print_beside_sinks(dataflow: &Dataflow, text: &str) -> Result<()> {
    if dataflow.sinks.uses_stdout() {
        // A report that cannot be shown does not undo the run.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        Ok(())
    } else {
        super::print(text)
    }
}

/// Whether the run did what it should.
pub(super) fn judge(dataflow: &Dataflow, report: &Report) -> Result<()> {
    if report.stopped {
        return Err(Error::unavailable(format!(
            "the run was stopped after {} records, before its input ended",
            report.read
        ))
        .with_hint(match dataflow.keep {
            Keep::First => "what was read is written; run it again to read all of it",
            Keep::Last => {
                "with keep = \"last\" nothing is final before the end, so clean.jsonl is empty; \
                 run it again to read all of it"
            }
        }));
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::event::Reason;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        args: Args,
    }

    /// The cluster that `flags` describe, as `process of addresses`, or the error.
    fn cluster_text(flags: &str) -> String {
        let words = ["run", "f.toml"]
            .into_iter()
            .chain(flags.split_whitespace());
        let args = match Flags::try_parse_from(words) {
            Ok(flags) => flags.args,
            Err(err) => {
                return err
                    .to_string()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
            }
        };
        match cluster(&args) {
            Ok(None) => "alone".to_owned(),
            Ok(Some(cluster)) => format!("{} of {}", cluster.process, cluster.addresses.join(" ")),
            Err(err) => err.to_string(),
        }
    }

    #[test]
    fn clusters() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = folder.path().join("hosts");
        let check = |flags: &str, hosts: &str, expected: &str| {
            fs::write(&path, hosts).unwrap();
            let flags = flags.replace("HOSTS", path.to_str().unwrap());
            let text = cluster_text(&flags).replace(&format!("{}/", folder.path().display()), "");
            assert_eq!(text, expected);
        };
        check("", "", "alone");
        check("--processes 1", "", "alone");
        check("--processes 2", "", "0 of localhost:2101 localhost:2102");
        check(
            "--processes 2 --process 1",
            "",
            "1 of localhost:2101 localhost:2102",
        );
        let hosts = "--processes 2 --process 1 --hostfile HOSTS";
        check(hosts, "a:1\n\n b:2 \nc:3\n", "1 of a:1 b:2");
        check(
            hosts,
            "a:1\n",
            "the hostfile \"hosts\" has 1 addresses, and --processes 2 needs 2",
        );
        check(hosts, "a:1\n\nb:x\n", "hosts:3:1: \"b:x\" is not host:port");
        check(hosts, ":1\n", "hosts:1:1: \":1\" is not host:port");
        check(
            "--processes 2 --process 2",
            "",
            "--process 2 is not one of 2 processes",
        );
        let missing = "error: the following required arguments were not provided:";
        check("--process 0", "", missing);
        check("--hostfile HOSTS", "", missing);
        check(
            "--processes 0",
            "",
            "error: invalid value '0' for '--processes <N>': 0 is not in 1..=1024",
        );
    }

    #[test]
    fn too_many_dead_letters_are_judged_by_their_share_of_records() {
        let check = |limit: Option<f64>, read: u64, expected: Option<&str>| {
            let text = "[source]\nkind = \"stdin\"";
            let mut dataflow = Dataflow::from_text(text, Path::new("f.toml"), &[]).unwrap();
            dataflow.dead_share = limit;
            // Two of these are about records; the other speaks of a gap.
            let dead = [(Reason::BadId, 2), (Reason::GapTooWide, 7)].into();
            let report = Report {
                read,
                dead,
                ..Report::default()
            };
            let err = judge(&dataflow, &report).err();
            assert_eq!(err.as_ref().map(Error::to_string).as_deref(), expected);
            assert!(err.is_none_or(|err| err.kind().exit_code() == 4));
        };
        check(None, 2, None);
        check(Some(0.5), 4, None);
        check(
            Some(0.05),
            4,
            Some(
                "2 of 4 records are dead letters, 50.00 %, \
                 where limits.dead_share = 0.05 allows 5.00 %",
            ),
        );
    }

    #[test]
    fn a_stopped_run_has_failed() {
        let text = "[source]\nkind = \"stdin\"\n[limits]\ndead_share = 0";
        let dataflow = Dataflow::from_text(text, Path::new("f.toml"), &[]).unwrap();
        let report = Report {
            read: 7,
            stopped: true,
            ..Report::default()
        };
        let err = judge(&dataflow, &report).unwrap_err();
        assert_eq!(err.kind().exit_code(), 1);
        assert_eq!(
            err.to_string(),
            "the run was stopped after 7 records, before its input ended"
        );
    }
}
