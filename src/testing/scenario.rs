//! Scenario files: a stream told step by step, and what must come of each.
//!
//! A file holds YAML documents, one a scenario:
//!
//! ```yaml
//! name: a hole is filled and the guess withdrawn
//! dataflow: repair
//! event: {stream: tenant}          # event, dedup, gaps and watermark as in a dataflow file
//! transcript:
//!   - input:                       # one epoch; events as mappings, or raw records as text
//!       - {event_id: 1, type: a, timestamp: "2026-01-01T00:00:00", tenant: t}
//!       - {event_id: 3, type: a, timestamp: "2026-01-01T00:00:02", tenant: t}
//!   - expect:                      # everything that the step before it changes or sets aside
//!       - {op: insert, origin: observed, event: {event_id: 1}}
//!       - {op: insert, origin: observed, event: {event_id: 3}}
//!       - {op: insert, origin: reconstructed, event: {event_id: 2}}
//!   - watermark: "2026-01-01T00:01:00"
//! ```
//!
//! Every `input` and every `watermark` is a step of its own. What follows a step in one or more
//! `expect` lists must be all of the changes and dead letters that it makes; a step without one
//! must make none. Gaps opening and closing are compared only where a step's list has an entry
//! `{gap: [from, to], op: open}`. In a document with `error:` the check itself must fail with a
//! message that matches, a regular expression that ignores case. Other keys of a document are
//! ignored.

use chrono::{DateTime, NaiveDateTime};
use regex::RegexBuilder;
use serde_json::Map;

use super::expect::{self, Entry, EntryKind};
use super::yaml;
use crate::event::{Reason, TimestampFormat};
use crate::repair::spec::read::{self, Rules};
use crate::repair::spec::table::nearest;
use crate::repair::spec::tree::{Key, Node, Place, Value, quote};
use crate::repair::spec::{SinkKind, SinkSpec, Sinks, SourceSpec};
use crate::repair::{self, Dataflow, Outputs, Step};
use crate::time::EventTime;
use crate::{Error, Result};

/// The tables of a dataflow file that a scenario may have.
const TABLES: [&str; 4] = ["event", "dedup", "gaps", "watermark"];

/// One document of a scenario file.
#[derive(Debug)]
pub struct Scenario {
    /// The document's `name`.
    pub name: String,
    /// The file's name in messages, and the line on which the document begins.
    pub place: String,
    /// What the check must fail with, where it must.
    error: Option<String>,
    /// What is run, or why the document tells nothing that can be.
    script: Result<Script>,
}

/// What a scenario runs and expects.
#[derive(Debug)]
struct Script {
    dataflow: Dataflow,
    actions: Vec<Action>,
}

/// A step and what is expected of it.
#[derive(Debug)]
struct Action {
    place: Place,
    what: &'static str,
    step: Step,
    /// The place of the first `expect` list after the step, and the entries of all of them.
    expected: Option<(Place, Vec<Entry>)>,
}

impl Scenario {
    /// Reads the documents of a scenario file; `label` names it in messages.
    ///
    /// A document that is no scenario is one whose check fails, not an error.
    ///
    /// # Errors
    /// `Usage` where the text is not YAML, or holds no document.
    pub fn from_text(text: &str, label: &str) -> Result<Vec<Scenario>> {
        let documents = yaml::documents(text, label)?;
        if documents.is_empty() {
            return Err(Error::usage(format!("{label}:1:1: there is no scenario"))
                .with_hint("a scenario is a YAML document with name, dataflow and transcript"));
        }
        Ok(documents
            .iter()
            .enumerate()
            .map(|(at, node)| scenario(at, node))
            .collect())
    }

    /// Runs the scenario on `workers` workers and checks what comes.
    ///
    /// # Errors
    /// What is wrong, for a person: every step that does not match, or why nothing was run.
    pub fn check(&self, workers: usize) -> std::result::Result<(), String> {
        self.check_with(|dataflow, steps| repair::run_steps(dataflow, steps, workers))
    }

