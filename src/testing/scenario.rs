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

mod repair;
mod transcript;

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
    Repair(repair::Script),
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
        self.check_with(|dataflow, steps| run_steps(dataflow, steps, workers))
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
            Ok(Script::Repair(script)) => script.failures(run).and_then(verdict),
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
        .with_hint("a scenario is a mapping with name, dataflow and transcript"));
    };
    match member(document, "dataflow").map(|(_, node)| node) {
        Some(Node {
            value: Value::Text(text),
            ..
        }) if text == "repair" => repair::Script::read(document, members, name).map(Script::Repair),
        Some(other) => Err(
            error(other, format_args!("there is no dataflow {}", other.value))
                .with_hint("this version runs scenarios with dataflow: repair"),
        ),
        None => Err(error(document, "the scenario names no dataflow")
            .with_hint("this version runs only scenarios with dataflow: repair")),
    }
}

pub(super) fn list<'a>(node: &'a Node, what: &str) -> Result<&'a [Node]> {
    match &node.value {
        Value::List(list) => Ok(list),
        value => Err(error(node, format_args!("{what} is {}", value.kind()))
            .with_hint(format!("write a list: {what}: [..]"))),
    }
}

pub(super) fn member<'a>(node: &'a Node, name: &str) -> Option<&'a (Key, Node)> {
    match &node.value {
        Value::Table(members) => members.iter().find(|(key, _)| key.text == name),
        _ => None,
    }
}

pub(super) fn unknown(key: &Key, table: &str, keys: &[&str]) -> Error {
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

pub(super) fn error(node: &Node, what: impl std::fmt::Display) -> Error {
    Error::usage(format!("{}: {what}", node.place))
}

#[cfg(test)]
mod tests;
