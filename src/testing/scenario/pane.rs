//! A pane as a scenario sees it, and what an entry of an `expect` list says of one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::scalar::Scalar;
use super::{error, integer, list, member, unknown};
use crate::Result;
use crate::pcollection::Element;
use crate::repair::spec::tree::{Node, Value, quote};
use crate::testing::pairing::Expectation;
use crate::windowing::{PaneInfo, Timing, Window};

/// What a pane holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Content {
    /// All values, in order.
    Values(Vec<Scalar>),
    /// What they were combined to.
    Value(Scalar),
}

/// A pane that was let through, or taken back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pane {
    pub(super) window: Window,
    pub(super) key: Option<Scalar>,
    pub(super) content: Content,
    pub(super) timestamp: i64,
    pub(super) info: PaneInfo,
    pub(super) is_retraction: bool,
}

impl Pane {
    pub(super) fn new(key: Option<Scalar>, element: Element<Content>, diff: isize) -> Self {
        Pane {
            window: element.window,
            key,
            content: element.value,
            timestamp: element.event_time.0,
            info: element.pane,
            is_retraction: diff < 0,
        }
    }
}

/// An entry of an `expect` list: what it says nothing about may be anything.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) window: Option<Bounds>,
    pub(super) key: Option<Scalar>,
    pub(super) content: Option<Content>,
    pub(super) timestamp: Option<i64>,
    early: Option<bool>,
    late: Option<bool>,
    index: Option<i64>,
    nonspeculative_index: Option<i64>,
    is_final: Option<bool>,
    pub(super) is_retraction: bool,
}

/// A window as a scenario writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bounds {
    Global,
    /// The first and the last instant.
    Inclusive(i64, i64),
}

/// What an entry can say.
const KEYS: [&str; 11] = [
    "window",
    "key",
    "values",
    "value",
    "timestamp",
    "early",
    "late",
    "index",
    "nonspeculative_index",
    "final",
    "retraction",
];

impl Entry {
    /// The entry that `node` writes, of a document whose panes hold values, or one value where they
    /// are combined.
    pub(super) fn read(node: &Node, is_combined: bool) -> Result<Entry> {
        let Value::Table(members) = &node.value else {
            return Err(error(node, "an entry of expect is a mapping")
                .with_hint("such as {window: [0, 9], values: [1, 2]}"));
        };
        if let Some((key, _)) = members
            .iter()
            .find(|(key, _)| !KEYS.contains(&key.text.as_str()))
        {
            return Err(unknown(key, "an expected pane", &KEYS));
        }
        let get = |name: &str| member(node, name).map(|(_, node)| node);
        let boolean = |name: &str| get(name).map(|node| boolean(node, name)).transpose();
        let integer = |name: &str| get(name).map(|node| integer(node, name)).transpose();
        let key = get("key")
            .map(|node| Scalar::read(node, "the key"))
            .transpose();
        let content = match (get("values"), get("value")) {
            (None, None) => None,
            (Some(node), _) if is_combined => {
                return Err(error(node, "values of a pane that holds one value")
                    .with_hint("where the document says combine, write value: .."));
            }
            (_, Some(node)) if !is_combined => {
                return Err(error(node, "value of a pane that holds all values")
                    .with_hint("write values: [..], or say combine in the document"));
            }
            (Some(node), _) => Some(Content::Values(values(node)?)),
            (None, Some(node)) => Some(Content::Value(Scalar::read(node, "the value")?)),
        };
        Ok(Entry {
            window: get("window").map(Bounds::read).transpose()?,
            key: key?,
            content,
            timestamp: integer("timestamp")?,
            early: boolean("early")?,
            late: boolean("late")?,
            index: integer("index")?,
            nonspeculative_index: integer("nonspeculative_index")?,
            is_final: boolean("final")?,
            is_retraction: boolean("retraction")?.unwrap_or(false),
        })
    }

    /// The entry without what depends on how elements came.
    pub(super) fn in_the_end(&self) -> Entry {
        Entry {
            early: None,
            late: None,
            index: None,
            nonspeculative_index: None,
            is_final: None,
            ..self.clone()
        }
    }
}

fn values(node: &Node) -> Result<Vec<Scalar>> {
    let values = list(node, "values")?.iter();
    let mut values = values
        .map(|value| Scalar::read(value, "a value"))
        .collect::<Result<Vec<_>>>()?;
    values.sort();
    Ok(values)
}

