//! Tables and fields of a configuration tree, asked for by name and type.
//!
//! A [`Table`] refuses keys that it does not know, with the nearest right name; a [`Field`]
//! refuses values of another type or outside the range. Nothing here knows what a key means.

use std::fmt;
use std::time::Duration;

use super::tree::{Node, Place, Value, quote};
use crate::event::FieldPath;
use crate::{Error, Result};

/// The keys of one table.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The table's path; empty for the file itself.
    pub(crate) name: &'static str,
    /// The keys, in the order in which messages list them.
    pub(crate) keys: &'static [&'static str],
    /// Keys that other versions have, and what to do without them.
    pub(crate) later: &'static [(&'static str, &'static str)],
}

/// One table of the tree, with the keys it may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    schema: &'static Schema,
    place: &'a Place,
    members: &'a [(super::tree::Key, Node)],
}

/// One value of a table.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    /// How messages name it: `[gaps] type`, or `name` at the top.
    label: String,
    pub(crate) node: &'a Node,
}

impl<'a> Table<'a> {
    /// Takes `node` as the table that `schema` describes; `others` are searched for a table to
    /// which a misplaced key belongs.
    pub(crate) fn open(
        node: &'a Node,
        schema: &'static Schema,
        others: &[&'static Schema],
    ) -> Result<Self> {
        let table = Self::open_unchecked(node, schema)?;
        table.check_keys(others)?;
        Ok(table)
    }

    /// As [`Table::open`], leaving unknown keys to a later [`Table::check_keys`].
    pub(crate) fn open_unchecked(node: &'a Node, schema: &'static Schema) -> Result<Self> {
        let Value::Table(members) = &node.value else {
            return Err(Error::usage(format!(
                "{}: {} = {} is {}, not a table",
                node.place,
                schema.name,
                node.value,
                node.value.kind()
            ))
            .with_hint(format!(
                "write [{}], and its keys on lines below it",
                schema.name
            )));
        };
        Ok(Table {
            schema,
            place: &node.place,
            members,
        })
    }

    /// Refuses the first key that the table does not have.
    pub(crate) fn check_keys(&self, others: &[&'static Schema]) -> Result<()> {
        let unknown = self
            .members
            .iter()
            .find(|(key, _)| !self.schema.keys.contains(&key.text.as_str()));
        let Some((key, node)) = unknown else {
            return Ok(());
        };
        if let Some((name, hint)) = self.schema.later.iter().find(|(name, _)| *name == key.text) {
            return Err(Error::usage(format!(
                "{}: {} is not in this version of amend",
                key.place,
                self.label(name, &node.value)
            ))
            .with_hint(*hint));
        }
        let what = match (self.schema.name, &node.value) {
            ("", Value::Table(_)) => format!("unknown table [{}]", bare(&key.text)),
            ("", _) => format!("unknown key {}", quote(&key.text)),
            ("sink", Value::Table(_)) => format!("unknown table [sink.{}]", bare(&key.text)),
            (table, _) => format!("unknown key {} in [{table}]", quote(&key.text)),
        };
        Err(Error::usage(format!("{}: {what}", key.place))
            .with_hint(self.unknown_key_hint(&key.text, others)))
    }

    fn unknown_key_hint(&self, key: &str, others: &[&'static Schema]) -> String {
        let keys = self.schema.keys.join(", ");
        let listed = match self.schema.name {
            "" => format!("a dataflow file has {keys}"),
            "sink" => {
                "the sinks are [sink.clean], [sink.changes], [sink.dead] and [sink.gaps]".to_owned()
            }
            table => format!("[{table}] has {keys}"),
        };
        if let Some(near) = nearest(key, self.schema.keys) {
            return format!("did you mean {near}? {listed}");
        }
        match others.iter().find(|other| other.keys.contains(&key)) {
            Some(other) if self.schema.name != "sink" => {
                format!("{key} belongs in [{}]; {listed}", other.name)
            }
            _ => listed,
        }
    }

    /// The value at `key`, where there is one.
    pub(crate) fn get(&self, key: &str) -> Option<Field<'a>> {
        let (_, node) = self.members.iter().find(|(member, _)| member.text == key)?;
        Some(Field {
            label: self.label(key, &node.value),
            node,
        })
    }

    /// The value at `key`.
    pub(crate) fn require(&self, key: &str, hint: &str) -> Result<Field<'a>> {
        self.get(key).ok_or_else(|| {
            let what = match self.schema.name {
                "" => format!("there is no [{key}] table"),
                table => format!("[{table}] has no {key}"),
            };
            Error::usage(format!("{}: {what}", self.place)).with_hint(hint)
        })
    }

    fn label(&self, key: &str, value: &Value) -> String {
        match (self.schema.name, value) {
            ("", Value::Table(_)) => format!("[{key}]"),
            ("", _) => key.to_owned(),
            ("sink", _) => format!("[sink.{key}]"),
            (table, _) => format!("[{table}] {key}"),
        }
    }
}

impl<'a> Field<'a> {
    /// Refuses the value: `label = value`, then `what`.
    pub(crate) fn error(&self, what: impl fmt::Display, hint: impl Into<String>) -> Error {
        Error::usage(format!(
            "{}: {} = {} {what}",
            self.node.place, self.label, self.node.value
        ))
        .with_hint(hint)
    }

