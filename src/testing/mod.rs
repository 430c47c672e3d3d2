//! What tests of dataflows are written with, ours and those of users.
//!
//! [`scenario`] reads scenario files and runs them; [`expect`] compares what was expected with
//! what came. `amend test` prints what they find. [`workload`] makes
//! streams of events with known damage, for benches and tests.

pub mod expect;
mod pairing;
pub mod passert;
pub mod scenario;
pub mod test_stream;
pub mod workload;
mod yaml;