    /// As [`Scenario::check`], with `run` in place of the engine.
    ///
    /// # Errors
    /// As [`Scenario::check`].
    pub fn check_with(
        &self,
        run: impl FnOnce(&Dataflow, Vec<Step>) -> Result<Outputs>,
    ) -> std::result::Result<(), String> {
        let result = match &self.script {
            Ok(script) => script.check(run),
            Err(err) => Err(full_message(err)),
        };
        let Some(pattern) = &self.error else {
            return result;
        };
        match result {
            Ok(()) => Err(format!(
                "the check passed, where it must fail with: {pattern}"
            )),
            Err(message) if is_match(pattern, &message) => Ok(()),
            Err(message) => Err(format!(
                "the check must fail with: {pattern}\nand failed with: {message}"
            )),
        }
    }
}

impl Script {
    fn check(
        &self,
        run: impl FnOnce(&Dataflow, Vec<Step>) -> Result<Outputs>,
    ) -> std::result::Result<(), String> {
        let steps = self
            .actions
            .iter()
            .map(|action| action.step.clone())
            .collect();
        let outputs = run(&self.dataflow, steps).map_err(|err| full_message(&err))?;
        let written = expect::written(&outputs, self.actions.len())?;
        let failures: Vec<String> = self
            .actions
            .iter()
            .zip(&written)
            .filter_map(|(action, written)| action.compare(written))
            .collect();
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures.join("\n"))
        }
    }
}

impl Action {
    fn compare(&self, written: &[Entry]) -> Option<String> {
        let Action { place, what, .. } = self;
        match &self.expected {
            Some((at, expected)) => {
                let table = expect::compare(expected, written)?;
                Some(format!(
                    "{at}: unmatched output of the {what} at {place}\n{table}"
                ))
            }
            None => {
                let table = expect::compare(&[], written)?;
                Some(format!("{place}: unexpected output of the {what}\n{table}"))
            }
        }
    }
}

fn full_message(err: &Error) -> String {
    match err.hint() {
        Some(hint) => format!("{err}\nhint: {hint}"),
        None => err.to_string(),
    }
}

fn is_match(pattern: &str, message: &str) -> bool {
    let regex = RegexBuilder::new(pattern).case_insensitive(true).build();
    message.contains(pattern) || regex.is_ok_and(|regex| regex.is_match(message))
}

/// The document `at` of a file.
fn scenario(at: usize, node: &Node) -> Scenario {
    let text = |key: &str| match member(node, key).map(|(_, node)| &node.value) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let place = match &node.place {
        Place::Line { file, line, .. } => format!("{file}:{line}"),
        place => place.to_string(),
    };
    let name = text("name").unwrap_or_else(|| format!("document {}", at + 1));
    Scenario {
        script: script(node, &name),
        name,
        place,
        error: text("error"),
    }
}

fn script(document: &Node, name: &str) -> Result<Script> {
    let Value::Table(members) = &document.value else {
        return Err(error(
            document,
            format_args!("a scenario is {}", document.value.kind()),
        )
        .with_hint("a scenario is a mapping with name, dataflow and transcript"));
    };
    match member(document, "dataflow").map(|(_, node)| node) {
        Some(Node {
            value: Value::Text(text),
            ..
        }) if text == "repair" => {}
        Some(other) => {
            return Err(
                error(other, format_args!("there is no dataflow {}", other.value))
                    .with_hint("this version runs scenarios with dataflow: repair"),
            );
        }
        None => {
            return Err(error(document, "the scenario names no dataflow")
                .with_hint("this version runs only scenarios with dataflow: repair"));
        }
    }
    for key in ["source", "limits", "sink"] {
        if let Some((key, _)) = member(document, key) {
            return Err(
                Error::usage(format!("{}: a scenario has no {}", key.place, key.text))
                    .with_hint("a scenario has event, dedup, gaps and watermark"),
            );
        }
    }
    let tables = members
        .iter()
        .filter(|(key, _)| TABLES.contains(&key.text.as_str()));
    let rules = read::rules_alone(&Node {
        place: document.place.clone(),
        value: Value::Table(tables.cloned().collect()),
    })?;
    let transcript = match member(document, "transcript") {
        Some((
            _,
            Node {
                value: Value::List(list),
                ..
            },
        )) => list,
        Some((_, node)) => {
            return Err(
                error(node, format_args!("transcript is {}", node.value.kind()))
                    .with_hint("a list of input, watermark and expect"),
            );
        }
        None => {
            return Err(error(document, "the scenario has no transcript")
                .with_hint("add a list of input, watermark and expect"));
        }
    };
    let actions = actions(transcript, rules.event.timestamp_format)?;
    Ok(Script {
        dataflow: dataflow(name, rules),
        actions,
    })
}

