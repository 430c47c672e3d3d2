//! Events and dead letters back to bytes.
//!
//! One rule: a record's own bytes are kept. Only line breaks make it be written compact, because
//! every file of ours has one object a line; and only an absent `valid` is added.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use memchr::memchr2;

pub use super::reconstructed::ReconstructedWriter;
use super::{EventSpec, FieldPath, Reason, walk};

/// Appends a kept event: its own bytes, with `valid` added where the event lacks it, and without
/// line breaks.
///
/// `record` is one that the decoder accepted under `spec`, and `add_valid` says that
/// [`Decoded::valid`](super::Decoded::valid) was none. `valid` goes before the closing brace of
/// the object that should have it. For a JSON pointer that is the innermost object on its way; the
/// objects that are missing from there on are made. Where the way ends at something that is no
/// object and no element of an array (`"meta":null` for `/meta/valid`), the event is written as it
/// is: nothing of it may be lost, and an absent `valid` means true anyway.
///
/// ```
/// use amend::event::{DedupKey, EventSpec, FieldPath, TimestampFormat, write::write_event};
/// # let name = |name: &str| FieldPath::Name(name.to_owned());
/// # let spec = EventSpec {
/// #     stream: Vec::new(), stream_is_list: false, id: name("id"), id_text: false,
/// #     r#type: name("type"), timestamp: name("timestamp"),
/// #     timestamp_format: TimestampFormat::Iso8601, valid: name("valid"),
/// #     key: DedupKey::IdAndTime, max_record_bytes: 1 << 20,
/// # };
/// let mut out = Vec::new();
/// write_event(&spec, br#"{"id": 1, "note": "a b"}"#, true, &mut out);
/// assert_eq!(out, br#"{"id": 1, "note": "a b","valid":true}"#);
/// ```
pub fn write_event(spec: &EventSpec, record: &[u8], add_valid: bool, out: &mut Vec<u8>) {
    if has_line_break(record) {
        let mut compact = Vec::with_capacity(record.len());
        write_compact(record, &mut compact);
        write_line(spec, &compact, add_valid, out);
    } else {
        write_line(spec, record, add_valid, out);
    }
}

fn write_line(spec: &EventSpec, record: &[u8], add_valid: bool, out: &mut Vec<u8>) {
    let tokens = match &spec.valid {
        FieldPath::Name(name) => std::slice::from_ref(name),
        FieldPath::Pointer(tokens) => tokens.as_slice(),
    };
    let place = if add_valid {
        place_for_valid(record, tokens)
    } else {
        None
    };
    let Some((brace, missing)) = place else {
        out.extend_from_slice(record);
        return;
    };
    let (before, after) = record.split_at(brace);
    out.extend_from_slice(before);
    if before.iter().rev().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        out.push(b',');
    }
    for (nth, token) in missing.iter().enumerate() {
        if nth > 0 {
            out.push(b'{');
        }
        write_json_string(token, out);
        out.push(b':');
    }
    out.extend_from_slice(b"true");
    out.extend(missing.iter().skip(1).map(|_| b'}'));
    out.extend_from_slice(after);
}

/// The closing brace before which `valid` belongs, and the tokens that lead to it from there.
fn place_for_valid<'a>(record: &[u8], tokens: &'a [String]) -> Option<(usize, &'a [String])> {
    let (_, parents) = tokens.split_last()?;
    if parents.is_empty() {
        // The last brace is the event's own, since nothing but whitespace follows it.
        return Some((memchr::memrchr(b'}', record)?, tokens));
    }
    let record = std::str::from_utf8(record).ok()?;
    let mut object = walk::skip_space(record.as_bytes(), 0);
    let mut known = 0;
    while let Some(child) = parents
        .get(known)
        .and_then(|token| walk::child(record, object, token))
    {
        object = child.start;
        known += 1;
    }
    if record.as_bytes().get(object) != Some(&b'{') {
        return None;
    }
    Some((
        walk::value_end(record.as_bytes(), object).checked_sub(1)?,
        &tokens[known..],
    ))
}

/// Appends `record`, a JSON text, with the whitespace between its tokens left out.
///
/// ```
/// use amend::event::write::write_compact;
/// let mut out = Vec::new();
/// write_compact(b"{ \"a b\" :\r\n [1, 2] }\n", &mut out);
/// assert_eq!(out, b"{\"a b\":[1,2]}");
/// ```
pub fn write_compact(record: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(byte) = record.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'"' => {
                // On text that is not JSON, an escape may be the last byte.
                let end = walk::string_end(record, at).min(record.len());
                out.extend_from_slice(&record[at..end]);
                at = end;
            }
            byte => {
                out.push(*byte);
                at += 1;
            }
        }
    }
}

/// Appends the members `"event":{..}` or `"raw":"..","raw_base64":".."` of a record's dead letter.
///
/// `reason` tells whether the record is a JSON object. `full_length` is the record's length where
/// `record` is only its beginning (oversize); it is added as `"length"`.
///
/// ```
/// use amend::event::{Reason, write::write_letter_body};
/// let mut out = Vec::new();
/// write_letter_body(b"{\"id\": null}", Reason::MissingId, None, &mut out);
/// assert_eq!(out, b"\"event\":{\"id\": null}");
/// out.clear();
/// write_letter_body(b"caf\xe9", Reason::NotJson, None, &mut out);
/// assert_eq!(out, "\"raw\":\"caf\u{fffd}\",\"raw_base64\":\"Y2Fm6Q==\"".as_bytes());
/// ```
pub fn write_letter_body(
    record: &[u8],
    reason: Reason,
    full_length: Option<u64>,
    out: &mut Vec<u8>,
) {
    let is_object = !matches!(
        reason,
        Reason::Oversize | Reason::NotJson | Reason::NotObject
    );
    if is_object && full_length.is_none() {
        out.extend_from_slice(b"\"event\":");
        if has_line_break(record) {
            write_compact(record, out);
        } else {
            out.extend_from_slice(record);
        }
        return;
    }
    out.extend_from_slice(b"\"raw\":");
    write_json_string(&String::from_utf8_lossy(record), out);
    if std::str::from_utf8(record).is_err() {
        out.extend_from_slice(b",\"raw_base64\":\"");
        out.extend_from_slice(BASE64.encode(record).as_bytes());
        out.push(b'"');
    }
    if let Some(length) = full_length {
        out.extend_from_slice(format!(",\"length\":{length}").as_bytes());
    }
}

/// Appends `text` as a JSON string, escaping only what must be.
///
/// ```
/// let mut out = Vec::new();
/// amend::event::write::write_json_string("say \"é\"\n", &mut out);
/// assert_eq!(out, r#""say \"é\"\n""#.as_bytes());
/// ```
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(is_escaped) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let byte = rest.as_bytes()[at];
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// Appends `text` as a JSON string to a text.
pub(super) fn push_json_string(text: &str, out: &mut String) {
    let mut bytes = std::mem::take(out).into_bytes();
    write_json_string(text, &mut bytes);
    *out = String::from_utf8(bytes).expect("escaping changes only ASCII characters");
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Whether `record` cannot stand on one line. In JSON only whitespace can be a line break.
pub(super) fn has_line_break(record: &[u8]) -> bool {
    memchr2(b'\n', b'\r', record).is_some()
}
