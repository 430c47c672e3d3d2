//! A second decoder, for tests: as plain as can be, with all of the work left to `serde_json` and
//! `chrono`. The decoder's tests compare the two on mutated records, and the fuzz target includes
//! this file to do so on any bytes.
//!
//! It takes `serde_json::Value` to say what is JSON, counts nesting itself, and reads members as
//! `RawValue`, since a `Value` no longer tells `-0` from `-0.0`.

use std::collections::{BTreeMap, VecDeque};

use chrono::{NaiveDate, TimeDelta};
use serde::de::Deserialize as _;
use serde_json::Value;
use serde_json::value::RawValue;

use super::write::{write_compact, write_event};
use super::{Decoded, Decoder, DedupKey, EventSpec, FieldPath, KeyField, Reason, TimestampFormat};
use crate::EventTime;

/// What the oracle says of a well-formed record.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: i64,
    pub time: EventTime,
    pub r#type: String,
    pub stream: String,
    pub valid: Option<bool>,
    pub key: Option<Key>,
    pub has_line_break: bool,
}

/// A dedup key that knows nothing of its encoding.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    Full(Vec<Plain>),
    IdAndTime(i64, EventTime),
}

/// A value as dedup keys compare it.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    Id(i64),
    Time(EventTime),
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Array(Vec<Plain>),
    Object(BTreeMap<String, Plain>),
}

/// Compares a decoder with the oracle, record by record.
#[derive(Debug)]
pub struct Checker {
    spec: EventSpec,
    decoder: Decoder,
    /// The keys of the last events: encoded, and as they are.
    keys: VecDeque<(Vec<u8>, Key)>,
}

impl Checker {
    pub fn new(spec: EventSpec) -> Checker {
        Checker {
            decoder: Decoder::new(spec.clone()),
            spec,
            keys: VecDeque::new(),
        }
    }

    /// Asserts what must hold for any bytes: decoder and oracle agree, keys are equal exactly
    /// when their encodings are, and what is written of an event decodes to the same event.
    #[track_caller]
    pub fn check(&mut self, record: &[u8]) {
        let shown = String::from_utf8_lossy(record);
        let found = self
            .decoder
            .decode(record)
            .map(|event| (plain_event(&event), event.key.to_vec()));
        let (event, key) = match (found, decode(&self.spec, record)) {
            (Ok((event, key)), Ok(expected)) => {
                assert_eq!(
                    event,
                    Event {
                        key: None,
                        ..expected.clone()
                    },
                    "in {shown}"
                );
                (expected, key)
            }
            (Err(fault), Err(expected)) => {
                assert_eq!(fault.reason, expected, "in {shown}: {}", fault.detail);
                return;
            }
            (found, expected) => panic!("found {found:?}, expected {expected:?} in {shown}"),
        };
        if let Some(plain) = &event.key {
            for (other, other_plain) in &self.keys {
                assert_eq!(
                    *other == key,
                    other_plain == plain,
                    "{plain:?}, {other_plain:?}"
                );
            }
            self.keys.push_front((key, plain.clone()));
            self.keys.truncate(32);
        } else {
            assert_eq!(key, b"");
        }
        self.check_written(record, &Event { key: None, ..event });
    }

    fn check_written(&mut self, record: &[u8], event: &Event) {
        let mut out = Vec::new();
        write_compact(record, &mut out);
        let compact = Event {
            has_line_break: false,
            ..event.clone()
        };
        assert_eq!(
            self.decoder.decode(&out).map(|event| plain_event(&event)),
            Ok(compact.clone())
        );

        let as_it_was = if event.has_line_break {
            out
        } else {
            record.to_vec()
        };
        let mut out = Vec::new();
        write_event(&self.spec, record, event.valid.is_none(), &mut out);
        if event.valid.is_some() {
            assert_eq!(out, as_it_was);
            return;
        }
        let written = self.decoder.decode(&out).map(|event| plain_event(&event));
        let is_pointer = matches!(self.spec.valid, FieldPath::Pointer(_));
        if !(is_pointer && out == as_it_was) {
            assert_eq!(
                written,
                Ok(Event {
                    valid: Some(true),
                    ..compact
                })
            );
        }
    }
}

fn plain_event(event: &Decoded<'_>) -> Event {
    Event {
        id: event.id,
        time: event.time,
        r#type: event.r#type.to_owned(),
        stream: event.stream.to_owned(),
        valid: event.valid,
        key: None,
        has_line_break: event.has_line_break,
    }
}

