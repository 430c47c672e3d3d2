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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::oracle::specs;

    fn spec(valid: &str) -> EventSpec {
        let valid = match valid.strip_prefix('/') {
            Some(pointer) => FieldPath::Pointer(pointer.split('/').map(str::to_owned).collect()),
            None => FieldPath::Name(valid.to_owned()),
        };
        EventSpec {
            valid,
            ..specs()[0].clone()
        }
    }

    /// An event that lacks `valid`, as it is written.
    #[track_caller]
    fn check(valid: &str, record: &str, expected: &str) {
        let mut out = b">".to_vec();
        write_event(&spec(valid), record.as_bytes(), true, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!(">{expected}"));
    }

    #[test]
    fn own_bytes() {
        let of = |record: &str, expected: &str| {
            let mut out = Vec::new();
            write_event(&spec("valid"), record.as_bytes(), false, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        of(
            " {\"a\" :\t[1.0, \"\\u0041 \"] } ",
            " {\"a\" :\t[1.0, \"\\u0041 \"] } ",
        );
        of(
            " {\"a\" :\n[1.0, \"\\\" \\u0041 \"] }\r",
            "{\"a\":[1.0,\"\\\" \\u0041 \"]}",
        );
    }

    #[test]
    fn valid_is_added() {
        check("valid", r#"{"a":1}"#, r#"{"a":1,"valid":true}"#);
        check(
            "valid",
            r#" {"a": {"b": "}"} }  "#,
            r#" {"a": {"b": "}"} ,"valid":true}  "#,
        );
        check("valid", "{}", r#"{"valid":true}"#);
        check("valid", "{ }", r#"{ "valid":true}"#);
        check("valid", "{\n  \"a\": 1\n}", r#"{"a":1,"valid":true}"#);
        check("say \"so\"", r#"{"a":1}"#, r#"{"a":1,"say \"so\"":true}"#);
        check("/valid", r#"{"a":1}"#, r#"{"a":1,"valid":true}"#);
    }

    #[test]
    fn valid_is_added_where_its_pointer_leads() {
        check(
            "/m/v",
            r#"{"m":{"a":1},"b":2}"#,
            r#"{"m":{"a":1,"v":true},"b":2}"#,
        );
        check(
            "/m/v",
            r#"{"m": { } ,"b":2}"#,
            r#"{"m": { "v":true} ,"b":2}"#,
        );
        check(
            "/m/v",
            r#"{"m":{"v":false},"m":{}}"#,
            r#"{"m":{"v":false},"m":{"v":true}}"#,
        );
        check("/m/v", r#"{"b":2}"#, r#"{"b":2,"m":{"v":true}}"#);
        check("/m/n/v", r#"{"b":2}"#, r#"{"b":2,"m":{"n":{"v":true}}}"#);
        check(
            "/m/n/v",
            r#"{"m":{},"b":2}"#,
            r#"{"m":{"n":{"v":true}},"b":2}"#,
        );
        check(
            "/m/n/v",
            r#"{"m":{"n":{"x":"}"}}}"#,
            r#"{"m":{"n":{"x":"}","v":true}}}"#,
        );
        check("/m/v", "{\"m\":\n{\"a\":1}}", r#"{"m":{"a":1,"v":true}}"#);
        check(
            "/m/1/v",
            r#"{"m":[0,{"a":1}]}"#,
            r#"{"m":[0,{"a":1,"v":true}]}"#,
        );
        check("/m/0", r#"{"m":{"1":2}}"#, r#"{"m":{"1":2,"0":true}}"#);
    }

    #[test]
    fn nothing_is_lost_for_the_sake_of_valid() {
        for record in [
            r#"{"m":null}"#,
            r#"{"m":5}"#,
            r#"{"m":[]}"#,
            r#"{"m":[{}]}"#,
            r#"{"m":"{}"}"#,
        ] {
            check("/m/1/v", record, record);
            check("/m/v", record, record);
        }
    }

    #[test]
    fn compact_text_that_is_not_json() {
        for text in ["", "\"", "\"\\", "{\"a\\", "\\\" ", "}"] {
            let mut out = Vec::new();
            write_compact(text.as_bytes(), &mut out);
            assert!(out.len() <= text.len());
            write_event(&spec("/m/v"), text.as_bytes(), true, &mut out);
            write_event(&spec("valid"), text.as_bytes(), true, &mut out);
        }
    }

    #[test]
    fn letters() {
        let check = |record: &[u8], reason: Reason, length: Option<u64>, expected: &str| {
            let mut out = Vec::new();
            write_letter_body(record, reason, length, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text, expected);
            assert!(serde_json::from_str::<serde_json::Value>(&format!("{{{text}}}")).is_ok());
        };
        check(
            b" {\"a\": 1} ",
            Reason::BadId,
            None,
            "\"event\": {\"a\": 1} ",
        );
        check(
            b"{\"a\":\r\n 1}",
            Reason::Duplicate,
            None,
            "\"event\":{\"a\":1}",
        );
        check(b"[1, 2]", Reason::NotObject, None, "\"raw\":\"[1, 2]\"");
        check(
            b"a\n\"b\"\0\x7f",
            Reason::NotJson,
            None,
            "\"raw\":\"a\\n\\\"b\\\"\\u0000\x7f\"",
        );
        check(
            b"\xff{}",
            Reason::NotJson,
            None,
            "\"raw\":\"\u{fffd}{}\",\"raw_base64\":\"/3t9\"",
        );
        check(
            b"{\"a\":1",
            Reason::Oversize,
            Some(99),
            "\"raw\":\"{\\\"a\\\":1\",\"length\":99",
        );
        check(
            "{\"é".as_bytes().split_last().unwrap().1,
            Reason::Oversize,
            Some(99),
            "\"raw\":\"{\\\"\u{fffd}\",\"raw_base64\":\"eyLD\",\"length\":99",
        );
    }

    #[test]
    fn oracle_json_strings() {
        let all: String = (0..0x250)
            .filter_map(char::from_u32)
            .chain(['\u{2028}', '😀'])
            .collect();
        for text in ["", "plain", "\"", "a\\", &all] {
            let mut out = Vec::new();
            write_json_string(text, &mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                serde_json::to_string(text).unwrap()
            );
        }
    }
}