/// The dataflow of a scenario: every output is looked at, and no source is read.
fn dataflow(name: &str, rules: Rules) -> Dataflow {
    let sink = SinkSpec {
        kind: SinkKind::Jsonl,
        annotate: rules.annotate,
    };
    Dataflow {
        name: name.to_owned(),
        source: SourceSpec {
            name: name.to_owned(),
            inputs: Vec::new(),
        },
        event: rules.event,
        keep: rules.keep,
        gaps: rules.gaps,
        watermark: rules.watermark,
        dead_share: None,
        sinks: Sinks {
            clean: sink,
            changes: Some(sink),
            dead: sink,
            gaps: Some(sink),
        },
    }
}

/// The steps of a transcript, each with what is expected of it.
fn actions(transcript: &[Node], format: TimestampFormat) -> Result<Vec<Action>> {
    let mut actions: Vec<Action> = Vec::new();
    for item in transcript {
        let (key, node) = match &item.value {
            Value::Table(members) if members.len() == 1 => &members[0],
            _ => {
                return Err(
                    error(item, "an item of the transcript is a mapping with one key")
                        .with_hint("one of input, watermark and expect"),
                );
            }
        };
        let action = |what, step| Action {
            place: key.place.clone(),
            what,
            step,
            expected: None,
        };
        match key.text.as_str() {
            "input" => {
                let step = Step {
                    records: records(node)?,
                    watermark: None,
                };
                actions.push(action("input", step));
            }
            "watermark" => {
                let step = Step {
                    records: Vec::new(),
                    watermark: Some(watermark(node, format)?),
                };
                actions.push(action("watermark", step));
            }
            "expect" => {
                let Some(action) = actions.last_mut() else {
                    return Err(
                        Error::usage(format!("{}: expect follows no step", key.place))
                            .with_hint("it says what the input or watermark before it does"),
                    );
                };
                let expected = action
                    .expected
                    .get_or_insert((key.place.clone(), Vec::new()));
                for node in list(node, "expect")? {
                    expected.1.push(entry(node)?);
                }
            }
            other => {
                return Err(
                    unknown(key, "the transcript", &["input", "watermark", "expect"]).with_hint(
                        match other {
                            "clock" | "state" => "the repair dataflow has no triggers",
                            _ => "one of input, watermark and expect",
                        },
                    ),
                );
            }
        }
    }
    Ok(actions)
}

fn records(node: &Node) -> Result<Vec<Vec<u8>>> {
    list(node, "input")?
        .iter()
        .map(|record| match &record.value {
            Value::Text(text) => Ok(text.clone().into_bytes()),
            Value::Table(_) => {
                let mut json = String::new();
                yaml::write_json(record, &mut json);
                Ok(json.into_bytes())
            }
            value => Err(error(record, format_args!("a record is {}", value.kind()))
                .with_hint("write an event as a mapping, and any other record as text in quotes")),
        })
        .collect()
}

/// An instant: ISO 8601 text, or an integer where the dataflow's timestamps are integers.
fn watermark(node: &Node, format: TimestampFormat) -> Result<EventTime> {
    let wrong = |what: &str| {
        error(node, format_args!("watermark: {} {what}", node.value)).with_hint(
            "an instant such as \"2026-01-31T12:00:00\"; with timestamp_format unix-s, \
                unix-ms or unix-us also such an integer",
        )
    };
    let us = match &node.value {
        Value::Text(text) => instant_us(text).ok_or_else(|| wrong("is no instant"))?,
        Value::Integer(number, _) => {
            let unit = match format {
                TimestampFormat::UnixSeconds => 1_000_000,
                TimestampFormat::UnixMillis => 1_000,
                TimestampFormat::UnixMicros => 1,
                TimestampFormat::Strict | TimestampFormat::Iso8601 => {
                    return Err(wrong("is an integer, and timestamps are text"));
                }
            };
            number
                .and_then(|number| number.checked_mul(unit))
                .and_then(|us| i64::try_from(us).ok())
                .ok_or_else(|| wrong("is out of range"))?
        }
        _ => return Err(wrong("is no instant")),
    };
    Ok(EventTime(us))
}

