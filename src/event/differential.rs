//! Random records: the decoder against the oracle, and its fast way against its slow one.
//!
//! Half of the records are right or nearly so, made member by member of values that have
//! something to go wrong; the others are such records with bytes changed, cut out or put in.
//! `AMEND_SEED` picks another sequence.

use super::oracle::{Checker, specs};
use super::{Decoder, DedupKey, EventSpec};

const RECORDS: usize = 10_000;

#[test]
fn oracle_agrees_on_random_records() {
    let mut random = Random::from_environment();
    let mut checkers: Vec<Checker> = specs().into_iter().map(Checker::new).collect();
    for _ in 0..RECORDS {
        let record = random.record();
        for checker in &mut checkers {
            checker.check(&record);
        }
    }
}

#[test]
fn differential_fast_and_slow() {
    let mut random = Random::from_environment();
    // Two decoders a spec, so that neither sees what the other remembers.
    let mut decoders: Vec<(Decoder, Decoder)> = specs()
        .into_iter()
        .chain([EventSpec {
            key: DedupKey::IdAndTime,
            ..specs()[1].clone()
        }])
        .map(|spec| (Decoder::new(spec.clone()), Decoder::new(spec)))
        .collect();
    for _ in 0..RECORDS {
        let record = random.record();
        for (fast, slow) in &mut decoders {
            let (fast, slow) = (
                fast.decode_by(&record, true),
                slow.decode_by(&record, false),
            );
            assert_eq!(fast, slow, "in {}", String::from_utf8_lossy(&record));
        }
    }
}

