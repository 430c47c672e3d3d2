//! Events and dead letters back to bytes.
use super::EventSpec;
use crate::time::EventTime;

/// Appends a kept event: its own bytes, with `valid` added where the event lacks it, and without
/// line breaks.
pub fn write_event(spec: &EventSpec, record: &[u8], add_valid: bool, out: &mut Vec<u8>) {
    let _ = (spec, add_valid);
    out.extend_from_slice(record);
}

/// Appends `record`, a JSON text, with the whitespace between its tokens left out.
pub fn write_compact(record: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(record);
}

/// Writes reconstructed events under one [`EventSpec`].
#[derive(Clone, Debug)]
pub struct ReconstructedWriter {}

impl ReconstructedWriter {
    /// A writer for events as `spec` describes them; `annotate` adds the mark of the inferred.
    pub fn new(spec: &EventSpec, annotate: bool) -> Self {
        let _ = (spec, annotate);
        ReconstructedWriter {}
    }
    /// Appends the event `id` of `stream` (a name as [`Decoded::stream`](super::Decoded) has it).
    pub fn write(&self, stream: &str, id: i64, r#type: &str, time: EventTime, out: &mut Vec<u8>) {
        let _ = (stream, id, r#type, time, out);
    }
}

/// Appends the members `"event":{..}` or `"raw":"..","raw_base64":".."` of a record's dead letter.
/// `full_length` is the record's length where `record` is only its beginning (oversize).
pub fn write_letter_body(record: &[u8], full_length: Option<u64>, out: &mut Vec<u8>) {
    let _ = (record, full_length, out);
}
