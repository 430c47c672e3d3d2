//! Files of JSON, one value a line, as values of a type of the user.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::de::DeserializeOwned;

use super::cutter::{EpochLimits, Opened};
use super::dead_letter::{DeadLetter, Refusal};
use super::input::Input;
use super::shared_cutter::{Poll, SharedCutter};
use super::source::{Batch, Place, Reader, Reading, Source, Stamped, WatermarkPolicy};
use crate::time::{Epoch, EventTime};
use crate::{Error, Result};

/// A line longer than this is a dead letter.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// Tells when a value happened, or why it does not know.
type Clock<T> = Arc<dyn Fn(&T) -> std::result::Result<EventTime, String> + Send + Sync>;

/// Files of JSON lines, in order; `.gz` and `.zst` are read as they are. Each file is a partition.
///
/// A line that is not a `T` is a dead letter, with the reason and the place.
pub struct JsonLines<T> {
    paths: Vec<PathBuf>,
    event_time: Clock<T>,
    overlap: bool,
    policy: WatermarkPolicy,
}

impl<T> JsonLines<T> {
    /// The file at `path`. Values have no event time until [`JsonLines::event_time`] gives one.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        JsonLines {
            paths: vec![path.into()],
            event_time: Arc::new(|_| Ok(EventTime::MIN)),
            overlap: false,
            policy: WatermarkPolicy::default(),
        }
    }

    /// Reads the file at `path` after the others. Its events should have happened after theirs: see
    /// [`JsonLines::overlapping`].
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Tells when a value happened.
    pub fn event_time(self, f: impl Fn(&T) -> EventTime + Send + Sync + 'static) -> Self {
        JsonLines {
            event_time: Arc::new(move |value| Ok(f(value))),
            ..self
        }
    }

    /// Tells when a value happened, where that may fail: the line is then a dead letter with this
    /// reason.
    pub fn try_event_time(
        self,
        f: impl Fn(&T) -> std::result::Result<EventTime, String> + Send + Sync + 'static,
    ) -> Self {
        JsonLines {
            event_time: Arc::new(f),
            ..self
        }
    }

    /// Says that the files tell of the same time, as the shards of a stream do. The watermark then
    /// waits until the last of them is read; otherwise each goes on where the one before it ended.
    pub fn overlapping(self) -> Self {
        JsonLines {
            overlap: true,
            ..self
        }
    }

    /// How the watermark follows from event times.
    pub fn watermark(self, policy: WatermarkPolicy) -> Self {
        JsonLines { policy, ..self }
    }
}

impl<T> Clone for JsonLines<T> {
    fn clone(&self) -> Self {
        JsonLines {
            paths: self.paths.clone(),
            event_time: Arc::clone(&self.event_time),
            overlap: self.overlap,
            policy: self.policy,
        }
    }
}

impl<T> fmt::Debug for JsonLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned + 'static> Source for JsonLines<T> {
    type Item = T;

    fn open(&self, place: &Place) -> Result<Box<dyn Reader<T>>> {
        let cutter = place.shared.get(&place.step, || open(&self.paths, place))?;
        Ok(Box::new(LinesReader {
            step: place.step.clone(),
            labels: self.paths.iter().map(|path| label(path)).collect(),
            cutter,
            worker: place.worker,
            event_time: Arc::clone(&self.event_time),
        }))
    }

    fn watermark(&self) -> WatermarkPolicy {
        self.policy
    }

    fn partitions(&self) -> Vec<u32> {
        match self.overlap {
            true => (0..).take(self.paths.len()).collect(),
            false => Vec::new(),
        }
    }
}

fn label(path: &Path) -> String {
    path.display().to_string()
}

/// One cutter for all workers of a process.
fn open(paths: &[PathBuf], place: &Place) -> Result<SharedCutter> {
    for path in paths {
        if let Err(error) = std::fs::File::open(path) {
            return Err(Error::usage(format!(
                "step \"{}\" cannot read \"{}\"",
                place.step,
                path.display()
            ))
            .with_source(error));
        }
    }
    // The cutter outlives the source.
    let paths = paths.to_vec();
    let mut rest = paths.into_iter();
    let mut partition = 0;
    let next = Box::new(move || {
        let path = rest.next()?;
        let input = Input::open(&path, 0, Arc::new(AtomicU64::new(0)));
        partition += 1;
        Some(input.map(|input| Opened {
            input,
            partition: partition - 1,
            offset: 0,
            line: 1,
            grows: false,
        }))
    });
    let limits = EpochLimits {
        events: place.epoch_events.map(|events| events as u64),
        most_events: None,
        age: None,
        now: None,
    };
    let workers = (place.local_workers, place.workers);
    Ok(SharedCutter::new(
        next,
        limits,
        MAX_RECORD_BYTES,
        workers,
        None,
    ))
}

struct LinesReader<T> {
    step: String,
    labels: Vec<String>,
    cutter: SharedCutter,
    worker: usize,
    event_time: Clock<T>,
}

impl<T: DeserializeOwned> Reader<T> for LinesReader<T> {
    fn read(&mut self, epoch: Epoch, _: EventTime, batch: &mut Batch<T>) -> Result<Reading> {
        let part = match self.cutter.take(self.worker, epoch, true)? {
            Poll::Pending => return Ok(Reading::Pending),
            Poll::End => return Ok(Reading::Ended),
            Poll::Part(part) => part,
        };
        for index in 0..part.len() {
            let record = part.record(index);
            let partition = part.place(index).partition;
            let decoded = match record.oversize {
                Some(length) => Err(format!("{length} bytes, more than {MAX_RECORD_BYTES}")),
                None => serde_json::from_slice::<T>(record.bytes).map_err(|e| e.to_string()),
            };
            let stamped = decoded.and_then(|value| Ok(((self.event_time)(&value)?, value)));
            match stamped {
                Ok((event_time, value)) => batch.records.push(Stamped {
                    event_time,
                    value,
                    partition,
                }),
                Err(fault) => {
                    let place = part.place(index);
                    let file = &self.labels[place.partition as usize];
                    batch.dead.push(DeadLetter {
                        step: self.step.clone(),
                        reason: Refusal::Undecodable,
                        detail: format!("{file}:{}: {fault}", place.line),
                        event_time: None,
                        element: String::from_utf8_lossy(record.bytes).into_owned(),
                    });
                }
            }
        }
        if self.worker == 0 {
            batch.ended.extend(&part.ended);
        }
        let last = part.last;
        self.cutter.give_back(part);
        Ok(if last { Reading::Ended } else { Reading::Given })
    }
}
