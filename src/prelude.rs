//! Everything that a dataflow is written with: `use amend::prelude::*;`.

use std::time::Duration;

pub use ordered_float::OrderedFloat;
pub use serde::{Deserialize, Serialize};

pub use crate::error::{Error, ErrorKind};
pub use crate::io::dead_letter::{DeadLetter, Refusal};
pub use crate::io::json_lines::JsonLines;
pub use crate::io::memory::Memory;
pub use crate::io::source::{Source, WatermarkPolicy};
pub use crate::pcollection::{Data, Element, Key, PCollection};
pub use crate::pipeline::Pipeline;
pub use crate::runtime::job::{JobReport, Options, run};
pub use crate::testing::passert::PAssert;
pub use crate::testing::test_stream::TestStream;
pub use crate::time::{Epoch, EventTime};
pub use crate::transforms::PTransform;
pub use crate::transforms::combine::CombineFn;
pub use crate::transforms::combiners::{
    ApproximateCountDistinct, Count, Max, Mean, Min, Sum, Summand, Top,
};
pub use crate::transforms::par_do::{ErrorThreshold, Tagged};
pub use crate::transforms::reconcile::Reconciled;
pub use crate::transforms::reconstruct::Reconstructed;
pub use crate::transforms::sequence_gaps::SequenceGap;
pub use crate::transforms::side_input::View;
pub use crate::transforms::stateful::{Context, StatefulDoFn, TimeDomain, Timer};
pub use crate::transforms::write::{Collected, JsonChanges, Sink, Writer};
pub use crate::windowing::{
    Accumulation, CalendarWindows, ClosingBehavior, FixedWindows, GlobalWindows, Merging,
    OnTimeBehavior, PaneInfo, Sessions, SlidingWindows, TimestampCombiner, Timing, Trigger, Window,
    WindowFn, Windowing,
};

/// A floating-point number that can be compared and grouped by.
pub type F64 = OrderedFloat<f64>;

/// This many microseconds.
pub fn micros(number: u64) -> Duration {
    Duration::from_micros(number)
}

/// This many seconds.
pub fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// This many minutes.
pub fn minutes(number: u64) -> Duration {
    Duration::from_secs(number.saturating_mul(60))
}

/// This many hours.
pub fn hours(number: u64) -> Duration {
    Duration::from_secs(number.saturating_mul(60 * 60))
}

/// This many times 24 hours.
pub fn days(number: u64) -> Duration {
    Duration::from_secs(number.saturating_mul(24 * 60 * 60))
}
