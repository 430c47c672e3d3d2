//! The naive model of the repair: the contract's definition as plain loops over all records so
//! far, from scratch for every epoch. Slow and obvious on purpose; it shares no code with the
//! engine that it judges. Forgetting (`dedup.horizon`) depends on what was known when, so it has a
//! model of its own beside it, [`horizon`], that goes from epoch to epoch.
//!
//! Where the contract is silent the model takes the side that the comments here name.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate};

use crate::json::{Json, quoted};

mod cases;
pub(crate) mod horizon;

/// Which member names the stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum StreamField {
    #[default]
    None,
    One(String),
    List(Vec<String>),
}

/// How timestamps are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    Strict,
    Iso8601,
    UnixSeconds,
    UnixMillis,
    UnixMicros,
}

/// Which copy takes the seat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Keep {
    First,
    Last,
}

/// The type of a reconstructed event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fill {
    MostFrequent,
    LowerNeighbour,
    Fixed(String),
}

/// What becomes of a record whose id was forgotten though its time lies before the horizon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum OnReset {
    DeadLetter,
    NewSequence,
}

/// The rules of a dataflow file, as far as they change the answer.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) stream: StreamField,
    pub(crate) id: String,
    pub(crate) id_text: bool,
    pub(crate) kind: String,
    pub(crate) timestamp: String,
    pub(crate) valid: String,
    pub(crate) format: Format,
    pub(crate) key: Option<Vec<String>>,
    pub(crate) keep: Keep,
    /// None remembers for ever.
    pub(crate) horizon_ms: Option<i64>,
    /// None is ten horizons.
    pub(crate) stream_ttl_ms: Option<i64>,
    pub(crate) on_reset: OnReset,
    pub(crate) reconstruct: bool,
    pub(crate) fill: Fill,
    pub(crate) grace_ms: i64,
    pub(crate) max_width: u64,
    pub(crate) max_missing: u64,
    pub(crate) disorder_ms: i64,
    pub(crate) max_ahead_ms: i64,
    pub(crate) annotate: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            stream: StreamField::None,
            id: "event_id".into(),
            id_text: false,
            kind: "type".into(),
            timestamp: "timestamp".into(),
            valid: "valid".into(),
            format: Format::Iso8601,
            key: None,
            keep: Keep::First,
            horizon_ms: None,
            stream_ttl_ms: None,
            on_reset: OnReset::DeadLetter,
            reconstruct: true,
            fill: Fill::MostFrequent,
            grace_ms: 0,
            max_width: 10_000,
            max_missing: 1_000_000,
            disorder_ms: 0,
            max_ahead_ms: 24 * 60 * 60 * 1000,
            annotate: true,
        }
    }
}

