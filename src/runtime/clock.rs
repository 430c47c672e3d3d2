//! The only place that reads time. What is read here never decides what is published, only when
//! an epoch closes and what a report says of the speed.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A moment of the process's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Instant);

impl Moment {
    /// This moment.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now() -> Self {
        Moment(Instant::now())
    }

    /// The time since then.
    pub fn elapsed(self) -> Duration {
        Moment::now().0.duration_since(self.0)
    }
}

/// The time since this was first asked for.
pub fn since_start() -> Duration {
    static START: OnceLock<Moment> = OnceLock::new();
    START.get_or_init(Moment::now).elapsed()
}

/// Lets this thread sleep until it is `at`, by [`since_start`].
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn sleep_until(at: Duration) {
    std::thread::sleep(at.saturating_sub(since_start()));
}

/// The time of day in UTC, in microseconds since 1970-01-01T00:00:00Z: the processing time of live
/// sources, which is recorded with each epoch.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn utc_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}
