//! A collection that changes from epoch to epoch, with all that Beam keeps about its elements.

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::{ExchangeData, VecCollection};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::pipeline::Pipeline;
use crate::time::{Epoch, EventTime};
use crate::windowing::grouping::Now;
use crate::windowing::{PaneInfo, Strategy, Window};

/// What can be an element: plain data that can be compared, shown and sent to another worker.
pub trait Data: ExchangeData {}
impl<T: ExchangeData> Data for T {}

/// What elements can be grouped by.
pub trait Key: Data + Hash {}
impl<T: Data + Hash> Key for T {}

/// A value, and when it happened; Beam's windowed value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Element<T> {
    /// The value.
    pub value: T,
    /// When it happened.
    pub event_time: EventTime,
    /// The window that it is in; an element of several windows is several elements.
    pub window: Window,
    /// The pane that it was let through with.
    pub pane: PaneInfo,
}

impl<T> Element<T> {
    /// A value of the global window, as it comes from a source.
    pub fn new(value: T, event_time: EventTime) -> Self {
        Element {
            value,
            event_time,
            window: Window::GLOBAL,
            pane: PaneInfo::NO_FIRING,
        }
    }

    /// The same element with another value.
    pub fn with_value<U>(&self, value: U) -> Element<U> {
        Element {
            value,
            event_time: self.event_time,
            window: self.window,
            pane: self.pane,
        }
    }

    /// The same element with what `f` makes of its value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Element<U> {
        Element {
            value: f(self.value),
            event_time: self.event_time,
            window: self.window,
            pane: self.pane,
        }
    }
}

/// The watermark and the clock that are in force once an epoch is over, told to every worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// The worker that is told.
    pub(crate) worker: u64,
    pub(crate) watermark: EventTime,
    pub(crate) clock: EventTime,
}

impl Tick {
    pub(crate) fn now(self) -> Now {
        Now {
            watermark: self.watermark,
            clock: self.clock,
        }
    }
}

/// The differential collection below a [`PCollection`].
pub type Updates<'scope, T> = VecCollection<'scope, Epoch, Element<T>, isize>;

/// A collection of `T`s that changes from epoch to epoch: one differential collection, and what its
/// elements have in common.
///
/// Transforms are methods; each takes the name of the step first, which must be unique within the
/// pipeline. A transform that reads as a noun is a [`crate::transforms::PTransform`] and goes
/// through [`PCollection::apply`].
#[derive(Clone)]
pub struct PCollection<'scope, T: Data> {
    /// The differential collection.
    pub inner: Updates<'scope, T>,
    pub(crate) ticks: StreamVec<'scope, Epoch, Tick>,
    pub(crate) strategy: Rc<Strategy>,
    /// Whether no element is ever taken back.
    pub(crate) append_only: bool,
    /// Whether it holds several panes of a window of which none is ever taken back.
    pub(crate) piles_up: bool,
    pub(crate) pipeline: Pipeline<'scope>,
}

impl<'scope, T: Data> PCollection<'scope, T> {
    /// A collection that is windowed and advances as this one does.
    pub(crate) fn with<U: Data>(&self, inner: Updates<'scope, U>) -> PCollection<'scope, U> {
        PCollection {
            inner,
            ticks: self.ticks.clone(),
            strategy: Rc::clone(&self.strategy),
            append_only: self.append_only,
            piles_up: self.piles_up,
            pipeline: self.pipeline.clone(),
        }
    }

    /// Does with the differential collection what no transform does. Windows stay what they are.
    ///
    /// ```
    /// use amend::prelude::*;
    ///
    /// amend::run(&Options::default(), |p| {
    ///     let numbers = p.create("numbers", [1, 2]);
    ///     let negated = numbers.differential("negate", |inner| inner.negate());
    ///     let none = numbers.flatten("none", &[&negated]);
    ///     PAssert::that("none", &none).is_empty();
    /// })?;
    /// # Ok::<(), amend::Error>(())
    /// ```
    pub fn differential<U: Data>(
        &self,
        name: &str,
        f: impl FnOnce(Updates<'scope, T>) -> Updates<'scope, U>,
    ) -> PCollection<'scope, U> {
        self.pipeline.step(name);
        let mut output = self.with(f(self.inner.clone()));
        output.append_only = false;
        output
    }

    /// How the collection is windowed.
    pub fn strategy(&self) -> &Strategy {
        &self.strategy
    }

    /// Whether elements are only ever added, so that transforms without memory of what they said
    /// can take them.
    pub fn is_append_only(&self) -> bool {
        self.append_only
    }

    /// The pipeline that the collection is a part of.
    pub fn pipeline(&self) -> &Pipeline<'scope> {
        &self.pipeline
    }
}

impl<T: Data> Debug for PCollection<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PCollection")
            .field("strategy", &self.strategy)
            .field("append_only", &self.append_only)
            .finish_non_exhaustive()
    }
}