impl Config {
    /// The dataflow file that says the same, with the changelog and the gaps switched on. What is
    /// as the contract's defaults have it is left out.
    pub(crate) fn toml(&self, inputs: &[String]) -> String {
        let text = |name: &str| quoted(name);
        let list = |names: &[String]| {
            format!(
                "[{}]",
                names
                    .iter()
                    .map(|name| text(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        };
        let usual = Config::default();
        let mut out = String::from("name = \"case\"\n");
        let mut line = |line: String| {
            out.push_str(&line);
            out.push('\n');
        };
        line(format!(
            "\n[source]\nkind = \"jsonl\"\npath = {}",
            list(inputs)
        ));
        line("\n[event]".into());
        match &self.stream {
            StreamField::None => {}
            StreamField::One(name) => line(format!("stream = {}", text(name))),
            StreamField::List(names) => line(format!("stream = {}", list(names))),
        }
        for (key, name, usual) in [
            ("id", &self.id, &usual.id),
            ("type", &self.kind, &usual.kind),
            ("timestamp", &self.timestamp, &usual.timestamp),
            ("valid", &self.valid, &usual.valid),
        ] {
            if name != usual {
                line(format!("{key} = {}", text(name)));
            }
        }
        if self.id_text {
            line("id_text = true".into());
        }
        match self.format {
            Format::Iso8601 => {}
            Format::Strict => line("timestamp_format = \"strict\"".into()),
            Format::UnixSeconds => line("timestamp_format = \"unix-s\"".into()),
            Format::UnixMillis => line("timestamp_format = \"unix-ms\"".into()),
            Format::UnixMicros => line("timestamp_format = \"unix-us\"".into()),
        }
        line("\n[dedup]".into());
        if let Some(key) = &self.key {
            line(format!("key = {}", list(key)));
        }
        if self.keep == Keep::Last {
            line("keep = \"last\"".into());
        }
        if let Some(ms) = self.horizon_ms {
            line(format!("horizon = \"{ms}ms\""));
        }
        if let Some(ms) = self.stream_ttl_ms {
            line(format!("stream_ttl = \"{ms}ms\""));
        }
        line("\n[gaps]".into());
        if !self.reconstruct {
            line("reconstruct = false".into());
        }
        match &self.fill {
            Fill::MostFrequent => {}
            Fill::LowerNeighbour => line("type = \"lower-neighbour\"".into()),
            Fill::Fixed(kind) => line(format!("type = {{ fixed = {} }}", text(kind))),
        }
        if self.on_reset == OnReset::NewSequence {
            line("on_reset = \"new-sequence\"".into());
        }
        if self.grace_ms != usual.grace_ms {
            line(format!("grace = \"{}ms\"", self.grace_ms));
        }
        if self.max_width != usual.max_width {
            line(format!("max_width = {}", self.max_width));
        }
        if self.max_missing != usual.max_missing {
            line(format!("max_missing = {}", self.max_missing));
        }
        line("\n[watermark]".into());
        if self.disorder_ms != usual.disorder_ms {
            line(format!("disorder = \"{}ms\"", self.disorder_ms));
        }
        if self.max_ahead_ms != usual.max_ahead_ms {
            line(format!("max_ahead = \"{}ms\"", self.max_ahead_ms));
        }
        for sink in ["clean", "changes"] {
            line(format!("\n[sink.{sink}]\nkind = \"jsonl\""));
            if !self.annotate {
                line("annotate = false".into());
            }
        }
        line("\n[sink.gaps]\nkind = \"jsonl\"".into());
        out
    }
}

/// A line of the input that is not blank, and where it lies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// The number of its file in the order of reading.
    pub(crate) file: usize,
    /// The byte at which it starts.
    pub(crate) offset: u64,
    /// Its line, from 1; blank lines count here.
    pub(crate) line: u64,
    /// Its bytes, without LF or CRLF.
    pub(crate) bytes: Vec<u8>,
}

/// Cuts the content of one file into records.
pub(crate) fn records(file: usize, content: &[u8]) -> Vec<Record> {
    let mut out = Vec::new();
    let mut offset = if content.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    for (line, with_end) in content[offset..]
        .split_inclusive(|&b| b == b'\n')
        .enumerate()
    {
        let bytes = match with_end.strip_suffix(b"\n") {
            Some(rest) => rest.strip_suffix(b"\r").unwrap_or(rest),
            None => with_end,
        };
        if bytes.iter().any(|b| !matches!(b, b' ' | b'\t' | b'\r')) {
            out.push(Record {
                file,
                offset: offset as u64,
                line: line as u64 + 1,
                bytes: bytes.to_vec(),
            });
        }
        offset += with_end.len();
    }
    out
}

/// The parts of a stream's name: one, or one for each field of a list.
type Stream = Vec<String>;

/// The fields of a well-formed event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) stream: Stream,
    pub(crate) id: i64,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    pub(crate) kind: String,
    pub(crate) valid: Option<bool>,
    /// Equal for two events of a stream exactly when they are copies.
    pub(crate) key: String,
}

/// What decoding says of a record: an event, or the reason why it is none.
pub(crate) type Verdict = Result<Event, &'static str>;

/// The longest record that is decoded.
const MAX_RECORD: usize = 1 << 20;

/// Decodes one record.
pub(crate) fn decode(config: &Config, bytes: &[u8]) -> Verdict {
    if bytes.len() > MAX_RECORD {
        return Err("oversize");
    }
    let json = Json::read(bytes).ok_or("not-json")?;
    if !matches!(json, Json::Object(_)) {
        return Err("not-object");
    }
    let origin = json.get("amend").and_then(|mark| mark.get("origin"));
    if origin.and_then(Json::text) == Some("reconstructed") {
        return Err("inferred");
    }
    let field = |path: &str| json.find(path).filter(|value| **value != Json::Null);

    let id = match field(&config.id).ok_or("missing-id")? {
        Json::Text(text) if config.id_text => decimal(text),
        value => value.integer(),
    };
    let id = id.and_then(|id| i64::try_from(id).ok()).ok_or("bad-id")?;
    let kind = match field(&config.kind) {
        None => return Err("missing-type"),
        Some(value) => value.text().ok_or("bad-type")?,
    };
    if kind.trim().is_empty() {
        return Err("missing-type");
    }
    let time = field(&config.timestamp).ok_or("bad-timestamp")?;
    let time = instant(config.format, time).ok_or("bad-timestamp")?;
    let valid = match json.find(&config.valid) {
        None => None,
        Some(Json::Bool(valid)) => Some(*valid),
        Some(_) => return Err("bad-valid"),
    };
    let name = |path: &String| match field(path) {
        None => Ok(String::new()),
        Some(Json::Text(text)) => Ok(text.clone()),
        Some(value) => value
            .integer()
            .map(|integer| integer.to_string())
            .ok_or("bad-stream"),
    };
    let stream = match &config.stream {
        StreamField::None => vec![String::new()],
        StreamField::One(path) => vec![name(path)?],
        StreamField::List(paths) => paths.iter().map(name).collect::<Result<_, _>>()?,
    };
    let key = config.key.as_ref().and_then(|paths| {
        let mut parts = Vec::new();
        for path in paths {
            parts.push(match path {
                path if *path == config.id => id.to_string(),
                path if *path == config.timestamp => time.to_string(),
                path => field(path)?.canonical(),
            });
        }
        Some(format!("fields {}", parts.join(" ")))
    });
    let key = key.unwrap_or_else(|| format!("id and time {id} {time}"));
    Ok(Event {
        stream,
        id,
        time,
        kind: kind.into(),
        valid,
        key,
    })
}

/// The integer that a text writes in decimal digits, with `-` before it or not.
fn decimal(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// The microseconds since 1970 that a timestamp names.
fn instant(format: Format, value: &Json) -> Option<i64> {
    let scale = match format {
        Format::Strict => return strict(value.text()?),
        Format::Iso8601 => return iso8601(value.text()?),
        Format::UnixSeconds => 1_000_000,
        Format::UnixMillis => 1_000,
        Format::UnixMicros => 1,
    };
    value
        .integer()?
        .checked_mul(scale)
        .and_then(|us| i64::try_from(us).ok())
}

/// `YYYY-MM-DDTHH:MM:SS`, nothing else.
fn strict(text: &str) -> Option<i64> {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { 'd' } else { c })
        .collect();
    if shape != "dddd-dd-ddTdd:dd:dd" {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().ok();
    let year = i32::try_from(number(0, 4)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(5, 7)?, number(8, 10)?)?;
    let time = date.and_hms_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?)?;
    Some(time.and_utc().timestamp_micros())
}

/// The strict form with a laxer separator, a fraction and a zone.
fn iso8601(text: &str) -> Option<i64> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, mut rest) = (rest.get(..8)?, rest.get(8..)?);
    let mut us = strict(&format!("{date}T{time}"))?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(fraction.len());
        let digits = &fraction[..end];
        if digits.is_empty() {
            return None;
        }
        us += format!("{digits:0<6}")[..6].parse::<i64>().ok()?;
        rest = &fraction[end..];
    }
    if matches!(rest, "" | "Z" | "z") {
        return Some(us);
    }
    let sign = if rest.starts_with('+') { 1 } else { -1 };
    let clock = rest.strip_prefix(['+', '-'])?;
    let since_midnight = strict(&format!("1970-01-01T{clock}:00"))?;
    Some(us - sign * since_midnight)
}

