//! YAML documents as configuration trees.
//!
//! A scenario file is read into the same tree as a dataflow file, so that its tables get the same
//! judgement and every message has a line. Aliases and depth are bounded by the parser's budget.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::repair::spec::tree::{Key, Node, Place, Value};
use crate::{Error, Result};

/// The documents of `text`, those without content left out; `label` names the text in messages.
pub(super) fn documents(text: &str, label: &str) -> Result<Vec<Node>> {
    let file: Rc<str> = label.into();
    let mut text = Cow::Borrowed(text);
    let mut spaces = 0;
    loop {
        let err = match parse(&text) {
            Ok(documents) => {
                return Ok(documents
                    .into_iter()
                    .map(|document| node(document, &file))
                    .collect());
            }
            Err(err) => err,
        };
        match with_space(&text, &err) {
            Some(spaced) if spaces < MAX_SPACES => text = Cow::Owned(spaced),
            _ => return Err(syntax_error(&err, &file)),
        }
        spaces += 1;
    }
}

/// How often a space is added: each costs another reading of the file.
const MAX_SPACES: usize = 100;

fn parse(text: &str) -> std::result::Result<Vec<Spanned<Yaml>>, serde_saphyr::Error> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options)
}

/// `text` with a space where `err` misses one: Beam's files write `values:[1, 2]`, which Python's
/// reader takes for a key and its list, and YAML does not.
fn with_space(text: &str, err: &serde_saphyr::Error) -> Option<String> {
    if !err
        .without_snippet()
        .to_string()
        .contains("may not precede any of `[{`")
    {
        return None;
    }
    let location = err.location()?;
    let line_at = usize::try_from(location.line().checked_sub(1)?).ok()?;
    let column_at = usize::try_from(location.column().checked_sub(1)?).ok()?;
    let mut lines = text.split_inclusive('\n');
    let line_start: usize = lines.by_ref().take(line_at).map(str::len).sum();
    let (colon, _) = lines.next()?.char_indices().nth(column_at)?;
    let (before, after) = text.split_at_checked(line_start + colon + 1)?;
    let is_colon = before.ends_with(':') && after.starts_with(['[', '{']);
    is_colon.then(|| format!("{before} {after}"))
}

fn syntax_error(err: &serde_saphyr::Error, file: &Rc<str>) -> Error {
    let (line, column) = match err.location() {
        Some(location) => (location.line().max(1), location.column().max(1)),
        None => (1, 1),
    };
    let place = Place::Line {
        file: file.clone(),
        line,
        column,
    };
    let message = err.without_snippet().to_string();
    let message = message.lines().collect::<Vec<_>>().join(" ");
    let message = message.split(" at line ").next().unwrap_or_default();
    Error::usage(format!("{place}: not YAML: {message}"))
        .with_hint("a scenario file is YAML, one document a scenario, --- between them")
}

/// `node`, as JSON without spaces and with the members in their order.
pub(super) fn write_json(node: &Node, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Integer(_, text) => out.push_str(text),
        Value::Float(number, _) => out.push_str(&serde_json::Value::from(*number).to_string()),
        Value::Text(text) | Value::Date(text) => write_json_text(text, out),
        Value::List(list) => {
            out.push('[');
            for (at, entry) in list.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_json(entry, out);
            }
            out.push(']');
        }
        Value::Table(members) => {
            out.push('{');
            for (at, (key, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_json_text(&key.text, out);
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
    }
}

fn write_json_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn node(yaml: Spanned<Yaml>, file: &Rc<str>) -> Node {
    let place = place(&yaml.referenced, file);
    let value = match yaml.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Integer(number) => Value::Integer(Some(number), number.to_string()),
        Yaml::Float(number) => Value::Float(number, format!("{number:?}")),
        Yaml::Text(text) => Value::Text(text),
        Yaml::List(list) => Value::List(list.into_iter().map(|entry| node(entry, file)).collect()),
        Yaml::Map(members) => Value::Table(
            members
                .into_iter()
                .map(|(key, value)| {
                    let place = self::place(&key.referenced, file);
                    (
                        Key {
                            place,
                            text: key.value,
                        },
                        node(value, file),
                    )
                })
                .collect(),
        ),
    };
    Node { place, value }
}

fn place(location: &serde_saphyr::Location, file: &Rc<str>) -> Place {
    Place::Line {
        file: file.clone(),
        line: location.line(),
        column: location.column(),
    }
}

/// A YAML value whose parts know their places.
enum Yaml {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Yaml>>),
    Map(Vec<(Spanned<String>, Spanned<Yaml>)>),
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Yaml, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = seq.next_element()? {
            list.push(entry);
        }
        Ok(Yaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Yaml, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Yaml::Map(members))
    }
}
