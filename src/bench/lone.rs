//! Late events one by one, and what the state takes.
//!
//! One worker, and no other thread: the worker asks for bytes when it looks for input, and is given
//! the next late event when the correction of the one before was written. So what is timed is the way
//! of one event through reader, engine and sink, with nothing before it and nobody to wake.
//!
//! The load before is all lines but those late events. When it is written, and the dataflow still
//! stands, what lives is what the engine remembers of it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::corrections::departures;
use super::figures::Percentiles;
use super::heap;
use super::rig::{Rig, Sinks, milliseconds};
use super::workload::{Late, Lines};
use crate::io::input::{Fill, Input};
use crate::runtime::clock;
use crate::{Error, Result};

/// Late events that are held back, where there are so many.
const EVENTS: usize = 2_000;
/// How often a worker may look for input in vain before something is wrong: it waits for up to a
/// millisecond between two looks.
const PATIENCE: u32 = 60_000;
/// What lives is read for the first time when one in so many lines was written.
const EARLY: usize = 10;

/// How long the corrections of late events took that came one by one.
#[derive(Clone, Debug, Serialize)]
pub struct Lone {
    /// The records before them.
    pub after_events: u64,
    /// How many there were.
    pub corrections: u64,
    /// From when an event was handed over to when its correction was written.
    pub took: Option<Percentiles>,
}

/// What the engine remembers: of every event its id, time and fingerprint; of every stream its name,
/// its types and its gaps with what was inferred for them.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Different events that it remembers.
    pub distinct_events: u64,
    /// What lives because of them, with the buffers that the next epochs will use: of lines, rows
    /// and pages.
    pub live_bytes: u64,
    /// The same by events.
    pub bytes_per_event: f64,
    /// What was added from a tenth of the events on, by those events: buffers do not grow.
    pub growing_bytes_per_event: f64,
}

pub(super) fn measure(rig: &Rig<'_>) -> Result<(Lone, Option<State>)> {
    let lines = rig.lines;
    let held = hold_back(&lines.late);
    let sinks = Sinks::default();
    let load = lines.count() - held.len();
    let script = Script {
        lines: lines.clone(),
        held: held.iter().map(|late| late.line).collect(),
        sinks: sinks.clone(),
        next_line: 0,
        next_held: 0,
        looked: 0,
        progress: Arc::new(Mutex::new(Progress {
            handed: Vec::with_capacity(held.len()),
            readings: Vec::with_capacity(2),
        })),
    };
    let progress = Arc::clone(&script.progress);
    let before = heap::live_bytes();
    let mut script = script;
    let supply = move |buffer: &mut Vec<u8>, most: usize| script.supply(buffer, most);
    let open = move || Input::polled("one by one", Box::new(supply));
    rig.run_live(open, lines.count(), &sinks, 1)?;
    let pages = sinks.gaps.take();
    let progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    let mut took = Vec::new();
    let departures = departures(held.iter().copied(), &pages)?;
    for (handed, departure) in progress.handed.iter().zip(departures) {
        let departure = departure
            .ok_or_else(|| Error::internal("a late event was written and not corrected"))?;
        took.push(milliseconds(*handed, departure)?);
    }
    let lone = Lone {
        after_events: load as u64,
        corrections: took.len() as u64,
        took: Percentiles::of(&took),
    };
    Ok((
        lone,
        before.and_then(|before| state(before, &progress.readings)),
    ))
}

/// What was read of the heap when some events were remembered.
#[derive(Clone, Copy, Debug)]
struct Reading {
    distinct_events: u64,
    live_bytes: u64,
}

fn state(before: u64, readings: &[Reading]) -> Option<State> {
    let (early, end) = (readings.first()?, readings.last()?);
    let live_bytes = end.live_bytes.saturating_sub(before);
    let grown = end.live_bytes.saturating_sub(early.live_bytes);
    let events = end.distinct_events - early.distinct_events;
    Some(State {
        distinct_events: end.distinct_events,
        live_bytes,
        bytes_per_event: live_bytes as f64 / end.distinct_events.max(1) as f64,
        growing_bytes_per_event: grown as f64 / events.max(1) as f64,
    })
}

/// Late events from all over the lines, in order; none that comes twice, since its copy would close
/// its gap.
fn hold_back(late: &[Late]) -> Vec<&Late> {
    let single: Vec<&Late> = late.iter().filter(|late| !late.copied).collect();
    let count = single.len().min(EVENTS);
    (0..count)
        .map(|nth| single[nth * single.len() / count])
        .collect()
}

/// What the worker is given when it asks.
struct Script {
    lines: Lines,
    /// The numbers of the lines that are held back, in order.
    held: Vec<usize>,
    sinks: Sinks,
    next_line: usize,
    /// Of `held`, those that were passed over, and then those that were handed over.
    next_held: usize,
    /// How often it was asked in vain.
    looked: u32,
    progress: Arc<Mutex<Progress>>,
}

/// What is known when it is over.
#[derive(Debug)]
struct Progress {
    /// When each late event was handed over.
    handed: Vec<Duration>,
    /// What lived when a tenth and when all of the load was written.
    readings: Vec<Reading>,
}

impl Script {
    fn supply(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<Fill> {
        let progress = Arc::clone(&self.progress);
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let stops = [self.lines.count() / EARLY, self.lines.count()];
        while let Some(stop) = stops.get(progress.readings.len()) {
            let count = self.load(*stop, buffer, most);
            if count > 0 {
                return Ok(Fill::Bytes(count));
            }
            // Every record is a line of the one or of the other.
            let written = self.sinks.clean.lines() + self.sinks.dead.lines();
            let passed_over = self.held.iter().take_while(|line| *line < stop).count();
            if written < (stop - passed_over) as u64 {
                return self.wait();
            }
            progress.readings.push(Reading {
                distinct_events: self.sinks.clean.lines(),
                live_bytes: heap::live_bytes().unwrap_or_default(),
            });
            if progress.readings.len() == stops.len() {
                self.sinks.gaps.begin(self.held.len());
            }
        }
        let handed = &mut progress.handed;
        if self.sinks.gaps.count() < handed.len() {
            return self.wait();
        }
        let Some(line) = self.held.get(handed.len()) else {
            return Ok(Fill::End);
        };
        self.looked = 0;
        let line = &self.lines.bytes()[self.lines.range(*line)];
        handed.push(clock::since_start());
        buffer.extend_from_slice(line);
        Ok(Fill::Bytes(line.len()))
    }

    /// Appends lines of the load before `stop`; returns how many bytes they have.
    fn load(&mut self, stop: usize, buffer: &mut Vec<u8>, most: usize) -> usize {
        let before = buffer.len();
        while self.next_line < stop {
            if self.held.get(self.next_held) == Some(&self.next_line) {
                self.next_held += 1;
                self.next_line += 1;
                continue;
            }
            let line = &self.lines.bytes()[self.lines.range(self.next_line)];
            if buffer.len() - before + line.len() > most {
                break;
            }
            buffer.extend_from_slice(line);
            self.next_line += 1;
        }
        let count = buffer.len() - before;
        if count > 0 {
            self.looked = 0;
        }
        count
    }

    fn wait(&mut self) -> io::Result<Fill> {
        self.looked += 1;
        if self.looked < PATIENCE {
            return Ok(Fill::Pending);
        }
        Err(io::Error::other("what was handed over is not written"))
    }
}
