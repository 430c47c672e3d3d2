//! A window: a stretch of event time by which elements are grouped.

use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// A stretch of event time, from `start` to just before `end`.
///
/// ```
/// use amend::prelude::*;
/// let window = Window::new(EventTime(0), EventTime(10));
/// assert!(window.contains(EventTime(9)) && !window.contains(EventTime(10)));
/// assert_eq!(window.max_timestamp(), EventTime(9));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first instant in the window.
    pub start: EventTime,
    /// The first instant after it.
    pub end: EventTime,
}

impl Window {
    /// All of time, but for the last day: so that the end of the input lies behind it.
    pub const GLOBAL: Window = Window {
        start: EventTime(i64::MIN),
        end: EventTime::END_OF_GLOBAL,
    };

    /// The window from `start` to just before `end`.
    pub fn new(start: EventTime, end: EventTime) -> Self {
        Window { start, end }
    }

    /// The last instant in the window: one microsecond before its end.
    pub fn max_timestamp(self) -> EventTime {
        EventTime(self.end.0.saturating_sub(1))
    }

    /// Whether `time` lies in the window.
    pub fn contains(self, time: EventTime) -> bool {
        self.start <= time && time < self.end
    }

    /// Whether the two have an instant in common.
    pub fn overlaps(self, other: Window) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The shortest window that holds both.
    pub fn span(self, other: Window) -> Window {
        Window::new(self.start.min(other.start), self.end.max(other.end))
    }
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Window::GLOBAL {
            return f.write_str("[global]");
        }
        write!(f, "[{}, {})", self.start, self.end)
    }
}
