//! Event times → the watermark of the next epoch.
//!
//! **Semantics.** The watermark of an epoch derives from the event times of earlier epochs alone.
//! Per partition it is the highest event time that counts, less the disorder; over all it is the
//! minimum over partitions that are not idle, and it never falls.
//!
//! One bad clock must not make everything late, so not every time counts: until [`SAMPLE`] records
//! of a partition were seen, their lower median is the reference, and a time more than `max_ahead`
//! beyond it does not count. From then on the reference is the highest time that counted. When
//! [`SAMPLE`] records in a row lie beyond it, they are judged like the first ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Records that show together where a partition's clock stands.
pub const SAMPLE: usize = 100;

/// How event times move a watermark. Times and distances are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// How far the watermark stays behind the highest time.
    pub disorder: i64,
    /// How far beyond the highest time a single record's time may lie and still count.
    pub max_ahead: i64,
}

/// The clock of one partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Clock {
    /// The first records' times, until there are enough.
    start: Vec<i64>,
    started: bool,
    /// The highest time that counts.
    highest: Option<i64>,
    /// The latest records, as long as all of them lie beyond what counts.
    beyond: Vec<i64>,
}

impl Clock {
    fn observe(&mut self, bounds: Bounds, time: i64) {
        if !self.started {
            self.start.push(time);
            if self.start.len() == SAMPLE {
                self.highest = highest_plausible(&mut self.start, bounds.max_ahead);
                self.started = true;
                self.start = Vec::new();
            }
            return;
        }
        let limit = self
            .highest
            .map_or(i64::MAX, |high| high.saturating_add(bounds.max_ahead));
        if time <= limit {
            self.highest = self.highest.max(Some(time));
            self.beyond.clear();
            return;
        }
        self.beyond.push(time);
        if self.beyond.len() == SAMPLE {
            let highest = highest_plausible(&mut self.beyond, bounds.max_ahead);
            self.highest = self.highest.max(highest);
            self.beyond.clear();
        }
    }

    fn highest(&mut self, bounds: Bounds) -> Option<i64> {
        if self.started {
            self.highest
        } else {
            highest_plausible(&mut self.start.clone(), bounds.max_ahead)
        }
    }
}

/// The highest of `times` that lies at most `max_ahead` beyond their lower median.
fn highest_plausible(times: &mut [i64], max_ahead: i64) -> Option<i64> {
    let middle = times.len().checked_sub(1)? / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let limit = median.saturating_add(max_ahead);
    times.iter().copied().filter(|time| *time <= limit).max()
}

/// The watermark over all partitions of an input.
///
/// ```
/// use amend::operators::watermark::{Bounds, Watermark};
///
/// let mut watermark = Watermark::new(Bounds { disorder: 2, max_ahead: 1000 });
/// assert_eq!(watermark.get(), None);
/// watermark.observe(0, 10);
/// watermark.observe(0, 99_999);
/// watermark.observe(0, 12);
/// watermark.end_epoch();
/// assert_eq!(watermark.get(), Some(10));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watermark {
    bounds: Bounds,
    clocks: BTreeMap<u32, Clock>,
    /// Partitions that are idle.
    idle: BTreeSet<u32>,
    current: Option<i64>,
}

impl Watermark {
    /// A watermark that has seen nothing.
    pub fn new(bounds: Bounds) -> Self {
        Watermark {
            bounds,
            clocks: BTreeMap::new(),
            idle: BTreeSet::new(),
            current: None,
        }
    }

    /// Takes note of a record of `partition`, in the order of the input.
    pub fn observe(&mut self, partition: u32, time: i64) {
        self.clocks
            .entry(partition)
            .or_default()
            .observe(self.bounds, time);
    }

    /// Takes note that `partition` has ended, and so no longer holds the watermark back.
    pub fn end_partition(&mut self, partition: u32) {
        self.clocks.remove(&partition);
    }

    /// Takes note that `partition` is idle, and so does not hold the watermark back until it wakes.
    pub fn rest(&mut self, partition: u32) {
        self.idle.insert(partition);
    }

    /// Takes note that `partition` is no longer idle.
    pub fn wake(&mut self, partition: u32) {
        self.idle.remove(&partition);
    }

    /// Moves the watermark to what the records so far allow.
    pub fn end_epoch(&mut self) {
        let bounds = self.bounds;
        let lowest = self
            .clocks
            .iter_mut()
            .filter(|(partition, _)| !self.idle.contains(partition))
            .filter_map(|(_, clock)| clock.highest(bounds))
            .min();
        self.raise(lowest.map(|highest| highest.saturating_sub(bounds.disorder)));
    }

    /// Moves the watermark to `time`, unless it is there already.
    pub fn raise(&mut self, time: Option<i64>) {
        self.current = self.current.max(time);
    }

    /// The watermark: `None` until a record was seen.
    pub fn get(&self) -> Option<i64> {
        self.current
    }
}
