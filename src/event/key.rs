//! The dedup key's canonical encoding: bytes that are equal exactly when the keys are equal.
//!
//! Every part says its kind and its length, so no two sequences of parts run together. Values
//! compare as JSON: the order of members does not matter, of a repeated member the last counts, text
//! is what it says rather than how it is escaped, and an integer never equals a float. An integer
//! that neither i64 nor u64 holds is compared as the float nearest to it.
//!
//! | byte | then |
//! |---|---|
//! | `F` | the fields of a full key, in the order of the dataflow file |
//! | `I` | id and time: the key of an event that lacks one of the fields |
//! | `d`, `@` | the id, the event time in microseconds: 8 bytes, big-endian |
//! | `t`, `f`, `n` | `true`, `false`, `null` (only inside of arrays and objects) |
//! | `i` | an integer: 16 bytes, big-endian |
//! | `r` | a float: the 8 bytes of its bits, big-endian |
//! | `s` | a string: 8 bytes of length, big-endian, and its bytes |
//! | `[` | the elements, then `]` |
//! | `{` | name (as `s`) and value of each member, ordered by name, then `}` |

use std::borrow::Cow;
use std::ops::Range;

use super::plan::{KeyPlace, Spans};
use super::walk;
use crate::time::EventTime;

/// Replaces `out` by the key of an event. The record is valid JSON.
pub(super) fn write(
    record: &str,
    spans: &Spans,
    fields: &[KeyPlace],
    id: i64,
    time: EventTime,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.push(b'F');
    for field in fields {
        match field {
            KeyPlace::Id => write_id(id, out),
            KeyPlace::Time => write_time(time, out),
            KeyPlace::Field(place) => {
                let value = place.find(record, spans);
                match record.as_bytes().get(value.start) {
                    Some(first) if !value.is_empty() && *first != b'n' => {
                        write_value(record, value.start, out);
                    }
                    _ => {
                        out.clear();
                        out.push(b'I');
                        write_id(id, out);
                        write_time(time, out);
                        return;
                    }
                }
            }
        }
    }
}

fn write_id(id: i64, out: &mut Vec<u8>) {
    out.push(b'd');
    out.extend_from_slice(&id.to_be_bytes());
}

fn write_time(time: EventTime, out: &mut Vec<u8>) {
    out.push(b'@');
    out.extend_from_slice(&time.0.to_be_bytes());
}

/// Writes the value at `at` and returns where it ends. The text is valid, so it nests no deeper
/// than the decoder allows.
fn write_value(text: &str, at: usize, out: &mut Vec<u8>) -> usize {
    let bytes = text.as_bytes();
    match bytes.get(at) {
        Some(b'{') => return write_object(text, at, out),
        Some(b'[') => return write_array(text, at, out),
        _ => {}
    }
    let end = walk::value_end(bytes, at);
    let written = walk::slice(text, &(at..end));
    match bytes.get(at) {
        Some(b'"') => write_string(&walk::unquote(written), out),
        Some(&kind @ (b't' | b'f' | b'n')) => out.push(kind),
        _ => write_number(written, out),
    }
    end
}

