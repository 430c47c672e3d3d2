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