fn instant_us(text: &str) -> Option<i64> {
    let text = text.replacen([' ', 't'], "T", 1);
    let with_offset = DateTime::parse_from_rfc3339(&text)
        .ok()
        .map(|time| time.to_utc());
    let utc = || {
        let naive = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
        Some(naive.and_utc())
    };
    with_offset.or_else(utc).map(|time| time.timestamp_micros())
}

/// One entry of an `expect` list: which output it means shows in its keys.
fn entry(node: &Node) -> Result<Entry> {
    let Value::Table(members) = &node.value else {
        return Err(error(node, "an entry of expect is a mapping").with_hint(ENTRIES));
    };
    if let Some((key, _)) = member(node, "request") {
        return Err(Error::usage(format!(
            "{}: there are no requests in this version",
            key.place
        ))
        .with_hint("expect changes, dead letters and gaps"));
    }
    let kind = match (member(node, "dead"), member(node, "gap")) {
        (Some((_, reason)), _) => {
            check_reason(reason)?;
            EntryKind::Dead
        }
        (None, Some((_, ids))) => {
            check_ids(ids)?;
            EntryKind::Gap
        }
        (None, None) => EntryKind::Change,
    };
    let (what, keys): (&str, &[&str]) = match kind {
        EntryKind::Change => ("an expected change", &["op", "origin", "event"]),
        EntryKind::Dead => (
            "an expected dead letter",
            &[
                "dead",
                "op",
                "detail",
                "stream",
                "from",
                "to",
                "event",
                "raw",
                "raw_base64",
                "source",
            ],
        ),
        EntryKind::Gap => ("an expected gap", &["gap", "op", "stream"]),
    };
    if let Some((key, _)) = members
        .iter()
        .find(|(key, _)| !keys.contains(&key.text.as_str()))
    {
        return Err(unknown(key, what, keys));
    }
    match (kind, member(node, "op")) {
        (EntryKind::Change, op) => one_of(node, op, "op", &["insert", "retract"])?,
        (EntryKind::Dead, op @ Some(_)) => one_of(node, op, "op", &["retract"])?,
        (EntryKind::Dead, None) => {}
        (EntryKind::Gap, op) => one_of(node, op, "op", &["open", "close"])?,
    }
    if let origin @ Some(_) = member(node, "origin") {
        one_of(node, origin, "origin", &["observed", "reconstructed"])?;
    }
    let members = members
        .iter()
        .map(|(key, node)| (key.text.clone(), json(node)));
    Ok(Entry {
        kind,
        members: members.collect::<Map<_, _>>(),
    })
}

/// What entries of an `expect` list look like.
const ENTRIES: &str = "{op: insert, origin: observed, event: {..}}, {dead: duplicate, ..} or \
     {gap: [from, to], op: open}";

fn check_reason(node: &Node) -> Result<()> {
    let Value::Text(text) = &node.value else {
        return Err(
            error(node, format_args!("dead: {} is no reason", node.value)).with_hint(ENTRIES),
        );
    };
    if expect::reason(text).is_some() {
        return Ok(());
    }
    let names = Reason::ALL.map(Reason::as_str);
    let listed = format!("one of {}", names.join(", "));
    let hint = match nearest(text, &names) {
        Some(near) => format!("did you mean {near}? {listed}"),
        None => listed,
    };
    Err(error(node, format_args!("dead: {} is no reason", quote(text))).with_hint(hint))
}

