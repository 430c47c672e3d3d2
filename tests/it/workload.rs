//! Seeded streams with everything that the repair is for: copies, conflicts, holes, disorder, late
//! events, bad clocks, broken records, and files that are written in every permitted way.

use std::collections::BTreeMap;

use crate::json::quoted;
use crate::model::{Config, Format, StreamField};

/// A small generator of random numbers (SplitMix64): the same seed gives the same workload for ever.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `end`, without it.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Whether something happens that happens so often in a hundred times.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// How much of what. The rates are percentages of the events.
#[derive(Clone, Debug)]
pub(crate) struct Knobs {
    pub(crate) events: usize,
    pub(crate) streams: usize,
    pub(crate) files: usize,
    /// Events that never come.
    pub(crate) lost: u64,
    /// Events that come again, as they were or changed.
    pub(crate) copied: u64,
    /// Events that come later than they should.
    pub(crate) late: u64,
    /// How many records later a late event or a copy may come.
    pub(crate) displacement: usize,
    /// Events that are marked invalid.
    pub(crate) invalid: u64,
    /// Records that are broken.
    pub(crate) broken: u64,
    /// Events with a clock that is days off.
    pub(crate) bad_clock: u64,
    /// Leaps of all clocks by more than a day.
    pub(crate) leaps: u64,
    /// Steps back of all clocks by a minute or less.
    pub(crate) rewinds: u64,
    /// Jumps of the ids, as wide as the widest gap that is filled or a little wider.
    pub(crate) jumps: u64,
    pub(crate) jump: i64,
    /// Sequences that start over with their first number.
    pub(crate) restarts: u64,
    /// Single ids that lie far off.
    pub(crate) outliers: u64,
    /// Events of the year 9999.
    pub(crate) far_future: u64,
    /// How many events there are until all streams have other names; of three sets of names the
    /// first comes after the last. 0 is for ever.
    pub(crate) life: usize,
    /// Members and white space that change nothing, and other ways to write the same.
    pub(crate) noise: u64,
}

impl Default for Knobs {
    fn default() -> Self {
        Knobs {
            events: 60,
            streams: 3,
            files: 2,
            lost: 8,
            copied: 12,
            late: 10,
            displacement: 25,
            invalid: 8,
            broken: 8,
            bad_clock: 1,
            leaps: 0,
            rewinds: 0,
            jumps: 2,
            jump: 20_000,
            restarts: 0,
            outliers: 0,
            far_future: 0,
            life: 0,
            noise: 15,
        }
    }
}

/// An event before it is written.
#[derive(Clone, Debug)]
struct Draft {
    stream: usize,
    /// Which of its names the stream has, where it has several.
    name: Option<usize>,
    id: i64,
    /// Microseconds since 1970.
    time: i64,
    kind: &'static str,
    valid: Option<bool>,
    /// What tells it from others with the same id and time, where the source says.
    uuid: Option<String>,
    note: Option<usize>,
}

/// The types of events; one needs escapes, one is not ASCII.
const KINDS: [&str; 5] = ["Created", "CRM_Sync", "Paid", "Gelöscht", "say \"hi\""];

/// The names of streams, as JSON values.
const STREAMS: [&str; 9] = [
    r#""alpha""#,
    r#""b\"q\\ \t""#,
    r#""日本""#,
    "7",
    r#""Zoë""#,
    r#""a/b""#,
    r#""""#,
    r#""\u0001 \u007f""#,
    r#""😀""#,
];

/// The contents of the files of a workload.
pub(crate) fn files(random: &mut Random, config: &Config, knobs: &Knobs) -> Vec<Vec<u8>> {
    let mut records: BTreeMap<(usize, u64), Vec<u8>> = BTreeMap::new();
    let mut put = |random: &mut Random, at: usize, record: Vec<u8>| {
        records.insert((at, random.next()), record);
    };
    for (at, draft) in drafts(random, config, knobs).into_iter().enumerate() {
        if random.percent(knobs.lost) {
            continue;
        }
        let late = random.percent(knobs.late);
        let delay = if late {
            1 + random.below(knobs.displacement)
        } else {
            0
        };
        let record = written(random, config, knobs, &draft);
        while random.percent(knobs.copied) {
            let delay = delay + random.below(knobs.displacement);
            let copy = if random.percent(50) {
                record.clone()
            } else {
                let draft = changed(random, &draft);
                written(random, config, knobs, &draft)
            };
            put(random, at + delay, copy);
        }
        if random.percent(knobs.broken) {
            let broken = broken(random, config, &record);
            put(random, at + delay, broken);
        } else {
            put(random, at + delay, record);
        }
    }
    cut(random, records.into_values().collect(), knobs)
}

