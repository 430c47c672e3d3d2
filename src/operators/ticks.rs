//! What workers report of a source → the watermark and the clock after every epoch.
//!
//! **Semantics.** The tick of an epoch says what is in force once the epoch is over. Per partition
//! the watermark follows [`Watermark`]; partitions that are known but have not begun hold it back,
//! partitions that have been silent for longer than `idle_after` do not. It is the end of time once
//! every worker has reported that the source has ended.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::watermark::{Bounds, Watermark};
use crate::time::EventTime;

/// What one worker reports of a source about one epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The worker.
    pub reader: u32,
    /// Event times by partition, in order.
    pub times: Vec<(u32, Vec<i64>)>,
    /// Partitions that ended.
    pub ended: Vec<u32>,
    /// Whether the worker has nothing more to report.
    pub finished: bool,
    /// Sets the watermark.
    pub watermark: Option<i64>,
    /// Sets the clock; without one it follows the watermark.
    pub clock: Option<i64>,
}

/// How a source's progress makes ticks. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct Ticker {
    watermark: Watermark,
    workers: usize,
    finished: usize,
    /// Partitions that have not begun.
    not_begun: BTreeSet<u32>,
    /// Partitions that have begun, and the clock when they last had something.
    last_heard: BTreeMap<u32, i64>,
    idle_after: Option<i64>,
    clock: i64,
    clocked: bool,
}

impl Ticker {
    /// For a source that `workers` read, of which these partitions are known.
    pub fn new(
        bounds: Bounds,
        idle_after: Option<i64>,
        partitions: Vec<u32>,
        workers: usize,
    ) -> Self {
        Ticker {
            watermark: Watermark::new(bounds),
            workers,
            finished: 0,
            not_begun: partitions.into_iter().collect(),
            last_heard: BTreeMap::new(),
            idle_after,
            clock: i64::MIN,
            clocked: false,
        }
    }

    /// Takes note of an epoch; returns the watermark and the clock after it.
    pub fn epoch(&mut self, mut reports: Vec<Progress>) -> (i64, i64) {
        reports.sort_by_key(|report| report.reader);
        let clock = reports.iter().filter_map(|report| report.clock).max();
        self.clocked |= clock.is_some();
        self.clock = self.clock.max(clock.unwrap_or(i64::MIN));
        for (partition, times) in reports.iter().flat_map(|report| &report.times) {
            self.not_begun.remove(partition);
            self.last_heard.insert(*partition, self.clock);
            self.watermark.wake(*partition);
            for time in times {
                // However far a clock is off, only the end of the input is the end of time.
                let time = (*time).min(EventTime::END_OF_GLOBAL.0 - 1);
                self.watermark.observe(*partition, time);
            }
        }
        for partition in reports.iter().flat_map(|report| &report.ended) {
            self.not_begun.remove(partition);
            self.last_heard.remove(partition);
            self.watermark.end_partition(*partition);
        }
        if let Some(idle_after) = self.idle_after {
            let silent_since = self.clock.saturating_sub(idle_after);
            for (partition, heard) in &self.last_heard {
                if *heard < silent_since {
                    self.watermark.rest(*partition);
                }
            }
            // A partition that has never begun is idle, too, once the others have been heard for
            // long enough.
            if self
                .last_heard
                .values()
                .min()
                .is_some_and(|first| *first < silent_since)
            {
                self.not_begun.clear();
            }
        }
        if self.not_begun.is_empty() {
            self.watermark.end_epoch();
        }
        for report in &reports {
            self.watermark.raise(report.watermark);
            self.finished += usize::from(report.finished);
        }
        if self.finished >= self.workers {
            self.watermark.raise(Some(i64::MAX));
        }
        let watermark = self.watermark.get().unwrap_or(i64::MIN);
        // A source that has ended must not hold back the clock of others.
        if !self.clocked || self.finished >= self.workers {
            self.clock = self.clock.max(watermark);
        }
        (watermark, self.clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        disorder: 2,
        max_ahead: 1000,
    };

    fn report(partition: u32, times: &[i64], clock: i64) -> Vec<Progress> {
        vec![Progress {
            times: vec![(partition, times.to_vec())],
            clock: Some(clock),
            ..Progress::default()
        }]
    }

    #[test]
    fn partitions_hold_the_watermark_until_they_are_idle_or_ended() {
        let mut ticker = Ticker::new(BOUNDS, Some(10), vec![0, 1], 1);
        assert_eq!(
            ticker.epoch(report(0, &[50], 0)),
            (i64::MIN, 0),
            "1 has not begun"
        );
        assert_eq!(ticker.epoch(report(1, &[20], 1)), (18, 1));
        assert_eq!(ticker.epoch(report(0, &[60], 5)), (18, 5));
        assert_eq!(ticker.epoch(report(0, &[70], 12)), (68, 12), "1 is idle");
        assert_eq!(
            ticker.epoch(report(1, &[30], 13)),
            (68, 13),
            "it never falls"
        );
        assert_eq!(ticker.epoch(report(0, &[90], 14)), (68, 14), "1 is back");
        let ended = Progress {
            ended: vec![1],
            ..Progress::default()
        };
        assert_eq!(ticker.epoch(vec![ended]), (88, 14));
        let finished = Progress {
            finished: true,
            ..Progress::default()
        };
        assert_eq!(ticker.epoch(vec![finished]), (i64::MAX, i64::MAX));
    }

    #[test]
    fn one_bad_clock_does_not_move_the_watermark() {
        let mut ticker = Ticker::new(BOUNDS, None, vec![0], 1);
        let times: Vec<i64> = (0..200).chain([999_999]).collect();
        assert_eq!(ticker.epoch(report(0, &times, 0)).0, 197);
    }

    #[test]
    fn without_a_clock_of_its_own_the_clock_is_the_watermark() {
        let mut ticker = Ticker::new(BOUNDS, None, vec![0], 1);
        let times = Progress {
            times: vec![(0, vec![10])],
            ..Progress::default()
        };
        assert_eq!(ticker.epoch(vec![times]), (8, 8));
    }
}
