//! Records like those before, from their bytes to the event in one step.
//!
//! A producer writes its members in one order and with the same spaces, so that all of a record is
//! known beforehand but its values. A template is what was the same in a record that went the
//! longer way; the next ones are laid against it.
//!
//! The one rule: what a template takes is what the longer way would say; whatever else is given
//! up, never judged. So it takes only well-formed events, and of those only text without escapes.

use std::ops::Range;

use super::plan::{Place, Plan, Spans};
use super::timestamp::DateCache;
use super::{EventSpec, fast};
use crate::time::EventTime;

/// Shapes that are known at a time.
const TEMPLATES_MAX: usize = 4;
/// Records with more members are left to the longer way.
const MEMBERS_MAX: usize = 64;
/// Leads up to this length are compared in one go, and those up to twice of it in two.
const SHORT_LEAD_BYTES: usize = 16;
/// An id of more digits may be too large for an i64.
const DIGITS_MAX: usize = 18;
/// Records that fit pay for some that do not; without credit templates are not tried for a while.
const CREDIT_MAX: i32 = 256;
const MISS_COSTS: i32 = 4;
const PAUSE_RECORDS: i32 = 4096;

/// What a template takes from a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken<'a> {
    pub(super) id: i64,
    pub(super) time: EventTime,
    pub(super) r#type: &'a str,
    pub(super) stream: &'a str,
    pub(super) valid: Option<bool>,
}

/// The shapes of the last records.
#[derive(Clone, Debug)]
pub(super) struct Templates {
    /// Whether the spec is one that templates can serve.
    is_of_use: bool,
    known: Vec<Template>,
    /// The template that fitted last.
    latest: usize,
    /// The one that gives way to the next.
    oldest: usize,
    credit: i32,
}

/// One shape of records.
#[derive(Clone, Debug)]
struct Template {
    members: Vec<Member>,
    /// What follows the last value.
    close: Lead,
}

/// What comes before a value, and what the value is.
#[derive(Clone, Debug)]
struct Member {
    lead: Lead,
    role: Role,
    /// How long the value was.
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Id,
    TimeText,
    TimeInteger,
    Type,
    Stream,
    Valid,
    /// Text that is not asked for.
    OtherText,
    /// Any other value that is not asked for.
    Other,
}

impl Role {
    /// Whether the lead has the opening quote.
    fn is_text(self) -> bool {
        matches!(
            self,
            Role::TimeText | Role::Type | Role::Stream | Role::OtherText
        )
    }
}

/// Bytes that do not change from record to record.
#[derive(Clone, Debug)]
struct Lead {
    bytes: Box<[u8]>,
    /// The first bytes as a number, and which of its bits count.
    head: u128,
    mask: u128,
    /// The last bytes of a longer one.
    tail: u128,
}

impl Lead {
    fn new(bytes: &[u8]) -> Self {
        let mut head = [0; SHORT_LEAD_BYTES];
        let mut mask = [0; SHORT_LEAD_BYTES];
        for (at, byte) in bytes.iter().take(SHORT_LEAD_BYTES).enumerate() {
            (head[at], mask[at]) = (*byte, u8::MAX);
        }
        Lead {
            bytes: bytes.into(),
            head: u128::from_le_bytes(head),
            mask: u128::from_le_bytes(mask),
            tail: bytes
                .last_chunk()
                .map_or(0, |tail| u128::from_le_bytes(*tail)),
        }
    }

    /// Where the record goes on after these bytes, if they stand at `at`.
    #[inline]
    fn skip(&self, record: &[u8], at: usize) -> Option<usize> {
        let length = self.bytes.len();
        let rest = record.get(at..)?;
        // Nothing here is left to a call, which would cost more than all else.
        let head = match rest.first_chunk::<SHORT_LEAD_BYTES>() {
            Some(head) => u128::from_le_bytes(*head),
            // Near the end of the record: what stands before is shifted out.
            None => {
                let end = u128::from_le_bytes(*record.last_chunk::<SHORT_LEAD_BYTES>()?);
                let before = SHORT_LEAD_BYTES - rest.len();
                end.checked_shr(8 * before as u32).unwrap_or(0)
            }
        };
        let stands = length <= rest.len()
            && (head ^ self.head) & self.mask == 0
            && match length.checked_sub(SHORT_LEAD_BYTES) {
                None | Some(0) => true,
                Some(more @ 1..=SHORT_LEAD_BYTES) => {
                    let tail = rest[more..].first_chunk::<SHORT_LEAD_BYTES>();
                    tail.is_some_and(|tail| u128::from_le_bytes(*tail) == self.tail)
                }
                Some(_) => rest.starts_with(&self.bytes),
            };
        stands.then_some(at + length)
    }
}

