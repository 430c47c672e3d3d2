//! Scenario files: a stream told step by step, and what must come of each.
//!
//! A file holds YAML documents, one a scenario. A document tells of windows and triggers, in the
//! format of Beam's `trigger_transcripts.yaml`, which is run unchanged:
//!
//! ```yaml
//! name: a late element amends the sum
//! window_fn: FixedWindows(10)
//! trigger_fn: AfterWatermark(early=AfterCount(2), late=AfterCount(1))
//! accumulation_mode: retracting    # or accumulating, as without it, or discarding
//! allowed_lateness: 100
//! combine: sum                     # count, min, max, mean; without it panes have values
//! transcript:
//!   - input: [1, [20, 2]]          # one bundle: value and event time in one, or [value, time],
//!   - expect:                      # or [key, value, time]
//!       - {window: [0, 9], value: 21, early: true, index: 0}
//!   - watermark: 10                # or infinity
//!   - expect:
//!       - {window: [0, 9], value: 21, retraction: true}
//!       - {window: [0, 9], value: 21, timestamp: 9, index: 1, nonspeculative_index: 0}
//!   - clock: 60                    # processing time goes on by so much
//!   - input: [3]
//!   - expect:
//!       - {window: [0, 9], value: 21, retraction: true}
//!       - {window: [0, 9], value: 24, late: true, final: false}
//! ```
//!
//! Times are integers of any unit. An entry of `expect` matches a pane that has all the attributes
//! that it names; of a window it names the first and the last instant, or `global`. The head of a
//! document may say `timestamp_combiner` (`OUTPUT_AT_EOW`, `OUTPUT_AT_EARLIEST`,
//! `OUTPUT_AT_LATEST`, `OUTPUT_AT_EARLIEST_TRANSFORMED`), `on_time_behavior` and `closing_behavior`
//! (`FIRE_ALWAYS`, `FIRE_IF_NON_EMPTY`), and `merge: touching`, which lets sessions merge that have
//! no instant in common, but no break between them. Triggers are `Default`, `AfterWatermark`,
//! `AfterCount(n)`, `AfterProcessingTime(delay, align=period)`, `Repeatedly`, `AfterAny`,
//! `AfterAll`, `AfterEach`, `OrFinally`, `Always` and `Never`; windows `GlobalWindows`,
//! `FixedWindows(size, offset)`, `SlidingWindows(size, period)` and `Sessions(gap_size)`. Every
//! document is run as GroupByKey and as CombinePerKey, and where the order of elements must not
//! matter, in several orders and bundlings.
//!
//! With `dataflow: repair` a document tells of events:
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
//! Gaps opening and closing are compared only where a step's list has an entry
//! `{gap: [from, to], op: open}`.
//!
//! In both kinds every `input`, `watermark` and `clock` is a step of its own. What follows a step in
//! one or more `expect` lists must be all that comes of it; of a step without one nothing must come.
//! In a document with `error:` the check itself must fail with a message that matches, a regular
//! expression that ignores case. Other keys of a document are ignored.

mod call;
mod forms;
mod pane;
mod panes;
mod repair;
mod run;
mod scalar;
mod setup;
mod transcript;
mod trigger;
mod windows;

use regex::RegexBuilder;

use super::yaml;
use crate::repair::spec::table::nearest;
use crate::repair::spec::tree::{Key, Node, Place, Value, quote};
use crate::repair::{Dataflow, Outputs, Step, run_steps};
use crate::{Error, Result};

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
enum Script {
    Panes(panes::Script),
    Repair(Box<repair::Script>),
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
                .with_hint("a scenario is a YAML document with name and transcript"));
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
        self.judge(|script| match script {
            Script::Panes(script) => script.failures(workers),
            Script::Repair(script) => {
                script.failures(|dataflow, steps| run_steps(dataflow, steps, workers))
            }
        })
    }

    /// As [`Scenario::check`], with `run` in place of the repair. A scenario of windows is read, and
    /// not run.
    ///
    /// # Errors
    /// As [`Scenario::check`].
    pub fn check_with(
        &self,
        run: impl FnOnce(&Dataflow, Vec<Step>) -> Result<Outputs>,
    ) -> std::result::Result<(), String> {
        self.judge(|script| match script {
            Script::Panes(_) => Ok(Vec::new()),
            Script::Repair(script) => script.failures(run),
        })
    }

    /// Whether what `failures` finds is what the document says.
    fn judge(
        &self,
        failures: impl FnOnce(&Script) -> std::result::Result<Vec<String>, String>,
    ) -> std::result::Result<(), String> {
        let result = match &self.script {
            Ok(script) => failures(script).and_then(verdict),
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

fn verdict(failures: Vec<String>) -> std::result::Result<(), String> {
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
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
        .with_hint("a scenario is a mapping with name and transcript"));
    };
    match member(document, "dataflow").map(|(_, node)| node) {
        Some(Node {
            value: Value::Text(text),
            ..
        }) if text == "repair" => repair::Script::read(document, members, name)
            .map(|script| Script::Repair(Box::new(script))),
        Some(other) => Err(
            error(other, format_args!("there is no dataflow {}", other.value)).with_hint(
                "dataflow: repair is for events; a scenario of windows and triggers has none",
            ),
        ),
        None => panes::Script::read(document).map(Script::Panes),
    }
}

/// The whole number that `node` is; `what` names it in messages.
fn integer(node: &Node, what: &str) -> Result<i64> {
    let hint = "a whole number of 64 bits, without quotes";
    match &node.value {
        Value::Integer(number, text) => number
            .and_then(|number| i64::try_from(number).ok())
            .ok_or_else(|| error(node, format_args!("{what}: {text} is out of range")))
            .map_err(|err| err.with_hint(hint)),
        value => {
            Err(error(node, format_args!("{what}: {value} is no whole number")).with_hint(hint))
        }
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