/// Specs that differ in what the decoder must do for them. The first is the plainest.
pub fn specs() -> Vec<EventSpec> {
    let name = |name: &str| FieldPath::Name(name.to_owned());
    let pointer =
        |pointer: &str| FieldPath::Pointer(pointer.split('/').skip(1).map(str::to_owned).collect());
    let plain = EventSpec {
        stream: vec![name("stream")],
        ..EventSpec::default()
    };
    let keyed = EventSpec {
        id_text: true,
        timestamp_format: TimestampFormat::Strict,
        key: DedupKey::Fields(vec![
            KeyField::Id,
            KeyField::Field(name("x")),
            KeyField::Time,
            KeyField::Field(name("stream")),
        ]),
        ..plain.clone()
    };
    let listed = EventSpec {
        stream: vec![name("stream"), pointer("/x/0"), name("type")],
        stream_is_list: true,
        timestamp_format: TimestampFormat::UnixMillis,
        key: DedupKey::Fields(vec![KeyField::Field(pointer("/x/a"))]),
        ..plain.clone()
    };
    let pointed = EventSpec {
        stream: Vec::new(),
        id: pointer("/x/event_id"),
        r#type: pointer("/x/a/type"),
        valid: pointer("/x/a/valid"),
        key: DedupKey::Fields(vec![KeyField::Field(pointer("/x/a")), KeyField::Id]),
        ..plain.clone()
    };
    let valid_in_array = EventSpec {
        valid: pointer("/x/1/valid"),
        ..plain.clone()
    };
    vec![plain, keyed, listed, pointed, valid_in_array]
}

/// Decodes one record.
pub fn decode(spec: &EventSpec, record: &[u8]) -> Result<Event, Reason> {
    let text = std::str::from_utf8(record).map_err(|_| Reason::NotJson)?;
    if nesting(text) > 128 {
        return Err(Reason::NotJson);
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.disable_recursion_limit();
    let value = Value::deserialize(&mut parser).map_err(|_| Reason::NotJson)?;
    parser.end().map_err(|_| Reason::NotJson)?;
    if !value.is_object() {
        return Err(Reason::NotObject);
    }
    if value
        .pointer("/amend")
        .and_then(|amend| amend.get("origin"))
        == Some(&Value::from("reconstructed"))
    {
        return Err(Reason::Inferred);
    }
    let find = |path: &FieldPath| match path {
        FieldPath::Name(name) => find(text, std::slice::from_ref(name)),
        FieldPath::Pointer(tokens) => find(text, tokens),
    };
    let present = |path: &FieldPath| find(path).filter(|raw| raw != "null");

    let id = present(&spec.id).ok_or(Reason::MissingId)?;
    let id = match text_of(&id) {
        Some(text) if spec.id_text && !text.starts_with('+') => text,
        _ => id,
    };
    let id = id.parse::<i64>().map_err(|_| Reason::BadId)?;

    let r#type = present(&spec.r#type).ok_or(Reason::MissingType)?;
    let r#type = text_of(&r#type).ok_or(Reason::BadType)?;
    if r#type.chars().all(char::is_whitespace) {
        return Err(Reason::MissingType);
    }

    let time = present(&spec.timestamp).ok_or(Reason::BadTimestamp)?;
    let time = read_time(spec.timestamp_format, &time).ok_or(Reason::BadTimestamp)?;

    let valid = match find(&spec.valid).as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(Reason::BadValid),
    };

    let texts = spec.stream.iter().map(|path| stream_text(present(path)));
    let texts = texts.collect::<Result<Vec<String>, Reason>>()?;
    let stream = match texts.as_slice() {
        [] => String::new(),
        [text] if !spec.stream_is_list => text.clone(),
        texts => Value::from(texts).to_string(),
    };

    let key = match &spec.key {
        DedupKey::IdAndTime => None,
        DedupKey::Fields(fields) => {
            let values = fields.iter().map(|field| match field {
                KeyField::Id => Some(Plain::Id(id)),
                KeyField::Time => Some(Plain::Time(time)),
                KeyField::Field(path) => present(path).map(|raw| plain(&raw)),
            });
            let values = values.collect::<Option<Vec<Plain>>>();
            Some(values.map_or(Key::IdAndTime(id, time), Key::Full))
        }
    };
    let has_line_break = text.contains(['\r', '\n']);
    Ok(Event {
        id,
        time,
        r#type,
        stream,
        valid,
        key,
        has_line_break,
    })
}

/// How deep arrays and objects lie in each other, strings left out. Of text that is not JSON it
/// may be anything, as that is refused all the same.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else {
            match byte {
                b'"' => in_string = true,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
    }
    deepest
}

