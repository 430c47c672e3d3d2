//! A record's bytes to its fields.
use super::{EventSpec, Fault, Reason};
use crate::time::EventTime;

/// The fields of a well-formed event, borrowed from the record or from the decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The sequence id.
    pub id: i64,
    /// When it happened.
    pub time: EventTime,
    /// The event's type.
    pub r#type: &'a str,
    /// The stream's name; for a list of fields their texts as a compact JSON array.
    pub stream: &'a str,
    /// `valid`, where the event has it.
    pub valid: Option<bool>,
    /// The dedup key in a canonical encoding: equal bytes exactly when the keys are equal.
    /// Empty under [`DedupKey::IdAndTime`](super::DedupKey::IdAndTime).
    pub key: &'a [u8],
    /// Whether the record contains a line break, and so must be compacted to stand on a line.
    pub has_line_break: bool,
}

/// Decodes records under one [`EventSpec`]; keeps caches and buffers between records.
#[derive(Debug)]
pub struct Decoder {
    spec: EventSpec,
}

impl Decoder {
    /// A decoder for events as `spec` describes them.
    pub fn new(spec: EventSpec) -> Self {
        Decoder { spec }
    }
    /// Decodes one record, which is not longer than the limit.
    ///
    /// # Errors
    /// The fault that the contract's list puts first.
    pub fn decode<'a>(&'a mut self, record: &'a [u8]) -> Result<Decoded<'a>, Fault> {
        let _ = (record, &self.spec);
        Err(Fault { reason: Reason::NotJson, detail: String::new() })
    }
}
