//! YAML documents as configuration trees.
//!
//! A scenario file is read into the same tree as a dataflow file, so that its tables get the same
//! judgement and every message has a line. Aliases and depth are bounded by the parser's budget.

use std::fmt;
use std::rc::Rc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::repair::spec::tree::{Key, Node, Place, Value};
use crate::{Error, Result};

/// The documents of `text`, those without content left out; `label` names the text in messages.
pub(super) fn documents(text: &str, label: &str) -> Result<Vec<Node>> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let file: Rc<str> = label.into();
    let documents: Vec<Spanned<Yaml>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|err| {
            let place = match err.location() {
                Some(location) => Place::Line {
                    file: file.clone(),
                    line: location.line().max(1),
                    column: location.column().max(1),
                },
                None => Place::Line {
                    file: file.clone(),
                    line: 1,
                    column: 1,
                },
            };
            let message = err.without_snippet().to_string();
            let message = message.lines().collect::<Vec<_>>().join(" ");
            let message = message.split(" at line ").next().unwrap_or_default();
            Error::usage(format!("{place}: not YAML: {message}"))
                .with_hint("a scenario file is YAML, one document a scenario, --- between them")
        })?;
    Ok(documents
        .into_iter()
        .map(|document| node(document, &file))
        .collect())
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
