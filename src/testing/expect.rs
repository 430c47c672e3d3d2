//! What a scenario expects of a step, and how that is compared with what the step wrote.
//!
//! An expectation is partial: every member that it names must be equal, objects recursively, and
//! the others may be anything. Expectations and outputs match as multisets, one to one.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::pairing::{self, Expectation};
use crate::event::Reason;
use crate::repair::Outputs;

/// One expected or one written update of a step, in the words of a scenario file.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Which output it belongs to.
    pub kind: EntryKind,
    /// Its members; `dead` stands for `reason`, and `gap: [from, to]` for the two ids.
    pub members: Map<String, Value>,
}

/// The outputs that scenarios look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A line of `changes.jsonl`.
    Change,
    /// A line of `dead.jsonl`.
    Dead,
    /// A line of `gaps.jsonl`.
    Gap,
}

impl Expectation for Entry {
    type Written = Entry;

    /// Whether `written` has every member of this entry. A dead letter that names no `op` is one
    /// that is not withdrawn.
    fn matches(&self, written: &Entry) -> bool {
        self.kind == written.kind
            && self.members.iter().all(|(name, expected)| {
                written
                    .members
                    .get(name)
                    .is_some_and(|value| is_part_of(expected, value))
            })
            && (self.kind != EntryKind::Dead
                || self.members.contains_key("op") == written.members.contains_key("op"))
    }
}

/// Shows the entry as it may be written in a scenario file.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, value)) in in_reading_order(&self.members).into_iter().enumerate() {
            let separator = if at > 0 { ", " } else { "" };
            write!(f, "{separator}{name}: {value}")?;
        }
        f.write_str("}")
    }
}

/// What says which entry it is comes first.
fn in_reading_order(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    const FIRST: [&str; 4] = ["dead", "gap", "op", "origin"];
    let rank = |name: &str| {
        FIRST
            .iter()
            .position(|first| *first == name)
            .unwrap_or(FIRST.len())
    };
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(name, _)| rank(name));
    members
}

/// Whether every member of `expected` is in `value`; other values must be equal.
fn is_part_of(expected: &Value, value: &Value) -> bool {
    match (expected, value) {
        (Value::Object(expected), Value::Object(value)) => {
            expected.iter().all(|(name, expected)| {
                value
                    .get(name)
                    .is_some_and(|value| is_part_of(expected, value))
            })
        }
        (expected, value) => expected == value,
    }
}

/// The entries that a scripted run wrote, by step.
///
/// # Errors
/// A sentence about a line that is not as the contract says.
pub fn written(outputs: &Outputs, steps: usize) -> Result<Vec<Vec<Entry>>, String> {
    let mut by_step = vec![Vec::new(); steps];
    let files = [
        ("changes.jsonl", EntryKind::Change, &outputs.changes),
        ("dead.jsonl", EntryKind::Dead, &outputs.dead),
        ("gaps.jsonl", EntryKind::Gap, &outputs.gaps),
    ];
    for (file, kind, bytes) in files {
        let lines = bytes
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        for (at, line) in lines.enumerate() {
            let wrong = |what: String| {
                format!(
                    "{file} line {}: {what}: {}",
                    at + 1,
                    String::from_utf8_lossy(line)
                )
            };
            let (epoch, entry) = entry(kind, line).map_err(&wrong)?;
            by_step
                .get_mut(epoch as usize)
                .ok_or_else(|| wrong(format!("there is no step {epoch}")))?
                .push(entry);
        }
    }
    Ok(by_step)
}

/// A line of an output as an entry, and the epoch that it names.
fn entry(kind: EntryKind, line: &[u8]) -> Result<(u64, Entry), String> {
    // An event may be nested as deep as the reader of records allows, and here it is one deeper.
    let mut reader = serde_json::Deserializer::from_slice(line);
    reader.disable_recursion_limit();
    let mut members =
        Map::<String, Value>::deserialize(&mut reader).map_err(|err| err.to_string())?;
    let epoch = members
        .remove("epoch")
        .and_then(|epoch| epoch.as_u64())
        .ok_or("no epoch")?;
    match kind {
        EntryKind::Change => {}
        EntryKind::Dead => {
            let reason = members.remove("reason").ok_or("no reason")?;
            members.insert("dead".to_owned(), reason);
        }
        EntryKind::Gap => {
            let from = members.remove("from").ok_or("no from")?;
            let to = members.remove("to").ok_or("no to")?;
            members.insert("gap".to_owned(), Value::Array(vec![from, to]));
        }
    }
    Ok((epoch, Entry { kind, members }))
}