/// The value that the tokens lead to, as it is written.
fn find(raw: &str, tokens: &[String]) -> Option<String> {
    let Some((token, rest)) = tokens.split_first() else {
        return Some(raw.to_owned());
    };
    let child = match raw.trim_start().as_bytes().first() {
        Some(b'{') => members(raw).remove(token),
        Some(b'[') => {
            let index = token
                .parse::<usize>()
                .ok()
                .filter(|index| index.to_string() == *token)?;
            let elements: Vec<&RawValue> = serde_json::from_str(raw).unwrap();
            elements.get(index).map(|raw| raw.get().to_owned())
        }
        _ => None,
    };
    find(&child?, rest)
}

/// The last of the members of each name.
fn members(raw: &str) -> BTreeMap<String, String> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw).unwrap();
    members
        .into_iter()
        .map(|(name, raw)| (name, raw.get().to_owned()))
        .collect()
}

fn text_of(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

fn stream_text(raw: Option<String>) -> Result<String, Reason> {
    let Some(raw) = raw else {
        return Ok(String::new());
    };
    if let Some(text) = text_of(&raw) {
        return Ok(text);
    }
    let integer = raw.parse::<i128>().map_err(|_| Reason::BadStream)?;
    let range = i128::from(i64::MIN)..=i128::from(u64::MAX);
    if range.contains(&integer) {
        Ok(integer.to_string())
    } else {
        Err(Reason::BadStream)
    }
}

fn plain(raw: &str) -> Plain {
    match raw.as_bytes()[0] {
        b'n' => Plain::Null,
        b't' => Plain::Bool(true),
        b'f' => Plain::Bool(false),
        b'"' => Plain::Text(text_of(raw).unwrap()),
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).unwrap();
            Plain::Array(elements.iter().map(|raw| plain(raw.get())).collect())
        }
        b'{' => {
            let plain = |(name, raw): (String, String)| (name, plain(&raw));
            Plain::Object(members(raw).into_iter().map(plain).collect())
        }
        _ => {
            let range = i128::from(i64::MIN)..=i128::from(u64::MAX);
            match raw.parse::<i128>() {
                Ok(integer) if range.contains(&integer) => Plain::Integer(integer),
                _ => Plain::Float(raw.parse().unwrap()),
            }
        }
    }
}

fn read_time(format: TimestampFormat, raw: &str) -> Option<EventTime> {
    let unit = match format {
        TimestampFormat::UnixSeconds => 1_000_000,
        TimestampFormat::UnixMillis => 1_000,
        TimestampFormat::UnixMicros => 1,
        TimestampFormat::Strict => return read_instant(&text_of(raw)?, true),
        TimestampFormat::Iso8601 => return read_instant(&text_of(raw)?, false),
    };
    let micros = i128::from(raw.parse::<i64>().ok()?) * unit;
    i64::try_from(micros).ok().map(EventTime)
}

/// The instant that `text` says, after chrono.
pub fn read_instant(text: &str, strict: bool) -> Option<EventTime> {
    // The shape first, as chrono takes more than ours: `0` stands for a digit.
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let rest = match shape.strip_prefix("0000-00-00")?.split_at_checked(1)? {
        ("T", rest) => rest,
        ("t" | " ", rest) if !strict => rest,
        _ => return None,
    };
    let zone = rest.strip_prefix("00:00:00")?;
    let zone = match zone.strip_prefix('.') {
        Some(fraction) if fraction.starts_with('0') => fraction.trim_start_matches('0'),
        Some(_) => return None,
        None => zone,
    };
    let has_rest = rest.len() > "00:00:00".len();
    if (strict && has_rest) || !matches!(zone, "" | "Z" | "z" | "+00:00" | "-00:00") {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().unwrap();
    let zone_at = text.len() - zone.len();
    let fraction = text[19..zone_at].trim_start_matches('.');
    let micros = format!("{fraction:0<6}")[..6].parse().unwrap();
    let date = NaiveDate::from_ymd_opt(number(0, 4) as i32, number(5, 7), number(8, 10))?;
    let local = date.and_hms_micro_opt(number(11, 13), number(14, 16), number(17, 19), micros)?;
    let mut offset = TimeDelta::zero();
    if zone.len() == 6 {
        let (hours, minutes) = (
            number(zone_at + 1, zone_at + 3),
            number(zone_at + 4, zone_at + 6),
        );
        if hours > 23 || minutes > 59 {
            return None;
        }
        offset = TimeDelta::minutes(i64::from(hours * 60 + minutes));
    }
    let utc = if text[zone_at..].starts_with('-') {
        local + offset
    } else {
        local - offset
    };
    Some(EventTime(utc.and_utc().timestamp_micros()))
}
