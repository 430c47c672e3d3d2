//! The integration tests: one binary that runs `amend` as a user does.
//!
//! `oracle_*` tests compare it with [`model`], a naive reading of the contract that shares no code
//! with it, after every epoch; `AMEND_ROUNDS=n` runs n times as many seeds, `AMEND_SEED=n` only that
//! one. The rest are real data, bad input, worked examples and the hygiene of the repository.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod amendments;
mod bad_input;
mod bench;
mod caches;
mod cluster;
mod crash;
mod dataflows;
mod examples;
mod harness;
mod horizon;
mod journal;
mod journaled;
mod json;
mod model;
mod pipelines;
mod process;
mod published;
mod real_data;
mod repair;
mod replay;
mod resume;
mod scenarios;
mod storage_crash;
mod tidy;
mod trigger_model;
mod victim;
mod windowing;
mod workload;