    fn wrong_type(&self, wanted: &str, hint: impl Into<String>) -> Error {
        self.error(
            format_args!("is {}, not {wanted}", self.node.value.kind()),
            hint,
        )
    }

    /// The text that the value is.
    pub(crate) fn text(&self) -> Result<&'a str> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            Value::List(_) | Value::Table(_) | Value::Null => {
                Err(self.wrong_type("text", "write one text in quotes"))
            }
            value => Err(self.wrong_type("text", format!("write it in quotes: \"{value}\""))),
        }
    }

    /// The text that the value is, which must hold more than blanks.
    pub(crate) fn text_not_blank(&self) -> Result<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return Err(self.error("is blank", "write a text that is not, or leave the key out"));
        }
        Ok(text)
    }

    /// The boolean that the value is.
    pub(crate) fn boolean(&self) -> Result<bool> {
        match self.node.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.wrong_type("true or false", "write true or false, without quotes")),
        }
    }

    /// The whole number from `min` to `max` that the value is.
    pub(crate) fn integer(&self, min: u64, max: u64) -> Result<u64> {
        let hint = format!("a whole number from {min} to {max}, without quotes");
        match &self.node.value {
            Value::Integer(number, _) => number
                .and_then(|number| u64::try_from(number).ok())
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| self.error("is out of range", hint)),
            _ => Err(self.wrong_type("a whole number", hint)),
        }
    }

    /// The share from 0 to 1 that the value is.
    pub(crate) fn share(&self) -> Result<f64> {
        let hint = "a share from 0 to 1: 0.05 allows five records in a hundred";
        let share = match &self.node.value {
            Value::Integer(Some(number), _) => *number as f64,
            Value::Integer(None, _) => f64::INFINITY,
            Value::Float(number, _) => *number,
            _ => return Err(self.wrong_type("a number", hint)),
        };
        if (0.0..=1.0).contains(&share) {
            Ok(share)
        } else {
            Err(self.error("is not a share from 0 to 1", hint))
        }
    }

    /// The microseconds of the duration that the value is.
    pub(crate) fn duration_us(&self) -> Result<i64> {
        let hint = "a duration in quotes, such as \"500ms\", \"30s\", \"1h 30m\" or \"24h\"";
        let Value::Text(text) = &self.node.value else {
            return Err(self.wrong_type("a duration", hint));
        };
        let duration: Duration = humantime::parse_duration(text)
            .map_err(|err| self.error(format_args!("is not a duration: {err}"), hint))?;
        if !duration.subsec_nanos().is_multiple_of(1_000) {
            return Err(self.error("is finer than a microsecond", hint));
        }
        i64::try_from(duration.as_micros()).map_err(|_| {
            self.error(
                "is too long",
                "the longest is i64::MAX microseconds, about 292,000 years",
            )
        })
    }

    /// The bytes, from `min` to `max`, that the value is: a number, or text with a unit.
    pub(crate) fn bytes(&self, min: u64, max: u64) -> Result<u64> {
        const UNITS: [(&str, u64); 4] = [
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("B", 1),
        ];
        let hint = format!("a size from {min} to {max} bytes, such as \"64MiB\"");
        let Value::Text(text) = &self.node.value else {
            return self.integer(min, max);
        };
        let size = UNITS.iter().find_map(|(unit, bytes)| {
            let number = text.trim().strip_suffix(unit)?.trim();
            number.parse::<u64>().ok()?.checked_mul(*bytes)
        });
        size.filter(|size| (min..=max).contains(size))
            .ok_or_else(|| self.error("is no size, or out of range", hint))
    }

    /// The variant that the value names.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Result<T> {
        let names: Vec<&'static str> = choices.iter().map(|(name, _)| *name).collect();
        let Value::Text(text) = &self.node.value else {
            return Err(self.wrong_type("text", one_of(&names)));
        };
        match choices.iter().find(|(name, _)| name == text) {
            Some((_, choice)) => Ok(*choice),
            None => Err(self.error("is not a choice", self.choice_hint(text, &names))),
        }
    }

    fn choice_hint(&self, text: &str, names: &[&'static str]) -> String {
        match nearest(text, names) {
            Some(near) => format!("did you mean \"{near}\"? {}", one_of(names)),
            None => one_of(names),
        }
    }

    /// Refuses a choice that other versions have.
    pub(crate) fn refuse_later(&self, later: &[&str], hint: &str) -> Result<()> {
        match &self.node.value {
            Value::Text(text) if later.contains(&text.as_str()) => {
                Err(self.error("is not in this version of amend", hint))
            }
            _ => Ok(()),
        }
    }

    /// The entries of the list that the value is.
    pub(crate) fn entries(&self, list: &'a [Node]) -> Vec<Field<'a>> {
        list.iter()
            .enumerate()
            .map(|(at, node)| Field {
                label: format!("{} entry {}", self.label, at + 1),
                node,
            })
            .collect()
    }

    /// The field of an event that the value names: a member, or a JSON pointer.
    pub(crate) fn field_path(&self) -> Result<FieldPath> {
        let text = self.text()?;
        let Some(pointer) = text.strip_prefix('/') else {
            if text.is_empty() {
                return Err(self.error(
                    "names no field",
                    "the name of a member, or a JSON pointer such as \"/meta/id\"",
                ));
            }
            return Ok(FieldPath::Name(text.to_owned()));
        };
        let tokens: Option<Vec<String>> = pointer.split('/').map(unescape_token).collect();
        let Some(tokens) = tokens else {
            return Err(self.error(
                "is not a JSON pointer",
                "in a pointer ~ is written ~0, and a / inside a name ~1",
            ));
        };
        if tokens.len() > MAX_NESTING {
            let hint = format!("an event has at most {MAX_NESTING} levels");
            return Err(self.error("leads deeper than any event", hint));
        }
        Ok(FieldPath::Pointer(tokens))
    }

    /// The fields of an event that the entries of `list`, this value, name.
    pub(crate) fn field_paths(&self, list: &'a [Node], empty: &str) -> Result<Vec<FieldPath>> {
        if list.is_empty() {
            return Err(self.error("names no field", empty));
        }
        if list.len() > MAX_FIELDS {
            let hint = format!("name at most {MAX_FIELDS}");
            return Err(self.error("names too many fields", hint));
        }
        self.entries(list).iter().map(Field::field_path).collect()
    }
}

/// The nesting that a record may have; no field lies deeper.
const MAX_NESTING: usize = 128;
/// The most fields that make a key or name a stream; each costs time for each record.
const MAX_FIELDS: usize = 64;

/// A reference token of a JSON pointer without its escapes; `None` where one is wrong.
fn unescape_token(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = match part.as_bytes().first()? {
            b'0' => ('~', &part[1..]),
            b'1' => ('/', &part[1..]),
            _ => return None,
        };
        name.push(escaped);
        name.push_str(rest);
    }
    Some(name)
}

fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("one of {}", quoted.join(", "))
}

/// The name that was most likely meant.
pub(crate) fn nearest<'n>(text: &str, names: &[&'n str]) -> Option<&'n str> {
    const MAX_BYTES: usize = 64;
    if text.len() > MAX_BYTES {
        return None;
    }
    let text = text.to_ascii_lowercase().replace([' ', '-'], "_");
    names
        .iter()
        .map(|name| (strsim::jaro_winkler(&text, &name.replace('-', "_")), *name))
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// A key as TOML writes it in a header: bare where it can be.
fn bare(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if key.len() <= 60 && !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        quote(key)
    }
}
