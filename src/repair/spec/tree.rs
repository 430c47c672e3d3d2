//! A configuration tree whose every key and value knows where it was written.
//!
//! TOML files, `--set` and the YAML of scenario files all become this tree, so that one reader
//! and one set of messages serves them. Places are resolved only when a message needs one.

use std::fmt;
use std::rc::Rc;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What was written.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// `None` where the number is beyond even i128; always with its text.
    Integer(Option<i128>, String),
    Float(f64, String),
    Text(String),
    /// A date or time of TOML, which no key takes.
    Date(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
}

/// The name of a member of a table.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

/// Where something was written; displayed as the beginning of a message.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A byte of a file's text.
    Offset(Rc<Source>, usize),
    /// A line and column of a file.
    Line {
        file: Rc<str>,
        line: u64,
        column: u64,
    },
    /// The `--set key=value` that wrote it.
    Override(Rc<str>),
}

/// A file's text and its name in messages.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) label: String,
    pub(crate) text: String,
}

impl Place {
    /// A number that sorts the places of one file by their order in it.
    pub(crate) fn order(&self) -> usize {
        match self {
            Place::Offset(_, offset) => *offset,
            Place::Line { .. } | Place::Override(_) => usize::MAX,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Offset(source, offset) => {
                let (line, column) = line_and_column(source.text.as_bytes(), *offset);
                write!(f, "{}:{line}:{column}", source.label)
            }
            Place::Line { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::Override(text) => write!(f, "--set {text}"),
        }
    }
}

impl Value {
    /// The value's type, as a message names it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Integer(..) => "a number",
            Value::Float(..) => "a number",
            Value::Text(_) => "text",
            Value::Date(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Shows the value as the user wrote it, shortened; lists and tables by their kind.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Integer(_, text) | Value::Float(_, text) | Value::Date(text) => {
                f.write_str(&shorten(text))
            }
            Value::Text(text) => f.write_str(&quote(text)),
            Value::List(list) if list.is_empty() => f.write_str("[]"),
            Value::List(_) => f.write_str("[..]"),
            Value::Table(_) => f.write_str("{..}"),
        }
    }
}

/// `text` in quotes, escaped, on one line and not too long.
pub(crate) fn quote(text: &str) -> String {
    format!("{:?}", shorten(text))
}

fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(MAX_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// The line and the column, in characters, of a byte of `text`; both count from 1.
pub(crate) fn line_and_column(text: &[u8], offset: usize) -> (u64, u64) {
    let before = &text[..offset.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let line = before[..line_start]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count();
    let start = if before[line_start..].starts_with(b"\xEF\xBB\xBF") {
        3
    } else {
        0
    };
    let column = before[line_start + start..]
        .iter()
        .filter(|&&byte| byte & 0xC0 != 0x80)
        .count();
    (line as u64 + 1, column as u64 + 1)
}
