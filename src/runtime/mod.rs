//! What running workers share: the clock, and how a run is stopped.

pub mod clock;
pub mod halt;
