//! What an event is, and how bytes become one.
//!
//! The rules are those of the `[event]` table of a dataflow file: which member of the JSON object
//! holds the id, the type, the timestamp, the `valid` flag and the stream. A record that breaks a
//! rule is not an error but a [`Fault`]: it becomes a dead letter with its [`Reason`].
//!
//! Reading order: [`EventSpec`] (the rules), [`timestamp`] (instants and their text), [`decode`]
//! (a record's bytes to its fields; with `plan`, `fast`, `slow`, `judge` and `key` for its steps),
//! [`write`](mod@write) (events and dead letters back to bytes; with `reconstructed` for inferred
//! events).

pub mod decode;
#[cfg(test)]
mod differential;
mod fast;
mod judge;
mod key;
#[cfg(test)]
#[expect(unreachable_pub, reason = "the fuzz target includes this file too")]
mod oracle;
mod plan;
mod reconstructed;
mod slow;
mod template;
pub mod timestamp;
mod walk;
pub mod write;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use decode::{Decoded, Decoder};
pub use timestamp::TimestampFormat;

/// Where a field lies in an event's JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldPath {
    /// A member of the top-level object.
    Name(String),
    /// The unescaped reference tokens of a JSON pointer (RFC 6901); never empty.
    Pointer(Vec<String>),
}

/// One field of a dedup key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyField {
    /// The decoded id.
    Id,
    /// The decoded event time.
    Time,
    /// Any other field, compared as a JSON value.
    Field(FieldPath),
}

/// Which events are copies of one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DedupKey {
    /// Events with equal id and event time.
    IdAndTime,
    /// Events that agree on these fields; one that lacks a field is keyed by id and event time.
    Fields(Vec<KeyField>),
}

/// Which field is what: the `[event]` table and the dedup key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// The fields that name the stream; empty means that there is one stream.
    pub stream: Vec<FieldPath>,
    /// Whether `stream` was given as a list, so that a stream's name is a list of texts.
    pub stream_is_list: bool,
    /// The sequence id.
    pub id: FieldPath,
    /// Whether ids may also be decimal text.
    pub id_text: bool,
    /// The event's type.
    pub r#type: FieldPath,
    /// When it happened.
    pub timestamp: FieldPath,
    /// How `timestamp` is written.
    pub timestamp_format: TimestampFormat,
    /// Whether the event's content is right.
    pub valid: FieldPath,
    /// Which events are copies of each other.
    pub key: DedupKey,
    /// The longest record that is decoded, in bytes.
    pub max_record_bytes: usize,
}

impl Default for EventSpec {
    /// The fields `event_id`, `type`, `timestamp` and `valid` of one stream.
    fn default() -> Self {
        let name = |name: &str| FieldPath::Name(name.to_owned());
        EventSpec {
            stream: Vec::new(),
            stream_is_list: false,
            id: name("event_id"),
            id_text: false,
            r#type: name("type"),
            timestamp: name("timestamp"),
            timestamp_format: TimestampFormat::default(),
            valid: name("valid"),
            key: DedupKey::IdAndTime,
            max_record_bytes: 1 << 20,
        }
    }
}

/// Why a record or a gap was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Longer than the limit for a record.
    Oversize,
    /// Not UTF-8, or not JSON.
    NotJson,
    /// JSON, but not an object.
    NotObject,
    /// A reconstructed event that came back: no evidence.
    Inferred,
    /// The id is absent.
    MissingId,
    /// The id is not an integer within i64.
    BadId,
    /// The type is not a string.
    BadType,
    /// The type is absent, empty or blank.
    MissingType,
    /// The timestamp is absent or not a real instant of the format.
    BadTimestamp,
    /// `valid` is there but not a boolean.
    BadValid,
    /// The stream is neither a string nor an integer.
    BadStream,
    /// A copy with the bytes of the one that took the seat.
    Duplicate,
    /// A copy with other bytes than the one that took the seat.
    Conflict,
    /// The copy in the seat says `valid: false`.
    Invalid,
    /// Behind the horizon, with an id that is forgotten.
    Late,
    /// At a new time, with an id that is forgotten.
    OutOfSequence,
    /// A gap wider than `gaps.max_width`.
    GapTooWide,
    /// A stream whose gaps together miss more than `gaps.max_missing` ids.
    SequenceTooSparse,
}

impl Reason {
    /// Every reason, in the order in which reports list them.
    pub const ALL: [Reason; 18] = [
        Reason::Oversize,
        Reason::NotJson,
        Reason::NotObject,
        Reason::Inferred,
        Reason::MissingId,
        Reason::BadId,
        Reason::BadType,
        Reason::MissingType,
        Reason::BadTimestamp,
        Reason::BadValid,
        Reason::BadStream,
        Reason::Duplicate,
        Reason::Conflict,
        Reason::Invalid,
        Reason::Late,
        Reason::OutOfSequence,
        Reason::GapTooWide,
        Reason::SequenceTooSparse,
    ];

    /// The reason's name in dead letters and reports.
    ///
    /// ```
    /// use amend::event::Reason;
    /// assert_eq!(Reason::MissingId.as_str(), "missing-id");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Oversize => "oversize",
            Reason::NotJson => "not-json",
            Reason::NotObject => "not-object",
            Reason::Inferred => "inferred",
            Reason::MissingId => "missing-id",
            Reason::BadId => "bad-id",
            Reason::BadType => "bad-type",
            Reason::MissingType => "missing-type",
            Reason::BadTimestamp => "bad-timestamp",
            Reason::BadValid => "bad-valid",
            Reason::BadStream => "bad-stream",
            Reason::Duplicate => "duplicate",
            Reason::Conflict => "conflict",
            Reason::Invalid => "invalid",
            Reason::Late => "late",
            Reason::OutOfSequence => "out-of-sequence",
            Reason::GapTooWide => "gap-too-wide",
            Reason::SequenceTooSparse => "sequence-too-sparse",
        }
    }

    /// Whether the reason speaks of one record; the others speak of gaps.
    pub fn is_about_record(self) -> bool {
        !matches!(self, Reason::GapTooWide | Reason::SequenceTooSparse)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that is not a well-formed event: the reason, and a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first rule that the record breaks.
    pub reason: Reason,
    /// What was found, lower case, without a full stop.
    pub detail: String,
}
