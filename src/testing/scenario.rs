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
            Err(err) => Err(err.to_text()),
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
        let outputs = run(&self.dataflow, steps).map_err(|err| err.to_text())?;
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
        Value::Text(text) => {
            EventTime::parse(text)
                .ok_or_else(|| wrong("is no instant"))?
                .0
        }
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
mod tests;
