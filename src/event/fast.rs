//! The common record in one pass: an object of strings, plain numbers, `true`, `false`, `null`,
//! and arrays and objects of them, with no whitespace but spaces.
//!
//! The one rule: whatever is not plainly of this shape is given up, never judged. So the scanner
//! may be ignorant (of exponents, of line breaks, of surrogates, of deep nesting), but what it
//! accepts must be valid JSON. The caller has checked that the record is UTF-8.

use std::ops::Range;

use memchr::memchr;

use super::plan::{Plan, Spans};

/// Numbers up to this length cannot leave the range of f64, and need no closer look.
const NUMBER_BYTES_MAX: usize = 64;
/// Members beyond this many are not guessed.
const GUESSED_MEMBERS_MAX: usize = 64;
/// Keys longer than this are not guessed.
const GUESSED_KEY_BYTES_MAX: usize = 64;

/// The keys of the record before, in order: the next record most likely has the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Guess(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    /// The key with its quotes, so that comparing it also finds its end.
    quoted: Vec<u8>,
    /// The slot of a member that is looked for.
    slot: Option<usize>,
}

impl Guess {
    /// Remembers that the `nth` key of a record was `quoted`.
    fn learn(&mut self, nth: usize, quoted: &[u8], slot: Option<usize>) {
        if quoted.len() > GUESSED_KEY_BYTES_MAX {
            return;
        }
        if let Some(key) = self.0.get_mut(nth) {
            key.quoted.clear();
            key.quoted.extend_from_slice(quoted);
            key.slot = slot;
        } else if nth == self.0.len() && nth < GUESSED_MEMBERS_MAX {
            self.0.push(Key {
                quoted: quoted.to_vec(),
                slot,
            });
        }
    }
}

/// Finds the members that `plan` names; false where the record is not of the common shape, and
/// `spans` then means nothing.
pub(super) fn find(record: &[u8], plan: &Plan, guess: &mut Guess, spans: &mut Spans) -> bool {
    spans.clear();
    find_members(record, plan, guess, spans).is_some()
}

fn find_members(record: &[u8], plan: &Plan, guess: &mut Guess, spans: &mut Spans) -> Option<()> {
    let mut at = expect(record, skip_spaces(record, 0), b'{')?;
    at = skip_spaces(record, at);
    if record.get(at) == Some(&b'}') {
        return end(record, at + 1);
    }
    for nth in 0.. {
        let slot;
        match guess.0.get(nth) {
            Some(key) if record.get(at..)?.starts_with(&key.quoted) => {
                slot = key.slot;
                at += key.quoted.len();
            }
            _ => {
                let key_end = string_end(record, expect(record, at, b'"')?)?;
                let name = record.get(at + 1..key_end - 1)?;
                if memchr(b'\\', name).is_some() {
                    return None;
                }
                slot = plan.slot(name);
                guess.learn(nth, record.get(at..key_end)?, slot);
                at = key_end;
            }
        }
        let value = skip_spaces(record, expect(record, skip_spaces(record, at), b':')?);
        at = value_end(record, value)?;
        if let Some(slot) = slot {
            spans.set(slot, value..at);
        }
        at = skip_spaces(record, at);
        match record.get(at)? {
            b',' => at = skip_spaces(record, at + 1),
            b'}' => return end(record, at + 1),
            _ => return None,
        }
    }
    None
}

/// Where the values of all members lie, of a record that [`find`] has taken.
pub(super) fn values(record: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut values = Vec::new();
    let mut at = skip_spaces(record, expect(record, skip_spaces(record, 0), b'{')?);
    while record.get(at) != Some(&b'}') {
        let value = member_value(record, at)?;
        at = value_end(record, value)?;
        values.push(value..at);
        at = skip_spaces(record, at);
        if record.get(at) == Some(&b',') {
            at = skip_spaces(record, at + 1);
        }
    }
    Some(values)
}

/// Whether nothing but spaces follows.
fn end(record: &[u8], at: usize) -> Option<()> {
    (skip_spaces(record, at) == record.len()).then_some(())
}

fn expect(record: &[u8], at: usize, byte: u8) -> Option<usize> {
    (record.get(at) == Some(&byte)).then_some(at + 1)
}

