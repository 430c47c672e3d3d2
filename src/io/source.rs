//! What a pipeline reads from: records with their event times, partition by partition.
//!
//! A source is opened once on every worker. In each epoch it is asked for what this worker reads of
//! it; the watermark is derived from what all of them report.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::dead_letter::DeadLetter;
use crate::time::{Epoch, EventTime};
use crate::{Error, Result};

/// What a pipeline reads from.
pub trait Source: Clone + Send + Sync + 'static {
    /// What it gives.
    type Item;

    /// Opens the worker's end of it.
    ///
    /// # Errors
    /// Where it cannot be opened.
    fn open(&self, place: &Place) -> Result<Box<dyn Reader<Self::Item>>>;

    /// How the watermark follows from event times.
    fn watermark(&self) -> WatermarkPolicy {
        WatermarkPolicy::default()
    }

    /// The partitions that are known; they hold the watermark back until they have begun.
    fn partitions(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Whether records come as time goes by, so that an epoch does not wait for them.
    fn is_live(&self) -> bool {
        false
    }
}

/// One worker's end of a source.
pub trait Reader<T> {
    /// Reads what belongs to `epoch`, counted for this source from 0 as long as it answers
    /// [`Reading::Pending`] never; `now` is the clock, for sources that are live.
    ///
    /// # Errors
    /// Where reading failed.
    fn read(&mut self, epoch: Epoch, now: EventTime, batch: &mut Batch<T>) -> Result<Reading>;
}

/// What came of asking for an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// What belongs to the epoch is in the batch.
    Given,
    /// It is not there yet; ask again. A live source has nothing now.
    Pending,
    /// As `Given`, and nothing follows.
    Ended,
}

/// What one worker reads of a source in one epoch.
#[derive(Clone, Debug)]
pub struct Batch<T> {
    /// Records by partition, in order.
    pub records: Vec<Stamped<T>>,
    /// Records that could not be decoded.
    pub dead: Vec<DeadLetter>,
    /// Partitions that ended, which no longer hold the watermark back.
    pub ended: Vec<u32>,
    /// Whether event times say nothing about the watermark, because the source sets it itself.
    pub is_scripted: bool,
    /// Sets the watermark, for sources that know it themselves.
    pub watermark: Option<EventTime>,
    /// Sets the clock, for sources that know it themselves.
    pub clock: Option<EventTime>,
}

/// A record with what the engine must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped<T> {
    /// The record.
    pub value: T,
    /// When it happened.
    pub event_time: EventTime,
    /// The partition that it comes from.
    pub partition: u32,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Batch {
            records: Vec::new(),
            dead: Vec::new(),
            ended: Vec::new(),
            is_scripted: false,
            watermark: None,
            clock: None,
        }
    }
}

/// How the watermark follows from event times.
///
/// Per partition it is the highest event time seen, less the disorder; over all it is the minimum
/// over partitions that have not ended and are not idle. A single time more than `max_ahead` beyond
/// the others does not count: one bad clock must not make everything late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkPolicy {
    /// How far the watermark stays behind the highest event time.
    pub disorder: Duration,
    /// How far beyond the others a single event time may lie and still count.
    pub max_ahead: Duration,
    /// For how long of the clock a partition may be silent before it no longer holds the watermark
    /// back.
    pub idle_after: Option<Duration>,
}

impl Default for WatermarkPolicy {
    fn default() -> Self {
        WatermarkPolicy {
            disorder: Duration::ZERO,
            max_ahead: Duration::from_secs(24 * 60 * 60),
            idle_after: None,
        }
    }
}

/// Where a source is opened.
#[derive(Clone, Debug)]
pub struct Place {
    /// The step that reads it.
    pub step: String,
    /// This worker, of all workers.
    pub worker: usize,
    /// All workers.
    pub workers: usize,
    /// The workers of this process.
    pub local_workers: usize,
    /// Records in an epoch; `None` lets the source choose.
    pub epoch_events: Option<usize>,
    /// What the workers of this process have in common.
    pub shared: Shared,
}

/// Values that the workers of a process have in common, by the name of a step.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>>);

impl Shared {
    /// The value of `step`, which the first worker that asks for it makes.
    ///
    /// # Errors
    /// What `make` returns, or `Internal` where the step has a value of another type.
    pub fn get<V: Clone + Send + Sync + 'static>(
        &self,
        step: &str,
        make: impl FnOnce() -> Result<V>,
    ) -> Result<V> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = match values.get(step) {
            Some(value) => Arc::clone(value),
            None => {
                let value: Arc<dyn Any + Send + Sync> = Arc::new(make()?);
                values.insert(step.to_owned(), Arc::clone(&value));
                value
            }
        };
        match value.downcast_ref::<V>() {
            Some(value) => Ok(value.clone()),
            None => Err(Error::internal(format!(
                "two steps share the name \"{step}\""
            ))),
        }
    }
}