fn write_number(written: &str, out: &mut Vec<u8>) {
    let integer = written.parse::<i64>().map(i128::from);
    if let Ok(integer) = integer.or_else(|_| written.parse::<u64>().map(i128::from)) {
        out.push(b'i');
        out.extend_from_slice(&integer.to_be_bytes());
        return;
    }
    // Adding zero turns -0.0 into 0.0.
    let float = written.parse::<f64>().unwrap_or(f64::NAN) + 0.0;
    out.push(b'r');
    out.extend_from_slice(&float.to_bits().to_be_bytes());
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b's');
    out.extend_from_slice(&(text.len() as u64).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn write_array(text: &str, at: usize, out: &mut Vec<u8>) -> usize {
    out.push(b'[');
    let end = contents(text, at, |at| write_value(text, at, out));
    out.push(b']');
    end
}

fn write_object(text: &str, at: usize, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    let mut members: Vec<(Cow<'_, str>, Range<usize>)> = Vec::new();
    let end = contents(text, at, |at| {
        let key_end = walk::string_end(text.as_bytes(), at);
        let colon = walk::skip_space(text.as_bytes(), key_end);
        let value = walk::skip_space(text.as_bytes(), colon + 1);
        let from = out.len() - start;
        let end = write_value(text, value, out);
        let name = walk::unquote(walk::slice(text, &(at..key_end)));
        members.push((name, from..out.len() - start));
        end
    });
    let values = out.split_off(start);
    // The sort is stable, so of equal names the last is the one that counts.
    members.sort_by(|a, b| a.0.cmp(&b.0));
    out.push(b'{');
    for (nth, (name, value)) in members.iter().enumerate() {
        if members.get(nth + 1).is_none_or(|(next, _)| next != name) {
            write_string(name, out);
            out.extend_from_slice(&values[value.clone()]);
        }
    }
    out.push(b'}');
    end
}

/// Calls `content` with the place of each element or member of the container at `at`; it returns
/// where that ends. Returns the end of the container.
fn contents(text: &str, at: usize, mut content: impl FnMut(usize) -> usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = walk::skip_space(bytes, at + 1);
    while !matches!(bytes.get(at), None | Some(b']' | b'}')) {
        at = walk::skip_space(bytes, content(at));
        if bytes.get(at) == Some(&b',') {
            at = walk::skip_space(bytes, at + 1);
        }
    }
    (at + 1).min(bytes.len())
}

#[cfg(test)]
mod tests {
    use crate::event::oracle::specs;
    use crate::event::{Decoder, DedupKey, EventSpec, FieldPath, KeyField};

    /// The key of an event with these members, under the fields id and `x`.
    #[track_caller]
    fn key(members: &str) -> Vec<u8> {
        let x = KeyField::Field(FieldPath::Name("x".to_owned()));
        let key = DedupKey::Fields(vec![KeyField::Id, x]);
        let mut decoder = Decoder::new(EventSpec {
            key,
            ..specs()[0].clone()
        });
        let record =
            format!(r#"{{"event_id":1,"type":"T","timestamp":"1970-01-01T00:00:00",{members}}}"#);
        decoder.decode(record.as_bytes()).unwrap().key.to_vec()
    }

    #[track_caller]
    fn check(a: &str, b: &str, is_equal: bool) {
        let of = |value: &str| key(&format!("\"x\":{value}"));
        assert_eq!(of(a) == of(b), is_equal, "{a} and {b}");
    }

    #[test]
    fn equal_values() {
        for (a, b) in [
            (r#"{"a":1,"b":[2]}"#, "{ \"b\" : [ 2 ] ,\"a\":1}"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":1,"b":0,"a":2}"#, r#"{"b":0,"a":2}"#),
            (r#"{"\u0061":1}"#, r#"{"a":1}"#),
            (r#""\u00e9""#, "\"\u{e9}\""),
            (r#""\/""#, r#""/""#),
            ("1.0", "1e0"),
            ("0.1", "0.10"),
            ("-0.0", "0.0"),
            ("-0", "0"),
            ("18446744073709551616", "1.8446744073709552e19"),
            ("1e-999", "0.0"),
            ("[[ ]]", "[[]]"),
        ] {
            check(a, b, true);
        }
    }

    #[test]
    fn different_values() {
        for (a, b) in [
            ("1", "1.0"),
            ("0", "-0.0"),
            ("1", "\"1\""),
            ("9007199254740992", "9007199254740993"),
            ("18446744073709551615", "18446744073709551614"),
            ("-1", "18446744073709551615"),
            ("true", "\"true\""),
            ("[]", "{}"),
            ("[null]", "[]"),
            ("[1,[2]]", "[1,2]"),
            ("[[1],2]", "[[1,2]]"),
            (r#"["a","b"]"#, r#"["ab",""]"#),
            (r#"["a"]"#, r#"["a\u0000"]"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
            (r#"{"a":null}"#, "{}"),
            ("\"\u{e9}\"", "\"e\u{301}\""),
            ("\"\"", "[]"),
        ] {
            check(a, b, false);
        }
    }

    #[test]
    fn absent_fields_leave_id_and_time() {
        let absent = key("\"y\":1");
        assert_eq!(absent, key("\"x\":null"));
        assert_eq!(absent, key("\"x\":1,\"x\":null"));
        assert_eq!(absent[0], b'I');
        assert_eq!(key("\"x\":1")[0], b'F');
    }
}
