//! Any bytes through the decoder and the writers, under several specs.
//!
//! The input is cut at 0xff, which no UTF-8 text contains, into records that one decoder sees in
//! turn: what it remembers of one must not show in the next, and dedup keys are compared among
//! them. `oracle` says what must hold.

#![no_main]

use amend::EventTime;
use amend::event::*;
use libfuzzer_sys::fuzz_target;

// It looks for the names of `amend::event` here.
#[path = "../../src/event/oracle.rs"]
mod oracle;

fuzz_target!(|input: &[u8]| {
    for spec in oracle::specs() {
        let mut checker = oracle::Checker::new(spec);
        for record in input.split(|&byte| byte == 0xff) {
            checker.check(record);
        }
    }
});
