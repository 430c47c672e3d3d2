//! A source that follows a script: elements, the watermark and the clock, one step an epoch.

use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::io::source::{Batch, Place, Reader, Reading, Source, Stamped};
use crate::time::{Epoch, EventTime};

/// A script of what happens to a pipeline. Every step is an epoch of its own.
///
/// ```
/// use amend::prelude::*;
///
/// let at = EventTime;
/// let stream = TestStream::new()
///     .add_elements([(1, at(1)), (2, at(2))])
///     .advance_watermark_to(at(10))
///     .add_elements([(3, at(3))])
///     .advance_watermark_to_infinity();
/// amend::run(&Options::default(), move |p| {
///     let windows = FixedWindows::of(micros(10)).allowed_lateness(seconds(1));
///     let counts = p
///         .read("script", stream.clone())
///         .window_into("windows", windows)
///         .count_globally("count");
///     let window = Window::new(at(0), at(10));
///     PAssert::that("on time", &counts).in_on_time_pane(window).contains_in_any_order([2]);
///     PAssert::that("late", &counts).in_late_panes(window).contains_in_any_order([3]);
///     PAssert::that("in the end", &counts).contains_in_any_order([3]);
/// })?;
/// # Ok::<(), amend::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TestStream<T> {
    steps: Arc<Vec<Step<T>>>,
}

#[derive(Clone, Debug)]
enum Step<T> {
    Elements(Vec<(T, EventTime)>),
    Watermark(EventTime),
    Clock(Duration),
}

impl<T> Default for TestStream<T> {
    fn default() -> Self {
        TestStream {
            steps: Arc::default(),
        }
    }
}

impl<T: Clone> TestStream<T> {
    /// A script in which nothing happens.
    pub fn new() -> Self {
        Self::default()
    }

    /// A bundle of elements with their event times.
    pub fn add_elements(self, elements: impl IntoIterator<Item = (T, EventTime)>) -> Self {
        self.step(Step::Elements(elements.into_iter().collect()))
    }

    /// The watermark moves; it never falls.
    pub fn advance_watermark_to(self, watermark: EventTime) -> Self {
        self.step(Step::Watermark(watermark))
    }

    /// No element follows.
    pub fn advance_watermark_to_infinity(self) -> Self {
        self.advance_watermark_to(EventTime::MAX)
    }

    /// The processing time moves; it begins at 1970-01-01T00:00:00Z.
    pub fn advance_processing_time(self, by: Duration) -> Self {
        self.step(Step::Clock(by))
    }

    fn step(mut self, step: Step<T>) -> Self {
        Arc::make_mut(&mut self.steps).push(step);
        self
    }
}

impl<T: Clone + Send + Sync + 'static> Source for TestStream<T> {
    type Item = T;

    fn open(&self, place: &Place) -> Result<Box<dyn Reader<T>>> {
        Ok(Box::new(Script {
            steps: Arc::clone(&self.steps),
            worker: place.worker,
            workers: place.workers,
            clock: EventTime(0),
        }))
    }
}

struct Script<T> {
    steps: Arc<Vec<Step<T>>>,
    worker: usize,
    workers: usize,
    clock: EventTime,
}

impl<T: Clone> Reader<T> for Script<T> {
    fn read(&mut self, epoch: Epoch, _: EventTime, batch: &mut Batch<T>) -> Result<Reading> {
        let at = usize::try_from(epoch).unwrap_or(usize::MAX);
        match self.steps.get(at) {
            None => {}
            Some(Step::Elements(elements)) => {
                // Every worker brings some, as it would be with a real source.
                let own = elements.iter().skip(self.worker).step_by(self.workers);
                batch.records.extend(own.map(|(value, event_time)| Stamped {
                    value: value.clone(),
                    event_time: *event_time,
                    partition: 0,
                }));
            }
            Some(Step::Watermark(watermark)) => batch.watermark = Some(*watermark),
            Some(Step::Clock(by)) => self.clock = self.clock + *by,
        }
        batch.clock = Some(self.clock);
        batch.is_scripted = true;
        Ok(if at >= self.steps.len() {
            Reading::Ended
        } else {
            Reading::Given
        })
    }
}