#[inline]
fn skip_spaces(record: &[u8], mut at: usize) -> usize {
    while record.get(at) == Some(&b' ') {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`; what follows is for the caller to judge.
#[inline]
pub(super) fn value_end(record: &[u8], at: usize) -> Option<usize> {
    match record.get(at)? {
        b'{' | b'[' => nested_end(record, at),
        _ => scalar_end(record, at),
    }
}

/// The end of the array or object that begins at `at`.
fn nested_end(record: &[u8], mut at: usize) -> Option<usize> {
    // One bit for each open container, the innermost the lowest: 1 is an object. The highest bit
    // that is set stands below all of them.
    let mut open = 1_u64;
    loop {
        // A value begins here.
        match record.get(at)? {
            &byte @ (b'{' | b'[') => {
                if open.leading_zeros() == 0 {
                    return None;
                }
                let is_object = byte == b'{';
                open = open << 1 | u64::from(is_object);
                at = skip_spaces(record, at + 1);
                // What closes an empty container is left for the loop below.
                match record.get(at)? {
                    b'}' if is_object => {}
                    b']' if !is_object => {}
                    _ if is_object => {
                        at = member_value(record, at)?;
                        continue;
                    }
                    _ => continue,
                }
            }
            _ => at = scalar_end(record, at)?,
        }
        // A value has ended, or a container is empty.
        loop {
            at = skip_spaces(record, at);
            let is_object = open & 1 == 1;
            match record.get(at)? {
                b'}' if is_object => at += 1,
                b']' if !is_object => at += 1,
                b',' => {
                    at = skip_spaces(record, at + 1);
                    if is_object {
                        at = member_value(record, at)?;
                    }
                    break;
                }
                _ => return None,
            }
            open >>= 1;
            if open == 1 {
                return Some(at);
            }
        }
    }
}

/// Where the value of the member begins whose key is at `at`.
fn member_value(record: &[u8], at: usize) -> Option<usize> {
    let key_end = string_end(record, expect(record, at, b'"')?)?;
    Some(skip_spaces(
        record,
        expect(record, skip_spaces(record, key_end), b':')?,
    ))
}

#[inline]
fn scalar_end(record: &[u8], at: usize) -> Option<usize> {
    match record.get(at)? {
        b'"' => string_end(record, at + 1),
        b'-' | b'0'..=b'9' => number_end(record, at),
        b't' => word_end(record, at, b"true"),
        b'f' => word_end(record, at, b"false"),
        b'n' => word_end(record, at, b"null"),
        _ => None,
    }
}

fn word_end(record: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    record
        .get(at..)?
        .starts_with(word)
        .then_some(at + word.len())
}

/// The end of `-?(0|[1-9][0-9]*)(\.[0-9]+)?`. What follows is for the caller to judge, so that an
/// exponent, a leading zero and a second dot all end the attempt.
fn number_end(record: &[u8], start: usize) -> Option<usize> {
    let mut at = start + usize::from(record[start] == b'-');
    at = match record.get(at)? {
        b'0' => at + 1,
        b'1'..=b'9' => digits_end(record, at),
        _ => return None,
    };
    if record.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = digits_end(record, fraction);
        if at == fraction {
            return None;
        }
    }
    (at - start <= NUMBER_BYTES_MAX).then_some(at)
}

fn digits_end(record: &[u8], mut at: usize) -> usize {
    while record.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// The position after the string whose content begins at `at`; none for a control character, no
/// end, or an escape that needs a closer look.
#[inline]
fn string_end(record: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = string_stop(record, at)?;
        match record[at] {
            b'"' => return Some(at + 1),
            b'\\' => at = escape_end(record, at + 1)?,
            _ => return None,
        }
    }
}

/// The position after an escape, from the byte after its backslash.
fn escape_end(record: &[u8], at: usize) -> Option<usize> {
    match record.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => match record.get(at + 1..at + 5)? {
            // Surrogates must come in pairs.
            [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..] => None,
            digits => digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5),
        },
        _ => None,
    }
}

/// The first quote, backslash or control character from `at`, eight bytes at a time.
#[inline]
fn string_stop(record: &[u8], mut at: usize) -> Option<usize> {
    while let Some(eight) = record.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let stops = string_stops(u64::from_le_bytes(*eight));
        if stops != 0 {
            return Some(at + (stops.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let is_stop = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    record
        .get(at..)?
        .iter()
        .position(is_stop)
        .map(|found| at + found)
}

/// Sets the top bit of each byte that is a quote, a backslash or a control character. A borrow can
/// set bits above a true one as well; the lowest is always true.
#[inline]
pub(super) fn string_stops(eight: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    let quote = eight ^ (ONES * b'"' as u64);
    let backslash = eight ^ (ONES * b'\\' as u64);
    let zeros_below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & TOPS;
    zeros_below(quote, 1) | zeros_below(backslash, 1) | zeros_below(eight, 0x20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Decoder;
    use crate::event::oracle::specs;

    #[track_caller]
    fn check(record: &str, is_taken: bool) {
        let mut decoder = Decoder::new(specs()[0].clone());
        for _ in 0..2 {
            assert_eq!(decoder.is_flat(record.as_bytes()), is_taken, "{record}");
        }
    }

    #[test]
    fn taken() {
        for record in [
            "{}",
            " { } ",
            r#"{"event_id":1001,"stream":"s12","type":"LeadCreated","valid":true}"#,
            r#"{ "a": "b", "c": null, "d": 1 }"#,
            r#"{"a":0,"b":-0,"c":-12.50,"d":false,"e":"","":"x"}"#,
            "{\"a\":\"caf\u{e9} \u{7f}\"}",
            r#"{"a":"\"\\\/\b\f\n\r\t\u00e9\uD7FF\ue000"}"#,
            r#"{"a":[],"b":{},"c":[ ],"d":{ },"e":[[],{}]}"#,
            r#"{"a":{"b":[1, "}", {"c" : "]" , "\u0061":[[2]]}, -0.5 ], "d":{"e":true}},"f":1}"#,
        ] {
            check(record, true);
        }
        check(
            &format!("{{\"a\":{}{}}}", "[".repeat(63), "]".repeat(63)),
            true,
        );
        check(&format!("{{\"a\":{}}}", "1".repeat(64)), true);
    }

    #[test]
    fn given_up() {
        for record in [
            "",
            "{",
            "[]",
            "1",
            "{}{}",
            r#"{"\u0061":1}"#,
            "{\"a\":\t1}",
            "{\"a\":1}\n",
            r#"{"a":1e5}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":-}"#,
            r#"{"a":truth}"#,
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            r#"{"a":"b}"#,
            "{\"a\":\"\0\"}",
            "{\"a\":\"1234567\x1f\"}",
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            r#"{"a":"\u123"}"#,
            r#"{"a":"\"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\uDFFF"}"#,
            r#"{"a":"\ud83d\ude00"}"#,
            r#"{"a":[}"#,
            r#"{"a":{]}"#,
            r#"{"a":[1}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[,1]}"#,
            r#"{"a":[1 2]}"#,
            r#"{"a":{"b"}}"#,
            r#"{"a":{"b":}}"#,
            r#"{"a":{"b":1,}}"#,
            r#"{"a":{"b":1]}"#,
            r#"{"a":{1:2}}"#,
            r#"{"a":["b":1]}"#,
            r#"{"a":[[]}"#,
            r#"{"a":[]]}"#,
            r#"{"a":{}"#,
            r#"{"a":[1e5]}"#,
            r#"{"a":[{"b":tru}]}"#,
        ] {
            check(record, false);
        }
        check(
            &format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64)),
            false,
        );
        check(&format!("{{\"a\":{}}}", "1".repeat(65)), false);
    }

    /// Every byte at every place of the eight that are looked at together.
    #[test]
    fn oracle_string_stop() {
        for byte in 0..=255 {
            for place in 0..20 {
                let mut record = [b'a'; 24];
                record[20] = b'"';
                record[place] = byte;
                let expected = match byte {
                    b'"' | b'\\' | 0..0x20 => place,
                    _ => 20,
                };
                assert_eq!(string_stop(&record, 0), Some(expected), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn guesses_are_bounded() {
        let mut decoder = Decoder::new(specs()[0].clone());
        let members = |count: usize, name: &str| {
            let members: Vec<String> = (0..count).map(|nth| format!("\"{name}{nth}\":1")).collect();
            format!("{{{},\"event_id\":1}}", members.join(","))
        };
        for record in [
            members(1_000, "a"),
            members(10, &"long".repeat(100)),
            members(1_000, "b"),
        ] {
            assert!(decoder.is_flat(record.as_bytes()));
        }
    }
}