impl Templates {
    pub(super) fn new(spec: &EventSpec, plan: &Plan) -> Self {
        let fields = [&plan.id, &plan.r#type, &plan.timestamp, &plan.valid];
        let mut slots: Vec<usize> = Vec::new();
        let mut is_of_use = plan.key.is_none() && !spec.stream_is_list && plan.stream.len() <= 1;
        for place in fields.into_iter().chain(&plan.stream).chain([&plan.origin]) {
            // Fields inside of others, and two fields of one member, go the longer way.
            is_of_use &= place.is_member() || std::ptr::eq(place, &plan.origin);
            is_of_use &= !slots.contains(&place.slot());
            slots.push(place.slot());
        }
        Templates {
            is_of_use,
            known: Vec::new(),
            latest: 0,
            oldest: 0,
            credit: CREDIT_MAX,
        }
    }

    /// The event of a record that is as others were.
    #[inline]
    pub(super) fn take<'a>(
        &mut self,
        record: &'a str,
        spec: &EventSpec,
        dates: &mut DateCache,
    ) -> Option<Taken<'a>> {
        if self.credit < 0 {
            return None;
        }
        let latest = self.known.get(self.latest)?;
        if let Some(taken) = latest.take(record, spec, dates) {
            self.credit = (self.credit + 1).min(CREDIT_MAX);
            return Some(taken);
        }
        let others = (0..self.known.len()).filter(|nth| *nth != self.latest);
        for nth in others {
            if let Some(taken) = self.known[nth].take(record, spec, dates) {
                self.latest = nth;
                return Some(taken);
            }
        }
        None
    }

    /// Learns from a well-formed record that was not taken, and is of the common shape: `spans` are
    /// its values.
    pub(super) fn learn(&mut self, record: &[u8], plan: &Plan, spans: &Spans) {
        if !self.is_of_use {
            return;
        }
        if self.credit < 0 {
            self.credit += 1;
            if self.credit == 0 {
                self.credit = CREDIT_MAX / 4;
            }
            return;
        }
        self.credit -= MISS_COSTS;
        if self.credit < 0 {
            self.credit = -PAUSE_RECORDS;
        }
        let Some(template) = Template::of(record, plan, spans) else {
            return;
        };
        if self.known.len() < TEMPLATES_MAX {
            self.latest = self.known.len();
            self.known.push(template);
        } else {
            self.latest = self.oldest;
            self.known[self.oldest] = template;
            self.oldest = (self.oldest + 1) % TEMPLATES_MAX;
        }
    }
}

