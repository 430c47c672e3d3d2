//! The values that were found to an event, or to the fault that the contract's list puts first.

use std::borrow::Cow;
use std::ops::Range;

use super::decode::Buffers;
use super::plan::{Place, Plan, Spans};
use super::timestamp::DateCache;
use super::{EventSpec, Fault, Reason, TimestampFormat, key, walk, write};
use crate::time::EventTime;

/// How much of a value a message quotes, in bytes.
const QUOTED_BYTES_MAX: usize = 60;

/// What a well-formed record says.
pub(super) struct Judgement {
    pub(super) id: i64,
    pub(super) time: EventTime,
    pub(super) valid: Option<bool>,
    pub(super) r#type: Text,
    pub(super) stream: Text,
}

/// Where a text lies.
#[derive(Clone, Debug)]
pub(super) enum Text {
    /// In the record, as it is.
    InRecord(Range<usize>),
    /// In the decoder's buffer of that field.
    InBuffer,
}

impl Text {
    const EMPTY: Text = Text::InRecord(0..0);

    /// What the JSON string at `range` says; `buffer` is taken where it has escapes.
    #[inline]
    fn of_string(record: &str, range: Range<usize>, buffer: &mut String) -> Text {
        match walk::unquote(walk::slice(record, &range)) {
            Cow::Borrowed(_) => Text::InRecord(range.start + 1..range.end - 1),
            Cow::Owned(text) => {
                *buffer = text;
                Text::InBuffer
            }
        }
    }

    #[inline]
    pub(super) fn read<'a>(&self, record: &'a str, buffer: &'a str) -> &'a str {
        match self {
            Text::InRecord(range) => walk::slice(record, range),
            Text::InBuffer => buffer,
        }
    }
}

/// Reads the fields in the order in which their faults count. The dedup key is left in `buffers`.
pub(super) fn judge(
    record: &str,
    spec: &EventSpec,
    plan: &Plan,
    spans: &Spans,
    dates: &mut DateCache,
    buffers: &mut Buffers,
) -> Result<Judgement, Fault> {
    let find = |place: &Place| place.find(record, spans);
    let written = |place: &Place| walk::slice(record, &find(place));
    let origin = written(&plan.origin);
    if origin.starts_with('"') && walk::unquote(origin) == "reconstructed" {
        let detail = format!("{} is \"reconstructed\": no evidence", plan.origin.label);
        return Err(Fault {
            reason: Reason::Inferred,
            detail,
        });
    }
    let id = read_id(written(&plan.id), spec.id_text, &plan.id)?;
    let r#type = read_type(
        record,
        find(&plan.r#type),
        &plan.r#type,
        &mut buffers.r#type,
    )?;
    let time = read_time(
        written(&plan.timestamp),
        spec.timestamp_format,
        dates,
        &plan.timestamp,
    )?;
    let valid = read_valid(written(&plan.valid), &plan.valid)?;
    let stream = match plan.stream.as_slice() {
        [place] if !spec.stream_is_list => {
            read_stream(record, find(place), place, &mut buffers.stream)?
        }
        places if spec.stream_is_list && !places.is_empty() => {
            name_of_list(record, places, find, &mut buffers.stream)?;
            Text::InBuffer
        }
        _ => Text::EMPTY,
    };
    if let Some(fields) = &plan.key {
        key::write(record, spans, fields, id, time, &mut buffers.key);
    }
    Ok(Judgement {
        id,
        time,
        valid,
        r#type,
        stream,
    })
}

/// One JSON value by its kind, as it is written.
#[derive(Clone, Copy)]
enum Value<'a> {
    Absent,
    Null,
    Bool(bool),
    Number(&'a str),
    /// A string with its quotes.
    Text(&'a str),
    /// An array or an object.
    Nested(&'a str),
}

impl<'a> Value<'a> {
    #[inline]
    fn of(written: &'a str) -> Value<'a> {
        match written.as_bytes().first() {
            None => Value::Absent,
            Some(b'n') => Value::Null,
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'"') => Value::Text(written),
            Some(b'[' | b'{') => Value::Nested(written),
            Some(_) => Value::Number(written),
        }
    }

    /// What a message says of the value.
    fn quote(self) -> Cow<'a, str> {
        match self {
            Value::Absent => "absent".into(),
            Value::Null => "null".into(),
            Value::Bool(true) => "true".into(),
            Value::Bool(false) => "false".into(),
            Value::Number(written) | Value::Text(written) | Value::Nested(written) => {
                quote(written)
            }
        }
    }
}

/// The beginning of `written`, for a message.
pub(super) fn quote(written: &str) -> Cow<'_, str> {
    if written.len() <= QUOTED_BYTES_MAX {
        return written.into();
    }
    let end = (0..=QUOTED_BYTES_MAX)
        .rev()
        .find(|&end| written.is_char_boundary(end));
    format!("{}…", &written[..end.unwrap_or(0)]).into()
}

