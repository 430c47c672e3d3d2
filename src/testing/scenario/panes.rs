//! Scenarios of windows and triggers: elements, the watermark and the clock, and the panes that must
//! come of each.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::forms::{self, Form, Input, Step};
use super::pane::{Bounds, Content, Entry, Pane};
use super::run::{Outcome, Panes, outcomes};
use super::scalar::Scalar;
use super::setup::{Combine, Setup, length};
use super::transcript::{self, Action, Told};
use super::{error, integer, list, unknown};
use crate::Result;
use crate::repair::spec::tree::{Key, Node, Value};
use crate::testing::pairing::{self, Expectation};
use crate::time::{Epoch, EventTime};
use crate::windowing::{ClosingBehavior, PaneInfo, Window};

/// What a scenario runs and expects.
#[derive(Debug)]
pub(super) struct Script {
    setup: Setup,
    actions: Vec<Action<Step, Entry>>,
}

/// A pane that is expected of an action.
type Expected<'a> = (&'a Action<Step, Entry>, Entry);

/// What a transcript is made of.
const WORDS: [&str; 5] = ["input", "watermark", "clock", "expect", "state"];

impl Script {
    pub(super) fn read(document: &Node) -> Result<Self> {
        let setup = Setup::read(document)?;
        let step = |key: &Key, node: &Node| step(key, node, setup.combine);
        let entry = |node: &Node| Entry::read(node, setup.combine.is_some());
        let words = "input, watermark, clock, expect and state";
        let actions = transcript::read(document, words, step, entry)?;
        Ok(Script { setup, actions })
    }

    /// What does not come as it is told.
    pub(super) fn failures(&self, workers: usize) -> std::result::Result<Vec<String>, String> {
        let steps = || self.actions.iter().map(|action| &action.step);
        let forms: &[Form] = if self.setup.is_order_agnostic() {
            &forms::ALL
        } else {
            &forms::AS_WRITTEN
        };
        let play = forms::play(steps(), forms);
        let batch = self.expected_of_batch();
        let batch_stream = if batch.is_empty() {
            None
        } else {
            forms::batch(steps())
        };
        let has_batch = batch_stream.is_some();
        let outcomes = outcomes(&self.setup, play.stream, batch_stream, workers)
            .map_err(|err| err.to_text())?;
        let mut failures: Vec<String> = self
            .actions
            .iter()
            .enumerate()
            .flat_map(|(at, action)| {
                let of_action = |epoch: Epoch| {
                    let epoch = usize::try_from(epoch).unwrap_or(usize::MAX);
                    play.epochs.get(epoch) == Some(&at)
                };
                let unmatched = unmatched(action, forms, &outcomes, of_action);
                let unfounded = unfounded(action, forms, &outcomes, of_action);
                unmatched.into_iter().chain(unfounded)
            })
            .collect();
        // Where the forms already fail, the batch would only say it again.
        if has_batch && failures.is_empty() {
            failures.extend(batch_failures(&batch, &outcomes));
        }
        Ok(failures)
    }

    /// For every window, and key, the last pane that is expected, where the end of a batch must be
    /// the same.
    fn expected_of_batch(&self) -> Vec<Expected<'_>> {
        let is_last = self.setup.closing == ClosingBehavior::FireIfNonEmpty;
        if !self.setup.is_order_agnostic() || !is_last {
            return Vec::new();
        }
        let mut inputs = self.actions.iter().flat_map(|action| match &action.step {
            Step::Input(inputs) => inputs.as_slice(),
            _ => &[],
        });
        let has_keys = inputs.any(|input| input.key.is_some());
        let mut last: BTreeMap<(Bounds, Option<Scalar>), Expected<'_>> = BTreeMap::new();
        for action in &self.actions {
            let entries = action.expected.iter().flat_map(|(_, entries)| entries);
            for entry in entries {
                if let Some(window) = entry.window
                    && !entry.is_retraction
                    && (entry.key.is_some() || !has_keys)
                {
                    last.insert((window, entry.key.clone()), (action, entry.in_the_end()));
                }
            }
        }
        last.into_values().collect()
    }
}

/// The message about an action whose panes are not as expected, in the first form in which they are
/// not.
fn unmatched(
    action: &Action<Step, Entry>,
    forms: &[Form],
    outcomes: &[Outcome],
    of_action: impl Fn(Epoch) -> bool,
) -> Option<String> {
    let mut first: Option<String> = None;
    let mut more = 0;
    for outcome in outcomes {
        for (number, form) in forms.iter().enumerate() {
            let panes = outcome.panes.iter();
            let panes: Vec<&Pane> = panes
                .filter(|(epoch, own, _)| usize::from(*own) == number && of_action(*epoch))
                .map(|(_, _, pane)| pane)
                .collect();
            let form = format!(", as {}, {}", outcome.shape, form.name);
            let failure = action.failure(&form, |expected| pairing::compare(expected, &panes));
            match (failure, &first) {
                (Some(failure), None) => first = Some(failure),
                (Some(_), Some(_)) => more += 1,
                (None, _) => {}
            }
        }
    }
    let mut message = first?;
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = write!(message, "\nand so in {more} of the other forms");
    }
    Some(message)
}

/// The message about an action that takes a pane back that does not stand.
fn unfounded(
    action: &Action<Step, Entry>,
    forms: &[Form],
    outcomes: &[Outcome],
    of_action: impl Fn(Epoch) -> bool,
) -> Option<String> {
    let mut all = outcomes.iter().flat_map(|outcome| {
        let unfounded = without_standing(&outcome.panes).into_iter();
        unfounded.map(move |(epoch, form, pane)| (outcome.shape, epoch, form, pane))
    });
    let (shape, _, form, pane) = all.find(|(_, epoch, ..)| of_action(*epoch))?;
    let Action { place, what, .. } = action;
    let form = forms.get(usize::from(form)).map_or("", |form| form.name);
    Some(format!(
        "{place}: the {what} takes back a pane that does not stand, as {shape}, {form}\n  {pane}"
    ))
}

