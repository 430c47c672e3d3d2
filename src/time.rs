//! The two times of the engine: when something happened, and when the engine says so.

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
}