impl Template {
    fn of(record: &[u8], plan: &Plan, spans: &Spans) -> Option<Template> {
        let absent = |place: &Place| spans.get(place.slot()).is_empty();
        if !absent(&plan.origin) {
            return None;
        }
        let mut roles: Vec<(Range<usize>, Role)> = Vec::new();
        let is_text = |value: &Range<usize>| record.get(value.start) == Some(&b'"');
        for (place, of_text, of_other) in [
            (Some(&plan.id), None, Some(Role::Id)),
            (Some(&plan.r#type), Some(Role::Type), None),
            (
                Some(&plan.timestamp),
                Some(Role::TimeText),
                Some(Role::TimeInteger),
            ),
            (Some(&plan.valid), None, Some(Role::Valid)),
            (plan.stream.first(), Some(Role::Stream), None),
        ] {
            let Some(value) = place.map(|place| spans.get(place.slot())) else {
                continue;
            };
            if !value.is_empty() {
                let role = if is_text(&value) { of_text } else { of_other };
                roles.push((value, role?));
            }
        }
        let mut members = Vec::new();
        let mut end = 0;
        for value in fast::values(record)? {
            let role = roles.iter().position(|(known, _)| *known == value);
            let role = match role {
                Some(at) => roles.swap_remove(at).1,
                None if is_text(&value) => Role::OtherText,
                None => Role::Other,
            };
            let quotes = usize::from(role.is_text());
            let start = value.start + quotes;
            members.push(Member {
                lead: Lead::new(record.get(end..start)?),
                role,
                length: value.end - quotes - start,
            });
            end = value.end;
        }
        // Of a member that occurs twice the last counts, and the plan has found that one.
        let is_whole = roles.is_empty() && members.len() <= MEMBERS_MAX;
        let close = Lead::new(record.get(end..)?);
        is_whole.then_some(Template { members, close })
    }

    fn take<'a>(
        &self,
        text: &'a str,
        spec: &EventSpec,
        dates: &mut DateCache,
    ) -> Option<Taken<'a>> {
        let record = text.as_bytes();
        let (mut id, mut time) = (None, None);
        let (mut r#type, mut stream, mut valid) = ("", "", None);
        let mut at = 0;
        for Member { lead, role, length } in &self.members {
            let start = lead.skip(record, at)?;
            at = match role {
                Role::Id => {
                    let (number, end) = integer(record, start)?;
                    id = Some(number);
                    end
                }
                Role::TimeInteger => {
                    let (number, end) = integer(record, start)?;
                    time = Some(spec.timestamp_format.parse_integer(number)?);
                    end
                }
                Role::TimeText => {
                    // Whatever else it is, an instant has no quote: if one stands where the last
                    // time ended, this one ends there, too, or is none.
                    let end = start + length;
                    let end = match record.get(end) {
                        Some(b'"') => end,
                        _ => text_end(record, start)?,
                    };
                    let written = record.get(start..end)?;
                    time = Some(spec.timestamp_format.parse_bytes(written, dates)?);
                    end + 1
                }
                Role::Type => {
                    let end = text_end(record, start)?;
                    r#type = text.get(start..end)?;
                    end + 1
                }
                Role::Stream => {
                    let end = text_end(record, start)?;
                    stream = text.get(start..end)?;
                    end + 1
                }
                Role::OtherText => text_end(record, start)? + 1,
                Role::Valid => {
                    let four = record.get(start..start + 4)?;
                    let is_valid = four == b"true";
                    if !(is_valid || four == b"fals" && record.get(start + 4) == Some(&b'e')) {
                        return None;
                    }
                    valid = Some(is_valid);
                    start + if is_valid { 4 } else { 5 }
                }
                Role::Other => fast::value_end(record, start)?,
            };
        }
        let is_over = self.close.skip(record, at)? == record.len();
        // A type that begins with a space may be blank, and there are spaces beyond ASCII.
        if !is_over || matches!(r#type.as_bytes().first(), None | Some(b' ' | 0x80..)) {
            return None;
        }
        Some(Taken {
            id: id?,
            time: time?,
            r#type,
            stream,
            valid,
        })
    }
}

/// The integer at `at` and its end; what follows is for the caller to judge.
#[inline]
fn integer(record: &[u8], at: usize) -> Option<(i64, usize)> {
    let is_negative = record.get(at) == Some(&b'-');
    let start = at + usize::from(is_negative);
    let mut number: i64 = 0;
    let mut end = start;
    while let Some(digit @ b'0'..=b'9') = record.get(end) {
        number = number
            .wrapping_mul(10)
            .wrapping_add(i64::from(digit - b'0'));
        end += 1;
    }
    let digits = end - start;
    let leads_with_zero = digits > 1 && record.get(start) == Some(&b'0');
    if digits == 0 || digits > DIGITS_MAX || leads_with_zero {
        return None;
    }
    Some((if is_negative { -number } else { number }, end))
}

/// Where the text that begins at `at` ends: its closing quote. None where it has escapes, or what
/// must be escaped.
#[inline]
fn text_end(record: &[u8], mut at: usize) -> Option<usize> {
    while let Some(eight) = record.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let eight = u64::from_le_bytes(*eight);
        let stops = fast::string_stops(eight);
        if stops != 0 {
            at += (stops.trailing_zeros() / 8) as usize;
            return (record.get(at) == Some(&b'"')).then_some(at);
        }
        at += 8;
    }
    let is_stop = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    at += record.get(at..)?.iter().position(is_stop)?;
    (record.get(at) == Some(&b'"')).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Decoder;
    use crate::event::oracle::specs;

    const FIRST: &str = r#"{"event_id":7,"stream":"s1","x":[1,{"y":"z"}],"type":"Sale","timestamp":"2025-02-09T12:00:00","note":"n","valid":true}"#;

    /// Whether `record` is taken after the records `before` were seen.
    fn takes(before: &[&str], record: &str) -> bool {
        let spec = specs().swap_remove(0);
        let mut decoder = Decoder::new(spec);
        for before in before {
            decoder.decode(before.as_bytes()).unwrap();
        }
        decoder.is_taken(record)
    }

