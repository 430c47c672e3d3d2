//! `amend bench`: measures the engine on seeded workloads, and prints the figures.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::bench::{self, Rates, Settings};
use crate::testing::workload::Profile;
use crate::{Error, Result};

/// Latencies are measured at this share of the median throughput, where no rate is given.
const SHARE: f64 = 0.5;
/// And at these for a plot.
const SHARES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];

/// Measure throughput, latency and memory on seeded workloads
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The workloads, one after the other
    #[arg(
        long,
        value_name = "PROFILE",
        value_enum,
        value_delimiter = ',',
        default_value = "linq"
    )]
    profile: Vec<Profile>,

    /// Events of each workload
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,

    /// Where the random numbers of the workloads begin
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Numbers of worker threads to measure with [default: 1 and the cores]
    #[arg(short, long, value_name = "N", value_delimiter = ',', value_parser = super::parse_workers)]
    workers: Vec<usize>,

    /// How often each number of workers reads all events
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Close an epoch after this many records; while latencies are measured, after no more than these
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    epoch_events: u64,

    /// Events a second to offer while latencies are measured [default: half of the median throughput;
    /// for a plot 10, 25, 50, 75 and 90 % of it]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    rate: Vec<u64>,

    /// Read and write files in a scratch folder below this one, and not memory
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,

    /// Print one JSON document with all figures
    #[arg(long)]
    json: bool,

    /// Draw throughput by workers and latency by rate into this file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,

    /// Print no progress
    #[arg(long)]
    quiet: bool,
}

pub(super) fn bench(args: &Args) -> Result<ExitCode> {
    if let Some(plot) = &args.plot {
        check_plot(plot)?;
    }
    if let Some(disk) = args.disk.as_ref().filter(|disk| !disk.is_dir()) {
        return Err(
            Error::usage(format!("--disk {:?} is not a folder", disk.display()))
                .with_hint("name a folder that is there; files are made in a folder below it"),
        );
    }
    let notice = |text: &str| {
        if !args.quiet {
            super::notice(text);
        }
    };
    let results = bench::run(&settings(args), &notice)?;
    if let Some(plot) = &args.plot {
        std::fs::write(plot, results.to_svg()?).map_err(|error| {
            Error::unavailable(format!("could not write \"{}\"", plot.display())).with_source(error)
        })?;
        notice(&format!("the plot is in {}", plot.display()));
    }
    super::print(&match args.json {
        true => results.to_json() + "\n",
        false => results.to_table(),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &Args) -> Settings {
    let workers = match args.workers.is_empty() {
        true => vec![1, super::default_workers()],
        false => args.workers.clone(),
    };
    let rates = match (args.rate.is_empty(), args.plot.is_some()) {
        (false, _) => Rates::PerSecond(once(&args.rate)),
        (true, true) => Rates::Shares(SHARES.to_vec()),
        (true, false) => Rates::Shares(vec![SHARE]),
    };
    Settings {
        profiles: once(&args.profile),
        events: args.events,
        seed: args.seed,
        workers: once(&workers),
        rounds: args.rounds as usize,
        epoch_events: args.epoch_events,
        rates,
        disk: args.disk.clone(),
    }
}

/// Each of `items` once, where it comes first.
fn once<T: Copy + PartialEq>(items: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    for item in items {
        if !once.contains(item) {
            once.push(*item);
        }
    }
    once
}

/// Refuses what no plot can be written to, before anything is measured.
fn check_plot(plot: &Path) -> Result<()> {
    let is_svg = plot.extension().is_some_and(|extension| extension == "svg");
    if !is_svg {
        return Err(
            Error::usage(format!("--plot {:?} is not an .svg file", plot.display()))
                .with_hint("plots are SVG: give a name that ends with .svg"),
        );
    }
    let folder = plot
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if plot.is_dir() || !folder.is_dir() {
        return Err(
            Error::usage(format!("--plot {:?} cannot be written", plot.display()))
                .with_hint("name a file in a folder that is there"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        args: Args,
    }

    /// The profiles, workers and rates that `flags` ask for.
    fn asked(flags: &str) -> String {
        let words = ["bench"].into_iter().chain(flags.split_whitespace());
        let settings = settings(&Flags::try_parse_from(words).unwrap().args);
        let profiles: Vec<_> = settings
            .profiles
            .iter()
            .map(|profile| profile.name())
            .collect();
        format!("{profiles:?} {:?} {:?}", settings.workers, settings.rates)
    }

    #[test]
    fn lists_are_taken_in_order_and_once() {
        assert_eq!(
            asked("--profile hot,wide --profile hot --workers 2,1,2 --rate 100,50"),
            r#"["hot", "wide"] [2, 1] PerSecond([100, 50])"#
        );
        assert_eq!(asked("-w 1"), r#"["linq"] [1] Shares([0.5])"#);
        let plotted = r#"["linq"] [1] Shares([0.1, 0.25, 0.5, 0.75, 0.9])"#;
        assert_eq!(asked("-w 1 --plot a.svg"), plotted);
    }
}
