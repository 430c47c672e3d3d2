//! What a run says of itself at its end: `report.json` for programs, a page for people.
//!
//! Both show the same numbers. Only the page has an example of each reason, since what it quotes
//! is a user's data: characters that a terminal would obey are shown escaped.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::Reason;
use crate::time::EventTime;

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
    /// What came out of the journal of an earlier run.
    pub recovered: Option<Recovery>,
    /// Lines, as `input:line`, that wait for their ends.
    pub waiting_lines: Vec<String>,
    /// Nothing that happened before this time, in microseconds since 1970, changes any more: the
    /// watermark less the horizon.
    pub final_until: Option<i64>,
}

/// A dead letter shown to a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Where: `path:line`, or the stream and ids of a gap.
    pub place: String,
    /// What was found.
    pub detail: String,
    /// The beginning of the record, one line, at most 120 characters.
    pub excerpt: String,
}

/// What came out of the journal of an earlier run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Recovery {
    /// Records.
    pub records: u64,
    /// Epochs.
    pub epochs: u64,
    /// Wall time until all of them were in place.
    pub elapsed_s: f64,
}

impl Report {
    /// The object of `report.json`, on one line without its line break.
    ///
    /// ```
    /// let json = amend::repair::Report::default().to_json();
    /// assert!(json.starts_with(r#"{"read":0,"kept":0,"reconstructed":0,"dead":{},"gaps":{"#));
    /// ```
    pub fn to_json(&self) -> String {
        let json = Json {
            read: self.read,
            kept: self.kept,
            reconstructed: self.reconstructed,
            dead: &self.dead,
            gaps: JsonGaps {
                open: self.gaps_open,
                missing_ids: self.gaps_missing_ids,
                filled_ids: self.gaps_filled_ids,
            },
            retractions: self.retractions,
            epochs: self.epochs,
            workers: self.workers,
            recovered: self.recovered.as_ref(),
            final_until_us: self.final_until,
            elapsed_s: round(self.elapsed_s, 1e6),
            events_per_s: round(self.events_per_s(), 10.0),
        };
        serde_json::to_string(&json).expect("numbers under names that are text are JSON")
    }

    /// Dead letters about records; those about gaps left out.
    pub fn dead_records(&self) -> u64 {
        self.dead
            .iter()
            .filter(|(reason, _)| reason.is_about_record())
            .map(|(_, n)| n)
            .sum()
    }

    /// Records that came out of no journal.
    fn read_now(&self) -> u64 {
        let before = self.recovered.as_ref().map_or(0, |before| before.records);
        self.read.saturating_sub(before)
    }

    /// Records read in a second of wall time; 0 where no time passed. Those of earlier runs do not
    /// count.
    pub fn events_per_s(&self) -> f64 {
        if self.elapsed_s > 0.0 {
            self.read_now() as f64 / self.elapsed_s
        } else {
            0.0
        }
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

/// The page that a person reads at the end of a run.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stopped {
            writeln!(
                f,
                "stopped before the input ended: this is the report of what was read"
            )?;
            writeln!(f)?;
        }
        let width = self.number_width();
        let row = |f: &mut fmt::Formatter<'_>, label: &str, number: u128, rest: &str| {
            let line = format!("{label:<22}{:>width$}{rest}", group_digits(number));
            writeln!(f, "{}", line.trim_end())
        };
        row(f, "read", self.read.into(), "  records")?;
        row(
            f,
            "published",
            u128::from(self.kept) + u128::from(self.reconstructed),
            "",
        )?;
        row(f, "  kept", self.kept.into(), &self.share(self.kept))?;
        let gloss = format!("{BLANK_SHARE}  inferred for missing ids");
        row(f, "  reconstructed", self.reconstructed.into(), &gloss)?;
        let dead = self.dead_records();
        row(f, "set aside", dead.into(), &self.share(dead))?;
        for (reason, count) in self
            .dead
            .iter()
            .filter(|(reason, _)| reason.is_about_record())
        {
            let rest = format!("{}  {}", self.share(*count), gloss_of(*reason));
            row(f, &format!("  {reason}"), (*count).into(), &rest)?;
        }
        let missing = match self.gaps_missing_ids {
            0 => String::new(),
            ids => format!("{BLANK_SHARE}  {} missing", counted(ids, "id")),
        };
        row(f, "open gaps", self.gaps_open.into(), &missing)?;
        for (reason, count) in self
            .dead
            .iter()
            .filter(|(reason, _)| !reason.is_about_record())
        {
            let rest = format!("{BLANK_SHARE}  {}", gloss_of(*reason));
            row(f, &format!("  {reason}"), (*count).into(), &rest)?;
        }
        if self.retractions > 0 {
            let rest = format!(
                "{BLANK_SHARE}  {} inferred, then the event came",
                counted(self.gaps_filled_ids.into(), "id")
            );
            row(f, "retractions", self.retractions.into(), &rest)?;
        }
        self.write_examples(f)?;
        writeln!(f)?;
        if let Some(time) = self.final_until {
            writeln!(f, "what happened before {} is final", EventTime(time))?;
        }
        for line in &self.waiting_lines {
            let place = printable(line);
            writeln!(
                f,
                "{place} has no line end yet: it waits for it, or for --final"
            )?;
        }
        writeln!(
            f,
            "{} in {}: {} a second ({}, {})",
            counted(self.read_now().into(), "record"),
            elapsed(self.elapsed_s),
            group_digits(self.events_per_s().round() as u128),
            counted(self.workers.into(), "worker"),
            counted(self.epochs.into(), "epoch"),
        )
    }
}

