//! The dead letters of an output folder that stand.
//!
//! One rule: `dead.jsonl` is a changelog. Of the letters about one place with one reason, as many are
//! withdrawn as there are lines that say so, the first ones first; only the others are lent. The
//! withdrawals are read in advance, so memory follows their number and not that of the letters.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::balance::{Lend, Lines};
use crate::event::Reason;
use crate::{Error, Result};

/// A dead letter, without its epoch and its detail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Letter {
    pub(super) reason: Reason,
    /// The source of the record, or the stream and the ids of a gap, as they are written.
    pub(super) place: Box<str>,
    /// The record, where it is a JSON object.
    pub(super) event: Option<Box<str>>,
    /// The members that a record has which is none.
    raw: Box<str>,
}

impl Letter {
    /// The reason and the record; none where the letter is about gaps.
    pub(super) fn without_place(&self) -> Option<Letter> {
        self.reason.is_about_record().then(|| Letter {
            place: Box::default(),
            ..self.clone()
        })
    }

    /// Reason and place, for a person.
    pub(super) fn describe(&self) -> String {
        let place: Value = serde_json::from_str(&self.place).unwrap_or_default();
        let text = |name: &str| match place.get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let reason = self.reason;
        match (place.get("stream"), place.get("from"), place.get("to")) {
            (Some(stream), Some(from), Some(to)) => {
                format!("{reason} in stream {stream}, ids {from} to {to}")
            }
            (Some(stream), ..) => format!("{reason} in stream {stream}"),
            _ => format!("{reason} at {}:{}", text("partition"), text("line")),
        }
    }

    /// As [`Letter::describe`], and the record.
    pub(super) fn describe_whole(&self) -> String {
        let record = self.event.as_ref().unwrap_or(&self.raw);
        format!("{} {record}", self.describe())
            .trim_end()
            .to_owned()
    }
}

/// A line of `dead.jsonl`.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    op: Op,
    reason: Reason,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    raw: Option<&'a RawValue>,
    #[serde(borrow)]
    raw_base64: Option<&'a RawValue>,
    #[serde(borrow)]
    length: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Op {
    #[default]
    Insert,
    Retract,
}

impl Line<'_> {
    /// The place as a JSON object.
    fn place(&self) -> Box<str> {
        match self.source {
            Some(source) => source.get().into(),
            None => members([
                ("stream", self.stream),
                ("from", self.from),
                ("to", self.to),
            ]),
        }
    }

    fn to_letter(&self) -> Letter {
        let raw = [
            ("raw", self.raw),
            ("raw_base64", self.raw_base64),
            ("length", self.length),
        ];
        Letter {
            reason: self.reason,
            place: self.place(),
            event: self.event.map(|event| event.get().into()),
            raw: members(raw),
        }
    }
}

/// The JSON object of the members that are there; empty where none is.
fn members<const N: usize>(members: [(&str, Option<&RawValue>); N]) -> Box<str> {
    let mut object = String::new();
    for (name, value) in members {
        if let Some(value) = value {
            object.push(if object.is_empty() { '{' } else { ',' });
            object.push_str(&format!("\"{name}\":{}", value.get()));
        }
    }
    if !object.is_empty() {
        object.push('}');
    }
    object.into()
}

/// The standing letters of a file, in its order.
#[derive(Debug)]
pub(super) struct Letters {
    lines: Lines,
    withdrawn: HashMap<(Reason, Box<str>), u64, foldhash::fast::RandomState>,
    /// The one that was lent last.
    letter: Option<Letter>,
}

impl Letters {
    pub(super) fn open(path: &Path) -> Result<Letters> {
        let mut withdrawn: HashMap<_, u64, _> = HashMap::default();
        let mut lines = Lines::open(path)?;
        while lines.advance()? {
            let line = parse(&lines)?;
            if line.op == Op::Retract {
                *withdrawn.entry((line.reason, line.place())).or_default() += 1;
            }
        }
        Ok(Letters {
            lines: Lines::open(path)?,
            withdrawn,
            letter: None,
        })
    }

    /// Whether `letter` is one that is withdrawn later.
    fn is_withdrawn(&mut self, letter: &Letter) -> bool {
        if self.withdrawn.is_empty() {
            return false;
        }
        let key = (letter.reason, letter.place.clone());
        match self.withdrawn.get_mut(&key) {
            None => false,
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    self.withdrawn.remove(&key);
                }
                true
            }
        }
    }
}

impl Lend for Letters {
    type Item = Letter;

    fn next(&mut self) -> Result<Option<&Letter>> {
        while self.lines.advance()? {
            let line = parse(&self.lines)?;
            if line.op == Op::Insert {
                let letter = line.to_letter();
                if !self.is_withdrawn(&letter) {
                    return Ok(Some(self.letter.insert(letter)));
                }
            }
        }
        Ok(None)
    }
}

fn parse(lines: &Lines) -> Result<Line<'_>> {
    serde_json::from_slice(lines.current()).map_err(|error| {
        Error::usage(format!("{} is no dead letter", lines.place())).with_source(error)
    })
}