/// The events as they happened.
fn drafts(random: &mut Random, config: &Config, knobs: &Knobs) -> Vec<Draft> {
    let base = *random.pick(&[1_739_102_400_000_000, -90_000_000, 951_782_340_000_000]);
    let unit = match config.format {
        Format::Strict | Format::UnixSeconds => 1_000_000,
        Format::UnixMillis => 1_000,
        Format::UnixMicros => 1,
        Format::Iso8601 => *random.pick(&[1, 1_000, 1_000_000]),
    };
    let base = base / 1_000_000 * 1_000_000;
    let first: Vec<i64> = (0..knobs.streams)
        .map(|_| *random.pick(&[0, 1000, -7, 1 << 40, -(1 << 53)]))
        .collect();
    let mut next = first.clone();
    let mut now = base;
    let mut out = Vec::new();
    for _ in 0..knobs.events {
        let stream = random.below(knobs.streams);
        if random.percent(knobs.jumps) {
            next[stream] += knobs.jump + random.below(5) as i64 - 2;
        }
        // Half the events share their time with the one before.
        now += random.below(2) as i64 * random.below(20_000_000) as i64;
        if random.percent(knobs.leaps) {
            now += 100_000_000_000;
        }
        if random.percent(knobs.rewinds) {
            now -= random.below(60_000_000) as i64;
        }
        let mut time = now - random.below(3) as i64 * random.below(5_000_000) as i64;
        if random.percent(knobs.bad_clock) {
            let days = 1 + random.below(20) as i64;
            time += days * 86_400_000_000 * random.pick(&[1, 1, -1]);
        }
        // Without a knob's rate nothing is drawn for it: older workloads stay what they were.
        let mut happens = |rate: u64| rate > 0 && random.percent(rate);
        if happens(knobs.far_future) {
            time = 253_402_000_000_000_000 + time.rem_euclid(60_000_000);
        }
        if happens(knobs.restarts) {
            next[stream] = first[stream];
        }
        let id = match happens(knobs.outliers) {
            true => next[stream] + (1 << 45) * random.pick(&[1, 2, -1]),
            false => next[stream],
        };
        out.push(Draft {
            stream,
            name: out.len().checked_div(knobs.life).map(|life| life % 3),
            id,
            time: time.div_euclid(unit) * unit,
            kind: KINDS[random.below(KINDS.len()).min(random.below(KINDS.len()))],
            valid: match random.percent(knobs.invalid) {
                true => Some(false),
                false => Some(true).filter(|_| random.percent(80)),
            },
            uuid: Some(format!("u{}", out.len())).filter(|_| random.percent(90)),
            note: None,
        });
        // Now and then a sequence takes a step back, and numbers are used again.
        next[stream] += if random.percent(3) { -2 } else { 1 };
    }
    out
}

/// A copy that differs, in what the key may hold or not.
fn changed(random: &mut Random, draft: &Draft) -> Draft {
    let mut copy = draft.clone();
    match random.below(7) {
        0 => copy.valid = Some(true),
        1 => copy.valid = Some(false),
        2 => copy.time += 1_000_000,
        3 => copy.kind = KINDS[random.below(KINDS.len())],
        4 => copy.uuid = [None, Some("other".into())][random.below(2)].clone(),
        _ => copy.note = Some(random.below(3)),
    }
    copy
}

/// A JSON object that is being written: members in order.
struct Members(Vec<(String, String)>);

impl Members {
    /// Adds a member, within the object that a pointer names.
    fn put(&mut self, path: &str, value: &str) {
        match path
            .strip_prefix('/')
            .and_then(|pointer| pointer.split_once('/'))
        {
            None => {
                let name = path.strip_prefix('/').unwrap_or(path);
                self.0.push((name.into(), value.into()));
            }
            Some((outer, inner)) => {
                let known = self.0.iter_mut().find(|(name, _)| name == outer);
                let member = format!("{}:{value}", quoted(inner));
                match known {
                    Some((_, object)) => object.insert_str(object.len() - 1, &format!(",{member}")),
                    None => self.0.push((outer.into(), format!("{{{member}}}"))),
                }
            }
        }
    }
}