/// A timestamp as a reconstructed event carries it, `time` rounded down to what can be written.
fn written(format: Format, time: i64) -> String {
    let scale = match format {
        Format::UnixSeconds => return time.div_euclid(1_000_000).to_string(),
        Format::UnixMillis => return time.div_euclid(1_000).to_string(),
        Format::UnixMicros => return time.to_string(),
        Format::Strict => 1_000_000,
        Format::Iso8601 => 1,
    };
    let at = DateTime::from_timestamp_micros(time.div_euclid(scale) * scale);
    let seconds = at
        .expect("a time between two others")
        .format("%Y-%m-%dT%H:%M:%S");
    match (format, time.rem_euclid(1_000_000)) {
        (Format::Strict, _) => format!("\"{seconds}\""),
        (_, 0) => format!("\"{seconds}Z\""),
        (_, us) if us % 1000 == 0 => format!("\"{seconds}.{:03}Z\"", us / 1000),
        (_, us) => format!("\"{seconds}.{us:06}Z\""),
    }
}

/// A JSON text on one line: as it is, or where it has line breaks without any white space.
pub(crate) fn on_one_line(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).expect("JSON is UTF-8");
    if !text.contains(['\r', '\n']) {
        return text.into();
    }
    let (mut in_string, mut escaped) = (false, false);
    let mut is_kept = |c: char| {
        let quote = c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
        in_string ^= quote;
        in_string || !matches!(c, ' ' | '\t' | '\r' | '\n')
    };
    text.chars().filter(|c| is_kept(*c)).collect()
}