impl Report {
    /// The first dead letter of each reason that stands.
    fn write_examples(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut title = "an example of each\n";
        for reason in self.dead.keys() {
            let Some(example) = self.examples.get(reason) else {
                continue;
            };
            write!(f, "\n{title}")?;
            title = "";
            writeln!(f, "  {reason}  {}", printable(&example.place))?;
            for text in [&example.detail, &example.excerpt] {
                if !text.is_empty() {
                    writeln!(f, "    {}", printable(text))?;
                }
            }
        }
        Ok(())
    }

    /// The width of the longest number in the first column.
    fn number_width(&self) -> usize {
        let published = u128::from(self.kept) + u128::from(self.reconstructed);
        let others = [self.gaps_open, self.retractions]
            .into_iter()
            .map(u128::from);
        let dead = self.dead.values().map(|count| u128::from(*count));
        let longest = others
            .chain(dead)
            .fold(published.max(self.read.into()), u128::max);
        group_digits(longest).len()
    }

    /// `count` as a share of what was read, in a column of its own.
    fn share(&self, count: u64) -> String {
        if self.read == 0 {
            return BLANK_SHARE.to_owned();
        }
        let percent = count as f64 / self.read as f64 * 100.0;
        match percent {
            _ if count == 0 => BLANK_SHARE.to_owned(),
            percent if percent < 0.01 => "   <0.01 %".to_owned(),
            percent => format!("{percent:>8.2} %"),
        }
    }
}

/// The share column where it holds nothing.
const BLANK_SHARE: &str = "          ";

/// What a reason means, in a few words.
fn gloss_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Oversize => "longer than max_record",
        Reason::NotJson => "not JSON",
        Reason::NotObject => "JSON, but not an object",
        Reason::Inferred => "a reconstruction that came back",
        Reason::MissingId => "no id",
        Reason::BadId => "the id is not an integer",
        Reason::BadType => "the type is not text",
        Reason::MissingType => "no type",
        Reason::BadTimestamp => "no timestamp, or not a real one",
        Reason::BadValid => "valid is neither true nor false",
        Reason::BadStream => "the stream is no text or integer",
        Reason::Duplicate => "the same event again, same bytes",
        Reason::Conflict => "the same event again, other bytes",
        Reason::Invalid => "says valid: false",
        Reason::Late => "behind the horizon",
        Reason::OutOfSequence => "an id that was forgotten, at a new time",
        Reason::GapTooWide => "wider than gaps.max_width",
        Reason::SequenceTooSparse => "missing more than gaps.max_missing",
    }
}

fn counted(number: u128, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", group_digits(number))
}

fn elapsed(seconds: f64) -> String {
    if seconds < 0.001 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 120.0 {
        format!("{seconds:.2} s")
    } else {
        format!(
            "{:.0} min {:.0} s",
            (seconds / 60.0).floor(),
            (seconds % 60.0).floor()
        )
    }
}

/// `text` on one line of a terminal, without anything that the terminal would obey.
fn printable(text: &str) -> String {
    printable_within(92, text)
}

/// As [`printable`], in at most `max_chars` characters.
pub(super) fn printable_within(max_chars: usize, text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    if shown.chars().count() > max_chars {
        shown = shown.chars().take(max_chars.saturating_sub(1)).collect();
        shown.push('…');
    }
    shown
}

/// `number` rounded to a multiple of `1 / steps`; JSON has no other numbers than finite ones.
fn round(number: f64, steps: f64) -> f64 {
    let rounded = (number * steps).round() / steps;
    if rounded.is_finite() { rounded } else { 0.0 }
}

#[derive(Serialize)]
struct Json<'a> {
    read: u64,
    kept: u64,
    reconstructed: u64,
    dead: &'a BTreeMap<Reason, u64>,
    gaps: JsonGaps,
    retractions: u64,
    epochs: u64,
    workers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<&'a Recovery>,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_until_us: Option<i64>,
    elapsed_s: f64,
    events_per_s: f64,
}

#[derive(Serialize)]
struct JsonGaps {
    open: u64,
    missing_ids: u128,
    filled_ids: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(place: &str, detail: &str, excerpt: &str) -> Example {
        Example {
            place: place.to_owned(),
            detail: detail.to_owned(),
            excerpt: excerpt.to_owned(),
        }
    }