/// An event as a record.
fn written(random: &mut Random, config: &Config, knobs: &Knobs, draft: &Draft) -> Vec<u8> {
    let noisy = random.percent(knobs.noise);
    let mut members = Members(Vec::new());
    let id = match config.id_text && random.percent(50) {
        true => format!("\"{}\"", draft.id),
        false => draft.id.to_string(),
    };
    members.put(&config.id, &id);
    let name = draft
        .name
        .map(|name| format!("\"{}-{name}\"", draft.stream));
    let stream = name
        .as_deref()
        .unwrap_or(STREAMS[draft.stream % STREAMS.len()]);
    match &config.stream {
        StreamField::None => {}
        // The stream with the empty name may as well have none.
        StreamField::One(path) if stream == r#""""# && random.percent(50) => {
            let _ = path;
        }
        StreamField::One(path) => members.put(path, stream),
        StreamField::List(paths) => {
            for (nth, path) in paths.iter().enumerate() {
                let part = draft.stream / (nth + 1) % 3;
                let parts = [["\"x\"", "\"y\"", "3"], ["\"\"", "\"p\"", "\"é\""]];
                match parts[nth % 2][part] {
                    "\"\"" if random.percent(50) => {}
                    part => members.put(path, part),
                }
            }
        }
    }
    members.put(&config.kind, &quoted(draft.kind));
    let lax = noisy && config.format == Format::Iso8601;
    members.put(
        &config.timestamp,
        &timestamp(random, config.format, draft.time, lax),
    );
    let is_nested = config.valid.rfind('/').is_some_and(|slash| slash > 0);
    match draft.valid {
        Some(valid) => members.put(&config.valid, &valid.to_string()),
        // Where a nested member would be added is not said.
        None if is_nested => members.put(&config.valid, "true"),
        None => {}
    }
    if let Some(uuid) = &draft.uuid {
        members.put("uuid", &quoted(uuid));
    } else if random.percent(50) {
        members.put("uuid", "null");
    }
    if let Some(note) = draft.note {
        members.put("note", &note.to_string());
    }
    if noisy {
        disturb(random, config, &mut members);
    }
    let space: &[&str] = if noisy && random.percent(50) {
        &["", " ", "\t", "  "]
    } else {
        &[""]
    };
    let mut out = String::from(*random.pick::<&str>(space)) + "{";
    for (nth, (name, value)) in members.0.iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        out.push_str(random.pick::<&str>(space));
        let name = quoted(name);
        if noisy && name.len() > 2 && random.percent(5) {
            out.push_str(&format!("\"\\u{:04x}{}", name.as_bytes()[1], &name[2..]));
        } else {
            out.push_str(&name);
        }
        out.push_str(random.pick::<&str>(space));
        out.push(':');
        out.push_str(random.pick::<&str>(space));
        out.push_str(value);
    }
    out.push_str(random.pick::<&str>(space));
    out.push('}');
    out.push_str(random.pick::<&str>(space));
    out.into_bytes()
}

/// Adds what must not matter: other members, repeated ones, another order.
fn disturb(random: &mut Random, config: &Config, members: &mut Members) {
    let extra = [
        ("note", "[1,{\"event_id\":5}]"),
        ("amend", "{\"origin\":\"observed\"}"),
        ("amend", "\"reconstructed\""),
        ("x", "1.5e-3"),
        ("y", "\"\\ud83d\\ude00 } \\\" {\""),
        ("z", "{\"amend\":{\"origin\":\"reconstructed\"}}"),
        ("", "null"),
    ];
    for _ in 0..random.below(3) {
        let (name, value) = random.pick(&extra);
        members.put(name, value);
    }
    // The last of repeated members counts, so a wrong one before the right one is harmless.
    for path in [&config.id, &config.kind, &config.timestamp, &config.valid] {
        if random.percent(10) && !path.starts_with('/') {
            let wrong = random.pick(&["null", "[]", "\"x\"", "1"]).to_string();
            let right = members.0.iter().position(|(name, _)| name == path);
            if let Some(right) = right {
                members
                    .0
                    .insert(random.below(right + 1), (path.clone(), wrong));
            }
        }
    }
    let names: Vec<&String> = members.0.iter().map(|(name, _)| name).collect();
    let is_repeated = (1..names.len()).any(|nth| names[..nth].contains(&names[nth]));
    if random.percent(50) && !is_repeated {
        let places = members.0.len();
        members.0.rotate_left(random.below(places));
    }
}

