//! Whatever text a dataflow or scenario file holds, reading it ends in a value or in an error
//! that says where.
//!
//! Lines after the first NUL are overrides, as `--set` takes them.

#![no_main]

use std::path::Path;

use amend::repair::{Dataflow, Outputs};
use amend::testing::scenario::Scenario;
use amend::{Error, ErrorKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (file, flags) = text.split_once('\0').unwrap_or((text, ""));
    let overrides: Vec<(String, String)> = flags
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    if let Err(err) = Dataflow::from_text(file, Path::new("f.toml"), &overrides) {
        check_error(&err, "f.toml");
    }
    match Scenario::from_text(file, "s.yaml") {
        Err(err) => check_error(&err, "s.yaml"),
        Ok(scenarios) => {
            for scenario in scenarios {
                // No engine: what is fuzzed is what reads.
                let _ = scenario.check_with(|_, _| Ok(Outputs::default()));
            }
        }
    }
});

/// Whether the error is the user's, and says where.
fn check_error(err: &Error, label: &str) {
    assert_eq!(err.kind(), ErrorKind::Usage, "{err}");
    assert!(err.hint().is_some(), "{err}");
    let message = err.to_string();
    if message.starts_with("--set ") {
        return;
    }
    let place = message.strip_prefix(label).and_then(|rest| rest.strip_prefix(':'));
    let mut parts = place.unwrap_or_else(|| panic!("no place: {message}")).splitn(3, ':');
    for _ in 0..2 {
        let number = parts.next().and_then(|number| number.parse::<u64>().ok());
        assert!(number.is_some_and(|number| number > 0), "no line and column: {message}");
    }
    assert!(parts.next().is_some_and(|rest| rest.starts_with(' ')), "no message: {message}");
}
