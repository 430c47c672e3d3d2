//! Running workers: pipelines as jobs, the clock, how a run is stopped, and how processes fail together.

pub mod clock;
pub mod cluster;
pub mod halt;
pub mod job;