fn boolean(node: &Node, name: &str) -> Result<bool> {
    match node.value {
        Value::Bool(value) => Ok(value),
        _ => Err(
            error(node, format_args!("{name}: {} is not a choice", node.value))
                .with_hint(format!("{name} is true or false, without quotes")),
        ),
    }
}

impl Bounds {
    pub(super) fn read(node: &Node) -> Result<Bounds> {
        const HINT: &str = "its first and its last instant, both in it: [0, 9], or global";
        match &node.value {
            Value::Text(text) if text == "global" => Ok(Bounds::Global),
            Value::Text(text) => {
                let what = format!("window: {} is no window", quote(text));
                Err(error(node, what).with_hint(HINT))
            }
            Value::List(bounds) if bounds.len() == 2 => {
                let [start, end] = [&bounds[0], &bounds[1]].map(|node| integer(node, "window"));
                Ok(Bounds::Inclusive(start?, end?))
            }
            value => Err(error(node, format_args!("window: {value} is no window")).with_hint(HINT)),
        }
    }

    fn of(window: Window) -> Bounds {
        if window == Window::GLOBAL {
            return Bounds::Global;
        }
        Bounds::Inclusive(window.start.0, window.max_timestamp().0)
    }
}

impl Content {
    fn means(&self, other: &Content) -> bool {
        match (self, other) {
            (Content::Value(a), Content::Value(b)) => a.means(b),
            (Content::Values(a), Content::Values(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.means(b))
            }
            _ => false,
        }
    }
}

impl Expectation for Entry {
    type Written = Pane;

    fn matches(&self, pane: &Pane) -> bool {
        fn is<T: PartialEq>(expected: &Option<T>, got: T) -> bool {
            expected.as_ref().is_none_or(|expected| *expected == got)
        }
        let info = pane.info;
        let key = || {
            let key = self.key.as_ref();
            key.is_none_or(|key| pane.key.as_ref().is_some_and(|own| key.means(own)))
        };
        let content = || {
            self.content
                .as_ref()
                .is_none_or(|own| own.means(&pane.content))
        };
        self.is_retraction == pane.is_retraction
            && is(&self.window, Bounds::of(pane.window))
            && is(&self.timestamp, pane.timestamp)
            && is(&self.early, info.timing == Timing::Early)
            && is(&self.late, info.timing == Timing::Late)
            && is(&self.index, i64::from(info.index))
            && is(
                &self.nonspeculative_index,
                i64::from(info.nonspeculative_index),
            )
            && is(&self.is_final, info.is_closed)
            && key()
            && content()
    }
}

/// Both are shown as an entry is written.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn add(parts: &mut Vec<String>, name: &str, value: Option<impl fmt::Display>) {
            parts.extend(value.map(|value| format!("{name}: {value}")));
        }
        let mut parts = Vec::new();
        add(&mut parts, "retraction", self.is_retraction.then_some(true));
        add(&mut parts, "window", self.window);
        add(&mut parts, "key", self.key.as_ref());
        parts.extend(self.content.as_ref().map(Content::to_string));
        add(&mut parts, "timestamp", self.timestamp);
        add(&mut parts, "early", self.early);
        add(&mut parts, "late", self.late);
        add(&mut parts, "index", self.index);
        add(
            &mut parts,
            "nonspeculative_index",
            self.nonspeculative_index,
        );
        add(&mut parts, "final", self.is_final);
        write!(f, "{{{}}}", parts.join(", "))
    }
}

impl fmt::Display for Pane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let if_so = |value: bool| value.then_some(true);
        let timing = self.info.timing;
        let entry = Entry {
            window: Some(Bounds::of(self.window)),
            key: self.key.clone(),
            content: Some(self.content.clone()),
            timestamp: Some(self.timestamp),
            early: if_so(timing == Timing::Early),
            late: if_so(timing == Timing::Late),
            index: Some(self.info.index.into()),
            nonspeculative_index: Some(self.info.nonspeculative_index.into()),
            is_final: if_so(self.info.is_closed),
            is_retraction: self.is_retraction,
        };
        entry.fmt(f)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Value(value) => write!(f, "value: {value}"),
            Content::Values(values) => {
                let values: Vec<String> = values.iter().map(Scalar::to_string).collect();
                write!(f, "values: [{}]", values.join(", "))
            }
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bounds::Global => f.write_str("global"),
            Bounds::Inclusive(start, end) => write!(f, "[{start}, {end}]"),
        }
    }
}
