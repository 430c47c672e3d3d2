//! Moves over JSON text that is known to be valid, by byte positions.
//!
//! The decoder validates first and looks for members after; the writers get only what the decoder
//! accepted. So nothing here judges: on text that is not JSON the functions stop early somewhere,
//! and never panic.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2};

/// The first position from `at` that is not JSON whitespace.
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The position after the string whose opening quote is at `at`.
pub(super) fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) else {
            return bytes.len();
        };
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2; // The escaped byte is never the end; the digits after `\u` are ordinary bytes.
    }
}

/// The position after the value that begins at `at`.
pub(super) fn value_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'{' | b'[') => container_end(bytes, at),
        _ => {
            let is_end =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            let rest = bytes.get(at..).unwrap_or_default();
            at + rest.iter().position(is_end).unwrap_or(rest.len())
        }
    }
}

fn container_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// The members of the object at `at`: where each key (with its quotes) and each value lies.
/// Empty where there is no object.
pub(super) fn members(text: &str, at: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut next = enter(bytes, at, b'{');
    std::iter::from_fn(move || {
        let key = next.take().filter(|&key| bytes.get(key) == Some(&b'"'))?;
        let key_end = string_end(bytes, key);
        let value = after(bytes, key_end, b':')?;
        let value_end = value_end(bytes, value);
        next = after(bytes, value_end, b',');
        Some((key..key_end, value..value_end))
    })
}

/// Where the elements of the array at `at` lie. Empty where there is no array.
pub(super) fn elements(text: &str, at: usize) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut next = enter(bytes, at, b'[').filter(|&first| bytes.get(first) != Some(&b']'));
    std::iter::from_fn(move || {
        let element = next.take().filter(|&element| element < bytes.len())?;
        let end = value_end(bytes, element);
        next = after(bytes, end, b',');
        Some(element..end)
    })
}

/// The first content of the container that `open` opens at `at`.
fn enter(bytes: &[u8], at: usize, open: u8) -> Option<usize> {
    (bytes.get(at) == Some(&open)).then(|| skip_space(bytes, at + 1))
}

/// What follows the `mark` that comes next from `at`.
fn after(bytes: &[u8], at: usize, mark: u8) -> Option<usize> {
    let at = skip_space(bytes, at);
    (bytes.get(at) == Some(&mark)).then(|| skip_space(bytes, at + 1))
}

/// The value that one reference token of a JSON pointer names in the value at `at`: the last
/// member of that name, or the element of that index.
pub(super) fn child(text: &str, at: usize, token: &str) -> Option<Range<usize>> {
    match text.as_bytes().get(at) {
        Some(b'{') => members(text, at)
            .filter(|(key, _)| unquote(slice(text, key)) == token)
            .last()
            .map(|(_, value)| value),
        Some(b'[') => elements(text, at).nth(array_index(token)?),
        _ => None,
    }
}

/// The value that the reference tokens lead to from the value at `value`.
pub(super) fn descend(text: &str, value: Range<usize>, tokens: &[String]) -> Option<Range<usize>> {
    tokens
        .iter()
        .try_fold(value, |value, token| child(text, value.start, token))
}

/// RFC 6901 has no sign and no leading zeros in an index.
fn array_index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (token.len() > 1 && token.starts_with('0')) {
        return None;
    }
    token.parse().ok()
}

/// The text at `range`.
#[inline]
pub(super) fn slice<'a>(text: &'a str, range: &Range<usize>) -> &'a str {
    text.get(range.clone()).unwrap_or_default()
}

/// What the JSON string `quoted` (with its quotes) says.
#[inline]
pub(super) fn unquote(quoted: &str) -> Cow<'_, str> {
    match quoted.get(1..quoted.len().saturating_sub(1)) {
        Some(inner) if memchr(b'\\', inner.as_bytes()).is_none() => Cow::Borrowed(inner),
        _ => Cow::Owned(unescape(quoted)),
    }
}

#[cold]
fn unescape(quoted: &str) -> String {
    serde_json::from_str(quoted).unwrap_or_default()
}
