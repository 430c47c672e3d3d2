//! What a run says of itself at its end.

use std::collections::BTreeMap;

use crate::event::Reason;

/// The numbers of `report.json`, and an example of each reason for the person who reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Records read, blank ones not counted.
    pub read: u64,
    /// Events published as they came (with `valid` added where they lacked it).
    pub kept: u64,
    /// Events inferred for missing ids.
    pub reconstructed: u64,
    /// Dead letters that stand, by reason; no reason with none.
    pub dead: BTreeMap<Reason, u64>,
    /// Gaps that are open.
    pub gaps_open: u64,
    /// Ids that all open gaps miss, too wide ones included.
    pub gaps_missing_ids: u128,
    /// Reconstructed events withdrawn because the real one came.
    pub gaps_filled_ids: u64,
    /// Published events withdrawn or replaced.
    pub retractions: u64,
    /// Epochs that held records.
    pub epochs: u64,
    /// Workers of all processes.
    pub workers: u64,
    /// Wall time of the run.
    pub elapsed_s: f64,
    /// The first dead letter of each reason.
    pub examples: BTreeMap<Reason, Example>,
    /// Whether the run was stopped before its input ended.
    pub stopped: bool,
}

/// A dead letter shown to a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Where: `path:line`, or the stream and ids of a gap.
    pub place: String,
    /// What was found.
    pub detail: String,
    /// The beginning of the record, one line, at most 120 characters.
    pub excerpt: String,
}

impl Report {
    /// Dead letters about records; those about gaps left out.
    pub fn dead_records(&self) -> u64 {
        self.dead
            .iter()
            .filter(|(reason, _)| reason.is_about_record())
            .map(|(_, n)| n)
            .sum()
    }
}

/// A number with its digits in groups of three.
///
/// ```
/// assert_eq!(amend::repair::report::group_digits(1234567), "1,234,567");
/// ```
pub fn group_digits(number: u128) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{self:?}")
    }
}