/// Enough records reach each outcome for the tests above to mean something.
#[test]
fn random_records_are_of_all_kinds() {
    let mut random = Random::from_environment();
    let mut decoder = Decoder::new(specs()[0].clone());
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..RECORDS {
        let record = random.record();
        let outcome = decoder
            .decode(&record)
            .map_or_else(|fault| fault.reason.as_str(), |_| "ok");
        *counts.entry(outcome).or_insert(0) += 1;
    }
    let rare: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count < RECORDS / 500)
        .collect();
    assert!(counts.len() == 11 && rare.is_empty(), "{counts:?}");
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn from_environment() -> Random {
        let seed = std::env::var("AMEND_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        Random(seed.unwrap_or(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Once in `times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn record(&mut self) -> Vec<u8> {
        let mut record = String::new();
        if self.once_in(30) {
            self.value(&mut record, 3);
        } else {
            self.event(&mut record);
        }
        let mut record = record.into_bytes();
        if self.once_in(2) {
            for _ in 0..=self.below(3) {
                self.mutate(&mut record);
            }
        }
        record
    }

    fn event(&mut self, out: &mut String) {
        let right = [
            (r#""event_id""#, IDS),
            (r#""stream""#, STREAMS),
            (r#""type""#, TYPES),
            (r#""timestamp""#, TIMES),
            (r#""valid""#, &["true", "false"]),
        ];
        let pretty = self.once_in(8);
        let space = |random: &mut Random, out: &mut String| {
            if pretty {
                out.push_str(random.pick(SPACES));
            }
        };
        space(self, out);
        out.push('{');
        let mut is_first = true;
        for (name, values) in right {
            if self.once_in(40) {
                continue;
            }
            if !is_first {
                out.push(',');
            }
            is_first = false;
            space(self, out);
            out.push_str(name);
            space(self, out);
            out.push(':');
            space(self, out);
            if self.once_in(30) {
                self.value(out, 2);
            } else {
                // The first are the ones that are right in most places.
                let choice = if self.once_in(3) {
                    values
                } else {
                    &values[..2]
                };
                out.push_str(self.pick(choice));
            }
            space(self, out);
        }
        for _ in 0..self.below(4) {
            if !is_first {
                out.push(',');
            }
            is_first = false;
            out.push_str(self.pick(NAMES));
            out.push(':');
            if self.once_in(3) {
                out.push_str(self.pick(NESTED));
            } else {
                self.value(out, 4);
            }
        }
        out.push('}');
        space(self, out);
    }

    fn value(&mut self, out: &mut String, levels: usize) {
        match self.below(if levels == 0 { 6 } else { 10 }) {
            0 => out.push_str(self.pick(IDS)),
            1 => out.push_str(self.pick(TYPES)),
            2 => out.push_str(self.pick(TIMES)),
            3 => out.push_str(self.pick(STREAMS)),
            4 | 5 => out.push_str(self.pick(SCALARS)),
            6 | 7 => {
                out.push('[');
                for nth in 0..self.below(3) {
                    out.push_str(if nth > 0 { ", " } else { "" });
                    self.value(out, levels - 1);
                }
                out.push(']');
            }
            _ => {
                out.push('{');
                for nth in 0..self.below(4) {
                    out.push_str(if nth > 0 { "," } else { " " });
                    out.push_str(self.pick(NAMES));
                    out.push_str(self.pick(&[":", " : "]));
                    self.value(out, levels - 1);
                }
                out.push('}');
            }
        }
    }

    fn mutate(&mut self, record: &mut Vec<u8>) {
        let at = self.below(record.len() + 1);
        let end = (at + self.below(12)).min(record.len());
        match self.below(5) {
            0 => record.truncate(at),
            1 => {
                record.drain(at..end);
            }
            2 => record.insert(at, self.next() as u8),
            3 => {
                if let Some(byte) = record.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            _ => {
                let piece = self.pick(PIECES).bytes();
                record.splice(at..at, piece);
            }
        }
    }
}

const IDS: &[&str] = &[
    "0",
    "1",
    "-0",
    "-7",
    "1002",
    "9223372036854775807",
    "-9223372036854775808",
    "\"12\"",
    "1001",
];
const STREAMS: &[&str] = &[
    "\"\"",
    "\"s1\"",
    "\"a\\tb\"",
    "7",
    "-0",
    "18446744073709551615",
    "\"\u{e9}\"",
    "null",
    "\"7\"",
    "\"\\ud83d\\ude00\"",
    "\"\u{1f600}\"",
];
const TYPES: &[&str] = &[
    "\"LeadCreated\"",
    "\"T\"",
    "\" T\"",
    "\"\\u0054\"",
    "\"\"",
    "\" \\u00a0\"",
    "\"\u{3000}\"",
];
const TIMES: &[&str] = &[
    "\"2025-02-09T12:00:00\"",
    "\"2025-02-09T12:00:00\"",
    "\"2024-02-29 23:59:59.1234567Z\"",
    "\"2025-02-30T12:00:00\"",
    "\"2025-02-09t12:00:00+01:30\"",
    "\"0000-01-01T00:00:00+23:59\"",
    "\"9999-12-31T23:59:59-23:59\"",
    "1739102400000",
    "\"2025-02-09T12:00:60\"",
];
const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "1",
    "1.0",
    "1e0",
    "-0.0",
    "0.0",
    "0",
    "-0",
    "1e999",
    "1e-999",
    "18446744073709551616",
    "18446744073709551616.0",
    "-9223372036854775809",
    "0.1",
    "0.10",
    "1.7976931348623157e308",
    "123456789012345678901234567890",
    "\"\\ud83d\"",
    "\"\\u0000\"",
    "\"reconstructed\"",
    "\"\\\\\\\"\\/\\b\\f\\n\\r\\t\"",
    "\"12345678\"",
    "\"1234567\\u0038\"",
];
const NAMES: &[&str] = &[
    "\"x\"",
    "\"x\"",
    "\"x\"",
    "\"note\"",
    "\"amend\"",
    "\"x\"",
    "\"a\"",
    "\"amend\"",
    "\"origin\"",
    "\"valid\"",
    "\"event_id\"",
    "\"type\"",
    "\"0\"",
    "\"x\"",
    "\"\\u0078\"",
    "\"\"",
    "\"a longer name \u{fc}\"",
    "\"stream\"",
];
/// For the places that the pointers of the specs lead to.
const NESTED: &[&str] = &[
    "{\"a\":{\"type\":\"T\",\"valid\":false},\"event_id\":3}",
    "{\"a\":{\"type\":\"T\"},\"event_id\":3}",
    "{\"a\":{\"b\":[1,2],\"type\":\"T\"},\"event_id\":3}",
    "{\"event_id\":3,\"a\":{\"type\":\"T\",\"b\":[1,2.0],\"b\":[1, 2]}}",
    "[\"s\",{\"valid\":true}]",
    "[0,{ }]",
    "{\"1\":{}}",
    "{}",
    "{\"origin\":\"reconstructed\"}",
    "{\"origin\":\"observed\"}",
];
const SPACES: &[&str] = &["", " ", "  ", "\t", "\r\n", "\n "];
const PIECES: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "-",
    ".",
    "e5",
    "0",
    "\n",
    "\r",
    "\t",
    " ",
    "\0",
    "\u{b}",
    "\u{7f}",
    "\u{e9}",
    "\u{1f600}",
    "\u{a0}",
    "\u{feff}",
    "\\u0041",
    "\\ud83d",
    "\\ude00",
    "null",
    "true",
    "1e999",
    "NaN",
    "\"x\":",
    ",\"valid\":null",
    "[[[[",
    "]]]]",
    "é\"",
];