fn check_ids(node: &Node) -> Result<()> {
    match &node.value {
        Value::List(ids)
            if ids.len() == 2
                && ids
                    .iter()
                    .all(|id| matches!(id.value, Value::Integer(Some(_), _))) =>
        {
            Ok(())
        }
        _ => Err(
            error(node, format_args!("gap: {} is no range of ids", node.value))
                .with_hint("the first and the last missing id: {gap: [4, 6], op: open}"),
        ),
    }
}

/// Whether the member `name` of `entry` is there, and one of `choices`.
fn one_of(entry: &Node, member: Option<&(Key, Node)>, name: &str, choices: &[&str]) -> Result<()> {
    let hint = format!("{name} is one of {}", choices.join(", "));
    match member {
        Some((
            _,
            Node {
                value: Value::Text(text),
                ..
            },
        )) if choices.contains(&text.as_str()) => Ok(()),
        Some((_, node)) => {
            Err(error(node, format_args!("{name}: {} is not a choice", node.value)).with_hint(hint))
        }
        None => Err(error(entry, format_args!("the entry has no {name}")).with_hint(hint)),
    }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(number, _) => match number {
            Some(number) if *number < 0 => (*number as i64).into(),
            Some(number) => (*number as u64).into(),
            None => serde_json::Value::Null,
        },
        Value::Float(number, _) => (*number).into(),
        Value::Text(text) | Value::Date(text) => text.as_str().into(),
        Value::List(list) => list.iter().map(json).collect(),
        Value::Table(members) => members
            .iter()
            .map(|(key, node)| (key.text.clone(), json(node)))
            .collect(),
    }
}

fn list<'a>(node: &'a Node, what: &str) -> Result<&'a [Node]> {
    match &node.value {
        Value::List(list) => Ok(list),
        value => Err(error(node, format_args!("{what} is {}", value.kind()))
            .with_hint(format!("write a list: {what}: [..]"))),
    }
}

fn member<'a>(node: &'a Node, name: &str) -> Option<&'a (Key, Node)> {
    match &node.value {
        Value::Table(members) => members.iter().find(|(key, _)| key.text == name),
        _ => None,
    }
}

fn unknown(key: &Key, table: &str, keys: &[&str]) -> Error {
    let listed = format!("{table} has {}", keys.join(", "));
    Error::usage(format!(
        "{}: unknown key {} in {table}",
        key.place,
        quote(&key.text)
    ))
    .with_hint(match nearest(&key.text, keys) {
        Some(near) => format!("did you mean {near}? {listed}"),
        None => listed,
    })
}

