//! A record's bytes to its fields.
//!
//! Most records are as those before but for their values, and `template` takes them in one step. For
//! the others decoding has two halves. The first finds where the configured members lie in the record: for
//! most records one pass over the bytes does it (`fast`), every other record goes to `serde_json`
//! (`slow`), which alone decides what is not JSON. The second half (`judge`) reads the values that
//! were found and names the fault; both ways share it, so they cannot disagree about one.

use super::fast::Guess;
use super::judge::{self, Judgement};
use super::plan::{Plan, Spans};
use super::template::Templates;
use super::timestamp::DateCache;
use super::{EventSpec, Fault, Reason, fast, slow, write};
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
///
/// ```
/// use amend::event::{Decoder, EventSpec, FieldPath, DedupKey, Reason, TimestampFormat};
/// let name = |name: &str| FieldPath::Name(name.to_owned());
/// let mut decoder = Decoder::new(EventSpec {
///     stream: vec![name("stream")],
///     stream_is_list: false,
///     id: name("event_id"),
///     id_text: false,
///     r#type: name("type"),
///     timestamp: name("timestamp"),
///     timestamp_format: TimestampFormat::Iso8601,
///     valid: name("valid"),
///     key: DedupKey::IdAndTime,
///     max_record_bytes: 1 << 20,
/// });
/// let event = decoder
///     .decode(br#"{"event_id":7,"stream":"s1","type":"Sale","timestamp":"1970-01-01T00:00:01"}"#)
///     .unwrap();
/// assert_eq!((event.id, event.time.0, event.stream), (7, 1_000_000, "s1"));
///
/// let fault = decoder.decode(br#"{"event_id":"x7"}"#).unwrap_err();
/// assert_eq!(fault.reason, Reason::BadId);
/// assert_eq!(fault.detail, r#""event_id" is "x7", not an integer"#);
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    spec: EventSpec,
    plan: Plan,
    spans: Spans,
    guess: Guess,
    templates: Templates,
    dates: DateCache,
    buffers: Buffers,
}

impl Decoder {
    /// A decoder for events as `spec` describes them.
    pub fn new(spec: EventSpec) -> Self {
        let plan = Plan::new(&spec);
        Decoder {
            spans: Spans::of(&plan),
            templates: Templates::new(&spec, &plan),
            spec,
            plan,
            guess: Guess::default(),
            dates: DateCache::default(),
            buffers: Buffers::default(),
        }
    }

    /// Decodes one record, which is not longer than the limit.
    ///
    /// # Errors
    /// The fault that the contract's list puts first.
    pub fn decode<'a>(&'a mut self, record: &'a [u8]) -> Result<Decoded<'a>, Fault> {
        self.decode_by(record, true)
    }

    /// Decodes one record of which it is known that it is UTF-8: of many records together that
    /// takes less time to find out than one by one.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode_text<'a>(&'a mut self, record: &'a str) -> Result<Decoded<'a>, Fault> {
        self.decode_text_by(record, true)
    }

    /// Decodes one record; without `fast` by `serde_json` alone.
    pub(super) fn decode_by<'a>(
        &'a mut self,
        record: &'a [u8],
        fast: bool,
    ) -> Result<Decoded<'a>, Fault> {
        let text = match simdutf8::basic::from_utf8(record) {
            Ok(text) => text,
            // The standard library says where it stops being UTF-8.
            Err(_) => std::str::from_utf8(record).map_err(not_utf8)?,
        };
        self.decode_text_by(text, fast)
    }

    #[inline]
    fn decode_text_by<'a>(&'a mut self, record: &'a str, fast: bool) -> Result<Decoded<'a>, Fault> {
        if fast && let Some(taken) = self.templates.take(record, &self.spec, &mut self.dates) {
            return Ok(Decoded {
                id: taken.id,
                time: taken.time,
                r#type: taken.r#type,
                stream: taken.stream,
                valid: taken.valid,
                key: &[],
                has_line_break: false,
            });
        }
        let is_flat = fast && self.is_flat(record.as_bytes());
        let has_line_break = !is_flat && {
            slow::find(record, &self.plan, &mut self.spans)?;
            write::has_line_break(record.as_bytes())
        };
        let Judgement {
            id,
            time,
            valid,
            r#type,
            stream,
        } = judge::judge(
            record,
            &self.spec,
            &self.plan,
            &self.spans,
            &mut self.dates,
            &mut self.buffers,
        )?;
        if is_flat {
            self.templates
                .learn(record.as_bytes(), &self.plan, &self.spans);
        }
        let buffers = &self.buffers;
        Ok(Decoded {
            id,
            time,
            r#type: r#type.read(record, &buffers.r#type),
            stream: stream.read(record, &buffers.stream),
            valid,
            key: &buffers.key,
            has_line_break,
        })
    }

    /// Whether one pass over the record was enough to find its members.
    pub(super) fn is_flat(&mut self, record: &[u8]) -> bool {
        fast::find(record, &self.plan, &mut self.guess, &mut self.spans)
    }

    /// Whether a template takes the record.
    #[cfg(test)]
    pub(super) fn is_taken(&mut self, record: &str) -> bool {
        let taken = self.templates.take(record, &self.spec, &mut self.dates);
        taken.is_some()
    }
}

fn not_utf8(error: std::str::Utf8Error) -> Fault {
    let detail = format!("not UTF-8 from byte {} on", error.valid_up_to());
    Fault {
        reason: Reason::NotJson,
        detail,
    }
}

/// What cannot be borrowed from the record: a stream's name of several fields, text with escapes,
/// the dedup key.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    pub(super) r#type: String,
    pub(super) stream: String,
    pub(super) key: Vec<u8>,
}

#[cfg(test)]
mod tests;