/// A timestamp as a JSON value; `lax` writes it in other ways that mean the same.
fn timestamp(random: &mut Random, format: Format, time: i64, lax: bool) -> String {
    let at = |time: i64| chrono::DateTime::from_timestamp_micros(time).expect("a sane time");
    match format {
        Format::UnixSeconds => time.div_euclid(1_000_000).to_string(),
        Format::UnixMillis => time.div_euclid(1_000).to_string(),
        Format::UnixMicros => time.to_string(),
        Format::Strict => format!("\"{}\"", at(time).format("%Y-%m-%dT%H:%M:%S")),
        Format::Iso8601 => {
            let (zone, shift) = match lax {
                true => *random.pick(&[("", 0), ("z", 0), ("+05:30", 330), ("-00:45", -45)]),
                false => ("Z", 0),
            };
            let separator = if lax {
                *random.pick(&["T", "t", " "])
            } else {
                "T"
            };
            let local = at(time + shift * 60_000_000);
            let us = time.rem_euclid(1_000_000);
            let fraction = match us {
                0 if lax && random.percent(50) => ".0".into(),
                0 => String::new(),
                us if lax => format!(".{us:06}999"),
                us if us % 1000 == 0 => format!(".{:03}", us / 1000),
                us => format!(".{us:06}"),
            };
            let (date, time) = (local.format("%Y-%m-%d"), local.format("%H:%M:%S"));
            format!("\"{date}{separator}{time}{fraction}{zone}\"")
        }
    }
}

/// What is not even an object of JSON.
const NOT_OBJECTS: [&[u8]; 22] = [
    b"[1,2]",
    b"\"text\"",
    b"42",
    b"null",
    b"true",
    b"{",
    b"}",
    b"{}{}",
    b"{\"a\":}",
    b"{\"a\":1,}",
    b"{a:1}",
    b"{'a':1}",
    b"{\"event_id\":NaN}",
    b"{\"event_id\":-Infinity}",
    b"{\"a\":\"\\ud83d\"}",
    b"{\"a\":\"\\udc00\\ud83d\"}",
    b"{\"a\":\"\xf0\x9f\x98\"}",
    b"{\"a\":\"\xff\"}",
    b"{\"a\":\"\0\"}",
    b"\0\0\0",
    b"{\"a\":01}",
    b"\xef\xbb\xbf{}",
];

