//! The two times of the engine: when something happened, and when the engine says so.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

/// timely's logical time in amend: the unit of progress and of commits.
///
/// An epoch is a run of consecutive records of the input; epochs are numbered from 0.
pub type Epoch = u64;

/// When an event happened: microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before everything: the watermark before anything is known.
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// After everything: the watermark at the end of the input.
    pub const MAX: EventTime = EventTime(i64::MAX);
    /// Where the global window ends: a day before the end of time, so that the end of the input lies
    /// behind it. No event time moves a watermark this far.
    pub const END_OF_GLOBAL: EventTime = EventTime(i64::MAX - 24 * 60 * 60 * 1_000_000);

    /// This many seconds after 1970-01-01T00:00:00Z.
    pub fn from_seconds(seconds: i64) -> Self {
        EventTime(seconds.saturating_mul(1_000_000))
    }

    /// This many milliseconds after 1970-01-01T00:00:00Z.
    pub fn from_millis(millis: i64) -> Self {
        EventTime(millis.saturating_mul(1_000))
    }

    /// The instant that an ISO 8601 text names, in UTC where it does not say; `None` where it names
    /// none.
    ///
    /// ```
    /// use amend::EventTime;
    /// assert_eq!(EventTime::parse("1970-01-01T00:00:01.5Z"), Some(EventTime(1_500_000)));
    /// assert_eq!(EventTime::parse("1970-01-01 01:00:00+01:00"), Some(EventTime(0)));
    /// assert_eq!(EventTime::parse("yesterday"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replacen([' ', 't'], "T", 1);
        let with_offset = DateTime::parse_from_rfc3339(&text)
            .ok()
            .map(|time| time.to_utc());
        let utc = || {
            let naive = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
            Some(naive.and_utc())
        };
        let time = with_offset.or_else(utc)?;
        Some(EventTime(time.timestamp_micros()))
    }

    /// The instant halfway between two others, rounded down to the microsecond.
    ///
    /// ```
    /// use amend::EventTime;
    /// assert_eq!(EventTime(-3).midpoint(EventTime(0)), EventTime(-2));
    /// assert_eq!(EventTime(i64::MIN).midpoint(EventTime(i64::MAX)), EventTime(-1));
    /// ```
    pub fn midpoint(self, other: EventTime) -> EventTime {
        let sum = i128::from(self.0) + i128::from(other.0);
        EventTime(sum.div_euclid(2) as i64)
    }

    /// The latest multiple of `period`, counted from 1970-01-01T00:00:00Z, that is not after it.
    pub fn floor(self, period: Duration) -> EventTime {
        match micros(period) {
            0 => self,
            period => EventTime(self.0.saturating_sub(self.0.rem_euclid(period))),
        }
    }
}

/// A duration in microseconds; what does not fit is as long as can be.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Stops at the ends of time.
impl Add<Duration> for EventTime {
    type Output = EventTime;

    fn add(self, duration: Duration) -> EventTime {
        EventTime(self.0.saturating_add(micros(duration)))
    }
}

/// Stops at the ends of time.
impl Sub<Duration> for EventTime {
    type Output = EventTime;

    fn sub(self, duration: Duration) -> EventTime {
        EventTime(self.0.saturating_sub(micros(duration)))
    }
}

/// ISO 8601, or microseconds where the calendar does not reach.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_micros(self.0) {
            Some(time) if (-9999..=9999).contains(&chrono::Datelike::year(&time)) => {
                f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
            _ => write!(f, "{} µs", self.0),
        }
    }
}