fn error(node: &Node, what: impl std::fmt::Display) -> Error {
    Error::usage(format!("{}: {what}", node.place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "event_id: 1, type: a, timestamp: \"2026-01-01T00:00:00\"";
    const INSERT: &str = r#"{"epoch":0,"op":"insert","origin":"observed","event":{"event_id":1}}"#;

    /// Checks the only document of `text` against hand-made lines of changes, dead and gaps.
    fn check_with(text: &str, [changes, dead, gaps]: [&str; 3]) -> std::result::Result<(), String> {
        let scenarios = Scenario::from_text(text, "s.yaml").unwrap();
        assert_eq!(scenarios.len(), 1);
        let outputs = Outputs {
            changes: changes.into(),
            dead: dead.into(),
            gaps: gaps.into(),
        };
        scenarios[0].check_with(|_, _| Ok(outputs))
    }

    /// The failure of a document whose check does not come to running anything.
    #[track_caller]
    fn check_refused(text: &str, message: &str) {
        assert_eq!(check_with(text, ["", "", ""]).unwrap_err(), message);
    }

    /// As [`check_refused`], for a transcript.
    #[track_caller]
    fn check_transcript(items: &str, message: &str) {
        check_refused(&format!("dataflow: repair\ntranscript:\n{items}"), message);
    }

    /// As [`check_refused`], for the entries of an `expect` list.
    #[track_caller]
    fn check_entry(entry: &str, message: &str) {
        check_transcript(&format!("- input: []\n- expect: [{entry}]"), message);
    }

    #[test]
    fn the_dataflow_and_its_steps() {
        let text = r#"
name: all of it
dataflow: repair
broken_on: [nothing]
whatever: {is: ignored}
event: {stream: tenant, max_record: 100, timestamp_format: unix-ms}
dedup: {keep: last, key: [uuid]}
gaps: {grace: 30s, type: {fixed: X}, annotate: false}
watermark: {disorder: 1s}
transcript:
  - input:
      - {b: 1, a: [1.0, null, "x\ny", {c: true}], d: 2026-01-01}
      - '{"raw": }'
  - watermark: 1500
  - input: []
  - watermark: "2026-01-01T01:00:00.5+01:00"
"#;
        let scenario = &Scenario::from_text(text, "s.yaml").unwrap()[0];
        assert_eq!(
            (scenario.name.as_str(), scenario.place.as_str()),
            ("all of it", "s.yaml:2")
        );
        let mut seen = None;
        let result = scenario.check_with(|dataflow, steps| {
            seen = Some((dataflow.clone(), steps));
            Ok(Outputs::default())
        });
        assert_eq!(result, Ok(()));
        let (dataflow, steps) = seen.unwrap();
        assert_eq!(dataflow.name, "all of it");
        assert_eq!(dataflow.event.max_record_bytes, 100);
        assert_eq!(dataflow.gaps.grace_us, 30_000_000);
        assert_eq!(dataflow.watermark.disorder_us, 1_000_000);
        assert_eq!(
            dataflow.sinks.changes,
            Some(SinkSpec {
                kind: SinkKind::Jsonl,
                annotate: false
            })
        );
        let records: Vec<Vec<&str>> = steps
            .iter()
            .map(|step| {
                step.records
                    .iter()
                    .map(|r| std::str::from_utf8(r).unwrap())
                    .collect()
            })
            .collect();
        let event = r#"{"b":1,"a":[1.0,null,"x\ny",{"c":true}],"d":"2026-01-01"}"#;
        assert_eq!(
            records,
            [vec![event, "{\"raw\": }"], vec![], vec![], vec![]]
        );
        let watermarks: Vec<_> = steps.iter().map(|step| step.watermark).collect();
        let last = EventTime(1_767_225_600_500_000);
        assert_eq!(
            watermarks,
            [None, Some(EventTime(1_500_000)), None, Some(last)]
        );
    }

    #[test]
    fn instants() {
        for text in [
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01t00:00:00z",
            "2026-01-01T01:00:00.0+01:00",
        ] {
            assert_eq!(instant_us(text), Some(1_767_225_600_000_000), "{text}");
        }
        for text in ["", "2026-01-01", "noon", "2026-02-30T00:00:00", "T", "é t"] {
            assert_eq!(instant_us(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_step_writes_must_be_what_is_expected_of_it() {
        let text = format!(
            "dataflow: repair\ntranscript:\n- input: [{{{EVENT}}}]\n- expect:\n  \
             - {{op: insert, event: {{event_id: 1}}}}\n- watermark: \"2026-01-01T00:00:00\"\n"
        );
        assert_eq!(check_with(&text, [INSERT, "", ""]), Ok(()));
        let missing = check_with(&text, ["", "", ""]).unwrap_err();
        assert!(
            missing.starts_with("s.yaml:4:3: unmatched output of the input at s.yaml:3:3\n"),
            "{missing}"
        );
        assert!(
            missing.contains("! {op: \"insert\", event: {\"event_id\":1}}"),
            "{missing}"
        );
        let later = format!("{INSERT}\n{}", INSERT.replace("\"epoch\":0", "\"epoch\":1"));
        let unexpected = check_with(&text, [&later, "", ""]).unwrap_err();
        assert!(
            unexpected.starts_with("s.yaml:6:3: unexpected output of the watermark\n"),
            "{unexpected}"
        );
        assert!(!unexpected.contains("s.yaml:4"), "{unexpected}");
        let none = INSERT.replace("\"epoch\":0", "\"epoch\":2");
        assert_eq!(
            check_with(&text, [&none, "", ""]).unwrap_err(),
            format!("changes.jsonl line 1: there is no step 2: {none}")
        );
    }

    #[test]
    fn lists_of_one_step_are_one_list() {
        let text = "dataflow: repair\ntranscript:\n- input: []\n- expect: [{op: insert}]\n\
             - expect: [{dead: duplicate}]";
        let dead = r#"{"reason":"duplicate","detail":"d","epoch":0,"event":{}}"#;
        assert_eq!(check_with(text, [INSERT, dead, ""]), Ok(()));
        assert!(check_with(text, [INSERT, "", ""]).is_err());
        assert!(check_with(text, ["", dead, ""]).is_err());
    }

    #[test]
    fn a_check_may_have_to_fail() {
        let text = |error: &str| {
            format!("error: {error}\ndataflow: repair\ntranscript:\n- input: []\n- expect: []")
        };
        assert_eq!(
            check_with(&text("'^s.yaml:5:3: Unmatched output'"), [INSERT, "", ""]),
            Ok(())
        );
        assert_eq!(
            check_with(&text("\"[input\""), [INSERT, "", ""])
                .unwrap_err()
                .lines()
                .next(),
            Some("the check must fail with: [input")
        );
        assert_eq!(
            check_with(&text("unmatched"), ["", "", ""]).unwrap_err(),
            "the check passed, where it must fail with: unmatched"
        );
        let refused = "error: 'unknown key \"x\"'\ndataflow: repair\ngaps: {x: 1}";
        assert_eq!(check_with(refused, ["", "", ""]), Ok(()));
        let engine = Scenario::from_text("dataflow: repair\ntranscript: []", "s.yaml").unwrap();
        let result = engine[0].check_with(|_, _| Err(Error::internal("lost a record")));
        assert_eq!(result.unwrap_err(), "lost a record");
    }

    #[test]
    fn documents_that_are_no_scenarios() {
        check_refused(
            "name: beam\nwindow_fn: FixedWindows(10)\ntranscript: []",
            "s.yaml:1:1: the scenario names no dataflow\n\
             hint: this version runs only scenarios with dataflow: repair",
        );
        check_refused(
            "dataflow: windows",
            "s.yaml:1:11: there is no dataflow \"windows\"\n\
             hint: this version runs scenarios with dataflow: repair",
        );
        check_refused(
            "- 1",
            "s.yaml:1:1: a scenario is a list\n\
             hint: a scenario is a mapping with name, dataflow and transcript",
        );
        check_refused(
            "dataflow: repair\nlimits: {dead_share: 1}",
            "s.yaml:2:1: a scenario has no limits\n\
             hint: a scenario has event, dedup, gaps and watermark",
        );
        check_refused(
            "dataflow: repair\ngaps:\n  max_width: -1",
            "s.yaml:3:14: [gaps] max_width = -1 is out of range\n\
             hint: a whole number from 0 to 9223372036854775807, without quotes",
        );
        check_refused(
            "dataflow: repair",
            "s.yaml:1:1: the scenario has no transcript\n\
             hint: add a list of input, watermark and expect",
        );
    }

    #[test]
    fn transcripts_are_checked() {
        check_transcript(
            "- inptu: []",
            "s.yaml:3:3: unknown key \"inptu\" in the transcript\n\
             hint: one of input, watermark and expect",
        );
        check_transcript(
            "- clock: 5",
            "s.yaml:3:3: unknown key \"clock\" in the transcript\n\
             hint: the repair dataflow has no triggers",
        );
        check_transcript(
            "- {input: [], expect: []}",
            "s.yaml:3:3: an item of the transcript is a mapping with one key\n\
             hint: one of input, watermark and expect",
        );
        check_transcript(
            "- expect: []",
            "s.yaml:3:3: expect follows no step\n\
             hint: it says what the input or watermark before it does",
        );
        check_transcript(
            "- input: {a: 1}",
            "s.yaml:3:10: input is a table\nhint: write a list: input: [..]",
        );
        check_transcript(
            "- input: [5]",
            "s.yaml:3:11: a record is a number\n\
             hint: write an event as a mapping, and any other record as text in quotes",
        );
        let hint = "hint: an instant such as \"2026-01-31T12:00:00\"; with timestamp_format \
             unix-s, unix-ms or unix-us also such an integer";
        check_transcript(
            "- watermark: noon",
            &format!("s.yaml:3:14: watermark: \"noon\" is no instant\n{hint}"),
        );
        check_transcript(
            "- watermark: 5",
            &format!("s.yaml:3:14: watermark: 5 is an integer, and timestamps are text\n{hint}"),
        );
        check_refused(
            "dataflow: repair\nevent: {timestamp_format: unix-s}\ntranscript:\n\
             - watermark: 9223372036854775807",
            &format!("s.yaml:4:14: watermark: 9223372036854775807 is out of range\n{hint}"),
        );
    }

    #[test]
    fn entries_are_checked() {
        check_entry(
            "{op: insert, orign: observed}",
            "s.yaml:4:25: unknown key \"orign\" in an expected change\n\
             hint: did you mean origin? an expected change has op, origin, event",
        );
        check_entry(
            "{event: {}}",
            "s.yaml:4:12: the entry has no op\nhint: op is one of insert, retract",
        );
        check_entry(
            "{op: inserted}",
            "s.yaml:4:17: op: \"inserted\" is not a choice\nhint: op is one of insert, retract",
        );
        check_entry(
            "{op: insert, origin: real}",
            "s.yaml:4:33: origin: \"real\" is not a choice\n\
             hint: origin is one of observed, reconstructed",
        );
        let reasons = Reason::ALL.map(Reason::as_str).join(", ");
        check_entry(
            "{dead: duplicated}",
            &format!(
                "s.yaml:4:19: dead: \"duplicated\" is no reason\n\
                 hint: did you mean duplicate? one of {reasons}"
            ),
        );
        check_entry(
            "{dead: duplicate, op: insert}",
            "s.yaml:4:34: op: \"insert\" is not a choice\nhint: op is one of retract",
        );
        check_entry(
            "{gap: 5, op: open}",
            "s.yaml:4:18: gap: 5 is no range of ids\n\
             hint: the first and the last missing id: {gap: [4, 6], op: open}",
        );
        check_entry(
            "{gap: [4, 6]}",
            "s.yaml:4:12: the entry has no op\nhint: op is one of open, close",
        );
        check_entry(
            "{request: [4, 6]}",
            "s.yaml:4:13: there are no requests in this version\n\
             hint: expect changes, dead letters and gaps",
        );
        check_entry(
            "5",
            "s.yaml:4:12: an entry of expect is a mapping\n\
             hint: {op: insert, origin: observed, event: {..}}, {dead: duplicate, ..} or \
             {gap: [from, to], op: open}",
        );
    }

    #[test]
    fn text_that_is_not_yaml() {
        let message = |text: &str| Scenario::from_text(text, "s.yaml").unwrap_err().to_string();
        assert_eq!(message(""), "s.yaml:1:1: there is no scenario");
        assert_eq!(message("# nothing\n"), "s.yaml:1:1: there is no scenario");
        assert_eq!(
            message("a: 1\nb: ["),
            "s.yaml:2:4: not YAML: unclosed bracket '['"
        );
        for text in ["a: *a", "&a [*a]", "a: 1\na: 2", &"[".repeat(100_000)] {
            assert!(message(text).contains(": not YAML: "), "{}", message(text));
        }
    }

    /// As Beam's own file has it, which Python reads.
    #[test]
    fn a_list_may_follow_its_colon() {
        let text = "- {a: [1], values:[1, 2]}\n--- {b:{c: 1}, \"d\":[2]}";
        let scenarios = Scenario::from_text(text, "s.yaml").unwrap();
        assert_eq!(scenarios.len(), 2);
        assert_eq!(scenarios[1].place, "s.yaml:2");
    }

    /// Every scenario of ours is one, whatever the engine makes of it.
    #[test]
    fn our_scenario_files_can_be_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/repair");
        let mut files = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for scenario in Scenario::from_text(&text, &path.display().to_string()).unwrap() {
                let script = scenario
                    .script
                    .unwrap_or_else(|err| panic!("{}", full_message(&err)));
                assert!(
                    script
                        .actions
                        .iter()
                        .any(|action| action.expected.is_some())
                );
            }
            files += 1;
        }
        assert!(files >= 12, "{folder} holds {files} files");
    }
}