#[inline]
fn read_id(written: &str, id_text: bool, place: &Place) -> Result<i64, Fault> {
    let value = Value::of(written);
    let (id, wanted) = match value {
        Value::Absent | Value::Null => return Err(fault(Reason::MissingId, place, value, "")),
        Value::Number(written) => {
            let is_integer = written
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_digit());
            let wanted = if is_integer {
                "an integer of 64 bits"
            } else {
                "an integer"
            };
            (integer(written), wanted)
        }
        Value::Text(quoted) if id_text => (
            integer(&walk::unquote(quoted)),
            "an integer or its decimal text",
        ),
        _ => (None, "an integer"),
    };
    id.ok_or_else(|| fault(Reason::BadId, place, value, &format!(", not {wanted}")))
}

#[inline]
fn read_type(
    record: &str,
    range: Range<usize>,
    place: &Place,
    buffer: &mut String,
) -> Result<Text, Fault> {
    match Value::of(walk::slice(record, &range)) {
        value @ (Value::Absent | Value::Null) => Err(fault(Reason::MissingType, place, value, "")),
        value @ Value::Text(_) => {
            let text = Text::of_string(record, range, buffer);
            if text.read(record, buffer).trim_start().is_empty() {
                return Err(fault(Reason::MissingType, place, value, ", which is blank"));
            }
            Ok(text)
        }
        value => Err(fault(Reason::BadType, place, value, ", not a string")),
    }
}

#[inline]
fn read_time(
    written: &str,
    format: TimestampFormat,
    dates: &mut DateCache,
    place: &Place,
) -> Result<EventTime, Fault> {
    let value = Value::of(written);
    let time = match value {
        Value::Text(quoted) => format.parse_bytes(walk::unquote(quoted).as_bytes(), dates),
        Value::Number(written) => integer(written).and_then(|count| format.parse_integer(count)),
        _ => None,
    };
    time.ok_or_else(|| {
        let wanted = match value {
            Value::Absent => String::new(),
            _ => format!(", not an instant in {}", format.as_str()),
        };
        fault(Reason::BadTimestamp, place, value, &wanted)
    })
}

#[inline]
fn read_valid(written: &str, place: &Place) -> Result<Option<bool>, Fault> {
    match Value::of(written) {
        Value::Absent => Ok(None),
        Value::Bool(valid) => Ok(Some(valid)),
        value => Err(fault(Reason::BadValid, place, value, ", not a boolean")),
    }
}

#[inline]
fn read_stream(
    record: &str,
    range: Range<usize>,
    place: &Place,
    buffer: &mut String,
) -> Result<Text, Fault> {
    match Value::of(walk::slice(record, &range)) {
        Value::Absent | Value::Null => Ok(Text::EMPTY),
        Value::Text(_) => Ok(Text::of_string(record, range, buffer)),
        Value::Number("-0") => Ok(Text::InRecord(range.start + 1..range.end)),
        Value::Number(written) if integer(written).is_some() || written.parse::<u64>().is_ok() => {
            Ok(Text::InRecord(range))
        }
        value => Err(fault(
            Reason::BadStream,
            place,
            value,
            ", not a string or an integer",
        )),
    }
}

/// Writes the name of a stream that several fields name.
fn name_of_list(
    record: &str,
    places: &[Place],
    find: impl Fn(&Place) -> Range<usize>,
    name: &mut String,
) -> Result<(), Fault> {
    name.clear();
    let mut buffer = String::new();
    for place in places {
        name.push(if name.is_empty() { '[' } else { ',' });
        let text = read_stream(record, find(place), place, &mut buffer)?;
        write::push_json_string(text.read(record, &buffer), name);
    }
    name.push(']');
    Ok(())
}

/// The integer that a JSON literal, or a text of an optional minus and digits, says. Dots and
/// exponents make it none.
#[inline]
fn integer(written: &str) -> Option<i64> {
    if written.starts_with('+') {
        None
    } else {
        written.parse().ok()
    }
}

#[cold]
fn fault(reason: Reason, place: &Place, value: Value<'_>, complaint: &str) -> Fault {
    Fault {
        reason,
        detail: format!("{} is {}{complaint}", place.label, value.quote()),
    }
}