    #[test]
    fn taken() {
        for record in [
            FIRST.to_owned(),
            FIRST.replace(":7", ":-123456789012345678"),
            FIRST.replace(":7", ":-0"),
            FIRST.replace("s1", ""),
            FIRST.replace("s1", "a stream whose name is long"),
            FIRST.replace("s1", "s\u{e9}"),
            FIRST.replace("\"n\"", "\"\u{e9}\""),
            FIRST.replace("\"z\"", "\"\u{e9}\""),
            FIRST.replace("Sale", "x "),
            FIRST.replace("12:00:00", "12:00:00.25+01:00"),
            FIRST.replace("true", "false"),
            FIRST.replace("\"n\"", "\"\""),
            FIRST.replace("[1,{\"y\":\"z\"}]", "null"),
            FIRST.replace("[1,{\"y\":\"z\"}]", "-0.5"),
        ] {
            assert!(takes(&[FIRST], &record), "{record}");
        }
        assert!(!takes(&[], FIRST));
    }

    #[test]
    fn given_up() {
        for record in [
            "".to_owned(),
            "{".to_owned(),
            FIRST[..FIRST.len() - 1].to_owned(),
            format!("{FIRST} "),
            format!("{FIRST}}}"),
            FIRST.replace(":7", ":07"),
            FIRST.replace(":7", ":-"),
            FIRST.replace(":7", ":7.5"),
            FIRST.replace(":7", ":7e1"),
            FIRST.replace(":7", ":1234567890123456789"),
            FIRST.replace(":7", ": 7"),
            FIRST.replace(":7", ":\"7\""),
            FIRST.replace("s1", "s\\u0031"),
            FIRST.replace("s1", "s\n"),
            FIRST.replace("\"s1\"", "1"),
            FIRST.replace("\"s1\"", "null"),
            FIRST.replace("Sale", ""),
            FIRST.replace("Sale", "  "),
            FIRST.replace("12:00:00", "24:00:00"),
            FIRST.replace("true", "truE"),
            FIRST.replace("true", "null"),
            FIRST.replace("Sale", "\u{3000}"),
            FIRST.replace("\"z\"", "z"),
            FIRST.replace("note", "amend"),
            FIRST.replace("\"note\":\"n\",", ""),
        ] {
            assert!(!takes(&[FIRST], &record), "{record}");
        }
    }

    #[test]
    fn a_lead_stands_where_its_bytes_do() {
        let record: Vec<u8> = (0..90).map(|at| b'a' + at % 23).collect();
        for length in 0..45 {
            for at in 0..=record.len() {
                let (stands, fits) = (Lead::new(&record[..length]), record.len() - at >= length);
                let same = fits && record[at..at + length] == record[..length];
                assert_eq!(stands.skip(&record, at), same.then_some(at + length));
                if fits {
                    let there = &record[at..at + length];
                    let skipped = Lead::new(there).skip(&record, at);
                    assert_eq!(skipped, Some(at + length));
                    // Whichever byte is another one.
                    for other in 0..length {
                        let mut lead = there.to_vec();
                        lead[other] ^= 0x20;
                        assert_eq!(Lead::new(&lead).skip(&record, at), None);
                    }
                }
            }
        }
    }

    #[test]
    fn several_shapes_are_known() {
        let second = FIRST.replace("\"note\":\"n\",", "");
        let third = FIRST.replace(":\"", ": \"");
        let all = [FIRST, &second, &third];
        assert!(all.iter().all(|record| takes(&all, record)));
    }

    #[test]
    fn of_what_is_said_twice_the_last_counts() {
        let twice = FIRST.replace("note", "stream");
        let mut decoder = Decoder::new(specs().swap_remove(0));
        for _ in 0..2 {
            assert_eq!(decoder.decode(twice.as_bytes()).unwrap().stream, "n");
        }
        assert!(decoder.is_taken(&twice));
    }

    #[test]
    fn what_may_be_inferred_is_no_template() {
        let of_ours = FIRST.replace("\"n\"", "{}").replace("note", "amend");
        assert!(!takes(&[&of_ours], &of_ours));
    }

    #[test]
    fn records_that_never_fit_are_not_tried_for_ever() {
        let spec = specs().swap_remove(0);
        let mut decoder = Decoder::new(spec);
        for nth in 0..1000 {
            let record = FIRST.replace("note", &format!("note{nth}"));
            decoder.decode(record.as_bytes()).unwrap();
        }
        decoder.decode(FIRST.as_bytes()).unwrap();
        assert!(!decoder.is_taken(FIRST));
        for _ in 0..2 * PAUSE_RECORDS {
            decoder.decode(FIRST.as_bytes()).unwrap();
        }
        assert!(decoder.is_taken(FIRST));
    }
}
