//! Elements that are there already, read like any other source.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::source::{Batch, Place, Reader, Reading, Source, Stamped, WatermarkPolicy};
use crate::Result;
use crate::time::{Epoch, EventTime};

/// Elements in an epoch, where nobody says how many.
const EPOCH_EVENTS: usize = 10_000;

/// Elements in memory, in one or more partitions.
///
/// They are one sequence, cut into epochs; the workers share the elements of an epoch.
#[derive(Clone, Debug)]
pub struct Memory<T> {
    records: Arc<[Stamped<T>]>,
    /// The last record of every partition, in order.
    ends: Arc<[(usize, u32)]>,
    policy: WatermarkPolicy,
}

impl<T> Memory<T> {
    /// Elements with their event times.
    pub fn new(elements: impl IntoIterator<Item = (T, EventTime)>) -> Self {
        Self::partitioned(elements.into_iter().map(|(value, time)| (0, value, time)))
    }

    /// Elements with their partitions and event times.
    pub fn partitioned(elements: impl IntoIterator<Item = (u32, T, EventTime)>) -> Self {
        let stamp = |(partition, value, event_time)| Stamped {
            value,
            event_time,
            partition,
        };
        let records: Arc<[Stamped<T>]> = elements.into_iter().map(stamp).collect();
        let mut last = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            last.insert(record.partition, at);
        }
        let mut ends: Vec<_> = last
            .into_iter()
            .map(|(partition, at)| (at, partition))
            .collect();
        ends.sort_unstable();
        Memory {
            records,
            ends: ends.into(),
            policy: WatermarkPolicy::default(),
        }
    }

    /// How the watermark follows from event times.
    pub fn watermark(self, policy: WatermarkPolicy) -> Self {
        Memory { policy, ..self }
    }
}

impl<T: Clone + Send + Sync + 'static> Source for Memory<T> {
    type Item = T;

    fn open(&self, place: &Place) -> Result<Box<dyn Reader<T>>> {
        Ok(Box::new(MemoryReader {
            records: Arc::clone(&self.records),
            ends: Arc::clone(&self.ends),
            epoch_events: place.epoch_events.unwrap_or(EPOCH_EVENTS).max(1),
            worker: place.worker,
            workers: place.workers,
        }))
    }

    fn watermark(&self) -> WatermarkPolicy {
        self.policy
    }

    fn partitions(&self) -> Vec<u32> {
        self.ends.iter().map(|(_, partition)| *partition).collect()
    }
}

struct MemoryReader<T> {
    records: Arc<[Stamped<T>]>,
    ends: Arc<[(usize, u32)]>,
    epoch_events: usize,
    worker: usize,
    workers: usize,
}

impl<T: Clone> Reader<T> for MemoryReader<T> {
    fn read(&mut self, epoch: Epoch, _: EventTime, batch: &mut Batch<T>) -> Result<Reading> {
        let all = self.records.len();
        let epoch = usize::try_from(epoch).unwrap_or(usize::MAX);
        let start = epoch.saturating_mul(self.epoch_events).min(all);
        let end = start.saturating_add(self.epoch_events).min(all);
        let share = |worker: usize| start + (end - start) * worker / self.workers;
        let own = share(self.worker)..share(self.worker + 1);
        batch.records.extend_from_slice(&self.records[own]);
        if self.worker == 0 {
            let from = self.ends.partition_point(|(at, _)| *at < start);
            let to = self.ends.partition_point(|(at, _)| *at < end);
            let ended = self.ends[from..to].iter().map(|(_, partition)| *partition);
            batch.ended.extend(ended);
        }
        Ok(if end == all {
            Reading::Ended
        } else {
            Reading::Given
        })
    }
}