/// A kept event as it is published: its own bytes, and `valid` before its closing brace.
fn published(config: &Config, bytes: &[u8], event: &Event) -> String {
    let mut text = on_one_line(bytes);
    if event.valid.is_none() {
        let name = config.valid.strip_prefix('/').unwrap_or(&config.valid);
        assert!(
            !name.contains('/'),
            "where a nested `valid` would be added is not said"
        );
        let end = text.rfind('}').expect("an object ends in a brace");
        text.insert_str(end, &format!(",{}:true", quoted(name)));
    }
    text
}

/// A JSON object that grows member by member; a path with several steps nests.
#[derive(Default)]
struct Members(Vec<(String, Member)>);

enum Member {
    Leaf(String),
    Nested(Members),
}

impl Members {
    fn put(&mut self, path: &str, value: String) {
        match path.strip_prefix('/') {
            None => self.put_at(&[path.to_string()], value),
            Some(pointer) => {
                let steps = pointer
                    .split('/')
                    .map(|s| s.replace("~1", "/").replace("~0", "~"));
                self.put_at(&steps.collect::<Vec<_>>(), value);
            }
        }
    }

    fn put_at(&mut self, steps: &[String], value: String) {
        let [step, rest @ ..] = steps else {
            panic!("a path has a step")
        };
        if rest.is_empty() {
            self.0.push((step.clone(), Member::Leaf(value)));
            return;
        }
        let known = self
            .0
            .iter()
            .position(|(name, _)| name == step)
            .unwrap_or_else(|| {
                self.0
                    .push((step.clone(), Member::Nested(Members::default())));
                self.0.len() - 1
            });
        let Member::Nested(members) = &mut self.0[known].1 else {
            panic!("a field in a field")
        };
        members.put_at(rest, value);
    }

    fn text(&self) -> String {
        let members = self.0.iter().map(|(name, member)| match member {
            Member::Leaf(value) => format!("{}:{value}", quoted(name)),
            Member::Nested(members) => format!("{}:{}", quoted(name), members.text()),
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

/// What a dead letter is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    Record {
        file: usize,
        offset: u64,
        line: u64,
    },
    Gap(Gap),
    /// A stream, by its name as JSON.
    Stream(String),
}

/// A dead letter that stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Letter {
    pub(crate) reason: String,
    pub(crate) about: About,
}

/// An open gap: its stream's name as JSON, its first and its last missing id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gap {
    pub(crate) stream: String,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Gap {
    fn width(&self) -> u128 {
        u128::try_from(i128::from(self.to) - i128::from(self.from) + 1).expect("from <= to")
    }
}

/// What stands after an epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// Kept events in the order of the input.
    pub(crate) kept: Vec<String>,
    /// Reconstructed events by stream and id.
    pub(crate) reconstructed: Vec<((Stream, i64), String)>,
    pub(crate) letters: BTreeSet<Letter>,
    pub(crate) gaps: BTreeSet<Gap>,
    /// Letters that stand once more: two incarnations of a stream may lack the same ids.
    pub(crate) repeated_letters: Vec<Letter>,
    /// Gaps that are open once more.
    pub(crate) repeated_gaps: Vec<Gap>,
}

