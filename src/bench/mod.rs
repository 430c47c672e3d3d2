//! `amend bench`: how fast the engine is on a seeded workload, how soon a late event is corrected,
//! and what its memory holds.
//!
//! Every figure comes from the path that `amend run` takes: an input, the cutter, the workers, and
//! sinks for kept events, dead letters and gaps. What differs is stated: an input in memory in place
//! of a file, and writers that only count in place of files, unless a folder is given.
//!
//! - `workload`: the lines, and which of their events come late.
//! - `rig`: one run of the engine between what is measured.
//! - `throughput`: all lines as fast as can be, for each number of workers in turn.
//! - `latency`: lines at a fixed rate, and how long each correction took.
//! - `lone`: late events one by one, and what the state takes.
//! - `corrections`: which line of `gaps.jsonl` corrects what.
//! - `figures`, `heap`: medians and percentiles; bytes that live.
//! - `table`, `plot`: results for people.

mod corrections;
mod figures;
mod heap;
mod latency;
mod lone;
mod plot;
mod rig;
mod table;
mod throughput;
mod workload;

use std::path::PathBuf;

use serde::Serialize;

use crate::testing::workload::Profile;
use crate::{Error, Result};

pub use figures::{Percentiles, Spread};
pub use latency::Latency;
pub use lone::{Lone, State};
pub use throughput::Throughput;

use rig::Rig;
use workload::Lines;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The workloads.
    pub profiles: Vec<Profile>,
    /// Events of each.
    pub events: u64,
    /// Where their random numbers begin.
    pub seed: u64,
    /// How many workers, in turn.
    pub workers: Vec<usize>,
    /// How often each of them reads all events.
    pub rounds: usize,
    /// Records in an epoch; where the engine reads what comes, at most so many.
    pub epoch_events: u64,
    /// The rates at which latencies are measured.
    pub rates: Rates,
    /// Below this folder inputs and outputs are files; `None` keeps them in memory.
    pub disk: Option<PathBuf>,
}

/// Rates at which events are offered.
#[derive(Clone, Debug)]
pub enum Rates {
    /// Shares of the median throughput, by number of workers.
    Shares(Vec<f64>),
    /// Events a second.
    PerSecond(Vec<u64>),
}

impl Rates {
    /// Those that a throughput asks for: the share of it, where it is one, and events a second.
    fn of(&self, throughput: &Throughput) -> Vec<(Option<f64>, f64)> {
        match self {
            Rates::Shares(shares) => {
                let most = throughput.events_per_s.median;
                let rates = shares.iter().map(|share| (Some(*share), share * most));
                rates.collect()
            }
            Rates::PerSecond(rates) => rates.iter().map(|rate| (None, *rate as f64)).collect(),
        }
    }
}

/// All that was measured, and how.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The version of amend.
    pub version: &'static str,
    /// Where it was measured.
    pub machine: Machine,
    /// How.
    pub settings: Stated,
    /// What came of it, by workload.
    pub profiles: Vec<ProfileResults>,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// The operating system.
    pub os: &'static str,
    /// The processor's architecture.
    pub arch: &'static str,
}

/// The settings that are the same for all figures.
#[derive(Clone, Debug, Serialize)]
pub struct Stated {
    /// See [`Settings::events`].
    pub events: u64,
    /// See [`Settings::seed`].
    pub seed: u64,
    /// See [`Settings::workers`].
    pub workers: Vec<usize>,
    /// See [`Settings::rounds`].
    pub rounds: usize,
    /// See [`Settings::epoch_events`].
    pub epoch_events: u64,
    /// Whether inputs and outputs were files.
    pub on_disk: bool,
}

/// What came of one workload.
#[derive(Clone, Debug, Serialize)]
pub struct ProfileResults {
    /// Its name.
    pub profile: &'static str,
    /// Its lines.
    pub events: u64,
    /// Their length.
    pub bytes: u64,
    /// Different events among them.
    pub distinct_events: u64,
    /// Those that came after one with a higher id of their stream.
    pub late_events: u64,
    /// By number of workers.
    pub throughput: Vec<Throughput>,
    /// By number of workers and rate.
    pub latency: Vec<Latency>,
    /// Late events one by one, on one worker.
    pub lone: Lone,
    /// What is remembered, on one worker.
    pub state: Option<State>,
}

/// Measures; `notice` is told what goes on.
///
/// # Errors
/// `Usage` where the folder cannot be used, `Unavailable` where reading or writing failed or a
/// person stopped it, `Internal` where the engine gave another answer than the workload asks for.
pub fn run(settings: &Settings, notice: &dyn Fn(&str)) -> Result<Results> {
    let mut profiles = Vec::new();
    for profile in &settings.profiles {
        profiles.push(measure(*profile, settings, notice)?);
    }
    Ok(Results {
        version: env!("CARGO_PKG_VERSION"),
        machine: Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
        },
        settings: Stated {
            events: settings.events,
            seed: settings.seed,
            workers: settings.workers.clone(),
            rounds: settings.rounds,
            epoch_events: settings.epoch_events,
            on_disk: settings.disk.is_some(),
        },
        profiles,
    })
}

impl Results {
    /// One JSON document.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers under names that are text are JSON")
    }

    /// Tables for a person.
    pub fn to_table(&self) -> String {
        table::draw(self)
    }

    /// An SVG that shows throughput by workers and latency by rate.
    ///
    /// # Errors
    /// `Internal` where it cannot be drawn.
    pub fn to_svg(&self) -> Result<String> {
        plot::draw(self)
            .map_err(|error| Error::internal(format!("could not draw the plot: {error}")))
    }
}

fn measure(profile: Profile, settings: &Settings, notice: &dyn Fn(&str)) -> Result<ProfileResults> {
    let name = profile.name();
    notice(&format!("{name}: making {} events", settings.events));
    let lines = Lines::make(profile, settings.events, settings.seed)?;
    let rig = Rig::new(&lines, settings)?;
    let throughput = throughput::measure(&rig, settings, &|text| {
        notice(&format!("{name}: {text}"));
    })?;
    let mut latency = Vec::new();
    for measured in &throughput {
        for (share, rate) in settings.rates.of(measured) {
            let workers = measured.workers;
            notice(&format!(
                "{name}: {rate:.0} events a second on {workers} {}",
                figures::count("worker", workers)
            ));
            latency.push(latency::measure(&rig, workers, share, rate)?);
        }
    }
    notice(&format!("{name}: late events one by one"));
    let (lone, state) = lone::measure(&rig)?;
    Ok(ProfileResults {
        profile: name,
        events: lines.count() as u64,
        bytes: lines.bytes().len() as u64,
        distinct_events: lines.distinct,
        late_events: lines.late.len() as u64,
        throughput,
        latency,
        lone,
        state,
    })
}
