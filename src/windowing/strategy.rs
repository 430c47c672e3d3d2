//! How a collection is windowed: everything but which window an element falls into.

use std::fmt;
use std::sync::Arc;

use super::merging::Merging;
use super::trigger::Trigger;
use super::window::Window;
use crate::time::EventTime;

/// How the panes of a window relate to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Accumulation {
    /// A pane holds what came since the last one.
    Discarding,
    /// A pane holds all that came so far.
    Accumulating,
    /// A pane holds all that came so far, and takes the last one back.
    #[default]
    Retracting,
}

/// The event time of a pane.
///
/// With any but the end of the window, a pane and the one that takes it back may have different
/// event times. Where such panes are put into windows again, the allowed lateness there must cover
/// the distance, or one of the two comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TimestampCombiner {
    /// The last instant of the window.
    #[default]
    EndOfWindow,
    /// The earliest event time among what came since the last pane, of what was not behind the
    /// watermark when it came; the last instant of the window where there is none.
    Earliest,
    /// As `Earliest`, after [`super::WindowFn::output_time`].
    EarliestTransformed,
    /// As `Earliest`, but the latest.
    Latest,
}

/// Whether the trigger's firing at the end of a window makes a pane when nothing has come since
/// the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum OnTimeBehavior {
    /// It does: there is an on-time pane in any case.
    #[default]
    FireAlways,
    /// Only where there is something new.
    FireIfNonEmpty,
}

/// Whether a window makes a last pane when it expires or its trigger is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ClosingBehavior {
    /// In any case.
    FireAlways,
    /// Where something came since the last pane.
    #[default]
    FireIfNonEmpty,
}

/// What [`TimestampCombiner::EarliestTransformed`] makes of an element's event time.
pub type OutputTime = Arc<dyn Fn(Window, EventTime) -> EventTime + Send + Sync>;

/// How a collection is windowed.
#[derive(Clone, Default)]
pub struct Strategy {
    /// Which windows become one.
    pub merging: Merging,
    /// When panes are produced.
    pub trigger: Trigger,
    /// How panes relate to each other.
    pub accumulation: Accumulation,
    /// For how long behind the end of its window, in microseconds of the watermark, an element is
    /// taken.
    pub allowed_lateness_us: i64,
    /// The event time of a pane.
    pub timestamp_combiner: TimestampCombiner,
    /// Whether there is always an on-time pane.
    pub on_time: OnTimeBehavior,
    /// Whether there is always a last pane.
    pub closing: ClosingBehavior,
    /// Whether a trigger may finish although elements may still come, which would be set aside.
    pub allow_unsafe: bool,
    /// See [`OutputTime`].
    pub output_time: Option<OutputTime>,
    /// The name of the window function, for messages.
    pub windows: String,
}

impl Strategy {
    /// When a window takes no more elements: at this watermark.
    pub fn expiry(&self, window: Window) -> EventTime {
        EventTime(window.end.0.saturating_add(self.allowed_lateness_us))
    }

    /// When a window can no longer be merged into another one: at this watermark.
    pub fn release(&self, window: Window) -> EventTime {
        let reach = self.merging.reach_us();
        EventTime(self.expiry(window).0.saturating_add(reach))
    }

    /// The watermarks at which something happens to a window.
    pub(super) fn marks(&self, window: Window) -> [EventTime; 3] {
        [window.end, self.expiry(window), self.release(window)]
    }

    /// Whether a key and window never has a second pane.
    pub fn fires_once(&self) -> bool {
        let at_the_end = matches!(
            self.trigger,
            Trigger::Default
                | Trigger::Never
                | Trigger::AfterWatermark {
                    early: None,
                    late: _
                }
        );
        at_the_end && self.allowed_lateness_us == 0 && !self.merging.merges()
    }

    /// The strategy of what a grouping lets through: windows are merged already, and panes go
    /// through the next grouping without waiting again.
    pub fn continuation(&self) -> Strategy {
        let reach = self.merging.reach_us();
        Strategy {
            merging: Merging::Never,
            trigger: self.trigger.continuation(),
            allowed_lateness_us: self.allowed_lateness_us.saturating_add(reach),
            allow_unsafe: true,
            output_time: None,
            ..self.clone()
        }
    }

    /// Whether elements of the two can be put together: their windows mean the same.
    pub fn is_compatible(&self, other: &Strategy) -> bool {
        self.windows == other.windows && self.merging.merges() == other.merging.merges()
    }

    /// What is wrong with the strategy, if anything is.
    pub fn fault(&self) -> Option<String> {
        if let Some(fault) = self.trigger.fault() {
            return Some(fault);
        }
        (self.allowed_lateness_us < 0).then(|| "the allowed lateness is negative".to_owned())
    }

    /// Whether the trigger may close a window that elements may still come for, so that they would
    /// be set aside.
    pub fn is_unsafe(&self) -> bool {
        let safe_end = self.trigger.finishes_with_the_window() && self.allowed_lateness_us == 0;
        self.trigger.may_finish() && !safe_end
    }
}

impl fmt::Debug for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} triggering {} {:?}",
            self.windows, self.trigger, self.accumulation
        )
    }
}