impl Answer {
    /// What `clean.jsonl` holds when this is the last answer.
    pub(crate) fn clean(&self) -> String {
        let reconstructed = self.reconstructed.iter().map(|(_, text)| text);
        self.kept
            .iter()
            .chain(reconstructed)
            .map(|text| format!("{text}\n"))
            .collect()
    }

    /// How many letters stand for each reason.
    pub(crate) fn dead(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for letter in self.letters.iter().chain(&self.repeated_letters) {
            *counts.entry(letter.reason.clone()).or_default() += 1;
        }
        counts
    }

    /// How many ids the open gaps miss.
    pub(crate) fn missing_ids(&self) -> u128 {
        let gaps = self.gaps.iter().chain(&self.repeated_gaps);
        gaps.map(Gap::width).sum()
    }

    fn add_letter(&mut self, letter: Letter) {
        if !self.letters.insert(letter.clone()) {
            self.repeated_letters.push(letter);
        }
    }

    fn add_gap(&mut self, gap: Gap) {
        if !self.gaps.insert(gap.clone()) {
            self.repeated_gaps.push(gap);
        }
    }
}

/// A whole input, read and decoded.
pub(crate) struct Model {
    pub(crate) config: Config,
    pub(crate) records: Vec<Record>,
    verdicts: Vec<Verdict>,
}

impl Model {
    /// Reads and decodes `files`, in their order.
    pub(crate) fn new(config: &Config, files: &[Vec<u8>]) -> Model {
        let records: Vec<Record> = files
            .iter()
            .enumerate()
            .flat_map(|(file, content)| records(file, content))
            .collect();
        let verdicts = records
            .iter()
            .map(|record| decode(config, &record.bytes))
            .collect();
        Model {
            config: config.clone(),
            records,
            verdicts,
        }
    }

    /// The answer after each epoch of `size` records.
    pub(crate) fn answers(&self, size: usize) -> Vec<Answer> {
        if self.config.horizon_ms.is_some() {
            return self.history(size).answers;
        }
        let watermarks = self.watermarks(size);
        let epochs = watermarks.iter().enumerate().map(|(epoch, watermark)| {
            let end = (epoch + 1) * size;
            // The end of the input belongs to its last epoch, and makes everything due.
            if end >= self.records.len() {
                return self.last_answer();
            }
            let grace = i128::from(self.config.grace_ms) * 1000;
            let due = match watermark {
                _ if grace == 0 => Due::All,
                None => Due::Nothing,
                Some(watermark) => Due::SeenAt(watermark - grace),
            };
            self.answer(end, due)
        });
        epochs.collect()
    }

    /// The answer to the whole input, however it was cut; with a horizon, where it is one epoch.
    pub(crate) fn last_answer(&self) -> Answer {
        if self.config.horizon_ms.is_some() {
            let answers = self.history(self.records.len().max(1)).answers;
            return answers.into_iter().next_back().unwrap_or_default();
        }
        self.answer(self.records.len(), Due::All)
    }

    /// How many reconstructed events were withdrawn because the event itself came.
    pub(crate) fn filled_ids(&self, size: usize, answers: &[Answer]) -> u64 {
        if self.config.horizon_ms.is_some() {
            return self.history(size).filled_ids;
        }
        let mut filled = 0;
        for (epoch, before) in answers.iter().enumerate() {
            let end = self.records.len().min((epoch + 2) * size);
            let arrived: BTreeSet<(Stream, i64)> = self.verdicts[..end]
                .iter()
                .flatten()
                .map(|event| (event.stream.clone(), event.id))
                .collect();
            filled += before
                .reconstructed
                .iter()
                .filter(|(at, _)| arrived.contains(at))
                .count();
        }
        filled as u64
    }

    /// The answer to the first `end` records.
    fn answer(&self, end: usize, due: Due) -> Answer {
        let mut answer = Answer::default();
        let mut streams: BTreeMap<Stream, Vec<(usize, &Event)>> = BTreeMap::new();
        for (index, verdict) in self.verdicts[..end].iter().enumerate() {
            match verdict {
                Ok(event) => streams
                    .entry(event.stream.clone())
                    .or_default()
                    .push((index, event)),
                Err(reason) => self.letter(&mut answer, reason, index),
            }
        }
        let mut kept = BTreeMap::new();
        for (stream, events) in &streams {
            self.copies(events, &mut kept, &mut answer);
            self.gaps(stream, events, due, &mut answer);
        }
        answer.kept = kept.into_values().collect();
        answer
    }

