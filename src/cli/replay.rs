//! `amend replay`: runs history again, and prints the report and what would be published
//! differently.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::dataflow_file::DataflowFile;
use super::engine_flags::EngineFlags;
use super::run::{judge, print_beside_sinks, print_report};
use crate::journal::Folder;
use crate::repair::compare::compare;
use crate::repair::spec::SinkKind;
use crate::repair::{self, Bound, Dataflow, History, ReplayOptions};
use crate::{Error, EventTime, Result};

/// Run history again, from a journal or from files
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: DataflowFile,

    /// Replay the journal in this folder, which is only read, instead of the inputs
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,

    /// Where file sinks write [default: out/<name of the dataflow>-replay]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    #[command(flatten)]
    engine: EngineFlags,

    /// Begin at this epoch, or leave out what happened before this time
    #[arg(long, value_name = "EPOCH|TIME", value_parser = parse_bound)]
    from: Option<Bound>,

    /// End with this epoch, or leave out what happened after this time
    #[arg(long, value_name = "EPOCH|TIME", value_parser = parse_bound)]
    to: Option<Bound>,

    /// Let time go by as it did (1x), faster (60x), or as fast as can be (max)
    #[arg(long, value_name = "SPEED", default_value = "max", value_parser = parse_speed)]
    speed: Speed,

    /// Print what is published differently from this output folder
    #[arg(long, alias = "against", value_name = "OLD_OUT")]
    diff: Option<PathBuf>,

    /// Print no report and no progress
    #[arg(long)]
    quiet: bool,
}

/// How many times as fast as it happened; `None` as fast as can be.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Speed(Option<f64>);

pub(super) fn replay(args: &Args) -> Result<ExitCode> {
    let (dataflow, history) = history(args)?;
    let options = ReplayOptions {
        history,
        out: args
            .out
            .clone()
            .unwrap_or_else(|| Path::new("out").join(format!("{}-replay", dataflow.name))),
        workers: args.engine.workers(),
        from: args.from,
        to: args.to,
        speed: args.speed.0,
        progress: !args.quiet,
        notice: (!args.quiet).then_some(super::notice as fn(&str)),
    };
    check_folders(args, &dataflow, &options.out)?;
    let report = repair::replay(&dataflow, &options)?;
    if options.progress {
        print_report(&dataflow, &report, &options.out)?;
    }
    if let Some(old) = args.diff.as_ref().filter(|_| !report.stopped) {
        let comparison = compare(old, &options.out, &dataflow.event)?;
        let space = if args.quiet { "" } else { "\n" };
        print_beside_sinks(&dataflow, &format!("{space}{comparison}"))?;
    }
    judge(&dataflow, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// The dataflow, and where its history comes from.
fn history(args: &Args) -> Result<(Dataflow, History)> {
    let Some(journal) = &args.journal else {
        let history = History::Inputs {
            epoch_events: args.engine.epoch_events,
            epoch_ms: args.engine.epoch_ms,
        };
        return Ok((args.file.read()?, history));
    };
    if args.file.names_inputs() {
        return Err(
            Error::usage("--input and --journal both say what to replay")
                .with_hint("give one of them: a journal has the records that were read"),
        );
    }
    if args.engine.cuts_epochs() {
        return Err(
            Error::usage("--epoch-events and --epoch-ms do not apply to a journal").with_hint(
                "a journal is replayed in its own epochs; to cut others, replay the files (--input)",
            ),
        );
    }
    // Its inputs may be long gone.
    let dataflow = args.file.read_without_inputs()?;
    let storage = Arc::new(Folder::existing(journal)?);
    Ok((dataflow, History::Journal(storage)))
}

/// Refuses to write over what is to be read, and a comparison that cannot be.
fn check_folders(args: &Args, dataflow: &Dataflow, out: &Path) -> Result<()> {
    let hint = "choose another output folder with --out DIR";
    if args.journal.as_ref().is_some_and(|path| is_same(path, out)) {
        let message = format!("the journal {:?} is the output folder too", out.display());
        return Err(Error::usage(message).with_hint(hint));
    }
    let Some(old) = &args.diff else {
        return Ok(());
    };
    if is_same(old, out) {
        let message = format!(
            "--diff {:?} is the folder that the replay writes to",
            old.display()
        );
        return Err(Error::usage(message).with_hint(hint));
    }
    if dataflow.sinks.clean.kind != SinkKind::Jsonl {
        return Err(
            Error::usage("--diff compares files, and the clean sink writes none")
                .with_hint("use kind = \"jsonl\" in [sink.clean]"),
        );
    }
    let missing = ["clean.jsonl", "dead.jsonl"]
        .into_iter()
        .find(|name| !old.join(name).is_file());
    if let Some(name) = missing {
        return Err(
            Error::usage(format!("--diff {:?} has no {name}", old.display()))
                .with_hint("name the output folder of a run or a replay"),
        );
    }
    Ok(())
}

/// Whether two paths are one folder that is there.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn parse_bound(text: &str) -> std::result::Result<Bound, String> {
    if let Ok(epoch) = text.parse() {
        return Ok(Bound::Epoch(epoch));
    }
    let time = EventTime::parse(text).map(Bound::Time);
    time.ok_or_else(|| {
        "give the number of an epoch, or a time such as 2026-05-20T12:00:00Z".to_owned()
    })
}

fn parse_speed(text: &str) -> std::result::Result<Speed, String> {
    if text == "max" {
        return Ok(Speed(None));
    }
    let times = text.strip_suffix('x');
    let times = times.and_then(|times| times.parse::<f64>().ok());
    match times.filter(|times| times.is_finite() && *times > 0.0) {
        Some(times) => Ok(Speed(Some(times))),
        None => Err("give max, or how many times as fast as it happened, such as 60x".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_epochs_or_times() {
        let time = |micros| Ok(Bound::Time(EventTime(micros)));
        assert_eq!(parse_bound("12"), Ok(Bound::Epoch(12)));
        assert_eq!(parse_bound("1970-01-01T00:00:01Z"), time(1_000_000));
        assert_eq!(parse_bound("1970-01-01 01:00:00+01:00"), time(0));
        for wrong in ["", "-1", "1.5", "noon", "99999999999999999999"] {
            assert!(parse_bound(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn speeds_are_factors() {
        assert_eq!(parse_speed("max"), Ok(Speed(None)));
        assert_eq!(parse_speed("1x"), Ok(Speed(Some(1.0))));
        assert_eq!(parse_speed("0.5x"), Ok(Speed(Some(0.5))));
        for wrong in ["", "x", "fast", "0x", "-1x", "60", "NaNx", "infx"] {
            assert!(parse_speed(wrong).is_err(), "{wrong:?}");
        }
    }
}
