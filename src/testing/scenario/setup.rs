//! What the head of a document about windows says: the windows, when their panes are let through,
//! and what a pane holds.

use std::time::Duration;

use super::call::suggestion;
use super::windows::Windows;
use super::{error, integer, member, trigger};
use crate::Result;
use crate::repair::spec::tree::{Node, Value};
use crate::windowing::{
    Accumulation, ClosingBehavior, OnTimeBehavior, TimestampCombiner, Trigger, Windowing,
};

/// What the head of a document says.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) windows: Windows,
    pub(super) trigger: Trigger,
    pub(super) accumulation: Accumulation,
    pub(super) combiner: TimestampCombiner,
    pub(super) allowed_lateness: Duration,
    pub(super) on_time: OnTimeBehavior,
    pub(super) closing: ClosingBehavior,
    /// What is made of the values of a pane; without it a pane holds them all.
    pub(super) combine: Option<Combine>,
}

/// What is made of the values of a pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combine {
    Sum,
    Count,
    Min,
    Max,
    Mean,
}

impl Setup {
    pub(super) fn read(document: &Node) -> Result<Setup> {
        let get = |key: &str| member(document, key).map(|(_, node)| node);
        let windows = get("window_fn").map_or(Ok(Windows::Global), Windows::read)?;
        let trigger = get("trigger_fn").map_or(Ok(Trigger::Default), trigger::read)?;
        let lateness = get("allowed_lateness").map(|node| length(node, "allowed_lateness"));
        Ok(Setup {
            windows: touching(document, windows)?,
            trigger,
            accumulation: choice(document, "accumulation_mode", &ACCUMULATIONS)?
                .unwrap_or(Accumulation::Accumulating),
            combiner: choice(document, "timestamp_combiner", &COMBINERS)?.unwrap_or_default(),
            allowed_lateness: lateness.transpose()?.unwrap_or_default(),
            on_time: choice(document, "on_time_behavior", &ON_TIME)?.unwrap_or_default(),
            closing: choice(document, "closing_behavior", &CLOSING)?.unwrap_or_default(),
            combine: choice(document, "combine", &COMBINES)?,
        })
    }

    pub(super) fn windowing(&self) -> Windowing<Windows> {
        Windowing::of(self.windows)
            .triggering(self.trigger.clone())
            .accumulation(self.accumulation)
            .allowed_lateness(self.allowed_lateness)
            .timestamp_combiner(self.combiner)
            .on_time(self.on_time)
            .closing(self.closing)
            .allow_unsafe_trigger()
    }

    /// Whether it does not matter in which bundles the elements come that are not late.
    pub(super) fn is_order_agnostic(&self) -> bool {
        self.trigger == Trigger::Default && self.accumulation == Accumulation::Accumulating
    }
}

const ACCUMULATIONS: [(&str, Accumulation); 3] = [
    ("accumulating", Accumulation::Accumulating),
    ("discarding", Accumulation::Discarding),
    ("retracting", Accumulation::Retracting),
];

const COMBINERS: [(&str, TimestampCombiner); 4] = [
    ("OUTPUT_AT_EOW", TimestampCombiner::EndOfWindow),
    ("OUTPUT_AT_EARLIEST", TimestampCombiner::Earliest),
    ("OUTPUT_AT_LATEST", TimestampCombiner::Latest),
    (
        "OUTPUT_AT_EARLIEST_TRANSFORMED",
        TimestampCombiner::EarliestTransformed,
    ),
];

const ON_TIME: [(&str, OnTimeBehavior); 2] = [
    ("FIRE_ALWAYS", OnTimeBehavior::FireAlways),
    ("FIRE_IF_NON_EMPTY", OnTimeBehavior::FireIfNonEmpty),
];

const CLOSING: [(&str, ClosingBehavior); 2] = [
    ("FIRE_ALWAYS", ClosingBehavior::FireAlways),
    ("FIRE_IF_NON_EMPTY", ClosingBehavior::FireIfNonEmpty),
];

const COMBINES: [(&str, Combine); 5] = [
    ("sum", Combine::Sum),
    ("count", Combine::Count),
    ("min", Combine::Min),
    ("max", Combine::Max),
    ("mean", Combine::Mean),
];

/// The choice that a document makes for `key`, whatever the case of its letters.
fn choice<T: Copy>(document: &Node, key: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
    let Some((_, node)) = member(document, key) else {
        return Ok(None);
    };
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let listed = format!("{key} is one of {}", names.join(", "));
    let hint = match &node.value {
        Value::Text(text) => {
            let is_it = |(name, _): &&(&str, T)| name.eq_ignore_ascii_case(text);
            if let Some((_, choice)) = choices.iter().find(is_it) {
                return Ok(Some(*choice));
            }
            suggestion(text, &listed, &names)
        }
        _ => listed,
    };
    let what = format_args!("{key}: {} is not a choice", node.value);
    Err(error(node, what).with_hint(hint))
}

/// `windows`, as the document's `merge` has them.
fn touching(document: &Node, windows: Windows) -> Result<Windows> {
    let Some((_, node)) = member(document, "merge") else {
        return Ok(windows);
    };
    match &node.value {
        Value::Text(text) if text == "touching" => windows.merge_touching().ok_or_else(|| {
            error(node, "merge: only sessions merge")
                .with_hint("leave merge out, or say window_fn: Sessions(gap)")
        }),
        value => Err(
            error(node, format_args!("merge: {value} is not a choice")).with_hint(
                "merge is touching; without it only sessions with an instant in common merge",
            ),
        ),
    }
}

/// A length of time, which is not negative.
pub(super) fn length(node: &Node, key: &str) -> Result<Duration> {
    let units = integer(node, key)?;
    u64::try_from(units)
        .map(Duration::from_micros)
        .map_err(|_| {
            error(node, format_args!("{key}: {units} is negative"))
                .with_hint("a whole number of units, 0 or more")
        })
}
