//! JSON texts of the output files, byte by byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::{DATAFLOW, EPOCH_EVENTS, time};

/// A letter has this much of a record that is too long.
const OVERSIZE_KEPT_BYTES: usize = 64 << 10;

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a str,
    /// Its number in the file, from 0.
    pub(crate) record: u64,
    pub(crate) offset: u64,
    /// From 1.
    pub(crate) line: u64,
}

/// Appends the dead letter of a record.
pub(crate) fn write_letter(
    reason: &str,
    detail: &str,
    place: Place<'_>,
    record: &[u8],
    out: &mut Vec<u8>,
) {
    put(out, &["{\"reason\":\"", reason, "\",\"detail\":"]);
    write_string(detail, out);
    put(out, &[",\"epoch\":"]);
    write_number(place.record / u64::from(EPOCH_EVENTS), out);
    put(
        out,
        &[",\"source\":{\"name\":\"", DATAFLOW, "\",\"partition\":"],
    );
    write_string(place.file, out);
    put(out, &[",\"offset\":"]);
    write_number(place.offset, out);
    put(out, &[",\"line\":"]);
    write_number(place.line, out);
    put(out, &["},"]);
    if matches!(reason, "oversize" | "not-json" | "not-object") {
        let kept = match reason {
            "oversize" => &record[..OVERSIZE_KEPT_BYTES],
            _ => record,
        };
        put(out, &["\"raw\":"]);
        write_string(&String::from_utf8_lossy(kept), out);
        if std::str::from_utf8(kept).is_err() {
            put(out, &[",\"raw_base64\":\"", &BASE64.encode(kept), "\""]);
        }
        if reason == "oversize" {
            put(out, &[",\"length\":"]);
            write_number(record.len() as u64, out);
        }
    } else {
        put(out, &["\"event\":"]);
        write_on_one_line(record, out);
    }
    put(out, &["}\n"]);
}

/// Appends the dead letter about a gap, or about all gaps of a stream.
pub(crate) fn write_gap_letter(
    reason: &str,
    stream: &str,
    ids: Option<(i64, i64)>,
    epoch: u64,
    out: &mut Vec<u8>,
) {
    put(out, &["{\"reason\":\"", reason, "\",\"stream\":"]);
    write_string(stream, out);
    if let Some((from, to)) = ids {
        put(out, &[&format!(",\"from\":{from},\"to\":{to}")]);
    }
    put(out, &[&format!(",\"epoch\":{epoch}}}\n")]);
}

/// Appends a line of `gaps.jsonl`.
pub(crate) fn write_gap(stream: &str, from: i64, to: i64, out: &mut Vec<u8>) {
    put(out, &["{\"op\":\"open\",\"stream\":"]);
    write_string(stream, out);
    put(out, &[&format!(",\"from\":{from},\"to\":{to}}}\n")]);
}

/// Appends an inferred event.
pub(crate) fn write_inferred(stream: &str, id: i64, kind: &str, time: i64, out: &mut Vec<u8>) {
    put(out, &["{\"event_id\":", &id.to_string()]);
    if !stream.is_empty() {
        put(out, &[",\"stream\":"]);
        write_string(stream, out);
    }
    put(out, &[",\"type\":"]);
    write_string(kind, out);
    put(out, &[",\"timestamp\":"]);
    time::write(time, out);
    put(
        out,
        &[",\"valid\":true,\"amend\":{\"origin\":\"reconstructed\"}}\n"],
    );
}

/// Appends a kept record that cannot be copied as it is.
pub(crate) fn write_kept(record: &[u8], adds_valid: bool, out: &mut Vec<u8>) {
    let start = out.len();
    write_on_one_line(record, out);
    if adds_valid {
        let brace =
            memchr::memrchr(b'}', &out[start..]).expect("an object ends in a brace") + start;
        let after = out.split_off(brace);
        put(out, &[",\"valid\":true"]);
        out.extend_from_slice(&after);
    }
    out.push(b'\n');
}

/// Appends JSON as it is, or without white space where it has line breaks.
fn write_on_one_line(json: &[u8], out: &mut Vec<u8>) {
    if memchr::memchr(b'\r', json).is_none() {
        out.extend_from_slice(json);
        return;
    }
    let (mut is_in_string, mut is_escaped) = (false, false);
    for &byte in json {
        if is_in_string || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        is_in_string ^= byte == b'"' && !is_escaped;
        is_escaped = is_in_string && byte == b'\\' && !is_escaped;
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn put(out: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        out.extend_from_slice(text.as_bytes());
    }
}
