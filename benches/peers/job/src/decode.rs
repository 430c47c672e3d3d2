//! One record to an event, fast where it is plain.
//!
//! sonic-rs reads what is plain JSON with the right types. It is not asked about anything else:
//! where it finds a fault, and where its answer could differ from the rules (escapes, deep nesting,
//! our own mark), the slow way decides.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::slow;
use crate::time::Clock;

/// A well-formed event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    pub id: i64,
    pub time: i64,
    pub stream: Cow<'a, str>,
    pub kind: Cow<'a, str>,
    /// None where the record does not say.
    pub valid: Option<bool>,
}

/// Why a record is not a well-formed event.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub reason: &'static str,
    pub detail: String,
}

/// What is read of a record; of a field that occurs twice the last counts.
#[derive(Default)]
struct Plain<'a> {
    event_id: Option<i64>,
    stream: Option<&'a str>,
    kind: Option<&'a str>,
    timestamp: Option<&'a str>,
    valid: Option<bool>,
    has_our_mark: bool,
    has_more: bool,
}

impl<'de> Deserialize<'de> for Plain<'de> {
    fn deserialize<D: Deserializer<'de>>(record: D) -> Result<Self, D::Error> {
        record.deserialize_map(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Plain<'de>, A::Error> {
        let mut plain = Plain::default();
        while let Some(name) = members.next_key::<&str>()? {
            match name {
                "event_id" => plain.event_id = Some(members.next_value()?),
                "stream" => plain.stream = members.next_value()?,
                "type" => plain.kind = Some(members.next_value()?),
                "timestamp" => plain.timestamp = Some(members.next_value()?),
                "valid" => plain.valid = Some(members.next_value()?),
                "amend" => {
                    members.next_value::<IgnoredAny>()?;
                    plain.has_our_mark = true;
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    plain.has_more = true;
                }
            }
        }
        Ok(plain)
    }
}

/// A longer record is not read.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 20;
/// Nesting up to here is right.
pub(crate) const NESTING_MAX: usize = 128;

/// Decodes `record`, a line without its end.
///
/// # Errors
/// The first fault of a record that is not well formed.
#[inline]
pub fn decode<'a>(record: &'a [u8], clock: &mut Clock) -> Result<Event<'a>, Fault> {
    match plain(record, clock) {
        Some(event) => Ok(event),
        None => slow::decode(record, clock),
    }
}

#[inline]
fn plain<'a>(record: &'a [u8], clock: &mut Clock) -> Option<Event<'a>> {
    if memchr::memchr(b'\\', record).is_some()
        || may_nest_deeply(record)
        || record.len() > RECORD_BYTES_MAX
    {
        return None;
    }
    let text = simdutf8::basic::from_utf8(record).ok()?;
    let plain: Plain<'a> = sonic_rs::from_str(text).ok()?;
    if plain.has_our_mark || plain.has_more && may_be_out_of_range(record) {
        return None;
    }
    let kind = plain.kind.filter(|kind| !kind.trim_start().is_empty())?;
    Some(Event {
        id: plain.event_id?,
        time: clock.read(plain.timestamp?)?,
        stream: plain.stream.unwrap_or_default().into(),
        kind: kind.into(),
        valid: plain.valid,
    })
}

/// Numbers of members that are skipped are not looked at, and may be too large for any.
fn may_be_out_of_range(record: &[u8]) -> bool {
    let is_exponent = |pair: &[u8]| pair[0].is_ascii_digit() && matches!(pair[1], b'e' | b'E');
    let mut digits = record.chunk_by(|one, other| one.is_ascii_digit() == other.is_ascii_digit());
    record.windows(2).any(is_exponent) || record.len() > 300 && digits.any(|run| run.len() > 300)
}

fn may_nest_deeply(record: &[u8]) -> bool {
    record.len() > 2 * NESTING_MAX
        && record
            .iter()
            .filter(|byte| matches!(byte, b'[' | b'{'))
            .count()
            > NESTING_MAX
}
