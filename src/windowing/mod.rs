//! When in event time, and when to emit: windows, triggers and panes.
//!
//! Everything here is a function of what it is given and knows no timely: elements and what they
//! are worth come in, panes go out.
//!
//! - [`window`], [`window_fn`], [`merging`]: which windows an element falls into, and which windows
//!   are one.
//! - [`trigger`]: when a window's content is let through; `machine` runs it.
//! - [`pane`]: what is let through at once.
//! - [`strategy`]: all of this together, for a collection; [`spec`]: how users say it.
//! - [`grouping`]: the windows of one key, fed with elements, the watermark and the clock.

pub mod grouping;
mod machine;
pub mod merging;
pub mod pane;
pub mod spec;
pub mod strategy;
pub mod trigger;
pub mod window;
pub mod window_fn;

pub use merging::Merging;
pub use pane::{PaneInfo, Timing};
pub use spec::Windowing;
pub use strategy::{
    Accumulation, ClosingBehavior, OnTimeBehavior, OutputTime, Strategy, TimestampCombiner,
};
pub use trigger::Trigger;
pub use window::Window;
pub use window_fn::{
    CalendarWindows, FixedWindows, GlobalWindows, Sessions, SlidingWindows, WindowFn,
};