/// A record with a fault, made from a good one.
fn broken(random: &mut Random, config: &Config, record: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(record.to_vec()).expect("a good record is UTF-8");
    let integers = matches!(
        config.format,
        Format::UnixSeconds | Format::UnixMillis | Format::UnixMicros
    );
    let time: &[&str] = if integers {
        &[
            "null",
            "\"2025-02-09T12:00:00\"",
            "1.0",
            "true",
            "\"1\"",
            "1e9",
        ]
    } else {
        &[
            "null",
            "0",
            "\"\"",
            "\"2025-02-30T12:00:00\"",
            "\"2025-02-09T24:00:00\"",
            "\"2025-02-09T23:59:60\"",
            "\"2025-02-09\"",
            "\"2025-02-09T12:00\"",
            "\"20250209T120000\"",
            "\" 2025-02-09T12:00:00\"",
            "\"2025-02-09T12:00:00 \"",
            "\"2025-02-09T12:00:00.\"",
            "\"2025-02-09T12:00:00+1\"",
            "\"2025-02-09T12:00:00+0100\"",
            "\"2025-13-09T12:00:00\"",
            "\"+2025-02-09T12:00:00\"",
            "\"٢٠٢٥-02-09T12:00:00\"",
        ]
    };
    let ids: &[&str] = &[
        "null",
        "1.0",
        "1e3",
        "true",
        "\"\"",
        "\"1.0\"",
        "\"one\"",
        "[1]",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999",
        "-0.0",
    ];
    let stream = match &config.stream {
        StreamField::None => None,
        StreamField::One(path) => Some(path),
        StreamField::List(paths) => paths.last(),
    };
    let nothing = String::new();
    let faults: [(&String, &[&str]); 6] = [
        (&config.id, ids),
        (&config.kind, &["null", "1", "\"\"", "\" \\t\"", "[]", "{}"]),
        (&config.timestamp, time),
        (&config.valid, &["null", "0", "1", "\"true\"", "[]"]),
        (stream.unwrap_or(&nothing), &["1.5", "true", "[]", "{}"]),
        (&nothing, &[]),
    ];
    match random.below(10) {
        0 | 1 => random.pick(&NOT_OBJECTS).to_vec(),
        2 => {
            let end = (0..=random.below(text.len()))
                .rev()
                .find(|end| text.is_char_boundary(*end));
            text.as_bytes()[..end.unwrap_or(0)].to_vec()
        }
        3 => "[".repeat(129).into_bytes(),
        4 => with_member(&text, "amend", r#"{"by":"x","origin":"reconstructed"}"#),
        // Without the id and perhaps more.
        5 => text.replacen("id", "ID", 1).into_bytes(),
        _ => {
            let mut text = text;
            for _ in 0..1 + random.below(2) {
                let (path, values) = random.pick(&faults);
                if path.is_empty() || path.starts_with('/') || values.is_empty() {
                    continue;
                }
                let value = *random.pick(values);
                text = String::from_utf8(with_member(&text, path, value)).expect("text in text");
            }
            text.into_bytes()
        }
    }
}

/// An object with one more member at its end, which then counts.
fn with_member(object: &str, name: &str, value: &str) -> Vec<u8> {
    let end = object.rfind('}').expect("an object");
    format!(
        "{},{}:{value}{}",
        &object[..end],
        quoted(name),
        &object[end..]
    )
    .into_bytes()
}

/// Puts records into files, each written in its own way.
fn cut(random: &mut Random, records: Vec<Vec<u8>>, knobs: &Knobs) -> Vec<Vec<u8>> {
    let mut ends: Vec<usize> = (1..knobs.files)
        .map(|_| random.below(records.len() + 1))
        .collect();
    ends.sort_unstable();
    ends.push(records.len());
    let mut from = 0;
    let mut out = Vec::new();
    for end in ends {
        let mut content = Vec::new();
        if random.percent(20) {
            content.extend_from_slice(b"\xef\xbb\xbf");
        }
        let crlf = random.percent(20);
        for record in &records[from..end] {
            if random.percent(5) {
                content.extend_from_slice(
                    random
                        .pick::<&str>(&["\n", "\r\n", " \t\n", "\r\r\n"])
                        .as_bytes(),
                );
            }
            content.extend_from_slice(record);
            // Windows and Unix may have written to the same file.
            let crlf = crlf != random.percent(2);
            content.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
        }
        if random.percent(20) {
            let end = content.iter().rposition(|b| !matches!(b, b'\r' | b'\n'));
            content.truncate(end.map_or(0, |end| end + 1));
        }
        out.push(content);
        from = end;
    }
    out
}

/// The seeds of a random test: `AMEND_SEED=n` is that seed alone, `AMEND_ROUNDS=n` n times as many.
pub(crate) fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |variable: &str| {
        let value = std::env::var(variable).ok()?;
        let number = value.parse::<u64>();
        Some(number.unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
    };
    match number("AMEND_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..usual * number("AMEND_ROUNDS").unwrap_or(1),
    }
}

#[test]
fn workload_is_the_same_for_a_seed_and_has_every_reason() {
    use crate::model::Model;
    let config = Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    };
    let mut reasons = BTreeMap::new();
    for seed in 0..60 {
        let files = files(&mut Random::new(seed), &config, &Knobs::default());
        assert_eq!(
            files,
            super::workload::files(&mut Random::new(seed), &config, &Knobs::default())
        );
        for (reason, count) in Model::new(&config, &files).last_answer().dead() {
            *reasons.entry(reason).or_insert(0) += count;
        }
    }
    let found: Vec<&str> = reasons.keys().map(String::as_str).collect();
    let all = [
        "bad-id",
        "bad-stream",
        "bad-timestamp",
        "bad-type",
        "bad-valid",
        "conflict",
        "duplicate",
        "gap-too-wide",
        "inferred",
        "invalid",
        "missing-id",
        "missing-type",
        "not-json",
        "not-object",
    ];
    assert_eq!(found, all, "{reasons:?}");
}
