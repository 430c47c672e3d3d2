//! The transcript of a scenario, whatever it tells of: steps, and what is expected of each.

use super::{error, list, member};
use crate::repair::spec::tree::{Key, Node, Place, Value};
use crate::{Error, Result};

/// A step and what is expected of it.
#[derive(Debug)]
pub(super) struct Action<S, E> {
    pub(super) place: Place,
    pub(super) what: &'static str,
    pub(super) step: S,
    /// The place of the first `expect` list after the step, and the entries of all of them.
    pub(super) expected: Option<(Place, Vec<E>)>,
}

/// What an item of a transcript that expects nothing tells.
pub(super) enum Told<S> {
    /// Something that is done, by its name in messages.
    Step(&'static str, S),
    /// Nothing that is run.
    Nothing,
}

/// The actions of a document's transcript, which is made of `words`.
pub(super) fn read<S, E>(
    document: &Node,
    words: &str,
    mut step: impl FnMut(&Key, &Node) -> Result<Told<S>>,
    mut entry: impl FnMut(&Node) -> Result<E>,
) -> Result<Vec<Action<S, E>>> {
    let mut actions: Vec<Action<S, E>> = Vec::new();
    for item in transcript(document, words)? {
        let (key, node) = match &item.value {
            Value::Table(members) if members.len() == 1 => &members[0],
            _ => {
                return Err(
                    error(item, "an item of the transcript is a mapping with one key")
                        .with_hint(format!("one of {words}")),
                );
            }
        };
        if key.text == "expect" {
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
        } else if let Told::Step(what, step) = step(key, node)? {
            actions.push(Action {
                place: key.place.clone(),
                what,
                step,
                expected: None,
            });
        }
    }
    Ok(actions)
}

fn transcript<'a>(document: &'a Node, words: &str) -> Result<&'a [Node]> {
    match member(document, "transcript").map(|(_, node)| node) {
        Some(Node {
            value: Value::List(list),
            ..
        }) => Ok(list),
        Some(node) => Err(
            error(node, format_args!("transcript is {}", node.value.kind()))
                .with_hint(format!("a list of {words}")),
        ),
        None => Err(error(document, "the scenario has no transcript")
            .with_hint(format!("add a list of {words}"))),
    }
}

impl<S, E> Action<S, E> {
    /// The message about a step of which something else comes than is expected; `compare` shows
    /// the difference, where there is one. `form` says how the step was run.
    pub(super) fn failure(
        &self,
        form: &str,
        compare: impl FnOnce(&[E]) -> Option<String>,
    ) -> Option<String> {
        let Action { place, what, .. } = self;
        match &self.expected {
            Some((at, expected)) => {
                let table = compare(expected)?;
                Some(format!(
                    "{at}: unmatched output of the {what} at {place}{form}\n{table}"
                ))
            }
            None => {
                let table = compare(&[])?;
                Some(format!(
                    "{place}: unexpected output of the {what}{form}\n{table}"
                ))
            }
        }
    }
}
