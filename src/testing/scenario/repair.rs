//! Scenarios of the repair: events in, and the changes, dead letters and gaps that must come of them.

use serde_json::Map;

use super::transcript::{self, Action, Told};
use super::{error, list, member, unknown};
use crate::event::{Reason, TimestampFormat};
use crate::repair::spec::read::{self, Rules};
use crate::repair::spec::table::nearest;
use crate::repair::spec::tree::{Key, Node, Value, quote};
use crate::repair::spec::{FileText, JournalSpec, SinkKind, SinkSpec, Sinks, SourceSpec};
use crate::repair::{Dataflow, Outputs, Step};
use crate::testing::expect::{self, Entry, EntryKind};
use crate::testing::yaml;
use crate::time::EventTime;
use crate::{Error, Result};

/// The tables of a dataflow file that a scenario may have.
const TABLES: [&str; 4] = ["event", "dedup", "gaps", "watermark"];

/// What a scenario runs and expects.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) dataflow: Dataflow,
    pub(super) actions: Vec<Action<Step, Entry>>,
}

impl Script {
    /// Reads a document, whose name is known already.
    pub(super) fn read(document: &Node, members: &[(Key, Node)], name: &str) -> Result<Self> {
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
        let format = rules.event.timestamp_format;
        let step = |key: &Key, node: &Node| step(key, node, format);
        let actions = transcript::read(document, WORDS, step, entry)?;
        Ok(Script {
            dataflow: dataflow(name, rules),
            actions,
        })
    }

    /// What does not come as it is told.
    pub(super) fn failures(
        &self,
        run: impl FnOnce(&Dataflow, Vec<Step>) -> Result<Outputs>,
    ) -> std::result::Result<Vec<String>, String> {
        let steps = self
            .actions
            .iter()
            .map(|action| action.step.clone())
            .collect();
        let outputs = run(&self.dataflow, steps).map_err(|err| err.to_text())?;
        let written = expect::written(&outputs, self.actions.len())?;
        let failures = self.actions.iter().zip(&written);
        Ok(failures
            .filter_map(|(action, written)| {
                action.failure("", |expected| expect::compare(expected, written))
            })
            .collect())
    }
}

/// What a transcript is made of.
const WORDS: &str = "input, watermark and expect";

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
        horizon: rules.horizon,
        gaps: rules.gaps,
        watermark: rules.watermark,
        dead_share: None,
        sinks: Sinks {
            clean: sink,
            changes: Some(sink),
            dead: sink,
            gaps: Some(sink),
        },
        journal: JournalSpec::default(),
        text: FileText::default(),
    }
}

/// A step of a transcript.
fn step(key: &Key, node: &Node, format: TimestampFormat) -> Result<Told<Step>> {
    match key.text.as_str() {
        "input" => Ok(Told::Step(
            "input",
            Step {
                records: records(node)?,
                watermark: None,
            },
        )),
        "watermark" => Ok(Told::Step(
            "watermark",
            Step {
                records: Vec::new(),
                watermark: Some(watermark(node, format)?),
            },
        )),
        other => Err(
            unknown(key, "the transcript", &["input", "watermark", "expect"]).with_hint(
                match other {
                    "clock" | "state" => "the repair dataflow has no triggers",
                    _ => "one of input, watermark and expect",
                },
            ),
        ),
    }
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
