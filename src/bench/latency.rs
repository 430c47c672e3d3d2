//! Lines at a fixed rate, and how long each correction took.
//!
//! A thread of its own hands over each line when its time has come, however far the engine is. A
//! correction is timed from then, and not from when the engine got around to reading, so that an
//! engine that falls behind shows it in every event that waits.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;

use super::corrections::departures;
use super::figures::Percentiles;
use super::rig::{Rig, Sinks, milliseconds};
use super::workload::Lines;
use crate::Result;
use crate::io::input::{Input, Reader};
use crate::runtime::clock;

/// For how long a rate is offered at most.
const SECONDS: f64 = 10.0;
/// Of what is offered, the part at the beginning that is not timed: one in so many.
const WARM_UP: usize = 10;

/// How long corrections took while events came at a fixed rate.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Worker threads.
    pub workers: usize,
    /// The rate as a share of the median throughput, where it is one.
    pub share: Option<f64>,
    /// Events that were offered a second.
    pub offered_per_s: f64,
    /// Events that were taken a second; less than was offered where the engine fell behind.
    pub taken_per_s: f64,
    /// Events that were offered.
    pub events: u64,
    /// The epochs that the engine made of them.
    pub epochs: u64,
    /// Late ones among them, but for those of the first tenth.
    pub late_events: u64,
    /// Those of them that closed a gap.
    pub corrections: u64,
    /// From when a late event was to come to when its correction was written.
    pub took: Option<Percentiles>,
}

pub(super) fn measure(
    rig: &Rig<'_>,
    workers: usize,
    share: Option<f64>,
    rate: f64,
) -> Result<Latency> {
    let lines = rig.lines;
    let count = ((rate * SECONDS).ceil() as usize).clamp(1, lines.count());
    let times = Arc::new(Times::default());
    let paced = Paced {
        lines: lines.clone(),
        count,
        rate,
        taken: 0,
        times: Arc::clone(&times),
    };
    let open = move || Input::waiting("offered", move || Ok(Box::new(paced) as Reader));
    let sinks = Sinks::default();
    sinks.gaps.begin(0);
    let report = rig.run_live(open, count, &sinks, workers)?;
    let pages = sinks.gaps.take();
    let (begun, ended) = times.get();
    let offered = |line: usize| line < count;
    let late = || lines.late.iter().filter(|late| offered(late.line));
    let mut late_events = 0;
    let mut took = Vec::new();
    for (late, departure) in late().zip(departures(late(), &pages)?) {
        if late.line < count / WARM_UP {
            continue;
        }
        late_events += 1;
        if let Some(departure) = departure {
            took.push(milliseconds(begun + time_of(late.line, rate), departure)?);
        }
    }
    Ok(Latency {
        workers,
        share,
        offered_per_s: rate,
        taken_per_s: count as f64 / (ended - begun).as_secs_f64(),
        events: count as u64,
        epochs: report.epochs,
        late_events,
        corrections: took.len() as u64,
        took: Percentiles::of(&took),
    })
}

/// When a line is handed over, counted from the beginning.
fn time_of(line: usize, rate: f64) -> Duration {
    Duration::from_secs_f64((line + 1) as f64 / rate)
}

/// When the first line could have been handed over, and when the last was.
#[derive(Debug, Default)]
struct Times {
    begun: OnceLock<Duration>,
    ended: OnceLock<Duration>,
}

impl Times {
    fn get(&self) -> (Duration, Duration) {
        let begun = self.begun.get().copied().unwrap_or_default();
        // A rate of some lines in no time is none.
        let ended = self.ended.get().copied().unwrap_or_default();
        (begun, ended.max(begun + Duration::from_nanos(1)))
    }
}

/// Gives each line when its time has come.
struct Paced {
    lines: Lines,
    count: usize,
    rate: f64,
    taken: usize,
    times: Arc<Times>,
}

impl Read for Paced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = *self.times.begun.get_or_init(clock::since_start);
        if self.taken == self.lines.end(self.count) {
            // Asked again, it has ended before.
            let _ = self.times.ended.set(clock::since_start());
            return Ok(0);
        }
        loop {
            let since = clock::since_start().saturating_sub(begun);
            let due = ((since.as_secs_f64() * self.rate) as usize).min(self.count);
            let rest = &self.lines.bytes()[self.taken..self.lines.end(due).max(self.taken)];
            if rest.is_empty() {
                clock::sleep_until(begun + time_of(due, self.rate));
                continue;
            }
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.taken += count;
            return Ok(count);
        }
    }
}
