//! Any record, by `serde_json`, with its first fault named as the rules name it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::{Event, Fault, NESTING_MAX, RECORD_BYTES_MAX};
use crate::time::Clock;

/// A detail quotes no more.
const QUOTED_BYTES_MAX: usize = 60;

type Members<'a> = HashMap<String, &'a RawValue>;

/// Decodes `record`.
pub(crate) fn decode<'a>(record: &'a [u8], clock: &mut Clock) -> Result<Event<'a>, Fault> {
    if record.len() > RECORD_BYTES_MAX {
        let detail = format!("{} bytes, more than {RECORD_BYTES_MAX}", record.len());
        return Err(Fault {
            reason: "oversize",
            detail,
        });
    }
    let not_json = |detail: String| Fault {
        reason: "not-json",
        detail,
    };
    let text = std::str::from_utf8(record)
        .map_err(|error| not_json(format!("not UTF-8 from byte {} on", error.valid_up_to())))?;
    validate(text).map_err(|error| not_json(error.to_string()))?;
    let trimmed = text.trim_ascii();
    if !trimmed.starts_with('{') {
        let detail = format!("{} is not an object", quote(trimmed));
        return Err(Fault {
            reason: "not-object",
            detail,
        });
    }
    // Of a field that occurs twice the last stays.
    let members: Members<'a> = members(trimmed).map_err(|error| not_json(error.to_string()))?;
    let written = |name: &str| members.get(name).map(|value| value.get());

    let origin = written("amend").and_then(|mark| self::members(mark).ok());
    let origin = origin.and_then(|mark| string(mark.get("origin")?.get()));
    if origin.as_deref() == Some("reconstructed") {
        let detail = "\"/amend/origin\" is \"reconstructed\": no evidence".to_owned();
        return Err(Fault {
            reason: "inferred",
            detail,
        });
    }
    let id = match written("event_id") {
        value @ (None | Some("null")) => return Err(fault("missing-id", "event_id", value, "")),
        Some(value) => integer(value).ok_or_else(|| {
            let wanted = match value
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_digit())
            {
                true => ", not an integer of 64 bits",
                false => ", not an integer",
            };
            fault("bad-id", "event_id", Some(value), wanted)
        })?,
    };
    let kind = match written("type") {
        value @ (None | Some("null")) => return Err(fault("missing-type", "type", value, "")),
        value @ Some(text) => {
            string(text).ok_or_else(|| fault("bad-type", "type", value, ", not a string"))?
        }
    };
    if kind.trim_start().is_empty() {
        return Err(fault(
            "missing-type",
            "type",
            written("type"),
            ", which is blank",
        ));
    }
    let time = written("timestamp").ok_or_else(|| fault("bad-timestamp", "timestamp", None, ""))?;
    let instant = string(time).and_then(|text| clock.read(&text));
    let instant = instant.ok_or_else(|| {
        fault(
            "bad-timestamp",
            "timestamp",
            Some(time),
            ", not an instant in iso8601",
        )
    })?;
    let valid = match written("valid") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        value => return Err(fault("bad-valid", "valid", value, ", not a boolean")),
    };
    let stream = match written("stream") {
        None | Some("null") => Cow::Borrowed(""),
        Some("-0") => Cow::Borrowed("0"),
        Some(value) if integer(value).is_some() || value.parse::<u64>().is_ok() => value.into(),
        value @ Some(text) => string(text).ok_or_else(|| {
            fault(
                "bad-stream",
                "stream",
                value,
                ", not a string or an integer",
            )
        })?,
    };
    Ok(Event {
        id,
        time: instant,
        stream,
        kind,
        valid,
    })
}

/// The members of a text that is known to be JSON, if it is an object.
fn members(text: &str) -> serde_json::Result<Members<'_>> {
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.disable_recursion_limit();
    serde::Deserialize::deserialize(&mut parser)
}

fn string(value: &str) -> Option<Cow<'_, str>> {
    let text: Option<String> = serde_json::from_str(value).ok();
    text.map(Cow::Owned)
}

fn integer(value: &str) -> Option<i64> {
    value.parse().ok()
}

fn fault(reason: &'static str, name: &str, value: Option<&str>, complaint: &str) -> Fault {
    let value = value.map_or("absent".into(), quote);
    Fault {
        reason,
        detail: format!("\"{name}\" is {value}{complaint}"),
    }
}

fn quote(written: &str) -> Cow<'_, str> {
    if written.len() <= QUOTED_BYTES_MAX {
        return written.into();
    }
    format!(
        "{}…",
        &written[..written.floor_char_boundary(QUOTED_BYTES_MAX)]
    )
    .into()
}

/// Visits all of a text for the sake of its errors: skipping would let lone surrogates pass.
fn validate(text: &str) -> serde_json::Result<()> {
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.disable_recursion_limit();
    Check {
        levels_left: NESTING_MAX,
    }
    .deserialize(&mut parser)?;
    parser.end()
}

/// Where another crate of a build asks `serde_json` for numbers of any precision, each comes as a
/// map with this one member.
const NUMBER: &str = "$serde_json::private::Number";

#[derive(Clone, Copy)]
struct Check {
    levels_left: usize,
}

impl Check {
    fn enter<E: Error>(self) -> Result<Check, E> {
        let deeper = self
            .levels_left
            .checked_sub(1)
            .map(|levels_left| Check { levels_left });
        deeper.ok_or_else(|| {
            let what = "arrays and objects in each other";
            E::custom(format_args!("more than {NESTING_MAX} {what}"))
        })
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let inner = self.enter::<A::Error>()?;
        while elements.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if name == NUMBER {
                let number: String = members.next_value()?;
                let is_finite = number.parse().is_ok_and(f64::is_finite);
                return is_finite
                    .then_some(())
                    .ok_or_else(|| A::Error::custom("number out of range"));
            }
            members.next_value_seed(self.enter::<A::Error>()?)?;
        }
        self.enter::<A::Error>().map(drop)
    }
}