/// Compares what was expected of a step with what it wrote: `None` where they match one to one,
/// else both beside each other, what has no partner marked.
///
/// Openings and closings of gaps are compared only where at least one is expected: most scenarios
/// tell of events, and a gap comes with each of their holes.
pub fn compare(expected: &[Entry], written: &[Entry]) -> Option<String> {
    let with_gaps = expected.iter().any(|entry| entry.kind == EntryKind::Gap);
    let written: Vec<&Entry> = written
        .iter()
        .filter(|entry| with_gaps || entry.kind != EntryKind::Gap)
        .collect();
    pairing::compare(expected, &written)
}

/// The reason that `name` names.
pub(super) fn reason(name: &str) -> Option<Reason> {
    Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries of JSON objects that stand one after the other: `dead` and `gap` members say
    /// which output one belongs to.
    fn entries(text: &str) -> Vec<Entry> {
        serde_json::Deserializer::from_str(text)
            .into_iter::<Map<String, Value>>()
            .map(|members| {
                let members = members.unwrap();
                let kind = match &members {
                    members if members.contains_key("dead") => EntryKind::Dead,
                    members if members.contains_key("gap") => EntryKind::Gap,
                    _ => EntryKind::Change,
                };
                Entry { kind, members }
            })
            .collect()
    }

    #[track_caller]
    fn check(expected: &str, written: &str, is_match: bool) {
        let difference = compare(&entries(expected), &entries(written));
        assert_eq!(
            difference.is_none(),
            is_match,
            "{}",
            difference.unwrap_or_default()
        );
    }

    #[test]
    fn nothing_matches_nothing_only() {
        check("", "", true);
        check("", r#"{"op":"insert"}"#, false);
        check(r#"{"op":"insert"}"#, "", false);
    }

    #[test]
    fn named_members_are_equal_and_others_anything() {
        let written =
            r#"{"op":"insert","origin":"observed","event":{"id":1,"meta":{"a":1,"b":[1,2]}}}"#;
        check(r#"{"op":"insert"}"#, written, true);
        check(r#"{"event":{}}"#, written, true);
        check(r#"{"event":{"meta":{"a":1}}}"#, written, true);
        check(r#"{"event":{"meta":{"b":[1,2]}}}"#, written, true);
        check(r#"{"event":{"meta":{"b":[1]}}}"#, written, false);
        check(r#"{"event":{"id":2}}"#, written, false);
        check(r#"{"event":{"id":1.0}}"#, written, false);
        check(r#"{"event":{"id":null}}"#, written, false);
        check(r#"{"event":{"other":null}}"#, written, false);
        check(r#"{"op":"retract"}"#, written, false);
        check(r#"{"event":1}"#, written, false);
    }

    #[test]
    fn a_letter_without_op_is_one_that_stands() {
        check(
            r#"{"dead":"invalid"}"#,
            r#"{"dead":"invalid","op":"retract"}"#,
            false,
        );
        check(
            r#"{"dead":"invalid","op":"retract"}"#,
            r#"{"dead":"invalid"}"#,
            false,
        );
        check(
            r#"{"dead":"invalid","op":"retract"}"#,
            r#"{"dead":"invalid","op":"retract"}"#,
            true,
        );
        check(r#"{"dead":"invalid"}"#, r#"{"dead":"conflict"}"#, false);
    }

    #[test]
    fn entries_match_one_to_one() {
        let one = r#"{"event":{"id":1,"n":1}}"#;
        let two = r#"{"event":{"id":1,"n":2}}"#;
        check(one, &format!("{one}{one}"), false);
        check(&format!("{one}{one}"), one, false);
        check(&format!("{one}{two}"), &format!("{two}{one}"), true);
        // The general entry comes first and must leave the only partner of the special one.
        check(
            &format!(r#"{{"event":{{"id":1}}}}{one}"#),
            &format!("{one}{two}"),
            true,
        );
        check(
            &format!(r#"{{"event":{{"id":1}}}}{one}"#),
            &format!("{two}{one}"),
            true,
        );
        // A chain of three.
        check(
            r#"{"a":1}{"b":1}{"c":1}"#,
            r#"{"a":1,"b":1}{"b":1,"c":1}{"a":1,"c":2}"#,
            true,
        );
        check(
            r#"{"a":1}{"b":1}{"c":1}"#,
            r#"{"a":1,"b":1}{"b":1,"c":1}{"c":2,"d":1}"#,
            false,
        );
    }

    #[test]
    fn gaps_count_where_one_is_expected() {
        let (open, close) = (
            r#"{"gap":[1,2],"op":"open"}"#,
            r#"{"gap":[1,2],"op":"close"}"#,
        );
        check("", open, true);
        check(
            r#"{"op":"insert"}"#,
            &format!(r#"{open}{{"op":"insert"}}"#),
            true,
        );
        check(open, open, true);
        check(open, &format!("{open}{close}"), false);
        check(open, close, false);
        check(open, r#"{"gap":[1,3],"op":"open"}"#, false);
    }

    #[test]
    fn lines_become_entries_by_step() {
        let outputs = Outputs {
            changes: b"{\"epoch\":1,\"op\":\"insert\",\"origin\":\"observed\",\"event\":{}}\n"
                .into(),
            dead: b"{\"reason\":\"invalid\",\"detail\":\"d\",\"epoch\":0,\"event\":{}}\n".into(),
            gaps: b"{\"epoch\":1,\"op\":\"open\",\"stream\":\"\",\"from\":-1,\"to\":2}\n".into(),
        };
        let shown: Vec<Vec<String>> = written(&outputs, 2)
            .unwrap()
            .iter()
            .map(|step| step.iter().map(Entry::to_string).collect())
            .collect();
        assert_eq!(
            shown,
            [
                vec![r#"{dead: "invalid", detail: "d", event: {}}"#],
                vec![
                    r#"{op: "insert", origin: "observed", event: {}}"#,
                    r#"{gap: [-1,2], op: "open", stream: ""}"#,
                ],
            ]
        );
        let wrong = |dead: &[u8]| {
            let dead = dead.to_vec();
            written(
                &Outputs {
                    dead,
                    ..Outputs::default()
                },
                2,
            )
            .unwrap_err()
        };
        assert_eq!(
            wrong(b"{\"epoch\":0}"),
            "dead.jsonl line 1: no reason: {\"epoch\":0}"
        );
        assert_eq!(wrong(b"\n{}"), "dead.jsonl line 1: no epoch: {}");
        assert!(wrong(b"{").starts_with("dead.jsonl line 1: EOF while parsing"));
    }

    #[test]
    fn a_failure_shows_both_sides() {
        let shown = compare(
            &entries(r#"{"op":"insert","event":{"id":2}}{"op":"insert","event":{"id":1}}"#),
            &entries(r#"{"op":"insert","event":{"id":3}}{"op":"insert","event":{"id":1}}"#),
        )
        .unwrap();
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        assert_eq!(lines[1], " expected                            what came");
        assert_eq!(
            lines[3],
            "   {op: \"insert\", event: {\"id\":1}}     {op: \"insert\", event: {\"id\":1}}"
        );
        assert_eq!(
            lines[5],
            " ! {op: \"insert\", event: {\"id\":2}}   ! {op: \"insert\", event: {\"id\":3}}"
        );
        let long = format!(r#"{{"event":{{"text":"{}"}}}}"#, "long ".repeat(50));
        let shown = compare(&entries(&long), &[]).unwrap();
        assert!(
            shown.lines().all(|line| line.chars().count() <= 100),
            "{shown}"
        );
    }
}
