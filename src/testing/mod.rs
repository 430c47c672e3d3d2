//! What tests of dataflows are written with, ours and those of users.
//!
//! [`scenario`] reads scenario files and runs them; [`expect`] compares what was expected with
//! what came. `amend test` prints what they find.

pub mod expect;
pub mod scenario;
mod yaml;