    fn letter(&self, answer: &mut Answer, reason: &str, index: usize) {
        let Record {
            file, offset, line, ..
        } = self.records[index];
        let about = About::Record { file, offset, line };
        answer.letters.insert(Letter {
            reason: reason.into(),
            about,
        });
    }

    /// Rules 1 and 2: one copy of each event takes the seat.
    fn copies(
        &self,
        events: &[(usize, &Event)],
        kept: &mut BTreeMap<usize, String>,
        answer: &mut Answer,
    ) {
        let mut copies: BTreeMap<&str, Vec<(usize, &Event)>> = BTreeMap::new();
        for &(index, event) in events {
            copies.entry(&event.key).or_default().push((index, event));
        }
        for copies in copies.values() {
            let mut valid = copies
                .iter()
                .filter(|(_, event)| event.valid != Some(false));
            let seat = match self.config.keep {
                Keep::First => valid.next().or(copies.first()),
                Keep::Last => valid.next_back().or(copies.last()),
            };
            let &(seat, event) = seat.expect("a group has a member");
            let bytes = &self.records[seat].bytes;
            if event.valid == Some(false) {
                self.letter(answer, "invalid", seat);
            } else {
                kept.insert(seat, published(&self.config, bytes, event));
            }
            for &(index, _) in copies.iter().filter(|(index, _)| *index != seat) {
                let same = self.records[index].bytes == *bytes;
                self.letter(answer, if same { "duplicate" } else { "conflict" }, index);
            }
        }
    }

    /// Rules 3 to 6: what is missing, and the guesses that stand in for it.
    fn gaps(&self, stream: &Stream, events: &[(usize, &Event)], due: Due, answer: &mut Answer) {
        let mut seen: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for (_, event) in events {
            let (earliest, latest) = seen.entry(event.id).or_insert((event.time, event.time));
            *earliest = event.time.min(*earliest);
            *latest = event.time.max(*latest);
        }
        // An id is due when some id above it was seen with a time that is old enough: all ids
        // below the highest such id are.
        let limit = match due {
            Due::All => i64::MAX,
            Due::Nothing => i64::MIN,
            Due::SeenAt(time) => {
                let old = seen
                    .iter()
                    .filter(|(_, (earliest, _))| i128::from(*earliest) <= time);
                old.map(|(id, _)| *id).max().unwrap_or(i64::MIN)
            }
        };
        let name = self.stream_json(stream);
        let mut narrow = Vec::new();
        let sides = seen.iter().zip(seen.iter().skip(1));
        for ((&lower, &(_, latest)), (&higher, &(earliest, _))) in sides {
            if i128::from(higher) - i128::from(lower) < 2 || higher > limit {
                continue;
            }
            let gap = Gap {
                stream: name.clone(),
                from: lower + 1,
                to: higher - 1,
            };
            if gap.width() > u128::from(self.config.max_width) {
                let about = About::Gap(gap.clone());
                answer.letters.insert(Letter {
                    reason: "gap-too-wide".into(),
                    about,
                });
            } else {
                let middle = (i128::from(latest) + i128::from(earliest)).div_euclid(2);
                narrow.push((
                    gap.clone(),
                    lower,
                    i64::try_from(middle).expect("between two"),
                ));
            }
            answer.gaps.insert(gap);
        }
        // Only gaps that are due count towards `max_missing`.
        let missing: u128 = narrow.iter().map(|(gap, ..)| gap.width()).sum();
        if missing > u128::from(self.config.max_missing) {
            let about = About::Stream(name);
            answer.letters.insert(Letter {
                reason: "sequence-too-sparse".into(),
                about,
            });
        } else if self.config.reconstruct {
            for (gap, lower, middle) in narrow {
                let kind = self.fill_type(events, lower);
                for id in gap.from..=gap.to {
                    let text = self.reconstructed(stream, id, &kind, middle);
                    answer.reconstructed.push(((stream.clone(), id), text));
                }
            }
        }
    }

