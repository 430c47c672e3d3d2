//! Windows with all that belongs to them: triggers, lateness, accumulation.

use std::fmt::Debug;
use std::time::Duration;

use super::merging::Merging;
use super::strategy::{Accumulation, ClosingBehavior, OnTimeBehavior, Strategy, TimestampCombiner};
use super::trigger::Trigger;
use super::window::Window;
use super::window_fn::{
    CalendarWindows, FixedWindows, GlobalWindows, Sessions, SlidingWindows, WindowFn,
};
use crate::time::{EventTime, micros};

/// Windows with all that belongs to them; windows alone mean: one pane when the watermark passes
/// the end of the window, no lateness, and retractions.
///
/// ```
/// use amend::prelude::*;
///
/// let per_minute = FixedWindows::of(minutes(1))
///     .triggering(
///         Trigger::after_watermark()
///             .early(Trigger::after_count(100))
///             .late(Trigger::after_count(1)),
///     )
///     .allowed_lateness(hours(1));
///
/// amend::run(&Options::default(), move |p| {
///     let at = EventTime::from_seconds;
///     let clicks = [(("ann", 1), at(10)), (("bob", 2), at(30)), (("ann", 3), at(70))];
///     let clicks = clicks.map(|((who, n), at)| ((who.to_owned(), n), at));
///     let sums = p
///         .create_timestamped("clicks", clicks)
///         .window_into("per-minute", per_minute.clone())
///         .sum_per_key("sums");
///     PAssert::that("sums", &sums).in_window(Window::new(at(0), at(60))).contains_in_any_order([
///         ("ann".to_owned(), 1),
///         ("bob".to_owned(), 2),
///     ]);
/// })?;
/// # Ok::<(), amend::Error>(())
/// ```
#[derive(Clone)]
pub struct Windowing<W> {
    windows: W,
    strategy: Strategy,
}

impl<W> Windowing<W> {
    /// These windows.
    pub fn of(windows: W) -> Self {
        Windowing {
            windows,
            strategy: Strategy::default(),
        }
    }

    /// When panes are let through.
    pub fn triggering(mut self, trigger: Trigger) -> Self {
        self.strategy.trigger = trigger;
        self
    }

    /// How panes relate to each other.
    pub fn accumulation(mut self, accumulation: Accumulation) -> Self {
        self.strategy.accumulation = accumulation;
        self
    }

    /// For how long behind the end of its window an element is taken. What comes later is a dead
    /// letter.
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.strategy.allowed_lateness_us = micros(lateness);
        self
    }

    /// The event time of panes.
    pub fn timestamp_combiner(mut self, combiner: TimestampCombiner) -> Self {
        self.strategy.timestamp_combiner = combiner;
        self
    }

    /// Whether there is always an on-time pane.
    pub fn on_time(mut self, behavior: OnTimeBehavior) -> Self {
        self.strategy.on_time = behavior;
        self
    }

    /// Whether there is always a last pane.
    pub fn closing(mut self, behavior: ClosingBehavior) -> Self {
        self.strategy.closing = behavior;
        self
    }

    /// Takes a trigger that may finish although elements may still come: they are dead letters.
    pub fn allow_unsafe_trigger(mut self) -> Self {
        self.strategy.allow_unsafe = true;
        self
    }
}

impl<T, W: WindowFn<T>> WindowFn<T> for Windowing<W> {
    fn assign(&self, value: &T, at: EventTime, each: impl FnMut(Window)) {
        self.windows.assign(value, at, each);
    }

    fn merging(&self) -> Merging {
        self.windows.merging()
    }

    fn output_time(&self, window: Window, at: EventTime) -> EventTime {
        self.windows.output_time(window, at)
    }

    fn fault(&self) -> Option<String> {
        self.windows.fault().or_else(|| self.strategy.fault())
    }

    fn strategy(&self) -> Strategy {
        self.strategy.clone()
    }
}

impl<W: Debug> Debug for Windowing<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Windows that mean the same are the same, whatever lets their panes through.
        self.windows.fmt(f)
    }
}

macro_rules! with_windowing {
    ($($windows:ty),*) => {$(
        impl $windows {
            /// When panes are let through; see [`Windowing::triggering`].
            pub fn triggering(self, trigger: Trigger) -> Windowing<Self> {
                Windowing::of(self).triggering(trigger)
            }

            /// How panes relate to each other; see [`Windowing::accumulation`].
            pub fn accumulation(self, accumulation: Accumulation) -> Windowing<Self> {
                Windowing::of(self).accumulation(accumulation)
            }

            /// The event time of panes; see [`Windowing::timestamp_combiner`].
            pub fn timestamp_combiner(self, combiner: TimestampCombiner) -> Windowing<Self> {
                Windowing::of(self).timestamp_combiner(combiner)
            }

            /// For how long an element is taken; see [`Windowing::allowed_lateness`].
            pub fn allowed_lateness(self, lateness: Duration) -> Windowing<Self> {
                Windowing::of(self).allowed_lateness(lateness)
            }
        }
    )*};
}
with_windowing!(
    GlobalWindows,
    FixedWindows,
    SlidingWindows,
    Sessions,
    CalendarWindows
);
