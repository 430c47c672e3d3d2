//! The text of a dataflow file and what `--set` says, as one tree.
//!
//! An override replaces or adds one value by its dotted path; tables on the way are made where
//! they are missing. It says nothing about which keys there are: that is the reader's business.

use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{Key, Node, Place, Source, Value, quote};
use crate::{Error, Result};

/// Parses TOML and applies the overrides in their order.
pub(crate) fn parse(text: &str, origin: &Path, overrides: &[(String, String)]) -> Result<Node> {
    let source = Rc::new(Source {
        label: origin.display().to_string(),
        text: text.to_owned(),
    });
    let table = DeTable::parse(text).map_err(|err| syntax_error(&err, &source))?;
    let place = Place::Offset(source.clone(), 0);
    let mut root = Node {
        place,
        value: table_value(table.get_ref(), &source),
    };
    for (path, value) in overrides {
        set(&mut root, path, value)?;
    }
    Ok(root)
}

fn syntax_error(err: &toml::de::Error, source: &Rc<Source>) -> Error {
    let offset = err.span().map_or(0, |span| span.start);
    let place = Place::Offset(source.clone(), offset);
    let line = line_around(&source.text, offset);
    let message = err.message().lines().collect::<Vec<_>>().join(", ");
    let error = Error::usage(format!(
        "{place}: not TOML: {message}: {}",
        quote(line.trim())
    ));
    if message.contains("string") && line.contains('=') {
        error.with_hint("text is written in quotes, as in kind = \"jsonl\"")
    } else {
        error.with_hint("a dataflow file is TOML: [table] lines, and key = value lines below them")
    }
}

/// The line that holds the byte at `offset`, or as much of it as a message can show.
fn line_around(text: &str, offset: usize) -> &str {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    text[start..].lines().next().unwrap_or("")
}

fn node(value: &Spanned<DeValue<'_>>, source: &Rc<Source>) -> Node {
    let place = Place::Offset(source.clone(), value.span().start);
    Node {
        place,
        value: node_value(value.get_ref(), source),
    }
}

fn node_value(value: &DeValue<'_>, source: &Rc<Source>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
            Value::Integer(number, integer.to_string())
        }
        DeValue::Float(float) => Value::Float(
            float.as_str().parse().unwrap_or(f64::NAN),
            float.as_str().to_owned(),
        ),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(array) => {
            Value::List(array.iter().map(|value| node(value, source)).collect())
        }
        DeValue::Table(table) => table_value(table, source),
    }
}

/// The members in the order of the text, so that the first wrong one is the one reported.
fn table_value(table: &DeTable<'_>, source: &Rc<Source>) -> Value {
    let mut members: Vec<(Key, Node)> = table
        .iter()
        .map(|(key, value)| {
            let place = Place::Offset(source.clone(), key.span().start);
            (
                Key {
                    place,
                    text: key.get_ref().to_string(),
                },
                node(value, source),
            )
        })
        .collect();
    members.sort_by_key(|(key, _)| key.place.order());
    Value::Table(members)
}

/// Tables nest by far less; more would only exhaust the stack.
const MAX_DEPTH: usize = 16;

/// Writes `text` at the dotted `path`.
fn set(root: &mut Node, path: &str, text: &str) -> Result<()> {
    let place = Place::Override(one_line(&format!("{path}={text}")).into());
    let value = override_value(text, &place);
    let names: Vec<&str> = path.split('.').map(str::trim).collect();
    if names.len() > MAX_DEPTH || names.iter().any(|name| name.is_empty()) {
        return Err(
            Error::usage(format!("{place}: {} is not a path of keys", quote(path)))
                .with_hint("write it as in --set gaps.max_width=100"),
        );
    }
    let mut target = root;
    for (depth, name) in names.iter().enumerate() {
        let kind = target.value.kind();
        let Value::Table(members) = &mut target.value else {
            let parent = names[..depth].join(".");
            return Err(
                Error::usage(format!("{place}: {parent} is {kind}, not a table"))
                    .with_hint(format!("--set {parent}=.. replaces it")),
            );
        };
        let at = members
            .iter()
            .position(|(key, _)| key.text == *name)
            .unwrap_or_else(|| {
                let key = Key {
                    place: place.clone(),
                    text: (*name).to_owned(),
                };
                let table = Node {
                    place: place.clone(),
                    value: Value::Table(Vec::new()),
                };
                members.push((key, table));
                members.len() - 1
            });
        target = &mut members[at].1;
    }
    *target = Node { place, value };
    Ok(())
}

/// `text` as a message can show it; what a shell passes on may be long and hold line breaks.
fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let line = if text.contains(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text.to_owned()
    };
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A TOML value where the text is one, else the text itself; a date is text, as no key takes one.
fn override_value(text: &str, place: &Place) -> Value {
    let source = Rc::new(Source {
        label: String::new(),
        text: String::new(),
    });
    match DeValue::parse(text) {
        Ok(value) => match node_value(value.get_ref(), &source) {
            Value::Date(_) => Value::Text(text.to_owned()),
            value => placed(value, place),
        },
        Err(_) => Value::Text(text.to_owned()),
    }
}

/// `value` with `place` as the place of everything in it.
fn placed(value: Value, place: &Place) -> Value {
    let node = |node: Node| Node {
        place: place.clone(),
        value: placed(node.value, place),
    };
    match value {
        Value::List(list) => Value::List(list.into_iter().map(node).collect()),
        Value::Table(members) => Value::Table(
            members
                .into_iter()
                .map(|(key, value)| {
                    (
                        Key {
                            place: place.clone(),
                            text: key.text,
                        },
                        node(value),
                    )
                })
                .collect(),
        ),
        value => value,
    }
}