    /// The type of the events that are inferred above the id `lower`.
    fn fill_type(&self, events: &[(usize, &Event)], lower: i64) -> String {
        match &self.config.fill {
            Fill::Fixed(kind) => kind.clone(),
            Fill::MostFrequent => {
                let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
                for (_, event) in events {
                    *counts.entry(&event.kind).or_default() += 1;
                }
                let most = counts.values().max().expect("a stream has events");
                let first = counts.iter().find(|(_, count)| *count == most);
                first.expect("the most is one of them").0.to_string()
            }
            Fill::LowerNeighbour => {
                let there = || events.iter().filter(|(_, event)| event.id == lower);
                let latest = there().map(|(_, event)| event.time).max();
                let first = there().find(|(_, event)| Some(event.time) == latest);
                first.expect("the neighbour was seen").1.kind.clone()
            }
        }
    }

    /// The event that stands in for the missing `id`.
    fn reconstructed(&self, stream: &Stream, id: i64, kind: &str, time: i64) -> String {
        let config = &self.config;
        let mut members = Members::default();
        members.put(&config.id, id.to_string());
        let fields = match &config.stream {
            StreamField::None => &[],
            StreamField::One(path) => std::slice::from_ref(path),
            StreamField::List(paths) => paths.as_slice(),
        };
        for (path, name) in fields
            .iter()
            .zip(stream)
            .filter(|(_, name)| !name.is_empty())
        {
            members.put(path, quoted(name));
        }
        members.put(&config.kind, quoted(kind));
        members.put(&config.timestamp, written(config.format, time));
        members.put(&config.valid, "true".into());
        if config.annotate {
            members.put("/amend/origin", quoted("reconstructed"));
        }
        members.text()
    }

    /// A stream's name as it stands in letters and gaps: a string, or a list of them.
    fn stream_json(&self, stream: &Stream) -> String {
        let names: Vec<String> = stream.iter().map(|name| quoted(name)).collect();
        match self.config.stream {
            StreamField::List(_) => format!("[{}]", names.join(",")),
            _ => names.concat(),
        }
    }

    /// The watermark in force in each epoch of `size` records; it follows from earlier epochs.
    pub(crate) fn watermarks(&self, size: usize) -> Vec<Option<i128>> {
        let epochs = self.records.len().div_ceil(size);
        let mut watermark: Option<i128> = None;
        let mut out = Vec::new();
        for epoch in 0..epochs {
            let end = epoch * size;
            // A file that was read to its end is idle; one that was not begun has no watermark.
            let open = end.checked_sub(1).map(|last| self.records[last].file);
            let open = open.filter(|file| self.records[end..].iter().any(|r| r.file == *file));
            if let Some(file) = open {
                let times: Vec<i64> = self.records[..end]
                    .iter()
                    .zip(&self.verdicts)
                    .filter(|(record, _)| record.file == file)
                    .filter_map(|(_, verdict)| Some(verdict.as_ref().ok()?.time))
                    .collect();
                let highest = highest(&times, i128::from(self.config.max_ahead_ms) * 1000);
                let here = highest.map(|high| high - i128::from(self.config.disorder_ms) * 1000);
                watermark = watermark.max(here);
            }
            out.push(watermark);
        }
        out
    }
}

/// Which missing ids are due.
#[derive(Clone, Copy)]
enum Due {
    All,
    Nothing,
    /// Those below an id that was seen with this time or an earlier one.
    SeenAt(i128),
}

/// How many records it takes to know where a partition's clock stands.
const SAMPLE: usize = 100;

/// The highest time of a partition that can be believed.
fn highest(times: &[i64], max_ahead: i128) -> Option<i128> {
    let (start, rest) = times.split_at(times.len().min(SAMPLE));
    let mut highest = believed(start, max_ahead)?;
    let mut ahead = Vec::new();
    for &time in rest {
        if i128::from(time) <= highest + max_ahead {
            highest = highest.max(time.into());
            ahead.clear();
            continue;
        }
        ahead.push(time);
        if ahead.len() == SAMPLE {
            highest = believed(&ahead, max_ahead).expect("a full sample");
            ahead.clear();
        }
    }
    Some(highest)
}

/// The highest of some times that are not too far ahead of their lower median.
fn believed(times: &[i64], max_ahead: i128) -> Option<i128> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let median = i128::from(*sorted.get(sorted.len().checked_sub(1)? / 2)?);
    sorted
        .into_iter()
        .map(i128::from)
        .filter(|time| *time <= median + max_ahead)
        .max()
}
