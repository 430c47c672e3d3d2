//! All lines as fast as can be, for each number of workers in turn: a machine that drifts drifts
//! for all of them.

use serde::Serialize;

use super::figures::Spread;
use super::heap::Watch;
use super::rig::Rig;
use super::{Settings, figures};
use crate::Result;

/// How fast all events were read, judged and written.
#[derive(Clone, Debug, Serialize)]
pub struct Throughput {
    /// Worker threads.
    pub workers: usize,
    /// Events in a second of wall time, from the start of the workers to their end.
    pub events_per_s: Spread,
    /// The same of each round.
    pub rounds: Vec<f64>,
    /// The epochs of a round.
    pub epochs: u64,
    /// The most heap that lived in a round beyond what lived before it, the greatest of all rounds.
    /// An input in memory does not count.
    pub peak_bytes: Option<u64>,
}

pub(super) fn measure(
    rig: &Rig<'_>,
    settings: &Settings,
    notice: &dyn Fn(&str),
) -> Result<Vec<Throughput>> {
    let mut measured: Vec<Throughput> = settings
        .workers
        .iter()
        .map(|workers| Throughput {
            workers: *workers,
            events_per_s: Spread::default(),
            rounds: Vec::new(),
            epochs: 0,
            peak_bytes: None,
        })
        .collect();
    for round in 1..=settings.rounds {
        for throughput in &mut measured {
            let workers = throughput.workers;
            let watch = Watch::begin();
            let report = rig.run_all(workers)?;
            let peak = watch.as_ref().map(Watch::peak_bytes);
            throughput.peak_bytes = throughput.peak_bytes.max(peak);
            throughput.epochs = report.epochs;
            throughput.rounds.push(report.events_per_s());
            notice(&format!(
                "round {round} of {}, {workers} {}: {:.0} events a second",
                settings.rounds,
                figures::count("worker", workers),
                report.events_per_s()
            ));
        }
    }
    for throughput in &mut measured {
        throughput.events_per_s = Spread::of(&throughput.rounds);
    }
    Ok(measured)
}