    fn worked_example() -> Report {
        Report {
            read: 10,
            kept: 6,
            reconstructed: 1,
            dead: [
                (Reason::MissingId, 1),
                (Reason::Duplicate, 2),
                (Reason::Invalid, 1),
            ]
            .into(),
            gaps_open: 1,
            gaps_missing_ids: 1,
            epochs: 1,
            workers: 2,
            elapsed_s: 0.0125,
            examples: [
                (
                    Reason::MissingId,
                    example("linq.jsonl:8", "no \"event_id\"", "{\"type\":\"CRM_Sync\"}"),
                ),
                (
                    Reason::Duplicate,
                    example(
                        "linq.jsonl:3",
                        "a copy of line 2",
                        "{\"event_id\":1002,\"type\":\"\u{1b}[31mred\u{7}\"}",
                    ),
                ),
            ]
            .into(),
            ..Report::default()
        }
    }

    fn large() -> Report {
        Report {
            read: 4_000_000,
            kept: 3_879_999,
            reconstructed: 400,
            dead: [
                (Reason::NotJson, 1),
                (Reason::Duplicate, 100_000),
                (Reason::Conflict, 20_000),
                (Reason::GapTooWide, 3),
                (Reason::SequenceTooSparse, 1),
            ]
            .into(),
            gaps_open: 12_345,
            gaps_missing_ids: u128::from(u64::MAX) * 3,
            gaps_filled_ids: 31,
            retractions: 1_002,
            epochs: 200,
            workers: 2,
            elapsed_s: 0.361_234_567_8,
            stopped: true,
            ..Report::default()
        }
    }

    #[test]
    fn the_page_of_ten_events() {
        let expected = r#"
read                  10  records
published              7
  kept                 6   60.00 %
  reconstructed        1            inferred for missing ids
set aside              4   40.00 %
  missing-id           1   10.00 %  no id
  duplicate            2   20.00 %  the same event again, same bytes
  invalid              1   10.00 %  says valid: false
open gaps              1            1 id missing

an example of each
  missing-id  linq.jsonl:8
    no "event_id"
    {"type":"CRM_Sync"}

  duplicate  linq.jsonl:3
    a copy of line 2
    {"event_id":1002,"type":"\u{1b}[31mred\u{7}"}

10 records in 12 ms: 800 a second (2 workers, 1 epoch)
"#;
        assert_eq!(worked_example().to_string(), &expected[1..]);
    }

    #[test]
    fn the_page_of_four_million() {
        let expected = r#"
stopped before the input ended: this is the report of what was read

read                  4,000,000  records
published             3,880,399
  kept                3,879,999   97.00 %
  reconstructed             400            inferred for missing ids
set aside               120,001    3.00 %
  not-json                    1   <0.01 %  not JSON
  duplicate             100,000    2.50 %  the same event again, same bytes
  conflict               20,000    0.50 %  the same event again, other bytes
open gaps                12,345            55,340,232,221,128,654,845 ids missing
  gap-too-wide                3            wider than gaps.max_width
  sequence-too-sparse         1            missing more than gaps.max_missing
retractions               1,002            31 ids inferred, then the event came

4,000,000 records in 361 ms: 11,073,137 a second (2 workers, 200 epochs)
"#;
        assert_eq!(large().to_string(), &expected[1..]);
        assert!(
            large()
                .to_string()
                .lines()
                .all(|line| line.chars().count() <= 90)
        );
    }

    #[test]
    fn the_page_of_nothing() {
        let expected = r#"
read                  0  records
published             0
  kept                0
  reconstructed       0            inferred for missing ids
set aside             0
open gaps             0

0 records in 0 µs: 0 a second (0 workers, 0 epochs)
"#;
        assert_eq!(Report::default().to_string(), &expected[1..]);
    }

    #[test]
    fn report_json_has_the_keys_of_the_contract_in_their_order() {
        assert_eq!(
            large().to_json(),
            concat!(
                r#"{"read":4000000,"kept":3879999,"reconstructed":400,"#,
                r#""dead":{"not-json":1,"duplicate":100000,"conflict":20000,"#,
                r#""gap-too-wide":3,"sequence-too-sparse":1},"#,
                r#""gaps":{"open":12345,"missing_ids":55340232221128654845,"filled_ids":31},"#,
                r#""retractions":1002,"epochs":200,"workers":2,"#,
                r#""elapsed_s":0.361235,"events_per_s":11073137.4}"#
            )
        );
        let odd = Report {
            elapsed_s: f64::NAN,
            ..Report::default()
        };
        assert!(
            odd.to_json()
                .ends_with(r#""elapsed_s":0.0,"events_per_s":0.0}"#)
        );
    }

    #[test]
    fn long_excerpts_are_cut_for_the_terminal() {
        assert_eq!(printable(&"x".repeat(93)).chars().count(), 92);
        assert_eq!(printable("a\u{202e}b\\\"'é"), "a\\u{202e}b\\\"'é");
    }
}