/// The retractions that no pane stands for at the end of their epoch.
fn without_standing(panes: &Panes) -> Vec<(Epoch, u8, &Pane)> {
    type Identity<'a> = (u8, Window, Option<&'a Scalar>, &'a Content, i64, PaneInfo);
    fn identity(form: u8, pane: &Pane) -> Identity<'_> {
        let key = pane.key.as_ref();
        (
            form,
            pane.window,
            key,
            &pane.content,
            pane.timestamp,
            pane.info,
        )
    }
    let mut standing: BTreeMap<Identity<'_>, i64> = BTreeMap::new();
    let mut without = Vec::new();
    for of_epoch in panes.chunk_by(|a, b| a.0 == b.0) {
        for (_, form, pane) in of_epoch {
            let change = if pane.is_retraction { -1 } else { 1 };
            *standing.entry(identity(*form, pane)).or_default() += change;
        }
        for (epoch, form, pane) in of_epoch {
            if pane.is_retraction && standing[&identity(*form, pane)] < 0 {
                without.push((*epoch, *form, pane));
            }
        }
    }
    without
}

/// What a batch ends with that is not what is expected last.
fn batch_failures(expected: &[Expected<'_>], outcomes: &[Outcome]) -> Vec<String> {
    let failure = |(action, entry): &Expected<'_>| {
        let (at, _) = action.expected.as_ref()?;
        outcomes.iter().find_map(|outcome| {
            let last = last_panes(&outcome.batch);
            if last.iter().any(|pane| entry.matches(pane)) {
                return None;
            }
            let table = pairing::compare(std::slice::from_ref(entry), &last)?;
            let shape = outcome.shape;
            Some(format!(
                "{at}: unmatched output of all elements in one bundle, as {shape}\n{table}"
            ))
        })
    };
    expected.iter().filter_map(failure).collect()
}

/// The last pane of every window and key.
fn last_panes(panes: &Panes) -> Vec<&Pane> {
    let mut last: BTreeMap<(Window, Option<&Scalar>), &Pane> = BTreeMap::new();
    for (_, _, pane) in panes {
        last.insert((pane.window, pane.key.as_ref()), pane);
    }
    last.into_values().collect()
}

/// A step of a transcript.
fn step(key: &Key, node: &Node, combine: Option<Combine>) -> Result<Told<Step>> {
    match key.text.as_str() {
        "input" => {
            let inputs = list(node, "input")?.iter();
            let inputs = inputs.map(|node| input(node, combine));
            Ok(Told::Step(
                "input",
                Step::Input(inputs.collect::<Result<_>>()?),
            ))
        }
        "watermark" => Ok(Told::Step("watermark", Step::Watermark(watermark(node)?))),
        "clock" => Ok(Told::Step("clock", Step::Clock(length(node, "clock")?))),
        "state" => state(node).map(|()| Told::Nothing),
        _ => Err(unknown(key, "the transcript", &WORDS)),
    }
}

/// An element: its value and event time in one, or each for itself, or with a key.
fn input(node: &Node, combine: Option<Combine>) -> Result<Input> {
    let hint = "an integer, which is value and event time, [value, time] or [key, value, time]";
    let (key, value, time) = match &node.value {
        Value::Integer(..) => (None, node, node),
        Value::List(parts) => match parts.as_slice() {
            [value, time] => (None, value, time),
            [key, value, time] => (Some(key), value, time),
            parts => {
                let what = format!("an element of {} parts", parts.len());
                return Err(error(node, what).with_hint(hint));
            }
        },
        Value::Table(_) => {
            return Err(error(node, "an element is a table")
                .with_hint("a scenario of events says dataflow: repair"));
        }
        value => {
            let what = format!("{value} is no element");
            return Err(error(node, what).with_hint(hint));
        }
    };
    let key = key.map(|key| Scalar::read(key, "the key")).transpose()?;
    let time = EventTime(integer(time, "the event time")?);
    let of_numbers = matches!(combine, Some(Combine::Sum | Combine::Mean));
    let scalar = Scalar::read(value, "the value")?;
    if of_numbers && !scalar.is_number() {
        return Err(error(value, format_args!("{scalar} is no number"))
            .with_hint("only numbers have a sum or a mean"));
    }
    Ok(Input {
        key,
        value: scalar,
        time,
    })
}

/// An event time, or `infinity` after the last element.
fn watermark(node: &Node) -> Result<EventTime> {
    match &node.value {
        Value::Text(text) if text == "infinity" => Ok(EventTime::MAX),
        _ => integer(node, "watermark").map(EventTime),
    }
}

/// What Beam's files tell of windows that hold something. No runner checks it, and neither do we;
/// but it must be what it says it is.
fn state(node: &Node) -> Result<()> {
    const KEYS: [&str; 3] = ["present", "absent", "tombstone"];
    let Value::Table(members) = &node.value else {
        return Err(error(node, format_args!("state is {}", node.value.kind()))
            .with_hint("such as {present: [[0, 9]], absent: [], tombstone: []}"));
    };
    for (key, windows) in members {
        if !KEYS.contains(&key.text.as_str()) {
            return Err(unknown(key, "state", &KEYS));
        }
        for window in list(windows, &key.text)? {
            Bounds::read(window)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
